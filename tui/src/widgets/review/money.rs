//! Money under review: what both accounts hold before and after, and the amount that is typed before it moves.

use bursar_shared::{
    field::{AccountStatus, TransferMode},
    id::AccountId,
    money::Currency,
    operations::{
        accounts::{Account, Balances},
        users::BulkOp,
    },
};

use super::{Review, Stage, tally};
use crate::{
    change::{Change, Deed, Effect, Moved},
    look::Theme,
    model::Model,
    screens::{accounts::status, money::label},
    text::{Clean, amount, minute},
    widgets::canvas::{Bit, bit},
};

/// Cells of the name of a line.
const NAME: usize = 12;
/// Cells of an amount.
const CELLS: usize = 18;

/// What is typed before the button works.
#[derive(Debug, Clone, Copy)]
pub(super) enum Typed {
    /// So much money.
    Amount(Currency, i64),
    /// So many people.
    Count(usize),
}

impl Review {
    /// What must be typed before it is done: the amount that moves, or is held, or how many are deleted.
    pub(super) fn asks_for(&self) -> Option<Typed> {
        match (&self.change, &self.stage) {
            (Change::Money(deed), _) => deed.amount().map(|(currency, minor)| Typed::Amount(currency, minor)),
            (Change::Many(BulkOp::Delete, _), Stage::Ready(Effect::Many(plan))) => {
                Some(tally(plan).0).filter(|count| *count > 1).map(Typed::Count)
            }
            _ => None,
        }
    }

    /// What that is called.
    pub(super) fn typed_name(&self) -> &'static str {
        if matches!(self.asks_for(), Some(Typed::Count(_))) { "count" } else { "amount" }
    }

    /// Whether that was typed; true where nothing must be.
    pub(super) fn is_typed(&self) -> bool {
        let typed = self.typed.value().trim();
        match self.asks_for() {
            None => true,
            Some(Typed::Amount(currency, minor)) => currency.minor(typed) == Ok(minor),
            Some(Typed::Count(count)) => typed.parse() == Ok(count),
        }
    }

    /// What is still to be done before the button works.
    pub(super) fn typed_note(&self, theme: &Theme) -> Option<Bit> {
        let wanted = match self.asks_for()? {
            Typed::Amount(currency, minor) => currency.decimal(minor),
            Typed::Count(count) => count.to_string(),
        };
        let typed = self.typed.value().trim();
        Some(match (typed.is_empty(), self.is_typed(), wanted.strip_prefix(typed)) {
            (_, true, _) if self.offline => bit("the button works once the daemon is back", theme.dim),
            (_, true, _) if !self.choosable() => bit("the button works once it is asked anew", theme.dim),
            (_, true, _) => bit(format!("{} {}", theme.glyphs.mark, "the button works"), theme.good),
            (true, ..) => bit(format!("type {wanted} to let the button work"), theme.dim),
            (false, false, Some(rest)) => bit(format!("{} more", rest.len()), theme.dim),
            _ => bit(format!("{} is not {wanted}", theme.glyphs.stop), theme.bad),
        })
    }
}

/// What a change about money is about, line by line.
pub(super) fn facts(
    review: &Review,
    deed: &Deed,
    model: &Model,
    theme: &Theme,
    width: usize,
) -> Vec<Vec<Bit>> {
    let mut lines = Vec::new();
    let effect = match &review.stage {
        Stage::Ready(effect) => Some(effect),
        _ => None,
    };
    match effect {
        Some(Effect::Moved(moved)) => lines.extend(moves(moved, theme, width)),
        _ => lines.push(fact("what", vec![bit(review.whom(model), theme.strong)], theme)),
    }
    match deed {
        Deed::Post(op, _) => {
            if op.mode == Some(TransferMode::Hold) {
                let until = match effect {
                    Some(Effect::Moved(moved)) => moved.transfer.expires_at,
                    _ => None,
                };
                let text = match (until, op.expires_in_seconds) {
                    (Some(at), _) => format!("until {}Z, then it is let go", minute(at)),
                    (None, Some(seconds)) => format!("for {} s", seconds.0),
                    (None, None) => "until it is captured or voided".to_owned(),
                };
                lines.push(fact("held", vec![bit(text, theme.text)], theme));
            }
            let texts = [
                ("reason", op.reason.as_ref().map(|reason| reason.as_str())),
                ("for", op.description.as_ref().map(|text| text.as_str())),
                ("external id", op.external_id.as_ref().map(|id| id.as_str())),
            ];
            for (name, text) in texts {
                lines.extend(text.map(|text| wrapped(name, text, theme, width)).unwrap_or_default());
            }
        }
        Deed::Reverse(of, _, reason) => {
            lines.extend(wrapped("reason", reason.as_str(), theme, width));
            lines.push(fact("of", vec![bit(of.id.to_string(), theme.text)], theme));
        }
        Deed::Capture(of, _) => {
            let rest = deed.amount().map_or(0, |(_, minor)| of.amount - minor);
            if rest > 0 {
                let text = format!("{} {} is let go", amount(of.currency, rest), of.currency);
                lines.push(fact("the rest", vec![bit(text, theme.warn)], theme));
            }
            lines.push(fact("of", vec![bit(of.id.to_string(), theme.text)], theme));
        }
        Deed::Void(of, _) => lines.push(fact("of", vec![bit(of.id.to_string(), theme.text)], theme)),
        Deed::Freeze(account, _) => {
            lines.push(turned(account, AccountStatus::Frozen, theme));
            let text = "money may come in; nothing goes out, not even what is held";
            lines.push(fact("then", vec![bit(text, theme.text)], theme));
        }
        Deed::Unfreeze(account, _) => lines.push(turned(account, AccountStatus::Active, theme)),
        Deed::Close(account, sweep, _) => {
            lines.push(turned(account, AccountStatus::Closed, theme));
            if let Some((_, to)) = sweep {
                let posted = account.balances.posted;
                let sum = format!("{} {}", amount(account.currency, posted.abs()), account.currency);
                let text = match posted {
                    ..0 => format!("{sum}, its debt, is paid by {to}"),
                    0 => format!("it is empty; nothing goes to {to}"),
                    _ => format!("{sum} goes to {to}"),
                };
                lines.push(fact("sweep", vec![bit(text, theme.strong)], theme));
            }
            if let Some(Effect::Account(after) | Effect::Closing(_, after)) = effect {
                let arrow = bit(format!(" {} ", theme.glyphs.arrow), theme.dim);
                let text =
                    |account: &Account| bit(amount(account.currency, account.balances.posted), theme.text);
                lines.push(fact("posted", vec![text(account), arrow, text(after)], theme));
            }
        }
        Deed::Open(..) | Deed::Edit(..) => {}
    }
    lines
}

