//! Asks before a session ends: the command line signs in with the same one.

use std::time::Duration;

use ratatui::layout::Rect;

use super::{
    canvas::{Bit, Canvas, Hit, bit},
    overlay::{Overlay, keys, middle, room},
};
use crate::{
    keys::{Code, Key},
    message::Task,
    model::Model,
    text::Clean,
    update,
};

/// How long nothing agrees: what was typed before it could be read says nothing.
const ARM: Duration = Duration::from_millis(400);

/// The question.
#[derive(Debug)]
pub struct SigningOut {
    /// When it was asked.
    since: Duration,
    /// Whether the button is chosen that signs out; at first it is the other.
    go: bool,
}

impl SigningOut {
    /// Asks.
    pub fn open(model: &mut Model) {
        model.overlay = Some(Overlay::SigningOut(Self { since: model.tick, go: false }));
    }

    /// A key. `held` is one that is held down: it agrees to nothing.
    pub fn key(model: &mut Model, key: Key, held: bool) -> Vec<Task> {
        let tick = model.tick;
        let Some(Overlay::SigningOut(asked)) = &mut model.overlay else { return Vec::new() };
        match (key.ctrl, key.code) {
            (false, Code::Esc | Code::Char('q')) | (true, Code::Char('g')) => model.overlay = None,
            (false, Code::Tab | Code::BackTab | Code::Left | Code::Right | Code::Char('h' | 'l')) => {
                asked.go = !asked.go;
            }
            (false, Code::Enter) if !asked.go => model.overlay = None,
            (false, Code::Enter) if !held && tick.saturating_sub(asked.since) >= ARM => {
                model.overlay = None;
                return update::sign_out(model);
            }
            _ => {}
        }
        Vec::new()
    }

    /// A click on a button.
    pub fn press(model: &mut Model, button: u8) -> Vec<Task> {
        if let Some(Overlay::SigningOut(asked)) = &mut model.overlay {
            asked.go = button == 1;
        }
        Self::key(model, Key::plain(Code::Enter), false)
    }

    /// Draws it.
    pub fn draw(&self, canvas: &mut Canvas<'_>, model: &Model) {
        let theme = canvas.theme;
        let whole = room(canvas);
        let width = whole.width.saturating_sub(4).min(64);
        let who = model.who.as_ref().map_or_else(String::new, |who| who.user.email.to_string());
        let mut says =
            vec![(format!("This ends the session of {who} at {}.", model.place.server), theme.text)];
        if let Some(context) = &model.place.context {
            let scripts = format!(
                "The command line uses the same one: scripts of the context {context} are signed out as well."
            );
            says.push((scripts, theme.warn));
        }
        let cells = usize::from(width.saturating_sub(6)).max(8);
        let lines = says.into_iter().flat_map(|(text, style)| {
            Clean::of(text).wrap(cells).into_iter().map(move |text| Bit { text, style })
        });
        let lines: Vec<Bit> = lines.collect();
        let height = u16::try_from(lines.len() + 5).unwrap_or(u16::MAX);
        let inside = canvas.frame(middle(whole, width, height), &[bit("Sign out?", theme.accent)], &[]);
        for (line, y) in lines.into_iter().zip(inside.y + 1..inside.bottom().saturating_sub(1)) {
            canvas.line(inside.x + 2, y, inside.width.saturating_sub(4), &[line]);
        }
        if inside.height == 0 {
            return;
        }
        let (mut x, y) = (inside.x + 2, inside.bottom() - 1);
        for (number, text) in (0..).zip(["  Cancel  ", "  Sign out  "]) {
            let style = if self.go == (number == 1) { theme.cursor } else { theme.strong };
            let used = canvas.text(x, y, inside.right().saturating_sub(x), &Clean::of(text), style);
            canvas.hits.push((Rect { x, y, width: used, height: 1 }, Hit::Button(number)));
            if self.go == (number == 1) {
                canvas.text(x, y, 1, &Clean::fixed(theme.glyphs.cursor), theme.cursor);
            }
            x += used + 1;
        }
        let all = [("tab", "other button"), ("enter", "presses it"), ("esc", "cancels")];
        keys(canvas, x + 2, y, inside.right().saturating_sub(x + 2), &all);
    }
}
