//! The small filter language of the command line and the dashboard.
//!
//! `status:active,suspended created>-7d email:^ada "two words"` compiles to the list parameters that
//! the wire has; every mistake knows its place. There is no OR across fields, so every filter stays
//! something that an index can answer.

use std::fmt;

use crate::{
    money::Currency,
    page::{Condition, Field, Kind, List, Op, Resource},
};

/// A mistake in a filter: where it stands and what would be right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilterError {
    /// The first byte of the mistake.
    pub at: usize,
    /// How many bytes it takes.
    pub len: usize,
    /// What is wrong, for people.
    pub message: String,
}

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for FilterError {}

/// A filter that was understood.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Filter {
    /// The comparisons.
    pub conditions: Vec<Condition>,
    /// The words that are searched for.
    pub q: Option<String>,
}

impl Filter {
    /// Narrows a list.
    #[must_use]
    pub fn apply<R: Resource>(&self, mut list: List<R>) -> List<R> {
        list.filter.extend(self.conditions.iter().cloned());
        if self.q.is_some() {
            list.q.clone_from(&self.q);
        }
        list
    }
}

/// One word of the text, quotes taken off.
struct Word {
    at: usize,
    len: usize,
    text: String,
    /// The byte where a comparison begins, if it is one: `field` before, value after.
    operator: Option<(usize, usize, &'static str)>,
}

/// Longest first, so that `>=` is not read as `>`.
const OPERATORS: &[&str] = &["!=", ">=", "<=", ":", "=", ">", "<"];

fn words(text: &str) -> Result<Vec<Word>, FilterError> {
    let mut words = Vec::new();
    let mut rest = text.char_indices().peekable();
    while let Some(&(start, letter)) = rest.peek() {
        if letter.is_whitespace() {
            rest.next();
            continue;
        }
        let mut word = Word { at: start, len: 0, text: String::new(), operator: None };
        let mut end = start;
        while let Some(&(at, letter)) = rest.peek() {
            if letter.is_whitespace() {
                break;
            }
            if letter == '"' {
                rest.next();
                end = quoted(&mut rest, at, text.len(), &mut word.text)?;
                continue;
            }
            let operator = OPERATORS.iter().find(|operator| text[at..].starts_with(**operator));
            if let (None, Some(operator)) = (word.operator, operator)
                && !word.text.is_empty()
            {
                word.operator = Some((word.text.len(), word.text.len() + operator.len(), operator));
                for _ in operator.chars() {
                    rest.next();
                }
                word.text.push_str(operator);
                end = at + operator.len();
                continue;
            }
            word.text.push(letter);
            end = at + letter.len_utf8();
            rest.next();
        }
        word.len = end - start;
        words.push(word);
    }
    Ok(words)
}

fn quoted(
    rest: &mut std::iter::Peekable<std::str::CharIndices<'_>>,
    open: usize,
    length: usize,
    into: &mut String,
) -> Result<usize, FilterError> {
    while let Some((at, letter)) = rest.next() {
        match letter {
            '"' => return Ok(at + 1),
            '\\' => match rest.next() {
                Some((_, escaped)) => into.push(escaped),
                None => break,
            },
            _ => into.push(letter),
        }
    }
    Err(FilterError { at: open, len: length - open, message: "the quote is never closed".to_owned() })
}

/// The field meant by a name: itself, or without its `At` (`created` for `createdAt`).
fn field_named<R: Resource>(name: &str) -> Option<&'static Field> {
    R::field(name).or_else(|| R::FIELDS.iter().find(|field| field.name.strip_suffix("At") == Some(name)))
}

/// The one currency that a filter is about, if it names one.
fn currency_in(words: &[Word]) -> Option<Currency> {
    words.iter().find_map(|word| {
        let (name_end, value_start, operator) = word.operator?;
        let is = &word.text[..name_end] == "currency" && matches!(operator, ":" | "=");
        word.text[value_start..].to_ascii_uppercase().parse().ok().filter(|_| is)
    })
}

/// Codes of currencies, separated by commas; small letters do as well.
fn currencies(text: &str) -> Result<String, String> {
    let code = |code: &str| code.trim().to_ascii_uppercase().parse::<Currency>();
    let read: Result<Vec<Currency>, _> = text.split(',').map(code).collect();
    let read = read.map_err(|wrong| wrong.to_string())?;
    Ok(read.iter().map(Currency::to_string).collect::<Vec<_>>().join(","))
}

