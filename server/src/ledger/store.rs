//! What the ledger reads and writes: few statements, prepared once, each for many rows where the engine
//! can (PostgreSQL: arrays), else a row at a time (SQLite, where a statement is a function call).

use std::{
    collections::{BTreeSet, HashMap},
    marker::PhantomData,
};

use diesel::{
    ExpressionMethods, OptionalExtension, QueryDsl, QueryResult, RunQueryDsl, SelectableHelper,
    sql_types::{Array, BigInt, Nullable, Text},
};

use super::books::Account;
use crate::{
    db::{Conn, statement},
    error::{Result, broken},
    repositories::{entries, transfers as rows},
    schema,
};

/// What of an account matters here.
macro_rules! account {
    ($rest:literal) => {
        concat!(
            "SELECT id, currency, system_key, status, overdraft_limit, max_balance, debits_posted, ",
            "credits_posted, debits_pending, credits_pending, entry_seq, moved_at FROM accounts ",
            $rest
        )
    };
}
type Columns = (
    Text,
    Text,
    Nullable<Text>,
    Text,
    Nullable<BigInt>,
    Nullable<BigInt>,
    BigInt,
    BigInt,
    BigInt,
    BigInt,
    BigInt,
    BigInt,
);
type Found = (String, String, Option<String>, String, Option<i64>, Option<i64>, i64, i64, i64, i64, i64, i64);

