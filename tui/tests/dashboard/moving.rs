//! Journeys about money: statements that add up, transfers that are typed before they move, and what the
//! log says meanwhile.

use bursar_shared::{
    error::{ApiError, ErrorCode},
    operations::{accounts::Account, system::VerdictState},
    permission::{Permission, Permissions},
};
use bursar_tui::{
    message::{Alarm, Heard, Input, Msg, Slot},
    screens::statement::Sum,
};

use crate::{
    books::{account, account_id, entry, moved_event, transfer},
    support::{Desk, Mood},
};

/// Long enough to have read what is asked.
fn later(desk: &mut Desk) {
    desk.pass(std::time::Duration::from_millis(500));
}

/// Long enough to have let go of a key.
fn let_go(desk: &mut Desk) {
    desk.pass(std::time::Duration::from_millis(1_100));
}

fn carried(desk: &Desk) -> Vec<&String> {
    desk.log.iter().filter(|request| request.starts_with("Carry")).collect()
}

/// A transfer of 12.50 EUR from the second account to the third, under review.
fn under_review() -> Desk {
    let mut desk = Desk::home(120, 36);
    desk.press("7 j T 1002 tab 12.5 tab tab tab rent ^s");
    desk
}

/// The n-th account while not much has happened in it.
fn brief(n: u32) -> Account {
    Account { entry_seq: 40, ..account(n) }
}

#[test]
fn a_statement_is_added_up_here() {
    let mut desk = Desk::home(120, 36);
    desk.press("7 j o");
    let text = desk.text();
    assert!(text.contains("Accounts › 1001 Corner coffee › statement"), "{text}");
    assert!(text.contains("re-added here: the balances of all 100 rows read fit"), "{text}");
    // what was read is a window: it ends with the last entry, and does not begin with the first
    assert!(text.contains("before ") && text.contains(" closing ") && !text.contains("opening "), "{text}");
    desk.press("G");
    let text = desk.text();
    assert!(
        text.contains("opening 0.00") && text.contains(" after ") && !text.contains("closing "),
        "{text}"
    );
    // one that is known whole has both ends
    let mut desk = Desk::home(80, 24);
    desk.account = brief;
    desk.press("7 j o");
    let text = desk.text();
    assert!(text.contains("opening 0.00") && text.contains(" closing 62.34  ✓ 40 rows fit"), "{text}");
    // one row, and one gap, are not several
    desk.press("/ side:debit enter");
    let text = desk.text();
    assert!(text.contains("✓ 8 rows fit, 7 gaps left by the filter"), "{text}");
    let mut desk = Desk::home(120, 36);
    desk.account = |n| Account { entry_seq: 10, ..account(n) };
    desk.press("7 j o / side:debit enter");
    assert!(desk.text().contains("✓ 2 rows fit, 1 gap left by the filter"), "{}", desk.text());
    desk.account = |n| Account { entry_seq: 5, ..account(n) };
    desk.press("esc esc 7 j o / side:debit enter");
    let text = desk.text();
    assert!(text.contains("before ") && text.contains("the balance of the 1 row read fits"), "{text}");
    // and one that is wrong is said to be
    let mut desk = Desk::home(120, 36);
    desk.falsified = Some(125);
    desk.press("7 j o");
    let text = desk.text();
    assert!(text.contains("✖ differs at entry 125"), "{text}");
}

#[test]
fn opening_and_entries_come_to_closing() {
    let account = account(1);
    let entries: Vec<_> = (40..=60).map(|seq| entry(&account, seq)).collect();
    let sum = Sum::of(entries.iter());
    assert!(sum.fits() && sum.gaps == 0);
    assert_eq!(sum.opening + sum.credits - sum.debits, sum.closing);
    assert_eq!((sum.entries, sum.last), (21, 60));
    // the order does not matter, a gap is no mistake, a wrong balance is
    assert_eq!(Sum::of(entries.iter().rev()), sum);
    let gap: Vec<_> = entries.iter().filter(|entry| entry.seq != 50).collect();
    let gap = Sum::of(gap.into_iter());
    assert!(gap.fits() && gap.gaps == 1);
    let mut wrong = entries.clone();
    wrong[5].posted += 1;
    let wrong = Sum::of(wrong.iter());
    assert!(!wrong.fits());
    assert_eq!(wrong.wrong.len(), 2, "{wrong:?}");
    // the first entry of an account begins with nothing
    let mut first = entry(&account, 1);
    first.posted = first.change + 1;
    assert!(!Sum::of([first].iter()).fits());
}

