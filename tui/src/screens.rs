//! The screens: each its state, what its keys do, and how it is drawn.

pub mod home;
pub mod login;
pub mod person;
pub mod users;
