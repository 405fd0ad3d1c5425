//! Pages of any list: by number, by cursor, from either end or around a row.
//!
//! A repository says how to fetch rows in key order (`Source`); everything else is here once. The
//! keyset condition is `k <= :k AND (k < :k OR id < :id)`: the first half bounds the index range, the
//! plain OR form walks the index from its start (69 ms against 0.15 ms in the middle of a million).

use std::collections::BTreeMap;

use bursar_shared::{
    error::{ApiError, ErrorCode},
    field::{Position, TotalMode},
    page::{List, MAX_OFFSET_ROW, Page, PageMode, Pagination, Resource, Sort, TotalAccuracy},
    time::Timestamp,
};
use diesel::{
    QueryResult, RunQueryDsl,
    query_builder::{AstPass, Query, QueryFragment, QueryId},
    sql_types::BigInt,
};
use ring::digest;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    auth::CursorKey,
    db::{Conn, MultiBackend},
    error::{Result, not_found},
};

/// The value of a row's sort key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Key {
    /// A time, a number.
    Integer(i64),
    /// A text, as it is sorted.
    Text(String),
}

impl Key {
    /// The number; texts have none.
    pub fn integer(&self) -> i64 {
        match self {
            Self::Integer(number) => *number,
            Self::Text(_) => 0,
        }
    }

    /// The text; numbers have none.
    pub fn text(&self) -> String {
        match self {
            Self::Integer(_) => String::new(),
            Self::Text(text) => text.clone(),
        }
    }
}

/// What to fetch: some rows in key order, after a place.
#[derive(Debug, Clone, PartialEq)]
pub struct Fetch {
    /// The key.
    pub key: &'static str,
    /// Whether the greatest comes first.
    pub descending: bool,
    /// Where to begin; at the end of the list when absent.
    pub after: Option<(Key, String)>,
    /// Whether the row at the beginning belongs to it.
    pub inclusive: bool,
    /// At most so many.
    pub limit: i64,
    /// Skipping so many.
    pub offset: i64,
    /// When relative filters are counted from.
    pub now: Timestamp,
}

/// How the rows of one list are fetched.
pub trait Source<R: Resource> {
    /// A row as the store has it.
    type Row;

