//! `bursar context`: daemons one knows, and what may be done to them.

use std::path::PathBuf;

use bursar_shared::client::{
    check_address,
    profile::{Context, Paths, Profile, Protect, is_context_name},
    session::Store,
};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::{
    context::{Cx, block_on},
    error::{Failure, Result},
    output::{self, Sink},
    prompt, views,
};

/// Commands on contexts.
#[derive(Debug, Subcommand)]
pub(crate) enum Contexts {
    /// List contexts
    #[command(visible_alias = "ls")]
    List,
    /// Show a context; the current one when none is named
    Show(Show),
    /// Create a context, or change one
    Create(Create),
    /// Use a context from now on
    Use(Named),
    /// Delete a context and its tokens
    Delete(Named),
}

/// Shows a context.
#[derive(Debug, Args)]
pub(crate) struct Show {
    /// Its name
    name: Option<String>,
}

/// A context by name.
#[derive(Debug, Args)]
pub(crate) struct Named {
    /// Its name
    name: String,
}

/// Creates a context; `--server` says where.
#[derive(Debug, Args)]
pub(crate) struct Create {
    /// Its name
    name: String,
    /// Who you are there
    #[arg(long)]
    email: Option<String>,
    /// What may be done there: none (anything), confirm (asks first), readonly (no changes)
    #[arg(long, value_name = "HOW")]
    protect: Option<Protect>,
}

fn row(paths: &Paths, profile: &Profile, name: &str, context: &Context) -> Result<Value> {
    let credentials = Store::file(paths.credentials(name)).credentials()?;
    let live =
        credentials.filter(|credentials| credentials.server == context.server && credentials.is_live());
    Ok(json!({
        "name": name,
        "current": profile.current.as_deref() == Some(name),
        "server": context.server,
        "email": live.map(|credentials| credentials.email).or_else(|| context.email.clone()),
        "protect": context.protect.as_str(),
        "signedIn": Store::file(paths.credentials(name)).credentials()?.is_some_and(|c| c.server == context.server && c.is_live()),
    }))
}

/// Runs one of them.
pub(crate) fn run(cx: &Cx, command: Contexts) -> Result<()> {
    let paths = cx.paths()?;
    let mut profile = cx.profile()?;
    match command {
        Contexts::List => {
            let mut sink = Sink::new(cx.style()?, &views::CONTEXTS, true);
            for (name, context) in &profile.contexts {
                sink.row(&serde_json::to_vec(&row(&paths, &profile, name, context)?)?)?;
            }
            sink.end()
        }
        Contexts::Show(args) => {
            let name = args.name.or_else(|| cx.globals.context.clone()).or_else(|| profile.current.clone());
            let name = name.ok_or_else(|| {
                Failure::new(3, "no context is in use").hint("bursar auth login --server URL")
            })?;
            let context = profile.context(&name)?;
            output::one(cx.style()?, &views::CONTEXTS, &row(&paths, &profile, &name, context)?)
        }
        Contexts::Create(args) => {
            create(cx, &mut profile, args)?;
            profile.save(&paths)?;
            Ok(())
        }
        Contexts::Use(args) => {
            profile.context(&args.name)?;
            profile.current = Some(args.name);
            profile.save(&paths)?;
            Ok(())
        }
        Contexts::Delete(args) => {
            profile.context(&args.name)?;
            prompt::confirm(cx, &format!("Really delete the context {} and its tokens?", args.name))?;
            block_on(async { Ok(Store::file(paths.credentials(&args.name)).forget().await?) })?;
            profile.contexts.remove(&args.name);
            if profile.current.as_ref() == Some(&args.name) {
                profile.current = None;
            }
            profile.save(&paths)?;
            Ok(())
        }
    }
}

fn create(cx: &Cx, profile: &mut Profile, args: Create) -> Result<()> {
    if !is_context_name(&args.name) {
        return Err(Failure::usage(format!("{} cannot be a name: letters, digits, - _ .", args.name)));
    }
    let before = profile.contexts.get(&args.name);
    let server = match (&cx.globals.server, before) {
        (Some(server), _) => check_address(server, cx.globals.insecure_http)?,
        (None, Some(before)) => before.server.clone(),
        (None, None) => return Err(Failure::usage("--server is needed: where is the daemon?")),
    };
    if let Some(path) = &cx.globals.ca_cert
        && !path.exists()
    {
        return Err(Failure::usage(format!("{} does not exist", path.display())));
    }
    let context = Context {
        server,
        email: args.email.or_else(|| before.and_then(|before| before.email.clone())),
        protect: args.protect.unwrap_or_else(|| before.map(|before| before.protect).unwrap_or_default()),
        ca_cert: cx
            .globals
            .ca_cert
            .as_deref()
            .map(|path| std::path::absolute(path).unwrap_or_else(|_| PathBuf::from(path)))
            .or_else(|| before.and_then(|before| before.ca_cert.clone())),
    };
    profile.contexts.insert(args.name.clone(), context);
    if profile.current.is_none() {
        profile.current = Some(args.name);
    }
    Ok(())
}
