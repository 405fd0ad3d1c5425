//! What the daemon's answers, and its refusals, do.

use std::collections::BTreeSet;

use bursar_shared::{error::ErrorCode, id::UserId, permission::Permission};

use super::{
    end_session,
    live::{self, PULSE, follow, offline, online},
    load,
    perform::{catch_up, stand, switched},
    rights,
};
use crate::{
    actions::Do,
    message::{Answer, Request, Room, Slot, Task, Ticket, Trouble, Way},
    model::{Link, Model, Place, Screen, Who},
    screens::{
        listed,
        money::{self, Money},
        named,
        users::Users,
    },
    widgets::{choose::Choose, export::Export, overlay::Overlay, review::Review},
};

/// Names that are asked for at once.
const NAMES: usize = 60;

pub(super) fn answer(model: &mut Model, ticket: Ticket, answer: Result<Answer, Trouble>) -> Vec<Task> {
    if !model.tickets.redeem(ticket) {
        return Vec::new();
    }
    model.dirty |= model.silence().is_some();
    model.silent = None;
    if !matches!(ticket.slot, Slot::Pulse | Slot::Contexts) {
        model.dirty = true;
        model.slow = false;
    }
    let tasks = match answer {
        // nothing that the daemon said
        Ok(answer @ (Answer::Contexts(_) | Answer::Switched(_))) => took(model, ticket, answer),
        Ok(answer) => {
            let mut tasks = online(model);
            tasks.extend(arrived(model, ticket, answer));
            tasks
        }
        Err(trouble) => {
            let rights = rights::refused(model, &trouble);
            let mut tasks = failed(model, ticket, trouble);
            // unless the session is over
            tasks.extend(rights.filter(|_| model.who.is_some()));
            tasks
        }
    };
    let reads = |room| model.tickets.waits_for(Slot::Page(room, Way::Fresh));
    let checks = model.tickets.waits_for(Slot::Stats) || model.tickets.waits_for(Slot::Verify);
    if !checks && !model.room().is_some_and(reads) {
        model.hush();
    }
    tasks
}

fn arrived(model: &mut Model, ticket: Ticket, answer: Answer) -> Vec<Task> {
    let mut tasks = took(model, ticket, answer);
    live::catch_up(model, ticket.slot);
    if matches!(ticket.slot, Slot::Page(room, Way::Fresh) if Some(room) == model.room()) {
        // the list has its height before anything moves in it
        let height = model.list().map_or(1, |list| listed::height(model, list));
        if let Some(list) = model.list_mut() {
            list.set_height(height);
        }
        tasks.extend(catch_up(model));
    }
    // what is shown is known up to a row now: from there on it is followed
    if matches!(ticket.slot, Slot::Stats | Slot::Page(..)) && !model.tickets.waits_for(Slot::Stream) {
        tasks.extend(follow(model));
    }
    tasks
}

/// Where the log begins to be followed. Once it is, only what it brings leads further: rows that were
/// committed before something else was read may still be on their way.
fn begin_at(model: &mut Model, seq: Option<i64>) {
    if model.head.is_none() && !model.tickets.waits_for(Slot::Stream) {
        model.head = seq;
    }
}

