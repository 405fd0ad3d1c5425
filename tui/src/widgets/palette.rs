//! The palette: every action found by its words, and `users FILTER` as on the command line.

use nucleo_matcher::{
    Config, Matcher, Utf32Str,
    pattern::{CaseMatching, Normalization, Pattern},
};
use ratatui::layout::Rect;
use tui_input::Input;

use super::{
    canvas::{Canvas, Hit, bit},
    field,
    overlay::middle,
};
use crate::{
    keys::{ACTIONS, Action, Code, Do, Key, State, shown},
    message::Task,
    model::{Model, Screen},
    text::Clean,
    update,
};

/// Lines of the palette's history that are kept.
const HISTORY: usize = 50;

/// The palette.
#[derive(Debug, Default)]
pub struct Palette {
    /// What was typed.
    pub input: Input,
    /// The line under the cursor.
    pub at: usize,
    /// How far back in the history; 0 is what was typed.
    pub back: usize,
}

/// A line of the palette.
#[derive(Debug, Clone)]
enum Line {
    Action(&'static Action),
    /// The people, narrowed.
    Users(String),
}

/// The filter in `users FILTER`.
fn users_filter(text: &str) -> Option<&str> {
    let rest = text.trim_start().strip_prefix("users")?;
    let rest = rest.strip_prefix(char::is_whitespace)?.trim();
    Some(rest.strip_prefix("list").filter(|rest| rest.starts_with(' ')).map_or(rest, str::trim))
}

fn lines(model: &Model, text: &str) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    if let Some(filter) = users_filter(text) {
        lines.push(Line::Users(filter.to_owned()));
    }
    let skip = [Do::Palette, Do::Back];
    let here = ACTIONS
        .iter()
        .filter(|action| (action.state)(model) != State::Absent && !skip.contains(&action.what));
    if text.trim().is_empty() {
        lines.extend(here.map(Line::Action));
        return lines;
    }
    let pattern = Pattern::parse(text.trim(), CaseMatching::Ignore, Normalization::Smart);
    let mut matcher = Matcher::new(Config::DEFAULT);
    let mut buffer = Vec::new();
    let mut found: Vec<(u32, &Action)> = here
        .filter_map(|action| {
            let words = format!("{} {}", action.title, action.does);
            let score = pattern.score(Utf32Str::new(&words, &mut buffer), &mut matcher)?;
            Some((score, action))
        })
        .collect();
    found.sort_by_key(|(score, _)| std::cmp::Reverse(*score));
    // letters scattered over a sentence match too; beside a good match they are noise
    let best = found.first().map_or(0, |(score, _)| *score);
    found.retain(|(score, _)| score * 3 >= best * 2);
    lines.extend(found.into_iter().map(|(_, action)| Line::Action(action)));
    lines
}

/// A key while the palette is open.
pub fn key(model: &mut Model, key: Key) -> Vec<Task> {
    let Some(super::overlay::Overlay::Palette(palette)) = &model.overlay else { return Vec::new() };
    let text = palette.input.value().to_owned();
    let lines = lines(model, &text);
    let Some(super::overlay::Overlay::Palette(palette)) = &mut model.overlay else { return Vec::new() };
    let last = lines.len().saturating_sub(1);
    match (key.ctrl, key.code) {
        (_, Code::Down) | (true, Code::Char('n')) => palette.at = (palette.at + 1).min(last),
        (false, Code::Up) if palette.at == 0 && (text.is_empty() || palette.back > 0) => {
            let back = (palette.back + 1).min(model.history.len());
            if let Some(line) = back.checked_sub(1).and_then(|at| model.history.get(at)) {
                palette.input = Input::new(line.clone());
                palette.back = back;
            }
        }
        (_, Code::Up) | (true, Code::Char('p')) => palette.at = palette.at.saturating_sub(1),
        (false, Code::Enter) => {
            let line = lines.get(palette.at.min(last)).cloned();
            if !text.trim().is_empty() {
                model.history.retain(|before| *before != text);
                model.history.push_front(text);
                model.history.truncate(HISTORY);
            }
            model.overlay = None;
            return match line {
                Some(Line::Action(action)) => update::perform(model, action.what),
                Some(Line::Users(filter)) => users(model, &filter),
                None => {
                    model.complain("nothing is called that");
                    Vec::new()
                }
            };
        }
        _ => {
            if field::edit(&mut palette.input, key) {
                palette.at = 0;
                palette.back = 0;
            }
        }
    }
    Vec::new()
}

