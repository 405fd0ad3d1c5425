//! One run of a file, written down as it goes: which batch was sent when, and what became of it.
//!
//! The keys of a run follow from what stands in the file, so the daemon alone makes each line once for as
//! long as it keeps keys. This journal holds what it forgets later.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions, TryLockError},
    io::Write as _,
    path::{Path, PathBuf},
    time::Duration,
};

use bursar_shared::{client::session, time::Timestamp};
use serde::{Deserialize, Serialize};

use crate::error::{Failure, Result};

/// What a run is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Header {
    /// What its keys begin with: made of what stands in the file.
    pub id: String,
    /// The file, wherever it was read from; none for stdin.
    pub file: Option<PathBuf>,
    /// Which daemon.
    pub server: String,
    /// Who; a key means nothing to anybody else.
    pub who: String,
    /// How many batches it has.
    pub batches: u32,
    /// Its name, when it has one.
    #[serde(default)]
    pub run: Option<String>,
    /// How many lines.
    #[serde(default)]
    pub lines: u64,
    /// What all its lines are known by.
    #[serde(default)]
    pub whole: String,
    /// When it began.
    pub at: Timestamp,
}

/// What happened to a batch.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Step {
    batch: u32,
    attempt: u32,
    at: Timestamp,
    /// Made and refused, when there was an answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    verdict: Option<(u64, u64)>,
}

/// Where the lines stand that were refused until then.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    rejects: PathBuf,
}

/// What a journal says.
struct Read {
    header: Header,
    steps: BTreeMap<u32, Step>,
    kept: BTreeMap<u32, PathBuf>,
}

/// What is to be done with a batch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Next {
    /// Send it under the key of this attempt.
    Send(u32),
    /// The daemon may have forgotten its key; it was answered before: made and refused.
    Known(u64, u64),
    /// The daemon may have forgotten its key, and nobody knows what became of it.
    Lost,
}

/// A run, for as long as this process holds it.
#[derive(Debug)]
pub(crate) struct Run {
    journal: File,
    steps: BTreeMap<u32, Step>,
    /// The files that hold what was refused of a batch.
    kept: BTreeMap<u32, PathBuf>,
}

fn name(folder: &Path, id: &str, server: &str) -> PathBuf {
    let server: String = server.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    folder.join(format!("{id}.{server}.jsonl"))
}

/// A journal; a last line that was cut off never happened.
fn read(path: &Path) -> Result<Option<Read>> {
    let Some(text) = session::read_private(path)? else { return Ok(None) };
    let text = String::from_utf8_lossy(&text);
    let mut lines = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    let Some(Ok(header)) = lines.next().map(serde_json::from_str) else { return Ok(None) };
    let mut read = Read { header, steps: BTreeMap::new(), kept: BTreeMap::new() };
    for line in lines {
        if let Ok(step) = serde_json::from_str::<Step>(line) {
            read.steps.insert(step.batch, step);
        } else if let Ok(kept) = serde_json::from_str::<Kept>(line) {
            keep(&mut read.kept, &read.steps, &kept.rejects);
        }
    }
    Ok(Some(read))
}

/// A file of rejects holds what was refused of all batches that were answered by then.
fn keep(kept: &mut BTreeMap<u32, PathBuf>, steps: &BTreeMap<u32, Step>, rejects: &Path) {
    for step in steps.values().filter(|step| step.verdict.is_some_and(|(_, refused)| refused > 0)) {
        kept.entry(step.batch).or_insert_with(|| rejects.to_owned());
    }
}

