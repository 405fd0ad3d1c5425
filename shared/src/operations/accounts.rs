//! Accounts, their balances and entries: requests and answers.

use std::{fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use crate::{
    decode::{Change, Decode, Decoder},
    field::{
        AccountStatus, ExternalId, Fault, Metadata, MetadataPatch, Name, Note, Reason, Side, SystemKey,
        TransferKind,
    },
    id::{AccountId, TransferId, UserId},
    money::{Currencies, Currency, Limit, exponents},
    operation::{Located, plain},
    page::{Field, Holds, Kind, Op, Resource, Sort, Within},
    request,
    text::csv_cell,
    time::{TimeExpr, Timestamp},
};

/// An account, by its id or as `world:EUR`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AccountRef {
    /// By its id.
    Id(AccountId),
    /// A system account, made by the first write that names it.
    System(SystemKey, Currency),
}

impl From<AccountId> for AccountRef {
    fn from(id: AccountId) -> Self {
        Self::Id(id)
    }
}

impl fmt::Display for AccountRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => id.fmt(f),
            Self::System(key, currency) => write!(f, "{key}:{currency}"),
        }
    }
}

impl FromStr for AccountRef {
    type Err = Fault;
    fn from_str(text: &str) -> Result<Self, Fault> {
        if let Some((key, currency)) = text.split_once(':')
            && let (Ok(key), Ok(currency)) = (key.parse(), currency.parse())
        {
            return Ok(Self::System(key, currency));
        }
        text.parse().map(Self::Id).map_err(|wrong: crate::id::IdError| Fault {
            rule: "id_type",
            message: format!("{wrong}, or a system account like world:EUR"),
        })
    }
}

impl Serialize for AccountRef {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for AccountRef {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(from)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl Decode for AccountRef {
    fn decode(value: &Value, at: &mut Decoder<'_>) -> Option<Self> {
        let text = at.text(value)?;
        text.parse().map_err(|wrong: Fault| at.fail(wrong.rule, wrong.message)).ok()
    }
}

impl JsonSchema for AccountRef {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "AccountRef".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^(acc_[0-7][0-9a-hjkmnp-tv-z]{25}|(world|revenue):[A-Z]{3})$",
            "examples": ["acc_01j9zq3v5tf8c8m1k2n3p4q5r6", "world:EUR"],
        })
    }
}

/// What an account holds, in minor units. All accounts of a currency always sum to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Balances {
    /// Money in minus money out.
    pub posted: i64,
    /// What others hold for it.
    pub pending_in: i64,
    /// What is held of it.
    pub pending_out: i64,
    /// What can go out: posted - pendingOut + overdraftLimit; null when unlimited, nothing once it is closed. In a
    /// balance or statement of the past: what could go out then if the limit had been that of today.
    pub available: Option<i64>,
}

/// Money of one currency, owned by somebody or by the books themselves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Account {
    /// Its id.
    pub id: AccountId,
    /// Its number, for people.
    pub number: i64,
    /// The name.
    pub name: Name,
    /// Whose it is; null for system accounts and those of nobody.
    pub owner_id: Option<UserId>,
    /// For system accounts: what it stands for.
    pub system_key: Option<SystemKey>,
    /// Its currency.
    pub currency: Currency,
    /// Where it stands.
    pub status: AccountStatus,
    /// How far it may go below nothing; null when without end.
    pub overdraft_limit: Option<Limit>,
    /// How much it may hold, money held for it included; null when without end.
    pub max_balance: Option<Limit>,
    /// What it holds.
    pub balances: Balances,
    /// Its last entry.
    pub entry_seq: i64,
    /// The caller's own id.
    pub external_id: Option<ExternalId>,
    /// The caller's own facts.
    pub metadata: Metadata,
    /// Raised by every edit and change of state; not by money that moves.
    pub version: i64,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was last edited.
    pub updated_at: Timestamp,
}

