//! Interleavings of loads and invalidations, step by step and at random.

use std::{
    cell::{Cell, RefCell},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use proptest::prelude::*;
use tokio::sync::oneshot;

use super::*;

const BOUNDS: Bounds =
    Bounds { capacity: 100, ttl: Duration::from_secs(60), negative_ttl: Duration::from_secs(5) };

type Read = Result<Option<u32>, &'static str>;
type Answer = Result<Option<Arc<u32>>, &'static str>;

fn cache() -> (Clock, Cache<u8, u32>) {
    let clock = Clock::default();
    (clock.clone(), Cache::new(clock, BOUNDS))
}

/// A load that ends when the test says so.
fn gate() -> (oneshot::Sender<Read>, impl Future<Output = Read>) {
    let (sender, receiver) = oneshot::channel();
    (sender, async { receiver.await.unwrap_or(Err("the gate is gone")) })
}

fn poll<F: Future + ?Sized>(future: &mut Pin<Box<F>>) -> Option<F::Output> {
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => Some(done),
        Poll::Pending => None,
    }
}

/// The answer of a cache whose load is ready at once.
fn get(cache: &Cache<u8, u32>, key: u8, loaded: Result<Option<u32>, &'static str>) -> Answer {
    poll(&mut Box::pin(cache.get_or_load(&key, async { loaded }))).expect("ready at once")
}

#[test]
fn loads_once_and_keeps_what_there_is_longer_than_what_there_is_not() {
    let (clock, cache) = cache();
    assert_eq!(cache.look(&1), None);
    assert_eq!(get(&cache, 1, Ok(Some(7))), Ok(Some(Arc::new(7))));
    assert_eq!(get(&cache, 2, Ok(None)), Ok(None));
    // neither loads again
    assert_eq!(get(&cache, 1, Err("loaded")), Ok(Some(Arc::new(7))));
    assert_eq!(get(&cache, 2, Err("loaded")), Ok(None));
    assert_eq!((cache.look(&1), cache.look(&2)), (Some(Some(Arc::new(7))), Some(None)));
    assert_eq!(cache.counts(), Counts { hits: 2, misses: 2, loads: 2 });

    clock.forward(BOUNDS.negative_ttl);
    assert_eq!(get(&cache, 1, Err("loaded")), Ok(Some(Arc::new(7))));
    assert_eq!(get(&cache, 2, Ok(Some(8))), Ok(Some(Arc::new(8))));
    clock.forward(BOUNDS.ttl);
    assert_eq!(get(&cache, 1, Ok(Some(9))), Ok(Some(Arc::new(9))));
}

#[test]
fn errors_are_not_kept() {
    let (_, cache) = cache();
    assert_eq!(get(&cache, 1, Err("down")), Err("down"));
    assert_eq!(get(&cache, 1, Ok(Some(7))), Ok(Some(Arc::new(7))));
}

#[test]
fn many_callers_share_one_load() {
    let (_, cache) = cache();
    let (open, load) = gate();
    let mut leader = Box::pin(cache.get_or_load(&1, load));
    assert!(poll(&mut leader).is_none());
    let mut others: Vec<_> =
        (0..50).map(|_| Box::pin(cache.get_or_load(&1, async { Err("a second load") }))).collect();
    assert!(others.iter_mut().all(|other| poll(other).is_none()));
    // another key does not wait
    assert_eq!(get(&cache, 2, Ok(Some(2))), Ok(Some(Arc::new(2))));
    open.send(Ok(Some(7))).unwrap();
    assert_eq!(poll(&mut leader), Some(Ok(Some(Arc::new(7)))));
    for other in &mut others {
        assert_eq!(poll(other), Some(Ok(Some(Arc::new(7)))));
    }
    assert_eq!(cache.counts().loads, 2);
}

#[test]
fn a_leader_that_goes_away_or_panics_leaves_nobody_hanging() {
    let (_, cache) = cache();
    let (_open, load) = gate();
    let mut leader = Box::pin(cache.get_or_load(&1, load));
    assert!(poll(&mut leader).is_none());
    let (open, load) = gate();
    let mut second = Box::pin(cache.get_or_load(&1, load));
    let mut third = Box::pin(cache.get_or_load(&1, async { Err("a third load") }));
    assert!(poll(&mut second).is_none() && poll(&mut third).is_none());
    drop(leader);
    // the second leads now, the third waits for it
    assert!(poll(&mut second).is_none() && poll(&mut third).is_none());
    open.send(Ok(Some(7))).unwrap();
    assert_eq!(poll(&mut second), Some(Ok(Some(Arc::new(7)))));
    assert_eq!(poll(&mut third), Some(Ok(Some(Arc::new(7)))));

    let fail = Cell::new(false);
    let mut panics = Box::pin(cache.get_or_load(
        &2,
        std::future::poll_fn(|_| -> Poll<Result<_, &str>> {
            assert!(!fail.get(), "on purpose");
            Poll::Pending
        }),
    ));
    assert!(poll(&mut panics).is_none());
    let mut waiting = Box::pin(cache.get_or_load(&2, async { Ok::<_, &str>(Some(8)) }));
    assert!(poll(&mut waiting).is_none());
    fail.set(true);
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| poll(&mut panics)));
    assert!(panicked.is_err());
    assert_eq!(poll(&mut waiting), Some(Ok(Some(Arc::new(8)))));
}

