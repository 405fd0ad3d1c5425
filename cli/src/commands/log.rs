//! `bursar events` and `bursar audit`: the one log, as changes and as everything.

use bursar_shared::{
    client::{Client, Followed},
    field::Position,
    operations::log::{AuditEntry, Event, GetAuditEntry, StreamEvents, VerifyAudit},
    page::{List, Op},
};
use clap::{Args, Subcommand};
use futures_util::StreamExt as _;

use crate::{
    context::{Cx, block_on},
    curl,
    error::{Failure, Result},
    list::{self, ListArgs},
    output::{self, Sink},
    several, views, watch,
};

/// Commands on events.
#[derive(Debug, Subcommand)]
pub(crate) enum Events {
    /// List changes, the newest first
    #[command(visible_alias = "ls")]
    List(ListLog),
    /// Print changes as they happen, until ^C; a daemon that restarts costs no row
    #[command(visible_alias = "follow")]
    Tail(Tail),
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

/// Prints rows as they come.
#[derive(Debug, Args)]
pub(crate) struct Tail {
    /// Only these rows: type:^user. resourceId:usr_... (bursar help filters)
    #[arg(long, value_name = "FILTER")]
    filter: Option<String>,
    /// Begin after this sequence number
    #[arg(long, value_name = "SEQ", conflicts_with = "last")]
    after: Option<i64>,
    /// Begin with so many of the latest rows
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    last: Option<u32>,
    /// Stop after so many rows
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
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
    let client = cx.client()?;
    block_on(async {
        match command {
            Events::List(args) => {
                let mut list = args.list.list::<Event>()?;
                list.after = args.after;
                list::run(cx, &client, &views::EVENTS, &args.list, list).await
            }
            Events::Tail(args) => tail(cx, &client, &args).await,
        }
    })
}

/// Rows as they come, each written out at once.
async fn tail(cx: &Cx, client: &Client, args: &Tail) -> Result<()> {
    let mut list = ListArgs::filtered(args.filter.as_deref()).list::<Event>()?;
    if list.q.is_some() || list.filter.iter().any(|one| one.field == "timestamp" || one.op == Op::IsNull) {
        return Err(Failure::usage("a tail can be narrowed by type, resourceId, actorId and requestId")
            .hint("bursar events list --filter, for times"));
    }
    let mut op = StreamEvents { after: args.after, filter: list.filter.clone() };
    if cx.globals.as_curl {
        return curl::print(cx, client, &op, &Default::default());
    }
    let mut sink = Sink::new(cx.style()?, &views::EVENTS, true);
    let most = args.limit.unwrap_or(u64::MAX);
    if let Some(last) = args.last {
        list.page_size = Some(last);
        // asked first: when none of the rows so far fits, one that does may come meanwhile
        let head = watch::head(client).await?;
        let page = client.call(&at_end(list)).await?;
        // what comes after the newest of them comes with the stream
        op.after = Some(page.rows.first().map_or(head, |event| event.seq));
        for event in page.rows.iter().rev() {
            if sink.rows() < most {
                sink.row(&serde_json::to_vec(event)?)?;
            }
        }
        sink.page_end()?;
    }
    let mut followed = std::pin::pin!(client.follow(op));
    let mut unread = std::pin::pin!(output::unread());
    let mut away = false;
    while sink.rows() < most {
        let next = tokio::select! {
            biased;
            () = &mut unread => return Ok(()),
            next = followed.next() => next,
        };
        let Some(followed) = next else { break };
        match followed {
            Followed::Row(event) => {
                sink.row(&serde_json::to_vec(&*event)?)?;
                sink.page_end()?;
            }
            Followed::Live { seq } if std::mem::take(&mut away) => {
                cx.say(&format!("bursar: connected again, going on after {seq}"));
            }
            Followed::Lost { why, .. } if !std::mem::replace(&mut away, true) => watch::lost(cx, why),
            Followed::Ended(why) => return Err(why.into()),
            Followed::Live { .. } | Followed::Beat { .. } | Followed::Lost { .. } => {}
        }
    }
    sink.end()
}

/// The list from its newest row on.
fn at_end(mut list: List<Event>) -> List<Event> {
    list.position = Some(Position::Start);
    list
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
                let id = id.map_err(|wrong| Failure::value(format!("{} {wrong}", args.id)))?;
                if cx.globals.as_curl {
                    return curl::print(cx, &client, &GetAuditEntry { id }, &Default::default());
                }
                output::one(cx.style()?, &views::AUDIT, &client.call(&GetAuditEntry { id }).await?)
            }
            Audit::Verify => {
                if cx.globals.as_curl {
                    return curl::print(cx, &client, &VerifyAudit {}, &Default::default());
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
