//! The Bursar daemon: users, orders and money behind one patterned API.
//!
//! `start` is the whole of it: settings in, a running daemon out. Inside, a request goes down and up
//! once: `routes` -> `serve` (the wrapper) -> `services` (rules) -> `repositories` (queries); `db` is
//! the only door to a transaction.

pub mod admin;
mod app;
mod auth;
mod cache;
pub mod clock;
pub mod config;
mod cx;
mod db;
pub mod demo;
mod error;
mod jobs;
mod keys;
mod ledger;
mod limits;
mod lines;
mod listener;
mod log;
mod metrics;
mod openapi;
mod repositories;
mod routes;
mod schema;
mod serve;
mod services;
#[cfg(feature = "testing")]
pub mod testing;

use std::{net::SocketAddr, path::Path, time::Duration};

use tokio::{sync::watch, task::JoinSet};

use self::{
    app::{App, Shared},
    clock::Clock,
    config::Config,
    db::{FolderLock, Room},
    listener::{Bounds, Listener},
};
pub use self::{
    db::{Engine, Location, SchemaState},
    error::BoxError,
    lines::LinesGuard,
    openapi::{document as openapi_document, markdown as api_markdown},
};

/// How long requests that are being answered may take when the daemon stops.
const GRACE: Duration = Duration::from_secs(30);

/// Why the daemon does not start: one line that names the cause and what helps.
#[derive(Debug)]
pub struct StartError(BoxError);

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // libpq explains itself over several lines
        let lines: Vec<String> = self.0.to_string().lines().map(|line| line.trim().to_owned()).collect();
        f.write_str(&lines.join(" "))
    }
}

impl std::error::Error for StartError {}

impl From<BoxError> for StartError {
    fn from(why: BoxError) -> Self {
        Self(why)
    }
}

/// A daemon that answers.
pub struct Running {
    /// Where.
    pub address: SocketAddr,
    /// Where `/metrics` is, if not beside the API.
    pub metrics_address: Option<SocketAddr>,
    /// Whether somebody active is owner; if not, the first one must be made.
    pub has_owner: bool,
    /// Migrations that were run at the start.
    pub migrated: Vec<String>,
    app: Shared,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
    _lock: Option<FolderLock>,
}

/// Starts a daemon: checks and migrates the store, opens it, listens.
///
/// # Errors
/// When the port is taken, the folder cannot be written to, the store is newer, damaged, somebody
/// else's or held by another daemon.
pub async fn start(config: Config) -> Result<Running, StartError> {
    start_at(config, Clock::default()).await
}

/// [`start`] with a clock that can be moved.
///
/// # Errors
/// As [`start`].
pub async fn start_at(config: Config, clock: Clock) -> Result<Running, StartError> {
    let lock = prepare_folder(&config)?;
    let tls = match &config.tls {
        Some((cert, key)) => Some(listener::acceptor(cert, key).map_err(BoxError::from)?),
        None => None,
    };
    let taken = |address: SocketAddr| {
        move |why: std::io::Error| -> BoxError {
            match why.kind() {
                std::io::ErrorKind::AddrInUse => {
                    format!("{address} is taken by another program; choose another with --listen").into()
                }
                _ => format!("cannot listen on {address}: {why}").into(),
            }
        }
    };
    // whoever follows the log must not take the place of those who ask
    let usual = Bounds::default();
    let followers = usize::try_from(config.max_streams).unwrap_or(usize::MAX);
    let bounds = Bounds { connections: usual.connections.saturating_add(followers), ..usual };
    // the port first: a second daemon should say so before it looks at the store
    let listener = Listener::bind(config.listen, tls, bounds).await.map_err(taken(config.listen))?;
    let address = listener.address().map_err(BoxError::from)?;
    let beside = match config.metrics_listen {
        Some(at) => Some(Listener::bind(at, None, Bounds::default()).await.map_err(taken(at))?),
        None => None,
    };
    let metrics_address = beside.as_ref().and_then(|listener| listener.address().ok());
    let location = config.location.clone();
    let room = if config.thrown_away { Room::unkept() } else { Room::beside(&location) };
    let looked = room.clone();
    let migrated = blocking(move || {
        let migrated = looked.opening(|| db::migrate(&location));
        if migrated.is_ok() && looked.is_short() {
            // it may have been the last time that the daemon ran
            looked.keep();
        }
        migrated
    })
    .await??;
    let app = App::build(config, clock, room).await?;
    let owner =
        |conn: &mut db::Conn| repositories::users::anyone_with_role(conn, bursar_shared::permission::OWNER);
    let (has_owner, _) = app.db.read(owner).await.map_err(|why| BoxError::from(why.to_string()))?;
    app.show_connections(&listener.stats());
    let (stop, stopped) = watch::channel(false);
    let mut tasks = JoinSet::new();
    let until = |mut stopped: watch::Receiver<bool>| async move {
        // an error means that the sender is gone: stop as well
        let _ = stopped.wait_for(|stop| *stop).await;
    };
    let router = routes::router(app.clone());
    let ended = until(stopped.clone());
    tasks.spawn(async move {
        listener.serve(router, ended, GRACE).await;
    });
    if let Some(beside) = beside {
        let (router, ended) = (routes::metrics_router(app.clone()), until(stopped.clone()));
        tasks.spawn(async move {
            beside.serve(router, ended, GRACE).await;
        });
    }
    tasks.spawn(jobs::listen(app.clone(), stopped.clone()));
    tasks.spawn(jobs::expire(app.clone(), stopped.clone()));
    if app.db.room().is_kept() {
        tasks.spawn(jobs::keep_room(app.clone(), stopped.clone()));
    }
    tasks.spawn(jobs::rotate(app.clone(), stopped.clone()));
    tasks.spawn(jobs::purge(app.clone(), stopped));
    Ok(Running { address, metrics_address, has_owner, migrated, app, stop, tasks, _lock: lock })
}

