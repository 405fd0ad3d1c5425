//! Transfers of money: requests and answers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::accounts::{AccountRef, Balances};
use crate::{
    decode::{Decode, Decoder, integer},
    error::ApiError,
    field::{BulkMode, ExternalId, Metadata, Note, Reason, TransferKind, TransferMode, TransferStatus},
    id::{AccountId, TransferId},
    money::{Amount, Currencies, Currency, exponents},
    operation::{Located, plain},
    page::{Field, Kind, Op, Resource},
    request,
    time::Timestamp,
};

/// How long a hold may wait at most: a year.
pub const LONGEST_HOLD: i64 = 366 * 86_400;

/// A movement of money from one account to another, or its promise.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Transfer {
    /// Its id.
    pub id: TransferId,
    /// What it does.
    pub kind: TransferKind,
    /// Where it stands.
    pub status: TransferStatus,
    /// For captures, voids, expiries and reversals: of which transfer.
    pub parent_id: Option<TransferId>,
    /// Whose money goes.
    pub from_account_id: AccountId,
    /// Whose money comes.
    pub to_account_id: AccountId,
    /// How much.
    pub amount: i64,
    /// Of what.
    pub currency: Currency,
    /// For holds: how much of it was captured.
    pub captured_amount: i64,
    /// How much of it was moved back.
    pub reversed_amount: i64,
    /// Why.
    pub reason: Option<Reason>,
    /// What for.
    pub description: Note,
    /// The caller's own id.
    pub external_id: Option<ExternalId>,
    /// Who did it; null for the daemon itself.
    pub actor_id: Option<String>,
    /// In which request.
    pub request_id: String,
    /// For holds: until when they can be captured; null for without end.
    pub expires_at: Option<Timestamp>,
    /// The caller's own facts.
    pub metadata: Metadata,
    /// When.
    pub created_at: Timestamp,
    /// In the answer to a write: what both accounts hold afterwards, the sender first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accounts: Option<Vec<AccountAfter>>,
}

/// What an account holds after a transfer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AccountAfter {
    /// Which account.
    pub id: AccountId,
    /// What it holds.
    pub balances: Balances,
    /// Its last entry.
    pub entry_seq: i64,
}

impl Resource for Transfer {
    const NAME: &'static str = "transfers";
    const FIELDS: &'static [Field] = &[
        Field::exact("status", Kind::Word(TransferStatus::WORDS)),
        Field::exact("kind", Kind::Word(TransferKind::WORDS)),
        Field { name: "accountId", kind: Kind::Id("acc"), ops: &[Op::Eq] },
        Field { name: "fromAccountId", kind: Kind::Id("acc"), ops: &[Op::Eq] },
        Field { name: "toAccountId", kind: Kind::Id("acc"), ops: &[Op::Eq] },
        Field { name: "parentId", kind: Kind::Id("trf"), ops: &[Op::Eq, Op::IsNull] },
        Field { name: "externalId", kind: Kind::Text, ops: &[Op::Eq, Op::In, Op::IsNull] },
        Field { name: "actorId", kind: Kind::Text, ops: &[Op::Eq] },
        Field { name: "currency", kind: Kind::Text, ops: &[Op::Eq, Op::In] },
        Field::range("amount", Kind::Money),
        Field::range("createdAt", Kind::Time),
    ];
    const SORTS: &'static [&'static str] = &["createdAt", "amount"];
    const SEARCHED: &'static str = "an exact id or external id, not at reasons or descriptions";

    fn id(&self) -> String {
        self.id.to_string()
    }

    fn currencies(&self) -> Vec<Currency> {
        vec![self.currency]
    }
}

impl Located for Transfer {
    fn path(&self) -> String {
        format!("/v1/transfers/{}", self.id)
    }
    fn currencies(&self) -> Currencies {
        exponents([self.currency])
    }
}

/// How many seconds a hold waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Seconds(pub i64);

impl Decode for Seconds {
    fn decode(value: &Value, at: &mut Decoder<'_>) -> Option<Self> {
        integer(value, at, 1, LONGEST_HOLD).map(Self)
    }
}

impl JsonSchema for Seconds {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Seconds".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "integer", "minimum": 1, "maximum": LONGEST_HOLD })
    }
}

request! {
    /// Moves money, or holds it. A system account on either side needs `ledger:issue`.
    pub struct CreateTransfer {
        /// Whose money goes: an account's id, or `world:EUR` and `revenue:EUR`, made when first named.
        pub from_account_id: AccountRef,
        /// Whose money comes.
        pub to_account_id: AccountRef,
        /// How much, in minor units.
        pub amount: Amount,
        /// Of what; both accounts must have it.
        pub currency: Currency,
        /// Move it now, or hold it; moved when absent.
        pub mode: Option<TransferMode>,
        /// For holds: after so many seconds the money is let go; never when absent.
        pub expires_in_seconds: Option<Seconds>,
        /// Why.
        pub reason: Option<Reason>,
        /// What for.
        pub description: Option<Note>,
        /// The caller's own id.
        pub external_id: Option<ExternalId>,
        /// The caller's own facts.
        pub metadata: Option<Metadata>,
    }
    read_only: ["id", "kind", "status", "parentId", "capturedAmount", "reversedAmount", "actorId", "requestId", "expiresAt", "createdAt"]
}

request! {
    /// Reads a transfer.
    pub struct GetTransfer {
        /// Which.
        pub id: TransferId,
    }
}

request! {
    /// Moves money that was held; the rest of the hold is let go.
    pub struct CaptureTransfer {
        /// Which hold.
        pub id: TransferId,
        /// How much of it; all when absent.
        pub amount: Option<Amount>,
    }
}

request! {
    /// Lets go of money that was held.
    pub struct VoidTransfer {
        /// Which hold.
        pub id: TransferId,
        /// Why.
        pub reason: Option<Reason>,
    }
}

request! {
    /// Moves the money of a transfer or a capture back.
    pub struct ReverseTransfer {
        /// Which.
        pub id: TransferId,
        /// How much of it; all that is left when absent.
        pub amount: Option<Amount>,
        /// Why.
        pub reason: Reason,
    }
}

request! {
    /// Up to 1000 transfers in one request, done in order: all or none, or each by itself.
    pub struct BatchTransfers {
        /// Whether one failure undoes all.
        pub mode: BulkMode,
        /// The body of a transfer each.
        pub items: Vec<Value>,
    }
}

/// What became of a batch, item by item.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BatchResult {
    /// In the order of the request.
    pub items: Vec<BatchOutcome>,
}

/// What became of one item.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BatchOutcome {
    /// Its place in the request, from 0.
    pub index: u32,
    /// The status that the single operation would have had.
    pub status: u16,
    /// The transfer, if it went well.
    pub data: Option<Transfer>,
    /// What went wrong, if something did.
    pub error: Option<ApiError>,
}

plain! {
    Transfer, currencies |transfer| exponents([transfer.currency]);
    BatchResult, currencies |result| exponents(result.items.iter().filter_map(|item| Some(item.data.as_ref()?.currency)));
}
