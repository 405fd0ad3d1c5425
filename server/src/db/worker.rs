//! The threads that write: they take what is queued, run it, and again.

use std::{collections::VecDeque, sync::atomic::Ordering};

use diesel::connection::SimpleConnection;
use tokio::sync::mpsc;

use super::{
    Conn, Figures, Location,
    ballast::Room,
    batch::{self, Job, Settled},
    kept::KeptRows,
    lanes::{Beside, Lanes},
    open::{self, Purpose},
};
use crate::{
    clock::Clock,
    error::{BoxError, Error, Trouble, database_error, trouble, waited_for_a_lock},
    ledger,
    log::Bus,
};

/// How long a statement of money waits for what others hold; two that wait in a row, each on the other's heels,
/// wait twice as long. Our own transactions hold what they need for less, but where a disk is slow.
const PATIENT: &str = "1s";
/// And once it did so in vain: who waits for what cannot be told is found by trying parts of the group.
const HURRIED: &str = "300ms";

/// Writes that are tried together.
struct Turn {
    jobs: Vec<Job>,
    tries: u32,
    /// Whether it waited in vain for what somebody else holds.
    in_vain: bool,
    /// Whether room was made for it before.
    relieved: bool,
}

impl Turn {
    fn first(jobs: Vec<Job>) -> Self {
        Self { jobs, tries: 0, in_vain: false, relieved: false }
    }
}

/// The one writer of a SQLite file, or one of those of money on PostgreSQL.
pub(super) struct Worker {
    pub(super) location: Location,
    pub(super) clock: Clock,
    pub(super) bus: Bus,
    pub(super) figures: std::sync::Arc<Figures>,
    /// Whether there is any on the disk.
    pub(super) room: Room,
}

impl Worker {
    /// Takes what is queued, runs it, and again; the group grows while the commit before it syncs, so
    /// one caller waits for nothing.
    pub(super) fn run(self, mut jobs: mpsc::Receiver<Job>, most: usize) {
        let mut conn: Option<Conn> = None;
        while let Some(first) = jobs.blocking_recv() {
            let mut group = vec![first];
            // a dry run stands alone: what it would have done must not be seen by others
            let mut alone = group[0].how.dry_run.then_some(()).map(|()| Vec::new());
            while alone.is_none() && group.len() < most {
                let Ok(next) = jobs.try_recv() else { break };
                if next.how.dry_run {
                    alone = Some(vec![next]);
                } else {
                    group.push(next);
                }
            }
            self.settle(&mut conn, group);
            for job in alone.into_iter().flatten() {
                self.settle(&mut conn, vec![job]);
            }
        }
    }

