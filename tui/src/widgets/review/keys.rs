//! What a person does to a change under review: reads it, fills it in, agrees to it.

use std::time::Duration;

use bursar_shared::field::{Fault, Reason};

use super::{Focus, Review, Stage};
use crate::{
    change::{Change, Effect},
    keys::{Code, Key},
    message::{Request, Slot, Task},
    model::{Model, Protection},
    widgets::{field, overlay::Overlay},
};

/// How long the button can be read before it works.
const ARM: Duration = Duration::from_millis(400);
/// A key that is held comes again within this, the first time too: terminals wait half a second and more
/// before they repeat it.
const LET_GO: Duration = Duration::from_secs(1);

impl Review {
    /// Text was pasted: into the reason, and nowhere else.
    pub fn paste(model: &mut Model, text: &str) {
        let Some(Overlay::Review(review)) = &mut model.overlay else { return };
        match review.focus {
            _ if !review.fillable() => {}
            Focus::Reason => field::paste(&mut review.reason, text),
            Focus::Amount => model.complain("the amount is typed, not pasted"),
            _ => {}
        }
    }

    /// The reason is typed in now, or the amount.
    pub fn to_field(&mut self, field: u8) {
        match field {
            1 if self.fillable() && self.asks_for().is_some() => self.focus = Focus::Amount,
            0 if self.fillable() && self.change.takes_reason() => self.focus = Focus::Reason,
            _ => {}
        }
    }

    /// A click on a button.
    pub fn press(model: &mut Model, button: u8) -> Vec<Task> {
        let Some(Overlay::Review(review)) = &mut model.overlay else { return Vec::new() };
        if button == 1 && review.choosable() {
            review.focus = Focus::Go;
            return Self::agree(model, false);
        }
        Self::close(model);
        Vec::new()
    }

    /// A key. `held` is one that is held down.
    pub fn key(model: &mut Model, key: Key, held: bool) -> Vec<Task> {
        let tick = model.tick;
        let Some(Overlay::Review(review)) = &mut model.overlay else { return Vec::new() };
        if key == Key::plain(Code::Enter) {
            return Self::enter(model, held);
        }
        // whoever presses another key has let go of Enter
        review.entered = None;
        review.forgets &= key == Key::plain(Code::Char('D'));
        let (choosable, fillable) = (review.choosable(), review.fillable());
        let typing = fillable && matches!(review.focus, Focus::Reason | Focus::Amount);
        // what was typed before it could be read says nothing
        let early = review.read.is_none_or(|at| tick.saturating_sub(at) < ARM);
        match (key.ctrl, key.code) {
            (false, Code::Esc) | (true, Code::Char('g')) => Self::close(model),
            (false, Code::Tab | Code::BackTab) if choosable || fillable => {
                review.focus = review.next(key.code == Code::Tab);
            }
            (false, Code::Left | Code::Right) if choosable && !typing => {
                review.focus = if review.focus == Focus::Go { Focus::Cancel } else { Focus::Go };
            }
            _ if typing && review.focus == Focus::Amount && early => {
                model.complain("not so fast: read what will happen, then type the amount");
            }
            _ if typing && review.focus == Focus::Amount => {
                field::edit(&mut review.typed, key);
            }
            _ if typing => {
                field::edit(&mut review.reason, key);
            }
            // whoever reads "type 12.50" types it, wherever they stand
            (false, Code::Char('0'..='9')) if fillable && !early && review.asks_for().is_some() => {
                review.focus = Focus::Amount;
                field::edit(&mut review.typed, key);
            }
            (false, Code::Char('q')) => Self::close(model),
            (false, Code::Char('j') | Code::Down) => review.scroll += 1,
            (false, Code::Char('k') | Code::Up) => review.scroll = review.scroll.saturating_sub(1),
            (false, Code::Char('!')) if matches!(review.stage, Stage::Refused(_)) => {
                return crate::update::perform(model, crate::actions::Do::Error);
            }
            (false, Code::Char('r')) => review.to_field(0),
            (false, Code::Char('D')) if matches!(review.stage, Stage::Lost) => {
                return Self::forget(model, held);
            }
            (false, Code::Char('Y')) => {
                let command = model.place.reached_by(&review.command());
                model.say(format!("copied {command}"));
                return vec![Task::Copy(command)];
            }
            _ => {}
        }
        Vec::new()
    }

