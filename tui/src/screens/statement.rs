//! The statement of one account: its entries with the running balance, which is added up here once more.

use std::collections::BTreeSet;

use bursar_shared::{
    field::{Side, TransferKind},
    id::AccountId,
    money::Currency,
    operations::accounts::{Account, Entry, ListEntries},
    page::List,
};
use ratatui::{layout::Rect, style::Style};

use super::{
    accounts::{fact, indented, owner, status},
    listed, transfers,
};
use crate::{
    listing::{AnyList, Column, Rows},
    look::Theme,
    message::Request,
    model::Model,
    text::{amount, amount_in, minute, number, stamp},
    widgets::{
        canvas::{Bit, Canvas, bit},
        chrome::{self, Parts},
        table,
    },
    window::Row,
};

/// What adding entries up came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sum {
    /// Entries that were added.
    pub entries: usize,
    /// What the account held before the first of them.
    pub opening: i64,
    /// Money in.
    pub credits: i64,
    /// Money out.
    pub debits: i64,
    /// What it held after the last of them.
    pub closing: i64,
    /// The first of them, by its number in the account.
    pub first: i64,
    /// The last of them.
    pub last: i64,
    /// Places where entries are missing in between, as a filter leaves them out.
    pub gaps: usize,
    /// Entries whose balance is not the one before it and what they changed, with what it should be.
    pub wrong: BTreeSet<(i64, i64)>,
}

impl Sum {
    /// Adds entries up, whatever way they are ordered in.
    pub fn of<'e>(entries: impl Iterator<Item = &'e Entry>) -> Self {
        let mut entries: Vec<&Entry> = entries.collect();
        entries.sort_by_key(|entry| entry.seq);
        let mut sum = Self::default();
        let mut before: Option<&Entry> = None;
        for entry in &entries {
            // the first entry of an account begins with nothing
            let due = match before {
                Some(before) if before.seq + 1 == entry.seq => Some(before.posted + entry.change),
                None if entry.seq == 1 => Some(entry.change),
                Some(_) => {
                    sum.gaps += 1;
                    None
                }
                None => None,
            };
            if let Some(due) = due.filter(|due| *due != entry.posted) {
                sum.wrong.insert((entry.seq, due));
            }
            if entry.change >= 0 {
                sum.credits += entry.change;
            } else {
                sum.debits -= entry.change;
            }
            before = Some(entry);
        }
        if let (Some(first), Some(last)) = (entries.first(), entries.last()) {
            sum.entries = entries.len();
            sum.opening = first.posted - first.change;
            sum.closing = last.posted;
            (sum.first, sum.last) = (first.seq, last.seq);
        }
        sum
    }

    /// Whether opening + entries = closing, and every balance in between fits.
    pub fn fits(&self) -> bool {
        self.wrong.is_empty() && (self.gaps > 0 || self.opening + self.credits - self.debits == self.closing)
    }

    /// What this balance should be, if it is another.
    fn due(&self, seq: i64) -> Option<i64> {
        self.wrong.iter().find(|(wrong, _)| *wrong == seq).map(|(_, due)| *due)
    }
}

/// What an entry changed, with its sign; what it holds or lets go changes nothing yet.
pub fn change(entry: &Entry, cells: usize, theme: &Theme) -> (String, Style) {
    let text = |minor: i64| amount_in(entry.currency, minor, cells.saturating_sub(1));
    match entry.change {
        0 => (format!("({})", text(entry.amount)), theme.dim),
        ..0 => (text(entry.change), theme.text),
        minor => (format!("+{}", text(minor)), theme.good),
    }
}

/// The other account of an entry, with an arrow that says where the money goes.
pub fn other(entry: &Entry, model: &Model) -> String {
    let called = model.money.called(entry.counterparty_id);
    match entry.side {
        Side::Debit => format!("{} {called}", model.theme.glyphs.arrow),
        Side::Credit => format!("from {called}"),
    }
}

/// Whom an entry is with, and why, in one column: both are seen where there is little room. That it is no plain
/// transfer comes first.
fn with_and_why(entry: &Entry, model: &Model, theme: &Theme) -> Bit {
    let mut text = other(entry, model);
    if entry.kind != TransferKind::Transfer {
        text = format!("{} {text}", entry.kind);
    }
    if let Some(why) = transfers::why(entry.reason.as_ref(), &entry.description) {
        text = format!("{text} {} {why}", theme.glyphs.dot);
    }
    Bit { style: kind(entry, theme).style, ..bit(text, theme.text) }
}

