//! The touched part of the books, in memory: what commands do to it, and by which rules.

use std::collections::{BTreeSet, HashMap};

use bursar_shared::{
    error::{ApiError, ErrorCode},
    field::{AccountStatus, SystemKey, TransferKind, TransferMode, TransferStatus},
    id::{AccountId, TransferId},
    money::{Currency, MAX_MINOR},
    operations::{
        accounts::AccountRef,
        transfers::{AccountAfter, CreateTransfer},
    },
    time::Timestamp,
};
use serde_json::json;

use super::{
    Command, Verdict, What, store, told,
    told::{Limit, forbidden, internal, missing, not_pending, read, text_of},
};
use crate::{
    clock::AGREED,
    db::Conn,
    error::Result,
    log::{Draft, Row as LogRow, Stamp},
    repositories::{
        accounts::{self, balances},
        entries, transfers,
    },
};

/// An account whose money moves.
#[derive(Debug, Clone)]
pub(super) struct Account {
    pub(super) id: String,
    pub(super) typed: AccountId,
    pub(super) currency: Currency,
    pub(super) is_system: bool,
    pub(super) status: AccountStatus,
    pub(super) overdraft_limit: Option<i64>,
    pub(super) max_balance: Option<i64>,
    pub(super) debits_posted: i64,
    pub(super) credits_posted: i64,
    pub(super) debits_pending: i64,
    pub(super) credits_pending: i64,
    pub(super) entry_seq: i64,
    pub(super) moved_at: i64,
    pub(super) moved: bool,
}

impl Account {
    /// A system account before its first money.
    fn unopened(row: &accounts::Row, typed: AccountId, currency: Currency) -> Self {
        Self {
            id: row.id.clone(),
            typed,
            currency,
            is_system: true,
            status: AccountStatus::Active,
            overdraft_limit: row.overdraft_limit,
            max_balance: row.max_balance,
            debits_posted: 0,
            credits_posted: 0,
            debits_pending: 0,
            credits_pending: 0,
            entry_seq: 0,
            moved_at: 0,
            moved: false,
        }
    }

    /// Whether all that could ever be available can be counted.
    fn counts(&self) -> bool {
        self.overdraft_limit.is_none_or(|limit| self.credits_posted - self.debits_posted + limit <= MAX_MINOR)
    }

    fn available(&self) -> Option<i64> {
        self.overdraft_limit
            .map(|limit| self.credits_posted - self.debits_posted - self.debits_pending + limit)
    }

    fn after(&self) -> AccountAfter {
        AccountAfter {
            id: self.typed,
            balances: balances(
                self.debits_posted,
                self.credits_posted,
                self.debits_pending,
                self.credits_pending,
                self.overdraft_limit,
            ),
            entry_seq: self.entry_seq,
        }
    }

    fn entry(&self, transfer: &str, side: &str, amount: i64) -> entries::Row {
        entries::Row {
            account_id: self.id.clone(),
            seq: self.entry_seq,
            transfer_id: transfer.to_owned(),
            side: side.to_owned(),
            amount,
            debits_posted: self.debits_posted,
            credits_posted: self.credits_posted,
            debits_pending: self.debits_pending,
            credits_pending: self.credits_pending,
            created_at: self.moved_at,
        }
    }
}

/// A transfer that others refer to, as it stands now.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) row: transfers::Row,
    pub(super) changed: bool,
}

/// What a transfer does to both accounts.
#[derive(Debug, Clone, Copy)]
struct Effect {
    kind: TransferKind,
    /// What the transfer is about.
    amount: i64,
    /// What moves.
    post: i64,
    /// What is held more, or less.
    hold: i64,
}

/// A system account that is not there yet: written if money moves, under whose name.
struct Unopened {
    key: SystemKey,
    currency: Currency,
    id: AccountId,
    stamp: Stamp,
}

