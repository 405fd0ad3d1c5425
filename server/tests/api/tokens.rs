//! Signing in, staying signed in, being signed out; what thieves and guessers get.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use bursar_server::testing::TestServer;
use bursar_shared::{
    client::How,
    error::ErrorCode,
    operations::{
        auth::{ChangePassword, Me, MySessions, Refresh, SetPassword, Tokens},
        users::{ActivateUser, ResetPassword, SetUserRoles, SuspendUser},
    },
    page::List,
};
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::{
    Answer, PASSWORD, access, code, count, get, held_up, key, login, new, post, rows, secret, tokens,
};

const DAY: Duration = Duration::from_secs(86_400);

/// A refresh with this token, under this key if there is one.
async fn refresh(s: &TestServer, token: &str, key: Option<&str>) -> Answer {
    let request = post("/v1/auth/refresh", &json!({"refreshToken": token}));
    match key {
        Some(key) => request.header("idempotency-key", key).send(s).await,
        None => request.send(s).await,
    }
}

/// What `GET /v1/me` says to this access token.
async fn me(s: &TestServer, token: &str) -> String {
    get("/v1/me").bearer(token).send(s).await.verdict()
}

fn token<'a>(answer: &'a Answer, name: &str) -> &'a str {
    answer.data()[name].as_str().unwrap_or_else(|| panic!("no {name}: {answer:?}"))
}

fn claims(token: &str) -> Value {
    serde_json::from_slice(&BASE64.decode(token.split('.').nth(1).unwrap()).unwrap()).unwrap()
}

#[tokio::test]
async fn a_sign_in_brings_a_pair_that_works() {
    let s = TestServer::start().await;
    let ann = s.person("ann", "support").await;
    let signed_in =
        post("/v1/auth/login", &json!({"email": "ANN@example.com", "password": PASSWORD})).send(&s).await;
    assert_eq!(signed_in.status, 200);
    assert_eq!(signed_in.header("cache-control"), Some("no-store"));
    assert_eq!(signed_in.data()["user"]["id"], ann.id.to_string());
    assert_eq!(signed_in.data()["tokenType"], "Bearer");
    assert!(signed_in.data()["user"]["lastLoginAt"].is_string());
    let said = claims(token(&signed_in, "accessToken"));
    assert_eq!(
        (&said["type"], &said["email"], &said["roles"]),
        (&json!("access"), &json!("ann@example.com"), &json!(["support"]))
    );
    assert_eq!(said["exp"].as_i64().unwrap() - said["iat"].as_i64().unwrap(), 900);
    assert_eq!(me(&s, token(&signed_in, "accessToken")).await, "200");
}

#[tokio::test]
async fn unknown_people_wrong_passwords_and_no_password_look_the_same() {
    let s = TestServer::start().await;
    s.person("ann", "support").await;
    let owner = s.signed_in("owner", "owner").await;
    owner.call(&new("bob")).await.unwrap();
    let mut seen = Vec::new();
    for email in ["ann@example.com", "nobody@example.com", "bob@example.org"] {
        let answer =
            post("/v1/auth/login", &json!({"email": email, "password": "wrong horse"})).send(&s).await;
        let names: Vec<String> = answer.headers.iter().map(|(name, _)| name.clone()).collect();
        seen.push((answer.status, answer.json["error"].clone(), names));
    }
    assert_eq!(seen[0].1["code"], "INVALID_CREDENTIALS");
    assert!(seen.iter().all(|one| *one == seen[0]), "{seen:?}");
}

#[tokio::test]
async fn a_refresh_token_works_once() {
    let s = TestServer::start().await;
    let ann = s.person("ann", "support").await;
    let first = tokens(&s, &ann).await;
    let second = refresh(&s, &first.refresh_token, Some(&key())).await;
    assert_eq!(second.status, 200);
    assert_eq!(claims(token(&second, "refreshToken"))["gen"], 2);
    assert_eq!(claims(token(&second, "refreshToken"))["sid"], claims(&first.refresh_token)["sid"]);
    // the access token of before is still good: it is of the same session
    assert_eq!(me(&s, &first.access_token).await, "200");
    let third = refresh(&s, token(&second, "refreshToken"), None).await;
    assert_eq!(claims(token(&third, "refreshToken"))["gen"], 3);
    assert_eq!(count(&s, "sessions"), 1);
}

