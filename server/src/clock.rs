//! The time of day, which tests can move.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use bursar_shared::time::Timestamp;

/// Tells the time. Clones tell the same time.
#[derive(Clone, Debug)]
pub struct Clock {
    started: Instant,
    /// Microseconds that a test has moved it by.
    moved: Arc<AtomicI64>,
}

impl Default for Clock {
    fn default() -> Self {
        Self { started: Instant::now(), moved: Arc::default() }
    }
}

impl Clock {
    /// The wall clock, in microseconds since 1970.
    pub fn now(&self) -> Timestamp {
        #[expect(clippy::disallowed_methods, reason = "this is the one place that asks")]
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let micros = i64::try_from(since.as_micros()).unwrap_or(i64::MAX);
        Timestamp::from_micros(micros.saturating_add(self.moved.load(Ordering::Relaxed)))
    }

    /// Time since the daemon started; never steps back, whatever happens to the wall clock.
    pub fn monotonic(&self) -> Duration {
        let moved = u64::try_from(self.moved.load(Ordering::Relaxed)).unwrap_or(0);
        self.started.elapsed() + Duration::from_micros(moved)
    }

    /// Moves the clock, for tests.
    pub fn forward(&self, by: Duration) {
        self.moved.fetch_add(i64::try_from(by.as_micros()).unwrap_or(0), Ordering::Relaxed);
    }
}
