//! Changing people: versions, idempotency keys, dry runs, bulk, and who may not touch whom.

use std::{collections::BTreeMap, time::Duration};

use bursar_server::testing::TestServer;
use bursar_shared::{
    client::{Client, How},
    decode::Change,
    error::{ApiError, ErrorCode},
    field::{BulkMode, Metadata, MetadataPatch},
    id::UserId,
    operations::{
        auth::{Me, RevokeSession, RevokeSessions, Session, UpdateMe},
        log::{AuditEntry, VerifyAudit},
        system::{GetVerdict, VerdictState},
        users::{
            ActivateUser, BulkItem, BulkOp, BulkUsers, CreateUser, DeleteUser, GetUser, ResetPassword,
            SetUserRoles, SuspendUser, UpdateUser, User,
        },
    },
    page::{List, Op},
};
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::{access, but, code, count, get, key, new, post, refusal, request};

/// An edit that changes nothing yet.
fn edit(id: UserId) -> UpdateUser {
    UpdateUser {
        id,
        email: Change::Keep,
        name: Change::Keep,
        external_id: Change::Keep,
        metadata: Change::Keep,
    }
}

fn rename(id: UserId, name: &str) -> UpdateUser {
    UpdateUser { name: Change::Set(name.parse().unwrap()), ..edit(id) }
}

async fn read(client: &Client, id: UserId) -> User {
    client.call(&GetUser { id, include: None }).await.unwrap()
}

fn under(key: &str) -> How {
    How { key: Some(key.to_owned()), ..How::default() }
}

fn dry() -> How {
    How { dry_run: true, ..How::default() }
}

fn at(version: i64) -> How {
    How { if_match: Some(version), ..How::default() }
}

/// How full the store is.
fn sizes(s: &TestServer) -> [i64; 5] {
    ["users", "log", "idempotency_keys", "sessions", "user_terms"].map(|table| count(s, table))
}

#[tokio::test]
async fn an_entity_tag_saves_reading_again_and_guards_a_write() {
    let s = TestServer::start().await;
    let ann = s.signed_in("ann", "support").await;
    let token = access(&ann).await;
    let bob = ann.call(&new("bob")).await.unwrap().0;
    let path = format!("/v1/users/{}", bob.id);
    let first = get(&path).bearer(&token).send(&s).await;
    let etag = first.header("etag").unwrap().to_owned();
    assert_eq!(etag, "\"1-0\"");
    let unchanged = get(&path).header("if-none-match", &etag).bearer(&token).send(&s).await;
    assert_eq!((unchanged.status, unchanged.header("etag")), (304, Some(etag.as_str())));
    // as a proxy that compresses sends it
    let weak = get(&path).header("if-none-match", format!("\"x\", W/{etag}")).bearer(&token).send(&s).await;
    assert_eq!(weak.status, 304);
    let edited = request("PATCH", &path)
        .json(&json!({"name": "Robert"}))
        .header("if-match", &etag)
        .bearer(&token)
        .send(&s)
        .await;
    assert_eq!((edited.status, &edited.data()["version"]), (200, &json!(2)));
    assert_eq!(get(&path).header("if-none-match", &etag).bearer(&token).send(&s).await.status, 200);
    for stale in ["\"1-0\"", "\"1\"", "1"] {
        let refused = request("PATCH", &path)
            .json(&json!({"name": "B"}))
            .header("if-match", stale)
            .bearer(&token)
            .send(&s)
            .await;
        assert_eq!(refused.verdict(), "412 VERSION_MISMATCH");
        assert_eq!(&refused.json["error"]["details"]["current"], edited.data());
    }
    let any = request("PATCH", &path)
        .json(&json!({"name": "B"}))
        .header("if-match", "*")
        .bearer(&token)
        .send(&s)
        .await;
    assert_eq!(any.status, 200);
    // what is loaded along has no tag: it changes by itself
    assert_eq!(get(format!("{path}?include=sessions")).bearer(&token).send(&s).await.header("etag"), None);
    // a sign-in changes the tag and not the version
    let before = get("/v1/me").bearer(&token).send(&s).await;
    s.sign_in(&ann.call(&Me {}).await.unwrap()).await;
    let after = get("/v1/me").bearer(&token).send(&s).await;
    assert_eq!(before.data()["version"], after.data()["version"]);
    assert_ne!(before.header("etag"), after.header("etag"));
}

#[tokio::test]
async fn every_write_to_a_person_looks_at_the_version() {
    let s = TestServer::start().await;
    let owner = s.signed_in("owner", "owner").await;
    let bob = owner.call(&new("bob")).await.unwrap().0;
    let id = bob.id;
    owner.call(&rename(id, "Robert")).await.unwrap();
    let stale = at(1);
    assert_eq!(code(owner.send(&rename(id, "x"), &stale).await), ErrorCode::VersionMismatch);
    assert_eq!(code(owner.send(&SuspendUser { id, reason: None }, &stale).await), ErrorCode::VersionMismatch);
    assert_eq!(
        code(owner.send(&ActivateUser { id, reason: None }, &stale).await),
        ErrorCode::VersionMismatch
    );
    assert_eq!(code(owner.send(&DeleteUser { id }, &stale).await), ErrorCode::VersionMismatch);
    assert_eq!(
        code(owner.send(&SetUserRoles { id, roles: vec![] }, &stale).await),
        ErrorCode::VersionMismatch
    );
    assert_eq!(code(owner.send(&ResetPassword { id }, &stale).await), ErrorCode::VersionMismatch);
    let me = owner.call(&Me {}).await.unwrap();
    let op = UpdateMe { name: Change::Set("Me".parse().unwrap()) };
    assert_eq!(code(owner.send(&op, &at(me.version + 1)).await), ErrorCode::VersionMismatch);
    assert_eq!(read(&owner, id).await.version, 2);
    owner.send(&DeleteUser { id }, &at(2)).await.unwrap();
}

