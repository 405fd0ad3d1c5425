//! What the journals of earlier runs say of a file that is about to be sent: which of its lines were made
//! already, by whatever way.

use std::{
    fs,
    path::{Path, PathBuf},
};

use bursar_shared::time::Timestamp;

use super::run::{self, Header, Read};
use crate::error::Result;

/// The runs at one daemon.
pub(crate) struct Earlier(Vec<Read>);

/// A file of rejects that a later run of its source has overtaken.
#[derive(Debug, PartialEq)]
pub(crate) struct Overtaken {
    /// Where its lines came from.
    pub source: Option<PathBuf>,
    /// How many of the lines were made since, as far as is known.
    pub made: u64,
    /// Where those stand that were refused last.
    pub rest: Vec<PathBuf>,
}

impl Read {
    /// How many lines were made.
    fn made(&self) -> u64 {
        self.steps.values().filter_map(|step| step.verdict).map(|(made, _)| made).sum()
    }

    /// Whether it made something, or may have.
    fn effective(&self) -> bool {
        self.steps.values().any(|step| step.verdict.is_none_or(|(made, _)| made > 0))
    }
}

fn same(path: &Path, file: &Path) -> bool {
    path == file || fs::canonicalize(path).is_ok_and(|path| path == file)
}

impl Earlier {
    /// Reads the journals of this daemon.
    pub(crate) fn new(folder: &Path, server: &str) -> Result<Self> {
        let mut all = Vec::new();
        let Ok(entries) = fs::read_dir(folder) else { return Ok(Self(all)) };
        for entry in entries.flatten() {
            let path = entry.path();
            if path.extension().is_some_and(|end| end == "jsonl")
                && let Some(read) = run::read(&path)?
                && read.header.server == server
            {
                all.push(read);
            }
        }
        Ok(Self(all))
    }

    /// The runs of a file that made something, or may have.
    pub(crate) fn runs_of(&self, file: Option<&Path>) -> Vec<Header> {
        let Some(file) = file else { return Vec::new() };
        let of = self.0.iter().filter(|read| read.effective() && read.header.file.as_deref() == Some(file));
        of.map(|read| read.header.clone()).collect()
    }

    /// A run of the same file with other lines in it, of which some were made and some were not: whoever
    /// corrected the file and sends it again would make the former twice.
    pub(crate) fn unfinished(&self, header: &Header) -> Option<(Timestamp, u64)> {
        let file = header.file.as_ref()?;
        let theirs = |read: &&Read| read.header.file.as_ref() == Some(file) && read.header.id != header.id;
        // only the last one counts: what came before it was looked at then
        let last = self.0.iter().filter(theirs).max_by_key(|read| read.header.at)?;
        let verdicts = || last.steps.values().filter_map(|step| step.verdict);
        let whole = verdicts().count() == last.header.batches as usize && verdicts().all(|(_, no)| no == 0);
        (last.effective() && !whole).then(|| (last.header.at, last.made()))
    }

    /// Whether this file is one of rejects whose lines a later run of their source made, or may have: what is
    /// refused as a whole is tried anew by the same command, and then this file says what was, not what is.
    pub(crate) fn overtaken(&self, header: &Header) -> Option<Overtaken> {
        let file = header.file.as_ref()?;
        let offers = self.0.iter().flat_map(|read| read.offers.iter().map(move |offer| (read, offer)));
        // whoever wrote it last says what stands in it
        let (read, last) =
            offers.filter(|(_, offer)| same(&offer.rejects, file)).max_by_key(|(_, offer)| offer.at)?;
        // the very same lines are the very same run, wherever they stand: each is made once
        if read.header.id == header.id {
            return None;
        }
        let written = read.offers.iter().filter(|offer| offer.at == last.at && offer.rejects == last.rejects);
        let mut overtaken: Option<Overtaken> = None;
        for offer in written {
            let later = read.steps.get(&offer.batch).filter(|step| step.attempt > offer.attempt);
            let Some(step) = later.filter(|step| step.verdict.is_none_or(|(made, _)| made > 0)) else {
                continue;
            };
            let found = overtaken.get_or_insert_with(|| Overtaken {
                source: read.header.file.clone(),
                made: 0,
                rest: Vec::new(),
            });
            found.made += step.verdict.map_or(0, |(made, _)| made);
            let rest = read.offer(offer.batch).map(|offer| offer.rejects.clone());
            found.rest.extend(rest.filter(|rest| !found.rest.contains(rest)));
        }
        overtaken
    }

