//! Room for what must be written on a full disk: a file beside a SQLite store that is given up for it.
//!
//! WAL is wedged for good when the disk is full: what would shorten it has to write first. So a file of real
//! blocks is kept beside the store. When there is no room it is emptied, the WAL is written back, and from then
//! on only those write who say that they may ([`urgent`], [`recorded`]). It is made again when there is room for
//! it and for more besides, and then everybody writes (docs/adr/0016).

use std::{
    fs::{File, OpenOptions},
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bursar_shared::error::ErrorCode;
use diesel::{QueryResult, SqliteConnection, connection::SimpleConnection};
use ring::rand::SecureRandom;

use super::{
    Conn, Location,
    open::{self, Purpose},
};
use crate::error::{BoxError, Error, Trouble, database_error, later, trouble};

/// What is kept back, in bytes: to write a WAL back that is as long as `journal_size_limit` lets it stay, or,
/// after a WAL of its usual 16 MiB, for some ten thousands of sign-ins and revocations.
pub const BALLAST: u64 = 64 << 20;
/// What must be free beside it, in bytes, before everybody writes again: so much is written, at least, before
/// the disk is full once more.
const MARGIN: u64 = 32 << 20;
/// As long as so much is free, in bytes, strangers may cause writes: the other half is for those who act.
const HALF: u64 = BALLAST / 2;
/// What a disk that is not full takes, in bytes: as much as SQLite wants at once beside its pages.
const PROBE: usize = 64 << 10;
/// When who is refused should come again: room is looked for more often.
const COME_AGAIN: Duration = Duration::from_secs(5);
/// How long others may hold up that the WAL is written back, or a look for room, in milliseconds.
const PATIENT: &str = "500";

/// Whether a write may use what is kept back for a full disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reserve {
    No,
    Half,
    All,
}

/// What a write is called, and whether it also happens on a full disk: a mere name does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Label {
    /// Its name in the daemon's log.
    pub name: &'static str,
    reserve: Reserve,
}

impl From<&'static str> for Label {
    fn from(name: &'static str) -> Self {
        Self { name, reserve: Reserve::No }
    }
}

/// A write that also happens on a full disk: it takes access away, lets somebody in who does, or makes room.
pub const fn urgent(name: &'static str) -> Label {
    Label { name, reserve: Reserve::All }
}

/// A write that also happens on a full disk while half of what was kept back is free: it is a record of what
/// somebody did or tried, and must not use up what others need to act.
pub const fn recorded(name: &'static str) -> Label {
    Label { name, reserve: Reserve::Half }
}

/// Whether there is room for all writes, for some or for none, and the ballast that keeps some back.
#[derive(Debug, Clone)]
pub struct Room(Option<Arc<Ballast>>);

#[derive(Debug)]
struct Ballast {
    store: PathBuf,
    ballast: PathBuf,
    /// Only those write who may use what was kept back.
    short: AtomicBool,
    /// And even that is used up.
    spent: AtomicBool,
    /// What is kept back now.
    bytes: AtomicU64,
    /// Held by whoever changes the file.
    told: Mutex<Told>,
}

/// What the log was told last: once a change, not once a write.
#[derive(Debug, Default)]
struct Told {
    state: Option<State>,
    spent: bool,
    /// When the ballast could not be made again although there seemed to be room.
    in_vain: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The ballast is there.
    Whole,
    /// It is not, and everybody writes all the same.
    Bare,
    /// It was given up.
    Short,
}

impl Room {
    /// Nothing is kept back: PostgreSQL minds its own disk, and some stores are thrown away.
    pub const fn unkept() -> Self {
        Self(None)
    }

    /// Looks at what is kept back beside a store, for the one process that holds its lock. A ballast that is
    /// empty was given up, and the store is still short of room.
    pub fn beside(location: &Location) -> Self {
        let Location::Sqlite(store) = location else { return Self::unkept() };
        let ballast = store.with_extension("ballast");
        let length = there(&ballast);
        Self(Some(Arc::new(Ballast {
            store: store.clone(),
            ballast,
            short: AtomicBool::new(length == Some(0)),
            spent: AtomicBool::default(),
            bytes: AtomicU64::new(length.unwrap_or(0)),
            told: Mutex::default(),
        })))
    }

    /// Whether something is ever kept back here.
    pub const fn is_kept(&self) -> bool {
        self.0.is_some()
    }

    /// Whether only those write who may use what was kept back.
    pub fn is_short(&self) -> bool {
        self.0.as_ref().is_some_and(|kept| kept.short.load(Ordering::Acquire))
    }

    /// What is kept back now, in bytes.
    pub fn bytes(&self) -> u64 {
        self.0.as_ref().map_or(0, |kept| kept.bytes.load(Ordering::Relaxed))
    }

