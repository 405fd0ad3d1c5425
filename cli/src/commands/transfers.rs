//! `bursar transfers`: money that moves, or is held.

mod check;
mod lines;
mod many;
mod twice;

use bursar_shared::{
    client::{Client, Reply},
    id::TransferId,
    money::Currency,
    operation::Created,
    operations::{
        accounts::{AccountRef, GetAccount},
        transfers::{CaptureTransfer, CreateTransfer, GetTransfer, ReverseTransfer, Transfer, VoidTransfer},
    },
};
use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::accounts;
use crate::{
    bulk::source::{Input, Source},
    change::{self, Change, ChangeArgs, Weight},
    context::{Cx, block_on},
    curl,
    error::{Failure, Result},
    list::{self, ListArgs},
    money,
    output::{self, Sink},
    several::{self, Tally},
    views,
};

/// Commands on transfers.
#[derive(Debug, Subcommand)]
pub(crate) enum Transfers {
    /// List transfers
    #[command(visible_alias = "ls", mut_arg("filter", list::filter_help::<Transfer>))]
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
    #[arg(long, allow_hyphen_values = true)]
    amount: Option<String>,
    /// Of what: EUR; what the accounts hold when absent
    #[arg(long, value_name = "CODE")]
    currency: Option<String>,
    /// Hold it instead of moving it
    #[arg(long)]
    hold: bool,
    /// For holds: let go after this time: 90s, 30m, 1h, 7d
    #[arg(long, value_name = "TIME", requires = "hold", allow_hyphen_values = true)]
    expires_in: Option<String>,
    /// Why
    #[arg(long, allow_hyphen_values = true)]
    reason: Option<String>,
    /// What for
    #[arg(long, allow_hyphen_values = true)]
    description: Option<String>,
    /// Your own id of this transfer
    #[arg(long, value_name = "ID")]
    external_id: Option<String>,
    /// A fact: key=value; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    metadata: Vec<String>,
    /// Many at once from a .csv, .tsv or .jsonl file whose columns are called as these flags, each line made
    /// once (bursar help bulk); or one from a JSON file as the API has it; - reads stdin
    #[arg(short, long, value_name = "FILE")]
    file: Option<String>,
    /// With a file: all its lines or none
    #[arg(long, requires = "file")]
    atomic: bool,
    /// With a file: where refused lines go [default: FILE.rejects.csv]
    #[arg(long, value_name = "FILE", requires = "file")]
    rejects: Option<String>,
    /// With a file: a name for this run, to send the same lines once more
    #[arg(long, value_name = "NAME", requires = "file")]
    run: Option<String>,
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
    #[arg(long, allow_hyphen_values = true)]
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
    #[arg(long, allow_hyphen_values = true)]
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
    #[arg(long, allow_hyphen_values = true)]
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

fn object(value: Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap_or_default()
}

fn id(text: &str) -> Result<TransferId> {
    let bare = several::bare(text);
    bare.parse().map_err(|wrong| Failure::value(format!("{} {wrong}", bursar_shared::text::clean(bare))))
}

/// A part of a transfer in minor units: what the text means depends on the transfer's currency.
async fn minor(client: &Client, id: TransferId, text: Option<&str>) -> Result<Option<i64>> {
    let Some(text) = text else { return Ok(None) };
    let currency = client.call(&GetTransfer { id }).await?.currency;
    let amount = money::amount(text, currency).map_err(|why| money::wrong("--amount", &why))?;
    Ok(Some(amount.minor()))
}

async fn get(cx: &Cx, client: &Client, args: Several) -> Result<()> {
    several::refuse_terminal(&args.transfers)?;
    let one = several::is_one(&args.transfers);
    if cx.globals.as_curl && one {
        return curl::print(cx, client, &GetTransfer { id: id(&args.transfers[0])? }, &Default::default());
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
    let mut members = match &args.file {
        None => Map::new(),
        Some(file) => match Source::open(file, &cx.paths()?.runs())? {
            Input::Records(source) => return many::create(cx, client, &args, &source).await,
            Input::One(members) => members,
        },
    };
    if args.atomic || args.rejects.is_some() || args.run.is_some() {
        return Err(Failure::usage("--atomic, --rejects and --run are for files of many transfers")
            .hint("such a file ends in .csv, .tsv or .jsonl (bursar help bulk)"));
    }
    for (name, text) in [("fromAccountId", &args.from), ("toAccountId", &args.to)] {
        if let Some(text) = text {
            members.insert(name.to_owned(), json!(accounts::find(client, text).await?));
        }
    }
    for (name, text) in
        [("reason", &args.reason), ("description", &args.description), ("externalId", &args.external_id)]
    {
        if let Some(text) = text {
            members.insert(name.to_owned(), json!(text));
        }
    }
    if let Some(text) = &args.currency {
        let currency = money::currency(text).map_err(|why| money::wrong("--currency", &why))?;
        members.insert("currency".to_owned(), json!(currency));
    }
    if !members.contains_key("currency")
        && let Some(currency) = currency_of(client, &members).await?
    {
        members.insert("currency".to_owned(), json!(currency));
    }
    if let Some(text) = &args.amount {
        let code = members.get("currency").and_then(Value::as_str).unwrap_or_default();
        let currency = money::currency(code).map_err(|why| money::wrong("--currency", &why))?;
        let amount = money::amount(text, currency).map_err(|why| money::wrong("--amount", &why))?;
        members.insert("amount".to_owned(), json!(amount));
    }
    if args.hold {
        members.insert("mode".to_owned(), json!("hold"));
    }
    if let Some(text) = &args.expires_in {
        let seconds = money::seconds(text).map_err(|why| money::wrong("--expires-in", &why))?;
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

/// The currency of the accounts that a request names: nothing else moves between them.
async fn currency_of(client: &Client, members: &Map<String, Value>) -> Result<Option<Currency>> {
    let named = |name: &str| members.get(name).and_then(Value::as_str).and_then(|text| text.parse().ok());
    let ends: Vec<AccountRef> = ["fromAccountId", "toAccountId"].into_iter().filter_map(named).collect();
    let system = ends.iter().find_map(|end| match end {
        AccountRef::System(_, currency) => Some(*currency),
        AccountRef::Id(_) => None,
    });
    match (system, ends.first()) {
        (Some(currency), _) => Ok(Some(currency)),
        (None, Some(id)) => Ok(Some(client.call(&GetAccount { id: *id }).await?.currency)),
        (None, None) => Ok(None),
    }
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
