//! The first look at a file of transfers: all that is wrong in it, before anything is sent.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::lines::{Reader, member};
use crate::{
    bulk::{Cutter, Progress, run::Header, source::Source},
    context::Cx,
    error::{Failure, Result},
    list::grouped,
};

/// How many wrong lines are shown.
const SHOWN: usize = 100;
/// A file that was looked at from its first line to its last.
pub(super) struct Checked {
    pub(super) lines: u64,
    pub(super) batches: Vec<[u8; 32]>,
    /// Whether every line has an external id, which no two transfers share.
    pub(super) named: bool,
    /// What all lines are known by.
    pub(super) whole: String,
    /// Earlier runs of this file that made the lines that it begins with.
    pub(super) begins: Vec<Header>,
}

/// The name of a column for what a line is known by.
pub(super) fn known(column: &str) -> String {
    member(column).unwrap_or_else(|| column.to_owned())
}

/// Looks at every line before anything is sent; all that is wrong is told at once.
pub(super) async fn check(
    cx: &Cx,
    source: &Source,
    reader: &mut Reader<'_>,
    before: &[Header],
) -> Result<Checked> {
    let mut checked =
        Checked { lines: 0, batches: Vec::new(), named: true, whole: String::new(), begins: Vec::new() };
    let (mut wrong, mut faults) = (Vec::new(), 0u64);
    let mut cutter = Cutter::new();
    // eight bytes a line, and never the lines themselves
    let mut names: HashSet<u64> = HashSet::new();
    let hasher = std::hash::RandomState::new();
    let mut progress = Progress::new(cx);
    for record in source.records()? {
        checked.lines += 1;
        progress.at(|_| format!("looking at line {}", grouped(checked.lines)));
        let (line, why) = match record {
            Err(unreadable) => (unreadable.line, vec![unreadable.why]),
            Ok(record) => {
                let line = record.line;
                match reader.read(&record).await? {
                    Err(why) => (line, why),
                    Ok(op) => {
                        let name = op.external_id.as_ref();
                        checked.named &= name.is_some();
                        let twice = name.is_some_and(|name| {
                            !names.insert(std::hash::BuildHasher::hash_one(&hasher, name.as_str()))
                        });
                        let full = cutter.push(record, (), known);
                        checked.batches.extend(full.map(|batch| batch.digest));
                        let begins =
                            |run: &&Header| run.lines == checked.lines && run.whole == cutter.so_far();
                        let begins: Vec<Header> = before.iter().filter(begins).cloned().collect();
                        checked.begins.extend(begins);
                        match name {
                            Some(name) if twice => {
                                (line, vec![format!("external-id {name} stands on an earlier line too")])
                            }
                            _ => continue,
                        }
                    }
                }
            }
        };
        faults += 1;
        if wrong.len() < SHOWN {
            wrong.push((line, why));
        }
    }
    progress.clear();
    checked.whole = cutter.so_far();
    checked.batches.extend(cutter.end().map(|batch| batch.digest));
    if wrong.is_empty() {
        return Ok(checked);
    }
    let (of, s) = (grouped(checked.lines), if checked.lines == 1 { "" } else { "s" });
    let mut failure = Failure::new(
        7,
        format!("{} of {of} line{s} of {} cannot work; nothing was sent", grouped(faults), source.name),
    );
    for (line, why) in &wrong {
        let why = why.iter().map(|one| bursar_shared::text::clean(one)).collect::<Vec<_>>().join("; ");
        failure.lines.push(format!("line {line}: {why}"));
    }
    if faults > wrong.len() as u64 {
        failure.lines.push(format!("and {} more", grouped(faults - wrong.len() as u64)));
    }
    let shown: Vec<Value> = wrong.iter().map(|(line, why)| json!({ "line": line, "errors": why })).collect();
    *failure.details = json!({ "wrong": faults, "lines": shown });
    Err(failure.hint("correct the file and send it again"))
}
