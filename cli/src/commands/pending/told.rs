//! What a change on its way says, and what came of it, in words: without secrets, amounts as decimals.

use bursar_shared::{money::Currency, operations::Row, text::clean};
use serde_json::{Map, Value, json};

use crate::{error::said, journal::Pending, output::plain};

/// Members of a request that may be shown; whatever else a body holds may be a password.
const SHOWN: &[&str] = &[
    "fromAccountId",
    "toAccountId",
    "mode",
    "reason",
    "description",
    "externalId",
    "name",
    "email",
    "roles",
    "ownerId",
    "userId",
    "sweepToAccountId",
];

fn body(pending: &Pending) -> Map<String, Value> {
    match pending.body.as_deref().map(serde_json::from_str) {
        Some(Ok(Value::Object(members))) => members,
        _ => Map::new(),
    }
}

/// An amount and its currency, when they are in one: of a batch the sum.
fn money(body: &Map<String, Value>) -> Option<(i64, Currency)> {
    let one = |body: &Map<String, Value>| {
        Some((body.get("amount")?.as_i64()?, body.get("currency")?.as_str()?.parse::<Currency>().ok()?))
    };
    let Some(items) = body.get("items").and_then(Value::as_array) else { return one(body) };
    let mut sum: Option<(i64, Currency)> = None;
    for item in items {
        let (amount, currency) = one(item.as_object()?)?;
        let (before, of) = sum.unwrap_or((0, currency));
        sum = Some((before.checked_add(amount)?, of)).filter(|_| of == currency);
        sum?;
    }
    sum
}

/// What may be shown of a change. Money as on the wire; the row's currency makes decimals of it.
pub(super) fn shown(pending: &Pending) -> Value {
    let body = body(pending);
    let mut shown = json!({
        "key": pending.key, "at": pending.at, "method": pending.method, "target": pending.target,
        "who": pending.who, "server": pending.server, "context": pending.context,
        "ifMatch": pending.if_match, "what": what(pending), "amount": null, "currency": null,
        "fromAccountId": null, "toAccountId": null, "reason": null,
    });
    for name in SHOWN {
        if let Some(value) = body.get(*name) {
            shown[*name] = value.clone();
        }
    }
    match money(&body) {
        Some((amount, currency)) => {
            shown["amount"] = json!(amount);
            shown["currency"] = json!(currency);
        }
        // of a capture the body alone does not say in which currency
        None => {
            if let Some(amount) = body.get("amount") {
                shown["minorUnits"] = amount.clone();
            }
        }
    }
    if let Some(items) = body.get("items").and_then(Value::as_array) {
        shown["lines"] = json!(items.len());
    }
    shown
}

/// `CreateUser` -> `create user`.
fn spaced(name: &str) -> String {
    let mut words = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.extend(letter.to_lowercase());
    }
    words
}

/// What a change does, in one line that is safe for a terminal.
pub(super) fn what(pending: &Pending) -> String {
    let body = body(pending);
    let text = |name: &str| body.get(name).map(plain).filter(|text| !text.is_empty());
    let money = money(&body).map(|(amount, of)| format!("{} {of}", of.decimal(amount)));
    let path = pending.target.split('?').next().unwrap_or_default();
    let id = path.split('/').find(|part| part.get(3..4) == Some("_"));
    let name = Row::of(&pending.method, &pending.target).map(|row| row.name);
    let mut words = match (name, body.get("items").and_then(Value::as_array)) {
        (_, Some(items)) => {
            let s = if items.len() == 1 { "" } else { "s" };
            let sum = money.map(|money| format!(", {money} in all")).unwrap_or_default();
            format!("{} transfer{s}{sum}", items.len())
        }
        (Some("CreateTransfer"), None) => {
            let verb = if text("mode").as_deref() == Some("hold") { "hold" } else { "move" };
            let end = |name| text(name).unwrap_or_else(|| "?".to_owned());
            let money = money.unwrap_or_else(|| "?".to_owned());
            format!("{verb} {money} from {} to {}", end("fromAccountId"), end("toAccountId"))
        }
        (name, None) => {
            let mut words = name.map_or_else(|| format!("{} {path}", pending.method), spaced);
            if let (Some(_), Some(id)) = (name, id) {
                words.push_str(&format!(" {id}"));
            }
            for text in ["name", "email"].into_iter().filter_map(text) {
                words.push_str(&format!(" {text}"));
            }
            if let Some(amount) = money.or_else(|| text("amount").map(|minor| format!("{minor} minor units")))
            {
                words.push_str(&format!(", {amount}"));
            }
            words
        }
    };
    for text in ["reason", "description", "externalId"].into_iter().filter_map(text) {
        words.push_str(&format!(" · {text}"));
    }
    clean(&words).into_owned()
}

