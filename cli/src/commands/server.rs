//! `bursar serve`, `migrate` and `admin`: the daemon, and work on its store without it.

use std::{collections::BTreeMap, path::PathBuf};

use bursar_server::{
    SchemaState,
    admin::{self, Made, Rotation, Turned},
    clock::Clock,
    config::{Config, SETTINGS, Sources},
};
use bursar_shared::{
    client::profile,
    field::{Email, Name, Password, RoleName},
    permission::OWNER,
};
use clap::{Arg, ArgMatches, Args, Command, FromArgMatches, Subcommand};

use crate::{
    context::{Cx, variable},
    error::{Failure, Result},
    output,
    prompt::{self, PasswordFrom},
    views,
};

/// The daemon's settings as flags, made from its own table.
#[derive(Debug, Clone, Default)]
pub(crate) struct Settings {
    flags: BTreeMap<String, String>,
    file: Option<PathBuf>,
}

/// Settings that every command has as a flag already.
const GLOBAL: &str = "insecure-http";

impl Args for Settings {
    fn augment_args(command: Command) -> Command {
        let file = Arg::new("config")
            .long("config")
            .value_name("FILE")
            .value_parser(clap::value_parser!(PathBuf))
            .help_heading("Settings")
            .help("Read settings from a TOML file; its keys are the names below");
        SETTINGS.iter().filter(|setting| setting.key != GLOBAL).fold(command.arg(file), |command, setting| {
            let default = match setting.default {
                "" | "false" => String::new(),
                default => format!("; default: {default}"),
            };
            let help = format!("{} [{}{default}]", setting.help, setting.variable());
            let arg = Arg::new(setting.key).long(setting.key).help_heading("Settings").help(help);
            command.arg(match setting.value {
                "" => {
                    arg.value_name("on|off").num_args(0..=1).require_equals(true).default_missing_value("on")
                }
                value => arg.value_name(value),
            })
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Settings {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut settings = Self::default();
        settings.update_from_arg_matches(matches)?;
        Ok(settings)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        for setting in SETTINGS.iter().filter(|setting| setting.key != GLOBAL) {
            if let Some(value) = matches.get_one::<String>(setting.key) {
                self.flags.insert(setting.key.to_owned(), value.clone());
            }
        }
        self.file = matches.get_one::<PathBuf>("config").cloned();
        Ok(())
    }
}

impl Settings {
    /// Flags, environment, file, built-in: in this order.
    pub(crate) fn config(mut self, cx: &Cx) -> Result<Config> {
        if cx.globals.insecure_http {
            self.flags.insert(GLOBAL.to_owned(), "on".to_owned());
        }
        let sources = Sources {
            flags: self.flags,
            environment: Some(&variable),
            file: self.file.as_deref(),
            // a daemon of a service manager may have no home; then the folder must be named
            default_data_dir: profile::data_dir().unwrap_or_else(|_| PathBuf::from("bursar-data")),
        };
        Config::load(&sources).map_err(|wrong| Failure::usage(wrong.to_string()).hint("bursar serve --help"))
    }
}

/// Runs the daemon.
#[derive(Debug, Args)]
pub(crate) struct Serve {
    #[command(flatten)]
    settings: Settings,
}

/// Brings a store up to date.
#[derive(Debug, Args)]
pub(crate) struct Migrate {
    /// Change nothing; exit code 15 when something is to be done
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    settings: Settings,
}

/// Work on a store directly.
#[derive(Debug, Subcommand)]
pub(crate) enum Admin {
    /// Make a person, or let one in again: works beside a running daemon
    Create(Box<CreateAdmin>),
    /// Let another key sign tokens: works beside a running daemon
    RotateKeys(Box<RotateKeys>),
}

/// Makes a person.
#[derive(Debug, Args)]
pub(crate) struct CreateAdmin {
    /// The email
    #[arg(long)]
    email: Option<String>,
    /// The name; the email when absent
    #[arg(long)]
    name: Option<String>,
    /// The role
    #[arg(long, default_value = OWNER)]
    role: String,
    #[command(flatten)]
    password: PasswordFrom,
    #[command(flatten)]
    settings: Settings,
}

/// Rotates the keys that sign tokens.
#[derive(Debug, Args)]
#[command(
    after_help = "Without a flag another key is published now and signs in a day: nobody notices. Tokens of \
                        the key before it stay good until they expire. A key that leaked: --revoke-old."
)]
pub(crate) struct RotateKeys {
    /// Sign within ten seconds: other services may refuse new tokens until they fetch the keys again
    #[arg(long, conflicts_with = "revoke_old")]
    now: bool,
    /// End every token and session at once: everybody signs in again
    #[arg(long)]
    revoke_old: bool,
    /// Do it for real and undo it
    #[arg(short = 'n', long)]
    dry_run: bool,
    #[command(flatten)]
    settings: Settings,
}

/// Runs work of the daemon, which wants all processors.
pub(crate) fn run_daemon<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|wrong| Failure::new(1, format!("nothing can be run: {wrong}")))?
        .block_on(work)
}

