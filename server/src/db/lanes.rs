//! The queue of the threads that move money on PostgreSQL: what meets on an account runs on one of them.
//!
//! Two transactions that touch one account run one after the other, whatever threads they are on: the second
//! waits for the first to be durable, and holds all its other accounts meanwhile. So a thread takes what is
//! queued except for what the other one is at, in the order in which it came for each account.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    hash::{DefaultHasher, Hash, Hasher as _},
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
};

use super::batch::{Job, Work};
use crate::ledger::What;

/// What a movement touches: its accounts as they are named, the transfer that it follows, its key. Two that
/// are the same by chance, or an account that is named in two ways, cost a little waiting and nothing else.
type Spot = u64;

fn spot(of: impl Hash) -> Spot {
    let mut sum = DefaultHasher::new();
    of.hash(&mut sum);
    sum.finish()
}

fn spots(job: &Job) -> impl Iterator<Item = Spot> + Clone {
    let (one, other) = match &job.work {
        Work::Money(order) => match &order.what {
            What::Create(transfer) => {
                (Some(spot(transfer.from_account_id)), Some(spot(transfer.to_account_id)))
            }
            What::Capture(of) => (Some(spot(of.id)), None),
            What::Void(id, _) | What::Expire(id) => (Some(spot(id)), None),
            What::Reverse(of) => (Some(spot(of.id)), None),
        },
        Work::Change(_) => (None, None),
    };
    let key = job.how.key.as_ref().map(|key| spot((&key.principal, &key.key)));
    [one, other, key].into_iter().flatten()
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Job>,
    /// Which lane is at which spot.
    held: HashMap<Spot, usize>,
    /// How many movements each lane is at.
    running: Vec<usize>,
    /// How many lanes ended.
    left: usize,
    closed: bool,
}

impl State {
    /// Takes what this lane can run together, in its order.
    fn take(&mut self, lane: usize, most: usize) -> Vec<Job> {
        let others = self.running.iter().enumerate().filter(|(other, _)| *other != lane);
        let running: usize = others.map(|(_, count)| *count).sum();
        // all lanes are to have as much to do: one that takes everything leaves the others commits of one or two
        let share = (self.waiting.len() + running).div_ceil(self.running.len()).max(1);
        let mut taken: Vec<Job> = Vec::new();
        // what stays must not be overtaken on its accounts
        let mut stays: HashSet<Spot> = HashSet::new();
        let mut left = VecDeque::with_capacity(self.waiting.len());
        while let Some(job) = self.waiting.pop_front() {
            let full = taken.len() >= most || taken.first().is_some_and(|first| first.how.dry_run);
            if full {
                left.push_back(job);
                break;
            }
            let holder = |spot: Spot| self.held.get(&spot).copied();
            let elsewhere = |spot: Spot| holder(spot).is_some_and(|holder| holder != lane);
            let mut free = !spots(&job).any(|spot| elsewhere(spot) || stays.contains(&spot));
            // beyond the share goes only what no other could run beside this
            free &= taken.len() < share || spots(&job).any(|spot| holder(spot) == Some(lane));
            // a dry run stands alone: what it would have done must not be seen by others
            if free && (!job.how.dry_run || taken.is_empty()) {
                self.held.extend(spots(&job).map(|spot| (spot, lane)));
                taken.push(job);
            } else {
                stays.extend(spots(&job));
                left.push_back(job);
            }
        }
        left.append(&mut self.waiting);
        self.waiting = left;
        self.running[lane] = taken.len();
        taken
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
    capacity: usize,
}

impl Lanes {
    pub(super) fn new(lanes: usize, capacity: usize) -> Self {
        let state = State { running: vec![0; lanes], ..State::default() };
        Self { state: Mutex::new(state), moved: Condvar::new(), capacity }
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
        if state.waiting.len() >= self.capacity {
            return Err(NotTaken::Full);
        }
        // when somebody is at it already, they take it when they come back
        let free = !spots(&job).any(|spot| state.held.contains_key(&spot));
        state.waiting.push_back(job);
        drop(state);
        if free {
            self.moved.notify_one();
        }
        Ok(())
    }

