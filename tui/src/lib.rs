//! The Bursar dashboard: [`run`] opens it in the terminal and returns when the person leaves.
//!
//! How it is built: one loop (`app`) waits, drains everything that came, calls
//! [`update`](update::update) on one [`Model`](model::Model), and draws once. `update` answers with
//! [`Task`](message::Task)s; `tasks` alone talks to the daemon. `update` and `draw` are pure, so a
//! test is a stream of keys and answers against a buffer.

pub mod actions;
mod app;
pub mod change;
pub mod draw;
pub mod keymap;
pub mod keys;
pub mod listing;
pub mod look;
pub mod message;
pub mod model;
pub mod screens;
mod tasks;
mod terminal;
pub mod text;
pub mod update;
pub mod widgets;
pub mod window;

use std::sync::Arc;

use bursar_shared::client::Client;

pub use crate::terminal::paint::Painter;
pub use crate::{
    keymap::Keymap,
    look::{Look, ThemeName},
    message::Exit,
    model::{Known, Opened, Place, Protection},
};

/// Where the rows of an export go, as the daemon wrote them.
pub trait Sink: Send {
    /// One row, as JSON.
    ///
    /// # Errors
    /// Why it cannot be written.
    fn row(&mut self, json: &[u8]) -> Result<(), String>;

    /// No more rows come: now, and not before, the file is there. Its path.
    ///
    /// # Errors
    /// Why it cannot be finished.
    fn end(&mut self) -> Result<String, String>;
}

/// A change that is about to be sent.
#[derive(Debug, Clone, Copy)]
pub struct Sending<'a> {
    /// Its idempotency key.
    pub key: &'a str,
    /// HTTP method.
    pub method: &'static str,
    /// Path and query.
    pub target: &'a str,
    /// The body.
    pub body: Option<&'a [u8]>,
    /// The version it is made for.
    pub if_match: Option<i64>,
}

/// What the command line does for the dashboard, so that both do it alike.
pub trait Host: Send + Sync {
    /// Writes a change down before it is sent, so that its key is known should we not live to see the
    /// answer. `bursar pending` finishes it then. Says whether it was written down before: it was sent, and nobody
    /// knows what became of that.
    ///
    /// # Errors
    /// Why it cannot be written; it is not sent then.
    fn write_down(&self, client: &Client, change: &Sending<'_>) -> Result<bool, String>;

    /// A change has a verdict, or was given up, and needs not be remembered any more.
    fn judged(&self, key: &str);

    /// The contexts that the person has.
    ///
    /// # Errors
    /// Why they cannot be read.
    fn contexts(&self) -> Result<Vec<Known>, String>;

    /// The way to the daemon of a context.
    ///
    /// # Errors
    /// Why there is none.
    fn open(&self, context: &str) -> Result<(Client, Opened), String>;

    /// A file for the rows of a list: `noun` is the list as the command line names it, `format` one of
    /// its formats. A file that is there already is refused; one that was not ended is gone.
    ///
    /// # Errors
    /// Why it cannot be made.
    fn export(&self, noun: &str, format: &str, path: &str) -> Result<Box<dyn Sink>, String>;
}

/// Makes a client for another server that the person typed; the words say why it cannot be.
pub type Connect = Arc<dyn Fn(&str) -> Result<Client, String>>;

/// What the dashboard needs to start.
pub struct Start {
    /// Points at a server; perhaps signed in already.
    pub client: Client,
    /// Where it points, as shown and as first filled in at the sign-in.
    pub server: String,
    /// Makes the client for another server typed at the sign-in.
    pub connect: Connect,
    /// Contexts and files.
    pub host: Arc<dyn Host>,
    /// Whose daemon it is; the address may be left out.
    pub place: Place,
    /// Whether a stored session should be tried before anybody is asked to sign in.
    pub signed_in: bool,
    /// The email to begin the sign-in with.
    pub email: Option<String>,
    /// Colours, glyphs and mouse; [`Look::from_env`] reads them from the environment's variables.
    pub look: Look,
    /// Which keys do what.
    pub keys: Keymap,
}

/// How the dashboard was left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// Why it ended.
    pub exit: Exit,
    /// Changes that were sent, and what became of them was not known by then: each in a few words.
    pub unsettled: Vec<String>,
}

/// Opens the dashboard on standard output and stays until the person leaves or a signal ends it.
///
/// To be awaited on a tokio current-thread runtime with `enable_all`. The terminal is given back as
/// it was on every way out, panics included.
///
/// # Errors
/// When the terminal cannot be set up, read or written.
pub async fn run(start: Start) -> std::io::Result<Left> {
    app::run(start).await
}
