//! How often somebody may ask: GCRA counters, locks after wrong passwords, and whose address counts.
//!
//! Everything is in this process and bounded: a flood of new keys forgets the keys nearest to being
//! free again, never grows the map.

mod address;
mod lockout;

use std::{
    collections::HashMap,
    fmt::{self, Write},
    hash::{BuildHasher, BuildHasherDefault, Hash, Hasher, RandomState},
    net::IpAddr,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

pub use self::{
    address::{Proxies, network},
    lockout::Lockouts,
};
use crate::clock::Clock;

/// How much of something is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Its name in the headers: letters, digits and `-`.
    pub name: &'static str,
    /// That many ...
    pub quota: u32,
    /// ... in so many seconds, evenly, ...
    pub window: u32,
    /// ... and so many at once.
    pub burst: u32,
}

impl Policy {
    /// So many in so many seconds, all of them at once if need be.
    pub const fn new(name: &'static str, quota: u32, window: u32) -> Self {
        Self { name, quota, window, burst: quota }
    }

    /// What one request costs, in nanoseconds.
    fn interval(self) -> u64 {
        (u64::from(self.window) * 1_000_000_000 / u64::from(self.quota.max(1))).max(1)
    }
}

/// Without a credential, by network.
pub const ANONYMOUS: Policy = Policy::new("anon", 60, 60);
/// Sign-ins, by network and account.
pub const LOGIN: Policy = Policy::new("login", 10, 60);
/// Sign-ins, by account.
pub const LOGIN_ACCOUNT: Policy = Policy::new("login-account", 100, 3_600);
/// With a session, by session.
pub const SESSION: Policy = Policy::new("session", 6_000, 60);
/// What a limiter says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// By which policy.
    pub policy: Policy,
    /// Whether it may be done now; only then it was counted.
    pub allowed: bool,
    /// How many more may be done at once.
    pub remaining: u32,
    /// When everything is allowed again, as if nothing had been done.
    pub reset_after: Duration,
    /// When the next one may be done; zero when it may be done now.
    pub retry_after: Duration,
}

/// Keys are hashes already.
#[derive(Default)]
struct Identity(u64);

impl Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, _: &[u8]) {}
    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

type Shard = Mutex<HashMap<u64, u64, BuildHasherDefault<Identity>>>;

const SHARDS: usize = 64;
/// Keys a shard holds; 64 shards of them are some 4 MB.
const KEYS: usize = 2_048;

/// Counts who did how much, by the generic cell rate algorithm: one number a key, the time at which
/// its bucket will be empty again.
pub struct Limiter {
    clock: Clock,
    off: AtomicBool,
    seed: RandomState,
    shards: Box<[Shard]>,
}

impl fmt::Debug for Limiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limiter").field("off", &self.is_off()).finish_non_exhaustive()
    }
}

impl Limiter {
    /// Nobody did anything yet.
    pub fn new(clock: Clock) -> Self {
        let shards = (0..SHARDS).map(|_| Shard::default()).collect();
        Self { clock, off: AtomicBool::new(false), seed: RandomState::new(), shards }
    }

    /// Allows everything (`--limits off`, for benchmarks), or counts again.
    pub fn set_off(&self, off: bool) {
        self.off.store(off, Ordering::Relaxed);
    }

    /// Whether everything is allowed.
    pub fn is_off(&self) -> bool {
        self.off.load(Ordering::Relaxed)
    }

    /// Whether `key` may do one more, and counts it if so.
    pub fn check(&self, policy: Policy, key: impl Hash) -> Verdict {
        let (interval, burst) = (policy.interval(), u64::from(policy.burst.max(1)));
        if self.is_off() {
            let remaining = policy.burst;
            return Verdict {
                policy,
                allowed: true,
                remaining,
                reset_after: Duration::ZERO,
                retry_after: Duration::ZERO,
            };
        }
        let now = u64::try_from(self.clock.monotonic().as_nanos()).unwrap_or(u64::MAX);
        // one key in two policies is two keys
        let hash = self.seed.hash_one((policy.name, key));
        let capacity = interval.saturating_mul(burst);
        let (allowed, empty) = {
            let mut shard = self.shard(hash);
            let empty = shard.get(&hash).copied().unwrap_or(0).max(now);
            let after = empty.saturating_add(interval);
            let allowed = after - now <= capacity;
            if allowed {
                make_room(&mut shard, hash, now);
                shard.insert(hash, after);
            }
            (allowed, if allowed { after } else { empty })
        };
        let filled = empty - now;
        let room = capacity.saturating_sub(filled);
        Verdict {
            policy,
            allowed,
            remaining: u32::try_from(room / interval).unwrap_or(u32::MAX),
            reset_after: Duration::from_nanos(filled),
            retry_after: match allowed {
                true => Duration::ZERO,
                false => Duration::from_nanos((filled + interval).saturating_sub(capacity)),
            },
        }
    }

