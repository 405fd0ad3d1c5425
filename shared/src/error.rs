//! Errors that callers see: one enum for the HTTP status, the CLI's exit code and the hint.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// What kind of thing went wrong; status family, exit code and retry follow from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// The request can never work as it stands.
    Invalid,
    /// Who are you?
    Auth,
    /// You may not.
    Forbidden,
    /// Not there, or not for you to know.
    NotFound,
    /// Not possible in the present state, or your copy is stale.
    Conflict,
    /// A rule of the books says no.
    Refused,
    /// Slow down.
    Throttled,
    /// The daemon cannot just now; nothing changed.
    Unavailable,
    /// Our fault.
    Internal,
}

impl Class {
    /// The exit code of a command that ends with an error of this class.
    pub const fn exit(self) -> u8 {
        match self {
            Self::NotFound => 3,
            Self::Auth => 4,
            Self::Forbidden => 5,
            Self::Conflict => 6,
            Self::Invalid => 7,
            Self::Throttled => 8,
            Self::Refused => 12,
            Self::Unavailable | Self::Internal => 13,
        }
    }

    /// The class of an error whose code this client does not know.
    pub const fn of_status(status: u16) -> Self {
        match status {
            401 => Self::Auth,
            403 => Self::Forbidden,
            404 | 410 => Self::NotFound,
            409 | 412 => Self::Conflict,
            423 | 429 => Self::Throttled,
            502..=504 => Self::Unavailable,
            400..=499 => Self::Invalid,
            _ => Self::Internal,
        }
    }

    /// What a person does next; shown with the error by the command line and the dashboard.
    pub const fn hint(self) -> &'static str {
        match self {
            Self::Invalid => "correct the request",
            Self::Auth => "sign in: bursar auth login",
            Self::Forbidden => "ask an owner for the permission",
            Self::NotFound => "check the id",
            Self::Conflict => "read the record again and repeat",
            Self::Refused => "nothing was changed",
            Self::Throttled => "wait and repeat",
            Self::Unavailable => "nothing was changed; repeat later",
            Self::Internal => "look for the request id in the daemon's log",
        }
    }
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident $text:literal $status:literal $class:ident;)+) => {
        /// Every error the daemon answers with.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
        pub enum ErrorCode {
            $($(#[$doc])* #[serde(rename = $text)] $name,)+
            /// A code that a newer daemon sent.
            #[serde(other, rename = "UNKNOWN")]
            Unknown,
        }

        impl ErrorCode {
            /// All codes the daemon may send.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// The code as the wire has it.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)+ Self::Unknown => "UNKNOWN" }
            }

            /// The HTTP status it is sent with.
            pub const fn status(self) -> u16 {
                match self { $(Self::$name => $status,)+ Self::Unknown => 500 }
            }

            /// Its class.
            pub const fn class(self) -> Class {
                match self { $(Self::$name => Class::$class,)+ Self::Unknown => Class::Internal }
            }
        }
    };
}

