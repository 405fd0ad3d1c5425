//! What comes while something else is under way: answers about another row, events beside pages, refusals.

use bursar_shared::{
    error::{ApiError, ErrorCode},
    operations::log::Event,
};
use bursar_tui::message::{Alarm, Heard, Msg, Room, Slot, Trouble, Way};

use crate::{
    books::moved_event,
    support::{Desk, Mood, at, user},
};

/// The answer to what was asked for this slot comes now; whatever else is open stays so.
fn answer(desk: &mut Desk, slot: Slot) {
    let at = desk.open.iter().position(|(ticket, _)| ticket.slot == slot).expect("it was asked");
    let asked = desk.open.remove(at);
    desk.open.insert(0, asked);
    desk.answer_one();
}

/// What was asked for this slot is refused.
fn refuse(desk: &mut Desk, slot: Slot) {
    let at = desk.open.iter().position(|(ticket, _)| ticket.slot == slot).expect("it was asked");
    let (ticket, _) = desk.open.remove(at);
    let error = ApiError::new(ErrorCode::Forbidden, "This needs a permission that you do not hold.");
    desk.send(Msg::Answer(ticket, Err(Trouble::Refused { error, request_id: None, retry_at: None })));
    desk.draw();
}

#[test]
fn an_answer_about_an_account_is_not_shown_as_anothers() {
    let mut desk = Desk::home(120, 36);
    desk.press("7 j");
    desk.mood = Mood::Silent;
    desk.ring(Alarm::Rest);
    desk.press("j");
    let wanted = desk.cursor().unwrap().to_owned();
    answer(&mut desk, Slot::Beside);
    let known = desk.model.money.beside.as_ref().map(|(key, _)| key.clone()).unwrap();
    assert!(!known.starts_with(&wanted), "{known} was asked about the row before");
    // and the row under the cursor is asked about once the cursor rests
    desk.ring(Alarm::Rest);
    answer(&mut desk, Slot::Beside);
    let known = desk.model.money.beside.as_ref().map(|(key, _)| key.clone()).unwrap();
    assert!(known.starts_with(&wanted), "{known}");
    assert!(!desk.text().contains("reading…"), "{}", desk.text());
}

#[test]
fn a_refusal_about_somebody_is_not_shown_as_anothers() {
    let mut desk = Desk::users(120, 36);
    desk.mood = Mood::Silent;
    desk.ring(Alarm::Rest);
    let asked = user(0).id;
    desk.press("j");
    refuse(&mut desk, Slot::Timeline);
    assert_eq!(desk.model.users.timeline.as_ref().map(|(id, _)| *id), Some(asked));
    desk.ring(Alarm::Rest);
    answer(&mut desk, Slot::Permissions);
    answer(&mut desk, Slot::Timeline);
    assert_eq!(desk.model.users.timeline.as_ref().map(|(id, _)| *id), Some(user(1).id));
    assert_eq!(desk.model.users.allowed.as_ref().map(|(id, ..)| *id), Some(user(1).id));
}

#[test]
fn a_slow_timeline_is_waited_for_and_asked_once() {
    let mut desk = Desk::users(120, 36);
    desk.mood = Mood::Silent;
    desk.ring(Alarm::Rest);
    answer(&mut desk, Slot::Permissions);
    let asked = desk.log.iter().filter(|line| line.starts_with("Timeline")).count();
    for _ in 0..5 {
        if desk.alarms.contains(&Alarm::Rest) {
            desk.ring(Alarm::Rest);
        }
    }
    assert_eq!(desk.log.iter().filter(|line| line.starts_with("Timeline")).count(), asked);
}

fn changed(seq: i64, n: u32, version: i64, name: &str) -> Event {
    let mut person = user(n);
    person.version = version;
    person.name = serde_json::from_value(serde_json::json!(name)).unwrap();
    let mut event = crate::support::event(seq * 4 + 3);
    event.seq = seq;
    event.kind = "user.updated".to_owned();
    event.resource.id = Some(person.id.to_string());
    event.resource.version = Some(version);
    event.data = serde_json::to_value(person).unwrap();
    event
}

