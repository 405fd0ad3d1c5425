//! What a new user stumbles over: words that outlive their truth, keys that do something else than said.

use bursar_tui::{
    message::{Alarm, Input, Msg, Room, Slot, Way},
    model::Screen,
};

use crate::support::{Desk, Mood, user};

/// The last line of the screen.
fn bottom(desk: &Desk) -> String {
    desk.text().lines().last().unwrap().to_owned()
}

/// Agrees to what is asked, once it could be read.
fn agree(desk: &mut Desk) {
    desk.pass(std::time::Duration::from_millis(500));
    desk.press("tab enter");
}

#[test]
fn facts_drop_out_one_by_one_and_the_chain_last() {
    for (width, facts) in [
        (120, "chain whole at 12:04:31Z · 1/120 rows · newest first · as of 12:04:31Z"),
        (80, "chain whole at 12:04:31Z · 1/120 rows · as of 12:04:31Z"),
        (60, "chain whole at 12:04:31Z · 1/120 rows"),
        (46, "chain whole at 12:04:31Z"),
    ] {
        let mut desk = Desk::home(width, 24);
        desk.press("6 v");
        let title = desk.text().lines().nth(2).unwrap().to_owned();
        assert!(title.contains(facts), "{width}: {title}");
    }
}

#[test]
fn that_the_daemon_is_back_is_said_while_it_is_news() {
    let mut desk = Desk::users(80, 24);
    desk.mood = Mood::Unreachable;
    desk.ring(Alarm::Pulse);
    // back, and what is shown is read again
    desk.mood = Mood::Silent;
    desk.ring(Alarm::Pulse);
    desk.answer_one();
    assert!(desk.text().contains("the daemon is back"), "{}", desk.text());
    assert!(desk.waits(Slot::Page(Room::Users, Way::Fresh)));
    // gone again before it was
    desk.mood = Mood::Unreachable;
    desk.answer();
    desk.draw();
    assert!(desk.text().contains("OFFLINE") && !desk.text().contains("is back"), "{}", desk.text());
    desk.mood = Mood::Answers;
    desk.ring(Alarm::Pulse);
    assert!(!desk.text().contains("is back") && desk.text().contains("live"), "{}", desk.text());
}

#[test]
fn nothing_is_being_read_while_offline() {
    let mut desk = Desk::users(80, 24);
    desk.mood = Mood::Unreachable;
    desk.ring(Alarm::Pulse);
    for screen in ["3", "4", "5", "6", "1"] {
        desk.press(screen);
        assert!(!desk.text().contains("reading"), "{}", desk.text());
    }
}

#[test]
fn the_line_at_the_bottom_has_the_keys_of_what_lies_over_the_screen() {
    let mut desk = Desk::users(80, 24);
    assert!(bottom(&desk).contains("space mark"), "{}", bottom(&desk));
    for (keys, hint) in [
        ("e", "^s reviews"),
        ("esc N tab tab", "space other"),
        ("esc esc :", "enter does it"),
        ("esc ?", "pgdn screen down"),
        ("esc s", "enter chooses"),
        ("esc j S", "tab other button"),
        ("r", "enter to the buttons"),
        ("esc E", "tab other form"),
        ("esc /", "enter narrows the list"),
    ] {
        desk.press(keys);
        let line = bottom(&desk);
        assert!(line.contains(hint) && !line.contains("space mark"), "{keys}: {line}");
    }
}

#[test]
fn a_click_on_a_hint_presses_its_key() {
    let mut desk = Desk::users(80, 24);
    desk.press("e x");
    let at = bottom(&desk).find("^s").unwrap() as u16;
    desk.send(Msg::Input(Input::Click(at, 23)));
    desk.draw();
    assert!(
        desk.text().contains("Save these changes?") || desk.text().contains("problem"),
        "{}",
        desk.text()
    );
}

#[test]
fn forms_keep_their_labels_in_a_small_terminal() {
    let mut desk = Desk::users(40, 10);
    desk.press("e");
    for label in ["Email", "Name", "External id"] {
        assert!(desk.text().contains(label), "{}", desk.text());
    }
    let desk = Desk::new(40, 10);
    for label in ["Server", "Email", "Password"] {
        assert!(desk.text().contains(label), "{}", desk.text());
    }
}

#[test]
fn a_copied_command_names_its_daemon() {
    let mut desk = Desk::users(120, 36);
    desk.press("j Y");
    assert!(desk.copied[0].starts_with("bursar -c demo users get usr_"), "{:?}", desk.copied);
    desk.press("S Y esc");
    assert!(desk.copied[1].starts_with("bursar -c demo users suspend usr_"), "{:?}", desk.copied);
    // a daemon without a context is named by its address, and by what else is needed to reach it
    desk.model.place.context = None;
    desk.model.place.options = vec!["--ca-cert".to_owned(), "/tmp/my ca.pem".to_owned()];
    desk.press("Y");
    let flags = "bursar --server http://127.0.0.1:8460 --ca-cert '/tmp/my ca.pem' users get usr_";
    assert!(desk.copied[2].starts_with(flags), "{:?}", desk.copied);
}

