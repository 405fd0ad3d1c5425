//! The one log: what a write notes down, how its rows are chained, and who hears of them.
//!
//! Audit, events, webhooks and cache invalidation read the same rows. A row is written in the
//! transaction of its effect; its number and hash are given last before COMMIT, so numbers have no
//! gaps and follow the commits.

use std::{
    marker::PhantomData,
    sync::{Arc, OnceLock},
};

use bursar_shared::{
    id::EventId,
    operations::log::{Actor, Event, Subject},
    time::Timestamp,
};
use diesel::{
    prelude::*,
    sql_types::{Array, BigInt, Nullable, Text},
};
use ring::digest;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::{
    db::{Conn, statement},
    error::Result,
    schema::log,
};

/// The hash before the first row.
pub const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// On whose behalf a write runs; goes into every row it logs.
#[derive(Debug, Clone)]
pub struct Stamp {
    /// Who.
    pub actor: Actor,
    /// In which request.
    pub request_id: String,
}

impl Stamp {
    /// The daemon itself.
    pub fn system(doing: &str) -> Self {
        Self {
            actor: Actor { id: None, kind: "system".to_owned(), ip: None },
            request_id: format!("req_{doing}"),
        }
    }
}

/// A row that a write noted down and that is not committed yet.
#[derive(Debug, Clone)]
pub struct Draft {
    kind: &'static str,
    subject: Subject,
    /// JSON.
    data: String,
    /// JSON.
    changes: String,
    actor: Option<Actor>,
}

impl Draft {
    /// Something happened to a resource. `kind` is `noun.verb_past`.
    pub fn new(kind: &'static str, resource: &'static str, id: impl ToString) -> Self {
        Self {
            kind,
            subject: Subject { kind: resource.to_owned(), id: Some(id.to_string()), version: None },
            data: "{}".to_owned(),
            changes: "{}".to_owned(),
            actor: None,
        }
    }

    /// Something happened to nothing in particular.
    pub fn about(kind: &'static str, resource: &'static str) -> Self {
        let mut draft = Self::new(kind, resource, "");
        draft.subject.id = None;
        draft
    }

    /// The version of the resource afterwards.
    #[must_use]
    pub fn version(mut self, version: i64) -> Self {
        self.subject.version = Some(version);
        self
    }

    /// The resource as the API shows it, or facts about what happened. Never a secret.
    #[must_use]
    pub fn data(mut self, data: &impl Serialize) -> Self {
        self.data = serde_json::to_string(data).unwrap_or_else(|_| "null".to_owned());
        self
    }

    /// What an edit changed: `{member: [before, after]}`.
    #[must_use]
    pub fn changes(mut self, before: &impl Serialize, after: &impl Serialize) -> Self {
        self.changes = difference(before, after).to_string();
        self
    }

    /// Somebody else than the caller did it: who signs in is not signed in yet.
    #[must_use]
    pub fn by(mut self, actor: Actor) -> Self {
        self.actor = Some(actor);
        self
    }
}

/// The members that differ, without those that every edit touches.
fn difference(before: &impl Serialize, after: &impl Serialize) -> Value {
    let (Ok(Value::Object(before)), Ok(Value::Object(after))) =
        (serde_json::to_value(before), serde_json::to_value(after))
    else {
        return json!({});
    };
    let changed = after
        .into_iter()
        .filter(|(name, _)| name != "version" && name != "updatedAt")
        .filter_map(|(name, new)| {
            let old = before.get(&name).cloned().unwrap_or(Value::Null);
            (old != new).then(|| (name, json!([old, new])))
        })
        .collect();
    Value::Object(changed)
}

/// A row as the store has it.
#[derive(Debug, Clone, PartialEq, Queryable, Selectable, Insertable)]
#[diesel(table_name = log)]
pub struct Row {
    /// Its place.
    pub seq: i64,
    /// Its id.
    pub id: String,
    /// `noun.verb_past`.
    pub kind: String,
    /// Microseconds since 1970.
    pub at: i64,
    /// Who did it.
    pub actor_id: Option<String>,
    /// `user`, `api_key`, `system` or `anonymous`.
    pub actor_kind: String,
    /// From where.
    pub actor_ip: Option<String>,
    /// In which request.
    pub request_id: String,
    /// To what kind of thing.
    pub resource_type: String,
    /// To which.
    pub resource_id: Option<String>,
    /// Its version afterwards.
    pub resource_version: Option<i64>,
    /// JSON.
    pub data: String,
    /// JSON.
    pub changes: String,
    /// Over this row and the hash before it.
    pub hash: String,
}

