//! What came of a change when a word is not enough: each of many by itself, and secrets shown once.

use bursar_shared::{
    operations::users::{BulkOp, BulkResult, PasswordReset},
    time::Timestamp,
};
use ratatui::layout::Rect;

use super::{
    canvas::{Bit, Canvas, bit},
    overlay::{Overlay, keys, middle, room},
};
use crate::{
    change::{Item, past},
    keys::{Code, Key},
    message::Task,
    model::Model,
    text::{Clean, minute},
};

/// What became of each of many, or would.
#[derive(Debug)]
pub struct Results {
    /// What was done.
    pub op: BulkOp,
    /// To whom.
    pub items: Vec<Item>,
    /// What became of each.
    pub result: BulkResult,
    /// Lines above the first that is shown.
    pub scroll: usize,
}

/// How many went well, and how many did not.
pub fn tally(result: &BulkResult) -> (usize, usize) {
    let bad = result.items.iter().filter(|outcome| outcome.error.is_some()).count();
    (result.items.len() - bad, bad)
}

/// A line for each: those that did not go well first. In a plan nothing has happened yet.
pub fn each(items: &[Item], result: &BulkResult, theme: &crate::look::Theme, plan: bool) -> Vec<Vec<Bit>> {
    let (sign, will) = if plan { (theme.glyphs.arrow, "will be ") } else { (theme.glyphs.mark, "") };
    let mut outcomes: Vec<_> = result.items.iter().collect();
    outcomes.sort_by_key(|outcome| outcome.error.is_none());
    outcomes
        .into_iter()
        .map(|outcome| {
            let name = outcome.data.as_ref().map(|user| user.email.to_string());
            let item = items.get(outcome.index as usize);
            let name = name.or_else(|| item.map(|item| item.name.clone())).unwrap_or_default();
            let name = Clean::of(name).fit(32, theme.glyphs.ellipsis);
            let pad = " ".repeat(34 - name.width().min(32));
            let mut line = vec![Bit { text: name, style: theme.text }, bit(pad, theme.text)];
            match (&outcome.error, &outcome.data) {
                (Some(error), _) => {
                    line.push(bit(format!("{} {}", theme.glyphs.stop, error.message), theme.bad));
                }
                (None, Some(user)) => {
                    line.push(bit(format!("{sign} {will}{}", user.status), theme.good));
                }
                (None, None) => line.push(bit(format!("{sign} {will}deleted"), theme.good)),
            }
            line
        })
        .collect()
}

impl Results {
    /// A key.
    pub fn key(model: &mut Model, key: Key) -> Vec<Task> {
        let Some(Overlay::Results(results)) = &mut model.overlay else { return Vec::new() };
        let last = results.result.items.len().saturating_sub(1);
        match (key.ctrl, key.code) {
            (false, Code::Char('j') | Code::Down) => results.scroll = (results.scroll + 1).min(last),
            (false, Code::Char('k') | Code::Up) => results.scroll = results.scroll.saturating_sub(1),
            (false, Code::PageDown) => results.scroll = (results.scroll + 10).min(last),
            (false, Code::PageUp) => results.scroll = results.scroll.saturating_sub(10),
            (false, Code::Char('y')) => {
                let bad = results.result.items.iter().filter(|outcome| outcome.error.is_some());
                let ids = bad.filter_map(|outcome| results.items.get(outcome.index as usize));
                let ids: Vec<String> = ids.map(|item| item.id.to_string()).collect();
                if ids.is_empty() {
                    model.say("nobody was left out");
                    return Vec::new();
                }
                model.say(format!("copied {} ids", ids.len()));
                return vec![Task::Copy(ids.join("\n"))];
            }
            (false, Code::Esc | Code::Enter | Code::Char('q')) => model.overlay = None,
            _ => {}
        }
        Vec::new()
    }

