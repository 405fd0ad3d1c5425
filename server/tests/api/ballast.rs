//! A disk that is really full: what was kept back is given up, access is still taken away, nothing that was
//! acknowledged is lost, and all goes on when there is room.

use std::{fmt::Write, fs, os::unix::fs::MetadataExt, path::PathBuf, process::Stdio};

use bursar_server::{
    admin, start,
    testing::{TestServer, eventually},
};
use bursar_shared::{
    client::{Client, Error},
    error::ErrorCode,
    field::UserStatus,
    operation::Method,
    operations::{
        ALL,
        accounts::{Account, FreezeAccount},
        auth::{Logout, Refresh, RevokeSession, RevokeSessions, Sessions},
        ledger::VerifyLedger,
        log::VerifyAudit,
        transfers::CreateTransfer,
        users::{ActivateUser, GetUser, ResetPassword, SetUserRoles, SuspendUser},
    },
};
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::{
    faults::Daemon,
    money::{now, sound, transfer},
    nemesis::{Disk, Fault, SmallDisk},
    storage::{once, pair, until_refused},
    support::{
        Answer, PASSWORD, UNUSED_KEY, access, code, count, fill, get, key, login, new, post, request_of,
        secret, tokens, unknown_id,
    },
};

/// What is kept back, and what must be free beside it before everybody writes again.
const BALLAST: u64 = 64 << 20;
const MARGIN: u64 = 32 << 20;
/// A small disk has room for both, for the store, and not for more.
const MIB: usize = 128;

/// A store on a small disk, with its ballast.
pub async fn kept_back() -> Option<(SmallDisk, TestServer)> {
    kept_back_on(MIB).await
}

/// The same on one of so many MiB: as many more as the store is to grow.
pub async fn kept_back_on(size: usize) -> Option<(SmallDisk, TestServer)> {
    let disk = SmallDisk::of(size)?;
    let s = TestServer::start_with(&[("limits", "off"), ("data-dir", disk.path().to_str().unwrap())]).await;
    let ballast = ballast(&disk);
    eventually("room is kept back", || async { held(&ballast) == BALLAST }).await;
    Some((disk, s))
}

/// The same with an owner and two accounts, some money in the first.
async fn bank_kept_back() -> Option<(SmallDisk, TestServer, Client, [Account; 2])> {
    let (disk, s) = kept_back().await?;
    let owner = s.signed_in("owner", "owner").await;
    let (a, b) = pair(&owner).await;
    Some((disk, s, owner, [a, b]))
}

fn ballast(disk: &SmallDisk) -> PathBuf {
    disk.path().join("bursar.ballast")
}

/// How much of it is really there.
fn held(ballast: &PathBuf) -> u64 {
    fs::metadata(ballast).map_or(0, |facts| facts.len().min(facts.blocks() * 512))
}

/// A figure of `/metrics`.
pub async fn figure(url: &str, name: &str) -> u64 {
    let metrics = String::from_utf8(get("/metrics").send_to(url).await.body).unwrap();
    let line = metrics.lines().find(|line| line.split(' ').next() == Some(name));
    line.unwrap_or_else(|| panic!("{name} in {metrics}")).rsplit(' ').next().unwrap().parse().unwrap()
}

/// What readiness says of the disk.
async fn storage(url: &str) -> String {
    let answer = get("/readyz").send_to(url).await;
    assert_eq!(answer.status, 200, "who reads and revokes must get here: {answer:?}");
    answer.json["checks"]["storage"].as_str().unwrap().to_owned()
}

fn is_refused<T: std::fmt::Debug>(answer: Result<T, Error>) -> String {
    match answer {
        Err(Error::Api { status: 503, error, retry_after: Some(_), .. }) => {
            assert_eq!(error.code, ErrorCode::StorageFull, "{error:?}");
            error.message
        }
        other => panic!("not refused for want of room: {other:?}"),
    }
}

/// Moves money until there is no room for more; answers which transfer was refused, under which key, and how
/// much was moved before.
async fn short(client: &Client, a: &Account, b: &Account) -> (CreateTransfer, String, i64) {
    let op = transfer(a, b, 1);
    let (why, key, done) = until_refused(client, &op).await;
    let message = is_refused::<()>(Err(why));
    assert!(message.contains("nothing was changed") && message.contains("make room"), "{message}");
    (op, key, done)
}

