//! The whole state of the dashboard.

mod trail;

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use bursar_shared::{
    id::UserId,
    operations::{
        auth::Session,
        log::{AuditEntry, AuditReport, Event},
        roles::Role,
        users::User,
    },
    permission::{Permission, Permissions},
    time::Timestamp,
};

use crate::{
    actions::Do,
    change::{Change, shell},
    keymap::Keymap,
    keys::Key,
    listing::{AnyList, Listing},
    look::{Look, Theme},
    message::{Exit, Room, Ticket, Tickets, Trouble},
    screens::{home::Home, login::Login, money::Money, users::Users},
    widgets::{form::Form, overlay::Overlay, review::Review},
};

pub use self::trail::{Left, Stand, Step};

/// Whether changes are free in this context.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Protection {
    /// They are.
    #[default]
    Open,
    /// They are asked about twice.
    Confirm,
    /// They are off.
    ReadOnly,
}

/// The screens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Screen {
    /// Signing in.
    Login,
    /// Figures and the latest events.
    Home,
    /// People.
    Users,
    /// Who is signed in, and where.
    Sessions,
    /// Roles and what they allow.
    Roles,
    /// What changed, as it happens.
    Events,
    /// Everything that was done or tried.
    Audit,
    /// Accounts and what they hold.
    Accounts,
    /// Money that moved, or is held.
    Transfers,
    /// The entries of one account: behind the accounts, without a number of its own.
    Statement,
}

impl Screen {
    /// The screens behind the sign-in, in the order of their numbers.
    pub const ALL: &'static [Self] = &[
        Self::Home,
        Self::Users,
        Self::Sessions,
        Self::Roles,
        Self::Events,
        Self::Audit,
        Self::Accounts,
        Self::Transfers,
    ];

    /// What it is called.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Login => "sign in",
            Self::Home => "Home",
            Self::Users => "Users",
            Self::Sessions => "Sessions",
            Self::Roles => "Roles",
            Self::Events => "Events",
            Self::Audit => "Audit",
            Self::Accounts => "Accounts",
            Self::Transfers => "Transfers",
            Self::Statement => "Statement",
        }
    }

    /// Its list.
    pub const fn room(self) -> Option<Room> {
        match self {
            Self::Login => None,
            Self::Home => Some(Room::Home),
            Self::Users => Some(Room::Users),
            Self::Sessions => Some(Room::Sessions),
            Self::Roles => Some(Room::Roles),
            Self::Events => Some(Room::Events),
            Self::Audit => Some(Room::Audit),
            Self::Accounts => Some(Room::Accounts),
            Self::Transfers => Some(Room::Transfers),
            Self::Statement => Some(Room::Statement),
        }
    }
}

/// A daemon that the person knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// The name of the context.
    pub name: String,
    /// Its address.
    pub server: String,
    /// Who one is there.
    pub email: Option<String>,
    /// Whether changes are free.
    pub protection: Protection,
}

/// Another daemon that is talked to from now on.
#[derive(Debug, Clone, Default)]
pub struct Opened {
    /// Whose it is.
    pub place: Place,
    /// Who signed in there last.
    pub email: Option<String>,
    /// Whether a stored session can be tried.
    pub signed_in: bool,
}

/// A change that was made from here.
#[derive(Debug, Clone)]
pub struct Deed {
    /// The key that it was sent under: it stays the same while others are put before it.
    pub key: String,
    /// When.
    pub at: Timestamp,
    /// What.
    pub text: String,
    /// Who it was done to, for the review of taking it back.
    pub whom: String,
    /// The change that takes it back, and the version it is good for.
    pub back: Option<(Change, Option<i64>)>,
    /// It was taken back.
    pub undone: bool,
}

/// Whose daemon this is.
#[derive(Debug, Clone, Default)]
pub struct Place {
    /// Its address.
    pub server: String,
    /// The name of the context.
    pub context: Option<String>,
    /// What it is called where it has no context.
    pub label: Option<String>,
    /// Flags that a command needs beside the context or the address to reach it.
    pub options: Vec<String>,
    /// Whether changes are free.
    pub protection: Protection,
}

impl Place {
    /// What it is called, if anything.
    pub fn name(&self) -> Option<&str> {
        self.context.as_deref().or(self.label.as_deref())
    }

