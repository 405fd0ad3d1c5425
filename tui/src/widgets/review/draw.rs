//! How a change under review is drawn.

use ratatui::layout::Rect;

use super::{Focus, Review, Stage, tally};
use crate::{
    change::{Change, Effect, past},
    look::Theme,
    message::Trouble,
    model::{Model, Protection},
    screens::person::status,
    text::Clean,
    widgets::{
        canvas::{Bit, Canvas, Hit, bit},
        field, outcome,
        overlay::{keys, middle, room},
    },
};

/// Where the change would be made: said on every box that changes something, loudly where it is
/// protected.
pub fn place(model: &Model, theme: &Theme) -> Vec<Bit> {
    let name = model.place.name().unwrap_or(&model.place.server);
    match model.place.protection {
        Protection::Open => vec![bit(format!(" {name}"), theme.dim)],
        Protection::Confirm => vec![bit(format!(" {name} "), theme.banner), bit(" protected", theme.warn)],
        Protection::ReadOnly => vec![bit(format!(" {name} "), theme.banner), bit(" read-only", theme.warn)],
    }
}

impl Review {
    /// What the change is about, line by line.
    fn facts(&self, model: &Model, theme: &Theme, width: usize) -> Vec<Vec<Bit>> {
        let fact = |name: &str, rest: Vec<Bit>| {
            let mut line = vec![bit(format!("{name:<12}"), theme.dim)];
            line.extend(rest);
            line
        };
        let mut lines = Vec::new();
        for note in self.like(model).iter().chain(&self.note) {
            for part in Clean::of(note).wrap(width) {
                lines.push(vec![Bit { text: part, style: theme.warn }]);
            }
            lines.push(Vec::new());
        }
        if let Change::Money(deed) = &self.change {
            lines.extend(super::money::facts(self, deed, model, theme, width));
        } else if !matches!(self.change, Change::Many(..)) {
            lines.push(fact("who", vec![bit(self.subject.name(), theme.strong)]));
        }
        if let Some(before) = self.subject.before() {
            lines.push(fact("", vec![bit(before.name.to_string(), theme.text)]));
            let after = match &self.stage {
                Stage::Ready(Effect::Person(after)) => Some(after.status),
                _ => self.change.status_after(),
            };
            if let Some(after) = after.filter(|after| *after != before.status) {
                let arrow = bit(format!(" {} ", theme.glyphs.arrow), theme.dim);
                let line = vec![status(before.status, theme), arrow, status(after, theme)];
                lines.push(fact("status", line));
            }
        }
        for (name, was, now) in self.change.differences(self.subject.before()) {
            let name = Clean::of(name).fit(11, theme.glyphs.ellipsis);
            let mut first = true;
            for (sign, value, style) in [("-", was, theme.bad), ("+", now, theme.good)] {
                let Some(value) = value else { continue };
                for (at, part) in
                    Clean::of(value).wrap(width.saturating_sub(14).max(8)).into_iter().enumerate()
                {
                    let label = if std::mem::take(&mut first) { name.as_str() } else { "" };
                    let sign = if at == 0 { sign } else { " " };
                    let line = vec![bit(format!("{sign} "), style), Bit { text: part, style }];
                    lines.push(fact(label, line));
                }
            }
        }
        if let Some(ends) = self.ends() {
            lines.push(fact("sessions", vec![bit(ends, theme.text)]));
        }
        if let (Change::Many(op, items), Stage::Ready(Effect::Many(plan))) = (&self.change, &self.stage) {
            let (good, bad) = tally(plan);
            let mut line = vec![bit(format!("{good} will be {}", past(*op)), theme.strong)];
            if bad > 0 {
                line.push(bit(format!(", {bad} will not and are left out"), theme.warn));
            }
            lines.push(line);
            lines.push(Vec::new());
            lines.extend(outcome::each(items, plan, theme, true));
            lines.push(Vec::new());
        }
        let undo = Clean::of(model.keys.fill(self.change.undo())).wrap(width.saturating_sub(12).max(8));
        lines.extend(undo.into_iter().enumerate().map(|(at, text)| {
            fact(if at == 0 { "undo" } else { "" }, vec![Bit { text, style: theme.text }])
        }));
        let command = model.place.reached_by(&self.command());
        let room = width.saturating_sub(12).max(8);
        let mut parts = Clean::of(command).wrap(room).into_iter();
        lines.extend(parts.next().map(|text| fact("same as", vec![Bit { text, style: theme.text }])));
        lines.extend(parts.by_ref().take(2).map(|text| fact("", vec![Bit { text, style: theme.text }])));
        if parts.next().is_some() {
            lines.push(fact("", vec![bit("and so on; Y copies all of it", theme.dim)]));
        }
        lines
    }

