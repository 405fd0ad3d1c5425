//! `bursar pending`: changes whose answer was lost. The same key finishes them, at most once.

use std::time::Duration;

use bursar_shared::{
    client::{How, session},
    operations::ALL,
};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

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
    let path = pending.target.split('?').next().unwrap_or_default();
    let fits = |pattern: &str| {
        pattern.split('/').count() == path.split('/').count()
            && pattern
                .split('/')
                .zip(path.split('/'))
                .all(|(part, given)| part.starts_with('{') || part == given)
    };
    let moves = ALL.iter().any(|row| row.keyed && row.method.as_str() == pending.method && fits(row.path));
    if moves { KEPT_MONEY } else { KEPT }
}

/// Commands on changes without a verdict.
#[derive(Debug, Subcommand)]
pub(crate) enum PendingCommands {
    /// List them, the oldest first
    #[command(visible_alias = "ls")]
    List,
    /// Show one
    Show(One),
    /// Send them again with their keys: done at most once, answered for sure
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

/// What may be shown of it: the body may hold a password.
fn shown(pending: &Pending) -> Value {
    json!({
        "key": pending.key, "at": pending.at, "method": pending.method, "target": pending.target,
        "who": pending.who, "server": pending.server, "context": pending.context,
        "ifMatch": pending.if_match,
    })
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
                sink.row(&serde_json::to_vec(&shown(&pending))?)?;
            }
            sink.end()
        }
        PendingCommands::Show(args) => {
            output::one(cx.style()?, &views::PENDING, &shown(&journal.find(&args.key)?))
        }
        PendingCommands::Resume(args) => {
            let chosen = chosen(&args.keys)?;
            say_if_none(cx, &chosen);
            let mut sink = Sink::new(cx.style()?, &views::RESUMED, true);
            let mut failed = None;
            for pending in &chosen {
                match block_on(resume(cx, &journal, pending)) {
                    Ok(data) => match sink.row(&serde_json::to_vec(&data)?) {
                        Err(failure) if failure.is_end_of_output() => {}
                        written => written?,
                    },
                    Err(failure) => {
                        cx.say(&format!("{}: {}", pending.key, bursar_shared::text::clean(&failure.message)));
                        failed = Some(failure);
                    }
                }
            }
            sink.end()?;
            failed.map_or(Ok(()), Err)
        }
        PendingCommands::Drop(args) => {
            let chosen = chosen(&args.keys)?;
            crate::prompt::confirm(cx, &format!("Really forget {} changes?", chosen.len()))?;
            for pending in &chosen {
                journal.remove(&pending.key)?;
            }
            cx.say(&format!("{} forgotten", chosen.len()));
            Ok(())
        }
    }
}

fn say_if_none(cx: &Cx, pending: &[Pending]) {
    if pending.is_empty() {
        cx.say("nothing is pending: every change was answered");
    }
}

async fn resume(cx: &Cx, journal: &Journal, pending: &Pending) -> Result<Value> {
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
    // what it was answered is forgotten by then, and the same again would be a second time
    if session::local_now().since(pending.at) > kept(pending) && !cx.globals.yes {
        return Err(Failure::new(6, "the daemon has forgotten this key: sending it again could do it twice")
            .hint("look whether it was done; then bursar pending drop, or resume --yes"));
    }
    let how = How { key: Some(pending.key.clone()), if_match: pending.if_match, dry_run: false, once: false };
    let body = pending.body.clone().map(String::into_bytes);
    let sent = client.send_raw(&pending.method, &pending.target, body, &[], &how).await;
    if !sent.as_ref().is_err_and(|why| why.leaves_open(true)) {
        journal.remove(&pending.key)?;
    }
    let answer: Value = serde_json::from_slice(&sent?.body)?;
    Ok(json!({
        "key": pending.key,
        "replayed": answer["meta"]["replayed"] == true,
        "data": answer["data"],
    }))
}
