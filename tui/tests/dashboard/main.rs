//! The dashboard, driven by keys against a daemon made of plain data.

mod goldens;
mod hygiene;
mod journeys;
mod list;
mod resize;
mod support;
