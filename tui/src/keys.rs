//! Every action as data: what it is called, its keys, what it does, why it is off, the same as a command.

use std::fmt;

use bursar_shared::{field::UserStatus, id::UserId, operations::users::User, permission::Permission};

use crate::{
    message::Room,
    model::{Model, Protection, Screen},
    widgets::review::Change,
};

/// A key, as far as the dashboard tells them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    /// Which.
    pub code: Code,
    /// Whether control was held.
    pub ctrl: bool,
}

/// Which key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Code {
    /// A letter as it is written, capitals included.
    Char(char),
    /// Return.
    Enter,
    /// Escape.
    Esc,
    /// Tab.
    Tab,
    /// Tab backwards.
    BackTab,
    /// Erases before the cursor.
    Backspace,
    /// Erases at the cursor.
    Delete,
    /// An arrow.
    Up,
    /// An arrow.
    Down,
    /// An arrow.
    Left,
    /// An arrow.
    Right,
    /// To the beginning.
    Home,
    /// To the end.
    End,
    /// A screen up.
    PageUp,
    /// A screen down.
    PageDown,
    /// A function key.
    F(u8),
}

impl Key {
    /// A key without control.
    pub const fn plain(code: Code) -> Self {
        Self { code, ctrl: false }
    }

    /// Reads a key as the table writes it: `j`, `^d`, `enter`, `f1`.
    pub fn read(text: &str) -> Option<Self> {
        let mut letters = text.chars();
        let code = match (letters.next()?, letters.next(), letters.next()) {
            (letter, None, _) => Code::Char(letter),
            ('^', Some(letter), None) => return Some(Self { code: Code::Char(letter), ctrl: true }),
            _ => NAMES.iter().find(|(name, _)| *name == text)?.1,
        };
        Some(Self::plain(code))
    }
}

const NAMES: &[(&str, Code)] = &[
    ("enter", Code::Enter),
    ("esc", Code::Esc),
    ("tab", Code::Tab),
    ("backtab", Code::BackTab),
    ("backspace", Code::Backspace),
    ("delete", Code::Delete),
    ("up", Code::Up),
    ("down", Code::Down),
    ("left", Code::Left),
    ("right", Code::Right),
    ("home", Code::Home),
    ("end", Code::End),
    ("pgup", Code::PageUp),
    ("pgdn", Code::PageDown),
    ("space", Code::Char(' ')),
    ("f1", Code::F(1)),
];

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.ctrl {
            f.write_str("^")?;
        }
        match (self.code, NAMES.iter().find(|(_, code)| *code == self.code)) {
            (_, Some((name, _))) => f.write_str(name),
            (Code::Char(letter), None) => write!(f, "{letter}"),
            (Code::F(number), None) => write!(f, "f{number}"),
            (code, None) => write!(f, "{code:?}"),
        }
    }
}

/// What can be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Do {
    /// A row down.
    Down,
    /// A row up.
    Up,
    /// Half a screen down.
    HalfDown,
    /// Half a screen up.
    HalfUp,
    /// A screen down.
    PageDown,
    /// A screen up.
    PageUp,
    /// The first row of the whole list.
    Top,
    /// The last row of the whole list.
    Bottom,
    /// The record on the whole screen.
    Open,
    /// The pane beside the list, or not.
    Pane,
    /// Begin to filter.
    Filter,
    /// Choose the order.
    Sort,
    /// Choose the columns.
    Columns,
    /// Mark the row.
    Mark,
    /// Take all marks away.
    Unmark,
    /// Take in what is new.
    TakeIn,
    /// Read again.
    Refresh,
    /// The id onto the clipboard.
    Copy,
    /// The same as a command onto the clipboard.
    CopyCommand,
    /// To the first screen.
    GoHome,
    /// To the people.
    GoUsers,
    /// Search every action.
    Palette,
    /// The keys of this screen.
    Help,
    /// End a person's access.
    Suspend,
    /// Let them in again.
    Activate,
    /// Delete them.
    Delete,
    /// Sign them out everywhere.
    EndSessions,
    /// Close one thing.
    Back,
    /// Clicks and the wheel, or not.
    Mouse,
    /// Draw everything again.
    Redraw,
    /// End the session.
    SignOut,
    /// Leave.
    Quit,
}

/// Where help shows an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// Moving about.
    Move,
    /// Finding things.
    Find,
    /// Doing something with a row.
    Act,
    /// On every screen.
    Everywhere,
}

