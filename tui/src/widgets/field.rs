//! A line for typing: what keys do to it, and how it is drawn.

use ratatui::layout::Rect;
use tui_input::{Input, InputRequest};

use super::canvas::{Canvas, Hit};
use crate::{
    keys::{Code, Key},
    text::Clean,
};

/// The longest text that a line takes; the longest password is shorter.
const MAX: usize = 4_096;

/// What a key does to the text; false when it means nothing to a text.
pub fn edit(input: &mut Input, key: Key) -> bool {
    let request = match (key.ctrl, key.code) {
        (false, Code::Char(letter)) if input.value().len() < MAX => InputRequest::InsertChar(letter),
        (false, Code::Backspace) => InputRequest::DeletePrevChar,
        (false, Code::Delete) => InputRequest::DeleteNextChar,
        (false, Code::Left) => InputRequest::GoToPrevChar,
        (false, Code::Right) => InputRequest::GoToNextChar,
        (false, Code::Home) | (true, Code::Char('a')) => InputRequest::GoToStart,
        (false, Code::End) | (true, Code::Char('e')) => InputRequest::GoToEnd,
        (true, Code::Char('w')) => InputRequest::DeletePrevWord,
        (true, Code::Char('u')) => InputRequest::DeleteLine,
        (true, Code::Char('k')) => InputRequest::DeleteTillEnd,
        _ => return false,
    };
    input.handle(request);
    true
}

/// Puts pasted text in: one line, without controls.
pub fn paste(input: &mut Input, text: &str) {
    let room = MAX.saturating_sub(input.value().len());
    for letter in text.trim_end().chars().filter(|letter| !letter.is_control()).take(room) {
        input.handle(InputRequest::InsertChar(letter));
    }
}

/// Draws the text in one line; when it is typed in, the terminal's cursor stands in it.
pub fn draw(canvas: &mut Canvas<'_>, area: Rect, input: &Input, hidden: bool, on: bool, hit: Option<u8>) {
    let theme = canvas.theme;
    let style = if on { theme.field_on } else { theme.field };
    canvas.fill(Rect { height: 1, ..area }, style);
    let shown = |text: &str| {
        if hidden {
            Clean::of(theme.glyphs.hidden.to_string().repeat(text.chars().count()))
        } else {
            Clean::of(text)
        }
    };
    if !on && !hidden {
        // who only looks wants to see how it begins
        canvas.text(area.x, area.y, area.width, &shown(input.value()), style);
        canvas.hits.extend(hit.map(|field| (area, Hit::Field(field))));
        return;
    }
    let split = input.value().char_indices().nth(input.cursor()).map_or(input.value().len(), |(at, _)| at);
    let (before, after) = input.value().split_at(split);
    // the text moves to the left when it is longer than the field; a cell is kept for the cursor
    let before = shown(before).tail(usize::from(area.width.saturating_sub(1)));
    let used = canvas.text(area.x, area.y, area.width, &before, style);
    canvas.text(area.x + used, area.y, area.width.saturating_sub(used), &shown(after), style);
    if on && area.width > 0 && area.height > 0 {
        canvas.caret = Some((area.x + used, area.y));
    }
    if let Some(field) = hit {
        canvas.hits.push((area, Hit::Field(field)));
    }
}
