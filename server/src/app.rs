//! What a service may touch: the database, the clock, keys, caches, limits and the bus.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use bursar_shared::{
    id::{SessionId, UserId},
    operations::users::User,
};
use tokio::sync::{Semaphore, watch};

use crate::{
    auth::{Checked, CursorKey, Hasher},
    cache::{Bounds, Cache, Hasher as KeyHasher},
    clock::Clock,
    config::Config,
    db::{Db, Room},
    error::{BoxError, Result},
    keys::{self, Keys},
    limits::{Limiter, Lockouts},
    listener::{Closed, Stats},
    log::{Bus, Row},
    metrics::{Kind, Metrics},
    repositories::{roles::Standing, sessions},
    services::{
        ledger::KeptImbalances,
        stream::Streams,
        system::{KeptOwner, KeptStats},
    },
};

/// Requests that are worked on at the same time, at most.
const IN_FLIGHT: usize = 1_024;

/// The daemon's inside, shared by all requests.
pub type Shared = Arc<App>;

/// See [`Shared`].
pub struct App {
    /// The settings.
    pub config: Config,
    /// The database.
    pub db: Db,
    /// The time.
    pub clock: Clock,
    /// Who hears of committed rows.
    pub bus: Bus,
    /// What signs tokens.
    pub keys: Keys,
    /// What signs cursors.
    pub cursors: CursorKey,
    /// What checks passwords.
    pub hasher: Hasher,
    /// Who did how much.
    pub limiter: Limiter,
    /// Who guessed too often.
    pub lockouts: Lockouts,
    /// What need not be looked up again.
    pub caches: Caches,
    /// Figures that were asked for already.
    pub stats: KeptStats,
    /// Whether there is an owner, for those who ask whether the daemon is ready.
    pub owner: KeptOwner,
    /// How old the sum of the ledger is.
    pub imbalances: KeptImbalances,
    /// Figures for `/metrics`.
    pub metrics: Arc<Metrics>,
    /// Bounds what is worked on at the same time.
    pub in_flight: Semaphore,
    /// Who follows the log.
    pub streams: Streams,
    /// Whether the daemon is stopping.
    pub draining: watch::Sender<bool>,
    /// When it started.
    pub started: Instant,
}

/// What need not be looked up again. Balances, orders and keys are never in here.
pub struct Caches {
    /// People as the API shows them.
    pub users: Cache<UserId, User>,
    /// Where people stand and what they may do.
    pub standings: Cache<UserId, Standing>,
    /// Sessions.
    pub sessions: Cache<SessionId, sessions::Row>,
    /// Access tokens whose signature was checked: 17 us instead of 166 a request. Good as long as their key is.
    pub tokens: moka::sync::Cache<String, Arc<Checked>, KeyHasher>,
}

impl Caches {
    fn new(clock: &Clock) -> Self {
        let (ttl, negative_ttl) = (Duration::from_secs(60), Duration::from_secs(5));
        let bounds = Bounds { capacity: 100_000, ttl, negative_ttl };
        Self {
            users: Cache::new(clock.clone(), bounds),
            standings: Cache::new(clock.clone(), bounds),
            sessions: Cache::new(clock.clone(), bounds),
            tokens: moka::sync::Cache::builder()
                .max_capacity(20_000)
                .time_to_live(Duration::from_secs(15 * 60))
                .build_with_hasher(KeyHasher::default()),
        }
    }

    /// Forgets what these rows of the log changed.
    pub fn forget(&self, rows: &[Row]) {
        for row in rows {
            let id = row.resource_id.as_deref().unwrap_or_default();
            match row.resource_type.as_str() {
                "user" => {
                    if let Ok(user) = id.parse() {
                        self.users.invalidate(&user);
                        self.standings.invalidate(&user);
                    }
                }
                "session" => {
                    if let Ok(session) = id.parse() {
                        self.sessions.invalidate(&session);
                    }
                    // a sign-in shows in the person's lastLoginAt
                    if let Some(user) = row.actor_id.as_deref().and_then(|actor| actor.parse().ok()) {
                        self.users.invalidate(&user);
                    }
                }
                // a role reaches everybody who has it
                "role" => self.forget_all(),
                _ if keys::ends_everything(row) => self.forget_all(),
                _ => {}
            }
        }
    }

