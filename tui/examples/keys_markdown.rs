//! Prints the keys as they stand in `docs/dashboard.md`.
#![expect(clippy::print_stdout, reason = "that is what it is for")]

fn main() {
    println!("{}", bursar_tui::actions::markdown().trim());
}