    /// Takes what can run together on this lane, and waits for it; nothing once the queue is closed and empty.
    pub(super) fn take(&self, lane: usize, most: usize) -> Option<Vec<Job>> {
        let mut state = self.state();
        loop {
            let taken = state.take(lane, most);
            if !taken.is_empty() {
                return Some(taken);
            }
            if state.closed && state.waiting.is_empty() {
                return None;
            }
            state = self.moved.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// A lane has run what it took.
    pub(super) fn done(&self, lane: usize) {
        let mut state = self.state();
        state.held.retain(|_, holder| *holder != lane);
        state.running[lane] = 0;
        drop(state);
        self.moved.notify_all();
    }

    /// A lane ends: nothing is taken into the queue any more. With the last one goes what waits, so that its
    /// callers hear of it.
    pub(super) fn leave(&self, lane: usize) {
        self.done(lane);
        self.close();
        let mut state = self.state();
        state.left += 1;
        if state.left == state.running.len() {
            state.waiting.clear();
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
        self.state().waiting.len()
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use bursar_shared::{
        id::AccountId,
        money::Amount,
        operations::{accounts::AccountRef, transfers::CreateTransfer},
    };

    use super::*;
    use crate::{
        db::{How, money::Order},
        log::Stamp,
    };

    fn job(from: AccountRef, to: AccountRef, amount: i64, dry_run: bool) -> Job {
        let transfer = CreateTransfer {
            from_account_id: from,
            to_account_id: to,
            amount: Amount::new(amount).unwrap(),
            currency: "EUR".parse().unwrap(),
            mode: None,
            expires_in_seconds: None,
            reason: None,
            description: None,
            external_id: None,
            metadata: None,
        };
        let how = How { stamp: Stamp::system("test"), key: None, dry_run };
        let order = Order { what: What::Create(Box::new(transfer)), issues: true, asker: None };
        Job::money(how, Instant::now() + Duration::from_secs(9), order).0
    }

    fn amounts(jobs: Option<Vec<Job>>) -> Vec<i64> {
        let amount = |job: &Job| match &job.work {
            Work::Money(order) => match &order.what {
                What::Create(transfer) => transfer.amount.minor(),
                _ => 0,
            },
            Work::Change(_) => 0,
        };
        jobs.unwrap().iter().map(amount).collect()
    }

    #[test]
    fn what_meets_on_an_account_runs_in_its_order_and_the_rest_beside_it() {
        let [a, b, c, d, e]: [AccountRef; 5] = std::array::from_fn(|_| AccountId::new().into());
        let lanes = Lanes::new(2, 7);
        let push = |from, to, amount| assert!(lanes.push(job(from, to, amount, false)).is_ok());
        push(a, b, 1);
        assert_eq!(amounts(lanes.take(0, 9)), [1]);
        push(b, c, 2);
        push(d, e, 3);
        // nothing of lane 0 is in it, but it would overtake the second
        push(c, d, 4);
        push(e, d, 5);
        assert_eq!(amounts(lanes.take(1, 9)), [3]);
        push(a, b, 6);
        lanes.done(0);
        assert_eq!(amounts(lanes.take(0, 9)), [2, 6], "4 meets 3, and 5 meets 4");
        lanes.done(1);
        lanes.done(0);
        assert_eq!(amounts(lanes.take(1, 1)), [4]);
        lanes.done(1);
        assert_eq!(amounts(lanes.take(0, 9)), [5]);
    }

    #[test]
    fn lanes_share_what_there_is() {
        let lanes = Lanes::new(2, 99);
        for amount in 1..=9 {
            let job = job(AccountId::new().into(), AccountId::new().into(), amount, false);
            assert!(lanes.push(job).is_ok());
        }
        assert_eq!(amounts(lanes.take(0, 99)), [1, 2, 3, 4, 5]);
        assert_eq!(amounts(lanes.take(1, 99)), [6, 7, 8, 9]);
        lanes.done(0);
        lanes.done(1);
        // what all meets on one account is nobody else's share
        let hot: AccountRef = AccountId::new().into();
        for amount in 1..=9 {
            assert!(lanes.push(job(hot, AccountId::new().into(), amount, false)).is_ok());
        }
        assert_eq!(amounts(lanes.take(1, 99)), [1, 2, 3, 4, 5, 6, 7, 8, 9]);
    }

    #[test]
    fn a_dry_run_stands_alone_and_a_full_or_closed_queue_takes_nothing() {
        let [a, b, c, d]: [AccountRef; 4] = std::array::from_fn(|_| AccountId::new().into());
        let lanes = Lanes::new(2, 3);
        assert!(lanes.push(job(a, b, 1, false)).is_ok());
        assert!(lanes.push(job(a, c, 2, true)).is_ok());
        assert!(lanes.push(job(b, d, 3, false)).is_ok());
        assert_eq!(lanes.push(job(a, b, 4, false)), Err(NotTaken::Full));
        assert_eq!(amounts(lanes.take(0, 9)), [1, 3]);
        lanes.done(0);
        assert_eq!((amounts(lanes.take(1, 9)), lanes.len()), (vec![2], 0));
        lanes.done(1);
        assert!(lanes.push(job(a, b, 6, false)).is_ok());
        // one that ends leaves what waits to the other, with the last one it is gone
        lanes.leave(1);
        assert_eq!(lanes.len(), 1);
        lanes.leave(0);
        assert_eq!(lanes.len(), 0);
        assert_eq!(lanes.push(job(a, b, 5, false)), Err(NotTaken::Closed));
        assert!(lanes.is_closed());
        assert!(lanes.take(0, 9).is_none());
    }
}
