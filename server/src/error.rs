//! What can go wrong inside the daemon: refused (expected, safe to show) or broken (our fault).
//!
//! `Refused` carries what the caller sees. `Broken` carries what only the log sees: the whole chain
//! of causes, written once, beside the request id that the caller was given.

use std::{
    fmt,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use bursar_shared::error::{ApiError, ErrorCode};
use serde_json::json;

/// A result of the daemon's inside.
pub type Result<T> = std::result::Result<T, Error>;

/// Any cause.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Refused or broken.
#[derive(Debug)]
pub enum Error {
    /// Expected; the caller is told so.
    Refused(Box<Refusal>),
    /// Our fault; the caller is told only the request id.
    Broken {
        /// What we were doing.
        doing: &'static str,
        /// Why it failed.
        source: BoxError,
    },
}

/// A refusal and when to come again.
#[derive(Debug, Clone, PartialEq)]
pub struct Refusal {
    /// What the caller sees.
    pub error: ApiError,
    /// For `Retry-After`.
    pub retry_after: Option<Duration>,
}

impl From<ApiError> for Error {
    fn from(error: ApiError) -> Self {
        Self::Refused(Box::new(Refusal { error, retry_after: None }))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refusal) => refusal.error.fmt(f),
            Self::Broken { doing, source } => {
                write!(f, "{doing}: {source}")?;
                let mut cause = source.source();
                while let Some(next) = cause {
                    write!(f, ": {next}")?;
                    cause = next.source();
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for Error {}

/// A refusal with this code.
pub fn refuse(code: ErrorCode, message: impl Into<String>) -> Error {
    ApiError::new(code, message).into()
}

/// A refusal for the time being.
pub fn later(code: ErrorCode, message: impl Into<String>, wait: Duration) -> Error {
    Error::Refused(Box::new(Refusal { error: ApiError::new(code, message), retry_after: Some(wait) }))
}

/// Nothing of this kind has this id.
pub fn not_found(resource: &'static str, id: impl fmt::Display) -> Error {
    let id = id.to_string();
    ApiError::new(ErrorCode::NotFound, format!("There is no {resource} {id}."))
        .with(json!({ "resource": resource, "id": id }))
        .into()
}

/// Our fault, with what we were doing.
pub fn broken(doing: &'static str) -> impl FnOnce(BoxError) -> Error {
    move |source| Error::Broken { doing, source }
}

impl From<diesel::result::Error> for Error {
    /// Never turns "no row" into 404: a missing inner row is not a missing resource.
    fn from(source: diesel::result::Error) -> Self {
        Self::Broken { doing: "query", source: source.into() }
    }
}

impl From<serde_json::Error> for Error {
    fn from(source: serde_json::Error) -> Self {
        Self::Broken { doing: "JSON of the store", source: source.into() }
    }
}

/// What a failing database means for the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// The same again may work: a deadlock, a serialization failure, a busy file.
    Transient,
    /// The connection is gone.
    Lost,
    /// No room.
    Full,
    /// The statement took longer than it may.
    TooSlow,
    /// The file cannot be read or written.
    Storage,
    /// Anything else is a mistake of ours.
    Mistake,
}

/// Whether the database speaks a language that [`trouble`] does not read.
static FOREIGN: AtomicBool = AtomicBool::new(false);

/// Says in which language PostgreSQL words its errors (`lc_messages`).
pub fn errors_are_worded_in(language: &str) {
    let read = ["C", "POSIX"].contains(&language) || language.starts_with("C.") || language.starts_with("en");
    if !FOREIGN.swap(!read, Ordering::Relaxed) && !read {
        tracing::warn!(
            language,
            "PostgreSQL words its errors in a language that is not read here: a full disk or a slow statement is \
             answered as DATABASE_UNAVAILABLE; let its administrator ALTER ROLE ... SET lc_messages = 'C'"
        );
    }
}

/// What PostgreSQL says when it ended a statement because somebody else holds what it needs.
const LOCK_TIMEOUT: &str = "lock timeout";

/// Whether a statement waited in vain for what somebody else holds.
pub fn waited_for_a_lock(error: &diesel::result::Error) -> bool {
    matches!(error, diesel::result::Error::DatabaseError(_, info) if info.message().contains(LOCK_TIMEOUT))
}

/// Sorts a database error by what it means. Diesel hands on neither PostgreSQL's code of an error nor
/// SQLite's: a deadlock is of kind `Unknown`, as is everything of SQLite but constraints. So the words have to
/// do, which every connection asks to be English; where it may not, whatever has no kind may pass.
pub fn trouble(error: &diesel::result::Error) -> Trouble {
    use diesel::result::{DatabaseErrorKind as Kind, Error as Db};
    let Db::DatabaseError(kind, info) = error else {
        return match error {
            Db::RollbackErrorOnCommit { commit_error, .. } => trouble(commit_error),
            Db::BrokenTransactionManager => Trouble::Lost,
            _ => Trouble::Mistake,
        };
    };
    let text = info.message();
    let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
    match kind {
        Kind::SerializationFailure => Trouble::Transient,
        Kind::ClosedConnection => Trouble::Lost,
        Kind::ReadOnlyTransaction => Trouble::Storage,
        _ if says(&[
            "deadlock detected",
            "could not serialize",
            "database is locked",
            LOCK_TIMEOUT,
            "database table is locked",
        ]) =>
        {
            Trouble::Transient
        }
        _ if says(&[
            "server closed the connection",
            "terminating connection",
            "connection to server",
            "no connection to the server",
            "could not receive data",
            "could not send data",
            "SSL SYSCALL",
            "shutting down",
            "starting up",
            "connection not open",
            "too many clients",
            "remaining connection slots",
        ]) =>
        {
            Trouble::Lost
        }
        _ if says(&["database or disk is full", "No space left on device", "could not extend file"]) => {
            Trouble::Full
        }
        _ if says(&["interrupted", "canceling statement"]) => Trouble::TooSlow,
        _ if says(&[
            "disk I/O error",
            "readonly database",
            "unable to open database",
            "malformed",
            "file is not a database",
            "read-only",
            "could not write",
            "could not read",
            "could not fsync",
            "could not open file",
        ]) =>
        {
            Trouble::Storage
        }
        Kind::Unknown if FOREIGN.load(Ordering::Relaxed) => Trouble::Transient,
        _ => Trouble::Mistake,
    }
}

/// The database error at the root of this one, if there is one.
pub fn database_error(error: &Error) -> Option<&diesel::result::Error> {
    match error {
        Error::Broken { source, .. } => source.downcast_ref(),
        Error::Refused(_) => None,
    }
}

impl Error {
    /// What the caller is told, and whether it must be logged as our fault.
    pub fn answer(self) -> (Refusal, Option<String>) {
        let said = match &self {
            Self::Refused(_) => None,
            Self::Broken { .. } => Some(self.to_string()),
        };
        let wait = Duration::from_secs(1);
        let unavailable =
            |code, message: &str| Refusal { error: ApiError::new(code, message), retry_after: Some(wait) };
        let refusal = match &self {
            Self::Refused(refusal) => (**refusal).clone(),
            Self::Broken { .. } => match database_error(&self).map(trouble) {
                Some(Trouble::Transient | Trouble::Lost | Trouble::Storage) => unavailable(
                    ErrorCode::DatabaseUnavailable,
                    "The database does not answer; nothing was changed.",
                ),
                Some(Trouble::Full) => {
                    let message = "The disk of the database is full; nothing was changed. Whoever runs it has to \
                                   make room; writes go on by themselves then.";
                    unavailable(ErrorCode::StorageFull, message)
                }
                Some(Trouble::TooSlow) => Refusal {
                    error: ApiError::new(
                        ErrorCode::QueryTooBroad,
                        "The question takes too long to answer; narrow the filter.",
                    ),
                    retry_after: None,
                },
                Some(Trouble::Mistake) | None => Refusal {
                    error: ApiError::new(
                        ErrorCode::Internal,
                        "Something broke in the daemon; its log has the cause beside this request id.",
                    ),
                    retry_after: None,
                },
            },
        };
        (refusal, said)
    }
}
