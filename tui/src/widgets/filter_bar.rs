//! The line in which a filter is typed, with completion and the place of a mistake under the text.

use ratatui::layout::Rect;

use super::{
    canvas::{Canvas, bit},
    field,
};
use crate::{listing::Bar, text::Clean};

/// Lines it takes: the text, what could follow or the place of the mistake, and the mistake in words.
pub fn lines(bar: &Bar) -> u16 {
    if bar.shows_error() { 3 } else { 2 }
}

/// Draws the line and, below it, what is wrong or what could stand at its end.
pub fn draw(canvas: &mut Canvas<'_>, area: Rect, bar: &Bar) {
    if area.height == 0 {
        return;
    }
    let theme = canvas.theme;
    canvas.text(area.x + 1, area.y, 1, &Clean::from("/"), theme.accent);
    let typed = Rect { x: area.x + 3, width: area.width.saturating_sub(4), height: 1, ..area };
    field::draw(canvas, typed, &bar.input, false, true, None);
    if area.height < 2 {
        return;
    }
    let y = area.y + 1;
    let width = typed.width;
    match &bar.error {
        Some(wrong) if bar.shows_error() => {
            let text = bar.input.value();
            let before = Clean::of(text.get(..wrong.at).unwrap_or_default()).width();
            let under =
                Clean::of(text.get(wrong.at..wrong.at + wrong.len).unwrap_or_default()).width().max(1);
            let before = u16::try_from(before).unwrap_or(u16::MAX).min(width.saturating_sub(1));
            let carets = Clean::of("^".repeat(under));
            canvas.text(typed.x + before, y, width - before, &carets, theme.bad);
            if area.height > 2 {
                canvas.text(typed.x, y + 1, width, &Clean::of(&wrong.message), theme.bad);
            }
        }
        _ if bar.ideas.is_empty() => {
            canvas.text(typed.x, y, width, &Clean::from("enter narrows the list, esc leaves it"), theme.dim);
        }
        _ => {
            let mut bits = vec![bit("tab ", theme.key)];
            for (at, idea) in bar.ideas.iter().enumerate() {
                let style = if bar.picked == Some(at) { theme.cursor } else { theme.dim };
                bits.extend([bit(idea.clone(), style), bit("  ", theme.text)]);
            }
            canvas.line(typed.x, y, width, &bits);
        }
    }
}
