//! A change before it is made: what the daemon says would happen, and a button that is not hit by accident.
//!
//! The dry run is the daemon's own. The button begins on Cancel and works only after it could be read;
//! a lost answer is found by its idempotency key, never sent again blindly.

mod anew;
mod draw;
mod keys;
mod left;
mod meanwhile;
mod money;
mod verdict;

use std::time::Duration;

use bursar_shared::{field::UserStatus, operations::users::User, time::Timestamp};
use tui_input::Input;

pub use self::draw::place;
use self::meanwhile::Meanwhile;
pub(crate) use self::meanwhile::watch;
use super::{
    form::Form,
    outcome::{Results, Token, tally},
    overlay::Overlay,
};
use crate::{
    change::{Change, Effect},
    message::{Request, Slot, Task, Trouble},
    model::{Deed, Model},
};

/// Changes that are remembered to be undone.
const JOURNAL: usize = 50;

/// Whom a change is about.
#[derive(Debug, Clone)]
pub enum Subject {
    /// This person, as they were read.
    Person(Box<User>),
    /// Somebody, or something, that is called so.
    Called(String),
}

impl Subject {
    /// What they are called.
    pub fn name(&self) -> String {
        match self {
            Self::Person(user) => user.email.to_string(),
            Self::Called(name) => name.clone(),
        }
    }

    /// The person as they were read.
    pub fn before(&self) -> Option<&User> {
        match self {
            Self::Person(user) => Some(user),
            Self::Called(_) => None,
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
    /// The daemon knew nothing of it when it was asked; it may still wait there. The same key makes
    /// sending it again safe.
    Lost,
}

/// What a key goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Focus {
    Cancel,
    Go,
    Reason,
    /// The amount is typed.
    Amount,
}

/// A change under review.
#[derive(Debug)]
pub struct Review {
    change: Change,
    subject: Subject,
    version: Option<i64>,
    key: String,
    stage: Stage,
    focus: Focus,
    /// How often it was agreed to; protected contexts ask twice.
    agreed: u8,
    /// When what can be agreed to now was first there, by the clock that nobody sets.
    shown: Duration,
    /// When there was anything to be read for the first time.
    read: Option<Duration>,
    /// The last Enter that the button did not take, or that only led to it: until that key was let go, it
    /// presses nothing.
    entered: Option<Duration>,
    /// It was sent before, and the daemon knew nothing of that: it may still wait there.
    repeated: bool,
    /// What happened to the accounts meanwhile.
    meanwhile: Meanwhile,
    /// Why it is done, where that is kept.
    reason: Input,
    /// The amount, typed once more where money moves.
    typed: Input,
    /// Something that one should know before reading on.
    note: Option<String>,
    /// When it was sent last.
    sent_at: Option<Timestamp>,
    /// The daemon is known not to be there: nothing can be sent.
    offline: bool,
    /// It was asked to forget it.
    forgets: bool,
    /// Lines above the first that is shown.
    scroll: usize,
    /// Where it came from, and goes back to.
    pub form: Option<Box<Form>>,
    /// The deed that it takes back, by its key.
    pub takes_back: Option<String>,
}

impl Review {
    /// Begins: asks the daemon what would happen.
    pub fn begin(model: &mut Model, change: Change, subject: Subject, version: Option<i64>) -> Vec<Task> {
        if model.pending.is_some() {
            // its answer would be taken for that of the other one
            model.complain("what became of the change before is not known yet");
            return Vec::new();
        }
        let request = Request::Rehearse(change.clone(), version);
        model.overlay = Some(Overlay::Review(Box::new(Self {
            change,
            subject,
            version,
            key: bursar_shared::id::idempotency_key(),
            stage: Stage::Asking,
            focus: Focus::Cancel,
            agreed: 0,
            shown: model.tick,
            read: None,
            entered: None,
            repeated: false,
            meanwhile: Meanwhile::asked(model.tick),
            reason: Input::default(),
            typed: Input::default(),
            note: None,
            sent_at: None,
            offline: false,
            forgets: false,
            scroll: 0,
            form: None,
            takes_back: None,
        })));
        vec![Task::Ask(model.tickets.issue(Slot::Change), request)]
    }

