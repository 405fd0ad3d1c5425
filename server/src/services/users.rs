//! People: who may be changed by whom, and how.

use std::{collections::BTreeMap, sync::Arc};

use bursar_shared::{
    error::{ApiError, ErrorCode},
    field::{METADATA_KEYS, RoleName, UserKind, UserStatus},
    id::UserId,
    operation::{Created, Done},
    operations::users::{
        ActivateUser, CreateUser, DeleteUser, EffectivePermissions, GetUser, GetUserPermissions,
        IncludeOfUser, PasswordReset, ResetPassword, SetUserRoles, SuspendUser, UpdateUser, User,
    },
    page::{Included, List, Page},
    permission::{OWNER, Permission, Permissions},
};
use diesel::QueryResult;
use serde_json::{Value, json};

use super::auth::{end_sessions, strong_hash};
use crate::{
    auth::{Hasher, OneTime},
    cx::{Caller, Cx, check_version},
    db::{Conn, Label, Outcome, Tx, constraint, urgent},
    error::{Error, Result, broken, not_found, refuse},
    log::Draft,
    repositories::{
        accounts,
        roles::{self, Standing},
        sessions, users,
    },
};

/// How long a one-time token for a new password works.
const RESET_LIFE: std::time::Duration = std::time::Duration::from_secs(24 * 3_600);
/// Children a row with `include`, when nobody says.
const INCLUDE_LIMIT: u32 = 10;

/// One page of people, with what was asked to come along: one query each, whatever the size.
pub async fn list(cx: Cx, list: List<User>) -> Result<Page<User>> {
    let with_sessions = list.include.contains(&"sessions");
    let with_accounts = list.include.contains(&"accounts");
    if with_sessions {
        cx.who.needs(Permission::SessionsRead)?;
    }
    if with_accounts {
        cx.who.needs(Permission::AccountsRead)?;
    }
    let (now, current, app) = (cx.now(), cx.who.session, cx.app.clone());
    cx.read(move |conn| {
        let page = users::page(conn, &list, &app.cursors, now)?;
        let ids: Vec<String> = page.rows.iter().map(|row| row.id.clone()).collect();
        let mut roles = users::roles_of(conn, &ids)?;
        let mut rows = page
            .rows
            .iter()
            .map(|row| row.user(roles.remove(&row.id).unwrap_or_default()))
            .collect::<Result<Vec<User>>>()?;
        let mut included = BTreeMap::new();
        let limit = list.include_limit.unwrap_or(INCLUDE_LIMIT);
        if with_sessions {
            let mut of = sessions::of_users(conn, &ids, limit.into(), now)?;
            let mut truncated = Vec::new();
            for user in &mut rows {
                let list = children(&mut of, user.id, limit, &mut truncated);
                let list = list.iter().map(|row| row.session(Some(current))).collect::<Result<_>>()?;
                user.sessions = Some(list);
            }
            included.insert("sessions".to_owned(), Included { limit, truncated });
        }
        if with_accounts {
            let mut of = accounts::of_users(conn, &ids, limit.into())?;
            let mut truncated = Vec::new();
            for user in &mut rows {
                let list = children(&mut of, user.id, limit, &mut truncated);
                user.accounts = Some(list.iter().map(accounts::Row::account).collect::<Result<_>>()?);
            }
            included.insert("accounts".to_owned(), Included { limit, truncated });
        }
        Ok(Page { rows, pagination: page.pagination, included })
    })
    .await
}

/// The children of a person, cut to what was asked for; who has more goes to `truncated`.
fn children<T>(
    of: &mut BTreeMap<String, Vec<T>>,
    id: UserId,
    limit: u32,
    truncated: &mut Vec<String>,
) -> Vec<T> {
    let mut list = of.remove(&id.to_string()).unwrap_or_default();
    if list.len() > limit as usize {
        truncated.push(id.to_string());
        list.truncate(limit as usize);
    }
    list
}