/// The touched part of the books.
pub(super) struct Books {
    now: Timestamp,
    accounts: HashMap<String, Account>,
    system: HashMap<AccountRef, String>,
    unopened: Vec<Unopened>,
    known: HashMap<String, Known>,
    taken: BTreeSet<String>,
    transfers: Vec<transfers::Row>,
    entries: Vec<entries::Row>,
}

impl Books {
    /// Takes what these commands touch. On PostgreSQL accounts are held in the order of their ids, and
    /// before them, where a system account is missing, the right to open one.
    pub(super) fn open(conn: &mut Conn, commands: &[Command], now: Timestamp) -> Result<Self> {
        let mut books = Self {
            now,
            accounts: HashMap::new(),
            system: HashMap::new(),
            unopened: Vec::new(),
            known: HashMap::new(),
            taken: BTreeSet::new(),
            transfers: Vec::with_capacity(commands.len()),
            entries: Vec::with_capacity(commands.len() * 2),
        };
        let (mut ids, mut parents, mut externals) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
        for Command { what, stamp, issues } in commands {
            match what {
                What::Create(op) => {
                    for side in [op.from_account_id, op.to_account_id] {
                        match side {
                            AccountRef::Id(id) => drop(ids.insert(id.to_string())),
                            AccountRef::System(..) => {
                                let found = books.system_account(conn, side, *issues, stamp)?;
                                ids.extend(found);
                            }
                        }
                    }
                    externals.extend(op.external_id.as_ref().map(|id| id.as_str().to_owned()));
                }
                other => parents.extend(other.follows().map(|id| id.to_string())),
            }
        }
        let parents: Vec<String> = parents.into_iter().collect();
        if !parents.is_empty() {
            for row in store::transfers(conn, &parents)? {
                ids.insert(row.from_account_id.clone());
                ids.insert(row.to_account_id.clone());
                books.known.insert(row.id.clone(), Known { row, changed: false });
            }
        }
        let ids: Vec<String> = ids.into_iter().collect();
        let held = store::lock(conn, &ids)?.into_iter();
        books.accounts.extend(held.map(|account| (account.id.clone(), account)));
        if !parents.is_empty() && matches!(conn, Conn::Pg(_)) {
            // what another did to them before it let the accounts go is seen only now
            for row in store::transfers(conn, &parents)? {
                books.known.insert(row.id.clone(), Known { row, changed: false });
            }
        }
        if !externals.is_empty() {
            books.taken = store::external_ids(conn, &externals)?;
        }
        Ok(books)
    }

    fn system_account(
        &mut self,
        conn: &mut Conn,
        which: AccountRef,
        issues: bool,
        stamp: &Stamp,
    ) -> Result<Option<String>> {
        let AccountRef::System(key, currency) = which else { return Ok(None) };
        if let Some(id) = self.system.get(&which) {
            return Ok(Some(id.clone()));
        }
        let mut found = store::system(conn, key.as_str(), currency.code())?;
        if found.is_none() && issues {
            // one at a time opens accounts: whoever came before us may have opened this one
            accounts::hold_numbers(conn)?;
            found = store::system(conn, key.as_str(), currency.code())?;
        }
        if found.is_none() && issues {
            let id = AccountId::new();
            let row = accounts::Row::system(id, 0, key, currency, self.now);
            self.accounts.insert(row.id.clone(), Account::unopened(&row, id, currency));
            self.unopened.push(Unopened { key, currency, id, stamp: stamp.clone() });
            self.system.insert(which, row.id);
            return Ok(None);
        }
        if let Some(id) = &found {
            self.system.insert(which, id.clone());
        }
        Ok(found)
    }

