//! The queue of the money threads: by hand, against a model, and with real threads.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    iter,
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    thread,
};

use bursar_shared::{
    id::{AccountId, TransferId},
    money::Amount,
    operations::{accounts::AccountRef, transfers::CreateTransfer},
};
use proptest::prelude::*;

use super::*;
use crate::{
    db::{How, Keyed, money::Order},
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

fn key(key: &str) -> Keyed {
    let (principal, fingerprint) = ("somebody".to_owned(), String::new());
    Keyed { principal, key: key.to_owned(), fingerprint, keep: Duration::ZERO }
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
    lanes.still(0, iter::empty());
    assert_eq!(amounts(lanes.take(0, 9)), [2, 6], "4 meets 3, and 5 meets 4");
    lanes.still(1, iter::empty());
    lanes.still(0, iter::empty());
    assert_eq!(amounts(lanes.take(1, 1)), [4]);
    lanes.still(1, iter::empty());
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
    lanes.still(0, iter::empty());
    lanes.still(1, iter::empty());
    // what all meets on one account is nobody else's share
    let hot: AccountRef = AccountId::new().into();
    for amount in 1..=9 {
        assert!(lanes.push(job(hot, AccountId::new().into(), amount, false)).is_ok());
    }
    assert_eq!(amounts(lanes.take(1, 99)), [1, 2, 3, 4, 5, 6, 7, 8, 9]);
}

#[test]
fn while_one_commits_the_next_begins_and_waits_for_it_before_it_holds_anything() {
    let [a, b, c, d]: [AccountRef; 4] = std::array::from_fn(|_| AccountId::new().into());
    let lanes = Lanes::new(2, 9);
    let push = |from, to, amount| assert!(lanes.push(job(from, to, amount, false)).is_ok());
    push(a, b, 1);
    assert_eq!(amounts(lanes.take(0, 9)), [1]);
    push(b, c, 2);
    let [begun, waited, over] = [(); 3].map(|()| AtomicBool::new(false));
    thread::scope(|scope| {
        let next = lanes.committing(0, || {
            let next = scope.spawn(|| {
                assert_eq!(amounts(lanes.take(1, 9)), [2]);
                begun.store(true, Ordering::Release);
                lanes.wait_for_commits(1);
                waited.store(true, Ordering::Release);
                assert!(over.load(Ordering::Acquire), "it held accounts while another committed");
            });
            // it is given time to go wrong
            for _ in 0..10_000 {
                thread::yield_now();
                if waited.load(Ordering::Acquire) {
                    break;
                }
            }
            while !begun.load(Ordering::Acquire) {
                thread::yield_now();
            }
            over.store(true, Ordering::Release);
            next
        });
        // another of its commits, elsewhere, is not waited for
        push(a, d, 3);
        assert_eq!(amounts(lanes.take(0, 9)), [3]);
        lanes.committing(0, || next.join().unwrap());
    });
}

#[test]
fn a_key_stays_where_it_is_until_its_commit_is_over() {
    let [a, b, c, d]: [AccountRef; 4] = std::array::from_fn(|_| AccountId::new().into());
    let lanes = Lanes::new(2, 9);
    let keyed = |from, to, amount| {
        let mut job = job(from, to, amount, false);
        job.how.key = Some(key("once"));
        assert!(lanes.push(job).is_ok());
    };
    keyed(a, b, 1);
    assert_eq!(amounts(lanes.take(0, 9)), [1]);
    keyed(c, d, 2);
    lanes.committing(0, || assert!(lanes.state().take(1, 9).is_empty(), "it would only wait"));
    lanes.still(0, iter::empty());
    assert_eq!(amounts(lanes.take(1, 9)), [2]);
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
    lanes.still(0, iter::empty());
    assert_eq!((amounts(lanes.take(1, 9)), lanes.len()), (vec![2], 0));
    lanes.still(1, iter::empty());
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

/// A movement of the model: which it is, and what it touches. Numbers stand for accounts, transfers and keys.
#[derive(Debug, Clone)]
struct Move {
    accounts: Option<(usize, usize)>,
    follows: usize,
    key: Option<usize>,
    dry_run: bool,
}

/// The accounts and transfers that moves touch.
struct World {
    accounts: Vec<AccountRef>,
    transfers: Vec<TransferId>,
}

impl World {
    fn new() -> Self {
        Self {
            accounts: iter::repeat_with(|| AccountId::new().into()).take(6).collect(),
            transfers: iter::repeat_with(TransferId::new).take(3).collect(),
        }
    }

    /// The job of a move; its number is in its label's place, the request.
    fn job(&self, of: &Move, number: usize) -> Job {
        let mut job = match of.accounts {
            Some((from, to)) => job(self.accounts[from], self.accounts[to], 1, of.dry_run),
            None => job(self.accounts[0], self.accounts[1], 1, of.dry_run),
        };
        if let (None, Work::Money(order)) = (of.accounts, &mut job.work) {
            order.what = What::Void(self.transfers[of.follows], None);
        }
        job.how.stamp.request_id = number.to_string();
        job.how.key = of.key.map(|number| key(&number.to_string()));
        job
    }
}

fn number(job: &Job) -> usize {
    job.how.stamp.request_id.parse().unwrap()
}

impl Move {
    /// Whether two touch the same: told apart from `spots`, which the queue uses.
    fn meets(&self, other: &Self) -> bool {
        self.shares_key(other) || self.shares_row(other)
    }

    fn shares_key(&self, other: &Self) -> bool {
        self.key.is_some() && self.key == other.key
    }

    fn shares_row(&self, other: &Self) -> bool {
        match (self.accounts, other.accounts) {
            (Some((from, to)), Some(others)) => {
                [from, to].iter().any(|one| [others.0, others.1].contains(one))
            }
            (None, None) => self.follows == other.follows,
            _ => false,
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    Push(Move),
    /// A lane that is awake and has nothing takes, so many at most.
    Take(usize, usize),
    /// A lane commits all that it is at.
    Commit(usize),
    /// The commit of a lane fails.
    Fail(usize),
    /// So many of what a lane is at are answered, from the first on; and some are set apart.
    End(usize, usize, usize),
    /// It is time for those who wait apart.
    Look,
}

const LANES: usize = 3;
const CAPACITY: usize = 24;

fn moves() -> impl Strategy<Value = Move> {
    let accounts = prop_oneof![4 => (0..6_usize, 0..6_usize).prop_map(Some), 1 => Just(None)];
    (accounts, 0..3_usize, prop::option::weighted(0.3, 0..4_usize), prop::bool::weighted(0.1))
        .prop_map(|(accounts, follows, key, dry_run)| Move { accounts, follows, key, dry_run })
}

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => moves().prop_map(Step::Push),
        4 => (0..LANES, 1..6_usize).prop_map(|(lane, most)| Step::Take(lane, most)),
        2 => (0..LANES).prop_map(Step::Commit),
        1 => (0..LANES).prop_map(Step::Fail),
        4 => (0..LANES, 0..6_usize, 0..3_usize).prop_map(|(lane, ended, apart)| Step::End(lane, ended, apart)),
        1 => Just(Step::Look),
    ]
}

/// What the queue ought to be: every job is in one place.
struct Model {
    lanes: Lanes,
    moves: Vec<Move>,
    /// In the order in which they may run.
    waiting: Vec<usize>,
    apart: Vec<usize>,
    at: Vec<BTreeMap<usize, Job>>,
    /// Which lanes are committing.
    committing: Vec<bool>,
    /// For each lane, whose commits that are under way it must wait for.
    behind: Vec<BTreeSet<usize>>,
    /// Which lanes found nothing and were not woken since.
    asleep: Vec<bool>,
    ended: Vec<usize>,
}

impl Model {
    fn new() -> Self {
        Self {
            lanes: Lanes::new(LANES, CAPACITY),
            moves: Vec::new(),
            waiting: Vec::new(),
            apart: Vec::new(),
            at: iter::repeat_with(BTreeMap::new).take(LANES).collect(),
            committing: vec![false; LANES],
            behind: vec![BTreeSet::new(); LANES],
            asleep: vec![false; LANES],
            ended: Vec::new(),
        }
    }

    /// Whether a lane is at something that keeps this one from running: while it commits its keys do, its rows do not.
    fn is_held(&self, number: usize) -> bool {
        let of = &self.moves[number];
        let keeps = |(lane, at): (usize, &usize)| {
            *at != number
                && if self.committing[lane] {
                    self.moves[*at].shares_key(of)
                } else {
                    self.moves[*at].meets(of)
                }
        };
        self.at.iter().enumerate().flat_map(|(lane, at)| at.keys().map(move |at| (lane, at))).any(keeps)
    }

    /// Those that nothing keeps from running: nobody is at what they touch, and nobody before them waits for it.
    fn runnable(&self) -> Vec<usize> {
        let before = |place: usize| self.waiting[..place].iter();
        let free = |(place, number): (usize, &usize)| {
            let overtakes = before(place).any(|other| self.moves[*other].meets(&self.moves[*number]));
            (!overtakes && !self.is_held(*number)).then_some(*number)
        };
        self.waiting.iter().enumerate().filter_map(free).collect()
    }

    fn push(&mut self, world: &World, of: Move) {
        let number = self.moves.len();
        let full = self.waiting.len() + self.apart.len() >= CAPACITY;
        self.moves.push(of.clone());
        let mut state = self.lanes.state();
        assert_eq!(state.len() >= CAPACITY, full);
        if full {
            drop(state);
            assert_eq!(self.lanes.push(world.job(&of, number)), Err(NotTaken::Full));
            self.ended.push(number);
            return;
        }
        let wakes = state.push(world.job(&of, number));
        drop(state);
        self.waiting.push(number);
        // whichever sleeps: the first is as good as any
        if let Some(asleep) = self.asleep.iter_mut().find(|asleep| **asleep).filter(|_| wakes) {
            *asleep = false;
        }
    }

    fn take(&mut self, lane: usize, most: usize) {
        if self.asleep[lane] || !self.at[lane].is_empty() {
            return;
        }
        let runnable = self.runnable();
        let taken = self.lanes.state().take(lane, most);
        let numbers: Vec<usize> = taken.iter().map(number).collect();
        assert!(numbers.len() <= most, "{numbers:?}");
        assert_eq!(numbers.is_empty(), runnable.is_empty(), "{numbers:?} of {runnable:?}");
        let dry_run = |number: &usize| self.moves[*number].dry_run;
        assert!(numbers.len() == 1 || !numbers.iter().any(dry_run), "a dry run stands alone: {numbers:?}");
        for number in &numbers {
            assert!(!self.is_held(*number), "{number} meets what another lane is at");
            let place = self.waiting.iter().position(|waiting| waiting == number).expect("it waits, once");
            let overtaken =
                self.waiting[..place].iter().find(|other| self.moves[**other].meets(&self.moves[*number]));
            assert_eq!(overtaken, None, "{number} came later");
            self.waiting.remove(place);
        }
        self.asleep[lane] = numbers.is_empty();
        let meets = |other: &usize| {
            let mut at = self.at[*other].keys();
            at.any(|at| numbers.iter().any(|number| self.moves[*at].shares_row(&self.moves[*number])))
        };
        self.behind[lane] = (0..LANES).filter(|other| self.committing[*other]).filter(meets).collect();
        self.at[lane] = numbers.into_iter().zip(taken).collect();
    }

    fn commit(&mut self, lane: usize) {
        if self.at[lane].is_empty() || self.committing[lane] {
            return;
        }
        self.lanes.state().begin_commit(lane);
        self.committing[lane] = true;
        self.asleep.fill(false);
    }

    fn end_commit(&mut self, lane: usize) {
        self.lanes.state().end_commit(lane);
        self.committing[lane] = false;
        for behind in &mut self.behind {
            behind.remove(&lane);
        }
    }

    /// What could not be committed is tried again, beside whoever began with what comes next.
    fn fail(&mut self, lane: usize) {
        if self.committing[lane] {
            self.end_commit(lane);
            self.lanes.still(lane, self.at[lane].values());
            self.asleep.fill(false);
        }
    }

    /// Nobody holds an account before those are through who are ahead of them there, and nobody waits longer.
    fn waits_for_commits(&self) {
        let state = self.lanes.state();
        for (lane, behind) in self.behind.iter().enumerate() {
            assert_eq!(state.behind[lane].iter().copied().collect::<BTreeSet<_>>(), *behind, "lane {lane}");
        }
    }

    fn end(&mut self, lane: usize, mut ended: usize, apart: usize) {
        if self.at[lane].is_empty() {
            return;
        }
        if self.committing[lane] {
            ended = usize::MAX;
            self.end_commit(lane);
        }
        let mut jobs = std::mem::take(&mut self.at[lane]).into_values();
        self.ended.extend(jobs.by_ref().take(ended).map(|job| number(&job)));
        let apart: Vec<Job> = jobs.by_ref().take(apart).collect();
        self.apart.extend(apart.iter().map(number));
        self.lanes.set_apart(apart);
        self.at[lane] = jobs.map(|job| (number(&job), job)).collect();
        self.lanes.still(lane, self.at[lane].values());
        self.asleep.fill(false);
    }

    fn look(&mut self) {
        let mut state = self.lanes.state();
        let Some(at) = state.back_at else { return assert!(self.apart.is_empty()) };
        state.bring_back(at - Duration::from_millis(1));
        assert_eq!(state.apart.len(), self.apart.len(), "not before it is time");
        state.bring_back(at);
        self.apart.append(&mut self.waiting);
        std::mem::swap(&mut self.apart, &mut self.waiting);
        self.asleep.fill(false);
    }

    /// Nobody sleeps while something waits that could run: whoever is awake and idle takes what there is.
    fn is_live(&mut self) {
        let idle: Vec<usize> = (0..LANES).filter(|lane| self.at[*lane].is_empty()).collect();
        let awake = idle.iter().any(|lane| !self.asleep[*lane]);
        if !idle.is_empty() && !awake {
            assert_eq!(self.runnable(), Vec::<usize>::new(), "all idle lanes sleep");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_queue_does_what_a_simple_model_does(steps in prop::collection::vec(steps(), 1..120)) {
        let world = World::new();
        let mut model = Model::new();
        for step in steps {
            match step {
                Step::Push(of) => model.push(&world, of),
                Step::Take(lane, most) => model.take(lane, most),
                Step::Commit(lane) => model.commit(lane),
                Step::Fail(lane) => model.fail(lane),
                Step::End(lane, ended, apart) => model.end(lane, ended, apart),
                Step::Look => model.look(),
            }
            model.is_live();
            model.waits_for_commits();
            prop_assert_eq!(model.lanes.len(), model.waiting.len() + model.apart.len());
        }
        // nothing comes any more, and what is there is run all the same
        model.lanes.close();
        let late = Move { accounts: None, follows: 0, key: None, dry_run: false };
        model.asleep.fill(false);
        prop_assert_eq!(model.lanes.push(world.job(&late, 0)), Err(NotTaken::Closed));
        for round in 0.. {
            prop_assert!(round < 1_000, "it goes on for ever");
            model.look();
            for lane in 0..LANES {
                model.take(lane, 4);
                model.end(lane, usize::MAX, 0);
            }
            if model.lanes.len() == 0 {
                break;
            }
        }
        for lane in 0..LANES {
            prop_assert!(model.lanes.take(lane, 4).is_none());
            prop_assert!(model.lanes.state().held[lane].is_empty());
        }
        model.ended.sort_unstable();
        prop_assert_eq!(model.ended, (0..model.moves.len()).collect::<Vec<_>>(), "each once");
    }
}

#[test]
fn threads_run_everything_once_and_never_meet() {
    const MOVES: usize = 6_000;
    let world = World::new();
    let lanes = Lanes::new(LANES, MOVES);
    let ran: Vec<AtomicU32> = iter::repeat_with(AtomicU32::default).take(MOVES).collect();
    let apart: Vec<AtomicBool> = iter::repeat_with(AtomicBool::default).take(MOVES).collect();
    let held: Mutex<HashMap<Spot, usize>> = Mutex::default();
    let run = |lane: usize| {
        while let Some(mut group) = lanes.take(lane, 16) {
            lanes.wait_for_commits(lane);
            for spot in group.iter().flat_map(spots) {
                let holder = *held.lock().unwrap().entry(spot).or_insert(lane);
                assert_eq!(holder, lane, "two lanes meet");
            }
            // some of the group end before the others, and now and then one is set apart
            while !group.is_empty() {
                let mut ended = group.split_off(group.len() / 2);
                let let_go = || {
                    thread::yield_now();
                    held.lock().unwrap().retain(|_, holder| *holder != lane);
                };
                if group.is_empty() {
                    lanes.committing(lane, let_go);
                } else {
                    let_go();
                    let left = group.iter().flat_map(spots).map(|spot| (spot, lane));
                    held.lock().unwrap().extend(left);
                }
                let was = |one: &Job| apart[number(one)].swap(true, Ordering::Relaxed);
                lanes.set_apart(
                    ended.pop_if(|one| number(one).is_multiple_of(97) && !was(one)).into_iter().collect(),
                );
                for job in ended {
                    ran[number(&job)].fetch_add(1, Ordering::Relaxed);
                }
                lanes.still(lane, group.iter());
            }
        }
    };
    thread::scope(|scope| {
        let run = &run;
        let threads: Vec<_> = (0..LANES).map(|lane| scope.spawn(move || run(lane))).collect();
        for place in 0..MOVES {
            let of = Move {
                accounts: (place % 7 > 0).then_some((place * 31 % 6, place * 17 / 5 % 6)),
                follows: place % 3,
                key: (place % 5 == 0).then_some(place % 4),
                dry_run: place % 23 == 0,
            };
            assert_eq!(lanes.push(world.job(&of, place)), Ok(()));
            // now and then the queue runs empty, and everybody sleeps
            while place % 500 == 0 && lanes.len() > 0 && threads.iter().all(|thread| !thread.is_finished()) {
                thread::yield_now();
            }
        }
        lanes.close();
    });
    assert!(ran.iter().all(|times| times.load(Ordering::Relaxed) == 1));
}
