//! `bursar users`: people and services.

use bursar_shared::{
    client::{Client, Reply},
    field::Email,
    id::UserId,
    operation::Operation,
    operations::{
        log::{Event, Timeline},
        users::{
            ActivateUser, CreateUser, DeleteUser, GetUser, GetUserPermissions, ResetPassword, SetUserRoles,
            SuspendUser, UpdateUser, User,
        },
    },
    page::{Condition, FilterValue, List, Op},
};
use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::edit;
use crate::{
    change::{self, Change, ChangeArgs, Weight},
    context::{Cx, block_on},
    curl,
    error::{Failure, Result},
    list::{self, ListArgs},
    output::{self, Sink},
    prompt::PasswordFrom,
    several::{self, Tally},
    views,
};

/// Commands on people.
#[derive(Debug, Subcommand)]
pub(crate) enum Users {
    /// List people
    #[command(visible_alias = "ls", mut_arg("filter", list::filter_help::<User>))]
    List(ListArgs),
    /// Show people, by id or email
    Get(Get),
    /// Create a person or a service
    Create(Box<Create>),
    /// Change a person: a flag a field
    Update(Box<Update>),
    /// Change a person in an editor
    Edit(Edit),
    /// Delete people: softly, the books keep them
    Delete(Act),
    /// Suspend people: their sessions end at once
    Suspend(Reasoned),
    /// Let suspended people in again
    Activate(Reasoned),
    /// Show or change the roles of a person
    Roles(RolesOf),
    /// What a person may do, and by which role
    Permissions(One),
    /// What happened to a person and what they did, the newest first
    Timeline(OfPerson),
    /// Make a one-time token for a new password; their sessions end
    ResetPassword(ResetOne),
}

/// Shows people.
#[derive(Debug, Args)]
pub(crate) struct Get {
    /// Ids or emails; - reads them from stdin
    #[arg(required = true, value_name = "USER")]
    users: Vec<String>,
    /// Load along: sessions
    #[arg(long, value_name = "LIST")]
    include: Option<String>,
}

/// The timeline of a person.
#[derive(Debug, Args)]
pub(crate) struct OfPerson {
    /// An id or email
    #[arg(value_name = "USER")]
    user: String,
    #[command(flatten)]
    list: ListArgs,
}

/// One person.
#[derive(Debug, Args)]
pub(crate) struct One {
    /// An id or an email
    #[arg(value_name = "USER")]
    user: String,
}

/// One person whose password is reset.
#[derive(Debug, Args)]
pub(crate) struct ResetOne {
    /// An id or an email
    #[arg(value_name = "USER")]
    user: String,
    #[command(flatten)]
    change: ChangeArgs,
}

