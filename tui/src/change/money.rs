//! Changes about money, as data: what moves or is held, what becomes of an account, how it is undone.

use bursar_shared::{
    field::{Reason, TransferMode},
    money::{Amount, Currency, Limit},
    operations::{
        accounts::{Account, AccountRef, CreateAccount, UpdateAccount},
        transfers::{CreateTransfer, Transfer},
    },
};
use serde_json::Value;

use super::{Change, Edited, Effect, old, old_facts, shell};
use crate::text::amount;

/// A change about money.
#[derive(Debug, Clone, PartialEq)]
pub enum Deed {
    /// Money moves, or is held; both accounts as they were called when they were chosen.
    Post(Box<CreateTransfer>, [String; 2]),
    /// Money that is held moves: so much of it, or all.
    Capture(Box<Transfer>, Option<Amount>),
    /// Money that is held is let go.
    Void(Box<Transfer>, Option<Reason>),
    /// Money moves back: so much of it, or all that is left.
    Reverse(Box<Transfer>, Option<Amount>, Reason),
    /// An account is opened; whose it is, as they are called.
    Open(Box<CreateAccount>, Option<String>),
    /// An account is edited.
    Edit(Box<Account>, Box<UpdateAccount>),
    /// Nothing goes out of an account any more.
    Freeze(Box<Account>, Option<Reason>),
    /// Money goes out of it again.
    Unfreeze(Box<Account>, Option<Reason>),
    /// An account is closed for ever; what it holds goes there, and what that is called.
    Close(Box<Account>, Option<(AccountRef, String)>, Option<Reason>),
}

/// What moving money does, or did.
#[derive(Debug, Clone)]
pub struct Moved {
    /// The transfer, with what both accounts hold afterwards.
    pub transfer: Transfer,
    /// The accounts as they were read before: those that were there.
    pub before: Vec<Account>,
}

impl Deed {
    /// What is asked.
    pub fn question(&self) -> String {
        match self {
            Self::Post(op, _) if op.mode == Some(TransferMode::Hold) => format!("Hold {}?", self.sum()),
            Self::Post(..) => format!("Move {}?", self.sum()),
            Self::Capture(..) => format!("Capture {}?", self.sum()),
            Self::Void(..) => format!("Let go of {}?", self.sum()),
            Self::Reverse(..) => format!("Move {} back?", self.sum()),
            Self::Open(..) => "Open this account?".to_owned(),
            Self::Edit(..) => "Save these changes?".to_owned(),
            Self::Freeze(..) => "Freeze this account?".to_owned(),
            Self::Unfreeze(..) => "Unfreeze this account?".to_owned(),
            Self::Close(..) => "Close this account for ever?".to_owned(),
        }
    }

