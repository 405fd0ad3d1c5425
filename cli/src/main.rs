//! `bursar`: main -> run -> exit code.

mod args;
mod bulk;
mod change;
mod commands;
mod context;
mod curl;
mod error;
mod help;
mod journal;
mod jq;
mod list;
mod money;
mod naming;
mod output;
mod prompt;
mod several;
mod views;
mod watch;

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(args::run(std::env::args_os().collect()))
}
