//! About the daemon itself: requests and answers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{error::ApiError, operation::plain, request};

request! {
    /// Figures for a first look.
    pub struct GetStats {}
}

/// Figures for a first look.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Stats {
    /// People by where they stand.
    pub users: UserStats,
    /// Live sessions.
    pub sessions_active: u64,
    /// The last row of the log.
    pub log_head: i64,
    /// Sign-ins an hour, oldest first, the last 24 hours.
    pub sign_ins_hourly: Vec<u64>,
    /// Failed sign-ins an hour, oldest first, the last 24 hours.
    pub failed_sign_ins_hourly: Vec<u64>,
    /// Changes an hour, oldest first, the last 24 hours.
    pub changes_hourly: Vec<u64>,
    /// Seconds since the daemon started.
    pub uptime_seconds: u64,
    /// `sqlite` or `postgres`.
    pub engine: String,
    /// The daemon's version.
    pub version: String,
}

/// People by where they stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UserStats {
    /// May sign in.
    pub active: u64,
    /// May not just now.
    pub suspended: u64,
    /// Deleted.
    pub deleted: u64,
    /// Created in the last seven days.
    pub created_last_week: u64,
}

request! {
    /// Which version is this?
    pub struct GetVersion {}
}

/// Which version this is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Version {
    /// The daemon's version.
    pub version: String,
    /// The API versions it speaks.
    pub api_versions: Vec<String>,
}

request! {
    /// What became of a request with this idempotency key.
    pub struct GetVerdict {
        /// The key, of the same caller.
        pub key: String,
    }
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Verdict {
    /// `unknown`: nothing was done under this key; `done`: the answer is below.
    pub state: VerdictState,
    /// The status that was answered.
    pub status: Option<u16>,
    /// The data that was answered.
    pub data: Option<Value>,
    /// The error that was answered.
    pub error: Option<ApiError>,
}

/// Whether a key has a verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum VerdictState {
    /// Nothing was done under this key.
    Unknown,
    /// It was done, or refused by a rule.
    Done,
}

plain! {
    Stats;
    Version;
    Verdict;
}
