//! Files of records, sent in batches: each line once, whatever dies meanwhile.

pub(crate) mod earlier;
pub(crate) mod run;
pub(crate) mod source;

use std::{
    fs::File,
    io::{self, Write as _},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use ring::digest;
use serde_json::{Map, Value};
use source::{Record, Shape, Source};

use crate::{
    context::Cx,
    error::{Failure, Result},
    output,
};

/// The most lines that one request carries.
const LINES: usize = 1_000;
/// The most bytes of values that one request carries; as JSON they are more, and a body may have 8 MiB.
const BYTES: usize = 3 << 20;
/// Columns that a file of rejects has beside those of the file that it came from.
pub(crate) const NOTES: [&str; 2] = ["line", "error"];

/// Lines that travel together. Where one batch ends and the next begins follows from the lines alone.
pub(crate) struct Batch<T> {
    /// Its place, from 0.
    pub number: u32,
    /// The lines, and what was made of them.
    pub lines: Vec<(Record, T)>,
    /// What stands in the lines, however it is quoted.
    pub digest: [u8; 32],
}

/// Cuts lines into batches.
pub(crate) struct Cutter<T> {
    number: u32,
    lines: Vec<(Record, T)>,
    bytes: usize,
    hash: digest::Context,
    /// Of all lines so far.
    whole: digest::Context,
}

impl<T> Cutter<T> {
    pub(crate) fn new() -> Self {
        let hash = digest::Context::new(&digest::SHA256);
        Self { number: 0, lines: Vec::new(), bytes: 0, hash: hash.clone(), whole: hash }
    }

    /// One more line; gives the batch that was full before it. `name` says what a column means, so that the
    /// same lines are the same whatever their columns are called and how they are ordered.
    pub(crate) fn push(
        &mut self,
        record: Record,
        made: T,
        name: impl Fn(&str) -> String,
    ) -> Option<Batch<T>> {
        let mut cells: Vec<(String, String)> = record
            .cells
            .iter()
            .filter(|(column, _)| !NOTES.contains(&column.as_str()))
            .map(|(column, value)| (name(column), output::plain(value)))
            .collect();
        cells.sort();
        let bytes: usize = cells.iter().map(|(name, value)| name.len() + value.len()).sum();
        let full = self.lines.len() >= LINES || (!self.lines.is_empty() && self.bytes + bytes > BYTES);
        let before = if full { self.end() } else { None };
        for hash in [&mut self.hash, &mut self.whole] {
            for text in cells.iter().flat_map(|(name, value)| [name, value]) {
                // lengths first, so that no two lines read alike
                hash.update(&(text.len() as u64).to_be_bytes());
                hash.update(text.as_bytes());
            }
            hash.update(&u64::MAX.to_be_bytes());
        }
        self.bytes += bytes;
        self.lines.push((record, made));
        before
    }

    /// What all lines so far are known by.
    pub(crate) fn so_far(&self) -> String {
        hex(self.whole.clone().finish().as_ref())
    }

    /// What is left.
    pub(crate) fn end(&mut self) -> Option<Batch<T>> {
        if self.lines.is_empty() {
            return None;
        }
        let hash = std::mem::replace(&mut self.hash, digest::Context::new(&digest::SHA256)).finish();
        let mut digest = [0; 32];
        digest.copy_from_slice(hash.as_ref());
        let batch = Batch { number: self.number, lines: std::mem::take(&mut self.lines), digest };
        self.number += 1;
        self.bytes = 0;
        Some(batch)
    }
}

/// What the keys of a run begin with: the lines, and the name of the run when it has one.
pub(crate) fn identity(batches: &[[u8; 32]], name: &str) -> String {
    let mut hash = digest::Context::new(&digest::SHA256);
    hash.update(name.as_bytes());
    hash.update(&[0]);
    for batch in batches {
        hash.update(batch);
    }
    hex(hash.finish().as_ref())
}

/// What a request is known by.
pub(crate) fn known_by(body: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, body).as_ref())
}