/// What came of a change: how many of its lines were made and refused, and the whole in words.
pub(super) struct Came {
    pub words: String,
    pub lines: Option<(usize, usize)>,
}

/// Reads it from the answer.
pub(super) fn came(pending: &Pending, data: &Value, replayed: bool) -> Came {
    let when = if replayed { "was done before" } else { "is done now" };
    if let Some(items) = data.get("items").and_then(Value::as_array) {
        let refused: Vec<&Value> = items.iter().filter(|item| !item["error"].is_null()).collect();
        let made = items.len() - refused.len();
        let mut words = format!("{}: {when}: {made} made, {} refused", what(pending), refused.len());
        if let Some(error) = refused.first().and_then(|one| serde_json::from_value(one["error"].clone()).ok())
        {
            words.push_str(&format!("; the first refusal: {}", clean(&said(&error))));
        }
        return Came { words, lines: Some((made, refused.len())) };
    }
    let mut words = format!("{}: {when}", what(pending));
    if let Some(id) = data.get("id").map(plain) {
        words.push_str(&format!(": {}", clean(&id)));
    }
    if let Some(status) = data.get("status").map(plain) {
        words.push_str(&format!(", {}", clean(&status)));
    }
    for account in data.get("accounts").and_then(Value::as_array).into_iter().flatten() {
        let currency = data["currency"].as_str().and_then(|code| code.parse::<Currency>().ok());
        if let (Some(of), Some(posted)) = (currency, account["balances"]["posted"].as_i64()) {
            words.push_str(&format!(
                "; {} held {} {of} then",
                clean(&plain(&account["id"])),
                of.decimal(posted)
            ));
        }
    }
    Came { words, lines: None }
}

#[cfg(test)]
mod tests {
    use bursar_shared::time::Timestamp;

    use super::*;

    fn pending(method: &str, target: &str, body: Value) -> Pending {
        Pending {
            key: "0123456789abcdef".to_owned(),
            context: None,
            server: "http://127.0.0.1:1".to_owned(),
            who: "ada@example.com".to_owned(),
            at: Timestamp::from_micros(1),
            method: method.to_owned(),
            target: target.to_owned(),
            if_match: None,
            body: Some(body.to_string()),
        }
    }

    #[test]
    fn a_change_says_what_it_does_and_keeps_secrets() {
        let item = json!({ "fromAccountId": "world:EUR", "toAccountId": "acc_1", "amount": 1234, "currency": "EUR",
            "reason": "rent\u{1b}[2J" });
        let yen = json!({ "fromAccountId": "a", "toAccountId": "b", "amount": 5, "currency": "JPY" });
        for (method, target, body, wanted) in [
            (
                "POST",
                "/v1/transfers",
                item.clone(),
                "move 12.34 EUR from world:EUR to acc_1 · rent\\u{1b}[2J",
            ),
            (
                "POST",
                "/v1/transfers/batch",
                json!({ "items": [item, item] }),
                "2 transfers, 24.68 EUR in all",
            ),
            ("POST", "/v1/transfers/batch", json!({ "items": [item, yen] }), "2 transfers"),
            (
                "POST",
                "/v1/transfers/trf_1/capture",
                json!({ "amount": 5 }),
                "capture transfer trf_1, 5 minor units",
            ),
            (
                "POST",
                "/v1/users",
                json!({ "email": "a@b.io", "name": "A", "password": "correct horse" }),
                "create user A a@b.io",
            ),
            ("POST", "/v1/nowhere?a=b", json!({ "secret": "x" }), "POST /v1/nowhere"),
            ("PUT", "/v1/transfers", json!([1]), "PUT /v1/transfers"),
        ] {
            let pending = pending(method, target, body);
            assert_eq!(what(&pending), wanted);
            let shown = shown(&pending).to_string();
            assert!(!shown.contains("correct horse") && !shown.contains("secret"), "{shown}");
        }
        let two = shown(&pending("POST", "/v1/transfers/batch", json!({ "items": [item, item] })));
        assert_eq!(
            (&two["amount"], &two["currency"], &two["lines"]),
            (&json!(2468), &json!("EUR"), &json!(2))
        );
    }
}
