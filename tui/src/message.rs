//! What comes in (`Msg`) and what goes out (`Task`): plain data on both sides of `update`.

use std::{collections::BTreeMap, time::Duration};

use bursar_shared::{
    error::{ApiError, Class},
    field::{Email, Reason, Secret},
    id::{AccountId, TransferId, UserId},
    operation::Operation,
    operations::{
        accounts::{Account, Entry, ListEntries},
        auth::{Capabilities, Session},
        ledger::LedgerReport,
        log::{AuditEntry, AuditReport, Event},
        roles::Role,
        system::{Stats, Verdict},
        transfers::Transfer,
        users::{EffectivePermissions, User},
    },
    page::{List, Page},
    permission::Permissions,
    time::Timestamp,
};

use crate::{
    change::{Change, Effect},
    keys::Key,
    model::{Known, Opened},
    screens::money::{Beside, Books, Subject},
};

/// Something happened.
#[derive(Debug)]
pub enum Msg {
    /// The person did something.
    Input(Input),
    /// A request came back.
    Answer(Ticket, Result<Answer, Trouble>),
    /// The log is followed, and this happened.
    Heard(Ticket, Heard),
    /// So many rows of an export are written.
    Progress(Ticket, u64),
    /// The process was asked to stop for a while.
    Pause,
    /// The process was stopped and goes on: the terminal may look like anything.
    Resumed,
    /// A time that was waited for has come.
    Alarm(Alarm),
    /// The terminal says what its background is: light, or not.
    Background(bool),
    /// A task of ours panicked.
    Broken,
    /// The process was told to end.
    Stop(Exit),
}

/// What following the log brought.
#[derive(Debug)]
pub enum Heard {
    /// Connected: every row from now on will come.
    Live,
    /// Rows that were committed, oldest first.
    Rows(Vec<Event>),
    /// The connection is gone; it is made again by itself.
    Lost(Trouble),
    /// It is over.
    Ended(Trouble),
}

/// What the person did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A key went down.
    Key(Key),
    /// Text was pasted.
    Paste(String),
    /// The left button, at this column and line.
    Click(u16, u16),
    /// The right button, at this column and line.
    Menu(u16, u16),
    /// The wheel was turned, away from the person when negative.
    Wheel(i8),
    /// The terminal has this many columns and lines now.
    Resize(u16, u16),
    /// The window is looked at, or not.
    Focus(bool),
}

/// Why the dashboard ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// The person left.
    Quit,
    /// A signal ended it: this one.
    Signal(i32),
}

/// What a request is for. A newer request for the same purpose takes the older one's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Slot {
    /// Signing in or out, and who that is.
    Session,
    /// Whether the daemon is there, and what is new.
    Pulse,
    /// The log as it grows.
    Stream,
    /// What whoever is signed in may do by now.
    Rights,
    /// The figures of the first screen.
    Stats,
    /// A page of a list.
    Page(Room, Way),
    /// What the person under the cursor may do.
    Permissions,
    /// What happened to the record under the cursor.
    Timeline,
    /// What people are called whose ids are shown.
    Names,
    /// All roles, for a choice.
    Choice,
    /// The chain of the log, or the books.
    Verify,
    /// What accounts are called whose ids are shown.
    Labels,
    /// The account whose statement is shown.
    Account,
    /// The transfers behind the entries that are shown.
    Behind,
    /// What belongs to the account or the transfer under the cursor.
    Beside,
    /// Transfers that changed in a way that the log does not say in full.
    Again,
    /// How the books stand.
    Books,
    /// Who or what is meant by what is typed.
    Find,
    /// A list on its way into a file.
    Export,
    /// The contexts there are, or the way to another.
    Contexts,
    /// A change, from its rehearsal to its outcome.
    Change,
}

