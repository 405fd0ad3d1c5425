//! What the command line does for the dashboard: contexts, and files written as its own output is.

use std::{fs::File, io, path::PathBuf};

use bursar_shared::client::{
    Client,
    profile::Protect,
    session::{Store, local_now},
};
use bursar_tui::{Host, Known, Opened, Place, Sending, Sink};

use super::protection;
use crate::{
    change,
    context::{Cx, Globals},
    error::Failure,
    journal::{Journal, Pending},
    output::{self, Format, Style, View},
    views,
};

/// The command line, as far as the dashboard needs it.
pub(super) struct CommandLine {
    globals: Globals,
}

impl CommandLine {
    /// With the flags of this command.
    pub(super) fn new(cx: &Cx) -> Self {
        Self { globals: cx.globals.clone() }
    }

    /// What a command with `--context NAME` would run in.
    fn cx(&self, context: Option<&str>) -> Cx {
        let mut globals = self.globals.clone();
        // another context is another daemon, whatever the dashboard was opened with
        globals.server = None;
        globals.context = context.map(str::to_owned);
        Cx::new(globals)
    }
}

fn words(failure: Failure) -> String {
    failure.message
}

impl Host for CommandLine {
    fn write_down(&self, client: &Client, change: &Sending<'_>) -> Result<bool, String> {
        let cx = self.cx(None);
        let (paths, profile) = (cx.paths().map_err(words)?, cx.profile().map_err(words)?);
        let context = profile.named_by_server(client.server()).map(str::to_owned);
        if context.is_none() && !client.session().is_key() {
            // a daemon that is known to this dashboard alone: nobody could come back to it
            return Ok(false);
        }
        let pending = Pending {
            key: change.key.to_owned(),
            context,
            server: client.server().to_owned(),
            who: change::who(client).map_err(words)?,
            at: local_now(),
            method: change.method.to_owned(),
            target: change.target.to_owned(),
            if_match: change.if_match,
            body: change.body.map(|body| String::from_utf8_lossy(body).into_owned()),
        };
        Journal::new(&paths).write(&pending).map_err(words)
    }

    fn judged(&self, key: &str) {
        if let Ok(paths) = self.cx(None).paths() {
            // what cannot be forgotten is found again by `bursar pending`, and does no harm there
            let _ = Journal::new(&paths).remove(key);
        }
    }

    fn contexts(&self) -> Result<Vec<Known>, String> {
        let profile = self.cx(None).profile().map_err(words)?;
        let known = profile.contexts.into_iter().map(|(name, context)| Known {
            name,
            server: context.server,
            email: context.email,
            protection: protection(context.protect),
        });
        Ok(known.collect())
    }

    fn open(&self, context: &str) -> Result<(Client, Opened), String> {
        let cx = self.cx(Some(context));
        let target = cx.target().map_err(words)?;
        // a key of the environment belongs to the daemon that the dashboard was opened on
        let client = cx.client_of(&target).map_err(words)?;
        let paths = cx.paths().map_err(words)?;
        let client = client.with_session(Store::file(paths.credentials(context)));
        let stored = client.session().credentials().map_err(|wrong| wrong.to_string())?;
        let protect: Protect = target.protect;
        let opened = Opened {
            place: Place {
                server: client.server().to_owned(),
                context: Some(context.to_owned()),
                protection: protection(protect),
                ..super::place(&cx)
            },
            email: target.email,
            signed_in: stored.is_some_and(|stored| stored.server == client.server() && stored.is_live()),
        };
        Ok((client, opened))
    }

    fn export(&self, noun: &str, format: &str, path: &str) -> Result<Box<dyn Sink>, String> {
        let view = match noun {
            "users" => &views::USERS,
            "sessions" => &views::SESSIONS,
            "roles" => &views::ROLES,
            "events" => &views::EVENTS,
            "audit" => &views::AUDIT,
            "accounts" => &views::ACCOUNTS,
            "transfers" => &views::TRANSFERS,
            "entries" => &views::ENTRIES,
            _ => return Err(format!("{noun} cannot be exported")),
        };
        let format = match format {
            "csv" => Format::Csv,
            "jsonl" => Format::Jsonl,
            _ => return Err(format!("{format} is no form for a file; valid: csv, jsonl")),
        };
        Export::new(view, format, path).map(|export| Box::new(export) as Box<dyn Sink>)
    }
}

/// A file that is there under its name only when it is whole.
struct Export {
    sink: output::Sink,
    part: Option<tempfile::NamedTempFile>,
    path: PathBuf,
}

impl Export {
    fn new(view: &View, format: Format, path: &str) -> Result<Self, String> {
        let wrong = |wrong: io::Error| format!("{path}: {wrong}");
        let path = PathBuf::from(path);
        if path.exists() {
            return Err(format!("{} is there already; another name, please", path.display()));
        }
        let folder = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => std::path::Path::new("."),
        };
        // rows of people are nobody else's business
        let part = tempfile::Builder::new().prefix(".bursar-").tempfile_in(folder).map_err(wrong)?;
        let file: File = part.as_file().try_clone().map_err(wrong)?;
        let style = Style { format: Some(format), ..Style::default() };
        let sink = output::Sink::new(style, view, true).into_file(file);
        Ok(Self { sink, part: Some(part), path })
    }
}

impl Sink for Export {
    fn row(&mut self, json: &[u8]) -> Result<(), String> {
        self.sink.row(json).map_err(words)
    }

    fn end(&mut self) -> Result<String, String> {
        self.sink.end().map_err(words)?;
        let wrong = |wrong: io::Error| format!("{}: {wrong}", self.path.display());
        let Some(part) = self.part.take() else { return Err("it was ended before".to_owned()) };
        part.as_file().sync_all().map_err(wrong)?;
        // what somebody else put there meanwhile stays
        part.persist_noclobber(&self.path).map_err(|failed| wrong(failed.error))?;
        let path = std::path::absolute(&self.path).unwrap_or_else(|_| self.path.clone());
        Ok(path.display().to_string())
    }
}
