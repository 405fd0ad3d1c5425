//! A change before it is made: what the daemon says would happen, and a button that is not hit by accident.
//!
//! The dry run is the daemon's own. The button begins on Cancel and works only after it could be read;
//! a lost answer is found by its idempotency key, never sent again blindly.

mod anew;
mod draw;
mod money;

use std::time::Duration;

use bursar_shared::{
    error::ErrorCode,
    field::{Reason, UserStatus},
    operations::{
        system::{Verdict, VerdictState},
        users::User,
    },
    time::Timestamp,
};
use tui_input::Input;

pub use self::draw::place;
pub(crate) use self::money::watch;
use super::{
    field,
    form::Form,
    outcome::{Results, Token, tally},
    overlay::Overlay,
};
use crate::{
    change::{Change, Effect},
    keys::{Code, Key},
    message::{Alarm, Request, Slot, Task, Trouble},
    model::{Deed, Model, Protection},
};

/// How long the button can be read before it works.
const ARM: Duration = Duration::from_millis(400);
/// How long it takes until an outcome that is still unknown is asked for again.
const AGAIN: Duration = Duration::from_secs(2);
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
    /// When what can be agreed to was first there.
    shown: Timestamp,
    /// Why it is done, where that is kept.
    reason: Input,
    /// The amount, typed once more where money moves.
    typed: Input,
    /// Something that one should know before reading on.
    note: Option<String>,
    /// Lines above the first that is shown.
    scroll: usize,
    /// Where it came from, and goes back to.
    pub form: Option<Box<Form>>,
    /// The deed that it takes back, by its time.
    pub takes_back: Option<Timestamp>,
}

