//! People: the list, and beside it everything about the one under the cursor.

use std::time::Duration;

use bursar_shared::{
    filter,
    id::UserId,
    operations::{
        log::Event,
        users::{EffectivePermissions, User},
    },
    page::{List, Resource, Sort},
    permission::Permission,
};
use ratatui::layout::Rect;

use super::person::{about, full, metadata, permissions, sessions, status};
use crate::{
    keys::{Code, Key},
    listing::{Column, Listing, Phase, Rows},
    look::Theme,
    message::{Alarm, Request, Room, Slot, Task, Trouble},
    model::Model,
    text::{Clean, clock, day, minute},
    widgets::{
        canvas::{Bit, Canvas, bit},
        chrome::{self, Parts},
        field, filter_bar,
        overlay::{Choice, Choose, Overlay},
        table,
    },
};

/// How long the cursor rests before what belongs to its row is loaded.
const REST: Duration = Duration::from_millis(150);
/// The pane beside the list.
const PANE: u16 = 43;
/// The pane below the list, where there is no room beside it.
const PEEK: u16 = 8;

/// People.
pub struct Users {
    /// The list.
    pub list: Listing<User>,
    /// Whether the details are shown beside it.
    pub pane: bool,
    /// The person on the whole screen, scrolled by so many lines.
    pub open: Option<usize>,
    /// What somebody may do, as last asked: for whom, in which version, and the answer.
    pub allowed: Option<(UserId, i64, Result<EffectivePermissions, Trouble>)>,
    /// For whom it is being asked.
    asked: Option<(UserId, i64)>,
}

impl Default for Users {
    fn default() -> Self {
        Self { list: Listing::default(), pane: true, open: None, allowed: None, asked: None }
    }
}

impl Rows for User {
    const ROOM: Room = Room::Users;
    const COLUMNS: &'static [Column<Self>] = &[
        Column {
            title: "EMAIL",
            min: 27,
            share: 2,
            right: false,
            shown: true,
            sort: Some("email"),
            cell: |user, theme| bit(user.email.as_str().to_owned(), theme.text),
        },
        Column {
            title: "NAME",
            min: 14,
            share: 1,
            right: false,
            shown: true,
            sort: Some("name"),
            cell: |user, theme| bit(user.name.as_str().to_owned(), theme.text),
        },
        Column {
            title: "STATUS",
            min: 11,
            share: 0,
            right: false,
            shown: true,
            sort: None,
            cell: |user, theme| status(user.status, theme),
        },
        Column {
            title: "ROLES",
            min: 9,
            share: 1,
            right: false,
            shown: true,
            sort: None,
            cell: |user, theme| bit(user.roles.join(", "), theme.text),
        },
        Column {
            title: "CREATED",
            min: 10,
            share: 0,
            right: true,
            shown: true,
            sort: Some("createdAt"),
            cell: |user, theme| bit(day(user.created_at), theme.dim),
        },
        Column {
            title: "LAST SIGN-IN",
            min: 16,
            share: 0,
            right: true,
            shown: true,
            sort: None,
            cell: |user, theme| bit(user.last_login_at.map_or_else(|| "never".to_owned(), minute), theme.dim),
        },
        Column {
            title: "KIND",
            min: 7,
            share: 0,
            right: false,
            shown: false,
            sort: None,
            cell: |user, theme| bit(user.kind.as_str(), theme.text),
        },
        Column {
            title: "SESSIONS",
            min: 8,
            share: 0,
            right: true,
            shown: false,
            sort: None,
            cell: |user, theme| {
                bit(user.sessions.as_ref().map_or_else(String::new, |all| all.len().to_string()), theme.text)
            },
        },
        Column {
            title: "VERSION",
            min: 7,
            share: 0,
            right: true,
            shown: false,
            sort: None,
            cell: |user, theme| bit(user.version.to_string(), theme.dim),
        },
        Column {
            title: "EXTERNAL ID",
            min: 14,
            share: 1,
            right: false,
            shown: false,
            sort: None,
            cell: |user, theme| {
                bit(user.external_id.as_ref().map_or_else(String::new, ToString::to_string), theme.dim)
            },
        },
        Column {
            title: "ID",
            min: 30,
            share: 0,
            right: false,
            shown: false,
            sort: None,
            cell: |user, theme| bit(user.id.to_string(), theme.dim),
        },
    ];

    fn request(list: List<Self>) -> Request {
        Request::Users(list)
    }
}