#[tokio::test]
async fn a_lost_answer_is_repeated_with_the_same_key() {
    let s = TestServer::start().await;
    let ann = s.person("ann", "support").await;
    let first = tokens(&s, &ann).await;
    let key = key();
    for _ in 0..3 {
        let again = refresh(&s, &first.refresh_token, Some(&key)).await;
        assert_eq!(claims(token(&again, "refreshToken"))["gen"], 2);
        assert_eq!(me(&s, token(&again, "accessToken")).await, "200");
    }
    assert_eq!(count(&s, "log WHERE type = 'session.refreshed'"), 1);
}

#[tokio::test]
async fn a_spent_token_without_its_key_ends_the_session_at_once() {
    let s = TestServer::start().await;
    let ann = s.person("ann", "support").await;
    for (first_key, second_key) in
        [(Some(key()), None), (Some(key()), Some(key())), (None, None), (None, Some(key()))]
    {
        let first = tokens(&s, &ann).await;
        let second = refresh(&s, &first.refresh_token, first_key.as_deref()).await;
        let stolen = refresh(&s, &first.refresh_token, second_key.as_deref()).await;
        assert_eq!(stolen.verdict(), "401 REFRESH_REUSED");
        for access in [first.access_token.as_str(), token(&second, "accessToken")] {
            assert_eq!(me(&s, access).await, "401 SESSION_REVOKED");
        }
        assert_eq!(
            refresh(&s, token(&second, "refreshToken"), Some(&key())).await.verdict(),
            "401 SESSION_REVOKED"
        );
        assert_eq!(
            refresh(&s, &first.refresh_token, first_key.as_deref()).await.verdict(),
            "401 SESSION_REVOKED"
        );
    }
    assert_eq!(count(&s, "log WHERE type = 'session.reuse_detected'"), 4);
}

#[tokio::test]
async fn an_old_token_is_a_theft_even_with_its_key() {
    let s = TestServer::start().await;
    let ann = s.person("ann", "support").await;
    let first = tokens(&s, &ann).await;
    let (one, two) = (key(), key());
    let second = refresh(&s, &first.refresh_token, Some(&one)).await;
    let third = refresh(&s, token(&second, "refreshToken"), Some(&two)).await;
    assert_eq!(third.status, 200);
    assert_eq!(refresh(&s, &first.refresh_token, Some(&one)).await.verdict(), "401 REFRESH_REUSED");
    assert_eq!(me(&s, token(&third, "accessToken")).await, "401 SESSION_REVOKED");
}

#[tokio::test]
async fn sixteen_refreshes_at_once_with_one_key_are_one() {
    let s = TestServer::start().await;
    let ann = s.person("ann", "support").await;
    let first = tokens(&s, &ann).await;
    let key = key();
    let all = join_all((0..16).map(|_| refresh(&s, &first.refresh_token, Some(&key)))).await;
    for answer in &all {
        assert_eq!(claims(token(answer, "refreshToken"))["gen"], 2);
    }
    assert_eq!(rows(&s, "SELECT CAST(generation AS TEXT) AS value FROM sessions"), ["2"]);
    assert_eq!(count(&s, "log WHERE type = 'session.refreshed'"), 1);
    assert_eq!(refresh(&s, token(&all[7], "refreshToken"), None).await.status, 200);
}

#[tokio::test]
async fn of_thieves_and_owner_at_once_at_most_one_gets_on() {
    let s = TestServer::start().await;
    let ann = s.person("ann", "support").await;
    let first = tokens(&s, &ann).await;
    let all = join_all((0..8).map(|_| async { refresh(&s, &first.refresh_token, Some(&key())).await })).await;
    let got: Vec<&Answer> = all.iter().filter(|answer| answer.status == 200).collect();
    assert_eq!(got.len(), 1);
    assert_eq!(me(&s, token(got[0], "accessToken")).await, "401 SESSION_REVOKED");
}

#[tokio::test]
async fn tokens_end_when_they_say() {
    let s = TestServer::start().await;
    let ann = s.person("ann", "support").await;
    let first = tokens(&s, &ann).await;
    s.clock.forward(Duration::from_secs(14 * 60));
    assert_eq!(me(&s, &first.access_token).await, "200");
    s.clock.forward(Duration::from_secs(66));
    assert_eq!(me(&s, &first.access_token).await, "401 TOKEN_EXPIRED");
    s.clock.forward(7 * DAY);
    assert_eq!(refresh(&s, &first.refresh_token, None).await.verdict(), "401 TOKEN_EXPIRED");
    // expired is not stolen: nothing was revoked
    assert_eq!(count(&s, "sessions WHERE revoked_at IS NOT NULL"), 0);
}

