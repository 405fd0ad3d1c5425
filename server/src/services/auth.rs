//! Signing in, staying signed in, signing out.

use bursar_shared::{
    error::{ApiError, ErrorCode},
    field::{Email, UserStatus},
    id::{SessionId, UserId},
    operation::Done,
    operations::{
        auth::{Login, Logout, Refresh, SetPassword, Tokens},
        users::User,
    },
    time::Timestamp,
};
use serde_json::json;

use crate::{
    auth::{HashError, Hasher, TokenError, Who, digest},
    cx::{Caller, Cx, user_actor},
    db::{Outcome, Tx, recorded, urgent},
    error::{Error, Result, broken, later, refuse},
    limits::{LOGIN, LOGIN_ACCOUNT, Verdict, login_key},
    log::Draft,
    repositories::{sessions, users},
};

/// Beyond this a session ends, however often it is refreshed.
const SESSION_LIFE: std::time::Duration = std::time::Duration::from_secs(30 * 24 * 3_600);

fn wrong_credentials() -> Error {
    refuse(ErrorCode::InvalidCredentials, "Email or password is wrong.")
}

impl From<HashError> for Error {
    fn from(why: HashError) -> Self {
        match why {
            HashError::Overloaded => later(
                ErrorCode::Overloaded,
                "Too many people sign in at this moment.",
                std::time::Duration::from_secs(1),
            ),
            HashError::Broken(what) => broken("checking a password")(what.into()),
        }
    }
}

fn limited(verdict: Verdict) -> Result<()> {
    if verdict.allowed {
        return Ok(());
    }
    Err(later(ErrorCode::RateLimited, "Too many attempts to sign in.", verdict.retry_after))
}

/// Checks limits and the password of one account; who guesses wrong often has to wait longer and longer.
async fn check_password<W>(cx: &Cx<W>, account: &str, offered: &str, hash: Option<&str>) -> Result<bool> {
    let key = login_key(cx.beside.ip, account);
    limited(cx.app.limiter.check(LOGIN, key))?;
    // before the account's own limit: who is locked out must not use that up for everybody else
    if let Some(wait) = cx.app.lockouts.locked(key) {
        return Err(later(ErrorCode::TemporarilyLocked, "Too many wrong passwords in a row.", wait));
    }
    limited(cx.app.limiter.check(LOGIN_ACCOUNT, account))?;
    let right = match hash {
        Some(hash) => match cx.app.hasher.verify(offered, hash).await {
            Err(HashError::Broken(why)) => {
                // the person can be helped by a reset; whoever asks must not learn that there is one
                tracing::error!(request_id = cx.beside.request_id, why, "a password cannot be checked");
                false
            }
            other => other?,
        },
        None => false,
    };
    // what was checked more cheaply than ours, or not at all, costs as much in the end: time must not tell
    // who exists. Hashes that were imported and cost more than ours do stay visible.
    if !right && hash.is_none_or(Hasher::needs_rehash) {
        cx.app.hasher.verify_dummy(offered).await?;
    }
    if right {
        cx.app.lockouts.succeeded(key);
    } else {
        cx.app.lockouts.failed(key);
    }
    Ok(right)
}

/// Signs in with email and password.
pub async fn login(cx: Cx<()>, op: Login) -> Result<Tokens> {
    let email = op.email.clone();
    let row = cx.look_up(move |conn| users::find_by_email(conn, &email)).await?;
    let hash = row.as_ref().and_then(|row| row.password_hash.clone());
    let right = check_password(&cx, op.email.as_str(), op.password.as_str(), hash.as_deref()).await?;
    let Some(row) = row.filter(|_| right) else {
        return Err(failed(&cx, &op.email, None, "wrong email or password", wrong_credentials()).await);
    };
    let user: UserId = row.id.parse().map_err(|why| broken("id of a user")(Box::new(why)))?;
    if row.status != UserStatus::Active.as_str() {
        // said only to who knows the password
        let refusal = refuse(ErrorCode::UserSuspended, "This person is suspended.");
        return Err(failed(&cx, &op.email, Some(user), "suspended", refusal).await);
    }
    // a hash of older or foreign parameters is replaced while the password is at hand
    let rehashed = match hash.as_deref() {
        Some(hash) if Hasher::needs_rehash(hash) => Some(cx.app.hasher.hash(op.password.as_str()).await?),
        _ => None,
    };
    let session = SessionId::new();
    let (ip, user_agent) = (cx.beside.ip, cx.beside.user_agent.clone());
    let lives = cx.app.config.refresh_ttl;
    let (shown, ends_at) = cx
        .write_plain(urgent("auth.login"), move |tx| {
            let now = tx.now();
            let row = users::lock(tx, &user)?;
            if row.status != UserStatus::Active.as_str() {
                return Err(refuse(ErrorCode::UserSuspended, "This person is suspended."));
            }
            // checked before this transaction: a password changed meanwhile must not be signed in with,
            // nor be overwritten by the rehash of the old one
            if row.password_hash != hash {
                return Err(wrong_credentials());
            }
            let ends_at = now + SESSION_LIFE;
            let begun = sessions::Row {
                id: session.to_string(),
                user_id: user.to_string(),
                generation: 1,
                refresh_key_hash: None,
                ip: Some(ip.to_string()),
                user_agent: user_agent.clone(),
                created_at: now.micros(),
                last_used_at: now.micros(),
                expires_at: (now + lives).micros().min(ends_at.micros()),
                ends_at: ends_at.micros(),
                revoked_at: None,
            };
            sessions::insert(tx, &begun)?;
            users::touch_login(tx, &user, now)?;
            if let Some(hash) = &rehashed {
                users::set_hash(tx, &user, hash)?;
            }
            // with the email, so that whoever reads the log sees a person and not only an id
            let mut facts = serde_json::to_value(begun.session(None)?)?;
            facts["email"] = json!(row.email);
            tx.log(Draft::new("session.created", "session", session).by(user_actor(user, ip)).data(&facts));
            let mut row = row;
            row.last_login_at = Some(now.micros());
            Ok(Outcome::Done((users::shown(tx, &row)?, ends_at)))
        })
        .await?;
    tokens(&cx, shown, session, 1, ends_at)
}

