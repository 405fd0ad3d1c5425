//! Does an action, or says why not.

use bursar_shared::{id::UserId, operations::users::BulkOp, permission::Permission};

use super::{end_session, leave, load, step};
use crate::{
    actions::{self, Do, State},
    change::{Change, Item},
    look::{Theme, ThemeName},
    message::{Exit, Request, Room, Slot, Task},
    model::{Model, Screen, Stand, Step},
    screens::{listed, money::Money, sessions, users::Users},
    widgets::{
        choose::Choose,
        export::Export,
        form::Form,
        help::Help,
        overlay::Overlay,
        palette::Palette,
        review::{Review, Subject},
        signing_out::SigningOut,
        trouble::Shown,
    },
    window::Enter,
};

/// Does an action, or says why not.
pub fn perform(model: &mut Model, what: Do) -> Vec<Task> {
    let Some(action) = actions::action(what) else { return Vec::new() };
    if awaits_rows(model) && moves(what) {
        // over a slow line one types ahead
        model.ahead.push(what);
        model.ahead.truncate(AHEAD);
        return Vec::new();
    }
    match (action.state)(model) {
        State::On => {}
        State::Off(why) => {
            let why = model.keys.fill(why);
            model.complain(format!("{} is off: {why}", action.title));
            return Vec::new();
        }
        State::Absent => return Vec::new(),
    }
    model.quitting &= what == Do::Quit;
    let height = model.list().map_or(1, |list| listed::height(model, list)).max(1);
    let screen = isize::try_from(height).unwrap_or(1);
    match what {
        Do::Down => step(model, 1),
        Do::Up => step(model, -1),
        Do::HalfDown => step(model, (screen / 2).max(1)),
        Do::HalfUp => step(model, -(screen / 2).max(1)),
        Do::PageDown => step(model, screen),
        Do::PageUp => step(model, -screen),
        Do::Top => return to_end(model, Enter::First),
        Do::Bottom => return to_end(model, Enter::Last),
        Do::Open => with_list(model, |list| list.set_open(Some(0))),
        Do::Pane => with_list(model, |list| list.set_pane(!list.pane())),
        Do::Filter => with_list(model, |list| list.begin_filter()),
        Do::Sort => Choose::sort(model),
        Do::Columns => Choose::columns(model),
        Do::Menu => Choose::menu(model),
        Do::Undo => Choose::undo(model),
        Do::Unanswered => return Review::reopen(model),
        Do::Mark => {
            model.users.list.window.toggle_mark();
            model.users.list.window.step(1);
        }
        Do::MarkRange => match model.users.list.window.mark_range() {
            Some(count) => model.say(format!("{count} marked")),
            None => model.say("marked; at the other end the same key marks all between"),
        },
        Do::MarkDown => model.users.list.window.mark_over(1),
        Do::MarkUp => model.users.list.window.mark_over(-1),
        Do::MarkAll => {
            let count = model.users.list.window.mark_all();
            model.say(format!("{count} marked: those that were read so far"));
        }
        Do::Unmark => {
            let count = model.users.list.window.clear_marks();
            model.say(format!("{count} marks taken away"));
        }
        Do::Freeze => {
            model.events.frozen = !model.events.frozen;
            if model.events.frozen {
                let key = model.keys.key_of(what);
                model.say(format!("frozen: new rows are counted; {key} lets them in again"));
            } else {
                return load(model);
            }
        }
        Do::TakeIn | Do::Refresh => return refresh(model),
        Do::Copy => {
            // an entry is known by the transfer that it comes from
            let entry = model.money.statement.window.current().filter(|_| model.screen == Screen::Statement);
            let id = entry.map(|row| row.record.transfer_id.to_string());
            if let Some(id) = id.or_else(|| model.current_id().map(str::to_owned)) {
                model.say(format!("copied {id}"));
                return vec![Task::Copy(id)];
            }
        }
        Do::CopyCommand => {
            if let Some(command) = (action.command)(model) {
                let command = model.place.reached_by(&command);
                model.say(format!("copied {command}"));
                return vec![Task::Copy(command)];
            }
        }
        Do::Export => Export::open(model),
        Do::GoHome => return go(model, Screen::Home),
        Do::GoUsers => return go(model, Screen::Users),
        Do::GoSessions => return go(model, Screen::Sessions),
        Do::GoRoles => return go(model, Screen::Roles),
        Do::GoEvents => return go(model, Screen::Events),
        Do::GoAudit => return go(model, Screen::Audit),
        Do::GoAccounts => return go(model, Screen::Accounts),
        Do::GoTransfers => return go(model, Screen::Transfers),
        Do::GoStatement
        | Do::GoOther
        | Do::GoTransfersOf
        | Do::GoAccountsOf
        | Do::OpenAccount
        | Do::EditAccount
        | Do::FreezeAccount
        | Do::UnfreezeAccount
        | Do::CloseAccount
        | Do::Send
        | Do::Reverse
        | Do::Capture
        | Do::Void
        | Do::VerifyBooks => return super::money::perform(model, what),
        Do::GoPerson => return to_person(model),
        Do::GoTimeline => {
            let subject = actions::subject_of_row(model);
            return subject
                .map_or_else(Vec::new, |id| jump(model, Room::Events, &format!("resourceId:{id}")));
        }
        Do::GoWhere => {
            let id = model.users.list.window.current().map(|row| row.record.id);
            return id.map_or_else(Vec::new, |id| jump(model, Room::Sessions, &sessions::of(id)));
        }
        Do::Create => {
            let form = Form::create(model.may(Permission::RolesRead));
            model.overlay = Some(Overlay::Form(Box::new(form)));
        }
        Do::Edit => {
            if let Some(row) = model.users.list.window.current() {
                model.overlay = Some(Overlay::Form(Box::new(Form::edit(&row.record))));
            }
        }
        Do::Roles => return Choose::roles(model),
        Do::Suspend => return act(model, BulkOp::Suspend, |id| Change::Suspend(id, None)),
        Do::Activate => return act(model, BulkOp::Activate, |id| Change::Activate(id, None)),
        Do::Delete => return act(model, BulkOp::Delete, Change::Delete),
        Do::Reset => return on_person(model, Change::Reset),
        Do::EndSessions => return on_person(model, Change::EndSessions),
        Do::EndSession => {
            let Some(row) = model.sessions.window.current() else { return Vec::new() };
            let (change, user) = (Change::EndSession(row.record.id), row.record.user_id);
            return Review::begin(model, change, Subject::Called(model.name_of(user)), None);
        }
        Do::EndAll => {
            let Some(row) = model.sessions.window.current() else { return Vec::new() };
            let user = row.record.user_id;
            return Review::begin(
                model,
                Change::EndSessions(user),
                Subject::Called(model.name_of(user)),
                None,
            );
        }
        Do::Verify => {
            model.say_meanwhile("recomputing the chain…");
            return vec![Task::Ask(model.tickets.issue(Slot::Verify), Request::Verify)];
        }
        Do::Error => {
            if let Some((trouble, doing, at)) = model.last_trouble.clone() {
                model.overlay = Some(Overlay::Trouble(Shown { trouble, doing, at }));
            }
        }
        Do::Palette => {
            model.overlay = Some(Overlay::Palette(Palette::default()));
            // what can be gone to is read anew, without anybody waiting for it
            return vec![Task::Ask(model.tickets.issue(Slot::Contexts), Request::Contexts)];
        }
        Do::Contexts => {
            Choose::contexts(model);
            return vec![Task::Ask(model.tickets.issue(Slot::Contexts), Request::Contexts)];
        }
        Do::Help => model.overlay = Some(Overlay::Help(Help::default())),
        Do::Back => return back(model),
        Do::Mouse => {
            model.look.mouse = !model.look.mouse;
            model.say(if model.look.mouse {
                "the mouse is taken: clicks and the wheel work here"
            } else {
                "the mouse is left to the terminal: text can be selected"
            });
            return vec![Task::Mouse(model.look.mouse)];
        }
        Do::Theme => {
            let at = ThemeName::ALL.iter().position(|name| *name == model.look.theme).unwrap_or(0);
            model.look.theme = ThemeName::ALL[(at + 1) % ThemeName::ALL.len()];
            model.look.asks = false;
            model.theme = Theme::of(model.look);
            model.say(format!("theme: {}", model.look.theme.as_str()));
        }
        Do::Redraw => model.repaint = true,
        Do::Stop => return vec![Task::Stop],
        Do::SignOut => SigningOut::open(model),
        Do::Quit => return quit(model),
    }
    Vec::new()
}

