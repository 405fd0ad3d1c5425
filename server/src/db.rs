//! The only door to the database: reads in a snapshot, writes in a queue, both off the async threads.
//!
//! No connection lives across an `.await`, and nothing else in the daemon begins a transaction:
//! reading before writing in a plain one lost money in a storm of transfers (docs/adr/0002).

mod ballast;
mod batch;
mod conn;
mod kept;
mod keys;
mod lanes;
mod money;
mod open;
#[macro_use]
pub(crate) mod statement;
mod watch;
mod worker;

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bursar_shared::{error::ErrorCode, operation::Created, operations::transfers::Transfer};
use diesel::{
    Connection,
    connection::{AnsiTransactionManager, TransactionManager},
};
use tokio::sync::{Semaphore, mpsc, oneshot};

#[cfg(feature = "testing")]
pub use self::open::{connect_to_write, schema_fingerprint};
pub use self::{
    ballast::{Label, Room, recorded, urgent},
    batch::{Kept, Outcome, Plain, Tx},
    conn::{Conn, MultiBackend},
    keys::{Keyed, Stored, find as find_verdict, purge as purge_verdicts},
    money::Order,
    open::{Engine, FolderLock, Location, SchemaState, migrate, schema_state},
};
use self::{
    batch::{Job, Settled},
    lanes::{Beside, Lanes, NotTaken},
    open::{Manager, Purpose},
};
pub(crate) use self::{open::compare_clocks, statement::statement};
use crate::{
    clock::Clock,
    config::Config,
    error::{BoxError, Error, Result, Trouble, broken, database_error, later, trouble},
    log::{Bus, Stamp},
    metrics::Metrics,
};

/// The same expression, checked once for each engine: needed for ON CONFLICT, inserts of many rows
/// and `FOR UPDATE`, which do not compile through the enum.
macro_rules! both {
    ($conn:expr, |$inner:ident| $body:expr) => {
        match $conn {
            $crate::db::Conn::Pg($inner) => $body,
            $crate::db::Conn::Sqlite($inner) => $body,
        }
    };
}
pub(crate) use both;

/// Connections that only look-ups of one row use.
const KEPT: usize = 2;
/// Writes that wait at most, before callers are told to come again.
const QUEUE: usize = 4_096;
/// Threads that move money on PostgreSQL: while one waits for its commit, the other goes on.
const MONEY_WRITERS: usize = 2;
/// How long a caller waits for a connection.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a write may wait in the queue; afterwards it is dropped and nothing has changed.
const WRITE_PATIENCE: Duration = Duration::from_secs(25);
/// How long a read may take in the database.
const READ_LIMIT: Duration = Duration::from_secs(5);

/// Figures about the database.
#[derive(Debug, Default)]
pub struct Figures {
    /// Those that `/metrics` shows.
    pub shown: Arc<Metrics>,
    /// Queries made by requests that read.
    pub of_requests: AtomicU64,
    /// Groups of writes that were run again after a conflict.
    pub retries: AtomicU64,
    /// The statements of reads, for tests that explain them.
    #[cfg(feature = "testing")]
    pub statements: std::sync::Mutex<Vec<String>>,
}

#[cfg(feature = "testing")]
impl Figures {
    fn note(&self, statements: Vec<String>) {
        let mut all = self.statements.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if all.len() > 1_000 {
            all.clear();
        }
        all.extend(statements);
    }
}

struct Inner {
    location: Location,
    readers: r2d2::Pool<Manager>,
    reading: Arc<Semaphore>,
    looking: Arc<Semaphore>,
    writer: Writer,
    clock: Clock,
    bus: Bus,
    figures: Arc<Figures>,
    losses: Arc<AtomicU64>,
    room: Room,
}

enum Writer {
    /// One thread, many writes a commit.
    Sqlite(mpsc::Sender<Job>),
    /// Many connections, one write a commit each; and threads for money, many movements a commit.
    Postgres {
        pool: r2d2::Pool<Manager>,
        writing: Arc<Semaphore>,
        waiting: Arc<AtomicUsize>,
        money: Option<Money>,
    },
}