fn fact(name: &str, rest: Vec<Bit>, theme: &Theme) -> Vec<Bit> {
    let mut line = vec![bit(format!("{name:<NAME$}"), theme.dim)];
    line.extend(rest);
    line
}

fn wrapped(name: &str, text: &str, theme: &Theme, width: usize) -> Vec<Vec<Bit>> {
    let parts = Clean::of(text.replace('\n', " ")).wrap(width.saturating_sub(NAME).max(8));
    let named = |(at, text): (usize, Clean)| {
        fact(if at == 0 { name } else { "" }, vec![Bit { text, style: theme.text }], theme)
    };
    parts.into_iter().enumerate().map(named).collect()
}

fn turned(account: &Account, to: AccountStatus, theme: &Theme) -> Vec<Bit> {
    let arrow = bit(format!(" {} ", theme.glyphs.arrow), theme.dim);
    fact("status", vec![status(account.status, theme), arrow, status(to, theme)], theme)
}

/// Both accounts, before and after: the sender first.
fn moves(moved: &Moved, theme: &Theme, width: usize) -> Vec<Vec<Bit>> {
    let transfer = &moved.transfer;
    let currency = transfer.currency;
    // the amounts stay whole; where there is little room their names do not
    let cells = CELLS.min(width.saturating_sub(NAME) / 2);
    let mut lines = vec![vec![
        bit(" ".repeat(NAME), theme.dim),
        bit(format!("{:>cells$}", "NOW"), theme.dim),
        bit(format!("{:>cells$}", "AFTER"), theme.dim),
        bit(format!("  {currency}"), theme.dim),
    ]];
    let after = |id: AccountId| transfer.accounts.iter().flatten().find(|after| after.id == id);
    let nothing = Balances { posted: 0, pending_in: 0, pending_out: 0, available: None };
    for (word, id) in [("from", transfer.from_account_id), ("to", transfer.to_account_id)] {
        let account = moved.before.iter().find(|account| account.id == id);
        let name = account.map_or_else(|| "made by this".to_owned(), label);
        let state = account.filter(|account| account.status != AccountStatus::Active);
        let mut line = vec![bit(format!("{word:<NAME$}"), theme.dim), bit(name, theme.strong)];
        if let Some(account) = state {
            line.push(bit("  ", theme.text));
            line.push(status(account.status, theme));
        }
        lines.push(line);
        let before = account.map_or(nothing, |account| account.balances);
        let Some(after) = after(id).map(|after| after.balances) else { continue };
        let mut row = |name: &str, was: Option<i64>, now: Option<i64>| {
            let text = |minor: Option<i64>| {
                minor.map_or_else(|| "unlimited".to_owned(), |minor| amount(currency, minor))
            };
            let style = match (now, was == now) {
                (Some(..0), _) => theme.warn,
                (_, true) => theme.dim,
                _ => theme.strong,
            };
            lines.push(vec![
                bit(format!("  {name:<10}"), theme.dim),
                bit(format!("{:>cells$}", text(was)), theme.text),
                bit(format!("{:>cells$}", text(now)), style),
            ]);
        };
        row("posted", Some(before.posted), Some(after.posted));
        if before.pending_out != after.pending_out {
            row("held out", Some(before.pending_out), Some(after.pending_out));
        }
        if before.pending_in != after.pending_in {
            row("held in", Some(before.pending_in), Some(after.pending_in));
        }
        row("available", before.available.or(after.available.filter(|_| account.is_none())), after.available);
    }
    lines
}
