//! Every action as data: what it is called, its keys, what it does, why it is off, the same as a command.
//!
//! Key map, help, palette, hints, menus and the page of keys in the documents are made from [`ACTIONS`].

mod elsewhere;
mod money;
mod state;

pub use elsewhere::{Elsewhere, elsewhere};
use money::*;
pub(crate) use money::{other_side, transfers_of};
use state::*;
pub(crate) use state::{changing, person_of_row, subject_of_row};

use crate::{
    keys::Key,
    model::{Model, Screen},
};

macro_rules! deeds {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {
        /// What can be done.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Do { $($(#[$doc])* $name),+ }
    };
}

deeds! {
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
    /// Mark the rows between the last mark and this one.
    MarkRange,
    /// Mark the row and the one below it.
    MarkDown,
    /// Mark the row and the one above it.
    MarkUp,
    /// Mark every row that is held.
    MarkAll,
    /// Take all marks away.
    Unmark,
    /// Take in what is new.
    TakeIn,
    /// Hold the list still, or let it move.
    Freeze,
    /// Read again.
    Refresh,
    /// The id onto the clipboard.
    Copy,
    /// The same as a command onto the clipboard.
    CopyCommand,
    /// The list into a file.
    Export,
    /// What can be done with the row.
    Menu,
    /// To the first screen.
    GoHome,
    /// To the people.
    GoUsers,
    /// To the sessions.
    GoSessions,
    /// To the roles.
    GoRoles,
    /// To the events.
    GoEvents,
    /// To the whole log.
    GoAudit,
    /// To the accounts.
    GoAccounts,
    /// To the transfers.
    GoTransfers,
    /// To the entries of an account.
    GoStatement,
    /// To the entries of the account at the other end.
    GoOther,
    /// To the transfers that belong to the row.
    GoTransfersOf,
    /// To the accounts of a person.
    GoAccountsOf,
    /// To the person of a session, or of a row of the log.
    GoPerson,
    /// To what happened to the record.
    GoTimeline,
    /// To where a person is signed in.
    GoWhere,
    /// Create a person.
    Create,
    /// Edit a person.
    Edit,
    /// Give and take roles.
    Roles,
    /// End a person's access.
    Suspend,
    /// Let them in again.
    Activate,
    /// Make a way to a new password.
    Reset,
    /// Delete them.
    Delete,
    /// Sign them out everywhere.
    EndSessions,
    /// End one session.
    EndSession,
    /// End all sessions of the person of one.
    EndAll,
    /// Open an account.
    OpenAccount,
    /// Edit an account and its limits.
    EditAccount,
    /// Let nothing out of an account.
    FreezeAccount,
    /// Let money out again.
    UnfreezeAccount,
    /// Close an account for ever.
    CloseAccount,
    /// Move money, or hold it.
    Send,
    /// Move money back.
    Reverse,
    /// Move money that is held.
    Capture,
    /// Let go of money that is held.
    Void,
    /// Check the books.
    VerifyBooks,
    /// Check the chain of the log.
    Verify,
    /// What was changed from here, and how it is undone.
    Undo,
    /// A change that has no answer.
    Unanswered,
    /// What went wrong last.
    Error,
    /// Search every action.
    Palette,
    /// The keys of this screen.
    Help,
    /// Another daemon.
    Contexts,
    /// Close one thing.
    Back,
    /// Clicks and the wheel, or not.
    Mouse,
    /// The next theme.
    Theme,
    /// Draw everything again.
    Redraw,
    /// Back to the shell for a while.
    Stop,
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
    /// Changing something in the daemon.
    Change,
    /// On every screen.
    Everywhere,
}

impl Group {
    /// All of them, in the order help shows them.
    pub const ALL: &'static [(Self, &'static str)] = &[
        (Self::Move, "MOVE"),
        (Self::Find, "FIND"),
        (Self::Act, "ACT"),
        (Self::Change, "CHANGE, ALWAYS AFTER A REVIEW"),
        (Self::Everywhere, "EVERYWHERE"),
    ];
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
    /// A stable name.
    pub name: &'static str,
    /// What the command line calls it, or what one would type to find it.
    pub words: &'static str,
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

