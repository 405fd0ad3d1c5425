//! How a form is drawn.

use ratatui::layout::Rect;

use super::{Form, Kind};
use crate::{
    look::Theme,
    model::Model,
    text::Clean,
    widgets::{
        canvas::{Bit, Canvas, Hit, bit},
        field,
        overlay::{keys, middle, room},
        review,
    },
};

impl Form {
    /// What is said about a field.
    fn note(&self, at: usize, theme: &Theme) -> Option<Bit> {
        let field = &self.fields[at];
        let money = self.money_note(at, theme);
        match (&field.fault, &field.was) {
            (Some(fault), _) if field.touched => {
                Some(bit(format!("{} {fault}", theme.glyphs.stop), theme.bad))
            }
            _ if money.is_some() => money,
            (_, Some(was)) if field.changed() && was.is_empty() => {
                Some(bit(format!("{} was empty", theme.glyphs.changed), theme.warn))
            }
            (_, Some(was)) if field.changed() => {
                Some(bit(format!("{} was: {was}", theme.glyphs.changed), theme.warn))
            }
            (_, None) if field.is_fact() => Some(bit("new", theme.good)),
            _ if at == self.at => Some(bit(field.help, theme.dim)),
            _ => None,
        }
    }

    /// Draws it.
    pub fn draw(&self, canvas: &mut Canvas<'_>, model: &Model) {
        let theme = canvas.theme;
        let whole = room(canvas);
        // a line for each field and one for what is said about it, if there is room for both
        let tall = whole.height.saturating_sub(6);
        let step: u16 = if usize::from(tall) >= self.fields.len() * 2 + 4 { 2 } else { 1 };
        let offers = self.offers(model, &theme);
        let offered = u16::try_from(offers.len()).unwrap_or(u16::MAX);
        // room for what may be offered, so that the box does not jump while one types
        let kept = if self.money.is_some() { offered.max(7.min(tall / 3)) } else { 0 };
        let wanted = u16::try_from(self.fields.len()).unwrap_or(u16::MAX).saturating_mul(step) + 6 + kept;
        let area = middle(whole, whole.width.saturating_sub(4).min(92), wanted.min(whole.height));
        let title = match (&self.before, &self.money) {
            (_, Some(sheet)) => self.money_title(sheet),
            (Some(user), None) => format!("Edit {}", user.email),
            (None, None) => "New user".to_owned(),
        };
        let mut facts = Vec::new();
        if let Some(read) = self.read() {
            facts.push(bit(format!("version {} {}", read.version(), theme.glyphs.dot), theme.dim));
        }
        facts.extend(review::place(model, &theme));
        let inside = canvas.frame(area, &[bit(title, theme.accent)], &facts);
        let (x, width) = (inside.x + 2, inside.width.saturating_sub(4));
        // a label is shown for as long as there is room for a few letters beside it
        let label = match width {
            50.. => 14,
            22.. => 12,
            _ => 0,
        };
        let rows = usize::from(inside.height.saturating_sub(4 + offered) / step).max(1);
        let first = (self.at + 1).saturating_sub(rows);
        for (line, (at, field)) in self.fields.iter().enumerate().skip(first).take(rows).enumerate() {
            let y = inside.y + 1 + line as u16 * step;
            if y >= inside.bottom() {
                break;
            }
            let on = at == self.at;
            let style = if on { theme.accent } else { theme.text };
            canvas.text(x, y, label.max(1) - 1, &Clean::of(&field.label), style);
            if on {
                canvas.text(inside.x, y, 1, &Clean::fixed(theme.glyphs.cursor), theme.accent);
            }
            let note = self.note(at, &theme);
            let room = width.saturating_sub(label);
            // beside the field where there is no line for it below
            let cells = if step == 1 && note.is_some() && room >= 50 { room / 2 } else { room };
            let place = Rect { x: x + label, y, width: cells, height: 1 };
            let hit = u8::try_from(at).ok();
            match field.kind {
                Kind::Words(words) => {
                    let mut at_x = place.x;
                    for word in words {
                        let chosen = *word == field.input.value();
                        let sign = if chosen { format!("({})", theme.glyphs.good) } else { "( )".to_owned() };
                        let style = match (chosen, on) {
                            (true, true) => theme.field_on,
                            (true, false) => theme.strong,
                            _ => theme.dim,
                        };
                        let text = Clean::of(format!("{sign} {word}"));
                        at_x += canvas.text(at_x, y, place.right().saturating_sub(at_x), &text, style) + 2;
                    }
                    if let Some(hit) = hit {
                        canvas.hits.push((place, Hit::Field(hit)));
                    }
                }
                Kind::Roles => {
                    field::draw(canvas, place, &field.input, false, on, hit);
                    if field.input.value().is_empty() {
                        let style = if on { theme.field_on } else { theme.field };
                        canvas.text(place.x, y, place.width, &Clean::fixed("none; space chooses"), style);
                    }
                    if on {
                        // nothing is typed here
                        canvas.caret = None;
                    }
                }
                Kind::Text | Kind::More => field::draw(canvas, place, &field.input, false, on, hit),
            }
            if let Some(note) = note {
                if step == 2 && y + 1 < inside.bottom() {
                    canvas.line(x + label, y + 1, room, &[note]);
                } else if cells < room {
                    canvas.line(x + label + cells + 1, y, room - cells - 1, &[note]);
                } else if on {
                    canvas.line(x, inside.bottom().saturating_sub(3), width, &[note]);
                }
            }
        }
        let top = inside.bottom().saturating_sub(3 + offered).max(inside.y);
        for (line, y) in offers.iter().zip(top..inside.bottom().saturating_sub(3)) {
            canvas.line(x, y, width, line);
        }
        let wrong = self.fields.iter().filter(|field| field.touched && field.fault.is_some()).count();
        let word = match (&self.problem, wrong, self.changes()) {
            _ if self.leaving => bit("esc again throws the typing away; any other key goes on", theme.warn),
            (Some(problem), ..) => bit(format!("{} {problem}", theme.glyphs.stop), theme.bad),
            (None, 0, 0) => bit("nothing was typed yet", theme.dim),
            (None, 0, 1) => bit("1 field changed; ^s shows what would happen", theme.good),
            (None, 0, many) => bit(format!("{many} fields changed; ^s shows what would happen"), theme.good),
            (None, 1, _) => bit("1 problem; ^s works when it is gone", theme.bad),
            (None, many, _) => bit(format!("{many} problems; ^s works when they are gone"), theme.bad),
        };
        if inside.height >= 4 {
            canvas.line(x, inside.bottom() - 2, width, &[word]);
            // the most wanted first: a small terminal has no room for all
            let mut all = vec![
                ("tab", "next"),
                ("^s", "reviews"),
                ("esc", "leaves"),
                ("shift-tab", "back"),
                ("^z", "as it was"),
            ];
            if let Some(field) = self.fields.get(self.at) {
                match field.kind {
                    Kind::Words(_) => all.insert(0, ("space", "other")),
                    Kind::Roles => all.insert(0, ("space", "chooses")),
                    Kind::More if !field.input.value().is_empty() => all.insert(0, ("enter", "adds it")),
                    Kind::Text | Kind::More => {}
                }
            }
            keys(canvas, x, inside.bottom() - 1, width, &all);
        }
    }
}
