//! The screens: each its columns, what belongs to a row, and how it is drawn.

pub mod accounts;
pub mod audit;
pub mod books;
pub mod home;
pub mod listed;
pub mod login;
pub mod money;
pub mod named;
pub mod person;
pub mod roles;
pub mod sessions;
pub mod statement;
pub mod transfers;
pub mod users;