impl Slot {
    /// All but the pages.
    pub const ALL: &'static [Self] = &[
        Self::Session,
        Self::Pulse,
        Self::Stream,
        Self::Rights,
        Self::Stats,
        Self::Permissions,
        Self::Timeline,
        Self::Names,
        Self::Choice,
        Self::Verify,
        Self::Labels,
        Self::Account,
        Self::Behind,
        Self::Beside,
        Self::Again,
        Self::Books,
        Self::Find,
        Self::Export,
        Self::Contexts,
        Self::Change,
    ];
}

/// A screen with a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Room {
    /// The first screen, with the latest events.
    Home,
    /// People.
    Users,
    /// Who is signed in.
    Sessions,
    /// Roles.
    Roles,
    /// What changed.
    Events,
    /// The whole log.
    Audit,
    /// Accounts.
    Accounts,
    /// Money that moved, or is held.
    Transfers,
    /// The entries of one account.
    Statement,
}

impl Room {
    /// All of them, in the order of their numbers.
    pub const ALL: &'static [Self] = &[
        Self::Home,
        Self::Users,
        Self::Sessions,
        Self::Roles,
        Self::Events,
        Self::Audit,
        Self::Accounts,
        Self::Transfers,
        Self::Statement,
    ];
}

/// Where a page of a list goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Way {
    /// It takes the place of what is shown.
    Fresh,
    /// After what is shown.
    Next,
    /// Before what is shown.
    Prev,
}

/// Tells a request from those before it with the same purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ticket {
    /// What it is for.
    pub slot: Slot,
    /// Which one.
    pub generation: u64,
}

/// The requests that are under way; an answer to any other is thrown away.
#[derive(Debug, Default)]
pub struct Tickets {
    last: u64,
    live: BTreeMap<Slot, u64>,
}

impl Tickets {
    /// A ticket for a new request; the one before for the same slot is not waited for any more.
    pub fn issue(&mut self, slot: Slot) -> Ticket {
        self.last += 1;
        self.live.insert(slot, self.last);
        Ticket { slot, generation: self.last }
    }

    /// Whether this ticket is still waited for.
    pub fn is_live(&self, ticket: Ticket) -> bool {
        self.live.get(&ticket.slot) == Some(&ticket.generation)
    }

    /// Takes a ticket back; false when it is not waited for any more.
    pub fn redeem(&mut self, ticket: Ticket) -> bool {
        let live = self.is_live(ticket);
        if live {
            self.live.remove(&ticket.slot);
        }
        live
    }

    /// Whether a request of this slot is under way.
    pub fn waits_for(&self, slot: Slot) -> bool {
        self.live.contains_key(&slot)
    }

    /// Whether rows are under way that events bring up to date.
    pub fn reads(&self) -> bool {
        self.live.keys().any(|slot| matches!(slot, Slot::Page(..) | Slot::Account))
    }

    /// Whether anything is under way but the followed log, a file and a check, which take their time.
    pub fn waits(&self) -> bool {
        self.live.keys().any(|slot| !matches!(slot, Slot::Stream | Slot::Export | Slot::Verify))
    }

    /// Nothing of this slot is waited for any more.
    pub fn forget(&mut self, slot: Slot) {
        self.live.remove(&slot);
    }

    /// Nothing is waited for any more.
    pub fn forget_all(&mut self) {
        self.live.clear();
    }
}

