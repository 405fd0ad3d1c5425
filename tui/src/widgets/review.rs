//! A change before it is made: what the daemon says would happen, and a button that is not hit by accident.
//!
//! The dry run is the daemon's own. The button begins on Cancel and works only after it could be read;
//! a lost answer is found by its idempotency key, never sent again blindly.

use std::time::Duration;

use bursar_shared::{
    field::UserStatus,
    id::UserId,
    operations::{
        auth::Revoked,
        system::{Verdict, VerdictState},
        users::User,
    },
    time::Timestamp,
};

use serde_json::Value;

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
    /// A person is deleted.
    Delete(UserId),
    /// All sessions of a person end.
    EndSessions(UserId),
}

/// What a change does, or did.
#[derive(Debug, Clone)]
pub enum Effect {
    /// This is the person afterwards.
    Person(Box<User>),
    /// The person is gone.
    Deleted,
    /// So many sessions ended.
    Ended(u64),
}

impl Change {
    /// Whom it is about.
    pub const fn id(self) -> UserId {
        match self {
            Self::Suspend(id) | Self::Activate(id) | Self::Delete(id) | Self::EndSessions(id) => id,
        }
    }

    const fn button(self) -> &'static str {
        match self {
            Self::Suspend(_) => "Suspend",
            Self::Activate(_) => "Activate",
            Self::Delete(_) => "Delete",
            Self::EndSessions(_) => "End sessions",
        }
    }

    const fn done(self) -> &'static str {
        match self {
            Self::Suspend(_) => "suspended",
            Self::Activate(_) => "activated",
            Self::Delete(_) => "deleted",
            Self::EndSessions(_) => "ended the sessions of",
        }
    }

    const fn undo(self) -> &'static str {
        match self {
            Self::Suspend(_) => "A activates them again; sessions that ended stay ended",
            Self::Activate(_) => "S suspends them again",
            Self::Delete(_) => "none: who is deleted stays so; the email is free again",
            Self::EndSessions(_) => "none: they sign in again",
        }
    }

    /// The same as a command.
    pub fn command(self) -> String {
        match self {
            Self::Suspend(id) => format!("bursar users suspend {id}"),
            Self::Activate(id) => format!("bursar users activate {id}"),
            Self::Delete(id) => format!("bursar users delete {id}"),
            Self::EndSessions(id) => format!("bursar sessions revoke --user {id}"),
        }
    }
}

/// How far it is.
#[derive(Debug)]
enum Stage {
    /// The daemon is asked what would happen.
    Asking,
    /// It said; nothing has changed yet.
    Ready(Effect),
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

    /// The review that is shown, or the one whose outcome is still awaited.
    fn of(model: &Model) -> Option<&Self> {
        match &model.overlay {
            Some(Overlay::Review(review)) => Some(review),
            _ => model.pending.as_ref(),
        }
    }

    /// Shows the one whose outcome was awaited again.
    fn reopen(model: &mut Model) {
        if let Some(pending) = model.pending.take() {
            model.overlay = Some(Overlay::Review(pending));
        }
    }

    /// What would happen is known.
    pub fn rehearsed(model: &mut Model, effect: Effect) {
        if let Some(Overlay::Review(review)) = &mut model.overlay {
            review.stage = Stage::Ready(effect);
            review.shown = model.now;
        }
    }

    /// It is done.
    pub fn done(model: &mut Model, effect: Effect) {
        let review = match model.overlay.take() {
            Some(Overlay::Review(review)) => Some(review),
            other => {
                model.overlay = other;
                model.pending.take()
            }
        };
        let Some(review) = review else { return };
        let undo = review.change.undo();
        model.say(match undo.starts_with("none") {
            true => format!("{} {}", review.change.done(), review.before.email),
            false => format!("{} {}; {undo}", review.change.done(), review.before.email),
        });
        model.users.list.window.patch(&review.before.id.to_string(), |row| match effect {
            Effect::Person(user) => {
                let sessions = row.record.sessions.take().filter(|_| user.status == UserStatus::Active);
                row.record = User { sessions, ..*user };
            }
            Effect::Deleted => {
                row.gone = true;
                row.record.status = UserStatus::Deleted;
            }
            Effect::Ended(_) => row.record.sessions = Some(Vec::new()),
        });
    }

