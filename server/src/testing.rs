//! A real daemon for tests: port 0, a store of its own, callers that are the real client.
//!
//! `BURSAR_TEST_DB=postgres://...` runs the same tests on PostgreSQL, each in a database of its own,
//! made from a migrated template.

#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up should stop at once")]

use std::{
    sync::{OnceLock, atomic::Ordering},
    time::Duration,
};

use bursar_shared::{
    client::{Client, Options, session::Store},
    field::{Email, Name, Password, RoleName, Secret, UserKind},
    id::UserId,
    operations::users::User,
};
use diesel::{Connection, PgConnection, RunQueryDsl, connection::SimpleConnection};

use crate::{
    Running,
    auth::Hasher,
    clock::Clock,
    config::{Config, Sources},
    db::{self, Conn, How, Outcome, Plain, Tx, Written},
    error::Result,
    log::{Draft, Stamp},
    repositories::{roles, users},
    start_at,
};

/// The password of everybody that a test makes.
pub const PASSWORD: &str = "plenty of words to guess";

/// A running daemon of its own.
pub struct TestServer {
    /// Its clock, which tests move.
    pub clock: Clock,
    running: Option<Running>,
    config: Config,
    _folder: tempfile::TempDir,
    database: Option<Database>,
}

/// A PostgreSQL database that is dropped with its test.
struct Database {
    admin_url: String,
    name: String,
}

impl Drop for Database {
    fn drop(&mut self) {
        let (admin_url, name) = (self.admin_url.clone(), self.name.clone());
        // takes a second, for which no test should wait; left over at worst: the whole server is
        // thrown away after the tests
        std::thread::spawn(move || {
            if let Ok(mut admin) = PgConnection::establish(&admin_url) {
                let _ = admin.batch_execute(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"));
            }
        });
    }
}

/// The PostgreSQL server that tests are to run on, if any.
pub fn postgres_url() -> Option<String> {
    #[expect(clippy::disallowed_methods, reason = "the switch between engines, read by tests alone")]
    std::env::var("BURSAR_TEST_DB").ok().filter(|url| !url.is_empty())
}

impl TestServer {
    /// Starts a daemon without rate limits.
    pub async fn start() -> Self {
        Self::start_with(&[("limits", "off")]).await
    }

    /// Starts a daemon with these settings.
    pub async fn start_with(settings: &[(&str, &str)]) -> Self {
        Self::launch(settings, postgres_url().map(|url| fresh_database(&url))).await
    }

    /// Starts a daemon on a PostgreSQL server of the test's own, in a database with nothing in it; there,
    /// what is committed is synced.
    pub async fn start_on(server: &str) -> Self {
        let name = "bursar_own".to_owned();
        let mut admin = PgConnection::establish(server).unwrap();
        admin.batch_execute(&format!("CREATE DATABASE {name}")).unwrap();
        Self::launch(&[("limits", "off")], Some(Database { admin_url: server.to_owned(), name })).await
    }

    async fn launch(settings: &[(&str, &str)], database: Option<Database>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut flags: std::collections::BTreeMap<String, String> =
            [("listen", "127.0.0.1:0"), ("data-dir", folder.path().to_str().unwrap()), ("pool-size", "4")]
                .into_iter()
                .chain(settings.iter().copied())
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .collect();
        if let Some(database) = &database {
            flags.insert("database".to_owned(), database_url(&database.admin_url, &database.name));
        }
        let config = Config::load(&Sources { flags, ..Sources::default() }).unwrap();
        let clock = Clock::default();
        let running = start_at(config.clone(), clock.clone()).await.unwrap();
        Self { clock, running: Some(running), config, _folder: folder, database }
    }

    fn running(&self) -> &Running {
        self.running.as_ref().unwrap()
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("http://{}", self.running().address)
    }

    /// Its settings.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Seals the store's keys with the key in this file, from the next start on.
    pub fn set_master_key(&mut self, file: &std::path::Path) {
        self.config.master_key_file = Some(file.to_path_buf());
    }

    /// Stops the daemon and starts it again on the same store.
    pub async fn restart(&mut self) {
        self.pause().await;
        self.resume().await;
    }