    /// Writes what changed: system accounts that money moved through first, then transfers, entries, and
    /// each account and each older transfer once.
    pub(super) fn close(self, conn: &mut Conn, rows: &mut Vec<LogRow>) -> Result<()> {
        if self.transfers.is_empty() {
            return Ok(());
        }
        let used =
            |one: &&Unopened| self.accounts.get(&one.id.to_string()).is_some_and(|account| account.moved);
        for Unopened { key, currency, id, stamp } in self.unopened.iter().filter(used) {
            let number = accounts::next_number(conn)?;
            let row = accounts::Row::system(*id, number, *key, *currency, self.now);
            accounts::insert(conn, &row)?;
            let shown = row.account()?;
            let draft = Draft::new("account.created", "account", &row.id).version(1).data(&shown);
            rows.push(LogRow::of(draft, stamp, self.now));
        }
        // the order of the keys, so that neighbours are written together
        let mut moved: Vec<Account> = self.accounts.into_values().filter(|account| account.moved).collect();
        moved.sort_by(|a, b| a.id.cmp(&b.id));
        let mut changed: Vec<transfers::Row> =
            self.known.into_values().filter(|known| known.changed).map(|known| known.row).collect();
        changed.sort_by(|a, b| a.id.cmp(&b.id));
        store::insert(conn, &self.transfers, &self.entries)?;
        Ok(store::update(conn, &moved, &changed)?)
    }

    /// Runs one command.
    pub(super) fn run(&mut self, command: &Command) -> Verdict {
        let Command { what, stamp, issues } = command;
        match what {
            What::Create(op) => self.create(op, stamp, *issues),
            What::Capture(op) => {
                let (hold, expired) = self.pending(op.id)?;
                if expired {
                    return Err(not_pending(&hold, "The hold has expired."));
                }
                let amount = op.amount.map_or(hold.amount, |amount| amount.minor());
                if amount > hold.amount {
                    let facts = json!({ "held": hold.amount, "amount": amount, "currency": hold.currency });
                    let message = "More than was held cannot be captured.";
                    return Err(ApiError::new(ErrorCode::CaptureExceedsHold, message).with(facts));
                }
                let effect = Effect { kind: TransferKind::Capture, amount, post: amount, hold: -hold.amount };
                self.resolve(&hold, effect, stamp, *issues, None)
            }
            What::Void(id, reason) => {
                let (hold, _) = self.pending(*id)?;
                let effect =
                    Effect { kind: TransferKind::Void, amount: hold.amount, post: 0, hold: -hold.amount };
                self.resolve(&hold, effect, stamp, *issues, reason.as_ref().map(|text| text.as_str()))
            }
            What::Expire(id) => {
                let (hold, expired) = self.pending(*id)?;
                if !expired {
                    return Err(not_pending(&hold, "The hold has not expired yet."));
                }
                let effect =
                    Effect { kind: TransferKind::Expiry, amount: hold.amount, post: 0, hold: -hold.amount };
                self.resolve(&hold, effect, stamp, true, None)
            }
            What::Reverse(op) => {
                let known = self.known.get(&op.id.to_string()).ok_or_else(|| missing("transfer", op.id))?;
                let original = known.row.clone();
                let kind: TransferKind = read(&original.kind)?;
                if !matches!(kind, TransferKind::Transfer | TransferKind::Capture) {
                    let facts = json!({ "kind": original.kind });
                    let message =
                        format!("A {kind} cannot be reversed: only transfers and captures move money.");
                    return Err(ApiError::new(ErrorCode::NotReversible, message).with(facts));
                }
                let left = original.amount - original.reversed_amount;
                let amount = op.amount.map_or(left, |amount| amount.minor());
                if amount > left || left == 0 {
                    let facts = json!({ "left": left, "amount": amount, "currency": original.currency });
                    let message = "More than is left of the transfer cannot be reversed.";
                    return Err(ApiError::new(ErrorCode::ReversalExceedsTransfer, message).with(facts));
                }
                let mut row = self.fresh(TransferKind::Reversal, amount, stamp);
                row.parent_id = Some(original.id.clone());
                row.from_account_id.clone_from(&original.to_account_id);
                row.to_account_id.clone_from(&original.from_account_id);
                row.currency.clone_from(&original.currency);
                row.reason = Some(op.reason.as_str().to_owned());
                let effect = Effect { kind: TransferKind::Reversal, amount, post: amount, hold: 0 };
                let done = self.movement(row, effect, *issues, None)?;
                self.touch(&original.id, |row| row.reversed_amount += amount);
                Ok(done)
            }
        }
    }

