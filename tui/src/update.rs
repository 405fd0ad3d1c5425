//! What a message does to the model: pure, it only says which tasks are to be done.

mod live;

use self::live::{PULSE, follow, offline, online, pulse};
use crate::{
    keys::{self, Code, Do, Key, Meaning, State},
    message::{Alarm, Answer, Exit, Input, Msg, Request, Room, Slot, Task, Ticket, Trouble, Way},
    model::{Link, Model, Place, Screen, Who},
    screens::{home, home::Home, login, users, users::Users},
    widgets::{
        canvas::{Canvas, Hit},
        field,
        help::Help,
        overlay::{self, Overlay},
        palette::Palette,
        review::{Change, Review},
    },
    window::Enter,
};

/// What a message does. `hits` is what the last frame said about clicks.
pub fn update(model: &mut Model, msg: Msg, hits: &[(ratatui::layout::Rect, Hit)]) -> Vec<Task> {
    let mut tasks = match msg {
        Msg::Input(input) => {
            model.dirty = true;
            self::input(model, input, hits)
        }
        Msg::Answer(ticket, answer) => self::answer(model, ticket, answer),
        Msg::Heard(ticket, heard) => live::heard(model, ticket, heard),
        Msg::Alarm(alarm) => self::alarm(model, alarm),
        Msg::Stop(exit) => leave(model, exit),
    };
    tasks.extend(settle(model));
    tasks
}

/// What follows from every message: lists keep their height and read on, the pane its facts.
fn settle(model: &mut Model) -> Vec<Task> {
    let mut tasks = Vec::new();
    match model.screen {
        Screen::Login => {}
        Screen::Home => {
            let height = home::height(model);
            model.home.feed.window.set_height(height);
            if !model.is_offline() && model.home.feed.read_at.is_some() {
                tasks.extend(model.home.feed.more(&mut model.tickets));
            }
        }
        Screen::Users => {
            let height = users::height(model);
            model.users.list.window.set_height(height);
            if !model.is_offline() && model.users.list.read_at.is_some() {
                tasks.extend(model.users.list.more(&mut model.tickets));
            }
            tasks.extend(Users::settle(model));
        }
    }
    tasks
}

fn leave(model: &mut Model, exit: Exit) -> Vec<Task> {
    model.exit = Some(exit);
    vec![Task::Quit(exit)]
}

fn input(model: &mut Model, input: Input, hits: &[(ratatui::layout::Rect, Hit)]) -> Vec<Task> {
    match input {
        Input::Key(key) => self::key(model, key),
        Input::Paste(text) => {
            paste(model, &text);
            Vec::new()
        }
        Input::Click(x, y) => click(model, Canvas::hit(hits, x, y)),
        Input::Wheel(turns) => wheel(model, isize::from(turns) * 3),
        Input::Resize(width, height) => {
            model.size = (width, height);
            Vec::new()
        }
        Input::Focus(focused) => {
            model.dirty = false;
            let returned = focused && !model.focused;
            model.focused = focused;
            // nobody looks: nothing is asked until somebody does again
            if returned && model.who.is_some() && !model.streaming && !model.tickets.waits_for(Slot::Pulse) {
                return pulse(model);
            }
            Vec::new()
        }
    }
}

fn key(model: &mut Model, key: Key) -> Vec<Task> {
    model.flash = None;
    if model.overlay.is_some() {
        return overlay::key(model, key);
    }
    match model.screen {
        Screen::Login => return login::key(model, key),
        Screen::Users if model.users.list.bar.is_some() => return users::filter_key(model, key),
        _ => {}
    }
    let before = model.chord.take();
    match keys::meaning(model, before, key) {
        Meaning::Action(action) => perform(model, action.what),
        Meaning::Begins => {
            model.chord = Some(key);
            Vec::new()
        }
        Meaning::Nothing => Vec::new(),
    }
}

