//! Opening connections: the engine by the URL's scheme, the settings of each, and the schema.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use diesel::{
    Connection, OptionalExtension, PgConnection, RunQueryDsl, SqliteConnection,
    connection::{InstrumentationEvent, SimpleConnection},
    migration::{Migration, MigrationSource, MigrationVersion},
    sql_types::{BigInt, Text},
};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use super::{Conn, watch};
use crate::{
    clock::Clock,
    error::{BoxError, errors_are_worded_in},
};

const SQLITE: EmbeddedMigrations = embed_migrations!("../migrations/sqlite");
const POSTGRES: EmbeddedMigrations = embed_migrations!("../migrations/postgres");

/// "Burs" in ASCII: marks a SQLite file as ours.
const APPLICATION_ID: i64 = 0x4275_7273;

/// The SQLite below which WAL could be reset under a reader (fixed in 3.51.3).
const SQLITE_AT_LEAST: i32 = 3_051_003;

/// Which database program holds the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// Embedded, in one file.
    Sqlite,
    /// PostgreSQL.
    Postgres,
}

impl Engine {
    /// `sqlite` or `postgres`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
        }
    }
}

/// Where the store is.
#[derive(Clone, PartialEq, Eq)]
pub enum Location {
    /// A file.
    Sqlite(PathBuf),
    /// A URL that libpq understands.
    Postgres(String),
}

impl Location {
    /// Reads `sqlite:FILE` or `postgres://...`; an unknown scheme is refused, because SQLite would
    /// gladly create a file of that name.
    ///
    /// # Errors
    /// What is wrong with the text, for people.
    pub fn parse(url: &str) -> Result<Self, String> {
        if let Some(path) = url.strip_prefix("sqlite:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            if path.is_empty() {
                return Err("sqlite: needs a file, like sqlite:/var/lib/bursar/bursar.db".to_owned());
            }
            return Ok(Self::Sqlite(PathBuf::from(path)));
        }
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            return Ok(Self::Postgres(url.to_owned()));
        }
        Err("must begin with sqlite: or postgres://".to_owned())
    }

    /// Which program holds it.
    pub const fn engine(&self) -> Engine {
        match self {
            Self::Sqlite(_) => Engine::Sqlite,
            Self::Postgres(_) => Engine::Postgres,
        }
    }
}

impl fmt::Debug for Location {
    /// Leaves the password out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Postgres(url) => {
                let host = url.rsplit_once('@').map_or(url.as_str(), |(_, host)| host);
                let host = host.split('?').next().unwrap_or_default();
                write!(
                    f,
                    "postgres://{}",
                    host.trim_start_matches("postgresql://").trim_start_matches("postgres://")
                )
            }
        }
    }
}

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Read,
    Write,
}

/// A connection that knows when it was opened, counted in losses of the database.
pub(super) struct Pooled {
    pub(super) conn: Conn,
    opened: u64,
}

/// Opens connections for the pool, and drops all idle ones once a single one was lost: one dead
/// connection means many.
#[derive(Debug)]
pub(super) struct Manager {
    pub(super) location: Location,
    pub(super) purpose: Purpose,
    pub(super) losses: Arc<AtomicU64>,
    pub(super) clock: Clock,
}

impl r2d2::ManageConnection for Manager {
    type Connection = Pooled;
    type Error = BoxErrorDisplay;

    fn connect(&self) -> Result<Pooled, BoxErrorDisplay> {
        let opened = self.losses.load(Ordering::Acquire);
        let mut conn = connect(&self.location, self.purpose).map_err(BoxErrorDisplay)?;
        if self.purpose == Purpose::Write {
            compare_clocks(&mut conn, &self.clock).map_err(|why| BoxErrorDisplay(why.into()))?;
        }
        Ok(Pooled { conn, opened })
    }

    fn is_valid(&self, pooled: &mut Pooled) -> Result<(), BoxErrorDisplay> {
        if pooled.opened == self.losses.load(Ordering::Acquire) {
            return Ok(());
        }
        Err(BoxErrorDisplay("the connection is older than the last loss".into()))
    }

    fn has_broken(&self, pooled: &mut Pooled) -> bool {
        use diesel::connection::TransactionManager;
        pooled.opened != self.losses.load(Ordering::Acquire)
            || <Conn as Connection>::TransactionManager::is_broken_transaction_manager(&mut pooled.conn)
            || std::thread::panicking()
    }
}

/// An error that r2d2 can hold.
#[derive(Debug)]
pub(super) struct BoxErrorDisplay(pub(super) BoxError);

impl fmt::Display for BoxErrorDisplay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for BoxErrorDisplay {}