    /// What the button says.
    pub const fn button(&self) -> &'static str {
        match self {
            Self::Post(..) if self.holds() => "Hold",
            Self::Post(..) => "Move",
            Self::Capture(..) => "Capture",
            Self::Void(..) => "Let go",
            Self::Reverse(..) => "Move back",
            Self::Open(..) => "Open",
            Self::Edit(..) => "Save",
            Self::Freeze(..) => "Freeze",
            Self::Unfreeze(..) => "Unfreeze",
            Self::Close(..) => "Close",
        }
    }

    /// What was done, before the name of what it was done to.
    pub const fn done(&self) -> &'static str {
        match self {
            Self::Post(..) if self.holds() => "held",
            Self::Post(..) => "moved",
            Self::Capture(..) => "captured",
            Self::Void(..) => "let go of",
            Self::Reverse(..) => "moved back",
            Self::Open(..) => "opened",
            Self::Edit(..) => "saved",
            Self::Freeze(..) => "froze",
            Self::Unfreeze(..) => "unfroze",
            Self::Close(..) => "closed",
        }
    }

    /// How it is undone, with names of actions for their keys; begins with `none` when it is not.
    pub const fn undo(&self) -> &'static str {
        match self {
            Self::Post(..) if self.holds() => "{app.undo} lets it go again, while nobody captures it",
            Self::Post(..) | Self::Capture(..) => {
                "none: a reversal ({transfer.reverse}) moves it back, as a transfer of its own that both accounts show"
            }
            Self::Void(..) => "none: a hold ends once; hold the money anew",
            Self::Reverse(..) => "none: a reversal is not reversed; move the money again",
            Self::Open(..) => "{app.undo} closes it again, while it is empty",
            Self::Edit(..) => "{app.undo} puts the old values back, while nobody else saves",
            Self::Freeze(..) => "{app.undo} unfreezes it again",
            Self::Unfreeze(..) => "{app.undo} freezes it again",
            Self::Close(..) => "none: what is closed stays closed",
        }
    }

    const fn holds(&self) -> bool {
        matches!(self, Self::Post(op, _) if matches!(op.mode, Some(TransferMode::Hold)))
    }

    /// Whether a reason is asked for in the review; some have it in their form.
    pub const fn takes_reason(&self) -> bool {
        matches!(self, Self::Void(..) | Self::Freeze(..) | Self::Unfreeze(..) | Self::Close(..))
    }

    /// The same for this reason.
    #[must_use]
    pub fn because(self, reason: Option<Reason>) -> Self {
        match self {
            Self::Void(hold, _) => Self::Void(hold, reason),
            Self::Freeze(account, _) => Self::Freeze(account, reason),
            Self::Unfreeze(account, _) => Self::Unfreeze(account, reason),
            Self::Close(account, sweep, _) => Self::Close(account, sweep, reason),
            other => other,
        }
    }

    /// What moves or is held, and is to be typed before it does.
    pub fn amount(&self) -> Option<(Currency, i64)> {
        match self {
            Self::Post(op, _) => Some((op.currency, op.amount.minor())),
            Self::Capture(hold, part) => Some((hold.currency, part.map_or(hold.amount, Amount::minor))),
            Self::Reverse(of, part, _) => {
                let left = of.amount - of.reversed_amount;
                Some((of.currency, part.map_or(left, Amount::minor)))
            }
            Self::Close(account, ..) => {
                let swept = self.swept().filter(|posted| *posted != 0)?;
                Some((account.currency, swept.abs()))
            }
            _ => None,
        }
    }

    /// What an account holds that is closed and whose money goes elsewhere, as it was last read: so much,
    /// and no other amount, is what the person agreed to.
    pub const fn swept(&self) -> Option<i64> {
        match self {
            Self::Close(account, Some(_), _) => Some(account.balances.posted),
            _ => None,
        }
    }

    /// What it is about in money: `12.50 EUR`.
    fn sum(&self) -> String {
        let of = match self {
            Self::Void(hold, _) => Some((hold.currency, hold.amount)),
            _ => self.amount(),
        };
        of.map_or_else(String::new, |(currency, minor)| format!("{} {currency}", amount(currency, minor)))
    }

    /// The account that it changes, with its version; transfers have none.
    pub fn account(&self) -> Option<&Account> {
        match self {
            Self::Edit(account, _)
            | Self::Freeze(account, _)
            | Self::Unfreeze(account, _)
            | Self::Close(account, ..) => Some(account),
            _ => None,
        }
    }

    /// The same about another copy of the account.
    #[must_use]
    pub fn onto(self, theirs: Account) -> Self {
        let theirs = Box::new(theirs);
        match self {
            Self::Edit(_, op) => Self::Edit(theirs, op),
            Self::Freeze(_, reason) => Self::Freeze(theirs, reason),
            Self::Unfreeze(_, reason) => Self::Unfreeze(theirs, reason),
            Self::Close(_, sweep, reason) => Self::Close(theirs, sweep, reason),
            other => other,
        }
    }

    /// The two accounts between which money moves, the sender first.
    pub fn sides(&self) -> Option<[AccountRef; 2]> {
        let (from, to) = match self {
            Self::Post(op, _) => return Some([op.from_account_id, op.to_account_id]),
            Self::Capture(of, _) | Self::Void(of, _) => (of.from_account_id, of.to_account_id),
            Self::Reverse(of, ..) => (of.to_account_id, of.from_account_id),
            _ => return None,
        };
        Some([from.into(), to.into()])
    }

    /// What it is called: the money and its way, or the account.
    pub fn called(&self, name: impl Fn(AccountRef) -> String, arrow: &str) -> String {
        match (self, self.account()) {
            (Self::Open(op, _), _) => op.name.to_string(),
            (_, Some(account)) => crate::screens::money::label(account),
            (Self::Post(_, [from, to]), _) => format!("{}: {from} {arrow} {to}", self.sum()),
            _ => {
                let [from, to] = self.sides().map_or_else(Default::default, |sides| sides.map(name));
                format!("{}: {from} {arrow} {to}", self.sum())
            }
        }
    }

    /// The same as a command.
    pub fn command(&self) -> String {
        let part = |currency: Currency, part: &Option<Amount>| {
            part.map_or_else(String::new, |part| format!(" --amount {}", currency.decimal(part.minor())))
        };
        let because = |reason: &Option<Reason>| {
            reason.as_ref().map_or_else(String::new, |reason| format!(" --reason {}", shell(reason.as_str())))
        };
        match self {
            Self::Post(op, _) => post_command(op),
            Self::Capture(hold, amount) => {
                format!("bursar transfers capture {}{}", hold.id, part(hold.currency, amount))
            }
            Self::Void(hold, reason) => format!("bursar transfers void {}{}", hold.id, because(reason)),
            Self::Reverse(of, amount, reason) => {
                let reason = shell(reason.as_str());
                let amount = part(of.currency, amount);
                format!("bursar transfers reverse {}{amount} --reason {reason}", of.id)
            }
            Self::Open(op, _) => open_command(op),
            Self::Edit(account, op) => edit_command(account, op),
            Self::Freeze(account, reason) => {
                format!("bursar accounts freeze {}{}", account.id, because(reason))
            }
            Self::Unfreeze(account, reason) => {
                format!("bursar accounts unfreeze {}{}", account.id, because(reason))
            }
            Self::Close(account, sweep, reason) => {
                let sweep = sweep.as_ref().map_or_else(String::new, |(to, _)| format!(" --sweep-to {to}"));
                format!("bursar accounts close {}{sweep}{}", account.id, because(reason))
            }
        }
    }

    /// The change that takes this one back, if one does. Money that moved is never taken back: a reversal
    /// is a movement of its own, and is offered as what it is.
    pub fn reverse(&self, effect: &Effect) -> Option<(Change, Option<i64>)> {
        let (back, version) = match (self, effect) {
            (Self::Post(..), Effect::Moved(moved)) if self.holds() => {
                (Self::Void(Box::new(moved.transfer.clone()), None), None)
            }
            (Self::Open(..), Effect::Account(account)) => {
                (Self::Close(account.clone(), None, None), Some(account.version))
            }
            (Self::Edit(before, op), Effect::Account(after)) => {
                let op = unedit(op, before);
                (Self::Edit(after.clone(), Box::new(op)), Some(after.version))
            }
            (Self::Freeze(..), Effect::Account(after)) => {
                (Self::Unfreeze(after.clone(), None), Some(after.version))
            }
            (Self::Unfreeze(..), Effect::Account(after)) => {
                (Self::Freeze(after.clone(), None), Some(after.version))
            }
            _ => return None,
        };
        Some((Change::Money(Box::new(back)), version))
    }

    /// What it did, from the answer that the daemon kept.
    pub fn read(&self, data: Value) -> Option<Effect> {
        if self.sides().is_some() {
            let transfer = serde_json::from_value(data).ok()?;
            return Some(Effect::Moved(Box::new(Moved { transfer, before: Vec::new() })));
        }
        serde_json::from_value(data).ok().map(Box::new).map(Effect::Account)
    }

    /// What differs, member by member: its name, before, after.
    pub fn differences(&self) -> Vec<(String, Option<String>, Option<String>)> {
        match self {
            Self::Open(op, owner) => opened(op, owner.as_deref()),
            Self::Edit(before, op) => edited(op, before),
            _ => Vec::new(),
        }
    }
}

