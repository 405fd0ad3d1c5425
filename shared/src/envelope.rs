//! The envelope around every answer: `{data, error, meta}`, always all three.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    error::ApiError,
    money::Currencies,
    page::{Included, Pagination},
    time::Timestamp,
};

/// An answer: data or an error, never both.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Envelope<T> {
    /// What was asked for; null when there is an error or nothing to say.
    pub data: Option<T>,
    /// What went wrong; null when nothing did.
    pub error: Option<ApiError>,
    /// About the answer.
    pub meta: Meta,
}

/// About an answer.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Meta {
    /// When it was made.
    pub timestamp: Timestamp,
    /// What the log calls the request.
    pub request_id: String,
    /// Lists only: where the page lies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pagination: Option<Pagination>,
    /// Lists with includes only: what was left out.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub included: BTreeMap<String, Included>,
    /// Where money appears: how many digits stand behind the decimal point of each currency.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub currencies: Currencies,
    /// True when nothing was really changed.
    #[serde(default, skip_serializing_if = "is_false")]
    pub dry_run: bool,
    /// True when this answer was given before, to the same idempotency key.
    #[serde(default, skip_serializing_if = "is_false")]
    pub replayed: bool,
}

fn is_false(value: &bool) -> bool {
    !*value
}

impl Meta {
    /// The least there is to say.
    pub fn new(timestamp: Timestamp, request_id: String) -> Self {
        Self {
            timestamp,
            request_id,
            pagination: None,
            included: BTreeMap::new(),
            currencies: Currencies::new(),
            dry_run: false,
            replayed: false,
        }
    }
}
