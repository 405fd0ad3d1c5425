//! `bursar transfers`: money that moves, or is held.

use bursar_shared::{
    client::{Client, Reply},
    id::TransferId,
    money::Currency,
    operation::Created,
    operations::transfers::{
        CaptureTransfer, CreateTransfer, GetTransfer, ReverseTransfer, Transfer, VoidTransfer,
    },
};
use clap::{Args, Subcommand};
use serde_json::json;

use super::accounts;
use crate::{
    change::{self, Change, ChangeArgs, Weight},
    context::{Cx, block_on},
    curl,
    error::{Failure, Result},
    list::{self, ListArgs},
    output::{self, Sink},
    several::{self, Tally},
    views,
};

/// Commands on transfers.
#[derive(Debug, Subcommand)]
pub(crate) enum Transfers {
    /// List transfers
    #[command(visible_alias = "ls")]
    List(ListArgs),
    /// Show transfers
    Get(Several),
    /// Move money, or hold it
    Create(Box<Create>),
    /// Move money that was held; the rest is let go
    Capture(Part),
    /// Let go of money that was held
    Void(Void),
    /// Move the money of a transfer back
    Reverse(Reverse),
}

/// Some transfers.
#[derive(Debug, Args)]
pub(crate) struct Several {
    /// Ids; - reads them from stdin
    #[arg(required = true, value_name = "TRANSFER")]
    transfers: Vec<String>,
}

/// Moves money.
#[derive(Debug, Args)]
pub(crate) struct Create {
    /// Whose money goes: an id, a number, or world:EUR
    #[arg(long, value_name = "ACCOUNT")]
    from: Option<String>,
    /// Whose money comes
    #[arg(long, value_name = "ACCOUNT")]
    to: Option<String>,
    /// How much, as people write it: 12.34
    #[arg(long)]
    amount: Option<String>,
    /// Of what: EUR
    #[arg(long, value_name = "CODE")]
    currency: Option<String>,
    /// Hold it instead of moving it
    #[arg(long)]
    hold: bool,
    /// For holds: let go after so many seconds
    #[arg(long, value_name = "SECONDS", requires = "hold")]
    expires_in: Option<i64>,
    /// Why
    #[arg(long)]
    reason: Option<String>,
    /// What for
    #[arg(long)]
    description: Option<String>,
    /// Your own id of this transfer
    #[arg(long, value_name = "ID")]
    external_id: Option<String>,
    /// A fact: key=value; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    metadata: Vec<String>,
    /// Read the fields from a JSON file, or from stdin (-), amounts in minor units; flags win
    #[arg(short, long, value_name = "FILE")]
    file: Option<String>,
    #[command(flatten)]
    change: ChangeArgs,
}

/// A transfer, and how much of it.
#[derive(Debug, Args)]
pub(crate) struct Part {
    /// Its id
    #[arg(value_name = "TRANSFER")]
    transfer: String,
    /// How much of it, as people write it; all when absent
    #[arg(long)]
    amount: Option<String>,
    #[command(flatten)]
    change: ChangeArgs,
}

/// Lets go of money.
#[derive(Debug, Args)]
pub(crate) struct Void {
    /// The hold
    #[arg(value_name = "TRANSFER")]
    transfer: String,
    /// Why
    #[arg(long)]
    reason: Option<String>,
    #[command(flatten)]
    change: ChangeArgs,
}

/// Moves money back.
#[derive(Debug, Args)]
pub(crate) struct Reverse {
    #[command(flatten)]
    part: Part,
    /// Why
    #[arg(long)]
    reason: String,
}

/// Runs one of them.
pub(crate) fn run(cx: &Cx, command: Transfers) -> Result<()> {
    let client = cx.client()?;
    block_on(async {
        match command {
            Transfers::List(args) => {
                let list = args.list::<Transfer>()?;
                list::run(cx, &client, &views::TRANSFERS, &args, list).await
            }
            Transfers::Get(args) => get(cx, &client, args).await,
            Transfers::Create(args) => create(cx, &client, *args).await,
            Transfers::Capture(args) => {
                let id = id(&args.transfer)?;
                let amount = minor(&client, id, args.amount.as_deref()).await?;
                let members = json!({ "id": id, "amount": amount });
                let op: CaptureTransfer = change::request(object(members))?;
                let change = Change::begin(cx, &client, &args.change, Weight::Light, "capture a hold")?;
                finish(cx, change.make(&op).await?)
            }
            Transfers::Void(args) => {
                let members = json!({ "id": id(&args.transfer)?, "reason": args.reason });
                let op: VoidTransfer = change::request(object(members))?;
                let change = Change::begin(cx, &client, &args.change, Weight::Light, "let go of a hold")?;
                finish(cx, change.make(&op).await?)
            }
            Transfers::Reverse(Reverse { part, reason }) => {
                let id = id(&part.transfer)?;
                let amount = minor(&client, id, part.amount.as_deref()).await?;
                let members = json!({ "id": id, "amount": amount, "reason": reason });
                let op: ReverseTransfer = change::request(object(members))?;
                let change = Change::begin(cx, &client, &part.change, Weight::Light, "reverse a transfer")?;
                finish(cx, change.make(&op).await?)
            }
        }
    })
}