impl Row {
    /// A draft with everything but its place and hash.
    pub fn of(draft: Draft, stamp: &Stamp, at: Timestamp) -> Self {
        let actor = draft.actor.unwrap_or_else(|| stamp.actor.clone());
        Self {
            seq: 0,
            id: EventId::new().to_string(),
            kind: draft.kind.to_owned(),
            at: at.micros(),
            actor_id: actor.id,
            actor_kind: actor.kind,
            actor_ip: actor.ip,
            request_id: stamp.request_id.clone(),
            resource_type: draft.subject.kind,
            resource_id: draft.subject.id,
            resource_version: draft.subject.version,
            data: draft.data,
            changes: draft.changes,
            hash: String::new(),
        }
    }

    /// SHA-256 over the hash before and every column, as one JSON array; in hex.
    pub fn hash_after(&self, before: &str) -> String {
        let columns = (
            1,
            before,
            self.seq,
            &self.id,
            &self.kind,
            self.at,
            &self.actor_id,
            &self.actor_kind,
            &self.actor_ip,
            &self.request_id,
            &self.resource_type,
            &self.resource_id,
            self.resource_version,
            &self.data,
            &self.changes,
        );
        // texts and numbers always have JSON
        let columns = serde_json::to_vec(&columns).unwrap_or_default();
        let sum = digest::digest(&digest::SHA256, &columns);
        sum.as_ref().iter().fold(String::with_capacity(64), |mut hex, byte| {
            use std::fmt::Write;
            let _ = write!(hex, "{byte:02x}");
            hex
        })
    }

    /// As the API shows it.
    pub fn event(&self) -> Result<Event> {
        Ok(Event {
            id: self.id.parse().map_err(|why| crate::error::broken("id of a log row")(Box::new(why)))?,
            seq: self.seq,
            kind: self.kind.clone(),
            timestamp: Timestamp::from_micros(self.at),
            actor: Actor {
                id: self.actor_id.clone(),
                kind: self.actor_kind.clone(),
                ip: self.actor_ip.clone(),
            },
            request_id: self.request_id.clone(),
            resource: Subject {
                kind: self.resource_type.clone(),
                id: self.resource_id.clone(),
                version: self.resource_version,
            },
            data: serde_json::from_str(&self.data)?,
            changes: serde_json::from_str(&self.changes)?,
            hash: self.hash.clone(),
        })
    }
}

/// Numbers, chains and inserts rows: the last thing before COMMIT, because it takes the one row that
/// every writer waits for.
pub fn append(conn: &mut Conn, rows: &mut [Row]) -> QueryResult<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let count = i64::try_from(rows.len()).unwrap_or(i64::MAX);
    let (seq, mut hash): (i64, String) = match conn {
        Conn::Pg(pg) => TakeNumbersToo { count, _of: PhantomData }.get_result(pg)?,
        Conn::Sqlite(sqlite) => TakeNumbers { count, _of: PhantomData }.get_result(sqlite)?,
    };
    for (row, seq) in rows.iter_mut().zip(seq - count + 1..) {
        row.seq = seq;
        row.hash = row.hash_after(&hash);
        hash.clone_from(&row.hash);
    }
    insert(conn, rows, &hash)
}

