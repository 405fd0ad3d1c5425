//! The log, read: pages for events and audit, the chain, what others wrote.

use bursar_shared::{
    id::EventId,
    operations::log::{AuditEntry, AuditReport, Event},
    page::{Condition, List, Page, Resource},
    time::Timestamp,
};
use diesel::{
    dsl::sql,
    prelude::*,
    sql_types::{BigInt, Text, Untyped},
};

use super::page::{CountOf, Fetch, Key, Source, compare_text, compare_time};
use crate::{
    auth::CursorKey,
    db::{Conn, MultiBackend},
    error::{Result, not_found},
    log::{GENESIS, Row},
    schema::{log, log_head},
};

/// Kinds that `/events` never shows: they are no changes.
const AUDIT_ONLY: &[&str] =
    &["session.refreshed", "session.login_failed", "access.denied", "audit.verified", "ledger.verified"];

/// Whether a row of this kind tells of a change.
pub fn is_change(kind: &str) -> bool {
    !AUDIT_ONLY.contains(&kind)
}

/// The number and hash of the last row.
pub fn head(conn: &mut Conn) -> Result<(i64, String)> {
    Ok(log_head::table.find(1).select((log_head::seq, log_head::hash)).first(conn)?)
}

/// Rows after `seq`, oldest first, at most `limit`.
pub fn after(conn: &mut Conn, seq: i64, limit: i64) -> Result<Vec<Row>> {
    Ok(log::table
        .filter(log::seq.gt(seq))
        .order(log::seq)
        .limit(limit)
        .select(Row::as_select())
        .load(conn)?)
}

/// The row with this id.
///
/// # Errors
/// `NOT_FOUND`.
pub fn get(conn: &mut Conn, id: EventId) -> Result<Row> {
    let row =
        log::table.filter(log::id.eq(id.to_string())).select(Row::as_select()).first(conn).optional()?;
    row.ok_or_else(|| not_found("log row", id))
}

/// How many rows of each kind were written since a moment, by how many spans of time ago.
pub fn counts_since(
    conn: &mut Conn,
    since: Timestamp,
    now: Timestamp,
    span: i64,
) -> Result<Vec<(i64, String, i64)>> {
    // both numbers are ours; Diesel has no words for a GROUP BY of what is computed
    let counted = format!("({} - at) / {span}, type, COUNT(*)", now.micros());
    Ok(log::table
        .filter(log::at.ge(since.micros()))
        .group_by(sql::<Untyped>("1, 2"))
        .select(sql::<(BigInt, Text, BigInt)>(&counted))
        .load(conn)?)
}

/// A walk along the chain of hashes, a piece at a time: the log only grows, so no snapshot is needed, and
/// no read takes long however long the log is.
#[derive(Debug, Clone)]
pub struct ChainWalk {
    head: (i64, String),
    hash: String,
    /// The row that comes next.
    next: i64,
    broken: bool,
}

impl ChainWalk {
    /// Rows read at a time.
    const PIECE: i64 = 5_000;

    /// Begins at the first row; ends at what is the last one now.
    pub fn begin(conn: &mut Conn) -> Result<Self> {
        Ok(Self { head: head(conn)?, hash: GENESIS.to_owned(), next: 1, broken: false })
    }

    /// Walks a piece on; the report, when it is at the end or at the first row that does not fit.
    pub fn step(&mut self, conn: &mut Conn) -> Result<Option<AuditReport>> {
        let (last, last_hash) = &self.head;
        let rows = after(conn, self.next - 1, Self::PIECE.min(last - self.next + 1))?;
        let short = rows.is_empty() && self.next <= *last;
        for row in rows {
            if row.seq != self.next || row.hash != row.hash_after(&self.hash) {
                self.broken = true;
                return Ok(Some(self.report()));
            }
            self.hash = row.hash;
            self.next += 1;
        }
        if self.next <= *last && !short {
            return Ok(None);
        }
        self.broken = short || self.hash != *last_hash;
        Ok(Some(self.report()))
    }

