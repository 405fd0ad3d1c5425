//! Sessions in the store: one row a sign-in, whatever the number of its refreshes.

use std::collections::{BTreeMap, HashSet};

use bursar_shared::{
    field::UserStatus,
    id::{SessionId, UserId},
    operations::auth::Session,
    page::{FilterValue, List, Page},
    time::Timestamp,
};
use diesel::prelude::*;

use super::page::{CountOf, Fetch, Key, Source, compare_text, compare_time, keyset};
use crate::{
    auth::CursorKey,
    db::{Conn, MultiBackend},
    error::{Result, broken, not_found},
    schema::{password_resets, sessions, users},
};

/// A session as the store has it.
#[derive(Debug, Clone, Queryable, Selectable, Insertable)]
#[diesel(table_name = sessions)]
pub struct Row {
    /// The id.
    pub id: String,
    /// Whose.
    pub user_id: String,
    /// Which refresh token is good: one more with every refresh.
    pub generation: i64,
    /// SHA-256 of the key that the last refresh came with.
    pub refresh_key_hash: Option<String>,
    /// Where it was begun.
    pub ip: Option<String>,
    /// By which program.
    pub user_agent: Option<String>,
    /// Microseconds since 1970.
    pub created_at: i64,
    /// When it was last refreshed.
    pub last_used_at: i64,
    /// When it ends unless it is refreshed.
    pub expires_at: i64,
    /// When it ends in any case.
    pub ends_at: i64,
    /// When it was ended.
    pub revoked_at: Option<i64>,
}

impl Row {
    /// As the API shows it, to somebody who uses `current`.
    pub fn session(&self, current: Option<SessionId>) -> Result<Session> {
        let id: SessionId = self.id.parse().map_err(|why| broken("id of a session")(Box::new(why)))?;
        Ok(Session {
            id,
            user_id: self.user_id.parse().map_err(|why| broken("user of a session")(Box::new(why)))?,
            current: current == Some(id),
            ip: self.ip.clone(),
            user_agent: self.user_agent.clone(),
            created_at: Timestamp::from_micros(self.created_at),
            last_used_at: Timestamp::from_micros(self.last_used_at),
            expires_at: Timestamp::from_micros(self.expires_at),
            revoked_at: self.revoked_at.map(Timestamp::from_micros),
            user: None,
        })
    }

    /// Whether it was neither ended nor ran out.
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at > now.micros()
    }
}

/// The session with this id.
pub fn find(conn: &mut Conn, id: SessionId) -> Result<Option<Row>> {
    Ok(sessions::table.find(id.to_string()).select(Row::as_select()).first(conn).optional()?)
}

/// The session with this id, held until the transaction ends.
pub fn lock(conn: &mut Conn, id: SessionId) -> Result<Option<Row>> {
    let query = sessions::table.find(id.to_string());
    Ok(match conn {
        Conn::Pg(pg) => query.select(Row::as_select()).for_update().first(pg).optional()?,
        Conn::Sqlite(sqlite) => query.select(Row::as_select()).first(sqlite).optional()?,
    })
}

/// The session with this id, held until the transaction ends.
///
/// # Errors
/// `NOT_FOUND`.
pub fn get_locked(conn: &mut Conn, id: SessionId) -> Result<Row> {
    lock(conn, id)?.ok_or_else(|| not_found("session", id))
}

/// A new session.
pub fn insert(conn: &mut Conn, row: &Row) -> Result<()> {
    diesel::insert_into(sessions::table).values(row).execute(conn)?;
    Ok(())
}

/// The next generation: the refresh token of before is spent.
pub fn rotate(
    conn: &mut Conn,
    row: &Row,
    key_hash: Option<&str>,
    now: Timestamp,
    expires_at: i64,
) -> Result<()> {
    diesel::update(sessions::table.find(&row.id))
        .set((
            sessions::generation.eq(row.generation + 1),
            sessions::refresh_key_hash.eq(key_hash),
            sessions::last_used_at.eq(now.micros()),
            sessions::expires_at.eq(expires_at),
        ))
        .execute(conn)?;
    Ok(())
}

/// Ends a session; says whether it was not ended before.
pub fn revoke(conn: &mut Conn, id: &str, now: Timestamp) -> Result<bool> {
    let ended = diesel::update(sessions::table.find(id).filter(sessions::revoked_at.is_null()))
        .set(sessions::revoked_at.eq(now.micros()))
        .execute(conn)?;
    Ok(ended == 1)
}

