//! The whole state of the dashboard.

use std::{collections::VecDeque, time::Duration};

use bursar_shared::{
    operations::users::User,
    permission::{Permission, Permissions},
    time::Timestamp,
};

use crate::{
    keys::Key,
    look::{Look, Theme},
    message::{Exit, Room, Tickets},
    screens::{home::Home, login::Login, users::Users},
    widgets::{overlay::Overlay, review::Review},
};

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
}

/// Whose daemon this is.
#[derive(Debug, Clone, Default)]
pub struct Place {
    /// Its address.
    pub server: String,
    /// The name of the context.
    pub context: Option<String>,
    /// Whether changes are free.
    pub protection: Protection,
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
}

/// The whole state.
pub struct Model {
    /// The time, as of the message being handled.
    pub now: Timestamp,
    /// Columns and lines of the terminal.
    pub size: (u16, u16),
    /// What the person wants to see.
    pub look: Look,
    /// The styles that follow from it.
    pub theme: Theme,
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
    /// The screen.
    pub screen: Screen,
    /// Where one was when the session ended.
    pub return_to: Option<Screen>,
    /// What lies over the screen.
    pub overlay: Option<Overlay>,
    /// A change whose outcome nobody knows yet.
    pub pending: Option<Review>,
    /// The first of two keys.
    pub chord: Option<Key>,
    /// A word to the person.
    pub flash: Option<Flash>,
    /// Signing in.
    pub login: Login,
    /// The first screen.
    pub home: Home,
    /// People.
    pub users: Users,
    /// Lines that were run in the palette, newest first.
    pub history: VecDeque<String>,
    /// Whether the window is looked at.
    pub focused: bool,
    /// The last row of the log that was seen.
    pub head: Option<i64>,
    /// Whether the log is followed; else it is looked at every second.
    pub streaming: bool,
    /// Something visible changed.
    pub dirty: bool,
    /// Every cell is to be written again.
    pub repaint: bool,
    /// The end.
    pub exit: Option<Exit>,
}

impl Model {
    /// Before anything happened.
    pub fn new(look: Look, place: Place, now: Timestamp) -> Self {
        let login = Login::new(&place.server);
        Self {
            now,
            size: (80, 24),
            look,
            theme: Theme::of(look),
            place,
            who: None,
            link: Link::Unknown,
            tickets: Tickets::default(),
            slow: false,
            screen: Screen::Login,
            return_to: None,
            overlay: None,
            pending: None,
            chord: None,
            flash: None,
            login,
            home: Home::default(),
            users: Users::default(),
            history: VecDeque::new(),
            focused: true,
            head: None,
            streaming: false,
            dirty: true,
            repaint: false,
            exit: None,
        }
    }

    /// Whether the person signed in holds a permission.
    pub fn may(&self, permission: Permission) -> bool {
        self.who.as_ref().is_some_and(|who| who.permissions.has(permission))
    }

    /// Whether the daemon is known not to be there.
    pub fn is_offline(&self) -> bool {
        matches!(self.link, Link::Down { .. })
    }

    /// The list of the screen that is shown.
    pub fn room(&self) -> Option<Room> {
        match self.screen {
            Screen::Login => None,
            Screen::Home => Some(Room::Home),
            Screen::Users => Some(Room::Users),
        }
    }

    /// The id under the cursor.
    pub fn current_id(&self) -> Option<&str> {
        match self.room()? {
            Room::Home => self.home.feed.window.cursor(),
            Room::Users => self.users.list.window.cursor(),
        }
    }

    /// Says something to the person.
    pub fn say(&mut self, text: impl Into<String>) {
        self.flash = Some(Flash { text: text.into(), bad: false });
    }

    /// Says that something went wrong.
    pub fn complain(&mut self, text: impl Into<String>) {
        self.flash = Some(Flash { text: text.into(), bad: true });
    }
}

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