fn paste(model: &mut Model, text: &str) {
    match (&mut model.overlay, model.screen) {
        (Some(Overlay::Palette(palette)), _) => field::paste(&mut palette.input, text),
        (Some(_), _) => {}
        (None, Screen::Login) => login::paste(model, text),
        (None, Screen::Users) => {
            if let Some(bar) = &mut model.users.list.bar {
                field::paste(&mut bar.input, text);
                bar.look::<bursar_shared::operations::users::User>();
            }
        }
        (None, Screen::Home) => {}
    }
}

fn click(model: &mut Model, hit: Option<Hit>) -> Vec<Task> {
    model.flash = None;
    if model.overlay.is_some() {
        return overlay::click(model, hit);
    }
    if model.screen == Screen::Login {
        return login::click(model, hit);
    }
    match hit {
        Some(Hit::Tab(1)) => perform(model, Do::GoHome),
        Some(Hit::Tab(2)) => perform(model, Do::GoUsers),
        Some(Hit::Hint(what)) => perform(model, what),
        Some(Hit::Row(place)) => {
            let again = match model.screen {
                Screen::Home => model.home.feed.window.at() == Some(place),
                _ => model.users.list.window.at() == Some(place),
            };
            if again {
                return perform(model, Do::Open);
            }
            match model.screen {
                Screen::Home => model.home.feed.window.to(place),
                _ => model.users.list.window.to(place),
            }
            Vec::new()
        }
        _ => Vec::new(),
    }
}

fn wheel(model: &mut Model, rows: isize) -> Vec<Task> {
    if matches!(model.overlay, Some(Overlay::Help(_))) {
        return overlay::key(model, Key::plain(if rows < 0 { Code::Up } else { Code::Down }));
    } else if model.overlay.is_none() && model.screen != Screen::Login {
        step(model, rows);
    }
    Vec::new()
}

/// Moves the cursor, or scrolls what is shown on the whole screen.
fn step(model: &mut Model, rows: isize) {
    let (lines, height) = match model.screen {
        Screen::Home if model.home.open.is_some() => home::open_lines(model),
        Screen::Users if model.users.open.is_some() => users::open_lines(model),
        _ => (0, 0),
    };
    let open = match model.screen {
        Screen::Home => &mut model.home.open,
        _ => &mut model.users.open,
    };
    if let Some(scroll) = open {
        *scroll = scroll.saturating_add_signed(rows).min(lines.saturating_sub(height));
        return;
    }
    match model.screen {
        Screen::Home => model.home.feed.window.step(rows),
        _ => model.users.list.window.step(rows),
    }
}