impl Review {
    /// Begins: asks the daemon what would happen.
    pub fn begin(model: &mut Model, change: Change, subject: Subject, version: Option<i64>) -> Vec<Task> {
        let request = Request::Rehearse(change.clone(), version);
        model.overlay = Some(Overlay::Review(Box::new(Self {
            change,
            subject,
            version,
            key: bursar_shared::id::idempotency_key(),
            stage: Stage::Asking,
            focus: Focus::Cancel,
            agreed: 0,
            shown: model.now,
            reason: Input::default(),
            typed: Input::default(),
            note: None,
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

    /// Shows the one whose outcome was awaited again.
    fn reopen(model: &mut Model) {
        if let Some(pending) = model.pending.take() {
            model.overlay = Some(Overlay::Review(Box::new(pending)));
        }
    }

    /// Whether there is something to agree to.
    fn choosable(&self) -> bool {
        match &self.stage {
            Stage::Ready(Effect::Many(result)) => tally(result).0 > 0,
            Stage::Ready(_) | Stage::Lost => true,
            _ => false,
        }
    }

    /// What would happen is known.
    pub fn rehearsed(model: &mut Model, effect: Effect) {
        if let Some(Overlay::Review(review)) = &mut model.overlay {
            review.stage = Stage::Ready(effect);
            review.shown = model.now;
            review.agreed = 0;
        }
    }

    /// It is done.
    pub fn done(model: &mut Model, effect: Effect) -> Vec<Task> {
        let review = match model.overlay.take() {
            Some(Overlay::Review(review)) => Some(*review),
            other => {
                model.overlay = other;
                model.pending.take()
            }
        };
        let Some(review) = review else { return Vec::new() };
        let whom = review.subject.name();
        let before = review.subject.before();
        let undo = review.change.undo();
        let text = match &effect {
            Effect::Many(result) => format!("{} {} people", review.change.done(), tally(result).0),
            _ => format!("{} {whom}", review.change.done()),
        };
        model.say(if undo.starts_with("none") { text.clone() } else { format!("{text}; {undo}") });
        if let Some(at) = review.takes_back
            && let Some(deed) = model.journal.iter_mut().find(|deed| deed.at == at)
        {
            deed.undone = true;
        }
        let back = review.change.reverse(before, &effect);
        model.journal.push_front(Deed { at: model.now, text, whom: whom.clone(), back, undone: false });
        model.journal.truncate(JOURNAL);
        let made = match (&review.change, &effect) {
            (Change::Create(_), Effect::Person(user)) => Some(user.id),
            _ => None,
        };
        Self::apply(model, &review.change, effect, whom);
        // who was made is shown
        made.map_or_else(Vec::new, |id| crate::update::show_person(model, id))
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
            Effect::Account(account) => {
                model.money.take_account(&account);
            }
            Effect::Token(reset) => {
                let token = Token::new(model, whom, reset);
                model.overlay = Some(Overlay::Token(token));
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
                model.overlay = Some(Overlay::Results(Results { op, items, result, scroll: 0 }));
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

    /// The request for it failed.
    pub fn failed(model: &mut Model, trouble: Trouble) -> Vec<Task> {
        Self::reopen(model);
        if let Trouble::Refused { error, .. } = &trouble {
            if let Some(Overlay::Review(review)) = &model.overlay
                && matches!(review.change, Change::Money(_))
                && error.code == ErrorCode::VersionMismatch
                && let Some(current) = error.details.get("current").cloned()
                && let Ok(theirs) = serde_json::from_value(current)
            {
                return Self::account_overtaken(model, theirs, trouble);
            }
            let current: Option<User> = (error.code == ErrorCode::VersionMismatch)
                .then(|| error.details.get("current").cloned())
                .flatten()
                .and_then(|current| serde_json::from_value(current).ok());
            if let Some(theirs) = current {
                return Self::overtaken(model, theirs, trouble);
            }
        }
        let Some(Overlay::Review(review)) = &mut model.overlay else { return Vec::new() };
        review.focus = Focus::Cancel;
        review.stage = match (&review.stage, trouble) {
            // an answer that was lost or cannot be read says nothing about what was done
            (Stage::Sending, Trouble::Lost(why) | Trouble::Other(why)) => Stage::Unknown(why),
            // only that it could not be asked about: what became of it is as unknown as before
            (Stage::Unknown(_), trouble) => Stage::Unknown(trouble.message()),
            (_, trouble) => Stage::Refused(trouble),
        };
        match &review.stage {
            // asked again by itself, also where the daemon was never gone
            Stage::Unknown(_) => return vec![Task::Wake(AGAIN, Alarm::Outcome)],
            Stage::Refused(trouble) => {
                model.last_trouble = Some((trouble.clone(), "a change was refused".to_owned(), model.now));
            }
            _ => {}
        }
        Vec::new()
    }

    /// Whether a change is on its way, or was and nobody knows what became of it.
    pub fn unsettled(model: &Model) -> bool {
        let open =
            Self::of(model).is_some_and(|review| matches!(review.stage, Stage::Sending | Stage::Unknown(_)));
        open || model.pending.is_some()
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
        if verdict.state == VerdictState::Done {
            if let Some(error) = verdict.error {
                let refused = Trouble::Refused { error, request_id: None, retry_at: None };
                Self::end_at(model, Stage::Refused(refused));
                return Vec::new();
            }
            if let Some(effect) = Self::of(model).and_then(|review| review.change.read(verdict.data)) {
                return Self::done(model, effect);
            }
        }
        Self::end_at(model, Stage::Lost);
        Vec::new()
    }

    /// What became of it is known, and it is not what was hoped for.
    fn end_at(model: &mut Model, stage: Stage) {
        Self::reopen(model);
        if let Some(Overlay::Review(review)) = &mut model.overlay {
            review.stage = stage;
            review.focus = Focus::Cancel;
            review.shown = model.now;
        }
    }

    /// Closes it; what is on its way cannot be called back.
    pub fn close(model: &mut Model) {
        let Some(Overlay::Review(mut review)) = model.overlay.take() else { return };
        match &review.stage {
            Stage::Sending => model.overlay = Some(Overlay::Review(review)),
            Stage::Unknown(_) => {
                model.say("the outcome is asked for until it is known; r asks now");
                model.pending = Some(*review);
            }
            stage => {
                model.tickets.forget(Slot::Change);
                if let Some(mut form) = review.form.take() {
                    if let Stage::Refused(Trouble::Refused { error, .. }) = stage {
                        form.refuse(error);
                    }
                    model.overlay = Some(Overlay::Form(form));
                    return;
                }
                model.say(match stage {
                    Stage::Lost => {
                        "not sent again; it may still have been waiting: look before you repeat it"
                    }
                    _ => "nothing was changed",
                });
            }
        }
    }

    /// Text was pasted: into the reason, and nowhere else.
    pub fn paste(model: &mut Model, text: &str) {
        let Some(Overlay::Review(review)) = &mut model.overlay else { return };
        match review.focus {
            Focus::Reason => field::paste(&mut review.reason, text),
            Focus::Amount => model.complain("the amount is typed, not pasted"),
            _ => {}
        }
    }

    /// The reason is typed in now, or the amount.
    pub fn to_field(&mut self, field: u8) {
        match field {
            1 if self.choosable() && self.asks_for().is_some() => self.focus = Focus::Amount,
            0 if self.choosable() && self.change.takes_reason() => self.focus = Focus::Reason,
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
        let Some(Overlay::Review(review)) = &mut model.overlay else { return Vec::new() };
        let choosable = review.choosable();
        let typing = matches!(review.focus, Focus::Reason | Focus::Amount);
        let early = model.now.since(review.shown) < ARM;
        match (key.ctrl, key.code) {
            (false, Code::Esc) | (true, Code::Char('g')) => Self::close(model),
            (false, Code::Tab | Code::BackTab) if choosable => {
                // as they stand on the screen: the reason above, then the buttons
                let reason = review.change.takes_reason();
                let amount = review.asks_for().is_some();
                review.focus = match (review.focus, key.code == Code::Tab) {
                    (Focus::Cancel, true) | (Focus::Go, false) if amount => Focus::Amount,
                    (Focus::Amount, true) => Focus::Go,
                    (Focus::Amount, false) => Focus::Cancel,
                    (Focus::Reason, true) | (Focus::Go, false) => Focus::Cancel,
                    (Focus::Go, true) | (Focus::Cancel, false) if reason => Focus::Reason,
                    (Focus::Go, true) => Focus::Cancel,
                    (Focus::Cancel, _) | (Focus::Reason, false) => Focus::Go,
                };
            }
            (false, Code::Left | Code::Right) if choosable && !typing => {
                review.focus = if review.focus == Focus::Go { Focus::Cancel } else { Focus::Go };
            }
            (false, Code::Enter) if review.focus == Focus::Amount => {
                // on to the button, which is pressed by a key of its own
                match review.is_typed() && !held {
                    true => review.focus = Focus::Go,
                    false => model.complain("type the amount as it is said there; then the button works"),
                }
            }
            (false, Code::Enter) if typing => review.focus = Focus::Cancel,
            (false, Code::Enter) if review.focus == Focus::Go => return Self::agree(model, held),
            (false, Code::Enter) if held => {}
            (false, Code::Enter) => Self::close(model),
            _ if review.focus == Focus::Amount && (early || !choosable) => {
                // what was typed before it could be read says nothing
                model.complain("not so fast: read what will happen, then type the amount");
            }
            _ if review.focus == Focus::Amount => {
                field::edit(&mut review.typed, key);
            }
            _ if typing => {
                field::edit(&mut review.reason, key);
            }
            (false, Code::Char('q')) => Self::close(model),
            (false, Code::Char('j') | Code::Down) => review.scroll += 1,
            (false, Code::Char('k') | Code::Up) => review.scroll = review.scroll.saturating_sub(1),
            (false, Code::Char('!')) if matches!(review.stage, Stage::Refused(_)) => {
                return crate::update::perform(model, crate::actions::Do::Error);
            }
            (false, Code::Char('r')) if choosable => review.to_field(0),
            (false, Code::Char('Y')) => {
                let command = model.place.reached_by(&review.command());
                model.say(format!("copied {command}"));
                return vec![Task::Copy(command)];
            }
            _ => {}
        }
        Vec::new()
    }

    /// The same as a command.
    fn command(&self) -> String {
        self.change.clone().because(self.because().ok().flatten()).command()
    }

    /// Why it is done, if that was said.
    fn because(&self) -> Result<Option<Reason>, String> {
        match self.reason.value().trim() {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|wrong: bursar_shared::field::Fault| wrong.message),
        }
    }

    fn agree(model: &mut Model, held: bool) -> Vec<Task> {
        let (now, protection) = (model.now, model.place.protection);
        let Some(Overlay::Review(review)) = &mut model.overlay else { return Vec::new() };
        if held || now.since(review.shown) < ARM {
            // held keys, and keys typed before it was there, agree to nothing
            model.complain("not so fast: read what will happen, then press enter");
            return Vec::new();
        }
        if !review.is_typed() {
            review.focus = Focus::Amount;
            model.complain("the amount comes first: type it as it is said there");
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
            review.shown = now;
            return Vec::new();
        }
        // who would have been refused is left out
        if let (Change::Many(_, items), Stage::Ready(Effect::Many(plan))) =
            (&mut review.change, &review.stage)
        {
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
        review.change = review.change.clone().because(reason.clone());
        review.stage = Stage::Sending;
        let reason = reason.filter(|_| matches!(review.change, Change::Many(..)));
        let request = Request::Carry(review.change.clone(), review.key.clone(), review.version, reason);
        vec![Task::Ask(model.tickets.issue(Slot::Change), request)]
    }
}