#[test]
fn a_statement_says_whom_it_is_with_and_why_in_every_size() {
    for (width, height) in [(120, 36), (80, 24)] {
        let mut desk = Desk::home(width, height);
        desk.press("7 j o");
        let text = desk.text();
        assert!(text.contains("WITH, AND WHY"), "{text}");
        assert!(
            text.contains("from 1008 Book cellar · coffee") && text.contains("→ 1009 Refunds · coffee"),
            "{text}"
        );
        // what is no plain transfer is said to be none
        assert!(text.contains("hold → 1010 Wallet"), "{text}");
    }
    // the name of an account is seen where there is little room
    let mut desk = Desk::home(80, 24);
    desk.press("7");
    let rows = desk.text().lines().filter(|line| line.contains("Corner coffee ")).count();
    assert!(rows >= 2, "{}", desk.text());
}

#[test]
fn an_entry_says_whom_it_is_with_and_why_before_its_transfer_is_read() {
    let mut desk = Desk::home(120, 36);
    // whoever may not read transfers may read the entries
    desk.permissions = Permissions::all().minus(Permissions::of(&[Permission::TransfersRead]));
    desk.sign_out();
    desk.sign_in();
    desk.press("7 j o");
    let text = desk.text();
    assert!(!text.contains("state     ● posted"), "{text}");
    for line in
        ["with      from 1008 Book cellar", "reason    coffee and cake", "for       two lines of words"]
    {
        assert!(text.contains(line), "{line}: {text}");
    }
}

#[test]
fn the_number_of_entries_is_parted_like_every_figure() {
    let mut desk = Desk::home(120, 36);
    desk.account = |n| Account { entry_seq: 40_028, ..account(n) };
    desk.press("7 j");
    assert!(desk.text().contains("ENTRIES 40,028"), "{}", desk.text());
}

#[test]
fn back_from_a_statement_the_accounts_are_as_they_were() {
    let mut desk = Desk::home(120, 36);
    desk.press("7 / status:active enter j j");
    let cursor = desk.cursor().map(str::to_owned);
    desk.press("o j j");
    let (statement, entry) = (desk.model.money.statement.of, desk.cursor().map(str::to_owned));
    desk.press("i");
    assert_ne!(desk.model.money.statement.of, statement);
    // each statement is a step of the way
    desk.press("esc");
    assert_eq!(desk.model.money.statement.of, statement);
    assert_eq!(desk.cursor().map(str::to_owned), entry);
    desk.press("esc");
    assert_eq!(desk.cursor().map(str::to_owned), cursor);
    assert!(desk.text().contains("Accounts › status:active"), "{}", desk.text());
}

#[test]
fn money_moves_only_when_its_amount_was_typed() {
    let mut desk = under_review();
    let text = desk.text();
    assert!(text.contains("Move 12.50 EUR?"), "{text}");
    assert!(
        text.contains("NOW") && text.contains("AFTER") && text.contains("62.34") && text.contains("49.84"),
        "{text}"
    );
    assert!(text.contains("transfers create --from") && text.contains("--amount 12.50"), "{text}");
    later(&mut desk);
    // neither the button alone, nor a wrong amount, nor a pasted one
    desk.press("tab tab enter");
    assert!(desk.text().contains("the amount comes first"), "{}", desk.text());
    desk.press("12.0 enter");
    assert!(desk.text().contains("✖ is not 12.50"), "{}", desk.text());
    desk.press("^u");
    desk.send(Msg::Input(Input::Paste("12.50".into())));
    desk.draw();
    assert!(desk.text().contains("typed, not pasted"), "{}", desk.text());
    assert!(carried(&desk).is_empty());
    desk.press("12.50 enter");
    assert!(carried(&desk).is_empty(), "the button is pressed by a key of its own");
    let_go(&mut desk);
    desk.press("enter");
    assert_eq!(carried(&desk).len(), 1);
    let text = desk.text();
    assert!(text.contains("moved 12.50 EUR: 1001 Corner coffee → 1002 Rent"), "{text}");
    // what is under the cursor holds less now
    let held = &desk.model.money.accounts.window.current().unwrap().record;
    assert_eq!(held.balances.posted, account(1).balances.posted - 1_250);
    // a reversal is no undo
    desk.press("Z");
    let size = desk.model.size;
    desk.resize(80, 24);
    assert!(desk.text().contains("✖ cannot be undone"), "{}", desk.text());
    desk.resize(size.0, size.1);
    assert!(desk.text().contains("cannot be undone"), "{}", desk.text());
}

