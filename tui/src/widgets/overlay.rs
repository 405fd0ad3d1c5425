//! What lies over a screen: help, the palette, and choices. Closed by `esc`, one at a time.

use bursar_shared::page::Sort;
use ratatui::layout::Rect;

use super::{
    canvas::{Canvas, Hit, bit},
    help::Help,
    palette::Palette,
    review::Review,
};
use crate::{
    keys::{Code, Key},
    message::Task,
    model::Model,
    text::Clean,
    update,
};

/// What lies over the screen.
pub enum Overlay {
    /// The keys.
    Help(Help),
    /// Every action by its words.
    Palette(Palette),
    /// A choice.
    Choose(Choose),
    /// A change before it is made.
    Review(Review),
}

/// A choice from a few lines.
pub struct Choose {
    /// What is chosen.
    pub title: &'static str,
    /// The lines: what each says, and whether it is on.
    pub lines: Vec<(String, bool)>,
    /// The line under the cursor.
    pub at: usize,
    /// What a line stands for.
    pub kind: Choice,
}

/// What is chosen.
pub enum Choice {
    /// An order: one of these.
    Sort(Vec<Sort>),
    /// Which columns are shown.
    Columns,
}

/// A key while something lies over the screen.
pub fn key(model: &mut Model, key: Key) -> Vec<Task> {
    if key == Key::plain(Code::Esc) || (key.ctrl && key.code == Code::Char('g')) {
        if matches!(model.overlay, Some(Overlay::Review(_))) {
            Review::close(model);
        } else {
            model.overlay = None;
        }
        return Vec::new();
    }
    match &mut model.overlay {
        Some(Overlay::Help(help)) => {
            let mut scroll = help.scroll;
            if Help::key(&mut scroll, key) {
                model.overlay = None;
            } else {
                scroll = scroll.min(Help::most(model));
                model.overlay = Some(Overlay::Help(Help { scroll }));
            }
            Vec::new()
        }
        Some(Overlay::Palette(_)) => super::palette::key(model, key),
        Some(Overlay::Review(_)) => Review::key(model, key),
        Some(Overlay::Choose(choose)) => match (key.ctrl, key.code) {
            (false, Code::Char('j') | Code::Down | Code::Tab) => {
                choose.at = (choose.at + 1).min(choose.lines.len().saturating_sub(1));
                Vec::new()
            }
            (false, Code::Char('k') | Code::Up | Code::BackTab) => {
                choose.at = choose.at.saturating_sub(1);
                Vec::new()
            }
            (false, Code::Enter | Code::Char(' ')) => pick(model, key.code == Code::Enter),
            (false, Code::Char('q')) => {
                model.overlay = None;
                Vec::new()
            }
            _ => Vec::new(),
        },
        None => Vec::new(),
    }
}

/// Takes the line under the cursor. Columns stay open for the next one, unless `close`.
fn pick(model: &mut Model, close: bool) -> Vec<Task> {
    let Some(Overlay::Choose(choose)) = &mut model.overlay else { return Vec::new() };
    let at = choose.at;
    match &choose.kind {
        Choice::Sort(sorts) => {
            let Some(sort) = sorts.get(at).copied() else { return Vec::new() };
            model.overlay = None;
            model.users.list.set_sort(sort, &mut model.tickets)
        }
        Choice::Columns if close => {
            model.overlay = None;
            Vec::new()
        }
        Choice::Columns => {
            // the first column names the row; a list without it would say nothing
            if at > 0
                && let (Some((_, on)), Some(shown)) =
                    (choose.lines.get_mut(at), model.users.list.columns.get_mut(at))
            {
                *on = !*on;
                *shown = *on;
            }
            Vec::new()
        }
    }
}

/// A click while something lies over the screen.
pub fn click(model: &mut Model, hit: Option<Hit>) -> Vec<Task> {
    match (hit, &mut model.overlay) {
        (Some(Hit::Item(at)), Some(Overlay::Choose(choose))) => {
            choose.at = at;
            pick(model, false)
        }
        (Some(Hit::Item(at)), Some(Overlay::Palette(palette))) => {
            palette.at = at;
            super::palette::key(model, Key::plain(Code::Enter))
        }
        (Some(Hit::Hint(what)), open) if !matches!(open, Some(Overlay::Review(_))) => {
            model.overlay = None;
            update::perform(model, what)
        }
        (Some(Hit::Inside), _) => Vec::new(),
        (_, Some(Overlay::Review(_))) => {
            Review::close(model);
            Vec::new()
        }
        _ => {
            model.overlay = None;
            Vec::new()
        }
    }
}

/// An area of this size in the middle of another.
pub fn middle(area: Rect, width: u16, height: u16) -> Rect {
    let (width, height) = (width.min(area.width), height.min(area.height));
    Rect { x: area.x + (area.width - width) / 2, y: area.y + (area.height - height) / 2, width, height }
}

/// Draws what lies over the screen.
pub fn draw(canvas: &mut Canvas<'_>, model: &Model) {
    match &model.overlay {
        Some(Overlay::Help(help)) => help.draw(canvas, model),
        Some(Overlay::Palette(palette)) => palette.draw(canvas, model),
        Some(Overlay::Choose(choose)) => choose.draw(canvas),
        Some(Overlay::Review(review)) => review.draw(canvas),
        None => {}
    }
}

impl Choose {
    fn draw(&self, canvas: &mut Canvas<'_>) {
        let theme = canvas.theme;
        let widest = self.lines.iter().map(|(text, _)| text.chars().count()).max().unwrap_or(0);
        let width = u16::try_from(widest + 12).unwrap_or(u16::MAX).max(34);
        let height = u16::try_from(self.lines.len() + 4).unwrap_or(u16::MAX);
        let area = middle(canvas.area(), width, height);
        let inside = canvas.frame(area, &[bit(self.title, theme.accent)], &[]);
        let rows = usize::from(inside.height.saturating_sub(2)).max(1);
        let first = (self.at + 1).saturating_sub(rows);
        for (line, (at, (text, on))) in self.lines.iter().enumerate().skip(first).take(rows).enumerate() {
            let y = inside.y + line as u16;
            let place = Rect { y, height: 1, ..inside };
            let sign = if *on { theme.glyphs.mark } else { " " };
            canvas.hits.push((place, Hit::Item(at)));
            canvas.line(
                inside.x + 3,
                y,
                inside.width.saturating_sub(3),
                &[bit(format!("{sign} "), theme.mark), bit(text.clone(), theme.text)],
            );
            if at == self.at {
                canvas.restyle(place, theme.cursor);
                canvas.text(inside.x + 1, y, 1, &Clean::fixed(theme.glyphs.cursor), theme.cursor);
            }
        }
        if inside.height > 1 {
            let keys: &[(&str, &str)] = match self.kind {
                Choice::Sort(_) => &[("enter", "choose"), ("esc", "close")],
                Choice::Columns => &[("space", "on/off"), ("enter", "close")],
            };
            let bits: Vec<_> = keys
                .iter()
                .flat_map(|(key, does)| [bit(*key, theme.key), bit(format!(" {does}   "), theme.dim)])
                .collect();
            canvas.line(inside.x + 1, inside.bottom() - 1, inside.width.saturating_sub(1), &bits);
        }
    }
}
