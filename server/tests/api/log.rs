//! The one log: a row for everything, without gaps, chained, append-only, and without secrets.

use bursar_server::testing::TestServer;
use bursar_shared::{
    client::Client,
    decode::Change,
    operations::{
        auth::{ChangePassword, Me, RevokeSessions, SetPassword, UpdateMe},
        log::{AuditEntry, AuditReport, Event, GetAuditEntry, VerifyAudit},
        users::{ActivateUser, DeleteUser, ResetPassword, SetUserRoles, SuspendUser, UpdateUser},
    },
    page::List,
};
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::{
    PASSWORD, Random, access, but, count, get, key, login, new, post, rows, secret, seed, tokens,
};

async fn log(client: &Client) -> Vec<Event> {
    let list = but(List::<AuditEntry>::new(), |list| {
        list.after = Some(0);
        list.page_size = Some(1_000);
    });
    client.call(&list).await.unwrap().rows.into_iter().map(|entry| entry.0).collect()
}

async fn verify(client: &Client) -> AuditReport {
    client.call(&VerifyAudit {}).await.unwrap()
}

/// The kinds of rows that `work` leaves.
async fn leaves<T>(client: &Client, work: impl Future<Output = T>) -> Vec<String> {
    let before = log(client).await.len();
    work.await;
    log(client).await.split_off(before).into_iter().map(|event| event.kind).collect()
}

#[tokio::test]
async fn every_write_leaves_its_rows_and_no_others() {
    let s = TestServer::start().await;
    let owner = s.signed_in("owner", "owner").await;
    let bob = owner.call(&new("bob")).await.unwrap().0;
    let (id, fresh) = (bob.id, "a fresh horse battery 7");
    let token = async { owner.call(&ResetPassword { id }).await.unwrap().reset_token.unwrap() };
    let mut reset = String::new();
    assert_eq!(leaves(&owner, async { reset = token.await }).await, ["user.password_reset"]);
    let set = SetPassword { reset_token: secret(&reset), new_password: fresh.parse().unwrap() };
    let anonymous = s.anonymous();
    assert_eq!(leaves(&owner, anonymous.call(&set)).await, ["user.password_changed"]);
    assert_eq!(leaves(&owner, anonymous.call(&login(bob.email.as_str(), fresh))).await, ["session.created"]);
    assert_eq!(
        leaves(&owner, anonymous.call(&login(bob.email.as_str(), "wrong"))).await,
        ["session.login_failed"]
    );
    let rename = |name: &str| UpdateUser {
        id,
        email: Change::Keep,
        name: Change::Set(name.parse().unwrap()),
        external_id: Change::Keep,
        metadata: Change::Keep,
    };
    assert_eq!(leaves(&owner, owner.call(&rename("Robert"))).await, ["user.updated"]);
    assert_eq!(leaves(&owner, owner.call(&rename("Robert"))).await, Vec::<String>::new());
    let roles = SetUserRoles { id, roles: vec!["auditor".parse().unwrap()] };
    assert_eq!(leaves(&owner, owner.call(&roles)).await, ["user.roles_changed"]);
    assert_eq!(
        leaves(&owner, owner.call(&SuspendUser { id, reason: None })).await,
        ["user.suspended", "session.revoked"]
    );
    assert_eq!(leaves(&owner, owner.call(&SuspendUser { id, reason: None })).await, Vec::<String>::new());
    assert_eq!(
        leaves(&owner, anonymous.call(&login(bob.email.as_str(), fresh))).await,
        ["session.login_failed"]
    );
    assert_eq!(leaves(&owner, owner.call(&ActivateUser { id, reason: None })).await, ["user.activated"]);
    let bobs = s.anonymous();
    bobs.sign_in(bob.email.clone(), secret(fresh)).await.unwrap();
    assert_eq!(
        leaves(&owner, bobs.call(&UpdateMe { name: Change::Set("Bob".parse().unwrap()) })).await,
        ["user.updated"]
    );
    assert_eq!(leaves(&owner, bobs.call(&rename("x"))).await, ["access.denied"]);
    let change = ChangePassword {
        current_password: secret(fresh),
        new_password: "another horse battery 8".parse().unwrap(),
    };
    assert_eq!(leaves(&owner, bobs.call(&change)).await, ["user.password_changed"]);
    assert_eq!(leaves(&owner, owner.call(&RevokeSessions { user_id: id })).await, ["session.revoked"]);
    assert_eq!(leaves(&owner, owner.call(&RevokeSessions { user_id: id })).await, Vec::<String>::new());
    assert_eq!(leaves(&owner, owner.call(&DeleteUser { id })).await, ["user.deleted"]);
    assert_eq!(leaves(&owner, owner.call(&Me {})).await, Vec::<String>::new());
    assert_eq!(leaves(&owner, owner.call(&VerifyAudit {})).await, ["audit.verified"]);
    let eve = s.signed_in("eve", "customer").await;
    assert_eq!(leaves(&owner, eve.sign_out()).await, ["session.revoked"]);
    assert!(verify(&owner).await.ok);
}

