//! Money on the screen: what was read of it, what happens to it meanwhile, and what belongs to a row.

mod live;

use std::collections::{BTreeMap, BTreeSet};

use bursar_shared::{
    id::{AccountId, TransferId, UserId},
    money::Currency,
    operations::{
        accounts::{Account, Entry},
        ledger::{Flows, LedgerReport, TrialBalance},
        log::Event,
        transfers::Transfer,
    },
    permission::Permission,
    time::Timestamp,
};

use super::{named, users::REST};
use crate::{
    actions::Do,
    listing::{AGAIN, Listing},
    message::{Alarm, Request, Room, Slot, Task, Trouble},
    model::{Model, Screen},
    screens::statement::Sum,
    text::{amount, brief, number},
    update::leave_trace,
};

/// Labels and transfers that are kept for rows that may come into sight again.
const KEPT: usize = 4_000;
/// Labels that are asked for at once.
const LABELS: usize = 60;

/// What belongs to the row under the cursor, to be asked for.
#[derive(Debug, Clone)]
pub enum Subject {
    /// The latest entries of an account.
    Account(AccountId),
    /// The entries of a transfer, if they may be seen, what it ends, and what ended it.
    Transfer(Box<Transfer>, bool),
}

/// The same, as it was answered.
#[derive(Debug, Clone)]
pub enum Beside {
    /// The latest entries, newest first.
    Latest(Vec<Entry>),
    /// What a transfer left in both accounts, the one that it came from, and those that came from it.
    Related {
        /// The sender's entry before the receiver's.
        entries: Vec<Entry>,
        /// For captures, voids, expiries and reversals: of which transfer.
        parent: Option<Box<Transfer>>,
        /// Captures, voids and reversals of it, oldest first.
        children: Vec<Transfer>,
    },
}

/// How the books stand; what may not be seen is not there.
#[derive(Debug, Clone, Default)]
pub struct Books {
    /// Both sides of every currency.
    pub trial: Option<TrialBalance>,
    /// What came in and went out in the last 24 hours.
    pub flows: Option<Flows>,
    /// How many holds wait, and the oldest of them.
    pub holds: Option<(u64, bool, Vec<Transfer>)>,
    /// How many accounts are frozen.
    pub frozen: Option<u64>,
}

/// What an account is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// Its number and name, or `world:EUR`.
    pub text: String,
    /// Its currency.
    pub currency: Currency,
}

/// Money: lists, the statement of one account, and how the books stand.
pub struct Money {
    /// Accounts.
    pub accounts: Listing<Account>,
    /// Transfers.
    pub transfers: Listing<Transfer>,
    /// The entries of one account.
    pub statement: Listing<Entry>,
    /// That account, as last read or heard of.
    pub account: Option<Account>,
    /// What re-adding its entries came to.
    pub sum: Sum,
    /// What accounts are called.
    pub labels: BTreeMap<AccountId, Label>,
    /// Those that were asked for: once, whatever came of it.
    sought: BTreeSet<AccountId>,
    /// The transfers behind entries.
    pub moved: BTreeMap<TransferId, Transfer>,
    /// Those that were asked for.
    chased: BTreeSet<TransferId>,
    /// When labels or transfers could not be read: they are not asked for at once again.
    refused: Option<Timestamp>,
    /// What belongs to a row, by the row's state.
    pub beside: Option<(String, Result<Beside, Trouble>)>,
    /// For which the cursor is to rest.
    rests: Option<String>,
    /// For which it is being asked: the cursor may be elsewhere when the answer comes.
    asked: Option<String>,
    /// Transfers of which a part was moved back: they are read anew.
    stale: BTreeSet<TransferId>,
    /// How the books stand, and when they were asked.
    pub books: Option<(Books, Timestamp)>,
    /// What recomputing the books came to, and when.
    pub verified: Option<(LedgerReport, Timestamp)>,
}

impl Default for Money {
    fn default() -> Self {
        Self {
            accounts: Listing::new(Room::Accounts),
            transfers: Listing::new(Room::Transfers),
            statement: Listing::new(Room::Statement),
            account: None,
            sum: Sum::default(),
            labels: BTreeMap::new(),
            sought: BTreeSet::new(),
            moved: BTreeMap::new(),
            chased: BTreeSet::new(),
            refused: None,
            beside: None,
            rests: None,
            asked: None,
            stale: BTreeSet::new(),
            books: None,
            verified: None,
        }
    }
}

