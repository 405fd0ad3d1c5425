//! Nothing panics at any size, and the cursor is the same after it.

use bursar_tui::{ThemeName, message::Alarm};

use crate::{
    books::hostile_account,
    support::{Desk, Mood, hostile},
};

/// A sequence that is the same in every run.
fn sizes() -> impl Iterator<Item = (u16, u16)> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        ((state % 240) as u16 + 1, (state / 240 % 80) as u16 + 1)
    })
}

#[test]
fn two_thousand_sizes_on_every_screen() {
    let scenes: [fn(&mut Desk); 35] = [
        |desk| desk.press("3 j"),
        |desk| desk.press("4 j enter"),
        |desk| desk.press("5 j"),
        |desk| desk.press("6 j enter"),
        |desk| desk.press("2 j e ^u x tab"),
        |desk| desk.press("2 N x tab tab"),
        |desk| desk.press("2 j S"),
        |desk| desk.press("2 space space space S"),
        |desk| desk.press("2 x"),
        |desk| desk.press("2 R"),
        |desk| desk.press("@"),
        |desk| desk.press("2 E"),
        |desk| {
            desk.mood = Mood::Refuses;
            desk.press("2 r !");
            desk.mood = Mood::Answers;
        },
        |desk| {
            desk.press("2 j e tab ^u mine");
            let mut theirs = hostile(1);
            theirs.version += 2;
            desk.overtaken = Some(theirs);
            desk.press("^s");
        },
        |desk| {
            desk.press("2 g");
            desk.ring(Alarm::Chord);
        },
        |_| {},
        |desk| desk.press("j enter"),
        |desk| desk.press("2"),
        |desk| desk.press("2 / status:x enter"),
        |desk| desk.press("2 enter"),
        |desk| desk.press("2 ?"),
        |desk| desk.press("2 : copy"),
        |desk| desk.press("2 c"),
        |desk| desk.press("7 j"),
        |desk| desk.press("7 j enter"),
        |desk| desk.press("7 j o j"),
        |desk| {
            desk.falsified = Some(125);
            desk.press("7 j o j enter");
        },
        |desk| {
            desk.press("8 j j");
            desk.ring(Alarm::Rest);
        },
        |desk| desk.press("8 j enter"),
        |desk| {
            desk.press("7 j T e");
            desk.ring(Alarm::Seek);
        },
        |desk| desk.press("7 j T world:EUR tab 12 ^s tab 12"),
        |desk| desk.press("8 j C ^u 2 ^s tab"),
        |desk| desk.press("7 N Till tab EUR tab 2 tab 50"),
        |desk| {
            desk.press("7 j j e tab ^u 25");
            let mut theirs = hostile_account(2);
            theirs.version += 2;
            desk.overtaken_account = Some(theirs);
            desk.press("^s");
        },
        |desk| desk.press("7 j F"),
    ];
    let mut sizes = sizes();
    for (at, scene) in scenes.into_iter().enumerate() {
        let mut desk = Desk::home(80, 24);
        desk.person = hostile;
        desk.account = hostile_account;
        scene(&mut desk);
        let cursor = desk.cursor().map(str::to_owned);
        for round in 0..120 {
            let (width, height) = if round == 0 { (1, 1) } else { sizes.next().unwrap() };
            desk.resize(width, height);
            if round == 50 {
                desk.look(ThemeName::HighContrast, true);
            }
            if round == 90 && at % 2 == 0 {
                desk.mood = Mood::Unreachable;
                desk.ring(Alarm::Pulse);
            }
        }
        assert_eq!(desk.cursor().map(str::to_owned), cursor);
    }
    let mut desk = Desk::new(80, 24);
    for _ in 0..250 {
        let (width, height) = sizes.next().unwrap();
        desk.resize(width, height);
    }
}
