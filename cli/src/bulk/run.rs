//! One run of a file, written down as it goes: which batch was sent when, and what became of it.
//!
//! The keys of a run follow from what stands in the file, so the daemon alone makes each line once for as
//! long as it keeps keys. This journal holds what it forgets later.

use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions, TryLockError},
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
pub(super) struct Step {
    batch: u32,
    pub attempt: u32,
    at: Timestamp,
    /// Made and refused, when there was an answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<(u64, u64)>,
}

/// Where the lines stand that were refused of these batches.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Kept {
    rejects: PathBuf,
    batches: Vec<u32>,
    at: Timestamp,
}

/// Refused lines of a batch, offered for correction.
#[derive(Debug, Clone)]
pub(super) struct Offer {
    /// The file that holds them.
    pub rejects: PathBuf,
    pub batch: u32,
    /// Which attempt refused them; a later one may have made them.
    pub attempt: u32,
    pub at: Timestamp,
}

/// What a journal says.
#[derive(Debug)]
pub(super) struct Read {
    pub header: Header,
    pub steps: BTreeMap<u32, Step>,
    /// All that was ever offered, in the order of time.
    pub offers: Vec<Offer>,
}

impl Read {
    /// What is offered of a batch since it was sent last: what an earlier attempt refused is no news of it.
    pub(super) fn offer(&self, batch: u32) -> Option<&Offer> {
        let step = self.steps.get(&batch)?;
        self.offers.iter().rev().find(|offer| offer.batch == batch && offer.attempt == step.attempt)
    }

    fn keep(&mut self, kept: &Kept) {
        for batch in &kept.batches {
            let Some(step) = self.steps.get(batch) else { continue };
            let (rejects, attempt, at) = (kept.rejects.clone(), step.attempt, kept.at);
            self.offers.push(Offer { rejects, batch: *batch, attempt, at });
        }
    }
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
    read: Read,
}

fn name(folder: &Path, id: &str, server: &str) -> PathBuf {
    let server: String = server.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    folder.join(format!("{id}.{server}.jsonl"))
}

/// A journal; a last line that was cut off never happened.
pub(super) fn read(path: &Path) -> Result<Option<Read>> {
    let Some(text) = session::read_private(path)? else { return Ok(None) };
    let text = String::from_utf8_lossy(&text);
    let mut lines = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    let Some(Ok(header)) = lines.next().map(serde_json::from_str) else { return Ok(None) };
    let mut read = Read { header, steps: BTreeMap::new(), offers: Vec::new() };
    for line in lines {
        if let Ok(step) = serde_json::from_str::<Step>(line) {
            read.steps.insert(step.batch, step);
        } else if let Ok(kept) = serde_json::from_str::<Kept>(line) {
            read.keep(&kept);
        }
    }
    Ok(Some(read))
}

impl Run {
    /// Begins a run, or goes on with it.
    pub(crate) fn open(folder: &Path, header: &Header) -> Result<Self> {
        let path = name(folder, &header.id, &header.server);
        let read = match read(&path)? {
            Some(before) if before.header.who != header.who => {
                let (before, now) = (before.header.who, &header.who);
                return Err(Failure::new(4, format!("it was begun by {before}, and {now} is signed in"))
                    .hint(format!("bursar auth login --server {} --email {before}", header.server)));
            }
            Some(before) => before,
            None => {
                session::write_private(&path, format!("{}\n", serde_json::to_string(header)?).as_bytes())?;
                Read { header: header.clone(), steps: BTreeMap::new(), offers: Vec::new() }
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
        let mut run = Self { journal, read };
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
        self.read.steps.insert(step.batch, step);
        Ok(())
    }

    /// How many lines were made before.
    pub(crate) fn made(&self) -> u64 {
        self.read.steps.values().filter_map(|step| step.verdict).map(|(made, _)| made).sum()
    }

    /// Where the lines stand that were refused of a batch when it was sent last.
    pub(crate) fn rejects_of(&self, batch: u32) -> Option<&Path> {
        self.read.offer(batch).map(|offer| offer.rejects.as_path())
    }

    /// What was refused of these batches stands there.
    pub(crate) fn kept(&mut self, rejects: &Path, batches: Vec<u32>, at: Timestamp) -> Result<()> {
        let kept = Kept { rejects: rejects.to_owned(), batches, at };
        self.append(&format!("{}\n", serde_json::to_string(&kept)?))?;
        self.read.keep(&kept);
        Ok(())
    }

    /// Whether a batch was sent before.
    pub(crate) fn knows(&self, batch: u32) -> bool {
        self.read.steps.contains_key(&batch)
    }

    /// What is to be done with a batch now; the daemon keeps keys for so long.
    pub(crate) fn next(&self, batch: u32, now: Timestamp, kept: Duration) -> Next {
        let Some(step) = self.read.steps.get(&batch) else { return Next::Send(0) };
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
        match self.read.steps.get(&batch) {
            // its key is as old as when it was sent first
            Some(step) if step.attempt == attempt => Ok(()),
            _ => self.step(Step { batch, attempt, at, verdict: None }),
        }
    }

    /// A batch was answered.
    pub(crate) fn done(&mut self, batch: u32, made: u64, refused: u64) -> Result<()> {
        let Some(step) = self.read.steps.get(&batch).copied() else { return Ok(()) };
        self.step(Step { verdict: Some((made, refused)), ..step })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    const KEPT: Duration = Duration::from_secs(30 * 86_400);

    pub(in crate::bulk) fn header(id: &str) -> Header {
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
        run.kept(Path::new("/a.rejects.csv"), vec![0], at).unwrap();
        drop(run);
        let mut run = Run::open(folder.path(), &header("a")).unwrap();
        assert_eq!((run.rejects_of(0), run.rejects_of(1)), (Some(Path::new("/a.rejects.csv")), None));
        assert_eq!((run.next(0, at, KEPT), run.next(1, at, KEPT)), (Next::Send(0), Next::Send(0)));
        let late = at + KEPT;
        assert_eq!((run.next(0, late, KEPT), run.next(1, late, KEPT)), (Next::Known(900, 100), Next::Lost));
        // what was refused as a whole may be tried anew
        run.done(1, 0, 7).unwrap();
        drop(run);
        let mut run = Run::open(folder.path(), &header("a")).unwrap();
        assert_eq!(run.next(1, late, KEPT), Next::Send(1));
        run.kept(Path::new("/a.rejects-2.csv"), vec![1], at).unwrap();
        assert_eq!(run.rejects_of(1), Some(Path::new("/a.rejects-2.csv")));
        // and what it says then stands in a file of its own
        run.begun(1, 1, at).unwrap();
        assert_eq!(run.rejects_of(1), None);
        drop(run);
        let other = Header { who: "eve@example.com".to_owned(), ..header("a") };
        assert_eq!(Run::open(folder.path(), &other).unwrap_err().exit, 4);
    }
}