    fn create(&mut self, op: &CreateTransfer, stamp: &Stamp, issues: bool) -> Verdict {
        let from = self.account_of(op.from_account_id, issues)?;
        let to = self.account_of(op.to_account_id, issues)?;
        if from == to {
            return Err(ApiError::violation(
                "/toAccountId",
                "same_account",
                "is the account that the money comes from",
            ));
        }
        for (id, named) in [(&from, op.from_account_id), (&to, op.to_account_id)] {
            let account = self.held(id)?;
            if account.currency != op.currency {
                let facts = json!({ "accountId": named, "accountCurrency": account.currency, "currency": op.currency });
                // as it was named: a system account that is not opened yet has an id that nobody can look up
                let message = format!("The account {named} has {}, not {}.", account.currency, op.currency);
                return Err(ApiError::new(ErrorCode::CurrencyMismatch, message).with(facts));
            }
        }
        if let Some(external) = &op.external_id
            && self.taken.contains(external.as_str())
        {
            return Err(ApiError::new(ErrorCode::AlreadyExists, "A transfer has this externalId already.")
                .with(json!({ "field": "externalId" })));
        }
        let amount = op.amount.minor();
        let effect = match op.mode.unwrap_or(TransferMode::Post) {
            TransferMode::Post => Effect { kind: TransferKind::Transfer, amount, post: amount, hold: 0 },
            TransferMode::Hold => Effect { kind: TransferKind::Hold, amount, post: 0, hold: amount },
        };
        let mut row = self.fresh(effect.kind, amount, stamp);
        row.from_account_id = from;
        row.to_account_id = to;
        row.currency = op.currency.code().to_owned();
        row.reason = op.reason.as_ref().map(|text| text.as_str().to_owned());
        row.description = op.description.as_ref().map(|text| text.as_str().to_owned()).unwrap_or_default();
        row.external_id = op.external_id.as_ref().map(|id| id.as_str().to_owned());
        if let Some(metadata) = &op.metadata {
            row.metadata = text_of(metadata)?;
        }
        let wait = op.expires_in_seconds.filter(|_| effect.kind == TransferKind::Hold).map(|wait| wait.0);
        let done = self.movement(row, effect, issues, wait)?;
        self.taken.extend(op.external_id.as_ref().map(|id| id.as_str().to_owned()));
        Ok(done)
    }

    /// Ends a hold.
    fn resolve(
        &mut self,
        hold: &transfers::Row,
        effect: Effect,
        stamp: &Stamp,
        issues: bool,
        reason: Option<&str>,
    ) -> Verdict {
        let mut row = self.fresh(effect.kind, effect.amount, stamp);
        row.parent_id = Some(hold.id.clone());
        row.from_account_id.clone_from(&hold.from_account_id);
        row.to_account_id.clone_from(&hold.to_account_id);
        row.currency.clone_from(&hold.currency);
        row.reason = reason.map(str::to_owned);
        if effect.kind == TransferKind::Capture {
            // it moves the money, for what the hold was made
            row.reason.clone_from(&hold.reason);
            row.description.clone_from(&hold.description);
        }
        let done = self.movement(row, effect, issues, None)?;
        self.touch(&hold.id, |row| {
            let status = match effect.kind {
                TransferKind::Capture => TransferStatus::Captured,
                TransferKind::Void => TransferStatus::Voided,
                _ => TransferStatus::Expired,
            };
            row.status = status.as_str().to_owned();
            row.captured_amount = effect.post;
        });
        Ok(done)
    }

