//! What screens are made of.

pub mod canvas;
pub mod choose;
pub mod chrome;
pub mod conflict;
pub mod export;
pub mod field;
pub mod filter_bar;
pub mod form;
pub mod help;
pub mod outcome;
pub mod overlay;
pub mod palette;
pub mod review;
pub mod signing_out;
pub mod table;
pub mod trouble;
