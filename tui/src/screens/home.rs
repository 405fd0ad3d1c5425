//! The first screen: figures with their last day, the daemon's health, and the latest events.

use bursar_shared::{
    operations::{log::Event, system::Stats},
    permission::Permission,
    time::Timestamp,
};
use ratatui::layout::Rect;

use crate::{
    listing::{AnyList as _, Listing, Phase},
    look::Theme,
    message::{Request, Room, Slot, Task, Trouble},
    model::Model,
    screens::money::Money,
    text::{Clean, clock, lasted, number},
    widgets::{
        canvas::{Bit, Canvas, bit},
        chrome::{self, Parts},
        table,
    },
    window::Enter,
};

/// The first screen.
pub struct Home {
    /// The figures and when they were read.
    pub stats: Option<(Stats, Timestamp)>,
    /// Why the figures could not be read.
    pub trouble: Option<Trouble>,
    /// The latest events.
    pub feed: Listing<Event>,
}

impl Default for Home {
    fn default() -> Self {
        Self { stats: None, trouble: None, feed: Listing::new(Room::Home) }
    }
}

impl Home {
    /// Reads everything on it.
    pub fn load(model: &mut Model) -> Vec<Task> {
        let mut tasks = Self::load_figures(model);
        if model.may(Permission::EventsRead) {
            let home = &mut model.home;
            tasks.extend(if home.feed.window.cursor().is_some() || home.feed.is_returning() {
                home.feed.reload(&mut model.tickets)
            } else {
                home.feed.begin(&mut model.tickets, Enter::Nowhere)
            });
        }
        tasks
    }

    /// Reads the figures.
    fn load_stats(model: &mut Model) -> Vec<Task> {
        if !model.may(Permission::SystemRead) || model.tickets.waits_for(Slot::Stats) {
            return Vec::new();
        }
        vec![Task::Ask(model.tickets.issue(Slot::Stats), Request::Stats)]
    }

    /// Reads the figures, and how the books stand.
    pub fn load_figures(model: &mut Model) -> Vec<Task> {
        let mut tasks = Self::load_stats(model);
        tasks.extend(Money::load_books(model));
        tasks
    }

    /// New events, oldest first.
    pub fn take_events(&mut self, events: &[Event]) {
        if self.feed.read_at.is_some() && self.feed.window.at_start() {
            let newest = self.feed.window.rows().next().map_or(0, |row| row.record.seq);
            let newer = events.iter().rev().filter(|event| event.seq > newest);
            self.feed.window.put_on_top(newer.cloned().collect());
        }
    }
}

/// Lines that the figures take.
fn figure_lines(body: Rect) -> u16 {
    match body.height {
        0..8 => 0,
        8..14 => 2,
        _ => 5,
    }
}

/// Lines of the daemon's facts, where each has one.
const FACTS: u16 = 11;

/// The parts of the screen: figures, daemon, events, money.
fn areas(model: &Model, parts: &Parts) -> [Rect; 4] {
    let body = parts.body;
    let wide = body.width >= 100;
    let top = figure_lines(body);
    let figures = Rect { height: top, ..body };
    let rest = Rect { y: body.y + top, height: body.height - top, ..body };
    if wide {
        let width = 34;
        let left = Rect { width: rest.width - width - 1, ..rest };
        let right = Rect { x: left.right() + 1, width, ..rest };
        let daemon = Rect { height: FACTS.min(right.height), ..right };
        let money = Rect { y: daemon.bottom(), height: right.height - daemon.height, ..right };
        [figures, daemon, left, money]
    } else {
        let lines = if body.height >= 12 { 2 } else { 0 };
        let daemon = Rect { height: lines, ..rest };
        let rest = Rect { y: rest.y + lines, height: rest.height - lines, ..rest };
        let lines = if super::books::is_known(model) && rest.height >= 8 { 2 } else { 0 };
        let money = Rect { height: lines, ..rest };
        [figures, daemon, Rect { y: rest.y + lines, height: rest.height - lines, ..rest }, money]
    }
}

/// Rows of events that fit.
pub fn height(model: &Model, parts: &Parts) -> usize {
    let [_, _, events, _] = areas(model, parts);
    table::rows_in(events).saturating_sub(1)
}

