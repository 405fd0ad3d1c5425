//! Tokens: where they are kept, and how one rotating refresh token is shared by many.
//!
//! Waiting calls of one process share one flight. Processes that share a file take turns by a kernel
//! lock on a file beside it (a lock ends with its holder; a file's existence would not), look again
//! after waiting, and write the refresh key down before they send it: whoever comes after a killed
//! process repeats its refresh with the same key, and the daemon answers the same successor.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use super::{Error, How, transport};
use crate::{
    envelope::Envelope,
    field::Secret,
    id,
    operation::{Method, Operation},
    operations::auth::{Refresh, Tokens},
    time::Timestamp,
    wire,
};

/// How long a refresh may take; twice this is the most that others wait for the lock.
const REFRESH: Duration = Duration::from_secs(5);
/// How long somebody else's refresh is waited for.
const WAIT: Duration = Duration::from_secs(12);

/// Who is signed in, and with what.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Credentials {
    /// The daemon that they are for; they are never shown to another.
    pub server: String,
    /// Who.
    pub email: String,
    /// Who, as an id.
    pub user_id: String,
    /// Goes with every request.
    pub access_token: String,
    /// Until when, by the daemon's clock.
    pub access_expires_at: Timestamp,
    /// Buys the next pair.
    pub refresh_token: String,
    /// Until when, by the daemon's clock.
    pub refresh_expires_at: Timestamp,
    /// How far the daemon's clock is ahead of ours, in microseconds.
    pub ahead: i64,
    /// When the access token came, by the daemon's clock.
    pub obtained_at: Timestamp,
    /// The key of a refresh that was begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_key: Option<String>,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("email", &self.email).finish_non_exhaustive()
    }
}

/// What the clock of this machine says.
#[expect(clippy::disallowed_methods, reason = "the client has no clock but the machine's")]
pub fn local_now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

impl Credentials {
    fn new(server: &str, tokens: &Tokens, now: Timestamp) -> Self {
        Self {
            server: server.to_owned(),
            email: tokens.user.email.to_string(),
            user_id: tokens.user.id.to_string(),
            access_token: tokens.access_token.clone(),
            access_expires_at: tokens.access_expires_at,
            refresh_token: tokens.refresh_token.clone(),
            refresh_expires_at: tokens.refresh_expires_at,
            ahead: now.micros().saturating_sub(local_now().micros()),
            obtained_at: now,
            refresh_key: None,
        }
    }

    /// What the daemon's clock says.
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(local_now().micros().saturating_add(self.ahead))
    }

    /// How long the access token still works.
    pub fn left(&self) -> Duration {
        self.access_expires_at.since(self.now())
    }

    /// Whether the session can still be refreshed.
    pub fn is_live(&self) -> bool {
        self.refresh_expires_at > self.now()
    }

    /// Whether the access token works long enough for a request, and is not the one just rejected.
    fn is_fresh(&self, rejected: Option<&str>) -> bool {
        let life = self.access_expires_at.since(self.obtained_at);
        let margin = Duration::from_secs(30).min(life / 10);
        rejected != Some(&self.access_token) && self.left() > margin
    }
}

/// Where credentials are kept; clones share them.
#[derive(Clone)]
pub struct Store(Arc<Kept>);

struct Kept {
    place: Place,
    flight: tokio::sync::Mutex<Flight>,
}

enum Place {
    Nobody,
    Key(String),
    Memory(Mutex<Option<Credentials>>),
    File(PathBuf),
}

/// What came of the last refresh of this process, for those who waited for it.
#[derive(Default)]
struct Flight {
    failed: Option<(Instant, Error)>,
}

impl Store {
    fn at(place: Place) -> Self {
        Self(Arc::new(Kept { place, flight: tokio::sync::Mutex::new(Flight::default()) }))
    }

    /// Nobody is signed in, and nobody can be.
    pub fn nobody() -> Self {
        Self::at(Place::Nobody)
    }

    /// An API key or a ready token, sent as it is and never refreshed.
    pub fn key(key: &Secret) -> Self {
        Self::at(Place::Key(key.as_str().to_owned()))
    }

    /// In memory: the session ends with the process, for us.
    pub fn memory() -> Self {
        Self::at(Place::Memory(Mutex::new(None)))
    }