/// A person, from the cache.
pub(super) async fn cached(cx: &Cx, id: UserId) -> Result<User> {
    let db = cx.app.db.clone();
    let notes = Arc::clone(&cx.notes);
    let load = async move {
        let look = move |conn: &mut Conn| match users::find(conn, &id)? {
            Some(row) => users::shown(conn, &row).map(Some),
            None => Ok(None),
        };
        let (found, queries) = db.look_up(look).await?;
        notes.queries.fetch_add(queries, std::sync::atomic::Ordering::Relaxed);
        Ok::<_, Error>(found)
    };
    let found = cx.app.caches.users.get_or_load(&id, load).await?;
    found.map(|user| User::clone(&user)).ok_or_else(|| not_found("user", id))
}

/// Reads a person.
pub async fn get(cx: Cx, op: GetUser) -> Result<User> {
    let mut user = cached(&cx, op.id).await?;
    if op.include == Some(IncludeOfUser::Sessions) {
        cx.who.needs(Permission::SessionsRead)?;
        let (now, current) = (cx.now(), cx.who.session);
        let sessions = cx
            .read(move |conn| {
                let id = op.id.to_string();
                let mut of = sessions::of_users(conn, std::slice::from_ref(&id), 1_000, now)?;
                of.remove(&id).unwrap_or_default().iter().map(|row| row.session(Some(current))).collect()
            })
            .await?;
        user.sessions = Some(sessions);
    }
    Ok(user)
}

/// What a person may do, and by which role.
pub async fn permissions(cx: Cx, op: GetUserPermissions) -> Result<EffectivePermissions> {
    let standing = cx.app.standing(op.id).await?.ok_or_else(|| not_found("user", op.id))?;
    Ok(EffectivePermissions {
        user_id: op.id,
        permissions: standing.permissions(),
        by_role: standing.roles.clone(),
    })
}

/// Names the unique value that is taken.
fn taken(done: QueryResult<()>) -> Result<()> {
    let Err(why) = done else { return Ok(()) };
    let field = match constraint(&why).as_deref() {
        Some("users_email") => "email",
        Some("users_external_id") => "externalId",
        _ => return Err(why.into()),
    };
    Err(ApiError::new(ErrorCode::AlreadyExists, format!("Somebody has this {field} already."))
        .with(json!({ "field": field }))
        .into())
}

/// Nobody touches more than they hold.
fn within(caller: &Caller, held: Permissions, what: &str) -> Result<()> {
    let beyond = held.minus(caller.permissions);
    if beyond.is_empty() {
        return Ok(());
    }
    Err(ApiError::new(ErrorCode::Escalation, format!("{what} holds permissions that you do not."))
        .with(json!({ "missing": beyond }))
        .into())
}

/// The person, held, if the caller may change them and saw the present version.
fn lock_for(
    tx: &mut Tx<'_>,
    caller: &Caller,
    id: UserId,
    if_match: Option<i64>,
) -> Result<(users::Row, User, Standing)> {
    let row = users::lock(tx, &id)?;
    let before = users::shown(tx, &row)?;
    check_version(if_match, row.version, || Ok(serde_json::to_value(&before)?))?;
    let standing = roles::standing(tx, &id)?.ok_or_else(|| not_found("user", id))?;
    within(caller, standing.held(), "This person")?;
    Ok((row, before, standing))
}

fn illegal(from: &str, to: &str) -> Error {
    ApiError::new(ErrorCode::IllegalTransition, format!("A person who is {from} cannot be {to}."))
        .with(json!({ "from": from, "to": to }))
        .into()
}

fn refuse_deleted(row: &users::Row, to: &str) -> Result<()> {
    if row.status == UserStatus::Deleted.as_str() {
        return Err(illegal("deleted", to));
    }
    Ok(())
}

/// The last active owner stays.
fn keep_an_owner(tx: &mut Tx<'_>, row: &users::Row, standing: &Standing) -> Result<()> {
    let is_owner = standing.roles.contains_key(OWNER) && row.status == UserStatus::Active.as_str();
    if !is_owner || users::somebody_else_has_role(tx, OWNER, &row.id)? {
        return Ok(());
    }
    Err(refuse(ErrorCode::LastOwner, "This is the last active owner; make somebody else owner first."))
}

