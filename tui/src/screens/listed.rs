//! A screen that is a list: filter bar, table, and beside it everything about the row under the cursor.

use bursar_shared::page::Sort;
use ratatui::layout::Rect;

use super::named;
use crate::{
    actions::Do,
    listing::{AnyList, Listing, Phase, Rows},
    look::Theme,
    message::Room,
    model::Model,
    text::{Clean, clock},
    widgets::{
        canvas::{Bit, Canvas, bit},
        chrome, filter_bar, table,
    },
};

/// The pane beside the list.
const PANE: u16 = 43;
/// Where there are so many cells across, the details stand beside the list, and where somebody stands is
/// still to be seen in it.
const BESIDE: u16 = 104;
/// The pane below the list, where there is no room beside it.
const PEEK: u16 = 8;

/// The parts of the screen: filter bar, list, pane; what is not shown has no lines.
pub(super) fn areas(list: &dyn AnyList, body: Rect) -> [Rect; 3] {
    let lines = list.bar().map_or(0, filter_bar::lines).min(body.height.saturating_sub(2));
    let bar = Rect { height: lines, ..body };
    let rest = Rect { y: body.y + lines, height: body.height - lines, ..body };
    let none = Rect { height: 0, width: 0, ..rest };
    if !list.pane() || list.is_empty() {
        return [bar, rest, none];
    }
    if rest.width >= BESIDE {
        // a blank keeps numbers apart from the line beside them
        let table = Rect { width: rest.width - PANE - 1, ..rest };
        [bar, table, Rect { x: table.right() + 1, width: PANE, ..rest }]
    } else if rest.height >= PEEK + 8 {
        let table = Rect { height: rest.height - PEEK, ..rest };
        [bar, table, Rect { y: table.bottom(), height: PEEK, ..rest }]
    } else {
        [bar, rest, none]
    }
}

/// Rows of the list that fit.
pub fn height(model: &Model, list: &dyn AnyList) -> usize {
    let parts = chrome::parts(model);
    if list.room() == Room::Home {
        return super::home::height(model, &parts);
    }
    if list.room() == Room::Statement {
        return super::statement::height(&parts, list);
    }
    let [_, table, _] = areas(list, parts.body);
    table::rows_in(table)
}

/// Lines of the record on the whole screen, and the lines there are for them.
pub fn open_lines(model: &Model, list: &dyn AnyList) -> (usize, usize) {
    let body = chrome::parts(model).body;
    (list.lines(model, body.width, true).len(), usize::from(body.height))
}

/// Draws the screen.
pub fn draw(canvas: &mut Canvas<'_>, model: &Model, list: &dyn AnyList) {
    let theme = canvas.theme;
    let parts = chrome::parts(model);
    let mut title = vec![bit(list.title(), theme.accent)];
    if !list.filter_text().is_empty() {
        title.push(bit(
            format!(" {} {}", theme.glyphs.path, named::filter(model, list.filter_text())),
            theme.text,
        ));
    }
    let open = list.open().and_then(|scroll| Some((scroll, list.called(model)?)));
    if let Some((_, called)) = &open {
        title.push(bit(format!(" {} {called}", theme.glyphs.path), theme.strong));
    }
    chrome::draw(canvas, model, &parts, &title, &facts_beside(model, list, &title, parts.title.width));
    if let Some((scroll, _)) = open {
        let lines = list.lines(model, parts.body.width, true);
        scrolled(canvas, parts.body, &lines, scroll);
        return;
    }
    inside(canvas, model, list, parts.body);
}

/// Draws filter bar, list and pane.
pub(super) fn inside(canvas: &mut Canvas<'_>, model: &Model, list: &dyn AnyList, body: Rect) {
    let [bar, rows, pane] = areas(list, body);
    if let Some(typed) = list.bar() {
        filter_bar::draw(canvas, bar, typed);
    }
    list.draw(canvas, model, rows);
    if pane.height > 0 {
        draw_pane(canvas, model, list, pane, rows.width < canvas.area().width);
    }
}

