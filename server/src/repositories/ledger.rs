//! The books as a whole: both sides of every currency, and everything computed again.
//!
//! Whoever damaged the books may have written any number, so nothing here is added up in 64 bits.

use std::{borrow::Cow, collections::HashMap, fmt};

use bursar_shared::{
    field::{AccountStatus, TransferKind},
    money::MAX_MINOR,
    operations::ledger::{Checked, CurrencyBalance, LedgerReport, Problem},
};
use diesel::{
    dsl::sql,
    prelude::*,
    sql_types::{BigInt, Bool, Text},
};
use serde::Deserialize;

use super::{accounts, entries, transfers};
use crate::{
    db::Conn,
    error::{Result, broken},
    schema::{accounts as a, entries as e, log as l, transfers as t},
};

/// Both sides of every currency. Sums of many counters may be beyond 64 bits, so they are added up in
/// halves.
pub fn trial_balance(conn: &mut Conn) -> Result<Vec<CurrencyBalance>> {
    macro_rules! halves {
        ($column:literal) => {
            (
                sql::<BigInt>(concat!("CAST(SUM(", $column, " / 67108864) AS BIGINT)")),
                sql::<BigInt>(concat!("CAST(SUM(", $column, " % 67108864) AS BIGINT)")),
            )
        };
    }
    type Halves = (i64, i64);
    let rows: Vec<(String, i64, Halves, Halves, Halves, Halves)> = a::table
        .group_by(a::currency)
        .order(a::currency)
        .select((
            a::currency,
            diesel::dsl::count_star(),
            halves!("debits_posted"),
            halves!("credits_posted"),
            halves!("debits_pending"),
            halves!("credits_pending"),
        ))
        .load(conn)?;
    let whole = |(high, low): Halves| (i128::from(high) << 26) + i128::from(low);
    rows.into_iter()
        .map(|(currency, accounts, debits, credits, debits_held, credits_held)| {
            let (debits, credits) = (whole(debits), whole(credits));
            let (debits_held, credits_held) = (whole(debits_held), whole(credits_held));
            let (posted_off, pending_off) = (credits - debits, credits_held - debits_held);
            Ok(CurrencyBalance {
                currency: currency.parse().map_err(|why| broken("a currency of the store")(Box::new(why)))?,
                accounts: u64::try_from(accounts).unwrap_or(0),
                debits: shown(debits),
                credits: shown(credits),
                pending: shown(credits_held),
                imbalance: shown(if posted_off == 0 { pending_off } else { posted_off }),
            })
        })
        .collect()
}

/// As far as it can be shown.
fn shown(sum: i128) -> i64 {
    i64::try_from(sum).unwrap_or(if sum < 0 { i64::MIN } else { i64::MAX })
}

/// Debits and credits, posted and pending.
type Totals = [i128; 4];

fn totals(row: &entries::Row) -> Totals {
    [row.debits_posted, row.credits_posted, row.debits_pending, row.credits_pending].map(i128::from)
}

/// An account's last entry that was looked at.
#[derive(Debug, Clone, Default)]
struct Last {
    account: String,
    seq: i64,
    totals: Totals,
    at: i64,
}

/// What the log says of a transfer.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Noted<'a> {
    #[serde(borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    from_account_id: Cow<'a, str>,
    #[serde(borrow)]
    to_account_id: Cow<'a, str>,
    #[serde(borrow)]
    currency: Cow<'a, str>,
    #[serde(borrow)]
    parent_id: Option<Cow<'a, str>>,
    amount: i64,
}

impl<'a> Noted<'a> {
    /// What it should say.
    fn of(row: &'a transfers::Row) -> Self {
        Self {
            kind: row.kind.as_str().into(),
            from_account_id: row.from_account_id.as_str().into(),
            to_account_id: row.to_account_id.as_str().into(),
            currency: row.currency.as_str().into(),
            parent_id: row.parent_id.as_deref().map(Into::into),
            amount: row.amount,
        }
    }
}

