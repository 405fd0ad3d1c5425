//! Forms about money: accounts are looked up while one types, amounts are decimals of their currency.

use bursar_shared::{
    decode::{Decode, Decoder},
    error::Violation,
    field::TransferMode,
    money::Currency,
    operations::{
        accounts::{Account, CreateAccount, UpdateAccount},
        transfers::{CreateTransfer, Transfer},
    },
};
use serde_json::{Map, Value, json};
use tui_input::Input;

use super::{
    Field, Form, Kind,
    pick::{Chosen, Pick},
};
use crate::{
    change::Deed,
    look::Theme,
    message::{Found, Seek},
    screens::money::label,
    text::amount,
    widgets::canvas::{Bit, bit},
};

/// What a form about money is about.
#[derive(Debug, Clone)]
pub enum Sheet {
    /// A new account, and whose it will be.
    Open(Pick),
    /// An account that is edited, as it was read.
    Edit(Box<Account>),
    /// Money that moves, or is held: from where, to where.
    Send(Pick, Pick),
    /// A transfer whose money moves back.
    Reverse(Box<Transfer>),
    /// A hold whose money moves.
    Capture(Box<Transfer>),
    /// An account that is closed, and where its money goes.
    Close(Box<Account>, Pick),
}

fn required(pointer: &str, label: &str, help: &'static str) -> Field {
    Field::new(pointer, label, None, help)
}

fn words(pointer: &str, label: &str, words: &'static [&'static str], help: &'static str) -> Field {
    let input = Input::new(words.first().copied().unwrap_or_default().to_owned());
    Field { kind: Kind::Words(words), input, ..required(pointer, label, help) }
}

const ACCOUNT: &str = "a number, name, id, whose it is, or world:EUR";
const LIMIT: &str = "an amount, or none for without end";

impl Form {
    fn about_money(sheet: Sheet, fields: Vec<Field>) -> Self {
        Self { before: None, money: Some(Box::new(sheet)), fields, at: 0, problem: None, leaving: false }
    }

    /// For money that moves; perhaps it is known from where.
    pub fn transfer(from: Option<Account>) -> Self {
        let mut fields = vec![
            required("/fromAccountId", "From", ACCOUNT),
            required("/toAccountId", "To", ACCOUNT),
            required("/amount", "Amount", "in decimals, like 12.50"),
            words("/mode", "Mode", TransferMode::WORDS, "left and right choose: move it now, or hold it"),
            required("/expiresInSeconds", "Holds for", "for holds: 30m, 12h or 7d; without end when empty"),
            required("/reason", "Reason", "why; both accounts' statements show it"),
            required("/description", "Description", "what for, if there is more to say"),
            required("/externalId", "External id", "your own id of it, if there is one"),
        ];
        let mut at = 0;
        let from = from.map_or_else(|| Pick::new(Seek::Account), Pick::of);
        if let Some(text) = from.text() {
            fields[0].input = Input::new(text.to_owned());
            at = 1;
        }
        let mut form = Self::about_money(Sheet::Send(from, Pick::new(Seek::Account)), fields);
        form.at = at;
        form
    }

    /// For moving the money of a transfer back.
    pub fn reverse(transfer: Transfer) -> Self {
        let left = transfer.currency.decimal(transfer.amount - transfer.reversed_amount);
        let fields = vec![
            Field::new("/amount", "Amount", Some(left), "all that is left, or a part of it"),
            required("/reason", "Reason", "why; it stays with the reversal"),
        ];
        let mut form = Self::about_money(Sheet::Reverse(Box::new(transfer)), fields);
        form.at = 1;
        form
    }

    /// For moving money that is held.
    pub fn capture(hold: Transfer) -> Self {
        let all = hold.currency.decimal(hold.amount);
        let help = "all of it, or a part: the rest is let go";
        let fields = vec![Field::new("/amount", "Amount", Some(all), help)];
        Self::about_money(Sheet::Capture(Box::new(hold)), fields)
    }

    /// For closing an account that is not empty.
    pub fn close_account(account: Account) -> Self {
        let help =
            if account.balances.posted < 0 { "where its debt is paid from" } else { "where its money goes" };
        let fields = vec![required("/sweepToAccountId", "Sweep to", help)];
        Self::about_money(Sheet::Close(Box::new(account), Pick::new(Seek::Account)), fields)
    }