    /// The review that is shown, or the one whose outcome is still awaited.
    fn of(model: &Model) -> Option<&Self> {
        match &model.overlay {
            Some(Overlay::Review(review)) => Some(review),
            _ => model.pending.as_ref(),
        }
    }

    /// The same, to be changed.
    fn of_mut(model: &mut Model) -> Option<&mut Self> {
        match &mut model.overlay {
            Some(Overlay::Review(review)) => Some(review),
            _ => model.pending.as_mut(),
        }
    }

    /// What it is about, as it is called now: the names of accounts may come later than the review.
    fn whom(&self, model: &Model) -> String {
        match &self.change {
            Change::Money(deed) => {
                deed.called(|id| crate::update::money::called(model, id), model.theme.glyphs.arrow)
            }
            _ => self.subject.name(),
        }
    }

    /// Whether there is something to agree to.
    fn choosable(&self) -> bool {
        match &self.stage {
            _ if self.offline => false,
            Stage::Ready(Effect::Many(result)) => tally(result).0 > 0,
            // what it would move is not what stands there any more
            Stage::Ready(_) => !(self.meanwhile.stale && self.moves_what_is_there()),
            Stage::Lost => true,
            _ => false,
        }
    }

    /// Whether the lines of it can be filled in: also while it is asked anew what would happen, but never
    /// after it was sent, for what is sent again must be the same.
    fn fillable(&self) -> bool {
        match self.stage {
            Stage::Ready(_) => self.choosable() || self.meanwhile.stale || self.offline,
            Stage::Asking => self.read.is_some(),
            _ => false,
        }
    }

    /// It is done.
    pub fn done(model: &mut Model, effect: Effect) -> Vec<Task> {
        let Some((review, open)) = Self::take(model) else { return Vec::new() };
        let whom = review.whom(model);
        let before = review.subject.before();
        let undo = model.keys.fill(review.change.undo());
        let text = match &effect {
            Effect::Many(result) => format!("{} {} people", review.change.done(), tally(result).0),
            _ => format!("{} {whom}", review.change.done()),
        };
        // what was taken back is named, not what took it back
        let text = match review.taken_back(model) {
            Some(deed) => format!("undone: {}", deed.text),
            None => text,
        };
        model.say(if undo.starts_with("none") { text.clone() } else { format!("{text}; {undo}") });
        let back = review.change.reverse(before, &effect);
        review.remember(model, text, whom.clone(), back);
        let made = match (&review.change, &effect) {
            (Change::Create(_), Effect::Person(user)) => Some(user.id),
            _ => None,
        };
        Self::apply(model, &review.change, effect, whom);
        // who was made is shown, if nobody went on to something else meanwhile
        made.filter(|_| open).map_or_else(Vec::new, |id| crate::update::show_person(model, id))
    }

    /// Takes the one that is shown, or whose outcome was awaited; whether it was shown.
    fn take(model: &mut Model) -> Option<(Self, bool)> {
        match model.overlay.take() {
            Some(Overlay::Review(review)) => Some((*review, true)),
            other => {
                model.overlay = other;
                model.pending.take().map(|review| (review, false))
            }
        }
    }