    /// Rows in key order.
    fn rows(&self, conn: &mut Conn, fetch: &Fetch) -> QueryResult<Vec<Self::Row>>;
    /// How many rows the filter lets through, counting up to `most`.
    fn count(&self, conn: &mut Conn, most: i64, now: Timestamp) -> QueryResult<i64>;
    /// The value of a row's sort key, and its id.
    fn key(row: &Self::Row, key: &'static str) -> (Key, String);
    /// The row with this id, whatever the filter says.
    fn locate(&self, conn: &mut Conn, id: &str) -> QueryResult<Option<Self::Row>>;
    /// Below which record the list is; a cursor of another's does not fit.
    fn scope(&self) -> &str {
        ""
    }
}

/// Restricts a boxed query to what lies beyond the place in `$fetch`, and orders it.
macro_rules! keyset {
    ($query:expr, $fetch:expr, $column:expr, $id:expr, $kind:ident) => {{
        let query = match &$fetch.after {
            None => $query,
            Some((key, id)) => {
                let (key, id) = (key.$kind(), id.clone());
                match ($fetch.descending, $fetch.inclusive) {
                    (true, false) => {
                        $query.filter($column.le(key.clone())).filter($column.lt(key).or($id.lt(id)))
                    }
                    (true, true) => {
                        $query.filter($column.le(key.clone())).filter($column.lt(key).or($id.le(id)))
                    }
                    (false, false) => {
                        $query.filter($column.ge(key.clone())).filter($column.gt(key).or($id.gt(id)))
                    }
                    (false, true) => {
                        $query.filter($column.ge(key.clone())).filter($column.gt(key).or($id.ge(id)))
                    }
                }
            }
        };
        if $fetch.descending {
            query.order_by(($column.desc(), $id.desc()))
        } else {
            query.order_by(($column.asc(), $id.asc()))
        }
    }};
}
pub(crate) use keyset;

/// Narrows a boxed query by a comparison of a text column.
macro_rules! compare_text {
    ($query:expr, $column:expr, $condition:expr) => {{
        use bursar_shared::page::{FilterValue, Op};
        match (&$condition.op, &$condition.value) {
            (Op::Eq, FilterValue::Text(text)) => $query.filter($column.eq(text.clone())),
            (Op::Ne, FilterValue::Text(text)) => $query.filter($column.ne(text.clone())),
            (Op::In, FilterValue::Texts(texts)) => $query.filter($column.eq_any(texts.clone())),
            (Op::Prefix, FilterValue::Text(text)) => {
                let query = $query.filter($column.ge(text.clone()));
                match $crate::repositories::users::prefix_end(text) {
                    Some(end) => query.filter($column.lt(end)),
                    None => query,
                }
            }
            _ => $query,
        }
    }};
}
pub(crate) use compare_text;

/// Narrows a boxed query by a comparison of a time column.
macro_rules! compare_time {
    ($query:expr, $column:expr, $condition:expr, $now:expr) => {{
        use bursar_shared::page::{FilterValue, Op};
        match &$condition.value {
            FilterValue::Time(time) => {
                let at = time.resolve($now).micros();
                match &$condition.op {
                    Op::Eq => $query.filter($column.eq(at)),
                    Op::Lt => $query.filter($column.lt(at)),
                    Op::Lte => $query.filter($column.le(at)),
                    Op::Gt => $query.filter($column.gt(at)),
                    Op::Gte => $query.filter($column.ge(at)),
                    _ => $query,
                }
            }
            _ => $query,
        }
    }};
}
pub(crate) use compare_time;

/// `SELECT COUNT(*)` over another query, so that a limit in it bounds the count.
#[derive(Debug, Clone, Copy, QueryId)]
pub struct CountOf<Q>(pub Q);

impl<Q: QueryFragment<MultiBackend>> QueryFragment<MultiBackend> for CountOf<Q> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, MultiBackend>) -> QueryResult<()> {
        out.push_sql("SELECT COUNT(*) FROM (");
        self.0.walk_ast(out.reborrow())?;
        out.push_sql(") AS counted");
        Ok(())
    }
}

impl<Q: Query> Query for CountOf<Q> {
    type SqlType = BigInt;
}

impl<Q> RunQueryDsl<Conn> for CountOf<Q> {}

/// What a cursor holds. It carries no authority: rights are looked at again on every request.
#[derive(Debug, Serialize, Deserialize)]
struct Cursor {
    /// The sort.
    s: String,
    /// A hash of filter and search.
    f: String,
    /// The key of the row it stands at.
    k: Key,
    /// The id of that row.
    i: String,
    /// Whether it goes back.
    b: bool,
    /// When relative filters are counted from: the beginning of the scan.
    t: i64,
}