    /// For a new account.
    pub fn open_account() -> Self {
        let fields = vec![
            required("/name", "Name", "one line"),
            required("/currency", "Currency", "three letters like EUR, for ever"),
            required("/ownerId", "Owner", "an email, a name or an id, for ever; nobody when empty"),
            required(
                "/overdraftLimit",
                "Overdraft",
                "how far below nothing: an amount, none for without end",
            ),
            required("/maxBalance", "At most", "how much it may hold; without end when empty"),
            required("/externalId", "External id", "your own id of it, if there is one"),
        ];
        let mut form = Self::about_money(Sheet::Open(Pick::new(Seek::Person)), fields);
        form.add_more();
        form
    }

    /// For an account that is there.
    pub fn edit_account(account: Account) -> Self {
        let limit = |of: Option<bursar_shared::money::Limit>| {
            of.map_or_else(|| "none".to_owned(), |limit| account.currency.decimal(limit.minor()))
        };
        let external = account.external_id.as_ref().map(ToString::to_string).unwrap_or_default();
        let mut fields = vec![Field::new("/name", "Name", Some(account.name.to_string()), "one line")];
        if account.system_key.is_none() {
            fields.push(Field::new(
                "/overdraftLimit",
                "Overdraft",
                Some(limit(account.overdraft_limit)),
                LIMIT,
            ));
            fields.push(Field::new("/maxBalance", "At most", Some(limit(account.max_balance)), LIMIT));
        }
        fields.push(Field::new(
            "/externalId",
            "External id",
            Some(external),
            "your own id of it; empty takes it out",
        ));
        fields.extend(
            account.metadata.0.iter().map(|(key, value)| Field::fact(key, value, Some(value.clone()))),
        );
        let mut form = Self::about_money(Sheet::Edit(Box::new(account)), fields);
        form.add_more();
        form
    }

    /// What it is called at its top.
    pub(super) fn money_title(&self, sheet: &Sheet) -> String {
        let sum = |of: &Transfer| {
            format!(
                "{} {} of {}",
                amount(of.currency, of.amount),
                of.currency,
                crate::text::minute(of.created_at)
            )
        };
        match sheet {
            Sheet::Open(_) => "New account".to_owned(),
            Sheet::Edit(account) => format!("Edit {}", label(account)),
            Sheet::Send(..) if self.holds() => "New hold".to_owned(),
            Sheet::Send(..) => "New transfer".to_owned(),
            Sheet::Reverse(of) => format!("Reverse {}", sum(of)),
            Sheet::Capture(of) => format!("Capture {}", sum(of)),
            Sheet::Close(account, _) => format!("Close {}", label(account)),
        }
    }

    fn value(&self, pointer: &str) -> &str {
        self.fields
            .iter()
            .find(|field| field.pointer == pointer)
            .map_or("", |field| field.input.value().trim())
    }

    fn holds(&self) -> bool {
        self.value("/mode") == TransferMode::Hold.as_str()
    }

    /// The currency of the money that moves.
    fn currency(&self) -> Option<Currency> {
        match self.money.as_deref()? {
            Sheet::Send(from, to) => from.currency().or_else(|| to.currency()),
            Sheet::Open(_) => self.value("/currency").parse().ok(),
            Sheet::Edit(account) | Sheet::Close(account, _) => Some(account.currency),
            Sheet::Reverse(of) | Sheet::Capture(of) => Some(of.currency),
        }
    }

    /// Reads what was filled in as the daemon would, and puts what is wrong beside its field.
    pub(super) fn check_money(&mut self) -> Option<Deed> {
        self.settle_picks();
        let mut wrong = Vec::new();
        let deed = self.deed(&mut wrong);
        self.blame(&wrong);
        deed.filter(|_| wrong.is_empty())
    }