fn kind(entry: &Entry, theme: &Theme) -> Bit {
    let style = match entry.kind {
        TransferKind::Hold => theme.warn,
        TransferKind::Void | TransferKind::Expiry => theme.dim,
        _ => theme.text,
    };
    bit(entry.kind.as_str(), style)
}

impl Rows for Entry {
    const TITLE: &'static str = "Accounts";
    const NOTHING: &'static str = "no money has moved here yet; {transfer.create} moves some";
    const COLUMNS: &'static [Column<Self>] = &[
        Column {
            title: "TIME",
            min: 11,
            share: 0,
            right: false,
            shown: true,
            sort: Some("seq"),
            cell: |entry, model, theme| bit(stamp(entry.created_at, model.now), theme.dim),
        },
        Column {
            title: "CHANGE",
            min: 11,
            share: 0,
            right: true,
            shown: true,
            sort: None,
            cell: |entry, _, theme| {
                let (text, style) = change(entry, 11, theme);
                bit(text, style)
            },
        },
        Column {
            title: "BALANCE",
            min: 11,
            share: 0,
            right: true,
            shown: true,
            sort: None,
            cell: |entry, model, theme| {
                let text = amount_in(entry.currency, entry.posted, 11);
                match model.money.sum.due(entry.seq) {
                    Some(_) => bit(format!("{} {text}", theme.glyphs.stop), theme.bad),
                    None => bit(text, if entry.posted < 0 { theme.warn } else { theme.text }),
                }
            },
        },
        Column {
            title: "WITH, AND WHY",
            min: 30,
            share: 1,
            right: false,
            shown: true,
            sort: None,
            cell: with_and_why,
        },
        Column {
            title: "KIND",
            min: 8,
            share: 0,
            right: false,
            shown: false,
            sort: None,
            cell: |entry, _, theme| kind(entry, theme),
        },
        Column {
            title: "HELD OUT",
            min: 11,
            share: 0,
            right: true,
            shown: false,
            sort: None,
            cell: |entry, _, theme| bit(amount_in(entry.currency, entry.pending_out, 11), theme.dim),
        },
        Column {
            title: "HELD IN",
            min: 11,
            share: 0,
            right: true,
            shown: false,
            sort: None,
            cell: |entry, _, theme| bit(amount_in(entry.currency, entry.pending_in, 11), theme.dim),
        },
        Column {
            title: "ENTRY",
            min: 7,
            share: 0,
            right: true,
            shown: false,
            sort: None,
            cell: |entry, _, theme| bit(entry.seq.to_string(), theme.dim),
        },
        Column {
            title: "TRANSFER",
            min: 30,
            share: 0,
            right: false,
            shown: false,
            sort: None,
            cell: |entry, _, theme| bit(entry.transfer_id.to_string(), theme.dim),
        },
    ];

    fn request(list: List<Self>) -> Request {
        // a statement is always of an account; without one nothing is found, and nothing is asked
        Self::request_of(list, None)
    }

    fn request_of(list: List<Self>, of: Option<AccountId>) -> Request {
        let id = of.unwrap_or_else(|| AccountId::from_bits(0));
        Request::Entries(Box::new(ListEntries { id: id.into(), list }))
    }

    fn command_of(of: Option<AccountId>) -> String {
        format!("bursar accounts entries {}", of.map_or_else(|| "ACCOUNT".to_owned(), |id| id.to_string()))
    }

    fn called(&self, _: &Model) -> String {
        format!("entry {}", self.seq)
    }

    fn lines(row: &Row<Self>, model: &Model, width: u16, whole: bool) -> Vec<Vec<Bit>> {
        let (entry, theme) = (&row.record, &model.theme);
        let (text, style) = change(entry, 18, theme);
        let mut lines = vec![
            vec![bit(format!("{:<10}", "change"), theme.dim), bit(text, style)],
            fact("balance", format!("{} {}", amount(entry.currency, entry.posted), entry.currency), theme),
        ];
        if let Some(due) = model.money.sum.due(entry.seq) {
            let text = format!("{} re-added it is {}", theme.glyphs.stop, amount(entry.currency, due));
            lines.push(vec![bit(text, theme.bad)]);
        }
        if entry.pending_out != 0 || entry.pending_in != 0 {
            let held = |minor| amount(entry.currency, minor);
            let text = format!("{} out, {} in", held(entry.pending_out), held(entry.pending_in));
            lines.push(fact("held then", text, theme));
        }
        match model.money.moved.get(&entry.transfer_id) {
            Some(transfer) => lines.extend(transfers::about(transfer, model, width)),
            None => {
                lines.push(fact("kind", entry.kind.to_string(), theme));
                lines.push(fact("with", other(entry, model), theme));
                lines.extend(transfers::words(entry.reason.as_ref(), &entry.description, width, theme));
                lines.push(fact("when", format!("{}Z", minute(entry.created_at)), theme));
                lines.push(fact("transfer", entry.transfer_id.to_string(), theme));
            }
        }
        if whole { indented(lines, theme) } else { lines }
    }
}