impl Group {
    /// All of them, in the order help shows them.
    pub const ALL: &'static [(Self, &'static str)] =
        &[(Self::Move, "MOVE"), (Self::Find, "FIND"), (Self::Act, "ACT"), (Self::Everywhere, "EVERYWHERE")];
}

/// Whether an action can be done now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It can.
    On,
    /// It cannot; this is why.
    Off(&'static str),
    /// It has no meaning here.
    Absent,
}

/// One action.
#[derive(Debug)]
pub struct Action {
    /// What is done.
    pub what: Do,
    /// A stable name, for key files.
    pub name: &'static str,
    /// A few words for hints and menus.
    pub title: &'static str,
    /// What it does, in a sentence.
    pub does: &'static str,
    /// Its keys; two in a row are written with a space between.
    pub keys: &'static [&'static str],
    /// Where help shows it.
    pub group: Group,
    /// How much the line at the bottom wants to show it; 0 is never.
    pub hint: u8,
    /// Whether it can be done now.
    pub state: fn(&Model) -> State,
    /// How it is undone.
    pub undo: &'static str,
    /// The same as a command.
    pub command: fn(&Model) -> Option<String>,
}

const NEEDS_SUSPEND: &str = "needs the permission users:suspend";
const NOTHING_CHANGES: &str = "changes nothing in the daemon";

