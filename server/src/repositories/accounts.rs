//! Accounts in the store.

use std::collections::BTreeMap;

use bursar_shared::{
    field::{AccountStatus, SystemKey},
    id::{AccountId, UserId},
    money::{Currency, Limit, MAX_MINOR},
    operations::accounts::{Account, AccountRef, Balances},
    page::{Condition, FilterValue, List, Op, Page},
    time::Timestamp,
};
use diesel::{
    expression::{AppearsOnTable, ValidGrouping, is_aggregate},
    pg::Pg,
    prelude::*,
    query_builder::{AstPass, QueryFragment, QueryId},
    sql_types::{BigInt, Bool, Text},
    sqlite::Sqlite,
};

use super::{
    page::{CountOf, Fetch, Key, Source, compare_text, compare_time, keyset},
    users::{prefix_end, sort_form},
};
use crate::{
    auth::CursorKey,
    db::{Conn, MultiBackend, both},
    error::{Result, broken, not_found},
    schema::{accounts, counters},
};

/// An account as the store has it.
#[derive(Debug, Clone, PartialEq, Queryable, Selectable, Insertable)]
#[diesel(table_name = accounts)]
pub struct Row {
    /// The id.
    pub id: String,
    /// For people.
    pub number: i64,
    /// The name.
    pub name: String,
    /// The name as it is sorted.
    pub name_sort: String,
    /// Whose.
    pub owner_id: Option<String>,
    /// `world` or `revenue`.
    pub system_key: Option<String>,
    /// ISO 4217.
    pub currency: String,
    /// `active`, `frozen` or `closed`.
    pub status: String,
    /// Null for without end.
    pub overdraft_limit: Option<i64>,
    /// Null for without end.
    pub max_balance: Option<i64>,
    /// Money that went out.
    pub debits_posted: i64,
    /// Money that came in.
    pub credits_posted: i64,
    /// Held of it.
    pub debits_pending: i64,
    /// Held for it.
    pub credits_pending: i64,
    /// Its last entry.
    pub entry_seq: i64,
    /// When that was made; microseconds since 1970.
    pub moved_at: i64,
    /// The caller's own id.
    pub external_id: Option<String>,
    /// JSON.
    pub metadata: String,
    /// Raised by every edit.
    pub version: i64,
    /// Microseconds since 1970.
    pub created_at: i64,
    /// Microseconds since 1970.
    pub updated_at: i64,
}

/// What an account holds, by its counters; without an overdraft limit it is unlimited.
pub fn balances(
    debits_posted: i64,
    credits_posted: i64,
    debits_pending: i64,
    credits_pending: i64,
    overdraft_limit: Option<i64>,
) -> Balances {
    // saturating: also books that somebody damaged are shown
    let posted = credits_posted.saturating_sub(debits_posted);
    // an old balance may meet a limit that came later
    let available = |limit: i64| posted.saturating_sub(debits_pending).saturating_add(limit).min(MAX_MINOR);
    Balances {
        posted,
        pending_in: credits_pending,
        pending_out: debits_pending,
        available: overdraft_limit.map(available),
    }
}

fn damaged<T, E: std::error::Error + Send + Sync + 'static>(read: std::result::Result<T, E>) -> Result<T> {
    read.map_err(|why| broken("a value of the store")(Box::new(why)))
}

impl Row {
    /// A new account without money, version 1.
    pub fn new(id: AccountId, number: i64, name: &str, currency: Currency, now: Timestamp) -> Self {
        Self {
            id: id.to_string(),
            number,
            name: name.to_owned(),
            name_sort: sort_form(name),
            owner_id: None,
            system_key: None,
            currency: currency.code().to_owned(),
            status: AccountStatus::Active.as_str().to_owned(),
            overdraft_limit: Some(0),
            max_balance: None,
            debits_posted: 0,
            credits_posted: 0,
            debits_pending: 0,
            credits_pending: 0,
            entry_seq: 0,
            moved_at: 0,
            external_id: None,
            metadata: "{}".to_owned(),
            version: 1,
            created_at: now.micros(),
            updated_at: now.micros(),
        }
    }

    /// A new system account: unlimited, of nobody.
    pub fn system(id: AccountId, number: i64, key: SystemKey, currency: Currency, now: Timestamp) -> Self {
        let name = match key {
            SystemKey::World => "World",
            SystemKey::Revenue => "Revenue",
        };
        Self {
            system_key: Some(key.as_str().to_owned()),
            overdraft_limit: None,
            ..Self::new(id, number, &format!("{name} {currency}"), currency, now)
        }
    }