/// A failure of the daemon or its store.
pub(crate) fn broken(wrong: impl std::fmt::Display) -> Failure {
    Failure::new(13, wrong.to_string())
}

/// Runs the daemon until a signal ends it.
pub(crate) fn serve(cx: &Cx, args: Serve) -> Result<()> {
    let config = args.settings.config(cx)?;
    let _log = bursar_server::log_to_stderr(&config).map_err(broken)?;
    run_daemon(async {
        let running = bursar_server::start(config.clone()).await.map_err(broken)?;
        let scheme = if config.tls.is_some() { "https" } else { "http" };
        output::say(&format!("bursar: listening on {scheme}://{}", running.address));
        if !running.has_owner {
            first_owner(cx, &config).await?;
        }
        bursar_server::run_until_signal(running).await.map_err(broken)
    })
}

/// Somebody must be the first: asked for at a terminal, else the command is said.
async fn first_owner(cx: &Cx, config: &Config) -> Result<()> {
    if !cx.can_ask() {
        let place = match &config.location {
            bursar_server::Location::Sqlite(path) => format!("--database sqlite:{}", path.display()),
            // the address may hold a password, which does not belong into a log
            bursar_server::Location::Postgres(_) => "--database \"$BURSAR_DATABASE\"".to_owned(),
        };
        output::say(&format!(
            "bursar: nobody is owner yet; make one: bursar admin create --email you@example.com --role owner \
             --password-stdin {place}"
        ));
        return Ok(());
    }
    output::say("Nobody is owner yet. Who is the first?");
    let email = prompt::line(cx, "Email: ", "--email")?;
    let email: Email = email.parse().map_err(|wrong| Failure::usage(format!("the email {wrong}")))?;
    let password = prompt::new_secret(cx, "--password-stdin")?;
    make(config, &email, None, OWNER, &password).await
}

async fn make(config: &Config, email: &Email, name: Option<&str>, role: &str, password: &str) -> Result<()> {
    let usage = |flag: &str, wrong: &dyn std::fmt::Display| Failure::usage(format!("{flag} {wrong}"));
    let name: Name = name.unwrap_or(email.as_str()).parse().map_err(|wrong| usage("--name", &wrong))?;
    let role: RoleName = role.parse().map_err(|wrong| usage("--role", &wrong))?;
    let password: Password =
        password.parse().map_err(|wrong| Failure::new(7, format!("the password {wrong}")))?;
    let (user, done) =
        match admin::create(config, email.clone(), name, role, password).await.map_err(broken)? {
            Made::Created(user) => (user, "created"),
            Made::Recovered(user) => (user, "was there: active again, with the new password and signed out"),
        };
    output::say(&format!("{} {done} ({})", user.email, user.roles.join(", ")));
    output::text(&format!("{}\n", user.id))
}