#[test]
fn when_a_flight_fails_everybody_has_an_error_of_their_own_after_one_more_load() {
    let (_, cache) = cache();
    let (open, load) = gate();
    let mut leader = Box::pin(cache.get_or_load(&1, load));
    assert!(poll(&mut leader).is_none());
    let (second_open, second_load) = gate();
    let (third_open, third_load) = gate();
    let mut second = Box::pin(cache.get_or_load(&1, second_load));
    let mut third = Box::pin(cache.get_or_load(&1, third_load));
    assert!(poll(&mut second).is_none() && poll(&mut third).is_none());
    open.send(Err("down")).unwrap();
    assert_eq!(poll(&mut leader), Some(Err("down")));
    // both load now, neither waits for the other
    assert!(poll(&mut second).is_none() && poll(&mut third).is_none());
    third_open.send(Err("still down")).unwrap();
    assert_eq!(poll(&mut third), Some(Err("still down")));
    second_open.send(Ok(Some(7))).unwrap();
    assert_eq!(poll(&mut second), Some(Ok(Some(Arc::new(7)))));
}

#[test]
fn a_slow_load_cannot_put_back_what_was_invalidated() {
    for all in [false, true] {
        let (_, cache) = cache();
        let (open, load) = gate();
        let mut slow = Box::pin(cache.get_or_load(&1, load));
        assert!(poll(&mut slow).is_none());
        if all {
            cache.invalidate_all()
        } else {
            cache.invalidate(&1)
        }
        // whoever comes now does not join the stale flight
        assert_eq!(get(&cache, 1, Ok(Some(2))), Ok(Some(Arc::new(2))));
        open.send(Ok(Some(1))).unwrap();
        assert_eq!(poll(&mut slow), Some(Ok(Some(Arc::new(1)))));
        assert_eq!(cache.look(&1), Some(Some(Arc::new(2))));
    }
}

#[test]
fn invalidating_forgets_values_and_absences() {
    let (_, cache) = cache();
    for (key, value) in [(1, Some(1)), (2, None), (3, Some(3))] {
        assert!(get(&cache, key, Ok(value)).is_ok());
    }
    cache.invalidate(&1);
    cache.invalidate(&2);
    assert_eq!((cache.look(&1), cache.look(&2)), (None, None));
    assert!(cache.look(&3).is_some());
    cache.invalidate_all();
    assert_eq!(cache.look(&3), None);
    assert_eq!(get(&cache, 3, Ok(Some(4))), Ok(Some(Arc::new(4))));
    assert_eq!(cache.look(&3), Some(Some(Arc::new(4))));
}

#[test]
fn bypassed_it_loads_always_and_keeps_nothing() {
    let (_, cache) = cache();
    assert!(get(&cache, 1, Ok(Some(1))).is_ok());
    let (open, load) = gate();
    let mut before = Box::pin(cache.get_or_load(&2, load));
    assert!(poll(&mut before).is_none());
    cache.bypass(true);
    assert_eq!(get(&cache, 1, Ok(Some(2))), Ok(Some(Arc::new(2))));
    assert_eq!(get(&cache, 1, Ok(Some(3))), Ok(Some(Arc::new(3))));
    assert_eq!(cache.look(&1), None);
    // a flight of the time before does not land
    open.send(Ok(Some(1))).unwrap();
    assert!(poll(&mut before).is_some());
    cache.bypass(false);
    assert_eq!((cache.look(&1), cache.look(&2)), (None, None));
    assert_eq!(get(&cache, 1, Ok(Some(4))), Ok(Some(Arc::new(4))));
    assert_eq!(cache.look(&1), Some(Some(Arc::new(4))));
}

#[test]
fn holds_no_more_than_its_capacity() {
    let clock = Clock::default();
    let cache: Cache<u32, u32> = Cache::new(clock, BOUNDS);
    for key in 0..10_000 {
        let loaded = poll(&mut Box::pin(cache.get_or_load(&key, async { Ok::<_, ()>(Some(key)) })));
        assert_eq!(loaded, Some(Ok(Some(Arc::new(key)))));
    }
    cache.entries.run_pending_tasks();
    assert!(cache.entries.entry_count() <= 100);
}

/// One step of a random interleaving.
#[derive(Debug, Clone)]
enum Step {
    /// Somebody asks for a key; the store is read at once, the answer comes when it is let through.
    Ask(u8),
    /// The n-th caller's load is let through.
    Open(prop::sample::Index, bool),
    /// The n-th caller goes away.
    Leave(prop::sample::Index),
    /// The store changes, then the key is invalidated, as a commit does.
    Write(u8),
    /// The same with everything invalidated.
    WriteAll(u8),
    /// Invalidations are not heard, or are again.
    Bypass(bool),
    /// Time goes by.
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = 0u8..3;
    let step = prop_oneof![
        8 => key.clone().prop_map(Step::Ask),
        6 => (any::<prop::sample::Index>(), prop::bool::weighted(0.8)).prop_map(|(n, ok)| Step::Open(n, ok)),
        2 => any::<prop::sample::Index>().prop_map(Step::Leave),
        4 => key.clone().prop_map(Step::Write),
        1 => key.prop_map(Step::WriteAll),
        1 => any::<bool>().prop_map(Step::Bypass),
        1 => (0u64..70).prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 1..120)
}

