//! Every screen in every state at 120x36 and 80x24, with styles.

use bursar_shared::permission::Permissions;
use bursar_tui::{
    ThemeName,
    message::{Alarm, Heard, Msg, Slot, Ticket},
};

use crate::support::{Desk, Mood, event, hostile, user};

const SIZES: [(u16, u16); 2] = [(120, 36), (80, 24)];

/// Compares with the checked-in screens of both sizes.
pub fn golden(name: &str, scene: impl Fn(u16, u16) -> Desk) {
    for (width, height) in SIZES {
        let mut desk = scene(width, height);
        desk.draw();
        insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
            insta::assert_snapshot!(format!("{name}@{width}x{height}"), desk.styled());
        });
    }
}

fn slow(desk: &mut Desk, slot: Slot) {
    let found: Option<Ticket> =
        desk.open.iter().map(|(ticket, _)| *ticket).find(|ticket| ticket.slot == slot);
    desk.send(Msg::Alarm(Alarm::Slow(found.unwrap())));
}

/// The daemon goes away, and is noticed by the next pulse.
pub fn cut(desk: &mut Desk) {
    desk.mood = Mood::Unreachable;
    desk.ring(Alarm::Pulse);
}

#[test]
fn sign_in() {
    golden("login-empty", Desk::new);
    golden("login-busy", |w, h| {
        let mut desk = Desk::new(w, h);
        desk.mood = Mood::Silent;
        desk.sign_in();
        desk
    });
    golden("login-wrong-email", |w, h| {
        let mut desk = Desk::new(w, h);
        desk.press("ada enter secret enter");
        desk
    });
    golden("login-unreachable", |w, h| {
        let mut desk = Desk::new(w, h);
        desk.mood = Mood::Unreachable;
        desk.sign_in();
        desk
    });
    golden("login-refused", |w, h| {
        let mut desk = Desk::new(w, h);
        desk.mood = Mood::Refuses;
        desk.sign_in();
        desk
    });
}

#[test]
fn first_screen() {
    golden("home", Desk::home);
    golden("home-reading", |w, h| {
        let mut desk = Desk::new(w, h);
        desk.mood = Mood::Silent;
        desk.sign_in();
        // only the sign-in is answered
        desk.answer_one();
        slow(&mut desk, Slot::Stats);
        desk
    });
    golden("home-forbidden", |w, h| {
        let mut desk = Desk::new(w, h);
        desk.permissions = Permissions::NONE;
        desk.sign_in();
        desk
    });
    golden("home-offline", |w, h| {
        let mut desk = Desk::home(w, h);
        cut(&mut desk);
        desk
    });
    golden("home-quiet", |w, h| {
        let mut desk = Desk::new(w, h);
        desk.events = 0;
        desk.sign_in();
        desk
    });
    golden("home-event", |w, h| {
        let mut desk = Desk::home(w, h);
        desk.press("j j enter");
        desk
    });
}

#[test]
fn people() {
    golden("users", |w, h| {
        let mut desk = Desk::users(w, h);
        desk.press("j j j j space j");
        desk.ring(Alarm::Rest);
        desk
    });
    golden("users-many", |w, h| {
        let mut desk = Desk::home(w, h);
        desk.people = 48_213;
        desk.press("2 G");
        desk
    });
    golden("users-empty", |w, h| {
        let mut desk = Desk::home(w, h);
        desk.people = 0;
        desk.press("2 / status:deleted enter");
        desk
    });
    golden("users-reading", |w, h| {
        let mut desk = Desk::home(w, h);
        desk.mood = Mood::Silent;
        desk.press("2");
        slow(&mut desk, Slot::Page(bursar_tui::message::Room::Users, bursar_tui::message::Way::Fresh));
        desk
    });
    golden("users-failed", |w, h| {
        let mut desk = Desk::home(w, h);
        desk.mood = Mood::Refuses;
        desk.press("2");
        desk
    });
    golden("users-failed-again", |w, h| {
        let mut desk = Desk::users(w, h);
        desk.mood = Mood::Refuses;
        desk.press("j r");
        desk
    });
    golden("users-offline", |w, h| {
        let mut desk = Desk::users(w, h);
        desk.press("j j");
        cut(&mut desk);
        desk
    });
    golden("users-hostile", |w, h| {
        let mut desk = Desk::home(w, h);
        desk.person = hostile;
        desk.press("2 j j");
        desk
    });
    golden("users-changed", |w, h| {
        let mut desk = Desk::users(w, h);
        desk.people = 252;
        desk.events = 127;
        desk.ring(Alarm::Pulse);
        desk
    });
    golden("user", |w, h| {
        let mut desk = Desk::users(w, h);
        desk.press("j j enter");
        desk.ring(Alarm::Rest);
        desk
    });
}

