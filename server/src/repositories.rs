//! Queries: one file an aggregate, plain functions over a connection, the same verbs everywhere.
//!
//! `find` (perhaps nothing), `get` (or not found), `page`, `insert`, `update`, `remove`, `lock`,
//! `of_<parents>` (eager loading, one query for all of them).

pub mod accounts;
pub mod entries;
pub mod flows;
pub mod ledger;
pub mod log;
pub mod page;
pub mod roles;
pub mod secrets;
pub mod sessions;
pub mod transfers;
pub mod users;
