//! `bursar tui`: opens the dashboard on the daemon that is meant.

mod host;

use std::sync::Arc;

use bursar_shared::client::{
    Client, Options,
    profile::{Dashboard, Protect},
    session::Store,
};
use bursar_tui::{Exit, Keymap, Look, Place, Protection, Start, ThemeName};
use clap::Args;

use crate::{
    context::{Cx, block_on, variable},
    error::{Failure, Result},
    journal::Journal,
    output,
};

/// Opens the dashboard.
#[derive(Debug, Args)]
pub(crate) struct Tui {}

/// Opens the dashboard.
pub(crate) fn run(cx: &Cx, _: Tui) -> Result<()> {
    if !crate::output::stdout_is_terminal() {
        return Err(Failure::usage("the dashboard needs a terminal"));
    }
    open(cx)
}

/// Opens the dashboard.
pub(crate) fn open(cx: &Cx) -> Result<()> {
    let target = cx.target()?;
    let mut client = cx.client()?;
    if target.name.is_none() && !client.session().is_key() {
        client = client.with_session(Store::memory());
    }
    let place = Place { context: target.name, protection: protection(target.protect), ..place(cx) };
    show(cx, client, place, target.email)
}

/// A daemon that a command with these flags would reach.
fn place(cx: &Cx) -> Place {
    let mut options = Vec::new();
    if cx.globals.insecure_http {
        options.push("--insecure-http".to_owned());
    }
    let files = [("--ca-cert", &cx.globals.ca_cert), ("--config-dir", &cx.globals.config_dir)];
    for (flag, file) in files {
        // as it is here, for it may be run elsewhere
        let file = file.as_ref().map(|file| std::path::absolute(file).unwrap_or_else(|_| file.clone()));
        options.extend(file.into_iter().flat_map(|file| [flag.to_owned(), file.display().to_string()]));
    }
    Place { options, ..Place::default() }
}

/// Opens the dashboard on a daemon of this very process.
#[cfg(feature = "server")]
pub(crate) fn beside(cx: &Cx, client: Client, label: &str, email: Option<String>) -> Result<()> {
    let place = Place { label: Some(label.to_owned()), ..place(cx) };
    // its own thread: the daemon's runtime is busy answering it
    std::thread::scope(|scope| {
        let dashboard = scope.spawn(|| show(cx, client, place, email));
        dashboard.join().unwrap_or_else(|_| Err(Failure::new(1, "the dashboard broke")))
    })
}

/// Opens the dashboard with this client.
fn show(cx: &Cx, client: Client, place: Place, email: Option<String>) -> Result<()> {
    let (look, keys) = settings(cx)?;
    let insecure_http = cx.globals.insecure_http;
    let ca_cert = cx.globals.ca_cert.clone();
    let signed_in = client.session().is_key() || client.session().credentials()?.is_some();
    let start = Start {
        server: client.server().to_owned(),
        host: Arc::new(host::CommandLine::new(cx)),
        connect: Arc::new(move |server| {
            let options = Options { insecure_http, ca_cert: ca_cert.clone(), ..Options::default() };
            Client::new(server, options)
                .map(|client| client.with_session(Store::memory()))
                .map_err(|wrong| wrong.to_string())
        }),
        client,
        place,
        signed_in,
        email,
        look,
        keys,
    };
    block_on(async {
        let left = bursar_tui::run(start)
            .await
            .map_err(|wrong| Failure::new(1, format!("the terminal cannot be used: {wrong}")))?;
        if !left.unsettled.is_empty() {
            output::say(&last_words(cx, &left.unsettled));
        }
        match left.exit {
            Exit::Quit => Ok(()),
            Exit::Signal(signal) => Err(Failure::silent(u8::try_from(128 + signal).unwrap_or(130))),
        }
    })
}

/// How the dashboard looks and which keys it has: as the file says, else as the environment does.
fn settings(cx: &Cx) -> Result<(Look, Keymap)> {
    let (set, path) = Dashboard::load(&cx.paths()?)?;
    let wrong = |why: String| Failure::usage(format!("{}: {why}", path.display()));
    let mut look = Look::from_env(variable);
    if let Some(theme) = &set.theme {
        let theme = theme.parse().map_err(wrong)?;
        // without colours is stronger: it may be what this terminal can show
        look.asks = false;
        look.theme = if look.theme == ThemeName::Mono { look.theme } else { theme };
    }
    look.mouse = set.mouse.unwrap_or(look.mouse);
    look.ascii = set.ascii.unwrap_or(look.ascii);
    Ok((look, Keymap::new(&set.keys).map_err(wrong)?))
}

/// What is to be done about changes that nobody knows the outcome of.
fn last_words(cx: &Cx, unsettled: &[String]) -> String {
    let written = cx.paths().is_ok_and(|paths| Journal::new(&paths).all().is_ok_and(|all| !all.is_empty()));
    let next = if written {
        "bursar pending list shows it, bursar pending resume finds out and finishes it"
    } else {
        "look whether it was made before you make it again"
    };
    let which: String =
        unsettled.iter().map(|one| format!("\n  {}", bursar_shared::text::clean(one))).collect();
    format!("a change was sent and its answer never came; {next}:{which}")
}

/// What may be done to a daemon, in the dashboard's words.
const fn protection(protect: Protect) -> Protection {
    match protect {
        Protect::None => Protection::Open,
        Protect::Confirm => Protection::Confirm,
        Protect::Readonly => Protection::ReadOnly,
    }
}
