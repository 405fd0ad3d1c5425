//! Running writes: a group of them in one transaction, each under a savepoint of its own, but for those that move
//! money, which are one batch and need none (docs/adr/0013).
//!
//! A refusal or a fault of one leaves its neighbours alone. When the whole transaction fails, the
//! group is halved until the guilty one stands alone. Nobody is answered before COMMIT returned, and
//! when it is unknown whether it did, the log says.

use std::{
    any::Any,
    ops::{Deref, DerefMut},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Mutex,
    time::{Duration, Instant},
};

use bursar_shared::{
    error::{ApiError, ErrorCode},
    operation::{Answer, Created},
    operations::transfers::Transfer,
    time::Timestamp,
};
use diesel::{
    Connection, ExpressionMethods, OptionalExtension, QueryDsl, QueryResult, RunQueryDsl,
    connection::{AnsiTransactionManager, TransactionManager},
};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::{
    Conn, Figures, How, Location, Waiting, Written,
    ballast::Label,
    keys,
    keys::{Claim, Stored},
    lanes::Beside,
    money::{self, Order},
    open,
    open::Purpose,
    watch,
};
use crate::{
    clock::Clock,
    error::{
        Error, Refusal, Result, Trouble, broken, database_error, later, refuse, trouble, waited_for_a_lock,
    },
    ledger::{self, Command, Verdict as Moved, What},
    log::{self, Bus, Draft, Row, Stamp},
};

pub(super) type Manager = <Conn as Connection>::TransactionManager;

/// How a write ends when nothing broke.
#[derive(Debug)]
pub enum Outcome<T> {
    /// Done.
    Done(T),
    /// Refused, but what was written stays: a stolen refresh token ends its session.
    Keep(Error),
}

/// What can be kept under an idempotency key.
pub trait Verdict: Sized {
    /// Its status and data; nothing for writes that never carry a key.
    fn verdict(&self) -> Result<Option<(u16, Value)>>;
}

/// A value that is never kept under a key.
#[derive(Debug)]
pub struct Plain<T>(pub T);

impl<T> Verdict for Plain<T> {
    fn verdict(&self) -> Result<Option<(u16, Value)>> {
        Ok(None)
    }
}

/// An answer that is kept under the caller's key.
#[derive(Debug)]
pub struct Kept<A>(pub A);

impl<A: Answer> Verdict for Kept<A> {
    fn verdict(&self) -> Result<Option<(u16, Value)>> {
        let data = self.0.data().map(serde_json::to_value).transpose()?;
        Ok(Some((A::STATUS, crate::cx::kept(data))))
    }
}

/// A transaction: a connection that also notes down what happens.
pub struct Tx<'a> {
    conn: &'a mut Conn,
    stamp: &'a Stamp,
    clock: &'a Clock,
    now: Timestamp,
    rows: &'a mut Vec<Row>,
}