/// Ends all live sessions of a person but one; answers their ids.
pub fn revoke_of_user(
    conn: &mut Conn,
    user: &str,
    but: Option<SessionId>,
    now: Timestamp,
) -> Result<Vec<String>> {
    let but = but.map(|id| id.to_string()).unwrap_or_default();
    let live: Vec<String> = sessions::table
        .filter(sessions::user_id.eq(user))
        .filter(sessions::revoked_at.is_null())
        .filter(sessions::expires_at.gt(now.micros()))
        .filter(sessions::id.ne(but.clone()))
        .order(sessions::id)
        .select(sessions::id)
        .load(conn)?;
    // by the same filter, not by the ids: there may be more of them than a statement can bind
    let ended = sessions::table
        .filter(sessions::user_id.eq(user))
        .filter(sessions::revoked_at.is_null())
        .filter(sessions::expires_at.gt(now.micros()))
        .filter(sessions::id.ne(but));
    diesel::update(ended).set(sessions::revoked_at.eq(now.micros())).execute(conn)?;
    Ok(live)
}

/// Ends all live sessions of everybody; answers how many.
pub fn revoke_all(conn: &mut Conn, now: Timestamp) -> Result<u64> {
    if let Conn::Pg(pg) = conn {
        // there may be a million of them, and what is usual is meant for requests
        diesel::sql_query("SET LOCAL statement_timeout = '5min'").execute(pg)?;
    }
    let live =
        sessions::table.filter(sessions::revoked_at.is_null()).filter(sessions::expires_at.gt(now.micros()));
    let ended = diesel::update(live).set(sessions::revoked_at.eq(now.micros())).execute(conn)?;
    Ok(ended as u64)
}

/// The live sessions of these people, newest first, at most `limit` each and one more to tell that
/// there are more; one query for all.
pub fn of_users(
    conn: &mut Conn,
    users: &[String],
    limit: i64,
    now: Timestamp,
) -> Result<BTreeMap<String, Vec<Row>>> {
    // a person has few live sessions (an hour of brute force makes none), so all are read and cut here
    let rows: Vec<Row> = sessions::table
        .filter(sessions::user_id.eq_any(users))
        .filter(sessions::revoked_at.is_null())
        .filter(sessions::expires_at.gt(now.micros()))
        .order((sessions::user_id, sessions::created_at.desc(), sessions::id.desc()))
        .select(Row::as_select())
        .load(conn)?;
    let mut of: BTreeMap<String, Vec<Row>> = BTreeMap::new();
    for row in rows {
        let list = of.entry(row.user_id.clone()).or_default();
        if (list.len() as i64) <= limit {
            list.push(row);
        }
    }
    Ok(of)
}

/// Which of these sessions are live.
pub fn live_among(conn: &mut Conn, ids: &[SessionId], now: Timestamp) -> Result<HashSet<String>> {
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    let rows: Vec<Row> =
        sessions::table.filter(sessions::id.eq_any(ids)).select(Row::as_select()).load(conn)?;
    Ok(rows.into_iter().filter(|row| row.is_live(now)).map(|row| row.id).collect())
}

/// How many sessions are live.
pub fn count_live(conn: &mut Conn, now: Timestamp) -> Result<i64> {
    Ok(sessions::table
        .inner_join(users::table)
        .filter(sessions::revoked_at.is_null())
        .filter(sessions::expires_at.gt(now.micros()))
        .filter(users::status.eq(UserStatus::Active.as_str()))
        .count()
        .get_result(conn)?)
}

/// Takes out some sessions that ended long ago; answers how many.
pub fn purge(conn: &mut Conn, before: Timestamp) -> Result<usize> {
    let old: Vec<String> = sessions::table
        .filter(sessions::expires_at.lt(before.micros()))
        .order(sessions::expires_at)
        .limit(500)
        .select(sessions::id)
        .load(conn)?;
    Ok(diesel::delete(sessions::table.filter(sessions::id.eq_any(old))).execute(conn)?)
}