    /// The request for it failed.
    pub fn failed(model: &mut Model, trouble: Trouble) {
        Self::reopen(model);
        let Some(Overlay::Review(review)) = &mut model.overlay else { return };
        review.go = false;
        review.stage = match (&review.stage, trouble) {
            // an answer that was lost or cannot be read says nothing about what was done
            (Stage::Sending, Trouble::Unreachable(why) | Trouble::Other(why)) => Stage::Unknown(why),
            // only that it could not be asked about: what became of it is as unknown as before
            (Stage::Unknown(_), trouble) => Stage::Unknown(trouble.message()),
            (_, trouble) => Stage::Refused(trouble),
        };
    }

    /// The daemon is there again: what became of a change whose answer was lost?
    pub fn resolve(model: &mut Model) -> Option<Task> {
        let review = Self::of(model).filter(|review| matches!(review.stage, Stage::Unknown(_)))?;
        let request = Request::Verdict(review.key.clone());
        Some(Task::Ask(model.tickets.issue(Slot::Change), request))
    }

    /// The daemon says what became of it.
    pub fn resolved(model: &mut Model, verdict: Verdict) {
        if verdict.state == VerdictState::Done {
            if let Some(error) = verdict.error {
                let refused = Trouble::Refused { error, request_id: None, retry_at: None };
                return Self::end_at(model, Stage::Refused(refused));
            }
            if let Some(effect) = Self::lost_effect(model, verdict.data) {
                return Self::done(model, effect);
            }
        }
        Self::end_at(model, Stage::Lost);
    }

    /// What became of it is known, and it is not what was hoped for.
    fn end_at(model: &mut Model, stage: Stage) {
        Self::reopen(model);
        if let Some(Overlay::Review(review)) = &mut model.overlay {
            review.stage = stage;
            review.go = false;
            review.shown = model.now;
        }
    }

    /// What a change did whose answer was lost, from the answer that is kept.
    fn lost_effect(model: &Model, data: Option<Value>) -> Option<Effect> {
        match Self::of(model)?.change {
            Change::Suspend(_) | Change::Activate(_) => {
                serde_json::from_value(data?).ok().map(Box::new).map(Effect::Person)
            }
            Change::Delete(_) => Some(Effect::Deleted),
            Change::EndSessions(_) => {
                serde_json::from_value::<Revoked>(data?).ok().map(|ended| Effect::Ended(ended.revoked))
            }
        }
    }

    /// Closes it; what is on its way cannot be called back.
    pub fn close(model: &mut Model) {
        let Some(Overlay::Review(review)) = model.overlay.take() else { return };
        match review.stage {
            Stage::Sending => model.overlay = Some(Overlay::Review(review)),
            Stage::Unknown(_) => {
                model.say("the outcome is asked for when the daemon is back; r asks now");
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
        let title = match self.change {
            Change::EndSessions(_) => "End all sessions of this person?".to_owned(),
            _ => format!("{} this person?", self.change.button()),
        };
        let inside = canvas.frame(area, &[bit(title, theme.accent)], &[bit("esc cancels", theme.dim)]);
        let (x, width) = (inside.x + 2, inside.width.saturating_sub(4));
        let fact = |name: &'static str, rest: Vec<Bit>| {
            let mut line = vec![bit(format!("{name:<10}"), theme.dim)];
            line.extend(rest);
            line
        };
        let live = self.before.sessions.as_ref().map_or(0, |all| all.len() as u64);
        let live = if let Stage::Ready(Effect::Ended(count)) = self.stage { count } else { live };
        let after = match (&self.stage, self.change) {
            (Stage::Ready(Effect::Person(after)), _) => after.status,
            (_, Change::Suspend(_)) => UserStatus::Suspended,
            (_, Change::Activate(_)) => UserStatus::Active,
            (_, Change::Delete(_)) => UserStatus::Deleted,
            (_, Change::EndSessions(_)) => self.before.status,
        };
        let mut lines = vec![
            fact("who", vec![bit(self.before.email.as_str().to_owned(), theme.strong)]),
            fact("", vec![bit(self.before.name.as_str().to_owned(), theme.text)]),
        ];
        if after != self.before.status {
            let arrow = bit(" → ", theme.dim);
            let line = vec![status(self.before.status, &theme), arrow, status(after, &theme)];
            lines.push(fact("status", line));
        }
        if !matches!(self.change, Change::Activate(_)) {
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
