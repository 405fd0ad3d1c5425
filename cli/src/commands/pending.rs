//! `bursar pending`: changes whose answer was lost. The same key finishes them, at most once.

mod told;

use std::time::Duration;

use bursar_shared::{
    client::{How, session},
    operations::Row,
};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use told::Came;

use crate::{
    change,
    context::{Cx, Globals, block_on},
    error::{Failure, Result},
    journal::{Journal, KEPT, KEPT_MONEY, Pending},
    output::{self, Sink},
    views,
};

/// How long the daemon keeps what this change was answered.
fn kept(pending: &Pending) -> Duration {
    if Row::of(&pending.method, &pending.target).is_some_and(|row| row.keyed) { KEPT_MONEY } else { KEPT }
}

/// Commands on changes without a verdict.
#[derive(Debug, Subcommand)]
pub(crate) enum PendingCommands {
    /// List them, the oldest first
    #[command(visible_alias = "ls")]
    List,
    /// Show one
    Show(One),
    /// Send them again with their keys: done at most once, answered for sure; asks before it sends all
    Resume(Several),
    /// Forget them; what became of them stays unknown
    Drop(Several),
}

/// One of them.
#[derive(Debug, Args)]
pub(crate) struct One {
    /// The beginning of its key
    key: String,
}

/// Some of them.
#[derive(Debug, Args)]
pub(crate) struct Several {
    /// The beginnings of their keys; all when none is given
    keys: Vec<String>,
}

/// Runs one of them.
pub(crate) fn run(cx: &Cx, command: PendingCommands) -> Result<()> {
    let journal = Journal::new(&cx.paths()?);
    let chosen = |keys: &[String]| -> Result<Vec<Pending>> {
        if keys.is_empty() {
            return journal.all();
        }
        keys.iter().map(|key| journal.find(key)).collect()
    };
    match command {
        PendingCommands::List => {
            say_if_none(cx, &journal.all()?);
            let mut sink = Sink::new(cx.style()?, &views::PENDING, true);
            for pending in journal.all()? {
                sink.row(&serde_json::to_vec(&told::shown(&pending))?)?;
            }
            sink.end()
        }
        PendingCommands::Show(args) => {
            output::one(cx.style()?, &views::PENDING, &told::shown(&journal.find(&args.key)?))
        }
        PendingCommands::Resume(args) => {
            let chosen = chosen(&args.keys)?;
            say_if_none(cx, &chosen);
            let named = !args.keys.is_empty();
            if !named {
                ask(cx, "Really send", &chosen)?;
            }
            resume_all(cx, &journal, &chosen, named)
        }
        PendingCommands::Drop(args) => {
            let chosen = chosen(&args.keys)?;
            say_if_none(cx, &chosen);
            ask(cx, "Really forget", &chosen)?;
            for pending in &chosen {
                journal.remove(&pending.key)?;
            }
            if !chosen.is_empty() {
                cx.say(&format!("{} forgotten", chosen.len()));
            }
            Ok(())
        }
    }
}

/// Says which they are, and asks; of none nobody needs to be asked.
fn ask(cx: &Cx, doing: &str, chosen: &[Pending]) -> Result<()> {
    if chosen.is_empty() {
        return Ok(());
    }
    if !cx.globals.yes && cx.can_ask() {
        for pending in chosen {
            let at = output::cells::table(&json!(pending.at));
            output::say(&format!("{at}  {}  {}", pending.server, told::what(pending)));
        }
    }
    let s = if chosen.len() == 1 { "" } else { "s" };
    crate::prompt::confirm(cx, &format!("{doing} {} change{s}?", chosen.len()))
}

fn resume_all(cx: &Cx, journal: &Journal, chosen: &[Pending], named: bool) -> Result<()> {
    // words are for people, and rows for programs; both would say everything twice
    let people = cx.style()?.for_people();
    let mut sink = Sink::new(cx.style()?, &views::RESUMED, true);
    let (mut failed, mut refused) = (None, 0);
    for pending in chosen {
        match block_on(resume(cx, journal, pending, named)) {
            Ok((row, came)) => {
                refused += came.lines.map_or(0, |(_, refused)| refused);
                if people {
                    output::text(&format!("{}\n", came.words))?;
                    continue;
                }
                match sink.row(&serde_json::to_vec(&row)?) {
                    Err(failure) if failure.is_end_of_output() => {}
                    written => written?,
                }
            }
            Err(failure) => {
                let (what, why) = (told::what(pending), bursar_shared::text::clean(&failure.message));
                cx.say(&format!("{}: {what}: {why}", pending.key));
                failed = Some(failure);
            }
        }
    }
    if !people {
        sink.end()?;
    }
    match failed {
        Some(failure) => Err(failure),
        None if refused > 0 => Err(Failure::new(10, format!("{refused} lines were refused"))
            .hint("send the file again as before: its refused lines go to a file of rejects")),
        None => Ok(()),
    }
}

fn say_if_none(cx: &Cx, pending: &[Pending]) {
    if pending.is_empty() {
        cx.say("nothing is pending: every change was answered");
    }
}

/// Sends one again; gives its row, and what came of it.
async fn resume(cx: &Cx, journal: &Journal, pending: &Pending, named: bool) -> Result<(Value, Came)> {
    let globals = Globals {
        server: Some(pending.server.clone()),
        context: pending.context.clone(),
        ..cx.globals.clone()
    };
    let cx = Cx::new(globals);
    let client = cx.client()?;
    let who = change::who(&client)?;
    if who != pending.who {
        return Err(Failure::new(4, format!("it was made by {}, and {who} is signed in", pending.who))
            .hint(format!("bursar auth login --server {} --email {}", pending.server, pending.who)));
    }
    // what it was answered is forgotten by then, and the same again would be a second time; who says yes to
    // all of them does not mean that
    if session::local_now().since(pending.at) > kept(pending) && !(cx.globals.yes && named) {
        let key = &pending.key;
        return Err(Failure::new(6, "the daemon has forgotten this key: sending it again could do it twice")
            .hint(format!(
                "look whether it was done; then bursar pending drop {key}, or resume {key} --yes"
            )));
    }
    let how = How { key: Some(pending.key.clone()), if_match: pending.if_match, dry_run: false, once: false };
    let body = pending.body.clone().map(String::into_bytes);
    let sent = client.send_raw(&pending.method, &pending.target, body, &[], &how).await;
    if !sent.as_ref().is_err_and(|why| why.leaves_open(true)) {
        journal.remove(&pending.key)?;
    }
    let answer: Value = serde_json::from_slice(&sent?.body)?;
    let (data, replayed) = (&answer["data"], answer["meta"]["replayed"] == true);
    let came = told::came(pending, data, replayed);
    let (made, refused) = came.lines.unzip();
    let row = json!({
        "key": pending.key, "replayed": replayed, "data": data, "result": came.words,
        "made": made, "refused": refused,
    });
    Ok((row, came))
}
