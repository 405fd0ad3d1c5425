//! The daemon's tests: through HTTP, with the real client, on the engine that the environment names.
//!
//! A test is five lines: start a [`TestServer`](bursar_server::testing::TestServer), sign somebody in,
//! call operations, compare. `support` has raw requests for what the client would never send.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test stops at once, and a random one prints its seed"
)]

mod arrows;
mod attack;
mod authorization;
mod ballast;
mod bank;
mod clocks;
mod faults;
mod flows;
mod hostile;
mod kept;
mod keys;
mod lists;
mod log;
mod model;
mod money;
mod nemesis;
mod openapi;
mod people;
mod schema;
mod shell;
mod storage;
mod stream;
mod support;
mod timeline;
mod tokens;
mod wire;
mod writes;