    /// Draws it.
    pub fn draw(&self, canvas: &mut Canvas<'_>) {
        let theme = canvas.theme;
        let whole = room(canvas);
        let lines = each(&self.items, &self.result, &theme, false);
        let height = u16::try_from(lines.len() + 6).unwrap_or(u16::MAX).min(whole.height.saturating_sub(2));
        let area = middle(whole, whole.width.saturating_sub(4).min(92), height);
        let (good, bad) = tally(&self.result);
        let title = match bad {
            0 => bit(format!("{} {good} {}", theme.glyphs.mark, past(self.op)), theme.good),
            _ => bit(format!("{} {good} {}, {bad} not", theme.glyphs.stop, past(self.op)), theme.warn),
        };
        let inside = canvas.frame(area, &[title], &[]);
        let rows = usize::from(inside.height.saturating_sub(3));
        let scroll = self.scroll.min(lines.len().saturating_sub(rows));
        for (line, y) in lines.iter().skip(scroll).take(rows).zip(inside.y + 1..) {
            canvas.line(inside.x + 2, y, inside.width.saturating_sub(4), line);
        }
        if inside.height > 1 {
            let marks = if bad > 0 { "copies the ids that are left" } else { "copies what is left" };
            let all = [("j", "more"), ("y", marks), ("esc", "closes")];
            keys(canvas, inside.x + 2, inside.bottom() - 1, inside.width.saturating_sub(3), &all);
        }
    }
}

/// A secret that is shown once.
pub struct Token {
    /// Whose it is.
    pub whom: String,
    /// The secret; nothing when its answer was lost.
    pub token: Option<String>,
    /// Until when it is good.
    pub until: Timestamp,
    /// It was copied, or closing was asked about.
    seen: bool,
    /// What they run with it.
    command: String,
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Token").field("whom", &self.whom).finish_non_exhaustive()
    }
}

impl Token {
    /// For this person.
    pub fn new(model: &Model, whom: String, reset: PasswordReset) -> Self {
        let command = model.place.reached_by("bursar auth password --reset");
        Self { whom, token: reset.reset_token, until: reset.expires_at, seen: false, command }
    }

    /// A key.
    pub fn key(model: &mut Model, key: Key) -> Vec<Task> {
        let Some(Overlay::Token(token)) = &mut model.overlay else { return Vec::new() };
        match (key.ctrl, key.code) {
            (false, Code::Char('y')) => {
                let Some(text) = token.token.clone() else { return Vec::new() };
                token.seen = true;
                model.say("copied the token; it is not kept here");
                vec![Task::Copy(text)]
            }
            (false, Code::Esc | Code::Enter | Code::Char('q')) => {
                if token.seen || token.token.is_none() {
                    model.overlay = None;
                } else {
                    // gone with the next key: worth a second one
                    token.seen = true;
                    model.complain("not copied yet: y copies it, esc again closes it for good");
                }
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    /// Draws it.
    pub fn draw(&self, canvas: &mut Canvas<'_>) {
        let theme = canvas.theme;
        let whole = room(canvas);
        let width = whole.width.saturating_sub(4).min(84);
        let room = usize::from(width.saturating_sub(6)).max(8);
        let mut lines: Vec<Vec<Bit>> = Vec::new();
        match &self.token {
            Some(token) => {
                lines.push(vec![bit("One-time token for a new password, shown once:", theme.text)]);
                lines.push(Vec::new());
                // in pieces of a line each: a token has no spaces to break at
                let parts = Clean::of(token).wrap(room).into_iter();
                lines.extend(parts.map(|text| vec![Bit { text, style: theme.strong }]));
                lines.push(Vec::new());
                lines.push(vec![bit(format!("good until {}Z, for one use:", minute(self.until)), theme.dim)]);
                lines.push(vec![bit(self.command.clone(), theme.text)]);
                lines.push(vec![bit("Hand it over on a safe way. Their sessions have ended.", theme.dim)]);
            }
            None => {
                let words = "The password was reset, but the answer with the token was lost, and it is shown only \
                             once. Their sessions have ended. Reset it again to get another token.";
                let parts = Clean::of(words).wrap(room).into_iter();
                lines.extend(parts.map(|text| vec![Bit { text, style: theme.warn }]));
            }
        }
        let height = u16::try_from(lines.len() + 5).unwrap_or(u16::MAX);
        let area = middle(whole, width, height);
        let title = format!("Password of {}", self.whom);
        let inside = canvas.frame(area, &[bit(title, theme.accent)], &[]);
        for (line, y) in lines.iter().zip(inside.y + 1..inside.bottom().saturating_sub(1)) {
            canvas.line(inside.x + 2, y, inside.width.saturating_sub(4), line);
        }
        if inside.height > 1 {
            let copies: &[(&str, &str)] = &[("y", "copies it"), ("esc", "closes")];
            let all = if self.token.is_some() { copies } else { &copies[1..] };
            let place = Rect { x: inside.x + 2, y: inside.bottom() - 1, ..inside };
            keys(canvas, place.x, place.y, inside.width.saturating_sub(3), all);
        }
    }
}
