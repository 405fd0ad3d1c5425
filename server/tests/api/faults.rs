//! What goes wrong around the daemon: killed, cut off from its database, broken at the worst moment,
//! told to stop, or started where it must not start.

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    time::Duration,
};

use bursar_server::{
    Location,
    config::{Config, Sources},
    log_to_stderr, run_until_signal, start,
    testing::{TestServer, eventually},
};
use bursar_shared::{
    client::{Client, Error, How, Options, session::Store},
    error::ErrorCode,
    id::UserId,
    operations::{
        auth::Me,
        log::VerifyAudit,
        users::{CreateUser, DeleteUser, GetUser},
    },
};
use diesel::{Connection, SqliteConnection, connection::SimpleConnection};
use futures_util::future::join_all;
use serde_json::json;

use crate::nemesis::Environment;
use crate::support::{
    PASSWORD, Random, access, count, get, key, new, post, rounds, rows, secret, seed, setting,
};

/// How the settings reach the process that is the daemon.
const SETTINGS: &str = "BURSAR_TEST_DAEMON";

/// The daemon of the tests below: they start this test again, alone, in a process that can be killed.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "is the daemon that the tests of this file start in a process of its own"]
async fn runs_as_a_daemon() {
    let settings = setting(SETTINGS).expect("started by the other tests of this file");
    let flags = settings
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key.to_owned(), value.to_owned()));
    let config = Config::load(&Sources { flags: flags.collect(), ..Sources::default() }).unwrap();
    let _lines = log_to_stderr(&config).unwrap();
    let running = start(config).await.unwrap();
    println!("LISTENING {}", running.address);
    std::thread::spawn(|| {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            let (name, actions) = line.split_once('=').unwrap();
            fail::cfg(name, actions).unwrap();
            println!("BROKEN {name}");
        }
        // nobody is left who could stop it
        std::process::exit(1);
    });
    run_until_signal(running).await.unwrap();
}

/// A daemon in a process of its own.
pub struct Daemon {
    child: Child,
    said: BufReader<std::process::ChildStdout>,
    tell: ChildStdin,
    /// Where it listens.
    pub url: String,
}

impl Daemon {
    /// Starts one on the store of a test server that is paused.
    pub fn start(s: &TestServer) -> Self {
        Self::start_in(s, Vec::new())
    }

    /// The same with an environment.
    pub fn start_in(s: &TestServer, environment: Environment) -> Self {
        Self::start_saying(s, environment, Stdio::null())
    }

