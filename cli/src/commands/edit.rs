//! Editing a record in an editor: read, changed by hand, and written only if nobody was quicker.

use std::{io::Write as _, process::Command};

use bursar_shared::{client::Client, operations::users::UpdateUser};
use serde_json::{Map, Value, json};

use super::users;
use crate::{
    change::{self, Change, ChangeArgs, Weight},
    context::{Cx, variable},
    error::{Failure, Result},
};

/// Opens the text in the person's editor; gives what they left.
fn by_hand(text: &str) -> Result<String> {
    let editor = variable("BURSAR_EDITOR").or_else(|| variable("VISUAL")).or_else(|| variable("EDITOR"));
    let editor = editor.unwrap_or_else(|| "vi".to_owned());
    let wrong = |wrong: std::io::Error| Failure::new(1, format!("the editor cannot be used: {wrong}"));
    let mut file = tempfile::Builder::new().prefix("bursar-").suffix(".json").tempfile().map_err(wrong)?;
    file.write_all(text.as_bytes()).map_err(wrong)?;
    file.flush().map_err(wrong)?;
    // editors are often set with flags (`code --wait`), and may replace the file instead of writing to it
    let mut words = editor.split_whitespace();
    let program = words.next().unwrap_or("vi");
    let status = Command::new(program).args(words).arg(file.path()).status().map_err(wrong)?;
    if !status.success() {
        return Err(Failure::new(1, format!("{program} ended with {status}; nothing was changed")));
    }
    std::fs::read_to_string(file.path()).map_err(wrong)
}

/// The merge patch (RFC 7396) that makes `after` of `before`.
fn difference(before: &Map<String, Value>, after: &Map<String, Value>) -> Map<String, Value> {
    let mut patch = Map::new();
    for (name, value) in after {
        match (before.get(name), value) {
            (Some(old), new) if old == new => {}
            (Some(Value::Object(old)), Value::Object(new)) => {
                patch.insert(name.clone(), Value::Object(difference(old, new)));
            }
            _ => {
                patch.insert(name.clone(), value.clone());
            }
        }
    }
    for name in before.keys().filter(|name| !after.contains_key(*name)) {
        patch.insert(name.clone(), Value::Null);
    }
    patch
}

/// Edits a person.
pub(crate) async fn user(cx: &Cx, client: &Client, user: &str, args: &ChangeArgs) -> Result<()> {
    if !cx.can_ask() && variable("BURSAR_EDITOR").is_none() {
        return Err(Failure::usage("there is no terminal for an editor; use bursar users update"));
    }
    let user = users::find(client, user, None).await?;
    let before = json!({
        "email": user.email.as_str(),
        "name": user.name.as_str(),
        "externalId": user.external_id,
        "metadata": user.metadata,
    });
    let text = serde_json::to_string_pretty(&before)? + "\n";
    let edited = by_hand(&text)?;
    let after: Value = serde_json::from_str(&edited).map_err(|wrong| {
        Failure::usage(format!("the text is no JSON any more: {wrong}; nothing was changed"))
    })?;
    let (Some(before), Some(after)) = (before.as_object(), after.as_object()) else {
        return Err(Failure::usage("the text is no JSON object any more; nothing was changed"));
    };
    let mut patch = difference(before, after);
    if patch.is_empty() {
        cx.say("nothing was changed");
        return Ok(());
    }
    patch.insert("id".to_owned(), json!(user.id));
    let op: UpdateUser = change::request(patch)?;
    let change = Change::begin(cx, client, args, Weight::Light, "change a person")?;
    users::finish(cx, change.make_if(&op, args.if_match.or(Some(user.version))).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_changed_is_sent() {
        let object = |value: Value| value.as_object().cloned().unwrap_or_default();
        let before = object(json!({"name": "Ada", "externalId": "x", "metadata": {"a": "1", "b": "2"}}));
        let after = object(json!({"name": "Ada", "metadata": {"a": "1", "c": "3"}}));
        let patch = Value::Object(difference(&before, &after));
        assert_eq!(patch, json!({"externalId": null, "metadata": {"b": null, "c": "3"}}));
        assert!(difference(&before, &before).is_empty());
    }
}