#[tokio::test]
async fn of_eight_edits_of_one_version_one_is_made() {
    let s = TestServer::start().await;
    let ann = s.signed_in("ann", "support").await;
    let bob = ann.call(&new("bob")).await.unwrap().0;
    let edits = join_all((0..8).map(|n| {
        let (ann, op) = (ann.clone(), rename(bob.id, &format!("Bob {n}")));
        async move { ann.send(&op, &at(1)).await }
    }))
    .await;
    let (done, refused): (Vec<_>, Vec<_>) = edits.into_iter().partition(Result::is_ok);
    assert_eq!((done.len(), refused.len()), (1, 7));
    assert!(refused.into_iter().all(|one| code(one) == ErrorCode::VersionMismatch));
    assert_eq!(read(&ann, bob.id).await.version, 2);
}

#[tokio::test]
async fn a_merge_patch_sets_clears_and_leaves() {
    let s = TestServer::start().await;
    let ann = s.signed_in("ann", "support").await;
    let token = access(&ann).await;
    let facts =
        Metadata(BTreeMap::from([("a".to_owned(), "1".to_owned()), ("b".to_owned(), "2".to_owned())]));
    let bob = CreateUser { external_id: Some("x-1".parse().unwrap()), metadata: Some(facts), ..new("bob") };
    let bob = ann.call(&bob).await.unwrap().0;
    let patch = |body: Value| request("PATCH", format!("/v1/users/{}", bob.id)).json(&body).bearer(&token);
    let one = patch(json!({"metadata": {"a": null, "c": "3"}})).send(&s).await;
    assert_eq!(one.data()["metadata"], json!({"b": "2", "c": "3"}));
    assert_eq!((&one.data()["externalId"], &one.data()["name"]), (&json!("x-1"), &json!("bob")));
    let two = patch(json!({"externalId": null})).send(&s).await;
    assert_eq!((&two.data()["externalId"], &two.data()["version"]), (&Value::Null, &json!(3)));
    for (body, rule) in [
        (json!({"name": null}), "/name type"),
        (json!({"email": null}), "/email type"),
        (json!({"metadata": null}), "/metadata type"),
        (json!({"metadata": {"a": 1}}), "/metadata/a type"),
    ] {
        assert_eq!(patch(body).send(&s).await.rules(), [rule]);
    }
    let many: Value =
        (0..49).map(|n| (format!("k{n}"), json!("v"))).collect::<serde_json::Map<_, _>>().into();
    assert_eq!(patch(json!({"metadata": many})).send(&s).await.rules(), ["/metadata length"]);
    let unchanged = read(&ann, bob.id).await;
    assert_eq!(unchanged.version, 3);
}

#[tokio::test]
async fn an_edit_that_changes_nothing_is_none() {
    let s = TestServer::start().await;
    let ann = s.signed_in("ann", "support").await;
    let bob = ann.call(&new("bob")).await.unwrap().0;
    let me = ann.call(&Me {}).await.unwrap();
    let before = count(&s, "log");
    let facts = MetadataPatch(BTreeMap::from([("gone".to_owned(), None)]));
    for op in [
        edit(bob.id),
        rename(bob.id, "bob"),
        UpdateUser { email: Change::Set("BOB@example.org".parse().unwrap()), ..edit(bob.id) },
        UpdateUser { external_id: Change::Set(None), ..edit(bob.id) },
        UpdateUser { metadata: Change::Set(facts), ..edit(bob.id) },
    ] {
        assert_eq!(ann.call(&op).await.unwrap(), bob);
    }
    assert_eq!(ann.call(&UpdateMe { name: Change::Keep }).await.unwrap(), me);
    assert_eq!(ann.call(&UpdateMe { name: Change::Set(me.name.clone()) }).await.unwrap(), me);
    assert_eq!(count(&s, "log"), before);
}

#[tokio::test]
async fn what_is_unique_is_named_when_it_is_taken() {
    let s = TestServer::start().await;
    let owner = s.signed_in("owner", "owner").await;
    let taken = CreateUser { external_id: Some("x-1".parse().unwrap()), ..new("bob") };
    let bob = owner.call(&taken).await.unwrap().0;
    let eve = owner.call(&new("eve")).await.unwrap().0;
    let field = |error: ApiError| {
        assert_eq!(error.code, ErrorCode::AlreadyExists);
        error.details["field"].as_str().unwrap().to_owned()
    };
    assert_eq!(field(refusal(owner.call(&new("bob")).await)), "email");
    assert_eq!(field(refusal(owner.call(&new("BOB")).await)), "email");
    let other = CreateUser { external_id: Some("x-1".parse().unwrap()), ..new("dan") };
    assert_eq!(field(refusal(owner.call(&other).await)), "externalId");
    let email = UpdateUser { email: Change::Set(bob.email.clone()), ..edit(eve.id) };
    assert_eq!(field(refusal(owner.call(&email).await)), "email");
    let external = UpdateUser { external_id: Change::Set(bob.external_id.clone()), ..edit(eve.id) };
    assert_eq!(field(refusal(owner.call(&external).await)), "externalId");
    // who is deleted gives the email back, and their own row stays
    owner.call(&DeleteUser { id: bob.id }).await.unwrap();
    let second = owner.call(&new("bob")).await.unwrap().0;
    assert_ne!(second.id, bob.id);
    let gone = read(&owner, bob.id).await;
    assert_eq!((gone.status.as_str(), gone.email), ("deleted", bob.email));
    for refused in [
        code(owner.call(&rename(bob.id, "x")).await),
        code(owner.call(&SuspendUser { id: bob.id, reason: None }).await),
        code(owner.call(&ActivateUser { id: bob.id, reason: None }).await),
        code(owner.call(&DeleteUser { id: bob.id }).await),
        code(owner.call(&SetUserRoles { id: bob.id, roles: vec![] }).await),
        code(owner.call(&ResetPassword { id: bob.id }).await),
    ] {
        assert_eq!(refused, ErrorCode::IllegalTransition);
    }
}

