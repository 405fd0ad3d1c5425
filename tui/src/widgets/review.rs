//! A change before it is made: what the daemon says would happen, and a button that is not hit by accident.
//!
//! The dry run is the daemon's own. The button begins on Cancel and works only after it could be read;
//! a lost answer is found by its idempotency key, never sent again blindly.

use std::time::Duration;

use bursar_shared::{
    field::UserStatus,
    id::UserId,
    operations::{
        system::{Verdict, VerdictState},
        users::User,
    },
    time::Timestamp,
};

use super::{
    canvas::{Bit, Canvas, Hit, bit},
    overlay::{Overlay, middle},
};
use crate::{
    keys::{Code, Key},
    message::{Request, Slot, Task, Trouble},
    model::{Model, Protection},
    screens::person::status,
    text::Clean,
};

/// How long the button can be read before it works.
const ARM: Duration = Duration::from_millis(400);

/// What is to be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// A person is suspended.
    Suspend(UserId),
    /// A person is let in again.
    Activate(UserId),
}

impl Change {
    /// Whom it is about.
    pub const fn id(self) -> UserId {
        match self {
            Self::Suspend(id) | Self::Activate(id) => id,
        }
    }

    const fn verb(self) -> &'static str {
        match self {
            Self::Suspend(_) => "suspend",
            Self::Activate(_) => "activate",
        }
    }

    const fn button(self) -> &'static str {
        match self {
            Self::Suspend(_) => "Suspend",
            Self::Activate(_) => "Activate",
        }
    }

    const fn done(self) -> &'static str {
        match self {
            Self::Suspend(_) => "suspended",
            Self::Activate(_) => "activated",
        }
    }

    const fn undo(self) -> &'static str {
        match self {
            Self::Suspend(_) => "A activates them again; sessions that ended stay ended",
            Self::Activate(_) => "S suspends them again",
        }
    }

    /// The same as a command.
    pub fn command(self) -> String {
        format!("bursar users {} {}", self.verb(), self.id())
    }
}

/// How far it is.
#[derive(Debug)]
enum Stage {
    /// The daemon is asked what would happen.
    Asking,
    /// It said; nothing has changed yet.
    Ready(Box<User>),
    /// It refused.
    Refused(Trouble),
    /// It is on its way.
    Sending,
    /// It was sent, and nobody knows what became of it.
    Unknown(String),
    /// It did not arrive: it can be sent again under the same key.
    Lost,
}

/// A change under review.
#[derive(Debug)]
pub struct Review {
    change: Change,
    before: Box<User>,
    key: String,
    stage: Stage,
    /// Whether the button that does it is chosen.
    go: bool,
    /// How often it was agreed to; protected contexts ask twice.
    agreed: u8,
    /// When what can be agreed to was first there.
    shown: Timestamp,
}

impl Review {
    /// Begins: asks the daemon what would happen.
    pub fn begin(model: &mut Model, of: fn(UserId) -> Change) -> Vec<Task> {
        let Some(row) = model.users.list.window.current() else { return Vec::new() };
        let before = Box::new(row.record.clone());
        let change = of(before.id);
        let request = Request::Rehearse(change, before.version);
        model.overlay = Some(Overlay::Review(Self {
            change,
            before,
            key: bursar_shared::id::idempotency_key(),
            stage: Stage::Asking,
            go: false,
            agreed: 0,
            shown: model.now,
        }));
        vec![Task::Ask(model.tickets.issue(Slot::Change), request)]
    }

    /// What would happen is known.
    pub fn rehearsed(model: &mut Model, after: User) {
        if let Some(Overlay::Review(review)) = &mut model.overlay {
            review.stage = Stage::Ready(Box::new(after));
            review.shown = model.now;
        }
    }

    /// It is done.
    pub fn done(model: &mut Model, user: User) {
        let review = match model.overlay.take() {
            Some(Overlay::Review(review)) => Some(review),
            other => {
                model.overlay = other;
                model.pending.take()
            }
        };
        let Some(review) = review else { return };
        model.say(format!("{} {}; {}", review.change.done(), user.email, review.change.undo()));
        model.users.list.window.patch(&user.id.to_string(), |row| {
            let sessions = row.record.sessions.take().filter(|_| user.status == UserStatus::Active);
            row.record = User { sessions, ..user };
        });
    }

