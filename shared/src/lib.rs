//! What both ends of Bursar agree on: values, operations, errors, and (feature `client`) the one HTTP client.
//!
//! Start at [`operations`]: the table of everything the daemon can be asked. A row names a request
//! type and an answer type; the daemon mounts from it, [`Client`](client::Client) calls from it, and
//! the OpenAPI document and the authorisation matrix are made from it.

#[cfg(feature = "client")]
pub mod client;
pub mod decode;
pub mod envelope;
pub mod error;
pub mod field;
pub mod filter;
pub mod id;
pub mod money;
pub mod operation;
pub mod operations;
pub mod page;
pub mod permission;
pub mod text;
pub mod time;
pub mod wire;