fn took(model: &mut Model, ticket: Ticket, answer: Answer) -> Vec<Task> {
    let now = model.now;
    match (ticket.slot, answer) {
        (_, Answer::Who(user, capabilities)) => {
            model.login.busy = None;
            model.login.notice = None;
            model.login.problem = None;
            let server = model.login.server.value().trim().trim_end_matches('/');
            if server != model.place.server {
                // another daemon than the context's was typed: the context says nothing about it
                let options = std::mem::take(&mut model.place.options);
                model.place = Place { server: server.to_owned(), options, ..Place::default() };
            }
            if let Some((_, form)) = model.draft.take().filter(|(whose, _)| *whose == user.id) {
                model.overlay = Some(Overlay::Form(form));
            }
            if model.unanswered_of.take_if(|whose| *whose != user.id).is_some() {
                Review::leave_behind(model);
            }
            model.who = Some(Who { user: *user, permissions: capabilities.permissions });
            if model.may(Permission::UsersRead) {
                model.sessions.include = vec!["user"];
            }
            let left = model.return_to.take();
            model.screen = left.as_ref().map_or(Screen::Home, |left| left.screen);
            let me = model.who.as_ref().map(|who| who.user.id);
            if let (Some(left), Some(room)) = (left.filter(|left| left.whose == me), model.room()) {
                stand(model, room, &left.stand);
                model.came_from = left.trail;
            }
            let mut tasks = load(model);
            tasks.push(Task::Wake(PULSE, crate::message::Alarm::Pulse));
            return tasks;
        }
        (_, Answer::Rights(now)) => return rights::take(model, *now),
        (_, Answer::Pulse(events)) => {
            let mut tasks = live::news(model, events);
            if model.focused && !model.streaming {
                tasks.push(Task::Wake(PULSE, crate::message::Alarm::Pulse));
            }
            return tasks;
        }
        (_, Answer::Stats(stats)) => {
            begin_at(model, Some(stats.log_head));
            model.home.stats = Some((*stats, now));
            model.home.trouble = None;
        }
        (Slot::Page(room, way), Answer::Events(page)) => {
            let newest = page.rows.iter().map(|event| event.seq).max();
            begin_at(model, newest.or((room == Room::Home).then_some(0)));
            let list = if room == Room::Home { &mut model.home.feed } else { &mut model.events };
            list.take(way, page, now);
        }
        (Slot::Page(_, way), Answer::Audit(page)) => {
            begin_at(model, page.rows.iter().map(|entry| entry.0.seq).max());
            model.audit.take(way, page, now);
        }
        (Slot::Page(_, way), Answer::Users(page)) => {
            for user in &page.rows {
                model.learn(user.id, user.email.to_string());
            }
            model.users.list.take(way, page, now);
        }
        (Slot::Page(_, way), Answer::Sessions(page)) => {
            // whose they are came with them
            for user in page.rows.iter().filter_map(|session| session.user.as_ref()) {
                model.learn(user.id, user.email.to_string());
            }
            model.sessions.take(way, page, now);
        }
        (Slot::Page(_, way), Answer::Roles(page)) => model.roles.take(way, page, now),
        (Slot::Page(_, way), Answer::Accounts(page)) => {
            page.rows.iter().for_each(|account| model.money.learn(account));
            model.money.accounts.take(way, page, now);
        }
        (Slot::Page(_, way), Answer::Transfers(page)) => model.money.transfers.take(way, page, now),
        (Slot::Page(_, way), Answer::Entries(page)) => {
            model.money.statement.take(way, page, now);
            model.money.re_add();
        }
        (_, Answer::Account(account)) => {
            model.money.learn(&account);
            if model.money.account.as_ref().is_some_and(|held| held.id == account.id) {
                model.money.take_shown(&account);
            } else if model.money.statement.of == Some(account.id) {
                model.money.account = Some(*account);
            }
        }
        (_, Answer::Behind(transfers)) => model.money.keep(transfers),
        (_, Answer::Labels(accounts)) => accounts.iter().for_each(|account| model.money.learn(account)),
        (_, Answer::Beside(beside)) => Money::take_beside(model, Ok(*beside)),
        (_, Answer::Again(transfers)) => transfers.iter().for_each(|transfer| {
            model.money.take_transfer(transfer);
        }),
        (_, Answer::Books(books)) => model.money.books = Some((*books, now)),
        (_, Answer::Found(text, found)) => crate::widgets::form::pick::found(model, text, found),
        (_, Answer::LedgerVerified(report)) => Money::verified(model, report),
        (_, Answer::Permissions(allowed)) => Users::take_allowed(model, Ok(*allowed)),
        (_, Answer::Timeline(_, events)) => Users::take_timeline(model, Ok(events)),
        (_, Answer::Names(names)) => {
            names.into_iter().for_each(|(id, name)| model.learn(id, name));
        }
        (_, Answer::AllRoles(roles)) => Choose::roles_came(model, roles),
        (_, Answer::Verified(report)) => {
            model.verified = Some((report, now));
            match report.first_broken_seq {
                None if report.ok => {
                    let rows = crate::text::number(report.checked);
                    model.say(format!("the chain is whole: {rows} rows recomputed"));
                }
                broken => model.complain(format!(
                    "the chain is broken{}",
                    broken.map_or_else(String::new, |seq| format!(
                        " at row {seq}; {}audit shows what is around it",
                        model.keys.key_of(Do::Palette)
                    ))
                )),
            }
        }
        (_, Answer::Contexts(contexts)) => {
            model.contexts = contexts;
            model.dirty = true;
            Choose::contexts_came(model);
        }
        (_, Answer::Switched(opened)) => return switched(model, *opened),
        (_, Answer::Exported(rows, path)) => Export::done(model, rows, &path),
        (_, Answer::Rehearsed(effect)) => return Review::rehearsed(model, effect),
        (_, Answer::Changed(effect)) => return Review::done(model, effect),
        (_, Answer::Verdict(verdict)) => return Review::resolved(model, *verdict),
        _ => {}
    }
    Vec::new()
}