#[tokio::test]
async fn of_sixteen_creates_of_one_email_at_once_one_is_made() {
    let s = TestServer::start().await;
    let ann = s.signed_in("ann", "support").await;
    let all = join_all((0..16).map(|_| {
        let ann = ann.clone();
        async move { ann.call(&new("bob")).await }
    }))
    .await;
    let (done, refused): (Vec<_>, Vec<_>) = all.into_iter().partition(Result::is_ok);
    assert_eq!(done.len(), 1);
    assert!(refused.into_iter().all(|one| code(one) == ErrorCode::AlreadyExists));
}

#[tokio::test]
async fn one_key_is_one_effect_and_one_answer() {
    let mut s = TestServer::start().await;
    let ann = s.signed_in("ann", "support").await;
    let token = access(&ann).await;
    let key = key();
    let create = |name: &str| {
        post("/v1/users", &json!({"email": "bob@b.io", "name": name}))
            .bearer(&token)
            .header("idempotency-key", &key)
    };
    let first = create("bob").send(&s).await;
    assert_eq!((first.status, first.header("idempotency-replayed")), (201, None));
    let quoted = post("/v1/users", &json!({"email": "bob@b.io", "name": "bob"}))
        .bearer(&token)
        .header("idempotency-key", format!("\"{key}\""));
    for again in [create("bob").send(&s).await, quoted.send(&s).await] {
        assert_eq!((again.status, again.header("idempotency-replayed")), (201, Some("true")));
        assert_eq!((again.data(), &again.json["meta"]["replayed"]), (first.data(), &json!(true)));
        assert_eq!(again.header("location"), first.header("location"));
        assert_ne!(again.json["meta"]["requestId"], first.json["meta"]["requestId"]);
    }
    assert_eq!(create("eve").send(&s).await.verdict(), "422 IDEMPOTENCY_KEY_REUSED");
    let elsewhere = post("/v1/users/bulk", &json!({"mode": "atomic", "items": []}))
        .bearer(&token)
        .header("idempotency-key", &key);
    assert_eq!(elsewhere.send(&s).await.verdict(), "422 IDEMPOTENCY_KEY_REUSED");
    assert_eq!(count(&s, "users WHERE email = 'bob@b.io'"), 1);
    s.restart().await;
    let after = create("bob").send(&s).await;
    assert_eq!(
        (after.status, after.data(), after.header("idempotency-replayed")),
        (201, first.data(), Some("true"))
    );
    // the edit of the replayed person is not undone by looking back
    assert_eq!(count(&s, "log WHERE type = 'user.created'"), 2);
}

#[tokio::test]
async fn duplicates_in_flight_wait_for_the_first() {
    let s = TestServer::start().await;
    let ann = s.signed_in("ann", "support").await;
    let key = key();
    let all = join_all((0..16).map(|_| {
        let (ann, key) = (ann.clone(), key.clone());
        async move { ann.send(&new("bob"), &under(&key)).await.unwrap() }
    }))
    .await;
    assert!(all.iter().all(|one| one.answer == all[0].answer));
    assert_eq!(all.iter().filter(|one| !one.replayed).count(), 1);
    assert_eq!(count(&s, "log WHERE type = 'user.created'"), 2);
    // two requests that fight for one key: one wins, the other is told
    let key = crate::support::key();
    let both = join_all(["eve", "dan"].map(|name| {
        let (ann, key) = (ann.clone(), key.clone());
        async move { ann.send(&new(name), &under(&key)).await }
    }))
    .await;
    let (done, refused): (Vec<_>, Vec<_>) = both.into_iter().partition(Result::is_ok);
    assert_eq!((done.len(), refused.len()), (1, 1));
    assert!(refused.into_iter().all(|one| code(one) == ErrorCode::IdempotencyKeyReused));
}

