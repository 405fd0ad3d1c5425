//! Entries in the store: the lines of an account, each later than the one before.

use bursar_shared::{
    field::{Side, TransferKind},
    money::Currency,
    operations::accounts::{Entry, ListEntries},
    page::Page,
    time::Timestamp,
};
use diesel::prelude::*;
use serde_json::Value;

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

/// What the transfer of an entry says about it.
#[derive(Debug, Clone, PartialEq, Queryable, Selectable)]
#[diesel(table_name = transfers)]
pub struct Origin {
    /// What it does.
    pub kind: String,
    /// Where the money comes from.
    pub from_account_id: String,
    /// Where it goes.
    pub to_account_id: String,
    /// Why.
    pub reason: Option<String>,
    /// What for.
    pub description: String,
}

/// An entry and what it comes from.
pub type Line = (Row, Origin);

fn damaged<T, E: std::error::Error + Send + Sync + 'static>(read: std::result::Result<T, E>) -> Result<T> {
    read.map_err(|why| broken("a value of the store")(Box::new(why)))
}

/// An entry as the API shows it.
pub fn shown((row, origin): &Line, currency: Currency) -> Result<Entry> {
    let kind: TransferKind = damaged(origin.kind.parse())?;
    let side: Side = damaged(row.side.parse())?;
    let change = match side {
        _ if !posts(kind) => 0,
        Side::Debit => -row.amount,
        Side::Credit => row.amount,
    };
    let counterparty = match side {
        Side::Debit => &origin.to_account_id,
        Side::Credit => &origin.from_account_id,
    };
    Ok(Entry {
        account_id: damaged(row.account_id.parse())?,
        seq: row.seq,
        transfer_id: damaged(row.transfer_id.parse())?,
        kind,
        side,
        counterparty_id: damaged(counterparty.parse())?,
        amount: row.amount,
        change,
        posted: row.credits_posted - row.debits_posted,
        pending_out: row.debits_pending,
        pending_in: row.credits_pending,
        currency,
        reason: origin.reason.clone().map(Value::from).map(serde_json::from_value).transpose()?,
        description: serde_json::from_value(origin.description.clone().into())?,
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

/// Entries of an account after one place and up to another, oldest first, at most `limit`.
pub fn between(conn: &mut Conn, account: &str, after: i64, upto: i64, limit: i64) -> Result<Vec<Line>> {
    Ok(entries::table
        .inner_join(transfers::table)
        .filter(entries::account_id.eq(account))
        .filter(entries::seq.gt(after))
        .filter(entries::seq.le(upto))
        .order(entries::seq)
        .limit(limit)
        .select((Row::as_select(), Origin::as_select()))
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
) -> Result<Page<Line>> {
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
    type Row = Line;

    fn rows(&self, conn: &mut Conn, fetch: &Fetch) -> QueryResult<Vec<Line>> {
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
        query
            .limit(fetch.limit)
            .offset(fetch.offset)
            .select((Row::as_select(), Origin::as_select()))
            .load(conn)
    }

    fn count(&self, conn: &mut Conn, most: i64, now: Timestamp) -> QueryResult<i64> {
        CountOf(filtered!(self, now).select(entries::seq).limit(most)).get_result(conn)
    }

    fn key((row, _): &Line, _: &'static str) -> (Key, String) {
        (Key::Integer(row.seq), row.seq.to_string())
    }

    fn locate(&self, conn: &mut Conn, id: &str) -> QueryResult<Option<Line>> {
        let Ok(seq) = id.parse::<i64>() else { return Ok(None) };
        entries::table
            .inner_join(transfers::table)
            .filter(entries::account_id.eq(self.account))
            .filter(entries::seq.eq(seq))
            .select((Row::as_select(), Origin::as_select()))
            .first(conn)
            .optional()
    }

    fn scope(&self) -> &str {
        self.account
    }
}