#[tokio::test]
async fn a_row_says_who_did_what_to_what_and_when() {
    let s = TestServer::start().await;
    let owner = s.signed_in("owner", "owner").await;
    let me = owner.call(&Me {}).await.unwrap();
    let token = access(&owner).await;
    let body = json!({"email": "bob@b.io", "name": "bob"});
    let made = post("/v1/users", &body).header("x-request-id", "the-create").bearer(&token).send(&s).await;
    let id = made.data()["id"].as_str().unwrap();
    let edited = crate::support::request("PATCH", format!("/v1/users/{id}"))
        .json(&json!({"name": "Bob", "metadata": {"a": "1"}}));
    edited.header("x-request-id", "the-edit").bearer(&token).send(&s).await;
    let row = |request: &'static str| {
        let request = get(format!("/v1/audit?filter[requestId]={request}")).bearer(&token);
        let s = &s;
        async move { request.send(s).await.data()[0].clone() }
    };
    let create = row("the-create").await;
    assert_eq!((&create["type"], &create["data"]), (&json!("user.created"), made.data()));
    assert_eq!(create["actor"], json!({"id": me.id, "kind": "user", "ip": "127.0.0.1"}));
    assert_eq!(create["resource"], json!({"type": "user", "id": id, "version": 1}));
    assert_eq!(create["changes"], json!({}));
    let edit = row("the-edit").await;
    assert_eq!(edit["changes"], json!({"name": ["bob", "Bob"], "metadata": [{}, {"a": "1"}]}));
    assert_eq!(edit["resource"]["version"], 2);
    let one = owner.call(&GetAuditEntry { id: edit["id"].as_str().unwrap().parse().unwrap() }).await.unwrap();
    assert_eq!(serde_json::to_value(one).unwrap(), edit);
    // who signs in is not signed in yet, and a stranger is nobody
    let first = log(&owner).await;
    let signed_in = first.iter().find(|event| event.kind == "session.created").unwrap();
    assert_eq!(signed_in.actor.id, Some(me.id.to_string()));
    let _ = s.anonymous().call(&login("nobody@b.io", "wrong")).await;
    let failed = log(&owner).await.pop().unwrap();
    assert_eq!(
        (failed.kind.as_str(), failed.actor.kind.as_str(), failed.actor.id),
        ("session.login_failed", "anonymous", None)
    );
    assert_eq!(failed.data["email"], "nobody@b.io");
}

#[tokio::test]
async fn thirty_two_writers_leave_no_gap() {
    let s = TestServer::start().await;
    let owner = s.signed_in("owner", "owner").await;
    let before = count(&s, "log");
    join_all((0..32).map(|writer| {
        let (owner, anonymous) = (owner.clone(), s.anonymous());
        async move {
            for n in 0..4 {
                let made = owner.call(&new(&format!("w{writer}n{n}"))).await.unwrap().0;
                // refusals and failures stand between them
                assert!(owner.call(&new(&format!("w{writer}n{n}"))).await.is_err());
                if n == 0 && writer % 8 == 0 {
                    assert!(anonymous.call(&login(made.email.as_str(), "wrong")).await.is_err());
                }
                owner.call(&SuspendUser { id: made.id, reason: None }).await.unwrap();
            }
        }
    }))
    .await;
    let log = log(&owner).await;
    assert_eq!(log.len() as i64 - before, 32 * 4 * 2 + 4);
    for (event, seq) in log.iter().zip(1..) {
        assert_eq!(event.seq, seq);
    }
    // what happened later to a person stands later
    let mut seen = std::collections::BTreeMap::new();
    for event in log.iter().filter(|event| event.resource.kind == "user") {
        let version = event.resource.version.unwrap();
        let last = seen.insert(event.resource.id.clone(), version);
        assert!(last.is_none_or(|last| last < version), "{event:?}");
    }
    assert_eq!(
        verify(&owner).await,
        AuditReport {
            ok: true,
            checked: log.len() as u64,
            head_seq: log.len() as i64,
            first_broken_seq: None
        }
    );
}