    fn deed(&self, wrong: &mut Vec<Violation>) -> Option<Deed> {
        match self.money.as_deref()? {
            Sheet::Send(from, to) => {
                let members = self.sent(from, to, wrong);
                let op: Option<CreateTransfer> = read(members, wrong);
                // the accounts say it, and what is wrong with them is said there
                wrong.retain(|one| one.pointer != "/currency");
                let op = op?;
                let names = [from, to].map(|pick| pick.text().unwrap_or_default().to_owned());
                Some(Deed::Post(Box::new(op), names))
            }
            Sheet::Reverse(of) => {
                let minor = self.part(wrong);
                let reason = self.value("/reason").parse().map_err(|fault: bursar_shared::field::Fault| {
                    fail(wrong, "/reason", fault.rule, &fault.message);
                });
                let left = of.amount - of.reversed_amount;
                let minor = minor.filter(|minor| within(wrong, of.currency, *minor, left));
                Some(Deed::Reverse(
                    of.clone(),
                    Some(minor.and_then(bursar_shared::money::Amount::new)?),
                    reason.ok()?,
                ))
            }
            Sheet::Capture(of) => {
                let minor = self.part(wrong).filter(|minor| within(wrong, of.currency, *minor, of.amount));
                Some(Deed::Capture(of.clone(), Some(minor.and_then(bursar_shared::money::Amount::new)?)))
            }
            Sheet::Close(account, to) => {
                self.chosen("/sweepToAccountId", to, wrong);
                if to.account().is_some_and(|to| to.id == account.id) {
                    fail(wrong, "/sweepToAccountId", "same_account", "is the account that is closed");
                }
                if to.currency().is_some_and(|currency| currency != account.currency) {
                    let text = format!("has another currency, not {}", account.currency);
                    fail(wrong, "/sweepToAccountId", "enum", &text);
                }
                let id = to.id()?.parse().ok()?;
                let to = to.text().unwrap_or_default().to_owned();
                Some(Deed::Close(account.clone(), Some((id, to)), None))
            }
            Sheet::Open(owner) => {
                let mut members = self.members();
                self.limits(&mut members, wrong);
                if !self.value("/ownerId").is_empty() {
                    self.chosen("/ownerId", owner, wrong);
                    members.insert("ownerId".to_owned(), json!(owner.id()));
                } else {
                    members.remove("ownerId");
                }
                let op: CreateAccount = read(members, wrong)?;
                Some(Deed::Open(Box::new(op), owner.text().map(str::to_owned)))
            }
            Sheet::Edit(account) => {
                let mut members = self.members();
                members.insert("id".to_owned(), json!(account.id));
                self.limits(&mut members, wrong);
                let op: UpdateAccount = read(members, wrong)?;
                Some(Deed::Edit(account.clone(), Box::new(op)))
            }
        }
    }

    /// The request of a new transfer, as far as it was filled in.
    fn sent(&self, from: &Pick, to: &Pick, wrong: &mut Vec<Violation>) -> Map<String, Value> {
        let mut members = Map::new();
        for (pointer, pick) in [("/fromAccountId", from), ("/toAccountId", to)] {
            self.chosen(pointer, pick, wrong);
            if let Some(id) = pick.id() {
                members.insert(pointer[1..].to_owned(), json!(id));
            }
        }
        if from.id().is_some() && from.id() == to.id() {
            fail(wrong, "/toAccountId", "same_account", "is the account that the money comes from");
        }
        if let (Some(one), Some(other)) = (from.currency(), to.currency())
            && one != other
        {
            fail(wrong, "/toAccountId", "enum", &format!("has {other}, and the money is {one}"));
        }
        if let Some(currency) = self.currency() {
            members.insert("currency".to_owned(), json!(currency));
        }
        match (self.value("/amount"), self.currency()) {
            ("", _) => fail(wrong, "/amount", "required", "is required"),
            (_, None) => {
                fail(wrong, "/amount", "minor_units", "means nothing before an account says its currency");
            }
            (_, Some(_)) => {
                if let Some(minor) = self.part(wrong) {
                    members.insert("amount".to_owned(), json!(minor));
                }
            }
        }
        members.insert("mode".to_owned(), json!(self.value("/mode")));
        match (self.value("/expiresInSeconds"), self.holds()) {
            ("", _) => {}
            (_, false) => {
                fail(wrong, "/expiresInSeconds", "unknown_field", "is for holds: choose hold above")
            }
            (text, true) => match seconds(text) {
                Some(seconds) => {
                    members.insert("expiresInSeconds".to_owned(), json!(seconds));
                }
                None => fail(wrong, "/expiresInSeconds", "format", "must be like 30m, 12h or 7d"),
            },
        }
        for name in ["reason", "description", "externalId"] {
            let text = self.value(&format!("/{name}"));
            if !text.is_empty() {
                members.insert(name.to_owned(), json!(text));
            }
        }
        members
    }

    /// Says so where something is typed and nothing chosen.
    fn chosen(&self, pointer: &str, pick: &Pick, wrong: &mut Vec<Violation>) {
        let text = self.value(pointer);
        if pick.chosen.is_some() {
            return;
        }
        let word = match (text, pick.fitting(text).map(<[Found]>::len), pick.seek) {
            ("", ..) if pointer == "/sweepToAccountId" => "is required: the account is not empty",
            ("", ..) => "is required",
            (_, None, _) => "is being looked up…",
            (_, Some(0), Seek::Account) => "no account fits; a number, name, id, email or world:EUR",
            (_, Some(0), Seek::Person) => "nobody fits; an email, a name or an id",
            (_, Some(1), _) => "one fits: enter takes it",
            _ => "several fit: ^n and enter choose",
        };
        fail(wrong, pointer, "required", word);
    }

