//! Accounts: opening, editing, freezing, closing, and what they hold and held.

use bursar_shared::{
    error::{ApiError, ErrorCode},
    field::{AccountStatus, METADATA_KEYS, Reason},
    id::AccountId,
    money::{Amount, MAX_MINOR},
    operation::Created,
    operations::{
        accounts::{
            Account, AccountRef, Balance, Balances, CloseAccount, CreateAccount, Entry, FreezeAccount,
            GetAccount, GetBalance, GetStatement, ListEntries, Statement, UnfreezeAccount, UpdateAccount,
        },
        transfers::CreateTransfer,
    },
    page::{List, Page},
    permission::Permission,
    time::Timestamp,
};
use diesel::QueryResult;
use serde_json::{Value, json};

use crate::{
    cx::{Cx, check_version},
    db::{Conn, Outcome, Tx, constraint, urgent},
    error::{Error, Result, broken},
    ledger::What,
    log::Draft,
    repositories::{accounts, entries},
};

/// Entries that a statement has at most.
const STATEMENT: i64 = 10_000;

/// One page of accounts.
pub async fn list(cx: Cx, list: List<Account>) -> Result<Page<Account>> {
    let (now, app) = (cx.now(), cx.app.clone());
    cx.read(move |conn| {
        let page = accounts::page(conn, &list, &app.cursors, now)?;
        let rows = page.rows.iter().map(accounts::Row::account).collect::<Result<_>>()?;
        Ok(Page { rows, pagination: page.pagination, included: page.included })
    })
    .await
}

/// Reads an account; never from a cache.
pub async fn get(cx: Cx, op: GetAccount) -> Result<Account> {
    cx.read(move |conn| accounts::get(conn, op.id)?.account()).await
}

/// Names the unique value that is taken, or the limit that is passed already.
fn taken(done: QueryResult<()>, row: &accounts::Row) -> Result<()> {
    let Err(why) = done else { return Ok(()) };
    Err(match constraint(&why).as_deref() {
        Some("accounts_external_id") => {
            ApiError::new(ErrorCode::AlreadyExists, "An account has this externalId already.")
                .with(json!({ "field": "externalId" }))
                .into()
        }
        Some("accounts_funds") => {
            let message = "The account is further below nothing than that, with what is held of it.";
            let facts = json!({ "overdraftLimit": row.overdraft_limit, "balances": row.balances() });
            ApiError::new(ErrorCode::InsufficientFunds, message).with(facts).into()
        }
        Some("accounts_available_counts") => {
            let message = "What the account holds and this limit together are beyond what can be counted.";
            let facts = json!({ "overdraftLimit": row.overdraft_limit, "balances": row.balances(), "max": MAX_MINOR });
            ApiError::new(ErrorCode::AmountOutOfRange, message).with(facts).into()
        }
        Some("accounts_balance_limit") => {
            let message = "The account holds more than that already, with what is held for it.";
            let facts = json!({ "maxBalance": row.max_balance, "balances": row.balances() });
            ApiError::new(ErrorCode::BalanceLimit, message).with(facts).into()
        }
        _ => why.into(),
    })
}

/// Opens an account.
pub async fn create(cx: Cx, op: CreateAccount) -> Result<Created<Account>> {
    if op.overdraft_limit.value().is_some() || op.max_balance.is_some() {
        cx.who.needs(Permission::AccountsLimits)?;
    }
    cx.write("account.create", move |tx| {
        if let Some(owner) = op.owner_id
            && !accounts::is_owner(tx, owner)?
        {
            return Err(ApiError::new(
                ErrorCode::IllegalTransition,
                "A person who is deleted gets no account.",
            )
            .with(json!({ "from": "deleted", "ownerId": owner }))
            .into());
        }
        let number = accounts::next_number(tx)?;
        let mut row = accounts::Row::new(AccountId::new(), number, op.name.as_str(), op.currency, tx.now());
        row.owner_id = op.owner_id.map(|id| id.to_string());
        if let Some(limit) = op.overdraft_limit.value() {
            row.overdraft_limit = limit.map(|limit| limit.minor());
        }
        row.max_balance = op.max_balance.map(|limit| limit.minor());
        row.external_id = op.external_id.as_ref().map(|id| id.as_str().to_owned());
        row.metadata = serde_json::to_string(&op.metadata.clone().unwrap_or_default())?;
        taken(accounts::insert(tx, &row), &row)?;
        let account = row.account()?;
        tx.log(Draft::new("account.created", "account", account.id).version(1).data(&account));
        Ok(Outcome::Done(Created(account)))
    })
    .await
}