    /// The same at the same address, so that clients find it again.
    pub async fn restart_in_place(&mut self) {
        self.config.listen = self.running().address;
        self.restart().await;
    }

    /// Stops the daemon and leaves its store to others.
    pub async fn pause(&mut self) {
        self.running.take().unwrap().stop().await;
    }

    /// Starts the daemon again.
    pub async fn resume(&mut self) {
        self.running = Some(start_at(self.config.clone(), self.clock.clone()).await.unwrap());
    }

    /// A second daemon on the same database; PostgreSQL only.
    pub async fn second(&self) -> Self {
        self.second_by(self.clock.clone()).await
    }

    /// The same on a machine with a clock of its own.
    pub async fn second_by(&self, clock: Clock) -> Self {
        let running = start_at(self.config.clone(), clock.clone()).await.unwrap();
        Self {
            clock,
            running: Some(running),
            config: self.config.clone(),
            _folder: tempfile::tempdir().unwrap(),
            database: None,
        }
    }

    /// Whether it runs on PostgreSQL.
    pub fn is_postgres(&self) -> bool {
        self.database.is_some()
    }

    /// A caller who is not signed in.
    pub fn anonymous(&self) -> Client {
        Client::new(&self.url(), Options::default()).unwrap().with_session(Store::memory())
    }

    /// A person with this role, and the client they are signed in with.
    pub async fn signed_in(&self, name: &str, role: &str) -> Client {
        let user = self.person(name, role).await;
        self.sign_in(&user).await
    }

    /// A client signed in as this person.
    pub async fn sign_in(&self, user: &User) -> Client {
        let client = self.anonymous();
        let password: Secret = PASSWORD.parse().unwrap();
        client.sign_in(user.email.clone(), password).await.unwrap();
        client
    }

    /// A person with this role and [`PASSWORD`]; their email is `<name>@example.com`.
    pub async fn person(&self, name: &str, role: &str) -> User {
        let hash = password_hash().await;
        let email: Email = format!("{name}@example.com").parse().unwrap();
        let (name, role): (Name, RoleName) = (name.parse().unwrap(), role.parse().unwrap());
        self.change(move |tx| {
            let id = UserId::new();
            let mut row = users::Row::new(id, &email, &name, UserKind::Human, tx.now());
            row.password_hash = Some(hash.clone());
            users::insert(tx, &row)?;
            let named = roles::named(tx, &[role.as_str().to_owned()])?;
            let ids: Vec<String> = named.values().map(|role| role.id.clone()).collect();
            users::set_roles(tx, &id, &ids)?;
            let user = users::shown(tx, &row)?;
            tx.log(Draft::new("user.created", "user", id).version(1).data(&user));
            Ok(user)
        })
        .await
    }

    async fn change<T: Send + 'static>(
        &self,
        change: impl Fn(&mut Tx<'_>) -> Result<T> + Send + Sync + 'static,
    ) -> T {
        let how = How { stamp: Stamp::system("test"), key: None, dry_run: false };
        let db = &self.running().app().db;
        let written =
            db.write("test", how, move |tx| change(tx).map(Plain).map(Outcome::Done)).await.unwrap();
        match written {
            Written::Done(Plain(value)) => value,
            Written::Replayed(_) => unreachable!("no key was given"),
        }
    }

    /// How many database queries requests make while `work` runs.
    pub async fn queries<T>(&self, work: impl Future<Output = T>) -> u64 {
        let app = self.running().app();
        let before = app.db.figures().of_requests.load(Ordering::Relaxed);
        work.await;
        app.db.figures().of_requests.load(Ordering::Relaxed) - before
    }

    /// The statements of all reads while `work` ran, those of the daemon's own included.
    pub async fn statements<T>(&self, work: impl Future<Output = T>) -> Vec<String> {
        let app = self.running().app();
        let seen = &app.db.figures().statements;
        seen.lock().unwrap().clear();
        work.await;
        std::mem::take(&mut seen.lock().unwrap())
    }