#[tokio::test]
async fn the_database_refuses_to_change_the_log() {
    let s = TestServer::start().await;
    let owner = s.signed_in("owner", "owner").await;
    owner.call(&new("bob")).await.unwrap();
    let before = log(&owner).await;
    let mut attacks = vec![
        "UPDATE log SET data = '{}' WHERE seq = 1",
        "UPDATE log SET seq = 99 WHERE seq = 1",
        "UPDATE log SET actor_id = NULL",
        "DELETE FROM log WHERE seq = 1",
        "DELETE FROM log",
        "INSERT INTO log SELECT 99, 'evt_x', type, at, actor_id, actor_kind, actor_ip, request_id, resource_type, resource_id, resource_version, data, changes, hash FROM log WHERE seq = 1",
        "DELETE FROM log_head",
        "UPDATE log_head SET seq = seq - 1",
        "INSERT INTO log_head (id, seq, hash) VALUES (2, 0, '')",
        "DELETE FROM users",
        "UPDATE users SET status = 'gone'",
        "UPDATE sessions SET generation = generation + 2",
        "UPDATE sessions SET generation = 0",
    ];
    if s.is_postgres() {
        attacks.extend(["TRUNCATE log", "TRUNCATE users CASCADE", "TRUNCATE log, log_head"]);
    } else {
        attacks.extend([
            "INSERT OR REPLACE INTO log SELECT * FROM log WHERE seq = 1",
            "REPLACE INTO log SELECT seq, id, 'user.updated', at, actor_id, actor_kind, actor_ip, request_id, resource_type, resource_id, resource_version, data, changes, hash FROM log WHERE seq = 1",
            "UPDATE OR REPLACE log SET seq = 1 WHERE seq = 2",
        ]);
    }
    for attack in attacks {
        assert!(s.sql(attack).await.is_err(), "{attack}");
    }
    // several rows at once: so far after the last, and with these ids
    let rows = |places: &[(i64, char)]| {
        let places: Vec<String> =
            places.iter().map(|(after, id)| format!("SELECT {after} AS after, 'evt_{id}' AS id")).collect();
        format!(
            "INSERT INTO log SELECT n.after + (SELECT MAX(seq) FROM log), n.id, type, at, actor_id, actor_kind, actor_ip, request_id, resource_type, resource_id, resource_version, data, changes, hash FROM log JOIN ({}) AS n ON 1 = 1 WHERE seq = 1 ORDER BY 1",
            places.join(" UNION ALL ")
        )
    };
    for (places, rule) in [
        (&[(2, 'a')][..], "log_has_no_gaps"),
        (&[(1, 'a'), (3, 'b')], "log_has_no_gaps"),
        (&[(2, 'a'), (3, 'b')], "log_has_no_gaps"),
        (&[(-99, 'a'), (1, 'b')], "log_"),
        (&[(1, 'a'), (2, 'b'), (2, 'c')], "log"),
        (&[(1, 'a'), (2, 'a')], "log"),
    ] {
        let why = s
            .sql(&format!("BEGIN; {}; COMMIT;", rows(places)))
            .await
            .expect_err(&format!("{places:?}"))
            .to_lowercase();
        assert!(why.contains(rule), "{places:?}: {why}");
        assert_eq!(log(&owner).await, before, "{places:?}");
    }
    // in their places they are let in: what is refused above is not refused for how it is said
    s.sql(&format!("BEGIN; {}; ROLLBACK;", rows(&[(1, 'a'), (2, 'b')]))).await.unwrap();
    assert_eq!(log(&owner).await, before);
    assert!(verify(&owner).await.ok);
}