/// The account, held, if the caller saw the present version.
fn lock(tx: &mut Tx<'_>, which: AccountRef, if_match: Option<i64>) -> Result<(accounts::Row, Account)> {
    let row = accounts::lock(tx, &[which])?.pop().ok_or_else(|| crate::error::not_found("account", which))?;
    let before = row.account()?;
    check_version(if_match, row.version, || Ok(serde_json::to_value(&before)?))?;
    Ok((row, before))
}

fn illegal(row: &accounts::Row, to: &str) -> Error {
    let what = if row.system_key.is_some() { "a system account" } else { row.status.as_str() };
    ApiError::new(ErrorCode::IllegalTransition, format!("An account that is {what} cannot be {to}."))
        .with(json!({ "from": row.status, "to": to, "systemKey": row.system_key }))
        .into()
}

/// Writes a changed account back, one version up, and notes it down.
fn save(
    tx: &mut Tx<'_>,
    row: &mut accounts::Row,
    before: &Account,
    kind: &'static str,
    reason: Option<&Reason>,
) -> Result<Account> {
    row.version += 1;
    // not before its last movement, which another daemon's clock may have put ahead of ours
    row.updated_at = tx.now().micros().max(row.created_at).max(row.moved_at);
    taken(accounts::update(tx, row), row)?;
    let after = row.account()?;
    let mut data = serde_json::to_value(&after)?;
    if let Some(reason) = reason {
        data["reason"] = json!(reason);
    }
    tx.log(Draft::new(kind, "account", &row.id).version(row.version).changes(before, &after).data(&data));
    Ok(after)
}

/// Edits an account.
pub async fn update(cx: Cx, op: UpdateAccount) -> Result<Account> {
    if op.overdraft_limit.value().is_some() || op.max_balance.value().is_some() {
        cx.who.needs(Permission::AccountsLimits)?;
    }
    let if_match = cx.beside.if_match;
    cx.write("account.update", move |tx| {
        let (mut row, before) = lock(tx, op.id, if_match)?;
        let limits = op.overdraft_limit.value().is_some() || op.max_balance.value().is_some();
        if row.status == AccountStatus::Closed.as_str() || (row.system_key.is_some() && limits) {
            return Err(illegal(&row, "edited"));
        }
        if let Some(name) = op.name.value() {
            row.name = name.as_str().to_owned();
            row.name_sort = crate::repositories::users::sort_form(name.as_str());
        }
        if let Some(limit) = op.overdraft_limit.value() {
            row.overdraft_limit = limit.map(|limit| limit.minor());
        }
        if let Some(limit) = op.max_balance.value() {
            row.max_balance = limit.map(|limit| limit.minor());
        }
        if let Some(external_id) = op.external_id.value() {
            row.external_id = external_id.as_ref().map(|id| id.as_str().to_owned());
        }
        if let Some(patch) = op.metadata.value() {
            let metadata = patch.apply(&before.metadata);
            if metadata.0.len() > METADATA_KEYS {
                let why = format!("would have more than {METADATA_KEYS} keys");
                return Err(ApiError::violation("/metadata", "length", why).into());
            }
            row.metadata = serde_json::to_string(&metadata)?;
        }
        if row.account()? == before {
            // nothing to change is not an edit: no version, no row in the log
            return Ok(Outcome::Done(before));
        }
        save(tx, &mut row, &before, "account.updated", None).map(Outcome::Done)
    })
    .await
}