/// Opens one connection and sets it up.
pub(super) fn connect(location: &Location, purpose: Purpose) -> Result<Conn, BoxError> {
    let mut conn = match location {
        Location::Sqlite(path) => {
            watch::limit_sqlite_statements();
            let mut sqlite = SqliteConnection::establish(&path.to_string_lossy())?;
            // recursive_triggers: without it INSERT OR REPLACE slips past the append-only triggers
            sqlite.batch_execute(
                "PRAGMA busy_timeout=5000; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;
                 PRAGMA foreign_keys=ON; PRAGMA recursive_triggers=ON; PRAGMA trusted_schema=OFF;
                 PRAGMA cell_size_check=ON; PRAGMA temp_store=MEMORY; PRAGMA cache_size=-16384;
                 PRAGMA wal_autocheckpoint=4000; PRAGMA journal_size_limit=67108864;",
            )?;
            if purpose == Purpose::Read {
                sqlite.batch_execute("PRAGMA query_only=ON;")?;
            }
            Conn::Sqlite(sqlite)
        }
        Location::Postgres(url) => {
            let mut pg = PgConnection::establish(&with_defaults(url)).map_err(|why| -> BoxError {
                let why = why.to_string();
                // libpq ends what it says with a new line
                let why = why.trim_end();
                match why.contains("SSL support is not compiled in") {
                    true => format!("{why}; build with --features pg-tls for TLS to PostgreSQL").into(),
                    false => why.into(),
                }
            })?;
            let limit = match purpose {
                Purpose::Read => "5s",
                Purpose::Write => "10s",
            };
            pg.batch_execute(&format!(
                "SET statement_timeout='{limit}'; SET lock_timeout='2s';
                 SET idle_in_transaction_session_timeout='10s'; SET client_min_messages=warning;
                 DO $$BEGIN PERFORM set_config('lc_messages', 'C', false);
                 EXCEPTION WHEN insufficient_privilege THEN NULL; END$$;"
            ))?;
            if purpose == Purpose::Write {
                // A write runs the same few statements for ever and finds its rows by their keys: to plan them
                // again each time took a quarter of what a transfer costs. A plan that was made while a table
                // was empty must not walk it later.
                pg.batch_execute("SET plan_cache_mode=force_generic_plan; SET enable_seqscan=off")?;
            }
            // not everybody may choose the language
            let language: Line =
                diesel::sql_query("SELECT current_setting('lc_messages') AS value").get_result(&mut pg)?;
            errors_are_worded_in(&language.value);
            Conn::Pg(pg)
        }
    };
    conn.set_instrumentation(|event: InstrumentationEvent<'_>| watch::saw(&event));
    Ok(conn)
}

/// Compares this machine's clock with that of PostgreSQL, which all its daemons share. A SQLite file has no
/// other clock than ours.
pub(crate) fn compare_clocks(conn: &mut Conn, clock: &Clock) -> diesel::QueryResult<()> {
    let Conn::Pg(pg) = conn else { return Ok(()) };
    let before = clock.now();
    let theirs =
        diesel::sql_query("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS value")
            .get_result::<Number>(pg)?;
    clock.compare(before, theirs.value, clock.now());
    Ok(())
}

/// Looks how late it is already in a store that is opened: by the database's clock, or, where there is none
/// but ours, by the newest row.
pub(super) fn look_at_time(conn: &mut Conn, clock: &Clock) -> diesel::QueryResult<()> {
    if let Conn::Sqlite(sqlite) = conn {
        let newest = diesel::sql_query("SELECT at AS value FROM log ORDER BY seq DESC LIMIT 1")
            .get_result::<Number>(sqlite)
            .optional()?;
        clock.not_before(newest.map_or(0, |newest| newest.value));
    }
    compare_clocks(conn, clock)
}

/// The URL with settings that notice a dead server within seconds, where it does not set them itself.
fn with_defaults(url: &str) -> String {
    let mut out = url.to_owned();
    for (name, value) in [
        ("connect_timeout", "3"),
        ("keepalives_idle", "5"),
        ("keepalives_interval", "2"),
        ("keepalives_count", "3"),
        ("tcp_user_timeout", "5000"),
        ("application_name", "bursar"),
    ] {
        if !url.contains(&format!("{name}=")) {
            out.push(if out.contains('?') { '&' } else { '?' });
            out.push_str(name);
            out.push('=');
            out.push_str(value);
        }
    }
    out
}

#[derive(diesel::QueryableByName)]
struct Number {
    #[diesel(sql_type = BigInt)]
    value: i64,
}

#[derive(diesel::QueryableByName)]
struct Line {
    #[diesel(sql_type = Text)]
    value: String,
}

/// A connection as the writer has one, for tests.
#[cfg(feature = "testing")]
pub fn connect_to_write(location: &Location) -> Result<Conn, BoxError> {
    connect(location, Purpose::Write)
}

/// What tells this schema from others, for tests that keep a template.
#[cfg(feature = "testing")]
pub fn schema_fingerprint() -> String {
    let text = concat!(
        include_str!("../../../migrations/postgres/0001_people/up.sql"),
        include_str!("../../../migrations/postgres/0002_money/up.sql"),
    );
    let sum = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    sum.as_ref().iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}

/// How far the schema of a store is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaState {
    /// Migrations that are there.
    pub applied: Vec<String>,
    /// Migrations that this program has and the store has not.
    pub pending: Vec<String>,
}

