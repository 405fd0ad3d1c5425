//! What is agreed to is what was read: held keys, accounts that move meanwhile, answers that were lost.

use std::time::Duration;

use bursar_shared::{
    error::{ApiError, ErrorCode},
    operations::{accounts::Account, system::VerdictState},
};
use bursar_tui::{
    Keymap,
    change::Effect,
    message::{Alarm, Answer, Heard, Input, Msg, Request, Slot, Trouble},
    widgets::review::Review,
};

use crate::{
    books::{account, moved_event, transfer},
    support::{Desk, Mood, user},
};

fn count(desk: &Desk, request: &str) -> usize {
    desk.log.iter().filter(|one| one.starts_with(request)).count()
}

fn carried(desk: &Desk) -> Vec<&String> {
    desk.log.iter().filter(|request| request.starts_with("Carry")).collect()
}

/// Long enough to have read what is asked.
fn later(desk: &mut Desk) {
    desk.pass(Duration::from_millis(500));
}

/// A transfer of 12.50 EUR from the second account to the third, under review; the log is followed.
fn sending() -> Desk {
    let mut desk = Desk::home(120, 36);
    desk.press("7 j T 1002 tab 12.5 tab tab tab rent ^s");
    desk.hear(Heard::Live);
    later(&mut desk);
    desk
}

/// The third account, which holds 74.68 EUR, is to be closed, and its money to go elsewhere.
fn closing() -> Desk {
    let mut desk = Desk::home(120, 36);
    desk.press("7 j j D 1004 tab ^s");
    desk.hear(Heard::Live);
    later(&mut desk);
    desk
}

/// The n-th account when a Euro more has come to the third.
fn richer(n: u32) -> Account {
    let mut account = account(n);
    if n == 2 {
        account.balances.posted += 100;
        account.entry_seq += 1;
    }
    account
}

/// A Euro comes to the third account.
fn one_comes(desk: &mut Desk, seq: i64) {
    let moved = moved_event(desk, seq, 4, 2, 100);
    desk.account = richer;
    desk.hear(Heard::Rows(vec![moved]));
}

/// Enter is held down: it comes again after half a second, and then all the time.
fn hold_enter(desk: &mut Desk) {
    desk.press("enter");
    desk.pass(Duration::from_millis(660));
    for _ in 0..60 {
        desk.press("enter");
        desk.pass(Duration::from_millis(33));
    }
}

#[test]
fn an_amount_is_typed_from_wherever_one_stands() {
    let mut desk = sending();
    desk.press("12.50 enter tab backtab enter");
    assert_eq!(carried(&desk).len(), 1, "{}", desk.text());
}

#[test]
fn one_enter_that_is_held_moves_no_money() {
    let mut desk = sending();
    desk.press("tab 12.50");
    hold_enter(&mut desk);
    assert!(carried(&desk).is_empty(), "{:?}", carried(&desk));
    assert!(desk.text().contains("let go of enter"), "{}", desk.text());
    // once it was let go, it presses
    desk.pass(Duration::from_millis(1_100));
    desk.press("enter");
    assert_eq!(carried(&desk).len(), 1);
    // another key says the same as a pause
    let mut desk = sending();
    desk.press("tab 12.50 enter enter");
    assert!(carried(&desk).is_empty());
    desk.press("tab backtab enter");
    assert_eq!(carried(&desk).len(), 1);
}

#[test]
fn a_held_enter_neither_leaves_the_reason_nor_agrees_twice() {
    let mut desk = Desk::users(120, 36);
    desk.press("j S tab tab asked");
    hold_enter(&mut desk);
    assert!(desk.text().contains("Suspend this person?"), "{}", desk.text());
    // a protected context asks twice, and means two keys
    let mut desk = Desk::users(120, 36);
    desk.model.place.protection = bursar_tui::Protection::Confirm;
    desk.press("j S tab");
    later(&mut desk);
    hold_enter(&mut desk);
    assert!(desk.text().contains("press the button once more"), "{}", desk.text());
    assert!(carried(&desk).is_empty());
    later(&mut desk);
    desk.press("tab enter");
    assert_eq!(carried(&desk).len(), 1);
}

#[test]
fn a_clock_that_is_set_arms_nothing() {
    let mut desk = Desk::users(80, 24);
    desk.press("j S tab");
    desk.model.now = desk.model.now + Duration::from_secs(3_600);
    desk.press("enter");
    assert!(carried(&desk).is_empty());
    // nor does one that was set back keep it from working
    desk.model.now = bursar_shared::time::Timestamp::from_micros(0);
    desk.pass(Duration::from_millis(1_100));
    desk.press("enter");
    assert_eq!(carried(&desk).len(), 1);
}

