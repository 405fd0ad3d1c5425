//! The reference for people: docs/api.md, from the same table as the OpenAPI document.

use std::fmt::Write;

use bursar_shared::{error::ErrorCode, operation::Access};
use serde_json::Value;

use super::{Described, Member, TAGS, errors, read};

/// What docs/api.md must hold; a test compares.
pub fn markdown() -> String {
    let operations = read().operations;
    let mut out = String::from(
        "# The API\n\nThis file is made from the table of operations (`shared/src/operations.rs`); do not edit it. \
         The same table gives `/openapi.json`.\n",
    );
    for (tag, about) in TAGS {
        let of_tag: Vec<&Described> = operations.iter().filter(|operation| operation.tag() == *tag).collect();
        if of_tag.is_empty() {
            continue;
        }
        put(&mut out, format_args!("\n## {tag}\n\n{about}\n"));
        for operation in of_tag {
            one(&mut out, operation);
        }
    }
    out.push_str(
        "\n## Errors\n\nEvery operation may also answer the errors marked with *; every operation that needs a \
         sign-in those marked with +.\n\n| code | status | exit | |\n|---|---|---|---|\n",
    );
    for code in ErrorCode::ALL {
        let everywhere = |public| {
            operations
                .iter()
                .filter(|one| (one.access == Access::Public) == public)
                .all(|one| has(one, *code))
        };
        let mark = match (everywhere(true), everywhere(false)) {
            (true, true) => " *",
            (_, true) => " +",
            _ => "",
        };
        let class = code.class();
        put(
            &mut out,
            format_args!("| `{code}`{mark} | {} | {} | {} |\n", code.status(), class.exit(), class.hint()),
        );
    }
    out
}

fn has(operation: &Described, code: ErrorCode) -> bool {
    errors::of(operation).get(&code.status()).is_some_and(|codes| codes.contains(&code))
}

fn one(out: &mut String, operation: &Described) {
    let access = match operation.access {
        Access::Public => "everybody".to_owned(),
        Access::SignedIn => "signed in".to_owned(),
        Access::Needs(permission) => format!("`{permission}`"),
    };
    put(
        out,
        format_args!("\n### {} `{}`\n\n{}\n\n", operation.method.as_str(), operation.path, operation.about),
    );
    put(out, format_args!("- operation: `{}`\n- access: {access}\n", operation.name));
    let place = if operation.method.has_body() { "body" } else { "query" };
    list(out, "path", &operation.path_members);
    list(out, place, &operation.members);
    let mut also = Vec::new();
    for (applies, name) in [
        (operation.has_dry_run(), "`?dryRun`"),
        (operation.has_key() && !operation.keyed, "`Idempotency-Key`"),
        (operation.keyed, "`Idempotency-Key` (required)"),
        (operation.has_if_match(), "`If-Match`"),
        (operation.has_not_modified(), "`If-None-Match`"),
        (operation.streamed, "`Last-Event-ID`"),
    ] {
        if applies {
            also.push(name);
        }
    }
    if !also.is_empty() {
        put(out, format_args!("- takes: {}\n", also.join(", ")));
    }
    if operation.body_limit != 1 << 20 {
        put(out, format_args!("- body: up to {} MiB\n", operation.body_limit >> 20));
    }
    put(out, format_args!("- answers: {} {}\n", operation.status, kind(&operation.data)));
    if !operation.errors.is_empty() {
        let codes: Vec<String> = operation.errors.iter().map(|code| format!("`{code}`")).collect();
        put(out, format_args!("- refuses: {}\n", codes.join(", ")));
    }
}

fn list(out: &mut String, place: &str, members: &[Member]) {
    if members.is_empty() {
        return;
    }
    let each: Vec<String> = members
        .iter()
        .map(|member| {
            let mark = if member.required { "" } else { "?" };
            format!("`{}{mark}`: {}", member.name, kind(&member.schema))
        })
        .collect();
    put(out, format_args!("- {place}: {}\n", each.join(", ")));
}

/// What a value is, in a word or two.
fn kind(schema: &Value) -> String {
    if let Some(path) = schema["$ref"].as_str() {
        return path.rsplit('/').next().unwrap_or_default().to_owned();
    }
    if let Some(words) = schema["enum"].as_array() {
        return words.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" \\| ");
    }
    if let Some(any) = schema["anyOf"].as_array() {
        return any.iter().map(kind).collect::<Vec<_>>().join(" or ");
    }
    match &schema["type"] {
        Value::String(name) if name == "array" => format!("list of {}", kind(&schema["items"])),
        Value::String(name) => name.clone(),
        Value::Array(names) => names.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" or "),
        _ => "any JSON".to_owned(),
    }
}

fn put(out: &mut String, text: std::fmt::Arguments<'_>) {
    // writing to a string cannot fail
    let _ = out.write_fmt(text);
}