/// Checks that the file or database is ours and not newer than this program, then brings it up to
/// date. Answers with the names of the migrations that were run.
///
/// # Errors
/// With one line that names the cause and what helps.
pub fn migrate(location: &Location) -> Result<Vec<String>, BoxError> {
    refuse_old_sqlite(location)?;
    // first: whoever opens a store that they may only read leaves files beside it that nobody can write to
    refuse_unwritable_file(location)?;
    refuse_foreign_file(location)?;
    keep_private(location)?;
    let mut conn = connect(location, Purpose::Write)?;
    refuse_newer(&mut conn)?;
    let ran = match &mut conn {
        Conn::Sqlite(sqlite) => {
            // a start that changes nothing writes nothing: the disk may be full
            if application_id(sqlite)? != APPLICATION_ID {
                mark(sqlite)?;
            }
            names(&sqlite.run_pending_migrations(SQLITE)?)
        }
        Conn::Pg(pg) => {
            // a migration takes the time it takes; two daemons that start at once must not both migrate
            pg.batch_execute("SET statement_timeout=0; SET lock_timeout=0")?;
            pg.batch_execute("SELECT pg_advisory_lock(4859431)")?;
            let ran = pg.run_pending_migrations(POSTGRES).map(|versions| names(&versions));
            pg.batch_execute("SELECT pg_advisory_unlock(4859431)")?;
            ran?
        }
    };
    Ok(ran)
}

/// Says that a SQLite file is ours. It is written each time, whatever stood there.
pub(super) fn mark(sqlite: &mut SqliteConnection) -> diesel::QueryResult<()> {
    sqlite.batch_execute(&format!("PRAGMA application_id={APPLICATION_ID};"))
}

fn application_id(sqlite: &mut SqliteConnection) -> diesel::QueryResult<i64> {
    diesel::sql_query("SELECT application_id AS value FROM pragma_application_id")
        .get_result::<Number>(sqlite)
        .map(|id| id.value)
}

/// What is applied and what is pending, changing nothing.
///
/// # Errors
/// As [`migrate`].
pub fn schema_state(location: &Location) -> Result<SchemaState, BoxError> {
    if matches!(location, Location::Sqlite(path) if !path.exists()) {
        return Ok(SchemaState { applied: Vec::new(), pending: embedded(location.engine()) });
    }
    refuse_foreign_file(location)?;
    let mut conn = connect(location, Purpose::Read)?;
    refuse_newer(&mut conn)?;
    let applied = applied(&mut conn);
    let pending = embedded(conn_engine(&conn)).into_iter().filter(|name| !applied.contains(name)).collect();
    Ok(SchemaState { applied, pending })
}

const fn conn_engine(conn: &Conn) -> Engine {
    match conn {
        Conn::Sqlite(_) => Engine::Sqlite,
        Conn::Pg(_) => Engine::Postgres,
    }
}