/// Freezes an account: money may come in, nothing goes out.
pub async fn freeze(cx: Cx, op: FreezeAccount) -> Result<Account> {
    let if_match = cx.beside.if_match;
    cx.write(urgent("account.freeze"), move |tx| {
        let (mut row, before) = lock(tx, op.id, if_match)?;
        if row.status != AccountStatus::Active.as_str() || row.system_key.is_some() {
            return Err(illegal(&row, "frozen"));
        }
        row.status = AccountStatus::Frozen.as_str().to_owned();
        save(tx, &mut row, &before, "account.frozen", op.reason.as_ref()).map(Outcome::Done)
    })
    .await
}

/// Lets money go out of a frozen account again.
pub async fn unfreeze(cx: Cx, op: UnfreezeAccount) -> Result<Account> {
    let if_match = cx.beside.if_match;
    cx.write("account.unfreeze", move |tx| {
        let (mut row, before) = lock(tx, op.id, if_match)?;
        if row.status != AccountStatus::Frozen.as_str() {
            return Err(illegal(&row, "unfrozen"));
        }
        row.status = AccountStatus::Active.as_str().to_owned();
        save(tx, &mut row, &before, "account.unfrozen", op.reason.as_ref()).map(Outcome::Done)
    })
    .await
}

fn not_empty(row: &accounts::Row, hint: &str) -> Error {
    let facts = json!({ "accountId": row.id, "currency": row.currency, "balances": row.balances() });
    let message = format!("Only an empty account can be closed{hint}.");
    ApiError::new(ErrorCode::AccountNotEmpty, message).with(facts).into()
}

/// Closes an account for ever; what it holds is moved first, in the same transaction.
pub async fn close(cx: Cx, op: CloseAccount) -> Result<Account> {
    let (if_match, issues) = (cx.beside.if_match, cx.who.permissions.has(Permission::LedgerIssue));
    cx.write("account.close", move |tx| {
        // both at once, in their order: others move money between them meanwhile. A system account that is
        // not there yet is opened by the sweep; until then nobody else may, or it would be held out of order
        let sweep = op.sweep_to_account_id;
        let mut known = match sweep {
            Some(to) => accounts::find(tx, to)?.map(|_| to),
            None => None,
        };
        if let (None, Some(to @ AccountRef::System(..)), true) = (known, sweep, issues) {
            accounts::hold_numbers(tx)?;
            known = accounts::find(tx, to)?.map(|_| to);
        }
        accounts::lock(tx, &std::iter::once(op.id).chain(known).collect::<Vec<_>>())?;
        let (mut row, before) = lock(tx, op.id, if_match)?;
        if row.status == AccountStatus::Closed.as_str() || row.system_key.is_some() {
            return Err(illegal(&row, "closed"));
        }
        if row.debits_pending != 0 || row.credits_pending != 0 {
            return Err(not_empty(&row, ": capture or void its holds first"));
        }
        let posted = row.balances().posted;
        if op.expected_balance.is_some_and(|expected| expected != posted) {
            let message = "The account holds something else by now.";
            let facts = json!({ "expectedBalance": op.expected_balance, "balances": row.balances() });
            return Err(ApiError::new(ErrorCode::VersionMismatch, message).with(facts).into());
        }
        if posted != 0 {
            let Some(to) = sweep else {
                return Err(not_empty(&row, ", or one whose sweepToAccountId is given"));
            };
            let this = AccountRef::Id(before.id);
            let (from, to) = if posted > 0 { (this, to) } else { (to, this) };
            let amount = i64::try_from(posted.unsigned_abs()).ok().and_then(Amount::new);
            let transfer = CreateTransfer {
                from_account_id: from,
                to_account_id: to,
                amount: amount.ok_or_else(|| broken("a sweep")("the balance is no amount".into()))?,
                currency: before.currency,
                mode: None,
                expires_in_seconds: None,
                reason: op.reason.clone(),
                description: None,
                external_id: None,
                metadata: None,
            };
            for verdict in tx.money(vec![What::Create(Box::new(transfer))], issues)? {
                verdict.map_err(in_sweep)?;
            }
            row = accounts::get(tx, this)?;
        }
        row.status = AccountStatus::Closed.as_str().to_owned();
        save(tx, &mut row, &before, "account.closed", op.reason.as_ref()).map(Outcome::Done)
    })
    .await
}