/// Decimals as minor units: which these are depends on the currency.
fn minor(text: &str, currency: Option<Currency>) -> Result<String, String> {
    match currency {
        Some(currency) => currency.minor(text).map(|minor| minor.to_string()),
        None => {
            let euro = "EUR".parse().ok().and_then(|euro: Currency| euro.minor(text).ok());
            let example = euro.map(|minor| format!(" ({minor} is {text} EUR)")).unwrap_or_default();
            Err(format!(
                "compares whole minor units{example}; decimals need the currency beside them: currency:EUR"
            ))
        }
    }
}

/// Reads a filter for lists of `R`.
///
/// # Errors
/// The first mistake, with its place.
pub fn parse<R: Resource>(text: &str) -> Result<Filter, FilterError> {
    let mut filter = Filter::default();
    let mut search: Vec<String> = Vec::new();
    let words = words(text)?;
    let currency = currency_in(&words);
    for word in words {
        let wrong = |message: String| FilterError { at: word.at, len: word.len, message };
        let Some((name_end, value_start, operator)) = word.operator else {
            if !R::SEARCH {
                return Err(wrong(format!(
                    "{} has no search; compare a field, like {}:value",
                    R::NAME,
                    R::FIELDS.first().map_or("field", |field| field.name)
                )));
            }
            search.push(word.text);
            continue;
        };
        let (name, value) = (&word.text[..name_end], &word.text[value_start..]);
        let Some(field) = field_named::<R>(name) else {
            // a quoted name is longer where it stands than what it says
            let len = if text[word.at..].starts_with(name) { name_end } else { word.len };
            return Err(FilterError { len, ..wrong(crate::page::unknown_field::<R>(name)) });
        };
        let (op, value) = match operator {
            ":" | "=" if value == "null" => (Op::IsNull, "true"),
            "!=" if value == "null" => (Op::IsNull, "false"),
            ":" | "=" => match value.strip_prefix('^') {
                Some(start) => (Op::Prefix, start),
                None if value.contains(',') => (Op::In, value),
                None => (Op::Eq, value),
            },
            "!=" => (Op::Ne, value),
            ">" => (Op::Gt, value),
            ">=" => (Op::Gte, value),
            "<" => (Op::Lt, value),
            _ => (Op::Lte, value),
        };
        // of a word that stands there as it was read, only the value is wrong
        let of_value = |why: String| {
            let as_read = text[word.at..].starts_with(&word.text[..value_start]);
            let skip = if as_read { value_start } else { 0 };
            let message = format!("{} {why}", field.name);
            FilterError { at: word.at + skip, len: word.len - skip, message }
        };
        // a list of a currency that there is not would only be empty
        let codes = (field.name == "currency").then(|| currencies(value)).transpose().map_err(of_value)?;
        let value = codes.as_deref().unwrap_or(value);
        let minor = match field.kind {
            Kind::Money if value.contains('.') => Some(minor(value, currency).map_err(of_value)?),
            _ => None,
        };
        let value = field.read(op, minor.as_deref().unwrap_or(value)).map_err(of_value)?;
        filter.conditions.push(Condition { field: field.name, op, value });
    }
    if !search.is_empty() {
        filter.q = Some(search.join(" "));
    }
    Ok(filter)
}