#[tokio::test]
async fn a_session_ends_after_thirty_days_however_often_it_is_refreshed() {
    let s = TestServer::start().await;
    let ann = s.person("ann", "support").await;
    let mut current = tokens(&s, &ann).await.refresh_token;
    for _ in 0..5 {
        s.clock.forward(5 * DAY + DAY / 2);
        let next = refresh(&s, &current, None).await;
        assert_eq!(next.status, 200);
        current = token(&next, "refreshToken").to_owned();
    }
    // 27.5 days are over; the last token ends with the session, not after seven days
    s.clock.forward(2 * DAY);
    let last = refresh(&s, &current, None).await;
    assert_eq!(last.status, 200);
    let ends: bursar_shared::time::Timestamp = token(&last, "refreshExpiresAt").parse().unwrap();
    assert!(ends.since(s.clock.now()) <= DAY, "{ends}");
    s.clock.forward(DAY);
    assert_eq!(refresh(&s, token(&last, "refreshToken"), None).await.verdict(), "401 TOKEN_EXPIRED");
}

#[tokio::test]
async fn one_kind_of_token_is_not_the_other() {
    let s = TestServer::start().await;
    let ann = s.person("ann", "support").await;
    let pair = tokens(&s, &ann).await;
    assert_eq!(me(&s, &pair.refresh_token).await, "401 TOKEN_INVALID");
    assert_eq!(refresh(&s, &pair.access_token, None).await.verdict(), "401 TOKEN_INVALID");
    assert_eq!(me(&s, &pair.access_token).await, "200");
}

#[tokio::test]
async fn forged_tokens_are_not_believed() {
    let s = TestServer::start().await;
    let (ann, owner) = (s.person("ann", "customer").await, s.person("owner", "owner").await);
    let pair = tokens(&s, &ann).await;
    let parts: Vec<&str> = pair.access_token.split('.').collect();
    let header: Value = serde_json::from_slice(&BASE64.decode(parts[0]).unwrap()).unwrap();
    let body = claims(&pair.access_token);
    let with = |base: &Value, name: &str, value: Value| {
        let mut changed = base.clone();
        changed[name] = value;
        changed
    };
    let text = |value: &Value| BASE64.encode(value.to_string());
    let jwks = get("/.well-known/jwks.json").send_unchecked(&s).await;
    let public = jwks.json["keys"][0]["x"].as_str().unwrap();
    let hs256 = |secret: &[u8]| {
        let signed = format!("{}.{}", text(&with(&header, "alg", json!("HS256"))), text(&body));
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret);
        format!("{signed}.{}", BASE64.encode(ring::hmac::sign(&key, signed.as_bytes())))
    };
    let join = |header: &Value, body: &Value, signature: &str| {
        format!("{}.{}.{signature}", text(header), text(body))
    };
    let stranger = TestServer::start().await;
    let foreign = stranger.person("ann", "owner").await;
    let foreign = tokens(&stranger, &foreign).await.access_token;
    let foreign_kid = with(
        &serde_json::from_slice(&BASE64.decode(foreign.split('.').next().unwrap()).unwrap()).unwrap(),
        "kid",
        header["kid"].clone(),
    );
    let forged: Vec<(&str, String)> = vec![
        ("alg none, no signature", join(&with(&header, "alg", json!("none")), &body, "")),
        ("alg none, the signature kept", join(&with(&header, "alg", json!("none")), &body, parts[2])),
        ("alg NONE", join(&with(&header, "alg", json!("NONE")), &body, "")),
        ("HS256 with the public key as text", hs256(public.as_bytes())),
        ("HS256 with the public key as bytes", hs256(&BASE64.decode(public).unwrap())),
        ("HS256 with nothing", hs256(b"")),
        ("RS256", join(&with(&header, "alg", json!("RS256")), &body, parts[2])),
        ("another kid", join(&with(&header, "kid", json!("other")), &body, parts[2])),
        ("a kid that is a path", join(&with(&header, "kid", json!("../../dev/null")), &body, parts[2])),
        ("a key of its own", join(&with(&header, "jwk", jwks.json["keys"][0].clone()), &body, parts[2])),
        ("a key from elsewhere", join(&with(&header, "jku", json!("https://evil.example")), &body, parts[2])),
        ("another typ", join(&with(&header, "typ", json!("JWT")), &body, parts[2])),
        ("crit", join(&with(&header, "crit", json!(["exp"])), &body, parts[2])),
        ("another sub", join(&header, &with(&body, "sub", json!(owner.id)), parts[2])),
        ("more roles", join(&header, &with(&body, "roles", json!(["owner"])), parts[2])),
        (
            "a later end",
            join(&header, &with(&body, "exp", json!(body["exp"].as_i64().unwrap() + 9_999)), parts[2]),
        ),
        ("another daemon's", foreign.clone()),
        (
            "another daemon's under our kid",
            format!("{}.{}", text(&foreign_kid), foreign.split_once('.').unwrap().1),
        ),
        ("no signature", format!("{}.{}.", parts[0], parts[1])),
        ("two parts", format!("{}.{}", parts[0], parts[1])),
        ("four parts", format!("{}.x", pair.access_token)),
        ("padding", format!("{}=", pair.access_token)),
        ("nothing", "..".to_owned()),
    ];
    for (what, token) in forged {
        assert_eq!(me(&s, &token).await, "401 TOKEN_INVALID", "{what}");
    }
    assert_eq!(me(&s, &pair.access_token).await, "200");
}

