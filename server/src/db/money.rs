//! Money commands of a group, as one batch: keys first, then the ledger, then the verdicts under the keys.
//!
//! One key has one verdict. Keys are taken in one order before any account is held; those that were there
//! are replayed, and the same key twice in a batch attaches to the first.

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};

use bursar_shared::{error::ErrorCode, operation::Created, time::Timestamp};

use super::{
    Conn,
    batch::{Job, Manager, Reply, Work, outcome_unknown, waited_too_long},
    keys::{self, Claim, Keyed},
    lanes::Beside,
};
use crate::{
    clock::Clock,
    error::{Error, Result, later, refuse},
    ledger::{self, Asker, Command, Look, What},
    log::Row,
};
use diesel::connection::TransactionManager as _;

/// A money command that waits for its turn.
#[derive(Debug, Clone)]
pub struct Order {
    /// What is to be done.
    pub what: What,
    /// Whether money may come into the books and leave them.
    pub issues: bool,
    /// Whose rights are looked at again; nobody's for the daemon's own work.
    pub asker: Option<Asker>,
}

/// Runs the money commands among these jobs, and answers them in their places.
pub(super) fn run(
    conn: &mut Conn,
    jobs: &[Job],
    beside: Beside<'_>,
    clock: &Clock,
    now: Timestamp,
    rows: &mut Vec<Row>,
    replies: &mut [Option<Reply>],
) -> Result<()> {
    let mut waiting: Vec<(usize, &Job, &Order)> = Vec::with_capacity(jobs.len());
    for (place, job) in jobs.iter().enumerate() {
        let Work::Money(order) = &job.work else { continue };
        if job.deadline <= Instant::now() {
            replies[place] = Some(Reply::Error(waited_too_long()));
        } else if let Some(why) = clock.distrust() {
            replies[place] = Some(Reply::Error(by_no_clock(why)));
        } else {
            waiting.push((place, job, order));
        }
    }
    if waiting.is_empty() {
        return Ok(());
    }
    let dry_run = waiting.iter().any(|(_, job, _)| job.how.dry_run);
    let before = rows.len();
    // what fails here ends the whole group, so only what is undone on purpose needs a savepoint, for which SQLite
    // keeps a copy of every page that is touched
    if dry_run {
        Manager::begin_transaction(conn)?;
    }
    fail::fail_point!("in-money");
    // each by their own rights, before keys bring them together: who lost theirs must neither hear another's
    // verdict nor be the reason of another's refusal
    let askers: Vec<Option<Asker>> = waiting.iter().map(|(.., order)| order.asker.clone()).collect();
    let mut refused = ledger::withdrawn(conn, &askers, now)?.into_iter();
    waiting.retain(|(place, ..)| match refused.next().flatten() {
        Some(refusal) => {
            replies[*place] = Some(Reply::Error(refusal.into()));
            false
        }
        None => true,
    });
    let mut followers: Vec<(usize, usize)> = Vec::new();
    if !dry_run {
        claim(conn, &mut waiting, &mut followers, now, replies)?;
    }
    let command = |job: &Job, order: &Order| Command {
        what: order.what.clone(),
        stamp: job.how.stamp.clone(),
        issues: order.issues,
    };
    let commands: Vec<Command> = waiting.iter().map(|(_, job, order)| command(job, order)).collect();
    if !commands.is_empty() {
        beside.wait();
    }
    let verdicts = ledger::apply(conn, &commands, now, rows)?;
    let mut settled: Vec<keys::Verdict<'_>> = Vec::with_capacity(verdicts.len());
    // what those are told who sent the same
    let mut told: HashMap<usize, String> = HashMap::new();
    for ((place, job, _), verdict) in waiting.into_iter().zip(verdicts) {
        let status = verdict.as_ref().map_or_else(|error| error.code.status(), |_| 201);
        if let Some(key) = job.how.key.as_ref().filter(|_| !dry_run) {
            let body = keys::written(&verdict)?;
            if followers.iter().any(|(_, leader)| *leader == place) {
                told.insert(place, body.clone());
            }
            if verdict.as_ref().err().is_none_or(keys::is_verdict) {
                settled.push((key, status, body));
            } else {
                keys::forget(conn, key)?;
            }
        }
        replies[place] = Some(match verdict {
            Ok(transfer) => {
                job.put(Created(transfer));
                Reply::Value
            }
            Err(error) => Reply::Error(error.into()),
        });
    }
    keys::settle_all(conn, &settled, now)?;
    for (place, leader) in followers {
        replies[place] = Some(match told.get(&leader) {
            Some(body) => Reply::Replayed(serde_json::from_str(body)?),
            None => Reply::Error(outcome_unknown()),
        });
    }
    if dry_run {
        rows.truncate(before);
        Manager::rollback_transaction(conn)?;
    }
    Ok(())
}

