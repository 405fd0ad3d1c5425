//! Errors name members as the API has them; people typed flags. One rule brings them together.

use bursar_shared::{error::Violation, text::clean};
use clap::Command;
use unicode_width::UnicodeWidthStr as _;

use crate::error::Failure;

/// `sweepToAccountId` -> `sweep-to-account-id`.
fn kebab(name: &str) -> String {
    let mut out = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() {
            out.push('-');
        }
        out.push(letter.to_ascii_lowercase());
    }
    out
}

/// What a member of a request is called on this command's line: the flag of that name, or of its
/// beginning (`--sweep-to` sets `sweepToAccountId`, `--role` adds to `roles`), or the argument that is the id.
fn called(command: &Command, member: &str) -> Option<String> {
    let flags: Vec<&str> = command.get_arguments().filter_map(clap::Arg::get_long).collect();
    let whole = kebab(member);
    let mut name = whole.as_str();
    loop {
        let singular = name.strip_suffix('s');
        if let Some(flag) = flags.iter().find(|flag| **flag == name || Some(**flag) == singular) {
            return Some(format!("--{flag}"));
        }
        match name.rsplit_once('-') {
            Some((begin, _)) => name = begin,
            None => break,
        }
    }
    // --sweep-to is where the money goes to
    let end = format!("-{name}");
    if whole.ends_with("-id")
        && whole != "id"
        && let Some(flag) = flags.iter().find(|flag| flag.ends_with(&end))
    {
        return Some(format!("--{flag}"));
    }
    // roles are added to and taken from the ones there are
    if whole == "roles" && command.get_name() == "roles" {
        return Some("--add or --remove".to_owned());
    }
    let argument = || command.get_positionals().next()?.get_value_names()?.first().map(ToString::to_string);
    if member == "id" { argument() } else { None }
}

/// A place in a request as people know it: `/metadata/plan` is `--metadata plan`, `?filter[amount][gt]` is
/// `--filter amount`.
fn place(command: &Command, pointer: &str) -> Option<String> {
    let path = pointer.strip_prefix(['/', '?'])?;
    let mut parts = path.split(['/', '[', ']']).filter(|part| !part.is_empty());
    let name = called(command, parts.next()?)?;
    Some(match parts.next() {
        Some(inner) => format!("{name} {inner}"),
        None => name,
    })
}

/// Members in a sentence: words with a hump, of which a flag is known.
fn sentence(command: &Command, text: &str) -> String {
    let mut out = String::new();
    for piece in text.split_inclusive(|letter: char| !letter.is_ascii_alphanumeric()) {
        let word = piece.trim_end_matches(|letter: char| !letter.is_ascii_alphanumeric());
        let humped = word.starts_with(|c: char| c.is_ascii_lowercase())
            && word.contains(|c: char| c.is_ascii_uppercase());
        match called(command, word).filter(|_| humped) {
            Some(flag) => out.push_str(&format!("{flag}{}", &piece[word.len()..])),
            None => out.push_str(piece),
        }
    }
    out
}

/// Says a failure in the words of the command that was called.
pub(crate) fn translate(failure: &mut Failure, command: &Command) {
    let violations: Vec<Violation> = failure
        .details
        .get("violations")
        .and_then(|list| serde_json::from_value(list.clone()).ok())
        .unwrap_or_default();
    let shown = |one: &Violation| {
        let name = place(command, &one.pointer).unwrap_or_else(|| one.pointer.clone());
        (clean(&name).into_owned(), clean(&sentence(command, &one.message)).into_owned())
    };
    match violations.as_slice() {
        [] => failure.message = sentence(command, &failure.message),
        [one] => {
            // what is about an item of many says more than that
            if failure.message.starts_with(['/', '?']) {
                let (name, message) = shown(one);
                failure.message = format!("{name} {message}");
            }
        }
        many => {
            let shown: Vec<_> = many.iter().map(shown).collect();
            let wide = shown.iter().map(|(name, _)| name.width()).max().unwrap_or(0);
            let line = |(name, message): &(String, String)| {
                format!("{name}{}{message}", " ".repeat(wide - name.width() + 2))
            };
            failure.lines = shown.iter().map(line).collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf(path: &[&str]) -> Command {
        let mut tree = crate::args::command();
        tree.build();
        path.iter().fold(tree, |at, name| at.find_subcommand(name).unwrap().clone())
    }

    #[test]
    fn members_are_called_as_the_flags_of_their_command() {
        for (path, pointer, wanted) in [
            (&["transfers", "create"][..], "/fromAccountId", Some("--from")),
            (&["transfers", "create"], "/expiresInSeconds", Some("--expires-in")),
            (&["transfers", "create"], "/metadata/plan", Some("--metadata plan")),
            (&["transfers", "create"], "/nothing", None),
            (&["transfers", "list"], "?filter[amount][gt]", Some("--filter amount")),
            (&["transfers", "list"], "?pageSize", Some("--page-size")),
            (&["accounts", "close"], "/sweepToAccountId", Some("--sweep-to")),
            (&["accounts", "close"], "/toAccountId", Some("--sweep-to")),
            (&["accounts", "create"], "/ownerId", Some("--owner")),
            (&["users", "create"], "/roles/0", Some("--role 0")),
            (&["users", "roles"], "/roles", Some("--add or --remove")),
            (&["users", "get"], "/id", Some("USER")),
            (&["accounts", "balance"], "?asOf", Some("--as-of")),
        ] {
            assert_eq!(place(&leaf(path), pointer).as_deref(), wanted, "{path:?} {pointer}");
        }
        let text = "Only an empty account can be closed, or one whose sweepToAccountId is given.";
        assert!(sentence(&leaf(&["accounts", "close"]), text).ends_with("whose --sweep-to is given."));
    }
}