#[tokio::test]
async fn signing_out_ends_the_session_and_only_that() {
    let s = TestServer::start().await;
    let ann = s.person("ann", "support").await;
    let (one, two, three) = (tokens(&s, &ann).await, tokens(&s, &ann).await, tokens(&s, &ann).await);
    let out = post("/v1/auth/logout", &json!({})).bearer(&one.access_token).send(&s).await;
    assert_eq!((out.status, out.data()), (200, &Value::Null));
    assert_eq!(me(&s, &one.access_token).await, "401 SESSION_REVOKED");
    assert_eq!(refresh(&s, &one.refresh_token, None).await.verdict(), "401 SESSION_REVOKED");
    let other = post("/v1/auth/logout", &json!({"refreshToken": three.refresh_token}))
        .bearer(&two.access_token)
        .send(&s)
        .await;
    assert_eq!(other.status, 200);
    assert_eq!(me(&s, &three.access_token).await, "401 SESSION_REVOKED");
    assert_eq!(me(&s, &two.access_token).await, "200");
    let bob = s.person("bob", "owner").await;
    let bobs = tokens(&s, &bob).await;
    let stolen = post("/v1/auth/logout", &json!({"refreshToken": bobs.refresh_token}))
        .bearer(&two.access_token)
        .send(&s)
        .await;
    assert_eq!(stolen.verdict(), "401 TOKEN_INVALID");
    assert_eq!(me(&s, &bobs.access_token).await, "200");
}

#[tokio::test]
async fn who_is_suspended_is_out_at_once_and_told_only_after_the_right_password() {
    let s = TestServer::start().await;
    let owner = s.signed_in("owner", "owner").await;
    let ann = s.person("ann", "support").await;
    let live = tokens(&s, &ann).await;
    owner.call(&SuspendUser { id: ann.id, reason: None }).await.unwrap();
    assert_eq!(me(&s, &live.access_token).await, "401 SESSION_REVOKED");
    assert_eq!(refresh(&s, &live.refresh_token, Some(&key())).await.verdict(), "401 SESSION_REVOKED");
    let anonymous = s.anonymous();
    assert_eq!(code(anonymous.call(&login("ann@example.com", "wrong")).await), ErrorCode::InvalidCredentials);
    assert_eq!(code(anonymous.call(&login("ann@example.com", PASSWORD)).await), ErrorCode::UserSuspended);
    owner.call(&ActivateUser { id: ann.id, reason: None }).await.unwrap();
    // what was ended stays ended
    assert_eq!(me(&s, &live.access_token).await, "401 SESSION_REVOKED");
    assert_eq!(me(&s, &tokens(&s, &ann).await.access_token).await, "200");
}