/// What the daemon is asked.
#[derive(Debug)]
pub enum Request {
    /// Signs in, at this server.
    SignIn {
        /// The server as typed.
        server: String,
        /// Who.
        email: Email,
        /// The password.
        password: Secret,
    },
    /// Ends the session.
    SignOut,
    /// Who is signed in, and what they may do.
    Who,
    /// What whoever is signed in may do by now.
    Rights,
    /// Whether the daemon is there; with a number, the events after it.
    Pulse(Option<i64>),
    /// To follow the log, after this row.
    Follow(Option<i64>),
    /// The figures of the first screen.
    Stats,
    /// A page of the log.
    Events(List<Event>),
    /// A page of people.
    Users(List<User>),
    /// A page of sessions.
    Sessions(List<Session>),
    /// A page of roles.
    Roles(List<Role>),
    /// A page of the whole log.
    Audit(List<AuditEntry>),
    /// A page of accounts.
    Accounts(List<Account>),
    /// A page of transfers.
    Transfers(List<Transfer>),
    /// A page of an account's entries.
    Entries(Box<ListEntries>),
    /// An account.
    Account(AccountId),
    /// The transfers of an account from one moment to another, both included.
    Behind(AccountId, Timestamp, Timestamp),
    /// What these accounts are called.
    Labels(Vec<AccountId>),
    /// What belongs to an account or a transfer.
    Beside(Subject),
    /// These transfers as they are now.
    Again(Vec<TransferId>),
    /// How the books stand: what of it may be seen.
    Books(Permissions),
    /// Whether the books are whole.
    VerifyLedger,
    /// The accounts, or the people, that are meant by a text.
    Find(Seek, String, Permissions),
    /// What a person may do.
    Permissions(UserId),
    /// The latest that happened to a person, and that they did.
    Timeline(UserId),
    /// What these people are called.
    Names(Vec<UserId>),
    /// All roles, as far as one page holds them.
    AllRoles,
    /// Whether the log is whole.
    Verify,
    /// The contexts there are.
    Contexts,
    /// To talk to another daemon from now on.
    Switch(String),
    /// A list into a file.
    Export(Plan),
    /// What a change would do, to this version; it is undone at once.
    Rehearse(Change, Option<i64>),
    /// A change, under this key, to this version, for this reason.
    Carry(Change, String, Option<i64>, Option<Reason>),
    /// What became of the change with this key.
    Verdict(String),
}

impl Request {
    /// How the request for a list is sent: method aside.
    pub fn target(&self) -> Option<String> {
        fn of<O: Operation>(op: &O) -> Option<String> {
            bursar_shared::wire::encode(op).ok().map(|encoded| encoded.target)
        }
        match self {
            Self::Events(list) => of(list),
            Self::Users(list) => of(list),
            Self::Sessions(list) => of(list),
            Self::Roles(list) => of(list),
            Self::Audit(list) => of(list),
            Self::Accounts(list) => of(list),
            Self::Transfers(list) => of(list),
            Self::Entries(list) => of(&**list),
            _ => None,
        }
    }
}

/// What is looked for by what is typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seek {
    /// An account: by id, number, name, or whose it is.
    Account,
    /// A person: by id, email or name.
    Person,
}

/// What a typed text may mean.
#[derive(Debug, Clone, PartialEq)]
pub enum Found {
    /// This account, and whose it is.
    Account(Box<Account>, Option<String>),
    /// This person.
    Person(UserId, String),
}

/// A list on its way into a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// What the command line calls its rows.
    pub noun: &'static str,
    /// The request for its first page, as it is sent.
    pub target: String,
    /// `csv` or `jsonl`, as the command line has it.
    pub format: &'static str,
    /// The file, as typed.
    pub path: String,
}

/// What the daemon answered.
#[derive(Debug)]
pub enum Answer {
    /// Who is signed in.
    Who(Box<User>, Box<Capabilities>),
    /// What whoever is signed in may do by now.
    Rights(Box<Capabilities>),
    /// The session is over.
    SignedOut,
    /// The daemon is there; what is new, oldest first.
    Pulse(Vec<Event>),
    /// The figures.
    Stats(Box<Stats>),
    /// A page of the log.
    Events(Page<Event>),
    /// A page of people.
    Users(Page<User>),
    /// A page of sessions.
    Sessions(Page<Session>),
    /// A page of roles.
    Roles(Page<Role>),
    /// A page of the whole log.
    Audit(Page<AuditEntry>),
    /// A page of accounts.
    Accounts(Page<Account>),
    /// A page of transfers.
    Transfers(Page<Transfer>),
    /// A page of an account's entries.
    Entries(Page<Entry>),
    /// An account.
    Account(Box<Account>),
    /// The transfers behind entries.
    Behind(Vec<Transfer>),
    /// These accounts, as far as they may be read.
    Labels(Vec<Account>),
    /// What belongs to an account or a transfer.
    Beside(Box<Beside>),
    /// These transfers as they are now.
    Again(Vec<Transfer>),
    /// How the books stand.
    Books(Box<Books>),
    /// What recomputing the books came to.
    LedgerVerified(LedgerReport),
    /// What this text may mean.
    Found(String, Vec<Found>),
    /// What a person may do.
    Permissions(Box<EffectivePermissions>),
    /// What happened to a person, and what they did.
    Timeline(UserId, Vec<Event>),
    /// What people are called; who is not there any more is left out.
    Names(Vec<(UserId, String)>),
    /// All roles.
    AllRoles(Vec<Role>),
    /// What the chain of the log says.
    Verified(AuditReport),
    /// The contexts there are.
    Contexts(Vec<Known>),
    /// Another daemon is talked to from now on.
    Switched(Box<Opened>),
    /// So many rows are in the file, which lies there.
    Exported(u64, String),
    /// What a change would do.
    Rehearsed(Effect),
    /// What it did.
    Changed(Effect),
    /// What became of it.
    Verdict(Box<Verdict>),
}