    fn touch(&mut self, id: &str, change: impl FnOnce(&mut transfers::Row)) {
        if let Some(known) = self.known.get_mut(id) {
            change(&mut known.row);
            known.changed = true;
        }
    }

    fn fresh(&self, kind: TransferKind, amount: i64, stamp: &Stamp) -> transfers::Row {
        let status =
            if kind == TransferKind::Hold { TransferStatus::Pending } else { TransferStatus::Posted };
        transfers::Row {
            id: TransferId::new().to_string(),
            kind: kind.as_str().to_owned(),
            status: status.as_str().to_owned(),
            parent_id: None,
            from_account_id: String::new(),
            from_seq: 0,
            to_account_id: String::new(),
            to_seq: 0,
            amount,
            currency: String::new(),
            captured_amount: 0,
            reversed_amount: 0,
            reason: None,
            description: String::new(),
            external_id: None,
            actor_id: stamp.actor.id.clone(),
            request_id: stamp.request_id.clone(),
            expires_at: None,
            metadata: "{}".to_owned(),
            created_at: 0,
        }
    }

    fn account_of(&self, which: AccountRef, issues: bool) -> std::result::Result<String, ApiError> {
        match which {
            AccountRef::Id(id) => Ok(id.to_string()),
            AccountRef::System(..) if !issues => Err(forbidden()),
            AccountRef::System(..) => {
                self.system.get(&which).cloned().ok_or_else(|| missing("account", which))
            }
        }
    }

    fn held(&self, id: &str) -> std::result::Result<&Account, ApiError> {
        self.accounts.get(id).ok_or_else(|| missing("account", id))
    }

    /// The moment of the next transfer between two accounts: later than all that happened to either, also
    /// when a clock was set back a little, or another daemon's is a little ahead. What is of the far future
    /// is not continued: it would spread to whatever it touches, and be seen by nobody who asks for today.
    fn moment(&self, from: &Account, to: &Account) -> std::result::Result<i64, ApiError> {
        let later = if from.moved_at > to.moved_at { from } else { to };
        let ahead = later.moved_at.saturating_sub(self.now.micros());
        // two daemons may each differ by that much, one this way and one the other
        if ahead > 2 * AGREED {
            let message = format!(
                "The last entry of the account {} is {} s ahead of this machine's clock: no money of it moves before then.",
                later.id,
                ahead / 1_000_000
            );
            let facts =
                json!({ "accountId": later.typed, "movedAt": Timestamp::from_micros(later.moved_at) });
            return Err(ApiError::new(ErrorCode::DatabaseUnavailable, message).with(facts));
        }
        Ok(self.now.micros().max(later.moved_at + 1))
    }

    /// A hold that can still be resolved, and whether its time is over.
    fn pending(&self, id: TransferId) -> std::result::Result<(transfers::Row, bool), ApiError> {
        let known = self.known.get(&id.to_string()).ok_or_else(|| missing("transfer", id))?;
        if known.row.status != TransferStatus::Pending.as_str() {
            let transfers::Row { kind, status, .. } = &known.row;
            let message = match kind.as_str() == TransferKind::Hold.as_str() {
                true => format!("This hold has ended already: it is {status}."),
                false => format!("This is a {kind} and no hold: what moved is taken back by a reversal."),
            };
            return Err(not_pending(&known.row, message));
        }
        let (from, to) = (self.held(&known.row.from_account_id)?, self.held(&known.row.to_account_id)?);
        let at = self.moment(from, to)?;
        Ok((known.row.clone(), known.row.expires_at.is_some_and(|end| end <= at)))
    }