    /// Why not everybody writes, for whoever asks whether the daemon is ready.
    pub fn shortage(&self) -> Option<&'static str> {
        let kept = self.0.as_ref().filter(|kept| kept.short.load(Ordering::Acquire))?;
        Some(match kept.spent.load(Ordering::Relaxed) {
            false => "the disk is full: only what takes access away is written, from what was kept back",
            true => "the disk is full, and what was kept back is used up: nothing is written",
        })
    }

    /// Whether a write of this label may be tried now.
    pub(super) fn admits(&self, label: Label) -> bool {
        let Some(kept) = self.0.as_ref().filter(|_| self.is_short()) else { return true };
        match label.reserve {
            Reserve::No => false,
            // who cannot see how much is free has nothing to go by
            Reserve::Half => kept.free().is_none_or(|free| free >= HALF),
            Reserve::All => true,
        }
    }

    /// What those are told whose write has no room.
    pub(super) fn refusal(&self, label: Label) -> Error {
        let spent = self.0.as_ref().is_some_and(|kept| kept.spent.load(Ordering::Relaxed));
        let what = match (spent, label.reserve) {
            (true, _) => "The disk of the store is full, and what was kept back for that is used up",
            // a failed sign-in, say: that it failed could not be written down, and so is not said
            (false, Reserve::Half) => {
                "The disk of the store is full, and what is left of what was kept back is not for records like this"
            }
            (false, _) => {
                "The disk of the store is full, and what was kept back is for sign-ins and for taking access away"
            }
        };
        let next =
            "nothing was changed. Whoever runs the daemon has to make room; writes go on by themselves then.";
        later(ErrorCode::StorageFull, format!("{what}; {next}"), COME_AGAIN)
    }

    /// Whether a write failed because there is no room. Not every full disk says so: a quota, the index of
    /// the WAL and a late allocation fail as errors of the disk.
    pub(super) fn is_why(&self, why: &Error) -> bool {
        match database_error(why).map(trouble) {
            Some(Trouble::Full) => self.is_kept(),
            Some(Trouble::Storage) => self.looks_full(),
            _ => false,
        }
    }

    /// Whether nothing can be written beside the store for want of room, whatever SQLite calls it.
    pub(super) fn looks_full(&self) -> bool {
        self.0.as_ref().is_some_and(|kept| kept.looks_full())
    }

    /// There is no room: gives up what was kept back and writes the WAL back with it. From now on only those
    /// write who may.
    pub(super) fn give_up(&self) {
        if let Some(kept) = &self.0 {
            kept.give_up();
        }
    }

    /// What even those were told who may use what was kept back.
    pub(super) fn set_spent(&self, spent: bool) {
        let Some(kept) = &self.0 else { return };
        kept.spent.store(spent, Ordering::Relaxed);
        if spent && !std::mem::replace(&mut kept.told().spent, true) {
            tracing::error!(
                "what was kept back for a full disk is used up: nothing is written until there is room"
            );
        }
    }

    /// Makes the ballast where there is none and there is room, and lets everybody write again where it was
    /// given up. It takes a while where the file system cannot allocate.
    pub fn keep(&self) {
        if let Some(kept) = &self.0 {
            kept.keep();
        }
    }

    /// Looks for room at once, for who would be refused; not when that was in vain a moment ago, nor while
    /// somebody else looks: it may take a while.
    pub(super) fn look(&self) {
        let Some(kept) = &self.0 else { return };
        let patient = kept
            .told
            .try_lock()
            .is_ok_and(|told| told.in_vain.is_none_or(|when| when.elapsed() >= COME_AGAIN));
        if patient && kept.is_roomy() {
            kept.keep();
        }
    }

    /// Opens the store; on a full disk with what was kept back.
    ///
    /// # Errors
    /// Those of `work`.
    pub fn opening<T>(
        &self,
        work: impl Fn() -> std::result::Result<T, BoxError>,
    ) -> std::result::Result<T, BoxError> {
        let Some(kept) = &self.0 else { return work() };
        let is_why = |why: &BoxError| {
            let text = why.to_string();
            let says = |words: &str| text.contains(words);
            // the disk is asked only where SQLite may mean it
            says("disk is full")
                || ((says("disk I/O error") || says("unable to open database") || says("No space left"))
                    && kept.looks_full())
        };
        match work() {
            Err(why) if is_why(&why) => {
                kept.give_up();
                work().map_err(|why| match is_why(&why) {
                    // what SQLite makes of it, a damaged store perhaps, would mislead
                    true => format!(
                        "the disk is full, and nothing that was kept back is left: make room on the disk of {}, \
                         then start again",
                        kept.store.display()
                    )
                    .into(),
                    false => why,
                })
            }
            done => done,
        }
    }
}