/// Does an action, or says why not.
pub fn perform(model: &mut Model, what: Do) -> Vec<Task> {
    let Some(action) = keys::action(what) else { return Vec::new() };
    match (action.state)(model) {
        State::On => {}
        State::Off(why) => {
            model.complain(format!("{} is off: {why}", action.title));
            return Vec::new();
        }
        State::Absent => return Vec::new(),
    }
    let height = match model.screen {
        Screen::Home => home::height(model),
        _ => users::height(model),
    };
    let screen = isize::try_from(height.max(1)).unwrap_or(1);
    let mut tasks = Vec::new();
    match what {
        Do::Down => step(model, 1),
        Do::Up => step(model, -1),
        Do::HalfDown => step(model, (screen / 2).max(1)),
        Do::HalfUp => step(model, -(screen / 2).max(1)),
        Do::PageDown => step(model, screen),
        Do::PageUp => step(model, -screen),
        Do::Top => tasks = to_end(model, Enter::First),
        Do::Bottom => tasks = to_end(model, Enter::Last),
        Do::Open => match model.screen {
            Screen::Home => model.home.open = Some(0),
            _ => model.users.open = Some(0),
        },
        Do::Pane => model.users.pane = !model.users.pane,
        Do::Filter => model.users.list.begin_filter(),
        Do::Sort => Users::choose_sort(model),
        Do::Columns => Users::choose_columns(model),
        Do::Mark => {
            model.users.list.window.toggle_mark();
            model.users.list.window.step(1);
        }
        Do::Unmark => {
            let count = model.users.list.window.clear_marks();
            model.say(format!("{count} marks taken away"));
        }
        Do::TakeIn | Do::Refresh => tasks = refresh(model),
        Do::Copy => {
            if let Some(id) = model.current_id().map(str::to_owned) {
                model.say(format!("copied {id}"));
                tasks.push(Task::Copy(id));
            }
        }
        Do::CopyCommand => {
            if let Some(command) = (action.command)(model) {
                model.say(format!("copied {command}"));
                tasks.push(Task::Copy(command));
            }
        }
        Do::GoHome => tasks = go(model, Screen::Home),
        Do::GoUsers => tasks = go(model, Screen::Users),
        Do::Palette => model.overlay = Some(Overlay::Palette(Palette::default())),
        Do::Help => model.overlay = Some(Overlay::Help(Help::default())),
        Do::Back => back(model),
        Do::Mouse => {
            model.look.mouse = !model.look.mouse;
            model.say(if model.look.mouse {
                "the mouse is taken: clicks and the wheel work here"
            } else {
                "the mouse is left to the terminal: text can be selected"
            });
            tasks.push(Task::Mouse(model.look.mouse));
        }
        Do::Suspend => tasks = Review::begin(model, Change::Suspend),
        Do::Activate => tasks = Review::begin(model, Change::Activate),
        Do::Delete => tasks = Review::begin(model, Change::Delete),
        Do::EndSessions => tasks = Review::begin(model, Change::EndSessions),
        Do::Redraw => model.repaint = true,
        Do::SignOut => tasks = sign_out(model),
        Do::Quit => tasks = leave(model, Exit::Quit),
    }
    tasks
}

/// Closes one thing; never leaves.
fn back(model: &mut Model) {
    match model.screen {
        Screen::Home if model.home.open.is_some() => model.home.open = None,
        Screen::Home => model.home.feed.window.follow(),
        Screen::Users if model.users.open.is_some() => model.users.open = None,
        _ => {}
    }
}

fn to_end(model: &mut Model, end: Enter) -> Vec<Task> {
    if model.is_offline() {
        // what is held has ends too
        let (first, last) = match model.screen {
            Screen::Home => (0, model.home.feed.window.len().saturating_sub(1)),
            _ => (0, model.users.list.window.len().saturating_sub(1)),
        };
        let place = if end == Enter::Last { last } else { first };
        match model.screen {
            Screen::Home => model.home.feed.window.to(place),
            _ => model.users.list.window.to(place),
        }
        return Vec::new();
    }
    match model.screen {
        Screen::Home => model.home.feed.to_end(&mut model.tickets, end),
        _ => model.users.list.to_end(&mut model.tickets, end),
    }
}

fn go(model: &mut Model, screen: Screen) -> Vec<Task> {
    model.screen = screen;
    // what was read before is shown at once; it is read again around the cursor
    if model.is_offline() { Vec::new() } else { load(model) }
}

/// Reads everything on the screen.
fn load(model: &mut Model) -> Vec<Task> {
    match model.screen {
        Screen::Login => Vec::new(),
        Screen::Home => Home::load(model),
        Screen::Users => Users::load(model),
    }
}

fn refresh(model: &mut Model) -> Vec<Task> {
    if model.is_offline() {
        return pulse(model);
    }
    let mut tasks = load(model);
    tasks.extend(Review::resolve(model));
    tasks
}

fn sign_out(model: &mut Model) -> Vec<Task> {
    let task = Task::Ask(model.tickets.issue(Slot::Session), Request::SignOut);
    let mut tasks = end_session(model, "signed out");
    // the others are given up; this one goes out last
    if let Task::Ask(ticket, _) = &task {
        tasks.retain(|other| !matches!(other, Task::Drop(slot) if *slot == ticket.slot));
    }
    tasks.push(task);
    model.return_to = None;
    tasks
}

