//! What happens to money meanwhile: rows that are shown are brought up to date where they are.

use bursar_shared::{
    field::{Side, TransferKind, TransferStatus},
    id::TransferId,
    operations::{
        accounts::{Account, Entry},
        log::Event,
        transfers::{AccountAfter, Transfer},
    },
};

use super::Money;
use crate::{
    listing::{Rows as _, newer},
    screens::statement::Sum,
};

/// Brings an account up to what was read or heard of it, in as far as that is newer: itself by its
/// version, what it holds by its last entry. Whether it was.
fn bring_up(account: &mut Account, now: &Account) -> bool {
    let before = (account.version, account.entry_seq);
    let (balances, entry_seq) = match account.entry_seq > now.entry_seq {
        true => (account.balances, account.entry_seq),
        false => (now.balances, now.entry_seq),
    };
    match now.version >= account.version {
        true => *account = Account { balances, entry_seq, ..now.clone() },
        false => (account.balances, account.entry_seq) = (balances, entry_seq),
    }
    before != (account.version, account.entry_seq)
}

impl Money {
    /// An account as it is now: wherever it is shown.
    pub fn take_account(&mut self, account: &Account) -> bool {
        self.learn(account);
        self.take_shown(account);
        self.accounts.window.revise(&account.id.to_string(), |row| bring_up(&mut row.record, account))
    }

    /// The account whose statement is shown, as it was read or heard of; what is held may be newer.
    pub fn take_shown(&mut self, account: &Account) {
        if let Some(held) = self.account.as_mut().filter(|held| held.id == account.id) {
            bring_up(held, account);
        }
    }

    /// A transfer as it is now, wherever it is shown.
    pub fn take_transfer(&mut self, transfer: &Transfer) -> bool {
        let transfer = Transfer { accounts: None, ..transfer.clone() };
        if let Some(held) = self.moved.get_mut(&transfer.id).filter(|held| !held.outdates(&transfer)) {
            *held = transfer.clone();
        }
        self.transfers.window.revise(&transfer.id.to_string(), |row| {
            let newer = !row.record.outdates(&transfer) && row.record != transfer;
            if newer {
                row.record = transfer;
            }
            newer
        })
    }

    /// An account holds this after a transfer.
    fn take_balances(&mut self, after: &AccountAfter) -> bool {
        let newer = |account: &Account| account.id == after.id && account.entry_seq < after.entry_seq;
        let put = |account: &mut Account| {
            account.balances = after.balances;
            account.entry_seq = after.entry_seq;
        };
        if let Some(account) = self.account.as_mut().filter(|account| newer(account)) {
            put(account);
        }
        let id = after.id.to_string();
        let held = self.accounts.window.rows().any(|row| row.id == id && newer(&row.record));
        held && self.accounts.window.patch(&id, |row| put(&mut row.record))
    }

    /// Money was moved from here: what both accounts hold now, and what became of the one it is of. The
    /// rows themselves come with the log.
    pub fn take_moved(&mut self, transfer: &Transfer) {
        for after in transfer.accounts.iter().flatten() {
            self.take_balances(after);
        }
        if let Some(parent) = transfer.parent_id {
            self.end_parent(parent, transfer);
        }
    }