    /// A read whose caller hung up and which lasts until what is given back is dropped; nothing when no
    /// connection was free for it.
    pub async fn abandoned_read(&self) -> Option<std::sync::mpsc::Sender<()>> {
        let (release, held) = std::sync::mpsc::channel::<()>();
        let (begun, begins) = tokio::sync::oneshot::channel();
        let app = self.running().app();
        let read = app.db.read(move |_| {
            let _ = begun.send(());
            // ends when the sender is dropped
            let _ = held.recv();
            Ok(())
        });
        tokio::select! {
            begun = begins => begun.ok().map(|()| release),
            _ = read => None,
        }
    }

    /// Runs SQL on the store, as somebody with a database shell could; the error is the database's.
    pub async fn sql(&self, sql: &str) -> std::result::Result<(), String> {
        let mut conn = db::connect_to_write(&self.config.location).unwrap();
        match &mut conn {
            Conn::Sqlite(sqlite) => sqlite.batch_execute(sql),
            Conn::Pg(pg) => pg.batch_execute(sql),
        }
        .map_err(|why| why.to_string())
    }

    /// The plan of a query, as the database explains it.
    pub fn location(&self) -> &db::Location {
        &self.config.location
    }

    /// Stops the daemon in order.
    pub async fn stop(mut self) {
        if let Some(running) = self.running.take() {
            running.stop().await;
        }
    }
}

/// Hashing costs, so all people of all tests of a process share one.
async fn password_hash() -> String {
    static HASH: OnceLock<String> = OnceLock::new();
    if let Some(hash) = HASH.get() {
        return hash.clone();
    }
    let password: Password = PASSWORD.parse().unwrap();
    let hash = Hasher::new(1).unwrap().hash(password.as_str()).await.unwrap();
    HASH.get_or_init(|| hash).clone()
}

fn database_url(server: &str, name: &str) -> String {
    let (base, query) = server.split_once('?').map_or((server, ""), |(base, query)| (base, query));
    let base = base.rsplit_once('/').map_or(base, |(base, _)| base);
    if query.is_empty() { format!("{base}/{name}") } else { format!("{base}/{name}?{query}") }
}

/// A database of its own for a test, made from a template that is migrated once.
fn fresh_database(server: &str) -> Database {
    #[derive(diesel::QueryableByName)]
    struct Found {
        #[diesel(sql_type = diesel::sql_types::BigInt)]
        count: i64,
    }
    let template = format!("bursar_template_{}", db::schema_fingerprint());
    let mut admin = PgConnection::establish(server).unwrap();
    admin.batch_execute("SET client_min_messages=warning; SELECT pg_advisory_lock(77)").unwrap();
    let found: Found =
        diesel::sql_query(format!("SELECT COUNT(*) AS count FROM pg_database WHERE datname = '{template}'"))
            .get_result(&mut admin)
            .unwrap();
    if found.count == 0 {
        // migrated under another name first: a half-made template must not be taken for a whole one
        admin.batch_execute(&format!("DROP DATABASE IF EXISTS {template}_new WITH (FORCE)")).unwrap();
        admin.batch_execute(&format!("CREATE DATABASE {template}_new")).unwrap();
        db::migrate(&db::Location::Postgres(database_url(server, &format!("{template}_new")))).unwrap();
        admin.batch_execute(&format!("ALTER DATABASE {template}_new RENAME TO {template}")).unwrap();
    }
    admin.batch_execute("SELECT pg_advisory_unlock(77)").unwrap();
    // numbers of processes come again; what an earlier one left is nobody's business here
    let name = bursar_shared::id::request_id().replace("req_", "bursar_test_");
    admin.batch_execute(&format!("CREATE DATABASE {name} TEMPLATE {template}")).unwrap();
    // what a test survives is the death of the daemon, not of the machine
    admin.batch_execute(&format!("ALTER DATABASE {name} SET synchronous_commit = off")).unwrap();
    Database { admin_url: server.to_owned(), name }
}

/// Waits until `done` says so, for at most ten seconds; asks again whenever time has passed.
///
/// # Panics
/// When it never does.
pub async fn eventually<F: Future<Output = bool>>(what: &str, mut done: impl FnMut() -> F) {
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    for _ in 0..500 {
        ticks.tick().await;
        if done().await {
            return;
        }
    }
    panic!("never happened: {what}");
}