    /// Forgets everything that the store can change.
    pub fn forget_all(&self) {
        self.users.invalidate_all();
        self.standings.invalidate_all();
        self.sessions.invalidate_all();
    }

    /// Looks everything up, as long as the daemon cannot hear what others change.
    pub fn bypass(&self, on: bool) {
        self.users.bypass(on);
        self.standings.bypass(on);
        self.sessions.bypass(on);
    }
}

impl App {
    /// Puts the daemon's inside together; the schema is up to date.
    ///
    /// # Errors
    /// When the database or its keys cannot be used.
    pub async fn build(config: Config, clock: Clock, room: Room) -> std::result::Result<Shared, BoxError> {
        let bus = Bus::default();
        let metrics = Arc::new(Metrics::default());
        let db = Db::open(
            &config.location,
            config.pool_size,
            config.group,
            clock.clone(),
            bus.clone(),
            metrics.clone(),
            room,
        )?;
        let (keys, cursors) = Keys::open(&db, &clock, &config).await?;
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        let app = Arc::new(Self {
            keys,
            cursors: CursorKey::new(&cursors),
            hasher: Hasher::new(cores)?,
            limiter: Limiter::new(clock.clone()),
            lockouts: Lockouts::new(clock.clone()),
            caches: Caches::new(&clock),
            stats: KeptStats::default(),
            owner: KeptOwner::default(),
            imbalances: KeptImbalances::default(),
            metrics,
            in_flight: Semaphore::new(IN_FLIGHT),
            draining: watch::Sender::new(false),
            streams: Streams::new(config.max_streams),
            started: Instant::now(),
            config,
            db,
            clock,
            bus: bus.clone(),
        });
        app.limiter.set_off(!app.config.limits);
        app.lockouts.set_off(!app.config.limits);
        let weak = Arc::downgrade(&app);
        bus.listen(move |rows| {
            if let Some(app) = weak.upgrade() {
                app.caches.forget(rows);
                app.streams.hear(rows);
            }
        });
        app.show_figures();
        Ok(app)
    }