    /// The statement's account moved: the entry comes in at the top, or is counted.
    fn take_entry(&mut self, transfer: &Transfer, after: &AccountAfter) -> bool {
        if self.statement.read_at.is_none() || self.statement.of != Some(after.id) {
            return false;
        }
        let from = transfer.from_account_id == after.id;
        let posts =
            matches!(transfer.kind, TransferKind::Transfer | TransferKind::Capture | TransferKind::Reversal);
        let change = match (posts, from) {
            (false, _) => 0,
            (true, true) => -transfer.amount,
            (true, false) => transfer.amount,
        };
        let entry = Entry {
            account_id: after.id,
            seq: after.entry_seq,
            transfer_id: transfer.id,
            kind: transfer.kind,
            side: if from { Side::Debit } else { Side::Credit },
            counterparty_id: if from { transfer.to_account_id } else { transfer.from_account_id },
            amount: transfer.amount,
            change,
            posted: after.balances.posted,
            pending_out: after.balances.pending_out,
            pending_in: after.balances.pending_in,
            currency: transfer.currency,
            reason: transfer.reason.clone(),
            description: transfer.description.clone(),
            created_at: transfer.created_at,
        };
        let list = &mut self.statement;
        let newest = list.window.rows().map(|row| row.record.seq).max().unwrap_or(0);
        let comes_in = list.filter_text.is_empty() && list.sort.descending && list.window.at_start();
        if entry.seq <= newest {
            return false;
        }
        self.keep([Transfer { accounts: None, ..transfer.clone() }]);
        let list = &mut self.statement;
        if comes_in && entry.seq == newest + 1 && list.newer.is_empty() {
            list.window.put_on_top(vec![entry]);
            if let Some((total, _)) = &mut list.total {
                *total += 1;
            }
            return true;
        }
        let data = serde_json::to_value(&entry).unwrap_or_default();
        let fits = newer::fit(list.filter(), &data, transfer.created_at);
        list.newer.add(&entry.seq.to_string(), fits)
    }

    /// Adds the entries that are here up again.
    pub fn re_add(&mut self) {
        self.sum = Sum::of(self.statement.window.rows().map(|row| &row.record));
    }

    /// Something happened to accounts and transfers: rows that are shown are brought up to date where
    /// they are, new ones are counted.
    pub fn take_events(&mut self, events: &[Event]) -> bool {
        let mut seen = false;
        let top = |money: &Self| money.statement.window.rows().next().map(|row| row.record.seq);
        let before = top(self);
        for event in events {
            match event.resource.kind.as_str() {
                "account" => seen |= self.account_event(event),
                "transfer" => seen |= self.transfer_event(event),
                _ => {}
            }
        }
        // once for all of them
        if top(self) != before {
            self.re_add();
        }
        seen
    }

    fn account_event(&mut self, event: &Event) -> bool {
        let Ok(now) = serde_json::from_value::<Account>(event.data.clone()) else { return false };
        let id = now.id.to_string();
        self.learn(&now);
        self.take_shown(&now);
        let held = self.accounts.window.revise(&id, |row| bring_up(&mut row.record, &now));
        if event.kind == "account.created" && !held && self.accounts.read_at.is_some() {
            return self.accounts.newer.add(&id, newer::fits(self.accounts.filter(), event));
        }
        held
    }

    fn transfer_event(&mut self, event: &Event) -> bool {
        let Ok(now) = serde_json::from_value::<Transfer>(event.data.clone()) else { return false };
        let mut seen = false;
        for after in now.accounts.iter().flatten() {
            seen |= self.take_balances(after);
            seen |= self.take_entry(&now, after);
        }
        if let Some(parent) = now.parent_id {
            seen |= self.end_parent(parent, &now);
        }
        let id = now.id.to_string();
        let held = self.transfers.window.rows().any(|row| row.id == id);
        if !held && self.transfers.read_at.is_some() {
            seen |= self.transfers.newer.add(&id, newer::fits(self.transfers.filter(), event));
        }
        seen
    }

    /// What a capture, a void, an expiry or a reversal does to the one it is of.
    fn end_parent(&mut self, parent: TransferId, child: &Transfer) -> bool {
        let (status, captured) = match child.kind {
            TransferKind::Capture => (TransferStatus::Captured, child.amount),
            TransferKind::Void => (TransferStatus::Voided, 0),
            TransferKind::Expiry => (TransferStatus::Expired, 0),
            _ => {
                // how much is back in all is not said here, and adding it up twice would be wrong
                let id = parent.to_string();
                let held = self.transfers.window.rows().any(|row| row.id == id);
                if held || self.moved.contains_key(&parent) {
                    self.stale.insert(parent);
                }
                return held;
            }
        };
        let put = |hold: &mut Transfer| {
            let before = (hold.status, hold.captured_amount);
            (hold.status, hold.captured_amount) = (status, captured);
            before != (status, captured)
        };
        if let Some(hold) = self.moved.get_mut(&parent) {
            put(hold);
        }
        self.transfers.window.revise(&parent.to_string(), |row| put(&mut row.record))
    }
}
