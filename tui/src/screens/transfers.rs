//! Transfers: money that moved, or is held; where it stands, and what it has to do with others.

use bursar_shared::{
    field::{Note, Reason, TransferKind, TransferStatus},
    operations::{accounts::Entry, transfers::Transfer},
    page::List,
    permission::Permission,
};

use super::{
    accounts::{fact, indented},
    money::{Beside, related_key},
};
use crate::{
    listing::{Column, Rows},
    look::Theme,
    message::Request,
    model::Model,
    text::{Clean, amount, amount_in, brief, minute, stamp},
    widgets::canvas::{Bit, bit},
    window::Row,
};

/// Where a transfer stands, in a sign and a word: those that the filter takes, `status:pending` and
/// `kind:void`. What came back in part has the sign of what waits.
pub fn state(transfer: &Transfer, theme: &Theme) -> Bit {
    let glyphs = theme.glyphs;
    let (sign, word, style) = match (transfer.kind, transfer.status) {
        (TransferKind::Hold, TransferStatus::Pending) => (glyphs.wait, "pending", theme.warn),
        (TransferKind::Hold, TransferStatus::Captured) => (glyphs.good, "captured", theme.good),
        (TransferKind::Hold, TransferStatus::Voided) => (glyphs.gone, "voided", theme.dim),
        (TransferKind::Hold, TransferStatus::Expired) => (glyphs.gone, "expired", theme.dim),
        (TransferKind::Void, _) => (glyphs.gone, "void", theme.dim),
        (TransferKind::Expiry, _) => (glyphs.gone, "expiry", theme.dim),
        (TransferKind::Reversal, _) => (glyphs.good, "reversal", theme.text),
        _ if transfer.reversed_amount >= transfer.amount => (glyphs.stop, "reversed", theme.warn),
        _ if transfer.reversed_amount > 0 => (glyphs.wait, "part-reversed", theme.warn),
        (TransferKind::Capture, _) => (glyphs.good, "capture", theme.good),
        _ => (glyphs.good, "posted", theme.good),
    };
    bit(format!("{sign} {word}"), style)
}

impl Rows for Transfer {
    const TITLE: &'static str = "Transfers";
    const NOTHING: &'static str = "no money has moved yet; {transfer.create} moves some";
    const COLUMNS: &'static [Column<Self>] = &[
        Column {
            title: "TIME",
            min: 11,
            share: 0,
            right: false,
            shown: true,
            sort: Some("createdAt"),
            cell: |transfer, model, theme| bit(stamp(transfer.created_at, model.now), theme.dim),
        },
        Column {
            title: "AMOUNT",
            min: 12,
            share: 0,
            right: true,
            shown: true,
            sort: Some("amount"),
            cell: |transfer, _, theme| bit(amount_in(transfer.currency, transfer.amount, 12), theme.text),
        },
        Column {
            title: "CUR",
            min: 3,
            share: 0,
            right: false,
            shown: true,
            sort: None,
            cell: |transfer, _, theme| bit(transfer.currency.to_string(), theme.dim),
        },
        Column {
            title: "STATE",
            min: 15,
            share: 0,
            right: false,
            shown: true,
            sort: None,
            cell: |transfer, _, theme| state(transfer, theme),
        },
        Column {
            title: "FROM",
            min: 11,
            share: 2,
            right: false,
            shown: true,
            sort: None,
            cell: |transfer, model, theme| bit(model.money.called(transfer.from_account_id), theme.text),
        },
        Column {
            title: "TO",
            min: 11,
            share: 2,
            right: false,
            shown: true,
            sort: None,
            cell: |transfer, model, theme| bit(model.money.called(transfer.to_account_id), theme.text),
        },
        Column {
            title: "REASON",
            min: 12,
            share: 2,
            right: false,
            shown: true,
            sort: None,
            cell: |transfer, _, theme| {
                bit(why(transfer.reason.as_ref(), &transfer.description).unwrap_or_default(), theme.dim)
            },
        },
        Column {
            title: "KIND",
            min: 8,
            share: 0,
            right: false,
            shown: false,
            sort: None,
            cell: |transfer, _, theme| bit(transfer.kind.as_str(), theme.text),
        },
        Column {
            title: "REVERSED",
            min: 12,
            share: 0,
            right: true,
            shown: false,
            sort: None,
            cell: |transfer, _, theme| match transfer.reversed_amount {
                0 => bit("", theme.dim),
                minor => bit(amount_in(transfer.currency, minor, 12), theme.warn),
            },
        },
        Column {
            title: "EXTERNAL ID",
            min: 14,
            share: 1,
            right: false,
            shown: false,
            sort: None,
            cell: |transfer, _, theme| {
                bit(transfer.external_id.as_ref().map_or_else(String::new, ToString::to_string), theme.dim)
            },
        },
        Column::ID,
    ];

    fn request(list: List<Self>) -> Request {
        Request::Transfers(list)
    }

    fn outdates(&self, other: &Self) -> bool {
        // it waits once, and only more of it can come back
        let state = |one: &Self| (one.status != TransferStatus::Pending, one.reversed_amount);
        state(self) > state(other)
    }

    fn called(&self, _: &Model) -> String {
        format!("{} {} {}", self.kind, amount(self.currency, self.amount), self.currency)
    }

    fn lines(row: &Row<Self>, model: &Model, width: u16, whole: bool) -> Vec<Vec<Bit>> {
        let theme = &model.theme;
        let mut lines = Vec::new();
        if row.gone {
            let text = format!("{} gone, or no longer in this list", theme.glyphs.gone);
            lines.push(vec![bit(text, theme.warn)]);
        }
        lines.extend(about(&row.record, model, width));
        if whole { indented(lines, theme) } else { lines }
    }
}