fn refuse_self(caller: &Caller, id: UserId, what: &str) -> Result<()> {
    if caller.user == id {
        return Err(refuse(ErrorCode::SelfAction, format!("Nobody can {what} themselves.")));
    }
    Ok(())
}

/// Writes a changed person back, one version up, and notes it down.
pub(super) fn save(
    tx: &mut Tx<'_>,
    row: &mut users::Row,
    before: &User,
    kind: &'static str,
    facts: &Value,
) -> Result<User> {
    row.version += 1;
    // a clock that was set back must not make an edit older than the creation
    row.updated_at = tx.now().micros().max(row.created_at);
    let reindex = row.name != before.name.as_str()
        || row.email != before.email.as_str()
        || row.status == UserStatus::Deleted.as_str();
    taken(users::update(tx, row, reindex))?;
    let after = users::shown(tx, row)?;
    let mut draft = Draft::new(kind, "user", &row.id).version(row.version).changes(before, &after);
    draft = if facts.as_object().is_some_and(|facts| !facts.is_empty()) {
        let mut data = serde_json::to_value(&after)?;
        if let (Some(data), Some(facts)) = (data.as_object_mut(), facts.as_object()) {
            data.extend(facts.clone());
        }
        draft.data(&data)
    } else {
        draft.data(&after)
    };
    tx.log(draft);
    Ok(after)
}

/// A create that is ready for its transaction: what takes long is done.
#[derive(Debug, Clone)]
pub(super) struct Ready {
    op: CreateUser,
    hash: Option<String>,
}

/// Hashes the password of a create and looks at what the caller needs for it.
pub(super) async fn prepare(cx: &Cx, op: CreateUser) -> Result<Ready> {
    if op.roles.as_ref().is_some_and(|roles| !roles.is_empty()) {
        cx.who.needs(Permission::RolesGrant)?;
    }
    let hash = match (&op.password, &op.password_hash) {
        (Some(_), Some(_)) => {
            return Err(ApiError::violation(
                "/passwordHash",
                "unknown_field",
                "cannot be given beside password",
            )
            .into());
        }
        (Some(password), None) => {
            let context = [op.email.as_str(), op.name.as_str()];
            Some(strong_hash(cx, password.as_str(), "/password", &context).await?)
        }
        (None, Some(hash)) => {
            cx.who.needs(Permission::CredentialsWrite)?;
            if let Err(why) = Hasher::can_check(hash.as_str()) {
                return Err(ApiError::violation("/passwordHash", "format", why).into());
            }
            Some(hash.as_str().to_owned())
        }
        (None, None) => None,
    };
    Ok(Ready { op, hash })
}

/// Creates a person within a transaction.
pub(super) fn insert(tx: &mut Tx<'_>, caller: &Caller, ready: &Ready) -> Result<User> {
    let op = &ready.op;
    let id = UserId::new();
    let mut row = users::Row::new(id, &op.email, &op.name, op.kind.unwrap_or(UserKind::Human), tx.now());
    row.external_id = op.external_id.as_ref().map(|id| id.as_str().to_owned());
    row.metadata = serde_json::to_string(&op.metadata.clone().unwrap_or_default())?;
    row.password_hash.clone_from(&ready.hash);
    taken(users::insert(tx, &row))?;
    let user = match &op.roles {
        Some(names) => {
            grant(tx, caller, id, names)?;
            users::shown(tx, &row)?
        }
        None => row.user(Vec::new())?,
    };
    tx.log(Draft::new("user.created", "user", id).version(1).data(&user));
    Ok(user)
}

/// Gives a person exactly these roles, if the caller holds all that they allow.
fn grant(tx: &mut Tx<'_>, caller: &Caller, id: UserId, names: &[RoleName]) -> Result<()> {
    let mut wanted: Vec<String> = names.iter().map(|name| name.as_str().to_owned()).collect();
    wanted.sort();
    wanted.dedup();
    let known = roles::named(tx, &wanted)?;
    let unknown: Vec<&String> = wanted.iter().filter(|name| !known.contains_key(*name)).collect();
    if let Some(name) = unknown.first() {
        return Err(
            ApiError::violation("/roles", "enum", format!("names a role that is not there: {name}")).into()
        );
    }
    let held = known.values().fold(Permissions::NONE, |all, role| all.union(role.permissions()));
    within(caller, held, "A role you give")?;
    users::set_roles(tx, &id, &known.values().map(|role| role.id.clone()).collect::<Vec<_>>())
}