#[test]
fn what_an_account_holds_that_is_closed_is_what_was_typed() {
    let mut desk = closing();
    assert!(desk.text().contains("type 74.68"), "{}", desk.text());
    desk.press("tab 74.68 tab");
    desk.mood = Mood::Silent;
    one_comes(&mut desk, 121);
    // what it would move is not known: neither key nor click sends it
    desk.press("enter tab tab enter");
    let go = desk.drawn.hits.iter().any(|(_, hit)| *hit == bursar_tui::widgets::canvas::Hit::Button(1));
    assert!(carried(&desk).is_empty() && !go);
    assert!(desk.text().contains("Close this account for ever?"), "{}", desk.text());
    desk.mood = Mood::Answers;
    desk.answer();
    desk.draw();
    let text = desk.text();
    assert!(text.contains("75.68 EUR goes to 1004") && text.contains("✖ is not 75.68"), "{text}");
    later(&mut desk);
    desk.press("tab enter");
    assert!(desk.text().contains("the amount comes first"), "{}", desk.text());
    desk.press("^u 75.68 tab");
    desk.pass(Duration::from_millis(1_100));
    desk.press("enter");
    assert_eq!(carried(&desk).len(), 1);
    assert!(carried(&desk)[0].contains("posted: 7568"), "{:?}", carried(&desk));
}

#[test]
fn an_account_is_read_before_it_is_closed_however_old_its_row_is() {
    let mut desk = Desk::home(120, 36);
    desk.press("7 j j D 1004 tab");
    desk.account = richer;
    desk.press("^s");
    assert!(desk.text().contains("type 75.68"), "{}", desk.text());
}

#[test]
fn money_that_moves_while_it_is_asked_is_not_missed() {
    let mut desk = Desk::home(120, 36);
    desk.press("7 j j D 1004 tab");
    desk.hear(Heard::Live);
    desk.mood = Mood::Silent;
    desk.press("^s");
    // the answer was made before the Euro came, and comes after it is heard of
    let event = moved_event(&desk, 121, 4, 2, 100);
    desk.hear(Heard::Rows(vec![event]));
    desk.mood = Mood::Answers;
    desk.answer();
    desk.draw();
    assert!(desk.text().contains("asking again"), "{}", desk.text());
    let asked = count(&desk, "Rehearse");
    desk.account = richer;
    desk.ring(Alarm::Again);
    assert_eq!(count(&desk, "Rehearse"), asked + 1);
    assert!(desk.text().contains("type 75.68"), "{}", desk.text());
}

#[test]
fn a_busy_account_can_be_reviewed() {
    let mut desk = sending();
    let asked = count(&desk, "Rehearse");
    desk.press("tab");
    // an event every 100 ms for six seconds, while the amount is typed and agreed to
    let mut typed = "1 2 . 5 0".split(' ');
    let mut paid = 0;
    for tick in 0..60 {
        paid += 1;
        let event = moved_event(&desk, 121 + tick, 1, 4, 1);
        desk.hear(Heard::Rows(vec![event]));
        if tick % 20 == 19 {
            desk.ring(Alarm::Again);
        }
        if tick % 5 == 0
            && let Some(key) = typed.next()
        {
            desk.press(key);
        }
        desk.pass(Duration::from_millis(100));
    }
    assert_eq!(paid, 60);
    assert!(count(&desk, "Rehearse") <= asked + 4, "{}", count(&desk, "Rehearse") - asked);
    assert!(desk.text().contains("✓ the button works"), "{}", desk.text());
    desk.press("tab enter");
    assert_eq!(carried(&desk).len(), 1, "{}", desk.text());
}