    /// What comes after what is filled in or pressed now, or before it: as they stand on the screen, the
    /// reason above, then the buttons; the amount is on the way to the one that needs it.
    fn next(&self, forward: bool) -> Focus {
        let reason = self.fillable() && self.change.takes_reason();
        let amount = self.fillable() && self.asks_for().is_some();
        let next = match (self.focus, forward) {
            (Focus::Cancel, true) | (Focus::Go, false) if amount => Focus::Amount,
            (Focus::Amount, true) => Focus::Go,
            (Focus::Amount, false) => Focus::Cancel,
            (Focus::Reason, true) | (Focus::Go, false) => Focus::Cancel,
            (Focus::Go, true) | (Focus::Cancel, false) if reason => Focus::Reason,
            (Focus::Go, true) => Focus::Cancel,
            (Focus::Cancel, _) | (Focus::Reason, false) => Focus::Go,
        };
        // the button is not there while it is asked anew what it would do
        if next == Focus::Go && !self.choosable() { Focus::Cancel } else { next }
    }

    /// Enter: goes on, presses a button, or leaves. One that is still held from the step before does nothing.
    fn enter(model: &mut Model, held: bool) -> Vec<Task> {
        let tick = model.tick;
        let Some(Overlay::Review(review)) = &mut model.overlay else { return Vec::new() };
        if let Some(at) = &mut review.entered {
            let before = std::mem::replace(at, tick);
            if held || tick.saturating_sub(before) <= LET_GO {
                model.complain("not so fast: let go of enter, read what will happen, then press it");
                return Vec::new();
            }
        }
        match review.focus {
            Focus::Amount if !review.choosable() => {
                let why = review.why_not();
                model.complain(why);
            }
            Focus::Amount if held || !review.is_typed() => {
                let what = review.typed_name();
                model.complain(format!("type the {what} as it is said there; then the button works"));
            }
            Focus::Amount => {
                // on to the button, which is pressed by a key of its own
                review.focus = Focus::Go;
                review.entered = Some(tick);
            }
            Focus::Reason => {
                review.focus = Focus::Cancel;
                review.entered = Some(tick);
            }
            Focus::Go => return Self::agree(model, held),
            Focus::Cancel if held => {}
            Focus::Cancel => Self::close(model),
        }
        Vec::new()
    }

    /// Why there is nothing to agree to now.
    const fn why_not(&self) -> &'static str {
        match self.offline {
            true => "the daemon cannot be reached: nothing can be sent",
            false => "not so fast: the daemon is being asked what would happen",
        }
    }

    /// The same as a command.
    pub(super) fn command(&self) -> String {
        self.change.clone().because(self.because().ok().flatten()).command()
    }

    /// Why it is done, if that was said.
    fn because(&self) -> Result<Option<Reason>, String> {
        match self.reason.value().trim() {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|wrong: Fault| wrong.message),
        }
    }

    fn agree(model: &mut Model, held: bool) -> Vec<Task> {
        let (tick, now, protection) = (model.tick, model.now, model.place.protection);
        let Some(Overlay::Review(review)) = &mut model.overlay else { return Vec::new() };
        if !review.choosable() {
            let why = review.why_not();
            model.complain(why);
            return Vec::new();
        }
        if held || tick.saturating_sub(review.shown) < ARM {
            // held keys, and keys typed before it was there, agree to nothing
            review.entered = Some(tick);
            model.complain("not so fast: read what will happen, then press enter");
            return Vec::new();
        }
        if !review.is_typed() {
            review.focus = Focus::Amount;
            review.entered = Some(tick);
            let what = review.typed_name();
            model.complain(format!("the {what} comes first: type it as it is said there"));
            return Vec::new();
        }
        let reason = match review.because() {
            Ok(reason) => reason,
            Err(wrong) => {
                model.complain(format!("reason {wrong}"));
                return Vec::new();
            }
        };
        review.agreed += 1;
        review.focus = Focus::Cancel;
        if protection == Protection::Confirm && review.agreed < 2 {
            review.shown = tick;
            review.entered = Some(tick);
            return Vec::new();
        }
        review.leave_out();
        review.change = review.change.clone().because(reason.clone());
        review.stage = Stage::Sending;
        review.sent_at = Some(now);
        let reason = reason.filter(|_| matches!(review.change, Change::Many(..)));
        let request = Request::Carry(review.change.clone(), review.key.clone(), review.version, reason);
        vec![Task::Ask(model.tickets.issue(Slot::Change), request)]
    }

    /// Who would be refused is left out of what is sent.
    fn leave_out(&mut self) {
        if let (Change::Many(_, items), Stage::Ready(Effect::Many(plan))) = (&mut self.change, &self.stage) {
            let bad: Vec<usize> = plan
                .items
                .iter()
                .filter(|outcome| outcome.error.is_some())
                .map(|outcome| outcome.index as usize)
                .collect();
            let mut at = 0;
            items.retain(|_| {
                at += 1;
                !bad.contains(&(at - 1))
            });
        }
    }
}