#[test]
fn what_is_typed_before_it_could_be_read_says_nothing() {
    let mut desk = under_review();
    desk.press("tab 12.50 enter enter");
    assert!(carried(&desk).is_empty());
    assert!(!desk.text().contains("✓ the button works"), "{}", desk.text());
}

#[test]
fn a_lost_answer_of_a_transfer_is_found_by_its_key_and_sent_once() {
    let mut desk = under_review();
    later(&mut desk);
    desk.press("tab 12.50 tab");
    desk.mood = Mood::Unreachable;
    desk.press("enter");
    assert!(desk.text().contains("outcome unknown"), "{}", desk.text());
    // nothing else moves until that is known
    desk.press("esc T");
    assert!(desk.model.overlay.is_none());
    let mut made = transfer(5);
    made.amount = 1_250;
    desk.verdict.state = VerdictState::Done;
    desk.verdict.data = Some(serde_json::to_value(&made).unwrap());
    desk.mood = Mood::Answers;
    desk.ring(Alarm::Pulse);
    assert!(desk.text().contains("moved 12.50 EUR"), "{}", desk.text());
    assert_eq!(carried(&desk).len(), 1);
}

#[test]
fn money_that_moves_meanwhile_is_asked_about_anew() {
    let mut desk = under_review();
    desk.hear(Heard::Live);
    later(&mut desk);
    desk.press("tab 12.50");
    let asked = desk.log.iter().filter(|request| request.starts_with("Rehearse")).count();
    // of others: nothing is asked
    let other = moved_event(&desk, 121, 8, 9, 100);
    desk.hear(Heard::Rows(vec![other]));
    assert_eq!(desk.log.iter().filter(|request| request.starts_with("Rehearse")).count(), asked);
    let moved = moved_event(&desk, 122, 1, 4, 100);
    desk.account = |n| {
        let mut account = account(n);
        account.balances.posted -= if n == 1 { 100 } else { 0 };
        account
    };
    desk.hear(Heard::Rows(vec![moved]));
    assert!(desk.text().contains("asking again what would happen"), "{}", desk.text());
    desk.ring(Alarm::Again);
    assert_eq!(desk.log.iter().filter(|request| request.starts_with("Rehearse")).count(), asked + 1);
    assert!(desk.text().contains("something happened to these accounts meanwhile"), "{}", desk.text());
    // it could be read again before it works
    desk.press("enter enter");
    assert!(carried(&desk).is_empty());
}

#[test]
fn accounts_are_found_while_one_types() {
    let mut desk = Desk::home(120, 36);
    desk.press("8 T book");
    desk.ring(Alarm::Seek);
    let text = desk.text();
    assert!(text.contains("1003 Book cellar") && text.contains("1008 Book cellar"), "{text}");
    // several fit, so tab decides nothing
    desk.press("tab ^s");
    assert!(desk.text().contains("several fit"), "{}", desk.text());
    desk.press("^n enter");
    assert!(desk.text().contains("1008 Book cellar"), "{}", desk.text());
    // a number is no matter of doubt; its currency is
    desk.press("1007 tab 12 ^s");
    assert!(desk.text().contains("has JPY, and the money is EUR"), "{}", desk.text());
    assert!(!desk.waits(Slot::Change) && carried(&desk).is_empty());
}