impl Resource for Account {
    const NAME: &'static str = "accounts";
    const FIELDS: &'static [Field] = &[
        Field::exact("status", Kind::Word(AccountStatus::WORDS)),
        Field { name: "ownerId", kind: Kind::Id("usr"), ops: &[Op::Eq, Op::In, Op::IsNull] },
        Field { name: "currency", kind: Kind::Text, ops: &[Op::Eq, Op::In] },
        Field { name: "systemKey", kind: Kind::Word(SystemKey::WORDS), ops: &[Op::Eq, Op::In, Op::IsNull] },
        Field::prefix("name"),
        Field { name: "externalId", kind: Kind::Text, ops: &[Op::Eq, Op::In, Op::IsNull] },
        Field::range("number", Kind::Integer),
        Field::range("createdAt", Kind::Time),
    ];
    const SORTS: &'static [&'static str] = &["createdAt", "number", "name"];
    const SEARCHED: &'static str = "an exact id, number or system account, else at how the name begins";

    fn id(&self) -> String {
        self.id.to_string()
    }

    fn currencies(&self) -> Vec<Currency> {
        vec![self.currency]
    }
}

impl Located for Account {
    fn path(&self) -> String {
        format!("/v1/accounts/{}", self.id)
    }
    fn currencies(&self) -> Currencies {
        exponents([self.currency])
    }
}

impl Account {
    /// The entity tag: the version, and the last entry, which changes without an edit.
    pub fn etag(&self) -> String {
        format!("\"{}-{}\"", self.version, self.entry_seq)
    }
}

request! {
    /// Opens an account.
    pub struct CreateAccount {
        /// The name.
        pub name: Name,
        /// Its currency, for ever.
        pub currency: Currency,
        /// Whose it is, for ever; of nobody when absent.
        pub owner_id: Option<UserId>,
        /// How far it may go below nothing; not at all when absent, without end when null. Needs `accounts:limits`.
        pub overdraft_limit: Change<Option<Limit>>,
        /// How much it may hold; without end when absent. Needs `accounts:limits`.
        pub max_balance: Option<Limit>,
        /// The caller's own id.
        pub external_id: Option<ExternalId>,
        /// The caller's own facts.
        pub metadata: Option<Metadata>,
    }
    read_only: ["id", "number", "systemKey", "status", "balances", "entrySeq", "version", "createdAt", "updatedAt"]
}

request! {
    /// Reads an account.
    pub struct GetAccount {
        /// Which: an id, or a system account like `world:EUR`.
        pub id: AccountRef,
    }
}

request! {
    /// Edits an account: absent members stay as they are, null clears. Limits need `accounts:limits`.
    pub struct UpdateAccount {
        /// Which.
        pub id: AccountRef,
        /// The new name.
        pub name: Change<Name>,
        /// How far it may go below nothing; null for without end.
        pub overdraft_limit: Change<Option<Limit>>,
        /// How much it may hold; null for without end.
        pub max_balance: Change<Option<Limit>>,
        /// The caller's own id.
        pub external_id: Change<Option<ExternalId>>,
        /// Facts to set; null takes one out.
        pub metadata: Change<MetadataPatch>,
    }
    read_only: ["number", "ownerId", "systemKey", "currency", "status", "balances", "entrySeq", "version", "createdAt", "updatedAt"]
}

request! {
    /// Freezes an account: money may come in, nothing goes out, not even what was held.
    pub struct FreezeAccount {
        /// Which.
        pub id: AccountRef,
        /// Why; kept in the log.
        pub reason: Option<Reason>,
    }
}

request! {
    /// Lets money go out of a frozen account again.
    pub struct UnfreezeAccount {
        /// Which.
        pub id: AccountRef,
        /// Why; kept in the log.
        pub reason: Option<Reason>,
    }
}

request! {
    /// Closes an account for ever. It must be empty, or name where its money goes.
    pub struct CloseAccount {
        /// Which.
        pub id: AccountRef,
        /// Where its money goes, or where a debt is paid from.
        pub sweep_to_account_id: Option<AccountRef>,
        /// What it holds, in minor units: when it holds anything else by then, nothing is done. Money that
        /// moves changes no version, so `If-Match` does not see it.
        pub expected_balance: Option<i64>,
        /// Why; kept in the log.
        pub reason: Option<Reason>,
    }
}

request! {
    /// What an account held at some time; now, when none is given.
    pub struct GetBalance {
        /// Which.
        pub id: AccountRef,
        /// When: what moved at that very moment counts. Not in the future.
        pub as_of: Option<TimeExpr>,
    }
}

