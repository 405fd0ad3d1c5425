//! Which errors an operation may answer, by status, and their schemas.

use std::collections::BTreeMap;

use bursar_shared::{
    error::{Class, ErrorCode},
    operation::Access,
};
use serde_json::{Value, json};

use super::{Described, Object};

/// Every code that an operation may answer, by status.
pub(super) fn of(operation: &Described) -> BTreeMap<u16, Vec<ErrorCode>> {
    use ErrorCode as Code;
    let mut codes = vec![
        Code::MalformedRequest,
        Code::MethodNotAllowed,
        Code::BodyTooLarge,
        Code::ValidationFailed,
        Code::RateLimited,
        Code::Internal,
        Code::Overloaded,
        Code::DatabaseUnavailable,
        Code::ShuttingDown,
        Code::Timeout,
    ];
    if operation.method.has_body() {
        codes.push(Code::UnsupportedMediaType);
    }
    if operation.is_write() {
        codes.push(Code::StorageFull);
    }
    if operation.has_dry_run() {
        codes.push(Code::IdempotencyKeyReused);
    }
    if operation.keyed {
        codes.push(Code::IdempotencyKeyRequired);
    }
    if operation.access != Access::Public {
        codes.extend([Code::Unauthenticated, Code::TokenExpired, Code::TokenInvalid, Code::SessionRevoked]);
    }
    if matches!(operation.access, Access::Needs(_)) {
        codes.push(Code::Forbidden);
    }
    codes.extend_from_slice(operation.errors);
    // in the order in which they are declared, each once
    codes.sort_by_key(|code| Code::ALL.iter().position(|other| other == code));
    codes.dedup();
    let mut by_status: BTreeMap<u16, Vec<Code>> = BTreeMap::new();
    for code in codes {
        by_status.entry(code.status()).or_default().push(code);
    }
    by_status
}

/// The answers with errors, each set of codes once for all operations that share it.
#[derive(Default)]
pub(super) struct Responses(Object);

impl Responses {
    /// A reference to the answer with one of these codes, which have one status.
    pub(super) fn refer(&mut self, codes: &[ErrorCode]) -> Value {
        let texts: Vec<&str> = codes.iter().map(|code| code.as_str()).collect();
        let name = texts.join(".");
        let reference = json!({ "$ref": format!("#/components/responses/{name}") });
        self.0.entry(name).or_insert_with(|| {
            let mut headers = json!({ "X-Request-Id": { "$ref": "#/components/headers/X-Request-Id" } });
            if codes.iter().any(|code| matches!(code.class(), Class::Throttled | Class::Unavailable)) {
                headers["Retry-After"] = json!({ "$ref": "#/components/headers/Retry-After" });
            }
            json!({
                "description": texts.iter().map(|code| format!("`{code}`")).collect::<Vec<_>>().join(" or "),
                "headers": headers,
                "content": { "application/json": { "schema": { "allOf": [
                    { "$ref": "#/components/schemas/ErrorEnvelope" },
                    { "properties": { "error": { "properties": { "code": { "enum": texts } } } } },
                ] } } },
            })
        });
        reference
    }

    /// All of them, and what the HTTP library itself refuses, which has no envelope.
    pub(super) fn finish(mut self) -> Object {
        for (name, about) in [
            ("UriTooLong", "Path and query are longer than 8 KiB."),
            ("HeadTooLarge", "The headers are more than 100, or longer than 16 KiB."),
        ] {
            self.0.insert(name.to_owned(), json!({ "description": about }));
        }
        self.0
    }
}
