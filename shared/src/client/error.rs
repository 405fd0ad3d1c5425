//! Why a call gave no answer: what was refused, what did not happen, and what nobody knows.

use std::{fmt, time::Duration};

use crate::error::{ApiError, Class, ErrorCode};

/// Why there is no answer.
#[derive(Debug, Clone)]
pub enum Error {
    /// The daemon refused.
    Api {
        /// The HTTP status.
        status: u16,
        /// The refusal.
        error: ApiError,
        /// What the daemon's log calls the request.
        request_id: Option<String>,
        /// When to come again.
        retry_after: Option<Duration>,
        /// Whether this was its verdict before, under the same key.
        replayed: bool,
    },
    /// There is no connection, or a read got no answer: nothing was changed.
    Unreachable {
        /// Where to.
        server: String,
        /// Why.
        reason: String,
    },
    /// A change was sent and its answer was lost; the same key repeats it without doing it twice.
    Unknown {
        /// The idempotency key it was sent with.
        key: String,
        /// Where to.
        server: String,
        /// Why the answer was lost.
        reason: String,
        /// What the daemon's log calls the request, if it came there.
        request_id: String,
    },
    /// Nobody is signed in.
    NotSignedIn,
    /// The answer makes no sense.
    Protocol(String),
    /// Something on this machine is not as it must be.
    Local(String),
}

impl Error {
    /// What kind of refusal it is, when the daemon refused.
    pub fn class(&self) -> Option<Class> {
        match self {
            Self::Api { status, error, .. } if error.code == ErrorCode::Unknown => {
                Some(Class::of_status(*status))
            }
            Self::Api { error, .. } => Some(error.code.class()),
            _ => None,
        }
    }

    /// Whether it is the verdict of a change that was sent before under the same key: not what stopped this
    /// sending before it was judged, unless that was told to the first.
    pub fn is_verdict(&self) -> bool {
        match self {
            Self::Api { status, replayed, .. } => *replayed || !matches!(*status, 401 | 403 | 429 | 500..),
            _ => false,
        }
    }

    /// Whether the change that it is about may have been made. `again`: it was sent before under the same key,
    /// and nobody knows what became of that.
    pub fn leaves_open(&self, again: bool) -> bool {
        match self {
            // an answer that cannot be read says as little about what was done as one that was lost
            Self::Unknown { .. } | Self::Protocol(_) => true,
            other => again && !other.is_verdict(),
        }
    }

    /// The exit code of a command that ends with it.
    pub fn exit(&self) -> u8 {
        match self {
            Self::Api { .. } => self.class().map_or(13, Class::exit),
            Self::Unreachable { .. } => 9,
            Self::Unknown { .. } => 11,
            Self::NotSignedIn => 4,
            Self::Protocol(_) => 1,
            Self::Local(_) => 2,
        }
    }

    /// What the daemon's log calls the request.
    pub fn request_id(&self) -> Option<&str> {
        match self {
            Self::Api { request_id, .. } => request_id.as_deref(),
            Self::Unknown { request_id, .. } => Some(request_id),
            _ => None,
        }
    }

    /// The stable code, when the daemon gave one.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Api { error, .. } => Some(error.code),
            _ => None,
        }
    }

    /// What a person does next.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Api { .. } => self.class().map_or("", Class::hint),
            Self::Unreachable { .. } => "is the daemon running, and is the address right?",
            Self::Unknown { .. } => "bursar pending resume",
            Self::NotSignedIn => "sign in: bursar auth login",
            Self::Protocol(_) => "is this a Bursar daemon, and of this version?",
            Self::Local(_) => "",
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Api { status, error, .. } if error.code == ErrorCode::Unknown => {
                write!(f, "{} (HTTP {status})", error.message)
            }
            Self::Api { error, .. } => error.fmt(f),
            Self::Unreachable { server, reason } => {
                write!(f, "cannot reach {server}: {reason}; nothing was changed")
            }
            Self::Unknown { server, reason, .. } => {
                write!(
                    f,
                    "the answer of {server} was lost: {reason}; the change may or may not have been made"
                )
            }
            Self::NotSignedIn => f.write_str("nobody is signed in"),
            Self::Protocol(what) | Self::Local(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for Error {}