/// Draws it.
pub fn draw(canvas: &mut Canvas<'_>, model: &Model) {
    let theme = canvas.theme;
    let parts = chrome::parts(model);
    let home = &model.home;
    let mut title = vec![bit("Home", theme.accent)];
    let age = home.stats.as_ref().map(|(_, at)| *at);
    let facts = match age {
        Some(at) => vec![bit(format!("last 24 h {} as of {}", theme.glyphs.dot, clock(at)), theme.dim)],
        None => Vec::new(),
    };
    if model.slow {
        title.push(bit("  reading…", theme.dim));
    }
    if let (Some(scroll), Some(called)) = (home.feed.open, home.feed.called(model)) {
        title.push(bit(format!(" {} {called}", theme.glyphs.path), theme.text));
        chrome::draw(canvas, model, &parts, &title, &facts);
        let lines = home.feed.lines(model, parts.body.width, true);
        super::listed::scrolled(canvas, parts.body, &lines, scroll);
        return;
    }
    chrome::draw(canvas, model, &parts, &title, &facts);
    let [figures, daemon, events, money] = areas(model, &parts);
    draw_figures(canvas, model, figures);
    draw_daemon(canvas, model, daemon);
    draw_events(canvas, model, events);
    super::books::draw(canvas, model, money);
}

fn draw_events(canvas: &mut Canvas<'_>, model: &Model, area: Rect) {
    if area.height == 0 {
        return;
    }
    let theme = canvas.theme;
    let feed = &model.home.feed;
    let state = match (&feed.phase, feed.window.cursor()) {
        _ if model.is_offline() => feed.read_at.map(|at| (format!("as of {}", clock(at)), theme.warn)),
        (Phase::Ready, None) => Some(("newest first, live".to_owned(), theme.dim)),
        (Phase::Ready, Some(_)) => Some(("live; esc follows again".to_owned(), theme.dim)),
        _ => None,
    };
    let facts: Vec<Bit> = state.into_iter().map(|(text, style)| bit(text, style)).collect();
    canvas.rule(area.x, area.y, area.width, &[bit("Events", theme.accent)], &facts);
    let area = Rect { y: area.y + 1, height: area.height - 1, ..area };
    if !model.may(Permission::EventsRead) {
        let text = Clean::from("you may not see events: that needs the permission events:read");
        if area.height > 1 {
            canvas.text(area.x + 3, area.y + 1, area.width.saturating_sub(3), &text, theme.dim);
        }
        return;
    }
    table::draw(canvas, model, area, feed, "nothing has happened yet");
}

/// One figure: its name, the number, what it means, and its last day.
struct Figure {
    name: &'static str,
    value: String,
    note: String,
    hours: Vec<u64>,
}

fn figures(stats: &Stats, theme: &Theme, wide: bool) -> Vec<Figure> {
    let sum = |hours: &[u64]| number(hours.iter().sum());
    let peak = |hours: &[u64]| match hours.iter().copied().max().unwrap_or(0) {
        0 => String::new(),
        most if wide => format!("peak {} an hour", number(most)),
        most => format!("peak {}", number(most)),
    };
    let users = &stats.users;
    vec![
        Figure {
            name: "USERS",
            value: format!("{} active", number(users.active)),
            note: match (number(users.created_last_week), number(users.suspended)) {
                (new, stopped) if wide => format!("+{new} in 7 d {} {stopped} suspended", theme.glyphs.dot),
                (new, _) => format!("+{new} in 7 d"),
            },
            hours: Vec::new(),
        },
        Figure {
            name: "SIGN-INS",
            value: sum(&stats.sign_ins_hourly),
            note: peak(&stats.sign_ins_hourly),
            hours: stats.sign_ins_hourly.clone(),
        },
        Figure {
            name: "FAILED SIGN-INS",
            value: sum(&stats.failed_sign_ins_hourly),
            note: peak(&stats.failed_sign_ins_hourly),
            hours: stats.failed_sign_ins_hourly.clone(),
        },
        Figure {
            name: "CHANGES",
            value: sum(&stats.changes_hourly),
            note: peak(&stats.changes_hourly),
            hours: stats.changes_hourly.clone(),
        },
    ]
}