/// Nobody is signed in any more: everything that was read goes, for the next person may see less.
fn end_session(model: &mut Model, notice: &str) -> Vec<Task> {
    let email = model.who.take().map(|who| who.user.email.as_str().to_owned()).unwrap_or_default();
    model.return_to = (model.screen != Screen::Login).then_some(model.screen);
    model.screen = Screen::Login;
    model.overlay = None;
    model.pending = None;
    model.chord = None;
    model.head = None;
    model.link = Link::Unknown;
    model.login.busy = None;
    model.login.problem = None;
    model.login.notice = Some(notice.to_owned());
    model.login.set_email(&email);
    model.home = Home::default();
    model.users = Users::default();
    model.tickets.forget_all();
    model.slow = false;
    model.streaming = false;
    let slots = [Slot::Session, Slot::Pulse, Slot::Stream, Slot::Stats, Slot::Permissions, Slot::Change];
    let pages = [Room::Home, Room::Users]
        .into_iter()
        .flat_map(|room| [Way::Fresh, Way::Next, Way::Prev].map(|way| Slot::Page(room, way)));
    slots.into_iter().chain(pages).map(Task::Drop).collect()
}

fn alarm(model: &mut Model, alarm: Alarm) -> Vec<Task> {
    match alarm {
        Alarm::Pulse if model.who.is_none() || (!model.focused && !model.is_offline()) => Vec::new(),
        Alarm::Pulse if model.streaming && model.link == Link::Live => Vec::new(),
        Alarm::Pulse if model.tickets.waits_for(Slot::Pulse) => Vec::new(),
        Alarm::Pulse => pulse(model),
        Alarm::Slow(ticket) => {
            // offline is said louder already
            if model.tickets.is_live(ticket) && ticket.slot != Slot::Pulse && !model.is_offline() {
                model.slow = true;
                model.dirty = true;
            }
            Vec::new()
        }
        Alarm::Rest => Users::rested(model),
        Alarm::Figures if model.screen == Screen::Home && !model.is_offline() => Home::load_stats(model),
        Alarm::Figures => Vec::new(),
    }
}

fn answer(model: &mut Model, ticket: Ticket, answer: Result<Answer, Trouble>) -> Vec<Task> {
    if !model.tickets.redeem(ticket) {
        return Vec::new();
    }
    if ticket.slot != Slot::Pulse {
        model.dirty = true;
        model.slow = false;
    }
    match answer {
        Ok(answer) => {
            let mut tasks = online(model);
            tasks.extend(arrived(model, ticket, answer));
            tasks
        }
        Err(trouble) => failed(model, ticket, trouble),
    }
}

fn arrived(model: &mut Model, ticket: Ticket, answer: Answer) -> Vec<Task> {
    let mut tasks = took(model, ticket, answer);
    // what is shown is known up to a row now: from there on it is followed
    if matches!(ticket.slot, Slot::Stats | Slot::Page(..)) && !model.tickets.waits_for(Slot::Stream) {
        tasks.extend(follow(model));
    }
    tasks
}