fn object(value: serde_json::Value) -> serde_json::Map<String, serde_json::Value> {
    value.as_object().cloned().unwrap_or_default()
}

fn id(text: &str) -> Result<TransferId> {
    let bare = several::bare(text);
    bare.parse().map_err(|wrong| Failure::usage(format!("{} {wrong}", bursar_shared::text::clean(bare))))
}

/// A part of a transfer in minor units: what the text means depends on the transfer's currency.
async fn minor(client: &Client, id: TransferId, text: Option<&str>) -> Result<Option<i64>> {
    let Some(text) = text else { return Ok(None) };
    let currency = client.call(&GetTransfer { id }).await?.currency;
    currency.minor(text).map(Some).map_err(|wrong| Failure::usage(format!("--amount {wrong}")))
}

async fn get(cx: &Cx, client: &Client, args: Several) -> Result<()> {
    several::refuse_terminal(&args.transfers)?;
    let one = several::is_one(&args.transfers);
    if cx.globals.as_curl && one {
        return curl::print(client, &GetTransfer { id: id(&args.transfers[0])? }, &Default::default());
    }
    let mut sink = Sink::new(cx.style()?, &views::TRANSFERS, !one);
    let mut tally = Tally::default();
    for text in several::ids(&args.transfers) {
        let text = text?;
        let result = async {
            let transfer = client.call(&GetTransfer { id: id(&text)? }).await?;
            sink.row(&serde_json::to_vec(&transfer)?)
        }
        .await;
        tally.add(cx, one, &text, result)?;
    }
    sink.end()?;
    tally.end()
}

async fn create(cx: &Cx, client: &Client, args: Create) -> Result<()> {
    let mut members = change::members_of(args.file.as_deref())?;
    for (name, text) in [("fromAccountId", &args.from), ("toAccountId", &args.to)] {
        if let Some(text) = text {
            members.insert(name.to_owned(), json!(accounts::find(client, text).await?));
        }
    }
    for (name, text) in [
        ("currency", &args.currency),
        ("reason", &args.reason),
        ("description", &args.description),
        ("externalId", &args.external_id),
    ] {
        if let Some(text) = text {
            members.insert(name.to_owned(), json!(text));
        }
    }
    if let Some(text) = &args.amount {
        let code = members.get("currency").and_then(|code| code.as_str()).unwrap_or_default();
        let currency: Currency =
            code.parse().map_err(|wrong| Failure::usage(format!("--currency {wrong}")))?;
        let minor = currency.minor(text).map_err(|wrong| Failure::usage(format!("--amount {wrong}")))?;
        members.insert("amount".to_owned(), json!(minor));
    }
    if args.hold {
        members.insert("mode".to_owned(), json!("hold"));
    }
    if let Some(seconds) = args.expires_in {
        members.insert("expiresInSeconds".to_owned(), json!(seconds));
    }
    if !args.metadata.is_empty() {
        members.insert("metadata".to_owned(), change::pairs(&args.metadata, "--metadata")?.into());
    }
    let op: CreateTransfer = change::request(members)?;
    let what = format!("move {} {}", op.currency.decimal(op.amount.minor()), op.currency);
    let change = Change::begin(cx, client, &args.change, Weight::Light, &what)?;
    finish(cx, change.make(&op).await?)
}

/// Shows what was made; people also see what both accounts hold afterwards.
fn finish(cx: &Cx, reply: Option<Reply<Created<Transfer>>>) -> Result<()> {
    let Some(reply) = reply else { return Ok(()) };
    let mut transfer = reply.answer.0;
    if cx.style()?.for_people() {
        // said in decimals, instead of a member full of minor units
        for account in transfer.accounts.take().into_iter().flatten() {
            let posted = transfer.currency.decimal(account.balances.posted);
            cx.say(&format!("{} holds {posted} {} then", account.id, transfer.currency));
        }
    }
    output::one(cx.style()?, &views::TRANSFERS, &transfer)
}
