//! The screens: each its columns, what belongs to a row, and how it is drawn.

pub mod audit;
pub mod home;
pub mod listed;
pub mod login;
pub mod person;
pub mod roles;
pub mod sessions;
pub mod users;