/// The queue of the threads that move money, which end with it.
struct Money(Arc<Lanes>);

impl Drop for Money {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Counts a write as waiting until it is dropped.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(waiting: &Arc<AtomicUsize>) -> Self {
        waiting.fetch_add(1, Ordering::Relaxed);
        Self(waiting.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The database.
#[derive(Clone)]
pub struct Db {
    inner: Arc<Inner>,
}

/// What a write came to.
#[derive(Debug)]
pub enum Written<T> {
    /// It was done now.
    Done(T),
    /// It was done before, under the same key.
    Replayed(Stored),
}

/// How a write is to be run.
pub struct How {
    /// On whose behalf.
    pub stamp: Stamp,
    /// Under which key.
    pub key: Option<Keyed>,
    /// Only to see what would happen.
    pub dry_run: bool,
}

impl Db {
    /// Opens the pools and starts the writers. At most `group` writes share a commit. The schema must be up
    /// to date.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub fn open(
        location: &Location,
        pool_size: u32,
        group: usize,
        clock: Clock,
        bus: Bus,
        metrics: Arc<Metrics>,
        room: Room,
    ) -> std::result::Result<Self, BoxError> {
        let losses = Arc::new(AtomicU64::new(0));
        let figures = Arc::new(Figures { shown: metrics, ..Figures::default() });
        let pool = |purpose| {
            r2d2::Pool::builder()
                .max_size(pool_size)
                .min_idle(Some(1))
                .connection_timeout(PATIENCE)
                .idle_timeout(Some(Duration::from_secs(300)))
                .error_handler(Box::new(Whisper))
                .build(Manager {
                    location: location.clone(),
                    purpose,
                    losses: losses.clone(),
                    clock: clock.clone(),
                })
        };
        // the first connection is tried outside the pool, which would hide why it fails
        room.opening(|| Ok(open::look_at_time(&mut open::connect(location, Purpose::Read)?, &clock)?))?;
        let permits = usize::try_from(pool_size).unwrap_or(4);
        let worker = || worker::Worker {
            location: location.clone(),
            clock: clock.clone(),
            bus: bus.clone(),
            figures: figures.clone(),
            room: room.clone(),
        };
        let thread = |name: &str| std::thread::Builder::new().name(name.to_owned());
        let writer = match location.engine() {
            Engine::Sqlite => {
                let (queue, jobs) = mpsc::channel(QUEUE);
                let worker = worker();
                thread("bursar-writer").spawn(move || worker.run(jobs, group))?;
                Writer::Sqlite(queue)
            }
            Engine::Postgres => Writer::Postgres {
                pool: pool(Purpose::Write)?,
                writing: Arc::new(Semaphore::new(permits)),
                waiting: Arc::default(),
                // a transaction a request wants many connections, as every other write has them
                money: if group > 1 {
                    let money = Money(Arc::new(Lanes::new(MONEY_WRITERS, QUEUE)));
                    let kept = Arc::new(kept::KeptRows::default());
                    for lane in 0..MONEY_WRITERS {
                        let (worker, lanes, kept) = (worker(), money.0.clone(), kept.clone());
                        thread("bursar-money").spawn(move || worker.run_lane(&lanes, &kept, lane, group))?;
                    }
                    Some(money)
                } else {
                    None
                },
            },
        };
        let inner = Inner {
            location: location.clone(),
            readers: pool(Purpose::Read)?,
            // a few connections are kept for look-ups, so that broad lists cannot stop sign-ins
            reading: Arc::new(Semaphore::new(permits.saturating_sub(KEPT).max(1))),
            looking: Arc::new(Semaphore::new(KEPT)),
            writer,
            clock,
            bus,
            figures,
            losses,
            room,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The same for a command, perhaps beside a daemon, to whom belongs what is kept back for a full disk.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub fn for_command(config: &Config, clock: Clock) -> std::result::Result<Self, BoxError> {
        Self::open(&config.location, 1, config.group, clock, Bus::default(), Arc::default(), Room::unkept())
    }

    /// Which program holds the store.
    pub fn engine(&self) -> Engine {
        self.inner.location.engine()
    }

    /// Figures about the database.
    pub fn figures(&self) -> &Figures {
        &self.inner.figures
    }

    /// Whether writes are taken: not after the writer ended.
    pub fn takes_writes(&self) -> bool {
        match &self.inner.writer {
            Writer::Sqlite(queue) => !queue.is_closed(),
            Writer::Postgres { money, .. } => money.iter().all(|money| !money.0.is_closed()),
        }
    }

    /// Whether there is room for all writes.
    pub fn room(&self) -> &Room {
        &self.inner.room
    }

    /// Keeps room back for a full disk, and looks whether there is some again.
    pub async fn keep_room(&self) {
        let room = self.inner.room.clone();
        if let Err(why) = blocking(move || room.keep()).await {
            tracing::error!(why = %why, "nothing could be kept back for a full disk");
        }
    }

    /// Writes that wait now.
    pub fn queued(&self) -> usize {
        match &self.inner.writer {
            Writer::Sqlite(queue) => QUEUE - queue.capacity(),
            Writer::Postgres { waiting, money, .. } => {
                let of_money = money.as_ref().map_or(0, |money| money.0.len());
                of_money + waiting.load(Ordering::Relaxed)
            }
        }
    }

    /// Runs `look` in a snapshot: rows and totals agree, nothing can be written. Answers with the
    /// number of queries it took.
    ///
    /// # Errors
    /// Those of `look`; `OVERLOADED` when no connection is free in time.
    pub async fn read<T, F>(&self, look: F) -> Result<(T, u32)>
    where
        T: Send + 'static,
        F: FnOnce(&mut Conn) -> Result<T> + Send + 'static,
    {
        self.read_with(&self.inner.reading, look).await
    }

    /// The same for a look-up of a row or two, which does not wait behind lists.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub async fn look_up<T, F>(&self, look: F) -> Result<(T, u32)>
    where
        T: Send + 'static,
        F: FnOnce(&mut Conn) -> Result<T> + Send + 'static,
    {
        self.read_with(&self.inner.looking, look).await
    }

    async fn read_with<T, F>(&self, permits: &Arc<Semaphore>, look: F) -> Result<(T, u32)>
    where
        T: Send + 'static,
        F: FnOnce(&mut Conn) -> Result<T> + Send + 'static,
    {
        let busy =
            || later(ErrorCode::Overloaded, "All database connections are busy.", Duration::from_secs(1));
        let permit = tokio::time::timeout(PATIENCE, permits.clone().acquire_owned())
            .await
            .ok()
            .and_then(std::result::Result::ok)
            .ok_or_else(busy)?;
        let inner = self.inner.clone();
        blocking(move || {
            // goes with the connection, not with the caller: who hangs up leaves a query that still runs
            let _permit = permit;
            let mut pooled = checkout(&inner.readers)?;
            watch::set_deadline(Some(Instant::now() + READ_LIMIT));
            #[cfg(feature = "testing")]
            watch::statements();
            let read = snapshot(&mut pooled.conn, look);
            #[cfg(feature = "testing")]
            inner.figures.note(watch::statements());
            watch::set_deadline(None);
            inner.figures.shown.queries.add(watch::counted().into());
            if let Err(why) = &read {
                inner.note_loss(why);
            }
            read.map(|value| (value, watch::counted()))
        })
        .await?
    }

    /// Runs `change` in a transaction: queue, key, closure, log rows, commit, caches, answer.
    ///
    /// `change` may run more than once (after a deadlock, or when a neighbour of its commit failed),
    /// so it must not do anything but read and write through `tx`.
    ///
    /// # Errors
    /// Those of `change`; `OVERLOADED` when the queue is full; `TIMEOUT` when it waited too long; `STORAGE_FULL`
    /// when the disk is full, unless `label` says that what was kept back is for it too.
    /// In all cases nothing was changed, unless the error says otherwise.
    pub async fn write<T, F>(&self, label: impl Into<Label>, how: How, change: F) -> Result<Written<T>>
    where
        T: Send + 'static,
        F: Fn(&mut Tx<'_>) -> Result<Outcome<T>> + Send + Sync + 'static,
        T: batch::Verdict,
    {
        let (job, answer) = Job::new(label.into(), how, Instant::now() + WRITE_PATIENCE, change);
        match &self.inner.writer {
            Writer::Sqlite(queue) => enqueue(queue, job)?,
            Writer::Postgres { pool, writing, waiting, .. } => {
                self.write_alone(pool, writing, waiting, job).await?;
            }
        }
        answer.wait().await
    }

    /// A transaction for this write alone, on any connection of the pool.
    async fn write_alone(
        &self,
        pool: &r2d2::Pool<Manager>,
        writing: &Arc<Semaphore>,
        waiting: &Arc<AtomicUsize>,
        job: Job,
    ) -> Result<()> {
        // writes wait their turn as they do behind SQLite's one writer; requests in flight are bounded
        let counted = Counted::new(waiting);
        let permit = tokio::time::timeout(WRITE_PATIENCE, writing.clone().acquire_owned())
            .await
            .ok()
            .and_then(std::result::Result::ok)
            .ok_or_else(batch::waited_too_long)?;
        drop(counted);
        let (inner, pool) = (self.inner.clone(), pool.clone());
        // spawned, not awaited: a caller who goes away must not cut a commit in half
        spawn(move || {
            inner.write_one(&pool, job);
            drop(permit);
        });
        Ok(())
    }

    /// Moves money: in a batch with its neighbours.
    ///
    /// # Errors
    /// Refusals of the ledger; `OVERLOADED` when the queue is full; `TIMEOUT` when it waited too long.
    /// In all cases nothing was changed, unless the error says otherwise.
    pub async fn post(&self, how: How, order: Order) -> Result<Written<Created<Transfer>>> {
        let (job, answer) = Job::money(how, Instant::now() + WRITE_PATIENCE, order);
        match &self.inner.writer {
            Writer::Sqlite(queue) => enqueue(queue, job)?,
            Writer::Postgres { money: Some(Money(lanes)), .. } => {
                lanes.push(job).map_err(not_taken)?;
            }
            Writer::Postgres { pool, writing, waiting, money: None } => {
                self.write_alone(pool, writing, waiting, job).await?;
            }
        }
        answer.wait().await
    }
}

/// Puts a job into a queue that is never longer than it may be.
fn enqueue(queue: &mpsc::Sender<Job>, job: Job) -> Result<()> {
    queue.try_send(job).map_err(|refused| match refused {
        mpsc::error::TrySendError::Full(_) => not_taken(NotTaken::Full),
        mpsc::error::TrySendError::Closed(_) => not_taken(NotTaken::Closed),
    })
}

/// What callers are told whose job was not taken.
fn not_taken(why: NotTaken) -> Error {
    match why {
        NotTaken::Full => {
            later(ErrorCode::Overloaded, "Too many writes are waiting.", Duration::from_secs(1))
        }
        NotTaken::Closed => later(ErrorCode::ShuttingDown, "The daemon is stopping.", Duration::from_secs(2)),
    }
}

impl Inner {
    fn write_one(&self, pool: &r2d2::Pool<Manager>, job: Job) {
        let mut batch = vec![job];
        let mut tries = 0;
        loop {
            let mut pooled = match checkout(pool) {
                Ok(pooled) => pooled,
                Err(why) => return batch.into_iter().for_each(|job| job.fail(broken_like(&why))),
            };
            let Self { location, clock, bus, figures, .. } = self;
            match batch::run(&mut pooled.conn, batch, Beside::Nobody, location, clock, bus, figures) {
                Settled::All | Settled::Unknown => return,
                Settled::Again(jobs, why) => {
                    tries += 1;
                    self.note_loss(&why);
                    if tries > 3 {
                        return jobs.into_iter().for_each(|job| job.fail(batch::given_up(&why)));
                    }
                    self.figures.retries.fetch_add(1, Ordering::Relaxed);
                    batch = jobs;
                }
            }
        }
    }

    /// After a lost connection none of the idle ones is trusted.
    fn note_loss(&self, why: &Error) {
        if database_error(why).map(trouble) == Some(Trouble::Lost) {
            self.losses.fetch_add(1, Ordering::AcqRel);
        }
    }
}

/// The same error again, for another caller.
fn broken_like(why: &Error) -> Error {
    match why {
        Error::Refused(refusal) => Error::Refused(refusal.clone()),
        Error::Broken { doing, .. } => match database_error(why) {
            Some(diesel::result::Error::DatabaseError(_, info)) => Error::Broken {
                doing,
                source: Box::new(diesel::result::Error::DatabaseError(
                    match database_error(why).map(trouble) {
                        Some(Trouble::Lost) => diesel::result::DatabaseErrorKind::ClosedConnection,
                        Some(Trouble::Transient) => diesel::result::DatabaseErrorKind::SerializationFailure,
                        _ => diesel::result::DatabaseErrorKind::Unknown,
                    },
                    Box::new(info.message().to_owned()),
                )),
            },
            _ => Error::Broken { doing, source: why.to_string().into() },
        },
    }
}

fn checkout(pool: &r2d2::Pool<Manager>) -> Result<r2d2::PooledConnection<Manager>> {
    #[expect(clippy::disallowed_methods, reason = "this is the door")]
    pool.get().map_err(|why| Error::Broken {
        doing: "connecting to the database",
        source: Box::new(diesel::result::Error::DatabaseError(
            diesel::result::DatabaseErrorKind::ClosedConnection,
            Box::new(why.to_string()),
        )),
    })
}

/// A read-only transaction in which everything is of one moment.
fn snapshot<T>(conn: &mut Conn, look: impl FnOnce(&mut Conn) -> Result<T>) -> Result<T> {
    match conn {
        Conn::Sqlite(sqlite) => AnsiTransactionManager::begin_transaction_sql(sqlite, "BEGIN")?,
        Conn::Pg(pg) => {
            AnsiTransactionManager::begin_transaction_sql(
                pg,
                "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY",
            )?;
        }
    }
    watch::start_counting();
    let seen = look(conn);
    let counted = watch::counted();
    let ended = <Conn as Connection>::TransactionManager::rollback_transaction(conn);
    watch::start_counting();
    watch::add(counted);
    let seen = seen?;
    ended?;
    Ok(seen)
}

#[expect(clippy::disallowed_methods, reason = "this is the border between async and blocking")]
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|why| broken("database thread")(Box::new(why)))
}

#[expect(clippy::disallowed_methods, reason = "this is the border between async and blocking")]
fn spawn(work: impl FnOnce() + Send + 'static) {
    drop(tokio::task::spawn_blocking(work));
}

/// Waits for what became of a job.
struct Waiting<T> {
    settled: oneshot::Receiver<Result<Written<T>>>,
}

impl<T> Waiting<T> {
    async fn wait(self) -> Result<Written<T>> {
        // dropped unanswered: the writer ended with it in its hands
        self.settled.await.unwrap_or_else(|_| Err(batch::outcome_unknown()))
    }
}

/// r2d2 reports failed connection attempts here; the caller who waits hears of them too.
#[derive(Debug)]
struct Whisper;

impl r2d2::HandleError<open::BoxErrorDisplay> for Whisper {
    fn handle_error(&self, why: open::BoxErrorDisplay) {
        tracing::debug!(why = %why, "connection attempt failed");
    }
}

/// The constraint that a write broke, by name. PostgreSQL names it; SQLite says `table.column` for a
/// unique index, which is named `<table>_<column>`, and the name for everything else.
pub fn constraint(error: &diesel::result::Error) -> Option<String> {
    let diesel::result::Error::DatabaseError(_, info) = error else { return None };
    if let Some(name) = info.constraint_name() {
        return Some(name.to_owned());
    }
    let text = info.message();
    match text.split_once(" constraint failed: ") {
        Some((_, what)) => Some(what.split(',').next().unwrap_or(what).trim().replace('.', "_")),
        None => Some(text.to_owned()),
    }
}

/// Where SQLite keeps its store in a data folder.
pub fn file_in(folder: &Path) -> Location {
    Location::Sqlite(folder.join("bursar.db"))
}