/// Creates a person.
#[derive(Debug, Args)]
pub(crate) struct Create {
    /// The email, unique among people not deleted
    #[arg(long)]
    email: Option<String>,
    /// The name
    #[arg(long, allow_hyphen_values = true)]
    name: Option<String>,
    #[command(flatten)]
    password: PasswordFrom,
    /// A role; may be repeated
    #[arg(long, value_name = "ROLE", value_delimiter = ',')]
    role: Vec<String>,
    /// Person or program
    #[arg(long, value_name = "KIND")]
    kind: Option<String>,
    /// Your own id of this person
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

/// Changes a person.
#[derive(Debug, Args)]
pub(crate) struct Update {
    /// An id or an email
    #[arg(value_name = "USER")]
    user: String,
    /// The new email
    #[arg(long)]
    email: Option<String>,
    /// The new name
    #[arg(long, allow_hyphen_values = true)]
    name: Option<String>,
    /// Your own id of this person
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
    /// Read a JSON merge patch from a file, or from stdin (-); flags win
    #[arg(short, long, value_name = "FILE")]
    file: Option<String>,
    #[command(flatten)]
    change: ChangeArgs,
}

/// Changes a person in an editor.
#[derive(Debug, Args)]
pub(crate) struct Edit {
    /// An id or an email
    #[arg(value_name = "USER")]
    user: String,
    #[command(flatten)]
    change: ChangeArgs,
}

/// Does something to people.
#[derive(Debug, Args)]
pub(crate) struct Act {
    /// Ids or emails; - reads them from stdin
    #[arg(required = true, value_name = "USER")]
    users: Vec<String>,
    #[command(flatten)]
    change: ChangeArgs,
}

/// Does something to people, and says why.
#[derive(Debug, Args)]
pub(crate) struct Reasoned {
    #[command(flatten)]
    act: Act,
    /// Why; kept in the log
    #[arg(long, allow_hyphen_values = true)]
    reason: Option<String>,
}

/// The roles of a person.
#[derive(Debug, Args)]
pub(crate) struct RolesOf {
    /// An id or an email
    #[arg(value_name = "USER")]
    user: String,
    /// Exactly these, separated by commas; empty for none
    #[arg(long, value_name = "ROLES", conflicts_with_all = ["add", "remove"])]
    set: Option<String>,
    /// One more; may be repeated
    #[arg(long, value_name = "ROLE", value_delimiter = ',')]
    add: Vec<String>,
    /// One less; may be repeated
    #[arg(long, value_name = "ROLE", value_delimiter = ',')]
    remove: Vec<String>,
    #[command(flatten)]
    change: ChangeArgs,
}

/// Runs one of them.
pub(crate) fn run(cx: &Cx, command: Users) -> Result<()> {
    let client = cx.client()?;
    block_on(async {
        match command {
            Users::List(args) => {
                let list = args.list::<User>()?;
                list::run(cx, &client, &views::USERS, &args, list).await
            }
            Users::Get(args) => get(cx, &client, args).await,
            Users::Create(args) => create(cx, &client, *args).await,
            Users::Update(args) => update(cx, &client, *args).await,
            Users::Edit(args) => edit::user(cx, &client, &args.user, &args.change).await,
            Users::Delete(args) => delete(cx, &client, args).await,
            Users::Suspend(args) => {
                let reason = args.reason.as_deref().map(reason).transpose()?;
                act(cx, &client, &args.act, "suspended", |id| SuspendUser { id, reason: reason.clone() })
                    .await
            }
            Users::Activate(args) => {
                let reason = args.reason.as_deref().map(reason).transpose()?;
                act(cx, &client, &args.act, "activated", |id| ActivateUser { id, reason: reason.clone() })
                    .await
            }
            Users::Roles(args) => roles(cx, &client, args).await,
            Users::Permissions(args) => permissions(cx, &client, &args.user).await,
            Users::Timeline(args) => {
                let id = id_of(&client, &args.user).await?;
                let list = args.list.list::<Event>()?;
                let wrap = |list: List<Event>| Timeline { id, list };
                list::run_as(cx, &client, &views::EVENTS, &args.list, list, wrap).await
            }
            Users::ResetPassword(args) => reset(cx, &client, args).await,
        }
    })
}

fn reason(text: &str) -> Result<bursar_shared::field::Reason> {
    text.parse().map_err(|wrong| Failure::value(format!("--reason {wrong}")))
}

/// The list that finds a person by email.
fn by_email(text: &str, include: Option<&str>) -> Result<List<User>> {
    let email: Email = text.parse().map_err(|wrong| Failure::value(format!("{text} {wrong}")))?;
    let mut list = List::<User>::new().size(1);
    let value = FilterValue::Text(email.into_string());
    list.filter.push(Condition { field: "email", op: Op::Eq, value });
    for wanted in include.iter().flat_map(|include| include.split(',')) {
        list.include.push(crate::list::include_of::<User>(wanted)?);
    }
    Ok(list)
}

/// The request that reads a person by id.
fn by_id(text: &str, include: Option<&str>) -> Result<GetUser> {
    let mut members = Map::new();
    members.insert("id".to_owned(), json!(text));
    if let Some(include) = include {
        members.insert("include".to_owned(), json!(include));
    }
    change::request(members)
}

/// A person by id or email, in one request.
pub(super) async fn find(client: &Client, text: &str, include: Option<&str>) -> Result<User> {
    let text = several::bare(text);
    if !text.contains('@') {
        return Ok(client.call(&by_id(text, include)?).await?);
    }
    let page = client.call(&by_email(text, include)?).await?;
    page.rows.into_iter().next().ok_or_else(|| {
        let begin: String = text.chars().take_while(|letter| *letter != '@').take(3).collect();
        Failure::new(3, format!("nobody has the email {text}"))
            .hint(format!("bursar users list --filter email:^{begin}"))
    })
}

/// The id of a person given by id or email; asks the daemon only for emails.
pub(super) async fn id_of(client: &Client, text: &str) -> Result<UserId> {
    let bare = several::bare(text);
    if bare.contains('@') {
        return Ok(find(client, bare, None).await?.id);
    }
    bare.parse()
        .map_err(|wrong| Failure::value(format!("{} {wrong}, or an email", bursar_shared::text::clean(bare))))
}

async fn get(cx: &Cx, client: &Client, args: Get) -> Result<()> {
    several::refuse_terminal(&args.users)?;
    let one = several::is_one(&args.users);
    if cx.globals.as_curl && one {
        let (text, include) = (several::bare(&args.users[0]), args.include.as_deref());
        return match text.contains('@') {
            true => curl::print(cx, client, &by_email(text, include)?, &Default::default()),
            false => curl::print(cx, client, &by_id(text, include)?, &Default::default()),
        };
    }
    let mut sink = Sink::new(cx.style()?, &views::USERS, !one);
    let mut tally = Tally::default();
    for id in several::ids(&args.users) {
        let id = id?;
        let result = match find(client, &id, args.include.as_deref()).await {
            Ok(user) => sink.row(&serde_json::to_vec(&user)?),
            Err(failure) => Err(failure),
        };
        tally.add(cx, one, &id, result)?;
    }
    sink.end()?;
    tally.end()
}

async fn create(cx: &Cx, client: &Client, args: Create) -> Result<()> {
    let mut members = change::members_of(args.file.as_deref())?;
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            members.insert(name.to_owned(), value);
        }
    };
    put("email", args.email.map(Value::from));
    put("name", args.name.map(Value::from));
    put("password", args.password.given()?.map(Value::from));
    put("roles", (!args.role.is_empty()).then(|| json!(args.role)));
    put("kind", args.kind.map(Value::from));
    put("externalId", args.external_id.map(Value::from));
    if !args.metadata.is_empty() {
        put("metadata", Some(Value::Object(change::pairs(&args.metadata, "--metadata")?)));
    }
    let op: CreateUser = change::request(members)?;
    let change = Change::begin(cx, client, &args.change, Weight::Light, "create a person")?;
    let Some(reply) = change.make(&op).await? else { return Ok(()) };
    let user = reply.answer.0;
    if cx.style()?.for_people() && !reply.dry_run {
        cx.say(&format!("created {} · undo: bursar users delete {}", user.email, user.id));
    }
    output::one(cx.style()?, &views::USERS, &user)
}

