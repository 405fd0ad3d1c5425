//! A list on its way into a file: which form, which file, how far, and how to stop it.

use ratatui::layout::Rect;
use tui_input::Input;

use super::{
    canvas::{Canvas, bit},
    field,
    overlay::{Overlay, keys, middle, room},
};
use crate::{
    change::shell,
    keys::{Code, Key},
    message::{Plan, Request, Slot, Task, Trouble},
    model::Model,
    text::{Clean, number},
};

/// The forms, as the command line has them.
const FORMATS: [&str; 2] = ["csv", "jsonl"];

/// How far it is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Stage {
    /// Not begun.
    Asking,
    /// So many rows are written.
    Writing(u64),
    /// It is done: so many rows.
    Done(u64, String),
    /// It stopped.
    Failed(String),
}

/// A list on its way into a file.
#[derive(Debug)]
pub struct Export {
    noun: &'static str,
    target: String,
    command: String,
    total: Option<u64>,
    format: usize,
    path: Input,
    stage: Stage,
}

impl Export {
    /// Asks for form and file.
    pub fn open(model: &mut Model) {
        let Some(list) = model.list() else { return };
        let Some(target) = list.target() else { return };
        let day = model.now.to_string();
        let stamp: String = day.chars().take(16).filter(|letter| letter.is_ascii_digit()).collect();
        let export = Self {
            noun: list.noun(),
            target,
            command: model.place.reached_by(&list.command()),
            total: list.total(),
            format: 0,
            path: Input::new(format!("{}-{stamp}.csv", list.noun())),
            stage: Stage::Asking,
        };
        model.overlay = Some(Overlay::Export(export));
    }

    /// Text was pasted.
    pub fn paste(&mut self, text: &str) {
        if self.stage == Stage::Asking {
            field::paste(&mut self.path, text);
        }
    }

    /// So many rows are written; whether that is seen.
    pub fn progress(&mut self, rows: u64) -> bool {
        let writing = matches!(self.stage, Stage::Writing(_));
        if writing {
            self.stage = Stage::Writing(rows);
        }
        writing
    }

    /// It is done.
    pub fn done(model: &mut Model, rows: u64, path: &str) {
        model.say(format!("{} rows are in {path}", number(rows)));
        if let Some(Overlay::Export(export)) = &mut model.overlay {
            export.stage = Stage::Done(rows, path.to_owned());
        }
    }

    /// It stopped.
    pub fn failed(model: &mut Model, trouble: &Trouble) {
        model.report("the export stopped", trouble);
        if let Some(Overlay::Export(export)) = &mut model.overlay {
            export.stage = Stage::Failed(trouble.message());
        }
    }

    /// A key.
    pub fn key(model: &mut Model, key: Key) -> Vec<Task> {
        let Some(Overlay::Export(export)) = &mut model.overlay else { return Vec::new() };
        match (&export.stage, key.ctrl, key.code) {
            (Stage::Writing(_), false, Code::Esc) => {
                model.overlay = None;
                model.tickets.forget(Slot::Export);
                model.say("the export was stopped; its file is gone");
                return vec![Task::Drop(Slot::Export)];
            }
            (Stage::Writing(_), ..) => {}
            (_, false, Code::Esc) => model.overlay = None,
            (Stage::Done(..), false, Code::Enter | Code::Char('q')) => model.overlay = None,
            (Stage::Done(_, path), false, Code::Char('y')) => {
                let path = path.clone();
                model.say(format!("copied {path}"));
                return vec![Task::Copy(path)];
            }
            (Stage::Done(..), ..) => {}
            (_, false, Code::Tab | Code::BackTab) => {
                let old = FORMATS[export.format];
                export.format = (export.format + 1) % FORMATS.len();
                // the name follows the form for as long as it ends like one
                if let Some(stem) = export.path.value().strip_suffix(&format!(".{old}")) {
                    export.path = Input::new(format!("{stem}.{}", FORMATS[export.format]));
                }
            }
            (_, false, Code::Enter) => {
                let path = export.path.value().trim().to_owned();
                if path.is_empty() {
                    export.stage = Stage::Failed("the file needs a name".to_owned());
                    return Vec::new();
                }
                export.stage = Stage::Writing(0);
                let (noun, target) = (export.noun, export.target.clone());
                let plan = Plan { noun, target, format: FORMATS[export.format], path };
                return vec![Task::Ask(model.tickets.issue(Slot::Export), Request::Export(plan))];
            }
            _ => {
                if field::edit(&mut export.path, key) {
                    export.stage = Stage::Asking;
                }
            }
        }
        Vec::new()
    }