#[test]
fn amounts_are_refused_in_the_words_of_their_currency() {
    let mut desk = Desk::home(120, 36);
    desk.press("7 j T world:EUR tab 1.234 tab");
    assert!(desk.text().contains("more digits behind"), "{}", desk.text());
    desk.press("backtab ^u 0 tab");
    assert!(desk.text().contains("must be more than nothing"), "{}", desk.text());
    desk.press("backtab ^u 3 tab tab 2h tab");
    assert!(desk.text().contains("is for holds"), "{}", desk.text());
}

#[test]
fn a_refusal_by_a_rule_leads_back_to_the_form() {
    let mut desk = Desk::home(120, 36);
    desk.press("7 j T 1002 tab 12.5 tab");
    desk.refusal = Some(ApiError::new(ErrorCode::InsufficientFunds, "There is not enough money."));
    desk.press("^s");
    assert!(desk.text().contains("refused: There is not enough money."), "{}", desk.text());
    desk.press("enter");
    let text = desk.text();
    assert!(text.contains("New transfer") && text.contains("There is not enough money."), "{text}");
}

#[test]
fn holds_are_captured_in_part_and_reversals_need_a_reason() {
    let mut desk = Desk::home(120, 36);
    desk.press("8 j C ^u 2 tab");
    assert!(desk.text().contains("is let go"), "{}", desk.text());
    desk.press("^u 9999 ^s");
    assert!(desk.text().contains("all there is of it"), "{}", desk.text());
    desk.press("^u 2 ^s");
    assert!(desk.text().contains("Capture 2.00 EUR?") && desk.text().contains("the rest"), "{}", desk.text());
    desk.press("esc esc esc");
    desk.press("k R ^s");
    assert!(desk.text().contains("1 problem"), "{}", desk.text());
    desk.press("twice ^s");
    let text = desk.text();
    assert!(text.contains("back?") && text.contains("--reason twice"), "{text}");
    assert!(text.contains("none: a reversal is not reversed"), "{text}");
}

#[test]
fn an_account_is_frozen_and_that_is_taken_back() {
    let mut desk = Desk::home(120, 36);
    desk.press("7 j F tab tab asked enter");
    assert!(desk.text().contains("--reason asked"), "{}", desk.text());
    later(&mut desk);
    desk.press("tab enter");
    assert!(desk.text().contains("froze 1001 Corner coffee"), "{}", desk.text());
    assert!(desk.text().contains("◐ frozen"), "{}", desk.text());
    desk.press("F");
    assert!(desk.text().contains("is off: it is frozen"), "{}", desk.text());
    desk.press("Z enter");
    assert!(desk.text().contains("Unfreeze this account?"), "{}", desk.text());
}

#[test]
fn two_people_edit_an_account_and_nothing_is_overwritten_unseen() {
    let mut desk = Desk::home(120, 36);
    desk.press("7 j j e tab ^u 25");
    let mut theirs = account(2);
    theirs.version += 2;
    theirs.name = "Theirs".parse().unwrap();
    desk.overtaken_account = Some(theirs);
    desk.press("^s");
    let text = desk.text();
    assert!(text.contains("Somebody else saved 1002 Theirs first") && text.contains("Rent"), "{text}");
    desk.press("enter ^s");
    later(&mut desk);
    desk.press("tab enter");
    let sent = carried(&desk)[0];
    assert!(
        sent.contains("Limit(2500)") && sent.contains("name: Keep") && sent.contains("Some(5)"),
        "{sent}"
    );
}

#[test]
fn a_change_of_state_that_was_overtaken_is_reviewed_anew() {
    let mut desk = Desk::home(120, 36);
    desk.press("7 j");
    let mut theirs = account(1);
    theirs.version += 1;
    desk.overtaken_account = Some(theirs);
    desk.press("F");
    assert!(desk.text().contains("somebody changed it meanwhile"), "{}", desk.text());
    later(&mut desk);
    desk.press("tab enter");
    assert!(carried(&desk)[0].contains("Some(3)"), "{:?}", carried(&desk));
}