struct Caller<'a> {
    future: Pin<Box<dyn Future<Output = Answer> + 'a>>,
    key: u8,
    /// The least version that the caller may be told.
    floor: u32,
    open: Rc<Cell<Option<bool>>>,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    /// Nobody is ever told a version older than the one that was invalidated last before they asked,
    /// and nobody waits for ever.
    #[test]
    fn never_answers_what_was_invalidated_before_the_question(steps in steps()) {
        let (clock, cache) = cache();
        let store = RefCell::new([1u32; 3]);
        let mut callers: Vec<Caller<'_>> = Vec::new();
        for step in steps {
            match step {
                Step::Ask(key) => {
                    let open = Rc::new(Cell::new(None));
                    let (gate, store, cache) = (Rc::clone(&open), &store, &cache);
                    let future = Box::pin(async move {
                        let mut read = None;
                        cache.get_or_load(&key, std::future::poll_fn(|_| {
                            let version = *read.get_or_insert_with(|| store.borrow()[usize::from(key)]);
                            match gate.get() {
                                None => Poll::Pending,
                                Some(true) => Poll::Ready(Ok(Some(version))),
                                Some(false) => Poll::Ready(Err("down")),
                            }
                        })).await
                    });
                    let floor = store.borrow()[usize::from(key)];
                    callers.push(Caller { future, key, floor, open });
                }
                Step::Open(which, fine) if !callers.is_empty() => {
                    callers[which.index(callers.len())].open.set(Some(fine));
                }
                Step::Leave(which) if !callers.is_empty() => {
                    let place = which.index(callers.len());
                    callers.swap_remove(place);
                }
                Step::Write(key) => {
                    store.borrow_mut()[usize::from(key)] += 1;
                    cache.invalidate(&key);
                }
                Step::WriteAll(key) => {
                    store.borrow_mut()[usize::from(key)] += 1;
                    cache.invalidate_all();
                }
                Step::Bypass(on) => cache.bypass(on),
                Step::Wait(seconds) => clock.forward(Duration::from_secs(seconds)),
                Step::Open(..) | Step::Leave(_) => {}
            }
            let mut failure = None;
            callers.retain_mut(|caller| match poll(&mut caller.future) {
                None => true,
                Some(Ok(Some(version))) if *version >= caller.floor => false,
                Some(Err("down")) => false,
                Some(other) => { failure = Some((caller.key, caller.floor, other)); false }
            });
            prop_assert_eq!(failure, None);
            for key in 0..3 {
                if let Some(Some(version)) = cache.look(&key) {
                    prop_assert!(*version >= store.borrow()[usize::from(key)]);
                }
            }
        }
        // when every load is let through, everybody is answered: in at most as many rounds as there are
        for caller in &callers { caller.open.set(Some(true)); }
        for _ in 0..=callers.len() + 1 {
            callers.retain_mut(|caller| poll(&mut caller.future).is_none());
        }
        prop_assert!(callers.is_empty());
        prop_assert!(cache.table().flights.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn holds_with_real_threads() {
    let cache: Arc<Cache<u8, u64>> = Arc::new(Cache::new(Clock::default(), BOUNDS));
    let store = Arc::new(AtomicU64::new(1));
    let writer = {
        let (cache, store) = (Arc::clone(&cache), Arc::clone(&store));
        tokio::spawn(async move {
            for _ in 0..20_000 {
                store.fetch_add(1, Ordering::SeqCst);
                cache.invalidate(&1);
                tokio::task::yield_now().await;
            }
        })
    };
    let readers: Vec<_> = (0..4)
        .map(|_| {
            let (cache, store) = (Arc::clone(&cache), Arc::clone(&store));
            tokio::spawn(async move {
                let invalidated = |cache: &Cache<u8, u64>| cache.look(&1).flatten().map_or(0, |value| *value);
                for _ in 0..20_000 {
                    let before = invalidated(&cache);
                    let load = async {
                        let value = store.load(Ordering::SeqCst);
                        tokio::task::yield_now().await;
                        Ok::<_, ()>(Some(value))
                    };
                    let value = *cache.get_or_load(&1, load).await.unwrap().unwrap();
                    assert!(value >= before, "{value} after {before}");
                }
            })
        })
        .collect();
    writer.await.unwrap();
    for reader in readers {
        reader.await.unwrap();
    }
    let last = cache.get_or_load(&1, async { Ok::<_, ()>(Some(store.load(Ordering::SeqCst))) }).await;
    assert_eq!(*last.unwrap().unwrap(), 20_001);
}