impl fmt::Display for Noted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, from_account_id, to_account_id, currency, parent_id, amount } = self;
        write!(f, "{kind} {amount} {currency} {from_account_id} to {to_account_id}")?;
        parent_id.as_ref().map_or(Ok(()), |parent| write!(f, " of {parent}"))
    }
}

/// A walk through the books, a piece at a time: accounts, their entries, transfers, and what the log says of
/// them. What was written stays
/// as it is, so the pieces need no common snapshot, and no read takes long however large the books are.
#[derive(Debug, Clone)]
pub struct Walk {
    place: Place,
    checked: Checked,
    problems: Vec<Problem>,
}

#[derive(Debug, Clone)]
enum Place {
    /// After this account.
    Accounts(String),
    /// After this entry.
    Entries(Last),
    /// After this transfer.
    Transfers(String),
    /// After this row.
    Log(i64),
    Sums,
    End,
}

impl Walk {
    /// Rows read at a time.
    const PIECE: i64 = 2_000;
    /// Problems told at most.
    const MOST: usize = 100;

    /// Begins before the first account.
    pub fn begin() -> Self {
        Self { place: Place::Accounts(String::new()), checked: Checked::default(), problems: Vec::new() }
    }

    /// Walks a piece on; the report when it is at the end.
    pub fn step(mut self, conn: &mut Conn) -> Result<std::result::Result<LedgerReport, Self>> {
        self.place = match std::mem::replace(&mut self.place, Place::End) {
            Place::Accounts(after) => self.accounts(conn, &after)?,
            Place::Entries(last) => self.entries(conn, last)?,
            Place::Transfers(after) => self.transfers(conn, &after)?,
            Place::Log(after) => self.log(conn, after)?,
            Place::Sums => {
                for sum in trial_balance(conn)?.iter().filter(|sum| sum.imbalance != 0) {
                    self.problem("imbalance", sum.currency, &0, &sum.imbalance);
                }
                Place::End
            }
            Place::End => Place::End,
        };
        Ok(match self.place {
            Place::End => Ok(LedgerReport {
                ok: self.problems.is_empty(),
                checked: self.checked,
                problems: self.problems,
            }),
            _ => Err(self),
        })
    }

    fn problem(&mut self, kind: &str, id: impl ToString, expected: &impl ToString, actual: &impl ToString) {
        if self.problems.len() < Self::MOST {
            let (expected, actual) = (expected.to_string(), actual.to_string());
            self.problems.push(Problem { kind: kind.to_owned(), id: id.to_string(), expected, actual });
        }
    }

    /// An account holds what its last entry says, within its own rules.
    fn accounts(&mut self, conn: &mut Conn, after: &str) -> Result<Place> {
        let last = e::account_id.eq(a::id).and(e::seq.eq(a::entry_seq));
        let rows: Vec<(accounts::Row, Option<entries::Row>)> = a::table
            .left_join(e::table.on(last))
            .filter(a::id.gt(after))
            .order(a::id)
            .limit(Self::PIECE)
            .select((accounts::Row::as_select(), Option::<entries::Row>::as_select()))
            .load(conn)?;
        let Some((end, _)) = rows.last() else { return Ok(Place::Entries(Last::default())) };
        let end = end.id.clone();
        for (row, last) in rows {
            self.checked.accounts += 1;
            let held = [row.debits_posted, row.credits_posted, row.debits_pending, row.credits_pending]
                .map(i128::from);
            let said = last.as_ref().map(totals).unwrap_or_default();
            if held != said {
                self.problem("account_totals", &row.id, &format!("{said:?}"), &format!("{held:?}"));
            }
            let at = last.as_ref().map_or(0, |last| last.created_at);
            if row.moved_at != at {
                self.problem("account_time", &row.id, &at, &row.moved_at);
            }
            if last.is_none() && row.entry_seq != 0 {
                let id = format!("{}/{}", row.id, row.entry_seq);
                self.problem("entry_missing", id, &"an entry", &"none");
            }
            self.rules(&row, held);
            if row.status == AccountStatus::Frozen.as_str()
                && let Some(transfer) = moved_while_frozen(conn, &row)?
            {
                self.problem("account_frozen", &row.id, &"nothing goes out", &transfer);
            }
        }
        Ok(Place::Accounts(end))
    }