#[tokio::test]
async fn a_refusal_by_a_rule_is_the_verdict_of_its_key() {
    let s = TestServer::start().await;
    let owner = s.signed_in("owner", "owner").await;
    let bob = owner.call(&new("bob")).await.unwrap().0;
    let key = key();
    let first = refusal(owner.send(&new("bob"), &under(&key)).await);
    owner.call(&DeleteUser { id: bob.id }).await.unwrap();
    // it would work now, but who was told no must not find it done later
    assert_eq!(refusal(owner.send(&new("bob"), &under(&key)).await), first);
    assert_eq!(count(&s, "users WHERE email = 'bob@example.org' AND status = 'active'"), 0);
    let key = crate::support::key();
    let stale = How { if_match: Some(7), key: Some(key.clone()), ..How::default() };
    let eve = owner.call(&new("eve")).await.unwrap().0;
    assert_eq!(code(owner.send(&rename(eve.id, "E"), &stale).await), ErrorCode::VersionMismatch);
    assert_eq!(code(owner.send(&rename(eve.id, "E"), &stale).await), ErrorCode::VersionMismatch);
    let token = access(&owner).await;
    let replayed = request("PATCH", format!("/v1/users/{}", eve.id))
        .json(&json!({"name": "E"}))
        .header("idempotency-key", &key)
        .header("if-match", "7")
        .bearer(&token)
        .send(&s)
        .await;
    assert_eq!((replayed.status, replayed.header("idempotency-replayed")), (412, Some("true")));
}

#[tokio::test]
async fn what_never_reached_the_rules_leaves_the_key_free() {
    let s = TestServer::start().await;
    let owner = s.signed_in("owner", "owner").await;
    let ann = s.person("ann", "customer").await;
    let token = access(&s.sign_in(&ann).await).await;
    let key = key();
    let create = |name: &str, token: &str| {
        post("/v1/users", &json!({"email": "bob@b.io", "name": name}))
            .bearer(token)
            .header("idempotency-key", &key)
    };
    assert_eq!(create("bob", "nonsense").send(&s).await.status, 401);
    assert_eq!(create("bob", &token).send(&s).await.status, 403);
    owner.call(&SetUserRoles { id: ann.id, roles: vec!["support".parse().unwrap()] }).await.unwrap();
    assert_eq!(create("", &token).send(&s).await.status, 422);
    let verdict = get(format!("/v1/idempotency/{key}")).bearer(&token).send(&s).await;
    assert_eq!(verdict.data()["state"], "unknown");
    assert_eq!(create("bob", &token).send(&s).await.status, 201);
}

#[tokio::test]
async fn keys_of_different_callers_never_meet() {
    let s = TestServer::start().await;
    let (ann, eve) = (s.signed_in("ann", "support").await, s.signed_in("eve", "support").await);
    let key = key();
    let mine = ann.send(&new("bob"), &under(&key)).await.unwrap();
    let theirs = eve.send(&new("dan"), &under(&key)).await.unwrap();
    assert!(!mine.replayed && !theirs.replayed);
    let verdict = ann.call(&GetVerdict { key: key.clone() }).await.unwrap();
    assert_eq!((verdict.state, verdict.status), (VerdictState::Done, Some(201)));
    assert_eq!(verdict.data.unwrap()["id"], mine.answer.0.id.to_string());
    let dan = s.signed_in("stranger", "support").await;
    assert_eq!(dan.call(&GetVerdict { key }).await.unwrap().state, VerdictState::Unknown);
}

#[tokio::test]
async fn a_verdict_can_be_asked_for_and_is_forgotten_in_the_end() {
    let s = TestServer::start().await;
    let ann = s.person("ann", "support").await;
    let client = s.sign_in(&ann).await;
    let (done, refused) = (key(), key());
    client.send(&new("bob"), &under(&done)).await.unwrap();
    let _ = client.send(&new("bob"), &under(&refused)).await;
    let verdict = client.call(&GetVerdict { key: refused }).await.unwrap();
    assert_eq!((verdict.state, verdict.status), (VerdictState::Done, Some(409)));
    assert_eq!(verdict.error.unwrap().code, ErrorCode::AlreadyExists);
    s.clock.forward(Duration::from_secs(71 * 3_600));
    let client = s.sign_in(&ann).await;
    assert!(client.send(&new("bob"), &under(&done)).await.unwrap().replayed);
    s.clock.forward(Duration::from_secs(2 * 3_600));
    let client = s.sign_in(&ann).await;
    assert_eq!(client.call(&GetVerdict { key: done.clone() }).await.unwrap().state, VerdictState::Unknown);
    assert_eq!(code(client.send(&new("bob"), &under(&done)).await), ErrorCode::AlreadyExists);
}

#[tokio::test]
async fn what_is_shown_once_is_not_shown_again() {
    let s = TestServer::start().await;
    let owner = s.signed_in("owner", "owner").await;
    let bob = owner.call(&new("bob")).await.unwrap().0;
    let key = key();
    let first = owner.send(&ResetPassword { id: bob.id }, &under(&key)).await.unwrap().answer;
    let again = owner.send(&ResetPassword { id: bob.id }, &under(&key)).await.unwrap();
    assert!(again.replayed && again.answer.reset_token.is_none());
    assert_eq!(again.answer.expires_at, first.expires_at);
    let verdict = owner.call(&GetVerdict { key }).await.unwrap();
    assert_eq!(verdict.data.unwrap()["resetToken"], Value::Null);
    let token = first.reset_token.unwrap();
    for table in ["log", "idempotency_keys", "password_resets"] {
        let columns = match table {
            "log" => "data || changes",
            "idempotency_keys" => "COALESCE(body, '')",
            _ => "token_hash",
        };
        let rows = crate::support::rows(&s, &format!("SELECT {columns} AS value FROM {table}"));
        assert!(!rows.iter().any(|row| row.contains(&token)), "{table}");
    }
}