/// Why a request had no answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Trouble {
    /// The daemon refused it.
    Refused {
        /// What it said.
        error: ApiError,
        /// What its log calls the request.
        request_id: Option<String>,
        /// Until when it does not want to be asked again.
        retry_at: Option<Timestamp>,
    },
    /// The daemon could not be reached, so nothing was changed; the words say what was tried.
    Unreachable(String),
    /// A change was sent and its answer was lost: what became of it is not known.
    Lost(String),
    /// Something on this machine is not as it must be, so nothing was sent.
    Local(String),
    /// Nobody is signed in any more.
    SignedOut,
    /// The answer makes no sense, or something else went wrong.
    Other(String),
}

impl Trouble {
    /// For people.
    pub fn message(&self) -> String {
        match self {
            Self::Refused { error, .. } => error.message.clone(),
            Self::Unreachable(why) | Self::Lost(why) | Self::Local(why) => why.clone(),
            Self::SignedOut => "nobody is signed in".to_owned(),
            Self::Other(why) => why.clone(),
        }
    }

    /// Whether the session is over.
    pub fn ends_the_session(&self) -> bool {
        match self {
            Self::SignedOut => true,
            Self::Refused { error, .. } => error.code.class() == Class::Auth,
            _ => false,
        }
    }

    /// What the log calls the request.
    pub fn request_id(&self) -> Option<&str> {
        match self {
            Self::Refused { request_id, .. } => request_id.as_deref(),
            _ => None,
        }
    }
}

/// What `update` wants done.
#[derive(Debug)]
pub enum Task {
    /// Ask the daemon; an older request of the same slot is given up.
    Ask(Ticket, Request),
    /// Give up what this slot waits for.
    Drop(Slot),
    /// Say so after this long; an older wait for the same alarm is given up.
    Wake(Duration, Alarm),
    /// Put this on the clipboard.
    Copy(String),
    /// Take clicks and the wheel, or leave them to the terminal.
    Mouse(bool),
    /// Give the terminal back and stop, until the shell says to go on.
    Stop,
    /// A change that nobody knows the outcome of is not remembered any more, by its key.
    Forget(String),
    /// End.
    Quit(Exit),
}

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Alarm {
    /// Look whether the daemon is there and what is new.
    Pulse,
    /// A request takes so long that it should be said.
    Slow(Ticket),
    /// Nothing was answered since this request was slow: say for how long.
    Silent(Ticket),
    /// The cursor has rested: load what belongs to its row.
    Rest,
    /// No key is held down any more that moves the cursor.
    Still,
    /// The first of two keys was pressed a while ago: show what can follow.
    Chord,
    /// Typing has rested: what is typed is looked up.
    Seek,
    /// The figures are older than what came since.
    Figures,
    /// What became of a change whose answer was lost.
    Outcome,
    /// What a change under review would do now that something happened meanwhile.
    Again,
}