fn failed(model: &mut Model, ticket: Ticket, trouble: Trouble) -> Vec<Task> {
    model.ahead.clear();
    match ticket.slot {
        Slot::Contexts => {
            // the file of contexts, not the daemon
            model.dirty = true;
            model.report("contexts", &trouble);
            return Vec::new();
        }
        Slot::Export => {
            Export::failed(model, &trouble);
            if !matches!(trouble, Trouble::Unreachable(_) | Trouble::Lost(_)) {
                return Vec::new();
            }
        }
        _ => {}
    }
    if let Trouble::Unreachable(why) | Trouble::Lost(why) = &trouble {
        if model.who.is_some() {
            let mut tasks = offline(model, ticket, why.clone());
            if ticket.slot == Slot::Choice {
                Choose::given_up(model);
            }
            if ticket.slot == Slot::Change {
                tasks.extend(Review::failed(model, trouble));
            } else {
                keep(model, ticket, trouble);
            }
            let beside = [Slot::Permissions, Slot::Timeline, Slot::Beside, Slot::Labels, Slot::Behind];
            tasks.extend(beside.map(Task::Drop));
            return tasks;
        }
        model.link = Link::Unknown;
    }
    let signing_in = ticket.slot == Slot::Session;
    if !signing_in && trouble.ends_the_session() && model.who.is_some() {
        if ticket.slot == Slot::Change {
            Review::turned_away(model);
        }
        return end_session(model, &format!("the session ended: {}", trouble.message()));
    }
    if signing_in {
        match (model.login.busy.is_some(), &trouble) {
            // the stored session was tried unasked; that there is none is nobody's mistake
            (false, Trouble::SignedOut) => model.login.notice = None,
            (false, _) if trouble.ends_the_session() => {
                model.login.notice = Some(format!("the session ended: {}", trouble.message()));
            }
            _ => model.login.fail(trouble),
        }
        model.dirty = true;
        return Vec::new();
    }
    match ticket.slot {
        Slot::Pulse => {
            // the daemon answered, if only to refuse; the next pulse may be luckier
            model.dirty = true;
            let mut tasks = online(model);
            tasks.push(Task::Wake(PULSE * 5, crate::message::Alarm::Pulse));
            return tasks;
        }
        Slot::Change => return Review::failed(model, trouble),
        Slot::Names | Slot::Books | Slot::Rights => return Vec::new(),
        Slot::Labels | Slot::Behind | Slot::Again | Slot::Beside => {
            money::failed(model, ticket.slot, trouble);
            return Vec::new();
        }
        Slot::Page(room, Way::Fresh) => {
            // the record under the cursor is gone, or its cursor was signed with a key that is
            if matches!(&trouble, Trouble::Refused { error, .. } if error.code == ErrorCode::NotFound) {
                let (list, tickets) = model.list_and_tickets(room);
                if list.gives_up_seeking() {
                    let said = model.flash.take().map_or_else(String::new, |flash| flash.text + "; ");
                    model.say(format!("{said}not shown: the filter of this list leaves it out"));
                    return Vec::new();
                }
                return list.reload_without_cursor(tickets);
            }
        }
        _ => {}
    }
    let doing = match ticket.slot {
        Slot::Verify => "it was not recomputed",
        Slot::Choice => "the roles could not be read",
        _ => "could not be read",
    };
    model.report(doing, &trouble);
    if ticket.slot == Slot::Choice {
        Choose::given_up(model);
    }
    keep(model, ticket, trouble);
    Vec::new()
}

/// Keeps why something could not be read beside what it is about.
fn keep(model: &mut Model, ticket: Ticket, trouble: Trouble) {
    match ticket.slot {
        Slot::Stats => model.home.trouble = Some(trouble),
        Slot::Page(room, Way::Fresh) => model.list_and_tickets(room).0.fail(trouble),
        Slot::Page(room, _) => {
            let now = model.now;
            model.list_and_tickets(room).0.refuse(now);
        }
        Slot::Permissions => Users::take_allowed(model, Err(trouble)),
        Slot::Labels | Slot::Behind | Slot::Beside => money::failed(model, ticket.slot, trouble),
        Slot::Timeline => Users::take_timeline(model, Err(trouble)),
        _ => {}
    }
}

/// Asks what the people are called whose ids stand on the screen, once for each.
pub(super) fn names(model: &mut Model) -> Option<Task> {
    if model.is_offline() || model.tickets.waits_for(Slot::Names) || !model.may(Permission::UsersRead) {
        return None;
    }
    let wanted: Vec<UserId> = match model.screen {
        Screen::Sessions => model.sessions.window.visible().map(|row| row.record.user_id).collect(),
        Screen::Accounts | Screen::Transfers | Screen::Statement => money::people(model),
        _ => named::events(model).into_iter().flat_map(named::people).collect(),
    };
    let me = model.who.as_ref().map(|who| who.user.id);
    let unknown: BTreeSet<UserId> =
        wanted.into_iter().filter(|id| Some(*id) != me && !model.names.contains_key(id)).collect();
    let unknown: Vec<UserId> = unknown.into_iter().take(NAMES).collect();
    if unknown.is_empty() {
        return None;
    }
    for id in &unknown {
        // asked for once, whatever comes of it
        model.learn(*id, crate::text::brief(&id.to_string()));
    }
    Some(Task::Ask(model.tickets.issue(Slot::Names), Request::Names(unknown)))
}