    /// The request for it failed.
    pub fn failed(model: &mut Model, trouble: Trouble) {
        let Some(Overlay::Review(review)) = &mut model.overlay else { return };
        review.go = false;
        review.stage = match (&review.stage, trouble) {
            (Stage::Sending, Trouble::Unreachable(why)) => Stage::Unknown(why),
            (_, trouble) => Stage::Refused(trouble),
        };
    }

    /// The daemon is there again: what became of a change whose answer was lost?
    pub fn resolve(model: &mut Model) -> Option<Task> {
        let open = match &model.overlay {
            Some(Overlay::Review(review)) => Some(review),
            _ => model.pending.as_ref(),
        };
        let review = open.filter(|review| matches!(review.stage, Stage::Unknown(_)))?;
        let request = Request::Verdict(review.key.clone());
        Some(Task::Ask(model.tickets.issue(Slot::Change), request))
    }

    /// The daemon says what became of it.
    pub fn resolved(model: &mut Model, verdict: Verdict) {
        if verdict.state == VerdictState::Done {
            if let Some(user) = verdict.data.and_then(|data| serde_json::from_value(data).ok()) {
                return Self::done(model, user);
            }
            if let Some(error) = verdict.error {
                return Self::failed(model, Trouble::Refused { error, request_id: None, retry_at: None });
            }
        }
        if let Some(pending) = model.pending.take() {
            model.overlay = Some(Overlay::Review(pending));
        }
        if let Some(Overlay::Review(review)) = &mut model.overlay {
            review.stage = Stage::Lost;
            review.go = false;
            review.shown = model.now;
        }
    }

    /// Closes it; what is on its way cannot be called back.
    pub fn close(model: &mut Model) {
        let Some(Overlay::Review(review)) = model.overlay.take() else { return };
        match review.stage {
            Stage::Sending => model.overlay = Some(Overlay::Review(review)),
            Stage::Unknown(_) => {
                model.say("the outcome is asked for when the daemon is back");
                model.pending = Some(review);
            }
            _ => {
                model.tickets.forget(Slot::Change);
                model.say("nothing was changed");
            }
        }
    }

