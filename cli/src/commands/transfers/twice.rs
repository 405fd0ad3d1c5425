//! What is not sent, for it would be made twice: lines that an earlier run made by another way.

use super::{Create, check::Checked};
use crate::{
    bulk::{
        earlier::{Earlier, Overtaken},
        run::Header,
        source::Source,
    },
    error::{Failure, Result},
    list::grouped,
};

fn plural(count: u64) -> &'static str {
    if count == 1 { "" } else { "s" }
}

/// Refuses a file of which an earlier run made lines that this one would make again. Ids of one's own tell
/// every line from all others, and a new name for the run says that it is on purpose.
pub(super) fn refuse(
    source: &Source,
    args: &Create,
    checked: &Checked,
    earlier: &Earlier,
    header: &Header,
) -> Result<()> {
    if checked.named {
        return Ok(());
    }
    let refused = |why: String, hint: String| {
        Err(Failure::new(6, format!("{why}; they would be made twice; nothing was sent")).hint(hint))
    };
    let ways = "give each line an external-id, or say --run";
    // sent again as the same run it is made once; under another name, on purpose, once more
    let same = checked.begins.iter().any(|run| run.id == header.id);
    let on_purpose = |run: &&Header| args.run.is_some() && run.run != args.run;
    if !same && let Some(before) = checked.begins.iter().rev().find(|run| !on_purpose(run)) {
        let (name, lines, at) = (&source.name, grouped(before.lines), before.at);
        let s = plural(before.lines);
        return refused(
            format!("{name} begins with the {lines} line{s} that were sent at {at}"),
            format!("send the new lines alone, {ways} with a new name to send all"),
        );
    }
    if let Some((rejects, at, made)) = earlier.sent_apart(header) {
        let (name, made) = (&source.name, grouped(made));
        return refused(
            format!(
                "the refused lines of {name} were sent from {} at {at}, and {made} were made",
                rejects.display()
            ),
            format!("go on with that file, {ways} with a new name to send all"),
        );
    }
    if args.run.is_some() {
        return Ok(());
    }
    if let Some(Overtaken { source: from, made, rest }) = earlier.overtaken(header) {
        let (name, made) = (&source.name, grouped(made));
        let from = from.map_or_else(|| "its source".to_owned(), |from| from.display().to_string());
        let rest: Vec<String> = rest.iter().map(|path| path.display().to_string()).collect();
        let rest = match rest.is_empty() {
            true => "nothing of it may be left to send".to_owned(),
            false => format!("what is left stands in {}", rest.join(", ")),
        };
        return refused(
            format!(
                "{name} holds lines of {from} that were refused at first, of which {made} were made since"
            ),
            format!("{rest}; or {ways} NAME to send all"),
        );
    }
    if let Some((at, made)) = earlier.unfinished(header) {
        let (name, made) = (&source.name, grouped(made));
        return refused(
            format!(
                "{name} was sent at {at} with other lines, of which {made} were made and others were not"
            ),
            format!("send the corrected rejects alone, {ways} NAME to send all"),
        );
    }
    Ok(())
}
