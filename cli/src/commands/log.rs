//! `bursar events` and `bursar audit`: the one log, as changes and as everything.

use bursar_shared::operations::log::{AuditEntry, Event, GetAuditEntry, VerifyAudit};
use clap::{Args, Subcommand};

use crate::{
    context::{Cx, block_on},
    curl,
    error::{Failure, Result},
    list::{self, ListArgs},
    output, several, views,
};

/// Commands on events.
#[derive(Debug, Subcommand)]
pub(crate) enum Events {
    /// List changes, the newest first
    #[command(visible_alias = "ls")]
    List(ListLog),
}

/// Commands on the audit log.
#[derive(Debug, Subcommand)]
pub(crate) enum Audit {
    /// List everything that was done or tried, the newest first
    #[command(visible_alias = "ls")]
    List(ListLog),
    /// Show one row
    Get(Get),
    /// Recompute the chain of hashes; exit code 15 when it is broken
    Verify,
}

/// Lists rows of the log.
#[derive(Debug, Args)]
pub(crate) struct ListLog {
    /// Only rows after this sequence number, the oldest first
    #[arg(long, value_name = "SEQ")]
    after: Option<i64>,
    #[command(flatten)]
    list: ListArgs,
}

/// Shows one row.
#[derive(Debug, Args)]
pub(crate) struct Get {
    /// Its id
    #[arg(value_name = "ID")]
    id: String,
}

/// Runs a command on events.
pub(crate) fn events(cx: &Cx, command: Events) -> Result<()> {
    let Events::List(args) = command;
    let client = cx.client()?;
    block_on(async {
        let mut list = args.list.list::<Event>()?;
        list.after = args.after;
        list::run(cx, &client, &views::EVENTS, &args.list, list).await
    })
}

/// Runs a command on the audit log.
pub(crate) fn audit(cx: &Cx, command: Audit) -> Result<()> {
    let client = cx.client()?;
    block_on(async {
        match command {
            Audit::List(args) => {
                let mut list = args.list.list::<AuditEntry>()?;
                list.after = args.after;
                list::run(cx, &client, &views::AUDIT, &args.list, list).await
            }
            Audit::Get(args) => {
                let id = several::bare(&args.id).parse();
                let id = id.map_err(|wrong| Failure::usage(format!("{} {wrong}", args.id)))?;
                if cx.globals.as_curl {
                    return curl::print(&client, &GetAuditEntry { id }, &Default::default());
                }
                output::one(cx.style()?, &views::AUDIT, &client.call(&GetAuditEntry { id }).await?)
            }
            Audit::Verify => {
                if cx.globals.as_curl {
                    return curl::print(&client, &VerifyAudit {}, &Default::default());
                }
                let report = client.call(&VerifyAudit {}).await?;
                output::one(cx.style()?, &views::AUDIT_REPORT, &report)?;
                match report.first_broken_seq {
                    _ if report.ok => Ok(()),
                    broken => {
                        let place = broken.map(|seq| format!(" at seq {seq}")).unwrap_or_default();
                        Err(Failure::new(15, format!("the log was changed behind the daemon's back{place}"))
                            .hint("bursar audit list --after, just before that row"))
                    }
                }
            }
        }
    })
}
