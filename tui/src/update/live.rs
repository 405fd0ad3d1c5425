//! Whether the daemon is there and what is new: the followed log, and looks at it where there is none.

use std::time::Duration;

use bursar_shared::{filter::Filter, operations::log::Event, permission::Permission};

use super::{end_session, load, rights};
use crate::{
    listing::Listing,
    message::{Alarm, Heard, Request, Room, Slot, Task, Ticket, Trouble},
    model::{Link, Model, Screen, backoff},
    screens::{home::Home, sessions},
    widgets::review::{self, Review},
    window::Enter,
};

/// How old figures may be while rows come.
const FIGURES: Duration = Duration::from_secs(2);
/// How often the daemon is asked what is new while somebody looks and the log cannot be followed.
pub(super) const PULSE: Duration = Duration::from_secs(1);

/// Follows the log from the last row that is known.
pub(super) fn follow(model: &mut Model) -> Option<Task> {
    let wanted = model.who.is_some() && model.may(Permission::EventsRead);
    wanted.then(|| Task::Ask(model.tickets.issue(Slot::Stream), Request::Follow(model.head)))
}

/// Something happened to the followed log. Its ticket stays good until it is over.
pub(super) fn heard(model: &mut Model, ticket: Ticket, heard: Heard) -> Vec<Task> {
    if !model.tickets.is_live(ticket) {
        return Vec::new();
    }
    model.dirty |= model.silence().is_some();
    model.silent = None;
    match heard {
        Heard::Live => {
            model.streaming = true;
            online(model)
        }
        Heard::Rows(events) => news(model, events),
        Heard::Lost(trouble) => {
            model.streaming = false;
            match trouble {
                Trouble::Unreachable(why) | Trouble::Lost(why) => offline(model, ticket, why),
                // it is there and does not want to be followed: it is looked at instead
                _ => vec![Task::Wake(PULSE, Alarm::Pulse)],
            }
        }
        Heard::Ended(trouble) => {
            model.streaming = false;
            model.tickets.forget(Slot::Stream);
            model.dirty = true;
            if trouble.ends_the_session() {
                return end_session(model, &format!("the session ended: {}", trouble.message()));
            }
            let mut tasks = vec![Task::Wake(PULSE, Alarm::Pulse)];
            tasks.extend(rights::refused(model, &trouble));
            tasks
        }
    }
}

/// Asks whether the daemon is there, and what is new.
pub(crate) fn pulse(model: &mut Model) -> Vec<Task> {
    let after = model.head.filter(|_| model.may(Permission::EventsRead));
    vec![Task::Ask(model.tickets.issue(Slot::Pulse), Request::Pulse(after))]
}

/// An answer came, so the daemon is there; if it was not, everything shown is read again.
pub(super) fn online(model: &mut Model) -> Vec<Task> {
    let was = std::mem::replace(&mut model.link, Link::Live);
    if was == Link::Live {
        return Vec::new();
    }
    model.dirty = true;
    if !matches!(was, Link::Down { .. }) || model.who.is_none() {
        return Vec::new();
    }
    model.say_meanwhile("the daemon is back; reading again");
    // names and labels that could not be read are asked for again
    model.money.forgive();
    model.names.retain(|id, name| *name != crate::text::brief(&id.to_string()));
    let mut tasks = load(model);
    tasks.extend(rights::ask(model));
    tasks.extend(Review::resolve(model));
    tasks.extend(Review::back(model));
    if !model.streaming {
        // not to wait until it tries again by itself
        tasks.extend(follow(model));
    }
    tasks
}

/// What is new in the log, oldest first.
pub(super) fn news(model: &mut Model, mut events: Vec<Event>) -> Vec<Task> {
    // a look and the stream may bring the same
    events.retain(|event| Some(event.seq) > model.head);
    let Some(last) = events.last().map(|event| event.seq) else { return Vec::new() };
    model.head = model.head.max(Some(last));
    keep(model, &events);
    let mut seen = model.users.take_events(&events);
    seen |= sessions::take_events(&mut model.sessions, &events);
    seen |= model.users.take_balances(&events);
    seen |= model.money.take_events(&events);
    let mut again: Vec<Task> = review::watch(model, &events).into_iter().collect();
    again.extend(rights::watch(model, &events));
    seen |= take_rows(model, &events);
    model.home.take_events(&events);
    let mut tasks = match model.screen {
        Screen::Home => {
            model.dirty = true;
            let ages =
                [model.home.stats.as_ref().map(|(_, at)| *at), model.money.books.as_ref().map(|(_, at)| *at)];
            let fresh = ages.iter().flatten().any(|at| model.now.since(*at) < FIGURES);
            let mut tasks = match fresh {
                true => vec![Task::Wake(FIGURES, Alarm::Figures)],
                false => Home::load_figures(model),
            };
            if model.home.feed.read_at.is_none() && model.may(Permission::EventsRead) {
                tasks.extend(model.home.feed.begin(&mut model.tickets, Enter::Nowhere));
            }
            tasks
        }
        Screen::Login => Vec::new(),
        _ => {
            model.dirty |= seen;
            Vec::new()
        }
    };
    tasks.extend(again);
    tasks
}