impl Ballast {
    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs something on a connection of its own.
    fn on_store(
        &self,
        work: impl FnOnce(&mut SqliteConnection) -> QueryResult<()>,
    ) -> std::result::Result<(), BoxError> {
        match open::connect(&Location::Sqlite(self.store.clone()), Purpose::Write)? {
            Conn::Sqlite(mut sqlite) => Ok(work(&mut sqlite)?),
            Conn::Pg(_) => Ok(()),
        }
    }

    fn folder(&self) -> &Path {
        self.store.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
    }

    /// What is free for us on the disk, in bytes; nothing where that cannot be asked.
    fn free(&self) -> Option<u64> {
        #[cfg(unix)]
        {
            let facts = rustix::fs::statvfs(self.folder()).ok()?;
            Some(facts.f_bavail.saturating_mul(facts.f_frsize))
        }
        #[cfg(not(unix))]
        None
    }

    fn looks_full(&self) -> bool {
        let path = self.store.with_extension("probe");
        let tried = open_private(&path).and_then(|mut file| {
            fill(&mut file, PROBE as u64)?;
            file.sync_all()
        });
        // a file that was not made is not there
        let _ = std::fs::remove_file(&path);
        tried.is_err_and(|why| is_full(&why))
    }

    fn give_up(&self) {
        // first, so that nobody begins what would eat it up
        self.short.store(true, Ordering::Release);
        let mut told = self.told();
        // whoever had the file before us may have thought otherwise
        self.short.store(true, Ordering::Release);
        // emptied and not deleted: an empty one says to the next start that the store is short of room
        let emptied = open_private(&self.ballast).and_then(|file| file.set_len(0));
        let had = self.bytes.swap(0, Ordering::Relaxed);
        if let Err(why) = emptied {
            tracing::debug!(why = %why, "what was kept back could not be given up");
        }
        self.write_back();
        if told.state != Some(State::Short) {
            told.state = Some(State::Short);
            let what = match had {
                0 => {
                    "the disk is full, and nothing was kept back: until there is room little or nothing is written"
                }
                _ => {
                    "the disk is full: what was kept back is given up, and until there is room only sign-ins and \
                     what takes access away is written; all else is answered STORAGE_FULL"
                }
            };
            tracing::error!(store = %self.store.display(), kept_back = had, "{what}");
        }
    }

    /// Moves the WAL into the store and cuts it off. Where readers or the disk do not let it, the next commit
    /// tries again.
    fn write_back(&self) {
        let sql = format!("PRAGMA busy_timeout={PATIENT}; PRAGMA wal_checkpoint(TRUNCATE);");
        if let Err(why) = self.on_store(|sqlite| sqlite.batch_execute(&sql)) {
            tracing::debug!(why = %why, "the write-ahead log could not be written back");
        }
    }

    fn keep(&self) {
        let mut told = self.told();
        let short = self.short.load(Ordering::Acquire);
        let found = self.is_whole(told.state.is_none());
        let taken = if short { self.takes_writes() } else { Ok(()) };
        let tried = taken.is_ok();
        let made = taken.and_then(|()| if found { Ok(()) } else { self.make() });
        let goes_on = match &made {
            Ok(()) => true,
            // it is something else that stands in its way: then what is free decides
            Err(why) => !short || (!is_full(why) && self.is_roomy()),
        };
        told.in_vain = (tried && !goes_on).then(Instant::now);
        self.bytes.store(there(&self.ballast).unwrap_or(0), Ordering::Relaxed);
        if goes_on {
            self.short.store(false, Ordering::Release);
            told.spent = false;
        }
        if goes_on || self.free().is_some_and(|free| free >= PROBE as u64) {
            self.spent.store(false, Ordering::Relaxed);
        }
        let state = match (goes_on, &made) {
            (false, _) => State::Short,
            (true, Ok(())) => State::Whole,
            (true, Err(_)) => State::Bare,
        };
        let changed = told.state.replace(state) != Some(state);
        let ballast = self.ballast.display();
        if short && goes_on {
            tracing::info!("there is room again: everything is written");
        }
        match (state, made) {
            (State::Short, made) if changed => tracing::error!(
                store = %self.store.display(),
                why = made.err().map(|why| why.to_string()),
                "the disk is full: until there is room only sign-ins and what takes access away is written; all \
                 else is answered STORAGE_FULL"
            ),
            (State::Bare, Err(why)) if changed => tracing::warn!(
                %ballast,
                why = %why,
                "nothing is kept back for a full disk, on which then nothing is written; it is tried again"
            ),
            (State::Whole, _) if !found => {
                tracing::info!(%ballast, kept_back = BALLAST, "room is kept back for a full disk");
            }
            _ => {}
        }
    }