/// What an account is called: its number and name; system accounts by what they stand for.
pub fn label(account: &Account) -> String {
    match account.system_key {
        Some(key) => format!("{key}:{}", account.currency),
        None => format!("{} {}", account.number, account.name),
    }
}

impl Money {
    /// What an account is called, as far as it was read.
    pub fn called(&self, id: AccountId) -> String {
        self.labels.get(&id).map_or_else(|| brief(&id.to_string()), |label| label.text.clone())
    }

    /// Remembers what an account is called.
    pub fn learn(&mut self, account: &Account) {
        if self.labels.len() >= KEPT {
            self.labels.clear();
            self.sought.clear();
        }
        let label = Label { text: label(account), currency: account.currency };
        self.labels.insert(account.id, label);
    }

    /// What comes from now on was counted before, or not.
    pub fn hold(&mut self, held: bool) {
        self.accounts.newer.hold(held);
        self.transfers.newer.hold(held);
        self.statement.newer.hold(held);
    }

    /// What could not be read is asked for again.
    pub fn forgive(&mut self) {
        self.sought.clear();
        self.chased.clear();
        self.refused = None;
    }

    /// Remembers transfers behind entries.
    pub fn keep(&mut self, transfers: impl IntoIterator<Item = Transfer>) {
        for transfer in transfers {
            if self.moved.len() >= KEPT {
                self.moved.clear();
                self.chased.clear();
            }
            self.moved.insert(transfer.id, transfer);
        }
    }

    /// The account as far as it is held here.
    pub fn held(&self, id: AccountId) -> Option<&Account> {
        let statement = self.account.as_ref().filter(|account| account.id == id);
        statement.or_else(|| {
            let id = id.to_string();
            self.accounts.window.rows().find(|row| row.id == id).map(|row| &row.record)
        })
    }

    /// The transfer under the cursor: itself, or the one behind an entry.
    pub fn transfer(model: &Model) -> Option<&Transfer> {
        match model.screen {
            Screen::Transfers => model.money.transfers.window.current().map(|row| &row.record),
            Screen::Statement => {
                let row = model.money.statement.window.current()?;
                model.money.moved.get(&row.record.transfer_id)
            }
            _ => None,
        }
    }

    /// The account that is looked at: under the cursor, or whose statement it is.
    pub fn account(model: &Model) -> Option<&Account> {
        match model.screen {
            Screen::Accounts => model.money.accounts.window.current().map(|row| &row.record),
            Screen::Statement => model.money.account.as_ref(),
            _ => None,
        }
    }

    /// What the pane waits for: its key, and what is asked.
    fn wanted(model: &Model) -> Option<(String, Subject)> {
        let list = model.list().filter(|list| list.pane() || list.open().is_some())?;
        if model.is_offline() || list.cursor().is_none() {
            return None;
        }
        let (key, subject) = match model.screen {
            Screen::Accounts => {
                let account = Self::account(model)?;
                (beside_key(account), Subject::Account(account.id))
            }
            Screen::Transfers | Screen::Statement => {
                let transfer = Self::transfer(model)?;
                let subject =
                    Subject::Transfer(Box::new(transfer.clone()), model.may(Permission::AccountsRead));
                (related_key(transfer), subject)
            }
            _ => return None,
        };
        let known = model.money.beside.as_ref().is_some_and(|(known, _)| *known == key);
        (!known).then_some((key, subject))
    }

    /// After every message: asks what is missing, and waits for the cursor to rest.
    pub fn settle(model: &mut Model) -> Vec<Task> {
        let mut tasks = Vec::new();
        if matches!(model.screen, Screen::Accounts | Screen::Transfers | Screen::Statement) {
            let wanted = Self::wanted(model).map(|(key, _)| key);
            if wanted != model.money.rests {
                model.money.rests.clone_from(&wanted);
                tasks.extend(wanted.map(|_| Task::Wake(REST, Alarm::Rest)));
            }
        }
        if model.money.refused.is_none_or(|at| model.now.since(at) >= AGAIN) {
            tasks.extend(behind(model));
            tasks.extend(labels(model));
        }
        if !model.money.stale.is_empty() && !model.is_offline() && !model.tickets.waits_for(Slot::Again) {
            let ids = std::mem::take(&mut model.money.stale).into_iter().collect();
            tasks.push(Task::Ask(model.tickets.issue(Slot::Again), Request::Again(ids)));
        }
        tasks
    }

