//! One value in a cell: of a table, of TSV, of CSV.

use std::borrow::Cow;

use bursar_shared::{
    money::Currency,
    text::{clean, csv_cell, is_number},
};
use serde_json::Value;
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// The value at a dotted path.
pub(crate) fn at<'v>(row: &'v Value, path: &str) -> &'v Value {
    path.split('.').fold(row, |value, name| value.get(name).unwrap_or(&Value::Null))
}

/// Members that hold money, in minor units of the currency that the row names.
const MONEY: &[&str] = &[
    "amount",
    "capturedAmount",
    "reversedAmount",
    "posted",
    "pendingIn",
    "pendingOut",
    "available",
    "overdraftLimit",
    "maxBalance",
    "change",
    "debits",
    "credits",
    "pending",
    "imbalance",
    "moneyIn",
    "moneyOut",
];

/// The value at a dotted path as people see it: money as decimals of the row's currency.
pub(crate) fn shown<'v>(row: &'v Value, path: &str) -> Cow<'v, Value> {
    let value = at(row, path);
    let name = path.rsplit('.').next().unwrap_or(path);
    let currency = row.get("currency").and_then(Value::as_str).and_then(|code| code.parse::<Currency>().ok());
    match (value.as_i64().filter(|_| MONEY.contains(&name)), currency) {
        (Some(minor), Some(currency)) => Cow::Owned(Value::String(currency.decimal(minor))),
        _ => Cow::Borrowed(value),
    }
}

/// A value as one text: lists by commas, objects as JSON, nothing for null.
pub(crate) fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) if items.iter().all(|item| !item.is_object() && !item.is_array()) => {
            items.iter().map(plain).collect::<Vec<_>>().join(",")
        }
        other => other.to_string(),
    }
}

/// For tables: safe for a terminal; times to the second, in the same notation.
pub(crate) fn table(value: &Value) -> String {
    let text = plain(value);
    if let Some(second) = time_to_the_second(&text) {
        return second;
    }
    clean(&text).into_owned()
}

/// Members that say how far something may go; null is no end.
const LIMITS: &[&str] = &["available", "overdraftLimit", "maxBalance"];

/// The value at a dotted path, for tables: people see no end where programs see null.
pub(crate) fn tabled(row: &Value, path: &str) -> String {
    let (parent, name) = path.rsplit_once('.').map_or((row, path), |(parent, name)| (at(row, parent), name));
    if LIMITS.contains(&name) && parent.get(name).is_some_and(Value::is_null) {
        return "unlimited".to_owned();
    }
    table(&shown(row, path))
}

/// Whether a value is records of their own, which no cell can hold.
pub(crate) fn holds_records(value: &Value) -> bool {
    value.as_array().is_some_and(|items| items.iter().any(Value::is_object))
}

fn time_to_the_second(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let is_time = bytes.len() == 27
        && bytes.iter().enumerate().all(|(place, byte)| match place {
            4 | 7 => *byte == b'-',
            10 => *byte == b'T',
            13 | 16 => *byte == b':',
            19 => *byte == b'.',
            26 => *byte == b'Z',
            _ => byte.is_ascii_digit(),
        });
    is_time.then(|| format!("{}Z", &text[..19]))
}

/// For TSV, as PostgreSQL's COPY writes it: `\t`, `\n`, `\r`, `\\`, and `\N` for null.
pub(crate) fn tsv(value: &Value, out: &mut Vec<u8>) {
    if value.is_null() {
        return out.extend(b"\\N");
    }
    for byte in plain(value).bytes() {
        match byte {
            b'\t' => out.extend(b"\\t"),
            b'\n' => out.extend(b"\\n"),
            b'\r' => out.extend(b"\\r"),
            b'\\' => out.extend(b"\\\\"),
            byte => out.push(byte),
        }
    }
}

/// For CSV.
pub(crate) fn csv(value: &Value, out: &mut Vec<u8>) {
    out.extend(csv_cell(&plain(value)).bytes());
}