#[tokio::test]
async fn a_withdrawn_role_and_a_revoked_session_work_on_the_next_request() {
    let s = TestServer::start().await;
    let owner = s.signed_in("owner", "owner").await;
    let ann = s.person("ann", "support").await;
    let live = tokens(&s, &ann).await;
    let list = || get("/v1/users").bearer(&live.access_token);
    for _ in 0..3 {
        assert_eq!(list().send(&s).await.status, 200);
        owner.call(&SetUserRoles { id: ann.id, roles: vec![] }).await.unwrap();
        assert_eq!(list().send(&s).await.verdict(), "403 FORBIDDEN");
        owner.call(&SetUserRoles { id: ann.id, roles: vec!["support".parse().unwrap()] }).await.unwrap();
    }
    let sessions = owner
        .call(
            &List::<bursar_shared::operations::auth::Session>::new()
                .with("userId", bursar_shared::page::Op::Eq, &ann.id.to_string())
                .unwrap(),
        )
        .await
        .unwrap();
    assert_eq!(sessions.rows.len(), 1);
    owner.call(&bursar_shared::operations::auth::RevokeSession { id: sessions.rows[0].id }).await.unwrap();
    assert_eq!(list().send(&s).await.verdict(), "401 SESSION_REVOKED");
    let again = tokens(&s, &ann).await;
    let revoked =
        owner.call(&bursar_shared::operations::auth::RevokeSessions { user_id: ann.id }).await.unwrap();
    assert_eq!(revoked.revoked, 1);
    assert_eq!(me(&s, &again.access_token).await, "401 SESSION_REVOKED");
}

#[tokio::test]
async fn one_can_end_ones_own_sessions_and_nobody_elses() {
    let s = TestServer::start().await;
    let ann = s.person("ann", "customer").await;
    let other = s.sign_in(&ann).await;
    let here = s.sign_in(&ann).await;
    let bobs = s.signed_in("bob", "customer").await;
    let mine = here.call(&MySessions {}).await.unwrap().0;
    assert_eq!((mine.len(), mine.iter().filter(|one| one.current).count()), (2, 1));
    let theirs = mine.iter().find(|one| !one.current).unwrap().id;
    let end = |id| bursar_shared::operations::auth::EndMySession { id };
    assert_eq!(code(bobs.call(&end(theirs)).await), ErrorCode::NotFound);
    here.call(&end(theirs)).await.unwrap();
    assert_eq!(code(other.call(&Me {}).await), ErrorCode::SessionRevoked);
    assert_eq!(here.call(&MySessions {}).await.unwrap().0.len(), 1);
}

#[tokio::test]
async fn a_new_password_ends_all_other_sessions() {
    let s = TestServer::start().await;
    let ann = s.person("ann", "support").await;
    let (here, there) = (s.sign_in(&ann).await, tokens(&s, &ann).await);
    let change = |current: &str, new: &str| ChangePassword {
        current_password: secret(current),
        new_password: new.parse().unwrap(),
    };
    assert_eq!(
        code(here.call(&change("wrong", "a fresh horse battery 7")).await),
        ErrorCode::InvalidCredentials
    );
    let weak = crate::support::refusal(here.call(&change(PASSWORD, "password1234")).await);
    assert_eq!(
        (weak.violations()[0].pointer.as_str(), weak.violations()[0].rule.as_str()),
        ("/newPassword", "weak_password")
    );
    assert_eq!(me(&s, &there.access_token).await, "200");
    here.call(&change(PASSWORD, "a fresh horse battery 7")).await.unwrap();
    assert_eq!(me(&s, &there.access_token).await, "401 SESSION_REVOKED");
    assert_eq!(here.call(&Me {}).await.unwrap().id, ann.id);
    let anonymous = s.anonymous();
    assert_eq!(
        code(anonymous.call(&login("ann@example.com", PASSWORD)).await),
        ErrorCode::InvalidCredentials
    );
    anonymous.call(&login("ann@example.com", "a fresh horse battery 7")).await.unwrap();
}

#[tokio::test]
async fn a_reset_token_works_once_and_not_for_ever() {
    let s = TestServer::start().await;
    let owner = s.signed_in("owner", "owner").await;
    let bob = owner.call(&new("bob")).await.unwrap().0;
    let reset = || async { owner.call(&ResetPassword { id: bob.id }).await.unwrap().reset_token.unwrap() };
    let set = |token: &str, password: &str| SetPassword {
        reset_token: secret(token),
        new_password: password.parse().unwrap(),
    };
    let anonymous = s.anonymous();
    let first = reset().await;
    let second = reset().await;
    assert_eq!(code(anonymous.call(&set(&first, "a fresh horse battery 7")).await), ErrorCode::TokenInvalid);
    assert_eq!(code(anonymous.call(&set(&second, "password1234")).await), ErrorCode::ValidationFailed);
    anonymous.call(&set(&second, "a fresh horse battery 7")).await.unwrap();
    assert_eq!(code(anonymous.call(&set(&second, "another horse battery 8")).await), ErrorCode::TokenInvalid);
    let live = anonymous.call(&login("bob@example.org", "a fresh horse battery 7")).await.unwrap();
    // a reset ends what is open
    let third = reset().await;
    assert_eq!(me(&s, &live.access_token).await, "401 SESSION_REVOKED");
    s.clock.forward(DAY + Duration::from_secs(1));
    assert_eq!(code(anonymous.call(&set(&third, "another horse battery 8")).await), ErrorCode::TokenExpired);
    // of two at once one gets through
    let owner = s.sign_in(&owner_of(&s).await).await;
    let fourth = owner.call(&ResetPassword { id: bob.id }).await.unwrap().reset_token.unwrap();
    let both = join_all([1, 2].map(|n| {
        let op = set(&fourth, &format!("another horse battery {n}"));
        let anonymous = anonymous.clone();
        async move { anonymous.call(&op).await.is_ok() }
    }))
    .await;
    assert_eq!(both.iter().filter(|done| **done).count(), 1);
}

