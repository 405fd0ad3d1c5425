//! Cache-aside: one load for many callers, and nothing stale after an invalidation.
//!
//! A load in progress is a *flight*. It stands in a table, and only while it stands there may its value
//! be stored. Looking, storing and invalidating take the table's lock, so an invalidation that removes
//! the flight is sure that the value read before it is never put back, and callers after it begin a
//! flight of their own. Those who joined before get the old value: they asked before.
//!
//! When a flight ends without a value (its leader went away or panicked), one of the waiting leads the
//! next. When it fails, each of the waiting loads once for itself, so that everybody has an error of
//! their own and nobody waits for a row of failures.

use std::{
    collections::{HashMap, hash_map::Entry as Place},
    fmt,
    hash::Hash,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::watch;

use crate::clock::Clock;

/// Seeded at random as the standard one, and several times quicker on a token of 500 bytes.
pub type Hasher = foldhash::quality::RandomState;

/// How much a cache holds, and how long.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Entries at most.
    pub capacity: u64,
    /// How long a value is good.
    pub ttl: Duration,
    /// How long "there is none" is good.
    pub negative_ttl: Duration,
}

/// What happened so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Answers from the cache.
    pub hits: u64,
    /// Questions that it could not answer.
    pub misses: u64,
    /// Loads begun.
    pub loads: u64,
}

/// A value as it was loaded; nothing when there is none.
type Loaded<V> = Option<Arc<V>>;

struct Entry<V> {
    value: Loaded<V>,
    until: Duration,
    epoch: u64,
}

impl<V> Clone for Entry<V> {
    fn clone(&self) -> Self {
        Self { value: self.value.clone(), until: self.until, epoch: self.epoch }
    }
}

/// How a flight stands.
enum Flight<V> {
    Flying,
    Landed(Loaded<V>),
    Failed,
}

struct Table<K, V> {
    flights: HashMap<K, (u64, watch::Receiver<Flight<V>>)>,
    next: u64,
    bypass: bool,
}

/// A bounded cache of what was loaded. Balances, orders and keys are never kept in one.
pub struct Cache<K, V> {
    clock: Clock,
    bounds: Bounds,
    entries: moka::sync::Cache<K, Entry<V>, Hasher>,
    table: Mutex<Table<K, V>>,
    /// Entries of an earlier epoch are gone; moka's own way looks at a clock that stands still for
    /// moments, this does not.
    epoch: AtomicU64,
    hits: AtomicU64,
    misses: AtomicU64,
    loads: AtomicU64,
}

impl<K, V> fmt::Debug for Cache<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("bounds", &self.bounds).finish_non_exhaustive()
    }
}

/// What a caller does about a key that is not in the cache.
enum Turn<V> {
    Lead(u64, watch::Sender<Flight<V>>),
    Join(watch::Receiver<Flight<V>>),
    Alone,
    Found(Loaded<V>),
}