    fn report(&self) -> AuditReport {
        AuditReport {
            ok: !self.broken,
            checked: u64::try_from(self.next - 1).unwrap_or(0),
            head_seq: self.head.0,
            first_broken_seq: self.broken.then_some(self.next),
        }
    }
}

/// One page of changes, of the resource types that the reader may see.
///
/// # Errors
/// Those of [`super::page::page`].
pub fn events(
    conn: &mut Conn,
    list: &List<Event>,
    visible: Vec<String>,
    cursors: &CursorKey,
    now: Timestamp,
) -> Result<Page<Row>> {
    let source = Log { filter: &list.filter, visible: Some(visible) };
    super::page::page(conn, &source, list, cursors, now)
}

/// One page of everything.
///
/// # Errors
/// Those of [`super::page::page`].
pub fn audit(
    conn: &mut Conn,
    list: &List<AuditEntry>,
    cursors: &CursorKey,
    now: Timestamp,
) -> Result<Page<Row>> {
    let source = Log { filter: &list.filter, visible: None };
    super::page::page(conn, &source, list, cursors, now)
}

struct Log<'a> {
    filter: &'a [Condition],
    /// Resource types to be seen; all, and what is no change, when absent.
    visible: Option<Vec<String>>,
}

impl Log<'_> {
    fn filtered(&self, now: Timestamp) -> log::BoxedQuery<'static, MultiBackend> {
        let mut query = log::table.into_boxed();
        if let Some(types) = &self.visible {
            query = query
                .filter(log::resource_type.eq_any(types.clone()))
                .filter(log::kind.ne_all(AUDIT_ONLY.to_vec()));
        }
        for condition in self.filter {
            query = match condition.field {
                "type" => compare_text!(query, log::kind, condition),
                "resourceId" => match &condition.value {
                    bursar_shared::page::FilterValue::Text(id) => {
                        query.filter(log::resource_id.eq(id.clone()))
                    }
                    _ => query,
                },
                "actorId" => match &condition.value {
                    bursar_shared::page::FilterValue::Text(id) => query.filter(log::actor_id.eq(id.clone())),
                    _ => query,
                },
                "requestId" => compare_text!(query, log::request_id, condition),
                _ => compare_time!(query, log::at, condition, now),
            };
        }
        query
    }
}

impl<R: Resource> Source<R> for Log<'_> {
    type Row = Row;

    fn rows(&self, conn: &mut Conn, fetch: &Fetch) -> QueryResult<Vec<Row>> {
        let mut query = self.filtered(fetch.now);
        // numbers are unique: a tie-break by id would only make PostgreSQL sort
        if let Some((key, _)) = &fetch.after {
            let seq = key.integer();
            query = match (fetch.descending, fetch.inclusive) {
                (true, false) => query.filter(log::seq.lt(seq)),
                (true, true) => query.filter(log::seq.le(seq)),
                (false, false) => query.filter(log::seq.gt(seq)),
                (false, true) => query.filter(log::seq.ge(seq)),
            };
        }
        let query =
            if fetch.descending { query.order_by(log::seq.desc()) } else { query.order_by(log::seq.asc()) };
        query.limit(fetch.limit).offset(fetch.offset).select(Row::as_select()).load(conn)
    }

    fn count(&self, conn: &mut Conn, most: i64, now: Timestamp) -> QueryResult<i64> {
        CountOf(self.filtered(now).select(log::seq).limit(most)).get_result(conn)
    }

    fn key(row: &Row, _: &'static str) -> (Key, String) {
        (Key::Integer(row.seq), row.id.clone())
    }

    fn locate(&self, conn: &mut Conn, id: &str) -> QueryResult<Option<Row>> {
        log::table.filter(log::id.eq(id.to_owned())).select(Row::as_select()).first(conn).optional()
    }
}
