//! What becomes of a change that was sent: refused, lost, found by its key.

use std::time::Duration;

use bursar_shared::{
    error::ErrorCode,
    operations::{
        system::{Verdict, VerdictState},
        users::User,
    },
};

use super::{Focus, Review, Stage};
use crate::{
    actions::Do,
    change::Change,
    message::{Alarm, Request, Slot, Task, Trouble},
    model::Model,
    widgets::overlay::Overlay,
};

/// How long it takes until an outcome that is still unknown is asked for again.
const AGAIN: Duration = Duration::from_secs(2);

/// Whether this says what became of a change, however often it was sent; what stopped it before it was
/// looked at does not.
fn judges(trouble: &Trouble) -> bool {
    match trouble {
        Trouble::Refused { error, .. } => !matches!(error.code.status(), 401 | 403 | 429 | 500..),
        _ => false,
    }
}

impl Review {
    /// The request for it failed.
    pub fn failed(model: &mut Model, trouble: Trouble) -> Vec<Task> {
        if let (Trouble::Refused { error, .. }, Some(Overlay::Review(review))) = (&trouble, &model.overlay)
            && error.code == ErrorCode::VersionMismatch
            && let Some(current) = error.details.get("current").cloned()
        {
            if matches!(review.change, Change::Money(_)) {
                if let Ok(theirs) = serde_json::from_value(current) {
                    return Self::account_overtaken(model, theirs, trouble);
                }
            } else if let Ok(theirs) = serde_json::from_value::<User>(current) {
                return Self::overtaken(model, theirs, trouble);
            }
        }
        let Some(review) = Self::of_mut(model) else { return Vec::new() };
        review.focus = Focus::Cancel;
        review.stage = match (&review.stage, trouble) {
            // an answer that was lost or cannot be read says nothing about what was done
            (Stage::Sending, Trouble::Lost(why) | Trouble::Other(why)) => Stage::Unknown(why),
            // that is said of this time only: the first time it was sent, it may have got through
            (Stage::Sending, trouble) if review.repeated && !judges(&trouble) => {
                Stage::Unknown(trouble.message())
            }
            // only that it could not be asked about: what became of it is as unknown as before
            (Stage::Unknown(_), trouble) => Stage::Unknown(trouble.message()),
            (_, trouble) => Stage::Refused(trouble),
        };
        match &review.stage {
            // asked again by itself, also where the daemon was never gone
            Stage::Unknown(_) => return vec![Task::Wake(AGAIN, Alarm::Outcome)],
            Stage::Refused(trouble) => {
                let trouble = trouble.clone();
                model.last_trouble = Some((trouble, "a change was refused".to_owned(), model.now));
            }
            _ => {}
        }
        Vec::new()
    }

    /// It was answered that nobody is signed in, so it was not done; unless it is the second time that it was
    /// sent, for that is said of this time only.
    pub fn turned_away(model: &mut Model) {
        if let Some(review) = Self::of_mut(model)
            && matches!(review.stage, Stage::Sending)
            && !review.repeated
        {
            review.stage = Stage::Refused(Trouble::SignedOut);
        }
    }

    /// Whether a change is on its way, or was and nobody knows what became of it; also one that was left.
    pub fn unsettled(model: &Model) -> bool {
        !Self::open_titles(model).is_empty()
    }

    /// Whether there is something to say about one that was sent.
    pub(super) const fn is_judged(&self) -> bool {
        matches!(self.stage, Stage::Refused(_) | Stage::Lost)
    }

    /// The daemon is there again: what became of a change whose answer was lost?
    pub fn resolve(model: &mut Model) -> Option<Task> {
        let review = Self::of(model).filter(|review| matches!(review.stage, Stage::Unknown(_)))?;
        if model.is_offline() || model.tickets.waits_for(Slot::Change) {
            return None;
        }
        let request = Request::Verdict(review.key.clone());
        Some(Task::Ask(model.tickets.issue(Slot::Change), request))
    }

    /// The daemon says what became of it.
    pub fn resolved(model: &mut Model, verdict: Verdict) -> Vec<Task> {
        if verdict.state == VerdictState::Unknown {
            Self::end_at(model, Stage::Lost);
            return Vec::new();
        }
        if let Some(error) = verdict.error {
            let refused = Trouble::Refused { error, request_id: None, retry_at: None };
            Self::end_at(model, Stage::Refused(refused));
            return Vec::new();
        }
        match Self::of(model).and_then(|review| review.change.read(verdict.data)) {
            Some(effect) => Self::done(model, effect),
            None => Self::done_unread(model),
        }
    }

    /// It is done, and what the daemon says of it cannot be read: what is shown is read again instead.
    fn done_unread(model: &mut Model) -> Vec<Task> {
        let Some((review, _)) = Self::take(model) else { return Vec::new() };
        let whom = review.whom(model);
        let text = format!("{} {whom}", review.change.done());
        model.say(format!("{text}; the answer cannot be read: look at what came of it"));
        review.remember(model, text, whom, None);
        crate::update::load(model)
    }

    /// What became of it is known, and it is not what was hoped for.
    fn end_at(model: &mut Model, stage: Stage) {
        let tick = model.tick;
        let Some(review) = Self::of_mut(model) else { return };
        review.repeated |= matches!(stage, Stage::Lost);
        review.stage = stage;
        review.focus = Focus::Cancel;
        review.shown = tick;
        review.entered = None;
    }

    /// Closes it; what is on its way cannot be called back.
    pub fn close(model: &mut Model) {
        let Some(Overlay::Review(mut review)) = model.overlay.take() else { return };
        match &review.stage {
            Stage::Sending => model.overlay = Some(Overlay::Review(review)),
            Stage::Unknown(_) => {
                let key = model.keys.key_of(Do::Refresh);
                model.say(format!("the outcome is asked for until it is known; {key} asks now"));
                model.pending = Some(*review);
            }
            // nothing of it goes back to a form: it must not look as if nothing had been sent
            Stage::Lost => Self::keep(model, *review),
            stage => {
                model.tickets.forget(Slot::Change);
                if let Some(mut form) = review.form.take() {
                    if let Stage::Refused(Trouble::Refused { error, .. }) = stage {
                        form.refuse(error);
                    }
                    model.overlay = Some(Overlay::Form(form));
                }
                if model.overlay.is_none() {
                    Self::say_nothing_changed(model);
                }
            }
        }
    }
}
