//! The queue of the threads that move money on PostgreSQL: what meets on an account runs on one of them.
//!
//! Two transactions that touch one account run one after the other, whatever threads they are on: the second
//! waits for the first to be durable, and holds all its other accounts meanwhile. So a thread takes what is
//! queued except for what the other one is at, in the order in which it came for each account. While one
//! commits, the next may begin with what touches no account yet.

use std::{
    collections::{HashSet, VecDeque},
    hash::{DefaultHasher, Hash, Hasher as _},
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::batch::{Job, Work};
use crate::ledger::What;

/// After how long what waits apart looks again whether it can be run.
const LOOKS: Duration = Duration::from_millis(100);

/// What a movement touches: its accounts as they are named, the transfer that it follows, its key. Two that
/// are the same by chance, or an account that is named in two ways, cost a little waiting and nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Spot {
    Row(u64),
    Key(u64),
}

fn sum(of: impl Hash) -> u64 {
    let mut sum = DefaultHasher::new();
    of.hash(&mut sum);
    sum.finish()
}

fn spots(job: &Job) -> impl Iterator<Item = Spot> + Clone {
    let (one, other) = match &job.work {
        Work::Money(order) => match &order.what {
            What::Create(transfer) => {
                (Some(sum(transfer.from_account_id)), Some(sum(transfer.to_account_id)))
            }
            other => (other.follows().map(sum), None),
        },
        Work::Change(_) => (None, None),
    };
    let key = job.how.key.as_ref().map(|key| Spot::Key(sum((&key.principal, &key.key))));
    [one.map(Spot::Row), other.map(Spot::Row), key].into_iter().flatten()
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Job>,
    /// What needs a row that somebody keeps, and when it comes back to look again.
    apart: Vec<Job>,
    back_at: Option<Instant>,
    /// At which spots each lane is.
    held: Vec<HashSet<Spot>>,
    /// At which rows each lane was that is committing.
    committing: Vec<HashSet<Spot>>,
    /// Whose commits must be over before each lane may hold an account.
    behind: Vec<HashSet<usize>>,
    /// How many movements each lane is at.
    running: Vec<usize>,
    /// How many lanes ended.
    left: usize,
    closed: bool,
}

impl State {
    fn len(&self) -> usize {
        self.waiting.len() + self.apart.len()
    }

    /// Puts a job at the end, and says whether a lane is to be woken for it.
    fn push(&mut self, job: Job) -> bool {
        // when somebody is at it already, they take it when they come back
        let free = !spots(&job).any(|spot| self.held.iter().any(|held| held.contains(&spot)));
        self.waiting.push_back(job);
        free
    }

    /// Brings back what waited apart, once it is time: before all that came later.
    fn bring_back(&mut self, now: Instant) {
        if self.back_at.is_some_and(|at| at <= now) {
            self.back_at = None;
            for job in self.apart.drain(..).rev() {
                self.waiting.push_front(job);
            }
        }
    }

    /// Takes what this lane can run together, in its order.
    fn take(&mut self, lane: usize, most: usize) -> Vec<Job> {
        let others = self.running.iter().enumerate().filter(|(other, _)| *other != lane);
        let running: usize = others.map(|(_, count)| *count).sum();
        // all lanes are to have as much to do: one that takes everything leaves the others commits of one or two
        let share = (self.waiting.len() + running).div_ceil(self.running.len()).max(1);
        let mut taken: Vec<Job> = Vec::new();
        // what stays must not be overtaken on its accounts
        let mut stays: HashSet<Spot> = HashSet::new();
        let mut left: Vec<Job> = Vec::new();
        while let Some(job) = self.waiting.pop_front() {
            let full = taken.len() >= most || taken.first().is_some_and(|first| first.how.dry_run);
            if full {
                left.push(job);
                break;
            }
            let at = |other: usize, spot: Spot| self.held[other].contains(&spot);
            let elsewhere = |spot: Spot| (0..self.held.len()).any(|other| other != lane && at(other, spot));
            let mut free = !spots(&job).any(|spot| elsewhere(spot) || stays.contains(&spot));
            // beyond the share goes only what no other could run beside this
            free &= taken.len() < share || spots(&job).any(|spot| at(lane, spot));
            // a dry run stands alone: what it would have done must not be seen by others
            if free && (!job.how.dry_run || taken.is_empty()) {
                self.held[lane].extend(spots(&job));
                taken.push(job);
            } else {
                stays.extend(spots(&job));
                left.push(job);
            }
        }
        for job in left.into_iter().rev() {
            self.waiting.push_front(job);
        }
        self.running[lane] = taken.len();
        let ahead =
            |other: &usize| taken.iter().flat_map(spots).any(|spot| self.committing[*other].contains(&spot));
        self.behind[lane] = (0..self.committing.len()).filter(ahead).collect();
        taken
    }

    /// A lane commits what it is at: others may take what comes next on those rows, and begin with it. Its keys it
    /// keeps, for there is nothing that could be begun before a key is taken.
    fn begin_commit(&mut self, lane: usize) {
        self.committing[lane] = self.held[lane].extract_if(|spot| matches!(spot, Spot::Row(_))).collect();
        self.running[lane] = 0;
    }

    /// The commit is over, whatever came of it.
    fn end_commit(&mut self, lane: usize) {
        self.committing[lane].clear();
        for behind in &mut self.behind {
            behind.remove(&lane);
        }
    }

