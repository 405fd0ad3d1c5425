//! Changes that were left while nobody knew what had become of them: remembered until that is known, or until
//! they are forgotten on purpose. The same money must not move twice.

use bursar_shared::id::UserId;

use super::{Focus, Review, Stage};
use crate::{
    actions::Do, change::Change, message::Task, model::Model, text::clock, widgets::overlay::Overlay,
};

impl Review {
    /// What it would do, in a few words.
    pub fn title(&self, model: &Model) -> String {
        format!("{} {}", self.change.button().to_lowercase(), self.whom(model))
    }

    /// Whether nobody knows what became of it, though it was sent.
    pub(super) const fn is_open(&self) -> bool {
        matches!(self.stage, Stage::Sending | Stage::Unknown(_) | Stage::Lost)
    }

    /// Changes that were sent and have no answer, in a few words each: the one that `app.unanswered` opens
    /// comes first.
    pub fn open_titles(model: &Model) -> Vec<String> {
        let shown = match &model.overlay {
            Some(Overlay::Review(review)) => Some(&**review),
            _ => None,
        };
        let all = shown.into_iter().chain(&model.pending).chain(model.unanswered.iter().rev());
        all.filter(|review| review.is_open()).map(|review| review.title(model)).collect()
    }

    /// What leaving a form or a review has changed: nothing, but that is not all there is to say while a
    /// change has no answer.
    pub fn say_nothing_changed(model: &mut Model) {
        match Self::open_titles(model).len() {
            0 => model.say("nothing was changed"),
            count => {
                let key = model.keys.key_of(Do::Unanswered);
                model.complain(format!("no more was changed; {} ({key})", Self::count(count)));
            }
        }
    }

    /// So many changes without an answer, in words.
    pub fn count(count: usize) -> String {
        format!("{count} {} without an answer", if count == 1 { "change" } else { "changes" })
    }

    /// What became of one that nobody looks at is said, and no box takes the keys that are meant for
    /// something else: it is opened by a key of its own.
    pub(super) fn set_aside(model: &mut Model) {
        let Some(review) = model.pending.take_if(|review| review.is_judged()) else { return };
        let key = model.keys.key_of(Do::Unanswered);
        let title = review.title(model);
        match &review.stage {
            Stage::Refused(trouble) => {
                let (trouble, text) = (trouble.clone(), trouble.message());
                model.last_trouble = Some((trouble, "a change was refused".to_owned(), model.now));
                model.complain(format!("a change was refused ({key} shows it): {title}: {text}"));
            }
            _ => model.complain(format!("the daemon knows nothing of a change ({key} opens it): {title}")),
        }
        model.unanswered.push(review);
        model.dirty = true;
    }

    /// Keeps one that was left.
    pub(super) fn keep(model: &mut Model, review: Self) {
        let key = model.keys.key_of(Do::Unanswered);
        // behind the others: the same key comes to each of them
        model.unanswered.insert(0, review);
        model.complain(format!(
            "not sent again, and it may still be made: {key} asks again, bursar pending list has it too"
        ));
    }

    /// Opens the one that was left last. What became of it may be known by now, so it is asked first.
    pub fn reopen(model: &mut Model) -> Vec<Task> {
        let Some(mut review) = model.pending.take().or_else(|| model.unanswered.pop()) else {
            return Vec::new();
        };
        if let Stage::Lost = review.stage {
            review.stage = Stage::Unknown("asking the daemon once more".to_owned());
        }
        review.focus = Focus::Cancel;
        review.shown = model.tick;
        review.entered = None;
        review.scroll = 0;
        review.forgets = false;
        model.overlay = Some(Overlay::Review(Box::new(review)));
        Self::resolve(model).into_iter().collect()
    }

    /// Forgets one that the daemon knows nothing of: the second time, for it cannot be found again.
    pub(super) fn forget(model: &mut Model, held: bool) -> Vec<Task> {
        let Some(Overlay::Review(review)) = &mut model.overlay else { return Vec::new() };
        if held || !std::mem::replace(&mut review.forgets, true) {
            model.complain(
                "D once more forgets it, also for bursar pending; what became of it stays unknown then",
            );
            return Vec::new();
        }
        let key = review.key.clone();
        model.overlay = None;
        model.say("forgotten: look whether it was made before you make it again");
        vec![Task::Forget(key)]
    }

    /// The session ends: what has no answer waits for the one who made it.
    pub fn wait_for(model: &mut Model, whose: Option<UserId>) {
        let shown = match model.overlay.take() {
            Some(Overlay::Review(review)) if review.is_open() => Some(*review),
            other => {
                model.overlay = other;
                None
            }
        };
        for mut review in model.pending.take().into_iter().chain(shown).filter(Self::is_open) {
            if let Stage::Sending = review.stage {
                review.stage = Stage::Unknown("the session ended before it was answered".to_owned());
            }
            model.unanswered.push(review);
        }
        model.unanswered_of = whose.or(model.unanswered_of);
    }

    /// Somebody else signed in, or another daemon is talked to: it cannot be asked about from here any more.
    pub fn leave_behind(model: &mut Model) {
        let titles = Self::open_titles(model);
        model.left_behind.extend(titles);
        model.unanswered.clear();
        model.unanswered_of = None;
    }

    /// One like this that was sent and has no answer: both might be made.
    pub(super) fn like(&self, model: &Model) -> Option<String> {
        if !matches!(self.stage, Stage::Asking | Stage::Ready(_)) {
            return None;
        }
        let one =
            model.unanswered.iter().rev().find(|one| one.is_open() && same(&one.change, &self.change))?;
        let (at, key) = (clock(one.sent_at?), model.keys.key_of(Do::Unanswered));
        Some(format!(
            "{} one like it was sent at {at} and has no answer: both may be made. {key} on a list asks about it first",
            model.theme.glyphs.stop
        ))
    }
}

/// Whether both do the same: as much money the same way, or the very same change.
fn same(one: &Change, other: &Change) -> bool {
    match (one, other) {
        (Change::Money(one), Change::Money(other)) if one.sides().is_some() => {
            one.sides() == other.sides() && one.amount() == other.amount()
        }
        _ => one == other,
    }
}