#[test]
fn nothing_is_agreed_to_while_it_is_asked_what_would_happen() {
    let mut desk = Desk::home(120, 36);
    desk.press("7 j j");
    desk.press("D 1004 tab ^s");
    later(&mut desk);
    desk.press("tab 74.68");
    // somebody else saved, so it is asked anew while the amount is typed
    let mut theirs = account(2);
    theirs.version += 1;
    desk.mood = Mood::Silent;
    desk.hear(Heard::Live);
    let event = moved_event(&desk, 121, 4, 2, 100);
    desk.hear(Heard::Rows(vec![event]));
    let (ticket, _) = desk.open.pop().unwrap();
    let stale = ApiError::new(ErrorCode::VersionMismatch, "Somebody else saved first.");
    let error = stale.with(serde_json::json!({ "current": theirs }));
    desk.send(Msg::Answer(ticket, Err(Trouble::Refused { error, request_id: None, retry_at: None })));
    desk.draw();
    assert!(desk.text().contains("asking the daemon what would happen"), "{}", desk.text());
    desk.press("tab enter tab enter tab tab enter");
    for _ in 0..4 {
        later(&mut desk);
        desk.press("tab enter");
    }
    assert!(carried(&desk).is_empty(), "{:?}", carried(&desk));
}

#[test]
fn nothing_is_agreed_to_while_the_daemon_cannot_be_reached() {
    let mut desk = sending();
    desk.press("12.50 tab");
    assert!(desk.text().contains("✓ the button works"), "{}", desk.text());
    desk.hear(Heard::Lost(Trouble::Unreachable("connection refused".into())));
    let text = desk.text();
    assert!(text.contains("nothing can be sent, and what stands here may be old"), "{text}");
    assert!(!text.contains("✓ the button works") && !text.contains("this is what will happen"), "{text}");
    let go = desk.drawn.hits.iter().any(|(_, hit)| *hit == bursar_tui::widgets::canvas::Hit::Button(1));
    assert!(!go, "{text}");
    later(&mut desk);
    desk.press("tab tab tab enter");
    assert!(carried(&desk).is_empty(), "{}", desk.text());
    // what was typed is still there when it is back, and it is asked anew what would happen
    let mut desk = sending();
    desk.press("12.50 tab");
    desk.hear(Heard::Lost(Trouble::Unreachable("connection refused".into())));
    desk.pass(Duration::from_secs(3));
    let asked = count(&desk, "Rehearse");
    desk.hear(Heard::Live);
    assert_eq!(count(&desk, "Rehearse"), asked + 1);
    assert!(desk.text().contains("✓ the button works"), "{}", desk.text());
    // the enter that was meant for something else presses nothing
    desk.press("tab tab enter");
    assert!(carried(&desk).is_empty() && desk.text().contains("not so fast"), "{}", desk.text());
    desk.pass(Duration::from_millis(1_100));
    desk.press("enter");
    assert_eq!(carried(&desk).len(), 1, "{}", desk.text());
    // of a person, too
    let mut desk = Desk::users(80, 24);
    desk.hear(Heard::Live);
    desk.press("j S tab");
    desk.hear(Heard::Lost(Trouble::Unreachable("connection refused".into())));
    later(&mut desk);
    desk.press("enter");
    assert!(
        carried(&desk).is_empty() && !desk.text().contains("this is what will happen"),
        "{}",
        desk.text()
    );
}

/// The answer to a change of a person is lost, and its review closed.
fn left_open() -> Desk {
    let mut desk = Desk::users(120, 36);
    desk.press("j S");
    later(&mut desk);
    desk.press("tab enter");
    desk.press("j S tab");
    later(&mut desk);
    desk.mood = Mood::Silent;
    desk.press("enter");
    let (ticket, _) = desk.open.remove(0);
    desk.send(Msg::Answer(ticket, Err(Trouble::Other("the answer is no JSON".into()))));
    desk.press("esc");
    desk.mood = Mood::Answers;
    desk
}

#[test]
fn nothing_is_undone_while_an_outcome_is_unknown() {
    let mut desk = left_open();
    let asked = count(&desk, "Rehearse");
    desk.press("Z");
    assert!(desk.text().contains("undo is off: what became of the change before"), "{}", desk.text());
    assert_eq!(count(&desk, "Rehearse"), asked);
    assert!(desk.model.pending.is_some());
}

#[test]
fn what_is_undone_is_what_was_chosen() {
    let mut desk = Desk::users(120, 36);
    for keys in ["j S", "j S"] {
        desk.press(keys);
        later(&mut desk);
        desk.press("tab enter");
    }
    desk.press("Z");
    // another change is written down above while one chooses
    let newest = desk.model.journal[0].clone();
    desk.model.journal.push_front(bursar_tui::model::Deed { key: "another".into(), back: None, ..newest });
    desk.press("enter");
    let text = desk.text();
    assert!(text.contains("Activate this person?") && text.contains("o.haddad2@example.com"), "{text}");
}

