//! Rules that the compiler does not know: who may use what, and that the table of actions is whole.

use std::{collections::BTreeSet, fs, path::Path};

use bursar_tui::{
    actions::{ACTIONS, State},
    keys::Key,
    message::{Input, Msg},
};

use crate::support::Desk;

fn sources(folder: &Path, into: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else {
            let name = path.strip_prefix(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).unwrap();
            into.push((name.display().to_string(), fs::read_to_string(&path).unwrap()));
        }
    }
}

fn all() -> Vec<(String, String)> {
    let mut files = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files);
    files
}

#[test]
fn update_and_draw_are_pure() {
    let outside = ["app.rs", "tasks.rs", "tasks/money.rs", "terminal.rs", "terminal/reader.rs"];
    for (name, text) in all().iter().filter(|(name, _)| !outside.contains(&name.as_str())) {
        for word in ["tokio::", "reqwest", "crossterm::", "std::env", "std::fs", "std::io::"] {
            // the public entry is async and gives an io error; it only passes through
            if name == "lib.rs" && word == "std::io::" {
                continue;
            }
            assert!(!text.contains(word), "{name} uses {word}");
        }
    }
}

#[test]
fn only_tasks_calls_the_daemon_and_only_the_canvas_writes_cells() {
    for (name, text) in all() {
        if !name.starts_with("tasks") && name != "lib.rs" {
            assert!(!text.contains("client::Client") && !text.contains(".call("), "{name} calls the daemon");
        }
        let code = text.split("#[cfg(test)]").next().unwrap();
        if name != "widgets/canvas.rs" {
            for word in ["set_string", "set_symbol", "Span::", "Paragraph", "set_char"] {
                assert!(!code.contains(word), "{name} writes cells by {word}");
            }
        }
        assert!(!text.contains("/v1/"), "{name} knows an address");
    }
}

#[test]
fn every_file_says_its_job_and_stays_small() {
    for (name, text) in all() {
        assert!(text.starts_with("//! "), "{name}");
        let code = text.split("#[cfg(test)]").next().unwrap();
        assert!(code.lines().count() <= 600, "{name} has {} lines", code.lines().count());
    }
}

#[test]
fn every_action_is_whole_and_every_key_can_be_pressed() {
    let mut names = BTreeSet::new();
    for action in ACTIONS {
        assert!(names.insert(action.name), "{} twice", action.name);
        assert!(!action.title.is_empty() && action.does.ends_with('.') && !action.undo.is_empty());
        assert!(!action.keys.is_empty(), "{} has no key", action.name);
        for keys in action.keys {
            assert!(keys.split(' ').all(|key| Key::read(key).is_some()), "{keys}");
        }
    }
}

#[test]
fn the_document_has_the_keys_that_are_in_force() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/dashboard.md");
    let text = fs::read_to_string(path).unwrap();
    let keys = text.split("<!-- keys -->").nth(1).unwrap();
    let now = bursar_tui::actions::markdown();
    assert!(
        keys.trim() == now.trim(),
        "between the marks belongs what `cargo run -p bursar-tui --example keys_markdown` prints"
    );
}

#[test]
fn no_key_means_two_things_on_one_screen() {
    for screen in ["1", "2", "3", "4", "5", "6", "7", "8", "7 o"] {
        let mut desk = Desk::home(80, 24);
        desk.press(screen);
        desk.press("j");
        let mut seen = BTreeSet::new();
        for action in ACTIONS.iter().filter(|action| (action.state)(&desk.model) != State::Absent) {
            for keys in action.keys {
                assert!(seen.insert(*keys), "{keys} means two things");
            }
        }
    }
}

#[test]
fn nothing_but_reads_is_sent_by_any_key() {
    for screen in ["2", "7", "8", "7 o"] {
        nothing_but_reads_on(screen);
    }
}

fn nothing_but_reads_on(screen: &str) {
    let mut desk = Desk::home(80, 24);
    desk.press(screen);
    for code in (' '..='~').filter(|letter| *letter != 'q') {
        desk.log.clear();
        let key = Key::read(&code.to_string()).unwrap_or(Key::plain(bursar_tui::keys::Code::Char(code)));
        desk.send(Msg::Input(Input::Key(key)));
        for request in &desk.log {
            let reads = [
                "Pulse",
                "Rights",
                "Stats",
                "Events",
                "Users",
                "Sessions",
                "Roles",
                "Audit",
                "Permissions",
                "Timeline",
                "Names",
                "AllRoles",
                "Verify",
                "Contexts",
                "Who",
                "Rehearse",
                "Accounts",
                "Transfers",
                "Entries",
                "Account",
                "Behind",
                "Labels",
                "Beside",
                "Again",
                "Books",
                "Find",
            ];
            assert!(reads.iter().any(|read| request.starts_with(read)), "{code}: {request}");
        }
        desk.press("esc esc");
        desk.press(screen);
    }
}

#[test]
fn every_action_is_in_the_help_of_its_screen() {
    let mut desk = Desk::users(120, 80);
    desk.press("?");
    let text = desk.text();
    for action in ACTIONS.iter().filter(|action| (action.state)(&desk.model) != State::Absent) {
        assert!(text.contains(action.title), "{} is missing in help", action.name);
    }
}

#[test]
fn nothing_on_the_screen_can_steer_a_terminal() {
    for size in [(120, 36), (80, 24)] {
        let mut desk = Desk::home(size.0, size.1);
        desk.person = crate::support::hostile;
        desk.account = crate::books::hostile_account;
        for keys in [
            "2", "j", "j", "enter", "esc", "c", "esc", "e", "^s", "esc", "esc", "esc", "x", "esc", "space",
            "S", "esc", "3", "j", "enter", "esc", "5", "j", "enter", "esc", "6", "j", "E", "esc", "@", "esc",
            "7", "j", "enter", "esc", "o", "j", "enter", "esc", "T", "e", "esc", "esc", "8", "j", "enter",
            "esc", ":",
        ] {
            desk.press(keys);
            for cell in &desk.buffer().content {
                assert!(!cell.symbol().chars().any(bursar_shared::text::is_unsafe), "{:?}", cell.symbol());
            }
        }
    }
}

#[test]
fn sentences_that_name_keys_name_actions_that_there_are() {
    let mut named = 0;
    for (name, text) in all().iter().filter(|(name, _)| name != "keymap.rs") {
        for part in text.split('{').skip(1) {
            let Some((word, _)) = part.split_once('}') else { continue };
            let dotted = word.split_once('.').is_some_and(|(area, rest)| {
                let letters = |text: &str| text.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
                !area.is_empty() && !rest.is_empty() && letters(area) && letters(rest)
            });
            if dotted {
                named += 1;
                assert!(ACTIONS.iter().any(|action| action.name == word), "{name}: {{{word}}}");
            }
        }
    }
    assert!(named > 20, "{named}");
    // and what is shown of them has keys
    for action in ACTIONS {
        let undo = bursar_tui::Keymap::default().fill(action.undo);
        assert!(!undo.contains('{'), "{undo}");
    }
}
