//! Journeys that change something: forms, conflicts, roles, passwords, many at once, and taking back.

use bursar_shared::{
    error::{ApiError, ErrorCode},
    operations::{
        system::VerdictState,
        users::{BulkOutcome, BulkResult},
    },
};
use bursar_tui::{
    Protection,
    message::{Alarm, Input, Msg, Slot, Trouble},
};

use crate::support::{Desk, Mood, user};

/// Long enough to have read what is asked.
fn later(desk: &mut Desk) {
    desk.pass(std::time::Duration::from_millis(500));
}

fn carried(desk: &Desk) -> Vec<&String> {
    desk.log.iter().filter(|request| request.starts_with("Carry")).collect()
}

/// Agrees to what is asked.
fn agree(desk: &mut Desk) {
    later(desk);
    desk.press("tab enter");
}

#[test]
fn a_person_is_edited_and_only_what_was_typed_is_sent() {
    let mut desk = Desk::users(120, 36);
    desk.press("j e");
    assert!(desk.text().contains("Edit li.wei1@example.com"), "{}", desk.text());
    desk.press("tab ^u Li space Wei-Lin ^s");
    let text = desk.text();
    assert!(
        text.contains("Save these changes?") && text.contains("- Li Wei") && text.contains("+ Li Wei-Lin"),
        "{text}"
    );
    assert!(text.contains("bursar -c demo users update usr_"), "{text}");
    assert!(!text.contains("email       -"), "{text}");
    agree(&mut desk);
    let sent = carried(&desk)[0];
    assert!(
        sent.contains("Li Wei-Lin") && sent.contains("email: Keep") && sent.contains("Some(2)"),
        "{sent}"
    );
    assert!(desk.text().contains("saved li.wei1@example.com"), "{}", desk.text());
    assert_eq!(desk.model.users.list.window.current().unwrap().record.name.as_str(), "Li Wei-Lin");
}

#[test]
fn a_form_refuses_in_the_daemons_words_and_does_not_send() {
    let mut desk = Desk::users(120, 36);
    desk.press("e ^u ada tab");
    assert!(desk.text().contains("must be an email address like ada@example.com"), "{}", desk.text());
    let before = desk.log.len();
    desk.press("^s");
    assert_eq!(desk.log.len(), before);
    assert!(desk.text().contains("1 problem"), "{}", desk.text());
    // what was there comes back
    desk.press("^z");
    assert!(
        desk.text().contains("ada0@example.com") && !desk.text().contains("1 problem"),
        "{}",
        desk.text()
    );
}

#[test]
fn typing_is_not_lost_by_one_escape() {
    let mut desk = Desk::users(80, 24);
    desk.press("e x esc");
    assert!(desk.text().contains("esc again throws the typing away"), "{}", desk.text());
    desk.press("y");
    assert!(desk.text().contains("Edit ada0") && !desk.text().contains("esc again"), "{}", desk.text());
    desk.press("esc esc");
    assert!(!desk.text().contains("Edit ada0"));
    assert!(carried(&desk).is_empty());
}

#[test]
fn typing_outlives_the_session_for_whoever_typed_it() {
    let mut desk = Desk::users(120, 36);
    desk.press("j e tab ^u Half space typed");
    desk.refusal = Some(ApiError::new(ErrorCode::SessionRevoked, "The session was ended."));
    desk.press("^s");
    assert!(desk.text().contains("sign in"), "{}", desk.text());
    assert!(!desk.text().contains("Half typed"));
    desk.refusal = None;
    desk.press("correct-horse enter");
    assert!(
        desk.text().contains("Edit li.wei1@example.com") && desk.text().contains("Half typed"),
        "{}",
        desk.text()
    );
}