#[test]
fn what_is_known_of_a_change_that_nobody_looks_at_is_said_and_opens_no_box() {
    let mut desk = left_open();
    desk.press(": theme");
    desk.ring(Alarm::Outcome);
    let text = desk.text();
    assert!(text.contains("the daemon knows nothing of a change (a opens it)"), "{text}");
    // the key was meant for the list, and goes there
    desk.press("esc j q");
    let text = desk.text();
    assert!(!text.contains("Suspend this person?") && text.contains("leaves it to bursar pending"), "{text}");
    desk.press("j");
    assert!(desk.text().contains("1 change without an answer (a)"), "{}", desk.text());
    desk.press("a");
    let text = desk.text();
    assert!(text.contains("Suspend this person?") && text.contains("knows nothing of it"), "{text}");
    // it could not be asked about: nothing new is known, and nothing is said
    let mut desk = left_open();
    desk.mood = Mood::Refuses;
    desk.press("E");
    desk.ring(Alarm::Outcome);
    desk.press("esc");
    assert!(!desk.text().contains("Suspend this person?"), "{}", desk.text());
    assert!(desk.model.pending.is_some());
    // it was refused: what was typed comes back with the key that opens it
    let mut desk = left_open();
    desk.verdict.state = VerdictState::Done;
    desk.verdict.error = Some(ApiError::new(ErrorCode::Forbidden, "You may not."));
    desk.ring(Alarm::Outcome);
    assert!(desk.text().contains("a change was refused (a shows it)"), "{}", desk.text());
    assert!(!Review::unsettled(&desk.model));
    desk.press("j a");
    assert!(desk.text().contains("refused: You may not."), "{}", desk.text());
    // it was done: a word says so, and what is open stays
    let mut desk = left_open();
    desk.verdict.state = VerdictState::Done;
    desk.verdict.data = Some(serde_json::to_value(user(2)).unwrap());
    desk.press("x");
    desk.ring(Alarm::Outcome);
    assert!(desk.model.overlay.is_some());
    assert!(desk.text().contains("suspended o.haddad2@example.com"), "{}", desk.text());
}

/// A transfer that the daemon knows nothing of, and that was left.
fn left_without_an_answer() -> Desk {
    let mut desk = sending();
    desk.press("12.50 tab");
    desk.mood = Mood::Silent;
    desk.press("enter");
    let at = desk.open.iter().position(|(_, request)| matches!(request, Request::Carry(..))).unwrap();
    let (ticket, _) = desk.open.remove(at);
    desk.send(Msg::Answer(ticket, Err(Trouble::Lost("the connection was closed".into()))));
    desk.mood = Mood::Answers;
    desk.ring(Alarm::Pulse);
    assert!(desk.text().contains("knows nothing of it: send it again?"), "{}", desk.text());
    later(&mut desk);
    desk.press("q");
    desk
}

#[test]
fn one_that_was_left_without_an_answer_is_remembered() {
    let mut desk = left_without_an_answer();
    let text = desk.text();
    assert!(text.contains("not sent again, and it may still be made: a asks again"), "{text}");
    assert!(!text.contains("nothing was changed"), "{text}");
    desk.press("1");
    let text = desk.text();
    assert!(text.contains("Money needs you") && text.contains("1 change without an answer:"), "{text}");
    assert!(text.contains("move 12.50 EUR: 1001"), "{text}");
    desk.resize(80, 24);
    assert!(desk.text().contains("1 change without an answer: move 12.50 EUR"), "{}", desk.text());
    // leaving anything else says no less
    desk.press("7 T esc esc");
    assert!(desk.text().contains("no more was changed; 1 change without an answer (a)"), "{}", desk.text());
    desk.press("q");
    assert!(desk.model.exit.is_none() && desk.text().contains("bursar pending"), "{}", desk.text());
    let titles = Review::open_titles(&desk.model);
    assert!(matches!(&titles[..], [one] if one.starts_with("move 12.50 EUR: 1001")), "{titles:?}");
}

#[test]
fn the_same_money_is_not_moved_twice_unwarned() {
    let mut desk = left_without_an_answer();
    desk.press("7 T 1002 tab 12.5 tab tab tab rent ^s");
    let text = desk.text();
    assert!(text.contains("Move 12.50 EUR?") && text.contains("both may be made"), "{text}");
    // another amount is another transfer
    desk.press("esc esc esc T 1002 tab 12.6 tab tab tab rent ^s");
    let text = desk.text();
    assert!(text.contains("Move 12.60 EUR?") && !text.contains("both may be made"), "{text}");
}

