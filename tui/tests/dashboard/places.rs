//! Journeys between places: screens, jumps, the palette, contexts, files, and rows that come meanwhile.

use bursar_tui::{
    Protection,
    message::{Alarm, Heard, Input, Msg},
    model::Screen,
};

use crate::support::{Desk, Mood, event};

#[test]
fn every_screen_has_a_number_a_chord_and_words() {
    let all = [
        (Screen::Home, "1", "gh", "stats"),
        (Screen::Users, "2", "gu", "users list"),
        (Screen::Sessions, "3", "gs", "sessions list"),
        (Screen::Roles, "4", "gr", "roles list"),
        (Screen::Events, "5", "ge", "events list"),
        (Screen::Audit, "6", "ga", "audit list"),
    ];
    for (screen, number, chord, words) in all {
        let mut desk = Desk::home(80, 24);
        desk.press(number);
        assert_eq!(desk.model.screen, screen);
        let mut desk = Desk::users(80, 24);
        desk.press(chord);
        assert_eq!(desk.model.screen, screen, "{chord}");
        let mut desk = Desk::users(80, 24);
        desk.press(&format!(": {} enter", words.replace(' ', " space ")));
        assert_eq!(desk.model.screen, screen, "{words}");
    }
}

#[test]
fn what_can_follow_a_first_key_is_shown_after_a_while() {
    let mut desk = Desk::users(80, 24);
    desk.press("g");
    assert!(desk.text().contains("g…"), "{}", desk.text());
    assert!(!desk.text().contains("╭ g… "));
    desk.ring(Alarm::Chord);
    assert!(desk.text().contains("╭ g… "), "{}", desk.text());
    assert!(desk.text().contains("a   audit"), "{}", desk.text());
    desk.press("a");
    assert_eq!(desk.model.screen, Screen::Audit);
    assert!(!desk.text().contains("╭ g… "));
}

#[test]
fn the_palette_speaks_like_the_command_line() {
    let mut desk = Desk::home(120, 36);
    desk.press(": sessions space list space revoked:null enter");
    assert!(desk.text().contains("Sessions › revoked:null"), "{}", desk.text());
    desk.press(": audit space type:^user enter");
    assert!(desk.text().contains("Audit › type:^user"), "{}", desk.text());
    desk.press(": users space create enter");
    assert!(desk.text().contains("New user"), "{}", desk.text());
    desk.press("esc : audit space verify enter");
    // only where the log is
    assert!(desk.text().contains("the chain is whole"), "{}", desk.text());
    // and what was typed before comes back
    desk.press(": ^r");
    assert!(desk.text().contains("audit verify"), "{}", desk.text());
}

#[test]
fn the_menu_does_what_its_keys_do() {
    let mut desk = Desk::users(120, 36);
    desk.press("j x");
    let text = desk.text();
    assert!(text.contains("✖ they are not suspended"), "{text}");
    desk.press("S");
    assert!(desk.text().contains("Suspend this person?"), "{}", desk.text());
    // the right button does the same
    desk.press("esc");
    let id = desk.cursor().unwrap().to_owned();
    desk.send(Msg::Input(Input::Menu(10, 9)));
    desk.draw();
    assert_ne!(desk.cursor(), Some(id.as_str()));
    assert!(desk.text().contains("enter or its key does it"), "{}", desk.text());
}

#[test]
fn a_click_on_a_head_sorts_and_turns_round() {
    let mut desk = Desk::users(120, 36);
    let click = |desk: &mut Desk, x: u16| {
        desk.send(Msg::Input(Input::Click(x, 3)));
        desk.draw();
    };
    click(&mut desk, 5);
    assert!(desk.text().contains("email ↑"), "{}", desk.text());
    click(&mut desk, 5);
    assert!(desk.text().contains("email ↓"), "{}", desk.text());
}