#[test]
fn the_palette_finds_what_is_meant_and_says_when_nothing_is() {
    let mut desk = Desk::users(120, 36);
    let found = |desk: &mut Desk, text: &str| {
        desk.press(":");
        desk.press(text);
        let text = desk.text();
        desk.press("esc");
        text
    };
    // letters that are only scattered over a sentence are no match
    let text = found(&mut desk, "ldtr");
    assert!(text.contains("nothing is called ldtr") && !text.contains("users delete"), "{text}");
    // the beginnings of words are, also of words about it, and letters in order
    for (typed, finds) in [
        ("susp", "users suspend"),
        ("clip", "copy id"),
        ("resetp", "users reset-password"),
        ("new space us", "users create"),
    ] {
        let text = found(&mut desk, typed);
        assert!(text.contains(finds), "{typed}: {text}");
    }
    // enter on nothing leaves it open to be mended
    desk.press(": zzz enter");
    assert!(desk.text().contains("nothing is called zzz"), "{}", desk.text());
}

#[test]
fn who_was_made_is_under_the_cursor() {
    let mut desk = Desk::users(120, 36);
    desk.people = 9_001;
    desk.press("j j N new@example.com tab New space Body ^s");
    agree(&mut desk);
    assert_eq!(desk.cursor(), Some(user(9_000).id.to_string().as_str()));
    assert!(desk.text().contains("created new@example.com; Z deletes them again"), "{}", desk.text());
    // from another screen one comes back
    let mut desk = Desk::home(120, 36);
    desk.people = 9_001;
    desk.press("4 N new@example.com tab New space Body ^s");
    agree(&mut desk);
    assert_eq!(desk.model.screen, Screen::Users);
    assert_eq!(desk.cursor(), Some(user(9_000).id.to_string().as_str()));
    desk.press("esc");
    assert_eq!(desk.model.screen, Screen::Roles);
}

#[test]
fn who_was_made_outside_of_the_filter_leaves_the_cursor_where_it_was() {
    let mut desk = Desk::users(120, 36);
    desk.press("/ status:active enter j j");
    let id = desk.cursor().unwrap().to_owned();
    desk.press("N new@example.com tab New space Body ^s");
    agree(&mut desk);
    assert!(desk.text().contains("the filter of this list leaves it out"), "{}", desk.text());
    assert_eq!(desk.cursor(), Some(id.as_str()));
}

#[test]
fn a_wrong_filter_is_marked_where_it_is_wrong_and_says_what_was_meant() {
    let mut desk = Desk::users(120, 36);
    desk.press("/ stauts:active enter");
    assert!(desk.text().contains("did you mean status?"), "{}", desk.text());
    let carets = |desk: &Desk| desk.text().lines().find(|line| line.contains('^')).unwrap().trim().len();
    assert_eq!(carets(&desk), "stauts".len());
    desk.press("^u status:open enter");
    assert_eq!(carets(&desk), "open".len());
}

#[test]
fn a_number_without_a_screen_says_which_there_are() {
    let mut desk = Desk::users(120, 36);
    let number = (1..=9).find(|number| Screen::ALL.len() < *number).unwrap();
    desk.press(&number.to_string());
    let text = desk.text();
    assert!(text.contains(&format!("{number} is no screen: 1 Home, 2 Users")), "{text}");
}

#[test]
fn roles_of_a_new_person_are_typed_only_where_they_cannot_be_read() {
    let mut desk = Desk::users(120, 36);
    desk.press("N tab tab tab x");
    assert!(desk.text().contains("none; space chooses"), "{}", desk.text());
    desk.press("space j space");
    // left as it was
    desk.press("esc");
    assert!(
        desk.text().contains("New user") && desk.text().contains("none; space chooses"),
        "{}",
        desk.text()
    );
    desk.press("esc esc");
    use bursar_shared::permission::Permission;
    desk.permissions = [Permission::UsersRead, Permission::UsersWrite].into_iter().collect();
    desk.sign_out();
    desk.press("correct-horse enter 2 N tab tab tab support");
    assert!(desk.text().contains("Roles         support"), "{}", desk.text());
}

#[test]
fn the_reason_of_many_is_seen_however_long_the_plan_is() {
    let mut desk = Desk::users(80, 24);
    desk.press("* S r because");
    let text = desk.text();
    assert!(text.contains("reason      because") && text.contains("Cancel"), "{text}");
    // tab goes on from there in the order of the screen: cancel, then the button that does it
    desk.press("tab");
    assert!(desk.text().contains("› Cancel"), "{}", desk.text());
    desk.press("tab");
    assert!(desk.text().contains("› Suspend"), "{}", desk.text());
    desk.press("tab");
    assert!(desk.drawn.caret.is_some());
}