async fn update(cx: &Cx, client: &Client, args: Update) -> Result<()> {
    let mut members = change::members_of(args.file.as_deref())?;
    for (name, value) in [("email", &args.email), ("name", &args.name), ("externalId", &args.external_id)] {
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
    if members.is_empty() {
        return Err(Failure::usage("nothing to change: give a flag a field, or -f FILE"));
    }
    let id = id_of(client, &args.user).await?;
    members.insert("id".to_owned(), json!(id));
    let op: UpdateUser = change::request(members)?;
    let change = Change::begin(cx, client, &args.change, Weight::Light, "change a person")?;
    finish(cx, change.make(&op).await?)
}

/// Shows the person a change brought about.
pub(super) fn finish(cx: &Cx, reply: Option<Reply<User>>) -> Result<()> {
    match reply {
        Some(reply) => output::one(cx.style()?, &views::USERS, &reply.answer),
        None => Ok(()),
    }
}

async fn act<O>(cx: &Cx, client: &Client, args: &Act, done: &str, op: impl Fn(UserId) -> O) -> Result<()>
where
    O: Operation<Answer = User>,
{
    several::refuse_terminal(&args.users)?;
    let one = several::is_one(&args.users);
    refuse_one_key_for_many(&args.change, one)?;
    let what = format!("have {} {done}", several_words(&args.users));
    let change = Change::begin(cx, client, &args.change, Weight::Light, &what)?;
    let mut sink = Sink::new(cx.style()?, &views::USERS, !one);
    let mut tally = Tally::default();
    for id in several::ids(&args.users) {
        let id = id?;
        let result = match id_of(client, &id).await {
            Ok(user) => match change.make(&op(user)).await {
                Ok(Some(reply)) => sink.row(&serde_json::to_vec(&reply.answer)?),
                Ok(None) => Ok(()),
                Err(failure) => Err(failure),
            },
            Err(failure) => Err(failure),
        };
        // what was done is shown, whatever becomes of the rest
        if result.is_err() {
            sink.page_end()?;
        }
        tally.add(cx, one, &id, result)?;
    }
    if !cx.globals.as_curl {
        sink.end()?;
    }
    tally.end()
}

async fn delete(cx: &Cx, client: &Client, args: Act) -> Result<()> {
    several::refuse_terminal(&args.users)?;
    let one = several::is_one(&args.users);
    refuse_one_key_for_many(&args.change, one)?;
    let what = format!("delete {}", several_words(&args.users));
    let change = Change::begin(cx, client, &args.change, Weight::Heavy, &what)?;
    let mut tally = Tally::default();
    let mut count = 0u64;
    for id in several::ids(&args.users) {
        let id = id?;
        let result = match id_of(client, &id).await {
            Ok(user) => change.make(&DeleteUser { id: user }).await.map(|_| count += 1),
            Err(failure) => Err(failure),
        };
        tally.add(cx, one, &id, result)?;
    }
    if !cx.globals.as_curl && !args.change.dry_run {
        cx.say(&format!("{count} deleted"));
    }
    tally.end()
}

fn several_words(users: &[String]) -> String {
    match users {
        [one] if one != "-" => one.clone(),
        many if many.iter().any(|id| id == "-") => "everybody on stdin".to_owned(),
        many => format!("{} people", many.len()),
    }
}

fn refuse_one_key_for_many(args: &ChangeArgs, one: bool) -> Result<()> {
    if !one && (args.idempotency_key.is_some() || args.if_match.is_some()) {
        return Err(Failure::usage("--idempotency-key and --if-match are for one person"));
    }
    Ok(())
}

async fn roles(cx: &Cx, client: &Client, args: RolesOf) -> Result<()> {
    if args.set.is_none() && args.add.is_empty() && args.remove.is_empty() {
        let user = find(client, &args.user, None).await?;
        return output::one(cx.style()?, &views::USERS, &user);
    }
    let names = |list: Vec<String>| {
        list.iter()
            .map(|name| name.trim().parse().map_err(|wrong| Failure::value(format!("{name} {wrong}"))))
            .collect::<Result<Vec<_>>>()
    };
    let (id, roles, version) = match args.set {
        Some(set) => {
            let set = set.split(',').filter(|name| !name.trim().is_empty()).map(str::to_owned).collect();
            (id_of(client, &args.user).await?, names(set)?, None)
        }
        None => {
            // read, changed, and written only if nobody was quicker
            let user = find(client, &args.user, None).await?;
            let mut roles = user.roles.clone();
            roles.retain(|role| !args.remove.contains(role));
            roles.extend(args.add.iter().filter(|role| !user.roles.contains(role)).cloned());
            (user.id, names(roles)?, Some(user.version))
        }
    };
    let change = Change::begin(cx, client, &args.change, Weight::Light, "change somebody's roles")?;
    finish(cx, change.make_if(&SetUserRoles { id, roles }, args.change.if_match.or(version)).await?)
}

async fn permissions(cx: &Cx, client: &Client, user: &str) -> Result<()> {
    let op = GetUserPermissions { id: id_of(client, user).await? };
    if cx.globals.as_curl {
        return curl::print(cx, client, &op, &Default::default());
    }
    let answer = client.call(&op).await?;
    let style = cx.style()?;
    if matches!(style.format(), output::Format::Json | output::Format::Jsonl) || style.jq.is_some() {
        return output::one(style, &views::GRANTS, &answer);
    }
    let mut sink = Sink::new(style, &views::GRANTS, true);
    for permission in answer.permissions.iter() {
        let by: Vec<&str> = answer
            .by_role
            .iter()
            .filter(|(_, granted)| granted.has(permission))
            .map(|(role, _)| role.as_str())
            .collect();
        sink.row(&serde_json::to_vec(&json!({ "permission": permission.as_str(), "by": by }))?)?;
    }
    sink.end()
}

async fn reset(cx: &Cx, client: &Client, args: ResetOne) -> Result<()> {
    let op = ResetPassword { id: id_of(client, &args.user).await? };
    let what = format!("reset the password of {}", args.user);
    let change = Change::begin(cx, client, &args.change, Weight::Light, &what)?;
    let Some(reply) = change.make(&op).await? else { return Ok(()) };
    if cx.style()?.for_people() {
        cx.say("hand this over on a safe way: bursar auth password --reset uses it, once");
    }
    output::one(cx.style()?, &views::RESET, &reply.answer)
}