/// Lines above the entries, and below them.
fn lines(body: Rect) -> (u16, u16) {
    match body.height {
        0..5 => (0, 0),
        5..8 => (1, 0),
        8..12 => (1, 1),
        _ => (2, 1),
    }
}

fn middle(body: Rect) -> Rect {
    let (above, below) = lines(body);
    Rect { y: body.y + above, height: body.height - above - below, ..body }
}

/// Rows of entries that fit.
pub fn height(parts: &Parts, list: &dyn AnyList) -> usize {
    table::rows_in(listed::areas(list, middle(parts.body))[1])
}

/// Draws it.
pub fn draw(canvas: &mut Canvas<'_>, model: &Model) {
    let theme = canvas.theme;
    let list = &model.money.statement;
    let parts = chrome::parts(model);
    let called = match &model.money.account {
        Some(account) => super::money::label(account),
        None => list.of.map_or_else(String::new, |id| model.money.called(id)),
    };
    let path = || bit(format!(" {} ", theme.glyphs.path), theme.dim);
    let mut title = match parts.body.width >= 100 {
        true => vec![bit("Accounts", theme.accent), path(), bit(called, theme.strong), path()],
        // the tab says where it belongs
        false => vec![bit("Statement", theme.accent), path(), bit(called, theme.strong)],
    };
    if parts.body.width >= 100 {
        title.push(bit("statement", theme.text));
    }
    if !list.filter_text.is_empty() {
        title.push(bit(format!(" {} {}", theme.glyphs.path, list.filter_text), theme.text));
    }
    let open = list.open.filter(|_| list.window.current().is_some());
    if let (Some(_), Some(row)) = (open, list.window.current()) {
        title.push(bit(format!(" {} {}", theme.glyphs.path, row.record.called(model)), theme.strong));
    }
    chrome::draw(
        canvas,
        model,
        &parts,
        &title,
        &listed::facts_beside(model, list, &title, parts.title.width),
    );
    if let Some(scroll) = open {
        let lines = AnyList::lines(list, model, parts.body.width, true);
        listed::scrolled(canvas, parts.body, &lines, scroll);
        return;
    }
    let (above, below) = lines(parts.body);
    if let Some(account) = &model.money.account {
        let lines = head(account, model, parts.body.width);
        for (line, y) in lines.iter().zip(parts.body.y..parts.body.y + above) {
            canvas.line(parts.body.x, y, parts.body.width, line);
        }
    }
    listed::inside(canvas, model, list, middle(parts.body));
    if below > 0 && list.read_at.is_some() {
        canvas.line(
            parts.body.x,
            parts.body.bottom() - 1,
            parts.body.width,
            &checked(model, parts.body.width),
        );
    }
}

