//! A day in the dashboard, at a terminal, against the real daemon: edits, conflicts, many at once, lost
//! answers, files, contexts, and the shell in between.

#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up should stop at once")]

use std::sync::atomic::Ordering;

use bursar_server::testing::TestServer;
use bursar_shared::{
    decode::Change,
    field::UserStatus,
    operations::users::{GetUser, UpdateUser, User},
};

use crate::{
    support::{Home, Line, house},
    terminal::{CLEAR_FIELD, ENTER, ESCAPE, REVIEW, TAB, Terminal},
};

const STOP: &str = "\x1a";

/// The list of people, with the cursor on this one.
#[track_caller]
fn on(home: &Home, email: &str) -> Terminal {
    let mut terminal = Terminal::dashboard(home, "2", "[2 Users]");
    narrowed(&mut terminal, &format!("email:{email}"));
    terminal.cursor_on(email);
    terminal
}

/// Narrows the list to what one row matches.
#[track_caller]
fn narrowed(terminal: &mut Terminal, filter: &str) {
    terminal.press(&["/", CLEAR_FIELD, filter, ENTER].concat());
    terminal.shows(&format!("Users › {filter}"));
    terminal.shows(" 1 row ");
}

/// Agrees to what is asked, once it could be read.
#[track_caller]
fn agree(terminal: &mut Terminal) {
    terminal.shows("the daemon tried it and undid it");
    let before = terminal.count();
    presses(terminal);
    assert!(terminal.count() > before);
}

/// Goes to the button and presses it.
fn presses(terminal: &mut Terminal) {
    terminal.press(TAB);
    terminal.press_button();
}