    /// The same, and its log lines go there.
    pub fn start_saying(s: &TestServer, environment: Environment, lines: Stdio) -> Self {
        let location = match s.location() {
            Location::Sqlite(path) => format!("sqlite:{}", path.display()),
            Location::Postgres(url) => url.clone(),
        };
        let settings = format!(
            "listen=127.0.0.1:0\nlimits=off\npool-size=4\ndata-dir={}\ndatabase={location}",
            s.config().data_dir.display()
        );
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "faults::runs_as_a_daemon", "--ignored", "--nocapture", "--test-threads=1"])
            .env(SETTINGS, settings)
            .envs(environment)
            .env("RUST_BACKTRACE", "0")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(lines)
            .spawn()
            .unwrap();
        let (said, tell) = (BufReader::new(child.stdout.take().unwrap()), child.stdin.take().unwrap());
        let mut daemon = Self { child, said, tell, url: String::new() };
        daemon.url = format!("http://{}", daemon.hears("LISTENING "));
        daemon
    }

    /// Waits for a line with this in it; answers what follows.
    fn hears(&mut self, wanted: &str) -> String {
        let mut line = String::new();
        loop {
            line.clear();
            assert_ne!(
                self.said.read_line(&mut line).unwrap(),
                0,
                "the daemon ended without saying {wanted}"
            );
            if let Some((_, rest)) = line.split_once(wanted) {
                return rest.trim().to_owned();
            }
        }
    }

    /// Breaks it at a named place.
    pub fn breaks(&mut self, name: &str, actions: &str) {
        writeln!(self.tell, "{name}={actions}").unwrap();
        self.hears("BROKEN ");
    }

    /// Waits until the writes of its start are done, so that what is broken next is a write of ours.
    pub async fn settled(self, token: &str) -> Self {
        assert!(self.client(token).call(&VerifyAudit {}).await.unwrap().ok);
        self
    }

    /// A client that sends this token.
    pub fn client(&self, token: &str) -> Client {
        bearer(&self.url, token)
    }

    /// The owner of the store, signed in here.
    pub async fn owner(&self) -> Client {
        let client = caller(&self.url, Store::memory());
        client.sign_in("owner@example.com".parse().unwrap(), secret(PASSWORD)).await.unwrap();
        client
    }

    /// Ends it without a word.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to stop; answers how it ended.
    async fn terminate(self) -> Option<i32> {
        assert!(
            Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap().success()
        );
        self.dies().await
    }

    /// Waits until it ended; answers how, which is nothing when it was killed.
    pub async fn dies(mut self) -> Option<i32> {
        let mut code = None;
        eventually("the daemon ends", || {
            code = self.child.try_wait().unwrap();
            let ended = code.is_some();
            async move { ended }
        })
        .await;
        code.unwrap().code()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // a test that failed leaves nobody behind
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn caller(url: &str, session: Store) -> Client {
    let options = Options { timeout: Duration::from_secs(5), ..Options::default() };
    Client::new(url, options).unwrap().with_session(session)
}

/// A client that sends this token, wherever a daemon is reached.
pub fn bearer(url: &str, token: &str) -> Client {
    caller(url, Store::key(&secret(token)))
}

/// A paused server with an owner, and the owner's token.
pub async fn paused() -> (TestServer, String) {
    let mut s = TestServer::start().await;
    let token = access(&s.signed_in("owner", "owner").await).await;
    s.pause().await;
    (s, token)
}

/// A create that was sent, and the id if it was acknowledged.
struct Sent {
    op: CreateUser,
    key: String,
    acknowledged: Option<UserId>,
}

/// Creates people one after the other until the daemon is gone.
async fn create_until_it_dies(client: Client, name: String) -> Vec<Sent> {
    let mut all = Vec::new();
    for n in 0.. {
        let mut sent = Sent { op: new(&format!("{name}n{n}")), key: key(), acknowledged: None };
        match client.send(&sent.op, &How { key: Some(sent.key.clone()), ..How::default() }).await {
            Ok(reply) => sent.acknowledged = Some(reply.answer.0.id),
            Err(Error::Unknown { .. } | Error::Unreachable { .. }) => {
                all.push(sent);
                return all;
            }
            Err(Error::Api { status: 503 | 504, .. }) => {}
            Err(other) => panic!("{other}"),
        }
        all.push(sent);
    }
    all
}

/// Everybody who was acknowledged is there once, and whoever was not can be made by the same key.
async fn nothing_is_lost_or_doubled(s: &TestServer, client: &Client, all: &[Sent]) {
    for sent in all {
        let how = How { key: Some(sent.key.clone()), ..How::default() };
        let reply = client.send(&sent.op, &how).await.unwrap();
        if let Some(id) = sent.acknowledged {
            assert_eq!(reply.answer.0.id, id, "{}", sent.op.email);
            assert!(reply.replayed, "{} was acknowledged and is done again", sent.op.email);
            assert_eq!(client.call(&GetUser { id, include: None }).await.unwrap().email, sent.op.email);
        }
    }
    assert_eq!(
        rows(s, "SELECT email AS value FROM users GROUP BY email HAVING COUNT(*) > 1"),
        Vec::<String>::new()
    );
    assert_eq!(count(s, "users"), all.len() as i64 + 1);
    assert_eq!(count(s, "log WHERE type = 'user.created'"), all.len() as i64 + 1);
    assert!(client.call(&VerifyAudit {}).await.unwrap().ok);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_daemon_loses_nothing_that_it_acknowledged() {
    let mut random = Random(seed());
    let (s, token) = paused().await;
    let mut all: Vec<Sent> = Vec::new();
    for round in 0..rounds(5, 100) {
        let daemon = Daemon::start(&s);
        let clients = (0..6)
            .map(|n| tokio::spawn(create_until_it_dies(daemon.client(&token), format!("r{round}c{n}"))));
        let clients: Vec<_> = clients.collect();
        let moment = Duration::from_millis(60 + random.below(300) as u64);
        // the moment passes while the clients write
        let _ = tokio::time::timeout(moment, std::future::pending::<()>()).await;
        daemon.kill();
        for client in clients {
            all.extend(client.await.unwrap());
        }
    }
    let acknowledged = all.iter().filter(|sent| sent.acknowledged.is_some()).count();
    assert!(acknowledged > 10, "only {acknowledged} writes in all rounds");
    let daemon = Daemon::start(&s);
    nothing_is_lost_or_doubled(&s, &daemon.client(&token), &all).await;
    daemon.kill();
}

#[tokio::test]
async fn a_database_that_cuts_connections_costs_time_and_nothing_else() {
    if bursar_server::testing::postgres_url().is_none() {
        println!("SQLite has no connections that somebody could cut: see the daemon that is killed");
        return;
    }
    let s = TestServer::start().await;
    let owner = s.signed_in("owner", "owner").await;
    let done = std::sync::atomic::AtomicUsize::new(0);
    let writers = join_all((0..6).map(|writer| {
        let (owner, done) = (owner.clone(), &done);
        async move {
            let mut all = Vec::new();
            for n in 0..15 {
                let mut sent = Sent { op: new(&format!("w{writer}n{n}")), key: key(), acknowledged: None };
                let how = How { key: Some(sent.key.clone()), ..How::default() };
                while sent.acknowledged.is_none() {
                    match owner.send(&sent.op, &how).await {
                        Ok(reply) => sent.acknowledged = Some(reply.answer.0.id),
                        Err(Error::Api { status: 503 | 504, .. }) => {}
                        Err(other) => panic!("{other}"),
                    }
                }
                all.push(sent);
            }
            done.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            all
        }
    }));
    let cuts = async {
        let mut cut = 0;
        let mut ticks = tokio::time::interval(Duration::from_millis(150));
        while done.load(std::sync::atomic::Ordering::Relaxed) < 6 && cut < rounds(8, 200) {
            ticks.tick().await;
            // the shell that does it is not among those it ends
            s.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()").await.unwrap();
            cut += 1;
        }
        cut
    };
    let (all, cut) = futures_util::join!(writers, cuts);
    assert!(cut >= 2, "everything was done before anything was cut");
    let all: Vec<Sent> = all.into_iter().flatten().collect();
    eventually("the daemon is ready again", || async {
        get("/readyz").send_unchecked(&s).await.status == 200
    })
    .await;
    nothing_is_lost_or_doubled(&s, &owner, &all).await;
}

/// A create of bob under a key, to a daemon that may be dying.
async fn create_bob(url: &str, token: &str, key: &str) -> crate::support::Answer {
    let body = json!({"email": "bob@b.io", "name": "bob"});
    post("/v1/users", &body).bearer(token).header("idempotency-key", key).send_to(url).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_panics_is_answered_like_any_fault() {
    let (s, token) = paused().await;
    let mut daemon = Daemon::start(&s).settled(&token).await;
    daemon.breaks("in-service", "1*panic");
    let one = daemon.client(&token);
    let broken = one.send_raw("GET", "/v1/me", None, &[], &How { once: true, ..How::default() }).await;
    let Err(Error::Api { status: 500, error, request_id: Some(_), .. }) = broken else {
        panic!("an answer with a request id: {broken:?}")
    };
    assert_eq!(error.code, ErrorCode::Internal);
    assert!(one.call(&Me {}).await.is_ok(), "the daemon goes on");
    daemon.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_breaks_before_its_commit_never_happened() {
    let (mut s, token) = paused().await;
    for (place, times) in
        [("before-commit", "1*"), ("before-commit", ""), ("in-write", "1*"), ("in-write", "")]
    {
        let mut daemon = Daemon::start(&s).settled(&token).await;
        daemon.breaks(place, &format!("{times}panic"));
        let (key, before) = (key(), count(&s, "users"));
        let first = create_bob(&daemon.url, &token, &key).await;
        // once may be made good by doing it again
        let done = i64::from(first.status == 201);
        assert!(done == 0 || times == "1*", "told done too early: {first:?}");
        assert!(done == 1 || first.verdict() == "500 INTERNAL", "{place} {times}: {first:?}");
        assert_eq!(count(&s, "users"), before + done);
        // the daemon goes on
        daemon.breaks(place, "off");
        let again = create_bob(&daemon.url, &token, &key).await;
        assert_eq!(
            (again.status, again.header("idempotency-replayed").is_some()),
            (201, done == 1),
            "{again:?}"
        );
        daemon.client(&token).call(&new(&format!("next{before}"))).await.unwrap();
        assert_eq!(count(&s, "users"), before + 2);
        let deletion = DeleteUser { id: again.data()["id"].as_str().unwrap().parse().unwrap() };
        daemon.client(&token).call(&deletion).await.unwrap();
        daemon.kill();
        // what was acknowledged is there when the process is not
        assert_eq!(count(&s, &format!("users WHERE status = 'active' AND name = 'next{before}'")), 1);
    }
    s.resume().await;
    assert!(s.sign_in(&s.person("other", "owner").await).await.call(&VerifyAudit {}).await.unwrap().ok);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_breaks_after_its_commit_is_found_by_its_key() {
    let (s, token) = paused().await;
    let mut daemon = Daemon::start(&s).settled(&token).await;
    daemon.breaks("after-commit", "1*panic->off");
    let key = key();
    let first = create_bob(&daemon.url, &token, &key).await;
    // the log says that it happened
    assert_eq!(first.status, 201, "{first:?}");
    let again = create_bob(&daemon.url, &token, &key).await;
    assert_eq!((again.status, again.header("idempotency-replayed")), (201, Some("true")), "{again:?}");
    assert_eq!(again.data(), first.data());
    assert_eq!(count(&s, "users WHERE email = 'bob@b.io'"), 1);
    // and seen by reads: no cache holds what was before
    let client = daemon.client(&token);
    let id = again.data()["id"].as_str().unwrap().parse().unwrap();
    assert_eq!(client.call(&GetUser { id, include: None }).await.unwrap().email.as_str(), "bob@b.io");
    assert!(client.call(&VerifyAudit {}).await.unwrap().ok);
    daemon.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_told_done_while_the_commit_is_outstanding() {
    let (s, token) = paused().await;
    let key = key();
    let mut daemon = Daemon::start(&s).settled(&token).await;
    daemon.breaks("before-commit", "pause");
    let waiting = create_bob(&daemon.url, &token, &key);
    assert!(
        tokio::time::timeout(Duration::from_millis(700), waiting).await.is_err(),
        "it was answered before its commit"
    );
    daemon.kill();
    assert_eq!(count(&s, "users WHERE email = 'bob@b.io'"), 0);
    // committed, and killed before anybody was told
    let mut daemon = Daemon::start(&s).settled(&token).await;
    daemon.breaks("after-commit", "pause");
    let (url, sent, under) = (daemon.url.clone(), token.clone(), key.clone());
    let waiting = tokio::spawn(async move { create_bob(&url, &sent, &under).await });
    eventually("it is committed", || async { count(&s, "users WHERE email = 'bob@b.io'") == 1 }).await;
    assert!(!waiting.is_finished());
    daemon.kill();
    assert_eq!(waiting.await.unwrap().status, 0);
    let daemon = Daemon::start(&s);
    let again = create_bob(&daemon.url, &token, &key).await;
    assert_eq!((again.status, again.header("idempotency-replayed")), (201, Some("true")), "{again:?}");
    assert_eq!(count(&s, "users WHERE email = 'bob@b.io'"), 1);
    assert!(daemon.client(&token).call(&VerifyAudit {}).await.unwrap().ok);
    daemon.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_is_told_to_stop_answers_what_it_was_asked() {
    let (s, token) = paused().await;
    let mut daemon = Daemon::start(&s).settled(&token).await;
    daemon.breaks("before-commit", "sleep(100)");
    let requests: Vec<_> = (0..12)
        .map(|n| {
            let (url, token) = (daemon.url.clone(), token.clone());
            let body = json!({"email": format!("p{n}@b.io"), "name": "p"});
            tokio::spawn(async move { post("/v1/users", &body).bearer(&token).send_to(&url).await })
        })
        .collect();
    let (url, sent) = (daemon.url.clone(), token.clone());
    // once somebody's request is being worked on, all have been accepted
    eventually("the writes are under way", || {
        let request = get("/v1/me").bearer(&sent).send_to(&url);
        async move { request.await.status == 200 }
    })
    .await;
    assert_eq!(daemon.terminate().await, Some(0));
    let mut made = 0;
    for request in requests {
        let answer = request.await.unwrap();
        match answer.status {
            201 => made += 1,
            503 => assert!(["SHUTTING_DOWN", "OVERLOADED"].contains(&answer.code()), "{answer:?}"),
            _ => panic!("cut off: {answer:?}"),
        }
    }
    assert!(made > 0, "nothing was in flight");
    assert_eq!(count(&s, "users WHERE email LIKE 'p%@b.io'"), made);
    // and it can be started again at once
    Daemon::start(&s).kill();
}

/// What a daemon with these settings says instead of starting.
async fn refuses(settings: &[(&str, &str)]) -> String {
    let flags = settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let config = Config::load(&Sources { flags, ..Sources::default() }).unwrap();
    match start(config).await {
        Ok(running) => {
            running.stop().await;
            panic!("it started with {settings:?}")
        }
        Err(why) => {
            let why = why.to_string();
            assert!(!why.contains('\n'), "more than a line: {why}");
            why
        }
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[tokio::test]
async fn a_taken_port_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let why = refuses(&[("listen", &address), ("data-dir", text(folder.path()))]).await;
    assert!(why.contains(&address) && why.contains("taken"), "{why}");
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_to_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    for wrong in [file.clone(), file.join("below")] {
        let why = refuses(&[("listen", "127.0.0.1:0"), ("data-dir", text(&wrong))]).await;
        assert!(why.contains(text(&file)), "{why}");
    }
}

#[tokio::test]
async fn a_store_of_a_newer_program_is_left_alone() {
    let mut s = TestServer::start().await;
    s.pause().await;
    s.sql("INSERT INTO __diesel_schema_migrations (version) VALUES ('9999')").await.unwrap();
    let why = match start(s.config().clone()).await {
        Ok(_) => panic!("it started"),
        Err(why) => why.to_string(),
    };
    assert!(why.contains("newer") && why.contains("9999"), "{why}");
    s.sql("DELETE FROM __diesel_schema_migrations WHERE version = '9999'").await.unwrap();
    s.resume().await;
    assert_eq!(get("/healthz").send_unchecked(&s).await.status, 200);
}

#[tokio::test]
async fn a_second_daemon_on_the_same_file_is_refused_and_on_postgresql_welcome() {
    let s = TestServer::start().await;
    s.person("owner", "owner").await;
    if s.is_postgres() {
        let other = s.second().await;
        let token = access(&s.signed_in("ann", "support").await).await;
        assert_eq!(get("/v1/me").bearer(&token).send(&other).await.status, 200);
        return;
    }
    let why = match start(s.config().clone()).await {
        Ok(_) => panic!("it started"),
        Err(why) => why.to_string(),
    };
    assert!(why.contains("another bursar"), "{why}");
    assert_eq!(get("/readyz").send_unchecked(&s).await.status, 200);
}

#[tokio::test]
async fn what_a_role_loses_here_it_has_lost_on_the_other_daemon_within_a_second() {
    let s = TestServer::start().await;
    if !s.is_postgres() {
        println!("SQLite has one daemon");
        return;
    }
    let owner = s.signed_in("owner", "owner").await;
    let ann = s.person("ann", "support").await;
    let token = access(&s.sign_in(&ann).await).await;
    let other = s.second().await;
    assert_eq!(get("/v1/users").bearer(&token).send(&other).await.status, 200);
    let begun = std::time::Instant::now();
    owner.call(&bursar_shared::operations::users::SetUserRoles { id: ann.id, roles: vec![] }).await.unwrap();
    eventually("the role is gone there too", || async {
        get("/v1/users").bearer(&token).send(&other).await.status == 403
    })
    .await;
    owner.call(&bursar_shared::operations::users::SuspendUser { id: ann.id, reason: None }).await.unwrap();
    eventually("the session is over there too", || async {
        get("/v1/me").bearer(&token).send(&other).await.status == 401
    })
    .await;
    // twice a quarter of a second, and a busy machine
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_who_hang_up_keep_nobody_from_signing_in() {
    let s = TestServer::start().await;
    let ann = s.person("ann", "support").await;
    // of four connections two may be taken by lists, by those whose caller is gone too
    let (one, two, three) = tokio::join!(s.abandoned_read(), s.abandoned_read(), s.abandoned_read());
    assert_eq!([&one, &two, &three].map(Option::is_some).iter().filter(|begun| **begun).count(), 2);
    let signed_in = s.sign_in(&ann).await;
    assert_eq!(get("/readyz").send_unchecked(&s).await.status, 200);
    let token = access(&signed_in).await;
    assert_eq!(get("/v1/users").bearer(&token).send_unchecked(&s).await.status, 503);
    drop((one, two, three));
    eventually("lists are read again", || async {
        get("/v1/users").bearer(&token).send_unchecked(&s).await.status == 200
    })
    .await;
}

#[tokio::test]
async fn files_that_are_not_ours_are_left_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let data = text(folder.path()).to_owned();
    let file = folder.path().join("store.db");
    let named = format!("sqlite:{}", file.display());
    let settings = |database: &str| {
        vec![
            ("listen".to_owned(), "127.0.0.1:0".to_owned()),
            ("data-dir".to_owned(), data.clone()),
            ("database".to_owned(), database.to_owned()),
        ]
    };
    let refused = |settings: Vec<(String, String)>| async move {
        let settings: Vec<(&str, &str)> =
            settings.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        refuses(&settings).await
    };
    let missing = refused(settings(&named)).await;
    assert!(missing.contains("there is no database") && missing.contains("--create"), "{missing}");
    assert!(!file.exists(), "a mistyped path became a store");

    SqliteConnection::establish(text(&file))
        .unwrap()
        .batch_execute("CREATE TABLE recipes (name TEXT)")
        .unwrap();
    let before = std::fs::read(&file).unwrap();
    let foreign = refused(settings(&named)).await;
    assert!(foreign.contains("another program") && foreign.contains("store.db"), "{foreign}");
    assert_eq!(std::fs::read(&file).unwrap(), before);

    std::fs::write(
        &file,
        "this is a letter, not a database, and long enough to be looked at as one ".repeat(40),
    )
    .unwrap();
    let before = std::fs::read(&file).unwrap();
    let garbage = refused(settings(&named)).await;
    assert!(garbage.contains("cannot be read as a database"), "{garbage}");
    assert_eq!(std::fs::read(&file).unwrap(), before);

    let directory = refused(settings(&format!("sqlite:{data}"))).await;
    assert!(directory.contains("is not a file"), "{directory}");
    let nobody = refused(settings("postgres://ann:hunter2@127.0.0.1:1/bursar")).await;
    assert!(nobody.contains("127.0.0.1") && !nobody.contains("hunter2"), "{nobody}");
    assert_eq!(nobody.trim_end(), nobody, "libpq's new line is in it");
    let with_create: Vec<(String, String)> = settings(&format!("sqlite:{data}/new.db"))
        .into_iter()
        .chain([("create".to_owned(), "true".to_owned())])
        .collect();
    let config =
        Config::load(&Sources { flags: with_create.into_iter().collect(), ..Sources::default() }).unwrap();
    start(config).await.unwrap().stop().await;
}

#[cfg(unix)]
#[tokio::test]
async fn nobody_else_may_read_the_store() {
    use std::os::unix::fs::PermissionsExt;
    let mut s = TestServer::start().await;
    let Location::Sqlite(path) = s.location().clone() else { return };
    let are_private = || {
        for name in ["db", "db-wal", "db-shm"] {
            let mode = std::fs::metadata(path.with_extension(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
    };
    s.signed_in("owner", "owner").await;
    are_private();
    // nor does anything stay unwritable that was made beside a store which could only be read
    s.pause().await;
    eventually("all connections are closed", || async { !path.with_extension("db-shm").exists() }).await;
    for name in ["db-wal", "db-shm"] {
        std::fs::write(path.with_extension(name), "").unwrap();
        std::fs::set_permissions(path.with_extension(name), std::fs::Permissions::from_mode(0o400)).unwrap();
    }
    s.resume().await;
    s.signed_in("another", "owner").await;
    are_private();
}

#[tokio::test]
async fn a_master_key_that_comes_later_seals_what_was_plain() {
    let mut s = TestServer::start().await;
    let ann = s.signed_in("ann", "owner").await;
    assert!(rows(&s, "SELECT value FROM secrets").iter().all(|value| value.starts_with("plain")));
    let key = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(key.path(), "0123456789abcdef".repeat(4)).unwrap();
    s.set_master_key(key.path());
    s.restart().await;
    assert!(!rows(&s, "SELECT value FROM secrets").iter().any(|value| value.starts_with("plain")));
    // the keys are the same, so nobody is signed out
    let token = access(&ann).await;
    assert_eq!(get("/v1/me").bearer(&token).send(&s).await.status, 200);
}
