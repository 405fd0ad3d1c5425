//! What went wrong, all of it: what the daemon said, what can be done, and the request's id to be copied.

use bursar_shared::time::Timestamp;

use super::{
    canvas::{Bit, Canvas, bit},
    overlay::{Overlay, keys, middle, room},
};
use crate::{
    keys::{Code, Key},
    message::{Task, Trouble},
    model::Model,
    text::{Clean, clock},
};

/// What went wrong.
#[derive(Debug)]
pub struct Shown {
    /// Why.
    pub trouble: Trouble,
    /// What was being done.
    pub doing: String,
    /// When.
    pub at: Timestamp,
}

impl Shown {
    /// A key.
    pub fn key(model: &mut Model, key: Key) -> Vec<Task> {
        let Some(Overlay::Trouble(shown)) = &model.overlay else { return Vec::new() };
        match (key.ctrl, key.code) {
            (false, Code::Char('y')) => {
                let text = match shown.trouble.request_id() {
                    Some(id) => id.to_owned(),
                    None => shown.text(&model.place.server),
                };
                model.say(format!("copied {}", text.lines().next().unwrap_or_default()));
                vec![Task::Copy(text)]
            }
            (false, Code::Char('Y')) => {
                let text = shown.text(&model.place.server);
                model.say("copied all of it");
                vec![Task::Copy(text)]
            }
            (false, Code::Esc | Code::Enter | Code::Char('q')) => {
                model.overlay = None;
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    /// All facts, a line each: name and value.
    fn facts(&self, server: &str) -> Vec<(&'static str, String)> {
        let mut facts = vec![("what", self.doing.clone()), ("why", self.trouble.message())];
        if let Trouble::Refused { error, retry_at, .. } = &self.trouble {
            facts.push(("code", error.code.to_string()));
            for wrong in error.violations() {
                facts.push(("field", format!("{} {}", wrong.pointer, wrong.message)));
            }
            if let Some(at) = retry_at {
                facts.push(("again", format!("at {}", clock(*at))));
            }
            facts.push(("next", error.code.class().hint().to_owned()));
        }
        if let Some(id) = self.trouble.request_id() {
            facts.push(("request", id.to_owned()));
        }
        facts.push(("server", server.to_owned()));
        facts.push(("when", self.at.to_string()));
        facts
    }

    fn text(&self, server: &str) -> String {
        self.facts(server).iter().map(|(name, value)| format!("{name}: {value}\n")).collect()
    }

    /// Draws it.
    pub fn draw(&self, canvas: &mut Canvas<'_>, model: &Model) {
        let theme = canvas.theme;
        let whole = room(canvas);
        let width = whole.width.saturating_sub(4).min(84);
        let room = usize::from(width.saturating_sub(16)).max(8);
        let mut lines: Vec<Vec<Bit>> = Vec::new();
        for (name, value) in self.facts(&model.place.server) {
            let style = if name == "why" { theme.bad } else { theme.text };
            for (at, part) in Clean::of(value).wrap(room).into_iter().enumerate() {
                let name = if at == 0 { name } else { "" };
                lines.push(vec![bit(format!("{name:<9} "), theme.dim), Bit { text: part, style }]);
            }
        }
        let height = u16::try_from(lines.len() + 5).unwrap_or(u16::MAX);
        let area = middle(whole, width, height);
        let title = format!("{} What went wrong", theme.glyphs.stop);
        let inside = canvas.frame(area, &[bit(title, theme.bad)], &[]);
        for (line, y) in lines.iter().zip(inside.y + 1..inside.bottom().saturating_sub(1)) {
            canvas.line(inside.x + 2, y, inside.width.saturating_sub(4), line);
        }
        if inside.height > 1 {
            let y = inside.bottom() - 1;
            let first = if self.trouble.request_id().is_some() { "copies the request" } else { "copies it" };
            let all = [("y", first), ("Y", "copies all of it"), ("esc", "closes")];
            keys(canvas, inside.x + 2, y, inside.width.saturating_sub(3), &all);
        }
    }
}
