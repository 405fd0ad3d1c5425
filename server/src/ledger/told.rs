//! What callers are told when money does not move.

use bursar_shared::{
    error::{ApiError, ErrorCode},
    money::MAX_MINOR,
    permission::Permission,
    time::Timestamp,
};
use serde_json::json;

use super::books::Account;
use crate::{error::broken, repositories::transfers};

/// A system account is theirs who may bring money into the books.
pub(super) fn forbidden() -> ApiError {
    let missing = Permission::LedgerIssue;
    ApiError::new(
        ErrorCode::Forbidden,
        format!("You need the permission {missing}: a system account is on one side."),
    )
    .with(json!({ "missing": [missing] }))
}

/// There is none of this name.
pub(super) fn missing(resource: &'static str, id: impl std::fmt::Display) -> ApiError {
    let id = id.to_string();
    ApiError::new(ErrorCode::NotFound, format!("There is no {resource} {id}."))
        .with(json!({ "resource": resource, "id": id }))
}

/// The hold has ended.
pub(super) fn not_pending(row: &transfers::Row, message: impl Into<String>) -> ApiError {
    let expires = row.expires_at.map(Timestamp::from_micros);
    ApiError::new(ErrorCode::HoldNotPending, message)
        .with(json!({ "kind": row.kind, "status": row.status, "expiresAt": expires }))
}

/// A number of an account that ends at 2^53 (docs/adr/0015).
#[derive(Debug, Clone, Copy)]
pub(super) enum Limit {
    /// All that ever went through it.
    Turnover,
    /// All that is held of it, or for it.
    Held,
    /// What it holds, with its overdraft limit.
    Overdraft,
}

/// It could not be counted any more, and what helps.
pub(super) fn beyond(account: &Account, limit: Limit, amount: i64) -> ApiError {
    let id = &account.id;
    let (name, message) = match limit {
        Limit::Turnover => {
            let told = format!(
                "All that ever went out of the account {id}, or into it, must stay below 2^53 minor units"
            );
            // nobody opens a second one of the system's
            ("turnover", if account.is_system { told + "." } else { told + ": open another account." })
        }
        Limit::Held => (
            "held",
            format!("All that is held of the account {id}, or for it, must stay below 2^53 minor units."),
        ),
        Limit::Overdraft => (
            "overdraft",
            format!(
                "What the account {id} holds and its overdraft limit together must stay below 2^53 minor units: \
                 lower its overdraft limit."
            ),
        ),
    };
    ApiError::new(ErrorCode::AmountOutOfRange, message).with(json!({
        "accountId": account.typed, "limit": name, "amount": amount, "max": MAX_MINOR, "currency": account.currency,
    }))
}

/// Our fault.
pub(super) fn internal(why: &crate::error::Error) -> ApiError {
    tracing::error!(why = %why, "a value of the books cannot be shown");
    ApiError::new(ErrorCode::Internal, "Something broke in the daemon; its log has the cause.")
}

/// A word of the books.
pub(super) fn read<T: std::str::FromStr>(text: &str) -> std::result::Result<T, ApiError>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    text.parse().map_err(|why: T::Err| internal(&broken("a value of the books")(Box::new(why))))
}

/// Metadata as it is written.
pub(super) fn text_of(metadata: &bursar_shared::field::Metadata) -> std::result::Result<String, ApiError> {
    serde_json::to_string(metadata).map_err(|why| internal(&why.into()))
}