/// Looks at the rows that these jobs touch, and at others, and lets them go again.
pub(super) fn look<'a>(
    conn: &mut Conn,
    jobs: &'a [Job],
    others: impl Iterator<Item = &'a String>,
) -> Result<Look> {
    let what = |job: &'a Job| match &job.work {
        Work::Money(order) => Some(&order.what),
        Work::Change(_) => None,
    };
    let whats: Vec<Option<&What>> = jobs.iter().map(what).collect();
    Manager::begin_transaction(conn)?;
    let found = ledger::look(conn, &whats, others.cloned());
    Manager::rollback_transaction(conn)?;
    found
}

/// No money moves by a clock that cannot be right.
pub(super) fn by_no_clock(why: String) -> Error {
    later(ErrorCode::DatabaseUnavailable, why, Duration::from_secs(5))
}

/// Takes the keys; what has a verdict already, or is the same as another, waits no longer.
fn claim(
    conn: &mut Conn,
    waiting: &mut Vec<(usize, &Job, &Order)>,
    followers: &mut Vec<(usize, usize)>,
    now: Timestamp,
    replies: &mut [Option<Reply>],
) -> Result<()> {
    let mut first: BTreeMap<(&str, &str), (usize, &Keyed)> = BTreeMap::new();
    // the first of a key leads, of those who may do most: a right that came meanwhile counts
    for may in [true, false] {
        for (place, job, _) in waiting.iter().filter(|(.., order)| order.issues == may) {
            let Some(key) = &job.how.key else { continue };
            first.entry((&key.principal, &key.key)).or_insert((*place, key));
        }
    }
    waiting.retain(|(place, job, _)| {
        let Some(key) = &job.how.key else { return true };
        match first.get(&(key.principal.as_str(), key.key.as_str())) {
            Some((leader, _)) if leader == place => true,
            Some((leader, same)) if same.fingerprint == key.fingerprint => {
                followers.push((*place, *leader));
                false
            }
            _ => {
                replies[*place] = Some(Reply::Error(reused()));
                false
            }
        }
    });
    // a map: in the order of the keys
    let wanted: Vec<&Keyed> = first.values().map(|(_, key)| *key).collect();
    let claims = keys::claim_all(conn, &wanted, now)?;
    for ((place, _), claim) in first.values().zip(claims) {
        let reply = match claim {
            Claim::New => continue,
            Claim::Settled(stored) => {
                for (follower, _) in followers.extract_if(.., |(_, leader)| leader == place) {
                    replies[follower] = Some(Reply::Replayed(stored.clone()));
                }
                Reply::Replayed(stored)
            }
            Claim::Reused => {
                for (follower, _) in followers.extract_if(.., |(_, leader)| leader == place) {
                    replies[follower] = Some(Reply::Error(reused()));
                }
                Reply::Error(reused())
            }
        };
        replies[*place] = Some(reply);
        waiting.retain(|(other, ..)| other != place);
    }
    Ok(())
}

fn reused() -> Error {
    refuse(
        ErrorCode::IdempotencyKeyReused,
        "This Idempotency-Key was used for another request; send a fresh one.",
    )
}