    /// A key.
    pub fn key(model: &mut Model, key: Key) -> Vec<Task> {
        let Some(Overlay::Review(review)) = &mut model.overlay else { return Vec::new() };
        let choosable = matches!(review.stage, Stage::Ready(_) | Stage::Lost);
        match (key.ctrl, key.code) {
            (false, Code::Tab | Code::BackTab | Code::Left | Code::Right) if choosable => {
                review.go = !review.go;
                Vec::new()
            }
            (false, Code::Char('Y')) => {
                let command = review.change.command();
                model.say(format!("copied {command}"));
                vec![Task::Copy(command)]
            }
            (false, Code::Enter) if review.go => Self::agree(model),
            (false, Code::Enter | Code::Char('q')) => {
                Self::close(model);
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    fn agree(model: &mut Model) -> Vec<Task> {
        let (now, protection) = (model.now, model.place.protection);
        let Some(Overlay::Review(review)) = &mut model.overlay else { return Vec::new() };
        if now.since(review.shown) < ARM {
            // held keys, and keys typed before it was there, agree to nothing
            model.complain("not so fast: read what will happen, then press enter");
            return Vec::new();
        }
        review.agreed += 1;
        review.go = false;
        if protection == Protection::Confirm && review.agreed < 2 {
            review.shown = now;
            return Vec::new();
        }
        review.stage = Stage::Sending;
        let request = Request::Carry(review.change, review.key.clone(), review.before.version);
        vec![Task::Ask(model.tickets.issue(Slot::Change), request)]
    }

    /// Draws it.
    pub fn draw(&self, canvas: &mut Canvas<'_>) {
        let theme = canvas.theme;
        let area = middle(canvas.area(), 76, 13);
        let title = format!("{} this person?", self.change.button());
        let inside = canvas.frame(area, &[bit(title, theme.accent)], &[bit("esc cancels", theme.dim)]);
        let (x, width) = (inside.x + 2, inside.width.saturating_sub(4));
        let fact = |name: &'static str, rest: Vec<Bit>| {
            let mut line = vec![bit(format!("{name:<10}"), theme.dim)];
            line.extend(rest);
            line
        };
        let live = self.before.sessions.as_ref().map_or(0, |all| all.len());
        let after = match &self.stage {
            Stage::Ready(after) => after.status,
            _ => match self.change {
                Change::Suspend(_) => UserStatus::Suspended,
                Change::Activate(_) => UserStatus::Active,
            },
        };
        let mut lines = vec![
            fact("who", vec![bit(self.before.email.as_str().to_owned(), theme.strong)]),
            fact("", vec![bit(self.before.name.as_str().to_owned(), theme.text)]),
            fact(
                "status",
                vec![status(self.before.status, &theme), bit(" → ", theme.dim), status(after, &theme)],
            ),
        ];
        if let Change::Suspend(_) = self.change {
            let ends = match live {
                0 => "none is known to end".to_owned(),
                1 => "1 ends at once".to_owned(),
                many => format!("{many} end at once"),
            };
            lines.push(fact("sessions", vec![bit(ends, theme.text)]));
        }
        lines.push(fact("undo", vec![bit(self.change.undo(), theme.text)]));
        lines.push(fact("same as", vec![bit(self.change.command(), theme.text)]));
        lines.push(Vec::new());
        lines.push(vec![match &self.stage {
            Stage::Asking => bit("asking the daemon what would happen…", theme.dim),
            Stage::Ready(_) if self.agreed > 0 => {
                bit("this context is protected: press the button once more", theme.warn)
            }
            Stage::Ready(_) => bit("the daemon tried it and undid it: this is what will happen", theme.good),
            Stage::Refused(trouble) => bit(format!("refused: {}", trouble.message()), theme.bad),
            Stage::Sending => bit("sent; waiting for the daemon…", theme.dim),
            Stage::Unknown(why) => bit(format!("outcome unknown, asked when it is back: {why}"), theme.warn),
            Stage::Lost => bit("it did not arrive and was not done: send it again?", theme.warn),
        }]);
        if let Stage::Refused(trouble) = &self.stage
            && let Some(id) = trouble.request_id()
        {
            lines.push(vec![bit(format!("request {id}"), theme.dim)]);
        }
        for (line, y) in lines.iter().zip(inside.y..inside.bottom().saturating_sub(1)) {
            canvas.line(x, y, width, line);
        }
        if inside.height == 0 {
            return;
        }
        let choosable = matches!(self.stage, Stage::Ready(_) | Stage::Lost);
        let chosen = |on: bool| if on { theme.cursor } else { theme.text };
        // what is on its way cannot be called back, and what was refused needs no word
        let leave =
            if choosable || matches!(self.stage, Stage::Asking) { "  Cancel  " } else { "  Close   " };
        let mut bits = vec![bit(leave, chosen(!self.go))];
        if choosable {
            bits.push(bit(" ", theme.text));
            bits.push(bit(format!("  {}  ", self.change.button()), chosen(self.go)));
            bits.push(bit("   tab", theme.key));
            bits.push(bit(" chooses  ", theme.dim));
            bits.push(bit("enter", theme.key));
            bits.push(bit(" presses  ", theme.dim));
            bits.push(bit("Y", theme.key));
            bits.push(bit(" copies it", theme.dim));
        }
        let y = inside.bottom() - 1;
        canvas.line(x, y, width, &bits);
        // where it is not colour that shows it
        let pointer = if self.go { x + 11 } else { x };
        canvas.text(pointer, y, 1, &Clean::fixed(theme.glyphs.cursor), chosen(true));
        canvas.hits.push((area, Hit::Inside));
    }
}
