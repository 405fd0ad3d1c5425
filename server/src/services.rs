//! Rules: one file a subject, functions `async fn verb(cx, operation) -> Result<Answer>`.

pub mod accounts;
pub mod auth;
pub mod bulk;
pub mod ledger;
pub mod log;
pub mod me;
pub mod roles;
pub mod sessions;
pub mod stream;
pub mod system;
pub mod transfers;
pub mod users;
