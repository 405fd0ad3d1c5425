//! The way back: each screen and each list as it was left, the cursor on its record.

use bursar_shared::error::{ApiError, ErrorCode};
use bursar_tui::{
    Keymap,
    message::{Alarm, Exit, Heard, Input, Msg, Trouble},
    model::Screen,
};

use crate::support::{Desk, Mood};

fn here(desk: &Desk) -> (Screen, Option<String>) {
    (desk.model.screen, desk.cursor().map(str::to_owned))
}

#[test]
fn a_list_that_was_passed_twice_is_as_it_was_each_time() {
    let mut desk = Desk::home(120, 36);
    desk.press("7 / status:active enter j j j");
    let accounts = here(&desk);
    desk.press("u");
    let person = here(&desk);
    assert_eq!(person.0, Screen::Users);
    desk.press("b");
    assert!(desk.text().contains("Accounts › ownerId:ada0@example.com"), "{}", desk.text());
    desk.press("esc");
    assert_eq!(here(&desk), person);
    desk.press("esc");
    assert_eq!(here(&desk), accounts);
    assert!(desk.text().contains("Accounts › status:active"), "{}", desk.text());
    // also when it is faster than the daemon
    desk.press("u b");
    desk.mood = Mood::Silent;
    desk.press("esc esc");
    desk.mood = Mood::Answers;
    desk.answer();
    assert_eq!(here(&desk), accounts);
}

#[test]
fn a_list_that_leads_to_itself_is_left_again() {
    let mut desk = Desk::home(120, 36);
    desk.press("8 j j");
    let before = here(&desk);
    desk.press("w");
    assert!(desk.text().contains("Transfers › parentId:trf_"), "{}", desk.text());
    desk.press("esc");
    assert_eq!(here(&desk), before);
}

#[test]
fn whoever_signs_in_again_is_where_they_were() {
    let mut desk = Desk::home(120, 36);
    desk.press("7 / status:active enter j j o j j j");
    let before = here(&desk);
    let error = ApiError::new(ErrorCode::SessionRevoked, "The session was ended.");
    desk.hear(Heard::Ended(Trouble::Refused { error, request_id: None, retry_at: None }));
    assert_eq!(desk.model.screen, Screen::Login);
    desk.press("correct-horse enter");
    assert_eq!(here(&desk), before, "{}", desk.text());
    // and the way back is the same
    desk.press("esc");
    assert_eq!(desk.model.screen, Screen::Accounts);
}

#[test]
fn the_palette_knows_what_other_screens_do() {
    for (typed, shows, screen) in [
        ("transfers space create", "New transfer", Screen::Transfers),
        ("accounts space create", "New account", Screen::Accounts),
        ("ledger space verify", "the books are whole", Screen::Accounts),
        ("audit space verify", "the chain is whole", Screen::Audit),
    ] {
        let mut desk = Desk::users(120, 36);
        desk.press(&format!("j : {typed} enter"));
        assert_eq!(desk.model.screen, screen);
        assert!(desk.text().contains(shows), "{typed}: {}", desk.text());
        // and back again
        desk.press("esc");
        if desk.model.screen == screen {
            desk.press("esc");
        }
        assert_eq!(desk.model.screen, Screen::Users, "{typed}: {}", desk.text());
    }
    let mut desk = Desk::home(120, 36);
    desk.press("7 j : users space create enter");
    assert!(desk.text().contains("New user"), "{}", desk.text());
    // what needs a record says where there is one
    let mut desk = Desk::users(120, 36);
    desk.press("j : freeze space acc");
    assert!(desk.text().contains("on Accounts, with the cursor on one"), "{}", desk.text());
    desk.press("enter");
    assert_eq!(desk.model.screen, Screen::Users);
    assert!(desk.text().contains("freeze account: on Accounts"), "{}", desk.text());
}

#[test]
fn what_names_a_record_goes_there() {
    let id = crate::books::transfer_id(5).to_string();
    for (pasted, title) in [
        (id.as_str(), format!("Transfers › {id}")),
        ("kim3@example.com", "Users › email:kim3@example.com".to_owned()),
    ] {
        let mut desk = Desk::users(120, 36);
        desk.press(":");
        desk.send(Msg::Input(Input::Paste(format!("{pasted}\n"))));
        desk.press("enter");
        assert!(desk.text().contains(&title), "{}", desk.text());
        desk.press("esc");
        assert!(!desk.text().contains(&title), "{}", desk.text());
        assert_eq!(desk.model.screen, Screen::Users);
    }
}

#[test]
fn names_that_begin_so_come_before_words_in_the_middle() {
    let mut desk = Desk::users(120, 36);
    desk.press("j : s");
    let text = desk.text();
    for first in ["users suspend", "  sort ", "sessions list"] {
        assert!(text.contains(first), "{first}: {text}");
    }
    assert!(!text.contains("half screen down"), "{text}");
}

#[test]
fn where_one_is_in_a_list_that_does_not_fit_is_seen() {
    let mut desk = Desk::users(80, 24);
    assert!(desk.text().contains(" 1/250 rows"), "{}", desk.text());
    desk.press("j j j");
    assert!(desk.text().contains("4/250 rows"), "{}", desk.text());
    let head = |desk: &Desk| desk.text().lines().find(|line| line.contains("EMAIL")).unwrap().to_owned();
    assert!(!head(&desk).contains('↑'), "{}", head(&desk));
    desk.press("^d ^d ^d ^d");
    assert!(head(&desk).contains('↑'), "{}", head(&desk));
    // counted from the other end as well
    desk.press("G k");
    assert!(desk.text().contains("249/250 rows"), "{}", desk.text());
    // where all fit there is nothing to say
    desk.press("4");
    assert!(!desk.text().contains("/5 rows"), "{}", desk.text());
}