    /// The cursor has rested.
    pub fn rested(model: &mut Model) -> Vec<Task> {
        let Some((key, subject)) = Self::wanted(model) else { return Vec::new() };
        model.money.asked = Some(key);
        vec![Task::Ask(model.tickets.issue(Slot::Beside), Request::Beside(subject))]
    }

    /// What belongs to the row that was asked about, or why that is not known.
    pub fn take_beside(model: &mut Model, answer: Result<Beside, Trouble>) {
        let Some(key) = model.money.asked.take() else { return };
        model.money.beside = Some((key, answer));
    }

    /// Goes to the statement of an account; `esc` comes back.
    pub fn open_statement(model: &mut Model, id: AccountId) -> Vec<Task> {
        if model.is_offline() {
            model.complain("statement is off: the daemon cannot be reached");
            return Vec::new();
        }
        if (model.screen, model.money.statement.of) != (Screen::Statement, Some(id)) {
            leave_trace(model, Room::Statement);
        }
        Self::turn_to(model, id);
        model.money.statement.open = None;
        model.screen = Screen::Statement;
        Self::load_statement(model)
    }

    /// The statement is that of this account from now on; it is still to be read.
    pub fn turn_to(model: &mut Model, id: AccountId) {
        if model.money.statement.of == Some(id) {
            return;
        }
        let pane = model.money.statement.pane;
        model.money.account = model.money.held(id).cloned();
        let mut statement = Listing::new(Room::Statement);
        (statement.of, statement.pane) = (Some(id), pane);
        model.money.statement = statement;
        model.money.sum = Sum::default();
    }

    /// Reads the statement again, and the account that it is of.
    pub fn load_statement(model: &mut Model) -> Vec<Task> {
        let Some(id) = model.money.statement.of else { return Vec::new() };
        let mut tasks = vec![Task::Ask(model.tickets.issue(Slot::Account), Request::Account(id))];
        let (list, tickets) = model.list_and_tickets(Room::Statement);
        tasks.extend(list.reload(tickets));
        tasks
    }

    /// Asks how the books stand.
    pub fn load_books(model: &mut Model) -> Option<Task> {
        let permissions = model.who.as_ref()?.permissions;
        let any = [Permission::LedgerRead, Permission::TransfersRead, Permission::AccountsRead];
        if model.tickets.waits_for(Slot::Books) || !any.iter().any(|one| permissions.has(*one)) {
            return None;
        }
        Some(Task::Ask(model.tickets.issue(Slot::Books), Request::Books(permissions)))
    }

    /// What recomputing the books came to.
    pub fn verified(model: &mut Model, report: LedgerReport) {
        let (now, checked) = (model.now, report.checked);
        if report.ok {
            model.say(format!(
                "the books are whole: {} accounts, {} transfers and {} entries recomputed",
                number(checked.accounts),
                number(checked.transfers),
                number(checked.entries)
            ));
        } else {
            let lines = report.problems.iter().map(|one| {
                format!("{} of {}: should be {}, is {}", one.kind, one.id, one.expected, one.actual)
            });
            let all = lines.collect::<Vec<_>>().join("; ");
            let trouble = Trouble::Other(all);
            let problems = number(report.problems.len() as u64);
            let key = model.keys.key_of(Do::Error);
            model.complain(format!("the books do not fit: {problems} problems; {key} shows them"));
            model.last_trouble = Some((trouble, "the books were recomputed".to_owned(), now));
        }
        model.money.verified = Some((report, now));
    }
}

/// How much money an event moved or held, in a few words: `12.50 EUR  world:EUR → 1001 Wallet`.
pub fn said(event: &Event, model: &Model) -> Option<String> {
    let text = |name: &str| event.data.get(name).and_then(serde_json::Value::as_str);
    let currency: Currency = text("currency")?.parse().ok()?;
    let minor = event.data.get("amount")?.as_i64()?;
    let sides = [text("fromAccountId")?, text("toAccountId")?].map(|id| named::called(model, id));
    let sum = amount(currency, minor);
    Some(format!("{sum} {currency}  {} {} {}", sides[0], model.theme.glyphs.arrow, sides[1]))
}

