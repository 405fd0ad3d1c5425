//! Properties of the window: whatever comes from the daemon, the cursor stays on its record.

use std::collections::BTreeSet;

use bursar_shared::{field::Position, operations::users::User, page::List};
use bursar_tui::window::{Enter, PAGE, PAGES, Want, Window};
use proptest::prelude::*;

use crate::support::{page, user};

/// What the daemon, or time, may do to a list.
#[derive(Debug, Clone)]
enum Happens {
    Next,
    Prev,
    Around,
    /// The list is read again and this many of its first rows are missing.
    Start(u32),
    Patch(u32),
    Gone(u32),
    OnTop(u32),
    Height(usize),
    /// The person moves; only this may change the cursor.
    Step(isize),
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        3 => Just(Happens::Next),
        3 => Just(Happens::Prev),
        1 => Just(Happens::Around),
        1 => (0u32..40).prop_map(Happens::Start),
        1 => (0u32..3_000).prop_map(Happens::Patch),
        1 => (0u32..3_000).prop_map(Happens::Gone),
        1 => (3_000u32..3_100).prop_map(Happens::OnTop),
        1 => (0usize..80).prop_map(Happens::Height),
        4 => (-300isize..300).prop_map(Happens::Step),
    ]
}

const ROWS: u32 = 3_000;

fn start() -> List<User> {
    let mut list = List::new().size(PAGE);
    list.position = Some(Position::Start);
    list
}

fn beyond(want: Want) -> List<User> {
    let mut list = List::new().size(PAGE);
    match want {
        Want::Cursor(cursor) => list.cursor = Some(cursor),
        Want::Around(id) => list.around = Some(id),
    }
    list
}