/// Notes a failed sign-in down and gives back what the caller is told.
async fn failed(
    cx: &Cx<()>,
    email: &Email,
    user: Option<UserId>,
    why: &'static str,
    refusal: Error,
) -> Error {
    let facts = json!({ "email": email, "userId": user, "reason": why });
    let noted = cx
        .write_plain(recorded("auth.login_failed"), move |tx| {
            tx.log(Draft::about("session.login_failed", "session").data(&facts));
            Ok(Outcome::Done(()))
        })
        .await;
    // a failure that cannot be written down must not look like one that was
    noted.err().unwrap_or(refusal)
}

fn tokens(
    cx: &Cx<()>,
    user: User,
    session: SessionId,
    generation: i64,
    ends_at: Timestamp,
) -> Result<Tokens> {
    let now = cx.now();
    let who = Who { user: user.id, session, email: user.email.as_str(), roles: &user.roles };
    let fault = |why: crate::auth::KeyError| broken("signing a token")(Box::new(why));
    let access = cx.app.keys.ring.sign_access(who, now).map_err(fault)?;
    let refresh = cx.app.keys.ring.sign_refresh(user.id, session, generation, now, ends_at).map_err(fault)?;
    Ok(Tokens {
        access_token: access.token,
        access_expires_at: access.expires_at,
        refresh_token: refresh.token,
        refresh_expires_at: refresh.expires_at,
        token_type: "Bearer".to_owned(),
        user,
    })
}

/// What is wrong with a token, in the caller's words.
pub fn token_error(why: TokenError) -> Error {
    match why {
        TokenError::Expired => refuse(ErrorCode::TokenExpired, "The token has expired."),
        TokenError::Invalid(_) => refuse(ErrorCode::TokenInvalid, "The token is not valid here."),
    }
}

/// That a session is over.
pub fn session_revoked() -> Error {
    refuse(ErrorCode::SessionRevoked, "The session was ended; sign in again.")
}

/// Trades a refresh token for a new pair.
///
/// The session's generation says which token is good. The one before is answered with the same
/// successor if it comes with the same key: an answer was lost. Anything else is a theft, of this
/// token or of its successor, and ends the session.
pub async fn refresh(cx: Cx<()>, op: Refresh) -> Result<Tokens> {
    let claims = cx.app.keys.ring.verify_refresh(op.refresh_token.as_str(), cx.now()).map_err(token_error)?;
    let key_hash = cx.beside.key.as_deref().map(digest);
    let lives = cx.app.config.refresh_ttl;
    let (ip, sub, sid, offered) = (cx.beside.ip, claims.sub, claims.sid, claims.generation);
    let (shown, generation, ends_at) = cx
        .write_plain(urgent("auth.refresh"), move |tx| {
            let now = tx.now();
            let row = sessions::lock(tx, sid)?.filter(|row| row.user_id == sub.to_string());
            let Some(row) = row else {
                return Err(refuse(ErrorCode::TokenInvalid, "The token is not valid here."));
            };
            if row.revoked_at.is_some() {
                return Err(session_revoked());
            }
            if row.expires_at <= now.micros() {
                return Err(refuse(ErrorCode::TokenExpired, "The session has expired; sign in again."));
            }
            let person = users::get(tx, &sub)?;
            if person.status != UserStatus::Active.as_str() {
                return Err(session_revoked());
            }
            let ends_at = Timestamp::from_micros(row.ends_at);
            let generation = if offered == row.generation {
                let expires_at = (now + lives).micros().min(row.ends_at);
                sessions::rotate(tx, &row, key_hash.as_deref(), now, expires_at)?;
                tx.log(
                    Draft::new("session.refreshed", "session", sid)
                        .by(user_actor(sub, ip))
                        .data(&json!({ "generation": row.generation + 1 })),
                );
                row.generation + 1
            } else if offered == row.generation - 1 && key_hash.is_some() && key_hash == row.refresh_key_hash
            {
                row.generation
            } else {
                sessions::revoke(tx, &row.id, now)?;
                tx.log(
                    Draft::new("session.reuse_detected", "session", sid)
                        .by(user_actor(sub, ip))
                        .data(&json!({ "offered": offered, "current": row.generation })),
                );
                return Ok(Outcome::Keep(refuse(
                    ErrorCode::RefreshReused,
                    "This refresh token was used before; the session was ended. Sign in again.",
                )));
            };
            Ok(Outcome::Done((users::shown(tx, &person)?, generation, ends_at)))
        })
        .await?;
    tokens(&cx, shown, sid, generation, ends_at)
}

