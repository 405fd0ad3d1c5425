//! Does an action about money: goes to accounts and transfers, opens forms and reviews.

use bursar_shared::{id::AccountId, operations::accounts::AccountRef};

use super::perform::jump;
use crate::{
    actions::{self, Do},
    change::{Change, Deed},
    message::{Request, Room, Slot, Task},
    model::{Model, Screen},
    screens::money::Money,
    widgets::{
        form::Form,
        overlay::Overlay,
        review::{Review, Subject},
    },
};

/// Does an action about money.
pub(super) fn perform(model: &mut Model, what: Do) -> Vec<Task> {
    match what {
        Do::GoStatement => {
            let id = match model.screen {
                Screen::Transfers => Money::transfer(model).map(|transfer| transfer.from_account_id),
                _ => Money::account(model).map(|account| account.id),
            };
            return id.map_or_else(Vec::new, |id| Money::open_statement(model, id));
        }
        Do::GoOther => {
            let id = actions::other_side(model);
            return id.map_or_else(Vec::new, |id| Money::open_statement(model, id));
        }
        Do::GoTransfersOf => {
            let filter = actions::transfers_of(model);
            return filter.map_or_else(Vec::new, |filter| jump(model, Room::Transfers, &filter));
        }
        Do::GoAccountsOf => {
            let id = model.users.list.window.current().map(|row| row.record.id);
            return id.map_or_else(Vec::new, |id| jump(model, Room::Accounts, &format!("ownerId:{id}")));
        }
        Do::VerifyBooks => {
            model.say("recomputing the books…");
            return vec![Task::Ask(model.tickets.issue(Slot::Verify), Request::VerifyLedger)];
        }
        Do::OpenAccount => show(model, Form::open_account()),
        Do::Send => {
            let from = Money::account(model).cloned();
            show(model, Form::transfer(from));
        }
        Do::EditAccount => {
            if let Some(account) = Money::account(model).cloned() {
                show(model, Form::edit_account(account));
            }
        }
        Do::FreezeAccount => {
            return on_account(model, |account| Deed::Freeze(Box::new(account), None));
        }
        Do::UnfreezeAccount => {
            return on_account(model, |account| Deed::Unfreeze(Box::new(account), None));
        }
        Do::CloseAccount => {
            let Some(account) = Money::account(model).cloned() else { return Vec::new() };
            if account.balances.posted == 0 {
                return review(model, Deed::Close(Box::new(account), None, None));
            }
            show(model, Form::close_account(account));
        }
        Do::Reverse => {
            if let Some(transfer) = Money::transfer(model).cloned() {
                show(model, Form::reverse(transfer));
            }
        }
        Do::Capture => {
            if let Some(transfer) = Money::transfer(model).cloned() {
                show(model, Form::capture(transfer));
            }
        }
        Do::Void => {
            let Some(transfer) = Money::transfer(model).cloned() else { return Vec::new() };
            return review(model, Deed::Void(Box::new(transfer), None));
        }
        _ => {}
    }
    Vec::new()
}

fn show(model: &mut Model, form: Form) {
    model.overlay = Some(Overlay::Form(Box::new(form)));
}

fn on_account(model: &mut Model, of: fn(bursar_shared::operations::accounts::Account) -> Deed) -> Vec<Task> {
    let Some(account) = Money::account(model).cloned() else { return Vec::new() };
    review(model, of(account))
}

/// What an account is called, however it is named.
pub(crate) fn called(model: &Model, id: AccountRef) -> String {
    let known: Option<AccountId> = match id {
        AccountRef::Id(id) => Some(id),
        AccountRef::System(..) => None,
    };
    known.map_or_else(|| id.to_string(), |id| model.money.called(id))
}

/// Asks the daemon what a change about money would do.
pub(crate) fn review(model: &mut Model, deed: Deed) -> Vec<Task> {
    let version = deed.account().map(|account| account.version);
    let called = deed.called(|id| called(model, id), model.theme.glyphs.arrow);
    Review::begin(model, Change::Money(Box::new(deed)), Subject::Called(called), version)
}
