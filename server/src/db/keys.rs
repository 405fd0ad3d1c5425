//! Idempotency keys: one key has one effect and one verdict, committed together.

use bursar_shared::{
    error::{ApiError, ErrorCode},
    time::Timestamp,
};
use diesel::{
    prelude::*,
    sql_types::{Array, BigInt, Text},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{collections::HashSet, marker::PhantomData, time::Duration};

use super::{Conn, statement};
use crate::{error::Result, schema::idempotency_keys as keys};

/// A key as a caller sent it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keyed {
    /// Whose key: keys of different callers never meet.
    pub principal: String,
    /// 16 to 128 visible ASCII characters.
    pub key: String,
    /// SHA-256 over method, path, query and body; in hex.
    pub fingerprint: String,
    /// How long the verdict is kept.
    pub keep: Duration,
}

/// A verdict: what the caller was answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stored {
    /// The data of the answer, without secrets that are shown once.
    Data(Value),
    /// The refusal.
    Error(ApiError),
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = keys)]
struct Row {
    fingerprint: String,
    body: Option<String>,
    expires_at: i64,
}

/// What was found where the key should go.
pub(super) enum Claim {
    /// It is ours now.
    New,
    /// It has a verdict.
    Settled(Stored),
    /// It was used for another request.
    Reused,
}

/// Takes a key, or finds what became of it. On PostgreSQL this waits for a transaction that holds
/// the same key.
pub(super) fn claim(conn: &mut Conn, keyed: &Keyed, now: Timestamp) -> Result<Claim> {
    if insert(conn, keyed, now)? {
        return Ok(Claim::New);
    }
    let row: Row = keys::table.find((&keyed.principal, &keyed.key)).select(Row::as_select()).first(conn)?;
    if row.expires_at <= now.micros() {
        forget(conn, keyed)?;
        // somebody else may take it at this moment: then theirs is the verdict
        return claim(conn, keyed, now);
    }
    if row.fingerprint != keyed.fingerprint {
        return Ok(Claim::Reused);
    }
    let body = row.body.unwrap_or_default();
    Ok(Claim::Settled(serde_json::from_str(&body)?))
}

fn insert(conn: &mut Conn, keyed: &Keyed, now: Timestamp) -> QueryResult<bool> {
    let (principal, key, fingerprint) = (&keyed.principal, &keyed.key, &keyed.fingerprint);
    let (created_at, expires_at) = (now.micros(), (now + keyed.keep).micros());
    let inserted = match conn {
        Conn::Sqlite(sqlite) => {
            TakeKey { principal, key, fingerprint, created_at, expires_at, _of: PhantomData }
                .execute(sqlite)?
        }
        Conn::Pg(pg) => {
            let (created_at, expires_at) = (vec![created_at], vec![expires_at]);
            let (principals, keys, fingerprints) = (vec![&**principal], vec![&**key], vec![&**fingerprint]);
            TakeKeys { principals, keys, fingerprints, created_at, expires_at, _of: PhantomData }
                .execute(pg)?
        }
    };
    Ok(inserted == 1)
}

statement! {
    /// Takes a key, if it is free.
    sqlite TakeKey {
        principal: &'a str as Text,
        key: &'a str as Text,
        fingerprint: &'a str as Text,
        created_at: i64 as BigInt,
        expires_at: i64 as BigInt,
    },
    "INSERT INTO idempotency_keys (principal, key, fingerprint, created_at, expires_at) \
     VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
}
statement! {
    /// Takes the keys that are free, and says which.
    postgres TakeKeys {
        principals: Vec<&'a str> as Array<Text>,
        keys: Vec<&'a str> as Array<Text>,
        fingerprints: Vec<&'a str> as Array<Text>,
        created_at: Vec<i64> as Array<BigInt>,
        expires_at: Vec<i64> as Array<BigInt>,
    } -> (Text, Text),
    "INSERT INTO idempotency_keys (principal, key, fingerprint, created_at, expires_at) \
     SELECT * FROM unnest(?::text[], ?::text[], ?::text[], ?::bigint[], ?::bigint[]) \
     ON CONFLICT DO NOTHING RETURNING principal, key"
}
statement! {
    /// Whether a key is there.
    sqlite FindKey { principal: &'a str as Text, key: &'a str as Text } -> BigInt,
    "SELECT 1 FROM idempotency_keys WHERE principal = ? AND key = ?"
}
statement! {
    /// Writes a key with its verdict, or the verdict of one that is there.
    sqlite SettleKey {
        principal: &'a str as Text,
        key: &'a str as Text,
        fingerprint: &'a str as Text,
        status: i64 as BigInt,
        body: &'a str as Text,
        created_at: i64 as BigInt,
        expires_at: i64 as BigInt,
    },
    "INSERT INTO idempotency_keys (principal, key, fingerprint, status, body, created_at, expires_at) \
     VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (principal, key) DO UPDATE SET status = excluded.status, body = excluded.body"
}
statement! {
    /// Writes verdicts.
    postgres SettleKeys {
        statuses: Vec<i64> as Array<BigInt>,
        bodies: Vec<&'a str> as Array<Text>,
        principals: Vec<&'a str> as Array<Text>,
        keys: Vec<&'a str> as Array<Text>,
    },
    "UPDATE idempotency_keys AS k SET status = n.status, body = n.body \
     FROM unnest(?::bigint[], ?::text[], ?::text[], ?::text[]) AS n(status, body, principal, key) \
     WHERE k.principal = n.principal AND k.key = n.key"
}