async fn read(daemon: &TestServer, user: &User) -> User {
    let owner = daemon.signed_in("reader", "owner").await;
    owner.call(&GetUser { id: user.id, include: None }).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_that_was_overtaken_shows_both_and_loses_neither() {
    let (daemon, home) = house().await;
    let bob = daemon.person("bob", "customer").await;
    let other = daemon.signed_in("other", "owner").await;
    let mut terminal = on(&home, "bob@example.com");
    terminal.press("e");
    terminal.shows("Edit bob@example.com");
    terminal.press(&[TAB, CLEAR_FIELD, "Bob of mine"].concat());
    terminal.shows("1 field changed");
    let theirs = UpdateUser {
        id: bob.id,
        email: Change::Keep,
        name: Change::Keep,
        external_id: Change::Set(Some("crm-7".parse().unwrap())),
        metadata: Change::Keep,
    };
    other.call(&theirs).await.unwrap();
    terminal.press(REVIEW);
    terminal.shows("Somebody else saved bob@example.com first");
    terminal.shows("crm-7");
    terminal.press(ENTER);
    terminal.shows("version 2");
    terminal.press(REVIEW);
    agree(&mut terminal);
    terminal.shows("saved bob@example.com");
    let after = read(&daemon, &bob).await;
    assert_eq!(after.name.as_str(), "Bob of mine");
    assert_eq!(after.external_id.unwrap().as_str(), "crm-7");
    // and back
    terminal.press("Z");
    terminal.shows("Undo");
    terminal.press(ENTER);
    agree(&mut terminal);
    terminal.hides("Save these changes?");
    assert_eq!(read_again(&other, &bob).await.name.as_str(), "bob");
    terminal.press("q");
    assert_eq!(terminal.ends_sane(), 0);
}

async fn read_again(client: &bursar_shared::client::Client, user: &User) -> User {
    client.call(&GetUser { id: user.id, include: None }).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_is_made_given_a_role_and_suspended_for_a_reason() {
    let (daemon, home) = house().await;
    let mut terminal = on(&home, "ann@example.com");
    terminal.press("N");
    terminal.shows("New user");
    terminal.press(&["cat@example.com", TAB, "Cat", REVIEW].concat());
    terminal.shows("Create this person?");
    agree(&mut terminal);
    terminal.shows("created cat@example.com");
    narrowed(&mut terminal, "email:cat@example.com");
    terminal.cursor_on("cat@example.com");
    terminal.press("R");
    terminal.shows("[ ] support");
    // the last of them is support
    terminal.press("jjjjjj ");
    terminal.shows("[✓] support");
    terminal.press(ENTER);
    terminal.shows("Change the roles of this person?");
    agree(&mut terminal);
    terminal.cursor_on("support");
    terminal.press("P");
    agree(&mut terminal);
    terminal.shows("One-time token for a new password");
    terminal.press("y");
    terminal.shows("copied the token");
    terminal.press(ESCAPE);
    terminal.hides("One-time token");
    terminal.press("S");
    terminal.shows("the daemon tried it and undid it");
    terminal.press(&[TAB, TAB, "asked for it", ENTER].concat());
    terminal.shows("--reason");
    agree(&mut terminal);
    terminal.cursor_on("suspended");
    let owner = daemon.signed_in("reader", "owner").await;
    let list: bursar_shared::page::List<User> = bursar_shared::page::List::new().size(50);
    let people = owner.call(&list).await.unwrap().rows;
    let cat = people.iter().find(|user| user.email.as_str() == "cat@example.com").unwrap();
    assert_eq!((cat.status, cat.roles.as_slice()), (UserStatus::Suspended, &["support".to_owned()][..]));
    let log = home.run(&["audit", "list", "--filter", "type:user.suspended", "-o", "jsonl"]).ok();
    assert!(log.contains("asked for it"), "{log}");
    terminal.press("q");
    assert_eq!(terminal.ends_sane(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_are_suspended_at_once_and_who_cannot_be_is_left_out() {
    let (daemon, home) = house().await;
    for name in ["p1", "p2", "p3"] {
        daemon.person(name, "customer").await;
    }
    let mut terminal = Terminal::run(&home, &[]);
    terminal.resize(120, 36);
    terminal.shows("● live");
    terminal.press("2");
    terminal.cursor_on("p3@example.com");
    // everybody, ann herself included
    terminal.press("*");
    terminal.shows("4 marked");
    terminal.press("S");
    terminal.shows("3 will be suspended, 1 will not and are left out");
    agree(&mut terminal);
    terminal.shows("3 suspended");
    terminal.press(ESCAPE);
    terminal.shows("1 marked");
    let left = home.run(&["users", "list", "--filter", "status:active", "-o", "name"]).ok();
    assert_eq!(left.lines().count(), 1, "{left}");
    terminal.press("q");
    assert_eq!(terminal.ends_sane(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_whose_answer_was_lost_is_found_and_not_sent_again() {
    let daemon = TestServer::start().await;
    let owner = daemon.person("ann", "owner").await;
    let bob = daemon.person("bob", "customer").await;
    let line = Line::to(&daemon.url());
    let home = Home::new();
    home.sign_in(&line.server, &owner);
    let mut terminal = on(&home, "bob@example.com");
    terminal.press("e");
    terminal.shows("Edit bob@example.com");
    terminal.press(&[TAB, CLEAR_FIELD, "Bobby", REVIEW].concat());
    terminal.shows("the daemon tried it and undid it");
    terminal.settles();
    line.lossy.store(true, Ordering::Relaxed);
    presses(&mut terminal);
    terminal.shows("outcome unknown");
    line.lossy.store(false, Ordering::Relaxed);
    terminal.shows("saved bob@example.com");
    let after = read(&daemon, &bob).await;
    assert_eq!((after.name.as_str(), after.version), ("Bobby", 2));
    terminal.press("q");
    assert_eq!(terminal.ends_sane(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_whose_dashboard_died_before_the_answer_is_finished_by_the_command_line() {
    let daemon = TestServer::start().await;
    let owner = daemon.person("ann", "owner").await;
    let bob = daemon.person("bob", "customer").await;
    let line = Line::to(&daemon.url());
    let home = Home::new();
    home.sign_in(&line.server, &owner);
    let mut terminal = on(&home, "bob@example.com");
    terminal.press("S");
    terminal.shows("the daemon tried it and undid it");
    terminal.settles();
    assert_eq!(home.run(&["pending", "list", "-o", "jsonl"]).ok(), "");
    line.lossy.store(true, Ordering::Relaxed);
    presses(&mut terminal);
    terminal.shows("outcome unknown");
    terminal.signal("TERM");
    assert_eq!(terminal.ends_sane(), 143);
    assert!(terminal.text().contains("bursar pending list shows it"), "{}", terminal.text());
    assert!(terminal.text().contains("suspend bob@example.com"), "{}", terminal.text());
    line.lossy.store(false, Ordering::Relaxed);
    let pending = home.run(&["pending", "list", "-o", "jsonl"]).json();
    assert!(pending["target"].as_str().unwrap().ends_with("/suspend"), "{pending}");
    home.run(&["pending", "resume", "--yes"]).ok();
    assert_eq!(home.run(&["pending", "list", "-o", "jsonl"]).ok(), "");
    let after = read(&daemon, &bob).await;
    assert_eq!((after.status, after.version), (UserStatus::Suspended, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_goes_into_a_file_byte_for_byte_as_the_command_writes_it() {
    let (daemon, home) = house().await;
    for number in 0..30 {
        daemon.person(&format!("p{number:02}"), "customer").await;
    }
    for format in ["csv", "jsonl"] {
        let mut terminal = on(&home, "p07@example.com");
        terminal.press(&format!("/{CLEAR_FIELD}role:customer{ENTER}"));
        terminal.shows("Users › role:customer");
        terminal.press("E");
        terminal.shows("Export users");
        if format == "jsonl" {
            terminal.press(TAB);
        }
        terminal.press(&[CLEAR_FIELD, "out.", format, ENTER].concat());
        terminal.shows("30 rows are in");
        let written = std::fs::read_to_string(home.path().join(format!("out.{format}"))).unwrap();
        let command = ["users", "list", "--filter", "role:customer", "--all", "-o", format];
        assert_eq!(written, home.run(&command).ok());
        // another one does not take its place
        terminal.press(ESCAPE);
        terminal.hides("Export users");
        terminal.press("E");
        terminal.shows("all that match");
        terminal.press(&[CLEAR_FIELD, "out.", format, ENTER].concat());
        terminal.shows("is there already");
        terminal.press(ESCAPE);
        terminal.hides("Export users");
        terminal.press("q");
        assert_eq!(terminal.ends_sane(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_context_is_another_daemon_and_says_what_may_be_done_there() {
    let (_here, home) = house().await;
    let there = TestServer::start().await;
    let eve = there.person("eve", "owner").await;
    home.sign_in(&there.url(), &eve);
    let name = home.run(&["context", "list", "-o", "jsonl"]).ok();
    let contexts: Vec<serde_json::Value> =
        name.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |email: &str| {
        let found = contexts.iter().find(|context| context["email"] == email).unwrap();
        found["name"].as_str().unwrap().to_owned()
    };
    let (ann, eve) = (of("ann@example.com"), of("eve@example.com"));
    home.run(&["context", "create", &eve, "--protect", "readonly"]).ok();
    home.run(&["context", "use", &ann]).ok();
    let mut terminal = on(&home, "ann@example.com");
    terminal.press("@");
    terminal.shows("read-only");
    terminal.press(ESCAPE);
    terminal.hides("Contexts");
    terminal.press(&format!(":context use {eve}{ENTER}"));
    terminal.shows("eve@example.com (owner)");
    terminal.press("2");
    terminal.cursor_on("eve@example.com");
    assert!(!terminal.text().contains("ann@example.com"));
    terminal.press("N");
    terminal.shows("this context is read-only");
    // only the dashboard went there: what scripts use is as it was
    let used = home.run(&["context", "show", "-o", "jsonl"]).json();
    assert_eq!(used["name"], ann.as_str());
    terminal.press("q");
    assert_eq!(terminal.ends_sane(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shell_is_a_key_away_and_the_way_back_leads_to_the_same_row() {
    let (daemon, home) = house().await;
    daemon.person("p1", "customer").await;
    let line = "set -m; bursar; echo stopped; fg >/dev/null; echo over";
    let mut terminal = Terminal::shell(&home, line);
    terminal.shows("● live");
    terminal.press("2");
    terminal.cursor_on("p1@example.com");
    terminal.press("j");
    terminal.cursor_on("ann@example.com");
    terminal.press(STOP);
    // its words stand on the screen of the shell, and then it comes back by itself
    terminal.writes_after(0, "stopped");
    terminal.cursor_on("ann@example.com");
    terminal.press("k");
    terminal.cursor_on("p1@example.com");
    terminal.press("q");
    terminal.shows("over");
    assert_eq!(terminal.ends_sane(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_shell_above_it_nothing_stops() {
    let (_daemon, home) = house().await;
    let mut terminal = on(&home, "ann@example.com");
    terminal.press(STOP);
    terminal.shows("there is no shell to go back to");
    terminal.press("q");
    assert_eq!(terminal.ends_sane(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_elsewhere_is_seen_at_once_and_the_log_is_whole() {
    let (daemon, home) = house().await;
    let bob = daemon.person("bob", "customer").await;
    let mut terminal = on(&home, "bob@example.com");
    terminal.press("5");
    terminal.shows("[5 Events]");
    terminal.shows("● live");
    let other = daemon.signed_in("other", "owner").await;
    let edit = UpdateUser {
        id: bob.id,
        email: Change::Keep,
        name: Change::Set("Robert".parse().unwrap()),
        external_id: Change::Keep,
        metadata: Change::Keep,
    };
    other.call(&edit).await.unwrap();
    terminal.press("p");
    terminal.shows("name → Robert");
    terminal.press("6");
    terminal.shows("[6 Audit]");
    terminal.shows("user.updated");
    terminal.press("v");
    terminal.shows("the chain is whole");
    terminal.press("q");
    assert_eq!(terminal.ends_sane(), 0);
}