#[test]
fn facts_are_set_added_and_taken_out() {
    let mut desk = Desk::users(120, 36);
    // the first person has locale and team
    desk.press("e tab tab tab ^u tab ^u south tab plan=gold enter ^s");
    let text = desk.text();
    assert!(text.contains("- de-DE") && text.contains("+ south") && text.contains("+ gold"), "{text}");
    desk.press("Y");
    assert!(desk.copied[0].contains("--no-metadata locale"), "{:?}", desk.copied);
    agree(&mut desk);
    let metadata = &desk.model.users.list.window.current().unwrap().record.metadata.0;
    assert_eq!(metadata.get("locale"), None);
    assert_eq!(metadata.get("team").map(String::as_str), Some("south"));
    assert_eq!(metadata.get("plan").map(String::as_str), Some("gold"));
}

#[test]
fn a_person_is_made_and_taken_back() {
    let mut desk = Desk::users(120, 36);
    desk.press("N new@example.com tab New space Body tab right tab space");
    assert!(desk.text().contains("[ ] support"), "{}", desk.text());
    // auditor and support
    desk.press("j space j j j j space enter");
    assert!(desk.text().contains("auditor, support"), "{}", desk.text());
    desk.press("^s");
    let text = desk.text();
    assert!(text.contains("Create this person?") && text.contains("+ service"), "{text}");
    desk.press("Y");
    let command = "--role auditor --role support --kind service";
    assert!(desk.copied[0].contains(command), "{:?}", desk.copied);
    agree(&mut desk);
    assert!(desk.text().contains("created new@example.com"), "{}", desk.text());
    desk.press("Z");
    assert!(desk.text().contains("created new@example.com"), "{}", desk.text());
    desk.press("enter");
    assert!(desk.text().contains("Delete this person?"), "{}", desk.text());
    agree(&mut desk);
    assert!(desk.text().contains("undone: created new@example.com"), "{}", desk.text());
    desk.press("Z");
    assert!(desk.text().contains("undone"), "{}", desk.text());
}

#[test]
fn what_the_daemon_refuses_stands_beside_its_field() {
    let mut desk = Desk::users(120, 36);
    desk.press("N taken@example.com tab Some space Body");
    desk.refusal = Some(ApiError::new(ErrorCode::AlreadyExists, "The email is taken."));
    desk.press("^s");
    assert!(desk.text().contains("refused: The email is taken."), "{}", desk.text());
    desk.press("enter");
    let text = desk.text();
    assert!(
        text.contains("New user") && text.contains("✖ The email is taken.") && text.contains("Some Body"),
        "{text}"
    );
}

/// Two people edit the second person; the other one was first.
fn overtaken() -> Desk {
    let mut desk = Desk::users(120, 36);
    desk.press("j e tab ^u Mine");
    let mut theirs = user(1);
    theirs.version += 3;
    theirs.name = "Theirs".parse().unwrap();
    theirs.external_id = Some("crm-77".parse().unwrap());
    desk.overtaken = Some(theirs);
    desk.press("^s");
    desk
}

#[test]
fn two_people_edit_one_and_nothing_is_overwritten_unseen() {
    let mut desk = overtaken();
    let text = desk.text();
    assert!(text.contains("Somebody else saved li.wei1@example.com first"), "{text}");
    assert!(text.contains("Li Wei") && text.contains("Theirs") && text.contains("Mine"), "{text}");
    assert!(text.contains("crm-77"), "{text}");
    // the key that is hit most easily chooses for nobody
    desk.press("enter");
    assert!(desk.text().contains("whose name stays?"), "{}", desk.text());
    assert!(desk.text().contains("? Theirs") && desk.text().contains("? Mine"), "{}", desk.text());
    // nor does closing it: what was typed is still there
    desk.press("esc");
    assert!(desk.text().contains("Edit li.wei1") && desk.text().contains("Mine"), "{}", desk.text());
    desk.press("^s t enter");
    assert!(desk.text().contains("theirs stays"), "{}", desk.text());
    assert!(carried(&desk).is_empty());
    assert_eq!(desk.model.users.list.window.current().unwrap().record.name.as_str(), "Theirs");
}