#[test]
fn finding() {
    golden("filter-ideas", |w, h| {
        let mut desk = Desk::users(w, h);
        desk.press("/ status:");
        desk
    });
    golden("filter-tab", |w, h| {
        let mut desk = Desk::users(w, h);
        desk.press("/ status: tab tab");
        desk
    });
    golden("filter-wrong", |w, h| {
        let mut desk = Desk::users(w, h);
        desk.press("/ status:active space colour:red enter");
        desk
    });
    golden("filter-wrong-at-the-end", |w, h| {
        let mut desk = Desk::users(w, h);
        desk.press("/ email:^ada space status:active space created>-7d space colour:red enter");
        desk
    });
    golden("filtered", |w, h| {
        let mut desk = Desk::users(w, h);
        desk.press("/ status:active enter");
        desk
    });
}

#[test]
fn what_lies_over() {
    golden("help", |w, h| {
        let mut desk = Desk::users(w, h);
        desk.press("?");
        desk
    });
    golden("palette", |w, h| {
        let mut desk = Desk::users(w, h);
        desk.press(":");
        desk
    });
    golden("palette-typed", |w, h| {
        let mut desk = Desk::users(w, h);
        desk.press(": clip");
        desk
    });
    golden("sort", |w, h| {
        let mut desk = Desk::users(w, h);
        desk.press("s j");
        desk
    });
    golden("columns", |w, h| {
        let mut desk = Desk::users(w, h);
        desk.press("c j j space");
        desk
    });
    golden("review", |w, h| {
        let mut desk = Desk::users(w, h);
        desk.press("j S tab");
        desk
    });
    golden("review-outcome-unknown", |w, h| {
        let mut desk = Desk::users(w, h);
        desk.press("j S tab");
        desk.pass(std::time::Duration::from_secs(1));
        desk.mood = Mood::Unreachable;
        desk.press("enter");
        desk
    });
    golden("review-unanswered", unanswered);
    golden("home-unanswered", |w, h| {
        let mut desk = unanswered(w, h);
        desk.press("esc 1 j");
        desk
    });
    golden("review-like-one-unanswered", |w, h| {
        let mut desk = unanswered(w, h);
        desk.press("esc T 1002 tab 12.5 tab tab tab rent ^s");
        desk
    });
}

/// The daemon knows nothing of a transfer whose answer was lost.
fn unanswered(width: u16, height: u16) -> Desk {
    let mut desk = Desk::home(width, height);
    desk.press("7 j T 1002 tab 12.5 tab tab tab rent ^s");
    desk.pass(std::time::Duration::from_secs(1));
    desk.press("12.50 tab");
    desk.mood = Mood::Unreachable;
    desk.press("enter");
    desk.mood = Mood::Answers;
    desk.ring(Alarm::Pulse);
    desk
}

#[test]
fn forms() {
    golden("form-new", |w, h| {
        let mut desk = Desk::users(w, h);
        desk.press("N new@example.com tab tab right");
        desk
    });
    golden("form-edit", |w, h| {
        let mut desk = Desk::users(w, h);
        desk.press("j j e ^u omar tab ^u Omar space H. tab tab tab tab plan=gold enter");
        desk
    });
    golden("form-leaving", |w, h| {
        let mut desk = Desk::users(w, h);
        desk.press("j e x esc");
        desk
    });
    golden("review-edit", |w, h| {
        let mut desk = Desk::users(w, h);
        desk.press("j j e tab ^u Omar space Haddad-Okafor tab ^u crm-7 tab ^u ^s");
        desk
    });
    golden("conflict", |w, h| {
        let mut desk = Desk::users(w, h);
        desk.press("j j e tab ^u Mine tab ^u crm-7");
        let mut theirs = user(2);
        theirs.version += 2;
        theirs.name = "Theirs".parse().unwrap();
        theirs.metadata.0.insert("plan".into(), "gold".into());
        desk.overtaken = Some(theirs);
        desk.press("^s j");
        desk
    });
    golden("roles-of", |w, h| {
        let mut desk = Desk::users(w, h);
        desk.press("R j space j");
        desk
    });
    golden("token", |w, h| {
        let mut desk = Desk::users(w, h);
        desk.press("j P");
        later(&mut desk);
        desk.press("tab enter");
        desk
    });
    golden("undo", |w, h| {
        let mut desk = Desk::users(w, h);
        for key in ["S", "K"] {
            desk.press(if key == "S" { "j S" } else { "K" });
            later(&mut desk);
            desk.press("tab enter");
        }
        desk.press("Z");
        desk
    });
}

pub fn later(desk: &mut Desk) {
    desk.pass(std::time::Duration::from_secs(1));
}