    /// A `bursar` command, so that it goes to this daemon wherever it is pasted.
    pub fn reached_by(&self, command: &str) -> String {
        let Some(rest) = command.strip_prefix("bursar ") else { return command.to_owned() };
        let mut flags = match &self.context {
            Some(name) => format!("-c {}", shell(name)),
            None => format!("--server {}", shell(&self.server)),
        };
        for option in &self.options {
            flags.push(' ');
            flags.push_str(&shell(option));
        }
        format!("bursar {flags} {rest}")
    }
}

/// Who is signed in.
#[derive(Debug, Clone)]
pub struct Who {
    /// They themselves.
    pub user: User,
    /// What they may do.
    pub permissions: Permissions,
}

/// Whether the daemon is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Link {
    /// Nobody knows yet.
    Unknown,
    /// It is.
    Live,
    /// It is not.
    Down {
        /// When it was noticed.
        since: Timestamp,
        /// When it is tried again.
        next: Timestamp,
        /// How often it was tried.
        tries: u32,
        /// What was tried and went wrong.
        why: String,
    },
}

/// A word to the person that goes away with the next key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flash {
    /// The word.
    pub text: String,
    /// Whether something went wrong.
    pub bad: bool,
    /// It is true only while something is read, and goes when that is over.
    pub passing: bool,
}

/// Names that are kept.
const NAMES: usize = 2_000;

/// The whole state.
pub struct Model {
    /// The time, as of the message being handled.
    pub now: Timestamp,
    /// How long the dashboard has been open, as of the message being handled: by a clock that nobody sets,
    /// for everything that must take a while.
    pub tick: Duration,
    /// Columns and lines of the terminal.
    pub size: (u16, u16),
    /// What the person wants to see.
    pub look: Look,
    /// The styles that follow from it.
    pub theme: Theme,
    /// Which keys do what.
    pub keys: Keymap,
    /// Whose daemon this is.
    pub place: Place,
    /// Who is signed in.
    pub who: Option<Who>,
    /// Whether the daemon is there.
    pub link: Link,
    /// The requests under way.
    pub tickets: Tickets,
    /// Requests that take so long that it is said.
    pub slow: bool,
    /// The first request that was slow since anything was answered, and when that was noticed.
    pub silent: Option<(Ticket, Duration)>,
    /// The screen.
    pub screen: Screen,
    /// Where one was when the session ended.
    pub return_to: Option<Left>,
    /// The way here: the steps that `esc` goes back.
    pub came_from: Vec<Step>,
    /// What lies over the screen.
    pub overlay: Option<Overlay>,
    /// What is shown as soon as nothing else lies over the screen.
    pub after: Option<Overlay>,
    /// A change whose outcome nobody knows yet; it is asked for, and there is no other one meanwhile.
    pub pending: Option<Review>,
    /// Changes that were left: the daemon knows nothing of them, or nobody has seen that they were refused.
    pub unanswered: Vec<Review>,
    /// Who made them, when nobody is signed in.
    pub unanswered_of: Option<UserId>,
    /// What was typed into a form when the session ended, and by whom.
    pub draft: Option<(UserId, Box<Form>)>,
    /// What was changed from here, newest first.
    pub journal: VecDeque<Deed>,
    /// What went wrong last, what it was about, and when.
    pub last_trouble: Option<(Trouble, String, Timestamp)>,
    /// The first of two keys, and whether what can follow is shown.
    pub chord: Option<(Key, bool)>,
    /// A key that moves the cursor is held down: details would be gone before they are read.
    pub moving: bool,
    /// The key before this one, and when: a key that is held agrees to nothing.
    pub last_key: Option<(Key, Duration)>,
    /// A word to the person.
    pub flash: Option<Flash>,
    /// Signing in.
    pub login: Login,
    /// The first screen.
    pub home: Home,
    /// People.
    pub users: Users,
    /// Who is signed in.
    pub sessions: Listing<Session>,
    /// Roles.
    pub roles: Listing<Role>,
    /// What changed.
    pub events: Listing<Event>,
    /// The whole log.
    pub audit: Listing<AuditEntry>,
    /// Accounts, transfers, and how the books stand.
    pub money: Money,
    /// What the chain of the log said, and when.
    pub verified: Option<(AuditReport, Timestamp)>,
    /// What people are called whose ids were seen.
    pub names: BTreeMap<UserId, String>,
    /// The contexts there are, as last read.
    pub contexts: Vec<Known>,
    /// Lines that were run in the palette, newest first.
    pub history: VecDeque<String>,
    /// Whether the window is looked at.
    pub focused: bool,
    /// The last row of the log that was seen.
    pub head: Option<i64>,
    /// When what one may do was asked for last.
    pub rights_at: Option<Timestamp>,
    /// What the log brought while rows were under way, which may be older.
    pub meanwhile: Vec<Event>,
    /// Whether the log is followed; else it is looked at every second.
    pub streaming: bool,
    /// Something visible changed.
    pub dirty: bool,
    /// Every cell is to be written again.
    pub repaint: bool,
    /// Moves that were made before there were rows to move over.
    pub ahead: Vec<Do>,
    /// Leaving was asked about.
    pub quitting: bool,
    /// Changes, in a few words each, whose outcome nobody knew when somebody else signed in, or another
    /// daemon was gone to.
    pub left_behind: Vec<String>,
    /// The end.
    pub exit: Option<Exit>,
}