/// Whether a value is of no use when it is cut: an id, a time, a figure.
pub(crate) fn stays_whole(text: &str) -> bool {
    let id = text.len() == 30 && text.as_bytes()[3] == b'_' && text.is_ascii() && !text.contains(' ');
    let time = text.len() == 20 && text.ends_with('Z') && text.as_bytes()[10] == b'T';
    id || time || is_number(text)
}

/// The text cut to a width, with `…` when something is missing.
pub(crate) fn cut(text: &str, width: usize) -> Cow<'_, str> {
    if text.width() <= width {
        return text.into();
    }
    let mut kept = String::new();
    let mut used = 0;
    for letter in text.chars() {
        used += letter.width().unwrap_or(0);
        if used >= width {
            break;
        }
        kept.push(letter);
    }
    kept.push('…');
    kept.into()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn written(write: fn(&Value, &mut Vec<u8>), value: &Value) -> String {
        let mut out = Vec::new();
        write(value, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn csv_cells_are_no_formulas() {
        for (value, cell) in [
            (json!("=1+1"), "'=1+1"),
            (json!("+49 30"), "'+49 30"),
            (json!("-x"), "'-x"),
            (json!("@sum"), "'@sum"),
            (json!(-5), "-5"),
            (json!("-5.20"), "-5.20"),
            (json!("-5+1"), "'-5+1"),
            (json!("=a,\"b\""), "\"'=a,\"\"b\"\"\""),
            (json!("two\nlines"), "\"two\nlines\""),
            (json!(["a", "b"]), "\"a,b\""),
            (json!(null), ""),
        ] {
            assert_eq!(written(csv, &value), cell);
        }
    }

    #[test]
    fn money_is_shown_by_its_currency() {
        let row = json!({ "currency": "EUR", "balances": { "posted": -1205 }, "amount": 7, "number": 7 });
        let text = |path: &str| plain(&shown(&row, path));
        assert_eq!([text("balances.posted"), text("amount"), text("number")], ["-12.05", "0.07", "7"]);
        assert_eq!(plain(&shown(&json!({ "currency": "JPY", "amount": 7 }), "amount")), "7");
        assert_eq!(plain(&shown(&json!({ "amount": 7 }), "amount")), "7");
    }

    #[test]
    fn no_end_is_a_word_in_tables_only() {
        let row =
            json!({ "currency": "EUR", "maxBalance": null, "balances": { "available": null, "posted": 5 } });
        let text = |path: &str| (tabled(&row, path), plain(&shown(&row, path)));
        assert_eq!(text("maxBalance"), ("unlimited".to_owned(), String::new()));
        assert_eq!(text("balances.available"), ("unlimited".to_owned(), String::new()));
        assert_eq!(text("balances.posted"), ("0.05".to_owned(), "0.05".to_owned()));
        // what is not there has no end and no beginning
        assert_eq!(text("overdraftLimit").0, "");
    }

    #[test]
    fn tsv_keeps_one_row_on_one_line() {
        assert_eq!(written(tsv, &json!("a\tb\nc\\d")), "a\\tb\\nc\\\\d");
        assert_eq!(written(tsv, &json!(null)), "\\N");
        assert_eq!(written(tsv, &json!({"a": [1]})), r#"{"a":[1]}"#);
    }

    #[test]
    fn tables_show_times_to_the_second_and_nothing_harmful() {
        assert_eq!(table(&json!("2026-01-15T09:30:00.123456Z")), "2026-01-15T09:30:00Z");
        assert_eq!(table(&json!("\u{1b}[31mred")), "\\u{1b}[31mred");
        assert_eq!(cut("Ada Lovelace", 6), "Ada L…");
        assert_eq!(cut("名前です", 5), "名前…");
        assert_eq!(plain(at(&json!({"a": {"b": 7}}), "a.b")), "7");
    }
}