/// What tells one state of an account from another, as far as the pane shows it.
pub fn beside_key(account: &Account) -> String {
    format!("{}@{}", account.id, account.entry_seq)
}

/// The same of a transfer.
pub fn related_key(transfer: &Transfer) -> String {
    format!("{}@{}:{}", transfer.id, transfer.status, transfer.reversed_amount)
}

/// Asks for the transfers behind the entries in sight, and a screen further in both directions: one
/// request for the time they span.
fn behind(model: &mut Model) -> Option<Task> {
    let may = model.screen == Screen::Statement && model.may(Permission::TransfersRead);
    if !may || model.is_offline() || model.tickets.waits_for(Slot::Behind) {
        return None;
    }
    let account = model.money.statement.of?;
    let window = &model.money.statement.window;
    let height = window.visible().count();
    let near = window.rows().skip(window.top().saturating_sub(height)).take(3 * height.max(1));
    let unknown: Vec<&Entry> = near
        .map(|row| &row.record)
        .filter(|entry| !model.money.moved.contains_key(&entry.transfer_id))
        .filter(|entry| !model.money.chased.contains(&entry.transfer_id))
        .collect();
    let from = unknown.iter().map(|entry| entry.created_at).min()?;
    let to = unknown.iter().map(|entry| entry.created_at).max()?;
    let ids: Vec<TransferId> = unknown.iter().map(|entry| entry.transfer_id).collect();
    model.money.chased.extend(ids);
    Some(Task::Ask(model.tickets.issue(Slot::Behind), Request::Behind(account, from, to)))
}

/// Asks what the accounts are called whose ids stand on the screen, once for each.
fn labels(model: &mut Model) -> Option<Task> {
    if model.is_offline() || !model.may(Permission::AccountsRead) || model.tickets.waits_for(Slot::Labels) {
        return None;
    }
    let both = |transfer: &Transfer| [transfer.from_account_id, transfer.to_account_id];
    let money = &model.money;
    let wanted: Vec<AccountId> = match model.screen {
        Screen::Transfers => money.transfers.window.visible().flat_map(|row| both(&row.record)).collect(),
        Screen::Statement => money.statement.window.visible().map(|row| row.record.counterparty_id).collect(),
        Screen::Accounts => match &money.beside {
            Some((_, Ok(Beside::Latest(entries)))) => {
                entries.iter().map(|entry| entry.counterparty_id).collect()
            }
            _ => Vec::new(),
        },
        _ => named::events(model).into_iter().flat_map(named::accounts).collect(),
    };
    let unknown: BTreeSet<AccountId> = wanted
        .into_iter()
        .filter(|id| !money.labels.contains_key(id) && !money.sought.contains(id))
        .collect();
    let unknown: Vec<AccountId> = unknown.into_iter().take(LABELS).collect();
    if unknown.is_empty() {
        return None;
    }
    model.money.sought.extend(unknown.iter().copied());
    Some(Task::Ask(model.tickets.issue(Slot::Labels), Request::Labels(unknown)))
}

/// What became of requests about money, when they could not be answered.
pub fn failed(model: &mut Model, slot: Slot, trouble: Trouble) {
    match slot {
        Slot::Beside => Money::take_beside(model, Err(trouble)),
        // asked again with the first thing that happens after a while
        Slot::Labels => {
            model.money.sought.clear();
            model.money.refused = Some(model.now);
        }
        Slot::Behind => {
            model.money.chased.clear();
            model.money.refused = Some(model.now);
        }
        _ => {}
    }
}

/// People whose names the rows show: owners of accounts, and who moved money.
pub fn people(model: &Model) -> Vec<UserId> {
    let actor = |transfer: &Transfer| transfer.actor_id.as_ref().and_then(|id| id.parse().ok());
    match model.screen {
        Screen::Accounts => {
            model.money.accounts.window.visible().filter_map(|row| row.record.owner_id).collect()
        }
        Screen::Transfers => Money::transfer(model).and_then(actor).into_iter().collect(),
        Screen::Statement => {
            let owner = model.money.account.as_ref().and_then(|account| account.owner_id);
            owner.into_iter().chain(Money::transfer(model).and_then(actor)).collect()
        }
        _ => Vec::new(),
    }
}