#[test]
fn a_conflict_is_merged_onto_their_version() {
    let mut desk = overtaken();
    desk.press("m enter");
    let text = desk.text();
    assert!(text.contains("version 5") && text.contains("was: Theirs") && text.contains("crm-77"), "{text}");
    desk.press("^s");
    agree(&mut desk);
    let sent = carried(&desk)[0];
    assert!(
        sent.contains("Mine") && sent.contains("Some(5)") && sent.contains("external_id: Keep"),
        "{sent}"
    );
    let record = &desk.model.users.list.window.current().unwrap().record;
    assert_eq!((record.name.as_str(), record.external_id.as_ref().unwrap().as_str()), ("Mine", "crm-77"));
}

#[test]
fn a_change_of_state_that_was_overtaken_is_reviewed_anew() {
    let mut desk = Desk::users(120, 36);
    desk.press("j");
    let mut theirs = user(1);
    theirs.version += 1;
    theirs.name = "Theirs".parse().unwrap();
    desk.overtaken = Some(theirs);
    desk.press("S");
    let text = desk.text();
    assert!(text.contains("somebody changed them meanwhile") && text.contains("Theirs"), "{text}");
    assert!(carried(&desk).is_empty());
    agree(&mut desk);
    assert!(carried(&desk)[0].contains("Some(3)"), "{:?}", carried(&desk));
}

#[test]
fn roles_are_given_and_withdrawn_from_a_list() {
    let mut desk = Desk::users(120, 36);
    desk.press("R");
    assert!(desk.text().contains("[✓] support") && desk.text().contains("[ ] auditor"), "{}", desk.text());
    desk.press("j space j j j j space enter");
    let text = desk.text();
    assert!(text.contains("Change the roles of this person?"), "{text}");
    assert!(text.contains("+ auditor") && text.contains("- support"), "{text}");
    assert!(text.contains("--set"), "{text}");
    agree(&mut desk);
    assert_eq!(desk.model.users.list.window.current().unwrap().record.roles, ["auditor"]);
    // and taken back
    desk.press("Z enter");
    agree(&mut desk);
    assert_eq!(desk.model.users.list.window.current().unwrap().record.roles, ["support"]);
}

#[test]
fn a_token_is_shown_once_and_not_closed_by_a_slip() {
    let mut desk = Desk::users(80, 24);
    desk.press("P");
    agree(&mut desk);
    assert!(desk.text().contains("one-time.token"), "{}", desk.text());
    desk.press("esc");
    assert!(desk.text().contains("not copied yet"), "{}", desk.text());
    desk.press("y esc");
    assert_eq!(desk.copied, ["eyJhbGciOiJFZERTQSJ9.one-time.token"]);
    assert!(!desk.text().contains("one-time.token"));
    assert!(!format!("{:?}", desk.model.journal).contains("one-time"));
}

#[test]
fn many_are_changed_by_a_plan_and_each_says_what_became_of_it() {
    let mut desk = Desk::users(120, 36);
    // the fifth is suspended already
    desk.press("space space space space space S");
    let text = desk.text();
    assert!(text.contains("Suspend 5 marked people?"), "{text}");
    assert!(text.contains("4 will be suspended, 1 will not and are left out"), "{text}");
    assert!(text.contains("They do not stand where this begins."), "{text}");
    assert!(text.contains("Suspend 4"), "{text}");
    agree(&mut desk);
    let sent = carried(&desk)[0];
    assert_eq!(sent.matches("Item {").count(), 4, "{sent}");
    let text = desk.text();
    assert!(text.contains("4 suspended"), "{text}");
    desk.press("esc");
    // who was left out stays marked
    assert_eq!(desk.model.users.list.window.marks().len(), 1);
    desk.press("Z enter");
    assert!(desk.text().contains("Activate 4 marked people?"), "{}", desk.text());
}