/// Half of a hash is enough to tell files apart.
fn hex(hash: &[u8]) -> String {
    hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// How far it is, on a terminal's last line.
pub(crate) struct Progress {
    shown: bool,
    begun: Instant,
    last: Option<Instant>,
}

impl Progress {
    pub(crate) fn new(cx: &Cx) -> Self {
        Self { shown: !cx.globals.quiet && output::stderr_is_terminal(), begun: Instant::now(), last: None }
    }

    /// Says how far it is, ten times a second at most.
    pub(crate) fn at(&mut self, text: impl FnOnce(Duration) -> String) {
        let due = self.last.is_none_or(|last| last.elapsed() >= Duration::from_millis(100));
        if self.shown && due {
            self.last = Some(Instant::now());
            output::ask(&format!("\r\x1b[K{}", text(self.begun.elapsed())));
        }
    }

    /// Clears the line, for words that stay.
    pub(crate) fn clear(&mut self) {
        if self.shown && self.last.take().is_some() {
            output::ask("\r\x1b[K");
        }
    }
}

/// The lines that were refused, with why: as a file that can be corrected and sent.
pub(crate) struct Rejects {
    file: tempfile::NamedTempFile,
    to: PathBuf,
    /// Whether the name was given.
    named: bool,
    shape: Shape,
    columns: Vec<String>,
    rows: u64,
}

impl Rejects {
    /// A file beside the source, or where it was asked for.
    pub(crate) fn new(source: &Source, wanted: Option<&str>) -> Result<Self> {
        let to = wanted.map_or_else(|| beside(source), PathBuf::from);
        let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty());
        let file = tempfile::Builder::new()
            .prefix(".bursar-")
            .tempfile_in(folder.unwrap_or_else(|| Path::new(".")))
            .map_err(|wrong| {
                Failure::usage(format!("{} cannot be written: {wrong}", to.display()))
                    .hint("--rejects FILE says where refused lines go")
            })?;
        let columns = source.columns()?.into_iter().filter(|name| !NOTES.contains(&name.as_str())).collect();
        let mut rejects = Self { file, to, named: wanted.is_some(), shape: source.shape(), columns, rows: 0 };
        if let Shape::Table(_) = rejects.shape {
            let heading: Vec<String> =
                rejects.columns.iter().cloned().chain(NOTES.map(str::to_owned)).collect();
            rejects.row(&heading)?;
        }
        Ok(rejects)
    }

    fn row<T: AsRef<[u8]>>(&mut self, cells: &[T]) -> Result<()> {
        let Shape::Table(separator) = self.shape else { return Ok(()) };
        let mut writer = csv::WriterBuilder::new().delimiter(separator).from_writer(Vec::new());
        let written = writer.write_record(cells).map_err(io::Error::from);
        let text = written.and_then(|()| writer.into_inner().map_err(|wrong| wrong.into_error()));
        text.and_then(|text| self.file.write_all(&text)).map_err(|wrong| self.broken(&wrong))
    }

    fn broken(&self, wrong: &dyn std::fmt::Display) -> Failure {
        Failure::new(1, format!("{} cannot be written: {wrong}", self.to.display()))
    }

    /// Whether it will be put in the place of this file, which was named.
    pub(crate) fn replaces(&self, path: &Path) -> bool {
        self.named && std::path::absolute(&self.to).is_ok_and(|to| to == path)
    }

    /// How many there are.
    pub(crate) fn rows(&self) -> u64 {
        self.rows
    }

    /// One more.
    pub(crate) fn add(&mut self, record: &Record, why: &str) -> Result<()> {
        self.rows += 1;
        let found = |name: &str| record.cells.iter().find(|(known, _)| known == name).map(|(_, value)| value);
        match self.shape {
            Shape::Table(_) => {
                let cells: Vec<String> = self
                    .columns
                    .iter()
                    .map(|name| found(name).map(output::plain).unwrap_or_default())
                    .chain([record.line.to_string(), why.to_owned()])
                    .collect();
                self.row(&cells)
            }
            Shape::Lines => {
                let mut members: Map<String, Value> = record.cells.iter().cloned().collect();
                members.insert("line".to_owned(), record.line.into());
                members.insert("error".to_owned(), why.into());
                let text = format!("{}\n", Value::Object(members));
                self.file.write_all(text.as_bytes()).map_err(|wrong| self.broken(&wrong))
            }
        }
    }

    /// Puts the file in its place and says where that is; nothing when nothing was refused. A file that
    /// somebody may have corrected meanwhile is never written over.
    pub(crate) fn keep(self) -> Result<Option<PathBuf>> {
        if self.rows == 0 {
            return Ok(None);
        }
        let broken = |to: &Path, why: &dyn std::fmt::Display| {
            Failure::new(1, format!("{} cannot be written: {why}", to.display()))
        };
        let mut to = self.to.clone();
        for number in 2.. {
            if self.named || !to.exists() || same(self.file.path(), &to) {
                break;
            }
            let name = self.to.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let end = self.to.extension().unwrap_or_default().to_string_lossy().into_owned();
            to = self.to.with_file_name(format!("{name}-{number}.{end}"));
        }
        // a file of its owner's, as any that a program writes: not only for their eyes
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = std::fs::Permissions::from_mode(0o640);
            self.file.as_file().set_permissions(mode).map_err(|why| broken(&to, &why))?;
        }
        self.file.as_file().sync_all().map_err(|why| broken(&to, &why))?;
        self.file.persist(&to).map_err(|failed| broken(&to, &failed.error))?;
        Ok(Some(to))
    }
}

