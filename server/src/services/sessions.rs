//! Who is signed in, and signing them out.

use std::collections::BTreeSet;

use bursar_shared::{
    error::{ApiError, ErrorCode},
    id::UserId,
    operation::Done,
    operations::auth::{RevokeSession, RevokeSessions, Revoked, Session},
    page::{List, Page},
    permission::Permission,
};
use serde_json::json;

use super::auth::end_sessions;
use crate::{
    cx::{Caller, Cx},
    db::{Outcome, Tx, urgent},
    error::{Result, broken, not_found},
    log::Draft,
    repositories::{roles, sessions, users},
};

/// One page of sessions.
pub async fn list(cx: Cx, list: List<Session>) -> Result<Page<Session>> {
    let with_user = list.include.contains(&"user");
    if with_user {
        cx.who.needs(Permission::UsersRead)?;
    }
    let (now, current, app) = (cx.now(), cx.who.session, cx.app.clone());
    cx.read(move |conn| {
        let page = sessions::page(conn, &list, &app.cursors, now)?;
        let mut rows: Vec<Session> =
            page.rows.iter().map(|row| row.session(Some(current))).collect::<Result<_>>()?;
        if with_user {
            let ids: BTreeSet<String> = page.rows.into_iter().map(|row| row.user_id).collect();
            let whose = users::shown_all(conn, &Vec::from_iter(ids))?;
            for session in &mut rows {
                session.user = whose.get(&session.user_id.to_string()).cloned().map(Box::new);
            }
        }
        Ok(Page { rows, pagination: page.pagination, included: page.included })
    })
    .await
}

/// Nobody signs out who holds more than they do; oneself always.
fn may_sign_out(tx: &mut Tx<'_>, caller: &Caller, user: UserId) -> Result<()> {
    let standing = roles::standing(tx, &user)?.ok_or_else(|| not_found("user", user))?;
    let beyond = standing.held().minus(caller.permissions);
    if caller.user == user || beyond.is_empty() {
        return Ok(());
    }
    Err(ApiError::new(ErrorCode::Escalation, "This person holds permissions that you do not.")
        .with(json!({ "missing": beyond }))
        .into())
}

/// Ends a session.
pub async fn revoke(cx: Cx, op: RevokeSession) -> Result<Done> {
    let caller = cx.who.clone();
    cx.write(urgent("session.revoke"), move |tx| {
        let now = tx.now();
        let row = sessions::get_locked(tx, op.id)?;
        let user = row.user_id.parse().map_err(|why| broken("user of a session")(Box::new(why)))?;
        may_sign_out(tx, &caller, user)?;
        if sessions::revoke(tx, &row.id, now)? {
            let facts = json!({ "userId": user, "reason": "revoked" });
            tx.log(Draft::new("session.revoked", "session", op.id).data(&facts));
        }
        Ok(Outcome::Done(Done))
    })
    .await
}

/// Ends all sessions of a person.
pub async fn revoke_all(cx: Cx, op: RevokeSessions) -> Result<Revoked> {
    let caller = cx.who.clone();
    cx.write(urgent("session.revoke_all"), move |tx| {
        may_sign_out(tx, &caller, op.user_id)?;
        let revoked = end_sessions(tx, &op.user_id.to_string(), None, "revoked")?;
        Ok(Outcome::Done(Revoked { revoked }))
    })
    .await
}