/// Draws the table of a list.
pub fn table<R: Rows>(canvas: &mut Canvas<'_>, model: &Model, area: Rect, list: &Listing<R>) {
    let empty = if list.filter_text.is_empty() {
        R::NOTHING
    } else {
        "nothing matches this filter; {list.filter} changes it"
    };
    table::draw(canvas, model, area, list, &model.keys.fill(empty));
}

/// An order in words.
pub fn order(sort: Sort) -> String {
    match (sort.key, sort.descending) {
        ("createdAt", true) => "created, newest first".to_owned(),
        ("createdAt", false) => "created, oldest first".to_owned(),
        ("lastUsedAt", true) => "last used, newest first".to_owned(),
        ("lastUsedAt", false) => "last used, oldest first".to_owned(),
        ("seq", true) => "newest first".to_owned(),
        ("seq", false) => "oldest first".to_owned(),
        (key, true) => format!("{key}, z to a"),
        (key, false) => format!("{key}, a to z"),
    }
}

/// The facts that fit beside a title.
pub(super) fn facts_beside(model: &Model, list: &dyn AnyList, title: &[Bit], width: u16) -> Vec<Bit> {
    let cells: usize = title.iter().map(|bit| bit.text.width()).sum();
    let room = usize::from(width).saturating_sub(cells + chrome::BESIDE_TITLE);
    chrome::fitting(facts(model, list, &model.theme), room, &model.theme)
}

/// How many, in which order, how old; each with how much it is wanted.
fn facts(model: &Model, list: &dyn AnyList, theme: &Theme) -> Vec<(u8, Bit)> {
    let mut facts: Vec<(u8, Bit)> = Vec::new();
    if model.slow {
        facts.push((7, bit("reading…", theme.accent)));
    }
    if let Some((report, at)) = model.verified.as_ref().filter(|_| list.room() == Room::Audit) {
        let (text, style) = match report.first_broken_seq {
            None if report.ok => (format!("{} chain whole at {}", theme.glyphs.good, clock(*at)), theme.good),
            _ => (format!("{} chain broken", theme.glyphs.stop), theme.bad),
        };
        facts.push((9, bit(text, style)));
    }
    let books = matches!(list.room(), Room::Accounts | Room::Transfers | Room::Statement);
    if let Some((report, at)) = model.money.verified.as_ref().filter(|_| books) {
        let (text, style) = match report.ok {
            true => (format!("{} books whole at {}", theme.glyphs.good, clock(*at)), theme.good),
            false => (format!("{} books broken", theme.glyphs.stop), theme.bad),
        };
        facts.push((9, bit(text, style)));
    }
    let total = list.total_text();
    if !total.is_empty() {
        facts.push((5, bit(total, theme.strong)));
    }
    let sort = list.sort();
    // the head of its column has the arrow too
    match sort.key {
        "seq" => facts.push((1, bit(order(sort), theme.dim))),
        key => {
            let key = key.strip_suffix("At").unwrap_or(key);
            let arrow = theme.glyphs.order[usize::from(sort.descending)];
            facts.push((1, bit(format!("{key} {arrow}"), theme.dim)));
        }
    }
    if let Some(at) = list.read_at() {
        let failed = matches!(list.phase(), Phase::Failed(_));
        let live = list.follows() && model.streaming && !model.is_offline() && !failed;
        let age = match () {
            () if live && list.frozen() => (6, bit(format!("{} frozen", theme.glyphs.wait), theme.warn)),
            () if live => (3, bit(format!("{} live", theme.glyphs.good), theme.good)),
            () if failed || model.is_offline() => (6, bit(format!("as of {}", clock(at)), theme.warn)),
            () => (3, bit(format!("as of {}", clock(at)), theme.dim)),
        };
        facts.push(age);
        if failed {
            facts.push((8, bit(format!("{} not read again", theme.glyphs.stop), theme.bad)));
        }
    }
    facts
}

