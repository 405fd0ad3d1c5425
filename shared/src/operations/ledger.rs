//! The books as a whole: requests and answers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    money::{Currency, exponents},
    operation::plain,
    request,
    time::Timestamp,
};

request! {
    /// All money in and out, by currency; both sides are always the same.
    pub struct GetTrialBalance {}
}

/// All money in and out, by currency.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TrialBalance {
    /// By currency, in the order of their codes.
    pub currencies: Vec<CurrencyBalance>,
}

/// Both sides of a currency.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CurrencyBalance {
    /// Which.
    pub currency: Currency,
    /// Accounts that have it.
    pub accounts: u64,
    /// All money that went out of accounts.
    pub debits: i64,
    /// All money that came into accounts.
    pub credits: i64,
    /// All that is held.
    pub pending: i64,
    /// Credits minus debits, and what is held on one side only: always nothing.
    pub imbalance: i64,
}

request! {
    /// What came into the books and left them in the last 24 hours, hour by hour, by currency.
    pub struct GetFlows {}
}

/// What came into the books and left them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Flows {
    /// From this moment on.
    pub from: Timestamp,
    /// Until now.
    pub to: Timestamp,
    /// By currency, in the order of their codes.
    pub currencies: Vec<CurrencyFlow>,
}

/// What came in and went out of one currency: what moved from the account `world` and to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CurrencyFlow {
    /// Which.
    pub currency: Currency,
    /// All that came in.
    pub money_in: i64,
    /// All that went out.
    pub money_out: i64,
    /// What came in each hour, oldest first.
    pub money_in_hourly: Vec<i64>,
    /// What went out each hour, oldest first.
    pub money_out_hourly: Vec<i64>,
}

request! {
    /// Recomputes every account, transfer and entry, and compares. Repairs nothing.
    pub struct VerifyLedger {}
}

/// What recomputing the books came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LedgerReport {
    /// Whether everything fits.
    pub ok: bool,
    /// What was recomputed.
    pub checked: Checked,
    /// What does not fit, at most 100.
    pub problems: Vec<Problem>,
}

/// How much was recomputed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Checked {
    /// Accounts.
    pub accounts: u64,
    /// Transfers.
    pub transfers: u64,
    /// Entries.
    pub entries: u64,
}

/// Something in the books that does not fit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// Of an account `account_totals account_time account_counters account_funds account_limit account_frozen
    /// account_closed account_system`, of an entry `entry_chain entry_time entry_missing entry_beyond_account`,
    /// of a transfer `currency parent hold_state captured_amount captured_too_much reversed_amount
    /// reversed_too_much transfer_accounts transfer_amount transfer_unlogged` (no event says so, or more than one,
    /// or another thing), `event_without_transfer` of what only the log knows, or `imbalance`.
    pub kind: String,
    /// What it is about: an account, a transfer, an entry as `account/seq`, or a currency.
    pub id: String,
    /// What it should be.
    pub expected: String,
    /// What it is.
    pub actual: String,
}

plain! {
    TrialBalance, currencies |balance| exponents(balance.currencies.iter().map(|one| one.currency));
    Flows, currencies |flows| exponents(flows.currencies.iter().map(|one| one.currency));
    LedgerReport;
}