/// Throws away a few one-time tokens that ran out; answers how many.
pub fn purge_resets(conn: &mut Conn, now: Timestamp) -> Result<usize> {
    let old: Vec<String> = password_resets::table
        .filter(password_resets::expires_at.lt(now.micros()))
        .limit(500)
        .select(password_resets::user_id)
        .load(conn)?;
    Ok(diesel::delete(password_resets::table.filter(password_resets::user_id.eq_any(old))).execute(conn)?)
}

/// Makes the one-time token of a person worthless, if there is one.
pub fn drop_reset(conn: &mut Conn, user: &str) -> Result<()> {
    diesel::delete(password_resets::table.find(user)).execute(conn)?;
    Ok(())
}

/// Puts a one-time token in the place of an older one of the same person.
pub fn put_reset(conn: &mut Conn, user: &UserId, token_hash: &str, expires_at: Timestamp) -> Result<()> {
    drop_reset(conn, &user.to_string())?;
    diesel::insert_into(password_resets::table)
        .values((
            password_resets::user_id.eq(user.to_string()),
            password_resets::token_hash.eq(token_hash),
            password_resets::expires_at.eq(expires_at.micros()),
        ))
        .execute(conn)?;
    Ok(())
}

/// Whose one-time token this is, and until when it works.
pub fn find_reset(conn: &mut Conn, token_hash: &str) -> Result<Option<(UserId, Timestamp)>> {
    let found: Option<(String, i64)> = password_resets::table
        .filter(password_resets::token_hash.eq(token_hash))
        .select((password_resets::user_id, password_resets::expires_at))
        .first(conn)
        .optional()?;
    let Some((user, expires_at)) = found else { return Ok(None) };
    let user = user.parse().map_err(|why| broken("user of a reset")(Box::new(why)))?;
    Ok(Some((user, Timestamp::from_micros(expires_at))))
}

/// Uses a one-time token up; says whether it was still there.
pub fn take_reset(conn: &mut Conn, token_hash: &str) -> Result<bool> {
    let query = password_resets::table.filter(password_resets::token_hash.eq(token_hash));
    Ok(diesel::delete(query).execute(conn)? == 1)
}

/// One page of sessions.
///
/// # Errors
/// Those of [`super::page::page`].
pub fn page(conn: &mut Conn, list: &List<Session>, cursors: &CursorKey, now: Timestamp) -> Result<Page<Row>> {
    super::page::page(conn, &Sessions { list }, list, cursors, now)
}

struct Sessions<'a> {
    list: &'a List<Session>,
}

impl Sessions<'_> {
    fn filtered(&self, now: Timestamp) -> sessions::BoxedQuery<'static, MultiBackend> {
        let mut query = sessions::table.into_boxed();
        for condition in &self.list.filter {
            query = match condition.field {
                "userId" => compare_text!(query, sessions::user_id, condition),
                "createdAt" => compare_time!(query, sessions::created_at, condition, now),
                "lastUsedAt" => compare_time!(query, sessions::last_used_at, condition, now),
                "expiresAt" => compare_time!(query, sessions::expires_at, condition, now),
                _ => match condition.value {
                    FilterValue::Null(true) => query.filter(sessions::revoked_at.is_null()),
                    FilterValue::Null(false) => query.filter(sessions::revoked_at.is_not_null()),
                    _ => query,
                },
            };
        }
        query
    }
}

impl Source<Session> for Sessions<'_> {
    type Row = Row;

    fn rows(&self, conn: &mut Conn, fetch: &Fetch) -> QueryResult<Vec<Row>> {
        let query = self.filtered(fetch.now);
        let query = match fetch.key {
            "lastUsedAt" => keyset!(query, fetch, sessions::last_used_at, sessions::id, integer),
            _ => keyset!(query, fetch, sessions::created_at, sessions::id, integer),
        };
        query.limit(fetch.limit).offset(fetch.offset).select(Row::as_select()).load(conn)
    }

    fn count(&self, conn: &mut Conn, most: i64, now: Timestamp) -> QueryResult<i64> {
        CountOf(self.filtered(now).select(sessions::id).limit(most)).get_result(conn)
    }

    fn key(row: &Row, key: &'static str) -> (Key, String) {
        let value = if key == "lastUsedAt" { row.last_used_at } else { row.created_at };
        (Key::Integer(value), row.id.clone())
    }

    fn locate(&self, conn: &mut Conn, id: &str) -> QueryResult<Option<Row>> {
        sessions::table.find(id.to_owned()).select(Row::as_select()).first(conn).optional()
    }
}
