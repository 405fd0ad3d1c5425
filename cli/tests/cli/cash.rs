//! Money in the dashboard, at a terminal, against the real daemon: statements, transfers typed before they
//! move, reversals, frozen accounts, and an answer that was lost.

#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up should stop at once")]

use std::sync::atomic::Ordering;

use bursar_server::testing::TestServer;
use serde_json::Value;

use crate::{
    support::{Home, Line, house},
    terminal::{CLEAR_FIELD, ENTER, ESCAPE, REVIEW, TAB, Terminal},
};

/// Two accounts: Wallet with 100.00 EUR, number 1, and Shop with nothing, number 2.
fn stock(home: &Home) {
    for name in ["Wallet", "Shop"] {
        home.run(&["accounts", "create", "--name", name, "--currency", "EUR"]).ok();
    }
    pay(home, "world:EUR", "1", "100");
}

/// Moves money by the command line; the transfer's id.
fn pay(home: &Home, from: &str, to: &str, amount: &str) -> String {
    let money = ["--from", from, "--to", to, "--amount", amount, "--currency", "EUR"];
    let made = home.run(&[&["transfers", "create"][..], &money, &["-o", "json"]].concat()).json();
    made["id"].as_str().unwrap().to_owned()
}

/// What an account holds.
fn holds(home: &Home, account: &str) -> String {
    home.run(&["accounts", "get", account, "--fields", "balances.posted"]).ok().trim().to_owned()
}