/// Events that are kept for answers under way.
const KEPT: usize = 1_000;

/// What is read while events come may be older than they are: they are kept until it is here.
fn keep(model: &mut Model, events: &[Event]) {
    if !model.tickets.reads() {
        model.meanwhile.clear();
        return;
    }
    model.meanwhile.extend(events.iter().cloned());
    let beyond = model.meanwhile.len().saturating_sub(KEPT);
    model.meanwhile.drain(..beyond);
}

/// What was read came: what happened while it was under way happens to it too. Nothing is counted twice.
pub(super) fn catch_up(model: &mut Model, slot: Slot) {
    let events = std::mem::take(&mut model.meanwhile);
    match slot {
        _ if events.is_empty() => {}
        Slot::Page(Room::Users, _) => {
            model.users.list.newer.hold(true);
            model.users.take_events(&events);
            model.users.take_balances(&events);
            model.users.list.newer.hold(false);
        }
        Slot::Page(Room::Sessions, _) => {
            model.sessions.newer.hold(true);
            sessions::take_events(&mut model.sessions, &events);
            model.sessions.newer.hold(false);
        }
        Slot::Page(Room::Accounts | Room::Transfers | Room::Statement, _) | Slot::Account => {
            model.money.hold(true);
            model.money.take_events(&events);
            model.money.hold(false);
        }
        Slot::Page(Room::Home, _) => model.home.take_events(&events),
        Slot::Page(Room::Events, _) => {
            model.events.newer.hold(true);
            model.audit.newer.hold(true);
            take_rows(model, &events);
            model.events.newer.hold(false);
            model.audit.newer.hold(false);
        }
        _ => {}
    }
    if model.tickets.reads() {
        // for the others that are under way
        model.meanwhile = events;
    }
}

/// Those that are newer than a list of the log that begins with its newest row.
fn newer_than<'e>(list: &Listing<Event>, events: &'e [Event]) -> impl Iterator<Item = &'e Event> {
    let newest = list.window.rows().next().map_or(0, |row| row.record.seq);
    events.iter().filter(move |event| event.seq > newest)
}

/// Rows for the screens of the log: they come in at the top of what changed, unless it is held still or
/// its filter cannot be judged here; in the whole log they are counted, for more was done than is heard.
fn take_rows(model: &mut Model, events: &[Event]) -> bool {
    if model.audit.read_at.is_some() {
        let audit = &mut model.audit;
        let judged = is_judged(audit.filter());
        for event in events {
            let id = event.id.to_string();
            if !audit.window.holds(&id) {
                let fits = judged.then(|| event.meets(&audit.filter().conditions));
                audit.newer.add(&id, fits);
            }
        }
    }
    if model.events.read_at.is_none() {
        return model.screen == Screen::Audit;
    }
    let list = &mut model.events;
    let judged = is_judged(list.filter());
    let fits = |list: &Listing<Event>, event: &Event| !judged || event.meets(&list.filter().conditions);
    if judged && !list.frozen && list.sort.descending && list.window.at_start() {
        let fitting = newer_than(list, events).filter(|event| fits(list, event));
        let mut fitting: Vec<Event> = fitting.cloned().collect();
        fitting.reverse();
        list.window.put_on_top(fitting);
    } else {
        for event in events.iter().filter(|event| fits(list, event)).collect::<Vec<_>>() {
            let id = event.id.to_string();
            if !list.window.holds(&id) {
                list.newer.add(&id, judged.then_some(true));
            }
        }
    }
    matches!(model.screen, Screen::Audit | Screen::Events)
}

/// Whether it can be told here which rows of the log match.
fn is_judged(filter: &Filter) -> bool {
    filter.q.is_none() && filter.conditions.iter().all(|one| one.field != "timestamp")
}

/// The daemon cannot be reached: what is shown stays, and it is tried again and again.
pub(super) fn offline(model: &mut Model, ticket: Ticket, why: String) -> Vec<Task> {
    let (since, tries) = match &model.link {
        Link::Down { since, tries, .. } => (*since, tries + u32::from(ticket.slot == Slot::Pulse)),
        _ => (model.now, 1),
    };
    let wait = backoff(tries);
    model.dirty = true;
    model.link = Link::Down { since, next: model.now + wait, tries, why };
    // whatever else was under way would only say the same
    for slot in [Slot::Permissions, Slot::Beside, Slot::Labels, Slot::Behind] {
        model.tickets.forget(slot);
    }
    model.slow = false;
    model.hush();
    vec![Task::Wake(wait, Alarm::Pulse)]
}