    /// What it does to the sessions of the person.
    fn ends(&self) -> Option<String> {
        if let Change::EndSession(_) = self.change {
            return Some("this one ends at once".to_owned());
        }
        if !self.change.ends_sessions() {
            return None;
        }
        let known = self.subject.before().and_then(|user| user.sessions.as_ref()).map(|all| all.len() as u64);
        let count = if let Stage::Ready(Effect::Ended(count)) = self.stage { Some(count) } else { known };
        Some(match count {
            None => "all of theirs end at once".to_owned(),
            Some(0) => "none is known to end".to_owned(),
            Some(1) => "1 ends at once".to_owned(),
            Some(many) => format!("{many} end at once"),
        })
    }

    /// How far it is, in words.
    fn word(&self, theme: &Theme) -> Bit {
        let good = theme.glyphs.good;
        match &self.stage {
            Stage::Asking => bit("asking the daemon what would happen…", theme.dim),
            Stage::Ready(_) | Stage::Lost if self.offline => bit(
                format!(
                    "{} the daemon cannot be reached: nothing can be sent, and what stands here may be old",
                    theme.glyphs.stop
                ),
                theme.bad,
            ),
            Stage::Ready(_) if self.agreed > 0 && self.choosable() => {
                bit("this context is protected: press the button once more", theme.warn)
            }
            Stage::Ready(_) if self.meanwhile.stale => {
                let what = match self.change {
                    Change::Money(_) => "something happened to these accounts",
                    _ => "something may have happened meanwhile",
                };
                bit(format!("{what}: asking again what would happen…"), theme.warn)
            }
            Stage::Ready(Effect::Many(plan)) if tally(plan).0 == 0 => {
                bit(format!("{} nobody can be changed like this", theme.glyphs.stop), theme.bad)
            }
            Stage::Ready(_) => {
                bit(format!("{good} the daemon tried it and undid it: this is what will happen"), theme.good)
            }
            Stage::Refused(Trouble::Unreachable(why) | Trouble::Local(why)) if self.agreed > 0 => {
                bit(format!("not sent, so nothing was changed: {why}"), theme.bad)
            }
            Stage::Refused(Trouble::Unreachable(why)) => bit(format!("could not be asked: {why}"), theme.bad),
            Stage::Refused(trouble) => bit(format!("refused: {}", trouble.message()), theme.bad),
            Stage::Sending => bit("sent; waiting for the daemon…", theme.dim),
            Stage::Unknown(why) => {
                bit(format!("outcome unknown; it is asked for until it is known: {why}"), theme.warn)
            }
            Stage::Lost => bit(
                "the daemon knows nothing of it: send it again? the key keeps it from being done twice",
                theme.warn,
            ),
        }
    }

    /// Draws it.
    pub fn draw(&self, canvas: &mut Canvas<'_>, model: &Model) {
        let theme = canvas.theme;
        let whole = room(canvas);
        let wide =
            matches!(self.change, Change::Many(..) | Change::Edit(_) | Change::Create(_) | Change::Money(_));
        let wide = if wide { 96 } else { 78 };
        let width = whole.width.saturating_sub(2).min(wide);
        let room = usize::from(width.saturating_sub(6)).max(8);
        let lines = self.facts(model, &theme, room);
        let small = whole.height < 16;
        let blank = || (!small).then(Vec::new);
        let mut below: Vec<Vec<Bit>> = blank().into_iter().collect();
        let reason_at = below.len();
        // the line that the reason is typed in: seen however long the plan is
        let reason = self.change.takes_reason() && self.fillable();
        if reason {
            below.push(vec![bit(format!("{:<12}", "reason"), theme.dim)]);
            below.extend(blank());
        }
        // the line that the amount is typed in
        let typed = self.typed_note(&theme).filter(|_| self.fillable());
        let amount = below.len();
        if let Some(note) = &typed {
            below.push(vec![bit(self.typed_name(), theme.dim)]);
            below.push(vec![bit(" ".repeat(12), theme.text), note.clone()]);
            below.push(Vec::new());
        }
        let word = self.word(&theme);
        below.extend(word.text.wrap(room).into_iter().map(|text| vec![Bit { text, style: word.style }]));
        if let Stage::Refused(trouble) = &self.stage
            && let Some(id) = trouble.request_id()
        {
            below.push(vec![bit(format!("request {id}"), theme.dim)]);
        }
        below.extend(blank());
        let needed = lines.len() + below.len() + 4;
        let height = u16::try_from(needed).unwrap_or(u16::MAX).min(whole.height);
        let area = middle(whole, width, height);
        let title = bit(self.change.question(), theme.accent);
        let inside = canvas.frame(area, &[title], &place(model, &theme));
        if inside.height == 0 {
            return;
        }
        let (x, width) = (inside.x + 2, inside.width.saturating_sub(4));
        // the buttons are always there, then what the daemon says, then as many facts as fit
        let frame = if small { 1 } else { 2 };
        let rows = usize::from(inside.height.saturating_sub(frame)).saturating_sub(below.len()).max(1);
        let scroll = self.scroll.min(lines.len().saturating_sub(rows));
        let mut y = inside.y + u16::from(!small);
        for line in lines.iter().skip(scroll).take(rows) {
            if y + 1 >= inside.bottom() {
                break;
            }
            canvas.line(x, y, width, line);
            y += 1;
        }
        if lines.len() > rows {
            let shown = format!(
                " {}-{} of {} {} j k ",
                scroll + 1,
                (scroll + rows).min(lines.len()),
                lines.len(),
                theme.glyphs.dot
            );
            canvas.line_right(
                area.right().saturating_sub(2),
                area.bottom() - 1,
                width,
                &[bit(shown, theme.dim)],
            );
        }
        for (at, line) in below.iter().enumerate() {
            if y + 1 >= inside.bottom() {
                break;
            }
            canvas.line(x, y, width, line);
            if reason && at == reason_at {
                let place = Rect { x: x + 12, y, width: width.saturating_sub(12), height: 1 };
                let on = self.focus == Focus::Reason;
                field::draw(canvas, place, &self.reason, false, on, Some(0));
                if self.reason.value().is_empty() && !on {
                    let text = Clean::fixed("none; a click or r goes here");
                    canvas.text(place.x, y, place.width, &text, theme.field);
                }
            }
            if at == amount && typed.is_some() {
                let place = Rect { x: x + 12, y, width: width.saturating_sub(12).min(24), height: 1 };
                field::draw(canvas, place, &self.typed, false, self.focus == Focus::Amount, Some(1));
            }
            y += 1;
        }
        self.buttons(canvas, Rect { x, y: inside.bottom() - 1, width, height: 1 });
    }