/// All goes on: the same key does what was refused, once, and room is kept back again.
async fn goes_on(
    disk: &SmallDisk,
    url: &str,
    client: &Client,
    b: &Account,
    sent: (CreateTransfer, String, i64),
) {
    let (op, key, done) = sent;
    eventually("the same key does it", || async { once(client, &op, &key).await.is_ok() }).await;
    once(client, &op, &key).await.unwrap();
    assert_eq!(now(client, b).await.balances.posted, done + 1, "once");
    assert_eq!((held(&ballast(disk)), fs::metadata(ballast(disk)).unwrap().len()), (BALLAST, BALLAST));
    assert_eq!(fs::metadata(ballast(disk)).unwrap().mode() & 0o777, 0o600);
    assert_eq!(
        (figure(url, "bursar_storage_short").await, figure(url, "bursar_ballast_bytes").await),
        (0, BALLAST)
    );
    assert_eq!(storage(url).await, "ok");
    sound(client).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_full_disk_access_is_taken_away_and_nothing_else_is_written() {
    let Some((disk, mut s, owner, [a, b])) = bank_kept_back().await else { return };
    let [thief, clerk, other] = [
        s.person("thief", "admin").await,
        s.person("clerk", "support").await,
        s.person("other", "admin").await,
    ];
    let [stolen, of_clerk] = [s.sign_in(&thief).await, s.sign_in(&clerk).await];
    let sessions = of_clerk.call(&bursar_shared::operations::auth::MySessions {}).await.unwrap();
    let lost = tokens(&s, &thief).await;
    assert_eq!((figure(&s.url(), "bursar_storage_short").await, storage(&s.url()).await.as_str()), (0, "ok"));
    assert_eq!(figure(&s.url(), "bursar_ballast_bytes").await, BALLAST);

    disk.fill(0);
    let sent = short(&owner, &a, &b).await;
    assert_eq!(held(&ballast(&disk)), 0);
    assert_eq!(
        (figure(&s.url(), "bursar_storage_short").await, figure(&s.url(), "bursar_ballast_bytes").await),
        (1, 0)
    );
    assert!(storage(&s.url()).await.starts_with("the disk is full: only"), "{}", storage(&s.url()).await);

    // what was acknowledged is there, and reads go on
    assert_eq!(now(&owner, &b).await.balances.posted, sent.2);
    // somebody who is signed in nowhere gets in, stays in, and acts
    let helper = s.sign_in(&other).await;
    let mine = tokens(&s, &other).await;
    helper.call(&Refresh { refresh_token: secret(&mine.refresh_token) }).await.unwrap();
    helper.call(&SuspendUser { id: thief.id, reason: None }).await.unwrap();
    assert_eq!(code(stolen.call(&GetUser { id: clerk.id, include: None }).await), ErrorCode::SessionRevoked);
    assert_eq!(
        code(s.anonymous().call(&Refresh { refresh_token: secret(&lost.refresh_token) }).await),
        ErrorCode::SessionRevoked
    );
    let Sessions(rows) = sessions;
    owner.call(&RevokeSession { id: rows[0].id }).await.unwrap();
    assert_eq!(
        code(of_clerk.call(&GetUser { id: clerk.id, include: None }).await),
        ErrorCode::SessionRevoked
    );
    owner.call(&RevokeSessions { user_id: clerk.id }).await.unwrap();
    owner.call(&FreezeAccount { id: a.id.into(), reason: None }).await.unwrap();
    owner.call(&ResetPassword { id: clerk.id }).await.unwrap();
    // a refresh token that comes twice ends its session, and that stays
    let twice = tokens(&s, &other).await;
    let again = Refresh { refresh_token: secret(&twice.refresh_token) };
    s.anonymous().call(&again).await.unwrap();
    assert_eq!(code(s.anonymous().call(&again).await), ErrorCode::RefreshReused);
    // what somebody tried is a record
    let wrong = s.anonymous().call(&login(other.email.as_str(), "not the password")).await;
    assert_eq!(code(wrong), ErrorCode::InvalidCredentials);
    assert_eq!(count(&s, "log WHERE type = 'session.login_failed'"), 1);
    // roles can be withdrawn and not given, and who is suspended is not let in
    let roles = |names: &[&str]| names.iter().map(|name| name.parse().unwrap()).collect::<Vec<_>>();
    is_refused(owner.call(&SetUserRoles { id: clerk.id, roles: roles(&["support", "auditor"]) }).await);
    let left = owner.call(&SetUserRoles { id: clerk.id, roles: roles(&[]) }).await.unwrap();
    assert!(left.roles.is_empty());
    is_refused(owner.call(&ActivateUser { id: thief.id, reason: None }).await);
    is_refused(owner.call(&new("somebody")).await);
    assert_eq!(
        owner.call(&GetUser { id: thief.id, include: None }).await.unwrap().status,
        UserStatus::Suspended
    );
    // many are suspended as one is
    let token = access(&owner).await;
    let bulk = |op: &str, id: &str| json!({"mode": "independent", "items": [{"op": op, "id": id}]});
    let suspended =
        post("/v1/users/bulk", &bulk("suspend", &clerk.id.to_string())).bearer(&token).send(&s).await;
    assert_eq!(
        (suspended.status, &suspended.data()["items"][0]["status"]),
        (200, &json!(200)),
        "{suspended:?}"
    );
    let activated = post("/v1/users/bulk", &bulk("activate", &clerk.id.to_string())).bearer(&token);
    assert_eq!(activated.send_unchecked(&s).await.verdict(), "503 STORAGE_FULL");
    assert!(owner.call(&VerifyAudit {}).await.unwrap().ok);
    assert!(owner.call(&VerifyLedger {}).await.unwrap().ok);
    helper.call(&Logout { refresh_token: None }).await.unwrap();
    // and who is locked out is let in from beside the daemon
    let words = "quite another set of words";
    let role = "owner".parse().unwrap();
    let (email, name) = ("boss@example.com".parse().unwrap(), "boss".parse().unwrap());
    admin::create(s.config(), email, name, role, words.parse().unwrap()).await.unwrap();
    s.anonymous().call(&login("boss@example.com", words)).await.unwrap();

    // a restart changes nothing
    s.restart_in_place().await;
    is_refused(once(&owner, &sent.0, &sent.1).await);
    assert_eq!(figure(&s.url(), "bursar_storage_short").await, 1);
    owner.call(&RevokeSessions { user_id: other.id }).await.unwrap();

    // nor does room that would be gone at once
    disk.clear();
    disk.fill(BALLAST + MARGIN / 2);
    is_refused(once(&owner, &sent.0, &sent.1).await);
    disk.clear();
    // what was frozen meanwhile stays so
    eventually("all is written", || async { owner.call(&new("somebody")).await.is_ok() }).await;
    owner
        .call(&bursar_shared::operations::accounts::UnfreezeAccount { id: a.id.into(), reason: None })
        .await
        .unwrap();
    goes_on(&disk, &s.url(), &owner, &b, sent).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_write_says_whether_it_goes_on_on_a_full_disk() {
    let Some((disk, s, owner, [a, b])) = bank_kept_back().await else { return };
    let caller = s.person("caller", "owner").await;
    let (session, spare) = (tokens(&s, &caller).await, tokens(&s, &caller).await);
    let forgetful = s.person("forgetful", "support").await;
    let reset = owner.call(&ResetPassword { id: forgetful.id }).await.unwrap();
    disk.fill(0);
    short(&owner, &a, &b).await;
    let money = json!({
        "fromAccountId": a.id, "toAccountId": b.id, "amount": 1, "currency": "EUR",
    });
    let body = |operation: &str| -> Value {
        match operation {
            "Login" => json!({"email": caller.email, "password": PASSWORD}),
            "Refresh" => json!({"refreshToken": spare.refresh_token}),
            "SetPassword" => {
                json!({"resetToken": reset.reset_token, "newPassword": "quite another set of words"})
            }
            "ChangePassword" => {
                json!({"currentPassword": PASSWORD, "newPassword": "quite another set of words"})
            }
            "UpdateMe" | "UpdateUser" | "UpdateAccount" => json!({"name": "somebody else"}),
            "CreateUser" => json!({"email": "bob@b.io", "name": "bob"}),
            "BulkUsers" => {
                json!({"mode": "independent", "items": [{"op": "create", "data": {"email": "b@b.io", "name": "b"}}]})
            }
            "SetUserRoles" => json!({"roles": []}),
            "RevokeSessions" => json!({"userId": unknown_id("/users/")}),
            "CreateAccount" => json!({"name": "c", "currency": "EUR"}),
            "CreateTransfer" => money.clone(),
            "ReverseTransfer" => json!({"reason": "a mistake"}),
            "BatchTransfers" => json!({"mode": "atomic", "items": [money]}),
            _ => json!({}),
        }
    };
    let mut table = String::new();
    for row in ALL.iter().filter(|row| row.method != Method::Get) {
        // signing out ends the session, so it is done with another one
        let token = if row.name == "Logout" { &spare.access_token } else { &session.access_token };
        let mut request =
            request_of(row.method, &fill(row.path, unknown_id(row.path), UNUSED_KEY)).bearer(token);
        if row.method.has_body() {
            request = request.bytes(body(row.name).to_string());
        }
        if row.keyed {
            request = request.header("idempotency-key", key());
        }
        let answer = request.send_unchecked(&s).await;
        let verdict = match answer.verdict().as_str() {
            "503 STORAGE_FULL" => "refused".to_owned(),
            other => format!("goes on: {other}"),
        };
        // what was not understood did not get as far as the disk
        assert!(!verdict.contains("422"), "{}: {answer:?}", row.name);
        writeln!(table, "{:<16} {verdict}", row.name).unwrap();
    }
    insta::assert_snapshot!(table);
}

#[test]
fn few_writes_may_use_what_is_kept_back() {
    let mut labels = Vec::new();
    let sources = crate::arrows::sources("server/src").into_iter();
    for (_, text) in sources.filter(|(name, _)| !name.ends_with("_tests.rs")) {
        for (kind, call) in [("all", "urgent(\""), ("half", "recorded(\"")] {
            let found =
                crate::arrows::program(&text).split(call).skip(1).map(|rest| rest.split('"').next().unwrap());
            labels.extend(found.map(|name| format!("{name:<20} {kind}")));
        }
    }
    labels.sort();
    labels.dedup();
    insta::assert_snapshot!(labels.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_do_not_use_up_what_is_kept_back() {
    let Some((disk, s, owner, [a, b])) = bank_kept_back().await else { return };
    let customer = s.person("customer", "customer").await;
    let denied = access(&s.sign_in(&customer).await).await;
    disk.fill(0);
    let sent = short(&owner, &a, &b).await;
    let wrong = || async { s.anonymous().call(&login("owner@example.com", "not the password")).await };
    assert_eq!(code(wrong().await), ErrorCode::InvalidCredentials);
    assert_eq!(get("/v1/users").bearer(&denied).send(&s).await.verdict(), "403 FORBIDDEN");
    let noted = |kind: &str| count(&s, &format!("log WHERE type = '{kind}'"));
    let before = (noted("session.login_failed"), noted("access.denied"));
    assert_eq!(before, (1, 1));
    // less than half is left
    disk.fill(BALLAST / 2 - (4 << 20));
    is_refused(wrong().await);
    assert_eq!(get("/v1/users").bearer(&denied).send(&s).await.verdict(), "403 FORBIDDEN");
    is_refused(owner.call(&VerifyAudit {}).await);
    assert_eq!((noted("session.login_failed"), noted("access.denied")), before);
    s.sign_in(&customer).await;
    owner.call(&SuspendUser { id: customer.id, reason: None }).await.unwrap();
    disk.clear();
    goes_on(&disk, &s.url(), &owner, &b, sent).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_even_that_is_used_up_nothing_is_written_until_there_is_room() {
    let Some((disk, mut s, owner, [a, b])) = bank_kept_back().await else { return };
    let person = s.person("person", "support").await;
    // the address stays, and with it the session of the client
    s.restart_in_place().await;
    disk.fill(0);
    let sent = short(&owner, &a, &b).await;
    disk.fill(0);
    // the log may have a place left where a few are written over
    let mut refused = None;
    for _ in 0..200 {
        if let Err(why) = owner.call(&ResetPassword { id: person.id }).await {
            refused = Some(why);
            break;
        }
    }
    let message = is_refused::<()>(Err(refused.expect("it was written where there is no room")));
    assert!(message.contains("used up"), "{message}");
    assert!(storage(&s.url()).await.contains("nothing is written"), "{}", storage(&s.url()).await);
    is_refused(once(&owner, &sent.0, &sent.1).await);
    assert_eq!(now(&owner, &b).await.balances.posted, sent.2, "reads go on");

    // a little room is for those who act
    disk.clear();
    disk.fill(1 << 20);
    owner.call(&SuspendUser { id: person.id, reason: None }).await.unwrap();
    is_refused(once(&owner, &sent.0, &sent.1).await);

    // a start that finds no room at all says so
    s.pause().await;
    disk.fill(0);
    let Err(why) = start(s.config().clone()).await else { panic!("it started without any room") };
    let why = why.to_string();
    assert!(why.contains("disk is full") && why.contains("make room"), "{why}");
    disk.clear();
    s.resume().await;
    goes_on(&disk, &s.url(), &owner, &b, sent).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_on_a_full_disk_gives_up_what_is_kept_back() {
    let Some((disk, mut s, owner, [a, b])) = bank_kept_back().await else { return };
    let person = s.person("person", "support").await;
    s.restart_in_place().await;
    s.pause().await;
    disk.fill(0);
    assert_eq!(held(&ballast(&disk)), BALLAST);
    s.resume().await;
    owner.call(&SuspendUser { id: person.id, reason: None }).await.unwrap();
    let sent = short(&owner, &a, &b).await;
    assert_eq!((sent.2, held(&ballast(&disk))), (0, 0));
    disk.clear();
    goes_on(&disk, &s.url(), &owner, &b, sent).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_is_killed_while_short_is_short_when_it_comes_back() {
    let Some((disk, mut s)) = kept_back().await else { return };
    let owner = s.signed_in("owner", "owner").await;
    let token = access(&owner).await;
    let (a, b) = pair(&owner).await;
    let person = s.person("person", "support").await;
    s.pause().await;
    let daemon = Daemon::start(&s);
    disk.fill(0);
    let sent = short(&daemon.client(&token), &a, &b).await;
    daemon.client(&token).call(&SuspendUser { id: person.id, reason: None }).await.unwrap();
    daemon.kill();
    for _ in 0..3 {
        let daemon = Daemon::start(&s);
        let client = daemon.client(&token);
        is_refused(once(&client, &sent.0, &sent.1).await);
        // nothing that was acknowledged is lost
        assert_eq!(now(&client, &b).await.balances.posted, sent.2);
        let status = client.call(&GetUser { id: person.id, include: None }).await.unwrap().status;
        assert_eq!(status, UserStatus::Suspended);
        client.call(&RevokeSessions { user_id: person.id }).await.unwrap();
        assert!(client.call(&VerifyAudit {}).await.unwrap().ok);
        assert_eq!(fs::metadata(ballast(&disk)).unwrap().len(), 0);
        daemon.kill();
    }
    // room that came while nobody ran is seen at the start
    disk.clear();
    let daemon = Daemon::start(&s);
    let client = daemon.client(&token);
    once(&client, &sent.0, &sent.1).await.unwrap();
    goes_on(&disk, &daemon.url, &client, &b, sent).await;
    daemon.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_told_once_a_change_and_not_once_a_request() {
    let Some((disk, mut s)) = kept_back().await else { return };
    let owner = s.signed_in("owner", "owner").await;
    let token = access(&owner).await;
    let (a, b) = pair(&owner).await;
    let hold = CreateTransfer {
        expires_in_seconds: Some(bursar_shared::operations::transfers::Seconds(1)),
        ..crate::money::hold(&a, &b, 1)
    };
    let customer = access(&s.signed_in("customer", "customer").await).await;
    owner.call(&hold).await.unwrap();
    s.pause().await;
    disk.fill(0);
    let made = std::time::Instant::now();
    eventually("the hold runs out", || async { made.elapsed() > std::time::Duration::from_millis(1_100) })
        .await;
    // the first thing that it does is to let go of holds
    let lines = tempfile::NamedTempFile::new().unwrap();
    let daemon = Daemon::start_saying(&s, Vec::new(), Stdio::from(lines.reopen().unwrap()));
    let client = daemon.client(&token);
    let sent = short(&client, &a, &b).await;
    let many = join_all((0..40).map(|_| async { once(&client, &sent.0, &key()).await })).await;
    many.into_iter().for_each(|answer| drop(is_refused(answer)));
    disk.fill(BALLAST / 4);
    for _ in 0..5 {
        get("/v1/users").bearer(&customer).send_to(&daemon.url).await;
    }
    disk.clear();
    goes_on(&disk, &daemon.url, &client, &b, sent).await;
    let said = || fs::read_to_string(lines.path()).unwrap();
    let told = |level: &str| -> Vec<String> {
        let said = said();
        let all = said.lines().map(|line| serde_json::from_str::<Value>(line).unwrap_or_default());
        let other = |line: &Value| line["level"] == level && line["message"] != "request";
        all.filter(other).map(|line| line.to_string()).collect()
    };
    eventually("it is told that there is room", || async { said().contains("there is room again") }).await;
    assert_eq!(told("ERROR").len(), 1, "{:#?}", told("ERROR"));
    assert!(told("ERROR")[0].contains("the disk is full"), "{:#?}", told("ERROR"));
    assert_eq!(told("WARN"), Vec::<String>::new());
    assert!(!said().contains("\"status\":500"), "{}", said());
    daemon.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ballast_that_somebody_took_is_made_again_and_its_lack_stops_nobody() {
    let Some((disk, mut s, owner, [a, b])) = bank_kept_back().await else { return };
    let file = ballast(&disk);
    fs::remove_file(&file).unwrap();
    eventually("it is made again", || async { held(&file) == BALLAST }).await;
    fs::OpenOptions::new().write(true).open(&file).unwrap().set_len(1 << 20).unwrap();
    eventually("it is whole again", || async { held(&file) == BALLAST }).await;
    // while it runs, an empty one was not given up by the daemon
    fs::OpenOptions::new().write(true).open(&file).unwrap().set_len(0).unwrap();
    eventually("it is filled again", || async { held(&file) == BALLAST }).await;
    assert_eq!(figure(&s.url(), "bursar_storage_short").await, 0);

    // without room for it all is written as long as there is room for that
    fs::remove_file(&file).unwrap();
    disk.fill(8 << 20);
    eventually("it is seen", || async { figure(&s.url(), "bursar_ballast_bytes").await == 0 }).await;
    assert_eq!(figure(&s.url(), "bursar_storage_short").await, 0);
    once(&owner, &transfer(&a, &b, 1), &key()).await.unwrap();
    s.restart_in_place().await;
    once(&owner, &transfer(&a, &b, 1), &key()).await.unwrap();
    assert!(!file.exists(), "an empty one would say that it was given up");
    // and then nothing, but what is cut off the log
    disk.fill(0);
    let sent = short(&owner, &a, &b).await;
    assert_eq!(now(&owner, &b).await.balances.posted, sent.2 + 2);
    disk.clear();
    goes_on(&disk, &s.url(), &owner, &b, (sent.0, sent.1, sent.2 + 2)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_that_is_used_up_is_a_full_disk() {
    let Some((disk, mut s)) = kept_back().await else { return };
    let owner = s.signed_in("owner", "owner").await;
    let token = access(&owner).await;
    let (a, b) = pair(&owner).await;
    s.pause().await;
    let fault = Disk::of("bursar.");
    let daemon = Daemon::start_in(&s, fault.environment());
    let client = daemon.client(&token);
    fault.breaks(Fault::Quota);
    // SQLite takes it for an error of the disk, after which nobody knows what a crash brings back
    let (op, first) = (transfer(&a, &b, 1), key());
    let answer = once(&client, &op, &first).await;
    assert!(matches!(answer, Err(Error::Unknown { .. })), "{answer:?}");
    let second = key();
    is_refused(once(&client, &op, &second).await);
    assert_eq!(figure(&daemon.url, "bursar_storage_short").await, 1);
    assert_eq!(now(&client, &b).await.balances.posted, 0, "reads go on");
    fault.mend();
    eventually("the first key does it", || async { once(&client, &op, &first).await.is_ok() }).await;
    goes_on(&disk, &daemon.url, &client, &b, (op, second, 1)).await;
    daemon.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_may_only_be_read_is_not_taken_for_a_full_disk() {
    let Some((disk, mut s)) = kept_back().await else { return };
    let owner = s.signed_in("owner", "owner").await;
    let token = access(&owner).await;
    let (a, b) = pair(&owner).await;
    s.pause().await;
    let fault = Disk::of("bursar.");
    let daemon = Daemon::start_in(&s, fault.environment());
    let client = daemon.client(&token);
    let op = transfer(&a, &b, 1);
    once(&client, &op, &key()).await.unwrap();
    fault.breaks(Fault::ReadOnly);
    let refused = key();
    match once(&client, &op, &refused).await {
        Err(Error::Unknown { .. }) => {}
        Err(Error::Api { status: 503, error, .. }) => assert_eq!(error.code, ErrorCode::DatabaseUnavailable),
        other => panic!("{other:?}"),
    }
    assert_eq!(figure(&daemon.url, "bursar_storage_short").await, 0);
    assert_eq!(held(&ballast(&disk)), BALLAST);
    fault.mend();
    eventually("the same key does it", || async { once(&client, &op, &refused).await.is_ok() }).await;
    assert_eq!(now(&client, &b).await.balances.posted, 2);
    daemon.kill();
    // a folder in which nothing can be made is refused at the start, with or without a ballast
    let status = std::process::Command::new("mount").args(["-o", "remount,ro"]).arg(disk.path()).status();
    assert!(status.unwrap().success());
    let Err(why) = start(s.config().clone()).await else { panic!("it started where nothing can be written") };
    assert!(why.to_string().contains("cannot write to"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_makes_no_files_but_its_own() {
    let Some((disk, mut s)) = kept_back().await else { return };
    let owner = s.signed_in("owner", "owner").await;
    let token = access(&owner).await;
    s.pause().await;
    // its temporary files have this in their names; where one is wanted it cannot be made
    let fault = Disk::of("etilqs_");
    fault.breaks(Fault::ReadOnly);
    let daemon = Daemon::start_in(&s, fault.environment());
    let client = daemon.client(&token);
    let items: Vec<Value> = (0..1_000)
        .map(|n| {
            json!({"op": "create", "data": {
                "email": format!("p{n}@example.org"), "name": format!("{} {n}", "long ".repeat(20)),
            }})
        })
        .collect();
    let body = json!({"mode": "atomic", "items": items});
    let made: Answer = post("/v1/users/bulk", &body).bearer(&token).send_to(&daemon.url).await;
    assert_eq!(made.status, 200, "{made:?}");
    let (a, b) = pair(&client).await;
    disk.fill(0);
    short(&client, &a, &b).await;
    for path in [
        "/v1/users?sort=-name&pageSize=200",
        "/v1/audit?pageSize=200",
        "/v1/stats",
        "/v1/ledger/trial-balance",
    ] {
        let read = get(path).bearer(&token).send_to(&daemon.url).await;
        assert_eq!(read.status, 200, "{path}: {read:?}");
    }
    sound(&client).await;
    let mut items = client_ids(&daemon.url, &token).await;
    items.truncate(200);
    let suspend = items.iter().map(|id| json!({"op": "suspend", "id": id})).collect::<Vec<_>>();
    let body = json!({"mode": "independent", "items": suspend});
    let done = post("/v1/users/bulk", &body).bearer(&token).send_to(&daemon.url).await;
    assert_eq!(done.status, 200, "{done:?}");
    daemon.kill();
}

async fn client_ids(url: &str, token: &str) -> Vec<String> {
    get("/v1/users?filter[name]=long*&pageSize=200").bearer(token).send_to(url).await.ids()
}
