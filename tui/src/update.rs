//! What a message does to the model: pure, it only says which tasks are to be done.

mod answer;
mod live;
pub(crate) mod money;
mod perform;
mod rights;

use std::time::Duration;

use self::live::pulse;
pub use self::perform::{go, list, perform, show_person};
pub(crate) use self::perform::{jump, leave_trace, start_at};
use crate::{
    actions::{self, Do, Meaning, State},
    keys::{Code, Key},
    look::Theme,
    message::{Alarm, Exit, Input, Msg, Room, Slot, Task, Way},
    model::{Left, Link, Model, SILENCE, Screen},
    screens::{
        home::Home,
        listed, login,
        money::Money,
        users::{REST, Users},
    },
    widgets::{
        canvas::{Canvas, Hit},
        choose::{Choice, Choose},
        field,
        overlay::{self, Overlay},
        review::Review,
    },
};

/// How long the first of two keys waits before it is said what can follow.
const WHICH: Duration = Duration::from_millis(400);

/// The same key again within this is a key that is held down.
const HELD: Duration = Duration::from_millis(150);

/// What a message does. `hits` is what the last frame said about clicks.
pub fn update(model: &mut Model, msg: Msg, hits: &[(ratatui::layout::Rect, Hit)]) -> Vec<Task> {
    let mut tasks = match msg {
        Msg::Input(input) => {
            model.dirty = true;
            self::input(model, input, hits)
        }
        Msg::Answer(ticket, answer) => answer::answer(model, ticket, answer),
        Msg::Heard(ticket, heard) => live::heard(model, ticket, heard),
        Msg::Progress(ticket, rows) => {
            if model.tickets.is_live(ticket) {
                model.silent = None;
                model.dirty |= overlay::progress(model, rows);
            }
            Vec::new()
        }
        Msg::Background(light) => {
            if model.look.asks && model.look.fits(light) {
                model.theme = Theme::of(model.look);
                model.dirty = true;
            }
            Vec::new()
        }
        Msg::Pause => vec![Task::Stop],
        Msg::Resumed => {
            model.dirty = true;
            model.repaint = true;
            if model.who.is_some() { pulse(model) } else { Vec::new() }
        }
        Msg::Alarm(alarm) => self::alarm(model, alarm),
        Msg::Stop(exit) => leave(model, exit),
        // the loop ends with it
        Msg::Broken => Vec::new(),
    };
    tasks.extend(settle(model));
    tasks
}

/// What follows from every message: lists keep their height and read on, panes their facts.
fn settle(model: &mut Model) -> Vec<Task> {
    Review::come_forward(model);
    let Some(room) = model.room() else { return Vec::new() };
    let height = listed::height(model, model.list_of(room));
    let offline = model.is_offline();
    let now = model.now;
    let (list, tickets) = model.list_and_tickets(room);
    list.set_height(height);
    let mut tasks = if !offline && list.read_at().is_some() { list.more(tickets, now) } else { Vec::new() };
    if room == Room::Users {
        tasks.extend(Users::settle(model));
    }
    tasks.extend(Money::settle(model));
    tasks.extend(answer::names(model));
    tasks
}

pub(crate) fn leave(model: &mut Model, exit: Exit) -> Vec<Task> {
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
        Input::Menu(x, y) => menu(model, Canvas::hit(hits, x, y)),
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
    let held = model.last_key.replace((key, model.tick));
    let held = held.is_some_and(|(before, at)| before == key && model.tick.saturating_sub(at) < HELD);
    if model.overlay.is_some() {
        return overlay::key(model, key, held);
    }
    if model.screen == Screen::Login {
        return login::key(model, key);
    }
    if model.list().is_some_and(|list| list.bar().is_some()) {
        return filter_key(model, key);
    }
    let before = model.chord.take().map(|(key, _)| key);
    match actions::meaning(model, before, key) {
        Meaning::Action(action) => {
            model.moving = held && matches!(action.what, Do::Down | Do::Up);
            let mut tasks = perform(model, action.what);
            if model.moving {
                tasks.push(Task::Wake(REST, Alarm::Still));
            }
            tasks
        }
        Meaning::Begins => {
            model.chord = Some((key, false));
            vec![Task::Wake(WHICH, Alarm::Chord)]
        }
        Meaning::Nothing => {
            if let (None, false, Code::Char(number @ '0'..='9')) = (before, key.ctrl, key.code) {
                let names: Vec<String> =
                    (1..).zip(Screen::ALL).map(|(at, screen)| format!("{at} {}", screen.title())).collect();
                model.complain(format!("{number} is no screen: {}", names.join(", ")));
            }
            Vec::new()
        }
    }
}

