//! Writes docs/api.md: `cargo run -p bursar-server --example api_markdown > docs/api.md`.

use std::io::Write;

fn main() -> std::io::Result<()> {
    std::io::stdout().lock().write_all(bursar_server::api_markdown().as_bytes())
}