    /// In a file that other processes use too; its lock is the file beside it ending in `.lock`.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self::at(Place::File(path.into()))
    }

    /// Whether an API key is used.
    pub fn is_key(&self) -> bool {
        self.given().is_some()
    }

    /// The API key or ready token that is sent as it is.
    pub fn given(&self) -> Option<&str> {
        match &self.0.place {
            Place::Key(key) => Some(key),
            _ => None,
        }
    }

    /// Who is signed in, if somebody is.
    ///
    /// # Errors
    /// [`Error::Local`] when the file cannot be read or others could read it.
    pub fn credentials(&self) -> Result<Option<Credentials>, Error> {
        match &self.0.place {
            Place::Nobody | Place::Key(_) => Ok(None),
            Place::Memory(kept) => Ok(kept.lock().unwrap_or_else(PoisonError::into_inner).clone()),
            Place::File(path) => read(path),
        }
    }

    fn replace(&self, credentials: Option<&Credentials>) -> Result<(), Error> {
        match &self.0.place {
            Place::Nobody | Place::Key(_) => Err(Error::Local("there is no place for tokens".to_owned())),
            Place::Memory(kept) => {
                *kept.lock().unwrap_or_else(PoisonError::into_inner) = credentials.cloned();
                Ok(())
            }
            Place::File(path) => match credentials {
                Some(credentials) => {
                    let text = serde_json::to_vec(credentials).map_err(|w| Error::Local(w.to_string()))?;
                    write_private(path, &text)
                }
                None => match fs::remove_file(path) {
                    Err(wrong) if wrong.kind() != io::ErrorKind::NotFound => Err(local(path, &wrong)),
                    _ => Ok(()),
                },
            },
        }
    }

    /// Keeps what a sign-in brought.
    pub(super) async fn keep(&self, server: &str, tokens: &Tokens, now: Timestamp) -> Result<(), Error> {
        let _flight = self.0.flight.lock().await;
        let _lock = self.lock().await?;
        self.replace(Some(&Credentials::new(server, tokens, now)))
    }

    /// Forgets whoever is signed in.
    ///
    /// # Errors
    /// [`Error::Local`] when the file cannot be removed.
    pub async fn forget(&self) -> Result<(), Error> {
        if matches!(self.0.place, Place::Nobody | Place::Key(_)) {
            return Ok(());
        }
        let _flight = self.0.flight.lock().await;
        let _lock = self.lock().await?;
        self.replace(None)
    }

    /// Waits for the right to change the file. Polling, because a blocked thread could not be given up.
    async fn lock(&self) -> Result<Option<fs::File>, Error> {
        let Place::File(path) = &self.0.place else { return Ok(None) };
        let path = lock_path(path);
        make_private_folder(&path)?;
        let mut open = fs::OpenOptions::new();
        open.create(true).truncate(false).write(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut open, 0o600);
        let file = open.open(&path).map_err(|wrong| local(&path, &wrong))?;
        let begun = Instant::now();
        let mut pause = Duration::from_millis(2);
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Some(file)),
                Err(fs::TryLockError::WouldBlock) if begun.elapsed() < WAIT => {}
                Err(fs::TryLockError::WouldBlock) => {
                    return Err(Error::Unreachable {
                        server: path.display().to_string(),
                        reason: "another bursar holds the lock".to_owned(),
                    });
                }
                // some network homes have no locks; the daemon's replay rule still protects the session
                Err(fs::TryLockError::Error(wrong)) if wrong.kind() == io::ErrorKind::Unsupported => {
                    return Ok(None);
                }
                Err(fs::TryLockError::Error(wrong)) => return Err(local(&path, &wrong)),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(50));
        }
    }

    /// The token to send: the one there is while it is fresh, else a refreshed one.
    pub(super) async fn token(
        &self,
        way: &transport::Transport,
        rejected: Option<&str>,
    ) -> Result<Option<String>, Error> {
        match &self.0.place {
            Place::Nobody => return Ok(None),
            Place::Key(key) => return Ok(Some(key.clone())),
            Place::Memory(_) | Place::File(_) => {}
        }
        let Some(credentials) = self.of(way.server())? else { return Ok(None) };
        if credentials.is_fresh(rejected) {
            return Ok(Some(credentials.access_token));
        }
        let asked = Instant::now();
        let mut flight = self.0.flight.lock().await;
        // whoever waited takes what the flight brought, also when that is a failure
        if let Some((at, failed)) = &flight.failed
            && *at >= asked
        {
            return self.alive(way, rejected, failed.clone());
        }
        match self.refresh(way, rejected).await {
            Ok(token) => {
                flight.failed = None;
                Ok(token)
            }
            Err(failed) => {
                flight.failed = Some((Instant::now(), failed.clone()));
                self.alive(way, rejected, failed)
            }
        }
    }

    /// What is kept, if it is for this daemon.
    fn of(&self, server: &str) -> Result<Option<Credentials>, Error> {
        Ok(self.credentials()?.filter(|credentials| credentials.server == server))
    }

    /// A refresh that could not be made is no harm while the present token works.
    fn alive(
        &self,
        way: &transport::Transport,
        rejected: Option<&str>,
        failed: Error,
    ) -> Result<Option<String>, Error> {
        match self.of(way.server())? {
            Some(now) if rejected != Some(&now.access_token) && !now.left().is_zero() => {
                Ok(Some(now.access_token))
            }
            _ => Err(failed),
        }
    }

    async fn refresh(
        &self,
        way: &transport::Transport,
        rejected: Option<&str>,
    ) -> Result<Option<String>, Error> {
        let _lock = self.lock().await?;
        let Some(mut credentials) = self.of(way.server())? else { return Err(Error::NotSignedIn) };
        if credentials.is_fresh(rejected) {
            return Ok(Some(credentials.access_token));
        }
        let key = match &credentials.refresh_key {
            Some(key) => key.clone(),
            None => {
                let key = id::idempotency_key();
                credentials.refresh_key = Some(key.clone());
                self.replace(Some(&credentials))?;
                key
            }
        };
        let secret: Secret = credentials
            .refresh_token
            .parse()
            .map_err(|wrong| Error::Local(format!("the refresh token kept is damaged: {wrong}")))?;
        let encoded = wire::encode(&Refresh { refresh_token: secret })
            .map_err(|wrong| Error::Local(wrong.to_string()))?;
        let how = How { key: Some(key), ..How::default() };
        let mut request = transport::Request::new(
            <Refresh as Operation>::METHOD.as_str(),
            encoded.target,
            encoded.body,
            &how,
        );
        debug_assert_eq!(<Refresh as Operation>::METHOD, Method::Post);
        (request.changes, request.tries, request.timeout) = (false, 2, Some(REFRESH));
        match way.run(&request, None).await {
            Ok(raw) => {
                let envelope: Envelope<Tokens> = serde_json::from_slice(&raw.body)
                    .map_err(|wrong| Error::Protocol(format!("the answer cannot be read: {wrong}")))?;
                let tokens =
                    envelope.data.ok_or_else(|| Error::Protocol("the answer lacks its data".to_owned()))?;
                let next = Credentials::new(way.server(), &tokens, envelope.meta.timestamp);
                self.replace(Some(&next))?;
                Ok(Some(next.access_token))
            }
            Err(ended @ Error::Api { status: 401 | 403, .. })
                if ended.code() != Some(crate::error::ErrorCode::Unknown) =>
            {
                // only what was refused is thrown away: somebody may have signed in meanwhile
                if self.credentials()?.is_some_and(|now| now.refresh_token == credentials.refresh_token) {
                    self.replace(None)?;
                }
                Err(ended)
            }
            Err(other) => Err(other),
        }
    }
}

