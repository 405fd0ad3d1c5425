//! `bursar stats`, `bursar version` and `bursar completions`.

use bursar_shared::operations::system::{GetStats, GetVersion};
use clap::Args;
use clap_complete::Shell;
use serde_json::json;

use crate::{
    args,
    context::{Cx, block_on},
    curl,
    error::Result,
    output, views,
};

/// Figures for a first look.
#[derive(Debug, Args)]
pub(crate) struct Stats {}

/// Versions.
#[derive(Debug, Args)]
pub(crate) struct Versions {
    /// Only this program's
    #[arg(long)]
    client: bool,
}

/// Completions for a shell.
#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Shows figures.
pub(crate) fn stats(cx: &Cx, _: Stats) -> Result<()> {
    let client = cx.client()?;
    if cx.globals.as_curl {
        return curl::print(cx, &client, &GetStats {}, &Default::default());
    }
    let stats = block_on(async { Ok(client.call(&GetStats {}).await?) })?;
    output::one(cx.style()?, &views::STATS, &stats)
}

/// Shows versions; a daemon that does not answer is no failure.
pub(crate) fn version(cx: &Cx, args: Versions) -> Result<()> {
    let mut versions = json!({ "client": env!("CARGO_PKG_VERSION"), "daemon": null, "server": null });
    if !args.client {
        let client = cx.client()?;
        versions["server"] = json!(client.server());
        match block_on(async { Ok(client.call(&GetVersion {}).await?) }) {
            Ok(answer) => versions["daemon"] = json!(answer.version),
            Err(failure) => {
                cx.say(&format!("the daemon does not say: {}", bursar_shared::text::clean(&failure.message)))
            }
        }
    }
    output::one(cx.style()?, &views::VERSIONS, &versions)
}

/// Prints a completion script; touches nothing.
pub(crate) fn completions(_: &Cx, args: Completions) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut args::command(), "bursar", &mut script);
    output::bytes(&script)
}
