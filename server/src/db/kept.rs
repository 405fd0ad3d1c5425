//! Rows that somebody else's transaction keeps: who needs one waits apart, and nobody waits behind them.
//!
//! PostgreSQL tells that somebody holds a row, and which transaction does. One that others are done with in
//! a moment is waited for where it is needed; one that was waited for in vain is remembered with its holder, and
//! nobody waits for it in the database until another holds it or none. So a row that is kept costs a thread one wait.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::{
    Conn,
    batch::{self, Job},
    keys, money,
};
use crate::{clock::Clock, ledger::Look};

/// How long a row may be kept before who needs it is given up; from then on, at once.
const WAITS: Duration = Duration::from_secs(2);

/// By whom a row is kept, and since when as far as we know.
#[derive(Clone)]
struct Keeper {
    transaction: String,
    since: Instant,
    /// Whether the log was told: once a keeper, not once a movement.
    told: bool,
}

/// The rows that were waited for in vain, by their ids.
#[derive(Default)]
pub(super) struct KeptRows(Mutex<HashMap<String, Keeper>>);

impl KeptRows {
    fn rows(&self) -> MutexGuard<'_, HashMap<String, Keeper>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether any are known.
    pub(super) fn some(&self) -> bool {
        !self.rows().is_empty()
    }

    /// Takes those out of a group who need a row that is kept, for them to wait apart or, when it is kept too long,
    /// to be given up. `in_vain`: the group just waited in vain, so whoever holds a row of it now may keep it. A
    /// connection that cannot even be asked is dropped.
    pub(super) fn take_out(
        &self,
        conn: &mut Option<Conn>,
        jobs: &mut Vec<Job>,
        in_vain: bool,
        clock: &Clock,
    ) -> Vec<Job> {
        let known = self.rows().clone();
        let look = conn.as_mut().map(|conn| money::look(conn, jobs, known.keys()));
        let (Some(open), Some(Ok(Look { touched, held }))) = (&mut *conn, look) else {
            *conn = None;
            return Vec::new();
        };
        let now = Instant::now();
        let keeps = |row: &String, by: &Keeper| held.get(row) == Some(&by.transaction);
        let mut rows = self.rows();
        rows.retain(|row, by| !known.contains_key(row) || keeps(row, by));
        if in_vain {
            for (row, transaction) in &held {
                let keeper = || Keeper { transaction: transaction.clone(), since: now, told: false };
                rows.entry(row.clone()).or_insert_with(keeper);
            }
        }
        let kept: HashMap<String, Keeper> = rows
            .iter()
            .filter(|(row, by)| keeps(row, by))
            .map(|(row, by)| (row.clone(), by.clone()))
            .collect();
        drop(rows);
        let mut apart = Vec::new();
        for (job, touched) in std::mem::take(jobs).into_iter().zip(touched) {
            let needed = touched.iter().filter_map(|row| kept.get_key_value(row));
            match needed.min_by_key(|(_, by)| by.since) {
                // what has a verdict needs no row
                Some((row, by)) if !has_verdict(open, &job, clock) => {
                    if now >= job.deadline.min(by.since + WAITS) {
                        if !by.told {
                            self.tell(row);
                        }
                        job.fail(batch::kept_by_others());
                    } else {
                        apart.push(job);
                    }
                }
                _ => jobs.push(job),
            }
        }
        apart
    }

    /// Says that a row is kept, once as long as the same transaction does.
    fn tell(&self, row: &str) {
        if let Some(by) = self.rows().get_mut(row)
            && !std::mem::replace(&mut by.told, true)
        {
            tracing::warn!(row, transaction = by.transaction, "somebody else's transaction keeps a row");
        }
    }
}

/// Whether the same was answered before, under the same key.
fn has_verdict(conn: &mut Conn, job: &Job, clock: &Clock) -> bool {
    let key = job.how.key.as_ref().filter(|_| !job.how.dry_run);
    key.is_some_and(|key| {
        keys::find(conn, &key.principal, &key.key, clock.now()).is_ok_and(|found| found.is_some())
    })
}