    /// The rules of one account, by what it holds now; what it held before was within the limits of its time.
    fn rules(&mut self, row: &accounts::Row, held: Totals) {
        let [debits, credits, debits_held, credits_held] = held;
        let most = i128::from(MAX_MINOR);
        let available = |limit: i64| credits - debits + i128::from(limit);
        let counts = held.iter().all(|counter| (0..=most).contains(counter))
            && row.overdraft_limit.is_none_or(|limit| available(limit) <= most);
        if !counts {
            self.problem("account_counters", &row.id, &format!("0 to {MAX_MINOR}"), &format!("{held:?}"));
        }
        if let Some(limit) = row.overdraft_limit.filter(|limit| available(*limit) < debits_held) {
            self.problem(
                "account_funds",
                &row.id,
                &format!("no less than -{limit}"),
                &(credits - debits - debits_held),
            );
        }
        let would_hold = credits + credits_held - debits;
        if let Some(limit) = row.max_balance.filter(|limit| would_hold > i128::from(*limit)) {
            self.problem("account_limit", &row.id, &format!("at most {limit}"), &would_hold);
        }
        let empty = debits == credits && debits_held == 0 && credits_held == 0;
        if row.status == AccountStatus::Closed.as_str() && (!empty || row.moved_at > row.updated_at) {
            self.problem("account_closed", &row.id, &"empty, and nothing moved since", &format!("{held:?}"));
        }
        let limited = row.overdraft_limit.is_some() || row.max_balance.is_some() || row.owner_id.is_some();
        if row.system_key.is_some() && (limited || row.status != AccountStatus::Active.as_str()) {
            self.problem("account_system", &row.id, &"active, unlimited, of nobody", &row.status);
        }
    }

    /// An entry continues the one before it by what its transfer does, later, and none lies beyond its
    /// account.
    fn entries(&mut self, conn: &mut Conn, mut last: Last) -> Result<Place> {
        type Found = (entries::Row, Option<transfers::Row>, Option<(i64, String)>);
        let rows: Vec<Found> = e::table
            .left_join(t::table.on(t::id.eq(e::transfer_id)))
            .left_join(a::table.on(a::id.eq(e::account_id)))
            // as one value, which both engines look up in the index: an account with a million entries would
            // else be read from its first one for every piece
            .filter(
                sql::<Bool>("(entries.account_id, entries.seq) > (")
                    .bind::<Text, _>(last.account.clone())
                    .sql(", ")
                    .bind::<BigInt, _>(last.seq)
                    .sql(")"),
            )
            .order((e::account_id, e::seq))
            .limit(Self::PIECE)
            .select((
                entries::Row::as_select(),
                Option::<transfers::Row>::as_select(),
                (a::entry_seq, a::currency).nullable(),
            ))
            .load(conn)?;
        if rows.is_empty() {
            return Ok(Place::Transfers(String::new()));
        }
        let captured: Vec<String> = rows
            .iter()
            .filter_map(|(_, transfer, _)| transfer.as_ref())
            .filter(|transfer| transfer.kind == TransferKind::Capture.as_str())
            .filter_map(|transfer| transfer.parent_id.clone())
            .collect();
        let held: Vec<(String, i64)> =
            t::table.filter(t::id.eq_any(captured)).select((t::id, t::amount)).load(conn)?;
        let held: HashMap<String, i64> = held.into_iter().collect();
        for (row, transfer, account) in rows {
            if row.account_id != last.account {
                last = Last { account: row.account_id.clone(), at: -1, ..Last::default() };
            }
            self.checked.entries += 1;
            let id = format!("{}/{}", row.account_id, row.seq);
            if row.seq != last.seq.saturating_add(1) {
                let missing = format!("{}/{}", row.account_id, last.seq.saturating_add(1));
                self.problem("entry_missing", missing, &"an entry", &"none");
            }
            let (end, currency) = account.unwrap_or_default();
            if row.seq > end {
                self.problem("entry_beyond_account", &id, &end, &row.seq);
            }
            let expected =
                transfer.as_ref().and_then(|transfer| expected(&row, transfer, last.totals, &held));
            let found = totals(&row);
            match expected {
                Some(expected) if expected == found => {}
                Some(expected) => {
                    self.problem("entry_chain", &id, &format!("{expected:?}"), &format!("{found:?}"));
                }
                None => self.problem("entry_chain", &id, &"a transfer that names it", &row.transfer_id),
            }
            if row.created_at <= last.at {
                self.problem("entry_time", &id, &format!("after {}", last.at), &row.created_at);
            }
            if let Some(transfer) = &transfer {
                if transfer.created_at != row.created_at {
                    self.problem("entry_time", &id, &transfer.created_at, &row.created_at);
                }
                if transfer.currency != currency {
                    self.problem("currency", &transfer.id, &currency, &transfer.currency);
                }
            }
            (last.seq, last.totals, last.at) = (row.seq, found, row.created_at);
        }
        Ok(Place::Entries(last))
    }

