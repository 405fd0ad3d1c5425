//! Every screen in every state at 120x36 and 80x24, with styles.

use bursar_shared::permission::Permissions;
use bursar_tui::{
    ThemeName,
    message::{Alarm, Msg, Slot, Ticket},
};

use crate::support::{Desk, Mood, hostile};

const SIZES: [(u16, u16); 2] = [(120, 36), (80, 24)];

/// Compares with the checked-in screens of both sizes.
fn golden(name: &str, scene: impl Fn(u16, u16) -> Desk) {
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
fn cut(desk: &mut Desk) {
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
        desk.model.now = desk.model.now + std::time::Duration::from_secs(1);
        desk.mood = Mood::Unreachable;
        desk.press("enter");
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