/// Ends the present session, or the one a refresh token belongs to.
pub async fn logout(cx: Cx<Caller>, op: Logout) -> Result<Done> {
    let caller = cx.who.clone();
    let session = match &op.refresh_token {
        None => caller.session,
        Some(token) => {
            let claims = cx.app.keys.ring.verify_refresh(token.as_str(), cx.now()).map_err(token_error)?;
            if claims.sub != caller.user {
                return Err(refuse(ErrorCode::TokenInvalid, "The token belongs to somebody else."));
            }
            claims.sid
        }
    };
    cx.write_plain(urgent("auth.logout"), move |tx| {
        let now = tx.now();
        if sessions::revoke(tx, &session.to_string(), now)? {
            tx.log(Draft::new("session.revoked", "session", session).data(&json!({ "reason": "logout" })));
        }
        Ok(Outcome::Done(Done))
    })
    .await
}

/// Sets a password with the one-time token of a reset.
pub async fn set_password(cx: Cx<()>, op: SetPassword) -> Result<Done> {
    let token = digest(op.reset_token.as_str());
    limited(cx.app.limiter.check(LOGIN, login_key(cx.beside.ip, "reset")))?;
    let invalid = || refuse(ErrorCode::TokenInvalid, "The one-time token is not valid, or was used.");
    let wanted = token.clone();
    let found = cx
        .look_up(move |conn| {
            let Some((user, until)) = sessions::find_reset(conn, &wanted)? else { return Ok(None) };
            Ok(Some((users::get(conn, &user)?, user, until)))
        })
        .await?;
    let Some((row, user, until)) = found else { return Err(invalid()) };
    if until <= cx.now() {
        return Err(refuse(ErrorCode::TokenExpired, "The one-time token has expired; ask for another."));
    }
    let hash = strong_hash(&cx, op.new_password.as_str(), "/newPassword", &[&row.email, &row.name]).await?;
    let ip = cx.beside.ip;
    cx.write_plain(urgent("auth.set_password"), move |tx| {
        let row = users::lock(tx, &user)?;
        if row.status != UserStatus::Active.as_str() {
            return Err(refuse(ErrorCode::UserSuspended, "This person is not active."));
        }
        if !sessions::take_reset(tx, &token)? {
            return Err(invalid());
        }
        users::set_hash(tx, &user, &hash)?;
        end_sessions(tx, &row.id, None, "password set")?;
        tx.log(
            Draft::new("user.password_changed", "user", user).version(row.version).by(user_actor(user, ip)),
        );
        Ok(Outcome::Done(Done))
    })
    .await
}

/// Hashes a new password that is strong enough.
///
/// # Errors
/// `VALIDATION_FAILED` with the rule `weak_password`; `TIMEOUT` when the request's time is over.
pub async fn strong_hash<W>(cx: &Cx<W>, password: &str, pointer: &str, context: &[&str]) -> Result<String> {
    cx.in_time()?;
    if let Some(why) = cx.app.hasher.weakness(password, context).await? {
        return Err(ApiError::violation(pointer, "weak_password", why).into());
    }
    Ok(cx.app.hasher.hash(password).await?)
}

/// Checks the password of the caller.
///
/// # Errors
/// `INVALID_CREDENTIALS`, `TEMPORARILY_LOCKED`, `RATE_LIMITED`.
pub async fn confirm_password(cx: &Cx<Caller>, row: &users::Row, offered: &str) -> Result<()> {
    if check_password(cx, &row.email, offered, row.password_hash.as_deref()).await? {
        return Ok(());
    }
    Err(refuse(ErrorCode::InvalidCredentials, "The password so far is wrong."))
}

/// Ends all live sessions of a person but one, each with its row in the log; answers how many.
///
/// # Errors
/// Those of the database.
pub fn end_sessions(tx: &mut Tx<'_>, user: &str, but: Option<SessionId>, reason: &str) -> Result<u64> {
    let now = tx.now();
    // whatever ends the sessions of a person ends their pending reset: a token that was handed out before
    // must not outlive a new password, a suspension or a recovery
    sessions::drop_reset(tx, user)?;
    let ended = sessions::revoke_of_user(tx, user, but, now)?;
    for session in &ended {
        tx.log(
            Draft::new("session.revoked", "session", session)
                .data(&json!({ "userId": user, "reason": reason })),
        );
    }
    Ok(ended.len() as u64)
}
