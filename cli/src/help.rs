//! `bursar help`: a command's help, or a topic.

use clap::Args;

use crate::{
    args,
    context::Cx,
    error::{Failure, Result},
    output,
};

/// Help on a command or a topic.
#[derive(Debug, Args)]
pub(crate) struct Help {
    /// A command (users list), a topic, or topics for their list
    what: Vec<String>,
}

/// Name, one line about it, and the text.
const TOPICS: &[(&str, &str, &str)] = &[
    ("scripting", "What scripts may rely on", include_str!("help/scripting.txt")),
    ("exit-codes", "What the exit codes mean", include_str!("help/exit-codes.txt")),
    ("filters", "The filter language of every list", include_str!("help/filters.txt")),
    ("formats", "Output formats, fields and headings", include_str!("help/formats.txt")),
    ("money", "Amounts, accounts, holds and mistakes", include_str!("help/money.txt")),
    ("bulk", "Many transfers from a file, each made once", include_str!("help/bulk.txt")),
    ("jq", "Shaping rows with --jq", include_str!("help/jq.txt")),
    ("environment", "Environment variables, files and their order", include_str!("help/environment.txt")),
    ("auth", "Signing in, contexts, API keys", include_str!("help/auth.txt")),
    ("idempotency", "Changes that are made at most once", include_str!("help/idempotency.txt")),
];

/// Shows it.
pub(crate) fn run(_: &Cx, help: Help) -> Result<()> {
    let mut tree = args::command();
    match help.what.as_slice() {
        [] => output::text(&tree.render_help().to_string()),
        [one] if one == "topics" => {
            let lines: Vec<String> =
                TOPICS.iter().map(|(name, about, _)| format!("{name:<14}{about}\n")).collect();
            output::text(&lines.concat())
        }
        [one] if TOPICS.iter().any(|(name, ..)| name == one) => {
            let text = TOPICS.iter().find(|(name, ..)| name == one).map_or("", |(.., text)| text);
            output::text(text)
        }
        path => {
            tree.build();
            let mut at = &mut tree;
            for name in path {
                at = at.find_subcommand_mut(name).ok_or_else(|| {
                    Failure::usage(format!("there is no command or topic {}", path.join(" ")))
                        .hint("bursar help, bursar help topics")
                })?;
            }
            output::text(&at.render_long_help().to_string())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_topic_on_exit_codes_has_them_all() {
        let text = TOPICS.iter().find(|(name, ..)| *name == "exit-codes").map(|(.., text)| *text).unwrap();
        for code in [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 15] {
            assert!(text.lines().any(|line| line.trim_start().starts_with(&format!("{code} "))), "{code}");
        }
    }

    #[test]
    fn topics_fit_a_terminal() {
        for (name, _, text) in TOPICS {
            assert!(text.lines().all(|line| line.chars().count() <= 100), "{name}");
            assert!(text.ends_with('\n'), "{name}");
        }
    }
}