fn limit(currency: Currency, limit: Option<Limit>) -> String {
    limit.map_or_else(
        || "without end".to_owned(),
        |limit| format!("{} {currency}", amount(currency, limit.minor())),
    )
}

fn opened(op: &CreateAccount, owner: Option<&str>) -> Vec<(String, Option<String>, Option<String>)> {
    let mut rows = vec![
        ("name".to_owned(), None, Some(op.name.to_string())),
        ("currency".to_owned(), None, Some(format!("{}, for ever", op.currency))),
    ];
    let owner = owner.map_or_else(|| "nobody".to_owned(), str::to_owned);
    rows.push(("owner".to_owned(), None, Some(format!("{owner}, for ever"))));
    if let Some(overdraft) = op.overdraft_limit.value() {
        rows.push(("overdraft".to_owned(), None, Some(limit(op.currency, *overdraft))));
    }
    if op.max_balance.is_some() {
        rows.push(("at most".to_owned(), None, Some(limit(op.currency, op.max_balance))));
    }
    rows.extend(op.external_id.as_ref().map(|id| ("external id".to_owned(), None, Some(id.to_string()))));
    let metadata = op.metadata.iter().flat_map(|metadata| &metadata.0);
    rows.extend(metadata.map(|(key, value)| (key.clone(), None, Some(value.clone()))));
    rows
}