#[test]
fn a_reason_goes_with_the_change() {
    let mut desk = Desk::users(80, 24);
    desk.press("j S tab tab asked space by space phone enter Y");
    assert!(desk.copied[0].ends_with("--reason 'asked by phone'"), "{:?}", desk.copied);
    agree(&mut desk);
    assert!(carried(&desk)[0].contains("asked by phone"), "{:?}", carried(&desk));
}

#[test]
fn pasted_and_held_keys_agree_to_nothing() {
    let mut desk = Desk::users(80, 24);
    desk.press("j S tab");
    later(&mut desk);
    desk.send(Msg::Input(Input::Paste("\r\n\r".into())));
    assert!(carried(&desk).is_empty());
    // enter, held: the first one would agree, had it not come with others before it was read
    let mut desk = Desk::users(80, 24);
    desk.press("j S tab enter");
    for _ in 0..30 {
        desk.pass(std::time::Duration::from_millis(33));
        desk.press("enter");
    }
    assert!(carried(&desk).is_empty(), "{:?}", desk.log);
    // nor does the first time that a terminal repeats it, which takes longer than all others
    later(&mut desk);
    desk.press("enter");
    assert!(carried(&desk).is_empty(), "{:?}", desk.log);
    desk.pass(std::time::Duration::from_millis(1_100));
    desk.press("enter");
    assert_eq!(carried(&desk).len(), 1);
}

#[test]
fn lost_answers_of_forms_and_of_many_are_found_by_their_key() {
    let mut desk = Desk::users(120, 36);
    desk.press("j e tab ^u Mine ^s");
    later(&mut desk);
    desk.mood = Mood::Unreachable;
    desk.press("tab enter");
    assert!(desk.text().contains("outcome unknown"), "{}", desk.text());
    let mut after = user(1);
    after.name = "Mine".parse().unwrap();
    after.version += 1;
    desk.verdict.state = VerdictState::Done;
    desk.verdict.data = Some(serde_json::to_value(&after).unwrap());
    desk.mood = Mood::Answers;
    desk.ring(Alarm::Pulse);
    assert!(desk.text().contains("saved li.wei1@example.com"), "{}", desk.text());

    let mut desk = Desk::users(120, 36);
    desk.press("space space S");
    later(&mut desk);
    desk.mood = Mood::Unreachable;
    desk.press("tab enter");
    assert!(desk.text().contains("outcome unknown"), "{}", desk.text());
    let outcome = |index: u32| BulkOutcome { index, status: 200, data: Some(user(index)), error: None };
    desk.verdict.state = VerdictState::Done;
    desk.verdict.data =
        Some(serde_json::to_value(BulkResult { items: vec![outcome(0), outcome(1)] }).unwrap());
    desk.mood = Mood::Answers;
    desk.ring(Alarm::Pulse);
    assert!(desk.text().contains("2 suspended"), "{}", desk.text());
    assert_eq!(carried(&desk).len(), 1);
}

#[test]
fn leaving_with_an_unknown_outcome_is_asked_about() {
    let mut desk = Desk::users(80, 24);
    desk.press("j S");
    later(&mut desk);
    desk.mood = Mood::Unreachable;
    desk.press("tab enter esc q");
    assert!(desk.model.exit.is_none());
    assert!(desk.text().contains("again leaves it to bursar pending"), "{}", desk.text());
    // something else in between takes it back
    desk.press("j q");
    assert!(desk.model.exit.is_none());
    desk.press("q");
    assert!(desk.model.exit.is_some());
}

#[test]
fn a_token_whose_answer_was_lost_is_not_made_up() {
    let mut desk = Desk::users(80, 24);
    desk.press("P");
    later(&mut desk);
    desk.mood = Mood::Unreachable;
    desk.press("tab enter");
    desk.verdict.state = VerdictState::Done;
    desk.verdict.data = Some(serde_json::json!({ "resetToken": null, "expiresAt": desk.model.now }));
    desk.mood = Mood::Answers;
    desk.ring(Alarm::Pulse);
    assert!(desk.text().contains("Reset it again to get"), "{}", desk.text());
}