codes! {
    /// Not understood: broken JSON, a bad header, nesting beyond 32.
    MalformedRequest "MALFORMED_REQUEST" 400 Invalid;
    /// Money moves only with an `Idempotency-Key`.
    IdempotencyKeyRequired "IDEMPOTENCY_KEY_REQUIRED" 400 Invalid;
    /// The path exists, not with this method.
    MethodNotAllowed "METHOD_NOT_ALLOWED" 405 Invalid;
    /// More bytes than the operation takes.
    BodyTooLarge "BODY_TOO_LARGE" 413 Invalid;
    /// Not JSON.
    UnsupportedMediaType "UNSUPPORTED_MEDIA_TYPE" 415 Invalid;
    /// Fields or parameters are wrong; all of them are listed.
    ValidationFailed "VALIDATION_FAILED" 422 Invalid;
    /// The key was used for another request.
    IdempotencyKeyReused "IDEMPOTENCY_KEY_REUSED" 422 Invalid;
    /// The filter cannot be answered within the time limit.
    QueryTooBroad "QUERY_TOO_BROAD" 422 Invalid;
    /// No credential was sent.
    Unauthenticated "UNAUTHENTICATED" 401 Auth;
    /// Email or password is wrong.
    InvalidCredentials "INVALID_CREDENTIALS" 401 Auth;
    /// Refresh it.
    TokenExpired "TOKEN_EXPIRED" 401 Auth;
    /// Not one of ours, or damaged.
    TokenInvalid "TOKEN_INVALID" 401 Auth;
    /// The session was ended.
    SessionRevoked "SESSION_REVOKED" 401 Auth;
    /// A spent refresh token came back; its session was ended.
    RefreshReused "REFRESH_REUSED" 401 Auth;
    /// A permission is missing; `details.missing` names it.
    Forbidden "FORBIDDEN" 403 Forbidden;
    /// Nobody grants, or touches, more than they hold.
    Escalation "ESCALATION" 403 Forbidden;
    /// The last active owner stays.
    LastOwner "LAST_OWNER" 403 Forbidden;
    /// Nobody suspends or deletes themselves.
    SelfAction "SELF_ACTION" 403 Forbidden;
    /// The person is suspended.
    UserSuspended "USER_SUSPENDED" 403 Forbidden;
    /// Not there.
    NotFound "NOT_FOUND" 404 NotFound;
    /// A unique value is taken.
    AlreadyExists "ALREADY_EXISTS" 409 Conflict;
    /// Not from this state.
    IllegalTransition "ILLEGAL_TRANSITION" 409 Conflict;
    /// Something still depends on it.
    InUse "IN_USE" 409 Conflict;
    /// Another item of the batch failed.
    BatchAborted "BATCH_ABORTED" 409 Conflict;
    /// Somebody else saved first; `details.current` is their copy.
    VersionMismatch "VERSION_MISMATCH" 412 Conflict;
    /// Two currencies where there must be one.
    CurrencyMismatch "CURRENCY_MISMATCH" 422 Invalid;
    /// More than is there; `details.available` says how much is.
    InsufficientFunds "INSUFFICIENT_FUNDS" 409 Refused;
    /// More than the account may hold.
    BalanceLimit "BALANCE_LIMIT" 409 Refused;
    /// A sum beyond 2^53-1 minor units.
    AmountOutOfRange "AMOUNT_OUT_OF_RANGE" 409 Refused;
    /// Nothing goes out of a frozen account.
    AccountFrozen "ACCOUNT_FROZEN" 409 Refused;
    /// The account is closed, for ever.
    AccountClosed "ACCOUNT_CLOSED" 409 Refused;
    /// Only an account without money and holds can be closed.
    AccountNotEmpty "ACCOUNT_NOT_EMPTY" 409 Refused;
    /// The hold was captured, voided or has expired; or it never was one.
    HoldNotPending "HOLD_NOT_PENDING" 409 Refused;
    /// More than was held.
    CaptureExceedsHold "CAPTURE_EXCEEDS_HOLD" 409 Refused;
    /// More than is left to reverse.
    ReversalExceedsTransfer "REVERSAL_EXCEEDS_TRANSFER" 409 Refused;
    /// Holds, voids, expiries and reversals cannot be reversed.
    NotReversible "NOT_REVERSIBLE" 409 Refused;
    /// Too many wrong passwords.
    TemporarilyLocked "TEMPORARILY_LOCKED" 423 Throttled;
    /// Too many requests.
    RateLimited "RATE_LIMITED" 429 Throttled;
    /// Our fault; the log line with this request id has the cause.
    Internal "INTERNAL" 500 Internal;
    /// Queues are full.
    Overloaded "OVERLOADED" 503 Unavailable;
    /// The database cannot be reached or does not answer.
    DatabaseUnavailable "DATABASE_UNAVAILABLE" 503 Unavailable;
    /// The disk is full.
    StorageFull "STORAGE_FULL" 503 Unavailable;
    /// The daemon is stopping.
    ShuttingDown "SHUTTING_DOWN" 503 Unavailable;
    /// The request took too long; nothing changed.
    Timeout "TIMEOUT" 504 Unavailable;
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One wrong field or parameter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Violation {
    /// Where: a JSON pointer into the body (`/email`), or `?name` for a parameter.
    pub pointer: String,
    /// Which rule: a stable word such as `required`, `format`, `length`.
    pub rule: String,
    /// For people.
    pub message: String,
}

/// The error member of an envelope.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ApiError {
    /// The stable code.
    pub code: ErrorCode,
    /// For people; may change.
    pub message: String,
    /// Facts for programs; an object, its members depend on the code.
    #[serde(default)]
    pub details: Value,
}

impl ApiError {
    /// An error without details.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), details: json!({}) }
    }

    /// The same with facts for programs.
    #[must_use]
    pub fn with(mut self, details: Value) -> Self {
        self.details = details;
        self
    }

    /// All wrong fields of a request in one error.
    pub fn invalid(violations: Vec<Violation>) -> Self {
        let message = match violations.as_slice() {
            [one] => format!("{} {}", one.pointer, one.message),
            many => format!("{} values are invalid.", many.len()),
        };
        Self::new(ErrorCode::ValidationFailed, message).with(json!({ "violations": violations }))
    }

    /// One wrong field.
    pub fn violation(pointer: &str, rule: &str, message: impl Into<String>) -> Self {
        Self::invalid(vec![Violation {
            pointer: pointer.to_owned(),
            rule: rule.to_owned(),
            message: message.into(),
        }])
    }

    /// The same about a part of a larger body: the pointers of violations begin at `prefix`.
    #[must_use]
    pub fn inside(mut self, prefix: &str) -> Self {
        let violations = self.details.get_mut("violations").and_then(serde_json::Value::as_array_mut);
        for violation in violations.into_iter().flatten() {
            if let Some(serde_json::Value::String(pointer)) = violation.get_mut("pointer") {
                pointer.insert_str(0, prefix);
            }
        }
        self
    }

    /// The violations of a `VALIDATION_FAILED`; empty for other codes.
    pub fn violations(&self) -> Vec<Violation> {
        self.details
            .get("violations")
            .and_then(|list| serde_json::from_value(list.clone()).ok())
            .unwrap_or_default()
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.code)
    }
}

impl std::error::Error for ApiError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_one_text_and_a_status_of_its_class() {
        let mut texts: Vec<_> = ErrorCode::ALL.iter().map(|code| code.as_str()).collect();
        texts.sort_unstable();
        texts.dedup();
        assert_eq!(texts.len(), ErrorCode::ALL.len());
        for code in ErrorCode::ALL {
            // a status alone tells a rule that refused from no other conflict
            let by_status = if code.class() == Class::Refused { Class::Conflict } else { code.class() };
            assert_eq!(Class::of_status(code.status()), by_status, "{code}");
            assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
        }
    }

    #[test]
    fn a_code_of_a_newer_daemon_is_read_not_refused() {
        let error: ApiError = serde_json::from_str(r#"{"code":"QUOTA_EXCEEDED","message":"no"}"#).unwrap();
        assert_eq!(error.code, ErrorCode::Unknown);
    }
}
