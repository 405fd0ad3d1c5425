//! One's own profile, password and sessions.

use bursar_shared::{
    error::ErrorCode,
    field::Name,
    operation::{Access, Done},
    operations::{
        ALL,
        auth::{
            Capabilities, ChangePassword, EndMySession, GetCapabilities, Me, MySessions, Sessions, UpdateMe,
        },
        users::User,
    },
};
use serde_json::json;

use super::auth::{confirm_password, end_sessions, strong_hash};
use crate::{
    cx::{Cx, check_version},
    db::{Outcome, urgent},
    error::{Result, not_found, refuse},
    log::Draft,
    repositories::{sessions, users},
};

/// Who am I?
pub async fn get(cx: Cx, _: Me) -> Result<User> {
    super::users::cached(&cx, cx.who.user).await
}

/// Edits one's own profile.
pub async fn update(cx: Cx, op: UpdateMe) -> Result<User> {
    let (user, if_match) = (cx.who.user, cx.beside.if_match);
    cx.write("me.update", move |tx| {
        let mut row = users::lock(tx, &user)?;
        let before = users::shown(tx, &row)?;
        check_version(if_match, row.version, || Ok(serde_json::to_value(&before)?))?;
        if let Some(name) = op.name.value().map(Name::as_str) {
            row.name = name.to_owned();
            row.name_sort = users::sort_form(name);
        }
        if row.name == before.name.as_str() {
            // nothing to change is not an edit: no version, no row in the log
            return Ok(Outcome::Done(before));
        }
        super::users::save(tx, &mut row, &before, "user.updated", &json!({})).map(Outcome::Done)
    })
    .await
}

/// Changes one's own password; all other sessions end.
pub async fn change_password(cx: Cx, op: ChangePassword) -> Result<Done> {
    let (user, session) = (cx.who.user, cx.who.session);
    let row = cx.look_up(move |conn| users::get(conn, &user)).await?;
    confirm_password(&cx, &row, op.current_password.as_str()).await?;
    let hash = strong_hash(&cx, op.new_password.as_str(), "/newPassword", &[&row.email, &row.name]).await?;
    let confirmed = row.password_hash;
    cx.write(urgent("me.change_password"), move |tx| {
        let row = users::lock(tx, &user)?;
        if row.password_hash != confirmed {
            return Err(refuse(ErrorCode::InvalidCredentials, "The password so far was changed meanwhile."));
        }
        users::set_hash(tx, &user, &hash)?;
        end_sessions(tx, &row.id, Some(session), "password changed")?;
        tx.log(Draft::new("user.password_changed", "user", user).version(row.version));
        Ok(Outcome::Done(Done))
    })
    .await
}

/// One's own live sessions, newest first.
pub async fn list_sessions(cx: Cx, _: MySessions) -> Result<Sessions> {
    let (user, current, now) = (cx.who.user.to_string(), cx.who.session, cx.now());
    cx.read(move |conn| {
        let mut of = sessions::of_users(conn, std::slice::from_ref(&user), 1_000, now)?;
        let rows = of.remove(&user).unwrap_or_default();
        rows.iter().map(|row| row.session(Some(current))).collect::<Result<_>>().map(Sessions)
    })
    .await
}

/// Ends one of one's own sessions.
pub async fn end_session(cx: Cx, op: EndMySession) -> Result<Done> {
    let user = cx.who.user.to_string();
    cx.write(urgent("me.end_session"), move |tx| {
        let now = tx.now();
        // somebody else's session is not there, as far as the caller may know
        let row = sessions::get_locked(tx, op.id)?;
        if row.user_id != user {
            return Err(not_found("session", op.id));
        }
        if sessions::revoke(tx, &row.id, now)? {
            tx.log(
                Draft::new("session.revoked", "session", op.id)
                    .data(&json!({ "userId": user, "reason": "ended" })),
            );
        }
        Ok(Outcome::Done(Done))
    })
    .await
}

/// What the caller may do, and what this daemon can.
pub async fn capabilities(cx: Cx, _: GetCapabilities) -> Result<Capabilities> {
    let may = |access| match access {
        Access::Public | Access::SignedIn => true,
        Access::Needs(permission) => cx.who.permissions.has(permission),
    };
    Ok(Capabilities {
        user_id: cx.who.user,
        roles: cx.who.standing.roles.keys().cloned().collect(),
        permissions: cx.who.permissions,
        operations: ALL.iter().filter(|row| may(row.access)).map(|row| row.name.to_owned()).collect(),
        engine: cx.app.db.engine().as_str().to_owned(),
    })
}
