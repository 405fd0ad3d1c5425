//! Roles in the store. What the built-in ones allow is in the program, so that they grow with it.

use std::collections::BTreeMap;

use bursar_shared::{
    error::{ApiError, ErrorCode},
    field::UserStatus,
    id::{RoleId, UserId},
    operations::roles::Role,
    page::{List, Page},
    permission::{BUILT_IN, Permissions},
    time::Timestamp,
};
use diesel::prelude::*;

use super::page::{CountOf, Fetch, Key, Source, compare_text, keyset};
use crate::{
    auth::CursorKey,
    db::{Conn, MultiBackend},
    error::{Result, broken, not_found},
    schema::{roles, user_roles, users},
};

/// A role as the store has it.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = roles)]
pub struct Row {
    /// The id.
    pub id: String,
    /// The unique name.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// 1 for those that every store has.
    pub built_in: i64,
    /// Grants, separated by spaces.
    pub permissions: String,
    /// Raised by every edit.
    pub version: i64,
    /// Microseconds since 1970.
    pub created_at: i64,
    /// Microseconds since 1970.
    pub updated_at: i64,
}

impl Row {
    /// What it allows.
    pub fn permissions(&self) -> Permissions {
        allowed(&self.name, self.built_in == 1, &self.permissions)
    }

    /// As the API shows it.
    pub fn role(&self) -> Result<Role> {
        let built_in = BUILT_IN.iter().find(|role| self.built_in == 1 && role.name == self.name);
        Ok(Role {
            id: self.id.parse().map_err(|why| broken("id of a role")(Box::new(why)))?,
            name: self.name.clone(),
            description: built_in
                .map_or_else(|| self.description.clone(), |role| role.description.to_owned()),
            built_in: self.built_in == 1,
            permissions: self.permissions(),
            version: self.version,
            created_at: Timestamp::from_micros(self.created_at),
            updated_at: Timestamp::from_micros(self.updated_at),
        })
    }
}

fn allowed(name: &str, built_in: bool, grants: &str) -> Permissions {
    if built_in {
        return BUILT_IN
            .iter()
            .find(|role| role.name == name)
            .map_or(Permissions::NONE, |role| role.permissions);
    }
    grants.split_whitespace().fold(Permissions::NONE, |all, grant| all.union(Permissions::of_grant(grant)))
}

/// The role with this id.
///
/// # Errors
/// `NOT_FOUND`.
pub fn get(conn: &mut Conn, id: RoleId) -> Result<Row> {
    let row = roles::table.find(id.to_string()).select(Row::as_select()).first(conn).optional()?;
    row.ok_or_else(|| not_found("role", id))
}

/// The roles of these names, by name; names that do not exist are missing.
pub fn named(conn: &mut Conn, names: &[String]) -> Result<BTreeMap<String, Row>> {
    let rows: Vec<Row> =
        roles::table.filter(roles::name.eq_any(names)).select(Row::as_select()).load(conn)?;
    Ok(rows.into_iter().map(|row| (row.name.clone(), row)).collect())
}

/// Where somebody stands and what they may do.
#[derive(Debug, Clone, PartialEq)]
pub struct Standing {
    /// Whether they may sign in.
    pub status: UserStatus,
    /// Names of their roles, sorted, and what each allows.
    pub roles: BTreeMap<String, Permissions>,
}

impl Standing {
    /// All they may do; nothing unless active.
    pub fn permissions(&self) -> Permissions {
        if self.status == UserStatus::Active { self.held() } else { Permissions::NONE }
    }

    /// All their roles allow, whether they are active or not: what another needs to hold to act on them.
    pub fn held(&self) -> Permissions {
        self.roles.values().fold(Permissions::NONE, |all, one| all.union(*one))
    }
}

/// Where somebody stands; nothing for strangers.
pub fn standing(conn: &mut Conn, id: &UserId) -> Result<Option<Standing>> {
    type Held = Option<(String, i64, String)>;
    let rows: Vec<(String, Held)> = users::table
        .left_join(user_roles::table.inner_join(roles::table))
        .filter(users::id.eq(id.to_string()))
        .select((users::status, (roles::name, roles::built_in, roles::permissions).nullable()))
        .load(conn)?;
    let Some((status, _)) = rows.first() else { return Ok(None) };
    let status = status.parse().map_err(|why| broken("status of a user")(Box::new(why)))?;
    let roles = rows
        .iter()
        .filter_map(|(_, role)| role.as_ref())
        .map(|(name, built_in, grants)| (name.clone(), allowed(name, *built_in == 1, grants)))
        .collect();
    Ok(Some(Standing { status, roles }))
}