/// What an account held at some time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Balance {
    /// Which account.
    pub account_id: AccountId,
    /// When.
    pub as_of: Timestamp,
    /// Its currency.
    pub currency: Currency,
    /// What it held; `available` by the limit of today, since older limits are only in the log.
    pub balances: Balances,
    /// Its last entry by then.
    pub entry_seq: i64,
}

/// One line of an account: what a transfer did to it, and what it held afterwards.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// Which account.
    pub account_id: AccountId,
    /// Its place among the account's entries, from 1 without gaps.
    pub seq: i64,
    /// The transfer it comes from.
    pub transfer_id: TransferId,
    /// What the transfer does.
    pub kind: TransferKind,
    /// Money out or in.
    pub side: Side,
    /// The other account of the transfer.
    pub counterparty_id: AccountId,
    /// The amount of the transfer.
    pub amount: i64,
    /// What it added to `posted`: holds, voids and expiries add nothing.
    pub change: i64,
    /// Money in minus money out, after it.
    pub posted: i64,
    /// What was held of the account, after it.
    pub pending_out: i64,
    /// What was held for the account, after it.
    pub pending_in: i64,
    /// The account's currency.
    pub currency: Currency,
    /// Why the money moved.
    pub reason: Option<Reason>,
    /// What for.
    pub description: Note,
    /// When; every entry of an account is later than the one before.
    pub created_at: Timestamp,
}

impl Resource for Entry {
    const NAME: &'static str = "entries";
    const FIELDS: &'static [Field] = &[
        Field::exact("side", Kind::Word(Side::WORDS)),
        Field::exact("kind", Kind::Word(TransferKind::WORDS)),
        Field::range("createdAt", Kind::Time),
    ];
    const SORTS: &'static [&'static str] = &["seq"];
    const DEFAULT_SORT: Sort = Sort { key: "seq", descending: true };

    fn id(&self) -> String {
        self.seq.to_string()
    }

    fn currencies(&self) -> Vec<Currency> {
        vec![self.currency]
    }
}

/// The entries of an account, the newest first, with running totals.
pub type ListEntries = Within<AccountRef, Entry>;

impl Holds<Entry> for AccountRef {
    const ABOUT: &'static str = "The entries of an account, the newest first, with what it held after each.";
}

request! {
    /// An account from one time to another: opening + entries = closing. As `text/csv` for whoever accepts that.
    pub struct GetStatement {
        /// Which.
        pub id: AccountRef,
        /// From this moment on.
        pub from: TimeExpr,
        /// Until just before this one.
        pub to: TimeExpr,
    }
}

/// An account from one time to another, at most 10,000 entries.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Statement {
    /// Which account.
    pub account_id: AccountId,
    /// Its currency.
    pub currency: Currency,
    /// From this moment on.
    pub from: Timestamp,
    /// Until just before this one.
    pub to: Timestamp,
    /// What it held before.
    pub opening: Balances,
    /// What happened, oldest first.
    pub entries: Vec<Entry>,
    /// What it held afterwards.
    pub closing: Balances,
}

impl Statement {
    /// A line an entry, opening and closing around them; money in minor units, as everywhere on the wire.
    pub fn csv(&self) -> String {
        use fmt::Write;
        let mut out = String::from(
            "time,seq,transfer,kind,side,amount,change,posted,currency,counterparty,reason,description\r\n",
        );
        let currency = self.currency;
        // writing to a string cannot fail
        let _ = write!(out, "{},,,opening,,,,{},{currency},,,\r\n", self.from, self.opening.posted);
        for entry in &self.entries {
            let Entry { created_at, seq, transfer_id, kind, side, amount, change, posted, .. } = entry;
            let reason = csv_cell(entry.reason.as_ref().map_or("", Reason::as_str));
            let (counterparty, description) = (entry.counterparty_id, csv_cell(entry.description.as_str()));
            let _ = write!(
                out,
                "{created_at},{seq},{transfer_id},{kind},{side},{amount},{change},{posted},{currency},{counterparty},{reason},{description}\r\n"
            );
        }
        let _ = write!(out, "{},,,closing,,,,{},{currency},,,\r\n", self.to, self.closing.posted);
        out
    }
}

plain! {
    Account, etag Account::etag, currencies |account| exponents([account.currency]);
    Balance, currencies |balance| exponents([balance.currency]);
    Statement, currencies |statement| exponents([statement.currency]), csv Statement::csv;
}