/// Moves that are remembered while the rows are still to come.
const AHEAD: usize = 100;

/// Whether the rows of the list that is shown are under way, and the cursor is on none meanwhile.
fn awaits_rows(model: &Model) -> bool {
    let Some(list) = model.list() else { return false };
    list.cursor().is_none()
        && !list.follows()
        && !model.is_offline()
        && model.tickets.waits_for(Slot::Page(list.room(), crate::message::Way::Fresh))
}

/// Whether an action only moves about.
const fn moves(what: Do) -> bool {
    matches!(what, Do::Down | Do::Up | Do::HalfDown | Do::HalfUp | Do::PageDown | Do::PageUp | Do::Open)
}

/// The rows are here: what was typed meanwhile is done.
pub(crate) fn catch_up(model: &mut Model) -> Vec<Task> {
    let ahead = std::mem::take(&mut model.ahead);
    ahead.into_iter().flat_map(|what| perform(model, what)).collect()
}

fn with_list(model: &mut Model, work: impl FnOnce(&mut dyn crate::listing::AnyList)) {
    if let Some(list) = model.list_mut() {
        work(list);
    }
}

/// Leaves, unless something would be forgotten that nobody has seen the end of.
fn quit(model: &mut Model) -> Vec<Task> {
    if Review::unsettled(model) && !std::mem::replace(&mut model.quitting, true) {
        model.complain("a change has no known outcome yet; again leaves it to bursar pending");
        return Vec::new();
    }
    leave(model, Exit::Quit)
}

