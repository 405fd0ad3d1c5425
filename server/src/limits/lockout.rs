//! After wrong passwords in a row one has to wait, longer each time.

use std::{
    collections::HashMap,
    fmt,
    hash::{BuildHasher, Hash, RandomState},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use crate::clock::Clock;

/// Wrong passwords in a row that cost nothing but the last one a second.
const FREE: u32 = 5;
/// The longest wait, in seconds.
const LONGEST: u64 = 300;
/// Who failed last so long ago begins anew.
const FORGOTTEN: Duration = Duration::from_secs(24 * 3_600);
/// Keys that are remembered.
const KEYS: usize = 65_536;

struct Failures {
    in_a_row: u32,
    last: Duration,
    until: Duration,
}

/// Counts wrong passwords in a row by key: the account and where they came from, so that a stranger
/// elsewhere cannot lock anybody out.
pub struct Lockouts {
    clock: Clock,
    off: AtomicBool,
    seed: RandomState,
    failures: Mutex<HashMap<u64, Failures>>,
}

impl fmt::Debug for Lockouts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lockouts").field("keys", &self.lock().len()).finish_non_exhaustive()
    }
}

impl Lockouts {
    /// Nobody failed yet.
    pub fn new(clock: Clock) -> Self {
        Self { clock, off: AtomicBool::new(false), seed: RandomState::new(), failures: Mutex::default() }
    }

    /// Never locks (`--limits off`, for benchmarks), or does so again.
    pub fn set_off(&self, off: bool) {
        self.off.store(off, Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Failures>> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long `key` is still locked; asked before the password is looked at.
    pub fn locked(&self, key: impl Hash) -> Option<Duration> {
        let hash = self.seed.hash_one(key);
        let wait = self.lock().get(&hash)?.until.checked_sub(self.clock.monotonic())?;
        (!wait.is_zero() && !self.off.load(Ordering::Relaxed)).then_some(wait)
    }

    /// One more wrong password; how long `key` is locked now: 1, 2, 4 ... 300 s from the fifth on.
    pub fn failed(&self, key: impl Hash) -> Option<Duration> {
        if self.off.load(Ordering::Relaxed) {
            return None;
        }
        let hash = self.seed.hash_one(key);
        let now = self.clock.monotonic();
        let mut failures = self.lock();
        if failures.len() >= KEYS && !failures.contains_key(&hash) {
            make_room(&mut failures, now);
        }
        let entry = failures.entry(hash).or_insert(Failures { in_a_row: 0, last: now, until: now });
        if now.saturating_sub(entry.last) > FORGOTTEN {
            entry.in_a_row = 0;
        }
        entry.in_a_row = entry.in_a_row.saturating_add(1);
        entry.last = now;
        let beyond = entry.in_a_row.checked_sub(FREE)?;
        let wait = Duration::from_secs(1u64.checked_shl(beyond.min(32)).unwrap_or(LONGEST).min(LONGEST));
        entry.until = now + wait;
        Some(wait)
    }

    /// The right password: all is forgiven.
    pub fn succeeded(&self, key: impl Hash) {
        let hash = self.seed.hash_one(key);
        self.lock().remove(&hash);
    }
}

/// Forgets who failed longest ago: a tenth at a time, so that a flood does not sort for every key.
fn make_room(failures: &mut HashMap<u64, Failures>, now: Duration) {
    failures.retain(|_, entry| now.saturating_sub(entry.last) <= FORGOTTEN);
    if failures.len() < KEYS {
        return;
    }
    let mut times: Vec<Duration> = failures.values().map(|entry| entry.last).collect();
    let (_, limit, _) = times.select_nth_unstable(KEYS / 10);
    let limit = *limit;
    failures.retain(|_, entry| entry.last > limit);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lockouts() -> (Clock, Lockouts) {
        let clock = Clock::default();
        (clock.clone(), Lockouts::new(clock))
    }

    #[test]
    fn locks_longer_each_time_from_the_fifth_wrong_password_on() {
        let (clock, lockouts) = lockouts();
        for _ in 0..4 {
            assert_eq!(lockouts.failed("ann"), None);
            assert_eq!(lockouts.locked("ann"), None);
        }
        for seconds in [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300] {
            assert_eq!(lockouts.failed("ann"), Some(Duration::from_secs(seconds)));
            assert!(lockouts.locked("ann").is_some());
            assert_eq!(lockouts.locked("bob"), None);
            clock.forward(Duration::from_secs(seconds));
            assert_eq!(lockouts.locked("ann"), None);
        }
    }

    #[test]
    fn the_right_password_or_a_day_begins_anew() {
        let (clock, lockouts) = lockouts();
        for _ in 0..4 {
            lockouts.failed("ann");
        }
        lockouts.succeeded("ann");
        assert_eq!(lockouts.failed("ann"), None);
        for _ in 0..10 {
            lockouts.failed("ann");
        }
        clock.forward(FORGOTTEN + Duration::from_secs(1));
        assert_eq!(lockouts.failed("ann"), None);
    }

    #[test]
    fn remembers_a_bounded_number() {
        let (_, lockouts) = lockouts();
        for key in 0..KEYS + 1_000 {
            lockouts.failed(key);
        }
        assert!(lockouts.lock().len() <= KEYS);
        // the latest are still there
        for _ in 0..3 {
            lockouts.failed(KEYS + 999);
        }
        assert!(lockouts.failed(KEYS + 999).is_some());
    }

    #[test]
    fn switched_off_it_locks_nobody() {
        let (_, lockouts) = lockouts();
        for _ in 0..10 {
            lockouts.failed("ann");
        }
        lockouts.set_off(true);
        assert_eq!((lockouts.locked("ann"), lockouts.failed("ann")), (None, None));
    }
}