    /// Notes what a lane is still at. After a commit that failed another may be there, too: they meet in the
    /// database.
    fn still<'a>(&mut self, lane: usize, jobs: impl Iterator<Item = &'a Job>) {
        self.held[lane].clear();
        self.running[lane] = 0;
        for job in jobs {
            self.held[lane].extend(spots(job));
            self.running[lane] += 1;
        }
    }
}

/// Why a job was not taken into a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotTaken {
    /// Too many wait.
    Full,
    /// The daemon is stopping, or what runs them ended.
    Closed,
}

/// The queue of so many lanes. At most `capacity` jobs wait in it.
pub(super) struct Lanes {
    state: Mutex<State>,
    moved: Condvar,
    /// Those who wait for commits, apart from those who wait for jobs: one that is woken must be able to go on.
    committed: Condvar,
    capacity: usize,
}

impl Lanes {
    pub(super) fn new(lanes: usize, capacity: usize) -> Self {
        let state = State {
            held: vec![HashSet::new(); lanes],
            committing: vec![HashSet::new(); lanes],
            behind: vec![HashSet::new(); lanes],
            running: vec![0; lanes],
            ..State::default()
        };
        Self { state: Mutex::new(state), moved: Condvar::new(), committed: Condvar::new(), capacity }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a job into the queue.
    ///
    /// # Errors
    /// Why it was not taken.
    pub(super) fn push(&self, job: Job) -> Result<(), NotTaken> {
        let mut state = self.state();
        if state.closed {
            return Err(NotTaken::Closed);
        }
        if state.len() >= self.capacity {
            return Err(NotTaken::Full);
        }
        let wake = state.push(job);
        drop(state);
        if wake {
            self.moved.notify_one();
        }
        Ok(())
    }

    /// Takes what can run together on this lane, and waits for it; nothing once the queue is closed and empty.
    pub(super) fn take(&self, lane: usize, most: usize) -> Option<Vec<Job>> {
        let mut state = self.state();
        loop {
            let now = Instant::now();
            state.bring_back(now);
            let taken = state.take(lane, most);
            if !taken.is_empty() {
                return Some(taken);
            }
            if state.closed && state.len() == 0 {
                return None;
            }
            let wait = state.back_at.map_or(Duration::MAX, |at| at.saturating_duration_since(now));
            let woken = self.moved.wait_timeout(state, wait);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// What a lane is still at, of what it took.
    pub(super) fn still<'a>(&self, lane: usize, jobs: impl Iterator<Item = &'a Job>) {
        let mut state = self.state();
        state.still(lane, jobs);
        drop(state);
        self.moved.notify_all();
    }

    /// Runs a commit of all that a lane is at. Others begin meanwhile with what comes next there.
    fn committing<T>(&self, lane: usize, commit: impl FnOnce() -> T) -> T {
        self.state().begin_commit(lane);
        self.moved.notify_all();
        let done = commit();
        self.end_commit(lane);
        done
    }

    fn end_commit(&self, lane: usize) {
        self.state().end_commit(lane);
        self.committed.notify_all();
    }

    /// Waits until nobody commits any more where this lane is to begin. Whoever held an account earlier would wait
    /// for the same in the database, where nobody could tell it from a row that somebody keeps.
    pub(super) fn wait_for_commits(&self, lane: usize) {
        drop(self.committed.wait_while(self.state(), |state| !state.behind[lane].is_empty()));
    }

    /// What needs a row that somebody keeps comes back after a while. It holds up nobody meanwhile, and may be
    /// overtaken: as long as it is not answered, nobody can tell.
    pub(super) fn set_apart(&self, jobs: Vec<Job>) {
        if jobs.is_empty() {
            return;
        }
        let mut state = self.state();
        state.apart.extend(jobs);
        state.back_at.get_or_insert_with(|| Instant::now() + LOOKS);
        drop(state);
        self.moved.notify_all();
    }

    /// A lane ends: nothing is taken into the queue any more. With the last one goes what waits, so that its
    /// callers hear of it.
    pub(super) fn leave(&self, lane: usize) {
        self.end_commit(lane);
        self.still(lane, std::iter::empty());
        self.close();
        let mut state = self.state();
        state.left += 1;
        if state.left == state.running.len() {
            state.waiting.clear();
            state.apart.clear();
        }
    }

    /// Nothing comes any more; what waits is still run.
    pub(super) fn close(&self) {
        self.state().closed = true;
        self.moved.notify_all();
    }

    /// Whether nothing can be put in.
    pub(super) fn is_closed(&self) -> bool {
        self.state().closed
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.state().len()
    }
}

/// Where a group runs beside others of the same daemon.
#[derive(Clone, Copy)]
pub(super) enum Beside<'a> {
    /// For itself: what others do, it meets in the database.
    Nobody,
    /// On a lane, and whether it is all that this is at.
    Lanes { lanes: &'a Lanes, lane: usize, all: bool },
}

impl Beside<'_> {
    /// Before the first account is held.
    pub(super) fn wait(self) {
        if let Self::Lanes { lanes, lane, .. } = self {
            lanes.wait_for_commits(lane);
        }
    }

    /// Runs the commit.
    pub(super) fn committing<T>(self, commit: impl FnOnce() -> T) -> T {
        match self {
            Self::Lanes { lanes, lane, all: true } => lanes.committing(lane, commit),
            _ => commit(),
        }
    }
}

#[cfg(test)]
#[path = "lanes_tests.rs"]
mod tests;