#[test]
fn figures_do_not_make_rows_of_the_log_known() {
    let mut desk = Desk::home(120, 36);
    desk.press("2 1");
    assert_eq!(desk.model.head, Some(120));
    desk.hear(Heard::Live);
    desk.hear(Heard::Rows(vec![changed(121, 3, 90, "One")]));
    // a change is committed and counted by the figures before the stream brings it
    desk.mood = Mood::Silent;
    desk.press("1");
    let (ticket, _) = desk.open.iter().find(|(ticket, _)| ticket.slot == Slot::Stats).unwrap();
    let (mut stats, _) = desk.model.home.stats.clone().unwrap();
    stats.log_head = 123;
    desk.send(Msg::Answer(*ticket, Ok(bursar_tui::message::Answer::Stats(Box::new(stats)))));
    desk.hear(Heard::Rows(vec![changed(122, 4, 91, "Two"), changed(123, 5, 92, "Three")]));
    let held = |n: u32| desk.model.users.held(user(n).id).unwrap().record.name.as_str().to_owned();
    assert_eq!([held(3), held(4), held(5)], ["One", "Two", "Three"]);
}

#[test]
fn a_page_that_is_older_than_what_was_heard_takes_nothing_back() {
    let mut desk = Desk::users(120, 36);
    desk.mood = Mood::Silent;
    desk.press(".");
    desk.hear(Heard::Rows(vec![changed(121, 3, 90, "Newer name")]));
    let mut made = changed(122, 240, 1, "Newest");
    made.kind = "user.created".to_owned();
    desk.hear(Heard::Rows(vec![made]));
    assert!(desk.text().contains("1 newer: press ."), "{}", desk.text());
    // the page was read before either of them
    answer(&mut desk, Slot::Page(Room::Users, Way::Fresh));
    assert!(desk.text().contains("Newer name"), "{}", desk.text());
    assert!(desk.text().contains("1 newer: press ."), "{}", desk.text());
    // and what was newer before it was asked for is in it
    desk.mood = Mood::Answers;
    desk.press(".");
    assert!(!desk.text().contains("newer: press"), "{}", desk.text());
}

#[test]
fn a_row_that_comes_into_reach_is_as_it_was_heard() {
    let mut desk = Desk::users(120, 36);
    desk.mood = Mood::Silent;
    desk.hold("j", 70);
    assert!(desk.waits(Slot::Page(Room::Users, Way::Next)));
    desk.hear(Heard::Rows(vec![changed(121, 130, 90, "Newer name")]));
    answer(&mut desk, Slot::Page(Room::Users, Way::Next));
    let name = |desk: &Desk| desk.model.users.held(user(130).id).unwrap().record.name.as_str().to_owned();
    assert_eq!(name(&desk), "Newer name");
}

#[test]
fn an_entry_and_a_balance_do_not_go_back() {
    let mut desk = Desk::home(120, 36);
    desk.press("7 j o");
    let mut moved = moved_event(&desk, 121, 1, 2, 700);
    moved.seq = 121;
    let entries = desk.model.money.statement.window.rows().count();
    desk.mood = Mood::Silent;
    desk.press(".");
    desk.hear(Heard::Rows(vec![moved]));
    let now = desk.model.money.account.clone().unwrap();
    answer(&mut desk, Slot::Account);
    answer(&mut desk, Slot::Page(Room::Statement, Way::Fresh));
    assert_eq!(desk.model.money.account, Some(now.clone()));
    let top = desk.model.money.statement.window.rows().next().unwrap();
    assert_eq!((top.record.seq, top.record.posted), (now.entry_seq, now.balances.posted));
    assert_eq!(desk.model.money.statement.window.rows().count(), entries + 1);
    assert!(desk.model.money.sum.fits());
}