#[tokio::test]
async fn a_dry_run_says_what_would_happen_and_leaves_nothing() {
    let s = TestServer::start().await;
    let owner = s.signed_in("owner", "owner").await;
    let bob = s.person("bob", "customer").await;
    s.sign_in(&bob).await;
    let id = bob.id;
    let before = sizes(&s);
    let made = owner.send(&new("eve"), &dry()).await.unwrap();
    assert!(made.dry_run);
    assert_eq!(code(owner.call(&GetUser { id: made.answer.0.id, include: None }).await), ErrorCode::NotFound);
    assert_eq!(owner.send(&rename(id, "B"), &dry()).await.unwrap().answer.version, 2);
    assert_eq!(
        owner.send(&SuspendUser { id, reason: None }, &dry()).await.unwrap().answer.status.as_str(),
        "suspended"
    );
    assert_eq!(
        owner
            .send(&SetUserRoles { id, roles: vec!["admin".parse().unwrap()] }, &dry())
            .await
            .unwrap()
            .answer
            .roles,
        ["admin"]
    );
    owner.send(&DeleteUser { id }, &dry()).await.unwrap();
    owner.send(&ResetPassword { id }, &dry()).await.unwrap();
    assert_eq!(owner.send(&RevokeSessions { user_id: id }, &dry()).await.unwrap().answer.revoked, 1);
    owner.send(&UpdateMe { name: Change::Set("Me".parse().unwrap()) }, &dry()).await.unwrap();
    let bulk = BulkUsers { mode: BulkMode::Independent, items: vec![item(BulkOp::Delete, Some(id), None)] };
    assert_eq!(owner.send(&bulk, &dry()).await.unwrap().answer.items[0].status, 200);
    assert!(owner.send(&VerifyAudit {}, &dry()).await.unwrap().answer.ok);
    // rules and constraints hold all the same
    let duplicate = CreateUser { email: bob.email.clone(), ..new("x") };
    assert_eq!(code(owner.send(&duplicate, &dry()).await), ErrorCode::AlreadyExists);
    assert_eq!(
        code(owner.send(&rename(id, "x"), &How { if_match: Some(9), dry_run: true, ..How::default() }).await),
        ErrorCode::VersionMismatch
    );
    let me = owner.call(&Me {}).await.unwrap();
    assert_eq!(
        code(owner.send(&SetUserRoles { id: me.id, roles: vec![] }, &dry()).await),
        ErrorCode::LastOwner
    );
    assert_eq!(sizes(&s)[..3], [before[0], before[1] + 1, before[2]], "only the denial is noted down");
    assert_eq!(sizes(&s)[3..], before[3..]);
    assert_eq!(read(&owner, id).await, User { last_login_at: read(&owner, id).await.last_login_at, ..bob });
    let token = access(&owner).await;
    let raw = post("/v1/users?dryRun=true", &json!({"email": "eve@b.io", "name": "eve"}))
        .bearer(&token)
        .send(&s)
        .await;
    assert_eq!((raw.status, &raw.json["meta"]["dryRun"], raw.header("location")), (200, &json!(true), None));
}

#[tokio::test]
async fn a_dry_run_ignores_its_key() {
    let s = TestServer::start().await;
    let ann = s.signed_in("ann", "support").await;
    let key = key();
    let how = How { key: Some(key.clone()), dry_run: true, ..How::default() };
    ann.send(&new("bob"), &how).await.unwrap();
    assert!(!ann.send(&new("bob"), &under(&key)).await.unwrap().replayed);
    // and does not replay what the key did
    assert_eq!(code(ann.send(&new("bob"), &how).await), ErrorCode::AlreadyExists);
}

#[tokio::test]
async fn dry_runs_are_not_seen_by_their_neighbours() {
    let s = TestServer::start().await;
    let ann = s.signed_in("ann", "support").await;
    let all = join_all((0..32).map(|n| {
        let ann = ann.clone();
        async move {
            let how = if n % 2 == 0 { dry() } else { How::default() };
            // every dry run makes the same person, so one that was seen would be in the way
            let op = if n % 2 == 0 { new("ghost") } else { new(&format!("real{n}")) };
            ann.send(&op, &how).await.is_ok()
        }
    }))
    .await;
    assert!(all.into_iter().all(|done| done));
    assert_eq!(count(&s, "users"), 17);
}

#[tokio::test]
async fn the_last_active_owner_stays() {
    let s = TestServer::start().await;
    let owner = s.person("owner", "owner").await;
    let client = s.sign_in(&owner).await;
    let suspended = s.person("other", "owner").await;
    client.call(&SuspendUser { id: suspended.id, reason: None }).await.unwrap();
    let demote = SetUserRoles { id: owner.id, roles: vec!["admin".parse().unwrap()] };
    assert_eq!(code(client.call(&demote).await), ErrorCode::LastOwner);
    assert_eq!(code(client.call(&SuspendUser { id: owner.id, reason: None }).await), ErrorCode::SelfAction);
    assert_eq!(code(client.call(&DeleteUser { id: owner.id }).await), ErrorCode::SelfAction);
    client.call(&ActivateUser { id: suspended.id, reason: None }).await.unwrap();
    client.call(&demote).await.unwrap();
    assert_eq!(count(&s, "user_roles WHERE role_id = 'rol_00000000000000000000000001'"), 1);
}