statement! {
    /// Takes numbers from the one row that every writer waits for.
    sqlite TakeNumbers { count: i64 as BigInt } -> (BigInt, Text),
    "UPDATE log_head SET seq = seq + ? WHERE id = 1 RETURNING seq, hash"
}
statement! {
    /// The same.
    postgres TakeNumbersToo { count: i64 as BigInt } -> (BigInt, Text),
    "UPDATE log_head SET seq = seq + ? WHERE id = 1 RETURNING seq, hash"
}
statement! {
    /// The last hash, from now on.
    sqlite StoreHash { hash: &'a str as Text },
    "UPDATE log_head SET hash = ? WHERE id = 1"
}
statement! {
    /// A row of the log.
    sqlite InsertRow {
        seq: i64 as BigInt,
        id: &'a str as Text,
        kind: &'a str as Text,
        at: i64 as BigInt,
        actor_id: Option<&'a str> as Nullable<Text>,
        actor_kind: &'a str as Text,
        actor_ip: Option<&'a str> as Nullable<Text>,
        request_id: &'a str as Text,
        resource_type: &'a str as Text,
        resource_id: Option<&'a str> as Nullable<Text>,
        resource_version: Option<i64> as Nullable<BigInt>,
        data: &'a str as Text,
        changes: &'a str as Text,
        hash: &'a str as Text,
    },
    "INSERT OR FAIL INTO log (seq, id, type, at, actor_id, actor_kind, actor_ip, request_id, resource_type, resource_id, resource_version, data, changes, hash) \
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
}
statement! {
    /// Rows of the log, and the last hash from now on.
    postgres InsertRows {
        last: &'a str as Text,
        seq: Vec<i64> as Array<BigInt>,
        id: Vec<&'a str> as Array<Text>,
        kind: Vec<&'a str> as Array<Text>,
        at: Vec<i64> as Array<BigInt>,
        actor_id: Vec<Option<&'a str>> as Array<Nullable<Text>>,
        actor_kind: Vec<&'a str> as Array<Text>,
        actor_ip: Vec<Option<&'a str>> as Array<Nullable<Text>>,
        request_id: Vec<&'a str> as Array<Text>,
        resource_type: Vec<&'a str> as Array<Text>,
        resource_id: Vec<Option<&'a str>> as Array<Nullable<Text>>,
        resource_version: Vec<Option<i64>> as Array<Nullable<BigInt>>,
        data: Vec<&'a str> as Array<Text>,
        changes: Vec<&'a str> as Array<Text>,
        hash: Vec<&'a str> as Array<Text>,
    },
    "WITH head AS (UPDATE log_head SET hash = ? WHERE id = 1) \
     INSERT INTO log (seq, id, type, at, actor_id, actor_kind, actor_ip, request_id, resource_type, resource_id, resource_version, data, changes, hash) \
     SELECT * FROM unnest(?::bigint[], ?::text[], ?::text[], ?::bigint[], ?::text[], ?::text[], ?::text[], ?::text[], ?::text[], ?::text[], ?::bigint[], ?::text[], ?::text[], ?::text[])"
}

/// Writes rows, and the hash of the last of them to where the next will begin.
fn insert(conn: &mut Conn, rows: &[Row], last: &str) -> QueryResult<()> {
    match conn {
        Conn::Sqlite(sqlite) => {
            for row in rows {
                InsertRow {
                    seq: row.seq,
                    id: &row.id,
                    kind: &row.kind,
                    at: row.at,
                    actor_id: row.actor_id.as_deref(),
                    actor_kind: &row.actor_kind,
                    actor_ip: row.actor_ip.as_deref(),
                    request_id: &row.request_id,
                    resource_type: &row.resource_type,
                    resource_id: row.resource_id.as_deref(),
                    resource_version: row.resource_version,
                    data: &row.data,
                    changes: &row.changes,
                    hash: &row.hash,
                    _of: PhantomData,
                }
                .execute(sqlite)?;
            }
            StoreHash { hash: last, _of: PhantomData }.execute(sqlite)?;
        }
        Conn::Pg(pg) => {
            InsertRows {
                last,
                seq: rows.iter().map(|row| row.seq).collect(),
                id: rows.iter().map(|row| row.id.as_str()).collect(),
                kind: rows.iter().map(|row| row.kind.as_str()).collect(),
                at: rows.iter().map(|row| row.at).collect(),
                actor_id: rows.iter().map(|row| row.actor_id.as_deref()).collect(),
                actor_kind: rows.iter().map(|row| row.actor_kind.as_str()).collect(),
                actor_ip: rows.iter().map(|row| row.actor_ip.as_deref()).collect(),
                request_id: rows.iter().map(|row| row.request_id.as_str()).collect(),
                resource_type: rows.iter().map(|row| row.resource_type.as_str()).collect(),
                resource_id: rows.iter().map(|row| row.resource_id.as_deref()).collect(),
                resource_version: rows.iter().map(|row| row.resource_version).collect(),
                data: rows.iter().map(|row| row.data.as_str()).collect(),
                changes: rows.iter().map(|row| row.changes.as_str()).collect(),
                hash: rows.iter().map(|row| row.hash.as_str()).collect(),
                _of: PhantomData,
            }
            .execute(pg)?;
        }
    }
    Ok(())
}
/// Called with rows that were committed, before anybody is answered.
type Listener = Box<dyn Fn(&[Row]) + Send + Sync>;

/// The event bus: hears of every committed row, once, in order, in this process.
#[derive(Clone)]
pub struct Bus {
    inner: Arc<BusInner>,
}

struct BusInner {
    listener: OnceLock<Listener>,
    head: watch::Sender<i64>,
}

impl Default for Bus {
    fn default() -> Self {
        Self { inner: Arc::new(BusInner { listener: OnceLock::new(), head: watch::Sender::new(0) }) }
    }
}

impl Bus {
    /// Sets who hears of rows before the writer is answered: the caches.
    pub fn listen(&self, listener: impl Fn(&[Row]) + Send + Sync + 'static) {
        // set once, when the daemon is put together; a second listener would be a mistake in App
        let _ = self.inner.listener.set(Box::new(listener));
    }

    /// These rows are committed. Caches hear first; readers are woken afterwards by [`Self::wake`].
    pub fn committed(&self, rows: &[Row]) {
        if let Some(listener) = self.inner.listener.get() {
            listener(rows);
        }
    }

    /// Wakes whoever waits for new rows.
    pub fn wake(&self, head: i64) {
        self.inner.head.send_if_modified(|seen| {
            let newer = head > *seen;
            if newer {
                *seen = head;
            }
            newer
        });
    }

    /// The number of the last row, and a word whenever there is another.
    pub fn follow(&self) -> watch::Receiver<i64> {
        self.inner.head.subscribe()
    }

    /// The last row heard of in this process.
    pub fn head(&self) -> i64 {
        *self.inner.head.borrow()
    }
}
