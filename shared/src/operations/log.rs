//! The one log, seen as events (changes) and as audit (everything): requests and answers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    decode::{Decode, Decoder},
    id::{EventId, UserId},
    operation::plain,
    page::{Condition, Field, Holds, Kind, List, Op, Resource, Sort, Within},
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

/// What happened to a person and what they did, the newest first: changes of them, of their sessions and
/// accounts, of transfers from and to these, and what they changed themselves; of the kinds that the caller
/// may read.
pub type Timeline = Within<UserId, Event>;

impl Holds<Event> for UserId {
    const ABOUT: &'static str = "What happened to a person and what they did, the newest first: changes of them, \
                                 of their sessions and accounts, of transfers from and to these, and what they \
                                 changed themselves; of the kinds that the caller may read.";
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

/// Changes as they are committed, oldest first, for as long as the caller listens.
///
/// Server-sent events: `hello` says from which row on, a row's event is named by its type and its id is
/// its number, `beat` says that nothing came, `bye` why it ends. Begins now, after the row `after`, or
/// after `Last-Event-ID`; nothing in between is left out, whatever was restarted meanwhile.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StreamEvents {
    /// Only rows after this number; what is new when absent.
    pub after: Option<i64>,
    /// What must hold of each row.
    pub filter: Vec<Condition>,
}

impl StreamEvents {
    /// The same as a list, whose words and checks it shares.
    fn list(&self) -> List<Event> {
        let mut list = List::new();
        list.after = self.after;
        list.filter.clone_from(&self.filter);
        list
    }
}

/// Times are left out: rows come when they come.
fn streams_by(name: &str) -> bool {
    name == "after" || (name.starts_with("filter[") && !name.starts_with("filter[timestamp]"))
}

impl Serialize for StreamEvents {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.list().serialize(to)
    }
}

impl Decode for StreamEvents {
    fn decode(value: &Value, at: &mut Decoder<'_>) -> Option<Self> {
        let members = at.object(value)?;
        let (kept, unknown): (serde_json::Map<String, Value>, _) =
            members.clone().into_iter().partition(|(name, _)| streams_by(name));
        let known = ["after", "filter[type]", "filter[resourceId]", "filter[actorId]", "filter[requestId]"];
        at.refuse_unknown(&unknown, &known.map(str::to_owned), &[]);
        let list = List::<Event>::decode(&Value::Object(kept), at)?;
        Some(Self { after: list.after, filter: list.filter })
    }
}

impl JsonSchema for StreamEvents {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "StreamEvents".into()
    }
    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let mut schema = List::<Event>::json_schema(generator);
        if let Some(Value::Object(members)) = schema.get_mut("properties") {
            members.retain(|name, _| streams_by(name));
        }
        schema.insert(
            "description".to_owned(),
            "Changes as they are committed, oldest first, for as long as the caller listens.\n\nServer-sent \
             events: `hello` says from which row on; a row's event is named by its type, and its id is its \
             number; `beat` says that nothing came; `bye` says why it ends. Begins now, after the row `after`, \
             or after `Last-Event-ID`; nothing in between is left out, whatever was restarted meanwhile."
                .into(),
        );
        schema
    }
}

impl Event {
    /// Whether these conditions hold of it; for rows that are in memory already.
    pub fn meets(&self, filter: &[Condition]) -> bool {
        filter.iter().all(|condition| {
            let text = match condition.field {
                "type" => Some(self.kind.as_str()),
                "resourceId" => self.resource.id.as_deref(),
                "actorId" => self.actor.id.as_deref(),
                "requestId" => Some(self.request_id.as_str()),
                _ => None,
            };
            text.is_some_and(|text| condition.holds_of(text))
        })
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