#[expect(clippy::disallowed_methods, reason = "once, at the start, before there is a Db")]
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, BoxError> {
    tokio::task::spawn_blocking(work).await.map_err(BoxError::from)
}

impl Running {
    /// Stops: no new connections, requests in flight are answered, the store is closed.
    pub async fn stop(mut self) {
        self.app.draining.send_replace(true);
        // nobody listens when all tasks ended already
        let _ = self.stop.send(true);
        while self.tasks.join_next().await.is_some() {}
    }

    /// The daemon's inside, for tests and generators of data.
    #[cfg(feature = "testing")]
    pub(crate) fn app(&self) -> Shared {
        self.app.clone()
    }
}

/// Runs until SIGTERM or SIGINT, then stops in order.
///
/// # Errors
/// When signals cannot be heard.
pub async fn run_until_signal(running: Running) -> Result<(), BoxError> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
        tracing::info!("stopping: no new connections, requests in flight are answered");
        tokio::select! {
            () = running.stop() => Ok(()),
            // the second signal means now
            _ = term.recv() => Err("stopped at once".into()),
            _ = int.recv() => Err("stopped at once".into()),
        }
    }
    #[cfg(not(unix))]
    {
        tokio::signal::ctrl_c().await?;
        running.stop().await;
        Ok(())
    }
}

/// Brings the schema up to date, without a daemon; answers what was run.
///
/// # Errors
/// As [`start`].
pub fn migrate(config: &Config) -> Result<Vec<String>, BoxError> {
    let _lock = prepare_folder(config)?;
    db::migrate(&config.location)
}

/// How far the schema is, changing nothing.
///
/// # Errors
/// When the store cannot be read.
pub fn schema_state(config: &Config) -> Result<SchemaState, BoxError> {
    db::schema_state(&config.location)
}

/// Makes the data folder and takes the lock that `serve` and `migrate` hold.
fn prepare_folder(config: &Config) -> Result<Option<FolderLock>, BoxError> {
    check_folder(config)?;
    match &config.location {
        Location::Sqlite(path) => FolderLock::take(path).map(Some),
        Location::Postgres(_) => Ok(None),
    }
}

/// Makes the data folder, and refuses a mistyped file.
pub(crate) fn check_folder(config: &Config) -> Result<(), BoxError> {
    let Location::Sqlite(path) = &config.location else { return Ok(()) };
    if config.named && !config.create && !path.exists() {
        return Err(format!(
            "there is no database {}; a mistyped path must not become an empty store: give --create to make it",
            path.display()
        )
        .into());
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !folder.exists() {
        std::fs::create_dir_all(folder).map_err(|why| format!("cannot make {}: {why}", folder.display()))?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700))?;
        }
    }
    Ok(())
}

/// Sends the daemon's log to standard error, without ever holding a request up. Keep the answer alive
/// as long as the program logs.
///
/// # Errors
/// When there can be no thread for it.
pub fn log_to_stderr(config: &Config) -> std::io::Result<LinesGuard> {
    use tracing_subscriber::{filter::LevelFilter, fmt};
    let (writer, guard) = lines::lines(std::io::stderr())?;
    // one of the words that the settings allow
    let level: LevelFilter = config.log_level.parse().unwrap_or(LevelFilter::INFO);
    let lines = fmt().with_max_level(level).with_writer(writer).with_target(false);
    // a program that set a subscriber already keeps it
    let _ = match config.log_format {
        config::LogFormat::Json => lines.event_format(lines::JsonLine::default()).try_init(),
        config::LogFormat::Pretty => lines.compact().try_init(),
    };
    Ok(guard)
}
