//! At a terminal: the dashboard from the first key to the last, prompts, tables, and how it is left.

use std::{net::TcpListener, time::Duration};

use bursar_server::testing::{PASSWORD, TestServer};

use crate::{
    support::{Home, endless, house},
    terminal::{Terminal, looks, temporary},
};

const DOWN: &str = "j";
const ENTER: &str = "\r";
const INTERRUPT: &str = "\x03";
const BACK_TAB: &str = "\x1b[Z";
const CLEAR_FIELD: &str = "\x15";
const ESCAPE: &str = "\x1b";
const REDRAW: &str = "\x0c";

/// Opens the list of people of whoever is signed in here.
#[track_caller]
fn users(home: &Home, variables: &[(&str, &str)]) -> Terminal {
    let mut terminal = Terminal::run_with(home, &[], variables);
    terminal.shows("[1 Home]");
    terminal.press("2");
    terminal.shows("[2 Users]");
    terminal.cursor_on("@example.com");
    terminal
}

async fn people(daemon: &TestServer, count: u32) {
    for number in 0..count {
        daemon.person(&format!("p{number:03}"), "customer").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_alone_opens_the_dashboard_from_the_sign_in_to_the_last_key() {
    let daemon = TestServer::start().await;
    daemon.person("ann", "owner").await;
    people(&daemon, 3).await;
    let mut terminal = Terminal::run(&Home::new(), &[]);
    terminal.shows("[ Sign in ]");
    assert!(terminal.screen().alternate_screen() && terminal.screen().bracketed_paste());
    terminal.press(&[BACK_TAB, CLEAR_FIELD, &daemon.url(), ENTER].concat());
    terminal.press(&["ann@example.com", ENTER, PASSWORD].concat());
    terminal.shows("ann@example.com");
    terminal.shows(&daemon.url());
    assert!(!terminal.text().contains(PASSWORD));
    terminal.press(ENTER);
    terminal.shows("[1 Home]");
    terminal.shows("● live");

    terminal.press("2");
    terminal.shows("[2 Users]");
    terminal.shows("p000@example.com");
    terminal.cursor_on("p002@example.com");
    terminal.press(DOWN);
    terminal.cursor_on("p001@example.com");
    terminal.press("/");
    terminal.shows(" / ");
    terminal.press(&["role:owner", ENTER].concat());
    terminal.shows("Users › role:owner");
    terminal.hides("p000@example.com");
    terminal.cursor_on("ann@example.com");
    terminal.press("?");
    terminal.shows("Help: Users");
    terminal.press(ESCAPE);
    terminal.hides("Help: Users");
    terminal.press("q");
    assert_eq!(terminal.ends_sane(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_terminal_is_given_back_on_every_way_out() {
    let (_daemon, home) = house().await;
    let ways = [("key", "q", 0), ("key", INTERRUPT, 0), ("signal", "TERM", 143), ("signal", "HUP", 129)];
    for (kind, what, code) in ways.into_iter().chain([("signal", "INT", 130)]) {
        let mut terminal = Terminal::run(&home, &[]);
        terminal.shows("● live");
        terminal.settles();
        let screen = terminal.screen();
        assert!(screen.alternate_screen() && screen.hide_cursor() && screen.bracketed_paste());
        assert_ne!(screen.mouse_protocol_mode(), vt100::MouseProtocolMode::None);
        assert!(!terminal.has_mode("ECHO") && !terminal.has_mode("ICANON"));
        match kind {
            "key" => terminal.press(what),
            _ => terminal.signal(what),
        }
        assert_eq!(terminal.ends_sane(), code, "{what:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_terminal_is_given_back_when_the_dashboard_panics() {
    let (_daemon, home) = house().await;
    // in the middle of drawing, in a task beside the loop, and where keys are read
    for (fault, code, says) in [
        ("tui-draw=1*off->panic(a mistake of ours)", 101, "a mistake of ours"),
        ("tui-task=2*off->panic(a mistake of ours)", 1, "a part of the dashboard broke"),
        ("tui-keys=panic(a mistake of ours)", 1, "a part of the dashboard broke"),
    ] {
        let mut terminal = Terminal::run_with(&home, &[], &[("FAILPOINTS", fault)]);
        terminal.shows(says);
        assert_eq!(terminal.ends_sane(), code, "{fault}");
        // it had the terminal before, and what it says stands on the screen that was there before
        let bytes = String::from_utf8_lossy(&terminal.bytes()).into_owned();
        assert!(bytes.contains("\x1b[?1049h") && bytes.contains("a mistake of ours"), "{bytes}");
    }
}

#[test]
fn the_sign_in_is_left_like_every_other_screen() {
    let home = Home::new();
    let mut terminal = Terminal::run(&home, &[]);
    terminal.shows("[ Sign in ]");
    // a letter here is a letter
    terminal.press("q");
    terminal.shows("q");
    terminal.press(INTERRUPT);
    assert_eq!(terminal.ends_sane(), 0);
    let mut terminal = Terminal::run(&home, &["tui"]);
    terminal.shows("[ Sign in ]");
    terminal.signal("TERM");
    assert_eq!(terminal.ends_sane(), 143);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_sets_keys_and_theme_and_says_what_is_wrong_with_it() {
    let (_daemon, home) = house().await;
    let file = home.path().join("dashboard.toml");
    for (text, says) in [
        ("[keys]\n\"user.suspnd\" = [\"S\"]\n", "user.suspnd is no action; did you mean user.suspend?"),
        ("[keys]\n\"list.down\" = [\"hyper-j\"]\n", "is no key"),
        ("theme = \"pink\"\n", "pink is no theme"),
        ("color = true\n", "unknown field"),
    ] {
        std::fs::write(&file, text).unwrap();
        let mut terminal = Terminal::run(&home, &[]);
        assert_eq!(terminal.ends_sane(), 2, "{text}");
        terminal.shows(says);
        assert!(terminal.text().contains("dashboard.toml"), "{}", terminal.text());
        assert!(!terminal.bytes().windows(8).any(|part| part == b"\x1b[?1049h"), "the terminal was taken");
    }
    std::fs::write(&file, "theme = \"light\"\n[keys]\n\"go.users\" = [\"f2\"]\n").unwrap();
    let mut terminal = Terminal::run(&home, &[]);
    terminal.shows("● live");
    terminal.press("\x1bOQ");
    terminal.shows("[2 Users]");
    assert!(looks(&terminal.bytes()).windows(3).any(|look| look == [38, 5, 25]), "not in light colours");
    terminal.press("q");
    assert_eq!(terminal.ends_sane(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_terminals_background_is_asked_for_and_its_answer_is_no_keys() {
    let (_daemon, home) = house().await;
    let mut terminal = Terminal::run(&home, &[]);
    terminal.writes_after(0, "\x1b]11;?\x1b\\");
    terminal.shows("● live");
    let before = terminal.count();
    // in two pieces, as over a slow line
    terminal.press("\x1b]11;rgb:ffff/ff");
    terminal.press("ff/eeee\x1b\\2");
    terminal.shows("[2 Users]");
    // 25 is the blue of titles on light paper
    terminal.writes_after(before, "38;5;25m");
    assert!(!terminal.text().contains("is no screen"), "{}", terminal.text());
    terminal.press("q");
    assert_eq!(terminal.ends_sane(), 0);
    // where colours are not wanted nothing is asked
    let terminal = Terminal::run_with(&home, &[], &[("NO_COLOR", "1")]);
    terminal.shows("● live");
    assert!(!terminal.bytes().windows(3).any(|part| part == b"\x1b]1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_dashboard_ends_with_its_terminal() {
    let (_daemon, home) = house().await;
    let terminal = users(&home, &[]);
    assert_eq!(terminal.hangs_up(DOWN), 129);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_size_is_drawn_anew() {
    let (daemon, home) = house().await;
    people(&daemon, 2).await;
    let mut terminal = users(&home, &[]);
    terminal.press(DOWN);
    terminal.cursor_on("p000@example.com");
    for (columns, lines) in [(80, 24), (40, 10), (1, 1), (200, 60), (1, 60), (200, 1), (80, 24)] {
        let before = terminal.resize(columns, lines);
        terminal.writes_after(before, "\x1b[2J");
        if lines >= 10 && columns >= 40 {
            terminal.cursor_on("p000@");
            terminal.shows("Users");
        }
        terminal.settles();
    }
    terminal.press("q");
    assert_eq!(terminal.ends_sane(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redraw_asks_the_terminal_nothing() {
    let (_daemon, home) = house().await;
    let mut terminal = users(&home, &[]);
    terminal.settles();
    let before = terminal.count();
    terminal.press(REDRAW);
    terminal.writes_after(before, "\x1b[2J");
    terminal.cursor_on("ann@example.com");
    terminal.settles();
    // an answer to this would come between the keys, and where none comes all would wait for it
    assert!(!terminal.bytes().windows(4).any(|part| part == b"\x1b[6n"));
    terminal.press("?");
    terminal.shows("Help: Users");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_goes_and_comes_back_leaves_rows_and_cursor_in_place() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let mut daemon = TestServer::start_with(&[("limits", "off"), ("listen", &free)]).await;
    let home = Home::new();
    let owner = daemon.person("ann", "owner").await;
    people(&daemon, 4).await;
    home.sign_in(&daemon.url(), &owner);
    let mut terminal = users(&home, &[]);
    terminal.shows("● live");
    terminal.press("jj");
    terminal.cursor_on("p001@example.com");
    daemon.pause().await;
    terminal.shows("OFFLINE since");
    terminal.shows("✖ offline");
    let text = terminal.text();
    assert!(text.contains("p003@example.com") && text.contains("ann@example.com"), "{text}");
    assert!(terminal.marked().contains("p001@example.com"));
    terminal.press(DOWN);
    terminal.cursor_on("p000@example.com");
    daemon.resume().await;
    terminal.shows("● live");
    terminal.hides("OFFLINE");
    assert!(terminal.marked().contains("p000@example.com"));
    // what happens from now on is heard of again
    terminal.press("k");
    terminal.cursor_on("p001@example.com");
    daemon.person("eve", "customer").await;
    terminal.shows("1 newer: press .");
    assert!(terminal.marked().contains("p001@example.com"));
    terminal.press(".");
    terminal.shows("eve@example.com");
    assert!(terminal.marked().contains("p001@example.com"));
    terminal.press("q");
    assert_eq!(terminal.ends_sane(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_colours_the_cursor_is_reversed_and_marked() {
    let (daemon, home) = house().await;
    people(&daemon, 2).await;
    let mut terminal = users(&home, &[("NO_COLOR", "1")]);
    terminal.press(DOWN);
    terminal.cursor_on("p000@example.com");
    let screen = terminal.screen();
    let reversed = |line: u16| screen.cell(line, 5).is_some_and(vt100::Cell::inverse);
    let (lines, columns) = screen.size();
    let rows: Vec<String> = screen.rows(0, columns.get()).collect();
    assert_eq!(rows.len(), usize::from(lines.get()));
    for (line, row) in (0..).zip(&rows) {
        if row.contains("@example.com  ") {
            assert_eq!(reversed(line), row.starts_with('›'), "{row}");
        }
    }
    // 39 and 49 are the terminal's own colours
    let colours = |look: &u16| matches!(look, 30..=38 | 40..=48 | 90..=107);
    let looks = looks(&terminal.bytes());
    assert!(looks.contains(&7), "nothing was ever reversed");
    assert_eq!(looks.iter().find(|look| colours(look)), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_written_while_nothing_happens_and_the_next_key_is_heard() {
    let (daemon, home) = house().await;
    people(&daemon, 3).await;
    let mut terminal = users(&home, &[]);
    terminal.press("p");
    terminal.settles();
    assert!(terminal.is_quiet_for(Duration::from_secs(2)), "{}", terminal.text());
    for person in ["p001@example.com", "p000@example.com"] {
        let before = terminal.count();
        terminal.press(DOWN);
        terminal.cursor_on(person);
        terminal.settles();
        let step = terminal.count() - before;
        assert!(step <= 700, "a step of the cursor took {step} bytes");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_names_reach_no_terminal() {
    let (daemon, home) = house().await;
    let name = "\u{202e}gnp\u{200b}.exe\u{2066}";
    home.run(&["users", "create", "--email", "bidi@example.com", "--name", name]).ok();
    daemon.person("bob", "customer").await;
    // as somebody with a database shell could
    let told = "a\u{1b}[2J\u{1b}]0;owned\u{7}\u{9b}31mb";
    daemon.sql(&format!("UPDATE users SET name = '{told}' WHERE email = 'bob@example.com'")).await.unwrap();
    let mut dashboard = users(&home, &[]);
    dashboard.shows("bidi@example.com");
    dashboard.shows("a\\u{1b}[2J");
    // the pane has room for all of it
    dashboard.press(DOWN);
    dashboard.shows("\\u{202e}gnp\\u{200b}.exe");
    dashboard.settles();
    // in forms, menus, reviews and the log it is as harmless
    dashboard.press("e");
    dashboard.shows("Edit bidi@example.com");
    dashboard.press(&["\t", "x", "\x13"].concat());
    dashboard.shows("Save these changes?");
    dashboard.press(ESCAPE);
    dashboard.shows("1 field changed");
    for _ in 0..2 {
        dashboard.press(ESCAPE);
        dashboard.settles();
    }
    dashboard.press("x");
    dashboard.shows("or its key does it");
    dashboard.press(ESCAPE);
    dashboard.hides("or its key does it");
    for (key, screen) in [("3", "[3 Sessions]"), ("5", "[5 Events]"), ("6", "[6 Audit]")] {
        dashboard.press(key);
        dashboard.shows(screen);
        dashboard.settles();
        dashboard.press("j\r");
        dashboard.settles();
        dashboard.press(ESCAPE);
        dashboard.settles();
    }
    let mut table = Terminal::run(&home, &["users", "list", "--fields", "email,name"]);
    table.shows("bidi@example.com  \\u{202e}gnp\\u{200b}.exe\\u{2066}");
    table.shows("a\\u{1b}[2J\\u{1b}]0;owned\\u{7}\\u{9b}31mb");
    table.shows("3 users");
    assert_eq!(table.ends_sane(), 0);
    for bytes in [dashboard.bytes(), table.bytes()] {
        let text = String::from_utf8(bytes).unwrap();
        for harm in ['\u{202e}', '\u{200b}', '\u{2066}', '\u{9b}', '\u{7}'] {
            assert!(!text.contains(harm), "{:?} got through", harm);
        }
        // the one question to the terminal is our own
        let text = text.replacen("\x1b]11;?\x1b\\", "", 1);
        assert!(!text.contains("\x1b]"), "a title was set");
        // every sequence is one of those that are written here: of CSI, with known ends
        for part in text.split('\x1b').skip(1) {
            let end = part
                .strip_prefix('[')
                .and_then(|rest| rest.find(|letter: char| letter.is_ascii_alphabetic()));
            let end = end.map(|at| part.as_bytes()[at + 1]);
            assert!(end.is_some_and(|end| b"mHJKXBCMLrhl".contains(&end)), "ESC {part:?}");
        }
    }
    assert!(!table.bytes().contains(&0x1b));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_over_the_edge_of_the_screen_is_few_bytes() {
    let (daemon, home) = house().await;
    people(&daemon, 60).await;
    let mut terminal = users(&home, &[]);
    terminal.resize(120, 36);
    terminal.cursor_on("p059@example.com");
    // the details beside the list scroll with it and are written again; without them it is the row alone
    for (pane, most) in [(true, 1_600), (false, 700)] {
        if !pane {
            terminal.press("p");
        }
        terminal.press(&DOWN.repeat(if pane { 40 } else { 5 }));
        terminal.settles();
        for _ in 0..3 {
            let before = terminal.count();
            terminal.press(DOWN);
            terminal.settles();
            let bytes = terminal.count() - before;
            // with the pane, what belongs to the row comes when the cursor has rested
            assert!(bytes <= most, "{bytes} bytes, pane {pane}");
        }
    }
    terminal.press("q");
    assert_eq!(terminal.ends_sane(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn signing_in_asks_for_what_is_missing_and_shows_no_password() {
    let daemon = TestServer::start().await;
    daemon.person("ann", "owner").await;
    let home = Home::new();
    let login = ["auth", "login", "--server", &daemon.url()];
    let mut terminal = Terminal::run(&home, &login);
    terminal.shows("Email: ");
    terminal.press("ann@example.com\r");
    terminal.shows("Password of ann@example.com");
    terminal.stops_echoing();
    terminal.press(&[PASSWORD, ENTER].concat());
    terminal.shows("signed in as ann@example.com");
    assert_eq!(terminal.ends_sane(), 0);
    let written = String::from_utf8(terminal.bytes()).unwrap();
    assert!(!written.contains(PASSWORD), "{written}");
    assert_eq!(home.run(&["auth", "whoami", "--fields", "name"]).ok(), "ann\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prompt_is_left_with_the_terminal_as_it_was() {
    let daemon = TestServer::start().await;
    let home = Home::new();
    let mut terminal = Terminal::run(&home, &["auth", "login", "--server", &daemon.url()]);
    terminal.shows("Email: ");
    terminal.press(INTERRUPT);
    assert_eq!(terminal.ends_sane(), 130);
    let login = ["auth", "login", "--server", &daemon.url(), "--email", "ann@example.com"];
    let mut terminal = Terminal::run(&home, &login);
    terminal.shows("Password of ann@example.com");
    terminal.stops_echoing();
    terminal.press(&["half a pass", INTERRUPT].concat());
    assert_eq!(terminal.ends_sane(), 130);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_is_a_table_of_a_hundred_at_a_terminal_and_all_of_it_in_a_pipe() {
    let (daemon, home) = house().await;
    people(&daemon, 104).await;
    let line =
        "bursar users list --sort email 2>notes; bursar users list --sort email | head -n 1 >row; echo done";
    let mut terminal = Terminal::shell(&home, line);
    terminal.resize(100, 110);
    terminal.shows("done");
    assert_eq!(terminal.ends_sane(), 0);
    let text = terminal.text();
    let rows: Vec<&str> = text.lines().collect();
    assert!(rows[0].contains("EMAIL") && rows[0].contains("NAME"), "{}", rows[0]);
    assert_eq!(rows.iter().filter(|row| row.contains("@example.com")).count(), 100);
    assert!(rows.iter().all(|row| row.chars().count() <= 100));
    let read = |name: &str| std::fs::read_to_string(home.path().join(name)).unwrap();
    let notes = read("notes");
    assert_eq!(notes, "100 of 105 users · all: --all · next: --page 2 --page-size 100\n");
    let row = read("row");
    assert!(row.starts_with("usr_") && row.contains("\tann@example.com\tann\t"), "{row}");
    assert_eq!(home.run(&["users", "list"]).ok().lines().count(), 105);
}

#[test]
fn a_list_that_is_interrupted_leaves_the_terminal_alone() {
    let (server, pages) = endless(1_000);
    pages.allow_more();
    let home = Home::new();
    let variables = [("BURSAR_API_KEY", "brs_test"), ("BURSAR_SERVER", &server)];
    let mut terminal = Terminal::run_with(&home, &["users", "list", "--all"], &variables);
    terminal.shows("ada@example.com");
    terminal.press(INTERRUPT);
    assert_eq!(terminal.ends_sane(), 130);
}

#[test]
fn a_demo_opens_the_dashboard_and_leaves_nothing_behind() {
    for (signal, code) in [(None, 0), (Some("TERM"), 143)] {
        let home = Home::new();
        let left = || std::fs::read_dir(temporary(&home)).unwrap().count();
        let mut terminal = Terminal::run(&home, &["demo", "--users", "50"]);
        terminal.shows("[1 Home]");
        terminal.shows("● live");
        assert_eq!(left(), 1);
        terminal.press("2");
        terminal.shows("[2 Users]");
        terminal.cursor_on("@");
        terminal.press("G");
        terminal.cursor_on("@");
        match signal {
            None => terminal.press("q"),
            Some(signal) => terminal.signal(signal),
        }
        assert_eq!(terminal.ends_sane(), code);
        assert_eq!(left(), 0, "the store was left behind");
    }
}
