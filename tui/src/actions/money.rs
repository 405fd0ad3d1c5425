//! Whether each action about money can be done now, why not, and the same as a command.

use bursar_shared::{
    field::{AccountStatus, TransferKind, TransferStatus},
    id::AccountId,
    operations::{accounts::Account, transfers::Transfer},
    permission::Permission,
};

use super::{
    State,
    state::{GONE, changing, in_table, on_row, reachable, reads},
};
use crate::{
    change::shell,
    model::{Model, Screen},
    screens::money::Money,
};

const fn about_accounts(screen: Screen) -> bool {
    matches!(screen, Screen::Accounts | Screen::Statement)
}

const fn about_money(screen: Screen) -> bool {
    matches!(screen, Screen::Accounts | Screen::Statement | Screen::Transfers)
}

pub(super) fn reads_accounts(model: &Model) -> State {
    reads(model, Permission::AccountsRead, "needs the permission accounts:read")
}

pub(super) fn reads_transfers(model: &Model) -> State {
    reads(model, Permission::TransfersRead, "needs the permission transfers:read")
}

/// Where a statement can be gone to: of the account, or of the sender of a transfer.
pub(super) fn has_statement(model: &Model) -> State {
    match model.screen {
        Screen::Accounts | Screen::Transfers => match on_row(model) {
            State::On if model.is_offline() => State::Off(GONE),
            State::On => reads_accounts(model),
            other => other,
        },
        _ => State::Absent,
    }
}

/// The account at the other end: of a transfer its receiver, of an entry whoever it is with.
pub(crate) fn other_side(model: &Model) -> Option<AccountId> {
    match model.screen {
        Screen::Transfers => Money::transfer(model).map(|transfer| transfer.to_account_id),
        Screen::Statement => model.money.statement.window.current().map(|row| row.record.counterparty_id),
        _ => None,
    }
}

pub(super) fn has_other_side(model: &Model) -> State {
    match model.screen {
        Screen::Statement | Screen::Transfers => match on_row(model) {
            State::On if model.is_offline() => State::Off(GONE),
            State::On => reads_accounts(model),
            other => other,
        },
        _ => State::Absent,
    }
}

/// What lists the transfers that belong to the row.
pub(crate) fn transfers_of(model: &Model) -> Option<String> {
    match model.screen {
        Screen::Accounts => Some(format!("accountId:{}", Money::account(model)?.id)),
        Screen::Statement => {
            model.money.statement.window.current().map(|row| row.record.transfer_id.to_string())
        }
        Screen::Transfers => {
            let transfer = Money::transfer(model)?;
            Some(format!("parentId:{}", transfer.parent_id.unwrap_or(transfer.id)))
        }
        _ => None,
    }
}

pub(super) fn has_transfers(model: &Model) -> State {
    if !about_money(model.screen) {
        return State::Absent;
    }
    match on_row(model) {
        State::On if model.is_offline() => State::Off(GONE),
        State::On => reads_transfers(model),
        other => other,
    }
}

/// The accounts of a person.
pub(super) fn has_accounts(model: &Model) -> State {
    if model.screen != Screen::Users {
        return State::Absent;
    }
    match on_row(model) {
        State::On if model.is_offline() => State::Off(GONE),
        State::On => reads_accounts(model),
        other => other,
    }
}

pub(super) fn books_verifiable(model: &Model) -> State {
    if !about_money(model.screen) && model.screen != Screen::Home {
        return State::Absent;
    }
    match reachable(model) {
        State::On if !model.may(Permission::LedgerVerify) => State::Off("needs the permission ledger:verify"),
        state => state,
    }
}

// ---- changes ----

fn allowed(model: &Model, permission: Permission, needs: &'static str) -> State {
    match changing(model) {
        State::On if !model.may(permission) => State::Off(needs),
        other => other,
    }
}

pub(super) fn account_openable(model: &Model) -> State {
    if model.screen != Screen::Accounts || in_table(model) != State::On {
        return State::Absent;
    }
    allowed(model, Permission::AccountsWrite, "needs the permission accounts:write")
}

/// On an account that somebody with this permission can change.
fn account_changeable(
    model: &Model,
    permission: Permission,
    needs: &'static str,
    off: fn(&Account) -> Option<&'static str>,
) -> State {
    if !about_accounts(model.screen) {
        return State::Absent;
    }
    let Some(account) = Money::account(model) else {
        return if model.screen == Screen::Statement {
            State::Off("the account is not read")
        } else {
            on_row(model)
        };
    };
    match allowed(model, permission, needs) {
        State::On => off(account).map_or(State::On, State::Off),
        other => other,
    }
}

pub(super) fn account_editable(model: &Model) -> State {
    account_changeable(model, Permission::AccountsWrite, "needs the permission accounts:write", |account| {
        (account.status == AccountStatus::Closed).then_some("it is closed")
    })
}

pub(super) fn freezable_account(model: &Model) -> State {
    account_changeable(model, Permission::AccountsFreeze, "needs the permission accounts:freeze", |account| {
        match (account.system_key, account.status) {
            (Some(_), _) => Some("it is a system account"),
            (None, AccountStatus::Active) => None,
            (None, AccountStatus::Frozen) => Some("it is frozen"),
            (None, AccountStatus::Closed) => Some("it is closed"),
        }
    })
}