/// What the account holds, and whose it is.
fn head(account: &Account, model: &Model, width: u16) -> [Vec<Bit>; 2] {
    let theme = &model.theme;
    let currency = account.currency;
    let balances = &account.balances;
    let mut first = vec![bit("   ", theme.text)];
    let mut say = |name: &str, minor: Option<i64>, strong: bool| {
        let text = minor.map_or_else(|| "unlimited".to_owned(), |minor| amount(currency, minor));
        let style = match (minor, strong) {
            (Some(..0), _) => theme.warn,
            (_, true) => theme.strong,
            _ => theme.text,
        };
        first.push(bit(format!("{name} "), theme.dim));
        first.push(bit(format!("{text}  "), style));
    };
    say(currency.code(), Some(balances.posted), true);
    say("available", balances.available, false);
    if balances.pending_out != 0 || width >= 100 {
        say("held out", Some(balances.pending_out), false);
    }
    if balances.pending_in != 0 || width >= 100 {
        say("held in", Some(balances.pending_in), false);
    }
    first.push(status(account.status, theme));
    let mut second = vec![bit("   ", theme.text), bit("owner ", theme.dim)];
    second.push(bit(owner(account, model), theme.text));
    if account.system_key.is_none() {
        let limits = [
            ("overdraft", super::accounts::limit(currency, account.overdraft_limit, "unlimited")),
            ("at most", super::accounts::limit(currency, account.max_balance, "no limit")),
        ];
        for (name, text) in limits {
            second.push(bit(format!("  {name} "), theme.dim));
            second.push(bit(text, theme.text));
        }
    }
    [first, second]
}

/// What adding up came to, in one line: opening + entries = closing. What was read is a window: where it does
/// not begin with the first entry, or end with the last, it says what was there before it, or after it.
fn checked(model: &Model, width: u16) -> Vec<Bit> {
    let (theme, sum) = (&model.theme, &model.money.sum);
    let Some(currency) = currency(model) else { return Vec::new() };
    let mut line = vec![bit("   ", theme.text)];
    if sum.entries == 0 {
        line.push(bit("nothing to add up", theme.dim));
        return line;
    }
    let text = |minor| amount(currency, minor);
    let wide = width >= 100;
    if sum.gaps == 0 {
        let last = model.money.account.as_ref().map(|account| account.entry_seq);
        let words = [
            if sum.first == 1 { "opening " } else { "before " },
            if last == Some(sum.last) { " closing " } else { " after " },
        ];
        // where there is little room, what is wrong needs it
        let words = if wide || sum.fits() { words } else { ["", " "] };
        line.push(bit(words[0], theme.dim));
        line.push(bit(text(sum.opening), theme.text));
        line.push(bit(format!(" + {} - {} =", text(sum.credits), text(sum.debits)), theme.dim));
        line.push(bit(words[1], theme.dim));
        line.push(bit(text(sum.closing), theme.strong));
    } else {
        line.push(bit(format!("in {} out {}", text(sum.credits), text(sum.debits)), theme.text));
    }
    let rows = counted(sum.entries, "row");
    let account = model.money.account.as_ref();
    // the last entry and the account itself say the same, unless one of them is older
    let ends = account.filter(|account| account.entry_seq == sum.last).map(|account| account.balances.posted);
    let says = match (sum.fits(), ends) {
        (false, _) => {
            let first = sum.wrong.first().map_or_else(String::new, |(seq, due)| {
                format!(" at entry {seq}: should be {}", amount(currency, *due))
            });
            bit(format!("  {} differs{first}", theme.glyphs.stop), theme.bad)
        }
        (true, Some(posted)) if posted != sum.closing => {
            bit(format!("  {} but the account says {}", theme.glyphs.stop, text(posted)), theme.bad)
        }
        (true, _) if sum.gaps > 0 => bit(
            format!("  {} {rows} fit, {} left by the filter", theme.glyphs.mark, counted(sum.gaps, "gap")),
            theme.good,
        ),
        (true, _) => {
            let text = match (wide, sum.entries == 1) {
                (true, true) => format!("re-added here: the balance of the {rows} read fits"),
                (true, false) => format!("re-added here: the balances of all {rows} read fit"),
                (false, true) => format!("{rows} fits"),
                (false, false) => format!("{rows} fit"),
            };
            bit(format!("  {} {text}", theme.glyphs.mark), theme.good)
        }
    };
    line.push(says);
    line
}

/// So many of something, in words.
fn counted(count: usize, what: &str) -> String {
    format!("{} {what}{}", number(count as u64), if count == 1 { "" } else { "s" })
}

/// The currency of the statement.
pub fn currency(model: &Model) -> Option<Currency> {
    let account = model.money.account.as_ref().map(|account| account.currency);
    account.or_else(|| model.money.statement.window.rows().next().map(|row| row.record.currency))
}