impl Users {
    /// Reads the list, around the cursor if it was read before.
    pub fn load(model: &mut Model) -> Vec<Task> {
        // what somebody may not see is not asked for: the daemon would refuse the whole page
        model.users.list.include =
            if model.may(Permission::SessionsRead) { vec!["sessions"] } else { Vec::new() };
        model.users.allowed = None;
        model.users.list.reload(&mut model.tickets)
    }

    /// Something happened to people: rows that are shown are brought up to date where they are.
    pub fn take_events(&mut self, events: &[Event]) -> bool {
        let mut seen = false;
        for event in events.iter().filter(|event| event.resource.kind == "user") {
            let Some(id) = &event.resource.id else { continue };
            let now: Option<User> = serde_json::from_value(event.data.clone()).ok();
            let gone = event.kind == "user.deleted";
            let held = self.list.window.patch(id, |row| {
                row.gone = row.gone || gone;
                if let Some(mut user) = now.filter(|user| user.version >= row.record.version) {
                    user.sessions = user.sessions.or_else(|| row.record.sessions.take());
                    row.record = user;
                }
            });
            seen |= held;
            if event.kind == "user.created" && !held && self.list.read_at.is_some() {
                seen |= self.list.newer.insert(id.clone());
            }
        }
        seen
    }

    /// Whether the pane has something to wait for.
    fn wanted(model: &Model) -> Option<(UserId, i64)> {
        let shown = model.users.pane || model.users.open.is_some();
        let row = model.users.list.window.current().filter(|row| shown && !row.gone)?;
        let wanted = (row.record.id, row.record.version);
        let have = model.users.allowed.as_ref().map(|(id, version, _)| (*id, *version));
        (have != Some(wanted) && !model.is_offline()).then_some(wanted)
    }

    /// After every message: waits for the cursor to rest.
    pub fn settle(model: &mut Model) -> Vec<Task> {
        let wanted = Self::wanted(model);
        if wanted == model.users.asked {
            return Vec::new();
        }
        model.users.asked = wanted;
        match wanted {
            Some(_) => vec![Task::Wake(REST, Alarm::Rest)],
            None => Vec::new(),
        }
    }

    /// The cursor has rested.
    pub fn rested(model: &mut Model) -> Vec<Task> {
        match Self::wanted(model) {
            Some((id, _)) => {
                vec![Task::Ask(model.tickets.issue(Slot::Permissions), Request::Permissions(id))]
            }
            None => Vec::new(),
        }
    }

    /// What somebody may do, or why that is not known.
    pub fn take_allowed(model: &mut Model, answer: Result<EffectivePermissions, Trouble>) {
        let Some((id, version)) = model.users.asked.take() else { return };
        if answer.as_ref().is_ok_and(|allowed| allowed.user_id != id) {
            return;
        }
        model.users.allowed = Some((id, version, answer));
    }

    /// Opens the choice of the order.
    pub fn choose_sort(model: &mut Model) {
        let present = model.users.list.sort;
        let sorts: Vec<Sort> = User::SORTS
            .iter()
            .flat_map(|key| [false, true].map(|descending| Sort { key, descending }))
            .collect();
        let words = |sort: &Sort| match (sort.key, sort.descending) {
            ("createdAt", true) => "created, newest first".to_owned(),
            ("createdAt", false) => "created, oldest first".to_owned(),
            (key, true) => format!("{key}, z to a"),
            (key, false) => format!("{key}, a to z"),
        };
        let lines = sorts.iter().map(|sort| (words(sort), *sort == present)).collect();
        let at = sorts.iter().position(|sort| *sort == present).unwrap_or(0);
        model.overlay = Some(Overlay::Choose(Choose { title: "Sort", lines, at, kind: Choice::Sort(sorts) }));
    }

    /// Opens the choice of the columns.
    pub fn choose_columns(model: &mut Model) {
        let shown = &model.users.list.columns;
        let lines = User::COLUMNS.iter().zip(shown).map(|(c, on)| (c.title.to_lowercase(), *on)).collect();
        let choose = Choose { title: "Columns", lines, at: 0, kind: Choice::Columns };
        model.overlay = Some(Overlay::Choose(choose));
    }
}