const fn undo_of(undo: &[&'static str]) -> &'static str {
    if undo.is_empty() { NOTHING_CHANGES } else { undo[0] }
}

/// On a person who can be changed by somebody with this permission.
fn changeable(
    model: &Model,
    permission: Permission,
    needs: &'static str,
    off: fn(&User) -> Option<&'static str>,
) -> State {
    if model.screen != Screen::Users {
        return State::Absent;
    }
    let Some(row) = model.users.list.window.current() else { return on_row(model) };
    if model.is_offline() {
        return State::Off("the daemon cannot be reached");
    }
    if model.place.protection == Protection::ReadOnly {
        return State::Off("this context is read-only");
    }
    if !model.may(permission) {
        return State::Off(needs);
    }
    if model.pending.is_some() {
        return State::Off("what became of the change before is not known yet: r asks");
    }
    if row.gone {
        return State::Off("they are gone");
    }
    off(&row.record).map_or(State::On, State::Off)
}

/// The person under the cursor.
fn on_person(model: &Model) -> Option<UserId> {
    model.users.list.window.current().map(|row| row.record.id)
}

/// Whether the cursor is on the one who is signed in.
fn on_oneself(model: &Model) -> bool {
    let me = model.who.as_ref().map(|who| who.user.id);
    model.screen == Screen::Users
        && model.users.list.window.current().is_some_and(|row| Some(row.record.id) == me)
}

fn suspendable(model: &Model) -> State {
    if on_oneself(model) {
        return State::Off("nobody suspends themselves");
    }
    changeable(model, Permission::UsersSuspend, NEEDS_SUSPEND, |user| {
        (user.status != UserStatus::Active).then_some("they are not active")
    })
}

fn activatable(model: &Model) -> State {
    changeable(model, Permission::UsersSuspend, NEEDS_SUSPEND, |user| {
        (user.status != UserStatus::Suspended).then_some("they are not suspended")
    })
}

fn deletable(model: &Model) -> State {
    if on_oneself(model) {
        return State::Off("nobody deletes themselves");
    }
    changeable(model, Permission::UsersDelete, "needs the permission users:delete", |user| {
        (user.status == UserStatus::Deleted).then_some("they are deleted")
    })
}

fn revocable(model: &Model) -> State {
    if on_oneself(model) {
        return State::Off("sign yourself out with ^o");
    }
    changeable(model, Permission::SessionsRevoke, "needs the permission sessions:revoke", |_| None)
}

fn delete_command(model: &Model) -> Option<String> {
    on_person(model).map(|id| Change::Delete(id).command())
}

fn revoke_command(model: &Model) -> Option<String> {
    on_person(model).map(|id| Change::EndSessions(id).command())
}

fn suspend_command(model: &Model) -> Option<String> {
    on_person(model).map(|id| Change::Suspend(id).command())
}

fn activate_command(model: &Model) -> Option<String> {
    on_person(model).map(|id| Change::Activate(id).command())
}

fn always(_: &Model) -> State {
    State::On
}

fn signed_in(model: &Model) -> State {
    if model.screen == Screen::Login { State::Absent } else { State::On }
}

fn in_list(model: &Model) -> State {
    if model.room().is_some() { State::On } else { State::Absent }
}

/// In the list of people, not in one of them.
fn in_users(model: &Model) -> State {
    if model.screen == Screen::Users && model.users.open.is_none() { State::On } else { State::Absent }
}

fn is_open(model: &Model) -> bool {
    match model.screen {
        Screen::Login => false,
        Screen::Home => model.home.open.is_some(),
        Screen::Users => model.users.open.is_some(),
    }
}

fn openable(model: &Model) -> State {
    if is_open(model) { State::Absent } else { on_row(model) }
}

fn closable(model: &Model) -> State {
    let follows = model.screen == Screen::Home && model.current_id().is_some();
    if is_open(model) || follows { State::On } else { State::Absent }
}

fn on_row(model: &Model) -> State {
    match model.room() {
        None => State::Absent,
        Some(_) if model.current_id().is_none() => State::Off("the cursor is on no row: press j"),
        Some(_) => State::On,
    }
}

fn on_user(model: &Model) -> State {
    if in_users(model) == State::On { on_row(model) } else { State::Absent }
}

fn reachable(model: &Model) -> State {
    match in_list(model) {
        State::On if model.is_offline() => State::Off("the daemon cannot be reached"),
        state => state,
    }
}

fn filterable(model: &Model) -> State {
    match in_users(model) {
        State::On => reachable(model),
        state => state,
    }
}

fn has_marks(model: &Model) -> State {
    match in_users(model) {
        State::On if model.users.list.window.marks().is_empty() => State::Off("nothing is marked"),
        state => state,
    }
}

fn reads_users(model: &Model) -> State {
    if model.screen == Screen::Login {
        State::Absent
    } else if model.may(bursar_shared::permission::Permission::UsersRead) {
        State::On
    } else {
        State::Off("needs the permission users:read")
    }
}

fn none(_: &Model) -> Option<String> {
    None
}

fn list_command(model: &Model) -> Option<String> {
    match model.room()? {
        Room::Users => Some(model.users.list.command("users")),
        Room::Home => Some("bursar stats".to_owned()),
    }
}

fn row_command(model: &Model) -> Option<String> {
    let id = model.current_id()?;
    match model.room()? {
        Room::Users => Some(format!("bursar users get {id}")),
        Room::Home => Some(format!("bursar audit get {id}")),
    }
}

macro_rules! actions {
    ($($what:ident $name:literal $title:literal [$($key:literal)*] $group:ident $hint:literal $state:ident $command:ident, $does:literal $(, undo $undo:literal)?;)+) => {
        /// Every action there is: key map, help, palette and hints are made from this table.
        pub const ACTIONS: &[Action] = &[$(Action {
            what: Do::$what,
            name: $name,
            title: $title,
            does: $does,
            keys: &[$($key),*],
            group: Group::$group,
            hint: $hint,
            state: $state,
            undo: undo_of(&[$($undo)?]),
            command: $command,
        }),+];
    };
}

actions! {
    Down        "list.down"       "down"           ["j" "down"]       Move 0       in_list none, "Moves the cursor to the next row.";
    Up          "list.up"         "up"             ["k" "up"]         Move 0       in_list none, "Moves the cursor to the row before.";
    HalfDown    "list.half-down"  "half screen down" ["^d"]         Move 0       in_list none, "Moves the cursor half a screen down.";
    HalfUp      "list.half-up"    "half screen up" ["^u"]           Move 0       in_list none, "Moves the cursor half a screen up.";
    PageDown    "list.page-down"  "screen down"  ["pgdn" "^f"]      Move 0       in_list none, "Moves the cursor a screen down.";
    PageUp      "list.page-up"    "screen up"    ["pgup" "^b"]      Move 0       in_list none, "Moves the cursor a screen up.";
    Top         "list.top"        "first row"      ["g g" "home"]     Move 0       in_list none, "Goes to the first row of the whole list.";
    Bottom      "list.bottom"     "last row"       ["G" "end"]        Move 0       in_list none, "Goes to the last row of the whole list.";
    Open        "row.open"        "open"           ["enter"]          Act 90       openable row_command, "Shows the record on the whole screen.";
    Pane        "list.pane"       "pane"           ["p"]              Act 40       in_users none, "Shows or hides the details beside the list.";
    Filter      "list.filter"     "filter"         ["/"]              Find 80      filterable list_command, "Narrows the list, in the filter language of the command line.";
    Sort        "list.sort"       "sort"           ["s"]              Find 70      filterable list_command, "Chooses the order of the list; the cursor keeps its record.";
    Columns     "list.columns"    "columns"        ["c"]              Find 60      in_users none, "Chooses the columns.";
    Mark        "row.mark"        "mark"           ["space"]          Act 50       on_user none, "Marks the row, or takes its mark away, and moves on.";
    Unmark      "list.unmark"     "clear marks"    ["\\"]             Act 0        has_marks none, "Takes all marks away.";
    TakeIn      "list.take-in"    "take in"        ["."]              Find 0       reachable none, "Reads the list again around the cursor: new rows come, missing ones go.";
    Refresh     "list.refresh"    "reload"         ["r"]              Find 45      in_list list_command, "Reads this screen again; the cursor keeps its record. Offline: tries now.";
    Copy        "row.copy"        "copy id"        ["y"]              Act 55       on_row none, "Puts the id onto the clipboard (OSC 52, also over SSH).";
    CopyCommand "row.copy-command" "copy as command" ["Y"]            Act 0        on_row row_command, "Puts the same as a `bursar` command onto the clipboard.";
    Suspend     "user.suspend"    "suspend"        ["S"]              Act 0        suspendable suspend_command, "Ends a person's access and their sessions, after a review of what will happen.", undo "activate; sessions that ended stay ended";
    Activate    "user.activate"   "activate"       ["A"]              Act 0        activatable activate_command, "Lets a suspended person in again, after a review.", undo "suspend";
    Delete      "user.delete"     "delete"         ["D"]              Act 0        deletable delete_command, "Deletes a person for good, after a review; the log keeps what they did.", undo "nothing: who is deleted stays so";
    EndSessions "user.end-sessions" "end sessions" ["K"]              Act 0        revocable revoke_command, "Signs a person out everywhere, after a review.", undo "nothing: they sign in again";
    GoHome      "go.home"         "home"           ["1"]              Move 0       signed_in none, "Goes to the figures and the latest events.";
    GoUsers     "go.users"        "users"          ["2"]              Move 30      reads_users none, "Goes to the people.";
    Palette     "app.palette"     "command"        [":" "^p"]         Everywhere 20 signed_in none, "Finds any action by its words; `users status:active` goes there.";
    Help        "app.help"        "help"           ["?" "f1"]         Everywhere 100 always none, "Shows the keys of this screen.";
    Back        "app.back"        "close"          ["esc"]            Everywhere 92 closable none, "Closes one thing; never leaves.";
    Mouse       "app.mouse"       "mouse on/off"   ["m"]              Everywhere 0 always none, "Takes clicks and the wheel, or leaves them to the terminal to select text.";
    Redraw      "app.redraw"      "redraw"         ["^l"]             Everywhere 0 always none, "Draws the whole screen again.";
    SignOut     "app.sign-out"    "sign out"       ["^o"]             Everywhere 0 signed_in none, "Ends this session and asks who is next.";
    Quit        "app.quit"        "quit"           ["q" "^c"]         Everywhere 95 always none, "Leaves; the session stays signed in.";
}

/// What a key means after those pressed before it.
#[derive(Debug, Clone, Copy)]
pub enum Meaning {
    /// This action.
    Action(&'static Action),
    /// The first of two keys.
    Begins,
    /// Nothing here.
    Nothing,
}

/// What a key means now.
pub fn meaning(model: &Model, before: Option<Key>, key: Key) -> Meaning {
    let here = ACTIONS.iter().filter(|action| (action.state)(model) != State::Absent);
    let mut begins = false;
    for action in here {
        for keys in action.keys {
            match (keys.split_once(' ').filter(|(_, second)| !second.is_empty()), before) {
                (Some((first, second)), Some(before)) => {
                    if Key::read(first) == Some(before) && Key::read(second) == Some(key) {
                        return Meaning::Action(action);
                    }
                }
                (Some((first, _)), None) => begins |= Key::read(first) == Some(key),
                (None, None) if Key::read(keys) == Some(key) => return Meaning::Action(action),
                (None, _) => {}
            }
        }
    }
    if begins { Meaning::Begins } else { Meaning::Nothing }
}

/// The action that does this.
pub fn action(what: Do) -> Option<&'static Action> {
    ACTIONS.iter().find(|action| action.what == what)
}

/// The two keys of `g g` are written together; the others as they are.
pub fn shown(keys: &str) -> String {
    keys.split(' ').map(|key| Key::read(key).map_or_else(|| key.to_owned(), |key| key.to_string())).collect()
}