fn names(versions: &[MigrationVersion<'_>]) -> Vec<String> {
    versions.iter().map(ToString::to_string).collect()
}

/// The versions that this program has.
fn embedded(engine: Engine) -> Vec<String> {
    macro_rules! names_of {
        ($source:ident, $backend:ty) => {{
            let list: Vec<Box<dyn Migration<$backend>>> = $source.migrations().unwrap_or_default();
            list.iter().map(|migration| migration.name().version().to_string()).collect::<Vec<_>>()
        }};
    }
    let mut list = match engine {
        Engine::Sqlite => names_of!(SQLITE, diesel::sqlite::Sqlite),
        Engine::Postgres => names_of!(POSTGRES, diesel::pg::Pg),
    };
    list.sort();
    list
}

/// The versions that the store has; none when it is empty.
fn applied(conn: &mut Conn) -> Vec<String> {
    diesel::sql_query("SELECT version AS value FROM __diesel_schema_migrations ORDER BY version")
        .load::<Line>(conn)
        .map(|lines| lines.into_iter().map(|line| line.value).collect())
        .unwrap_or_default()
}

fn refuse_newer(conn: &mut Conn) -> Result<(), BoxError> {
    let known = embedded(conn_engine(conn));
    match applied(conn).into_iter().find(|version| !known.contains(version)) {
        Some(newer) => Err(format!(
            "the store was written by a newer bursar (it has migration {newer}); start that version instead"
        )
        .into()),
        None => Ok(()),
    }
}

fn refuse_old_sqlite(location: &Location) -> Result<(), BoxError> {
    if location.engine() == Engine::Postgres {
        return Ok(());
    }
    #[expect(unsafe_code, reason = "the version number of the linked library; no arguments, no memory")]
    let version = unsafe { libsqlite3_sys::sqlite3_libversion_number() };
    if version < SQLITE_AT_LEAST {
        return Err(
            format!("the linked SQLite is {version}, older than 3.51.3: build with the bundled one").into()
        );
    }
    Ok(())
}

/// The store holds password hashes and, without a master key, the keys that sign tokens: nobody but its
/// owner may read it. SQLite gives `-wal` and `-shm` the mode of the file.
#[cfg(unix)]
fn keep_private(location: &Location) -> Result<(), BoxError> {
    use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
    let Location::Sqlite(path) = location else { return Ok(()) };
    let cannot = |why: std::io::Error| format!("cannot make {} private: {why}", path.display());
    let mut options = std::fs::OpenOptions::new();
    options
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(path)
        .map_err(|why| format!("cannot write to {}: {why}", path.display()))?;
    for suffix in ["", "-wal", "-shm"] {
        let mut name = path.clone().into_os_string();
        name.push(suffix);
        let name = PathBuf::from(name);
        // others may not read them; and one that we may not write to comes of a store that was so once
        if name.metadata().is_ok_and(|facts| facts.permissions().mode() & 0o777 != 0o600) {
            std::fs::set_permissions(&name, std::fs::Permissions::from_mode(0o600)).map_err(cannot)?;
        }
    }
    Ok(())
}

#[cfg(not(unix))]
fn keep_private(_: &Location) -> Result<(), BoxError> {
    Ok(())
}

fn refuse_unwritable_file(location: &Location) -> Result<(), BoxError> {
    let Location::Sqlite(path) = location else { return Ok(()) };
    match std::fs::OpenOptions::new().write(true).open(path) {
        Err(why) if path.is_file() => Err(format!("cannot write to {}: {why}", path.display()).into()),
        _ => Ok(()),
    }
}

/// A file that is there must be a SQLite database, and ours.
fn refuse_foreign_file(location: &Location) -> Result<(), BoxError> {
    let Location::Sqlite(path) = location else { return Ok(()) };
    let Ok(facts) = std::fs::metadata(path) else { return Ok(()) };
    if !facts.is_file() {
        return Err(format!("{} is not a file", path.display()).into());
    }
    if facts.len() == 0 {
        return Ok(());
    }
    let mut conn = SqliteConnection::establish(&path.to_string_lossy())?;
    // somebody may be closing it at this moment, and checkpoints before they go
    conn.batch_execute("PRAGMA busy_timeout=5000;")?;
    let damaged = |why: diesel::result::Error| {
        format!(
            "{} cannot be read as a database ({why}); restore a backup, or name another file",
            path.display()
        )
    };
    let id = application_id(&mut conn).map_err(damaged)?;
    let tables = diesel::sql_query("SELECT COUNT(*) AS value FROM sqlite_schema")
        .get_result::<Number>(&mut conn)
        .map_err(damaged)?;
    if id != APPLICATION_ID && tables.value > 0 {
        return Err(format!("{} is a database of another program", path.display()).into());
    }
    Ok(())
}

/// A kernel lock in a folder, held as long as the value lives: existence of the file means nothing.
#[derive(Debug)]
pub struct FolderLock {
    _file: std::fs::File,
}

impl FolderLock {
    /// Locks the folder of a SQLite file for this process alone.
    ///
    /// # Errors
    /// When another process holds it, or the folder cannot be written to.
    pub fn take(beside: &Path) -> Result<Self, BoxError> {
        let path = beside.with_extension("lock");
        let mut options = std::fs::OpenOptions::new();
        options.create(true).truncate(false).write(true).read(true);
        #[cfg(unix)]
        {
            use std::os::unix::fs::OpenOptionsExt;
            options.mode(0o600);
        }
        let file = options
            .open(&path)
            .map_err(|why| format!("cannot write to {}: {why}", path.parent().unwrap_or(&path).display()))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(std::fs::TryLockError::WouldBlock) => Err(format!(
                "another bursar holds {}; stop it first, or give this one its own --data-dir",
                beside.display()
            )
            .into()),
            Err(std::fs::TryLockError::Error(why)) => {
                Err(format!("cannot lock {}: {why}", path.display()).into())
            }
        }
    }
}