/// Creates a person.
pub async fn create(cx: Cx, op: CreateUser) -> Result<Created<User>> {
    let ready = prepare(&cx, op).await?;
    let caller = cx.who.clone();
    cx.write("user.create", move |tx| insert(tx, &caller, &ready).map(Created).map(Outcome::Done)).await
}

/// Edits a person within a transaction.
pub(super) fn patch(
    tx: &mut Tx<'_>,
    caller: &Caller,
    op: &UpdateUser,
    if_match: Option<i64>,
) -> Result<User> {
    let (mut row, before, _) = lock_for(tx, caller, op.id, if_match)?;
    refuse_deleted(&row, "edited")?;
    if let Some(email) = op.email.value() {
        row.email = email.as_str().to_owned();
    }
    if let Some(name) = op.name.value() {
        row.name = name.as_str().to_owned();
        row.name_sort = users::sort_form(name.as_str());
    }
    if let Some(external_id) = op.external_id.value() {
        row.external_id = external_id.as_ref().map(|id| id.as_str().to_owned());
    }
    if let Some(patch) = op.metadata.value() {
        let metadata = patch.apply(&before.metadata);
        if metadata.0.len() > METADATA_KEYS {
            let why = format!("would have more than {METADATA_KEYS} keys");
            return Err(ApiError::violation("/metadata", "length", why).into());
        }
        row.metadata = serde_json::to_string(&metadata)?;
    }
    let after = row.user(before.roles.clone())?;
    if after == before {
        // nothing to change is not an edit: no version, no row in the log
        return Ok(before);
    }
    save(tx, &mut row, &before, "user.updated", &json!({}))
}

/// Edits a person.
pub async fn update(cx: Cx, op: UpdateUser) -> Result<User> {
    let (caller, if_match) = (cx.who.clone(), cx.beside.if_match);
    cx.write("user.update", move |tx| patch(tx, &caller, &op, if_match).map(Outcome::Done)).await
}

/// Suspends a person within a transaction.
pub(super) fn suspend_in(
    tx: &mut Tx<'_>,
    caller: &Caller,
    op: &SuspendUser,
    if_match: Option<i64>,
) -> Result<User> {
    refuse_self(caller, op.id, "suspend")?;
    let (mut row, before, standing) = lock_for(tx, caller, op.id, if_match)?;
    if row.status != UserStatus::Active.as_str() {
        return Err(illegal(&row.status, "suspended"));
    }
    keep_an_owner(tx, &row, &standing)?;
    row.status = UserStatus::Suspended.as_str().to_owned();
    let after = save(tx, &mut row, &before, "user.suspended", &reason(op.reason.as_ref()))?;
    end_sessions(tx, &row.id, None, "suspended")?;
    Ok(after)
}

fn reason(reason: Option<&bursar_shared::field::Reason>) -> Value {
    reason.map_or_else(|| json!({}), |reason| json!({ "reason": reason }))
}

/// Suspends a person: their sessions end at once.
pub async fn suspend(cx: Cx, op: SuspendUser) -> Result<User> {
    let (caller, if_match) = (cx.who.clone(), cx.beside.if_match);
    cx.write(urgent("user.suspend"), move |tx| suspend_in(tx, &caller, &op, if_match).map(Outcome::Done))
        .await
}

/// Lets a suspended person in again, within a transaction.
pub(super) fn activate_in(
    tx: &mut Tx<'_>,
    caller: &Caller,
    op: &ActivateUser,
    if_match: Option<i64>,
) -> Result<User> {
    let (mut row, before, _) = lock_for(tx, caller, op.id, if_match)?;
    if row.status != UserStatus::Suspended.as_str() {
        return Err(illegal(&row.status, "activated"));
    }
    row.status = UserStatus::Active.as_str().to_owned();
    save(tx, &mut row, &before, "user.activated", &reason(op.reason.as_ref()))
}