    /// The amount in minor units.
    fn part(&self, wrong: &mut Vec<Violation>) -> Option<i64> {
        let read = self.currency()?.minor(self.value("/amount"));
        match read {
            Ok(minor) if minor > 0 => Some(minor),
            Ok(_) => {
                fail(wrong, "/amount", "range", "must be more than nothing");
                None
            }
            Err(why) => {
                fail(wrong, "/amount", "minor_units", &why);
                None
            }
        }
    }

    /// Limits as people write them become minor units; `none` is without end.
    fn limits(&self, members: &mut Map<String, Value>, wrong: &mut Vec<Violation>) {
        for name in ["overdraftLimit", "maxBalance"] {
            let Some(Value::String(text)) = members.get(name).cloned() else { continue };
            let opens = matches!(self.money.as_deref(), Some(Sheet::Open(_)));
            let value = match (text.trim(), self.currency()) {
                ("", _) if opens => {
                    members.remove(name);
                    continue;
                }
                ("none", _) => Value::Null,
                (_, None) => {
                    // what is wrong is said beside the currency
                    members.remove(name);
                    continue;
                }
                (text, Some(currency)) => match currency.minor(text) {
                    Ok(minor) => json!(minor),
                    Err(why) => {
                        members.remove(name);
                        fail(wrong, &format!("/{name}"), "minor_units", &format!("{why}, or none"));
                        continue;
                    }
                },
            };
            members.insert(name.to_owned(), value);
        }
    }

    /// What is said about a field in which something is looked up.
    pub(super) fn money_note(&self, at: usize, theme: &Theme) -> Option<Bit> {
        let field = &self.fields[at];
        if let Some(pick) = self.pick(&field.pointer) {
            return match &pick.chosen {
                Some((Chosen::Account(account), _)) => {
                    let left = match account.balances.available {
                        Some(minor) => amount(account.currency, minor),
                        None => "unlimited".to_owned(),
                    };
                    let state = match bursar_shared::field::AccountStatus::Active == account.status {
                        true => String::new(),
                        false => format!(", {}", account.status),
                    };
                    Some(bit(format!("{} available {left}{state}", account.currency), theme.dim))
                }
                Some((Chosen::System(_, currency), _)) => {
                    Some(bit(format!("{currency}, a system account"), theme.dim))
                }
                Some((Chosen::Person(id), _)) => Some(bit(id.to_string(), theme.dim)),
                None => None,
            };
        }
        let sheet = self.money.as_deref()?;
        match (sheet, field.pointer.as_str()) {
            (Sheet::Capture(hold), "/amount") if field.changed() => {
                let minor = self.currency()?.minor(field.input.value()).ok()?;
                let rest = hold.amount - minor;
                (rest > 0).then(|| bit(format!("{} is let go", amount(hold.currency, rest)), theme.warn))
            }
            (Sheet::Reverse(of), "/amount") if !field.changed() => {
                let text = if of.reversed_amount > 0 { "all that is left" } else { "all of it" };
                Some(bit(format!("{}: {text}", of.currency), theme.dim))
            }
            (Sheet::Send(..), "/amount") if field.fault.is_none() || !field.touched => {
                Some(bit(self.currency()?.to_string(), theme.dim))
            }
            _ => None,
        }
    }
}

fn read<T: Decode>(members: Map<String, Value>, wrong: &mut Vec<Violation>) -> Option<T> {
    let mut found = Vec::new();
    let read = T::decode(&Value::Object(members), &mut Decoder::new(&mut found, false));
    // what was said already is said better
    found.retain(|one| !wrong.iter().any(|known| known.pointer == one.pointer));
    wrong.extend(found);
    read
}

fn fail(wrong: &mut Vec<Violation>, pointer: &str, rule: &str, message: &str) {
    if !wrong.iter().any(|one| one.pointer == pointer) {
        wrong.push(Violation {
            pointer: pointer.to_owned(),
            rule: rule.to_owned(),
            message: message.to_owned(),
        });
    }
}

/// Whether a part is within the whole; says so if not.
fn within(wrong: &mut Vec<Violation>, currency: Currency, minor: i64, whole: i64) -> bool {
    if minor > whole {
        let text = format!("is more than {} {currency}, all there is of it", amount(currency, whole));
        fail(wrong, "/amount", "range", &text);
    }
    minor <= whole
}

/// A time as people write it: `30m`, `12h`, `7d`, `90s`.
fn seconds(text: &str) -> Option<i64> {
    let unit = text.chars().last()?;
    let every = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return None,
    };
    text.strip_suffix(unit)?.parse::<i64>().ok()?.checked_mul(every).filter(|seconds| *seconds > 0)
}