#[test]
fn closing_says_where_the_money_goes_and_asks_for_its_amount() {
    let mut desk = Desk::home(120, 36);
    desk.press("7 j j D ^s");
    assert!(desk.text().contains("the account is not empty"), "{}", desk.text());
    desk.press("1004 tab ^s");
    let text = desk.text();
    assert!(text.contains("74.68 EUR goes to 1004"), "{text}");
    assert!(text.contains("type 74.68"), "{text}");
}

#[test]
fn the_log_brings_balances_entries_and_the_end_of_holds() {
    let mut desk = Desk::home(120, 36);
    desk.press("7 j o");
    desk.hear(Heard::Live);
    let cursor = desk.cursor().map(str::to_owned);
    let moved = moved_event(&desk, 121, 1, 2, 250);
    desk.hear(Heard::Rows(vec![moved.clone(), moved]));
    let money = &desk.model.money;
    assert_eq!(money.account.as_ref().unwrap().balances.posted, account(1).balances.posted - 250);
    let newest = &money.statement.window.rows().next().unwrap().record;
    assert_eq!((newest.seq, newest.change, newest.account_id), (131, -250, account_id(1)));
    assert!(money.sum.fits() && money.sum.last == 131);
    // no event moves the cursor
    assert_eq!(desk.cursor().map(str::to_owned), cursor);
    desk.press("8");
    let mut event = moved_event(&desk, 122, 1, 2, 250);
    event.kind = "transfer.voided".to_owned();
    event.data["kind"] = serde_json::json!("void");
    event.data["parentId"] = serde_json::json!(transfer(1).id);
    desk.hear(Heard::Rows(vec![event]));
    assert!(desk.text().contains("~ voided") && desk.text().contains("1 newer"), "{}", desk.text());
}

#[test]
fn a_reversal_elsewhere_is_read_and_not_added_up() {
    let mut desk = Desk::home(120, 36);
    desk.press("8");
    desk.hear(Heard::Live);
    let mut event = moved_event(&desk, 121, 1, 2, 100);
    event.kind = "transfer.reversed".to_owned();
    event.data["kind"] = serde_json::json!("reversal");
    event.data["parentId"] = serde_json::json!(transfer(0).id);
    desk.hear(Heard::Rows(vec![event.clone()]));
    assert!(desk.text().contains("◐ part-reversed"), "{}", desk.text());
    let row = desk.model.money.transfers.window.current().unwrap();
    assert_eq!(row.record.reversed_amount, 100);
}

#[test]
fn the_books_are_verified_and_what_does_not_fit_is_shown() {
    let mut desk = Desk::home(120, 36);
    desk.press("v");
    assert!(
        desk.text().contains("the books are whole: 150 accounts, 240 transfers and 480 entries"),
        "{}",
        desk.text()
    );
    desk.broken = Some(7);
    desk.press("8 v");
    assert!(desk.text().contains("the books do not fit: 1 problems"), "{}", desk.text());
    desk.press("!");
    assert!(desk.text().contains("should be 5000"), "{}", desk.text());
}

#[test]
fn nothing_moves_where_nothing_may() {
    let mut desk = Desk::home(120, 36);
    desk.model.place.protection = bursar_tui::Protection::ReadOnly;
    for (screen, keys) in [("7 j", "T N e F D"), ("8 j", "T C V R"), ("7 j o", "T e F D R")] {
        desk.press(screen);
        for key in keys.split(' ') {
            desk.press(key);
            assert!(desk.text().contains(" is off: "), "{screen} {key}: {}", desk.text());
            assert!(desk.model.overlay.is_none());
        }
    }
}

#[test]
fn places_are_gone_to_from_people_and_by_the_palette() {
    let mut desk = Desk::users(120, 36);
    desk.press("j b");
    assert!(desk.text().contains("Accounts › ownerId:li.wei1@example.com"), "{}", desk.text());
    desk.press("esc");
    assert!(desk.text().contains("[2 Users]"), "{}", desk.text());
    desk.press(": transfers space status:pending enter");
    assert!(desk.text().contains("Transfers › status:pending"), "{}", desk.text());
    desk.press("7 j w");
    assert!(desk.text().contains("Transfers › accountId:1001 Corner coffee"), "{}", desk.text());
    desk.press("o E");
    desk.press("enter");
    assert_eq!(desk.exports.last().unwrap().noun, "entries");
}
