//! The command tree, parsed lazily: a group's flags are built only when the group is used.

use std::ffi::OsString;

use clap::{ArgMatches, Args as _, Command, Subcommand, error::ErrorKind};

#[cfg(feature = "tui")]
use crate::commands::tui;
#[cfg(feature = "server")]
use crate::commands::{demo, server};
use crate::{
    commands::{
        accounts, api, auth, context, ledger, log, pending, roles, sessions, system, transfers, users,
    },
    context::{Cx, Globals},
    error::{Failure, Result},
    help, naming, output,
};

/// A group of commands, or one command.
struct Group {
    name: &'static str,
    about: &'static str,
    /// Adds its flags and commands.
    build: fn(Command) -> Command,
    run: fn(&Cx, &ArgMatches) -> Result<()>,
}

/// A group whose commands are an enum.
macro_rules! group {
    ($name:literal, $about:literal, $type:ty, $run:path) => {
        Group {
            name: $name,
            about: $about,
            build: |command| {
                let command = command.subcommand_required(true).arg_required_else_help(true);
                described(<$type>::augment_subcommands(command), $about)
            },
            run: |cx, matches| $run(cx, read::<$type>(matches)?),
        }
    };
}

/// A command that is its flags.
macro_rules! single {
    ($name:literal, $about:literal, $type:ty, $run:path) => {
        Group {
            name: $name,
            about: $about,
            build: |command| described(<$type>::augment_args(command), $about),
            run: |cx, matches| $run(cx, read::<$type>(matches)?),
        }
    };
}

/// The words of the table, not those of the type, which are for programmers.
fn described(command: Command, about: &'static str) -> Command {
    command.about(about).long_about(None)
}

const GROUPS: &[Group] = &[
    group!("auth", "Sign in and out, see who you are", auth::Auth, auth::run),
    group!("context", "Daemons you know, and who you are there", context::Contexts, context::run),
    group!("users", "People and services", users::Users, users::run),
    group!("roles", "Named sets of permissions", roles::Roles, roles::run),
    single!("permissions", "All permissions there are", roles::Permissions, roles::permissions),
    group!("sessions", "Who is signed in, and where", sessions::Sessions, sessions::run),
    group!("accounts", "Accounts, what they hold and held", accounts::Accounts, accounts::run),
    group!("transfers", "Money that moves, or is held", transfers::Transfers, transfers::run),
    group!("ledger", "The books as a whole", ledger::Ledger, ledger::run),
    group!("events", "What changed", log::Events, log::events),
    group!("audit", "Everything that was done or tried, tamper-evident", log::Audit, log::audit),
    single!("stats", "Figures for a first look", system::Stats, system::stats),
    single!("api", "Call the daemon with any method and path", api::Api, api::run),
    group!("pending", "Changes whose answer was lost", pending::PendingCommands, pending::run),
    #[cfg(feature = "server")]
    single!("serve", "Run the daemon", server::Serve, server::serve),
    #[cfg(feature = "server")]
    single!("migrate", "Bring a store up to date", server::Migrate, server::migrate),
    #[cfg(feature = "server")]
    group!("admin", "Work on a store directly", server::Admin, server::admin),
    #[cfg(feature = "server")]
    single!("demo", "A throw-away daemon with lifelike data", demo::Demo, demo::run),
    #[cfg(feature = "tui")]
    single!("tui", "Open the dashboard", tui::Tui, tui::run),
    single!("completions", "Completions for a shell", system::Completions, system::completions),
    single!("help", "Help on a command or a topic", help::Help, help::run),
    single!("version", "Versions of this program and of the daemon", system::Versions, system::version),
];

fn read<T: clap::FromArgMatches>(matches: &ArgMatches) -> Result<T> {
    T::from_arg_matches(matches).map_err(|wrong| Failure::usage(wrong.to_string()))
}

/// The whole tree.
pub(crate) fn command() -> Command {
    let root = Command::new("bursar")
        .version(env!("CARGO_PKG_VERSION"))
        .about("The back office in your terminal: daemon, dashboard and command line in one")
        .after_help("Topics: bursar help topics. Alone at a terminal, bursar opens the dashboard.")
        .disable_help_subcommand(true)
        .max_term_width(100);
    let root = Globals::augment_args(root);
    GROUPS.iter().fold(root, |root, group| {
        root.subcommand(Command::new(group.name).about(group.about).defer(group.build))
    })
}

