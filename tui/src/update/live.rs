//! Whether the daemon is there and what is new: the followed log, and looks at it where there is none.

use std::time::Duration;

use bursar_shared::{operations::log::Event, permission::Permission};

use super::{end_session, load};
use crate::{
    message::{Alarm, Heard, Request, Slot, Task, Ticket, Trouble},
    model::{Link, Model, Screen, backoff},
    screens::{home::Home, sessions},
    widgets::review::{self, Review},
    window::{Enter, PAGE, PAGES},
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
            vec![Task::Wake(PULSE, Alarm::Pulse)]
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
    // names that could not be read are asked for again
    model.names.retain(|id, name| *name != crate::text::brief(&id.to_string()));
    let mut tasks = load(model);
    tasks.extend(Review::resolve(model));
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
    let mut seen = model.users.take_events(&events);
    seen |= sessions::take_events(&mut model.sessions, &events);
    seen |= model.users.take_balances(&events);
    seen |= model.money.take_events(&events);
    let again = review::watch(model, &events);
    seen |= take_rows(model, &events);
    model.home.take_events(events);
    // a feed that was followed for long is read anew instead of growing
    if model.home.feed.window.len() > PAGES * PAGE as usize && model.home.feed.window.cursor().is_none() {
        model.home.feed.window.clear();
        model.home.feed.read_at = None;
    }
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

/// Rows for the screens of the log: they come in at the top of what changed, unless it is held still or
/// its filter cannot be judged here; in the whole log they are counted, for more was done than is heard.
fn take_rows(model: &mut Model, events: &[Event]) -> bool {
    if model.audit.read_at.is_some() {
        model.audit.newer.extend(events.iter().map(|event| event.id.to_string()));
    }
    if model.events.read_at.is_none() {
        return model.screen == Screen::Audit;
    }
    let filter = model.events.filter();
    let judged = filter.q.is_none() && filter.conditions.iter().all(|one| one.field != "timestamp");
    let mut fitting: Vec<Event> =
        events.iter().filter(|event| !judged || event.meets(&filter.conditions)).cloned().collect();
    if judged && !model.events.frozen && model.events.sort.descending && model.events.window.at_start() {
        fitting.reverse();
        model.events.window.put_on_top(fitting);
        if model.events.window.len() > PAGES * PAGE as usize && model.events.window.cursor().is_none() {
            // followed for long, it is cut at its end instead of growing
            model.events.window.clear();
            model.events.read_at = None;
        }
    } else {
        model.events.newer.extend(fitting.iter().map(|event| event.id.to_string()));
    }
    matches!(model.screen, Screen::Audit | Screen::Events)
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
