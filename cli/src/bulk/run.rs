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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Step {
    batch: u32,
    pub attempt: u32,
    at: Timestamp,
    /// What was sent is known by it: under one key the daemon takes nothing else.
    #[serde(default)]
    body: String,
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
    /// None when it is only looked at: nothing is written down then.
    journal: Option<File>,
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

/// Refuses to be the second one at a journal.
fn alone(locked: Result<(), TryLockError>, path: &Path) -> Result<()> {
    match locked {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => {
            Err(Failure::new(6, "the same file is being sent by another process just now")
                .hint("wait for its end"))
        }
        Err(TryLockError::Error(wrong)) => Err(Failure::new(1, format!("{}: {wrong}", path.display()))),
    }
}

impl Run {
    /// Begins a run, or goes on with it.
    pub(crate) fn open(folder: &Path, header: &Header) -> Result<Self> {
        let path = name(folder, &header.id, &header.server);
        let read = match Self::before(&path, header)? {
            Some(before) => before,
            None => {
                session::write_private(&path, format!("{}\n", serde_json::to_string(header)?).as_bytes())?;
                Self::fresh(header)
            }
        };
        let journal = OpenOptions::new().append(true).open(&path);
        let journal = journal.map_err(|wrong| Failure::new(1, format!("{}: {wrong}", path.display())))?;
        alone(journal.try_lock(), &path)?;
        let mut run = Self { journal: Some(journal), read };
        // ends the line that a kill cut off, if there is one
        run.append("\n")?;
        Ok(run)
    }

    /// The same for a dry run: goes on with what there is, and writes nothing.
    pub(crate) fn look(folder: &Path, header: &Header) -> Result<Self> {
        let path = name(folder, &header.id, &header.server);
        let Some(read) = Self::before(&path, header)? else {
            return Ok(Self { journal: None, read: Self::fresh(header) });
        };
        let journal = File::open(&path);
        let journal = journal.map_err(|wrong| Failure::new(1, format!("{}: {wrong}", path.display())))?;
        alone(journal.try_lock_shared(), &path)?;
        Ok(Self { journal: None, read })
    }

    fn fresh(header: &Header) -> Read {
        Read { header: header.clone(), steps: BTreeMap::new(), offers: Vec::new() }
    }

    /// What its journal says, when it is the caller's.
    fn before(path: &Path, header: &Header) -> Result<Option<Read>> {
        let read = read(path)?;
        if let Some(before) = read.as_ref().map(|read| &read.header.who).filter(|who| **who != header.who) {
            return Err(Failure::new(
                4,
                format!("it was begun by {before}, and {} is signed in", header.who),
            )
            .hint(format!("bursar auth login --server {} --email {before}", header.server)));
        }
        Ok(read)
    }

    fn append(&mut self, line: &str) -> Result<()> {
        let wrong =
            |wrong: std::io::Error| Failure::new(1, format!("the run cannot be written down: {wrong}"));
        let Some(journal) = &mut self.journal else { return Ok(()) };
        journal.write_all(line.as_bytes()).map_err(wrong)?;
        journal.sync_data().map_err(wrong)
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

    /// Whether something else was sent under the key of this attempt: the daemon refuses that.
    pub(crate) fn differs(&self, batch: u32, attempt: u32, body: &str) -> bool {
        let other = |step: &Step| step.attempt == attempt && !step.body.is_empty() && step.body != body;
        self.read.steps.get(&batch).is_some_and(other)
    }

    /// A batch is about to be sent.
    pub(crate) fn begun(&mut self, batch: u32, attempt: u32, body: &str, at: Timestamp) -> Result<()> {
        match self.read.steps.get_mut(&batch) {
            // its key is as old as when it was sent first; what the daemon took is known by its answer
            Some(step) if step.attempt == attempt => {
                body.clone_into(&mut step.body);
                Ok(())
            }
            _ => self.step(Step { batch, attempt, body: body.to_owned(), at, verdict: None }),
        }
    }

    /// A batch was answered.
    pub(crate) fn done(&mut self, batch: u32, made: u64, refused: u64) -> Result<()> {
        let Some(step) = self.read.steps.get(&batch).cloned() else { return Ok(()) };
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
        assert_eq!(Run::look(folder.path(), &header("a")).unwrap_err().exit, 6);
        assert_eq!(run.next(0, at, KEPT), Next::Send(0));
        run.begun(0, 0, "", at).unwrap();
        run.done(0, 900, 100).unwrap();
        run.begun(1, 0, "", at).unwrap();
        run.journal.as_mut().unwrap().write_all(b"{\"batch\":1,\"att").unwrap();
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
        // other flags than those of an attempt that never arrived: what was answered counts
        run.begun(0, 0, "new", at).unwrap();
        run.done(0, 900, 100).unwrap();
        assert!(run.differs(0, 0, "old") && !run.differs(0, 0, "new") && !run.differs(0, 1, "old"));
        assert_eq!(run.next(1, late, KEPT), Next::Send(1));
        run.kept(Path::new("/a.rejects-2.csv"), vec![1], at).unwrap();
        assert_eq!(run.rejects_of(1), Some(Path::new("/a.rejects-2.csv")));
        // and what it says then stands in a file of its own
        run.begun(1, 1, "", at).unwrap();
        assert_eq!(run.rejects_of(1), None);
        drop(run);
        let other = Header { who: "eve@example.com".to_owned(), ..header("a") };
        assert_eq!(Run::open(folder.path(), &other).unwrap_err().exit, 4);
    }
}
