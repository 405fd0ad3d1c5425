//! The threads that write: they take what is queued, run it, and again.

use std::sync::atomic::Ordering;

use tokio::sync::mpsc;

use super::{
    Conn, Figures, Location,
    batch::{self, Job, Settled},
    lanes::Lanes,
    open::{self, Purpose},
};
use crate::{
    clock::Clock,
    error::{Error, Trouble, database_error, trouble},
    ledger,
    log::Bus,
};

/// The one writer of a SQLite file, or one of those of money on PostgreSQL.
pub(super) struct Worker {
    pub(super) location: Location,
    pub(super) clock: Clock,
    pub(super) bus: Bus,
    pub(super) figures: std::sync::Arc<Figures>,
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
            self.settle(&mut conn, group, 0);
            for job in alone.into_iter().flatten() {
                self.settle(&mut conn, vec![job], 0);
            }
        }
    }

    /// The same for one of the threads that move money, until the queue is closed and empty.
    pub(super) fn run_lane(self, lanes: &Lanes, lane: usize, most: usize) {
        /// Closes the queue when a thread ends, however it does: what it was at stays held.
        struct Ending<'a>(&'a Lanes);
        impl Drop for Ending<'_> {
            fn drop(&mut self) {
                self.0.close();
            }
        }
        let _ending = Ending(lanes);
        let mut conn: Option<Conn> = None;
        while let Some(group) = lanes.take(lane, most) {
            self.settle(&mut conn, group, 0);
            lanes.done(lane);
        }
    }

    fn settle(&self, conn: &mut Option<Conn>, group: Vec<Job>, tries: u32) {
        let open = match conn.take() {
            Some(open) => Ok(open),
            None => open::connect(&self.location, Purpose::Write),
        };
        let mut open = match open {
            Ok(open) => open,
            Err(why) => {
                let text = why.to_string();
                for job in group {
                    let kind = diesel::result::DatabaseErrorKind::ClosedConnection;
                    let source = diesel::result::Error::DatabaseError(kind, Box::new(text.clone()));
                    job.fail(Error::Broken { doing: "opening the store", source: Box::new(source) });
                }
                return;
            }
        };
        match batch::run(&mut open, group, &self.location, &self.clock, &self.bus, &self.figures) {
            Settled::All => *conn = Some(open),
            Settled::Unknown => drop(open),
            Settled::Again(mut jobs, why) => {
                // never trust pages cached by a failed sync, nor a transaction of unknown depth
                drop(open);
                self.figures.retries.fetch_add(1, Ordering::Relaxed);
                // before COMMIT a lost connection is certain to have changed nothing
                let passing =
                    matches!(database_error(&why).map(trouble), Some(Trouble::Transient | Trouble::Lost));
                // a rule that only the database saw broken: another daemon was quicker, and what it did is seen now
                let overtaken = tries == 0 && ledger::refusal(&why).is_some();
                if (passing && tries < 3) || overtaken {
                    return self.settle(conn, jobs, tries + 1);
                }
                // only a mistake is somebody's own; what the disk or a neighbour does concerns all alike
                let somebodys = matches!(database_error(&why).map(trouble), Some(Trouble::Mistake) | None);
                if jobs.len() > 1 && somebodys {
                    let rest = jobs.split_off(jobs.len() / 2);
                    self.settle(conn, jobs, tries);
                    return self.settle(conn, rest, tries);
                }
                for job in jobs {
                    if ledger::refusal(&why).is_none() {
                        tracing::error!(label = job.label, why = %why, "write failed");
                    }
                    job.fail(batch::given_up(&why));
                }
            }
        }
    }
}