impl Model {
    /// Before anything happened.
    pub fn new(look: Look, place: Place, now: Timestamp) -> Self {
        let login = Login::new(&place.server);
        Self {
            now,
            tick: Duration::ZERO,
            size: (80, 24),
            look,
            theme: Theme::of(look),
            keys: Keymap::default(),
            place,
            who: None,
            link: Link::Unknown,
            tickets: Tickets::default(),
            slow: false,
            silent: None,
            screen: Screen::Login,
            return_to: None,
            came_from: Vec::new(),
            overlay: None,
            after: None,
            pending: None,
            unanswered: Vec::new(),
            unanswered_of: None,
            draft: None,
            journal: VecDeque::new(),
            last_trouble: None,
            chord: None,
            moving: false,
            last_key: None,
            flash: None,
            login,
            home: Home::default(),
            users: Users::default(),
            sessions: Listing::new(Room::Sessions),
            roles: Listing::new(Room::Roles),
            events: Listing::new(Room::Events),
            audit: Listing::new(Room::Audit),
            money: Money::default(),
            verified: None,
            names: BTreeMap::new(),
            contexts: Vec::new(),
            history: VecDeque::new(),
            focused: true,
            head: None,
            rights_at: None,
            meanwhile: Vec::new(),
            streaming: false,
            dirty: true,
            repaint: false,
            ahead: Vec::new(),
            quitting: false,
            left_behind: Vec::new(),
            exit: None,
        }
    }

    /// Forgets everything that was read, for the next person may see less.
    pub fn forget(&mut self) {
        self.home = Home::default();
        self.users = Users::default();
        self.sessions = Listing::new(Room::Sessions);
        self.roles = Listing::new(Room::Roles);
        self.events = Listing::new(Room::Events);
        self.audit = Listing::new(Room::Audit);
        self.money = Money::default();
        self.verified = None;
        self.names.clear();
        self.journal.clear();
        self.last_trouble = None;
        self.overlay = None;
        self.after = None;
        self.pending = None;
        self.came_from.clear();
        self.ahead.clear();
        self.chord = None;
        self.head = None;
        self.rights_at = None;
        self.meanwhile.clear();
        self.slow = false;
        self.silent = None;
        self.streaming = false;
        self.link = Link::Unknown;
        self.tickets.forget_all();
    }

    /// Whether the person signed in holds a permission.
    pub fn may(&self, permission: Permission) -> bool {
        self.who.as_ref().is_some_and(|who| who.permissions.has(permission))
    }

    /// Whether the daemon is known not to be there.
    pub fn is_offline(&self) -> bool {
        matches!(self.link, Link::Down { .. })
    }

    /// For how long nothing was answered that was asked, where it is long enough to be said.
    pub fn silence(&self) -> Option<Duration> {
        let (_, since) = self.silent.filter(|_| self.link == Link::Live)?;
        Some(self.tick.saturating_sub(since)).filter(|silence| *silence >= SILENCE)
    }

    /// The list of the screen that is shown.
    pub fn room(&self) -> Option<Room> {
        self.screen.room()
    }