impl Run {
    /// Begins a run, or goes on with it.
    pub(crate) fn open(folder: &Path, header: &Header) -> Result<Self> {
        let path = name(folder, &header.id, &header.server);
        let (steps, kept) = match read(&path)? {
            Some(before) if before.header.who != header.who => {
                let (before, now) = (before.header.who, &header.who);
                return Err(Failure::new(4, format!("it was begun by {before}, and {now} is signed in"))
                    .hint(format!("bursar auth login --server {} --email {before}", header.server)));
            }
            Some(before) => (before.steps, before.kept),
            None => {
                session::write_private(&path, format!("{}\n", serde_json::to_string(header)?).as_bytes())?;
                Default::default()
            }
        };
        let wrong = |wrong: std::io::Error| Failure::new(1, format!("{}: {wrong}", path.display()));
        let journal = OpenOptions::new().append(true).open(&path).map_err(wrong)?;
        match journal.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Failure::new(6, "the same file is being sent by another process just now")
                    .hint("wait for its end"));
            }
            Err(TryLockError::Error(why)) => return Err(wrong(why)),
        }
        let mut run = Self { journal, steps, kept };
        // ends the line that a kill cut off, if there is one
        run.append("\n")?;
        Ok(run)
    }

    fn append(&mut self, line: &str) -> Result<()> {
        let wrong =
            |wrong: std::io::Error| Failure::new(1, format!("the run cannot be written down: {wrong}"));
        self.journal.write_all(line.as_bytes()).map_err(wrong)?;
        self.journal.sync_data().map_err(wrong)
    }

    fn step(&mut self, step: Step) -> Result<()> {
        self.append(&format!("{}\n", serde_json::to_string(&step)?))?;
        self.steps.insert(step.batch, step);
        Ok(())
    }

    /// How many lines were made before.
    pub(crate) fn made(&self) -> u64 {
        self.steps.values().filter_map(|step| step.verdict).map(|(made, _)| made).sum()
    }

    /// Where the lines stand that were refused of a batch when it was answered first.
    pub(crate) fn rejects_of(&self, batch: u32) -> Option<&Path> {
        self.kept.get(&batch).map(PathBuf::as_path)
    }

    /// What was refused until now stands there.
    pub(crate) fn kept(&mut self, rejects: &Path) -> Result<()> {
        let line = serde_json::to_string(&Kept { rejects: rejects.to_owned() })?;
        self.append(&format!("{line}\n"))?;
        keep(&mut self.kept, &self.steps, rejects);
        Ok(())
    }

    /// Whether a batch was sent before.
    pub(crate) fn knows(&self, batch: u32) -> bool {
        self.steps.contains_key(&batch)
    }

    /// What is to be done with a batch now; the daemon keeps keys for so long.
    pub(crate) fn next(&self, batch: u32, now: Timestamp, kept: Duration) -> Next {
        let Some(step) = self.steps.get(&batch) else { return Next::Send(0) };
        // its clock and ours may differ
        let forgotten = now.since(step.at) + Duration::from_secs(86_400) > kept;
        match step.verdict {
            // nothing of it was made, so that nothing can be made twice: perhaps it works now
            Some((0, _)) => Next::Send(step.attempt + 1),
            Some((made, refused)) if forgotten => Next::Known(made, refused),
            None if forgotten => Next::Lost,
            _ => Next::Send(step.attempt),
        }
    }

    /// A batch is about to be sent.
    pub(crate) fn begun(&mut self, batch: u32, attempt: u32, at: Timestamp) -> Result<()> {
        match self.steps.get(&batch) {
            // its key is as old as when it was sent first
            Some(step) if step.attempt == attempt => Ok(()),
            _ => self.step(Step { batch, attempt, at, verdict: None }),
        }
    }

    /// A batch was answered.
    pub(crate) fn done(&mut self, batch: u32, made: u64, refused: u64) -> Result<()> {
        let Some(step) = self.steps.get(&batch).copied() else { return Ok(()) };
        self.step(Step { verdict: Some((made, refused)), ..step })
    }
}

/// The earlier runs of a file at this daemon that made something, or may have.
pub(crate) fn runs_of(folder: &Path, file: Option<&Path>, server: &str) -> Result<Vec<Header>> {
    let (Some(file), Ok(entries)) = (file, fs::read_dir(folder)) else { return Ok(Vec::new()) };
    let mut runs = Vec::new();
    for entry in entries.flatten().filter(|entry| entry.path().extension().is_some_and(|e| e == "jsonl")) {
        let Some(Read { header, steps, .. }) = read(&entry.path())? else { continue };
        let some = steps.values().any(|step| step.verdict.is_none_or(|(made, _)| made > 0));
        if some && header.file.as_deref() == Some(file) && header.server == server {
            runs.push(header);
        }
    }
    Ok(runs)
}

