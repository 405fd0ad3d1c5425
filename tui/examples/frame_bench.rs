//! Times a frame of a list of a million people, and a bare ratatui table beside it in the same run.
//!
//! `cargo run --release -p bursar-tui --example frame_bench`
//!
//! Both draw 120x36 cells and write the difference to the frame before, as a terminal would get it.

use std::{
    cell::Cell,
    io::Write,
    rc::Rc,
    time::{Duration, Instant},
};

use bursar_shared::{
    id::UserId,
    operations::users::User,
    page::{Page, PageMode, Pagination, TotalAccuracy},
    permission::Permissions,
    time::Timestamp,
};
use bursar_tui::{
    Look,
    draw::draw,
    keys::Key,
    message::{Answer, Input, Msg, Request, Task},
    model::{Link, Model, Place, Screen, Who},
    update::update,
};
use ratatui::{
    Terminal,
    backend::CrosstermBackend,
    layout::Constraint,
    style::{Modifier, Style},
    widgets::{Row, Table, TableState},
};
use serde_json::json;

const MILLION: u32 = 1_000_000;
const STEPS: usize = 2_000;
const SIZE: (u16, u16) = (120, 36);

fn user(n: u32) -> User {
    let id = UserId::from_bits(u128::from(n));
    let time = Timestamp::from_micros(1_760_000_000_000_000 - i64::from(n) * 1_000_000);
    let user = json!({
        "id": id, "email": format!("user{n}@example.com"), "name": format!("User {n}"), "status": "active", "kind": "human",
        "roles": ["support"], "externalId": null, "metadata": {}, "lastLoginAt": null, "version": 1,
        "createdAt": time, "updatedAt": time, "sessions": [],
    });
    serde_json::from_value(user).expect("a user")
}

fn page(from: u32, to: u32) -> Page<User> {
    Page {
        rows: (from..to).map(user).collect(),
        pagination: Pagination {
            mode: PageMode::Cursor,
            page: None,
            page_size: 100,
            total: Some(10_000),
            total_pages: None,
            total_accuracy: TotalAccuracy::AtLeast,
            has_more: to < MILLION,
            next_cursor: (to < MILLION).then(|| to.to_string()),
            prev_cursor: (from > 0).then(|| format!("-{from}")),
        },
        included: Default::default(),
    }
}

/// The daemon: pages by cursor.
fn answer(request: &Request) -> Option<Answer> {
    let Request::Users(list) = request else { return None };
    let cursor = list.cursor.as_deref().unwrap_or("0");
    Some(Answer::Users(match cursor.strip_prefix('-') {
        Some(to) => {
            let to: u32 = to.parse().expect("a cursor");
            page(to.saturating_sub(100), to)
        }
        None => {
            let from: u32 = cursor.parse().expect("a cursor");
            page(from, (from + 100).min(MILLION))
        }
    }))
}

fn send(model: &mut Model, msg: Msg) {
    let mut open = update(model, msg, &[]);
    while let Some(task) = open.pop() {
        if let Task::Ask(ticket, request) = task
            && let Some(answer) = answer(&request)
        {
            open.extend(update(model, Msg::Answer(ticket, Ok(answer)), &[]));
        }
    }
}

fn report(name: &str, mut times: Vec<Duration>, bytes: usize) -> Duration {
    times.sort_unstable();
    let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize];
    say(&format!(
        "{name:<34} p50 {:>8.1?}  p95 {:>8.1?}  p99 {:>8.1?}  max {:>8.1?}  {:>5} bytes a step",
        at(0.5),
        at(0.95),
        at(0.99),
        at(1.0),
        bytes / times.len()
    ));
    at(0.5)
}

fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// Where frames go: they are counted.
#[derive(Clone, Default)]
struct Sheet(Rc<Cell<usize>>);

impl Write for Sheet {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.set(self.0.get() + bytes.len());
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn terminal(sheet: &Sheet) -> Terminal<CrosstermBackend<Sheet>> {
    let area = ratatui::layout::Rect::new(0, 0, SIZE.0, SIZE.1);
    let options = ratatui::TerminalOptions { viewport: ratatui::Viewport::Fixed(area) };
    Terminal::with_options(CrosstermBackend::new(sheet.clone()), options).expect("a terminal of memory")
}

fn main() {
    let now = Timestamp::from_micros(1_760_000_000_000_000);
    let place = Place { server: "http://127.0.0.1:8460".into(), ..Place::default() };
    let mut model = Model::new(Look::default(), place, now);
    model.size = SIZE;
    model.who = Some(Who { user: user(0), permissions: Permissions::all() });
    model.link = Link::Live;
    model.screen = Screen::Users;
    send(&mut model, Msg::Input(Input::Key(Key::read("r").expect("a key"))));
    let key = || Msg::Input(Input::Key(Key::read("j").expect("a key")));

    // one step at a time: the key, what it does, and the frame
    let (our_bytes, bare_bytes) = (Sheet::default(), Sheet::default());
    let mut screen = terminal(&our_bytes);
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    let mut plain = terminal(&bare_bytes);
    let mut state = (0_u32, 0_u32);
    for _ in 0..STEPS {
        let begun = Instant::now();
        send(&mut model, key());
        screen.draw(|frame| drop(draw(&model, frame.buffer_mut()))).expect("drawn");
        ours.push(begun.elapsed());

        // the neighbour: the same step in a bare table that is given its visible rows only
        let begun = Instant::now();
        let rows = u32::from(SIZE.1) - 1;
        state.0 = (state.0 + 1).min(MILLION - 1);
        state.1 = state.1.max((state.0 + 1).saturating_sub(rows));
        plain
            .draw(|frame| {
                let rows = (state.1..state.1 + rows).map(|n| {
                    Row::new([
                        format!("user{n}@example.com"),
                        format!("User {n}"),
                        "active".into(),
                        "support".into(),
                    ])
                });
                let widths =
                    [Constraint::Fill(1), Constraint::Fill(1), Constraint::Length(9), Constraint::Length(9)];
                let style = Style::new().add_modifier(Modifier::REVERSED);
                let table = Table::new(rows, widths).header(Row::new(["EMAIL", "NAME", "STATUS", "ROLES"]));
                let mut shown = TableState::default();
                shown.select(Some((state.0 - state.1) as usize));
                frame.render_stateful_widget(table.row_highlight_style(style), frame.area(), &mut shown);
            })
            .expect("drawn");
        bare.push(begun.elapsed());
    }
    say(&format!("{STEPS} steps down a list of 1,000,000 at {}x{}, pages read on the way", SIZE.0, SIZE.1));
    let one = report("bursar: key, update, frame", ours, our_bytes.0.get());
    let other = report("bare ratatui table, visible rows", bare, bare_bytes.0.get());
    say(&format!("ratio of the medians: {:.2}", one.as_secs_f64() / other.as_secs_f64()));

    let begun = Instant::now();
    for _ in 0..500 {
        send(&mut model, key());
    }
    screen.draw(|frame| drop(draw(&model, frame.buffer_mut()))).expect("drawn");
    say(&format!("a burst of 500 keys and one frame: {:.1?}", begun.elapsed()));
    say(&format!("rows held: {}", model.users.list.window.len()));
}