/// A key while a filter is typed.
fn filter_key(model: &mut Model, key: Key) -> Vec<Task> {
    let Some(room) = model.room() else { return Vec::new() };
    let (list, tickets) = model.list_and_tickets(room);
    let Some(bar) = list.bar_mut() else { return Vec::new() };
    match (key.ctrl, key.code) {
        (false, Code::Esc) | (true, Code::Char('c')) => *list.bar_mut() = None,
        (false, Code::Tab) => bar.complete(false),
        (false, Code::BackTab) => bar.complete(true),
        (false, Code::Enter) => {
            let text = bar.input.value().to_owned();
            match list.narrow(&text, tickets) {
                Ok(tasks) => {
                    *list.bar_mut() = None;
                    return tasks;
                }
                Err(wrong) => {
                    if let Some(bar) = list.bar_mut() {
                        bar.error = Some(wrong);
                        bar.judged = true;
                    }
                }
            }
        }
        _ => {
            if field::edit(&mut bar.input, key) {
                list.judge();
            }
        }
    }
    Vec::new()
}

fn paste(model: &mut Model, text: &str) {
    if model.overlay.is_some() {
        overlay::paste(model, text);
    } else if model.screen == Screen::Login {
        login::paste(model, text);
    } else if let Some(list) = model.list_mut()
        && let Some(bar) = list.bar_mut()
    {
        field::paste(&mut bar.input, text);
        list.judge();
    }
}

fn click(model: &mut Model, hit: Option<Hit>) -> Vec<Task> {
    model.flash = None;
    model.chord = None;
    if model.overlay.is_some() {
        return overlay::click(model, hit);
    }
    if model.screen == Screen::Login {
        return login::click(model, hit);
    }
    match hit {
        Some(Hit::Tab(number)) => {
            let screen = usize::from(number).checked_sub(1).and_then(|at| Screen::ALL.get(at));
            let what = screen.and_then(|screen| actions::to_screen(*screen));
            what.map_or_else(Vec::new, |action| perform(model, action.what))
        }
        Some(Hit::Hint(what)) => perform(model, what),
        Some(Hit::Newer) => perform(model, Do::TakeIn),
        Some(Hit::Head(column)) => order_by(model, column),
        Some(Hit::Row(place)) => {
            let Some(list) = model.list_mut() else { return Vec::new() };
            if list.at() == Some(place) {
                return perform(model, Do::Open);
            }
            list.to(place);
            Vec::new()
        }
        _ => Vec::new(),
    }
}

/// The right button: chooses the row and shows what can be done with it.
fn menu(model: &mut Model, hit: Option<Hit>) -> Vec<Task> {
    if model.overlay.is_some() || model.screen == Screen::Login {
        return Vec::new();
    }
    if let (Some(Hit::Row(place)), Some(list)) = (hit, model.list_mut()) {
        list.to(place);
        return perform(model, Do::Menu);
    }
    Vec::new()
}

/// A click on the head of a column puts the list in its order; another one turns it round.
fn order_by(model: &mut Model, column: usize) -> Vec<Task> {
    let Some(list) = model.list() else { return Vec::new() };
    let Some(key) = list.sort_of_column(column) else { return Vec::new() };
    if actions::action(Do::Sort).is_none_or(|sort| (sort.state)(model) != State::On) {
        return perform(model, Do::Sort);
    }
    let present = list.sort();
    let descending = if present.key == key { !present.descending } else { key.ends_with("At") };
    let Some(room) = model.room() else { return Vec::new() };
    let (list, tickets) = model.list_and_tickets(room);
    list.set_sort(bursar_shared::page::Sort { key, descending }, tickets)
}

fn wheel(model: &mut Model, rows: isize) -> Vec<Task> {
    if model.overlay.is_some() {
        let code = if rows < 0 { Code::Up } else { Code::Down };
        return overlay::wheel(model, Key::plain(code));
    }
    if model.screen != Screen::Login {
        step(model, rows);
    }
    Vec::new()
}

/// Moves the cursor, or scrolls what is shown on the whole screen.
fn step(model: &mut Model, rows: isize) {
    let Some(list) = model.list() else { return };
    if let Some(scroll) = list.open() {
        let (lines, height) = listed::open_lines(model, list);
        let scroll = scroll.saturating_add_signed(rows).min(lines.saturating_sub(height));
        if let Some(list) = model.list_mut() {
            list.set_open(Some(scroll));
        }
    } else if let Some(list) = model.list_mut() {
        list.step(rows);
    }
}

/// Reads everything on the screen.
pub(crate) fn load(model: &mut Model) -> Vec<Task> {
    let Some(room) = model.room() else { return Vec::new() };
    match room {
        Room::Home => return Home::load(model),
        Room::Users => Users::prepare(model),
        Room::Statement => return Money::load_statement(model),
        _ => {}
    }
    let anew = model.sessions.read_at.is_none() && model.sessions.filter_text.is_empty();
    if room == Room::Sessions && anew && !model.sessions.is_returning() {
        // those that ended long ago are looked for, not looked at
        let (list, tickets) = model.list_and_tickets(room);
        return list.narrow(crate::screens::sessions::LIVE, tickets).unwrap_or_default();
    }
    let (list, tickets) = model.list_and_tickets(room);
    list.reload(tickets)
}

