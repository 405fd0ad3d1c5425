//! The commands, a file a group.

pub(crate) mod accounts;
pub(crate) mod api;
pub(crate) mod auth;
pub(crate) mod context;
#[cfg(feature = "server")]
pub(crate) mod demo;
mod edit;
pub(crate) mod ledger;
pub(crate) mod log;
pub(crate) mod pending;
pub(crate) mod roles;
#[cfg(feature = "server")]
pub(crate) mod server;
pub(crate) mod sessions;
pub(crate) mod system;
pub(crate) mod transfers;
#[cfg(feature = "tui")]
pub(crate) mod tui;
pub(crate) mod users;