    fn shard(&self, hash: u64) -> std::sync::MutexGuard<'_, HashMap<u64, u64, BuildHasherDefault<Identity>>> {
        // the upper bits choose the shard, the lower ones the place in it
        let number = (hash >> 58) as usize % SHARDS;
        self.shards[number].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A key whose bucket is empty is the same as one never seen, so forgetting those loses nothing; if
/// all buckets hold something, the emptiest tenth goes (not one: a flood must not search for every key).
fn make_room(shard: &mut HashMap<u64, u64, BuildHasherDefault<Identity>>, hash: u64, now: u64) {
    if shard.len() < KEYS || shard.contains_key(&hash) {
        return;
    }
    shard.retain(|_, empty| *empty > now);
    if shard.len() >= KEYS {
        let mut times: Vec<u64> = shard.values().copied().collect();
        let limit = *times.select_nth_unstable(KEYS / 10).1;
        shard.retain(|_, empty| *empty > limit);
    }
}

/// The key of a sign-in: from where, and as whom.
pub fn login_key(address: IpAddr, account: &str) -> (IpAddr, &str) {
    (network(address), account)
}

/// Whole seconds, rounded up: what a header can say without being early.
pub fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

/// The value of `RateLimit` (draft-ietf-httpapi-ratelimit-headers): `"anon";r=59;t=1`.
pub fn ratelimit(verdicts: &[Verdict]) -> String {
    list(verdicts, |out, verdict| {
        write!(
            out,
            "\"{}\";r={};t={}",
            verdict.policy.name,
            verdict.remaining,
            whole_seconds(verdict.reset_after)
        )
    })
}

/// The value of `RateLimit-Policy`: `"anon";q=60;w=60`.
pub fn ratelimit_policy(verdicts: &[Verdict]) -> String {
    list(verdicts, |out, Verdict { policy, .. }| {
        write!(out, "\"{}\";q={};w={}", policy.name, policy.quota, policy.window)
    })
}

/// The value of `Retry-After`: whole seconds, at least one.
pub fn retry_after(wait: Duration) -> String {
    whole_seconds(wait).max(1).to_string()
}

fn list(verdicts: &[Verdict], item: impl Fn(&mut String, &Verdict) -> fmt::Result) -> String {
    let mut out = String::with_capacity(verdicts.len() * 24);
    for (count, verdict) in verdicts.iter().enumerate() {
        if count > 0 {
            out.push_str(", ");
        }
        // writing to a string cannot fail
        let _ = item(&mut out, verdict);
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn limiter() -> (Clock, Limiter) {
        let clock = Clock::default();
        (clock.clone(), Limiter::new(clock))
    }

    /// Keys that are counted now.
    fn keys(limiter: &Limiter) -> usize {
        limiter.shards.iter().map(|shard| shard.lock().unwrap().len()).sum()
    }

    const SLOW: Policy = Policy::new("slow", 10, 100_000);

    #[test]
    fn allows_a_burst_then_one_an_interval() {
        let (clock, limiter) = limiter();
        for left in (0..10).rev() {
            let verdict = limiter.check(SLOW, "ann");
            assert!(verdict.allowed && verdict.remaining == left, "{verdict:?}");
        }
        let refused = limiter.check(SLOW, "ann");
        assert!(!refused.allowed && refused.remaining == 0);
        assert_eq!(whole_seconds(refused.retry_after), 10_000);
        assert_eq!(whole_seconds(refused.reset_after), 100_000);
        // being refused costs nothing
        assert_eq!(whole_seconds(limiter.check(SLOW, "ann").retry_after), 10_000);
        assert!(limiter.check(SLOW, "bob").allowed);
        assert!(limiter.check(Policy { name: "other", ..SLOW }, "ann").allowed);

        clock.forward(Duration::from_secs(10_000));
        assert!(limiter.check(SLOW, "ann").allowed);
        assert!(!limiter.check(SLOW, "ann").allowed);
        clock.forward(Duration::from_secs(1_000_000));
        assert_eq!(limiter.check(SLOW, "ann").remaining, 9);
    }

    #[test]
    fn a_smaller_burst_spreads_the_quota() {
        let (clock, limiter) = limiter();
        let policy = Policy { burst: 1, ..SLOW };
        assert!(limiter.check(policy, 1).allowed);
        assert!(!limiter.check(policy, 1).allowed);
        clock.forward(Duration::from_secs(10_000));
        assert!(limiter.check(policy, 1).allowed);
    }

    #[test]
    fn writes_the_headers_of_the_draft() {
        let (_, limiter) = limiter();
        let verdicts = [limiter.check(ANONYMOUS, 1), limiter.check(LOGIN_ACCOUNT, 1)];
        assert_eq!(ratelimit(&verdicts), r#""anon";r=59;t=1, "login-account";r=99;t=36"#);
        assert_eq!(ratelimit_policy(&verdicts), r#""anon";q=60;w=60, "login-account";q=100;w=3600"#);
        assert_eq!(ratelimit(&[]), "");
        assert_eq!(retry_after(Duration::ZERO), "1");
        assert_eq!(retry_after(Duration::from_millis(1_001)), "2");
    }

    #[test]
    fn switched_off_it_allows_everything_and_counts_nothing() {
        let (_, limiter) = limiter();
        limiter.set_off(true);
        for _ in 0..100 {
            assert!(limiter.check(SLOW, "ann").allowed);
        }
        limiter.set_off(false);
        assert_eq!(limiter.check(SLOW, "ann").remaining, 9);
    }

    #[test]
    fn a_flood_of_keys_neither_grows_it_nor_frees_who_is_blocked() {
        let (clock, limiter) = limiter();
        while limiter.check(SLOW, "ann").allowed {}
        for key in 0..400_000 {
            limiter.check(SLOW, key);
        }
        assert!(keys(&limiter) <= SHARDS * KEYS);
        assert!(!limiter.check(SLOW, "ann").allowed);
        // what is free again is forgotten first
        clock.forward(Duration::from_secs(200_000));
        for key in 0..400_000 {
            limiter.check(ANONYMOUS, key);
        }
        assert!(keys(&limiter) <= SHARDS * KEYS);
    }

    #[test]
    fn many_threads_get_no_more_than_the_quota() {
        let (_, limiter) = limiter();
        let allowed: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| (0..100).filter(|_| limiter.check(SLOW, "ann").allowed).count()))
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(allowed, 10);
    }

    proptest! {
        /// However the requests are spread, a window never sees more than quota + burst, and whoever
        /// waits as told is let in.
        #[test]
        fn keeps_its_promise(waits in prop::collection::vec(0u64..30, 1..200), quota in 1u32..20, burst in 1u32..20) {
            let (clock, limiter) = limiter();
            let policy = Policy { name: "p", quota, window: 60, burst };
            let (mut at, mut allowed) = (0, Vec::new());
            for wait in waits {
                clock.forward(Duration::from_secs(wait));
                at += wait;
                let verdict = limiter.check(policy, 1);
                if verdict.allowed {
                    allowed.push(at);
                    prop_assert!(verdict.remaining < burst);
                } else {
                    prop_assert!(verdict.retry_after > Duration::ZERO && verdict.retry_after <= verdict.reset_after);
                    // the clock moves by microseconds, the verdict is finer
                    clock.forward(verdict.retry_after + Duration::from_micros(1));
                    at += verdict.retry_after.as_secs();
                    prop_assert!(limiter.check(policy, 1).allowed);
                    allowed.push(at);
                }
            }
            for (index, start) in allowed.iter().enumerate() {
                let within = allowed[index..].iter().take_while(|at| **at < start + 59).count();
                prop_assert!(within <= (quota + burst) as usize);
            }
        }
    }
}