fn took(model: &mut Model, ticket: Ticket, answer: Answer) -> Vec<Task> {
    match (ticket.slot, answer) {
        (_, Answer::Who(user, capabilities)) => {
            model.login.busy = None;
            model.login.notice = None;
            model.login.problem = None;
            let server = model.login.server.value().trim().trim_end_matches('/');
            if server != model.place.server {
                // another daemon than the context's was typed: the context says nothing about it
                model.place = Place { server: server.to_owned(), ..Place::default() };
            }
            model.who = Some(Who { user: *user, permissions: capabilities.permissions });
            model.screen = model.return_to.take().unwrap_or(Screen::Home);
            let mut tasks = load(model);
            tasks.push(Task::Wake(PULSE, Alarm::Pulse));
            tasks
        }
        (_, Answer::SignedOut) => Vec::new(),
        (_, Answer::Pulse(events)) => {
            let mut tasks = live::news(model, events);
            if model.focused && !model.streaming {
                tasks.push(Task::Wake(PULSE, Alarm::Pulse));
            }
            tasks
        }
        (_, Answer::Stats(stats)) => {
            model.head = Some(model.head.unwrap_or(0).max(stats.log_head));
            model.home.stats = Some((*stats, model.now));
            model.home.trouble = None;
            Vec::new()
        }
        (Slot::Page(_, way), Answer::Events(page)) => {
            let newest = page.rows.iter().map(|event| event.seq).max();
            model.head = model.head.max(newest).or(Some(0));
            model.home.feed.take(way, page, model.now);
            Vec::new()
        }
        (Slot::Page(_, way), Answer::Users(page)) => {
            model.users.list.take(way, page, model.now);
            Vec::new()
        }
        (_, Answer::Permissions(allowed)) => {
            Users::take_allowed(model, Ok(*allowed));
            Vec::new()
        }
        (_, Answer::Rehearsed(effect)) => {
            Review::rehearsed(model, effect);
            Vec::new()
        }
        (_, Answer::Changed(effect)) => {
            Review::done(model, effect);
            Vec::new()
        }
        (_, Answer::Verdict(verdict)) => {
            Review::resolved(model, *verdict);
            Vec::new()
        }
        _ => Vec::new(),
    }
}

fn failed(model: &mut Model, ticket: Ticket, trouble: Trouble) -> Vec<Task> {
    if let Trouble::Unreachable(why) = &trouble {
        if model.who.is_some() {
            let mut tasks = offline(model, ticket, why.clone());
            if ticket.slot == Slot::Change {
                Review::failed(model, trouble);
            } else {
                keep(model, ticket, trouble);
            }
            tasks.push(Task::Drop(Slot::Permissions));
            return tasks;
        }
        model.link = Link::Unknown;
    }
    let signing_in = ticket.slot == Slot::Session;
    if !signing_in && trouble.ends_the_session() && model.who.is_some() {
        return end_session(model, &format!("the session ended: {}", trouble.message()));
    }
    if signing_in {
        match (model.login.busy.is_some(), &trouble) {
            // the stored session was tried unasked; that there is none is nobody's mistake
            (false, Trouble::SignedOut) => {}
            (false, _) if trouble.ends_the_session() => {
                model.login.notice = Some(format!("the session ended: {}", trouble.message()));
            }
            _ => model.login.fail(trouble),
        }
        model.dirty = true;
        return Vec::new();
    }
    if ticket.slot == Slot::Pulse {
        // the daemon answered, if only to refuse; the next pulse may be luckier
        model.dirty = true;
        let mut tasks = online(model);
        tasks.push(Task::Wake(PULSE * 5, Alarm::Pulse));
        return tasks;
    }
    if ticket.slot == Slot::Change {
        Review::failed(model, trouble);
        return Vec::new();
    }
    // the record under the cursor is gone, or its cursor was signed with a key that is: from the start
    if let (Slot::Page(room, Way::Fresh), Trouble::Refused { error, .. }) = (ticket.slot, &trouble)
        && error.code == bursar_shared::error::ErrorCode::NotFound
    {
        return match room {
            Room::Home => model.home.feed.reload_without_cursor(&mut model.tickets),
            Room::Users => model.users.list.reload_without_cursor(&mut model.tickets),
        };
    }
    model.complain(match trouble.request_id() {
        Some(id) => format!("{} (request {id})", trouble.message()),
        None => trouble.message(),
    });
    keep(model, ticket, trouble);
    Vec::new()
}

/// Keeps why something could not be read beside what it is about.
fn keep(model: &mut Model, ticket: Ticket, trouble: Trouble) {
    match ticket.slot {
        Slot::Stats => model.home.trouble = Some(trouble),
        Slot::Page(room, Way::Fresh) => fail_room(model, room, trouble),
        Slot::Permissions => Users::take_allowed(model, Err(trouble)),
        _ => {}
    }
}

fn fail_room(model: &mut Model, room: Room, trouble: Trouble) {
    match room {
        Room::Home => model.home.feed.fail(trouble),
        Room::Users => model.users.list.fail(trouble),
    }
}