#[test]
fn one_jumps_to_what_belongs_to_a_row_and_back() {
    let mut desk = Desk::users(120, 36);
    desk.press("j t");
    assert_eq!(desk.model.screen, Screen::Events);
    assert!(desk.text().contains("Events › resourceId:li.wei1@"), "{}", desk.text());
    desk.press("esc");
    assert_eq!(desk.model.screen, Screen::Users);
    desk.press("w");
    assert!(desk.text().contains("Sessions › userId:li.wei1@"), "{}", desk.text());
    // on and on, and all the way back, each list as it was before
    desk.press("u");
    assert!(desk.text().contains("Users › ada0@"), "{}", desk.text());
    desk.press("esc");
    assert!(desk.text().contains("Sessions › userId:li.wei1@"), "{}", desk.text());
    desk.press("esc");
    assert_eq!(desk.model.screen, Screen::Users);
    assert!(!desk.text().contains("Users ›"), "{}", desk.text());
    desk.press("3");
    assert!(desk.text().contains("Sessions › revoked:null"), "{}", desk.text());
}

#[test]
fn what_is_typed_before_the_rows_are_there_is_done_when_they_are() {
    let mut desk = Desk::home(80, 24);
    desk.mood = Mood::Silent;
    desk.press("2 j j enter S");
    assert!(desk.model.overlay.is_none());
    desk.mood = Mood::Answers;
    desk.answer();
    desk.draw();
    assert!(desk.text().contains("Users › o.haddad2@example.com"), "{}", desk.text());
    // only moves are: nothing that changes something happens to a row that was not seen
    assert!(desk.model.overlay.is_none());
    // the same while a filter is under way
    desk.mood = Mood::Silent;
    desk.press("esc / status:active enter j");
    desk.mood = Mood::Answers;
    desk.answer();
    assert_eq!(desk.model.users.list.window.at(), Some(1));
}

#[test]
fn a_role_leads_to_those_who_have_it() {
    let mut desk = Desk::home(80, 24);
    desk.press("4 j u");
    assert!(desk.text().contains("Users › role:auditor"), "{}", desk.text());
    desk.press("esc");
    assert_eq!(desk.model.screen, Screen::Roles);
}

