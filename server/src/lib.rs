//! The Bursar daemon: users, orders and money behind one patterned API.

pub mod auth;
pub mod clock;
pub mod db;
pub mod error;
pub mod log;
mod repositories;
mod schema;