/// Closes one thing; never leaves.
fn back(model: &mut Model) -> Vec<Task> {
    let Some(list) = model.list_mut() else { return Vec::new() };
    if list.open().is_some() {
        list.set_open(None);
    } else if let Some(step) = model.came_from.pop() {
        // the list that was jumped to is as it was, too
        let rest = std::mem::take(&mut model.came_from);
        let mut tasks = Vec::new();
        let read = step.from.room() == Some(step.room) && !model.is_offline();
        if stand(model, step.room, &step.before) && !read {
            let (list, tickets) = model.list_and_tickets(step.room);
            tasks.extend(list.reload(tickets));
        }
        tasks.extend(go(model, step.from));
        model.came_from = rest;
        return tasks;
    } else if let Some(list) = model.list_mut().filter(|list| list.follows()) {
        list.follow();
    }
    Vec::new()
}

/// Lets a list stand as it stood once. Whether its rows are still to be read.
pub(crate) fn stand(model: &mut Model, room: Room, before: &Stand) -> bool {
    if room == Room::Statement {
        // before the first one there is nothing to go back to
        let Some(id) = before.of else { return false };
        Money::turn_to(model, id);
    }
    // its filter was right once
    !model.list_of(room).stands(before) && model.list_and_tickets(room).0.return_to(before).is_ok()
}

/// Remembers how a list stands that is gone to, so that `esc` comes back; before anything changes in it.
pub(crate) fn leave_trace(model: &mut Model, room: Room) {
    let mut before = model.stand_of(room);
    let list = model.list_of(room);
    if list.room() == Room::Sessions && list.read_at().is_none() && before.filter.is_empty() {
        // as that list begins when it is gone to by itself
        sessions::LIVE.clone_into(&mut before.filter);
    }
    model.came_from.push(Step { from: model.screen, room, before });
}

fn to_end(model: &mut Model, end: Enter) -> Vec<Task> {
    let Some(room) = model.room() else { return Vec::new() };
    let offline = model.is_offline();
    let (lines, _) = model.list().map_or((0, 0), |list| listed::open_lines(model, list));
    let (list, tickets) = model.list_and_tickets(room);
    if list.open().is_some() {
        // the ends of what is read, not of the list
        list.set_open(Some(if end == Enter::Last { lines } else { 0 }));
        step(model, 0);
        return Vec::new();
    }
    if offline {
        // what is held has ends too
        let last = list.len().saturating_sub(1);
        list.to(if end == Enter::Last { last } else { 0 });
        return Vec::new();
    }
    list.to_end(tickets, end)
}

/// Goes to a screen; what was read before is shown at once, and read again around the cursor.
pub fn go(model: &mut Model, screen: Screen) -> Vec<Task> {
    model.came_from.clear();
    model.ahead.clear();
    model.screen = screen;
    if model.is_offline() { Vec::new() } else { load(model) }
}

/// Goes to a list, narrowed by a filter; `esc` comes back.
pub(crate) fn jump(model: &mut Model, room: Room, filter: &str) -> Vec<Task> {
    let from = model.screen;
    let Some(screen) = Screen::ALL.iter().copied().find(|screen| screen.room() == Some(room)) else {
        return Vec::new();
    };
    if model.is_offline() {
        model.complain("filter is off: the daemon cannot be reached");
        return Vec::new();
    }
    if room == Room::Users {
        Users::prepare(model);
    }
    let here = from == screen && model.list_of(room).filter_text() == filter;
    let trail = model.came_from.len();
    leave_trace(model, room);
    let (list, tickets) = model.list_and_tickets(room);
    match list.narrow(filter, tickets) {
        Ok(tasks) => {
            list.set_open(None);
            model.screen = screen;
            if here {
                model.came_from.truncate(trail);
            }
            tasks
        }
        Err(wrong) => {
            model.came_from.truncate(trail);
            model.complain(wrong.to_string());
            Vec::new()
        }
    }
}