    /// The other way round: a file of which nothing was made at first, whose refused lines were sent from their
    /// own file since. Gives that file, when, and how many it made.
    pub(crate) fn sent_apart(&self, header: &Header) -> Option<(PathBuf, Timestamp, u64)> {
        let read = self.0.iter().find(|read| read.header.id == header.id)?;
        let refused = read.steps.iter().filter(|(_, step)| step.verdict.is_some_and(|(made, _)| made == 0));
        let offers = refused.filter_map(|(batch, _)| read.offer(*batch));
        offers
            .flat_map(|offer| self.0.iter().map(move |read| (offer, read)))
            .find(|(offer, sent)| {
                sent.header.file.as_ref().is_some_and(|file| same(&offer.rejects, file))
                    && sent.header.at >= offer.at
                    && sent.effective()
            })
            .map(|(offer, sent)| (offer.rejects.clone(), sent.header.at, sent.made()))
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::run::{Run, tests::header},
        *,
    };

    const SERVER: &str = "http://127.0.0.1:1";

    #[test]
    fn a_file_that_was_changed_after_half_a_run_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let at = Timestamp::from_micros(5);
        let unfinished =
            |id: &str| Earlier::new(folder.path(), SERVER).unwrap().unfinished(&header(id)).map(|(_, n)| n);
        assert_eq!(unfinished("b"), None);
        let mut run = Run::open(folder.path(), &header("a")).unwrap();
        run.begun(0, 0, "", at).unwrap();
        run.done(0, 3, 0).unwrap();
        assert_eq!((unfinished("a"), unfinished("b")), (None, Some(3)));
        run.begun(1, 0, "", at).unwrap();
        run.done(1, 3, 0).unwrap();
        assert_eq!(unfinished("b"), None);
    }

    #[test]
    fn rejects_and_their_source_know_of_each_other() {
        let folder = tempfile::tempdir().unwrap();
        let at = Timestamp::from_micros(5);
        let earlier = || Earlier::new(folder.path(), SERVER).unwrap();
        let rejects = Header {
            id: "r".to_owned(),
            file: Some("/a.rejects.csv".into()),
            at: Timestamp::from_micros(9),
            ..header("r")
        };
        let mut run = Run::open(folder.path(), &header("a")).unwrap();
        run.begun(0, 0, "", at).unwrap();
        run.done(0, 0, 3).unwrap();
        run.kept(Path::new("/a.rejects.csv"), vec![0], at).unwrap();
        assert_eq!((earlier().overtaken(&rejects), earlier().sent_apart(&header("a"))), (None, None));
        // what was refused is sent from the file of rejects, and must not come from its source as well
        let mut sent = Run::open(folder.path(), &rejects).unwrap();
        sent.begun(0, 0, "", at).unwrap();
        assert_eq!(earlier().sent_apart(&header("a")).unwrap().2, 0, "its answer may be lost");
        sent.done(0, 2, 1).unwrap();
        assert_eq!(earlier().sent_apart(&header("a")).unwrap().2, 2);
        sent.done(0, 0, 3).unwrap();
        assert_eq!(earlier().sent_apart(&header("a")), None);
        // the source is sent again, and makes two of them
        run.begun(0, 1, "", at).unwrap();
        run.done(0, 2, 1).unwrap();
        run.kept(Path::new("/a.rejects-2.csv"), vec![0], Timestamp::from_micros(7)).unwrap();
        let rest = vec![PathBuf::from("/a.rejects-2.csv")];
        let wanted = Overtaken { source: Some("/a.csv".into()), made: 2, rest };
        assert_eq!(earlier().overtaken(&rejects), Some(wanted));
        let last = Header { file: Some("/a.rejects-2.csv".into()), ..rejects.clone() };
        assert_eq!(earlier().overtaken(&last), None);
        // whoever writes a file of this name anew says what stands in it
        let mut other = Run::open(folder.path(), &header("b")).unwrap();
        other.begun(0, 0, "", at).unwrap();
        other.done(0, 1, 1).unwrap();
        other.kept(Path::new("/a.rejects.csv"), vec![0], Timestamp::from_micros(8)).unwrap();
        assert_eq!(earlier().overtaken(&rejects), None);
    }
}