pub(crate) fn sign_out(model: &mut Model) -> Vec<Task> {
    let request = crate::message::Request::SignOut;
    let mut tasks = end_session(model, "signed out");
    // the others are given up; this one goes out last
    tasks.retain(|task| !matches!(task, Task::Drop(Slot::Session)));
    tasks.push(Task::Ask(model.tickets.issue(Slot::Session), request));
    model.draft = None;
    model.return_to = None;
    tasks
}

/// Nobody is signed in any more.
pub(crate) fn end_session(model: &mut Model, notice: &str) -> Vec<Task> {
    Review::wait_for(model, model.who.as_ref().map(|who| who.user.id));
    let who = model.who.take().map(|who| (who.user.id, who.user.email.as_str().to_owned()));
    let typed = match model.overlay.take() {
        Some(Overlay::Form(form)) => Some(form),
        Some(Overlay::Review(mut review)) => review.form.take(),
        Some(Overlay::Choose(Choose { kind: Choice::RolesFor(form), .. })) => Some(form),
        _ => None,
    };
    // what was typed is theirs, and waits for them alone
    if let (Some((id, _)), Some(form)) = (&who, typed) {
        model.draft = Some((*id, form));
    }
    model.return_to = model.room().map(|room| Left {
        whose: who.as_ref().map(|(id, _)| *id),
        screen: model.screen,
        stand: model.stand_of(room),
        trail: std::mem::take(&mut model.came_from),
    });
    let email = who.map(|(_, email)| email).unwrap_or_default();
    model.screen = Screen::Login;
    model.login.busy = None;
    model.login.problem = None;
    let behind = match Review::unsettled(model) || !model.left_behind.is_empty() {
        true => "; a change has no known outcome: bursar pending list",
        false => "",
    };
    model.login.notice = Some(format!("{notice}{behind}"));
    model.login.set_email(&email);
    model.forget();
    give_up_all()
}

/// Nothing that was asked is waited for any more.
pub(crate) fn give_up_all() -> Vec<Task> {
    let pages = Room::ALL
        .iter()
        .flat_map(|room| [Way::Fresh, Way::Next, Way::Prev].map(|way| Slot::Page(*room, way)));
    Slot::ALL.iter().copied().chain(pages).map(Task::Drop).collect()
}

fn alarm(model: &mut Model, alarm: Alarm) -> Vec<Task> {
    match alarm {
        Alarm::Pulse if model.who.is_none() || (!model.focused && !model.is_offline()) => Vec::new(),
        Alarm::Pulse if model.streaming && model.link == Link::Live => Vec::new(),
        Alarm::Pulse if model.tickets.waits_for(Slot::Pulse) => Vec::new(),
        Alarm::Pulse => pulse(model),
        Alarm::Slow(ticket) => {
            // offline is said louder already, and an export says how far it is
            let quiet = matches!(ticket.slot, Slot::Pulse | Slot::Export | Slot::Names);
            if model.tickets.is_live(ticket) && !quiet && !model.is_offline() {
                model.slow = true;
                model.dirty = true;
                if model.silent.is_none() && ticket.slot != Slot::Verify {
                    model.silent = Some((ticket, model.tick));
                    return vec![Task::Wake(SILENCE, Alarm::Silent(ticket))];
                }
            }
            Vec::new()
        }
        Alarm::Silent(ticket) if model.silent.is_some_and(|(of, _)| of == ticket) => {
            model.dirty = true;
            if !model.tickets.waits() {
                model.silent = None;
                return Vec::new();
            }
            // the seconds are counted while somebody waits
            vec![Task::Wake(Duration::from_secs(1), Alarm::Silent(ticket))]
        }
        Alarm::Silent(_) => Vec::new(),
        Alarm::Rest if model.screen == Screen::Users => Users::rested(model),
        Alarm::Rest => Money::rested(model),
        Alarm::Still => {
            model.dirty |= std::mem::take(&mut model.moving);
            Vec::new()
        }
        Alarm::Chord => {
            if let Some((_, shown)) = &mut model.chord {
                *shown = true;
                model.dirty = true;
            }
            Vec::new()
        }
        Alarm::Seek => crate::widgets::form::pick::rested(model),
        Alarm::Figures if model.screen == Screen::Home && !model.is_offline() => Home::load_figures(model),
        Alarm::Figures => Vec::new(),
        Alarm::Outcome => Review::resolve(model).into_iter().collect(),
        Alarm::Again => Review::ask_again(model),
    }
}

/// Whether what lies over the screen is this.
pub(crate) fn shows(model: &Model, what: fn(&Overlay) -> bool) -> bool {
    model.overlay.as_ref().is_some_and(what)
}