impl<K, V> Cache<K, V>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    /// An empty cache.
    pub fn new(clock: Clock, bounds: Bounds) -> Self {
        let table = Table { flights: HashMap::new(), next: 0, bypass: false };
        Self {
            clock,
            bounds,
            entries: moka::sync::Cache::builder()
                .max_capacity(bounds.capacity)
                .build_with_hasher(Hasher::default()),
            table: Mutex::new(table),
            epoch: AtomicU64::new(0),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
            loads: AtomicU64::new(0),
        }
    }

    fn table(&self) -> MutexGuard<'_, Table<K, V>> {
        // a panic under this lock leaves at worst a flight that has ended, which nobody joins
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is kept of `key`: nothing, or its value, or that there is none.
    fn look(&self, key: &K) -> Option<Loaded<V>> {
        let entry = self.entries.get(key)?;
        let good = entry.epoch == self.epoch.load(Ordering::Acquire) && self.clock.monotonic() < entry.until;
        good.then_some(entry.value)
    }

    /// The value of `key`, from the cache or else from `load`, which many callers at once share.
    /// `None` means that there is none, and is kept too. Dropping the returned future is safe.
    ///
    /// # Errors
    /// What `load` fails with; errors are not kept.
    pub async fn get_or_load<E>(
        &self,
        key: &K,
        load: impl Future<Output = Result<Option<V>, E>>,
    ) -> Result<Loaded<V>, E> {
        if let Some(found) = self.look(key) {
            self.hits.fetch_add(1, Ordering::Relaxed);
            return Ok(found);
        }
        self.misses.fetch_add(1, Ordering::Relaxed);
        let mut failed_once = false;
        loop {
            match self.turn(key, failed_once) {
                Turn::Found(found) => return Ok(found),
                Turn::Alone => return Ok(self.load(load).await?.map(Arc::new)),
                Turn::Lead(number, sender) => return self.lead(key, number, sender, load).await,
                Turn::Join(mut flight) => {
                    // an error means that the leader is gone without a word: again
                    let Ok(end) = flight.wait_for(|state| !matches!(state, Flight::Flying)).await else {
                        continue;
                    };
                    match &*end {
                        Flight::Landed(value) => return Ok(value.clone()),
                        Flight::Failed => failed_once = true,
                        Flight::Flying => {}
                    }
                }
            }
        }
    }

    async fn load<E>(&self, load: impl Future<Output = Result<Option<V>, E>>) -> Result<Option<V>, E> {
        self.loads.fetch_add(1, Ordering::Relaxed);
        load.await
    }

    fn turn(&self, key: &K, failed_once: bool) -> Turn<V> {
        let mut table = self.table();
        if table.bypass {
            return Turn::Alone;
        }
        // it may have been stored since we looked
        if let Some(found) = self.look(key) {
            return Turn::Found(found);
        }
        let number = table.next;
        match table.flights.entry(key.clone()) {
            Place::Occupied(place) if place.get().1.has_changed().is_ok() => match failed_once {
                true => Turn::Alone,
                false => Turn::Join(place.get().1.clone()),
            },
            place => {
                let (sender, receiver) = watch::channel(Flight::Flying);
                place.insert_entry((number, receiver));
                table.next += 1;
                Turn::Lead(number, sender)
            }
        }
    }

    async fn lead<E>(
        &self,
        key: &K,
        number: u64,
        sender: watch::Sender<Flight<V>>,
        load: impl Future<Output = Result<Option<V>, E>>,
    ) -> Result<Loaded<V>, E> {
        // declared before the sender is used: when this future is dropped, the flight leaves the table
        // and the dropped sender wakes the waiting
        let leader = Leader { cache: self, key, number };
        let loaded = self.load(load).await;
        let (state, answer) = match loaded {
            Ok(value) => {
                let value = value.map(Arc::new);
                leader.store(value.clone());
                (Flight::Landed(value.clone()), Ok(value))
            }
            Err(error) => (Flight::Failed, Err(error)),
        };
        drop(leader);
        sender.send_replace(state);
        answer
    }

    /// Forgets `key`. A load that began before cannot put its value back; whoever asks afterwards
    /// gets what is loaded afterwards.
    pub fn invalidate(&self, key: &K) {
        let mut table = self.table();
        table.flights.remove(key);
        self.entries.invalidate(key);
    }

    /// Forgets everything, as [`Cache::invalidate`] does one key.
    pub fn invalidate_all(&self) {
        self.forget(&mut self.table());
    }

    fn forget(&self, table: &mut Table<K, V>) {
        table.flights.clear();
        self.epoch.fetch_add(1, Ordering::AcqRel);
        // makes room; what counts is the epoch
        self.entries.invalidate_all();
    }

    /// Whether to load always and keep nothing: for the time in which invalidations of other daemons
    /// cannot be heard. Listen again first, then switch it off.
    pub fn bypass(&self, on: bool) {
        let mut table = self.table();
        if table.bypass != on {
            table.bypass = on;
            // what was kept may be stale, and no flight may land in the new time
            self.forget(&mut table);
        }
    }

    /// What happened so far.
    pub fn counts(&self) -> Counts {
        Counts {
            hits: self.hits.load(Ordering::Relaxed),
            misses: self.misses.load(Ordering::Relaxed),
            loads: self.loads.load(Ordering::Relaxed),
        }
    }
}

/// Whoever loads for the others.
struct Leader<'a, K, V>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    cache: &'a Cache<K, V>,
    key: &'a K,
    number: u64,
}

impl<K, V> Leader<'_, K, V>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    fn is_flying(&self, table: &Table<K, V>) -> bool {
        table.flights.get(self.key).is_some_and(|(number, _)| *number == self.number)
    }

    /// Keeps the value, unless it was invalidated while it was loaded.
    fn store(&self, value: Loaded<V>) {
        let Bounds { ttl, negative_ttl, .. } = self.cache.bounds;
        let table = self.cache.table();
        if self.is_flying(&table) {
            let until = self.cache.clock.monotonic() + if value.is_some() { ttl } else { negative_ttl };
            let epoch = self.cache.epoch.load(Ordering::Acquire);
            self.cache.entries.insert(self.key.clone(), Entry { value, until, epoch });
        }
    }
}

impl<K, V> Drop for Leader<'_, K, V>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    fn drop(&mut self) {
        let mut table = self.cache.table();
        if self.is_flying(&table) {
            table.flights.remove(self.key);
        }
    }
}

#[cfg(test)]
#[path = "cache_tests.rs"]
mod tests;
