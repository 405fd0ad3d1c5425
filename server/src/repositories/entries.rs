//! Entries in the store: the lines of an account, each later than the one before.

use bursar_shared::{
    field::{Side, TransferKind},
    money::Currency,
    operations::accounts::{Entry, ListEntries},
    page::Page,
    time::Timestamp,
};
use diesel::prelude::*;

use super::{
    page::{CountOf, Fetch, Key, Source, compare_text, compare_time},
    transfers::posts,
};
use crate::{
    auth::CursorKey,
    db::Conn,
    error::{Result, broken},
    schema::{entries, transfers},
};

/// An entry as the store has it.
#[derive(Debug, Clone, PartialEq, Queryable, Selectable)]
#[diesel(table_name = entries)]
pub struct Row {
    /// Which account.
    pub account_id: String,
    /// Its place.
    pub seq: i64,
    /// From which transfer.
    pub transfer_id: String,
    /// `debit` or `credit`.
    pub side: String,
    /// Minor units.
    pub amount: i64,
    /// Running total.
    pub debits_posted: i64,
    /// Running total.
    pub credits_posted: i64,
    /// Running total.
    pub debits_pending: i64,
    /// Running total.
    pub credits_pending: i64,
    /// Microseconds since 1970.
    pub created_at: i64,
}

fn damaged<T, E: std::error::Error + Send + Sync + 'static>(read: std::result::Result<T, E>) -> Result<T> {
    read.map_err(|why| broken("a value of the store")(Box::new(why)))
}

/// An entry as the API shows it: what its transfer does stands there.
pub fn shown((row, kind): &(Row, String), currency: Currency) -> Result<Entry> {
    let kind: TransferKind = damaged(kind.parse())?;
    let side: Side = damaged(row.side.parse())?;
    let change = match side {
        _ if !posts(kind) => 0,
        Side::Debit => -row.amount,
        Side::Credit => row.amount,
    };
    Ok(Entry {
        account_id: damaged(row.account_id.parse())?,
        seq: row.seq,
        transfer_id: damaged(row.transfer_id.parse())?,
        kind,
        side,
        amount: row.amount,
        change,
        posted: row.credits_posted - row.debits_posted,
        pending_out: row.debits_pending,
        pending_in: row.credits_pending,
        currency,
        created_at: Timestamp::from_micros(row.created_at),
    })
}

/// The entry at this place.
pub fn find(conn: &mut Conn, account: &str, seq: i64) -> QueryResult<Option<Row>> {
    entries::table.find((account, seq)).select(Row::as_select()).first(conn).optional()
}

/// When the entry at this place was made.
pub fn time_of(conn: &mut Conn, account: &str, seq: i64) -> QueryResult<Option<i64>> {
    entries::table.find((account, seq)).select(entries::created_at).first(conn).optional()
}

fn last_seq(conn: &mut Conn, account: &str) -> QueryResult<i64> {
    let last: Option<i64> = entries::table
        .filter(entries::account_id.eq(account))
        .order(entries::seq.desc())
        .select(entries::seq)
        .first(conn)
        .optional()?;
    Ok(last.unwrap_or(0))
}

/// The last entry made at this time or before; 0 when there is none. Every entry is later than the one
/// before, so halving finds it with a look or two a digit, and no index by time is needed.
pub fn seq_at(conn: &mut Conn, account: &str, at: Timestamp) -> QueryResult<i64> {
    let (mut low, mut high) = (0, last_seq(conn, account)?);
    while low < high {
        let middle = low + (high - low + 1) / 2;
        let made = time_of(conn, account, middle)?;
        if made.is_some_and(|made| made <= at.micros()) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    Ok(low)
}

/// Entries of an account after one place and up to another, oldest first, at most `limit`; with the kind
/// of their transfers.
pub fn between(
    conn: &mut Conn,
    account: &str,
    after: i64,
    upto: i64,
    limit: i64,
) -> Result<Vec<(Row, String)>> {
    Ok(entries::table
        .inner_join(transfers::table)
        .filter(entries::account_id.eq(account))
        .filter(entries::seq.gt(after))
        .filter(entries::seq.le(upto))
        .order(entries::seq)
        .limit(limit)
        .select((Row::as_select(), transfers::kind))
        .load(conn)?)
}

/// One page of an account's entries.
///
/// # Errors
/// Those of [`super::page::page`].
pub fn page(
    conn: &mut Conn,
    account: &str,
    list: &ListEntries,
    cursors: &CursorKey,
    now: Timestamp,
) -> Result<Page<(Row, String)>> {
    super::page::page(conn, &Entries { account, list }, &list.list, cursors, now)
}

struct Entries<'a> {
    account: &'a str,
    list: &'a ListEntries,
}

/// The entries of the account that the conditions let through: a macro, because the type of a boxed join
/// cannot be written down.
macro_rules! filtered {
    ($this:expr, $now:expr) => {{
        let mut query = entries::table
            .inner_join(transfers::table)
            .filter(entries::account_id.eq($this.account.to_owned()))
            .into_boxed::<crate::db::MultiBackend>();
        for condition in $this.list.filter() {
            query = match condition.field {
                "side" => compare_text!(query, entries::side, condition),
                "kind" => compare_text!(query, transfers::kind, condition),
                _ => compare_time!(query, entries::created_at, condition, $now),
            };
        }
        query
    }};
}

impl Source<Entry> for Entries<'_> {
    type Row = (Row, String);

    fn rows(&self, conn: &mut Conn, fetch: &Fetch) -> QueryResult<Vec<(Row, String)>> {
        let mut query = filtered!(self, fetch.now);
        // places are unique: there is no tie to break
        if let Some((key, _)) = &fetch.after {
            let seq = key.integer();
            query = match (fetch.descending, fetch.inclusive) {
                (true, false) => query.filter(entries::seq.lt(seq)),
                (true, true) => query.filter(entries::seq.le(seq)),
                (false, false) => query.filter(entries::seq.gt(seq)),
                (false, true) => query.filter(entries::seq.ge(seq)),
            };
        }
        let query = if fetch.descending {
            query.order_by(entries::seq.desc())
        } else {
            query.order_by(entries::seq.asc())
        };
        query.limit(fetch.limit).offset(fetch.offset).select((Row::as_select(), transfers::kind)).load(conn)
    }

    fn count(&self, conn: &mut Conn, most: i64, now: Timestamp) -> QueryResult<i64> {
        CountOf(filtered!(self, now).select(entries::seq).limit(most)).get_result(conn)
    }

    fn key((row, _): &(Row, String), _: &'static str) -> (Key, String) {
        (Key::Integer(row.seq), row.seq.to_string())
    }

    fn locate(&self, conn: &mut Conn, id: &str) -> QueryResult<Option<(Row, String)>> {
        let Ok(seq) = id.parse::<i64>() else { return Ok(None) };
        entries::table
            .inner_join(transfers::table)
            .filter(entries::account_id.eq(self.account))
            .filter(entries::seq.eq(seq))
            .select((Row::as_select(), transfers::kind))
            .first(conn)
            .optional()
    }

    fn scope(&self) -> &str {
        self.account
    }
}