/// Whether errors are to be JSON, judged before anything is parsed.
fn wants_json(args: &[OsString]) -> bool {
    let words: Vec<&str> = args.iter().filter_map(|arg| arg.to_str()).collect();
    let is_json = |format: &str| matches!(format, "json" | "jsonl");
    let flag = words.iter().enumerate().find_map(|(place, word)| {
        match word.strip_prefix("--output=").or_else(|| word.strip_prefix("-o=")) {
            Some(format) => Some(format),
            None if matches!(*word, "-o" | "--output") => words.get(place + 1).copied(),
            None => word.strip_prefix("-o").filter(|format| is_json(format)),
        }
    });
    match flag {
        Some(format) => is_json(format),
        None => crate::context::variable("BURSAR_OUTPUT").is_some_and(|format| is_json(&format)),
    }
}

/// Runs the command line; gives the exit code.
pub(crate) fn run(args: Vec<OsString>) -> u8 {
    let as_json = wants_json(&args);
    match dispatch(args) {
        Ok(()) => 0,
        Err(failure) => {
            output::report(&failure, as_json);
            failure.exit
        }
    }
}

fn dispatch(args: Vec<OsString>) -> Result<()> {
    let matches = match command().try_get_matches_from(args) {
        Ok(matches) => matches,
        Err(wrong) => return explain(&wrong),
    };
    let cx = Cx::new(read::<Globals>(&matches)?);
    let Some((name, inner)) = matches.subcommand() else { return alone(&cx) };
    match GROUPS.iter().find(|group| group.name == name) {
        Some(group) => (group.run)(&cx, inner).map_err(|failure| in_words_of(&matches, failure)),
        None => Err(Failure::new(1, format!("there is no command {name}"))),
    }
}

/// The failure in the words of the command that was called; only then the whole tree is built.
fn in_words_of(matches: &ArgMatches, mut failure: Failure) -> Failure {
    if failure.code.is_some() {
        let mut tree = command();
        tree.build();
        let (mut at, mut matches) = (&tree, matches);
        while let Some((name, inner)) = matches.subcommand()
            && let Some(command) = at.find_subcommand(name)
        {
            (at, matches) = (command, inner);
        }
        naming::translate(&mut failure, at);
    }
    failure
}

/// What the parser has to say: help and versions are data, mistakes are not.
fn explain(wrong: &clap::Error) -> Result<()> {
    match wrong.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => output::text(&wrong.render().to_string()),
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            output::say(wrong.render().to_string().trim_end());
            Err(Failure::silent(2))
        }
        _ => {
            let text = wrong.render().to_string();
            let mut lines = text.trim_end().lines();
            let first = lines.next().unwrap_or_default();
            let mut failure = Failure::usage(first.strip_prefix("error: ").unwrap_or(first));
            failure.lines = lines
                .filter(|line| !line.trim().is_empty() && !line.contains("try '--help'"))
                .map(|line| bursar_shared::text::clean(line.trim_end()).into_owned())
                .collect();
            Err(failure.hint("add --help, or read bursar help"))
        }
    }
}

/// No command at all: the dashboard at a terminal, else help.
fn alone(cx: &Cx) -> Result<()> {
    #[cfg(feature = "tui")]
    if output::stdout_is_terminal() && cx.can_ask() {
        return tui::open(cx);
    }
    let _ = cx;
    output::text(&command().render_help().to_string())
}

#[cfg(test)]
mod tests {
    use clap::FromArgMatches as _;

    use super::*;

    #[test]
    fn the_tree_is_sound() {
        let mut tree = command();
        tree.build();
        tree.debug_assert();
    }

    #[test]
    fn global_flags_work_behind_every_command() {
        let matches =
            command().try_get_matches_from(["bursar", "users", "list", "-o", "json", "--yes"]).unwrap();
        let globals = Globals::from_arg_matches(&matches).unwrap();
        assert_eq!(globals.output, Some(output::Format::Json));
        assert!(globals.yes);
    }

    #[test]
    fn a_group_is_built_only_when_it_is_used() {
        let tree = command();
        assert!(tree.get_subcommands().all(|group| group.get_subcommands().next().is_none()));
    }

    #[test]
    fn errors_are_json_beside_json() {
        let wants = |args: &[&str]| wants_json(&args.iter().map(OsString::from).collect::<Vec<_>>());
        assert!(wants(&["bursar", "users", "list", "-ojson"]));
        assert!(wants(&["bursar", "--output=jsonl", "users"]));
        assert!(wants(&["bursar", "x", "-o", "json"]));
        assert!(!wants(&["bursar", "x", "-o", "csv"]));
    }
}