/// Takes many keys, given in their order, or finds what became of each.
pub(super) fn claim_all(conn: &mut Conn, wanted: &[&Keyed], now: Timestamp) -> Result<Vec<Claim>> {
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let mut taken = vec![false; wanted.len()];
    match conn {
        Conn::Sqlite(sqlite) => {
            // nobody else writes meanwhile: a look is enough, and the row is written once, with its verdict
            for (keyed, taken) in wanted.iter().zip(&mut taken) {
                let Keyed { principal, key, .. } = keyed;
                let look = FindKey { principal, key, _of: PhantomData };
                *taken = look.get_result::<i64>(sqlite).optional()?.is_none();
            }
        }
        Conn::Pg(pg) => {
            let found: Vec<(String, String)> = TakeKeys {
                created_at: vec![now.micros(); wanted.len()],
                principals: wanted.iter().map(|keyed| keyed.principal.as_str()).collect(),
                keys: wanted.iter().map(|keyed| keyed.key.as_str()).collect(),
                fingerprints: wanted.iter().map(|keyed| keyed.fingerprint.as_str()).collect(),
                expires_at: wanted.iter().map(|keyed| (now + keyed.keep).micros()).collect(),
                _of: PhantomData,
            }
            .load(pg)?;
            let found: HashSet<(&str, &str)> =
                found.iter().map(|(who, key)| (who.as_str(), key.as_str())).collect();
            for (keyed, taken) in wanted.iter().zip(&mut taken) {
                *taken = found.contains(&(keyed.principal.as_str(), keyed.key.as_str()));
            }
        }
    }
    let one = |(keyed, taken): (&&Keyed, bool)| match taken {
        true => Ok(Claim::New),
        false => claim(conn, keyed, now),
    };
    wanted.iter().zip(taken).map(one).collect()
}

/// Whether a refusal is the verdict of a key: a caller who was told "refused" must not find it done by a
/// later retry, one who was told to come again must be able to, and a right that is missing now may be
/// there then.
pub(super) fn is_verdict(error: &ApiError) -> bool {
    error.code != ErrorCode::Forbidden && matches!(error.code.status(), 400 | 403 | 404 | 409 | 412 | 422)
}

/// A verdict as it is written.
#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Writing<'a, T> {
    Data(&'a T),
    Error(&'a ApiError),
}

/// The JSON of a verdict, without a detour.
pub(super) fn written<T: Serialize>(verdict: &std::result::Result<T, ApiError>) -> Result<String> {
    Ok(serde_json::to_string(&match verdict {
        Ok(data) => Writing::Data(data),
        Err(error) => Writing::Error(error),
    })?)
}

/// A key with the status and the JSON of its verdict.
pub(super) type Verdict<'a> = (&'a Keyed, u16, String);

/// Writes many verdicts beside their effects.
pub(super) fn settle_all(conn: &mut Conn, verdicts: &[Verdict<'_>], now: Timestamp) -> Result<()> {
    if verdicts.is_empty() {
        return Ok(());
    }
    match conn {
        Conn::Sqlite(sqlite) => {
            for (keyed, status, body) in verdicts {
                let Keyed { principal, key, fingerprint, keep } = keyed;
                SettleKey {
                    principal,
                    key,
                    fingerprint,
                    status: i64::from(*status),
                    body,
                    created_at: now.micros(),
                    expires_at: (now + *keep).micros(),
                    _of: PhantomData,
                }
                .execute(sqlite)?;
            }
        }
        Conn::Pg(pg) => {
            SettleKeys {
                statuses: verdicts.iter().map(|(_, status, _)| i64::from(*status)).collect(),
                bodies: verdicts.iter().map(|(.., body)| body.as_str()).collect(),
                principals: verdicts.iter().map(|(keyed, ..)| keyed.principal.as_str()).collect(),
                keys: verdicts.iter().map(|(keyed, ..)| keyed.key.as_str()).collect(),
                _of: PhantomData,
            }
            .execute(pg)?;
        }
    }
    Ok(())
}

/// Writes the verdict beside the effect.
pub(super) fn settle(conn: &mut Conn, keyed: &Keyed, status: u16, verdict: &Stored) -> Result<()> {
    let body = serde_json::to_string(verdict)?;
    diesel::update(keys::table.find((&keyed.principal, &keyed.key)))
        .set((keys::status.eq(i64::from(status)), keys::body.eq(body)))
        .execute(conn)?;
    Ok(())
}

/// Gives a key back.
pub(super) fn forget(conn: &mut Conn, keyed: &Keyed) -> Result<()> {
    diesel::delete(keys::table.find((&keyed.principal, &keyed.key))).execute(conn)?;
    Ok(())
}

/// The verdict of a caller's key, and its status.
pub fn find(conn: &mut Conn, principal: &str, key: &str, now: Timestamp) -> Result<Option<(u16, Stored)>> {
    let row: Option<(Option<i64>, Option<String>)> = keys::table
        .find((principal, key))
        .filter(keys::expires_at.gt(now.micros()))
        .select((keys::status, keys::body))
        .first(conn)
        .optional()?;
    let Some((Some(status), Some(body))) = row else { return Ok(None) };
    Ok(Some((u16::try_from(status).unwrap_or(500), serde_json::from_str(&body)?)))
}

/// Takes out some of the verdicts that nobody may ask for any more; answers how many.
pub fn purge(conn: &mut Conn, now: Timestamp) -> Result<usize> {
    let old: Vec<(String, String)> = keys::table
        .filter(keys::expires_at.le(now.micros()))
        .order(keys::expires_at)
        .limit(500)
        .select((keys::principal, keys::key))
        .load(conn)?;
    for (principal, key) in &old {
        diesel::delete(keys::table.find((principal, key))).execute(conn)?;
    }
    Ok(old.len())
}
