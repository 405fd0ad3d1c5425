//! The one function that moves money: many commands in, a transfer or a refusal for each out.
//!
//! It takes the accounts that are touched, works the commands off in order in memory, where a refusal is
//! a value and nothing was written, and then writes transfers, entries and each account once. Writers
//! call it with what is queued, ordinary writes with what they need; idempotency keys are none of its
//! business (db/money.rs).

mod books;
mod store;
mod told;

use std::collections::{BTreeSet, HashMap};

use bursar_shared::{
    error::{ApiError, ErrorCode},
    field::Reason,
    id::{SessionId, TransferId, UserId},
    operations::{
        accounts::AccountRef,
        transfers::{CaptureTransfer, CreateTransfer, ReverseTransfer, Transfer},
    },
    permission::Permissions,
    time::Timestamp,
};

use self::books::Books;
use crate::{
    db::{Conn, constraint},
    error::{Error, Result, database_error},
    log::{Draft, Row, Stamp},
    repositories::{roles, sessions},
};

/// What is to be done with money.
#[derive(Debug, Clone)]
pub enum What {
    /// Move it, or hold it.
    Create(Box<CreateTransfer>),
    /// Move what is held.
    Capture(CaptureTransfer),
    /// Let go of what is held.
    Void(TransferId, Option<Reason>),
    /// Let go of what is held too long.
    Expire(TransferId),
    /// Move it back.
    Reverse(ReverseTransfer),
}

impl What {
    /// The transfer that it follows.
    pub fn follows(&self) -> Option<TransferId> {
        match self {
            Self::Create(_) => None,
            Self::Capture(CaptureTransfer { id, .. }) | Self::Reverse(ReverseTransfer { id, .. }) => {
                Some(*id)
            }
            Self::Void(id, _) | Self::Expire(id) => Some(*id),
        }
    }
}

/// A command, and on whose behalf.
#[derive(Debug, Clone)]
pub struct Command {
    /// What.
    pub what: What,
    /// Whose name goes into transfer and log.
    pub stamp: Stamp,
    /// Whether money may come into the books and leave them: `ledger:issue`.
    pub issues: bool,
}

/// A transfer as it stands afterwards, or why there is none.
pub type Verdict = std::result::Result<Transfer, ApiError>;

/// Runs commands in order, appending to the rows of the log; answers each in its place.
///
/// # Errors
/// Those of the database. What was written before is to be rolled back then.
pub fn apply(
    conn: &mut Conn,
    commands: &[Command],
    now: Timestamp,
    rows: &mut Vec<Row>,
) -> Result<Vec<Verdict>> {
    let mut books = Books::open(conn, commands, now)?;
    let verdicts: Vec<Verdict> = commands.iter().map(|command| books.run(command)).collect();
    books.close(conn, rows)?;
    for (command, verdict) in commands.iter().zip(&verdicts) {
        if let Ok(transfer) = verdict {
            let kind = match transfer.kind {
                bursar_shared::field::TransferKind::Transfer => "transfer.posted",
                bursar_shared::field::TransferKind::Hold => "transfer.held",
                bursar_shared::field::TransferKind::Capture => "transfer.captured",
                bursar_shared::field::TransferKind::Void => "transfer.voided",
                bursar_shared::field::TransferKind::Expiry => "transfer.expired",
                bursar_shared::field::TransferKind::Reversal => "transfer.reversed",
            };
            rows.push(Row::of(Draft::new(kind, "transfer", transfer.id).data(transfer), &command.stamp, now));
        }
    }
    Ok(verdicts)
}

/// Who asked for a command that waited: their rights are looked at again when it is done.
#[derive(Debug, Clone)]
pub struct Asker {
    /// The person.
    pub user: UserId,
    /// Their session.
    pub session: SessionId,
    /// What they could do when they were admitted.
    pub permissions: Permissions,
}