    /// The same for one of the threads that move money, until the queue is closed and empty.
    pub(super) fn run_lane(self, lanes: &Lanes, kept: &KeptRows, lane: usize, most: usize) {
        /// A thread that ends, however it does, leaves the queue.
        struct Ending<'a>(&'a Lanes, usize);
        impl Drop for Ending<'_> {
            fn drop(&mut self) {
                self.0.leave(self.1);
            }
        }
        let _ending = Ending(lanes, lane);
        let mut conn: Option<Conn> = None;
        while let Some(group) = lanes.take(lane, most) {
            let mut turns = VecDeque::from([Turn::first(group)]);
            // what was answered or set apart holds up nobody behind it
            let still = |now: &[Job], turns: &VecDeque<Turn>| {
                lanes.still(lane, now.iter().chain(turns.iter().flat_map(|turn| &turn.jobs)));
            };
            while let Some(mut turn) = turns.pop_front() {
                if turn.in_vain || kept.some() {
                    // what another lane is committing is not kept by anybody
                    lanes.wait_for_commits(lane);
                    // without a connection the turn ends below, and says why
                    conn = conn.or_else(|| self.connect().ok());
                    lanes.set_apart(kept.take_out(&mut conn, &mut turn.jobs, turn.in_vain, &self.clock));
                    still(&turn.jobs, &turns);
                }
                if !turn.jobs.is_empty() {
                    let beside = Beside::Lanes { lanes, lane, all: turns.is_empty() };
                    self.take(&mut conn, turn, beside, &mut turns);
                }
                still(&[], &turns);
            }
        }
    }

    fn settle(&self, conn: &mut Option<Conn>, group: Vec<Job>) {
        if group.iter().any(|job| !self.room.admits(job.label)) {
            self.room.look();
        }
        let group = self.admitted(group);
        if group.is_empty() {
            return;
        }
        let mut turns = VecDeque::from([Turn::first(group)]);
        while let Some(turn) = turns.pop_front() {
            self.take(conn, turn, Beside::Nobody, &mut turns);
        }
    }

    /// Those that may be tried; on a full disk the others are refused.
    fn admitted(&self, jobs: Vec<Job>) -> Vec<Job> {
        let (admitted, refused) = jobs.into_iter().partition(|job| self.room.admits(job.label));
        self.refuse(refused);
        admitted
    }

    fn refuse(&self, jobs: Vec<Job>) {
        for job in jobs {
            let why = self.room.refusal(job.label);
            job.fail(why);
        }
    }

    /// There is no room: makes some and tries those again that it is for, once.
    fn relieve(&self, jobs: Vec<Job>, relieved: bool, turns: &mut VecDeque<Turn>) {
        self.room.give_up();
        let jobs = self.admitted(jobs);
        if relieved && !jobs.is_empty() {
            self.room.set_spent(true);
            self.refuse(jobs);
        } else if !jobs.is_empty() {
            turns.push_front(Turn { relieved: true, ..Turn::first(jobs) });
        }
    }

    fn connect(&self) -> Result<Conn, BoxError> {
        let mut conn = open::connect(&self.location, Purpose::Write)?;
        open::compare_clocks(&mut conn, &self.clock)?;
        wait_for_locks(&mut conn, PATIENT)?;
        Ok(conn)
    }

    /// Takes a turn; what is to be tried again has another.
    fn take(&self, conn: &mut Option<Conn>, turn: Turn, beside: Beside<'_>, turns: &mut VecDeque<Turn>) {
        let Turn { jobs, tries, in_vain, relieved } = turn;
        let open = match conn.take() {
            Some(open) => Ok(open),
            None => self.connect(),
        };
        let mut open = match open {
            Ok(open) => open,
            Err(_) if self.room.looks_full() => return self.relieve(jobs, relieved, turns),
            Err(why) => {
                let text = why.to_string();
                for job in jobs {
                    let kind = diesel::result::DatabaseErrorKind::ClosedConnection;
                    let source = diesel::result::Error::DatabaseError(kind, Box::new(text.clone()));
                    job.fail(Error::Broken { doing: "opening the store", source: Box::new(source) });
                }
                return;
            }
        };
        if in_vain {
            // a connection that cannot even do this fails at once below
            let _ = wait_for_locks(&mut open, HURRIED);
        }
        match batch::run(&mut open, jobs, beside, &self.location, &self.clock, &self.bus, &self.figures) {
            Settled::All => {
                if relieved {
                    self.room.set_spent(false);
                }
                // the next are to be patient again
                *conn = (!in_vain).then_some(open);
            }
            Settled::Unknown => {
                drop(open);
                if self.room.looks_full() {
                    self.room.give_up();
                }
            }
            Settled::Again(mut jobs, why) => {
                // never trust pages cached by a failed sync, nor a transaction of unknown depth
                drop(open);
                self.figures.retries.fetch_add(1, Ordering::Relaxed);
                if self.room.is_why(&why) {
                    return self.relieve(jobs, relieved, turns);
                }
                // before COMMIT a lost connection is certain to have changed nothing
                let passing =
                    matches!(database_error(&why).map(trouble), Some(Trouble::Transient | Trouble::Lost));
                // a rule that only the database saw broken: another daemon was quicker, and what it did is seen now
                let overtaken = tries == 0 && ledger::refusal(&why).is_some();
                // once more, for who keeps what it needs is taken out of it now
                let locked = database_error(&why).is_some_and(waited_for_a_lock);
                let in_vain = in_vain || locked;
                if (passing && tries < if locked { 1 } else { 3 }) || overtaken {
                    return turns.push_front(Turn { jobs, tries: tries + 1, in_vain, relieved });
                }
                // a mistake is somebody's own, and so is what only they wait for; what the disk does concerns all
                let somebodys = matches!(database_error(&why).map(trouble), Some(Trouble::Mistake) | None);
                if jobs.len() > 1 && (somebodys || locked) {
                    let rest = jobs.split_off(jobs.len() / 2);
                    turns.push_front(Turn { jobs: rest, tries, in_vain, relieved });
                    return turns.push_front(Turn { jobs, tries, in_vain, relieved });
                }
                for job in jobs {
                    if ledger::refusal(&why).is_none() {
                        tracing::error!(label = job.label.name, why = %why, "write failed");
                    }
                    job.fail(batch::given_up(&why));
                }
            }
        }
    }
}

fn wait_for_locks(conn: &mut Conn, time: &str) -> diesel::QueryResult<()> {
    match conn {
        Conn::Pg(pg) => pg.batch_execute(&format!("SET lock_timeout='{time}'")),
        Conn::Sqlite(_) => Ok(()),
    }
}
