//! What becomes of money when the database cannot write: a full disk, a sync that fails, a store that may only
//! be read, a statement that is too slow. Nobody is told "done", nothing is lost, and it goes on afterwards.

use std::process::Command;

use bursar_server::{
    Location,
    testing::{TestServer, eventually, postgres_url},
};
use bursar_shared::{
    client::{Client, Error, How},
    error::ErrorCode,
    field::BulkMode,
    operation::Created,
    operations::{
        accounts::Account,
        ledger::VerifyLedger,
        log::VerifyAudit,
        transfers::{CreateTransfer, Seconds, Transfer},
        users::{BulkItem, BulkOp, BulkUsers},
    },
};
use diesel::{Connection, PgConnection, connection::SimpleConnection};
use serde_json::json;

use crate::{
    faults::{Daemon, paused},
    money::{fund, hold, now, open, sound, transfer},
    nemesis::{Disk, Fault, Postgres},
    support::{get, key},
};

/// Two accounts with some money in the first.
pub async fn pair(client: &Client) -> (Account, Account) {
    let (a, b) = (open(client, "a", "EUR").await, open(client, "b", "EUR").await);
    fund(client, &a, 1_000_000).await;
    (a, b)
}

/// Asked once, without the patience of the client.
pub async fn once(client: &Client, op: &CreateTransfer, key: &str) -> Result<Created<Transfer>, Error> {
    let how = How { key: Some(key.to_owned()), once: true, ..How::default() };
    client.send(op, &how).await.map(|reply| reply.answer)
}

/// Money moves until the database refuses it; answers how it was refused, under which key, and how much was
/// moved before.
pub async fn until_refused(client: &Client, op: &CreateTransfer) -> (Error, String, i64) {
    for done in 0..2_000 {
        let key = key();
        if let Err(why) = once(client, op, &key).await {
            return (why, key, done);
        }
    }
    panic!("nothing was refused")
}