/// A refusal for each asker whose rights were withdrawn or whose session ended meanwhile; two queries for
/// all.
///
/// # Errors
/// Those of the database.
pub fn withdrawn(conn: &mut Conn, askers: &[Option<Asker>], now: Timestamp) -> Result<Vec<Option<ApiError>>> {
    let mut ids: Vec<UserId> = askers.iter().flatten().map(|asker| asker.user).collect();
    ids.sort();
    ids.dedup();
    let standings = roles::standings(conn, &ids)?;
    let mut ids: Vec<SessionId> = askers.iter().flatten().map(|asker| asker.session).collect();
    ids.sort();
    ids.dedup();
    let live = sessions::live_among(conn, &ids, now)?;
    let judge = |asker: &Asker| {
        let standing = standings.get(&asker.user).filter(|_| live.contains(&asker.session.to_string()));
        roles::still(asker.permissions, standing).err()
    };
    Ok(askers.iter().map(|asker| asker.as_ref().and_then(judge)).collect())
}

/// Which rows commands touch, and which of them somebody else's transaction holds at this moment.
#[derive(Debug)]
pub struct Look {
    /// The accounts and transfers that each touches, by their ids.
    pub touched: Vec<Vec<String>>,
    /// Those that are held, and the number of the transaction that does.
    pub held: HashMap<String, String>,
}

/// Looks at the rows that these touch, and at `others`. It waits for none of them, and holds what is free until
/// the transaction ends.
///
/// # Errors
/// Those of the database.
pub fn look(conn: &mut Conn, whats: &[Option<&What>], others: impl Iterator<Item = String>) -> Result<Look> {
    let mut touched: Vec<Vec<String>> = Vec::with_capacity(whats.len());
    for what in whats {
        let mut of = Vec::new();
        if let Some(What::Create(op)) = what {
            for side in [op.from_account_id, op.to_account_id] {
                match side {
                    AccountRef::Id(id) => of.push(id.to_string()),
                    AccountRef::System(key, currency) => {
                        of.extend(store::system(conn, key.as_str(), currency.code())?);
                    }
                }
            }
        }
        of.extend(what.and_then(What::follows).map(|id| id.to_string()));
        touched.push(of);
    }
    let followed: Vec<String> =
        whats.iter().flatten().filter_map(|what| what.follows()).map(|id| id.to_string()).collect();
    let accounts_of: HashMap<String, [String; 2]> = store::transfers(conn, &followed)?
        .into_iter()
        .map(|row| (row.id, [row.from_account_id, row.to_account_id]))
        .collect();
    for of in &mut touched {
        let accounts: Vec<String> =
            of.iter().filter_map(|id| accounts_of.get(id)).flatten().cloned().collect();
        of.extend(accounts);
    }
    let ids: BTreeSet<String> = touched.iter().flatten().cloned().chain(others).collect();
    let held = store::held(conn, &ids.into_iter().collect::<Vec<_>>())?;
    Ok(Look { touched, held })
}

/// What a broken rule of the database means to the caller. All of them are looked at in memory first, so
/// this speaks only where another daemon was quicker.
pub fn refusal(why: &Error) -> Option<ApiError> {
    let (code, message) = match database_error(why).and_then(constraint)?.as_str() {
        "transfers_external_id" => (ErrorCode::AlreadyExists, "A transfer has this externalId already."),
        "accounts_funds" => (ErrorCode::InsufficientFunds, "There is not enough money in the account."),
        "accounts_balance_limit" => (ErrorCode::BalanceLimit, "The account may not hold so much."),
        "accounts_counters_fit" | "accounts_available_counts" => {
            (ErrorCode::AmountOutOfRange, "The sum is beyond what can be counted.")
        }
        "transfers_spare_closed_accounts" => (ErrorCode::AccountClosed, "The account is closed."),
        "transfers_spare_frozen_accounts" => (ErrorCode::AccountFrozen, "The account is frozen."),
        "transfers_resolve_a_hold" | "transfers_parent_id" => {
            (ErrorCode::HoldNotPending, "The hold is not pending any more.")
        }
        "transfers_reverse_within_amount" => {
            (ErrorCode::ReversalExceedsTransfer, "More than is left of the transfer.")
        }
        "users_with_accounts_stay" => (ErrorCode::InUse, "The person has accounts that are not closed."),
        _ => return None,
    };
    Some(ApiError::new(code, message))
}