#[tokio::test]
async fn who_tampers_with_the_log_is_found_at_the_first_row() {
    let mut random = Random(seed());
    let disarm = |postgres: bool| match postgres {
        true => "ALTER TABLE log DISABLE TRIGGER USER; ALTER TABLE log_head DISABLE TRIGGER USER",
        false => {
            "DROP TRIGGER log_is_not_edited; DROP TRIGGER log_is_not_deleted; DROP TRIGGER log_has_no_gaps; DROP TRIGGER log_head_is_kept; DROP TRIGGER log_head_goes_up"
        }
    };
    let column =
        *random.pick(&["data", "changes", "actor_ip", "request_id", "resource_id", "type", "actor_id"]);
    let at = 2 + random.below(4) as i64;
    let edit = format!("UPDATE log SET {column} = 'x' WHERE seq = {at}");
    for (what, attack, broken) in [
        ("an edit", edit, at),
        ("a time", "UPDATE log SET at = at + 1 WHERE seq = 3".to_owned(), 3),
        ("a row gone", "DELETE FROM log WHERE seq = 4".to_owned(), 4),
        ("the end gone", "DELETE FROM log WHERE seq = 8".to_owned(), 8),
        (
            "the end gone, and the head put back",
            "DELETE FROM log WHERE seq = 8; UPDATE log_head SET seq = 7".to_owned(),
            8,
        ),
        (
            "two rows swapped",
            "UPDATE log SET seq = -1 * seq WHERE seq IN (5, 6); UPDATE log SET seq = 11 + seq WHERE seq < 0"
                .to_owned(),
            5,
        ),
    ] {
        let s = TestServer::start().await;
        let owner = s.signed_in("owner", "owner").await;
        for n in 0..6 {
            owner.call(&new(&format!("p{n}"))).await.unwrap();
        }
        assert_eq!(count(&s, "log"), 8);
        let loosen = if s.is_postgres() {
            "ALTER TABLE log DROP CONSTRAINT log_seq_counts;"
        } else {
            "PRAGMA ignore_check_constraints = ON;"
        };
        s.sql(&format!("{};{loosen}{attack}", disarm(s.is_postgres()))).await.unwrap();
        let report =
            post("/v1/audit/verify?dryRun=true", &json!({})).bearer(&access(&owner).await).send(&s).await;
        assert_eq!(
            (&report.data()["ok"], &report.data()["firstBrokenSeq"]),
            (&json!(false), &json!(broken)),
            "{what}: {report:?}"
        );
    }
}

#[tokio::test]
async fn events_show_changes_of_what_the_reader_may_see_and_audit_everything() {
    let s = TestServer::start().await;
    let owner = s.signed_in("owner", "owner").await;
    let bob = s.person("bob", "customer").await;
    let bobs = s.sign_in(&bob).await;
    let _ = bobs.call(&List::<Event>::new()).await;
    let _ = s.anonymous().call(&login("bob@example.com", "wrong")).await;
    owner.call(&SuspendUser { id: bob.id, reason: None }).await.unwrap();
    let kinds = |client: Client| async move {
        let list = but(List::<Event>::new(), |list| list.page_size = Some(100));
        let mut kinds: Vec<String> =
            client.call(&list).await.unwrap().rows.into_iter().map(|event| event.kind).collect();
        kinds.sort();
        kinds.dedup();
        kinds
    };
    let finance = s.signed_in("finance", "finance").await;
    assert_eq!(kinds(finance.clone()).await, ["user.created", "user.suspended"]);
    assert_eq!(
        kinds(owner.clone()).await,
        ["session.created", "session.revoked", "user.created", "user.suspended"]
    );
    // asked for by name, what is hidden stays hidden, and is not counted
    let hidden =
        get("/v1/events?filter[type]=session.created").bearer(&access(&finance).await).send(&s).await;
    assert_eq!((hidden.ids().len(), hidden.pagination("total")), (0, &json!(0)));
    let all: Vec<String> = log(&owner).await.into_iter().map(|event| event.kind).collect();
    for kind in ["access.denied", "session.login_failed", "session.created", "user.suspended"] {
        assert!(all.iter().any(|one| one == kind), "{kind}: {all:?}");
    }
}