/// A key while a filter is typed.
pub fn filter_key(model: &mut Model, key: Key) -> Vec<Task> {
    let list = &mut model.users.list;
    let Some(bar) = &mut list.bar else { return Vec::new() };
    match (key.ctrl, key.code) {
        (false, Code::Esc) => list.bar = None,
        (true, Code::Char('c')) => list.bar = None,
        (false, Code::Tab) => bar.complete(false),
        (false, Code::BackTab) => bar.complete(true),
        (false, Code::Enter) => {
            let text = bar.input.value().to_owned();
            match filter::parse::<User>(&text) {
                Ok(filter) => {
                    list.bar = None;
                    return list.set_filter(&text, filter, &mut model.tickets);
                }
                Err(wrong) => {
                    bar.error = Some(wrong);
                    bar.judged = true;
                }
            }
        }
        _ => {
            if field::edit(&mut bar.input, key) {
                bar.look::<User>();
            }
        }
    }
    Vec::new()
}

/// The parts of the screen: filter bar, list, pane; what is not shown has no lines.
fn areas(model: &Model, parts: &Parts) -> [Rect; 3] {
    let body = parts.body;
    let lines = model.users.list.bar.as_ref().map_or(0, filter_bar::lines).min(body.height.saturating_sub(2));
    let bar = Rect { height: lines, ..body };
    let rest = Rect { y: body.y + lines, height: body.height - lines, ..body };
    let none = Rect { height: 0, width: 0, ..rest };
    if !model.users.pane || model.users.list.window.is_empty() {
        return [bar, rest, none];
    }
    if rest.width >= 100 {
        let list = Rect { width: rest.width - PANE, ..rest };
        [bar, list, Rect { x: list.right(), width: PANE, ..rest }]
    } else if rest.height >= PEEK + 8 {
        let list = Rect { height: rest.height - PEEK, ..rest };
        [bar, list, Rect { y: list.bottom(), height: PEEK, ..rest }]
    } else {
        [bar, rest, none]
    }
}

/// Rows that fit.
pub fn height(model: &Model) -> usize {
    let [_, list, _] = areas(model, &chrome::parts(model));
    table::rows_in(list)
}

/// Lines of the person on the whole screen, and the lines there are for them.
pub fn open_lines(model: &Model) -> (usize, usize) {
    let body = chrome::parts(model).body;
    let lines = model
        .users
        .list
        .window
        .current()
        .map_or(0, |row| full(model, &row.record, &model.theme, body.width).len());
    (lines, usize::from(body.height))
}

/// Draws it.
pub fn draw(canvas: &mut Canvas<'_>, model: &Model) {
    let theme = canvas.theme;
    let parts = chrome::parts(model);
    let users = &model.users;
    let list = &users.list;
    let mut title = vec![bit("Users", theme.accent)];
    if !list.filter_text.is_empty() {
        title.push(bit(format!(" {} {}", theme.glyphs.path, list.filter_text), theme.text));
    }
    let open = users.open.and_then(|scroll| Some((scroll, list.window.current()?)));
    if let Some((_, row)) = open {
        title.push(bit(format!(" {} {}", theme.glyphs.path, row.record.email), theme.strong));
    }
    chrome::draw(canvas, model, &parts, &title, &facts(model, &theme));
    if let Some((scroll, row)) = open {
        let lines = full(model, &row.record, &theme, parts.body.width);
        scrolled(canvas, parts.body, &lines, scroll);
        return;
    }
    let [bar, rows, pane] = areas(model, &parts);
    if let Some(typed) = &list.bar {
        filter_bar::draw(canvas, bar, typed);
    }
    let empty = if list.filter_text.is_empty() {
        "there is nobody yet"
    } else {
        "nobody matches this filter; / changes it"
    };
    table::draw(canvas, rows, list, empty);
    if pane.height > 0 {
        draw_pane(canvas, model, pane, rows.width < canvas.area().width);
    }
}