fn local(path: &Path, wrong: &io::Error) -> Error {
    Error::Local(format!("{}: {wrong}", path.display()))
}

fn lock_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    PathBuf::from(name)
}

fn read(path: &Path) -> Result<Option<Credentials>, Error> {
    let Some(text) = read_private(path)? else { return Ok(None) };
    serde_json::from_slice(&text)
        .map(Some)
        .map_err(|_| Error::Local(format!("{} is damaged; sign in again: bursar auth login", path.display())))
}

/// Reads a file that only its owner may read; nothing when it is not there.
///
/// # Errors
/// [`Error::Local`] when it cannot be read or others could read it.
pub fn read_private(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    let mut file = match fs::File::open(path) {
        Ok(file) => file,
        Err(wrong) if wrong.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(wrong) => return Err(local(path, &wrong)),
    };
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = file.metadata().map_err(|wrong| local(path, &wrong))?.permissions().mode();
        if mode & 0o077 != 0 {
            let path = path.display();
            return Err(Error::Local(format!("{path} can be read by others; chmod 600 {path}")));
        }
    }
    let mut text = Vec::new();
    io::Read::read_to_end(&mut file, &mut text).map_err(|wrong| local(path, &wrong))?;
    Ok(Some(text))
}

fn make_private_folder(path: &Path) -> Result<(), Error> {
    let Some(folder) = path.parent() else { return Ok(()) };
    let mut make = fs::DirBuilder::new();
    make.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut make, 0o700);
    make.create(folder).map_err(|wrong| local(folder, &wrong))
}

/// Puts a file in its place that only its owner may read: whole, or not at all, whatever happens.
///
/// # Errors
/// [`Error::Local`] when it cannot be written.
pub fn write_private(path: &Path, text: &[u8]) -> Result<(), Error> {
    make_private_folder(path)?;
    // a link stays a link; what it points to is replaced
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    let wrong = |wrong: io::Error| local(&path, &wrong);
    let mut file = tempfile::Builder::new().prefix(".bursar-").tempfile_in(folder).map_err(wrong)?;
    io::Write::write_all(&mut file, text).map_err(wrong)?;
    file.as_file().sync_all().map_err(wrong)?;
    file.persist(&path).map_err(|failed| wrong(failed.error))?;
    // the name is durable only when the folder is
    fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(wrong)
}