pub(super) fn unfreezable_account(model: &Model) -> State {
    account_changeable(model, Permission::AccountsFreeze, "needs the permission accounts:freeze", |account| {
        (account.status != AccountStatus::Frozen).then_some("it is not frozen")
    })
}

pub(super) fn closable_account(model: &Model) -> State {
    account_changeable(model, Permission::AccountsClose, "needs the permission accounts:close", |account| {
        match (account.system_key, account.status) {
            (Some(_), _) => Some("it is a system account"),
            (None, AccountStatus::Closed) => Some("it is closed"),
            _ if account.balances.pending_out != 0 || account.balances.pending_in != 0 => {
                Some("holds wait on it: capture or void them first")
            }
            _ => None,
        }
    })
}

pub(super) fn sendable(model: &Model) -> State {
    if !about_money(model.screen) {
        return State::Absent;
    }
    allowed(model, Permission::TransfersCreate, "needs the permission transfers:create")
}

/// On a transfer that somebody with this permission can end or move back.
fn transfer_changeable(
    model: &Model,
    permission: Permission,
    needs: &'static str,
    off: fn(&Transfer) -> Option<&'static str>,
) -> State {
    let Some(transfer) = Money::transfer(model) else {
        return match on_row(model) {
            State::On => State::Off("the transfer behind it is not read"),
            other => other,
        };
    };
    match allowed(model, permission, needs) {
        State::On => off(transfer).map_or(State::On, State::Off),
        other => other,
    }
}

fn no_hold(transfer: &Transfer) -> Option<&'static str> {
    match (transfer.kind, transfer.status) {
        (TransferKind::Hold, TransferStatus::Pending) => None,
        (TransferKind::Hold, _) => Some("the hold has ended"),
        _ => Some("it is no hold"),
    }
}

pub(super) fn capturable(model: &Model) -> State {
    if model.screen != Screen::Transfers {
        return State::Absent;
    }
    transfer_changeable(model, Permission::TransfersCreate, "needs the permission transfers:create", no_hold)
}

pub(super) fn voidable(model: &Model) -> State {
    capturable(model)
}

pub(super) fn reversible(model: &Model) -> State {
    if !matches!(model.screen, Screen::Transfers | Screen::Statement) {
        return State::Absent;
    }
    transfer_changeable(model, Permission::TransfersReverse, "needs the permission transfers:reverse", |of| {
        match of.kind {
            TransferKind::Transfer | TransferKind::Capture if of.reversed_amount < of.amount => None,
            TransferKind::Transfer | TransferKind::Capture => Some("all of it is back already"),
            TransferKind::Reversal => Some("a reversal is not reversed: move the money again"),
            _ => Some("no money moved by it"),
        }
    })
}

// ---- the same as commands ----

pub(super) fn statement_command(model: &Model) -> Option<String> {
    let id = match model.screen {
        Screen::Transfers => Money::transfer(model)?.from_account_id,
        _ => Money::account(model)?.id,
    };
    Some(format!("bursar accounts entries {id}"))
}

pub(super) fn other_command(model: &Model) -> Option<String> {
    other_side(model).map(|id| format!("bursar accounts entries {id}"))
}

pub(super) fn transfers_command(model: &Model) -> Option<String> {
    if model.screen == Screen::Statement {
        return transfers_of(model).map(|id| format!("bursar transfers get {id}"));
    }
    transfers_of(model).map(|filter| format!("bursar transfers list --filter {}", shell(&filter)))
}

pub(super) fn accounts_command(model: &Model) -> Option<String> {
    let id = model.users.list.window.current()?.record.id;
    Some(format!("bursar accounts list --filter {}", shell(&format!("ownerId:{id}"))))
}

pub(super) fn verify_books_command(_: &Model) -> Option<String> {
    Some("bursar ledger verify".to_owned())
}

pub(super) fn open_account_command(_: &Model) -> Option<String> {
    Some("bursar accounts create --name … --currency …".to_owned())
}

fn of_account(model: &Model, verb: &str) -> Option<String> {
    Money::account(model).map(|account| format!("bursar accounts {verb} {}", account.id))
}

pub(super) fn edit_account_command(model: &Model) -> Option<String> {
    of_account(model, "update")
}

pub(super) fn freeze_command(model: &Model) -> Option<String> {
    of_account(model, "freeze")
}

pub(super) fn unfreeze_command(model: &Model) -> Option<String> {
    of_account(model, "unfreeze")
}

pub(super) fn close_command(model: &Model) -> Option<String> {
    of_account(model, "close")
}

pub(super) fn send_command(model: &Model) -> Option<String> {
    let from = Money::account(model).map_or_else(|| "…".to_owned(), |account| account.id.to_string());
    Some(format!("bursar transfers create --from {from} --to … --amount … --currency …"))
}

fn of_transfer(model: &Model, verb: &str, rest: &str) -> Option<String> {
    Money::transfer(model).map(|transfer| format!("bursar transfers {verb} {}{rest}", transfer.id))
}

pub(super) fn capture_command(model: &Model) -> Option<String> {
    of_transfer(model, "capture", "")
}

pub(super) fn void_command(model: &Model) -> Option<String> {
    of_transfer(model, "void", "")
}

pub(super) fn reverse_command(model: &Model) -> Option<String> {
    of_transfer(model, "reverse", " --reason …")
}