    /// The list of a screen.
    pub fn list_of(&self, room: Room) -> &dyn AnyList {
        match room {
            Room::Home => &self.home.feed,
            Room::Users => &self.users.list,
            Room::Sessions => &self.sessions,
            Room::Roles => &self.roles,
            Room::Events => &self.events,
            Room::Audit => &self.audit,
            Room::Accounts => &self.money.accounts,
            Room::Transfers => &self.money.transfers,
            Room::Statement => &self.money.statement,
        }
    }

    /// The list of a screen, and the requests under way, which it adds to.
    pub fn list_and_tickets(&mut self, room: Room) -> (&mut dyn AnyList, &mut Tickets) {
        let list: &mut dyn AnyList = match room {
            Room::Home => &mut self.home.feed,
            Room::Users => &mut self.users.list,
            Room::Sessions => &mut self.sessions,
            Room::Roles => &mut self.roles,
            Room::Events => &mut self.events,
            Room::Audit => &mut self.audit,
            Room::Accounts => &mut self.money.accounts,
            Room::Transfers => &mut self.money.transfers,
            Room::Statement => &mut self.money.statement,
        };
        (list, &mut self.tickets)
    }

    /// The list that is shown.
    pub fn list(&self) -> Option<&dyn AnyList> {
        self.room().map(|room| self.list_of(room))
    }

    /// The list that is shown, to be moved about in.
    pub fn list_mut(&mut self) -> Option<&mut dyn AnyList> {
        let room = self.room()?;
        Some(self.list_and_tickets(room).0)
    }

    /// How a list stands now.
    pub fn stand_of(&self, room: Room) -> Stand {
        let list = self.list_of(room);
        Stand {
            of: self.money.statement.of.filter(|_| room == Room::Statement),
            filter: list.filter_text().to_owned(),
            sort: Some(list.sort()),
            cursor: list.cursor().map(str::to_owned),
            open: list.open(),
        }
    }

    /// The id under the cursor.
    pub fn current_id(&self) -> Option<&str> {
        self.list()?.cursor()
    }

    /// What somebody is called, as far as it was read; else the end of their id.
    pub fn name_of(&self, id: UserId) -> String {
        match (&self.who, self.names.get(&id)) {
            (Some(who), _) if who.user.id == id => who.user.email.to_string(),
            (_, Some(name)) => name.clone(),
            _ => crate::text::brief(&id.to_string()),
        }
    }

    /// Remembers what somebody is called. Names that were read long ago make room, and are asked for
    /// again where they are shown.
    pub fn learn(&mut self, id: UserId, name: String) {
        if self.names.len() >= NAMES {
            self.names.clear();
        }
        self.names.insert(id, name);
    }

    /// Says something to the person.
    pub fn say(&mut self, text: impl Into<String>) {
        self.flash = Some(Flash { text: text.into(), bad: false, passing: false });
    }

    /// Says what is going on, for as long as it does.
    pub fn say_meanwhile(&mut self, text: impl Into<String>) {
        self.flash = Some(Flash { text: text.into(), bad: false, passing: true });
    }

    /// What was going on does not any more.
    pub fn hush(&mut self) {
        self.flash = self.flash.take().filter(|flash| !flash.passing);
    }

    /// Says that something went wrong.
    pub fn complain(&mut self, text: impl Into<String>) {
        self.flash = Some(Flash { text: text.into(), bad: true, passing: false });
    }

    /// Says that something went wrong, and keeps all of it to be looked at.
    pub fn report(&mut self, doing: &str, trouble: &Trouble) {
        let key = self.keys.key_of(Do::Error);
        self.complain(format!("{doing}: {}  {key} shows all of it", trouble.message()));
        self.last_trouble = Some((trouble.clone(), doing.to_owned(), self.now));
    }
}

/// How long a daemon may not answer before that is said.
pub const SILENCE: Duration = Duration::from_secs(5);

/// How long to wait before the daemon is tried again: quickly at first, so that a restart is hardly
/// noticed, and at last twice a minute.
pub fn backoff(tries: u32) -> Duration {
    match tries {
        0 | 1 => Duration::from_millis(250),
        2..=4 => Duration::from_millis(500),
        5..=40 => Duration::from_secs(1),
        41..=60 => Duration::from_secs(5),
        _ => Duration::from_secs(30),
    }
}