    /// A transfer has both its entries, fits what it refers to, and stands as what was made of it says.
    fn transfers(&mut self, conn: &mut Conn, after: &str) -> Result<Place> {
        type Found = (transfers::Row, Option<String>);
        let debit = e::account_id.eq(t::from_account_id).and(e::seq.eq(t::from_seq));
        let rows: Vec<Found> = t::table
            .left_join(e::table.on(debit))
            .filter(t::id.gt(after))
            .order(t::id)
            .limit(Self::PIECE)
            .select((transfers::Row::as_select(), e::transfer_id.nullable()))
            .load(conn)?;
        let Some((end, _)) = rows.last() else { return Ok(Place::Log(0)) };
        let end = end.id.clone();
        let credit = e::account_id.eq(t::to_account_id).and(e::seq.eq(t::to_seq));
        let credits: Vec<(String, Option<String>)> = t::table
            .left_join(e::table.on(credit))
            .filter(t::id.gt(after))
            .order(t::id)
            .limit(Self::PIECE)
            .select((t::id, e::transfer_id.nullable()))
            .load(conn)?;
        let credits: HashMap<String, Option<String>> = credits.into_iter().collect();
        let ids: Vec<&String> = rows.iter().map(|(row, _)| &row.id).collect();
        let children: Vec<transfers::Row> =
            t::table.filter(t::parent_id.eq_any(ids)).select(transfers::Row::as_select()).load(conn)?;
        let mut of: HashMap<String, Vec<transfers::Row>> = HashMap::new();
        for child in children {
            of.entry(child.parent_id.clone().unwrap_or_default()).or_default().push(child);
        }
        let parents: Vec<&String> = rows.iter().filter_map(|(row, _)| row.parent_id.as_ref()).collect();
        let parents: Vec<transfers::Row> =
            t::table.filter(t::id.eq_any(parents)).select(transfers::Row::as_select()).load(conn)?;
        let parents: HashMap<&str, &transfers::Row> =
            parents.iter().map(|row| (row.id.as_str(), row)).collect();
        let ids: Vec<&String> = rows.iter().map(|(row, _)| &row.id).collect();
        let lines: Vec<(Option<String>, String)> = l::table
            .filter(l::resource_id.eq_any(ids))
            .filter(l::resource_type.eq("transfer"))
            .select((l::resource_id, l::data))
            .load(conn)?;
        let mut noted: HashMap<&str, Vec<&str>> = HashMap::new();
        for (id, data) in &lines {
            noted.entry(id.as_deref().unwrap_or_default()).or_default().push(data);
        }
        for (row, debit) in &rows {
            self.checked.transfers += 1;
            self.noted(row, noted.get(row.id.as_str()).map_or(&[], Vec::as_slice));
            let credit = credits.get(&row.id).cloned().flatten();
            for (side, found) in [("debit", debit), ("credit", &credit)] {
                if found.as_deref() != Some(row.id.as_str()) {
                    let found = found.clone().unwrap_or_else(|| "none".to_owned());
                    self.problem("entry_missing", &row.id, &format!("a {side}"), &found);
                }
            }
            if row.from_account_id == row.to_account_id {
                self.problem("transfer_accounts", &row.id, &"two", &"one");
            }
            if !(1..=MAX_MINOR).contains(&row.amount) {
                self.problem("transfer_amount", &row.id, &format!("1 to {MAX_MINOR}"), &row.amount);
            }
            let parent = row.parent_id.as_deref().map(|id| parents.get(id).copied());
            if let Some(expected) = misfit(row, parent) {
                self.problem("parent", &row.id, &expected, &row.parent_id.as_deref().unwrap_or("none"));
            }
            self.stands(row, &of.remove(&row.id).unwrap_or_default());
        }
        Ok(Place::Transfers(end))
    }