#[tokio::test]
async fn two_owners_who_remove_each_other_leave_one() {
    let s = TestServer::start().await;
    for round in 0..3 {
        let people = [
            s.person(&format!("one{round}"), "owner").await,
            s.person(&format!("two{round}"), "owner").await,
        ];
        let clients = [s.sign_in(&people[0]).await, s.sign_in(&people[1]).await];
        let ended = join_all([0, 1].map(|n| {
            let (client, id) = (clients[n].clone(), people[1 - n].id);
            async move {
                match round {
                    0 => client.call(&SetUserRoles { id, roles: vec![] }).await.map(|_| ()),
                    1 => client.call(&SuspendUser { id, reason: None }).await.map(|_| ()),
                    _ => client.call(&DeleteUser { id }).await.map(|_| ()),
                }
            }
        }))
        .await;
        assert_eq!(ended.iter().filter(|one| one.is_ok()).count(), 1, "round {round}: {ended:?}");
        let left = "users JOIN user_roles ON user_id = users.id WHERE status = 'active' AND role_id = 'rol_00000000000000000000000001'";
        assert_eq!(count(&s, left), 1, "round {round}");
        // the one who is left makes room for the next round
        s.sql("DELETE FROM user_roles").await.unwrap();
    }
}

#[tokio::test]
async fn nobody_touches_who_holds_more() {
    let s = TestServer::start().await;
    let owner = s.signed_in("owner", "owner").await;
    let mighty = s.person("mighty", "owner").await;
    let live = s.sign_in(&mighty).await;
    let finance = s.person("finance", "finance").await;
    let (support, admin) = (s.signed_in("support", "support").await, s.signed_in("admin", "admin").await);
    for client in [&support, &admin] {
        for id in [mighty.id, finance.id] {
            for refused in [
                code(client.call(&rename(id, "x")).await),
                code(client.call(&edit(id)).await),
                code(client.call(&SuspendUser { id, reason: None }).await),
                code(client.call(&ActivateUser { id, reason: None }).await),
                code(client.call(&ResetPassword { id }).await),
                code(client.call(&RevokeSessions { user_id: id }).await),
            ] {
                assert_eq!(refused, ErrorCode::Escalation);
            }
            let bulk = |op, data| BulkUsers { mode: BulkMode::Atomic, items: vec![item(op, Some(id), data)] };
            assert_eq!(code(client.call(&bulk(BulkOp::Suspend, None)).await), ErrorCode::Escalation);
            assert_eq!(
                code(client.call(&bulk(BulkOp::Update, Some(json!({"name": "x"})))).await),
                ErrorCode::Escalation
            );
        }
        let session = List::<Session>::new().with("userId", Op::Eq, &mighty.id.to_string()).unwrap();
        let id = owner.call(&session).await.unwrap().rows[0].id;
        assert_eq!(code(client.call(&RevokeSession { id }).await), ErrorCode::Escalation);
    }
    for id in [mighty.id, finance.id] {
        assert_eq!(code(admin.call(&DeleteUser { id }).await), ErrorCode::Escalation);
        assert_eq!(code(admin.call(&SetUserRoles { id, roles: vec![] }).await), ErrorCode::Escalation);
    }
    // suspended or not, it is what they hold that counts
    owner.call(&SuspendUser { id: mighty.id, reason: None }).await.unwrap();
    assert_eq!(
        code(support.call(&ActivateUser { id: mighty.id, reason: None }).await),
        ErrorCode::Escalation
    );
    assert_eq!(code(live.call(&Me {}).await), ErrorCode::SessionRevoked);
}

#[tokio::test]
async fn nobody_gives_more_than_they_hold() {
    let s = TestServer::start().await;
    let (admin, support) = (s.signed_in("admin", "admin").await, s.signed_in("support", "support").await);
    let bob = admin.call(&new("bob")).await.unwrap().0;
    let roles = |names: &[&str]| names.iter().map(|name| name.parse().unwrap()).collect::<Vec<_>>();
    for too_much in [&["owner"][..], &["finance"], &["support", "finance"]] {
        assert_eq!(
            code(admin.call(&SetUserRoles { id: bob.id, roles: roles(too_much) }).await),
            ErrorCode::Escalation
        );
        let create = CreateUser { roles: Some(roles(too_much)), ..new("eve") };
        assert_eq!(code(admin.call(&create).await), ErrorCode::Escalation);
        let body = json!({"email": "eve@b.io", "name": "eve", "roles": too_much});
        let bulk =
            BulkUsers { mode: BulkMode::Independent, items: vec![item(BulkOp::Create, None, Some(body))] };
        assert_eq!(
            admin.call(&bulk).await.unwrap().items[0].error.as_ref().unwrap().code,
            ErrorCode::Escalation
        );
    }
    let me = admin.call(&Me {}).await.unwrap();
    assert_eq!(
        code(admin.call(&SetUserRoles { id: me.id, roles: roles(&["admin", "finance"]) }).await),
        ErrorCode::Escalation
    );
    let given = admin
        .call(&SetUserRoles { id: bob.id, roles: roles(&["support", "auditor", "support"]) })
        .await
        .unwrap();
    assert_eq!(given.roles, ["auditor", "support"]);
    let unknown = refusal(admin.call(&SetUserRoles { id: bob.id, roles: roles(&["emperor"]) }).await);
    assert_eq!(
        (unknown.code, unknown.violations()[0].pointer.as_str()),
        (ErrorCode::ValidationFailed, "/roles")
    );
    assert_eq!(read(&admin, bob.id).await.roles, ["auditor", "support"]);
    // roles in a create need a permission of their own, and so do ready hashes
    let missing = |error: ApiError| (error.code, error.details["missing"].clone());
    let create = CreateUser { roles: Some(roles(&["customer"])), ..new("eve") };
    assert_eq!(missing(refusal(support.call(&create).await)), (ErrorCode::Forbidden, json!(["roles:grant"])));
    let hash = "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaGhhc2g";
    let create = CreateUser { password_hash: Some(hash.parse().unwrap()), ..new("eve") };
    assert_eq!(
        missing(refusal(support.call(&create).await)),
        (ErrorCode::Forbidden, json!(["credentials:write"]))
    );
    assert_eq!(count(&s, "users WHERE email LIKE 'eve%'"), 0);
}