#[test]
fn many_at_once() {
    golden("bulk-plan", |w, h| {
        let mut desk = Desk::users(w, h);
        desk.press("space space space space space S tab");
        desk
    });
    golden("bulk-result", |w, h| {
        let mut desk = Desk::users(w, h);
        desk.press("space space space S tab");
        later(&mut desk);
        desk.press("enter");
        desk
    });
    golden("bulk-nobody", |w, h| {
        let mut desk = Desk::users(w, h);
        desk.press("space A");
        desk
    });
}

#[test]
fn who_is_signed_in_and_what_roles_allow() {
    golden("sessions", |w, h| {
        let mut desk = Desk::home(w, h);
        desk.press("3 j j");
        desk
    });
    golden("session", |w, h| {
        let mut desk = Desk::home(w, h);
        desk.press("3 j j enter");
        desk
    });
    golden("roles", |w, h| {
        let mut desk = Desk::home(w, h);
        desk.press("4 j j");
        desk
    });
    golden("role", |w, h| {
        let mut desk = Desk::home(w, h);
        desk.press("4 j j j enter");
        desk
    });
}

#[test]
fn the_log() {
    golden("events", |w, h| {
        let mut desk = Desk::home(w, h);
        desk.press("5");
        desk.hear(Heard::Live);
        desk.press("j j j");
        desk
    });
    golden("events-frozen", |w, h| {
        let mut desk = Desk::home(w, h);
        desk.press("5");
        desk.hear(Heard::Live);
        desk.press("f");
        desk.hear(Heard::Rows(vec![event(121), event(122)]));
        desk
    });
    golden("audit-verified", |w, h| {
        let mut desk = Desk::home(w, h);
        desk.press("6 j v");
        desk
    });
    golden("audit-broken", |w, h| {
        let mut desk = Desk::home(w, h);
        desk.broken = Some(77);
        desk.press("6 v");
        desk
    });
    golden("audit-entry", |w, h| {
        let mut desk = Desk::home(w, h);
        desk.press("6 j j enter");
        desk
    });
}

#[test]
fn small_things_over_the_screen() {
    golden("menu", |w, h| {
        let mut desk = Desk::users(w, h);
        desk.press("j x j j");
        desk
    });
    golden("which-key", |w, h| {
        let mut desk = Desk::users(w, h);
        desk.press("g");
        desk.ring(Alarm::Chord);
        desk
    });
    golden("contexts", |w, h| {
        let mut desk = Desk::users(w, h);
        desk.press("@ j");
        desk
    });
    golden("protected", |w, h| {
        let mut desk = Desk::users(w, h);
        desk.press("@ j enter 2 j S");
        desk
    });
    golden("palette-places", |w, h| {
        let mut desk = Desk::users(w, h);
        desk.press(": context");
        desk
    });
    golden("export", |w, h| {
        let mut desk = Desk::users(w, h);
        desk.press("E");
        desk
    });
    golden("export-writing", |w, h| {
        let mut desk = Desk::users(w, h);
        desk.press("E");
        desk.mood = Mood::Silent;
        desk.press("enter");
        let ticket = desk.open.last().unwrap().0;
        desk.send(Msg::Progress(ticket, 120));
        desk
    });
    golden("error", |w, h| {
        let mut desk = Desk::users(w, h);
        desk.mood = Mood::Refuses;
        desk.press("r !");
        desk
    });
    golden("refused", |w, h| {
        let mut desk = Desk::users(w, h);
        desk.press("j");
        desk.mood = Mood::Refuses;
        desk.press("D");
        desk
    });
}

#[test]
fn looks() {
    for theme in ThemeName::ALL {
        let mut desk = Desk::users(80, 24);
        desk.press("j j space j");
        desk.look(*theme, false);
        insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
            insta::assert_snapshot!(format!("theme-{}", theme.as_str()), desk.styled());
        });
    }
    let mut desk = Desk::users(80, 24);
    desk.press("j j space j");
    desk.look(ThemeName::Mono, true);
    assert!(desk.text().is_ascii(), "{}", desk.text());
    insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!("ascii", desk.styled());
    });
}

#[test]
fn without_colours_one_row_is_reversed_and_carries_the_cursor() {
    let mut desk = Desk::users(80, 24);
    desk.press("j j");
    desk.look(ThemeName::Mono, false);
    let buffer = desk.buffer();
    let reversed: Vec<u16> =
        (0..24).filter(|y| buffer[(40, *y)].modifier.contains(ratatui::style::Modifier::REVERSED)).collect();
    assert_eq!(reversed.len(), 1);
    assert_eq!(buffer[(0, reversed[0])].symbol(), "›");
    assert!(
        buffer.content.iter().all(|cell| {
            cell.fg == ratatui::style::Color::Reset && cell.bg == ratatui::style::Color::Reset
        })
    );
}