    /// The log says of a transfer what it is, once: whoever writes it by hand writes no event.
    fn noted(&mut self, row: &transfers::Row, events: &[&str]) {
        let is = Noted::of(row);
        match events {
            [event] => match serde_json::from_str::<Noted<'_>>(event) {
                Ok(said) if said == is => {}
                Ok(said) => self.problem("transfer_unlogged", &row.id, &said, &is),
                Err(_) => self.problem("transfer_unlogged", &row.id, &is, &"an event that cannot be read"),
            },
            _ => self.problem("transfer_unlogged", &row.id, &"one event", &events.len()),
        }
    }

    /// An event of a transfer has its transfer.
    fn log(&mut self, conn: &mut Conn, after: i64) -> Result<Place> {
        let rows: Vec<(i64, String, Option<String>, Option<String>)> = l::table
            .left_join(t::table.on(t::id.nullable().eq(l::resource_id)))
            .filter(l::seq.gt(after))
            .order(l::seq)
            .limit(Self::PIECE)
            .select((l::seq, l::resource_type, l::resource_id, t::id.nullable()))
            .load(conn)?;
        let Some((end, ..)) = rows.last() else { return Ok(Place::Sums) };
        let end = *end;
        for (seq, of, id, found) in rows {
            if of == "transfer" && found.is_none() {
                let id = id.unwrap_or_else(|| format!("log/{seq}"));
                self.problem("event_without_transfer", id, &"a transfer", &"none");
            }
        }
        Ok(Place::Log(end))
    }

    /// A transfer stands as what was made of it says.
    fn stands(&mut self, row: &transfers::Row, children: &[transfers::Row]) {
        let ends: Vec<&transfers::Row> = children
            .iter()
            .filter(|child| ["capture", "void", "expiry"].contains(&child.kind.as_str()))
            .collect();
        if ends.len() > 1 {
            self.problem("hold_state", &row.id, &"one end", &ends.len());
        }
        let end = ends.first().map(|child| (child.kind.as_str(), child.amount));
        let (status, captured) = match (row.kind.as_str(), end) {
            ("hold", Some(("capture", amount))) => ("captured", amount),
            ("hold", Some(("void", _))) => ("voided", 0),
            ("hold", Some(_)) => ("expired", 0),
            ("hold", None) => ("pending", 0),
            _ => ("posted", 0),
        };
        if row.status != status {
            self.problem("hold_state", &row.id, &status, &row.status);
        }
        if row.captured_amount != captured {
            self.problem("captured_amount", &row.id, &captured, &row.captured_amount);
        }
        if captured > row.amount {
            self.problem("captured_too_much", &row.id, &format!("at most {}", row.amount), &captured);
        }
        let reversals = children.iter().filter(|child| child.kind == TransferKind::Reversal.as_str());
        let reversed: i128 = reversals.map(|child| i128::from(child.amount)).sum();
        if i128::from(row.reversed_amount) != reversed {
            self.problem("reversed_amount", &row.id, &reversed, &row.reversed_amount);
        }
        if reversed > i128::from(row.amount) {
            self.problem("reversed_too_much", &row.id, &format!("at most {}", row.amount), &reversed);
        }
    }
}