    /// What it holds.
    pub fn balances(&self) -> Balances {
        balances(
            self.debits_posted,
            self.credits_posted,
            self.debits_pending,
            self.credits_pending,
            self.limit(),
        )
    }

    /// How far it may go below nothing: a closed account has nothing to spend, whatever its limit was.
    pub fn limit(&self) -> Option<i64> {
        match self.status == AccountStatus::Closed.as_str() {
            true => Some(0),
            false => self.overdraft_limit,
        }
    }

    /// Its currency.
    pub fn currency(&self) -> Result<Currency> {
        damaged(self.currency.parse())
    }

    /// Its id.
    pub fn id(&self) -> Result<AccountId> {
        damaged(self.id.parse())
    }

    /// As the API shows it.
    pub fn account(&self) -> Result<Account> {
        Ok(Account {
            id: self.id()?,
            number: self.number,
            name: serde_json::from_value(self.name.clone().into())?,
            owner_id: damaged(self.owner_id.as_deref().map(str::parse).transpose())?,
            system_key: damaged(self.system_key.as_deref().map(str::parse).transpose())?,
            currency: self.currency()?,
            status: damaged(self.status.parse())?,
            overdraft_limit: self.overdraft_limit.and_then(Limit::new),
            max_balance: self.max_balance.and_then(Limit::new),
            balances: self.balances(),
            entry_seq: self.entry_seq,
            external_id: self.external_id.clone().map(|id| serde_json::from_value(id.into())).transpose()?,
            metadata: serde_json::from_str(&self.metadata)?,
            version: self.version,
            created_at: Timestamp::from_micros(self.created_at),
            updated_at: Timestamp::from_micros(self.updated_at),
        })
    }
}

/// The account that is meant, if there is one.
pub fn find(conn: &mut Conn, which: AccountRef) -> Result<Option<Row>> {
    Ok(match which {
        AccountRef::Id(id) => accounts::table.find(id.to_string()).select(Row::as_select()).first(conn),
        AccountRef::System(key, currency) => accounts::table
            .filter(accounts::system_key.eq(key.as_str()))
            .filter(accounts::currency.eq(currency.code()))
            .select(Row::as_select())
            .first(conn),
    }
    .optional()?)
}

/// The account that is meant.
///
/// # Errors
/// `NOT_FOUND`.
pub fn get(conn: &mut Conn, which: AccountRef) -> Result<Row> {
    find(conn, which)?.ok_or_else(|| not_found("account", which))
}

/// These accounts, held until the transaction ends, in the order of their ids: in one order everywhere,
/// so that nobody waits in a circle.
///
/// # Errors
/// `NOT_FOUND`.
pub fn lock(conn: &mut Conn, which: &[AccountRef]) -> Result<Vec<Row>> {
    let mut ids = which.iter().map(|one| Ok(get(conn, *one)?.id)).collect::<Result<Vec<String>>>()?;
    let asked = ids.clone();
    ids.sort();
    ids.dedup();
    let query = accounts::table.filter(accounts::id.eq_any(ids)).order(accounts::id);
    let rows: Vec<Row> = match conn {
        Conn::Pg(pg) => query.for_no_key_update().select(Row::as_select()).load(pg)?,
        // the transaction began as the only writer
        Conn::Sqlite(sqlite) => query.select(Row::as_select()).load(sqlite)?,
    };
    let of = |id: &String| rows.iter().find(|row| row.id == *id).cloned();
    asked.iter().map(|id| of(id).ok_or_else(|| not_found("account", id))).collect()
}

/// Keeps others from opening accounts until this transaction ends. Whoever holds accounts too takes this
/// first, so that nobody waits in a circle.
pub fn hold_numbers(conn: &mut Conn) -> Result<()> {
    if let Conn::Pg(pg) = conn {
        counters::table.find("accounts").select(counters::value).for_update().get_result::<i64>(pg)?;
    }
    // on SQLite the transaction began as the only writer
    Ok(())
}

/// The next number; whoever asks too waits until this transaction ends.
pub fn next_number(conn: &mut Conn) -> Result<i64> {
    Ok(diesel::update(counters::table.find("accounts"))
        .set(counters::value.eq(counters::value + 1))
        .returning(counters::value)
        .get_result(conn)?)
}

/// A new account.
///
/// # Errors
/// Broken constraints, named by the caller.
pub fn insert(conn: &mut Conn, row: &Row) -> QueryResult<()> {
    diesel::insert_into(accounts::table).values(row).execute(conn).map(drop)
}