    fn buttons(&self, canvas: &mut Canvas<'_>, area: Rect) {
        let theme = canvas.theme;
        let choosable = self.choosable();
        let chosen = |on: bool| if on { theme.cursor } else { theme.strong };
        // what is on its way cannot be called back, and what was refused needs no word
        let leave = match (&self.form, choosable || self.fillable() || matches!(self.stage, Stage::Asking)) {
            _ if matches!(self.stage, Stage::Lost) => "  Later   ",
            (Some(_), true) => "  Back    ",
            (None, true) => "  Cancel  ",
            (_, false) => "  Close   ",
        };
        let mut x = area.x;
        let mut button = |canvas: &mut Canvas<'_>, text: &str, on: bool, number: u8| {
            let used = canvas.text(x, area.y, area.right().saturating_sub(x), &Clean::of(text), chosen(on));
            canvas.hits.push((Rect { x, width: used, ..area }, Hit::Button(number)));
            if on {
                // where it is not colour that shows it
                canvas.text(x, area.y, 1, &Clean::fixed(theme.glyphs.cursor), chosen(true));
            }
            x += used + 1;
        };
        let typing = self.fillable() && matches!(self.focus, Focus::Reason | Focus::Amount);
        let cancel = self.focus == Focus::Cancel || (!choosable && !typing);
        if matches!(self.stage, Stage::Sending) {
            // nothing to press: it is on its way
            keys(canvas, x, area.y, area.right().saturating_sub(x), &[("Y", "copies the command")]);
            return;
        }
        button(canvas, leave, cancel, 0);
        if !choosable {
            let mut all = vec![("Y", "copies the command"), ("esc", "closes")];
            if typing {
                all.remove(0);
            }
            if matches!(self.stage, Stage::Refused(_)) {
                all.insert(0, ("!", "shows all of it"));
            }
            keys(canvas, x + 2, area.y, area.right().saturating_sub(x + 2), &all);
            return;
        }
        let go = match (&self.change, &self.stage) {
            (Change::Many(..), Stage::Ready(Effect::Many(plan))) => {
                format!("  {} {}  ", self.change.button(), tally(plan).0)
            }
            _ => format!("  {}  ", self.change.button()),
        };
        button(canvas, &go, self.focus == Focus::Go, 1);
        let money = self.typed_name() == "amount";
        let mut all = vec![("tab", "other button"), ("enter", "presses it")];
        if self.asks_for().is_some() && self.fillable() && self.focus == Focus::Cancel {
            all[0] = ("tab", if money { "to the amount" } else { "to the count" });
        }
        if self.focus == Focus::Amount {
            all = vec![(
                "enter",
                if money {
                    "to the button, once the amount is typed"
                } else {
                    "to the button, once the count is typed"
                },
            )];
        } else if self.focus == Focus::Reason {
            all = vec![("enter", "to the buttons")];
        } else if self.change.takes_reason() && self.fillable() {
            all.push(("r", "reason"));
        }
        if matches!(self.stage, Stage::Lost) {
            all.extend([("D", "forgets it"), ("esc", "later"), ("Y", "copies the command")]);
        } else {
            if !matches!(self.focus, Focus::Reason | Focus::Amount) {
                all.push(("Y", "copies the command"));
            }
            all.push(("esc", if self.form.is_some() { "back" } else { "cancels" }));
        }
        keys(canvas, x + 2, area.y, area.right().saturating_sub(x + 2), &all);
    }
}