/// How many, in which order, how old.
fn facts(model: &Model, theme: &Theme) -> Vec<Bit> {
    let list = &model.users.list;
    let dot = || bit(format!(" {} ", theme.glyphs.dot), theme.rule);
    let mut facts: Vec<Bit> = Vec::new();
    if model.slow {
        facts.extend([bit("reading…", theme.accent), dot()]);
    }
    let total = list.total_text();
    if !total.is_empty() {
        facts.extend([bit(total, theme.strong), dot()]);
    }
    let key = list.sort.key.strip_suffix("At").unwrap_or(list.sort.key);
    let order = theme.glyphs.order[usize::from(list.sort.descending)];
    facts.push(bit(format!("{key} {order}"), theme.dim));
    if let Some(at) = list.read_at {
        let failed = matches!(list.phase, Phase::Failed(_));
        let style = if failed || model.is_offline() { theme.warn } else { theme.dim };
        facts.extend([dot(), bit(format!("as of {}", clock(at)), style)]);
        if failed {
            facts.push(bit(format!(" {} not read again", theme.glyphs.stop), theme.bad));
        }
    }
    facts
}

fn draw_pane(canvas: &mut Canvas<'_>, model: &Model, area: Rect, beside: bool) {
    let theme = canvas.theme;
    let row = model.users.list.window.current();
    if beside {
        for y in area.top()..area.bottom() {
            canvas.text(area.x, y, 1, &Clean::fixed(theme.glyphs.lines[1]), theme.rule);
        }
        let inside = Rect { x: area.x + 2, width: area.width.saturating_sub(3), ..area };
        let Some(row) = row else { return };
        let user = &row.record;
        canvas.text(inside.x, inside.y, inside.width, &Clean::of(user.email.as_str()), theme.accent);
        let mut lines = vec![Vec::new()];
        lines.extend(about(user, row.gone, &theme));
        lines.push(Vec::new());
        lines.extend(sessions(model, user, &theme));
        lines.push(Vec::new());
        lines.extend(permissions(model, user, &theme, inside.width));
        lines.push(Vec::new());
        lines.extend(metadata(user, &theme));
        let rest = Rect { y: inside.y + 1, height: inside.height.saturating_sub(1), ..inside };
        put(canvas, rest, &lines);
        return;
    }
    let title = row.map_or("", |row| row.record.email.as_str()).to_owned();
    let facts =
        [bit("p", theme.key), bit(" closes ", theme.dim), bit("enter", theme.key), bit(" all", theme.dim)];
    canvas.rule(area.x, area.y, area.width, &[bit(title, theme.accent)], &facts);
    let Some(row) = row else { return };
    // an id must fit beside its name
    let half = (area.width / 2).max(43).min(area.width);
    let left = Rect { x: area.x + 1, y: area.y + 1, width: half.saturating_sub(2), height: area.height - 1 };
    let right = Rect { x: area.x + half + 1, width: area.width.saturating_sub(half + 2), ..left };
    put(canvas, left, &about(&row.record, row.gone, &theme));
    let mut lines = sessions(model, &row.record, &theme);
    lines.truncate(3);
    lines.extend(permissions(model, &row.record, &theme, right.width));
    put(canvas, right, &lines);
}

/// Writes lines; when they do not fit, the last one says so.
fn put(canvas: &mut Canvas<'_>, area: Rect, lines: &[Vec<Bit>]) {
    let theme = canvas.theme;
    let end = lines.iter().rposition(|line| !line.is_empty()).map_or(0, |last| last + 1);
    let rows = usize::from(area.height);
    for (at, line) in lines[..end].iter().take(rows).enumerate() {
        let y = area.y + at as u16;
        if at + 1 == rows && end > rows {
            canvas.line(area.x, y, area.width, &[bit("enter", theme.key), bit(" shows all", theme.dim)]);
        } else {
            canvas.line(area.x, y, area.width, line);
        }
    }
}

/// Writes lines from the `scroll`-th on, never beyond the last.
pub fn scrolled(canvas: &mut Canvas<'_>, area: Rect, lines: &[Vec<Bit>], scroll: usize) {
    let rows = usize::from(area.height);
    let scroll = scroll.min(lines.len().saturating_sub(rows));
    for (at, line) in lines.iter().skip(scroll).take(rows).enumerate() {
        canvas.line(area.x, area.y + at as u16, area.width, line);
    }
}