fn edited(op: &UpdateAccount, before: &Account) -> Vec<(String, Option<String>, Option<String>)> {
    let mut rows = Edited::default();
    let currency = before.currency;
    if let Some(name) = op.name.value() {
        rows.row("name", Some(before.name.to_string()), Some(name.to_string()));
    }
    if let Some(now) = op.overdraft_limit.value() {
        rows.row("overdraft", Some(limit(currency, before.overdraft_limit)), Some(limit(currency, *now)));
    }
    if let Some(now) = op.max_balance.value() {
        rows.row("at most", Some(limit(currency, before.max_balance)), Some(limit(currency, *now)));
    }
    rows.kept((&before.external_id, &before.metadata), &op.external_id, &op.metadata);
    rows.0
}

/// The edit that puts back what another one changed.
fn unedit(edit: &UpdateAccount, before: &Account) -> UpdateAccount {
    UpdateAccount {
        id: edit.id,
        name: old(&edit.name, before.name.clone()),
        overdraft_limit: old(&edit.overdraft_limit, before.overdraft_limit),
        max_balance: old(&edit.max_balance, before.max_balance),
        external_id: old(&edit.external_id, before.external_id.clone()),
        metadata: old_facts(&edit.metadata, &before.metadata),
    }
}

fn post_command(op: &CreateTransfer) -> String {
    let mut line = format!(
        "bursar transfers create --from {} --to {} --amount {} --currency {}",
        op.from_account_id,
        op.to_account_id,
        op.currency.decimal(op.amount.minor()),
        op.currency
    );
    if op.mode == Some(TransferMode::Hold) {
        line.push_str(" --hold");
    }
    if let Some(seconds) = op.expires_in_seconds {
        line.push_str(&format!(" --expires-in {}", seconds.0));
    }
    if let Some(reason) = &op.reason {
        line.push_str(&format!(" --reason {}", shell(reason.as_str())));
    }
    if let Some(text) = &op.description {
        line.push_str(&format!(" --description {}", shell(text.as_str())));
    }
    if let Some(id) = &op.external_id {
        line.push_str(&format!(" --external-id {}", shell(id.as_str())));
    }
    line
}

/// A limit as a flag takes it.
fn flag(name: &str, currency: Currency, limit: Option<Limit>) -> String {
    let value = limit.map_or_else(|| "none".to_owned(), |limit| currency.decimal(limit.minor()));
    format!(" --{name} {value}")
}

fn open_command(op: &CreateAccount) -> String {
    let mut line =
        format!("bursar accounts create --name {} --currency {}", shell(op.name.as_str()), op.currency);
    if let Some(owner) = op.owner_id {
        line.push_str(&format!(" --owner {owner}"));
    }
    if let Some(limit) = op.overdraft_limit.value() {
        line.push_str(&flag("overdraft-limit", op.currency, *limit));
    }
    if op.max_balance.is_some() {
        line.push_str(&flag("max-balance", op.currency, op.max_balance));
    }
    if let Some(id) = &op.external_id {
        line.push_str(&format!(" --external-id {}", shell(id.as_str())));
    }
    for (key, value) in op.metadata.iter().flat_map(|metadata| &metadata.0) {
        line.push_str(&format!(" --metadata {}", shell(&format!("{key}={value}"))));
    }
    line
}

fn edit_command(account: &Account, op: &UpdateAccount) -> String {
    let mut line = format!("bursar accounts update {}", op.id);
    if let Some(name) = op.name.value() {
        line.push_str(&format!(" --name {}", shell(name.as_str())));
    }
    if let Some(limit) = op.overdraft_limit.value() {
        line.push_str(&flag("overdraft-limit", account.currency, *limit));
    }
    if let Some(limit) = op.max_balance.value() {
        line.push_str(&flag("max-balance", account.currency, *limit));
    }
    match op.external_id.value() {
        Some(Some(id)) => line.push_str(&format!(" --external-id {}", shell(id.as_str()))),
        Some(None) => line.push_str(" --no-external-id"),
        None => {}
    }
    for (key, value) in op.metadata.value().iter().flat_map(|patch| &patch.0) {
        match value {
            Some(value) => line.push_str(&format!(" --metadata {}", shell(&format!("{key}={value}")))),
            None => line.push_str(&format!(" --no-metadata {}", shell(key))),
        }
    }
    line
}