fn draw_figures(canvas: &mut Canvas<'_>, model: &Model, area: Rect) {
    if area.height == 0 {
        return;
    }
    let theme = canvas.theme;
    let home = &model.home;
    let Some((stats, _)) = &home.stats else {
        let (text, style) = match &home.trouble {
            _ if model.who.is_some() && !model.may(Permission::SystemRead) => {
                ("you may not see the figures: that needs the permission system:read".to_owned(), theme.dim)
            }
            Some(trouble) => (format!("{} no figures: {}", theme.glyphs.stop, trouble.message()), theme.bad),
            None if model.is_offline() => ("no figures: the daemon cannot be reached".to_owned(), theme.dim),
            None => ("reading the figures…".to_owned(), theme.dim),
        };
        let y = area.y + area.height / 2;
        canvas.text(area.x + 2, y, area.width.saturating_sub(3), &Clean::of(text), style);
        return;
    };
    let width = area.width / 4;
    let figures = figures(stats, &theme, width >= 28);
    for (at, figure) in figures.into_iter().enumerate() {
        let x = area.x + 2 + width * at as u16;
        let cells = width.saturating_sub(3);
        let y = area.y + u16::from(area.height >= 5);
        canvas.text(x, y, cells, &Clean::from(figure.name), theme.dim);
        canvas.text(x, y + 1, cells, &Clean::of(&figure.value), theme.strong);
        if area.height < 5 {
            continue;
        }
        let used = u16::try_from(figure.value.len()).unwrap_or(cells) + 2;
        if figure.hours.is_empty() {
            canvas.text(x, y + 2, cells, &Clean::of(&figure.note), theme.dim);
            let now = if width >= 28 { " now" } else { "" };
            let sessions = format!("{} signed in{now}", number(stats.sessions_active));
            canvas.text(x, y + 3, cells, &Clean::of(sessions), theme.dim);
        } else {
            canvas.text(x + used, y + 1, cells.saturating_sub(used), &Clean::of(&figure.note), theme.dim);
            let quiet = figure.hours.iter().all(|count| *count == 0);
            let style = if quiet { theme.rule } else { theme.key };
            canvas.text(x, y + 2, cells, &Clean::of(spark(&figure.hours, cells, &theme)), style);
            let axis = if cells >= 24 { "24 h ago            now" } else { "24 h ago" };
            if cells >= 12 {
                canvas.text(x, y + 3, cells, &Clean::from(axis), theme.rule);
            }
        }
    }
}

/// Hours as heights; where there is less room, neighbours are added up.
pub fn spark(hours: &[u64], cells: u16, theme: &Theme) -> String {
    let [line] = sparks([hours], cells, theme);
    line
}

/// Several of these on one scale.
pub fn sparks<const N: usize>(all: [&[u64]; N], cells: u16, theme: &Theme) -> [String; N] {
    let cells = usize::from(cells);
    let sums = all.map(|hours| -> Vec<u64> {
        let fits = |every: &usize| hours.len().div_ceil(*every) <= cells;
        let every = [1, 2, 3, 4, 6, 8, 12, 24].into_iter().find(fits);
        hours.chunks(every.unwrap_or(24)).map(|part| part.iter().sum()).collect()
    });
    let highest = sums.iter().flatten().copied().max().unwrap_or(0).max(1);
    let heights = theme.glyphs.heights;
    let steps = heights.len() as u64 - 1;
    // money may be as large as it gets
    let height = |count: u64| (u128::from(count) * u128::from(steps)).div_ceil(highest.into()) as usize;
    let drawn = |count: u64| heights.get(height(count)).copied().unwrap_or(" ");
    sums.map(|sums| sums.into_iter().map(drawn).collect())
}

fn draw_daemon(canvas: &mut Canvas<'_>, model: &Model, area: Rect) {
    if area.height == 0 {
        return;
    }
    let theme = canvas.theme;
    canvas.rule(area.x, area.y, area.width, &[bit("Daemon", theme.accent)], &[]);
    let Some((stats, at)) = &model.home.stats else {
        if area.height > 1 {
            let text = if model.is_offline() { "not reached" } else { "not known yet" };
            canvas.text(area.x + 2, area.y + 1, area.width.saturating_sub(2), &Clean::from(text), theme.dim);
        }
        return;
    };
    let up = lasted(std::time::Duration::from_secs(stats.uptime_seconds));
    let log = u64::try_from(stats.log_head).unwrap_or(0);
    if area.height < 6 {
        let dot = format!(" {} ", theme.glyphs.dot);
        let facts =
            [stats.version.clone(), stats.engine.clone(), format!("up {up}"), format!("log {}", number(log))];
        let width = area.width.saturating_sub(4);
        canvas.text(area.x + 2, area.y + 1, width, &Clean::of(facts.join(&dot)), theme.text);
        return;
    }
    let (sign, word, style) = if model.is_offline() {
        (theme.glyphs.stop, "not reached", theme.bad)
    } else {
        (theme.glyphs.good, "live", theme.good)
    };
    let facts = [
        ("state", format!("{sign} {word}"), style),
        ("version", stats.version.clone(), theme.text),
        ("engine", stats.engine.clone(), theme.text),
        ("up", up, theme.text),
        ("log", format!("{} rows", number(log)), theme.text),
        ("sessions", number(stats.sessions_active), theme.text),
        ("deleted", format!("{} users", number(stats.users.deleted)), theme.text),
        ("server", model.place.server.clone(), theme.text),
        ("read", clock(*at), theme.dim),
    ];
    for (line, (name, value, style)) in facts.into_iter().enumerate() {
        let y = area.y + 1 + line as u16;
        if y < area.bottom() {
            canvas.text(area.x + 2, y, 10, &Clean::from(name), theme.dim);
            canvas.text(area.x + 12, y, area.width.saturating_sub(13), &Clean::of(value), style);
        }
    }
}