async fn owner_of(s: &TestServer) -> bursar_shared::operations::users::User {
    s.person("second-owner", "owner").await
}

#[tokio::test]
async fn a_suspended_person_cannot_come_back_by_a_reset() {
    let s = TestServer::start().await;
    let owner = s.signed_in("owner", "owner").await;
    let bob = s.person("bob", "customer").await;
    let token = owner.call(&ResetPassword { id: bob.id }).await.unwrap().reset_token.unwrap();
    owner.call(&SuspendUser { id: bob.id, reason: None }).await.unwrap();
    let set =
        SetPassword { reset_token: secret(&token), new_password: "a fresh horse battery 7".parse().unwrap() };
    assert_eq!(code(s.anonymous().call(&set).await), ErrorCode::TokenInvalid);
    assert_eq!(code(owner.call(&ResetPassword { id: bob.id }).await), ErrorCode::IllegalTransition);
}

#[tokio::test]
async fn a_reset_ends_the_old_password_and_is_ended_by_a_role() {
    let s = TestServer::start().await;
    let owner = s.signed_in("owner", "owner").await;
    let bob = s.person("bob", "customer").await;
    let token = owner.call(&ResetPassword { id: bob.id }).await.unwrap().reset_token.unwrap();
    let old = s.anonymous().call(&login("bob@example.com", PASSWORD)).await;
    assert_eq!(code(old), ErrorCode::InvalidCredentials);
    // who was handed the token when he was nobody must not come in as owner
    let roles = vec!["owner".parse().unwrap()];
    owner.call(&SetUserRoles { id: bob.id, roles }).await.unwrap();
    let set =
        SetPassword { reset_token: secret(&token), new_password: "a fresh horse battery 7".parse().unwrap() };
    assert_eq!(code(s.anonymous().call(&set).await), ErrorCode::TokenInvalid);
}

#[tokio::test]
async fn hashes_that_cannot_be_checked_are_refused_and_one_in_the_store_is_a_wrong_password() {
    let s = TestServer::start().await;
    let owner = access(&s.signed_in("owner", "owner").await).await;
    for hash in [
        "$argon2id$v=19$m=8,t=1,p=4$c2FsdGNhbmFyeQ$Y2FuYXJ5Y2FuYXJ5Y2FuYXJ5Y2FuYXJ5Y2FuYXJ5Y2E",
        "$argon2id$v=19$m=64,t=1,p=1$!!!!!!!!!!!!!$####YXJ5Y2FuYXJ5Y2FuYXJ5Y2FuYXJ5Y2FuYXJ5Y2E",
        "$2b$04$!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!",
    ] {
        let body = json!({"email": "eve@b.io", "name": "eve", "passwordHash": hash});
        let answer = post("/v1/users", &body).bearer(&owner).send(&s).await;
        assert_eq!(answer.rules(), ["/passwordHash format"], "{hash}");
    }
    s.person("ann", "support").await;
    s.sql("UPDATE users SET password_hash = '$2b$04$broken' WHERE email = 'ann@example.com'").await.unwrap();
    assert_eq!(try_login(&s, "ann@example.com", PASSWORD).await.verdict(), "401 INVALID_CREDENTIALS");
}

#[tokio::test]
async fn a_write_that_waited_is_not_made_for_a_session_that_ended_meanwhile() {
    let s = TestServer::start().await;
    let ann = s.signed_in("ann", "support").await;
    let bob = ann.call(&new("bob")).await.unwrap().0;
    let waits = held_up(&s, "UPDATE sessions SET revoked_at = 1", || async {
        ann.call(&SuspendUser { id: bob.id, reason: None }).await
    });
    assert_eq!(code(waits.await), ErrorCode::SessionRevoked);
    assert_eq!(rows(&s, "SELECT status AS value FROM users WHERE email = 'bob@example.org'"), ["active"]);
}