/// What is wrong with the account that is swept to, seen from the request.
fn in_sweep(mut error: ApiError) -> ApiError {
    if let Some(Value::Array(violations)) = error.details.get_mut("violations") {
        for violation in violations {
            violation["pointer"] = json!("/sweepToAccountId");
        }
    }
    error
}

/// What an account held after an entry; its limit is that of today.
fn after(conn: &mut Conn, row: &accounts::Row, seq: i64) -> Result<Balances> {
    let entry = entries::find(conn, &row.id, seq)?;
    let (debits, credits, debits_held, credits_held) = entry.map_or((0, 0, 0, 0), |entry| {
        (entry.debits_posted, entry.credits_posted, entry.debits_pending, entry.credits_pending)
    });
    Ok(accounts::balances(debits, credits, debits_held, credits_held, row.limit()))
}

/// What an account held at some time.
pub async fn balance(cx: Cx, op: GetBalance) -> Result<Balance> {
    let now = cx.now();
    cx.read(move |conn| {
        let row = accounts::get(conn, op.id)?;
        let (as_of, seq) = match op.as_of {
            Some(at) => {
                let at = at.resolve(now);
                // the last entry may be a little later than this clock says; what is not written yet is unknown
                if at > now.max(Timestamp::from_micros(row.moved_at)) {
                    return Err(ApiError::violation("?asOf", "range", "must not be in the future").into());
                }
                (at, entries::seq_at(conn, &row.id, at)?)
            }
            // the last entry may be later than this clock says
            None => (now.max(Timestamp::from_micros(row.moved_at)), row.entry_seq),
        };
        let balances = after(conn, &row, seq)?;
        Ok(Balance { account_id: row.id()?, as_of, currency: row.currency()?, balances, entry_seq: seq })
    })
    .await
}

/// One page of an account's entries.
pub async fn entries(cx: Cx, op: ListEntries) -> Result<Page<Entry>> {
    let (now, app) = (cx.now(), cx.app.clone());
    cx.read(move |conn| {
        let account = accounts::get(conn, op.id)?;
        let currency = account.currency()?;
        let page = entries::page(conn, &account.id, &op, &app.cursors, now)?;
        let rows = page.rows.iter().map(|row| entries::shown(row, currency)).collect::<Result<_>>()?;
        Ok(Page { rows, pagination: page.pagination, included: page.included })
    })
    .await
}

/// An account from one time to another: opening + entries = closing.
pub async fn statement(cx: Cx, op: GetStatement) -> Result<Statement> {
    let now = cx.now();
    let (from, to) = (op.from.resolve(now), op.to.resolve(now));
    if to < from {
        return Err(ApiError::violation("?to", "range", "must not be before `from`").into());
    }
    cx.read(move |conn| {
        let row = accounts::get(conn, op.id)?;
        let currency = row.currency()?;
        // from <= t < to, and times are whole microseconds
        let before = |at: Timestamp| Timestamp::from_micros(at.micros().saturating_sub(1));
        let first = entries::seq_at(conn, &row.id, before(from))?;
        let last = entries::seq_at(conn, &row.id, before(to))?;
        if last - first > STATEMENT {
            let facts = json!({ "entries": last - first, "limit": STATEMENT });
            let message = format!(
                "A statement has at most {STATEMENT} entries; take a shorter time, or list the entries."
            );
            return Err(ApiError::new(ErrorCode::QueryTooBroad, message).with(facts).into());
        }
        let rows = entries::between(conn, &row.id, first, last, STATEMENT)?;
        let lines = rows.iter().map(|line| entries::shown(line, currency)).collect::<Result<Vec<Entry>>>()?;
        let (opening, closing) = (after(conn, &row, first)?, after(conn, &row, last)?);
        // proved before it is sent
        if opening.posted + lines.iter().map(|line| line.change).sum::<i64>() != closing.posted {
            return Err(broken("a statement")(format!("the entries of {} do not add up", row.id).into()));
        }
        Ok(Statement { account_id: row.id()?, currency, from, to, opening, entries: lines, closing })
    })
    .await
}
