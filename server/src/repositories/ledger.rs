//! The books as a whole: both sides of every currency, and everything computed again.

use std::collections::HashMap;

use bursar_shared::{
    field::TransferKind,
    operations::ledger::{Checked, CurrencyBalance, LedgerReport, Problem},
};
use diesel::{
    dsl::sql,
    prelude::*,
    sql_types::{BigInt, Bool, Text},
};

use super::{accounts, entries, transfers};
use crate::{
    db::Conn,
    error::{Result, broken},
    schema::{accounts as a, entries as e, transfers as t},
};

/// Both sides of every currency. Sums of many counters may be beyond 64 bits, so they are added up in
/// halves; the difference never is.
pub fn trial_balance(conn: &mut Conn) -> Result<Vec<CurrencyBalance>> {
    type Sums = (String, i64, i64, i64, i64, i64, i64, i64, i64);
    let half = |text: &'static str| sql::<BigInt>(text);
    let rows: Vec<Sums> = a::table
        .group_by(a::currency)
        .order(a::currency)
        .select((
            a::currency,
            diesel::dsl::count_star(),
            half("CAST(SUM(debits_posted / 67108864) AS BIGINT)"),
            half("CAST(SUM(debits_posted % 67108864) AS BIGINT)"),
            half("CAST(SUM(credits_posted / 67108864) AS BIGINT)"),
            half("CAST(SUM(credits_posted % 67108864) AS BIGINT)"),
            half("CAST(SUM(credits_pending) AS BIGINT)"),
            half("CAST(SUM(credits_posted - debits_posted) AS BIGINT)"),
            half("CAST(SUM(credits_pending - debits_pending) AS BIGINT)"),
        ))
        .load(conn)?;
    let whole =
        |high: i64, low: i64| i64::try_from((i128::from(high) << 26) + i128::from(low)).unwrap_or(i64::MAX);
    rows.into_iter()
        .map(|(currency, accounts, dh, dl, ch, cl, pending, posted_off, pending_off)| {
            Ok(CurrencyBalance {
                currency: currency.parse().map_err(|why| broken("a currency of the store")(Box::new(why)))?,
                accounts: u64::try_from(accounts).unwrap_or(0),
                debits: whole(dh, dl),
                credits: whole(ch, cl),
                pending,
                imbalance: if posted_off == 0 { pending_off } else { posted_off },
            })
        })
        .collect()
}

/// Debits and credits, posted and pending.
type Totals = (i64, i64, i64, i64);

fn totals(row: &entries::Row) -> Totals {
    (row.debits_posted, row.credits_posted, row.debits_pending, row.credits_pending)
}

