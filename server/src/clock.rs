//! The time of day, how far it can be trusted, and how tests move it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use bursar_shared::time::Timestamp;

/// Clocks that differ by less than this, in microseconds, agree.
pub const AGREED: i64 = 5_000_000;

/// Tells the time. Clones tell the same time.
#[derive(Clone, Debug)]
pub struct Clock {
    started: Instant,
    /// Microseconds that a test has moved time by: that of the database, too.
    moved: Arc<AtomicI64>,
    /// Microseconds that a test has set this clock alone wrong by.
    wrong: Arc<AtomicI64>,
    /// How far it was ahead of the database's when they were last compared, in microseconds.
    ahead: Arc<AtomicI64>,
    /// When the newest row was written that was there at the start: time does not go back behind it.
    newest: Arc<AtomicI64>,
}

impl Default for Clock {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            moved: Arc::default(),
            wrong: Arc::default(),
            ahead: Arc::default(),
            newest: Arc::default(),
        }
    }
}

impl Clock {
    /// The wall clock, in microseconds since 1970.
    pub fn now(&self) -> Timestamp {
        #[expect(clippy::disallowed_methods, reason = "this is the one place that asks")]
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let micros = i64::try_from(since.as_micros()).unwrap_or(i64::MAX);
        let by = self.moved.load(Ordering::Relaxed).saturating_add(self.wrong.load(Ordering::Relaxed));
        Timestamp::from_micros(micros.saturating_add(by))
    }

    /// Time since the daemon started; never steps back, whatever happens to the wall clock.
    pub fn monotonic(&self) -> Duration {
        let moved = u64::try_from(self.moved.load(Ordering::Relaxed)).unwrap_or(0);
        self.started.elapsed() + Duration::from_micros(moved)
    }

    /// Compares with the database's clock, which said `theirs` somewhere between `before` and `after`: a slow
    /// answer makes no clock wrong.
    pub fn compare(&self, before: Timestamp, theirs: i64, after: Timestamp) {
        let theirs = theirs.saturating_add(self.moved.load(Ordering::Relaxed));
        let ahead = (before.micros() - theirs).max(0) + (after.micros() - theirs).min(0);
        let before = self.ahead.swap(ahead, Ordering::Relaxed);
        if let Some(why) = self.distrust().filter(|_| before.abs() <= AGREED) {
            tracing::error!(ahead_seconds = ahead / 1_000_000, "{why}");
        } else if before.abs() > AGREED && ahead.abs() <= AGREED {
            tracing::info!("this machine's clock and the database's agree again");
        }
    }

    /// Time was there already.
    pub fn not_before(&self, newest: i64) {
        self.newest.fetch_max(newest, Ordering::Relaxed);
        if let Some(why) = self.distrust() {
            tracing::error!("{why}");
        }
    }

    /// Why no money may move by this clock. A movement of tomorrow would drag along whatever it touches:
    /// every entry is later than the one before, so all that comes after it would be of tomorrow, too.
    pub fn distrust(&self) -> Option<String> {
        let ahead = self.ahead.load(Ordering::Relaxed);
        let behind = self.newest.load(Ordering::Relaxed).saturating_sub(self.now().micros());
        let seconds = |micros: i64| micros.unsigned_abs() / 1_000_000;
        if ahead.abs() > AGREED {
            let where_ = if ahead > 0 { "ahead of" } else { "behind" };
            return Some(format!(
                "This machine's clock is {} s {where_} the database's: no money moves until they agree.",
                seconds(ahead)
            ));
        }
        (behind > AGREED).then(|| {
            format!(
                "This machine's clock is {} s behind the newest row of the log: no money moves until it is past that.",
                seconds(behind)
            )
        })
    }

    /// How far it was ahead of the database's when they were last compared.
    pub fn seconds_ahead(&self) -> f64 {
        self.ahead.load(Ordering::Relaxed) as f64 / 1e6
    }

    /// The clock of another machine: time passes on it alike, and it may be wrong by itself; for tests.
    pub fn another(&self) -> Self {
        Self { moved: self.moved.clone(), started: self.started, ..Self::default() }
    }

    /// Sets this clock alone wrong by so many seconds, for tests.
    pub fn set_wrong(&self, seconds: i64) {
        self.wrong.store(seconds.saturating_mul(1_000_000), Ordering::Relaxed);
    }

    /// Lets time pass, for tests.
    pub fn forward(&self, by: Duration) {
        self.moved.fetch_add(i64::try_from(by.as_micros()).unwrap_or(0), Ordering::Relaxed);
    }
}