const NOTHING_CHANGES: &str = "changes nothing in the daemon";

const fn undo_of(undo: &[&'static str]) -> &'static str {
    if undo.is_empty() { NOTHING_CHANGES } else { undo[0] }
}

macro_rules! actions {
    ($($what:ident $name:literal $words:literal $title:literal [$($key:literal)*] $group:ident $hint:literal $state:ident $command:ident, $does:literal $(, undo $undo:literal)?;)+) => {
        /// Every action there is.
        pub const ACTIONS: &[Action] = &[$(Action {
            what: Do::$what,
            name: $name,
            words: $words,
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
    Down        "list.down"        "down"               "down"             ["j" "down"]      Move 0   in_list none, "Moves the cursor to the next row.";
    Up          "list.up"          "up"                 "up"               ["k" "up"]        Move 0   in_list none, "Moves the cursor to the row before.";
    HalfDown    "list.half-down"   "half down"          "half screen down" ["^d"]            Move 0   in_list none, "Moves the cursor half a screen down.";
    HalfUp      "list.half-up"     "half up"            "half screen up"   ["^u"]            Move 0   in_list none, "Moves the cursor half a screen up.";
    PageDown    "list.page-down"   "page down"          "screen down"      ["pgdn" "^f"]     Move 0   in_list none, "Moves the cursor a screen down.";
    PageUp      "list.page-up"     "page up"            "screen up"        ["pgup" "^b"]     Move 0   in_list none, "Moves the cursor a screen up.";
    Top         "list.top"         "first"              "first row"        ["g g" "home"]    Move 0   in_list none, "Goes to the first row of the whole list.";
    Bottom      "list.bottom"      "last"               "last row"         ["G" "end"]       Move 0   in_list none, "Goes to the last row of the whole list.";
    GoHome      "go.home"          "stats"              "home"             ["1" "g h"]       Move 0   signed_in stats_command, "Goes to the figures and the latest events.";
    GoUsers     "go.users"         "users list"         "users"            ["2" "g u"]       Move 30  reads_users none, "Goes to the people.";
    GoSessions  "go.sessions"      "sessions list"      "sessions"         ["3" "g s"]       Move 0   reads_sessions none, "Goes to who is signed in, and where.";
    GoRoles     "go.roles"         "roles list"         "roles"            ["4" "g r"]       Move 0   reads_roles none, "Goes to the roles and what they allow.";
    GoEvents    "go.events"        "events list"        "events"           ["5" "g e"]       Move 0   reads_events none, "Goes to what changed, as it happens.";
    GoAudit     "go.audit"         "audit list"         "audit"            ["6" "g a"]       Move 0   reads_audit none, "Goes to everything that was done or tried.";
    GoAccounts  "go.accounts"      "accounts list"      "accounts"         ["7" "g m"]       Move 0   reads_accounts none, "Goes to the accounts and what they hold.";
    GoTransfers "go.transfers"     "transfers list"     "transfers"        ["8" "g t"]       Move 0   reads_transfers none, "Goes to the money that moved, or is held.";
    GoStatement "go.statement"     "accounts entries"   "statement"        ["o"]             Move 88  has_statement statement_command, "Goes to the entries of the account, with running balances; from a transfer to the sender's.";
    GoOther     "go.other-side"    "other side"         "other side"       ["i"]             Move 44  has_other_side other_command, "Goes to the entries of the account at the other end.";
    GoTransfersOf "go.transfers-of" "transfers of"      "its transfers"    ["w"]             Move 38  has_transfers transfers_command, "Goes to the transfers of the account; from an entry to its transfer, from a transfer to what came of it.";
    GoAccountsOf "go.accounts-of"  "accounts of"        "their accounts"   ["b"]             Move 37  has_accounts accounts_command, "Goes to the accounts of the person.";
    GoPerson    "go.person"        "users get"          "person"           ["u"]             Move 40  has_person person_command, "Goes to the person that the row is about; from a role to those who have it.";
    GoTimeline  "go.timeline"      "timeline"           "timeline"         ["t"]             Move 42  has_timeline timeline_command, "Goes to everything that happened to the record.";
    GoWhere     "go.where"         "sessions of"        "signed in where"  ["w"]             Move 0   has_sessions sessions_command, "Goes to the live sessions of the person.";
    Open        "row.open"         "open"               "open"             ["enter"]         Act 90   openable row_command, "Shows the record on the whole screen.";
    Pane        "list.pane"        "pane"               "pane"             ["p"]             Act 20   in_table none, "Shows or hides the details beside the list.";
    Filter      "list.filter"      "filter"             "filter"           ["/"]             Find 80  filterable list_command, "Narrows the list, in the filter language of the command line.";
    Sort        "list.sort"        "sort"               "sort"             ["s"]             Find 50  sortable list_command, "Chooses the order of the list; the cursor keeps its record.";
    Columns     "list.columns"     "columns"            "columns"          ["c"]             Find 35  in_table none, "Chooses the columns.";
    TakeIn      "list.take-in"     "take in"            "take in"          ["."]             Find 0   reachable none, "Reads the list again around the cursor: new rows come, missing ones go.";
    Freeze      "list.freeze"      "freeze"             "freeze"           ["f"]             Find 60  freezable none, "Holds the list still while rows come, and lets it move again.";
    Refresh     "list.refresh"     "reload"             "reload"           ["r"]             Find 25  in_list list_command, "Reads this screen again; the cursor keeps its record. Offline: tries now.";
    Export      "list.export"      "export"             "export"           ["E"]             Find 30  exportable export_command, "Writes the whole list, as filtered and sorted, to a file: CSV or JSON lines.";
    Mark        "row.mark"         "mark"               "mark"             ["space"]         Act 45   on_user none, "Marks the row, or takes its mark away, and moves on.";
    MarkRange   "list.mark-range"  "mark range"         "mark range"       ["V"]             Act 0    on_user none, "Marks every row from the one that was marked last to this one.";
    MarkDown    "row.mark-down"    "mark down"          "mark down"        ["shift-down"]    Act 0    on_user none, "Marks the row and the next one, and goes there.";
    MarkUp      "row.mark-up"      "mark up"            "mark up"          ["shift-up"]      Act 0    on_user none, "Marks the row and the one before, and goes there.";
    MarkAll     "list.mark-all"    "mark all"           "mark all"         ["*"]             Act 0    on_user none, "Marks every row of the list that was read so far.";
    Unmark      "list.unmark"      "clear marks"        "clear marks"      ["\\"]            Act 0    has_marks none, "Takes all marks away.";
    Menu        "row.menu"         "menu"               "actions"          ["x"]             Act 85   on_row none, "Shows what can be done with the row, or why not.";
    Copy        "row.copy"         "copy id"            "copy id"          ["y"]             Act 32   on_row none, "Puts the id onto the clipboard (OSC 52, also over SSH).";
    CopyCommand "row.copy-command" "copy command"       "copy as command"  ["Y"]             Act 0    in_list row_command, "Puts the same as a `bursar` command onto the clipboard.";
    Verify      "audit.verify"     "audit verify"       "verify chain"     ["v"]             Act 65   verifiable verify_command, "Recomputes the chain of hashes over the whole log.";
    VerifyBooks "ledger.verify"    "ledger verify"      "verify books"     ["v"]             Act 24   books_verifiable verify_books_command, "Recomputes every account, transfer and entry, and compares.";
    Send        "transfer.create"  "transfers create"   "transfer"         ["T"]             Change 72 sendable send_command, "Opens a form that moves money, or holds it.", undo "nothing: a reversal moves money back; {app.undo} lets a hold go";
    Reverse     "transfer.reverse" "transfers reverse"  "reverse"          ["R"]             Change 68 reversible reverse_command, "Moves the money of a transfer or a capture back, all of it or a part.", undo "nothing: a reversal is not reversed";
    Capture     "transfer.capture" "transfers capture"  "capture"          ["C"]             Change 67 capturable capture_command, "Moves money that is held, all of it or a part; the rest is let go.", undo "nothing: a reversal moves it back";
    Void        "transfer.void"    "transfers void"     "void"             ["V"]             Change 66 voidable void_command, "Lets go of money that is held.", undo "nothing: a hold ends once";
    OpenAccount "account.create"   "accounts create"    "new account"      ["N"]             Change 28 account_openable open_account_command, "Opens a form for a new account.", undo "{app.undo} closes it while it is empty";
    EditAccount "account.edit"     "accounts update"    "edit account"     ["e"]             Change 34 account_editable edit_account_command, "Opens a form for the name and the limits; ^s there shows what would change, and asks.", undo "{app.undo} puts the old values back";
    FreezeAccount "account.freeze" "accounts freeze"    "freeze account"   ["F"]             Change 33 freezable_account freeze_command, "Lets nothing out of an account; money may come in.", undo "{app.undo} unfreezes it";
    UnfreezeAccount "account.unfreeze" "accounts unfreeze" "unfreeze account" ["U"]          Change 33 unfreezable_account unfreeze_command, "Lets money out of a frozen account again.", undo "{app.undo} freezes it";
    CloseAccount "account.close"   "accounts close"     "close account"    ["D"]             Change 0 closable_account close_command, "Closes an account for ever; what it holds goes to another one.", undo "nothing: what is closed stays closed";
    Edit        "user.edit"        "users edit"         "edit"             ["e"]             Change 75 editable edit_command, "Opens a form; ^s there shows what would change, and asks.", undo "{app.undo} puts the old values back";
    Create      "user.create"      "users create"       "new user"         ["N"]             Change 28 creatable create_command, "Opens a form for a new person or service.", undo "delete the new person";
    Roles       "user.roles"       "users roles"        "give roles"       ["R"]             Change 0 grantable roles_command, "Gives and withdraws roles, from a list of all there are.", undo "{app.undo} gives the old roles again";
    Suspend     "user.suspend"     "users suspend"      "suspend"          ["S"]             Change 0 suspendable suspend_command, "Ends a person's access and their sessions; with marks, everybody's who is marked.", undo "activate; sessions that ended stay ended";
    Activate    "user.activate"    "users activate"     "activate"         ["A"]             Change 0 activatable activate_command, "Lets a suspended person in again; with marks, everybody who is marked.", undo "suspend";
    Reset       "user.reset"       "users reset-password" "reset password" ["P"]             Change 0 resettable reset_command, "Makes a one-time token for a new password; their sessions end.", undo "nothing: the old password and sessions are gone";
    EndSessions "user.end-sessions" "sessions revoke --user" "end sessions" ["K"]            Change 0 revocable revoke_command, "Signs a person out everywhere.", undo "nothing: they sign in again";
    Delete      "user.delete"      "users delete"       "delete"           ["D"]             Change 0 deletable delete_command, "Deletes a person for good; with marks, everybody who is marked. The log keeps what they did.", undo "nothing: who is deleted stays so";
    EndSession  "session.end"      "sessions revoke"    "end session"      ["K"]             Change 70 endable end_command, "Ends this one session.", undo "nothing: they sign in again";
    EndAll      "session.end-all"  "sessions revoke --user" "end all of person" ["A"]        Change 55 all_endable end_all_command, "Ends all sessions of the person of this one.", undo "nothing: they sign in again";
    Undo        "app.undo"         "undo"               "undo"             ["Z"]             Everywhere 0 undoable none, "Shows what was changed from here, and undoes it after a review.", undo "it is itself a change";
    Unanswered  "app.unanswered"   "pending list"       "unanswered"       ["a"] Everywhere 93 has_unanswered unanswered_command, "Opens a change that was sent and left without an answer: asks what became of it, then whether to send it again.";
    Error       "app.error"        "error"              "last error"       ["!"]             Everywhere 15 has_error none, "Shows what went wrong last, with its request id.";
    Palette     "app.palette"      "command"            "command"          [":" "^p"]        Everywhere 22 signed_in none, "Finds any action by its words; `users status:active` goes there.";
    Help        "app.help"         "help"               "help"             ["?" "f1"]        Everywhere 100 always none, "Shows the keys of this screen.";
    Contexts    "app.contexts"     "context use"        "contexts"         ["@"]             Everywhere 0 always contexts_command, "Goes to another daemon, for as long as the dashboard is open.";
    Back        "app.back"         "close"              "close"            ["esc"]           Everywhere 92 closable none, "Closes one thing; never leaves.";
    Mouse       "app.mouse"        "mouse"              "mouse on/off"     ["m"]             Everywhere 0 always none, "Takes clicks and the wheel, or leaves them to the terminal to select text.";
    Theme       "app.theme"        "theme"              "next theme"       ["^t"]            Everywhere 0 always none, "Goes round the themes: dark, light, mono, high contrast.";
    Redraw      "app.redraw"       "redraw"             "redraw"           ["^l"]            Everywhere 0 always none, "Draws the whole screen again.";
    Stop        "app.stop"         "background"         "to the shell"     ["^z"]            Everywhere 0 always none, "Goes back to the shell; `fg` comes back here.";
    SignOut     "app.sign-out"     "auth logout"        "sign out"         ["^o"]            Everywhere 0 signed_in logout_command, "Ends this session, after it asked, and asks who is next.";
    Quit        "app.quit"         "quit"               "quit"             ["q" "^c"]        Everywhere 95 always none, "Leaves; the session stays signed in.";
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
        for keys in model.keys.of(action) {
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

/// What can follow the first of two keys: the second, and what both do.
pub fn following(model: &Model, first: Key) -> Vec<(&str, &'static Action)> {
    let here = ACTIONS.iter().filter(|action| (action.state)(model) != State::Absent);
    let pairs = here.flat_map(|action| {
        let keys = model.keys.of(action).into_iter();
        keys.filter_map(move |keys| keys.split_once(' ').map(|pair| (pair, action)))
    });
    pairs
        .filter(|((begins, second), _)| !second.is_empty() && Key::read(begins) == Some(first))
        .map(|((_, second), action)| (second, action))
        .collect()
}

/// The action that does this.
pub fn action(what: Do) -> Option<&'static Action> {
    ACTIONS.iter().find(|action| action.what == what)
}

/// The action that goes to a screen: it is named so.
pub fn to_screen(screen: Screen) -> Option<&'static Action> {
    let name = format!("go.{}", screen.title().to_lowercase());
    ACTIONS.iter().find(|action| action.name == name)
}

/// The table of all actions as it stands in the documents.
pub fn markdown() -> String {
    let mut out = String::new();
    for (group, title) in Group::ALL {
        let title = title.to_lowercase();
        out.push_str(&format!("\n### {}{}\n\n", title[..1].to_uppercase(), &title[1..]));
        let undone = *group == Group::Change;
        out.push_str(if undone {
            "| keys | action | name | what it does | undone by |\n|---|---|---|---|---|\n"
        } else {
            "| keys | action | name | what it does |\n|---|---|---|---|\n"
        });
        for action in ACTIONS.iter().filter(|action| action.group == *group) {
            // a bar would end the cell
            let keys =
                action.keys.iter().map(|keys| format!("`{}`", crate::keys::shown(keys).replace('|', "\\|")));
            let keys = keys.collect::<Vec<_>>().join(" ");
            let undo = if undone { format!(" {} |", action.undo) } else { String::new() };
            let undo = crate::keymap::Keymap::default().fill(&undo);
            let (title, name, does) = (action.title, action.name, action.does);
            out.push_str(&format!("| {keys} | {title} | `{name}` | {does} |{undo}\n"));
        }
    }
    out
}