/// An earlier run of the same file with other lines in it, of which some were made and some were not: whoever
/// corrected the file and sends it again would make the former twice.
pub(crate) fn unfinished(folder: &Path, header: &Header) -> Result<Option<(Timestamp, u64)>> {
    let Some(file) = &header.file else { return Ok(None) };
    let Ok(entries) = fs::read_dir(folder) else { return Ok(None) };
    let mut last: Option<(Timestamp, u64, bool)> = None;
    for entry in entries.flatten().filter(|entry| entry.path().extension().is_some_and(|e| e == "jsonl")) {
        let Some(Read { header: before, steps, .. }) = read(&entry.path())? else { continue };
        let theirs = before.file.as_ref() == Some(file) && before.server == header.server;
        if !theirs || before.id == header.id {
            continue;
        }
        let verdicts = || steps.values().filter_map(|step| step.verdict);
        let made: u64 = verdicts().map(|(made, _)| made).sum();
        let answered = verdicts().count();
        let whole = answered == before.batches as usize && verdicts().all(|(_, refused)| refused == 0);
        // what was sent and not answered may have been made
        let some = made > 0 || answered < steps.len();
        if last.as_ref().is_none_or(|(at, ..)| *at < before.at) {
            last = Some((before.at, made, some && !whole));
        }
    }
    // only the last one counts: what came before it was looked at then
    Ok(last.filter(|(.., torn)| *torn).map(|(at, made, _)| (at, made)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEPT: Duration = Duration::from_secs(30 * 86_400);

    fn header(id: &str) -> Header {
        Header {
            id: id.to_owned(),
            file: Some("/a.csv".into()),
            server: "http://127.0.0.1:1".to_owned(),
            who: "ada@example.com".to_owned(),
            batches: 2,
            run: None,
            lines: 0,
            whole: String::new(),
            at: Timestamp::from_micros(1),
        }
    }

    #[test]
    fn a_run_goes_on_where_it_was_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let at = Timestamp::from_micros(5);
        let mut run = Run::open(folder.path(), &header("a")).unwrap();
        assert_eq!(Run::open(folder.path(), &header("a")).unwrap_err().exit, 6);
        assert_eq!(run.next(0, at, KEPT), Next::Send(0));
        run.begun(0, 0, at).unwrap();
        run.done(0, 900, 100).unwrap();
        run.begun(1, 0, at).unwrap();
        run.journal.write_all(b"{\"batch\":1,\"att").unwrap();
        drop(run);
        let mut run = Run::open(folder.path(), &header("a")).unwrap();
        assert_eq!(run.rejects_of(0), None);
        run.kept(Path::new("/a.rejects.csv")).unwrap();
        drop(run);
        let mut run = Run::open(folder.path(), &header("a")).unwrap();
        assert_eq!((run.rejects_of(0), run.rejects_of(1)), (Some(Path::new("/a.rejects.csv")), None));
        assert_eq!((run.next(0, at, KEPT), run.next(1, at, KEPT)), (Next::Send(0), Next::Send(0)));
        let late = at + KEPT;
        assert_eq!((run.next(0, late, KEPT), run.next(1, late, KEPT)), (Next::Known(900, 100), Next::Lost));
        // what was refused as a whole may be tried anew
        run.done(1, 0, 7).unwrap();
        drop(run);
        let run = Run::open(folder.path(), &header("a")).unwrap();
        assert_eq!(run.next(1, late, KEPT), Next::Send(1));
        drop(run);
        let other = Header { who: "eve@example.com".to_owned(), ..header("a") };
        assert_eq!(Run::open(folder.path(), &other).unwrap_err().exit, 4);
    }

    #[test]
    fn a_file_that_was_changed_after_half_a_run_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let at = Timestamp::from_micros(5);
        assert_eq!(unfinished(folder.path(), &header("b")).unwrap(), None);
        let mut run = Run::open(folder.path(), &header("a")).unwrap();
        run.begun(0, 0, at).unwrap();
        run.done(0, 3, 0).unwrap();
        assert_eq!(unfinished(folder.path(), &header("a")).unwrap(), None);
        assert_eq!(unfinished(folder.path(), &header("b")).unwrap().unwrap().1, 3);
        run.begun(1, 0, at).unwrap();
        run.done(1, 3, 0).unwrap();
        assert_eq!(unfinished(folder.path(), &header("b")).unwrap(), None);
    }
}