/// Why it was done, or what for.
pub fn why(reason: Option<&Reason>, description: &Note) -> Option<String> {
    let reason = reason.map(|reason| reason.as_str().to_owned());
    let first = description.as_str().lines().next().map(str::to_owned);
    reason.or(first).filter(|text| !text.is_empty())
}

/// Why it was done and what for, line by line.
pub fn words(reason: Option<&Reason>, description: &Note, width: u16, theme: &Theme) -> Vec<Vec<Bit>> {
    let room = usize::from(width).saturating_sub(12).max(8);
    let texts = [
        ("reason", reason.map(|reason| reason.as_str().to_owned())),
        ("for", Some(description.as_str().replace('\n', " ")).filter(|text| !text.is_empty())),
    ];
    let mut lines = Vec::new();
    for (name, text) in texts {
        for (at, part) in text.iter().flat_map(|text| Clean::of(text).wrap(room)).enumerate() {
            let name = if at == 0 { name } else { "" };
            lines.push(vec![bit(format!("{name:<10}"), theme.dim), Bit { text: part, style: theme.text }]);
        }
    }
    lines
}

/// Everything about a transfer: the first block is what one looks for.
pub fn about(transfer: &Transfer, model: &Model, width: u16) -> Vec<Vec<Bit>> {
    let theme = &model.theme;
    let currency = transfer.currency;
    let named = |name: &str, value: Bit| vec![bit(format!("{name:<10}"), theme.dim), value];
    let mut lines = vec![
        named("state", state(transfer, theme)),
        named("amount", bit(format!("{} {currency}", amount(currency, transfer.amount)), theme.strong)),
        named("from", bit(model.money.called(transfer.from_account_id), theme.text)),
        named("to", bit(model.money.called(transfer.to_account_id), theme.text)),
    ];
    let plain = matches!(transfer.kind, TransferKind::Transfer | TransferKind::Hold);
    if !plain || transfer.reversed_amount > 0 {
        // in the words that the filter takes
        lines.insert(1, fact("is a", format!("{}, {}", transfer.kind, transfer.status), theme));
    }
    if transfer.captured_amount > 0 {
        lines.push(fact("captured", amount(currency, transfer.captured_amount), theme));
    }
    if transfer.reversed_amount > 0 {
        let left = transfer.amount - transfer.reversed_amount;
        let text = format!("{}, {} left", amount(currency, transfer.reversed_amount), amount(currency, left));
        lines.push(fact("reversed", text, theme));
    }
    lines.extend(words(transfer.reason.as_ref(), &transfer.description, width, theme));
    if let (TransferKind::Hold, Some(at)) = (transfer.kind, transfer.expires_at) {
        lines.push(fact("until", format!("{}Z", minute(at)), theme));
    }
    lines.push(fact("when", format!("{}Z", minute(transfer.created_at)), theme));
    let by = match &transfer.actor_id {
        None => "the daemon".to_owned(),
        Some(id) => id.parse().map_or_else(|_| brief(id), |id| model.name_of(id)),
    };
    lines.push(fact("by", by, theme));
    lines.push(fact("id", transfer.id.to_string(), theme));
    lines.push(Vec::new());
    lines.extend(related(transfer, model));
    lines.push(Vec::new());
    lines.push(vec![bit("MORE", theme.accent)]);
    lines.push(fact("from id", transfer.from_account_id.to_string(), theme));
    lines.push(fact("to id", transfer.to_account_id.to_string(), theme));
    lines.push(fact("request", transfer.request_id.clone(), theme));
    if let Some(id) = &transfer.external_id {
        lines.push(fact("external", id.to_string(), theme));
    }
    lines.extend(transfer.metadata.0.iter().map(|(name, value)| fact(name, value.clone(), theme)));
    lines
}