/// What makes two lists the same scan: below which record, filter and search.
fn fingerprint<R: Resource>(list: &List<R>, scope: &str) -> String {
    let mut conditions: Vec<String> =
        list.filter.iter().map(|c| format!("{}\u{1}{}\u{1}{}", c.field, c.op.as_str(), c.value)).collect();
    conditions.sort();
    let text = format!(
        "{}\u{2}{scope}\u{2}{}\u{2}{}",
        R::NAME,
        conditions.join("\u{2}"),
        list.q.as_deref().unwrap_or("")
    );
    let sum = digest::digest(&digest::SHA256, text.as_bytes());
    sum.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// Where a page begins and which way it is read.
struct Entry {
    order: Sort,
    /// Rows after this place in reading direction.
    after: Option<(Key, String)>,
    inclusive: bool,
    /// Read from the far end towards the start, and turned round.
    backward: bool,
    offset: i64,
    page: Option<u32>,
    now: Timestamp,
}

/// One page of a list.
///
/// # Errors
/// `VALIDATION_FAILED` for pages too deep and cursors that do not fit, `NOT_FOUND` when `around`
/// names nothing.
pub fn page<R: Resource, S: Source<R>>(
    conn: &mut Conn,
    source: &S,
    list: &List<R>,
    cursors: &CursorKey,
    now: Timestamp,
) -> Result<Page<S::Row>> {
    let size = list.rows();
    let limit = i64::from(size);
    if let Some(id) = &list.around {
        return around(conn, source, list, cursors, now, id);
    }
    let entry = enter(list, source.scope(), cursors, now)?;
    let order = entry.order;
    let too_deep = entry.page.is_some_and(|page| page.saturating_mul(size) > MAX_OFFSET_ROW && page > 1);
    if too_deep {
        return Err(page_too_deep(conn, source, list, cursors, now)?);
    }
    let fetch = Fetch {
        key: order.key,
        descending: order.descending != entry.backward,
        after: entry.after.clone(),
        inclusive: entry.inclusive,
        limit: limit + 1,
        offset: entry.offset,
        now: entry.now,
    };
    let mut rows = source.rows(conn, &fetch)?;
    let more = rows.len() > size as usize;
    rows.truncate(size as usize);
    if entry.backward {
        rows.reverse();
    }
    // reading back, the page we came from lies ahead
    let (has_next, has_prev) = if entry.backward {
        (entry.after.is_some() && !rows.is_empty(), more)
    } else {
        // rows of a log begin at 1, so nothing lies before those after 0
        let at_start = R::AFTER && list.after == Some(0);
        (more, (entry.after.is_some() && !at_start) || entry.offset > 0)
    };
    let total = count(conn, source, list, entry.page.is_some(), entry.now)?;
    Ok(assemble((source, list), rows, order, cursors, entry.now, entry.page, (has_next, has_prev), total))
}

fn enter<R: Resource>(list: &List<R>, scope: &str, cursors: &CursorKey, now: Timestamp) -> Result<Entry> {
    let order = list.order();
    let start = Entry { order, after: None, inclusive: false, backward: false, offset: 0, page: None, now };
    if let Some(text) = &list.cursor {
        let cursor: Cursor =
            cursors.open(text).and_then(|payload| serde_json::from_slice(&payload).ok()).ok_or_else(
                || ApiError::violation("?cursor", "cursor_invalid", "is not a cursor of this daemon"),
            )?;
        let same =
            cursor.f == fingerprint(list, scope) && list.sort.is_none_or(|sort| sort.to_string() == cursor.s);
        // without a sort of its own the request goes on as the cursor does
        let Some(order) = R::sort(&cursor.s).filter(|_| same) else {
            let why = "belongs to another list, sort or filter";
            return Err(ApiError::violation("?cursor", "cursor_mismatch", why).into());
        };
        let now = Timestamp::from_micros(cursor.t);
        return Ok(Entry { order, after: Some((cursor.k, cursor.i)), backward: cursor.b, now, ..start });
    }
    if R::AFTER
        && let Some(seq) = list.after
    {
        // a log is read onwards: the oldest after this one first
        let order = Sort { descending: false, ..order };
        return Ok(Entry { order, after: Some((Key::Integer(seq), char::MAX.to_string())), ..start });
    }
    match list.position {
        Some(Position::End) => Ok(Entry { backward: true, ..start }),
        Some(Position::Start) => Ok(start),
        None => {
            let page = list.page.unwrap_or(1);
            let offset = i64::from(page - 1).saturating_mul(i64::from(list.rows()));
            Ok(Entry { offset, page: Some(page), ..start })
        }
    }
}

/// Half a page before the row and the rest from it on.
fn around<R: Resource, S: Source<R>>(
    conn: &mut Conn,
    source: &S,
    list: &List<R>,
    cursors: &CursorKey,
    now: Timestamp,
    id: &str,
) -> Result<Page<S::Row>> {
    let order = list.order();
    let row = source.locate(conn, id)?.ok_or_else(|| not_found(R::NAME, id))?;
    let place = S::key(&row, order.key);
    let size = i64::from(list.rows());
    let half = size / 2;
    let mut fetch = Fetch {
        key: order.key,
        descending: !order.descending,
        after: Some(place),
        inclusive: false,
        limit: half + 1,
        offset: 0,
        now,
    };
    let mut before = source.rows(conn, &fetch)?;
    let has_prev = before.len() as i64 > half;
    before.truncate(usize::try_from(half).unwrap_or(0));
    before.reverse();
    fetch.descending = order.descending;
    fetch.inclusive = true;
    fetch.limit = size - before.len() as i64 + 1;
    let mut rest = source.rows(conn, &fetch)?;
    let has_next = rest.len() as i64 == fetch.limit;
    rest.truncate(usize::try_from(fetch.limit - 1).unwrap_or(0));
    before.append(&mut rest);
    let total = count(conn, source, list, false, now)?;
    Ok(assemble((source, list), before, order, cursors, now, None, (has_next, has_prev), total))
}

fn assemble<R: Resource, S: Source<R>>(
    (source, list): (&S, &List<R>),
    rows: Vec<S::Row>,
    order: Sort,
    cursors: &CursorKey,
    now: Timestamp,
    page: Option<u32>,
    (has_next, has_prev): (bool, bool),
    (total, total_accuracy): (Option<u64>, TotalAccuracy),
) -> Page<S::Row> {
    let cursor = |row: Option<&S::Row>, back| {
        row.map(|row| {
            let (k, i) = S::key(row, order.key);
            seal(cursors, list, source.scope(), order, (k, i), back, now)
        })
    };
    let size = list.rows();
    let pagination = Pagination {
        mode: if page.is_some() { PageMode::Page } else { PageMode::Cursor },
        page,
        page_size: size,
        total,
        total_pages: total
            .filter(|_| total_accuracy == TotalAccuracy::Exact)
            .map(|total| total.div_ceil(u64::from(size))),
        total_accuracy,
        has_more: has_next && !rows.is_empty(),
        next_cursor: cursor(rows.last(), false).filter(|_| has_next),
        prev_cursor: cursor(rows.first(), true).filter(|_| has_prev),
    };
    Page { rows, pagination, included: BTreeMap::new() }
}

fn seal<R: Resource>(
    cursors: &CursorKey,
    list: &List<R>,
    scope: &str,
    order: Sort,
    (k, i): (Key, String),
    b: bool,
    now: Timestamp,
) -> String {
    let cursor = Cursor { s: order.to_string(), f: fingerprint(list, scope), k, i, b, t: now.micros() };
    cursors.sign(&serde_json::to_vec(&cursor).unwrap_or_default())
}

fn count<R: Resource, S: Source<R>>(
    conn: &mut Conn,
    source: &S,
    list: &List<R>,
    by_number: bool,
    now: Timestamp,
) -> Result<(Option<u64>, TotalAccuracy)> {
    let mode = list.total.unwrap_or(if by_number { TotalMode::Bounded } else { TotalMode::None });
    let most = i64::from(MAX_OFFSET_ROW);
    Ok(match mode {
        TotalMode::None => (None, TotalAccuracy::None),
        TotalMode::Exact => (u64::try_from(source.count(conn, i64::MAX, now)?).ok(), TotalAccuracy::Exact),
        TotalMode::Bounded => match source.count(conn, most + 1, now)? {
            many if many > most => (u64::try_from(most).ok(), TotalAccuracy::AtLeast),
            few => (u64::try_from(few).ok(), TotalAccuracy::Exact),
        },
    })
}

/// The refusal of a page beyond the last row that offsets reach, with a cursor that goes on there.
fn page_too_deep<R: Resource, S: Source<R>>(
    conn: &mut Conn,
    source: &S,
    list: &List<R>,
    cursors: &CursorKey,
    now: Timestamp,
) -> Result<crate::error::Error> {
    let order = list.order();
    let fetch = Fetch {
        key: order.key,
        descending: order.descending,
        after: None,
        inclusive: false,
        limit: 1,
        offset: i64::from(MAX_OFFSET_ROW) - 1,
        now,
    };
    let last = source.rows(conn, &fetch)?.into_iter().next();
    let cursor = last.map(|row| {
        let (k, i) = S::key(&row, order.key);
        seal(cursors, list, source.scope(), order, (k, i), false, now)
    });
    let mut error = ApiError::violation(
        "?page",
        "page_too_deep",
        format!("reaches beyond row {MAX_OFFSET_ROW}; go on with the cursor in details"),
    );
    debug_assert_eq!(error.code, ErrorCode::ValidationFailed);
    error.details["nextCursor"] = json!(cursor);
    Ok(error.into())
}
