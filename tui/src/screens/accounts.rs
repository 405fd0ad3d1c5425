//! Accounts: what each holds, whose it is, and how far it may go.

use bursar_shared::{
    field::AccountStatus,
    money::{Currency, Limit},
    operations::accounts::{Account, Entry},
    page::List,
    permission::Permission,
};

use super::money::{Beside, beside_key, label};
use crate::{
    listing::{Column, Rows},
    look::Theme,
    message::Request,
    model::Model,
    text::{amount, amount_in, minute, number, stamp},
    widgets::canvas::{Bit, bit},
    window::Row,
};

/// Where an account stands: sign and word.
pub fn status(status: AccountStatus, theme: &Theme) -> Bit {
    let (sign, style) = match status {
        AccountStatus::Active => (theme.glyphs.good, theme.good),
        AccountStatus::Frozen => (theme.glyphs.wait, theme.warn),
        AccountStatus::Closed => (theme.glyphs.gone, theme.dim),
    };
    bit(format!("{sign} {status}"), style)
}

/// An amount in a column: below nothing it is not only coloured, it has its sign.
pub fn money(currency: Currency, minor: i64, cells: usize, theme: &Theme) -> Bit {
    let style = if minor < 0 { theme.warn } else { theme.text };
    bit(amount_in(currency, minor, cells), style)
}

/// A limit in words.
pub fn limit(currency: Currency, limit: Option<Limit>, without: &str) -> String {
    limit.map_or_else(|| without.to_owned(), |limit| amount(currency, limit.minor()))
}

/// Whose it is.
pub fn owner(account: &Account, model: &Model) -> String {
    match (account.owner_id, account.system_key) {
        (Some(id), _) => model.name_of(id),
        (None, Some(_)) => "the books".to_owned(),
        (None, None) => "nobody".to_owned(),
    }
}

fn available(account: &Account, cells: usize, theme: &Theme) -> Bit {
    match account.balances.available {
        Some(minor) => money(account.currency, minor, cells, theme),
        None => bit("unlimited", theme.dim),
    }
}

impl Rows for Account {
    const TITLE: &'static str = "Accounts";
    const NOTHING: &'static str = "there is no account yet; {account.create} opens one";
    const COLUMNS: &'static [Column<Self>] = &[
        Column {
            title: "NUMBER",
            min: 7,
            share: 0,
            right: true,
            shown: true,
            sort: Some("number"),
            cell: |account, _, theme| bit(account.number.to_string(), theme.text),
        },
        Column {
            title: "NAME",
            // what is held is left out first: the name says which account it is
            min: 16,
            share: 3,
            right: false,
            shown: true,
            sort: Some("name"),
            cell: |account, _, theme| match account.system_key {
                Some(_) => bit(label(account), theme.accent),
                None => bit(account.name.as_str().to_owned(), theme.text),
            },
        },
        Column {
            title: "POSTED",
            min: 13,
            share: 0,
            right: true,
            shown: true,
            sort: None,
            cell: |account, _, theme| money(account.currency, account.balances.posted, 13, theme),
        },
        Column {
            title: "CUR",
            min: 3,
            share: 0,
            right: false,
            shown: true,
            sort: None,
            cell: |account, _, theme| bit(account.currency.to_string(), theme.dim),
        },
        Column {
            title: "AVAILABLE",
            min: 12,
            share: 0,
            right: true,
            shown: true,
            sort: None,
            cell: |account, _, theme| available(account, 12, theme),
        },
        Column {
            title: "STATUS",
            min: 8,
            share: 0,
            right: false,
            shown: true,
            sort: None,
            cell: |account, _, theme| status(account.status, theme),
        },
        Column {
            title: "OWNER",
            min: 14,
            share: 2,
            right: false,
            shown: true,
            sort: None,
            cell: |account, model, theme| {
                let style = if account.owner_id.is_some() { theme.text } else { theme.dim };
                bit(owner(account, model), style)
            },
        },
        Column {
            title: "HELD OUT",
            min: 11,
            share: 0,
            right: true,
            shown: true,
            sort: None,
            cell: |account, _, theme| held(account.currency, account.balances.pending_out, theme),
        },
        Column {
            title: "HELD IN",
            min: 11,
            share: 0,
            right: true,
            shown: false,
            sort: None,
            cell: |account, _, theme| held(account.currency, account.balances.pending_in, theme),
        },
        Column {
            title: "OVERDRAFT",
            min: 11,
            share: 0,
            right: true,
            shown: false,
            sort: None,
            cell: |account, _, theme| {
                bit(limit(account.currency, account.overdraft_limit, "unlimited"), theme.dim)
            },
        },
        Column {
            title: "ENTRIES",
            min: 7,
            share: 0,
            right: true,
            shown: false,
            sort: None,
            cell: |account, _, theme| bit(number(account.entry_seq.unsigned_abs()), theme.dim),
        },
        Column {
            title: "CREATED",
            min: 10,
            share: 0,
            right: true,
            shown: false,
            sort: Some("createdAt"),
            cell: |account, _, theme| bit(crate::text::day(account.created_at), theme.dim),
        },
        Column::ID,
    ];

    fn request(list: List<Self>) -> Request {
        Request::Accounts(list)
    }

    fn outdates(&self, other: &Self) -> bool {
        let (mine, theirs) = ((self.version, self.entry_seq), (other.version, other.entry_seq));
        mine.0 >= theirs.0 && mine.1 >= theirs.1 && mine != theirs
    }

    fn called(&self, _: &Model) -> String {
        label(self)
    }

    fn lines(row: &Row<Self>, model: &Model, width: u16, whole: bool) -> Vec<Vec<Bit>> {
        let theme = &model.theme;
        let mut lines = about(&row.record, model, width);
        if row.gone {
            let text = format!("{} gone, or no longer in this list", theme.glyphs.gone);
            lines.insert(0, vec![bit(text, theme.warn)]);
        }
        lines.push(Vec::new());
        lines.extend(latest(&row.record, model, width));
        lines.push(Vec::new());
        lines.extend(limits(&row.record, model));
        if !row.record.metadata.0.is_empty() {
            lines.push(Vec::new());
            lines.push(vec![bit(format!("METADATA {}", row.record.metadata.0.len()), theme.accent)]);
            lines.extend(row.record.metadata.0.iter().map(|(name, value)| fact(name, value.clone(), theme)));
        }
        if whole { indented(lines, theme) } else { lines }
    }
}