/// What everybody is told whose write cannot be written (nothing: that it may have happened), and that it is
/// made good once it can be.
async fn goes_on_afterwards(client: &Client, disk: &Disk, fault: Fault, code: Option<ErrorCode>) {
    let (a, b) = pair(client).await;
    disk.breaks(fault);
    let op = transfer(&a, &b, 1);
    let (why, key, done) = until_refused(client, &op).await;
    match (&why, code) {
        (Error::Api { status: 503, error, retry_after: Some(_), .. }, Some(code)) => {
            assert_eq!(error.code, code, "{fault:?}: {error:?}");
        }
        (Error::Unknown { .. }, None) => {}
        _ => panic!("{fault:?}: to be told to come again, not {why:?}"),
    }
    // what was acknowledged is there, and reads go on
    assert_eq!(now(client, &b).await.balances.posted, done, "{fault:?}");
    disk.mend();
    eventually("the same key does it", || async { once(client, &op, &key).await.is_ok() }).await;
    assert_eq!(now(client, &b).await.balances.posted, done + 1, "{fault:?}");
    once(client, &op, &key).await.unwrap();
    assert_eq!(now(client, &b).await.balances.posted, done + 1, "{fault:?}: done twice");
    sound(client).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fails_costs_an_answer_and_no_money() {
    let (s, _) = paused().await;
    if s.is_postgres() {
        println!("see the server of PostgreSQL on a disk that is full");
        return;
    }
    let disk = Disk::of("bursar.db");
    let daemon = Daemon::start_in(&s, disk.environment());
    let owner = daemon.owner().await;
    goes_on_afterwards(&owner, &disk, Fault::Full, Some(ErrorCode::StorageFull)).await;
    goes_on_afterwards(&owner, &disk, Fault::Sync, None).await;
    goes_on_afterwards(&owner, &disk, Fault::ReadOnly, None).await;
    daemon.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_whose_sync_failed_may_have_happened_and_that_is_said() {
    let (s, _) = paused().await;
    if s.is_postgres() {
        println!("PostgreSQL stops when a sync fails: see the one that crashes");
        return;
    }
    let disk = Disk::of("bursar.db");
    let daemon = Daemon::start_in(&s, disk.environment());
    let owner = daemon.owner().await;
    let (a, b) = pair(&owner).await;
    disk.breaks(Fault::Sync);
    let (op, key) = (transfer(&a, &b, 7), key());
    let answer = once(&owner, &op, &key).await;
    assert!(matches!(answer, Err(Error::Unknown { .. })), "{answer:?}");
    // the crash that may bring it back: the rows are in the file
    daemon.kill();
    disk.mend();
    let daemon = Daemon::start(&s);
    let owner = daemon.owner().await;
    once(&owner, &op, &key).await.unwrap();
    assert_eq!(now(&owner, &b).await.balances.posted, 7);
    sound(&owner).await;
    daemon.kill();
}

/// A place where German is known to programs; nothing where it cannot be made.
fn german() -> Option<tempfile::TempDir> {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let target = folder.path().join("de_DE.UTF-8");
    let made = Command::new("localedef").args(["-i", "de_DE", "-f", "UTF-8"]).arg(&target).output();
    made.is_ok_and(|made| made.status.success()).then_some(folder)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgresql_whose_disk_is_full_is_understood_in_any_language() {
    if postgres_url().is_none() {
        println!("see the store of SQLite on a disk that is full");
        return;
    }
    let disk = Disk::of("/base/");
    let german = german();
    let (mut environment, mut words) = (disk.environment(), Vec::new());
    if let Some(folder) = &german {
        environment.push(("LOCPATH".to_owned(), folder.path().display().to_string()));
        words.push("--lc-messages=de_DE.UTF-8");
    }
    let postgres = Postgres::start_in(&words, environment).unwrap();
    let s = TestServer::start_on(&postgres.url("postgres", "postgres")).await;
    let owner = s.signed_in("owner", "owner").await;
    goes_on_afterwards(&owner, &disk, Fault::Full, Some(ErrorCode::StorageFull)).await;
    if german.is_none() {
        println!("there is no localedef: who may not choose the language was not tried");
        return;
    }
    // who may not choose the language is told less, and loses nothing either
    s.stop().await;
    let mut admin = PgConnection::establish(&postgres.url("postgres", "postgres")).unwrap();
    admin.batch_execute("DROP DATABASE IF EXISTS bursar_own WITH (FORCE)").unwrap();
    admin.batch_execute("CREATE ROLE plain LOGIN CREATEDB").unwrap();
    let s = TestServer::start_on(&postgres.url("plain", "postgres")).await;
    let owner = s.signed_in("owner", "owner").await;
    let said = s.sql("SELECT 1 / 0").await.unwrap_err();
    assert!(said.contains("durch Null"), "{said}");
    goes_on_afterwards(&owner, &disk, Fault::Full, Some(ErrorCode::DatabaseUnavailable)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgresql_that_may_only_be_read_costs_an_answer_and_no_money() {
    let s = TestServer::start().await;
    if !s.is_postgres() {
        println!("see the store of SQLite on a disk that cannot be written to");
        return;
    }
    let owner = s.signed_in("owner", "owner").await;
    let (a, b) = pair(&owner).await;
    // connections learn of it when they are opened
    let mode = |on: &str| {
        format!(
            "SET TRANSACTION READ WRITE;
             DO $$BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = {on}', current_database()); END$$;
             SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid();"
        )
    };
    s.sql(&mode("on")).await.unwrap();
    let (op, key) = (transfer(&a, &b, 3), key());
    eventually("it is refused", || async {
        let Err(why) = once(&owner, &op, &key).await else { panic!("it was written") };
        matches!(why, Error::Api { status: 503, error, .. } if error.code == ErrorCode::DatabaseUnavailable)
    })
    .await;
    eventually("reads go on", || async { get("/readyz").send_unchecked(&s).await.status == 200 }).await;
    s.sql(&mode("off")).await.unwrap();
    eventually("the same key does it", || async { once(&owner, &op, &key).await.is_ok() }).await;
    assert_eq!(now(&owner, &b).await.balances.posted, 3);
    sound(&owner).await;
}

/// From now on transfers of this amount fail in the database with these words, and no others.
async fn fails(s: &TestServer, amount: i64, state: &str, words: &str) {
    let sql = match s.is_postgres() {
        true => format!(
            "CREATE OR REPLACE FUNCTION fails_on_purpose() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN RAISE EXCEPTION '{words}' USING ERRCODE = '{state}'; END $$;
             CREATE OR REPLACE TRIGGER fails_on_purpose BEFORE INSERT ON transfers FOR EACH ROW
             WHEN (NEW.amount = {amount}) EXECUTE FUNCTION fails_on_purpose();"
        ),
        false => format!(
            "DROP TRIGGER IF EXISTS fails_on_purpose;
             CREATE TRIGGER fails_on_purpose BEFORE INSERT ON transfers WHEN NEW.amount = {amount}
             BEGIN SELECT RAISE(ABORT, '{words}'); END;"
        ),
    };
    s.sql(&sql).await.unwrap();
}

#[tokio::test]
async fn money_that_takes_too_long_is_given_up_and_says_so() {
    let s = TestServer::start().await;
    let owner = s.signed_in("owner", "owner").await;
    let (a, b) = pair(&owner).await;
    let words = match s.is_postgres() {
        true => "canceling statement due to statement timeout",
        false => "interrupted",
    };
    fails(&s, 13, "57014", words).await;
    let (op, key) = (transfer(&a, &b, 13), key());
    let answer = once(&owner, &op, &key).await;
    let Err(Error::Api { status: 504, error, .. }) = answer else { panic!("{answer:?}") };
    assert_eq!(error.code, ErrorCode::Timeout);
    assert!(error.message.contains("nothing was changed"), "{error:?}");
    assert_eq!(now(&owner, &b).await.balances.posted, 0);
    // it is no verdict: once the database is quicker, the same key does it
    fails(&s, 14, "57014", words).await;
    once(&owner, &op, &key).await.unwrap();
    assert_eq!(now(&owner, &b).await.balances.posted, 13);
    sound(&owner).await;
}

#[tokio::test]
async fn a_hold_that_cannot_be_let_go_is_tried_again_in_its_time_and_no_sooner() {
    let s = TestServer::start().await;
    let owner = s.signed_in("owner", "owner").await;
    let (a, b) = pair(&owner).await;
    let op = CreateTransfer { expires_in_seconds: Some(Seconds(60)), ..hold(&a, &b, 13) };
    owner.call(&op).await.unwrap();
    fails(&s, 13, "XX000", "something is wrong with this hold").await;
    let retries = || async {
        let metrics = String::from_utf8(get("/metrics").send_unchecked(&s).await.body).unwrap();
        let line = metrics.lines().find(|line| line.starts_with("bursar_write_retries_total ")).unwrap();
        line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()
    };
    let before = retries().await;
    s.clock.forward(std::time::Duration::from_secs(61));
    eventually("it is tried", || async { retries().await > before }).await;
    // others do much meanwhile: who spins tries as often as that
    for _ in 0..300 {
        now(&owner, &a).await;
    }
    let tried = retries().await - before;
    assert!(tried <= 4, "tried {tried} times");
    fails(&s, 14, "XX000", "nothing").await;
    eventually("it is let go", || async { now(&owner, &a).await.balances.pending_out == 0 }).await;
    assert!(owner.call(&VerifyLedger {}).await.unwrap().ok);
}

/// How long the write-ahead log is on disk.
fn log_length(s: &TestServer) -> u64 {
    let Location::Sqlite(store) = s.location() else { return 0 };
    let mut log = store.clone().into_os_string();
    log.push("-wal");
    std::fs::metadata(log).map_or(0, |facts| facts.len())
}

/// Writes without a pause until so many bytes went through the log; answers how long it ever was.
async fn written(s: &TestServer, client: &Client, bytes: u64) -> u64 {
    let (mut done, mut longest) = (0, 0);
    while done < bytes {
        let person = |_| {
            let text = "x".repeat(1_500);
            let data = json!({ "email": format!("{}@example.com", key()), "name": "Some Body",
                "metadata": { "a": text, "b": text } });
            BulkItem { op: BulkOp::Create, id: None, if_match: None, data: Some(data) }
        };
        let items = (0..200).map(person).collect();
        client.call(&BulkUsers { mode: BulkMode::Independent, items }).await.unwrap();
        // each leaves two rows with these texts
        done += 200 * 2 * 3_000;
        longest = longest.max(log_length(s));
    }
    longest
}

#[tokio::test(flavor = "multi_thread")]
async fn the_write_ahead_log_stays_short_while_everybody_writes() {
    let s = TestServer::start().await;
    if s.is_postgres() {
        println!("PostgreSQL minds its own log");
        return;
    }
    let owner = s.signed_in("owner", "owner").await;
    let (first, second) = tokio::join!(written(&s, &owner, 40 << 20), written(&s, &owner, 40 << 20));
    let longest = first.max(second) >> 20;
    assert!(longest < 48, "the log was {longest} MiB long, and 80 went through it");
    let whole = owner.call(&VerifyAudit {}).await.unwrap();
    assert!(whole.ok, "{whole:?}");
}
