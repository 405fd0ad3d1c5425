//! What callers are told when money does not move.

use bursar_shared::{
    error::{ApiError, ErrorCode},
    permission::Permission,
    time::Timestamp,
};
use serde_json::json;

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
pub(super) fn not_pending(row: &transfers::Row, message: &str) -> ApiError {
    let expires = row.expires_at.map(Timestamp::from_micros);
    ApiError::new(ErrorCode::HoldNotPending, message)
        .with(json!({ "kind": row.kind, "status": row.status, "expiresAt": expires }))
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