/// What a transfer should refer to, when it refers to something else.
fn misfit(row: &transfers::Row, parent: Option<Option<&transfers::Row>>) -> Option<&'static str> {
    let kind: TransferKind = match row.kind.parse() {
        Ok(kind) => kind,
        Err(_) => return Some("a known kind"),
    };
    let fits = |parent: &transfers::Row| {
        let ended = |at: i64| parent.expires_at.is_some_and(|end| at >= end);
        let (same, turned) = (
            parent.from_account_id == row.from_account_id && parent.to_account_id == row.to_account_id,
            parent.from_account_id == row.to_account_id && parent.to_account_id == row.from_account_id,
        );
        let whole = row.amount == parent.amount;
        let held = parent.kind == TransferKind::Hold.as_str() && same;
        let before = parent.currency == row.currency && parent.created_at < row.created_at;
        before
            && match kind {
                TransferKind::Capture => held && row.amount <= parent.amount && !ended(row.created_at),
                TransferKind::Void => held && whole,
                TransferKind::Expiry => held && whole && ended(row.created_at),
                TransferKind::Reversal => ["transfer", "capture"].contains(&parent.kind.as_str()) && turned,
                TransferKind::Transfer | TransferKind::Hold => false,
            }
    };
    match (kind, parent) {
        (TransferKind::Transfer | TransferKind::Hold, None) => None,
        (TransferKind::Transfer | TransferKind::Hold, Some(_)) => Some("none"),
        (_, Some(Some(parent))) if fits(parent) => None,
        (TransferKind::Reversal, _) => Some("an earlier transfer or capture, turned round"),
        (TransferKind::Capture, _) => Some("an earlier hold of as much, in its time"),
        (TransferKind::Void, _) => Some("an earlier hold of as much"),
        (TransferKind::Expiry, _) => Some("an earlier hold of as much, whose time was over"),
    }
}

/// A transfer that took money out of a frozen account after it was frozen: by the order of the log, since
/// the clocks of daemons differ.
fn moved_while_frozen(conn: &mut Conn, row: &accounts::Row) -> Result<Option<String>> {
    /// Entries looked at: what came in since.
    const BACK: i64 = 1_000;
    let frozen: Option<i64> = l::table
        .filter(l::resource_id.eq(&row.id))
        .filter(l::kind.eq("account.frozen"))
        .order(l::seq.desc())
        .select(l::seq)
        .first(conn)
        .optional()?;
    let Some(frozen) = frozen else { return Ok(None) };
    let lines: Vec<(String, String, String, i64)> = e::table
        .inner_join(t::table)
        .inner_join(l::table.on(l::resource_id.eq(e::transfer_id.nullable())))
        .filter(e::account_id.eq(&row.id))
        .filter(l::resource_type.eq("transfer"))
        .order(e::seq.desc())
        .limit(BACK)
        .select((e::transfer_id, e::side, t::kind, l::seq))
        .load(conn)?;
    let goes_out = |kind: &str| !["void", "expiry"].contains(&kind);
    let mut since = lines.into_iter().take_while(|(.., seq)| *seq > frozen);
    Ok(since.find(|(_, side, kind, _)| side == "debit" && goes_out(kind)).map(|(id, ..)| id))
}

/// What an account holds after this entry, by its transfer; nothing when that does not name the entry.
fn expected(
    row: &entries::Row,
    transfer: &transfers::Row,
    before: Totals,
    held: &HashMap<String, i64>,
) -> Option<Totals> {
    let is_debit = row.side == "debit";
    let names_it = match is_debit {
        true => transfer.from_account_id == row.account_id && transfer.from_seq == row.seq,
        false => transfer.to_account_id == row.account_id && transfer.to_seq == row.seq,
    };
    if !names_it || transfer.amount != row.amount {
        return None;
    }
    let amount = i128::from(row.amount);
    let (post, hold) = match transfer.kind.parse().ok()? {
        TransferKind::Transfer | TransferKind::Reversal => (amount, 0),
        TransferKind::Hold => (0, amount),
        TransferKind::Void | TransferKind::Expiry => (0, -amount),
        TransferKind::Capture => (amount, -i128::from(*held.get(transfer.parent_id.as_deref()?)?)),
    };
    let [debits, credits, debits_held, credits_held] = before;
    Some(match is_debit {
        true => [debits + post, credits, debits_held + hold, credits_held],
        false => [debits, credits + post, debits_held, credits_held + hold],
    })
}