/// Goes to a screen and begins an action there; `esc` comes back.
pub(crate) fn start_at(model: &mut Model, screen: Screen, what: Do) -> Vec<Task> {
    let Some(room) = screen.room() else { return Vec::new() };
    if let Some(State::Off(why)) = actions::to_screen(screen).map(|action| (action.state)(model)) {
        model.complain(format!("{} is off: {why}", screen.title()));
        return Vec::new();
    }
    leave_trace(model, room);
    let trail = std::mem::take(&mut model.came_from);
    let mut tasks = go(model, screen);
    model.came_from = trail;
    with_list(model, |list| list.set_open(None));
    tasks.extend(perform(model, what));
    tasks
}

/// Goes to a list as it was named in the palette.
pub fn list(model: &mut Model, room: Room, filter: &str) -> Vec<Task> {
    let tasks = jump(model, room, filter);
    model.came_from.clear();
    tasks
}

/// Goes to the person that the row is about.
fn to_person(model: &mut Model) -> Vec<Task> {
    if let (Screen::Roles, Some(row)) = (model.screen, model.roles.window.current()) {
        let filter = format!("role:{}", row.record.name);
        return jump(model, Room::Users, &filter);
    }
    let Some(id) = actions::person_of_row(model) else { return Vec::new() };
    jump(model, Room::Users, &id.to_string())
}

/// Puts the cursor on a person in the list of people; from another screen, `esc` comes back.
pub fn show_person(model: &mut Model, id: UserId) -> Vec<Task> {
    if model.is_offline() || !model.may(Permission::UsersRead) {
        return Vec::new();
    }
    if model.screen != Screen::Users {
        leave_trace(model, Room::Users);
        model.screen = Screen::Users;
    }
    Users::prepare(model);
    model.users.list.seek(&id.to_string(), &mut model.tickets)
}

fn refresh(model: &mut Model) -> Vec<Task> {
    if model.is_offline() {
        return super::live::pulse(model);
    }
    let mut tasks = load(model);
    tasks.extend(Review::resolve(model));
    tasks
}

/// Does something to the person under the cursor.
fn on_person(model: &mut Model, of: fn(UserId) -> Change) -> Vec<Task> {
    let Some(row) = model.users.list.window.current() else { return Vec::new() };
    let (user, version) = (Box::new(row.record.clone()), row.record.version);
    Review::begin(model, of(user.id), Subject::Person(user), Some(version))
}

/// Does something to those who are marked, or else to the person under the cursor.
fn act(model: &mut Model, op: BulkOp, of: fn(UserId) -> Change) -> Vec<Task> {
    let list = &model.users.list;
    let marks = list.window.marks();
    if marks.is_empty() || list.open.is_some() {
        return on_person(model, of);
    }
    if marks.len() > MOST {
        model.complain(format!("{} are marked; at most {MOST} are changed at once", marks.len()));
        return Vec::new();
    }
    // in the order of the list; those that scrolled out of reach come last, without a version
    let held = list.window.rows().filter(|row| marks.contains(&row.id));
    let mut items: Vec<Item> = held
        .map(|row| Item {
            id: row.record.id,
            name: row.record.email.to_string(),
            version: Some(row.record.version),
        })
        .collect();
    for id in marks {
        if let Ok(id) = id.parse::<UserId>()
            && !items.iter().any(|item| item.id == id)
        {
            items.push(Item { id, name: id.to_string(), version: None });
        }
    }
    let called = format!("{} people", items.len());
    Review::begin(model, Change::Many(op, items), Subject::Called(called), None)
}

/// How many can be changed by one request.
const MOST: usize = 1_000;

/// Another daemon is talked to from now on.
pub(crate) fn switched(model: &mut Model, opened: crate::model::Opened) -> Vec<Task> {
    let mut tasks = end_session(model, "");
    Review::leave_behind(model);
    // it was about people of the other daemon
    model.draft = None;
    model.return_to = None;
    model.place = opened.place;
    model.login = crate::screens::login::Login::new(&model.place.server);
    if let Some(email) = &opened.email {
        model.login.set_email(email);
    }
    if opened.signed_in {
        model.login.notice = Some("taking up the stored session…".to_owned());
        tasks.push(Task::Ask(model.tickets.issue(Slot::Session), Request::Who));
    }
    tasks
}