fn does(window: &mut Window<User>, what: &Happens) {
    match what {
        Happens::Next => {
            if let Some(next) = window.wants_next() {
                window.append(page(&beyond(next), ROWS, user));
            }
        }
        Happens::Prev => {
            if let Some(prev) = window.wants_prev() {
                window.prepend(page(&beyond(prev), ROWS, user));
            }
        }
        Happens::Around => {
            let mut list = List::new().size(PAGE);
            list.around = window.cursor().map(str::to_owned);
            window.replace(page(&list, ROWS, user), Enter::First);
        }
        Happens::Start(missing) => {
            let missing = *missing;
            window.replace(page(&start(), ROWS - missing, move |n| user(n + missing)), Enter::First);
        }
        Happens::Patch(n) => {
            window.patch(&user(*n).id.to_string(), |row| row.record.version += 1);
        }
        Happens::Gone(n) => {
            window.patch(&user(*n).id.to_string(), |row| row.gone = true);
        }
        Happens::OnTop(n) => window.put_on_top(vec![user(*n)]),
        Happens::Height(height) => window.set_height(*height),
        Happens::Step(rows) => window.step(*rows),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn only_the_person_moves_the_cursor(story in prop::collection::vec(happens(), 1..60)) {
        let mut window = Window::default();
        window.set_height(20);
        window.replace(page(&start(), ROWS, user), Enter::First);
        for what in &story {
            let before = window.cursor().map(str::to_owned);
            does(&mut window, what);
            if !matches!(what, Happens::Step(_)) {
                prop_assert_eq!(window.cursor(), before.as_deref(), "{:?}", what);
            }
            // the cursor's row is the row at the cursor's place, and on the screen
            let current = window.current().map(|row| row.id.as_str());
            prop_assert_eq!(current, window.cursor(), "{:?}", what);
            if let Some(at) = window.at() {
                prop_assert!(at >= window.top());
            }
            // bounded, and nobody twice
            prop_assert!(window.len() <= PAGES * PAGE as usize + 110);
            let ids: BTreeSet<&str> = window.rows().map(|row| row.id.as_str()).collect();
            prop_assert_eq!(ids.len(), window.len());
        }
    }

    #[test]
    fn marks_live_as_long_as_their_record(marked in prop::collection::btree_set(0usize..90, 1..20), missing in 0u32..90) {
        let mut window = Window::default();
        window.set_height(20);
        window.replace(page(&start(), ROWS, user), Enter::First);
        for place in &marked {
            window.to(*place);
            window.toggle_mark();
        }
        window.to(95);
        // the list is read again without one of its rows
        let skip = |n: u32| if n < missing { n } else { n + 1 };
        window.replace(page(&start(), ROWS - 1, |n| user(skip(n))), Enter::First);
        let gone = user(missing).id.to_string();
        prop_assert!(!window.marks().contains(&gone) || missing == 0);
        let left = marked.iter().filter(|place| **place as u32 != missing).count();
        prop_assert!(window.marks().len() >= left);
    }
}

#[test]
fn a_record_that_is_gone_stays_under_the_cursor_as_a_tombstone() {
    let mut window = Window::default();
    window.set_height(20);
    window.replace(page(&start(), 50, user), Enter::First);
    window.to(7);
    let id = window.cursor().unwrap().to_owned();
    window.replace(page(&start(), 49, |n| user(if n < 7 { n } else { n + 1 })), Enter::First);
    assert_eq!(window.cursor(), Some(id.as_str()));
    assert!(window.current().unwrap().gone);
    assert_eq!(window.at(), Some(7));
    window.step(1);
    assert_eq!(window.cursor(), Some(user(8).id.to_string().as_str()));
}

#[test]
fn a_page_that_would_drop_the_readers_row_is_not_taken() {
    let mut window = Window::default();
    window.set_height(20);
    window.replace(page(&start(), ROWS, user), Enter::First);
    while window.len() < PAGES * PAGE as usize {
        let next = format!("n{}", window.len());
        window.append(page(&beyond(Want::Cursor(next)), ROWS, user));
    }
    // asked for at the end, arriving when the reader is back at the start
    assert!(!window.append(page(&beyond(Want::Cursor("n1000".to_owned())), ROWS, user)));
    assert_eq!(window.at(), Some(0));
}

#[test]
fn a_followed_list_stays_bounded_wherever_the_reader_stands_and_can_be_scrolled_back() {
    // rows are numbered from the newest of those that will have come
    let from = 5_000;
    for cursor in [None, Some(0), Some(60), Some(99)] {
        let mut window = Window::default();
        window.set_height(20);
        window.replace(page(&start(), PAGE, |n| user(n + from)), Enter::Nowhere);
        if let Some(place) = cursor {
            window.to(place);
        }
        let before = window.cursor().map(str::to_owned);
        let mut came = 0;
        while came < 4_000 && window.at_start() {
            let rows = (from - came - 150..from - came).map(user).collect();
            window.put_on_top(rows);
            came += 150;
            assert!(window.len() <= (PAGES + 1) * PAGE as usize, "{}", window.len());
            assert_eq!(window.cursor(), before.as_deref());
        }
        // whoever stands at the top sees what comes; from whoever stands at an old row it is held back
        assert_eq!(window.at_start(), cursor.is_none());
        // what was dropped is read again, without a gap
        let all = |n: u32| user(n + from - came);
        window.to(window.len() - 1);
        while let Some(want) = window.wants_next() {
            assert!(window.append(page(&beyond(want), PAGE + came, all)));
            window.step(2_000);
        }
        let ids: Vec<&str> = window.rows().map(|row| row.id.as_str()).collect();
        let last = PAGE + came;
        let wanted: Vec<String> = (last - ids.len() as u32..last).map(|n| all(n).id.to_string()).collect();
        assert!(ids == wanted, "{} and {}", ids[0], wanted[0]);
    }
}

/// What the daemon may do to the whole dashboard while somebody looks.
#[derive(Debug, Clone)]
enum Befalls {
    /// Rows of the log come, this many.
    Rows(u8),
    /// The daemon goes.
    Down,
    /// And comes back.
    Up,
    /// The log is followed again.
    Live,
    /// An answer that was under way arrives.
    Answer,
    /// Requests stay under way for now.
    Silence,
    /// The cursor has rested, and what belongs to its row is read.
    Rest,
    /// The terminal has another size.
    Size(u16, u16),
}

fn befalls() -> impl Strategy<Value = Befalls> {
    prop_oneof![
        4 => (1u8..40).prop_map(Befalls::Rows),
        1 => Just(Befalls::Down),
        1 => Just(Befalls::Up),
        1 => Just(Befalls::Live),
        2 => Just(Befalls::Answer),
        1 => Just(Befalls::Silence),
        1 => Just(Befalls::Rest),
        1 => (20u16..200, 4u16..60).prop_map(|(w, h)| Befalls::Size(w, h)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn whatever_befalls_a_screen_its_cursor_stays(
        screen in 1u8..7,
        steps in 1usize..30,
        story in prop::collection::vec(befalls(), 1..24),
    ) {
        use bursar_tui::message::{Alarm, Heard};
        use crate::support::{Desk, Mood, event};
        let mut desk = Desk::home(100, 30);
        desk.press(&screen.to_string());
        desk.hold("j", steps);
        let before = desk.cursor().map(str::to_owned);
        prop_assert!(before.is_some());
        let mut seq = desk.events;
        for what in &story {
            match what {
                Befalls::Rows(count) => {
                    let rows = (1..=i64::from(*count)).map(|n| event(seq + n)).collect();
                    seq += i64::from(*count);
                    // what was heard is what there is to be read
                    desk.events = seq;
                    if desk.stream.is_some() {
                        desk.hear(Heard::Rows(rows));
                    }
                }
                Befalls::Down => {
                    desk.mood = Mood::Unreachable;
                    desk.ring(Alarm::Pulse);
                }
                Befalls::Up => {
                    desk.mood = Mood::Answers;
                    desk.ring(Alarm::Pulse);
                }
                Befalls::Live if desk.stream.is_some() => desk.hear(Heard::Live),
                Befalls::Live => {}
                Befalls::Answer if !desk.open.is_empty() => desk.answer_one(),
                Befalls::Answer => {}
                Befalls::Silence => desk.mood = Mood::Silent,
                Befalls::Rest => desk.ring(Alarm::Rest),
                Befalls::Size(width, height) => desk.resize(*width, *height),
            }
            prop_assert_eq!(desk.cursor(), before.as_deref(), "{:?}", what);
        }
    }
}
