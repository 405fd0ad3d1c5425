//! The log, read: pages for events and audit, the chain, what others wrote.

use std::collections::{BTreeMap, BTreeSet};

use bursar_shared::{
    id::EventId,
    operations::log::{AuditEntry, AuditReport, Event, Timeline},
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
    schema::{accounts, entries, log, log_head, sessions},
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

/// One page of what concerns a person, of the resource types that the reader may see.
///
/// # Errors
/// Those of [`super::page::page`].
pub fn timeline(
    conn: &mut Conn,
    op: &Timeline,
    visible: Vec<String>,
    cursors: &CursorKey,
    now: Timestamp,
) -> Result<Page<Row>> {
    let log = Log { filter: op.filter(), visible: Some(visible) };
    let source = OfPerson { log, person: op.id.to_string() };
    super::page::page(conn, &source, &op.list, cursors, now)
}

type Boxed = log::BoxedQuery<'static, MultiBackend>;

struct Log<'a> {
    filter: &'a [Condition],
    /// Resource types to be seen; all, and what is no change, when absent.
    visible: Option<Vec<String>>,
}

impl Log<'_> {
    fn filtered(&self, now: Timestamp) -> Boxed {
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

/// The rows that lie beyond the place where a page begins.
fn beyond(query: Boxed, fetch: &Fetch) -> Boxed {
    // numbers are unique: a tie-break by id would only make PostgreSQL sort
    let Some((key, _)) = &fetch.after else { return query };
    let seq = key.integer();
    match (fetch.descending, fetch.inclusive) {
        (true, false) => query.filter(log::seq.lt(seq)),
        (true, true) => query.filter(log::seq.le(seq)),
        (false, false) => query.filter(log::seq.gt(seq)),
        (false, true) => query.filter(log::seq.ge(seq)),
    }
}

impl<R: Resource> Source<R> for Log<'_> {
    type Row = Row;

    fn rows(&self, conn: &mut Conn, fetch: &Fetch) -> QueryResult<Vec<Row>> {
        let query = beyond(self.filtered(fetch.now), fetch);
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

/// The log, as far as it concerns a person.
struct OfPerson<'a> {
    log: Log<'a>,
    person: String,
}

/// In what way a row concerns a person.
#[derive(Clone, Copy)]
enum Part {
    /// It tells of them.
    Themselves,
    /// They did it.
    Doings,
    /// It tells of one of their sessions, as far as these are kept.
    Sessions,
    /// It tells of one of their accounts.
    Accounts,
    /// It tells of a transfer from or to one of these.
    Transfers,
}

impl OfPerson<'_> {
    /// What each part is looked up by; the last three by a resource of a type, which the reader may not see.
    const PARTS: [(Part, Option<&'static str>); 5] = [
        (Part::Themselves, None),
        (Part::Doings, None),
        (Part::Sessions, Some("session")),
        (Part::Accounts, Some("account")),
        (Part::Transfers, Some("transfer")),
    ];

    fn parts(&self) -> impl Iterator<Item = Part> {
        let sees = |kind: &str| self.log.visible.iter().flatten().any(|visible| visible == kind);
        Self::PARTS.iter().filter(move |(_, kind)| kind.is_none_or(sees)).map(|(part, _)| *part)
    }

    fn part(&self, part: Part, now: Timestamp) -> Boxed {
        let (query, person) = (self.log.filtered(now), self.person.clone());
        let owned = || accounts::table.filter(accounts::owner_id.eq(self.person.clone()));
        match part {
            Part::Themselves => query.filter(log::resource_id.eq(person)),
            Part::Doings => query.filter(log::actor_id.eq(person)),
            Part::Sessions => query.filter(log::resource_id.eq_any(
                sessions::table.filter(sessions::user_id.eq(person)).select(sessions::id.nullable()),
            )),
            Part::Accounts => query.filter(log::resource_id.eq_any(owned().select(accounts::id.nullable()))),
            Part::Transfers => query.filter(
                log::resource_id.eq_any(
                    entries::table
                        .filter(entries::account_id.eq_any(owned().select(accounts::id)))
                        .select(entries::transfer_id.nullable()),
                ),
            ),
        }
    }
}

impl Source<Event> for OfPerson<'_> {
    type Row = Row;

    /// Each part by its own index, and merged: an OR over them would walk the whole log.
    fn rows(&self, conn: &mut Conn, fetch: &Fetch) -> QueryResult<Vec<Row>> {
        let mut rows: BTreeMap<i64, Row> = BTreeMap::new();
        for part in self.parts() {
            let query = beyond(self.part(part, fetch.now), fetch);
            // these two have an index that ends in the number; the others are few rows of many ids, which
            // must be found by these and sorted: the sum keeps the planner from walking the log instead
            let query = match (part, fetch.descending) {
                (Part::Themselves | Part::Doings, true) => query.order_by(log::seq.desc()),
                (Part::Themselves | Part::Doings, false) => query.order_by(log::seq.asc()),
                (_, true) => query.order_by((log::seq + 0).desc()),
                (_, false) => query.order_by((log::seq + 0).asc()),
            };
            let found: Vec<Row> =
                query.limit(fetch.limit + fetch.offset).select(Row::as_select()).load(conn)?;
            rows.extend(found.into_iter().map(|row| (row.seq, row)));
        }
        let skip = usize::try_from(fetch.offset).unwrap_or(0);
        let most = usize::try_from(fetch.limit).unwrap_or(usize::MAX);
        let rows = rows.into_values();
        Ok(if fetch.descending {
            rows.rev().skip(skip).take(most).collect()
        } else {
            rows.skip(skip).take(most).collect()
        })
    }

    /// A row may concern a person in more than one way, and counts once.
    fn count(&self, conn: &mut Conn, most: i64, now: Timestamp) -> QueryResult<i64> {
        let mut counted: BTreeSet<i64> = BTreeSet::new();
        for part in self.parts() {
            let query = self.part(part, now).select(log::seq).limit(most);
            counted.extend(query.load::<i64>(conn)?);
        }
        Ok(most.min(i64::try_from(counted.len()).unwrap_or(i64::MAX)))
    }

    fn key(row: &Row, key: &'static str) -> (Key, String) {
        <Log<'_> as Source<Event>>::key(row, key)
    }

    fn locate(&self, conn: &mut Conn, id: &str) -> QueryResult<Option<Row>> {
        <Log<'_> as Source<Event>>::locate(&self.log, conn, id)
    }

    fn scope(&self) -> &str {
        &self.person
    }
}