fn held(currency: Currency, minor: i64, theme: &Theme) -> Bit {
    match minor {
        0 => bit("", theme.dim),
        _ => bit(amount_in(currency, minor, 11), theme.warn),
    }
}

/// A name, and what it is.
pub fn fact(name: &str, value: String, theme: &Theme) -> Vec<Bit> {
    vec![bit(format!("{name:<10}"), theme.dim), bit(value, theme.text)]
}

/// The same lines a bit to the right, below an empty one: for the whole screen.
pub fn indented(lines: Vec<Vec<Bit>>, theme: &Theme) -> Vec<Vec<Bit>> {
    let mut all = vec![Vec::new()];
    all.extend(lines.into_iter().map(|mut line| {
        line.insert(0, bit("  ", theme.text));
        line
    }));
    all
}

/// An amount at the right edge of a pane, behind its name.
fn figure(name: &str, minor: Option<i64>, account: &Account, theme: &Theme) -> Vec<Bit> {
    let text = minor.map_or_else(|| "unlimited".to_owned(), |minor| amount(account.currency, minor));
    let style = match minor {
        Some(..0) => theme.warn,
        _ => theme.text,
    };
    vec![
        bit(format!("{name:<10}"), theme.dim),
        bit(format!("{text:>18}"), style),
        bit(format!(" {}", account.currency), theme.dim),
    ]
}

/// What it holds, whose it is, and where it stands.
fn about(account: &Account, model: &Model, _: u16) -> Vec<Vec<Bit>> {
    let theme = &model.theme;
    let balances = &account.balances;
    let mut lines = vec![
        figure("posted", Some(balances.posted), account, theme),
        figure("available", balances.available, account, theme),
    ];
    if balances.pending_out != 0 {
        lines.push(figure("held out", Some(balances.pending_out), account, theme));
    }
    if balances.pending_in != 0 {
        lines.push(figure("held in", Some(balances.pending_in), account, theme));
    }
    lines.push(vec![bit(format!("{:<10}", "status"), theme.dim), status(account.status, theme)]);
    let style = if account.owner_id.is_some() { theme.strong } else { theme.dim };
    lines.push(vec![bit(format!("{:<10}", "owner"), theme.dim), bit(owner(account, model), style)]);
    lines.push(fact("id", account.id.to_string(), theme));
    lines
}