#[test]
fn roles_that_are_built_in_are_as_old_as_the_program() {
    let mut desk = Desk::home(120, 36);
    desk.press("4 c j j j j space enter");
    let text = desk.text();
    assert!(text.contains("CREATED") && !text.contains("1970"), "{text}");
    assert!(!text.contains("created   "), "{text}");
}

#[test]
fn a_range_is_marked_from_the_last_mark_to_the_cursor_either_way() {
    let marks = |desk: &Desk| desk.model.users.list.window.marks().len();
    let mut desk = Desk::users(80, 24);
    desk.press("j j V");
    assert!(desk.text().contains("at the other end the same key marks all between"), "{}", desk.text());
    desk.press("j j j V");
    assert_eq!(marks(&desk), 4);
    // and up again from there
    desk.press("g g V");
    assert_eq!(marks(&desk), 6);
    desk.press("\\ space j j V");
    assert_eq!(marks(&desk), 4, "space marks the first and moves on");
    desk.press("\\ shift-down shift-down shift-up");
    assert_eq!(marks(&desk), 3);
    // other keys of this kind change nothing in the daemon
    assert!(desk.model.overlay.is_none());
}

#[test]
fn a_person_has_one_timeline_of_what_happened_to_them_and_what_they_did() {
    let mut desk = Desk::users(120, 36);
    desk.press("j j j enter");
    desk.ring(Alarm::Rest);
    let text = desk.text();
    // of others, with whom it was done to; of them, with who did it
    assert!(text.contains("user.created  ") && text.contains("TIMELINE"), "{text}");
    let asked = |desk: &Desk| desk.log.iter().filter(|request| request.starts_with("Timeline")).count();
    assert_eq!(asked(&desk), 1);
    // something happens to them: it is read again once the cursor rests
    desk.events = 123;
    desk.ring(Alarm::Pulse);
    desk.ring(Alarm::Rest);
    assert_eq!(asked(&desk), 2);
}

#[test]
fn keys_that_were_set_work_and_are_shown() {
    let mut desk = Desk::users(120, 60);
    let keys = [
        ("user.suspend", vec!["f2".to_owned()]),
        ("list.down", vec!["n".to_owned(), "down".to_owned()]),
        ("app.help", vec!["g ?".to_owned()]),
    ];
    let keys = keys.into_iter().map(|(name, keys)| (name.to_owned(), keys)).collect();
    desk.model.keys = bursar_tui::Keymap::new(&keys).unwrap();
    desk.press("n n");
    assert_eq!(desk.cursor(), Some(user(2).id.to_string().as_str()));
    // the old ones mean nothing any more
    desk.press("j S");
    assert_eq!(desk.cursor(), Some(user(2).id.to_string().as_str()));
    assert!(desk.model.overlay.is_none());
    desk.press("g ?");
    let text = desk.text();
    assert!(text.contains("n down") && text.contains("f2        suspend"), "{text}");
    desk.press("esc x");
    assert!(desk.text().contains("f2"), "{}", desk.text());
    desk.press("esc f2");
    assert!(desk.text().contains("Suspend this person?"), "{}", desk.text());
}

#[test]
fn a_step_that_scrolls_is_few_bytes_also_beside_the_details() {
    let mut desk = Desk::users(120, 36);
    desk.hold("j", 45);
    desk.ring(Alarm::Still);
    desk.ring(Alarm::Rest);
    let mut painter = bursar_tui::Painter::new();
    let mut bytes = |desk: &Desk| {
        let mut out = Vec::new();
        painter.paint(desk.buffer(), false, None, &mut out);
        out.len()
    };
    bytes(&desk);
    // one step: all that belongs to the row is there at once
    desk.press("j");
    assert!(desk.text().contains("created   "), "{}", desk.text());
    let one = bytes(&desk);
    assert!(one <= 1_000, "{one} bytes");
    // held down: what nobody could read anyway comes when the key is let go
    desk.hold("j", 1);
    bytes(&desk);
    for _ in 0..5 {
        desk.hold("j", 1);
        let held = bytes(&desk);
        assert!(held <= 400, "{held} bytes");
        assert!(!desk.text().contains("created   "), "{}", desk.text());
    }
    desk.ring(Alarm::Still);
    assert!(desk.text().contains("created   "), "{}", desk.text());
}

#[test]
fn a_light_terminal_gets_light_colours_unless_somebody_chose() {
    use bursar_tui::ThemeName;
    let mut desk = Desk::users(80, 24);
    desk.send(Msg::Background(true));
    assert_eq!(desk.model.look.theme, ThemeName::Dark, "it was not asked");
    desk.model.look.asks = true;
    desk.send(Msg::Background(true));
    assert_eq!(desk.model.look.theme, ThemeName::Light);
    assert_eq!(desk.model.theme, bursar_tui::look::Theme::of(desk.model.look));
    desk.press("^t");
    desk.send(Msg::Background(true));
    assert_eq!(desk.model.look.theme, ThemeName::Mono);
}