#[test]
fn what_was_refused_is_not_asked_for_again_at_once() {
    let mut desk = Desk::home(120, 36);
    desk.press("2");
    desk.mood = Mood::Silent;
    desk.hold("j", 70);
    let asked = |desk: &Desk, what: &str| desk.log.iter().filter(|line| line.starts_with(what)).count();
    let before = asked(&desk, "Users");
    refuse(&mut desk, Slot::Page(Room::Users, Way::Next));
    desk.press("j k j");
    assert_eq!(asked(&desk, "Users"), before);
    // but after a while
    desk.model.now = at(-10);
    desk.press("j");
    assert_eq!(asked(&desk, "Users"), before + 1);

    let mut desk = Desk::home(120, 36);
    desk.press("7 j");
    desk.mood = Mood::Silent;
    desk.press("o");
    answer(&mut desk, Slot::Page(Room::Statement, Way::Fresh));
    refuse(&mut desk, Slot::Behind);
    assert_eq!(asked(&desk, "Behind"), 1);
    desk.press("j k j");
    assert_eq!(asked(&desk, "Behind"), 1);
    desk.model.now = at(-10);
    desk.press("k");
    assert_eq!(asked(&desk, "Behind"), 2);
}

#[test]
fn only_what_matches_the_filter_is_newer() {
    let mut desk = Desk::users(120, 36);
    let made = |seq: i64, n: u32, status: &str| {
        let mut event = changed(seq, n, 1, "New");
        event.kind = "user.created".to_owned();
        event.data["status"] = serde_json::json!(status);
        event
    };
    desk.press("/ status:active enter");
    desk.hear(Heard::Rows(vec![made(121, 240, "suspended")]));
    assert!(!desk.text().contains("newer"), "{}", desk.text());
    desk.hear(Heard::Rows(vec![made(122, 241, "active")]));
    assert!(desk.text().contains("1 newer: press ."), "{}", desk.text());
    desk.press("/ esc / space ada enter");
    desk.hear(Heard::Rows(vec![made(123, 242, "active")]));
    assert!(desk.text().contains("1 newer (filter not applied): press ."), "{}", desk.text());
}

#[test]
fn what_people_are_called_is_not_kept_without_end() {
    let mut desk = Desk::users(120, 36);
    desk.people = 20_000;
    desk.press(".");
    for _ in 0..100 {
        desk.hold("j", 150);
    }
    assert!(desk.model.users.list.window.at().is_some());
    assert!(desk.model.names.len() <= 2_100, "{}", desk.model.names.len());
}

#[test]
fn what_one_may_do_is_read_again_when_it_may_have_changed() {
    let mut desk = Desk::users(120, 36);
    let everything = desk.permissions;
    let asked = |desk: &Desk| desk.log.iter().filter(|line| *line == "Rights").count();
    // somebody else's roles are nothing to me, mine are
    let mut event = changed(121, 7, 90, "Somebody");
    event.kind = "user.roles_changed".to_owned();
    desk.hear(Heard::Rows(vec![event.clone()]));
    assert_eq!(asked(&desk), 0);
    desk.permissions = bursar_shared::permission::BUILT_IN[3].permissions;
    (event.seq, event.resource.id) = (122, Some(user(0).id.to_string()));
    desk.hear(Heard::Rows(vec![event]));
    assert_eq!(asked(&desk), 1);
    assert_eq!(desk.model.who.as_ref().unwrap().permissions, desk.permissions);
    assert!(desk.text().contains("what you may do has changed"), "{}", desk.text());

    // a refusal says so too; many of them ask once
    let mut desk = Desk::users(120, 36);
    desk.mood = Mood::Silent;
    desk.press(".");
    refuse(&mut desk, Slot::Page(Room::Users, Way::Fresh));
    assert_eq!(asked(&desk), 1);
    answer(&mut desk, Slot::Rights);
    desk.press(".");
    refuse(&mut desk, Slot::Page(Room::Users, Way::Fresh));
    assert_eq!(asked(&desk), 1);

    // and they may have changed while the daemon was away
    let mut desk = Desk::users(120, 36);
    desk.mood = Mood::Unreachable;
    desk.ring(Alarm::Pulse);
    desk.mood = Mood::Answers;
    desk.permissions = everything;
    desk.ring(Alarm::Pulse);
    assert_eq!(asked(&desk), 1);
}