/// Writes an edited account back; its counters are the ledger's.
///
/// # Errors
/// Broken constraints, named by the caller.
pub fn update(conn: &mut Conn, row: &Row) -> QueryResult<()> {
    diesel::update(accounts::table.find(&row.id))
        .set((
            accounts::name.eq(&row.name),
            accounts::name_sort.eq(&row.name_sort),
            accounts::status.eq(&row.status),
            accounts::overdraft_limit.eq(row.overdraft_limit),
            accounts::max_balance.eq(row.max_balance),
            accounts::external_id.eq(&row.external_id),
            accounts::metadata.eq(&row.metadata),
            accounts::version.eq(row.version),
            accounts::updated_at.eq(row.updated_at),
        ))
        .execute(conn)
        .map(drop)
}

/// How many accounts of a person are not closed.
pub fn count_open_of(conn: &mut Conn, owner: &str) -> Result<i64> {
    Ok(accounts::table
        .filter(accounts::owner_id.eq(owner))
        .filter(accounts::status.ne(AccountStatus::Closed.as_str()))
        .count()
        .get_result(conn)?)
}

/// The accounts of these people, newest first, one more than `limit` each at most; one query for all, which
/// reads no more than it answers with, however many accounts somebody has.
pub fn of_users(conn: &mut Conn, users: &[String], limit: i64) -> Result<BTreeMap<String, Vec<Row>>> {
    let mut of: BTreeMap<String, Vec<Row>> = BTreeMap::new();
    if users.is_empty() {
        return Ok(of);
    }
    let (owners, most) = (serde_json::to_string(users)?, limit + 1);
    let rows: Vec<Row> = both!(conn, |conn| accounts::table
        .filter(NewestOf { owners, most })
        .order((accounts::owner_id, accounts::created_at.desc(), accounts::id.desc()))
        .select(Row::as_select())
        .load(conn))?;
    for row in rows {
        let Some(owner) = row.owner_id.clone() else { continue };
        of.entry(owner).or_default().push(row);
    }
    Ok(of)
}

/// Whether an account is among the newest `most` of one of these people, a JSON array of their ids: a look
/// into the index for each, which ends after so many rows.
#[derive(Debug, QueryId)]
struct NewestOf {
    owners: String,
    most: i64,
}

impl Expression for NewestOf {
    type SqlType = Bool;
}
impl AppearsOnTable<accounts::table> for NewestOf {}
impl ValidGrouping<()> for NewestOf {
    type IsAggregate = is_aggregate::No;
}

impl QueryFragment<Pg> for NewestOf {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("accounts.id IN (SELECT newest.id FROM json_array_elements_text(");
        out.push_bind_param::<Text, _>(&self.owners)?;
        out.push_sql("::json) AS owner(id) CROSS JOIN LATERAL (SELECT a.id FROM accounts AS a WHERE a.owner_id = owner.id ORDER BY a.created_at DESC, a.id DESC LIMIT ");
        out.push_bind_param::<BigInt, _>(&self.most)?;
        out.push_sql(") AS newest)");
        Ok(())
    }
}

impl QueryFragment<Sqlite> for NewestOf {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        // no LATERAL: the inner list is made once for each owner all the same
        out.push_sql("accounts.id IN (SELECT b.id FROM json_each(");
        out.push_bind_param::<Text, _>(&self.owners)?;
        out.push_sql(") AS owner CROSS JOIN accounts AS b WHERE b.id IN (SELECT a.id FROM accounts AS a WHERE a.owner_id = owner.value ORDER BY a.created_at DESC, a.id DESC LIMIT ");
        out.push_bind_param::<BigInt, _>(&self.most)?;
        out.push_sql("))");
        Ok(())
    }
}

/// One page of accounts.
///
/// # Errors
/// Those of [`super::page::page`].
pub fn page(conn: &mut Conn, list: &List<Account>, cursors: &CursorKey, now: Timestamp) -> Result<Page<Row>> {
    super::page::page(conn, &Accounts { list }, list, cursors, now)
}

struct Accounts<'a> {
    list: &'a List<Account>,
}

type Boxed<'a> = accounts::BoxedQuery<'a, MultiBackend>;

impl Accounts<'_> {
    fn filtered(&self, now: Timestamp) -> Boxed<'static> {
        let query = self
            .list
            .filter
            .iter()
            .fold(accounts::table.into_boxed(), |query, condition| narrow(query, condition, now));
        match &self.list.q {
            Some(q) => search(query, q.trim()),
            None => query,
        }
    }
}

