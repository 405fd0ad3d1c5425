//! `bursar accounts`: accounts, what they hold, and what happened to them.

use bursar_shared::{
    client::{Client, Reply},
    field::Reason,
    money::Currency,
    operations::accounts::{
        Account, AccountRef, Balances, CloseAccount, CreateAccount, Entry, FreezeAccount, GetAccount,
        GetBalance, GetStatement, ListEntries, UnfreezeAccount, UpdateAccount,
    },
    page::{List, Op},
    time::Timestamp,
};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::users;
use crate::{
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

/// Commands on accounts.
#[derive(Debug, Subcommand)]
pub(crate) enum Accounts {
    /// List accounts
    #[command(visible_alias = "ls", mut_arg("filter", list::filter_help::<Account>))]
    List(ListArgs),
    /// Show accounts, by id, number or as world:EUR
    Get(Several),
    /// Open an account
    Create(Box<Create>),
    /// Change an account: a flag a field
    Update(Box<Update>),
    /// Freeze an account: money may come in, nothing goes out
    Freeze(Reasoned),
    /// Let money go out of a frozen account again
    Unfreeze(Reasoned),
    /// Close an account for ever
    Close(Close),
    /// What an account holds, or held at some time
    Balance(Balance),
    /// What happened to an account, with running totals
    Entries(Entries),
    /// An account from one time to another: opening + entries = closing
    Statement(Statement),
}

/// Some accounts.
#[derive(Debug, Args)]
pub(crate) struct Several {
    /// Ids, numbers or system accounts like world:EUR; - reads them from stdin
    #[arg(required = true, value_name = "ACCOUNT")]
    accounts: Vec<String>,
}

/// Opens an account.
#[derive(Debug, Args)]
pub(crate) struct Create {
    /// The name
    #[arg(long, allow_hyphen_values = true)]
    name: Option<String>,
    /// The currency, for ever: EUR
    #[arg(long, value_name = "CODE")]
    currency: Option<String>,
    /// Whose it is: an id or an email
    #[arg(long, value_name = "USER")]
    owner: Option<String>,
    /// How far it may go below nothing: an amount, or none for without end
    #[arg(long, value_name = "AMOUNT", allow_hyphen_values = true)]
    overdraft_limit: Option<String>,
    /// How much it may hold: an amount, or none for without end
    #[arg(long, value_name = "AMOUNT", allow_hyphen_values = true)]
    max_balance: Option<String>,
    /// Your own id of this account
    #[arg(long, value_name = "ID")]
    external_id: Option<String>,
    /// A fact: key=value; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    metadata: Vec<String>,
    /// Read the fields from a JSON file, or from stdin (-); flags win
    #[arg(short, long, value_name = "FILE")]
    file: Option<String>,
    #[command(flatten)]
    change: ChangeArgs,
}

/// Changes an account.
#[derive(Debug, Args)]
pub(crate) struct Update {
    /// An id, a number or a system account
    #[arg(value_name = "ACCOUNT")]
    account: String,
    /// The new name
    #[arg(long, allow_hyphen_values = true)]
    name: Option<String>,
    /// How far it may go below nothing: an amount, or none for without end
    #[arg(long, value_name = "AMOUNT", allow_hyphen_values = true)]
    overdraft_limit: Option<String>,
    /// How much it may hold: an amount, or none for without end
    #[arg(long, value_name = "AMOUNT", allow_hyphen_values = true)]
    max_balance: Option<String>,
    /// Your own id of this account
    #[arg(long, value_name = "ID", conflicts_with = "no_external_id")]
    external_id: Option<String>,
    /// Without an own id
    #[arg(long)]
    no_external_id: bool,
    /// A fact to set: key=value; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    metadata: Vec<String>,
    /// A fact to take out; may be repeated
    #[arg(long, value_name = "KEY")]
    no_metadata: Vec<String>,
    #[command(flatten)]
    change: ChangeArgs,
}

/// Does something to an account, and says why.
#[derive(Debug, Args)]
pub(crate) struct Reasoned {
    /// An id or a number
    #[arg(value_name = "ACCOUNT")]
    account: String,
    /// Why; kept in the log
    #[arg(long, allow_hyphen_values = true)]
    reason: Option<String>,
    #[command(flatten)]
    change: ChangeArgs,
}

/// Closes an account.
#[derive(Debug, Args)]
pub(crate) struct Close {
    #[command(flatten)]
    of: Reasoned,
    /// Where its money goes, or where its debt is paid from
    #[arg(long, value_name = "ACCOUNT")]
    sweep_to: Option<String>,
    /// What it must hold, or nothing is done: 12.34
    #[arg(long, value_name = "AMOUNT", allow_hyphen_values = true)]
    expect: Option<String>,
}

/// What an account held.
#[derive(Debug, Args)]
pub(crate) struct Balance {
    /// An id, a number or a system account
    #[arg(value_name = "ACCOUNT")]
    account: String,
    /// When: a time, a day (its beginning, 00:00 UTC), today, or -7d; now when absent
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    as_of: Option<String>,
}

/// The entries of an account.
#[derive(Debug, Args)]
pub(crate) struct Entries {
    /// An id, a number or a system account
    #[arg(value_name = "ACCOUNT")]
    account: String,
    #[command(flatten)]
    list: ListArgs,
}

/// A statement.
#[derive(Debug, Args)]
pub(crate) struct Statement {
    /// An id, a number or a system account
    #[arg(value_name = "ACCOUNT")]
    account: String,
    /// From this moment on: a time, a day (its beginning, 00:00 UTC), today, or -7d; -30d when absent
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    from: Option<String>,
    /// Until just before this one: as --from, a day is its beginning, 00:00 UTC; now when absent
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    to: Option<String>,
}

/// Runs one of them.
pub(crate) fn run(cx: &Cx, command: Accounts) -> Result<()> {
    let client = cx.client()?;
    block_on(async {
        match command {
            Accounts::List(args) => {
                let list = args.list::<Account>()?;
                list::run(cx, &client, &views::ACCOUNTS, &args, list).await
            }
            Accounts::Get(args) => get(cx, &client, args).await,
            Accounts::Create(args) => create(cx, &client, *args).await,
            Accounts::Update(args) => update(cx, &client, *args).await,
            Accounts::Freeze(args) => {
                let op = FreezeAccount { id: find(&client, &args.account).await?, reason: reason(&args)? };
                let change = Change::begin(cx, &client, &args.change, Weight::Light, "freeze an account")?;
                finish(cx, change.make(&op).await?)
            }
            Accounts::Unfreeze(args) => {
                let op = UnfreezeAccount { id: find(&client, &args.account).await?, reason: reason(&args)? };
                let change = Change::begin(cx, &client, &args.change, Weight::Light, "unfreeze an account")?;
                finish(cx, change.make(&op).await?)
            }
            Accounts::Close(args) => {
                let sweep_to_account_id = match &args.sweep_to {
                    Some(to) => Some(find(&client, to).await?),
                    None => None,
                };
                let id = find(&client, &args.of.account).await?;
                let mut what = format!("close {} for ever", args.of.account);
                let mut expected_balance = None;
                let asks = !cx.globals.yes && !cx.globals.as_curl && !args.of.change.dry_run;
                if args.expect.is_some() || (args.sweep_to.is_some() && asks) {
                    let account = client.call(&GetAccount { id }).await?;
                    let (currency, held) = (account.currency, account.balances.posted);
                    expected_balance = Some(match &args.expect {
                        Some(text) => currency
                            .minor(text)
                            .map_err(|wrong| Failure::value(format!("--expect {wrong}")))?,
                        None => held,
                    });
                    if let Some(to) = &args.sweep_to {
                        let held = currency.decimal(held);
                        what.push_str(&format!(", its {held} {currency} swept to {to}"));
                    }
                }
                let reason = reason(&args.of)?;
                let op = CloseAccount { id, sweep_to_account_id, expected_balance, reason };
                let change = Change::begin(cx, &client, &args.of.change, Weight::Heavy, &what)?;
                finish(cx, change.make(&op).await?)
            }
            Accounts::Balance(args) => {
                let op: GetBalance = change::request(members(&[
                    ("id", Some(find(&client, &args.account).await?.to_string())),
                    ("asOf", args.as_of),
                ]))?;
                if cx.globals.as_curl {
                    return curl::print(cx, &client, &op, &Default::default());
                }
                output::one(cx.style()?, &views::BALANCE, &client.call(&op).await?)
            }
            Accounts::Entries(args) => {
                let id = find(&client, &args.account).await?;
                let list = args.list.list::<Entry>()?;
                let wrap = |list: List<Entry>| ListEntries { id, list };
                list::run_as(cx, &client, &views::ENTRIES, &args.list, list, wrap).await
            }
            Accounts::Statement(args) => statement(cx, &client, args).await,
        }
    })
}

fn members(pairs: &[(&str, Option<String>)]) -> serde_json::Map<String, Value> {
    let given = pairs.iter().filter_map(|(name, value)| Some(((*name).to_owned(), json!(value.as_ref()?))));
    given.collect()
}

fn reason(args: &Reasoned) -> Result<Option<Reason>> {
    let read = |text: &String| text.parse().map_err(|wrong| Failure::value(format!("--reason {wrong}")));
    args.reason.as_ref().map(read).transpose()
}

/// An account by id, by its number, or as `world:EUR`; only numbers are asked for.
pub(super) async fn find(client: &Client, text: &str) -> Result<AccountRef> {
    let bare = several::bare(text);
    if !bare.is_empty() && bare.bytes().all(|byte| byte.is_ascii_digit()) {
        let list = List::<Account>::new().size(1).with("number", Op::Eq, bare).map_err(Failure::usage)?;
        let page = client.call(&list).await?;
        return page.rows.first().map(|account| account.id.into()).ok_or_else(|| {
            Failure::new(3, format!("no account has the number {bare}")).hint("bursar accounts list")
        });
    }
    bare.parse()
        .map_err(|wrong| Failure::value(format!("{} {wrong}, or a number", bursar_shared::text::clean(bare))))
}

async fn get(cx: &Cx, client: &Client, args: Several) -> Result<()> {
    several::refuse_terminal(&args.accounts)?;
    let one = several::is_one(&args.accounts);
    if cx.globals.as_curl && one {
        let op = GetAccount { id: find(client, &args.accounts[0]).await? };
        return curl::print(cx, client, &op, &Default::default());
    }
    let mut sink = Sink::new(cx.style()?, &views::ACCOUNTS, !one);
    let mut tally = Tally::default();
    for id in several::ids(&args.accounts) {
        let id = id?;
        let result = async {
            let op = GetAccount { id: find(client, &id).await? };
            sink.row(&serde_json::to_vec(&client.call(&op).await?)?)
        }
        .await;
        tally.add(cx, one, &id, result)?;
    }
    sink.end()?;
    tally.end()
}

/// A limit as people write it; `none` for without end.
fn limit(text: &str, currency: Currency, flag: &str) -> Result<Value> {
    if text == "none" {
        return Ok(Value::Null);
    }
    let minor = currency.minor(text).map_err(|wrong| Failure::value(format!("{flag} {wrong}, or none")))?;
    if minor < 0 {
        let least = currency.decimal(0);
        return Err(money::wrong(
            flag,
            &format!("must be at least {least} {currency}, or none: limits have no sign"),
        ));
    }
    Ok(json!(minor))
}

async fn create(cx: &Cx, client: &Client, args: Create) -> Result<()> {
    let mut members = change::members_of(args.file.as_deref())?;
    for (name, value) in [("name", args.name), ("externalId", args.external_id)] {
        if let Some(value) = value {
            members.insert(name.to_owned(), json!(value));
        }
    }
    if let Some(text) = &args.currency {
        let currency = money::currency(text).map_err(|why| money::wrong("--currency", &why))?;
        members.insert("currency".to_owned(), json!(currency));
    }
    if let Some(owner) = &args.owner {
        members.insert("ownerId".to_owned(), json!(users::id_of(client, owner).await?));
    }
    let limits = [
        ("overdraftLimit", &args.overdraft_limit, "--overdraft-limit"),
        ("maxBalance", &args.max_balance, "--max-balance"),
    ];
    for (name, text, flag) in limits {
        if let Some(text) = text {
            let currency = members.get("currency").and_then(Value::as_str).unwrap_or_default();
            let currency = money::currency(currency).map_err(|why| money::wrong("--currency", &why))?;
            members.insert(name.to_owned(), limit(text, currency, flag)?);
        }
    }
    if !args.metadata.is_empty() {
        members.insert("metadata".to_owned(), change::pairs(&args.metadata, "--metadata")?.into());
    }
    let op: CreateAccount = change::request(members)?;
    let change = Change::begin(cx, client, &args.change, Weight::Light, "open an account")?;
    let Some(reply) = change.make(&op).await? else { return Ok(()) };
    output::one(cx.style()?, &views::ACCOUNTS, &reply.answer.0)
}

async fn update(cx: &Cx, client: &Client, args: Update) -> Result<()> {
    let id = find(client, &args.account).await?;
    let mut members = serde_json::Map::new();
    for (name, value) in [("name", &args.name), ("externalId", &args.external_id)] {
        if let Some(value) = value {
            members.insert(name.to_owned(), json!(value));
        }
    }
    if args.no_external_id {
        members.insert("externalId".to_owned(), Value::Null);
    }
    let mut metadata = change::pairs(&args.metadata, "--metadata")?;
    metadata.extend(args.no_metadata.into_iter().map(|key| (key, Value::Null)));
    if !metadata.is_empty() {
        members.insert("metadata".to_owned(), Value::Object(metadata));
    }
    if args.overdraft_limit.is_some() || args.max_balance.is_some() {
        // what an amount means depends on the account's currency
        let currency = client.call(&GetAccount { id }).await?.currency;
        let limits = [
            ("overdraftLimit", &args.overdraft_limit, "--overdraft-limit"),
            ("maxBalance", &args.max_balance, "--max-balance"),
        ];
        for (name, text, flag) in limits {
            if let Some(text) = text {
                members.insert(name.to_owned(), limit(text, currency, flag)?);
            }
        }
    }
    if members.is_empty() {
        return Err(Failure::usage("nothing to change: give a flag a field"));
    }
    members.insert("id".to_owned(), json!(id));
    let op: UpdateAccount = change::request(members)?;
    let change = Change::begin(cx, client, &args.change, Weight::Light, "change an account")?;
    finish(cx, change.make(&op).await?)
}

fn finish(cx: &Cx, reply: Option<Reply<Account>>) -> Result<()> {
    match reply {
        Some(reply) => output::one(cx.style()?, &views::ACCOUNTS, &reply.answer),
        None => Ok(()),
    }
}

/// A statement that would end before it begins, in the words of the flags that were given: the others say
/// something too.
fn backwards(mut failure: Failure, given: (bool, bool)) -> Failure {
    let wrong = failure.details["violations"][0].clone();
    if wrong["pointer"] == "?to" && wrong["rule"] == "range" {
        failure.message = match given {
            (true, false) => "--from must not be after now: that is what --to is when it is not given",
            (false, true) => {
                "--to must not be earlier than 30 days ago: that is what --from is when it is not given"
            }
            _ => "--to must not be before --from",
        }
        .to_owned();
        failure.hint =
            Some("a day means its beginning, 00:00 UTC: bursar accounts statement --help".to_owned());
    }
    failure
}

/// An account from one time to another. In tables, TSV and CSV what it held before and afterwards are lines
/// as any other; JSON has the shape of the wire.
async fn statement(cx: &Cx, client: &Client, args: Statement) -> Result<()> {
    let given = (args.from.is_some(), args.to.is_some());
    let op: GetStatement = change::request(members(&[
        ("id", Some(find(client, &args.account).await?.to_string())),
        ("from", args.from.or_else(|| Some("-30d".to_owned()))),
        ("to", Some(args.to.clone().unwrap_or_else(|| "-0s".to_owned()))),
    ]))?;
    if cx.globals.as_curl {
        return curl::print(cx, client, &op, &Default::default());
    }
    let statement = client.call(&op).await.map_err(|why| backwards(why.into(), given))?;
    let style = cx.style()?;
    let second = |time: Timestamp| output::cells::table(&json!(time));
    match given {
        (true, _) => {}
        (false, true) => cx.say(&format!(
            "from {}, 30 days before now, until {}; --from says otherwise",
            second(statement.from),
            second(statement.to)
        )),
        (false, false) => {
            cx.say(&format!("from {} until now: 30 days; --from says otherwise", second(statement.from)));
        }
    }
    if style.is_json() {
        return output::one(style, &views::ANYTHING, &statement);
    }
    let total = |kind: &str, at: Timestamp, balances: &Balances| {
        serde_json::to_vec(&json!({
            "accountId": statement.account_id, "seq": null, "transferId": null, "kind": kind, "side": null,
            "counterpartyId": null, "reason": null, "description": null,
            "amount": null, "change": null, "posted": balances.posted, "pendingOut": balances.pending_out,
            "pendingIn": balances.pending_in, "currency": statement.currency, "createdAt": at,
        }))
    };
    // what it held is no entry, and has no name
    let named = style.jq.is_none() && style.format() == output::Format::Name;
    let mut sink = Sink::new(style, &views::ENTRIES, true);
    if !named {
        sink.row(&total("opening", statement.from, &statement.opening)?)?;
    }
    for entry in &statement.entries {
        sink.row(&serde_json::to_vec(entry)?)?;
    }
    if !named {
        sink.row(&total("closing", statement.to, &statement.closing)?)?;
    }
    sink.end()
}
