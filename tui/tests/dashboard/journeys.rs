//! What a person does, key by key.

use bursar_shared::error::{ApiError, ErrorCode};
use bursar_tui::{
    message::{Alarm, Exit, Heard, Room, Slot, Trouble, Way},
    model::Screen,
};

use crate::support::{Desk, Mood, event, user};

#[test]
fn signs_in_and_sees_figures_and_events() {
    let desk = Desk::home(120, 36);
    assert!(desk.text().contains("48,213"));
    assert!(desk.text().contains("user.suspended"));
    assert!(desk.text().contains("● live"));
}

#[test]
fn a_password_is_forgotten_as_soon_as_it_is_sent() {
    let mut desk = Desk::new(80, 24);
    desk.mood = Mood::Silent;
    desk.sign_in();
    assert_eq!(desk.model.login.password.value(), "");
    assert!(!format!("{:?}", desk.open).contains("correct-horse"));
}

#[test]
fn what_is_wrong_is_found_before_it_is_sent() {
    let mut desk = Desk::new(80, 24);
    desk.press("ada enter secret enter");
    assert!(desk.log.is_empty());
    assert!(desk.text().contains("must be an email address"));
}

#[test]
fn a_list_and_its_sessions_are_one_request() {
    let mut desk = Desk::home(120, 36);
    desk.log.clear();
    desk.press("2");
    assert_eq!(desk.log.len(), 1, "{:?}", desk.log);
    assert!(desk.log[0].contains(r#""include":"sessions,accounts""#));
    assert!(desk.log[0].contains(r#""position":"start""#));
}

#[test]
fn the_end_of_a_long_list_is_one_request_away() {
    let mut desk = Desk::home(80, 24);
    desk.people = 1_000_000;
    desk.press("2");
    desk.log.clear();
    desk.press("G");
    assert!(desk.log[0].contains(r#""position":"end""#), "{:?}", desk.log);
    assert_eq!(desk.cursor(), Some(user(999_999).id.to_string().as_str()));
    desk.press("g g");
    assert_eq!(desk.cursor(), Some(user(0).id.to_string().as_str()));
    assert!(desk.text().contains("10,000+ rows"));
}

#[test]
fn scrolling_reads_on_both_ways_and_keeps_a_bounded_window() {
    let mut desk = Desk::home(80, 24);
    desk.people = 5_000;
    desk.press("2");
    desk.hold("j", 3_000);
    assert_eq!(desk.cursor(), Some(user(3_000).id.to_string().as_str()));
    assert!(desk.model.users.list.window.len() <= 1_000);
    desk.hold("k", 2_990);
    assert_eq!(desk.cursor(), Some(user(10).id.to_string().as_str()));
    assert!(desk.model.users.list.window.len() <= 1_000);
}

#[test]
fn a_filter_goes_to_the_daemon_and_into_the_title() {
    let mut desk = Desk::users(80, 24);
    desk.press("/ status:active enter");
    assert!(desk.log.last().unwrap().contains(r#""filter[status]":"active""#), "{:?}", desk.log.last());
    assert!(desk.text().contains("Users › status:active"));
    desk.press("Y");
    assert!(desk.copied.last().unwrap().starts_with("bursar -c demo users get usr_"));
}

#[test]
fn a_filter_that_is_wrong_stays_to_be_mended() {
    let mut desk = Desk::users(80, 24);
    desk.log.clear();
    desk.press("/ colour:red enter");
    assert!(desk.text().contains("^^^^^^"));
    assert!(desk.log.is_empty());
    desk.press("esc");
    assert!(!desk.text().contains("colour"));
}

#[test]
fn another_order_keeps_the_record() {
    let mut desk = Desk::users(80, 24);
    desk.press("j j j");
    let id = desk.cursor().unwrap().to_owned();
    desk.press("s j enter");
    assert!(desk.log.iter().any(|request| request.contains(&format!(r#""around":"{id}""#))));
    assert_eq!(desk.cursor(), Some(id.as_str()));
}

#[test]
fn columns_come_and_go_but_not_the_first() {
    let mut desk = Desk::users(120, 36);
    assert!(desk.text().contains("NAME"));
    desk.press("c space j space enter");
    assert!(!desk.text().contains("NAME"));
    assert!(desk.text().contains("EMAIL"));
}

#[test]
fn copies_the_id_under_the_cursor() {
    let mut desk = Desk::users(80, 24);
    desk.press("j y");
    assert_eq!(desk.copied, [user(1).id.to_string()]);
    assert!(desk.text().contains("copied usr_"));
}

#[test]
fn an_action_that_is_off_says_why() {
    let mut desk = Desk::users(80, 24);
    desk.mood = Mood::Unreachable;
    desk.ring(Alarm::Pulse);
    desk.press("/");
    assert!(desk.text().contains("filter is off: the daemon cannot be reached"));
}

#[test]
fn going_offline_keeps_everything_and_coming_back_keeps_the_cursor() {
    let mut desk = Desk::users(80, 24);
    desk.press("j j j j j");
    let id = desk.cursor().unwrap().to_owned();
    desk.mood = Mood::Unreachable;
    desk.ring(Alarm::Pulse);
    assert!(desk.text().contains("OFFLINE since 12:04:31Z"));
    assert!(desk.text().contains("read-only"));
    assert!(desk.text().contains("j.muessig5@example.com"));
    desk.press("j k");
    for _ in 0..10 {
        desk.ring(Alarm::Pulse);
    }
    desk.mood = Mood::Answers;
    desk.ring(Alarm::Pulse);
    assert!(desk.text().contains("● live"));
    assert_eq!(desk.cursor(), Some(id.as_str()));
    assert_eq!(desk.model.screen, Screen::Users);
}

#[test]
fn an_event_changes_a_row_where_it_is() {
    let mut desk = Desk::users(80, 24);
    desk.press("j j");
    let id = desk.cursor().unwrap().to_owned();
    desk.events = 123;
    desk.ring(Alarm::Pulse);
    assert_eq!(desk.cursor(), Some(id.as_str()));
    assert!(desk.text().contains("changed since read"));
}

#[test]
fn rows_come_by_the_stream_and_nothing_is_asked_while_it_lives() {
    let mut desk = Desk::users(80, 24);
    desk.press("j j");
    let id = desk.cursor().unwrap().to_owned();
    desk.hear(Heard::Live);
    desk.log.clear();
    desk.alarms.clear();
    desk.ring(Alarm::Pulse);
    assert!(desk.log.is_empty() && desk.alarms.is_empty(), "{:?}", desk.log);
    desk.hear(Heard::Rows((121..=123).map(event).collect()));
    assert_eq!(desk.cursor(), Some(id.as_str()));
    assert!(desk.text().contains("changed since read"));
    // the same rows again, by a look that overtook the stream, change nothing
    desk.model.dirty = false;
    desk.hear(Heard::Rows((121..=123).map(event).collect()));
    assert!(!desk.model.dirty);
}

#[test]
fn a_lost_stream_is_offline_and_a_refused_one_is_looked_at() {
    let mut desk = Desk::users(80, 24);
    desk.hear(Heard::Live);
    desk.hear(Heard::Lost(Trouble::Unreachable("connection refused".into())));
    assert!(desk.text().contains("OFFLINE"));
    assert!(desk.alarms.contains(&Alarm::Pulse));
    // a look finds it back, and follows again at once
    desk.stream = None;
    desk.ring(Alarm::Pulse);
    assert!(desk.text().contains("● live"));
    assert!(desk.stream.is_some());
    desk.hear(Heard::Live);
    let error = ApiError::new(ErrorCode::Overloaded, "Too many streams are open.");
    desk.hear(Heard::Lost(Trouble::Refused { error, request_id: None, retry_at: None }));
    assert!(desk.text().contains("● live"));
    desk.log.clear();
    desk.ring(Alarm::Pulse);
    assert!(desk.log[0].contains("Pulse"), "{:?}", desk.log);
    let error = ApiError::new(ErrorCode::SessionRevoked, "The session was ended.");
    desk.hear(Heard::Ended(Trouble::Refused { error, request_id: None, retry_at: None }));
    assert_eq!(desk.model.screen, Screen::Login);
}

#[test]
fn a_pulse_without_news_draws_nothing() {
    let mut desk = Desk::users(80, 24);
    desk.model.dirty = false;
    desk.send(bursar_tui::message::Msg::Alarm(Alarm::Pulse));
    assert!(!desk.model.dirty);
    assert!(desk.alarms.contains(&Alarm::Pulse));
}

#[test]
fn nobody_looks_so_nothing_is_asked() {
    let mut desk = Desk::users(80, 24);
    desk.send(bursar_tui::message::Msg::Input(bursar_tui::message::Input::Focus(false)));
    desk.log.clear();
    desk.alarms.clear();
    desk.ring(Alarm::Pulse);
    assert!(desk.log.is_empty() && desk.alarms.is_empty());
    desk.send(bursar_tui::message::Msg::Input(bursar_tui::message::Input::Focus(true)));
    assert_eq!(desk.log.len(), 1);
}

#[test]
fn an_answer_that_is_not_waited_for_is_thrown_away() {
    let mut desk = Desk::users(80, 24);
    desk.mood = Mood::Silent;
    desk.press("r");
    let (old, request) = desk.open.remove(0);
    desk.press("r");
    assert!(desk.waits(Slot::Page(Room::Users, Way::Fresh)));
    desk.people = 3;
    desk.open.insert(0, (old, request));
    desk.answer_one();
    assert!(desk.waits(Slot::Page(Room::Users, Way::Fresh)));
    assert!(desk.text().contains("250 rows"));
}

#[test]
fn what_one_may_not_see_is_not_asked_for() {
    let mut desk = Desk::new(80, 24);
    desk.permissions = bursar_shared::permission::Permissions::NONE;
    desk.sign_in();
    assert_eq!(desk.log.len(), 1, "only the sign-in: {:?}", desk.log);
    desk.press("2");
    assert!(desk.text().contains("needs the permission users:read"));
}

#[test]
fn a_click_moves_the_cursor_and_a_second_opens() {
    let mut desk = Desk::users(80, 24);
    desk.send(bursar_tui::message::Msg::Input(bursar_tui::message::Input::Click(10, 7)));
    desk.draw();
    assert_eq!(desk.cursor(), Some(user(3).id.to_string().as_str()));
    desk.send(bursar_tui::message::Msg::Input(bursar_tui::message::Input::Click(10, 7)));
    assert!(desk.model.users.list.open.is_some());
    desk.press("esc");
    assert!(desk.model.users.list.open.is_none());
}

#[test]
fn the_palette_speaks_the_filter_language() {
    let mut desk = Desk::home(80, 24);
    desk.press(": users space status:suspended enter");
    assert_eq!(desk.model.screen, Screen::Users);
    assert!(desk.text().contains("Users › status:suspended"));
    desk.press(": quit enter");
    assert_eq!(desk.model.exit, Some(Exit::Quit));
}

#[test]
fn a_session_that_ends_leads_to_the_sign_in_and_back() {
    let mut desk = Desk::users(80, 24);
    desk.sign_out();
    assert_eq!(desk.model.screen, Screen::Login);
    assert!(desk.text().contains("signed out"));
    assert!(desk.model.users.list.window.is_empty());
    desk.press("correct-horse enter");
    assert_eq!(desk.model.screen, Screen::Home);
}

#[test]
fn a_filter_that_cannot_be_read_leaves_the_title_true() {
    let mut desk = Desk::users(80, 24);
    desk.press("j j / status:active enter");
    let id = desk.cursor().unwrap().to_owned();
    desk.mood = Mood::Refuses;
    desk.press("/ ^u status:suspended enter");
    assert!(desk.text().contains("Users › status:active"), "{}", desk.text());
    assert!(desk.text().contains("The database does not answer."));
    assert_eq!(desk.cursor(), Some(id.as_str()));
}

#[test]
fn another_server_is_shown_as_such() {
    let mut desk = Desk::new(120, 36);
    desk.press("backtab ^u http://other.example:1 enter ada@example.com enter correct-horse enter");
    assert!(desk.text().contains("│ http://other.example:1 │"), "{}", desk.text());
    assert!(!desk.text().contains("demo"));
}

#[test]
fn a_text_field_takes_every_letter() {
    let mut desk = Desk::users(80, 24);
    desk.press("/ q:?yY");
    assert_eq!(desk.model.users.list.bar.as_ref().unwrap().input.value(), "q:?yY");
    assert!(desk.model.exit.is_none() && desk.copied.is_empty());
}

#[test]
fn pasted_text_is_no_keys() {
    let mut desk = Desk::users(80, 24);
    let paste = |text: &str| bursar_tui::message::Msg::Input(bursar_tui::message::Input::Paste(text.into()));
    desk.send(paste("q\n"));
    assert!(desk.model.exit.is_none());
    desk.press("/");
    desk.send(paste("email:^ada\n\u{1b}[2J"));
    assert_eq!(desk.model.users.list.bar.as_ref().unwrap().input.value(), "email:^ada[2J");
}

/// A person under the cursor whom one could suspend, and the time to read what is asked.
fn reviewing() -> Desk {
    let mut desk = Desk::users(80, 24);
    desk.press("j S");
    desk
}

fn later(desk: &mut Desk) {
    desk.pass(std::time::Duration::from_millis(500));
}

#[test]
fn a_person_is_suspended_after_a_review_and_the_row_stays() {
    let mut desk = reviewing();
    let id = desk.cursor().unwrap().to_owned();
    assert!(desk.text().contains("Suspend this person?"), "{}", desk.text());
    assert!(desk.log.last().unwrap().starts_with("Rehearse"), "{:?}", desk.log);
    later(&mut desk);
    // the button begins on Cancel
    desk.press("enter");
    assert!(desk.text().contains("nothing was changed"));
    desk.press("S");
    later(&mut desk);
    desk.press("tab enter");
    assert!(desk.log.last().unwrap().starts_with("Carry"), "{:?}", desk.log);
    assert!(desk.text().contains("suspended li.wei1@example.com"), "{}", desk.text());
    assert_eq!(desk.cursor(), Some(id.as_str()));
}

#[test]
fn a_key_that_comes_too_soon_agrees_to_nothing() {
    let mut desk = reviewing();
    desk.press("tab enter enter enter");
    assert!(!desk.log.iter().any(|request| request.starts_with("Carry")), "{:?}", desk.log);
    assert!(desk.text().contains("not so fast"));
}

#[test]
fn a_protected_context_asks_twice_and_a_read_only_one_not_at_all() {
    let mut desk = Desk::users(80, 24);
    desk.model.place.protection = bursar_tui::Protection::Confirm;
    desk.press("j S");
    later(&mut desk);
    desk.press("tab enter");
    assert!(desk.text().contains("once more"), "{}", desk.text());
    assert!(!desk.log.iter().any(|request| request.starts_with("Carry")));
    later(&mut desk);
    desk.press("tab enter");
    assert!(desk.log.last().unwrap().starts_with("Carry"));
    desk.model.place.protection = bursar_tui::Protection::ReadOnly;
    desk.press("S");
    assert!(desk.text().contains("suspend is off: "), "{}", desk.text());
}

#[test]
fn a_lost_answer_is_found_by_its_key_and_never_sent_blindly() {
    for arrived in [true, false] {
        let mut desk = reviewing();
        later(&mut desk);
        desk.mood = Mood::Unreachable;
        desk.press("tab enter");
        assert!(desk.text().contains("outcome unknown"), "{}", desk.text());
        // looked away from meanwhile, it is not forgotten
        desk.press("esc");
        if arrived {
            let mut user = user(1);
            user.status = bursar_shared::field::UserStatus::Suspended;
            desk.verdict.state = bursar_shared::operations::system::VerdictState::Done;
            desk.verdict.data = Some(serde_json::to_value(user).unwrap());
        }
        desk.mood = Mood::Answers;
        desk.log.clear();
        desk.ring(Alarm::Pulse);
        assert!(!desk.log.iter().any(|request| request.starts_with("Carry")), "{:?}", desk.log);
        let says =
            if arrived { "suspended li.wei1@example.com" } else { "knows nothing of a change (a opens it)" };
        assert!(desk.text().contains(says), "{}", desk.text());
    }
}

#[test]
fn a_refusal_stays_to_be_read() {
    let mut desk = Desk::users(80, 24);
    desk.press("j");
    desk.mood = Mood::Refuses;
    desk.press("S");
    assert!(desk.text().contains("refused: The database does not answer."), "{}", desk.text());
    assert!(desk.text().contains("request req_"), "{}", desk.text());
    desk.press("esc");
    assert!(!desk.text().contains("Suspend this person?"));
}

#[test]
fn a_deleted_person_stays_as_a_tombstone_and_sessions_end() {
    let mut desk = Desk::users(80, 24);
    desk.press("j K");
    assert!(desk.text().contains("2 end at once"), "{}", desk.text());
    later(&mut desk);
    desk.press("tab enter");
    assert!(desk.text().contains("ended the sessions of li.wei1@example.com"), "{}", desk.text());
    let id = desk.cursor().unwrap().to_owned();
    desk.press("D");
    later(&mut desk);
    desk.press("tab enter");
    assert!(desk.text().contains("deleted li.wei1@example.com"), "{}", desk.text());
    assert_eq!(desk.cursor(), Some(id.as_str()));
    desk.press("D");
    assert!(desk.text().contains("delete is off: they are gone"), "{}", desk.text());
}

#[test]
fn a_word_about_something_else_does_not_hide_that_there_is_more() {
    let mut desk = Desk::users(80, 24);
    desk.model.users.list.newer.add("usr_new", Some(true));
    desk.press("j y");
    assert!(desk.text().contains("copied usr_"), "{}", desk.text());
    assert!(desk.text().contains("1 newer: press ."), "{}", desk.text());
}

#[test]
fn an_outcome_stays_unknown_until_somebody_says_it() {
    let mut desk = reviewing();
    later(&mut desk);
    desk.mood = Mood::Unreachable;
    desk.press("tab enter");
    // back for a look, and gone again before it says what became of it
    desk.mood = Mood::Silent;
    desk.ring(Alarm::Pulse);
    desk.answer_one();
    assert!(desk.waits(Slot::Change));
    desk.mood = Mood::Unreachable;
    desk.answer();
    assert!(desk.text().contains("outcome unknown"), "{}", desk.text());
    desk.press("esc");
    desk.mood = Mood::Refuses;
    desk.ring(Alarm::Pulse);
    assert!(!desk.text().contains("refused: "), "{}", desk.text());
    desk.press("esc");
    // no second change before the first is known
    desk.press("S");
    assert!(desk.text().contains("suspend is off: "), "{}", desk.text());
    desk.mood = Mood::Answers;
    desk.press("r");
    assert!(desk.text().contains("knows nothing of a change (a opens it)"), "{}", desk.text());
    desk.press("a");
    assert!(desk.text().contains("knows nothing of it"), "{}", desk.text());
    assert_eq!(desk.log.iter().filter(|request| request.starts_with("Carry")).count(), 1);
}
