//! Where an action belongs that has no meaning on the screen that is shown.

use super::{Action, Do};
use crate::model::Screen;

/// What there is to do about an action of another screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Elsewhere {
    /// It needs no record: one goes there, and it begins.
    Starts(Screen),
    /// It needs a record; where one is found.
    Needs(&'static str),
}

/// The same for an action; nothing for one that only moves about in lists.
pub fn elsewhere(action: &Action) -> Option<Elsewhere> {
    use Elsewhere::{Needs, Starts};
    Some(match action.what {
        Do::Create => Starts(Screen::Users),
        Do::OpenAccount => Starts(Screen::Accounts),
        Do::Send => Starts(Screen::Transfers),
        Do::VerifyBooks => Starts(Screen::Accounts),
        Do::Verify => Starts(Screen::Audit),
        Do::GoStatement => Needs("on Accounts or Transfers, with the cursor on one"),
        Do::GoOther => Needs("on Transfers or a statement, with the cursor on one"),
        Do::GoTransfersOf => Needs("on Accounts or Transfers, with the cursor on one"),
        Do::GoAccountsOf | Do::GoWhere => Needs("on Users, with the cursor on one"),
        Do::GoPerson => Needs("on Sessions, Accounts or the log, with the cursor on one"),
        _ => Needs(match action.name.split('.').next()? {
            "user" => "on Users, with the cursor on one",
            "account" => "on Accounts, with the cursor on one",
            "transfer" => "on Transfers, with the cursor on one",
            "session" => "on Sessions, with the cursor on one",
            _ => return None,
        }),
    })
}