    /// Draws it.
    pub fn draw(&self, canvas: &mut Canvas<'_>, model: &Model) {
        let theme = canvas.theme;
        let whole = room(canvas);
        let area = middle(whole, whole.width.saturating_sub(4).min(80), 12);
        let title = format!("Export {}", self.noun);
        let inside = canvas.frame(area, &[bit(title, theme.accent)], &super::review::place(model, &theme));
        let (x, width) = (inside.x + 2, inside.width.saturating_sub(4));
        let label = 9.min(width);
        let mut y = inside.y + 1;
        let room = width.saturating_sub(label);
        let mut line = |canvas: &mut Canvas<'_>, name: &'static str| {
            let at = y;
            y += 1;
            if at < inside.bottom() {
                canvas.text(x, at, label, &Clean::fixed(name), theme.dim);
            }
            at
        };
        let at = line(canvas, "form");
        let mut bits = Vec::new();
        for (place, format) in FORMATS.into_iter().enumerate() {
            let on = place == self.format;
            let sign = if on { format!("({})", theme.glyphs.good) } else { "( )".to_owned() };
            bits.push(bit(format!("{sign} {format}  "), if on { theme.strong } else { theme.dim }));
        }
        canvas.line(x + label, at, room, &bits);
        let at = line(canvas, "file");
        let asking = matches!(self.stage, Stage::Asking | Stage::Failed(_));
        let place = Rect { x: x + label, y: at, width: room, height: 1 };
        if at < inside.bottom() {
            field::draw(canvas, place, &self.path, false, asking, None);
        }
        let at = line(canvas, "same as");
        let path = shell(self.path.value().trim());
        let command = format!("{} --all -o {} >{path}", self.command, FORMATS[self.format]);
        let parts = Clean::of(command).wrap(usize::from(room.max(1)));
        for (at, part) in (at..inside.bottom()).zip(parts.iter().take(2)) {
            canvas.text(x + label, at, room, part, theme.text);
        }
        let at = line(canvas, "") + 2;
        let word = match &self.stage {
            Stage::Asking => match self.total {
                Some(total) => bit(format!("{} rows, all that match", number(total)), theme.text),
                None => bit("all rows that match, however many there are", theme.text),
            },
            Stage::Writing(rows) => {
                let of = self.total.map_or_else(String::new, |total| format!(" of {}", number(total)));
                bit(format!("{} {}{of} rows written…", theme.glyphs.wait, number(*rows)), theme.accent)
            }
            Stage::Done(rows, path) => {
                bit(format!("{} {} rows are in {path}", theme.glyphs.mark, number(*rows)), theme.good)
            }
            Stage::Failed(why) => bit(format!("{} {why}", theme.glyphs.stop), theme.bad),
        };
        if at < inside.bottom() {
            canvas.line(x, at, width, &[word]);
        }
        if let (Stage::Writing(rows), Some(total)) = (&self.stage, self.total.filter(|total| *total > 0))
            && at + 1 < inside.bottom()
        {
            let cells = usize::from(width);
            let full = usize::try_from((*rows).min(total) * cells as u64 / total).unwrap_or(cells);
            let bar = theme.glyphs.heights.last().copied().unwrap_or("#").repeat(full);
            let rest = theme.glyphs.lines[0].repeat(cells - full);
            canvas.line(x, at + 1, width, &[bit(bar, theme.key), bit(rest, theme.rule)]);
        }
        if inside.height > 1 {
            let all: &[(&str, &str)] = match self.stage {
                Stage::Asking | Stage::Failed(_) => {
                    &[("enter", "writes it"), ("tab", "other form"), ("esc", "closes")]
                }
                Stage::Writing(_) => &[("esc", "stops it")],
                Stage::Done(..) => &[("y", "copies the path"), ("esc", "closes")],
            };
            keys(canvas, x, inside.bottom() - 1, width, all);
        }
    }
}