/// Lets a suspended person in again.
pub async fn activate(cx: Cx, op: ActivateUser) -> Result<User> {
    let (caller, if_match) = (cx.who.clone(), cx.beside.if_match);
    cx.write("user.activate", move |tx| activate_in(tx, &caller, &op, if_match).map(Outcome::Done)).await
}

/// Deletes a person within a transaction.
pub(super) fn delete_in(tx: &mut Tx<'_>, caller: &Caller, id: UserId, if_match: Option<i64>) -> Result<()> {
    refuse_self(caller, id, "delete")?;
    let (mut row, before, standing) = lock_for(tx, caller, id, if_match)?;
    refuse_deleted(&row, "deleted")?;
    keep_an_owner(tx, &row, &standing)?;
    let open = accounts::count_open_of(tx, &row.id)?;
    if open > 0 {
        let message = "The person has accounts that are not closed; close them first.";
        let facts = json!({ "accounts": open, "filter": format!("ownerId:{}", row.id) });
        return Err(ApiError::new(ErrorCode::InUse, message).with(facts).into());
    }
    row.status = UserStatus::Deleted.as_str().to_owned();
    row.password_hash = None;
    save(tx, &mut row, &before, "user.deleted", &json!({}))?;
    end_sessions(tx, &row.id, None, "deleted")?;
    Ok(())
}

/// Deletes a person: softly, the books keep them.
pub async fn delete(cx: Cx, op: DeleteUser) -> Result<Done> {
    let (caller, if_match) = (cx.who.clone(), cx.beside.if_match);
    cx.write("user.delete", move |tx| delete_in(tx, &caller, op.id, if_match).map(|()| Outcome::Done(Done)))
        .await
}

/// Gives a person exactly these roles.
pub async fn set_roles(cx: Cx, op: SetUserRoles) -> Result<User> {
    let (caller, if_match) = (cx.who.clone(), cx.beside.if_match);
    // on a full disk roles can be withdrawn, not given
    let held = cx.app.standing(op.id).await?;
    let holds = |role: &RoleName| held.as_ref().is_none_or(|held| held.roles.contains_key(role.as_str()));
    let label =
        if op.roles.iter().all(holds) { urgent("user.set_roles") } else { Label::from("user.set_roles") };
    cx.write(label, move |tx| {
        let (mut row, before, standing) = lock_for(tx, &caller, op.id, if_match)?;
        refuse_deleted(&row, "given roles")?;
        if !op.roles.iter().any(|role| role.as_str() == OWNER) {
            keep_an_owner(tx, &row, &standing)?;
        }
        grant(tx, &caller, op.id, &op.roles)?;
        // who was reset as less must not come in as more
        sessions::drop_reset(tx, &row.id)?;
        save(tx, &mut row, &before, "user.roles_changed", &json!({})).map(Outcome::Done)
    })
    .await
}

/// Makes a one-time token with which the person sets a new password; their sessions end.
pub async fn reset_password(cx: Cx, op: ResetPassword) -> Result<PasswordReset> {
    let secret = OneTime::new().map_err(|why| broken("a one-time token")(Box::new(why)))?;
    let (caller, if_match) = (cx.who.clone(), cx.beside.if_match);
    cx.write(urgent("user.reset_password"), move |tx| {
        let (mut row, _, _) = lock_for(tx, &caller, op.id, if_match)?;
        if row.status != UserStatus::Active.as_str() {
            return Err(illegal(&row.status, "given a new password"));
        }
        let expires_at = tx.now() + RESET_LIFE;
        // the old password is worth nothing from now on: somebody else may know it
        row.password_hash = None;
        users::update(tx, &row, false)?;
        end_sessions(tx, &row.id, None, "password reset")?;
        sessions::put_reset(tx, &op.id, &secret.digest, expires_at)?;
        tx.log(
            Draft::new("user.password_reset", "user", op.id)
                .version(row.version)
                .data(&json!({ "expiresAt": expires_at })),
        );
        Ok(Outcome::Done(PasswordReset { reset_token: Some(secret.text.clone()), expires_at }))
    })
    .await
}
