//! The way here: screens and lists as they were left, so that they can stand so again.

use bursar_shared::{
    id::{AccountId, UserId},
    page::Sort,
};

use super::Screen;
use crate::message::Room;

/// How a list stood, so that it can stand so again.
#[derive(Debug, Clone, Default)]
pub struct Stand {
    /// Whose rows they are, where they belong to one account.
    pub of: Option<AccountId>,
    /// The filter as typed.
    pub filter: String,
    /// The order; none is the one in force.
    pub sort: Option<Sort>,
    /// The record under the cursor.
    pub cursor: Option<String>,
    /// It was on the whole screen, scrolled by so many lines.
    pub open: Option<usize>,
}

/// A step of the way here: the screen that was left, and the list that was gone to as it was before.
#[derive(Debug, Clone)]
pub struct Step {
    /// The screen that was left.
    pub from: Screen,
    /// The list that was gone to.
    pub room: Room,
    /// How it stood.
    pub before: Stand,
}

/// Where somebody was when their session ended.
#[derive(Debug, Clone)]
pub struct Left {
    /// Who it was: their filters and records are shown to nobody else.
    pub whose: Option<UserId>,
    /// The screen.
    pub screen: Screen,
    /// How its list stood.
    pub stand: Stand,
    /// The way there.
    pub trail: Vec<Step>,
}