fn draw_pane(canvas: &mut Canvas<'_>, model: &Model, list: &dyn AnyList, area: Rect, beside: bool) {
    let theme = canvas.theme;
    let called = list.called(model);
    if beside {
        for y in area.top()..area.bottom() {
            canvas.text(area.x, y, 1, &Clean::fixed(theme.glyphs.lines[1]), theme.rule);
        }
        let inside = Rect { x: area.x + 2, width: area.width.saturating_sub(3), ..area };
        let Some(called) = called else {
            let text = Clean::of(model.keys.fill("{list.down} or a click chooses a row"));
            canvas.text(inside.x, inside.y, inside.width, &text, theme.dim);
            return;
        };
        canvas.text(inside.x, inside.y, inside.width, &Clean::of(called), theme.accent);
        if model.moving {
            // a held key over a slow line: only what can be read meanwhile
            return;
        }
        let rest = Rect { y: inside.y + 2, height: inside.height.saturating_sub(2), ..inside };
        put(canvas, model, rest, &list.lines(model, inside.width, false));
        return;
    }
    let key = |what| bit(model.keys.key_of(what), theme.key);
    let facts = [key(Do::Pane), bit(" closes  ", theme.dim), key(Do::Open), bit(" all", theme.dim)];
    let Some(called) = called else {
        canvas.rule(area.x, area.y, area.width, &[], &facts[..2]);
        let text = "{list.down} or a click chooses a row, and what it says stands here";
        let text = Clean::of(model.keys.fill(text));
        canvas.text(area.x + 3, area.y + 1, area.width.saturating_sub(3), &text, theme.dim);
        return;
    };
    canvas.rule(area.x, area.y, area.width, &[bit(called, theme.accent)], &facts);
    if model.moving {
        return;
    }
    // two columns: an id must fit beside its name
    let half = (area.width / 2).max(43).min(area.width);
    let left = Rect { x: area.x + 1, y: area.y + 1, width: half.saturating_sub(2), height: area.height - 1 };
    let right = Rect { x: area.x + half + 1, width: area.width.saturating_sub(half + 2), ..left };
    let lines = list.lines(model, left.width, false);
    let first = lines.iter().position(Vec::is_empty).unwrap_or(lines.len());
    put(canvas, model, left, &lines[..first]);
    let rest: Vec<Vec<Bit>> = lines[first..].iter().filter(|line| !line.is_empty()).cloned().collect();
    put(canvas, model, right, &rest);
}

/// Writes lines; when they do not fit, the last one says so.
fn put(canvas: &mut Canvas<'_>, model: &Model, area: Rect, lines: &[Vec<Bit>]) {
    let theme = canvas.theme;
    let end = lines.iter().rposition(|line| !line.is_empty()).map_or(0, |last| last + 1);
    let rows = usize::from(area.height);
    for (at, line) in lines[..end].iter().take(rows).enumerate() {
        let y = area.y + at as u16;
        if at + 1 == rows && end > rows {
            canvas.line(
                area.x,
                y,
                area.width,
                &[bit(model.keys.key_of(Do::Open), theme.key), bit(" shows all", theme.dim)],
            );
        } else {
            canvas.line(area.x, y, area.width, line);
        }
    }
}

/// Writes lines from the `scroll`-th on, never beyond the last.
pub fn scrolled(canvas: &mut Canvas<'_>, area: Rect, lines: &[Vec<Bit>], scroll: usize) {
    let theme = canvas.theme;
    let rows = usize::from(area.height);
    let scroll = scroll.min(lines.len().saturating_sub(rows));
    for (at, line) in lines.iter().skip(scroll).take(rows).enumerate() {
        canvas.line(area.x, area.y + at as u16, area.width, line);
    }
    if scroll + rows < lines.len() && rows > 0 {
        let more = [bit(" j", theme.key), bit(" more ", theme.dim)];
        canvas.line_right(area.right().saturating_sub(1), area.bottom() - 1, 10, &more);
    }
}