#[test]
fn one_that_was_left_is_asked_about_before_it_is_sent_again() {
    // it was made meanwhile, by whoever resumed it
    let mut desk = left_without_an_answer();
    desk.verdict.state = VerdictState::Done;
    desk.verdict.data = Some(serde_json::json!({ "made": "elsewhere" }));
    desk.press("a");
    assert!(desk.text().contains("moved 12.50 EUR"), "{}", desk.text());
    assert_eq!(carried(&desk).len(), 1);
    assert!(!Review::unsettled(&desk.model));
    desk.press("j a");
    assert!(desk.model.overlay.is_none());
    // nothing is known of it: the same is sent again, under the same key
    let mut desk = left_without_an_answer();
    desk.press("a");
    later(&mut desk);
    desk.press("tab enter");
    let sent = carried(&desk);
    assert_eq!(sent.len(), 2, "{}", desk.text());
    assert_eq!(sent[0], sent[1]);
    assert!(!Review::unsettled(&desk.model));
}

#[test]
fn one_that_was_left_is_forgotten_by_two_keys() {
    let mut desk = left_without_an_answer();
    desk.press("a D j D");
    assert!(desk.forgotten.is_empty() && desk.text().contains("D once more forgets it"), "{}", desk.text());
    later(&mut desk);
    desk.press("D");
    assert_eq!(desk.forgotten.len(), 1);
    assert!(desk.text().contains("look whether it was made"), "{}", desk.text());
    assert!(!Review::unsettled(&desk.model) && desk.model.overlay.is_none());
}

#[test]
fn one_that_was_left_waits_for_whoever_made_it() {
    let mut desk = left_without_an_answer();
    desk.sign_out();
    desk.sign_in();
    desk.press("j");
    assert!(desk.text().contains("1 change without an answer (a)"), "{}", desk.text());
    // somebody else does not see it, but whoever leaves is told
    desk.sign_out();
    desk.me = 5;
    desk.sign_in();
    desk.press("j");
    assert!(!desk.text().contains("without an answer"), "{}", desk.text());
    assert_eq!(desk.model.left_behind.len(), 1);
}

/// The daemon knows nothing of a transfer whose answer was lost.
fn lost() -> Desk {
    let mut desk = Desk::home(120, 36);
    desk.press("7 j F tab tab asked enter");
    later(&mut desk);
    desk.mood = Mood::Silent;
    desk.press("tab enter");
    let (ticket, _) = desk.open.remove(0);
    desk.send(Msg::Answer(ticket, Err(Trouble::Other("the answer is no JSON".into()))));
    desk.mood = Mood::Answers;
    desk.ring(Alarm::Outcome);
    assert!(desk.text().contains("knows nothing of it"), "{}", desk.text());
    desk
}

#[test]
fn what_is_sent_again_is_the_same() {
    let mut desk = lost();
    later(&mut desk);
    // its reason is part of it
    desk.press("r more backtab more");
    desk.send(Msg::Input(Input::Paste("and more".into())));
    desk.press("enter");
    let sent = carried(&desk);
    assert_eq!(sent.len(), 2, "{}", desk.text());
    assert_eq!(sent[0], sent[1]);
}

#[test]
fn a_refusal_of_the_second_time_says_nothing_about_the_first() {
    let mut desk = lost();
    later(&mut desk);
    desk.mood = Mood::Silent;
    desk.press("tab enter");
    let (ticket, _) = desk.open.remove(0);
    let error = ApiError::new(ErrorCode::RateLimited, "Too much at once.");
    desk.send(Msg::Answer(ticket, Err(Trouble::Refused { error, request_id: None, retry_at: None })));
    desk.draw();
    assert!(desk.text().contains("outcome unknown"), "{}", desk.text());
    assert!(desk.alarms.contains(&Alarm::Outcome));
}

#[test]
fn one_that_the_daemon_does_not_know_is_not_called_settled() {
    let mut desk = lost();
    assert!(Review::unsettled(&desk.model));
    desk.press("esc");
    assert!(desk.text().contains("bursar pending list has it too"), "{}", desk.text());
}