/// How far it may go, and the rest of what is known of it.
fn limits(account: &Account, model: &Model) -> Vec<Vec<Bit>> {
    let theme = &model.theme;
    let currency = account.currency;
    let mut lines = vec![vec![bit("LIMITS", theme.accent)]];
    let overdraft = match account.overdraft_limit {
        Some(limit) if limit.minor() == 0 => "none: never below nothing".to_owned(),
        Some(limit) => format!("down to -{} {currency}", amount(currency, limit.minor())),
        None => "without end".to_owned(),
    };
    lines.push(fact("overdraft", overdraft, theme));
    let most = match account.max_balance {
        Some(limit) => format!("{} {currency}", amount(currency, limit.minor())),
        None => "without end".to_owned(),
    };
    lines.push(fact("at most", most, theme));
    if let Some(id) = &account.external_id {
        lines.push(fact("external", id.to_string(), theme));
    }
    lines.push(fact("opened", format!("{}Z", minute(account.created_at)), theme));
    lines.push(fact("edited", format!("{}Z", minute(account.updated_at)), theme));
    lines.push(fact("version", account.version.to_string(), theme));
    lines
}

/// The latest that happened to it.
fn latest(account: &Account, model: &Model, width: u16) -> Vec<Vec<Bit>> {
    let theme = &model.theme;
    let mut title = vec![bit(format!("ENTRIES {}", number(account.entry_seq.unsigned_abs())), theme.accent)];
    title.extend([bit("  o", theme.key), bit(" statement", theme.dim)]);
    let mut lines = vec![title];
    let key = beside_key(account);
    let known = model.money.beside.as_ref().filter(|(known, _)| *known == key);
    match known.map(|(_, answer)| answer) {
        _ if account.entry_seq == 0 => lines.push(vec![bit("no money has moved yet", theme.dim)]),
        Some(Ok(Beside::Latest(entries))) => {
            lines.extend(entries.iter().map(|entry| line(entry, model, width)));
        }
        Some(Err(trouble)) => {
            let text = format!("{} {}", theme.glyphs.stop, trouble.message());
            lines.push(vec![bit(text, theme.bad)]);
        }
        _ => {
            let why =
                if model.is_offline() { "not read: the daemon cannot be reached" } else { "reading…" };
            lines.push(vec![bit(why, theme.dim)]);
        }
    }
    lines
}

/// An entry in one line of a pane.
fn line(entry: &Entry, model: &Model, width: u16) -> Vec<Bit> {
    let theme = &model.theme;
    let (change, style) = super::statement::change(entry, 12, theme);
    let other = super::statement::other(entry, model);
    let room = usize::from(width).saturating_sub(12 + 13);
    vec![
        bit(format!("{:<12}", stamp(entry.created_at, model.now)), theme.dim),
        bit(format!("{change:>12} "), style),
        Bit { text: crate::text::Clean::of(other).fit(room, theme.glyphs.ellipsis), style: theme.dim },
    ]
}

/// Accounts of a person, in the pane of the people.
pub fn of_person(accounts: Option<&[Account]>, more: bool, model: &Model) -> Vec<Vec<Bit>> {
    let theme = &model.theme;
    let Some(accounts) = accounts else {
        let why = if model.may(Permission::AccountsRead) { "not read" } else { "needs accounts:read" };
        return vec![vec![bit("ACCOUNTS", theme.accent)], vec![bit(why, theme.dim)]];
    };
    let plus = if more { "+" } else { "" };
    let mut title = vec![bit(format!("ACCOUNTS {}{plus}", accounts.len()), theme.accent)];
    if accounts.is_empty() {
        return vec![title, vec![bit("none", theme.dim)]];
    }
    title.extend([bit("  b", theme.key), bit(" goes there", theme.dim)]);
    let mut lines = vec![title];
    lines.extend(accounts.iter().map(|account| {
        let text = amount(account.currency, account.balances.posted);
        let mut line = vec![
            bit(format!("{:>6} ", account.number), theme.dim),
            bit(format!("{text:>14}"), if account.balances.posted < 0 { theme.warn } else { theme.text }),
            bit(format!(" {} ", account.currency), theme.dim),
        ];
        if account.status != AccountStatus::Active {
            line.push(status(account.status, theme));
            line.push(bit(" ", theme.text));
        }
        line.push(bit(account.name.as_str().to_owned(), theme.text));
        line
    }));
    lines
}