/// `credits.csv` -> `credits.rejects.csv`, in the same folder.
fn beside(source: &Source) -> PathBuf {
    let end = match source.shape() {
        Shape::Table(b'\t') => "tsv",
        Shape::Table(_) => "csv",
        Shape::Lines => "jsonl",
    };
    match &source.path {
        Some(path) => path.with_extension(format!("rejects.{end}")),
        None => PathBuf::from(format!("stdin.rejects.{end}")),
    }
}

fn same(one: &Path, other: &Path) -> bool {
    let read = |path: &Path| -> io::Result<[u8; 32]> {
        let mut hash = digest::Context::new(&digest::SHA256);
        let mut file = File::open(path)?;
        let mut buffer = vec![0; 1 << 16];
        loop {
            match io::Read::read(&mut file, &mut buffer)? {
                0 => break,
                count => hash.update(&buffer[..count]),
            }
        }
        let mut digest = [0; 32];
        digest.copy_from_slice(hash.finish().as_ref());
        Ok(digest)
    };
    matches!((read(one), read(other)), (Ok(one), Ok(other)) if one == other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(rows: &[(&str, String)]) -> Vec<([u8; 32], usize)> {
        let mut cutter = Cutter::new();
        let mut batches = Vec::new();
        for (line, (name, value)) in (2..).zip(rows) {
            let record = Record { line, cells: vec![((*name).to_owned(), Value::from(value.clone()))] };
            batches.extend(cutter.push(record, (), str::to_ascii_lowercase));
        }
        batches.extend(cutter.end());
        batches.iter().map(|batch| (batch.digest, batch.lines.len())).collect()
    }

    #[test]
    fn batches_are_cut_by_lines_and_bytes_and_known_by_what_they_hold() {
        let rows = |name: &'static str| (0..2_500).map(|n| (name, n.to_string())).collect::<Vec<_>>();
        let batches = cut(&rows("to"));
        assert_eq!(batches.iter().map(|(_, lines)| *lines).collect::<Vec<_>>(), [1_000, 1_000, 500]);
        // what a column is called matters not, what stands in it does
        assert_eq!(cut(&rows("TO")), batches);
        let mut other = rows("to");
        other[1_999].1 = "x".to_owned();
        let other = cut(&other);
        assert_eq!((other[0], other[2]), (batches[0], batches[2]));
        assert_ne!(other[1].0, batches[1].0);
        assert_ne!(identity(&[batches[0].0], ""), identity(&[batches[0].0], "2"));
        let long: Vec<_> = (0..3).map(|_| ("note", "x".repeat(2 << 20))).collect();
        assert_eq!(cut(&long).iter().map(|(_, lines)| *lines).collect::<Vec<_>>(), [1, 1, 1]);
    }
}
