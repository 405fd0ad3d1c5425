//! `--as-curl`: a call as somebody would type it, with no secret in it.

use bursar_shared::{
    client::{Client, How},
    operation::{Access, Operation},
    wire,
};
use serde_json::Value;

use crate::{
    context::Cx,
    error::{Failure, Result},
    output,
};

/// Members whose values are never shown.
const SECRETS: &[&str] =
    &["password", "passwordHash", "currentPassword", "newPassword", "refreshToken", "resetToken"];

/// A word for a POSIX shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

fn masked(body: &[u8]) -> String {
    // what cannot be read may hold anything
    let Ok(mut value) = serde_json::from_slice::<Value>(body) else { return "***".to_owned() };
    mask(&mut value);
    value.to_string()
}

fn mask(value: &mut Value) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                match SECRETS.contains(&name.as_str()) {
                    true => *value = Value::String("***".to_owned()),
                    false => mask(value),
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(mask),
        _ => {}
    }
}

/// The call as a curl command. The token is fetched by the command when it runs.
pub(crate) fn command(
    server: &str,
    context: Option<&str>,
    method: &str,
    target: &str,
    body: Option<&[u8]>,
    how: &How,
    public: bool,
) -> String {
    let mut line = "curl -sS".to_owned();
    if method != "GET" {
        line.push_str(&format!(" -X {method}"));
    }
    let mut target = target.to_owned();
    if how.dry_run {
        target.push(if target.contains('?') { '&' } else { '?' });
        target.push_str("dryRun=true");
    }
    line.push_str(&format!(" {}", quoted(&format!("{server}{target}"))));
    if !public {
        // both named, so that neither somebody else's token nor that of another daemon ever goes there
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let context = context.map(|name| match name.chars().all(plain) {
            true => format!("-c {name} "),
            false => format!("-c {} ", quoted(name)),
        });
        line.push_str(&format!(
            r#" -H "Authorization: Bearer $(bursar {}auth token --server {server})""#,
            context.unwrap_or_default()
        ));
    }
    if let Some(key) = &how.key {
        line.push_str(&format!(" -H {}", quoted(&format!("Idempotency-Key: {key}"))));
    }
    if let Some(version) = how.if_match {
        line.push_str(&format!(" -H {}", quoted(&format!("If-Match: \"{version}\""))));
    }
    if let Some(body) = body {
        line.push_str(&format!(" -H 'Content-Type: application/json' --data {}", quoted(&masked(body))));
    }
    line.push('\n');
    line
}

/// Prints an operation as a curl command.
pub(crate) fn print<O: Operation>(cx: &Cx, client: &Client, op: &O, how: &How) -> Result<()> {
    let encoded = wire::encode(op).map_err(|wrong| Failure::new(1, wrong.to_string()))?;
    let public = <O::Access as bursar_shared::operation::Admits>::ACCESS == Access::Public;
    output::text(&command(
        client.server(),
        cx.target()?.name.as_deref(),
        O::METHOD.as_str(),
        &encoded.target,
        encoded.body.as_deref(),
        how,
        public,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_the_call_and_no_secret() {
        let how = How { key: Some("k1".to_owned()), if_match: Some(3), dry_run: true, once: false };
        let body = br#"{"name":"O'Hara","password":"correct horse"}"#;
        insta::assert_snapshot!(
            command("http://127.0.0.1:8460", Some("prod"), "POST", "/v1/users", Some(body), &how, false),
            @r#"curl -sS -X POST 'http://127.0.0.1:8460/v1/users?dryRun=true' -H "Authorization: Bearer $(bursar -c prod auth token --server http://127.0.0.1:8460)" -H 'Idempotency-Key: k1' -H 'If-Match: "3"' -H 'Content-Type: application/json' --data '{"name":"O'\''Hara","password":"***"}'"#
        );
        for body in [r#"{"items":[{"data":{"password":"correct horse"}}]}"#, r#"{"password":"correct horse"#]
        {
            let line =
                command("http://h", None, "POST", "/v1/users/bulk", Some(body.as_bytes()), &how, false);
            assert!(line.contains("***") && !line.contains("horse"), "{line}");
        }
    }
}
