//! A list as a table: visible rows only, columns that fit, the cursor in a gutter of its own.

use bursar_shared::page::Sort;
use ratatui::layout::Rect;

use super::canvas::{Canvas, Hit, bit};
use crate::{
    listing::{Column, Listing, Phase, Rows},
    model::Model,
    text::Clean,
};

/// Cells before the first column: cursor, mark, and a blank.
const GUTTER: u16 = 3;

/// The columns that fit, with the cells each gets.
fn fitting<R>(
    columns: &'static [Column<R>],
    shown: &[bool],
    width: u16,
) -> Vec<(usize, &'static Column<R>, u16)> {
    let mut room = width.saturating_sub(GUTTER);
    let mut chosen: Vec<(usize, &'static Column<R>, u16)> = Vec::new();
    for (place, (column, _)) in columns.iter().zip(shown).enumerate().filter(|(_, (_, shown))| **shown) {
        let gap = u16::from(!chosen.is_empty()) * 2;
        if column.min + gap > room {
            // the first column is shown however narrow it gets
            if chosen.is_empty() && room > 0 {
                chosen.push((place, column, room));
                room = 0;
            }
            continue;
        }
        room -= column.min + gap;
        chosen.push((place, column, column.min));
    }
    let shares: u16 = chosen.iter().map(|(_, column, _)| column.share).sum();
    let mut left = room;
    for (_, column, cells) in &mut chosen {
        let part = (room * column.share).checked_div(shares).unwrap_or(0).min(left);
        *cells += part;
        left -= part;
    }
    if let Some((_, _, cells)) = chosen.iter_mut().find(|(_, column, _)| column.share > 0) {
        *cells += left;
    }
    chosen
}

/// Lines of an area that rows have: one is the head.
pub fn rows_in(area: Rect) -> usize {
    usize::from(area.height.saturating_sub(1))
}

/// Draws the list.
pub fn draw<R: Rows>(canvas: &mut Canvas<'_>, model: &Model, area: Rect, list: &Listing<R>, empty: &str) {
    let columns = fitting(R::COLUMNS, &list.columns, area.width);
    head(canvas, area, &columns, list.sort);
    let theme = canvas.theme;
    if list.window.is_empty() {
        let (text, style) = match &list.phase {
            Phase::Unread | Phase::Reading if model.is_offline() => {
                (Clean::from("not read: the daemon cannot be reached"), theme.dim)
            }
            Phase::Unread | Phase::Reading => (Clean::from("reading…"), theme.dim),
            Phase::Ready => (Clean::of(empty), theme.dim),
            Phase::Failed(trouble) => (
                Clean::of(format!("{} could not be read: {}", theme.glyphs.stop, trouble.message())),
                theme.bad,
            ),
        };
        let width = area.width.saturating_sub(GUTTER + 1);
        for (line, text) in text.wrap(usize::from(width.max(1))).iter().enumerate().take(rows_in(area)) {
            let y = area.y.saturating_add(2).saturating_add(line as u16);
            if y < area.bottom() {
                canvas.text(area.x + GUTTER, y, width, text, style);
            }
        }
        return;
    }
    // that there is more is seen without looking for a number
    let beyond = list.window.beyond();
    let last = list.window.visible().take(rows_in(area)).count();
    let more = [(beyond[0], area.y, 0), (beyond[1], area.y + u16::try_from(last).unwrap_or(0), 1)];
    let first = list.window.top();
    for (line, row) in list.window.visible().enumerate().take(rows_in(area)) {
        let y = area.y + 1 + line as u16;
        let place = Rect { y, height: 1, ..area };
        let on = list.window.at() == Some(first + line);
        canvas.hits.push((place, Hit::Row(first + line)));
        let marked = list.window.marks().contains(&row.id);
        let (sign, sign_style) = match () {
            () if row.gone || list.leaves_out(row, model.now) => (theme.glyphs.gone, theme.warn),
            () if marked => (theme.glyphs.mark, theme.mark),
            () if row.changed => (theme.glyphs.changed, theme.warn),
            () => (" ", theme.text),
        };
        canvas.text(area.x + 1, y, 1, &Clean::from(sign), sign_style);
        let mut x = area.x + GUTTER;
        for (_, column, cells) in &columns {
            let cell = (column.cell)(&row.record, model, &theme);
            let style = if row.gone { theme.dim } else { cell.style };
            if column.right {
                canvas.line_right(x + cells, y, *cells, &[bit(cell.text, style)]);
            } else {
                canvas.text(x, y, *cells, &cell.text, style);
            }
            x += cells + 2;
        }
        if on {
            canvas.restyle(place, theme.cursor);
            canvas.text(area.x, y, 1, &Clean::fixed(theme.glyphs.cursor), theme.cursor);
        }
    }
    for (_, y, way) in more.into_iter().filter(|(more, y, _)| *more && *y < area.bottom()) {
        canvas.text(area.x + 2, y, area.width.min(1), &Clean::from(theme.glyphs.order[way]), theme.accent);
    }
}

fn head<R>(canvas: &mut Canvas<'_>, area: Rect, columns: &[(usize, &'static Column<R>, u16)], sort: Sort) {
    let theme = canvas.theme;
    let mut x = area.x + GUTTER;
    for (place, column, cells) in columns {
        let sorted = column.sort == Some(sort.key);
        if column.sort.is_some() {
            canvas.hits.push((Rect { x, width: *cells, height: 1, ..area }, Hit::Head(*place)));
        }
        let style = if sorted { theme.accent } else { theme.dim };
        let arrow = if sorted { theme.glyphs.order[usize::from(sort.descending)] } else { "" };
        let title = bit(Clean::of(format!("{}{arrow}", column.title)), style);
        if column.right {
            canvas.line_right(x + cells, area.y, *cells, &[title]);
        } else {
            canvas.line(x, area.y, *cells, &[title]);
        }
        x += cells + 2;
    }
}