statement! {
    /// One account.
    sqlite FindAccount { id: &'a str as Text } -> Columns,
    account!("WHERE id = ?")
}
statement! {
    /// Accounts, held in one order everywhere, so that nobody waits in a circle.
    postgres LockAccounts { ids: &'a [String] as Array<Text> } -> Columns,
    account!("WHERE id = ANY(?) ORDER BY id FOR NO KEY UPDATE")
}
statement! {
    /// Accounts and transfers that somebody else holds, and which transaction does. It waits for nobody.
    postgres FindHeld { ids: &'a [String] as Array<Text> } -> (Text, Text),
    "WITH these AS (SELECT ?::text[] AS ids), \
     a AS (SELECT id FROM accounts WHERE id = ANY ((SELECT ids FROM these)::text[]) FOR NO KEY UPDATE SKIP LOCKED), \
     t AS (SELECT id FROM transfers WHERE id = ANY ((SELECT ids FROM these)::text[]) FOR NO KEY UPDATE SKIP LOCKED) \
     SELECT id, xmax::text FROM accounts WHERE id = ANY ((SELECT ids FROM these)::text[]) AND id NOT IN (SELECT id FROM a) \
     UNION ALL \
     SELECT id, xmax::text FROM transfers WHERE id = ANY ((SELECT ids FROM these)::text[]) AND id NOT IN (SELECT id FROM t)"
}
statement! {
    /// A system account.
    sqlite FindSystem { key: &'a str as Text, currency: &'a str as Text } -> Text,
    "SELECT id FROM accounts WHERE system_key = ? AND currency = ?"
}
statement! {
    /// The same.
    postgres FindSystemToo { key: &'a str as Text, currency: &'a str as Text } -> Text,
    "SELECT id FROM accounts WHERE system_key = ? AND currency = ?"
}
statement! {
    /// A new transfer.
    sqlite InsertTransfer {
        id: &'a str as Text,
        kind: &'a str as Text,
        status: &'a str as Text,
        parent_id: Option<&'a str> as Nullable<Text>,
        from_account_id: &'a str as Text,
        from_seq: i64 as BigInt,
        to_account_id: &'a str as Text,
        to_seq: i64 as BigInt,
        amount: i64 as BigInt,
        currency: &'a str as Text,
        captured_amount: i64 as BigInt,
        reversed_amount: i64 as BigInt,
        reason: Option<&'a str> as Nullable<Text>,
        description: &'a str as Text,
        external_id: Option<&'a str> as Nullable<Text>,
        actor_id: Option<&'a str> as Nullable<Text>,
        request_id: &'a str as Text,
        expires_at: Option<i64> as Nullable<BigInt>,
        metadata: &'a str as Text,
        created_at: i64 as BigInt,
    },
    "INSERT OR FAIL INTO transfers (id, kind, status, parent_id, from_account_id, from_seq, to_account_id, to_seq, amount, currency, captured_amount, reversed_amount, reason, description, external_id, actor_id, request_id, expires_at, metadata, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
}
statement! {
    /// New transfers.
    postgres InsertTransfers {
        id: Vec<&'a str> as Array<Text>,
        kind: Vec<&'a str> as Array<Text>,
        status: Vec<&'a str> as Array<Text>,
        parent_id: Vec<Option<&'a str>> as Array<Nullable<Text>>,
        from_account_id: Vec<&'a str> as Array<Text>,
        from_seq: Vec<i64> as Array<BigInt>,
        to_account_id: Vec<&'a str> as Array<Text>,
        to_seq: Vec<i64> as Array<BigInt>,
        amount: Vec<i64> as Array<BigInt>,
        currency: Vec<&'a str> as Array<Text>,
        captured_amount: Vec<i64> as Array<BigInt>,
        reversed_amount: Vec<i64> as Array<BigInt>,
        reason: Vec<Option<&'a str>> as Array<Nullable<Text>>,
        description: Vec<&'a str> as Array<Text>,
        external_id: Vec<Option<&'a str>> as Array<Nullable<Text>>,
        actor_id: Vec<Option<&'a str>> as Array<Nullable<Text>>,
        request_id: Vec<&'a str> as Array<Text>,
        expires_at: Vec<Option<i64>> as Array<Nullable<BigInt>>,
        metadata: Vec<&'a str> as Array<Text>,
        created_at: Vec<i64> as Array<BigInt>,
    },
    "INSERT INTO transfers (id, kind, status, parent_id, from_account_id, from_seq, to_account_id, to_seq, amount, currency, captured_amount, reversed_amount, reason, description, external_id, actor_id, request_id, expires_at, metadata, created_at) SELECT * FROM unnest(?::text[], ?::text[], ?::text[], ?::text[], ?::text[], ?::bigint[], ?::text[], ?::bigint[], ?::bigint[], ?::text[], ?::bigint[], ?::bigint[], ?::text[], ?::text[], ?::text[], ?::text[], ?::text[], ?::bigint[], ?::text[], ?::bigint[])"
}
statement! {
    /// A new entry.
    sqlite InsertEntry {
        account_id: &'a str as Text,
        seq: i64 as BigInt,
        transfer_id: &'a str as Text,
        side: &'a str as Text,
        amount: i64 as BigInt,
        debits_posted: i64 as BigInt,
        credits_posted: i64 as BigInt,
        debits_pending: i64 as BigInt,
        credits_pending: i64 as BigInt,
        created_at: i64 as BigInt,
    },
    "INSERT OR FAIL INTO entries (account_id, seq, transfer_id, side, amount, debits_posted, credits_posted, debits_pending, credits_pending, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
}
statement! {
    /// New entries.
    postgres InsertEntries {
        account_id: Vec<&'a str> as Array<Text>,
        seq: Vec<i64> as Array<BigInt>,
        transfer_id: Vec<&'a str> as Array<Text>,
        side: Vec<&'a str> as Array<Text>,
        amount: Vec<i64> as Array<BigInt>,
        debits_posted: Vec<i64> as Array<BigInt>,
        credits_posted: Vec<i64> as Array<BigInt>,
        debits_pending: Vec<i64> as Array<BigInt>,
        credits_pending: Vec<i64> as Array<BigInt>,
        created_at: Vec<i64> as Array<BigInt>,
    },
    "INSERT INTO entries (account_id, seq, transfer_id, side, amount, debits_posted, credits_posted, debits_pending, credits_pending, created_at) SELECT * FROM unnest(?::text[], ?::bigint[], ?::text[], ?::text[], ?::bigint[], ?::bigint[], ?::bigint[], ?::bigint[], ?::bigint[], ?::bigint[])"
}
statement! {
    /// What an account holds from now on.
    sqlite UpdateAccount {
        debits_posted: i64 as BigInt,
        credits_posted: i64 as BigInt,
        debits_pending: i64 as BigInt,
        credits_pending: i64 as BigInt,
        entry_seq: i64 as BigInt,
        moved_at: i64 as BigInt,
        id: &'a str as Text,
    },
    "UPDATE OR FAIL accounts SET debits_posted = ?, credits_posted = ?, debits_pending = ?, credits_pending = ?, entry_seq = ?, moved_at = ? WHERE id = ?"
}
statement! {
    /// What accounts hold from now on.
    postgres UpdateAccounts {
        ids: Vec<&'a str> as Array<Text>,
        debits_posted: Vec<i64> as Array<BigInt>,
        credits_posted: Vec<i64> as Array<BigInt>,
        debits_pending: Vec<i64> as Array<BigInt>,
        credits_pending: Vec<i64> as Array<BigInt>,
        entry_seq: Vec<i64> as Array<BigInt>,
        moved_at: Vec<i64> as Array<BigInt>,
    },
    "UPDATE accounts AS a SET debits_posted = n.debits_posted, credits_posted = n.credits_posted, debits_pending = n.debits_pending, credits_pending = n.credits_pending, entry_seq = n.entry_seq, moved_at = n.moved_at \
     FROM unnest(?::text[], ?::bigint[], ?::bigint[], ?::bigint[], ?::bigint[], ?::bigint[], ?::bigint[]) \
     AS n(id, debits_posted, credits_posted, debits_pending, credits_pending, entry_seq, moved_at) WHERE a.id = n.id"
}
statement! {
    /// How an older transfer stands from now on.
    sqlite UpdateTransfer {
        status: &'a str as Text,
        captured: i64 as BigInt,
        reversed: i64 as BigInt,
        id: &'a str as Text,
    },
    "UPDATE transfers SET status = ?, captured_amount = ?, reversed_amount = ? WHERE id = ?"
}
statement! {
    /// How older transfers stand from now on.
    postgres UpdateTransfers {
        ids: Vec<&'a str> as Array<Text>,
        status: Vec<&'a str> as Array<Text>,
        captured: Vec<i64> as Array<BigInt>,
        reversed: Vec<i64> as Array<BigInt>,
    },
    "UPDATE transfers AS t SET status = n.status, captured_amount = n.captured, reversed_amount = n.reversed \
     FROM unnest(?::text[], ?::text[], ?::bigint[], ?::bigint[]) AS n(id, status, captured, reversed) WHERE t.id = n.id"
}

fn account(found: Found) -> Result<Account> {
    fn read<T: std::str::FromStr>(text: &str) -> Result<T>
    where
        T::Err: std::error::Error + Send + Sync + 'static,
    {
        text.parse().map_err(|why: T::Err| broken("a value of the books")(Box::new(why)))
    }
    let (id, currency, system, status, overdraft_limit, max_balance, ..) = &found;
    let (.., debits_posted, credits_posted, debits_pending, credits_pending, entry_seq, moved_at) = &found;
    Ok(Account {
        typed: read(id)?,
        currency: read(currency)?,
        is_system: system.is_some(),
        status: read(status)?,
        overdraft_limit: *overdraft_limit,
        max_balance: *max_balance,
        debits_posted: *debits_posted,
        credits_posted: *credits_posted,
        debits_pending: *debits_pending,
        credits_pending: *credits_pending,
        entry_seq: *entry_seq,
        moved_at: *moved_at,
        moved: false,
        id: id.clone(),
    })
}

/// These accounts, as far as they are there, held until the transaction ends. `ids` is sorted.
pub(super) fn lock(conn: &mut Conn, ids: &[String]) -> Result<Vec<Account>> {
    let found: Vec<Found> = match conn {
        Conn::Pg(pg) => LockAccounts { ids, _of: PhantomData }.load(pg)?,
        Conn::Sqlite(sqlite) => {
            let mut found = Vec::with_capacity(ids.len());
            for id in ids {
                found.extend(FindAccount { id, _of: PhantomData }.get_result(sqlite).optional()?);
            }
            found
        }
    };
    found.into_iter().map(account).collect()
}

/// Which of these accounts and transfers somebody else holds at this moment, and the number of their transaction.
pub(super) fn held(conn: &mut Conn, ids: &[String]) -> Result<HashMap<String, String>> {
    let held: Vec<(String, String)> = match conn {
        Conn::Pg(pg) => FindHeld { ids, _of: PhantomData }.load(pg)?,
        // nobody else writes
        Conn::Sqlite(_) => Vec::new(),
    };
    Ok(held.into_iter().collect())
}

/// The id of a system account, if it was opened.
pub(super) fn system(conn: &mut Conn, key: &str, currency: &str) -> Result<Option<String>> {
    Ok(match conn {
        Conn::Pg(pg) => FindSystemToo { key, currency, _of: PhantomData }.get_result(pg),
        Conn::Sqlite(sqlite) => FindSystem { key, currency, _of: PhantomData }.get_result(sqlite),
    }
    .optional()?)
}

/// These transfers, as far as they are there.
pub(super) fn transfers(conn: &mut Conn, ids: &[String]) -> Result<Vec<rows::Row>> {
    use schema::transfers::dsl;
    Ok(match conn {
        Conn::Pg(pg) => dsl::transfers.filter(dsl::id.eq_any(ids)).select(rows::Row::as_select()).load(pg)?,
        Conn::Sqlite(sqlite) => {
            let mut found = Vec::with_capacity(ids.len());
            for id in ids {
                let one = dsl::transfers.find(id).select(rows::Row::as_select()).first(sqlite);
                found.extend(one.optional()?);
            }
            found
        }
    })
}

/// Which of these external ids transfers have already.
pub(super) fn external_ids(conn: &mut Conn, ids: &[String]) -> Result<BTreeSet<String>> {
    use schema::transfers::dsl;
    let mut taken = BTreeSet::new();
    match conn {
        Conn::Pg(pg) => {
            let found: Vec<Option<String>> =
                dsl::transfers.filter(dsl::external_id.eq_any(ids)).select(dsl::external_id).load(pg)?;
            taken.extend(found.into_iter().flatten());
        }
        Conn::Sqlite(sqlite) => {
            for id in ids {
                let found: Option<Option<String>> = dsl::transfers
                    .filter(dsl::external_id.eq(id))
                    .select(dsl::external_id)
                    .first(sqlite)
                    .optional()?;
                taken.extend(found.flatten());
            }
        }
    }
    Ok(taken)
}

/// New transfers, then their entries.
pub(super) fn insert(conn: &mut Conn, transfers: &[rows::Row], entries: &[entries::Row]) -> QueryResult<()> {
    match conn {
        Conn::Pg(pg) => {
            InsertTransfers {
                id: transfers.iter().map(|row| row.id.as_str()).collect(),
                kind: transfers.iter().map(|row| row.kind.as_str()).collect(),
                status: transfers.iter().map(|row| row.status.as_str()).collect(),
                parent_id: transfers.iter().map(|row| row.parent_id.as_deref()).collect(),
                from_account_id: transfers.iter().map(|row| row.from_account_id.as_str()).collect(),
                from_seq: transfers.iter().map(|row| row.from_seq).collect(),
                to_account_id: transfers.iter().map(|row| row.to_account_id.as_str()).collect(),
                to_seq: transfers.iter().map(|row| row.to_seq).collect(),
                amount: transfers.iter().map(|row| row.amount).collect(),
                currency: transfers.iter().map(|row| row.currency.as_str()).collect(),
                captured_amount: transfers.iter().map(|row| row.captured_amount).collect(),
                reversed_amount: transfers.iter().map(|row| row.reversed_amount).collect(),
                reason: transfers.iter().map(|row| row.reason.as_deref()).collect(),
                description: transfers.iter().map(|row| row.description.as_str()).collect(),
                external_id: transfers.iter().map(|row| row.external_id.as_deref()).collect(),
                actor_id: transfers.iter().map(|row| row.actor_id.as_deref()).collect(),
                request_id: transfers.iter().map(|row| row.request_id.as_str()).collect(),
                expires_at: transfers.iter().map(|row| row.expires_at).collect(),
                metadata: transfers.iter().map(|row| row.metadata.as_str()).collect(),
                created_at: transfers.iter().map(|row| row.created_at).collect(),
                _of: PhantomData,
            }
            .execute(pg)?;
            InsertEntries {
                account_id: entries.iter().map(|row| row.account_id.as_str()).collect(),
                seq: entries.iter().map(|row| row.seq).collect(),
                transfer_id: entries.iter().map(|row| row.transfer_id.as_str()).collect(),
                side: entries.iter().map(|row| row.side.as_str()).collect(),
                amount: entries.iter().map(|row| row.amount).collect(),
                debits_posted: entries.iter().map(|row| row.debits_posted).collect(),
                credits_posted: entries.iter().map(|row| row.credits_posted).collect(),
                debits_pending: entries.iter().map(|row| row.debits_pending).collect(),
                credits_pending: entries.iter().map(|row| row.credits_pending).collect(),
                created_at: entries.iter().map(|row| row.created_at).collect(),
                _of: PhantomData,
            }
            .execute(pg)?;
        }
        Conn::Sqlite(sqlite) => {
            for row in transfers {
                InsertTransfer {
                    id: &row.id,
                    kind: &row.kind,
                    status: &row.status,
                    parent_id: row.parent_id.as_deref(),
                    from_account_id: &row.from_account_id,
                    from_seq: row.from_seq,
                    to_account_id: &row.to_account_id,
                    to_seq: row.to_seq,
                    amount: row.amount,
                    currency: &row.currency,
                    captured_amount: row.captured_amount,
                    reversed_amount: row.reversed_amount,
                    reason: row.reason.as_deref(),
                    description: &row.description,
                    external_id: row.external_id.as_deref(),
                    actor_id: row.actor_id.as_deref(),
                    request_id: &row.request_id,
                    expires_at: row.expires_at,
                    metadata: &row.metadata,
                    created_at: row.created_at,
                    _of: PhantomData,
                }
                .execute(sqlite)?;
            }
            for row in entries {
                InsertEntry {
                    account_id: &row.account_id,
                    seq: row.seq,
                    transfer_id: &row.transfer_id,
                    side: &row.side,
                    amount: row.amount,
                    debits_posted: row.debits_posted,
                    credits_posted: row.credits_posted,
                    debits_pending: row.debits_pending,
                    credits_pending: row.credits_pending,
                    created_at: row.created_at,
                    _of: PhantomData,
                }
                .execute(sqlite)?;
            }
        }
    }
    Ok(())
}

/// What accounts hold, and how older transfers stand, from now on.
pub(super) fn update(conn: &mut Conn, accounts: &[Account], transfers: &[rows::Row]) -> QueryResult<()> {
    match conn {
        Conn::Pg(pg) => {
            UpdateAccounts {
                ids: accounts.iter().map(|row| row.id.as_str()).collect(),
                debits_posted: accounts.iter().map(|row| row.debits_posted).collect(),
                credits_posted: accounts.iter().map(|row| row.credits_posted).collect(),
                debits_pending: accounts.iter().map(|row| row.debits_pending).collect(),
                credits_pending: accounts.iter().map(|row| row.credits_pending).collect(),
                entry_seq: accounts.iter().map(|row| row.entry_seq).collect(),
                moved_at: accounts.iter().map(|row| row.moved_at).collect(),
                _of: PhantomData,
            }
            .execute(pg)?;
            if !transfers.is_empty() {
                UpdateTransfers {
                    ids: transfers.iter().map(|row| row.id.as_str()).collect(),
                    status: transfers.iter().map(|row| row.status.as_str()).collect(),
                    captured: transfers.iter().map(|row| row.captured_amount).collect(),
                    reversed: transfers.iter().map(|row| row.reversed_amount).collect(),
                    _of: PhantomData,
                }
                .execute(pg)?;
            }
        }
        Conn::Sqlite(sqlite) => {
            for row in accounts {
                UpdateAccount {
                    debits_posted: row.debits_posted,
                    credits_posted: row.credits_posted,
                    debits_pending: row.debits_pending,
                    credits_pending: row.credits_pending,
                    entry_seq: row.entry_seq,
                    moved_at: row.moved_at,
                    id: &row.id,
                    _of: PhantomData,
                }
                .execute(sqlite)?;
            }
            for row in transfers {
                UpdateTransfer {
                    status: &row.status,
                    captured: row.captured_amount,
                    reversed: row.reversed_amount,
                    id: &row.id,
                    _of: PhantomData,
                }
                .execute(sqlite)?;
            }
        }
    }
    Ok(())
}