    /// Checks the rules and does it: two accounts changed, one transfer and two entries to be written.
    fn movement(
        &mut self,
        mut row: transfers::Row,
        effect: Effect,
        issues: bool,
        wait: Option<i64>,
    ) -> Verdict {
        let (mut from, mut to) =
            (self.held(&row.from_account_id)?.clone(), self.held(&row.to_account_id)?.clone());
        if !issues && (from.is_system || to.is_system) {
            return Err(forbidden());
        }
        for account in [&from, &to] {
            if account.status == AccountStatus::Closed {
                let facts = json!({ "accountId": account.typed });
                let message = format!("The account {} is closed.", account.id);
                return Err(ApiError::new(ErrorCode::AccountClosed, message).with(facts));
            }
        }
        // letting go brings nothing out
        let goes_out = effect.post > 0 || effect.hold > 0;
        if goes_out && from.status == AccountStatus::Frozen {
            let facts = json!({ "accountId": from.typed });
            let message = format!("The account {} is frozen: nothing goes out.", from.id);
            return Err(ApiError::new(ErrorCode::AccountFrozen, message).with(facts));
        }
        let available = from.available();
        from.debits_posted += effect.post;
        from.debits_pending += effect.hold;
        to.credits_posted += effect.post;
        to.credits_pending += effect.hold;
        if let Some((account, limit)) = beyond(&from, &to, effect) {
            return Err(told::beyond(account, limit, effect.amount));
        }
        if goes_out && from.available().is_some_and(|left| left < 0) {
            let facts = json!({ "accountId": from.typed, "available": available, "amount": effect.amount, "currency": from.currency });
            let shown = available.map(|minor| from.currency.decimal(minor)).unwrap_or_default();
            let message = format!("Only {shown} {} of the account {} are available.", from.currency, from.id);
            return Err(ApiError::new(ErrorCode::InsufficientFunds, message).with(facts));
        }
        let would_hold = to.credits_posted + to.credits_pending - to.debits_posted;
        if goes_out && let Some(limit) = to.max_balance.filter(|limit| would_hold > *limit) {
            let facts = json!({ "accountId": to.typed, "maxBalance": limit, "wouldHold": would_hold.min(MAX_MINOR), "amount": effect.amount, "currency": to.currency });
            let message = format!(
                "The account {} may hold {} {} at most.",
                to.id,
                to.currency.decimal(limit),
                to.currency
            );
            return Err(ApiError::new(ErrorCode::BalanceLimit, message).with(facts));
        }
        let at = self.moment(&from, &to)?;
        for account in [&mut from, &mut to] {
            account.entry_seq += 1;
            account.moved_at = at;
            account.moved = true;
        }
        row.created_at = at;
        row.expires_at = wait.map(|seconds| at.saturating_add(seconds.saturating_mul(1_000_000)));
        row.from_seq = from.entry_seq;
        row.to_seq = to.entry_seq;
        let mut shown = row.transfer().map_err(|why| internal(&why))?;
        shown.accounts = Some(vec![from.after(), to.after()]);
        self.entries.push(from.entry(&row.id, "debit", effect.amount));
        self.entries.push(to.entry(&row.id, "credit", effect.amount));
        // a later command of the same batch may refer to it
        self.known.insert(row.id.clone(), Known { row: row.clone(), changed: false });
        self.transfers.push(row);
        self.accounts.insert(from.id.clone(), from);
        self.accounts.insert(to.id.clone(), to);
        Ok(shown)
    }
}

/// Whose numbers could no longer be counted afterwards, and which (docs/adr/0015).
fn beyond<'a>(from: &'a Account, to: &'a Account, effect: Effect) -> Option<(&'a Account, Limit)> {
    [
        (from.debits_posted > MAX_MINOR, from, Limit::Turnover),
        (to.credits_posted > MAX_MINOR, to, Limit::Turnover),
        (from.debits_pending > MAX_MINOR, from, Limit::Held),
        (to.credits_pending > MAX_MINOR, to, Limit::Held),
        (effect.post > 0 && !to.counts(), to, Limit::Overdraft),
    ]
    .into_iter()
    .find_map(|(is, account, limit)| is.then_some((account, limit)))
}
