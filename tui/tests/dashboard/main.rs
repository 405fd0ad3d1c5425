//! The dashboard, driven by keys against a daemon made of plain data.
#![expect(clippy::unwrap_used, reason = "helpers of tests: a panic says where")]

mod agreeing;
mod books;
mod changing;
mod details;
mod goldens;
mod hygiene;
mod journeys;
mod list;
mod meanwhile;
mod moneyscreens;
mod moving;
mod places;
mod resize;
mod support;
mod trail;
