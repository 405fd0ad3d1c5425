//! Transfers in the store.

use bursar_shared::{
    field::TransferKind,
    id::TransferId,
    operations::transfers::Transfer,
    page::{Condition, FilterValue, List, Op, Page},
    time::Timestamp,
};
use diesel::prelude::*;

use super::{
    accounts::{compare_number, optional_text},
    entries,
    page::{CountOf, Fetch, Key, Source, compare_text, compare_time, keyset},
};
use crate::{
    auth::CursorKey,
    db::{Conn, MultiBackend},
    error::{Result, broken, not_found},
    schema::transfers,
};

/// A transfer as the store has it.
#[derive(Debug, Clone, PartialEq, Queryable, Selectable)]
#[diesel(table_name = transfers)]
pub struct Row {
    /// The id.
    pub id: String,
    /// What it does.
    pub kind: String,
    /// Where it stands.
    pub status: String,
    /// Of which transfer.
    pub parent_id: Option<String>,
    /// Whose money goes.
    pub from_account_id: String,
    /// The entry it left there.
    pub from_seq: i64,
    /// Whose money comes.
    pub to_account_id: String,
    /// The entry it left there.
    pub to_seq: i64,
    /// Minor units.
    pub amount: i64,
    /// ISO 4217.
    pub currency: String,
    /// Of a hold.
    pub captured_amount: i64,
    /// Moved back.
    pub reversed_amount: i64,
    /// Why.
    pub reason: Option<String>,
    /// What for.
    pub description: String,
    /// The caller's own id.
    pub external_id: Option<String>,
    /// Who; nobody for the daemon itself.
    pub actor_id: Option<String>,
    /// In which request.
    pub request_id: String,
    /// Of a hold; microseconds since 1970.
    pub expires_at: Option<i64>,
    /// JSON.
    pub metadata: String,
    /// Microseconds since 1970.
    pub created_at: i64,
}

fn damaged<T, E: std::error::Error + Send + Sync + 'static>(read: std::result::Result<T, E>) -> Result<T> {
    read.map_err(|why| broken("a value of the store")(Box::new(why)))
}

impl Row {
    /// As the API shows it.
    pub fn transfer(&self) -> Result<Transfer> {
        let text = |text: &Option<String>| text.clone().map(serde_json::Value::from);
        Ok(Transfer {
            id: damaged(self.id.parse())?,
            kind: damaged(self.kind.parse())?,
            status: damaged(self.status.parse())?,
            parent_id: damaged(self.parent_id.as_deref().map(str::parse).transpose())?,
            from_account_id: damaged(self.from_account_id.parse())?,
            to_account_id: damaged(self.to_account_id.parse())?,
            amount: self.amount,
            currency: damaged(self.currency.parse())?,
            captured_amount: self.captured_amount,
            reversed_amount: self.reversed_amount,
            reason: text(&self.reason).map(serde_json::from_value).transpose()?,
            description: serde_json::from_value(self.description.clone().into())?,
            external_id: text(&self.external_id).map(serde_json::from_value).transpose()?,
            actor_id: self.actor_id.clone(),
            request_id: self.request_id.clone(),
            expires_at: self.expires_at.map(Timestamp::from_micros),
            metadata: serde_json::from_str(&self.metadata)?,
            created_at: Timestamp::from_micros(self.created_at),
            accounts: None,
        })
    }
}

/// The transfer with this id.
///
/// # Errors
/// `NOT_FOUND`.
pub fn get(conn: &mut Conn, id: TransferId) -> Result<Row> {
    let row = transfers::table.find(id.to_string()).select(Row::as_select()).first(conn).optional()?;
    row.ok_or_else(|| not_found("transfer", id))
}

/// Holds that ran out and were not let go yet, the oldest first.
pub fn expired(conn: &mut Conn, now: Timestamp, limit: i64) -> Result<Vec<TransferId>> {
    let ids: Vec<String> = transfers::table
        .filter(transfers::status.eq("pending"))
        .filter(transfers::expires_at.is_not_null())
        .filter(transfers::expires_at.le(now.micros()))
        .order(transfers::expires_at)
        .limit(limit)
        .select(transfers::id)
        .load(conn)?;
    ids.iter().map(|id| damaged(id.parse())).collect()
}

/// One page of transfers.
///
/// # Errors
/// Those of [`super::page::page`].
pub fn page(
    conn: &mut Conn,
    list: &List<Transfer>,
    cursors: &CursorKey,
    now: Timestamp,
) -> Result<Page<Row>> {
    super::page::page(conn, &Transfers { list }, list, cursors, now)
}

struct Transfers<'a> {
    list: &'a List<Transfer>,
}

type Boxed<'a> = transfers::BoxedQuery<'a, MultiBackend>;

/// The side of an account's transfers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    From,
    To,
}