impl Tx<'_> {
    /// Notes down what happened; it is committed with it.
    pub fn log(&mut self, draft: Draft) {
        self.rows.push(Row::of(draft, self.stamp, self.now));
    }

    /// The same at another time: for generators of history.
    pub fn log_at(&mut self, draft: Draft, at: Timestamp) {
        self.rows.push(Row::of(draft, self.stamp, at));
    }

    /// When this transaction happens.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Moves money within this transaction, in order; each command has its own verdict. `issues`: money may
    /// come into the books and leave them.
    ///
    /// # Errors
    /// Those of the database.
    pub fn money(&mut self, whats: Vec<What>, issues: bool) -> Result<Vec<Moved>> {
        if let Some(why) = self.clock.distrust() {
            return Err(money::by_no_clock(why));
        }
        let moved = self.money_at(whats, issues, self.now)?;
        // what passes by itself is not the verdict of one among many, which would be kept under the key of all
        match moved.iter().find_map(|one| one.as_ref().err().filter(|why| why.code.status() >= 500)) {
            Some(why) => Err(why.clone().into()),
            None => Ok(moved),
        }
    }

    /// The same at another time: for generators of history.
    ///
    /// # Errors
    /// Those of the database.
    pub fn money_at(&mut self, whats: Vec<What>, issues: bool, at: Timestamp) -> Result<Vec<Moved>> {
        let stamp = self.stamp.clone();
        let command = |what| Command { what, stamp: stamp.clone(), issues };
        let commands: Vec<Command> = whats.into_iter().map(command).collect();
        ledger::apply(self.conn, &commands, at, self.rows)
    }

    /// Runs a part that may be refused by itself: what it wrote and logged is undone then, and the
    /// rest goes on.
    ///
    /// # Errors
    /// Those of `part`.
    pub fn apart<T>(&mut self, part: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let before = self.rows.len();
        Manager::begin_transaction(self.conn)?;
        match part(self) {
            Ok(value) => {
                Manager::commit_transaction(self.conn)?;
                Ok(value)
            }
            Err(why) => {
                self.rows.truncate(before);
                let undone = Manager::rollback_transaction(self.conn);
                // if SQLite ended the whole transaction there is no savepoint to go back to; why it did says more
                if database_error(&why).is_none() {
                    undone?;
                }
                Err(why)
            }
        }
    }
}

impl Deref for Tx<'_> {
    type Target = Conn;
    fn deref(&self) -> &Conn {
        self.conn
    }
}

impl DerefMut for Tx<'_> {
    fn deref_mut(&mut self) -> &mut Conn {
        self.conn
    }
}

/// What a job's closure came to, its value put aside.
pub(super) enum Ended {
    Done(Option<(u16, Value)>),
    Keep(Error),
}

/// How a job is answered.
pub(super) enum Reply {
    /// With the value that was put aside.
    Value,
    /// With a verdict of before.
    Replayed(Stored),
    /// With an error.
    Error(Error),
}

