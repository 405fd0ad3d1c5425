//! `bursar sessions`: who is signed in, and where.

use bursar_shared::{
    id::SessionId,
    operations::auth::{EndMySession, MySessions, RevokeSession, RevokeSessions, Session},
    page::{Condition, FilterValue, Op},
};
use clap::{Args, Subcommand};

use super::users;
use crate::{
    change::{Change, ChangeArgs, Weight},
    context::{Cx, block_on},
    curl,
    error::{Failure, Result},
    list::{self, ListArgs},
    output::{self, Sink},
    several::{self, Tally},
    views,
};

/// Commands on sessions.
#[derive(Debug, Subcommand)]
pub(crate) enum Sessions {
    /// List sessions
    #[command(visible_alias = "ls")]
    List(ListSessions),
    /// End sessions
    Revoke(Revoke),
}

/// Lists sessions.
#[derive(Debug, Args)]
pub(crate) struct ListSessions {
    /// Only those of this person, by id or email
    #[arg(long, value_name = "USER", conflicts_with = "mine")]
    user: Option<String>,
    /// Your own live ones
    #[arg(long)]
    mine: bool,
    #[command(flatten)]
    list: ListArgs,
}

/// Ends sessions.
#[derive(Debug, Args)]
pub(crate) struct Revoke {
    /// Ids; - reads them from stdin
    #[arg(required_unless_present = "user", value_name = "SESSION")]
    sessions: Vec<String>,
    /// All of this person, by id or email
    #[arg(long, value_name = "USER", conflicts_with = "sessions")]
    user: Option<String>,
    /// One of your own
    #[arg(long, conflicts_with = "user")]
    mine: bool,
    #[command(flatten)]
    change: ChangeArgs,
}

/// Runs one of them.
pub(crate) fn run(cx: &Cx, command: Sessions) -> Result<()> {
    block_on(async {
        match command {
            Sessions::List(args) => show(cx, args).await,
            Sessions::Revoke(args) => revoke(cx, args).await,
        }
    })
}

async fn show(cx: &Cx, args: ListSessions) -> Result<()> {
    let client = cx.client()?;
    if args.mine {
        if cx.globals.as_curl {
            return curl::print(cx, &client, &MySessions {}, &Default::default());
        }
        let mine = client.call(&MySessions {}).await?;
        let mut sink = Sink::new(cx.style()?, &views::SESSIONS, true);
        for session in &mine.0 {
            sink.row(&serde_json::to_vec(session)?)?;
        }
        return sink.end();
    }
    let mut list = args.list.list::<Session>()?;
    if let Some(user) = &args.user {
        let id = users::id_of(&client, user).await?;
        let value = FilterValue::Text(id.to_string());
        list.filter.push(Condition { field: "userId", op: Op::Eq, value });
    }
    list::run(cx, &client, &views::SESSIONS, &args.list, list).await
}

async fn revoke(cx: &Cx, args: Revoke) -> Result<()> {
    let client = cx.client()?;
    several::refuse_terminal(&args.sessions)?;
    if let Some(user) = &args.user {
        let user_id = users::id_of(&client, user).await?;
        let what = format!("end all sessions of {user}");
        let change = Change::begin(cx, &client, &args.change, Weight::Light, &what)?;
        return match change.make(&RevokeSessions { user_id }).await? {
            Some(reply) => output::one(cx.style()?, &views::REVOKED, &reply.answer),
            None => Ok(()),
        };
    }
    let one = several::is_one(&args.sessions);
    let change = Change::begin(cx, &client, &args.change, Weight::Light, "end sessions")?;
    let mut tally = Tally::default();
    for text in several::ids(&args.sessions) {
        let text = text?;
        let id: Result<SessionId> = several::bare(&text)
            .parse()
            .map_err(|wrong| Failure::value(format!("{} {wrong}", bursar_shared::text::clean(&text))));
        let result = match id {
            Ok(id) if args.mine => change.make(&EndMySession { id }).await.map(|_| ()),
            Ok(id) => change.make(&RevokeSession { id }).await.map(|_| ()),
            Err(failure) => Err(failure),
        };
        tally.add(cx, one, &text, result)?;
    }
    tally.end()
}