fn item(op: BulkOp, id: Option<UserId>, data: Option<Value>) -> BulkItem {
    BulkItem { op, id, if_match: None, data }
}

#[tokio::test]
async fn independent_items_stand_and_fall_alone() {
    let s = TestServer::start().await;
    let owner = s.signed_in("owner", "owner").await;
    let (bob, eve) = (owner.call(&new("bob")).await.unwrap().0, owner.call(&new("eve")).await.unwrap().0);
    let before = count(&s, "log");
    let items = vec![
        item(BulkOp::Create, None, Some(json!({"email": "dan@b.io", "name": "dan"}))),
        item(BulkOp::Create, None, Some(json!({"email": "bob@example.org", "name": "again"}))),
        item(BulkOp::Update, Some(bob.id), Some(json!({"name": "Robert"}))),
        BulkItem { if_match: Some(1), ..item(BulkOp::Update, Some(bob.id), Some(json!({"name": "x"}))) },
        item(BulkOp::Suspend, Some(eve.id), Some(json!({"reason": "left"}))),
        item(BulkOp::Suspend, Some(eve.id), None),
        item(BulkOp::Activate, Some(eve.id), None),
        item(BulkOp::Delete, Some(eve.id), None),
        item(BulkOp::Update, None, Some(json!({"name": "x"}))),
        item(BulkOp::Create, None, Some(json!({"email": "x", "nope": 1}))),
        item(BulkOp::Delete, Some("usr_01h455vb4pex5vsknk084sn02q".parse().unwrap()), None),
        item(BulkOp::Create, None, Some(json!({"email": "dan@b.io", "name": "twin of the first item"}))),
    ];
    let done = owner.call(&BulkUsers { mode: BulkMode::Independent, items }).await.unwrap().items;
    let told: Vec<String> = done
        .iter()
        .map(|one| {
            format!(
                "{} {} {}",
                one.index,
                one.status,
                one.error.as_ref().map_or("", |error| error.code.as_str())
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            "0 201 ",
            "1 409 ALREADY_EXISTS",
            "2 200 ",
            "3 412 VERSION_MISMATCH",
            "4 200 ",
            "5 409 ILLEGAL_TRANSITION",
            "6 200 ",
            "7 200 ",
            "8 422 VALIDATION_FAILED",
            "9 422 VALIDATION_FAILED",
            "10 404 NOT_FOUND",
            "11 409 ALREADY_EXISTS",
        ]
    );
    assert_eq!(done[2].data.as_ref().unwrap().name.as_str(), "Robert");
    assert!(done[7].data.is_none());
    assert_eq!(count(&s, "log") - before, 5, "what was refused is not noted down");
    assert_eq!(read(&owner, eve.id).await.status.as_str(), "deleted");
    assert!(owner.call(&VerifyAudit {}).await.unwrap().ok);
}

#[tokio::test]
async fn an_atomic_bulk_is_all_or_nothing() {
    let s = TestServer::start().await;
    let owner = s.signed_in("owner", "owner").await;
    let bob = owner.call(&new("bob")).await.unwrap().0;
    let before = sizes(&s);
    let items = vec![
        item(BulkOp::Create, None, Some(json!({"email": "dan@b.io", "name": "dan"}))),
        item(BulkOp::Delete, Some(bob.id), None),
        item(BulkOp::Update, Some(bob.id), Some(json!({"name": "x"}))),
    ];
    let bulk = BulkUsers { mode: BulkMode::Atomic, items: items.clone() };
    let refused = refusal(owner.call(&bulk).await);
    assert_eq!((refused.code, &refused.details["index"]), (ErrorCode::IllegalTransition, &json!(2)));
    assert_eq!(
        refused.details["items"],
        json!([
            {"index": 0, "status": 409, "code": "BATCH_ABORTED"},
            {"index": 1, "status": 409, "code": "BATCH_ABORTED"},
            {"index": 2, "status": 409, "code": "ILLEGAL_TRANSITION"},
        ])
    );
    let (mut now, mut then) = (sizes(&s), before);
    // the verdicts are kept under the keys that the client made
    (now[2], then[2]) = (0, 0);
    assert_eq!(now, then);
    assert_eq!(read(&owner, bob.id).await, bob);
    let fine = BulkUsers { mode: BulkMode::Atomic, items: items[..2].to_vec() };
    let done = owner.call(&fine).await.unwrap().items;
    assert_eq!(done.iter().map(|one| one.status).collect::<Vec<_>>(), [201, 200]);
    assert!(owner.call(&VerifyAudit {}).await.unwrap().ok);
}

#[tokio::test]
async fn what_is_wrong_with_a_bulk_item_is_said_from_the_top_of_the_body() {
    let s = TestServer::start().await;
    let owner = s.signed_in("owner", "owner").await;
    let items = vec![
        item(BulkOp::Create, None, Some(json!({"email": "dan@b.io", "name": "dan"}))),
        item(BulkOp::Create, None, Some(json!({"email": "no", "name": "", "more": 1}))),
        item(BulkOp::Suspend, None, None),
    ];
    let pointers = |error: &ApiError| -> Vec<String> {
        error.violations().into_iter().map(|violation| violation.pointer).collect()
    };
    let each = BulkUsers { mode: BulkMode::Independent, items: items.clone() };
    let done = owner.call(&each).await.unwrap().items;
    let wrong: Vec<_> = done.iter().filter_map(|one| one.error.as_ref()).map(pointers).collect();
    let of_data = ["/items/1/data/more", "/items/1/data/email", "/items/1/data/name"];
    assert_eq!(wrong, [of_data.map(str::to_owned).to_vec(), vec!["/items/2/id".to_owned()]]);
    let all = BulkUsers { mode: BulkMode::Atomic, items: items[1..].to_vec() };
    assert_eq!(pointers(&refusal(owner.call(&all).await))[0], "/items/0/data/more");
}

#[tokio::test]
async fn a_bulk_item_needs_the_permission_of_its_operation() {
    let s = TestServer::start().await;
    let support = s.signed_in("support", "support").await;
    let bob = support.call(&new("bob")).await.unwrap().0;
    let items = vec![item(BulkOp::Delete, Some(bob.id), None), item(BulkOp::Suspend, Some(bob.id), None)];
    let done =
        support.call(&BulkUsers { mode: BulkMode::Independent, items: items.clone() }).await.unwrap().items;
    let error = done[0].error.as_ref().unwrap();
    assert_eq!(
        (done[0].status, error.code, &error.details["missing"]),
        (403, ErrorCode::Forbidden, &json!(["users:delete"]))
    );
    assert_eq!(done[1].status, 200);
    // a probe inside a bulk leaves its row as any other
    assert_eq!(count(&s, "log WHERE type = 'access.denied'"), 1);
    assert_eq!(code(support.call(&BulkUsers { mode: BulkMode::Atomic, items }).await), ErrorCode::Forbidden);
    let me = support.call(&Me {}).await.unwrap();
    let own = BulkUsers { mode: BulkMode::Atomic, items: vec![item(BulkOp::Suspend, Some(me.id), None)] };
    assert_eq!(code(support.call(&own).await), ErrorCode::SelfAction);
}

#[tokio::test]
async fn a_thousand_items_fit_into_one_bulk() {
    let s = TestServer::start().await;
    let owner = s.signed_in("owner", "owner").await;
    let items = (0..1_000)
        .map(|n| item(BulkOp::Create, None, Some(json!({"email": format!("p{n}@b.io"), "name": "p"}))))
        .collect();
    let done = owner.call(&BulkUsers { mode: BulkMode::Atomic, items }).await.unwrap().items;
    assert_eq!((done.len(), done[999].index, done[999].status), (1_000, 999, 201));
    assert!(owner.call(&VerifyAudit {}).await.unwrap().ok);
}

#[tokio::test]
async fn sixty_four_creates_at_once_all_land() {
    let s = TestServer::start().await;
    let owner = s.signed_in("owner", "owner").await;
    let all = join_all((0..64).map(|n| {
        let owner = owner.clone();
        async move { owner.call(&new(&format!("p{n}"))).await.unwrap().0 }
    }))
    .await;
    let mut ids: Vec<UserId> = all.iter().map(|user| user.id).collect();
    ids.sort_by_key(ToString::to_string);
    ids.dedup();
    assert_eq!((ids.len(), count(&s, "users")), (64, 65));
    let log = owner
        .call(&but(List::<AuditEntry>::new(), |list| {
            list.after = Some(0);
            list.page_size = Some(1_000);
        }))
        .await
        .unwrap();
    let seqs: Vec<i64> = log.rows.iter().map(|row| row.0.seq).collect();
    assert_eq!(seqs, (1..=seqs.len() as i64).collect::<Vec<_>>());
    assert!(owner.call(&VerifyAudit {}).await.unwrap().ok);
}

#[tokio::test]
async fn rights_that_are_withdrawn_while_a_write_waits_are_gone() {
    let s = TestServer::start().await;
    let owner = s.signed_in("owner", "owner").await;
    let sam = s.person("sam", "support").await;
    let support = s.sign_in(&sam).await;
    // edits of one person queue behind each other while the role goes
    let bob = owner.call(&new("bob")).await.unwrap().0;
    let edits = join_all((0..40).map(|n| {
        let support = support.clone();
        async move { support.call(&rename(bob.id, &format!("Bob {n}"))).await.map(drop) }
    }));
    let withdraw = SetUserRoles { id: sam.id, roles: Vec::new() };
    let (edits, withdrawn) = futures_util::future::join(edits, owner.call(&withdraw)).await;
    withdrawn.unwrap();
    // by the log: nothing of sam's stands behind the withdrawal, but, on PostgreSQL, what was running
    // beside it on the other connections
    let behind = format!(
        "log WHERE actor_id = '{0}' AND type = 'user.updated' AND seq > \
         (SELECT MAX(seq) FROM log WHERE type = 'user.roles_changed' AND resource_id = '{0}')",
        sam.id
    );
    assert!(count(&s, &behind) <= if s.is_postgres() { 3 } else { 0 });
    let refused = edits.into_iter().filter_map(Result::err);
    assert!(refused.map(|why| code::<()>(Err(why))).all(|code| code == ErrorCode::Forbidden));
}