type Change = Box<dyn Fn(&mut Tx<'_>, &mut Option<Box<dyn Any + Send>>) -> Result<Ended> + Send + Sync>;

/// What a job does.
pub(super) enum Work {
    /// Anything, under a savepoint of its own.
    Change(Change),
    /// Moves money, together with others that do.
    Money(Box<Order>),
}

type Settle = Box<dyn FnOnce(Reply, Option<Box<dyn Any + Send>>) + Send>;

/// A write that waits for its turn.
pub(super) struct Job {
    pub(super) label: Label,
    pub(super) how: How,
    pub(super) deadline: Instant,
    pub(super) work: Work,
    settle: Settle,
    value: Mutex<Option<Box<dyn Any + Send>>>,
}

impl Job {
    pub(super) fn new<T, F>(label: Label, how: How, deadline: Instant, change: F) -> (Self, Waiting<T>)
    where
        T: Verdict + Send + 'static,
        F: Fn(&mut Tx<'_>) -> Result<Outcome<T>> + Send + Sync + 'static,
    {
        let (tell, settled) = oneshot::channel();
        let keyed = how.key.is_some();
        let work: Change = Box::new(move |tx, put_aside| match change(tx)? {
            Outcome::Done(value) => {
                let verdict = if keyed { value.verdict()? } else { None };
                *put_aside = Some(Box::new(value));
                Ok(Ended::Done(verdict))
            }
            Outcome::Keep(refusal) => Ok(Ended::Keep(refusal)),
        });
        let job = Self {
            label,
            how,
            deadline,
            work: Work::Change(work),
            settle: settling(tell),
            value: Mutex::new(None),
        };
        (job, Waiting { settled })
    }

    /// A job that moves money.
    pub(super) fn money(how: How, deadline: Instant, order: Order) -> (Self, Waiting<Created<Transfer>>) {
        let (tell, settled) = oneshot::channel();
        let (work, settle) = (Work::Money(Box::new(order)), settling::<Created<Transfer>>(tell));
        let label = Label::from("money");
        (Self { label, how, deadline, work, settle, value: Mutex::new(None) }, Waiting { settled })
    }

    /// Puts the value aside that it is answered with after COMMIT.
    pub(super) fn put(&self, value: Created<Transfer>) {
        *self.value.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(Box::new(value));
    }

    fn answer(self, reply: Reply) {
        let value = self.value.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        (self.settle)(reply, value);
    }

    /// Tells the caller that it did not happen.
    pub(super) fn fail(self, why: Error) {
        self.answer(Reply::Error(why));
    }
}

/// Tells the caller who waits.
fn settling<T: Send + 'static>(tell: oneshot::Sender<Result<Written<T>>>) -> Settle {
    Box::new(move |reply, value| {
        let written = match reply {
            Reply::Value => match value.and_then(|value| value.downcast::<T>().ok()) {
                Some(value) => Ok(Written::Done(*value)),
                None => Err(broken("a write ended without its value")("none was put aside".into())),
            },
            Reply::Replayed(stored) => Ok(Written::Replayed(stored)),
            Reply::Error(error) => Err(error),
        };
        // a caller who went away does not want to know
        let _ = tell.send(written);
    })
}

/// What became of a group.
pub(super) enum Settled {
    /// Everybody was answered.
    All,
    /// Everybody was told that it is unknown whether it happened; the connection is not to be trusted.
    Unknown,
    /// The transaction failed in a way that the same again may not; nobody was answered.
    Again(Vec<Job>, Error),
}

/// A panic is a fault like any other: its transaction is undone and the writer goes on.
fn catching<T>(doing: &'static str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(broken(doing)("it panicked".into())))
}

/// Runs a group in one transaction and answers it.
pub(super) fn run(
    conn: &mut Conn,
    jobs: Vec<Job>,
    beside: Beside<'_>,
    location: &Location,
    clock: &Clock,
    bus: &Bus,
    figures: &Figures,
) -> Settled {
    watch::start_counting();
    let now = clock.now();
    let mut rows: Vec<Row> = Vec::new();
    let replies = match catching("a group of writes", || attempt(conn, &jobs, beside, clock, now, &mut rows))
    {
        Ok(replies) => replies,
        Err(why) => {
            // a rollback of a dead connection fails, and says nothing new
            let _ = Manager::rollback_transaction(conn);
            return Settled::Again(jobs, why);
        }
    };
    let committed = beside.committing(|| catching("a commit", || commit(conn, figures)));
    figures.shown.queries.add(watch::counted().into());
    if let Err(why) = committed {
        let _ = Manager::rollback_transaction(conn);
        match happened(location, &rows) {
            Some(true) => {}
            // a sync that failed: the rows are in the file, where nobody sees them, and a crash at this moment
            // may bring them back. Whoever asks again under the same key does or finds it once
            Some(false) if unsynced(conn, &why) => return unknown(jobs, &why),
            // what notes nothing down changes nothing, so it can be done again
            Some(false) => return Settled::Again(jobs, why),
            None if rows.is_empty() => return Settled::Again(jobs, why),
            None => return unknown(jobs, &why),
        }
    }
    figures.shown.batch.observe(jobs.len() as u64);
    // caches first: whoever is answered may read at once
    bus.committed(&rows);
    for (job, reply) in jobs.into_iter().zip(replies) {
        job.answer(reply);
    }
    if let Some(last) = rows.last() {
        bus.wake(last.seq);
    }
    Settled::All
}

/// Whether SQLite could not write or sync what it was to commit.
fn unsynced(conn: &Conn, why: &Error) -> bool {
    matches!(conn, Conn::Sqlite(_)) && database_error(why).map(trouble) == Some(Trouble::Storage)
}

/// Tells everybody that it may have happened.
fn unknown(jobs: Vec<Job>, why: &Error) -> Settled {
    for job in jobs {
        tracing::error!(label = job.label.name, why = %why, "outcome of a write is unknown");
        job.fail(outcome_unknown());
    }
    Settled::Unknown
}

/// The database went away between COMMIT and its answer, and did not come back in time.
pub(super) fn outcome_unknown() -> Error {
    let error = ApiError::new(
        ErrorCode::DatabaseUnavailable,
        "The database went away while committing and whether the change was made is unknown; \
         send it again with the same Idempotency-Key to learn it.",
    );
    let error = error.with(json!({ "outcome": "unknown" }));
    Error::Refused(Box::new(Refusal { error, retry_after: Some(Duration::from_secs(2)) }))
}

/// A write whose turn did not come in time.
pub(super) fn waited_too_long() -> Error {
    refuse(ErrorCode::Timeout, "The write waited too long; nothing was changed.")
}

/// A write that needs what somebody else's transaction does not let go.
pub(super) fn kept_by_others() -> Error {
    let message = "Somebody else's transaction in the database holds what this needs, and did not let go in time; \
                   nothing was changed. Try again.";
    later(ErrorCode::DatabaseUnavailable, message, Duration::from_secs(1))
}

/// A statement of a write that took too long: what a reader can do about it, a writer cannot.
fn too_slow(why: Error) -> Error {
    if database_error(&why).map(trouble) != Some(Trouble::TooSlow) {
        return why;
    }
    refuse(ErrorCode::Timeout, "The write took too long in the database; nothing was changed.")
}

/// Whether a transaction whose COMMIT was not answered happened: its first log row is there. Nothing
/// when the database does not come back.
fn happened(location: &Location, rows: &[Row]) -> Option<bool> {
    use crate::schema::{log as table, log_head};
    let first = rows.first()?;
    for _ in 0..25 {
        let found = open::connect(location, Purpose::Write).ok().and_then(|mut conn| {
            if let Conn::Pg(pg) = &mut conn {
                // a COMMIT that is still being finished holds this row until it is or is not
                let head = log_head::table.find(1).select(log_head::seq).for_update();
                head.first::<i64>(pg).ok()?;
            }
            let seq: QueryResult<Option<i64>> =
                table::table.filter(table::id.eq(&first.id)).select(table::seq).first(&mut conn).optional();
            seq.ok()
        });
        if let Some(found) = found {
            return Some(found.is_some());
        }
        // the server is restarting: there is nothing to wait for but time
        std::thread::park_timeout(Duration::from_millis(200));
    }
    None
}

fn attempt(
    conn: &mut Conn,
    jobs: &[Job],
    beside: Beside<'_>,
    clock: &Clock,
    now: Timestamp,
    rows: &mut Vec<Row>,
) -> Result<Vec<Reply>> {
    match conn {
        // a read transaction that wants to write later may find that somebody else did: begin as a writer
        Conn::Sqlite(sqlite) => AnsiTransactionManager::begin_transaction_sql(sqlite, "BEGIN IMMEDIATE")?,
        Conn::Pg(pg) => AnsiTransactionManager::begin_transaction_sql(pg, "BEGIN")?,
    }
    let mut replies: Vec<Option<Reply>> = jobs.iter().map(|_| None).collect();
    money::run(conn, jobs, beside, clock, now, rows, &mut replies)?;
    for (job, replied) in jobs.iter().zip(&mut replies) {
        let Work::Change(work) = &job.work else { continue };
        let before = rows.len();
        if job.deadline <= Instant::now() {
            *replied = Some(Reply::Error(waited_too_long()));
            continue;
        }
        Manager::begin_transaction(conn)?;
        match one(conn, job, work, clock, now, rows) {
            Ok(reply) if !job.how.dry_run => {
                Manager::commit_transaction(conn)?;
                *replied = Some(reply);
            }
            Ok(reply) => {
                rows.truncate(before);
                Manager::rollback_transaction(conn)?;
                *replied = Some(reply);
            }
            Err(why) => {
                rows.truncate(before);
                let again = matches!(
                    database_error(&why).map(trouble),
                    Some(Trouble::Transient | Trouble::Lost | Trouble::Full | Trouble::Storage)
                );
                // another daemon was quicker: run again, what it did is seen, and the verdict is kept
                let overtaken = matches!(conn, Conn::Pg(_)) && ledger::refusal(&why).is_some();
                // if SQLite ended the whole transaction, there is no savepoint to go back to; why it did
                // says more than that
                if Manager::rollback_transaction(conn).is_err() || again || overtaken {
                    return Err(why);
                }
                *replied = Some(Reply::Error(too_slow(told(why))));
            }
        }
    }
    // with a savepoint left open, COMMIT would only release that: nothing would be committed
    let depth = Manager::transaction_manager_status_mut(conn).transaction_depth()?;
    if depth.is_none_or(|depth| depth.get() != 1) {
        return Err(broken("a group of writes")(format!("it ended at depth {depth:?}").into()));
    }
    log::append(conn, rows)?;
    fail::fail_point!("before-commit");
    let unanswered = || Reply::Error(broken("a group of writes")("somebody was not answered".into()));
    Ok(replies.into_iter().map(|reply| reply.unwrap_or_else(unanswered)).collect())
}

/// The answer to a write that is not tried again.
pub(super) fn given_up(why: &Error) -> Error {
    if database_error(why).is_some_and(waited_for_a_lock) {
        return kept_by_others();
    }
    too_slow(told(super::broken_like(why)))
}

/// A rule that only the database saw broken is a refusal like any other.
pub(super) fn told(why: Error) -> Error {
    ledger::refusal(&why).map_or(why, Error::from)
}

/// Makes it so. After an error here nobody knows yet whether it is.
fn commit(conn: &mut Conn, figures: &Figures) -> Result<()> {
    let begun = Instant::now();
    Manager::commit_transaction(conn)?;
    figures.shown.commit.observe_time(begun.elapsed());
    fail::fail_point!("after-commit");
    Ok(())
}

/// One write under a savepoint: key, closure, verdict.
fn one(
    conn: &mut Conn,
    job: &Job,
    work: &Change,
    clock: &Clock,
    now: Timestamp,
    rows: &mut Vec<Row>,
) -> Result<Reply> {
    let key = job.how.key.as_ref().filter(|_| !job.how.dry_run);
    if let Some(key) = key {
        match keys::claim(conn, key, now)? {
            Claim::New => {}
            Claim::Settled(stored) => return Ok(Reply::Replayed(stored)),
            Claim::Reused => {
                return Ok(Reply::Error(refuse(
                    ErrorCode::IdempotencyKeyReused,
                    "This Idempotency-Key was used for another request; send a fresh one.",
                )));
            }
        }
    }
    let before = rows.len();
    let mut value = None;
    Manager::begin_transaction(conn)?;
    let ended = {
        let mut tx = Tx { conn, stamp: &job.how.stamp, clock, now, rows };
        fail::fail_point!("in-write");
        work(&mut tx, &mut value)
    };
    match ended {
        Ok(Ended::Done(verdict)) => {
            Manager::commit_transaction(conn)?;
            if let (Some(key), Some((status, data))) = (key, verdict) {
                keys::settle(conn, key, status, &Stored::Data(data))?;
            }
            *job.value.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = value;
            Ok(Reply::Value)
        }
        Ok(Ended::Keep(refusal)) => {
            Manager::commit_transaction(conn)?;
            if let Some(key) = key {
                keys::forget(conn, key)?;
            }
            Ok(Reply::Error(refusal))
        }
        Err(Error::Refused(refusal)) => {
            rows.truncate(before);
            Manager::rollback_transaction(conn)?;
            if let Some(key) = key {
                match keys::is_verdict(&refusal.error) {
                    true => {
                        let status = refusal.error.code.status();
                        keys::settle(conn, key, status, &Stored::Error(refusal.error.clone()))?;
                    }
                    false => keys::forget(conn, key)?,
                }
            }
            Ok(Reply::Error(Error::Refused(refusal)))
        }
        Err(why) => {
            rows.truncate(before);
            // the savepoint above this one is rolled back by the caller, who finds out if this one is gone
            let _ = Manager::rollback_transaction(conn);
            Err(why)
        }
    }
}