#[tokio::test]
async fn sign_ins_with_the_old_password_do_not_outlive_its_change() {
    let s = TestServer::start().await;
    let bob = s.signed_in("bob", "customer").await;
    let guesses = join_all((0..8).map(|_| {
        let anonymous = s.anonymous();
        async move { anonymous.call(&login("bob@example.com", PASSWORD)).await.ok() }
    }));
    let change = ChangePassword {
        current_password: secret(PASSWORD),
        new_password: "a fresh horse battery 7".parse().unwrap(),
    };
    let (_, changed) = futures_util::future::join(guesses, bob.call(&change)).await;
    changed.unwrap();
    assert_eq!(bob.call(&MySessions {}).await.unwrap().0.len(), 1);
}

#[tokio::test]
async fn what_cannot_be_tried_out_refuses_to_be() {
    let s = TestServer::start().await;
    let bob = s.signed_in("bob", "customer").await;
    let token = access(&bob).await;
    let tried = post("/v1/auth/logout?dryRun=true", &json!({})).bearer(&token).send(&s).await;
    assert_eq!(tried.json["error"]["details"]["violations"][0]["rule"], "unknown_parameter");
    let change = json!({"currentPassword": PASSWORD, "newPassword": "a fresh horse battery 7"});
    let tried = post("/v1/me/password?dryRun=true", &change).bearer(&token).send(&s).await;
    assert_eq!((tried.status, &tried.json["meta"]["dryRun"]), (200, &json!(true)));
    s.anonymous().call(&login("bob@example.com", PASSWORD)).await.unwrap();
    let twice = post("/v1/me/password?dryRun=true&dryRun=false", &change).bearer(&token).send(&s).await;
    assert_eq!(twice.status, 422);
}

/// A sign-in as raw request.
async fn try_login(s: &TestServer, email: &str, password: &str) -> Answer {
    post("/v1/auth/login", &json!({"email": email, "password": password})).send(s).await
}

#[tokio::test]
async fn guessing_passwords_takes_longer_each_time() {
    let s = TestServer::start_with(&[("limits", "on")]).await;
    s.person("ann", "support").await;
    s.person("bob", "support").await;
    for _ in 0..4 {
        assert_eq!(try_login(&s, "ann@example.com", "wrong").await.verdict(), "401 INVALID_CREDENTIALS");
    }
    // the fourth failure costs nothing: the right password begins anew
    assert_eq!(try_login(&s, "ann@example.com", PASSWORD).await.status, 200);
    s.clock.forward(Duration::from_secs(120));
    for _ in 0..5 {
        assert_eq!(try_login(&s, "ann@example.com", "wrong").await.verdict(), "401 INVALID_CREDENTIALS");
    }
    for seconds in [1, 2, 4, 8] {
        let locked = try_login(&s, "ann@example.com", PASSWORD).await;
        assert_eq!(locked.verdict(), "423 TEMPORARILY_LOCKED", "{seconds}");
        assert_eq!(locked.header("retry-after"), Some(seconds.to_string().as_str()));
        // somebody else from the same place is not locked
        assert_eq!(try_login(&s, "bob@example.com", PASSWORD).await.status, 200);
        // beyond the lock, and far enough for the limit of sign-ins to forget
        s.clock.forward(Duration::from_secs(60));
        assert_eq!(
            try_login(&s, "ann@example.com", "wrong").await.verdict(),
            "401 INVALID_CREDENTIALS",
            "{seconds}"
        );
    }
    s.clock.forward(Duration::from_secs(600));
    assert_eq!(try_login(&s, "ann@example.com", PASSWORD).await.status, 200);
}

