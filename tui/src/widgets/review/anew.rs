//! What becomes of a change under review when what it is about is not how it was read.

use bursar_shared::operations::{accounts::Account, users::User};

use super::{Focus, Review, Stage, Subject, meanwhile::Meanwhile};
use crate::{
    change::Change,
    message::{Request, Slot, Task, Trouble},
    model::Model,
    widgets::{
        conflict::{Conflict, Theirs},
        overlay::Overlay,
    },
};

impl Review {
    /// Somebody else saved first.
    pub(super) fn overtaken(model: &mut Model, theirs: User, trouble: Trouble) -> Vec<Task> {
        model.users.list.window.patch(&theirs.id.to_string(), |row| {
            let (sessions, accounts) = (row.record.sessions.take(), row.record.accounts.take());
            row.record = User { sessions, accounts, ..theirs.clone() };
        });
        Self::anew(model, Theirs::User(Box::new(theirs)), trouble)
    }

    /// The same of an account.
    pub(super) fn account_overtaken(model: &mut Model, theirs: Account, trouble: Trouble) -> Vec<Task> {
        model.money.take_account(&theirs);
        Self::anew(model, Theirs::Account(Box::new(theirs)), trouble)
    }

    /// What was read is not how it is. An edit shows both; of anything else it is asked anew what would happen,
    /// and agreed to anew.
    fn anew(model: &mut Model, theirs: Theirs, trouble: Trouble) -> Vec<Task> {
        let Some(Overlay::Review(review)) = &mut model.overlay else { return Vec::new() };
        // a form without what was read has no record of its own to compare
        if let Some(form) = review.form.take_if(|form| form.read().is_some()) {
            model.overlay = Some(Overlay::Conflict(Box::new(Conflict::new(form, theirs))));
            return Vec::new();
        }
        review.focus = Focus::Cancel;
        review.agreed = 0;
        if review.takes_back.is_some() {
            // to take back over what somebody else did since would be a change of its own
            review.stage = Stage::Refused(trouble);
            return Vec::new();
        }
        let version = theirs.version();
        let what = match theirs {
            // the version of an account says nothing about what it holds
            Theirs::Account(_) if review.version == Some(version) => "money moved in it meanwhile".to_owned(),
            Theirs::Account(_) => format!("somebody changed it meanwhile, to version {version}"),
            Theirs::User(_) => format!("somebody changed them meanwhile, to version {version}"),
        };
        review.note = Some(format!("{what}: this is what would happen now"));
        match theirs {
            Theirs::User(user) => review.subject = Subject::Person(user),
            Theirs::Account(account) => {
                if let Change::Money(deed) = &mut review.change {
                    **deed = deed.as_ref().clone().onto(*account);
                }
            }
        }
        review.version = Some(version);
        review.key = bursar_shared::id::idempotency_key();
        Self::ask(model)
    }

    /// Asks again what would happen.
    fn ask(model: &mut Model) -> Vec<Task> {
        let Some(Overlay::Review(review)) = &mut model.overlay else { return Vec::new() };
        review.stage = Stage::Asking;
        review.meanwhile = Meanwhile::asked(model.tick);
        let request = Request::Rehearse(review.change.clone(), review.version);
        vec![Task::Ask(model.tickets.issue(Slot::Change), request)]
    }
}
