//! Idempotency keys: one key has one effect and one verdict, committed together.

use bursar_shared::{error::ApiError, time::Timestamp};
use diesel::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::time::Duration;

use super::{Conn, both};
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
    let row = (
        keys::principal.eq(&keyed.principal),
        keys::key.eq(&keyed.key),
        keys::fingerprint.eq(&keyed.fingerprint),
        keys::created_at.eq(now.micros()),
        keys::expires_at.eq((now + keyed.keep).micros()),
    );
    let inserted = both!(conn, |conn| diesel::insert_into(keys::table)
        .values(row)
        .on_conflict_do_nothing()
        .execute(conn))?;
    Ok(inserted == 1)
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