#[test]
fn sessions_say_whose_they_are() {
    let mut desk = Desk::home(120, 36);
    let names = |desk: &Desk| desk.log.iter().filter(|request| request.starts_with("Names")).count();
    let before = names(&desk);
    desk.press("3");
    let text = desk.text();
    assert!(text.contains("li.wei1@example.com") && text.contains("● this one"), "{text}");
    // the names come with the rows and are never asked for by themselves
    desk.press("j j j enter");
    assert!(desk.text().contains("kim3@example.com  ● active"), "{}", desk.text());
    assert_eq!(names(&desk), before);
    assert!(desk.log.iter().any(|request| request.contains(r#""include":"user""#)), "{:?}", desk.log);
}

#[test]
fn events_come_in_at_the_top_and_can_be_held_still() {
    let mut desk = Desk::home(120, 36);
    desk.press("5");
    desk.hear(Heard::Live);
    desk.hear(Heard::Rows(vec![event(121)]));
    assert_eq!(desk.model.events.window.get(0).unwrap().record.seq, 121);
    assert!(desk.text().contains("● live"), "{}", desk.text());
    // the cursor stays on its row
    desk.press("j j");
    let id = desk.cursor().unwrap().to_owned();
    desk.hear(Heard::Rows(vec![event(122)]));
    assert_eq!(desk.cursor(), Some(id.as_str()));
    desk.press("f");
    desk.hear(Heard::Rows(vec![event(123), event(124)]));
    assert_eq!(desk.model.events.window.get(0).unwrap().record.seq, 122);
    assert!(desk.text().contains("2 newer: press ."), "{}", desk.text());
    assert!(desk.text().contains("frozen"), "{}", desk.text());
}

#[test]
fn only_events_that_meet_the_filter_come_in() {
    let mut desk = Desk::home(120, 36);
    desk.press("5 / type:session.created enter");
    desk.hear(Heard::Live);
    let before = desk.model.events.window.get(0).unwrap().record.seq;
    desk.hear(Heard::Rows(vec![event(122)]));
    assert_eq!(desk.model.events.window.get(0).unwrap().record.seq, before);
    desk.hear(Heard::Rows(vec![event(125)]));
    assert_eq!(desk.model.events.window.get(0).unwrap().record.seq, 125);
}

#[test]
fn the_log_is_checked_and_a_break_is_not_to_be_overlooked() {
    let mut desk = Desk::home(120, 36);
    desk.press("6 v");
    assert!(desk.text().contains("● chain whole at 12:04:31Z"), "{}", desk.text());
    desk.broken = Some(77);
    desk.press("v");
    let text = desk.text();
    assert!(text.contains("chain broken") && text.contains("at row 77"), "{text}");
}

#[test]
fn another_daemon_looks_different_and_nothing_of_the_first_stays() {
    let mut desk = Desk::users(120, 36);
    desk.press("@");
    let text = desk.text();
    assert!(text.contains("prod") && text.contains("protected") && text.contains("read-only"), "{text}");
    desk.press("j enter");
    assert_eq!(desk.model.place.context.as_deref(), Some("prod"));
    assert_eq!(desk.model.place.protection, Protection::Confirm);
    assert!(desk.text().contains("protected: asks twice"), "{}", desk.text());
    assert_eq!(desk.model.screen, Screen::Home);
    assert!(desk.model.users.list.window.is_empty());
    desk.press(": context space use space archive enter 2 j S");
    assert!(desk.text().contains("this context is read-only"), "{}", desk.text());
}

#[test]
fn a_list_is_written_to_a_file_as_the_command_line_does() {
    let mut desk = Desk::users(120, 36);
    desk.press("/ status:active enter E");
    let text = desk.text();
    assert!(
        text.contains("bursar -c demo users list --filter status:active --all -o csv")
            && text.contains(">users-202608221204.csv"),
        "{text}"
    );
    desk.press("tab enter");
    assert_eq!(desk.exports[0].format, "jsonl");
    assert_eq!(desk.exports[0].path, "users-202608221204.jsonl");
    assert!(desk.exports[0].target.contains("filter%5Bstatus%5D=active"), "{:?}", desk.exports);
    assert!(desk.text().contains("250 rows are in users-202608221204.jsonl"), "{}", desk.text());
    // while it is written it can be stopped
    desk.press("esc E");
    desk.mood = Mood::Silent;
    desk.press("enter");
    let ticket = desk.open.last().unwrap().0;
    desk.send(Msg::Progress(ticket, 120));
    desk.draw();
    assert!(desk.text().contains("◐ 120 of 27 rows written…"), "{}", desk.text());
    desk.press("esc");
    assert!(desk.text().contains("the export was stopped"), "{}", desk.text());
    assert!(!desk.open.iter().any(|(open, _)| *open == ticket));
}

#[test]
fn what_went_wrong_can_be_read_and_copied() {
    let mut desk = Desk::users(120, 36);
    desk.mood = Mood::Refuses;
    desk.press("r !");
    let text = desk.text();
    assert!(text.contains("What went wrong") && text.contains("DATABASE_UNAVAILABLE"), "{text}");
    assert!(text.contains("nothing was changed; repeat later"), "{text}");
    desk.press("y");
    assert_eq!(desk.copied, ["req_01j9zq3v5tf8c8m1k2n3p4q5r6"]);
    desk.press("Y");
    assert!(desk.copied[1].contains("server: http://127.0.0.1:8460"), "{:?}", desk.copied);
}

#[test]
fn the_shell_is_a_key_away_but_not_from_a_form() {
    let mut desk = Desk::users(80, 24);
    desk.press("^z");
    assert_eq!(desk.stops, 1);
    desk.press("e ^z");
    assert_eq!(desk.stops, 1);
    desk.model.repaint = false;
    desk.send(Msg::Resumed);
    assert!(desk.model.repaint && desk.model.dirty);
}

#[test]
fn themes_go_round() {
    let mut desk = Desk::users(80, 24);
    for name in ["light", "mono", "high-contrast", "dark"] {
        desk.press("^t");
        assert!(desk.text().contains(&format!("theme: {name}")), "{}", desk.text());
    }
}
