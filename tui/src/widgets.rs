//! What screens are made of.

pub mod canvas;
pub mod chrome;
pub mod field;
pub mod filter_bar;
pub mod help;
pub mod overlay;
pub mod palette;
pub mod review;
pub mod table;