#[test]
fn the_log_names_accounts_and_people() {
    let mut desk = Desk::home(120, 36);
    desk.press("5");
    desk.hear(Heard::Live);
    let event = crate::books::moved_event(&desk, 121, 0, 2, 100);
    desk.hear(Heard::Rows(vec![event]));
    assert!(desk.text().contains("world:EUR → 1002"), "{}", desk.text());
}

#[test]
fn a_daemon_that_does_not_answer_is_not_called_live() {
    let mut desk = Desk::users(120, 36);
    desk.mood = Mood::Silent;
    desk.press("7");
    let (ticket, _) = desk.open[0];
    desk.ring(Alarm::Slow(ticket));
    assert!(desk.text().contains("● live"), "{}", desk.text());
    desk.pass(std::time::Duration::from_secs(7));
    desk.ring(Alarm::Silent(ticket));
    assert!(desk.text().contains("no answer for 7 s"), "{}", desk.text());
    assert!(desk.alarms.contains(&Alarm::Silent(ticket)), "{:?}", desk.alarms);
    // it counts on, and any answer ends it
    desk.mood = Mood::Answers;
    desk.answer();
    desk.draw();
    assert!(desk.text().contains("● live"), "{}", desk.text());
    desk.alarms.clear();
    desk.ring(Alarm::Silent(ticket));
    assert!(desk.alarms.is_empty(), "{:?}", desk.alarms);
}

#[test]
fn who_does_not_match_any_more_is_marked_and_stays() {
    let mut desk = Desk::users(120, 36);
    desk.press("/ status:active enter j");
    let row = |desk: &Desk| desk.text().lines().find(|line| line.starts_with('›')).unwrap().to_owned();
    let before = row(&desk);
    assert!(!before.starts_with("›~"), "{before}");
    desk.press("S tab");
    desk.pass(std::time::Duration::from_millis(500));
    desk.press("enter");
    assert!(row(&desk).starts_with("›~"), "{}", desk.text());
    assert!(row(&desk).contains("suspended"), "{}", desk.text());
}

#[test]
fn a_plan_speaks_of_what_will_be_and_many_are_deleted_only_by_their_number() {
    let mut desk = Desk::users(120, 36);
    desk.press("j space space space D");
    let text = desk.text();
    assert!(text.contains("→ will be deleted") && !text.contains("✓ deleted"), "{text}");
    assert!(text.contains("type 3 to let the button work"), "{text}");
    desk.pass(std::time::Duration::from_secs(2));
    desk.press("tab 2 enter");
    assert!(!desk.log.iter().any(|request| request.starts_with("Carry")), "{}", desk.text());
    desk.press("backspace 3");
    desk.pass(std::time::Duration::from_secs(2));
    desk.press("enter");
    desk.pass(std::time::Duration::from_secs(2));
    desk.press("enter");
    assert!(desk.log.iter().any(|request| request.starts_with("Carry")), "{}", desk.text());
}

#[test]
fn what_is_on_its_way_has_no_button() {
    let mut desk = Desk::users(120, 36);
    desk.press("j S tab");
    desk.pass(std::time::Duration::from_millis(500));
    desk.mood = Mood::Silent;
    desk.press("enter");
    let text = desk.text();
    assert!(text.contains("sent; waiting") && !text.contains("Close"), "{text}");
    desk.mood = Mood::Answers;
    desk.answer();
    desk.draw();
    assert!(!desk.text().contains("sent; waiting"), "{}", desk.text());
}

#[test]
fn what_is_set_can_be_left() {
    let mut desk = Desk::users(120, 36);
    desk.model.keys = Keymap::new(&[("app.quit".to_owned(), Vec::new())].into()).unwrap();
    desk.press("q");
    assert_eq!(desk.model.exit, None);
    desk.press("^c");
    assert_eq!(desk.model.exit, Some(Exit::Quit));
}

#[test]
fn signing_out_is_asked_about() {
    let mut desk = Desk::users(120, 36);
    desk.press("^o");
    let text = desk.text();
    assert!(text.contains("Sign out?") && text.contains("scripts of the"), "{text}");
    // it begins on Cancel, and what is typed before it can be read agrees to nothing
    desk.press("enter");
    assert_eq!(desk.model.screen, Screen::Users);
    desk.press("^o tab enter");
    assert_eq!(desk.model.screen, Screen::Users);
    desk.press("esc");
    desk.sign_out();
    assert_eq!(desk.model.screen, Screen::Login);
}

#[test]
fn a_word_that_names_two_things_finds_both_and_people_first() {
    let mut desk = Desk::users(120, 36);
    desk.press("j : suspend enter");
    assert_eq!(desk.stops, 0);
    assert!(desk.text().contains("Suspend this person?"), "{}", desk.text());
    desk.press("esc : background enter");
    assert_eq!(desk.stops, 1);
    assert_eq!(desk.model.exit, None::<Exit>);
}