/// Restricts by a column that may be empty.
macro_rules! optional_text {
    ($query:expr, $column:expr, $condition:expr) => {
        match &$condition.value {
            FilterValue::Null(true) => $query.filter($column.is_null()),
            FilterValue::Null(false) => $query.filter($column.is_not_null()),
            FilterValue::Text(text) => $query.filter($column.eq(text.clone())),
            FilterValue::Texts(texts) => $query.filter($column.eq_any(texts.clone())),
            _ => $query,
        }
    };
}
pub(super) use optional_text;

/// Narrows by a comparison of a number.
macro_rules! compare_number {
    ($query:expr, $column:expr, $condition:expr) => {
        match (&$condition.op, &$condition.value) {
            (Op::Eq, FilterValue::Integer(number)) => $query.filter($column.eq(*number)),
            (Op::Lt, FilterValue::Integer(number)) => $query.filter($column.lt(*number)),
            (Op::Lte, FilterValue::Integer(number)) => $query.filter($column.le(*number)),
            (Op::Gt, FilterValue::Integer(number)) => $query.filter($column.gt(*number)),
            (Op::Gte, FilterValue::Integer(number)) => $query.filter($column.ge(*number)),
            _ => $query,
        }
    };
}
pub(super) use compare_number;

fn narrow<'a>(query: Boxed<'a>, condition: &Condition, now: Timestamp) -> Boxed<'a> {
    match condition.field {
        "status" => compare_text!(query, accounts::status, condition),
        "currency" => compare_text!(query, accounts::currency, condition),
        "ownerId" => optional_text!(query, accounts::owner_id, condition),
        "systemKey" => optional_text!(query, accounts::system_key, condition),
        "externalId" => optional_text!(query, accounts::external_id, condition),
        "number" => compare_number!(query, accounts::number, condition),
        "createdAt" => compare_time!(query, accounts::created_at, condition, now),
        "name" => match &condition.value {
            FilterValue::Text(text) => {
                let sorted = Condition { value: FilterValue::Text(sort_form(text)), ..condition.clone() };
                compare_text!(query, accounts::name_sort, &sorted)
            }
            FilterValue::Texts(texts) => {
                let sorted: Vec<String> = texts.iter().map(|text| sort_form(text)).collect();
                query.filter(accounts::name_sort.eq_any(sorted))
            }
            _ => query,
        },
        _ => query,
    }
}

/// An exact id, number or system account; else how the name begins.
fn search<'a>(query: Boxed<'a>, q: &str) -> Boxed<'a> {
    match q.parse() {
        Ok(AccountRef::Id(id)) => return query.filter(accounts::id.eq(id.to_string())),
        Ok(AccountRef::System(key, currency)) => {
            return query
                .filter(accounts::system_key.eq(key.as_str()))
                .filter(accounts::currency.eq(currency.code().to_owned()));
        }
        Err(_) => {}
    }
    if let Ok(number) = q.parse::<i64>() {
        return query.filter(accounts::number.eq(number));
    }
    let begin = sort_form(q);
    let end = prefix_end(&begin).unwrap_or_else(|| char::MAX.to_string());
    query.filter(accounts::name_sort.ge(begin)).filter(accounts::name_sort.lt(end))
}

impl Source<Account> for Accounts<'_> {
    type Row = Row;

    fn rows(&self, conn: &mut Conn, fetch: &Fetch) -> QueryResult<Vec<Row>> {
        let query = self.filtered(fetch.now);
        let query = match fetch.key {
            "name" => keyset!(query, fetch, accounts::name_sort, accounts::id, text),
            "number" => keyset!(query, fetch, accounts::number, accounts::id, integer),
            _ => keyset!(query, fetch, accounts::created_at, accounts::id, integer),
        };
        query.limit(fetch.limit).offset(fetch.offset).select(Row::as_select()).load(conn)
    }

    fn count(&self, conn: &mut Conn, most: i64, now: Timestamp) -> QueryResult<i64> {
        CountOf(self.filtered(now).select(accounts::id).limit(most)).get_result(conn)
    }

    fn key(row: &Row, key: &'static str) -> (Key, String) {
        let value = match key {
            "name" => Key::Text(row.name_sort.clone()),
            "number" => Key::Integer(row.number),
            _ => Key::Integer(row.created_at),
        };
        (value, row.id.clone())
    }

    fn locate(&self, conn: &mut Conn, id: &str) -> QueryResult<Option<Row>> {
        accounts::table.find(id.to_owned()).select(Row::as_select()).first(conn).optional()
    }
}

/// Whether a person of this id may be given accounts: they are there and not deleted.
pub fn is_owner(conn: &mut Conn, owner: UserId) -> Result<bool> {
    let row = super::users::lock(conn, &owner)?;
    Ok(row.status != bursar_shared::field::UserStatus::Deleted.as_str())
}