#[tokio::test]
async fn no_secret_is_ever_written_down_or_shown() {
    let s = TestServer::start().await;
    let owner = s.signed_in("owner", "owner").await;
    let token = access(&owner).await;
    let canaries = [
        "canary one of many 41",
        "canary two of many 42",
        "canary three of many 43",
        "canary four of many 44",
    ];
    let mut secrets: Vec<String> = canaries.iter().map(|text| (*text).to_owned()).collect();
    let mut shown = Vec::new();
    let body = json!({"email": "bob@b.io", "name": "bob", "password": canaries[0]});
    shown.push(post("/v1/users", &body).bearer(&token).header("idempotency-key", key()).send(&s).await);
    let hash = "$argon2id$v=19$m=8,t=1,p=1$c2FsdGNhbmFyeQ$Y2FuYXJ5Y2FuYXJ5Y2FuYXJ5Y2FuYXJ5Y2FuYXJ5Y2E";
    let body = json!({"email": "eve@b.io", "name": "eve", "passwordHash": hash});
    shown.push(post("/v1/users", &body).bearer(&token).header("idempotency-key", key()).send(&s).await);
    secrets.push("Y2FuYXJ5Y2FuYXJ5".to_owned());
    for (email, password) in
        [("bob@b.io", canaries[0]), ("bob@b.io", canaries[1]), ("nobody@b.io", canaries[1])]
    {
        let answer = post("/v1/auth/login", &json!({"email": email, "password": password})).send(&s).await;
        for name in ["accessToken", "refreshToken"] {
            if let Some(token) = answer.data()[name].as_str() {
                secrets.push(token.to_owned());
            }
        }
    }
    let id = shown[0].data()["id"].as_str().unwrap().to_owned();
    let reset = post(format!("/v1/users/{id}/password-reset"), &json!({}))
        .bearer(&token)
        .header("idempotency-key", key())
        .send(&s)
        .await;
    let one_time = reset.data()["resetToken"].as_str().unwrap().to_owned();
    secrets.push(one_time.clone());
    shown.push(
        post("/v1/auth/password", &json!({"resetToken": one_time, "newPassword": canaries[2]}))
            .send(&s)
            .await,
    );
    shown
        .push(post("/v1/auth/password", &json!({"resetToken": one_time, "newPassword": "x"})).send(&s).await);
    shown.push(post("/v1/auth/refresh", &json!({"refreshToken": canaries[3]})).send(&s).await);
    shown.push(
        post(
            "/v1/users",
            &json!({"email": "x", "name": "x", "password": [canaries[3]], "passwordHash": canaries[3]}),
        )
        .bearer(&token)
        .send(&s)
        .await,
    );
    let bulk = json!({"mode": "independent", "items": [{"op": "create", "data": {"email": "dan@b.io", "name": "dan", "password": canaries[3]}}]});
    shown.push(post("/v1/users/bulk", &bulk).bearer(&token).header("idempotency-key", key()).send(&s).await);
    for path in [
        "/v1/audit?pageSize=1000",
        "/v1/events?pageSize=1000",
        "/v1/users?include=sessions",
        "/v1/sessions",
        "/v1/stats",
        "/v1/me",
    ] {
        shown.push(get(path).bearer(&token).send(&s).await);
    }
    for path in ["/metrics", "/openapi.json", "/readyz"] {
        shown.push(get(path).send_unchecked(&s).await);
    }
    secrets.extend([PASSWORD.to_owned(), token, "$argon2".to_owned()]);
    for answer in &shown {
        let text = String::from_utf8_lossy(&answer.body);
        for secret in &secrets {
            // the document describes what a hash looks like
            assert!(
                !text.contains(secret.as_str()) || (secret == "$argon2" && text.contains("\"openapi\"")),
                "{secret} in {text}"
            );
        }
    }
    for query in [
        "SELECT data || changes || COALESCE(resource_id, '') AS value FROM log",
        "SELECT COALESCE(body, '') AS value FROM idempotency_keys",
        "SELECT token_hash AS value FROM password_resets",
        "SELECT COALESCE(refresh_key_hash, '') || COALESCE(user_agent, '') AS value FROM sessions",
    ] {
        let stored = rows(&s, query);
        assert!(query.contains("resets") || !stored.is_empty());
        for secret in &secrets {
            assert!(!stored.iter().any(|row| row.contains(secret.as_str())), "{secret} by {query}");
        }
    }
    let hashes = rows(&s, "SELECT COALESCE(password_hash, '$argon2id') AS value FROM users");
    assert!(hashes.iter().all(|hash| hash.starts_with("$argon2id")));
}

#[tokio::test]
async fn refreshes_are_audited_and_no_events() {
    let s = TestServer::start().await;
    let owner = s.signed_in("owner", "owner").await;
    let ann = s.person("ann", "support").await;
    let pair = tokens(&s, &ann).await;
    post("/v1/auth/refresh", &json!({"refreshToken": pair.refresh_token})).send(&s).await;
    let last = log(&owner).await.pop().unwrap();
    assert_eq!(
        (last.kind.as_str(), &last.data["generation"], last.actor.id),
        ("session.refreshed", &json!(2), Some(ann.id.to_string()))
    );
    let token = access(&owner).await;
    let events = get("/v1/events?filter[type]=session.refreshed").bearer(&token).send(&s).await;
    assert_eq!(events.data(), &Value::Array(vec![]));
}