/// A walk through the books, a piece at a time: accounts, their entries, transfers. What was written stays
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
    /// After this entry, with what its account held then.
    Entries(String, i64, Totals),
    /// After this transfer.
    Transfers(String),
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
            Place::Entries(account, seq, before) => self.entries(conn, &account, seq, before)?,
            Place::Transfers(after) => self.transfers(conn, &after)?,
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

    /// An account holds what its last entry says.
    fn accounts(&mut self, conn: &mut Conn, after: &str) -> Result<Place> {
        let last = e::account_id.eq(a::id).and(e::seq.eq(a::entry_seq));
        let rows: Vec<(accounts::Row, Option<entries::Row>)> = a::table
            .left_join(e::table.on(last))
            .filter(a::id.gt(after))
            .order(a::id)
            .limit(Self::PIECE)
            .select((accounts::Row::as_select(), Option::<entries::Row>::as_select()))
            .load(conn)?;
        let Some((end, _)) = rows.last() else {
            return Ok(Place::Entries(String::new(), 0, (0, 0, 0, 0)));
        };
        let end = end.id.clone();
        for (row, last) in rows {
            self.checked.accounts += 1;
            let held = (row.debits_posted, row.credits_posted, row.debits_pending, row.credits_pending);
            let said = last.as_ref().map(totals).unwrap_or_default();
            if held != said {
                self.problem("account_totals", &row.id, &format!("{said:?}"), &format!("{held:?}"));
            }
            if last.is_none() && row.entry_seq != 0 {
                let id = format!("{}/{}", row.id, row.entry_seq);
                self.problem("entry_missing", id, &"an entry", &"none");
            }
        }
        Ok(Place::Accounts(end))
    }

    /// An entry continues the one before it by what its transfer does, and none lies beyond its account.
    fn entries(&mut self, conn: &mut Conn, account: &str, seq: i64, before: Totals) -> Result<Place> {
        type Found = (entries::Row, Option<transfers::Row>, Option<i64>);
        let rows: Vec<Found> = e::table
            .left_join(t::table.on(t::id.eq(e::transfer_id)))
            .left_join(a::table.on(a::id.eq(e::account_id)))
            // as one value, which both engines look up in the index: an account with a million entries would
            // else be read from its first one for every piece
            .filter(
                sql::<Bool>("(entries.account_id, entries.seq) > (")
                    .bind::<Text, _>(account)
                    .sql(", ")
                    .bind::<BigInt, _>(seq)
                    .sql(")"),
            )
            .order((e::account_id, e::seq))
            .limit(Self::PIECE)
            .select((
                entries::Row::as_select(),
                Option::<transfers::Row>::as_select(),
                a::entry_seq.nullable(),
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
        let (mut account, mut seq, mut before) = (account.to_owned(), seq, before);
        for (row, transfer, entry_seq) in rows {
            if row.account_id != account {
                (account, seq, before) = (row.account_id.clone(), 0, (0, 0, 0, 0));
            }
            self.checked.entries += 1;
            let id = format!("{account}/{}", row.seq);
            if row.seq != seq + 1 {
                self.problem("entry_missing", format!("{account}/{}", seq + 1), &"an entry", &"none");
            }
            if entry_seq.is_none_or(|last| row.seq > last) {
                let last = entry_seq.unwrap_or(0);
                self.problem("entry_beyond_account", &id, &last, &row.seq);
            }
            let expected = transfer.as_ref().and_then(|transfer| expected(&row, transfer, before, &held));
            match expected {
                Some(expected) if expected == totals(&row) => {}
                Some(expected) => {
                    self.problem(
                        "entry_chain",
                        &id,
                        &format!("{expected:?}"),
                        &format!("{:?}", totals(&row)),
                    );
                }
                None => self.problem("entry_chain", &id, &"a transfer that names it", &row.transfer_id),
            }
            (seq, before) = (row.seq, totals(&row));
        }
        Ok(Place::Entries(account, seq, before))
    }

    /// A transfer has both its entries, and stands as what was made of it says.
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
        let Some((end, _)) = rows.last() else { return Ok(Place::Sums) };
        let end = end.id.clone();
        let credit = e::account_id.eq(t::to_account_id).and(e::seq.eq(t::to_seq));
        let credits: Vec<(String, Option<String>)> = t::table
            .left_join(e::table.on(credit))
            .filter(t::id.gt(after))
            .order(t::id)
            .limit(Self::PIECE)
            .select((t::id, e::transfer_id.nullable()))
            .load(conn)?;
        let ids: Vec<&String> = rows.iter().map(|(row, _)| &row.id).collect();
        let children: Vec<(Option<String>, String, i64)> = t::table
            .filter(t::parent_id.eq_any(ids))
            .select((t::parent_id, t::kind, t::amount))
            .load(conn)?;
        let mut of: HashMap<String, Vec<(String, i64)>> = HashMap::new();
        for (parent, kind, amount) in children {
            of.entry(parent.unwrap_or_default()).or_default().push((kind, amount));
        }
        for ((row, debit), (id, credit)) in rows.iter().zip(credits) {
            self.checked.transfers += 1;
            for (side, found) in [("debit", debit), ("credit", &credit)] {
                if found.as_deref() != Some(&id) {
                    let found = found.clone().unwrap_or_else(|| "none".to_owned());
                    self.problem("entry_missing", &id, &format!("a {side}"), &found);
                }
            }
            let children = of.remove(&row.id).unwrap_or_default();
            let of_kind = |kind: TransferKind| {
                children.iter().find(|(one, _)| one == kind.as_str()).map(|(_, amount)| *amount)
            };
            let (capture, void, expiry) =
                (of_kind(TransferKind::Capture), of_kind(TransferKind::Void), of_kind(TransferKind::Expiry));
            let status = match (row.kind.as_str(), capture, void, expiry) {
                ("hold", Some(_), _, _) => "captured",
                ("hold", _, Some(_), _) => "voided",
                ("hold", _, _, Some(_)) => "expired",
                ("hold", ..) => "pending",
                _ => "posted",
            };
            if row.status != status {
                self.problem("hold_state", &row.id, &status, &row.status);
            }
            if row.captured_amount != capture.unwrap_or(0) {
                self.problem("captured_amount", &row.id, &capture.unwrap_or(0), &row.captured_amount);
            }
            let reversed: i64 =
                children.iter().filter(|(kind, _)| kind == "reversal").map(|(_, amount)| amount).sum();
            if row.reversed_amount != reversed {
                self.problem("reversed_amount", &row.id, &reversed, &row.reversed_amount);
            }
        }
        Ok(Place::Transfers(end))
    }
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
    let (post, hold) = match transfer.kind.parse().ok()? {
        TransferKind::Transfer | TransferKind::Reversal => (row.amount, 0),
        TransferKind::Hold => (0, row.amount),
        TransferKind::Void | TransferKind::Expiry => (0, -row.amount),
        TransferKind::Capture => (row.amount, -held.get(transfer.parent_id.as_deref()?)?),
    };
    let (debits, credits, debits_held, credits_held) = before;
    Some(match is_debit {
        true => (debits + post, credits, debits_held + hold, credits_held),
        false => (debits, credits + post, debits_held, credits_held + hold),
    })
}