/// What it left in both accounts, and which transfers belong together.
fn related(transfer: &Transfer, model: &Model) -> Vec<Vec<Bit>> {
    let theme = &model.theme;
    let key = related_key(transfer);
    let known = model.money.beside.as_ref().filter(|(known, _)| *known == key);
    let title = || vec![bit("ENTRIES", theme.accent), bit("       balance then", theme.dim)];
    let (entries, parent, children) = match known.map(|(_, answer)| answer) {
        Some(Ok(Beside::Related { entries, parent, children })) => (entries, parent, children),
        Some(Err(trouble)) => {
            let text = format!("{} {}", theme.glyphs.stop, trouble.message());
            return vec![title(), vec![bit(text, theme.bad)]];
        }
        _ => {
            let why =
                if model.is_offline() { "not read: the daemon cannot be reached" } else { "reading…" };
            return vec![title(), vec![bit(why, theme.dim)]];
        }
    };
    let mut lines = vec![title()];
    if !model.may(Permission::AccountsRead) {
        lines.push(vec![bit("needs accounts:read", theme.dim)]);
    }
    lines.extend(entries.iter().map(|entry| entry_line(entry, model)));
    if parent.is_none() && children.is_empty() {
        return lines;
    }
    lines.push(Vec::new());
    lines.push(vec![bit("BELONGS TOGETHER", theme.accent)]);
    if let Some(parent) = parent {
        lines.push(relation("of", parent, model));
    }
    lines.extend(children.iter().map(|child| relation("then", child, model)));
    lines
}

fn entry_line(entry: &Entry, model: &Model) -> Vec<Bit> {
    let theme = &model.theme;
    let (change, style) = super::statement::change(entry, 12, theme);
    vec![
        bit(format!("{change:>12}"), style),
        bit(format!("{:>13}  ", amount_in(entry.currency, entry.posted, 13)), theme.text),
        bit(model.money.called(entry.account_id), theme.dim),
    ]
}

fn relation(word: &str, other: &Transfer, model: &Model) -> Vec<Bit> {
    let theme = &model.theme;
    vec![
        bit(format!("{word:<5}"), theme.dim),
        state(other, theme),
        bit(format!(" {} ", amount(other.currency, other.amount)), theme.strong),
        bit(format!("{}Z ", minute(other.created_at)), theme.dim),
        bit(brief(&other.id.to_string()), theme.dim),
    ]
}