    /// Whether there is room for the ballast and for more besides, as far as one can see.
    fn is_roomy(&self) -> bool {
        let there = there(&self.ballast).unwrap_or(0);
        self.free().is_none_or(|free| free.saturating_add(there) >= BALLAST + MARGIN)
    }

    /// Writes the same number to the same place of the store, through the WAL and synced: blocks are not all
    /// that a write needs.
    fn takes_writes(&self) -> io::Result<()> {
        let full = |why: BoxError| io::Error::new(ErrorKind::StorageFull, why);
        if !self.is_roomy() {
            return Err(full("too little is free on the disk".into()));
        }
        self.on_store(|sqlite| {
            sqlite.batch_execute(&format!("PRAGMA busy_timeout={PATIENT};"))?;
            open::mark(sqlite)
        })
        .map_err(full)
    }

    /// Whether all of the ballast is there; that it has blocks and no holes is asked once, because some file
    /// systems count late.
    fn is_whole(&self, blocks: bool) -> bool {
        let Ok(facts) = self.ballast.symlink_metadata() else { return false };
        facts.is_file() && facts.len() == BALLAST && (!blocks || has_blocks(&facts))
    }

    /// Allocates the ballast, if there is room for it and for more besides: both are really taken, since only
    /// that asks quotas too.
    fn make(&self) -> io::Result<()> {
        let facts = self.ballast.symlink_metadata().ok();
        if facts.as_ref().is_some_and(|facts| !facts.is_file()) {
            return Err(io::Error::new(ErrorKind::AlreadyExists, "something else has its name"));
        }
        let before = facts.map(|facts| facts.len());
        let wanted = BALLAST + MARGIN;
        if !self.is_roomy() {
            let why = format!("{} MiB must be free on the disk", wanted >> 20);
            return Err(io::Error::new(ErrorKind::StorageFull, why));
        }
        let mut file = open_private(&self.ballast)?;
        let done = allocate(&mut file, wanted).and_then(|()| file.set_len(BALLAST));
        if done.is_err() {
            // as it was: one that is empty would say that it was given up
            let _ = match before {
                Some(length) => file.set_len(length.min(BALLAST)),
                None => std::fs::remove_file(&self.ballast),
            };
        }
        done
    }
}

/// What there is of a ballast, in bytes; nothing where there is none, or something else has its name.
fn there(ballast: &Path) -> Option<u64> {
    let facts = ballast.symlink_metadata().ok()?;
    facts.is_file().then(|| facts.len().min(BALLAST))
}

#[cfg(unix)]
fn has_blocks(facts: &std::fs::Metadata) -> bool {
    std::os::unix::fs::MetadataExt::blocks(facts).saturating_mul(512) >= BALLAST
}

#[cfg(not(unix))]
fn has_blocks(_: &std::fs::Metadata) -> bool {
    true
}

fn is_full(why: &io::Error) -> bool {
    matches!(why.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

/// Opens a file that nobody else may read, and makes it where it is not there. Follows no link: what lies
/// behind one is not ours to cut.
fn open_private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
        let flags = rustix::fs::OFlags::NOFOLLOW.bits();
        let file = options.mode(0o600).custom_flags(i32::try_from(flags).unwrap_or(0)).open(path)?;
        if file.metadata()?.permissions().mode() & 0o077 != 0 {
            file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
        }
        Ok(file)
    }
    #[cfg(not(unix))]
    options.open(path)
}

/// Takes blocks for so many bytes from the start of a file.
fn allocate(file: &mut File, bytes: u64) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        use rustix::{fs, io::Errno};
        let flags = fs::FallocateFlags::empty();
        match rustix::io::retry_on_intr(|| fs::fallocate(&*file, flags, 0, bytes)) {
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => {}
            done => return done.map_err(io::Error::from),
        }
    }
    fill(file, bytes)
}

/// Writes so many bytes from the start of a file. Noise and not zeros: a file system that compresses keeps no
/// blocks for zeros.
fn fill(file: &mut File, bytes: u64) -> io::Result<()> {
    use std::io::{Seek, Write};
    let mut noise = vec![0; PROBE];
    ring::rand::SystemRandom::new().fill(&mut noise).map_err(|_| io::Error::other("no random bytes"))?;
    file.rewind()?;
    let mut left = bytes;
    while left > 0 {
        let count = usize::try_from(left).unwrap_or(PROBE).min(PROBE);
        file.write_all(&noise[..count])?;
        left -= count as u64;
    }
    // what is not synced has no blocks yet
    file.sync_all()
}

#[cfg(test)]
#[path = "ballast_tests.rs"]
mod tests;
