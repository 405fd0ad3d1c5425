//! `bursar demo`: a throw-away daemon with lifelike people in it, and the dashboard on top.

use std::path::PathBuf;

use bursar_server::{
    config::{Config, Sources},
    demo::{self, EMAIL, PASSWORD, Size},
};
use bursar_shared::{
    client::{Client, Options, session::Store},
    field::{Email, Fault},
};
use clap::Args;
use serde_json::json;

use super::server::{broken, run_daemon};
use crate::{
    context::Cx,
    error::{Failure, Result},
    output::{self, Format},
};

/// A throw-away daemon.
#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// How many people
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u64).range(1..=50_000_000))]
    users: u64,
    /// How many transfers between some of them
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u64).range(0..=100_000_000))]
    transfers: u64,
    /// The same number brings the same people
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where to listen; 0 takes a free port
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Keep the store in this folder, and use it again when it is there
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
}

/// Fills a store, serves it, and opens the dashboard; without a terminal it says how to reach it.
pub(crate) fn run(cx: &Cx, args: Demo) -> Result<()> {
    let thrown_away = match &args.keep {
        Some(_) => None,
        None => {
            let made = tempfile::Builder::new().prefix("bursar-demo-").tempdir();
            Some(made.map_err(|wrong| broken(format!("no folder can be made: {wrong}")))?)
        }
    };
    let folder = thrown_away.as_ref().map(|made| made.path().to_path_buf()).or_else(|| args.keep.clone());
    let folder = folder.unwrap_or_default();
    // written last, so that a store that was cut off while it was filled is not taken for a whole one
    let whole = folder.join("demo.complete");
    let filled = whole.exists();
    if !filled && folder.join("bursar.db").exists() {
        return Err(broken(format!(
            "{} holds a store that no demo finished; name another folder",
            folder.display()
        )));
    }
    let flags = [
        ("listen", format!("127.0.0.1:{}", args.port)),
        ("data-dir", folder.display().to_string()),
        ("limits", "off".to_owned()),
        ("log-level", "error".to_owned()),
    ];
    let flags = flags.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let mut config = Config::load(&Sources { flags, ..Sources::default() }).map_err(broken)?;
    config.thrown_away = thrown_away.is_some();
    run_daemon(async {
        let wrong = |wrong: Fault| Failure::new(1, wrong.to_string());
        let email: Email = EMAIL.parse().map_err(wrong)?;
        if !filled {
            fill(cx, &config, &args).await?;
            std::fs::write(&whole, "").map_err(|wrong| broken(format!("{}: {wrong}", whole.display())))?;
        }
        let running = bursar_server::start(config).await.map_err(broken)?;
        let server = format!("http://{}", running.address);
        #[cfg(feature = "tui")]
        if output::stdout_is_terminal() && cx.can_ask() {
            let client = Client::new(&server, Options::default())?.with_session(Store::memory());
            client.sign_in(email, PASSWORD.parse().map_err(wrong)?).await?;
            let shown = tokio::task::block_in_place(|| {
                super::tui::beside(cx, client, "demo", Some(EMAIL.to_owned()))
            });
            running.stop().await;
            return shown;
        }
        reach(cx, &server, &email)?;
        bursar_server::run_until_signal(running).await.map_err(broken)
    })
}

/// Makes the people, and says how far it is when there are many.
async fn fill(cx: &Cx, config: &Config, args: &Demo) -> Result<()> {
    const MANY: u64 = 100_000;
    let size = Size { users: args.users, transfers: args.transfers, seed: args.seed };
    let progress = |written: u64, total: u64| {
        if total >= MANY && written.is_multiple_of(MANY) {
            cx.say(&format!("{written} of {total}"));
        }
    };
    demo::fill(config, size, progress).await.map_err(broken)
}

/// Says how to reach it: for people on stderr, for scripts on stdout with `-o json`.
fn reach(cx: &Cx, server: &str, email: &Email) -> Result<()> {
    output::say(&format!("bursar: listening on {server}"));
    output::say(&format!("sign in: {email} / {PASSWORD}"));
    output::say(&format!(
        "for example: echo '{PASSWORD}' | bursar auth login --server {server} --email {email} --password-stdin"
    ));
    match cx.style()?.format() {
        Format::Json | Format::Jsonl => {
            output::text(&format!("{}\n", json!({ "server": server, "email": email, "password": PASSWORD })))
        }
        _ => Ok(()),
    }
}