#[test]
fn sessions_end_one_by_one_or_all_of_a_person() {
    let mut desk = Desk::home(120, 36);
    desk.press("3 K");
    assert!(desk.text().contains("it is this one: sign out with ^o"), "{}", desk.text());
    desk.press("j K");
    assert!(desk.text().contains("End this session?"), "{}", desk.text());
    agree(&mut desk);
    assert!(desk.model.sessions.window.current().unwrap().record.revoked_at.is_some());
    desk.press("j A");
    assert!(desk.text().contains("End all sessions of this person?"), "{}", desk.text());
    agree(&mut desk);
    assert!(desk.model.sessions.window.current().unwrap().record.revoked_at.is_some());
}

#[test]
fn nothing_is_changed_where_nothing_may_be() {
    let mut desk = Desk::users(120, 36);
    desk.model.place.protection = Protection::ReadOnly;
    for key in ["S", "A", "D", "K", "P", "R", "e", "N"] {
        desk.press(key);
        let text = desk.text();
        assert!(text.contains(" is off: "), "{key}: {text}");
        assert!(desk.model.overlay.is_none());
    }
    desk.model.place.protection = Protection::Open;
    desk.mood = Mood::Unreachable;
    desk.ring(Alarm::Pulse);
    for key in ["S", "D", "e", "N"] {
        desk.press(key);
        assert!(desk.text().contains("the daemon cannot be reached"), "{key}");
    }
    assert!(!desk.waits(Slot::Change));
}

/// A change is sent, and this comes back instead of an answer.
fn answered_by(trouble: Trouble) -> Desk {
    let mut desk = Desk::users(80, 24);
    desk.press("j S");
    later(&mut desk);
    desk.mood = Mood::Silent;
    desk.press("tab enter");
    let (ticket, _) = desk.open.remove(0);
    desk.send(Msg::Answer(ticket, Err(trouble)));
    desk.draw();
    desk
}

#[test]
fn an_answer_that_makes_no_sense_is_asked_about_by_itself_while_the_daemon_is_there() {
    let mut desk = answered_by(Trouble::Other("the answer is no JSON".into()));
    let text = desk.text();
    assert!(text.contains("outcome unknown") && text.contains("● live"), "{text}");
    // ^c asks before it is left behind
    desk.press("^c");
    assert!(desk.model.exit.is_none() && desk.text().contains("bursar pending"), "{}", desk.text());
    desk.mood = Mood::Refuses;
    desk.ring(Alarm::Outcome);
    assert!(desk.text().contains("outcome unknown"), "{}", desk.text());
    let mut after = user(1);
    after.status = bursar_shared::field::UserStatus::Suspended;
    desk.verdict.state = VerdictState::Done;
    desk.verdict.data = Some(serde_json::to_value(&after).unwrap());
    desk.mood = Mood::Answers;
    assert!(desk.alarms.contains(&Alarm::Outcome));
    desk.ring(Alarm::Outcome);
    assert!(desk.text().contains("suspended li.wei1@example.com"), "{}", desk.text());
    assert_eq!(carried(&desk).len(), 1);
    assert!(!bursar_tui::widgets::review::Review::unsettled(&desk.model));
}

#[test]
fn what_was_never_sent_is_not_called_unknown() {
    for trouble in [Trouble::Local("the journal: disk full".into()), Trouble::Unreachable("refused".into())] {
        let desk = answered_by(trouble);
        let text = desk.text();
        assert!(text.contains("not sent, so nothing was changed") && !text.contains("unknown"), "{text}");
    }
}

#[test]
fn a_session_that_ends_says_that_a_change_was_left_behind() {
    let mut desk = answered_by(Trouble::Other("the answer is no JSON".into()));
    desk.press("esc");
    desk.mood = Mood::Answers;
    desk.sign_out();
    assert!(desk.text().contains("bursar pending list"), "{}", desk.text());
    assert!(bursar_tui::widgets::review::Review::unsettled(&desk.model));
}