/// Where these people stand; strangers are missing. One query for all.
pub fn standings(conn: &mut Conn, ids: &[UserId]) -> Result<BTreeMap<UserId, Standing>> {
    type Held = Option<(String, i64, String)>;
    let texts: Vec<String> = ids.iter().map(UserId::to_string).collect();
    let rows: Vec<(String, String, Held)> = users::table
        .left_join(user_roles::table.inner_join(roles::table))
        .filter(users::id.eq_any(texts))
        .select((users::id, users::status, (roles::name, roles::built_in, roles::permissions).nullable()))
        .load(conn)?;
    let mut found: BTreeMap<UserId, Standing> = BTreeMap::new();
    for (id, status, role) in rows {
        let id = id.parse().map_err(|why| broken("id of a user")(Box::new(why)))?;
        let status = status.parse().map_err(|why| broken("status of a user")(Box::new(why)))?;
        let standing = found.entry(id).or_insert_with(|| Standing { status, roles: BTreeMap::new() });
        if let Some((name, built_in, grants)) = role {
            let held = allowed(&name, built_in == 1, &grants);
            standing.roles.insert(name, held);
        }
    }
    Ok(found)
}

/// Refuses when somebody may no longer do what they could when they were admitted: a write may have
/// waited.
///
/// # Errors
/// `SESSION_REVOKED`, and `FORBIDDEN` with what was withdrawn.
pub fn still(held: Permissions, now: Option<&Standing>) -> std::result::Result<(), ApiError> {
    let Some(now) = now.filter(|now| now.status == UserStatus::Active) else {
        return Err(ApiError::new(ErrorCode::SessionRevoked, "The session was ended; sign in again."));
    };
    let withdrawn = held.minus(now.permissions());
    if withdrawn.is_empty() {
        return Ok(());
    }
    Err(ApiError::new(ErrorCode::Forbidden, "Your rights were changed while this waited.")
        .with(serde_json::json!({ "missing": withdrawn })))
}

/// One page of roles.
///
/// # Errors
/// Those of [`super::page::page`].
pub fn page(conn: &mut Conn, list: &List<Role>, cursors: &CursorKey, now: Timestamp) -> Result<Page<Row>> {
    super::page::page(conn, &Roles { list }, list, cursors, now)
}

struct Roles<'a> {
    list: &'a List<Role>,
}

impl Roles<'_> {
    fn filtered(&self) -> roles::BoxedQuery<'static, MultiBackend> {
        self.list
            .filter
            .iter()
            .fold(roles::table.into_boxed(), |query, condition| compare_text!(query, roles::name, condition))
    }
}

impl Source<Role> for Roles<'_> {
    type Row = Row;

    fn rows(&self, conn: &mut Conn, fetch: &Fetch) -> QueryResult<Vec<Row>> {
        let query = self.filtered();
        let query = match fetch.key {
            "createdAt" => keyset!(query, fetch, roles::created_at, roles::id, integer),
            _ => keyset!(query, fetch, roles::name, roles::id, text),
        };
        query.limit(fetch.limit).offset(fetch.offset).select(Row::as_select()).load(conn)
    }

    fn count(&self, conn: &mut Conn, most: i64, _: Timestamp) -> QueryResult<i64> {
        CountOf(self.filtered().select(roles::id).limit(most)).get_result(conn)
    }

    fn key(row: &Row, key: &'static str) -> (Key, String) {
        let value = match key {
            "createdAt" => Key::Integer(row.created_at),
            _ => Key::Text(row.name.clone()),
        };
        (value, row.id.clone())
    }

    fn locate(&self, conn: &mut Conn, id: &str) -> QueryResult<Option<Row>> {
        roles::table.find(id.to_owned()).select(Row::as_select()).first(conn).optional()
    }
}