impl Transfers<'_> {
    fn named(&self, field: &str) -> Option<&str> {
        let mut conditions = self.list.filter.iter().filter(|condition| condition.field == field);
        conditions.find_map(|condition| match &condition.value {
            FilterValue::Text(text) => Some(text.as_str()),
            _ => None,
        })
    }

    fn filtered(&self, now: Timestamp) -> Boxed<'static> {
        let mut query = transfers::table.into_boxed();
        for condition in &self.list.filter {
            query = narrow(query, condition, now);
        }
        match &self.list.q {
            Some(q) => search(query, q.trim()),
            None => query,
        }
    }

    /// An account's transfers are later with every entry they leave there, so the order of its entries is
    /// the order of time: the index by entry serves, and no other is needed.
    fn of_account(&self, conn: &mut Conn, fetch: &Fetch, account: &str, side: Of) -> QueryResult<Vec<Row>> {
        let mut query = self.filtered(fetch.now);
        query = match side {
            Of::From => query.filter(transfers::from_account_id.eq(account.to_owned())),
            Of::To => query.filter(transfers::to_account_id.eq(account.to_owned())),
        };
        if let Some((key, _)) = &fetch.after {
            let at = key.integer();
            // the entries of an account have times of their own: what is at this very time is one row
            let upto = entries::seq_at(conn, account, Timestamp::from_micros(at))?;
            let exact = entries::time_of(conn, account, upto)? == Some(at);
            let bound = match (fetch.descending, fetch.inclusive || !exact) {
                (true, true) => upto,
                (true, false) => upto - 1,
                (false, true) => {
                    if exact {
                        upto
                    } else {
                        upto + 1
                    }
                }
                (false, false) => upto + 1,
            };
            query = match (side, fetch.descending) {
                (Of::From, true) => query.filter(transfers::from_seq.le(bound)),
                (Of::From, false) => query.filter(transfers::from_seq.ge(bound)),
                (Of::To, true) => query.filter(transfers::to_seq.le(bound)),
                (Of::To, false) => query.filter(transfers::to_seq.ge(bound)),
            };
        }
        let query = match (side, fetch.descending) {
            (Of::From, true) => query.order_by(transfers::from_seq.desc()),
            (Of::From, false) => query.order_by(transfers::from_seq.asc()),
            (Of::To, true) => query.order_by(transfers::to_seq.desc()),
            (Of::To, false) => query.order_by(transfers::to_seq.asc()),
        };
        query.limit(fetch.limit + fetch.offset).select(Row::as_select()).load(conn)
    }

    /// One side, or both merged.
    fn by_account(&self, conn: &mut Conn, fetch: &Fetch) -> QueryResult<Option<Vec<Row>>> {
        let mut rows = if let Some(account) = self.named("fromAccountId") {
            self.of_account(conn, fetch, account, Of::From)?
        } else if let Some(account) = self.named("toAccountId") {
            self.of_account(conn, fetch, account, Of::To)?
        } else if let Some(account) = self.named("accountId") {
            let mut rows = self.of_account(conn, fetch, account, Of::From)?;
            rows.append(&mut self.of_account(conn, fetch, account, Of::To)?);
            rows.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
            if fetch.descending {
                rows.reverse();
            }
            rows
        } else {
            return Ok(None);
        };
        let skip = usize::try_from(fetch.offset).unwrap_or(0).min(rows.len());
        rows.drain(..skip);
        rows.truncate(usize::try_from(fetch.limit).unwrap_or(usize::MAX));
        Ok(Some(rows))
    }
}

fn narrow<'a>(query: Boxed<'a>, condition: &Condition, now: Timestamp) -> Boxed<'a> {
    match condition.field {
        "status" => compare_text!(query, transfers::status, condition),
        "kind" => compare_text!(query, transfers::kind, condition),
        "fromAccountId" => compare_text!(query, transfers::from_account_id, condition),
        "toAccountId" => compare_text!(query, transfers::to_account_id, condition),
        "accountId" => match &condition.value {
            FilterValue::Text(id) => query.filter(
                transfers::from_account_id.eq(id.clone()).or(transfers::to_account_id.eq(id.clone())),
            ),
            _ => query,
        },
        "parentId" => optional_text!(query, transfers::parent_id, condition),
        "externalId" => optional_text!(query, transfers::external_id, condition),
        "actorId" => match &condition.value {
            FilterValue::Text(id) => query.filter(transfers::actor_id.eq(id.clone())),
            _ => query,
        },
        "currency" => compare_text!(query, transfers::currency, condition),
        "amount" => compare_number!(query, transfers::amount, condition),
        "createdAt" => compare_time!(query, transfers::created_at, condition, now),
        _ => query,
    }
}

/// An exact id, or somebody's own id.
fn search<'a>(query: Boxed<'a>, q: &str) -> Boxed<'a> {
    match q.parse::<TransferId>() {
        Ok(id) => query.filter(transfers::id.eq(id.to_string())),
        Err(_) => query.filter(transfers::external_id.eq(q.to_owned())),
    }
}

impl Source<Transfer> for Transfers<'_> {
    type Row = Row;

    fn rows(&self, conn: &mut Conn, fetch: &Fetch) -> QueryResult<Vec<Row>> {
        if fetch.key == "createdAt"
            && let Some(rows) = self.by_account(conn, fetch)?
        {
            return Ok(rows);
        }
        let query = self.filtered(fetch.now);
        let query = match fetch.key {
            "amount" => keyset!(query, fetch, transfers::amount, transfers::id, integer),
            _ => keyset!(query, fetch, transfers::created_at, transfers::id, integer),
        };
        query.limit(fetch.limit).offset(fetch.offset).select(Row::as_select()).load(conn)
    }

    fn count(&self, conn: &mut Conn, most: i64, now: Timestamp) -> QueryResult<i64> {
        CountOf(self.filtered(now).select(transfers::id).limit(most)).get_result(conn)
    }

    fn key(row: &Row, key: &'static str) -> (Key, String) {
        let value = if key == "amount" { row.amount } else { row.created_at };
        (Key::Integer(value), row.id.clone())
    }

    fn locate(&self, conn: &mut Conn, id: &str) -> QueryResult<Option<Row>> {
        transfers::table.find(id.to_owned()).select(Row::as_select()).first(conn).optional()
    }
}

/// Whether a transfer of this kind changes `posted`.
pub fn posts(kind: TransferKind) -> bool {
    matches!(kind, TransferKind::Transfer | TransferKind::Capture | TransferKind::Reversal)
}