#[tokio::test]
async fn too_many_sign_ins_are_limited_by_account() {
    let s = TestServer::start_with(&[("limits", "on")]).await;
    s.person("ann", "support").await;
    for _ in 0..10 {
        assert_eq!(try_login(&s, "ann@example.com", PASSWORD).await.status, 200);
    }
    let limited = try_login(&s, "ann@example.com", PASSWORD).await;
    assert_eq!(limited.verdict(), "429 RATE_LIMITED");
    assert!(limited.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
    s.clock.forward(Duration::from_secs(6));
    assert_eq!(try_login(&s, "ann@example.com", PASSWORD).await.status, 200);
}

#[tokio::test]
async fn strangers_are_counted_by_address_and_members_by_session() {
    let s = TestServer::start_with(&[("limits", "on")]).await;
    let ann = access(&s.signed_in("ann", "support").await).await;
    let first = get("/v1/me").send(&s).await;
    assert_eq!(first.header("ratelimit-policy"), Some("\"anon\";q=60;w=60"));
    assert!(first.header("ratelimit").unwrap().starts_with("\"anon\";r="), "{first:?}");
    let mut refused = None;
    for _ in 0..70 {
        let answer = get("/v1/me").send(&s).await;
        if answer.status == 429 {
            refused = Some(answer);
            break;
        }
        assert_eq!(answer.verdict(), "401 UNAUTHENTICATED");
    }
    let refused = refused.expect("sixty a minute");
    assert_eq!(refused.code(), "RATE_LIMITED");
    assert_eq!(refused.json["error"]["details"]["policies"], json!(["anon"]));
    assert!(refused.header("retry-after").is_some() && refused.header("ratelimit").unwrap().contains("r=0"));
    // a bad credential is a stranger's, and so is an unknown path
    assert_eq!(get("/v1/me").bearer("x").send(&s).await.status, 429);
    assert_eq!(get("/v1/nope").send(&s).await.status, 429);
    let mine = get("/v1/me").bearer(&ann).send(&s).await;
    assert_eq!((mine.status, mine.header("ratelimit-policy")), (200, Some("\"session\";q=6000;w=60")));
    for path in ["/healthz", "/readyz", "/metrics", "/.well-known/jwks.json"] {
        assert_eq!(get(path).send_unchecked(&s).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn an_address_is_only_believed_from_a_trusted_proxy() {
    let strict = TestServer::start_with(&[("limits", "on")]).await;
    let mut last = 0;
    for n in 0..70 {
        last = get("/v1/me").header("x-forwarded-for", format!("10.0.0.{n}")).send(&strict).await.status;
    }
    assert_eq!(last, 429, "a header of the client bought a new quota");
    let trusting = TestServer::start_with(&[("limits", "on"), ("trusted-proxies", "127.0.0.1")]).await;
    for n in 0..70 {
        let answer = get("/v1/me").header("x-forwarded-for", format!("10.0.{n}.7")).send(&trusting).await;
        assert_eq!(answer.status, 401);
    }
    for n in 0..70 {
        // only what the proxy itself added counts, not what the client put before it
        let forged = format!("10.9.9.{n}, 192.0.2.1");
        last = get("/v1/me").header("x-forwarded-for", forged).send(&trusting).await.status;
    }
    assert_eq!(last, 429);
    trusting.person("ann", "support").await;
    let from = post("/v1/auth/login", &json!({"email": "ann@example.com", "password": PASSWORD}))
        .header("x-forwarded-for", "203.0.113.9")
        .send(&trusting)
        .await;
    assert_eq!(from.status, 200);
    assert_eq!(rows(&trusting, "SELECT ip AS value FROM sessions"), ["203.0.113.9"]);
}

#[tokio::test]
async fn the_client_repeats_a_refresh_whose_answer_was_lost() {
    let s = TestServer::start().await;
    let client = s.signed_in("ann", "support").await;
    s.clock.forward(Duration::from_secs(16 * 60));
    // many calls of one client share one refresh
    let calls = join_all((0..8).map(|_| client.call(&Me {}))).await;
    assert!(calls.iter().all(Result::is_ok));
    assert_eq!(count(&s, "log WHERE type = 'session.refreshed'"), 1);
}

#[tokio::test]
async fn a_replay_after_the_answer_was_used_is_still_the_same_pair() {
    let s = TestServer::start().await;
    let ann = s.person("ann", "support").await;
    let first: Tokens = tokens(&s, &ann).await;
    let how = How { key: Some(key()), ..How::default() };
    let op = Refresh { refresh_token: secret(&first.refresh_token) };
    let second = s.anonymous().send(&op, &how).await.unwrap().answer;
    let again = s.anonymous().send(&op, &how).await.unwrap().answer;
    assert_eq!(claims(&second.refresh_token)["gen"], claims(&again.refresh_token)["gen"]);
    assert_eq!(me(&s, &second.access_token).await, "200");
    assert_eq!(me(&s, &again.access_token).await, "200");
}