/// Brings a store up to date.
pub(crate) fn migrate(cx: &Cx, args: Migrate) -> Result<()> {
    let config = args.settings.config(cx)?;
    if args.check {
        let state = bursar_server::schema_state(&config).map_err(broken)?;
        return check(cx, &state);
    }
    let done = bursar_server::migrate(&config).map_err(broken)?;
    for name in &done {
        output::text(&format!("{name}\n"))?;
    }
    cx.say(&match done.len() {
        0 => "the store is up to date".to_owned(),
        count => format!("{count} migrations were run"),
    });
    Ok(())
}

fn check(cx: &Cx, state: &SchemaState) -> Result<()> {
    for name in &state.pending {
        output::text(&format!("{name}\n"))?;
    }
    if state.pending.is_empty() {
        cx.say(&format!("the store is up to date: {} migrations", state.applied.len()));
        return Ok(());
    }
    Err(Failure::new(15, format!("{} migrations are to be run", state.pending.len())).hint("bursar migrate"))
}

/// Works on a store directly.
pub(crate) fn admin(cx: &Cx, command: Admin) -> Result<()> {
    if cx.globals.as_curl {
        return Err(Failure::usage("--as-curl: this works on the store itself, and calls no daemon"));
    }
    match command {
        Admin::Create(args) => create(cx, *args),
        Admin::RotateKeys(args) => rotate_keys(cx, *args),
    }
}

fn create(cx: &Cx, args: CreateAdmin) -> Result<()> {
    let config = args.settings.config(cx)?;
    let email = match args.email {
        Some(email) => email,
        None => prompt::line(cx, "Email: ", "--email")?,
    };
    let email: Email = email.parse().map_err(|wrong| Failure::usage(format!("--email {wrong}")))?;
    let password = match args.password.given()? {
        Some(password) => password,
        None => prompt::new_secret(cx, "--password-stdin")?,
    };
    run_daemon(make(&config, &email, args.name.as_deref(), &args.role, &password))
}

fn rotate_keys(cx: &Cx, args: RotateKeys) -> Result<()> {
    let style = cx.style()?;
    let rotation = match (args.now, args.revoke_old) {
        (_, true) => Rotation::RevokeOld,
        (true, _) => Rotation::Now,
        _ => Rotation::Soon,
    };
    let config = args.settings.config(cx)?;
    let rotate = |dry_run| {
        run_daemon(async {
            admin::rotate_keys(&config, Clock::default(), rotation, dry_run).await.map_err(broken)
        })
    };
    if args.dry_run {
        let would = rotate(true)?;
        cx.say("dry run: nothing was changed");
        return output::one(style, &views::KEYS, &would);
    }
    if !cx.globals.yes
        && let Some(question) = question(rotation, || rotate(true))?
    {
        prompt::confirm(cx, &question)?;
    }
    let done = rotate(false)?;
    cx.say(&told(rotation, &done));
    output::one(style, &views::KEYS, &done)
}

/// What is asked before it is done, where it cannot be undone and somebody notices.
fn question(rotation: Rotation, tried: impl FnOnce() -> Result<Turned>) -> Result<Option<String>> {
    Ok(match rotation {
        Rotation::Soon => None,
        Rotation::Now => Some(
            "Services that keep the keys refuse new tokens until they fetch them again. Really sign with another key \
             now?"
                .to_owned(),
        ),
        Rotation::RevokeOld => {
            let would = tried()?;
            let keys = match would.revoked.len() {
                1 => "the key".to_owned(),
                several => format!("{several} keys"),
            };
            Some(format!(
                "Every token is refused at once, and everybody signs in again (sessions that end: {}). Really revoke \
                 {keys}?",
                would.sessions_ended
            ))
        }
    })
}

fn told(rotation: Rotation, done: &Turned) -> String {
    let from = done.signs_from.map(|from| from.to_string()).unwrap_or_default();
    match rotation {
        Rotation::RevokeOld => format!(
            "keys revoked: {}, sessions ended: {}; everybody signs in again; other services refuse old tokens \
             once they fetch /.well-known/jwks.json again, within 5 minutes if they heed its Cache-Control",
            done.revoked.len(),
            done.sessions_ended
        ),
        _ if done.published => format!("another key is published, and signs from {from}"),
        _ => format!("the key that was published already signs from {from}"),
    }
}