/// Every transfer there is, newest first.
fn transfers(home: &Home) -> Vec<Value> {
    let all = home.run(&["transfers", "list", "-o", "jsonl"]).ok();
    all.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The list of accounts, with the cursor on this one.
#[track_caller]
fn on_account(home: &Home, name: &str) -> Terminal {
    let mut terminal = Terminal::dashboard(home, "7", "[7 Accounts]");
    terminal.press(&["/", CLEAR_FIELD, "name:^", name, ENTER].concat());
    terminal.shows(" 1 row ");
    terminal.cursor_on(name);
    terminal
}

/// Agrees to what is asked, once it could be read.
#[track_caller]
fn agree(terminal: &mut Terminal) {
    terminal.shows("the daemon tried it and undid it");
    terminal.press(TAB);
    terminal.press_button();
}

/// Types the amount as soon as it is taken, and goes on to the button.
#[track_caller]
fn type_amount(terminal: &mut Terminal, amount: &str) {
    terminal.shows("the daemon tried it and undid it");
    terminal.press(TAB);
    loop {
        terminal.press(&[CLEAR_FIELD, amount].concat());
        terminal.settles();
        if terminal.text().contains("✓ the button works") {
            break;
        }
    }
    terminal.press(TAB);
    terminal.settles();
}

#[tokio::test(flavor = "multi_thread")]
async fn money_moves_when_both_sides_were_seen_and_the_amount_was_typed() {
    let (_daemon, home) = house().await;
    stock(&home);
    let mut terminal = on_account(&home, "Wallet");
    terminal.press("T");
    terminal.shows("New transfer");
    terminal.shows("EUR available 100.00");
    terminal.press(&["2", TAB].concat());
    terminal.shows("2 Shop");
    terminal.press(&["12.5", TAB, TAB, TAB, "rent", REVIEW].concat());
    terminal.shows("Move 12.50 EUR?");
    terminal.shows("the daemon tried it and undid it");
    let text = terminal.text();
    for (before, after) in [("100.00", "87.50"), ("0.00", "12.50")] {
        let row = |line: &str| line.contains("posted") && line.contains(before) && line.contains(after);
        assert!(text.lines().any(row), "{before} to {after}: {text}");
    }
    // without its amount the button does nothing
    terminal.press(&[TAB, TAB].concat());
    terminal.press_button();
    terminal.shows("the amount comes first");
    assert_eq!(holds(&home, "1"), "100.00");
    terminal.press(ESCAPE);
    terminal.hides("Move 12.50 EUR?");
    terminal.press(REVIEW);
    type_amount(&mut terminal, "12.50");
    terminal.press_button();
    terminal.shows("moved 12.50 EUR: 1 Wallet → 2 Shop");
    assert_eq!((holds(&home, "1"), holds(&home, "2")), ("87.50".to_owned(), "12.50".to_owned()));
    // the row has it, and so has the statement, which adds up
    terminal.cursor_on("87.50");
    terminal.press("o");
    terminal.shows("1 Wallet › statement");
    terminal.cursor_on("-12.50");
    terminal.shows("opening 0.00 + 100.00 - 12.50 = closing 87.50");
    terminal.shows("✓ re-added here");
    // what moves meanwhile comes in above
    pay(&home, "1", "2", "7.5");
    terminal.shows("opening 0.00 + 100.00 - 20.00 = closing 80.00");
    terminal.cursor_on("-12.50");
    terminal.press("q");
    assert_eq!(terminal.ends_sane(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn money_moves_back_in_part_for_a_reason() {
    let (_daemon, home) = house().await;
    stock(&home);
    let paid = pay(&home, "1", "2", "30");
    let mut terminal = Terminal::dashboard(&home, "8", "[8 Transfers]");
    terminal.cursor_on("30.00");
    // the accounts are called by their names once these were asked for
    terminal.cursor_on("1 Wallet");
    terminal.press("R");
    terminal.shows("Reverse 30.00 EUR");
    terminal.press(&["\x1b[Z", CLEAR_FIELD, "10", TAB, "twice", REVIEW].concat());
    terminal.shows("Move 10.00 EUR back?");
    type_amount(&mut terminal, "10.00");
    terminal.press_button();
    terminal.shows("moved back 10.00 EUR: 2 Shop → 1 Wallet");
    // the original says so where it stands, and what is left can still go
    terminal.cursor_on("part-reversed");
    let made = &transfers(&home)[0];
    assert_eq!((made["kind"].as_str(), made["reason"].as_str()), (Some("reversal"), Some("twice")));
    assert_eq!(made["parentId"].as_str(), Some(paid.as_str()));
    assert_eq!((holds(&home, "1"), holds(&home, "2")), ("80.00".to_owned(), "20.00".to_owned()));
    terminal.press("R");
    terminal.shows("all that is left");
    terminal.press(ESCAPE);
    terminal.hides("Reverse 30.00 EUR");
    // a reversal is no undo
    terminal.press("Z");
    terminal.shows("cannot be undone");
    terminal.press(ESCAPE);
    terminal.hides("cannot be undone");
    terminal.press("q");
    assert_eq!(terminal.ends_sane(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_is_captured_in_part_and_the_rest_let_go() {
    let (_daemon, home) = house().await;
    stock(&home);
    let money = ["--from", "1", "--to", "2", "--amount", "40", "--currency", "EUR", "--hold"];
    home.run(&[&["transfers", "create"][..], &money].concat()).ok();
    let mut terminal = Terminal::dashboard(&home, "8", "[8 Transfers]");
    terminal.cursor_on("◐ pending");
    terminal.cursor_on("1 Wallet");
    terminal.press("C");
    terminal.shows("Capture 40.00 EUR");
    terminal.press(&[CLEAR_FIELD, "15", REVIEW].concat());
    terminal.shows("25.00 EUR is let go");
    type_amount(&mut terminal, "15.00");
    terminal.press_button();
    terminal.shows("captured 15.00 EUR: 1 Wallet → 2 Shop");
    terminal.cursor_on("● captured");
    assert_eq!((holds(&home, "1"), holds(&home, "2")), ("85.00".to_owned(), "15.00".to_owned()));
    terminal.press("V");
    terminal.shows("void is off: the hold has ended");
    terminal.press("v");
    terminal.shows("the books are whole");
    terminal.press("q");
    assert_eq!(terminal.ends_sane(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_is_frozen_for_a_reason_and_nothing_goes_out_until_that_is_taken_back() {
    let (_daemon, home) = house().await;
    stock(&home);
    let mut terminal = on_account(&home, "Wallet");
    terminal.press("F");
    terminal.shows("Freeze this account?");
    terminal.shows("the daemon tried it and undid it");
    terminal.press(&[TAB, TAB, "lost card", ENTER].concat());
    agree(&mut terminal);
    terminal.shows("froze 1 Wallet");
    terminal.cursor_on("◐ frozen");
    let log = home.run(&["audit", "list", "--filter", "type:account.frozen", "-o", "jsonl"]).ok();
    assert!(log.contains("lost card"), "{log}");
    // the daemon's word about a frozen account leads back to the form
    terminal.press("T");
    terminal.shows("EUR available 100.00, frozen");
    terminal.press(&["2", TAB].concat());
    terminal.shows("2 Shop");
    terminal.press(&["1", REVIEW].concat());
    terminal.shows("refused: ");
    terminal.press(ENTER);
    terminal.shows("New transfer");
    terminal.press(ESCAPE);
    terminal.shows("esc again");
    terminal.press(ESCAPE);
    terminal.hides("New transfer");
    terminal.press("Z");
    terminal.shows("Undo");
    terminal.press(ENTER);
    terminal.shows("Unfreeze this account?");
    agree(&mut terminal);
    terminal.shows("undone: froze 1 Wallet");
    terminal.cursor_on("● active");
    terminal.press("q");
    assert_eq!(terminal.ends_sane(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_whose_answer_was_lost_is_found_by_its_key_and_done_once() {
    let daemon = TestServer::start().await;
    let owner = daemon.person("ann", "owner").await;
    let line = Line::to(&daemon.url());
    let home = Home::new();
    home.sign_in(&line.server, &owner);
    stock(&home);
    let mut terminal = on_account(&home, "Wallet");
    terminal.press("T");
    terminal.shows("EUR available 100.00");
    terminal.press(&["2", TAB].concat());
    terminal.shows("2 Shop");
    terminal.press(&["25", REVIEW].concat());
    type_amount(&mut terminal, "25.00");
    line.lossy.store(true, Ordering::Relaxed);
    terminal.press(ENTER);
    terminal.shows("outcome unknown");
    line.lossy.store(false, Ordering::Relaxed);
    terminal.shows("moved 25.00 EUR: 1 Wallet → 2 Shop");
    terminal.cursor_on("75.00");
    let paid = transfers(&home).iter().filter(|one| one["amount"] == 2_500).count();
    assert_eq!(paid, 1);
    assert_eq!((holds(&home, "1"), holds(&home, "2")), ("75.00".to_owned(), "25.00".to_owned()));
    assert_eq!(home.run(&["pending", "list", "-o", "jsonl"]).ok(), "");
    terminal.press("q");
    assert_eq!(terminal.ends_sane(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_saved_by_somebody_else_are_not_overwritten_unseen() {
    let (_daemon, home) = house().await;
    stock(&home);
    let mut terminal = on_account(&home, "Wallet");
    terminal.press("e");
    terminal.shows("Edit 1 Wallet");
    terminal.press(&[TAB, CLEAR_FIELD, "50.00"].concat());
    terminal.shows("1 field changed");
    home.run(&["accounts", "update", "1", "--name", "Purse"]).ok();
    terminal.press(REVIEW);
    terminal.shows("Somebody else saved 1 Purse first");
    terminal.press(ENTER);
    terminal.shows("version 2");
    terminal.press(REVIEW);
    terminal.shows("Save these changes?");
    agree(&mut terminal);
    terminal.shows("saved 1 Purse");
    let account = home.run(&["accounts", "get", "1", "-o", "json"]).json();
    assert_eq!((&account["name"], &account["overdraftLimit"]), (&"Purse".into(), &5_000.into()));
    terminal.press("q");
    assert_eq!(terminal.ends_sane(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_account_gives_what_was_typed_though_money_moves_meanwhile() {
    let (_daemon, home) = house().await;
    stock(&home);
    let mut terminal = on_account(&home, "Wallet");
    terminal.press("D");
    terminal.shows("Close 1 Wallet");
    terminal.press(&["2", TAB].concat());
    terminal.shows("2 Shop");
    terminal.press(REVIEW);
    terminal.shows("100.00 EUR goes to 2 Shop");
    type_amount(&mut terminal, "100.00");
    // the account holds less when the button would be pressed
    pay(&home, "1", "2", "7.5");
    terminal.shows("92.50 EUR goes to 2 Shop");
    terminal.shows("✖ is not 92.50");
    terminal.press_button();
    assert_eq!(holds(&home, "1"), "92.50");
    terminal.press(&[CLEAR_FIELD, "92.50"].concat());
    terminal.shows("✓ the button works");
    terminal.press(TAB);
    terminal.press_button();
    terminal.shows("closed 1 Wallet");
    terminal.cursor_on("~ closed");
    assert_eq!((holds(&home, "1"), holds(&home, "2")), ("0.00".to_owned(), "100.00".to_owned()));
    terminal.press("q");
    assert_eq!(terminal.ends_sane(), 0);
}
