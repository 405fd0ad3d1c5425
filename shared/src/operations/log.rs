//! The one log, seen as events (changes) and as audit (everything): requests and answers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    id::EventId,
    operation::plain,
    page::{Field, Kind, Op, Resource, Sort},
    request,
    time::Timestamp,
};

/// Who did something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Actor {
    /// Their id; null for the system and for strangers.
    pub id: Option<String>,
    /// `user`, `api_key`, `system` or `anonymous`.
    pub kind: String,
    /// Where the request came from.
    pub ip: Option<String>,
}

/// What something was done to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Subject {
    /// `user`, `session`, ...
    #[serde(rename = "type")]
    pub kind: String,
    /// Its id.
    pub id: Option<String>,
    /// Its version afterwards, where it has one.
    pub version: Option<i64>,
}

/// One row of the log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// Its id.
    pub id: EventId,
    /// Its place: without gaps, in the order of the commits.
    pub seq: i64,
    /// What happened: `noun.verb_past`.
    #[serde(rename = "type")]
    pub kind: String,
    /// When.
    pub timestamp: Timestamp,
    /// Who did it.
    pub actor: Actor,
    /// In which request.
    pub request_id: String,
    /// To what.
    pub resource: Subject,
    /// The resource as the API shows it, or facts about what happened.
    pub data: Value,
    /// For edits: `{member: [before, after]}`.
    pub changes: Value,
    /// SHA-256 over this row and the hash before it, in hex.
    pub hash: String,
}

const FIELDS: &[Field] = &[
    Field { name: "type", kind: Kind::Text, ops: &[Op::Eq, Op::In, Op::Prefix] },
    Field { name: "resourceId", kind: Kind::Text, ops: &[Op::Eq] },
    Field { name: "actorId", kind: Kind::Text, ops: &[Op::Eq] },
    Field { name: "requestId", kind: Kind::Text, ops: &[Op::Eq] },
    Field::range("timestamp", Kind::Time),
];

impl Resource for Event {
    const NAME: &'static str = "events";
    const FIELDS: &'static [Field] = FIELDS;
    const SORTS: &'static [&'static str] = &["seq"];
    const DEFAULT_SORT: Sort = Sort { key: "seq", descending: true };
    const AFTER: bool = true;

    fn id(&self) -> String {
        self.id.to_string()
    }
}

/// A row of the log as auditors see it: also sign-ins, failures and denials.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct AuditEntry(pub Event);

impl Resource for AuditEntry {
    const NAME: &'static str = "audit";
    const FIELDS: &'static [Field] = FIELDS;
    const SORTS: &'static [&'static str] = &["seq"];
    const DEFAULT_SORT: Sort = Sort { key: "seq", descending: true };
    const AFTER: bool = true;

    fn id(&self) -> String {
        self.0.id.to_string()
    }
}

request! {
    /// Reads one row of the log.
    pub struct GetAuditEntry {
        /// Which.
        pub id: EventId,
    }
}

request! {
    /// Recomputes the chain of hashes; changes nothing.
    pub struct VerifyAudit {}
}

/// What the chain of hashes says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditReport {
    /// Whether every row is as it was written and none is missing.
    pub ok: bool,
    /// Rows recomputed.
    pub checked: u64,
    /// The last row.
    pub head_seq: i64,
    /// The first row that does not fit.
    pub first_broken_seq: Option<i64>,
}

plain! {
    AuditEntry;
    AuditReport;
}