/// What could stand at the end of `text`: field names, or the words of the field begun.
pub fn complete<R: Resource>(text: &str) -> Vec<String> {
    let last = text.rsplit(char::is_whitespace).next().unwrap_or_default();
    match last.split_once([':', '=']) {
        None => R::FIELDS
            .iter()
            .filter(|field| field.name.starts_with(last))
            .map(|field| {
                format!(
                    "{}{}",
                    field.name,
                    if matches!(field.kind, Kind::Time | Kind::Integer | Kind::Money) { ">" } else { ":" }
                )
            })
            .collect(),
        Some((name, value)) => match field_named::<R>(name).map(|field| field.kind) {
            Some(Kind::Word(known)) => {
                let begun = value.rsplit(',').next().unwrap_or_default();
                let before = &last[..last.len() - begun.len()];
                known
                    .iter()
                    .filter(|word| word.starts_with(begun))
                    .map(|word| format!("{before}{word}"))
                    .collect()
            }
            _ => Vec::new(),
        },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        operations::{transfers::Transfer, users::User},
        page::FilterValue,
    };

    fn shown(text: &str) -> String {
        let filter = parse::<User>(text).unwrap_or_else(|wrong| panic!("{text}: {wrong}"));
        serde_json::to_string(&filter.apply(List::<User>::new())).unwrap()
    }

    #[test]
    fn compiles_to_the_parameters_of_the_wire() {
        assert_eq!(
            shown("status:active,suspended created>-7d email:^ada"),
            r#"{"filter[status][in]":"active,suspended","filter[createdAt][gt]":"-604800s","filter[email][prefix]":"ada"}"#
        );
        assert_eq!(
            shown(r#"ada "of  kent" lastLogin:null"#),
            r#"{"q":"ada of  kent","filter[lastLoginAt][isnull]":"true"}"#
        );
        assert_eq!(shown(r#"name:^"Ada L""#), r#"{"filter[name][prefix]":"Ada L"}"#);
        assert_eq!(shown(""), "{}");
    }

    #[test]
    fn mistakes_know_their_place() {
        let wrong = parse::<User>("status:active colour:red").unwrap_err();
        assert_eq!((wrong.at, wrong.len), (14, 6));
        assert!(wrong.message.contains("colour"), "{wrong}");
        let wrong = parse::<User>("status:open").unwrap_err();
        assert!(wrong.message.contains("active, suspended, deleted"), "{wrong}");
        assert_eq!((wrong.at, wrong.len), (7, 4));
        let wrong = parse::<User>("stauts:active").unwrap_err();
        assert!(wrong.message.contains("did you mean status?"), "{wrong}");
        let wrong = parse::<User>("creatd>-7d").unwrap_err();
        assert!(wrong.message.contains("did you mean created?"), "{wrong}");
        assert!(!parse::<User>("colour:red").unwrap_err().message.contains("did you mean"));
        let wrong = parse::<User>(r#"name:"Ada"#).unwrap_err();
        assert_eq!(wrong.at, 5);
    }

    #[test]
    fn completes_fields_and_words() {
        assert_eq!(complete::<User>("sta"), ["status:"]);
        assert_eq!(complete::<User>("x status:active,su"), ["status:active,suspended"]);
    }

    #[test]
    fn decimals_of_money_need_their_currency() {
        let shown = |text: &str| {
            let filter = parse::<Transfer>(text);
            filter.map(|filter| serde_json::to_string(&filter.apply(List::<Transfer>::new())).unwrap())
        };
        assert_eq!(
            shown("amount>=10.50 currency:EUR").unwrap(),
            r#"{"filter[amount][gte]":"1050","filter[currency]":"EUR"}"#
        );
        assert_eq!(shown("amount<5").unwrap(), r#"{"filter[amount][lt]":"5"}"#);
        let wrong = shown("status:posted amount>=10.50").unwrap_err();
        assert!(wrong.message.contains("1050 is 10.50 EUR") && wrong.at == 22, "{wrong}");
        assert!(shown("amount>1.5 currency:JPY").unwrap_err().message.contains("JPY"));
        assert!(shown("amount>1.5 currency:EUR,USD").is_err());
        assert_eq!(shown("currency:eur,usd").unwrap(), r#"{"filter[currency][in]":"EUR,USD"}"#);
        assert!(shown("currency:euro").unwrap_err().message.contains("ISO 4217"));
    }

    #[test]
    fn keeps_relative_times_relative() {
        let filter = parse::<User>("created>=-2h").unwrap();
        assert!(matches!(filter.conditions[0].value, FilterValue::Time(crate::time::TimeExpr::Ago(7_200))));
    }

    proptest! {
        #[test]
        fn nothing_a_person_types_breaks_it(text in ".{0,60}") {
            if let Err(wrong) = parse::<User>(&text) {
                prop_assert!(wrong.at + wrong.len <= text.len());
                prop_assert!(text.is_char_boundary(wrong.at) && text.is_char_boundary(wrong.at + wrong.len));
            }
            complete::<User>(&text);
        }
    }
}