    /// Lets `/metrics` read what others count.
    fn show_figures(self: &Arc<Self>) {
        type Read = fn(&App) -> u64;
        let show = |name, help, kind, labels: &[(&str, &str)], read: Read| {
            let weak = Arc::downgrade(self);
            #[expect(clippy::cast_precision_loss, reason = "Prometheus counts in floats")]
            let value = move || weak.upgrade().map_or(0.0, |app| read(&app) as f64);
            self.metrics.source(name, help, kind, labels, value);
        };
        let hits = "Look-ups that the cache answered.";
        let loads = "Look-ups that went to the database.";
        let (counter, gauge) = (Kind::Counter, Kind::Gauge);
        for (cache, hit, load) in [
            (
                "users",
                (|app| app.caches.users.counts().hits) as Read,
                (|app| app.caches.users.counts().loads) as Read,
            ),
            (
                "standings",
                |app| app.caches.standings.counts().hits,
                |app| app.caches.standings.counts().loads,
            ),
            ("sessions", |app| app.caches.sessions.counts().hits, |app| app.caches.sessions.counts().loads),
        ] {
            show("bursar_cache_hits_total", hits, counter, &[("cache", cache)], hit);
            show("bursar_cache_loads_total", loads, counter, &[("cache", cache)], load);
        }
        show("bursar_writer_queue", "Writes that wait for the writer.", gauge, &[], |app| {
            app.db.queued() as u64
        });
        show("bursar_write_retries_total", "Groups of writes that were run again.", counter, &[], |app| {
            app.db.figures().retries.load(Ordering::Relaxed)
        });
        show("bursar_argon2_waiting", "Passwords that wait to be hashed or checked.", gauge, &[], |app| {
            app.hasher.waiting() as u64
        });
        show("bursar_argon2_busy", "Passwords that are being hashed or checked.", gauge, &[], |app| {
            app.hasher.busy() as u64
        });
        show("bursar_streams", "Streams of the log that are open.", gauge, &[], |app| {
            app.streams.open() as u64
        });
        show("bursar_stream_rows_total", "Rows sent to streams of the log.", counter, &[], |app| {
            app.streams.rows()
        });
        show("bursar_log_head", "The number of the last row of the log.", gauge, &[], |app| {
            u64::try_from(app.bus.head()).unwrap_or(0)
        });
        if self.db.room().is_kept() {
            let short = "Whether the disk is full, and only what takes access away is written.";
            show("bursar_storage_short", short, gauge, &[], |app| app.db.room().is_short().into());
            let bytes = "What is kept back for a full disk, in bytes.";
            show("bursar_ballast_bytes", bytes, gauge, &[], |app| app.db.room().bytes());
        }
        show(
            "bursar_signing_key_age_seconds",
            "Since the key that signs tokens began to.",
            gauge,
            &[],
            |app| app.keys.age(app.clock.now()),
        );
        let clock = self.clock.clone();
        let help = "How far this machine's clock was ahead of PostgreSQL's when they were last compared.";
        self.metrics.source("bursar_clock_ahead_seconds", help, gauge, &[], move || clock.seconds_ahead());
        show("bursar_uptime_seconds", "Since the daemon started.", gauge, &[], |app| {
            app.started.elapsed().as_secs()
        });
    }

    /// Lets `/metrics` read what a listener counts.
    pub fn show_connections(&self, stats: &Arc<Stats>) {
        #[expect(clippy::cast_precision_loss, reason = "Prometheus counts in floats")]
        let show =
            |name, help, kind, labels: &[(&str, &str)], read: Box<dyn Fn(&Stats) -> u64 + Send + Sync>| {
                let stats = stats.clone();
                self.metrics.source(name, help, kind, labels, move || read(&stats) as f64);
            };
        show("bursar_connections", "Connections open now.", Kind::Gauge, &[], Box::new(Stats::open));
        let accepted = "Connections accepted.";
        show("bursar_connections_accepted_total", accepted, Kind::Counter, &[], Box::new(Stats::accepted));
        let refused = "Connections refused because there were too many.";
        show("bursar_connections_refused_total", refused, Kind::Counter, &[], Box::new(Stats::refused));
        for why in Closed::ALL {
            let (help, labels) = ("Connections closed, by reason.", [("reason", why.as_str())]);
            let read = Box::new(move |stats: &Stats| stats.closed(why));
            show("bursar_connections_closed_total", help, Kind::Counter, &labels, read);
        }
    }

    /// Where somebody stands, from the cache.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn standing(&self, id: UserId) -> Result<Option<Arc<Standing>>> {
        let db = self.db.clone();
        let load = async move {
            db.look_up(move |conn| crate::repositories::roles::standing(conn, &id))
                .await
                .map(|(found, _)| found)
        };
        self.caches.standings.get_or_load(&id, load).await
    }

    /// A session, from the cache.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn session(&self, id: SessionId) -> Result<Option<Arc<sessions::Row>>> {
        let db = self.db.clone();
        let load =
            async move { db.look_up(move |conn| sessions::find(conn, id)).await.map(|(found, _)| found) };
        self.caches.sessions.get_or_load(&id, load).await
    }

    /// Whether the daemon is stopping.
    pub fn is_draining(&self) -> bool {
        *self.draining.borrow()
    }
}