fn users(model: &mut Model, filter: &str) -> Vec<Task> {
    let mut tasks = update::perform(model, Do::GoUsers);
    if model.is_offline() {
        model.complain("filter is off: the daemon cannot be reached");
    } else if model.screen == Screen::Users {
        match bursar_shared::filter::parse::<bursar_shared::operations::users::User>(filter) {
            Ok(parsed) => tasks.extend(model.users.list.set_filter(filter, parsed, &mut model.tickets)),
            Err(wrong) => model.complain(wrong.to_string()),
        }
    }
    tasks
}

impl Palette {
    /// Draws it.
    pub fn draw(&self, canvas: &mut Canvas<'_>, model: &Model) {
        let theme = canvas.theme;
        let lines = lines(model, self.input.value());
        let whole = canvas.area();
        let height = whole.height.saturating_sub(4).min(20);
        let area = middle(whole, whole.width.saturating_sub(4).min(84), height);
        let facts = [bit("enter does it", theme.dim)];
        let inside = canvas.frame(area, &[bit("Command", theme.accent)], &facts);
        let typed = Rect { x: inside.x + 3, width: inside.width.saturating_sub(4), height: 1, ..inside };
        canvas.text(inside.x + 1, inside.y, 1, &Clean::fixed(theme.glyphs.cursor), theme.accent);
        if inside.height > 0 {
            field::draw(canvas, typed, &self.input, false, true, None);
        }
        let rows = usize::from(inside.height.saturating_sub(5));
        let at = self.at.min(lines.len().saturating_sub(1));
        let first = (at + 1).saturating_sub(rows.max(1));
        for (place, (index, line)) in lines.iter().enumerate().skip(first).take(rows).enumerate() {
            let y = inside.y + 2 + place as u16;
            let (title, keys, off) = match line {
                Line::Users(filter) => (format!("users where {filter}"), String::new(), None),
                Line::Action(action) => {
                    let off = match (action.state)(model) {
                        State::Off(why) => Some(why),
                        _ => None,
                    };
                    let keys = action.keys.iter().map(|keys| shown(keys)).collect::<Vec<_>>().join(" ");
                    (action.title.to_owned(), keys, off)
                }
            };
            let row = Rect { x: inside.x, y, width: inside.width, height: 1 };
            canvas.hits.push((row, Hit::Item(index)));
            let style = if off.is_some() { theme.dim } else { theme.text };
            let width = inside.width.saturating_sub(4);
            let right = match off {
                Some(why) => bit(format!("{} {why}", theme.glyphs.stop), theme.warn),
                None => bit(keys, theme.key),
            };
            let x = canvas.line_right(inside.right().saturating_sub(1), y, width / 2, &[right]);
            canvas.text(inside.x + 3, y, x.saturating_sub(inside.x + 4), &Clean::of(title), style);
            if index == at {
                canvas.restyle(row, theme.cursor);
                canvas.text(inside.x + 1, y, 1, &Clean::fixed(theme.glyphs.cursor), theme.cursor);
            }
        }
        if inside.height >= 5 {
            let y = inside.bottom() - 3;
            canvas.rule(inside.x, y, inside.width, &[], &[]);
            let (does, command) = match lines.get(at) {
                Some(Line::Action(action)) => {
                    let command = (action.command)(model);
                    (action.does.to_owned(), command.unwrap_or_else(|| format!("it {}", action.undo)))
                }
                Some(Line::Users(filter)) => (
                    "Goes to the people that match the filter.".to_owned(),
                    format!("bursar users list --filter '{filter}'"),
                ),
                None => ("Nothing is called that.".to_owned(), String::new()),
            };
            let width = inside.width.saturating_sub(2);
            canvas.text(inside.x + 1, y + 1, width, &Clean::of(does), theme.dim);
            canvas.text(inside.x + 1, y + 2, width, &Clean::of(command), theme.strong);
        }
    }
}
