//! Help: the keys of this screen, from the table of actions.

use ratatui::layout::Rect;

use super::{
    canvas::{Bit, Canvas, bit},
    overlay::{keys, middle, room},
};
use crate::{
    actions::{ACTIONS, Group, State},
    keys::{Code, Key},
    model::Model,
    text::Clean,
};

/// Help, and how far it was scrolled.
#[derive(Debug, Default)]
pub struct Help {
    /// Lines above the first that is shown.
    pub scroll: usize,
}

impl Help {
    /// A key; true when help is to be closed.
    pub fn key(scroll: &mut usize, key: Key) -> bool {
        match (key.ctrl, key.code) {
            (false, Code::Char('j') | Code::Down) => *scroll += 1,
            (false, Code::Char('k') | Code::Up) => *scroll = scroll.saturating_sub(1),
            (false, Code::PageDown | Code::Char(' ')) => *scroll += 10,
            (false, Code::PageUp) => *scroll = scroll.saturating_sub(10),
            (false, Code::Char('?' | 'q') | Code::F(1) | Code::Enter) => return true,
            _ => {}
        }
        false
    }

    /// The furthest it can be scrolled.
    pub fn most(model: &Model) -> usize {
        let (width, height) = model.size;
        let area = area(Rect::new(0, 0, width, if height >= 14 { height - 2 } else { height }));
        let inside =
            Rect { width: area.width.saturating_sub(2), height: area.height.saturating_sub(2), ..area };
        let inside = text_area(inside);
        lines(model, inside.width).len().saturating_sub(usize::from(inside.height))
    }

    /// Draws it.
    pub fn draw(&self, canvas: &mut Canvas<'_>, model: &Model) {
        let theme = canvas.theme;
        let area = area(room(canvas));
        let name = format!("Help: {}", model.screen.title());
        let inside = canvas.frame(area, &[bit(name, theme.accent)], &[bit("esc closes", theme.dim)]);
        let all = [("j", "down"), ("k", "up"), ("pgdn", "screen down"), ("esc", "closes")];
        if inside.bottom() + 1 < canvas.hints.y {
            keys(canvas, inside.x, inside.bottom(), inside.width, &all);
        }
        let inside = text_area(inside);
        let lines = lines(model, inside.width);
        let scroll = self.scroll.min(lines.len().saturating_sub(usize::from(inside.height)));
        for (at, line) in lines.iter().skip(scroll).take(usize::from(inside.height)).enumerate() {
            canvas.line(inside.x, inside.y + at as u16, inside.width, line);
        }
        if scroll + usize::from(inside.height) < lines.len() && area.height > 0 {
            let more = [bit(" j more ", theme.key)];
            canvas.line_right(area.right().saturating_sub(2), area.bottom() - 1, inside.width, &more);
        }
    }
}

/// Where help lies.
fn area(whole: Rect) -> Rect {
    middle(whole, whole.width.saturating_sub(4).min(108), whole.height.saturating_sub(2))
}

/// Where its text lies, inside its frame.
fn text_area(inside: Rect) -> Rect {
    Rect {
        x: inside.x + 2,
        width: inside.width.saturating_sub(4),
        y: inside.y + 1,
        height: inside.height.saturating_sub(2),
    }
}

fn lines(model: &Model, width: u16) -> Vec<Vec<Bit>> {
    let theme = model.theme;
    let mut lines: Vec<Vec<Bit>> = Vec::new();
    for (group, title) in Group::ALL {
        let here = ACTIONS.iter().filter(|action| action.group == *group);
        let here: Vec<_> = here.filter(|action| (action.state)(model) != State::Absent).collect();
        if here.is_empty() {
            continue;
        }
        if !lines.is_empty() {
            lines.push(Vec::new());
        }
        lines.push(vec![bit(*title, theme.accent)]);
        for action in here {
            let keys = model.keys.all_shown(action);
            let mut line = vec![bit(format!("  {keys:<10}"), theme.key)];
            match (action.state)(model) {
                State::Off(why) => {
                    line.push(bit(format!("{:<17}", action.title), theme.dim));
                    line.push(bit(
                        format!("{} off: {}", theme.glyphs.stop, model.keys.fill(why)),
                        theme.warn,
                    ));
                }
                _ if width >= 60 => {
                    line.push(bit(format!("{:<17}", action.title), theme.strong));
                    let mut does = Clean::from(action.does).wrap(usize::from(width) - 29).into_iter();
                    line.extend(does.next().map(|text| Bit { text, style: theme.dim }));
                    lines.push(std::mem::take(&mut line));
                    lines.extend(
                        does.map(|text| vec![bit(" ".repeat(29), theme.dim), Bit { text, style: theme.dim }]),
                    );
                    continue;
                }
                _ => line.push(bit(action.title, theme.text)),
            }
            lines.push(line);
        }
    }
    lines.push(Vec::new());
    lines.push(vec![bit("SIGNS", theme.accent)]);
    let glyphs = theme.glyphs;
    let signs = [
        (glyphs.cursor, "cursor"),
        (glyphs.mark, "marked"),
        (glyphs.changed, "changed since it was read"),
        (glyphs.gone, "gone, or no longer in this list"),
    ];
    let states = [(glyphs.good, "good"), (glyphs.wait, "in between"), (glyphs.stop, "stopped")];
    for signs in [&signs[..], &states[..]] {
        let mut line = vec![bit("  ", theme.text)];
        for (sign, word) in signs {
            line.push(bit(format!("{sign} "), theme.key));
            line.push(bit(format!("{word}   "), theme.dim));
        }
        lines.push(line);
    }
    lines.push(Vec::new());
    lines.push(vec![bit("FILTERS", theme.accent)]);
    for text in [
        "  status:active,suspended   one of several        role:support   by role",
        "  email:^ada                begins with           created>-7d    in the last week",
        "  lastLogin:null            never signed in       ada lovelace   words of a name",
    ] {
        lines.push(vec![bit(text, theme.dim)]);
    }
    lines
}