    /// What it takes back.
    fn taken_back<'m>(&self, model: &'m Model) -> Option<&'m Deed> {
        let key = self.takes_back.as_ref()?;
        model.journal.iter().find(|deed| deed.key == *key)
    }

    /// Puts what was done down, so that it can be undone.
    fn remember(&self, model: &mut Model, text: String, whom: String, back: Option<(Change, Option<i64>)>) {
        if let Some(key) = &self.takes_back
            && let Some(deed) = model.journal.iter_mut().find(|deed| deed.key == *key)
        {
            deed.undone = true;
        }
        let (key, at) = (self.key.clone(), model.now);
        model.journal.push_front(Deed { key, at, text, whom, back, undone: false });
        model.journal.truncate(JOURNAL);
    }

    /// Whether somebody is in the middle of something else.
    fn is_busy(model: &Model) -> bool {
        model.overlay.is_some() || model.list().is_some_and(|list| list.bar().is_some())
    }

    /// Shows something, or as soon as nobody is in the middle of something else.
    fn show(model: &mut Model, overlay: Overlay) {
        if Self::is_busy(model) {
            model.after = Some(overlay);
        } else {
            model.overlay = Some(overlay);
        }
    }

    /// What was known before it could be shown is shown now, or said.
    pub fn come_forward(model: &mut Model) {
        Self::set_aside(model);
        Self::see_link(model);
        if Self::is_busy(model) {
            return;
        }
        if let Some(next) = model.after.take() {
            model.overlay = Some(next);
            model.dirty = true;
        }
    }

    /// Shows what was done where it was done, and not only when the log says so.
    fn apply(model: &mut Model, change: &Change, effect: Effect, whom: String) {
        let now = model.now;
        let person = change.person().map(|id| id.to_string());
        let mut sessions_end = change.ends_sessions();
        match effect {
            Effect::Person(user) => {
                model.names.insert(user.id, user.email.to_string());
                model.users.list.window.patch(&user.id.to_string(), |row| {
                    let sessions = row.record.sessions.take().filter(|_| user.status == UserStatus::Active);
                    let accounts = row.record.accounts.take();
                    row.record = User { sessions, accounts, ..*user };
                });
            }
            Effect::Gone => {
                if let Change::EndSession(id) = change {
                    model.sessions.window.patch(&id.to_string(), |row| row.record.revoked_at = Some(now));
                }
                if let Some(id) = &person {
                    model.users.list.window.patch(id, |row| {
                        row.gone = true;
                        row.record.status = UserStatus::Deleted;
                    });
                }
            }
            Effect::Ended(_) => {}
            Effect::Moved(moved) => model.money.take_moved(&moved.transfer),
            Effect::Account(account) | Effect::Closing(_, account) => {
                model.money.take_account(&account);
            }
            Effect::Token(reset) => {
                let token = Token::new(model, whom, reset);
                Self::show(model, Overlay::Token(token));
            }
            Effect::Many(result) => {
                sessions_end = false;
                let Change::Many(op, items) = change else { return };
                let good = result.items.iter().filter(|outcome| outcome.error.is_none());
                let ids: Vec<String> = good
                    .filter_map(|outcome| items.get(outcome.index as usize))
                    .map(|item| item.id.to_string())
                    .collect();
                for outcome in &result.items {
                    let Some(item) = items.get(outcome.index as usize) else { continue };
                    if outcome.error.is_some() {
                        continue;
                    }
                    let after = outcome.data.clone();
                    model.users.list.window.patch(&item.id.to_string(), |row| match after {
                        Some(user) => row.record = user,
                        None => row.gone = true,
                    });
                }
                model.users.list.window.unmark(ids);
                let (op, items) = (*op, items.clone());
                Self::show(model, Overlay::Results(Results { op, items, result, scroll: 0 }));
            }
        }
        if sessions_end && let Some(id) = person {
            model.users.list.window.patch(&id, |row| row.record.sessions = Some(Vec::new()));
            let theirs: Vec<String> = model
                .sessions
                .window
                .rows()
                .filter(|row| row.record.user_id.to_string() == id && row.record.revoked_at.is_none())
                .map(|row| row.id.clone())
                .collect();
            for id in theirs {
                model.sessions.window.patch(&id, |row| row.record.revoked_at = Some(now));
            }
        }
    }
}