#[test]
fn a_verdict_that_cannot_be_read_is_one() {
    let mut desk = sending();
    desk.press("tab 12.50 tab");
    desk.mood = Mood::Unreachable;
    desk.press("enter");
    desk.verdict.state = VerdictState::Done;
    desk.verdict.data = Some(serde_json::json!({ "made": "by a later version" }));
    desk.mood = Mood::Answers;
    desk.ring(Alarm::Pulse);
    let text = desk.text();
    assert!(text.contains("moved 12.50 EUR") && text.contains("cannot be read"), "{text}");
    assert!(!text.contains("knows nothing"), "{text}");
    assert!(!Review::unsettled(&desk.model));
    assert_eq!(desk.model.journal.len(), 1);
}

#[test]
fn a_change_that_nobody_signed_in_for_was_not_done() {
    let mut desk = Desk::users(80, 24);
    desk.press("j S tab");
    later(&mut desk);
    desk.mood = Mood::Silent;
    desk.press("enter");
    let (ticket, _) = desk.open.remove(0);
    let error = ApiError::new(ErrorCode::SessionRevoked, "The session was ended.");
    let turned_away = Trouble::Refused { error, request_id: None, retry_at: None };
    desk.send(Msg::Answer(ticket, Err(turned_away.clone())));
    desk.draw();
    assert!(desk.text().contains("sign in") && !Review::unsettled(&desk.model), "{}", desk.text());
    assert!(!desk.text().contains("no known outcome"), "{}", desk.text());
    // when it is only said of the second time, nobody knows about the first
    let mut desk = lost();
    later(&mut desk);
    desk.mood = Mood::Silent;
    desk.press("tab enter");
    let (ticket, _) = desk.open.remove(0);
    desk.send(Msg::Answer(ticket, Err(turned_away)));
    assert!(Review::unsettled(&desk.model));
}

#[test]
fn accounts_are_called_by_their_names_as_soon_as_these_are_known() {
    let mut desk = Desk::home(120, 36);
    // what the accounts are called is asked for, and not answered yet
    desk.mood = Mood::Silent;
    desk.press("8");
    let at = desk.open.iter().position(|(_, request)| matches!(request, Request::Transfers(_))).unwrap();
    let (ticket, request) = desk.open.remove(at);
    let Request::Transfers(_) = &request else { panic!("{request:?}") };
    let answer = crate::books::answer(&desk, request);
    desk.send(Msg::Answer(ticket, Ok(answer)));
    assert!(desk.waits(Slot::Labels), "{:?}", desk.log);
    desk.press("j V");
    desk.draw();
    assert!(desk.text().contains("Let go of"), "{}", desk.text());
    let brief = desk.model.money.called(transfer(1).from_account_id);
    assert!(desk.text().contains(&brief), "{}", desk.text());
    // the review reads both accounts, so it can say what they are called
    let at = desk.open.iter().position(|(ticket, _)| ticket.slot == Slot::Change).unwrap();
    let (ticket, request) = desk.open.remove(at);
    let Request::Rehearse(change, _) = request else { panic!("{request:?}") };
    let bursar_tui::change::Change::Money(deed) = &change else { panic!("{change:?}") };
    let effect: Effect = crate::books::changed(&desk, deed);
    desk.send(Msg::Answer(ticket, Ok(Answer::Rehearsed(effect))));
    desk.draw();
    later(&mut desk);
    desk.mood = Mood::Answers;
    desk.press("tab enter");
    assert!(desk.text().contains("1001 Corner coffee → 1009"), "{}", desk.text());
}

#[test]
fn sentences_name_the_keys_that_are_in_force() {
    let own = [("app.undo", "^x"), ("user.suspend", "^e"), ("list.refresh", "f5"), ("list.down", "h")];
    let own = own.map(|(name, key)| (name.to_owned(), vec![key.to_owned()]));
    let mut desk = Desk::users(120, 36);
    desk.model.keys = Keymap::new(&own.into()).unwrap();
    desk.draw();
    desk.press("h R j space enter");
    assert!(desk.text().contains("^x gives the old roles again"), "{}", desk.text());
    desk.press("esc h h h A");
    assert!(desk.text().contains("^e suspends them again"), "{}", desk.text());
    desk.press("tab");
    later(&mut desk);
    desk.mood = Mood::Silent;
    desk.press("enter");
    let (ticket, _) = desk.open.remove(0);
    desk.send(Msg::Answer(ticket, Err(Trouble::Other("the answer is no JSON".into()))));
    desk.press("esc");
    assert!(desk.text().contains("f5 asks now"), "{}", desk.text());
    desk.press("D");
    assert!(desk.text().contains("not known yet: f5 asks"), "{}", desk.text());
}
