//! A file of records, read twice and never held: CSV, TSV or JSON Lines.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, Read as _, Seek as _},
    path::{Path, PathBuf},
};

use serde_json::{Map, Value};

use crate::{
    change,
    error::{Failure, Result},
};

/// The most bytes that one line of JSON may have.
const LINE: usize = 1 << 20;

/// How a file holds its records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Values between this byte, names in the first line.
    Table(u8),
    /// A JSON object a line.
    Lines,
}

/// A record as it stands in the file.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Record {
    /// The line that it begins at, from 1.
    pub line: u64,
    /// Names and values, in the order of the file; of a table all are texts, and none is empty.
    pub cells: Vec<(String, Value)>,
}

/// A line that is no record.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Unreadable {
    /// Which.
    pub line: u64,
    /// Why.
    pub why: String,
}

/// What a file that was given holds.
pub(crate) enum Input {
    /// Records, however many.
    Records(Source),
    /// The members of one request, as the API has it.
    One(Map<String, Value>),
}

/// A file of records that can be read from its beginning again and again.
#[derive(Debug)]
pub(crate) struct Source {
    file: File,
    shape: Shape,
    /// What people call it.
    pub name: String,
    /// Where it is; stdin is nowhere.
    pub path: Option<PathBuf>,
}

/// Makes a folder that only its owner may look into.
fn private(folder: &Path) -> io::Result<()> {
    let mut make = std::fs::DirBuilder::new();
    make.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut make, 0o700);
    make.create(folder)
}

/// The shape that a file's name promises.
fn promised(path: &str) -> Option<Shape> {
    let end = Path::new(path).extension()?.to_str()?.to_ascii_lowercase();
    match end.as_str() {
        "csv" => Some(Shape::Table(b',')),
        "tsv" | "tab" => Some(Shape::Table(b'\t')),
        "jsonl" | "ndjson" => Some(Shape::Lines),
        _ => None,
    }
}

/// The shape of a text that nobody named; nothing for one JSON value, which is no list of records.
fn guessed(begin: &[u8]) -> Option<Shape> {
    let begin = begin.strip_prefix(b"\xef\xbb\xbf").unwrap_or(begin).trim_ascii_start();
    if begin.first() != Some(&b'{') {
        return (begin.first() != Some(&b'[')).then_some(Shape::Table(b','));
    }
    let mut lines = begin.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
    let first: Map<String, Value> = serde_json::from_slice(lines.next()?).ok()?;
    // one object alone is a request as the API has it, unless it is written as a table is
    (lines.next().is_some() || first.contains_key("from")).then_some(Shape::Lines)
}

/// What stands between the values: some spreadsheets write `;`, where the comma is for decimals.
fn separator(begin: &[u8], usual: u8) -> u8 {
    let heading = begin.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let count = |wanted: u8| heading.iter().filter(|byte| **byte == wanted).count();
    [b';', b'\t', b','].into_iter().max_by_key(|one| (count(*one), *one == usual)).unwrap_or(usual)
}

impl Source {
    /// Opens a file. `-` is stdin, and what can be read only once is kept in a file without a name in
    /// `folder`.
    pub(crate) fn open(path: &str, folder: &Path) -> Result<Input> {
        let wrong = |wrong: io::Error| Failure::usage(format!("{path}: {wrong}"));
        let stdin = path == "-";
        let shape = promised(path);
        if shape.is_none() && !stdin {
            return Ok(Input::One(change::members_of(Some(path))?));
        }
        let whole = match stdin {
            true => None,
            false => {
                Some(File::open(path).map_err(wrong)?).filter(|f| f.metadata().is_ok_and(|m| m.is_file()))
            }
        };
        let mut file = match whole {
            Some(file) => file,
            None => {
                private(folder).map_err(wrong)?;
                let mut kept = tempfile::tempfile_in(folder).map_err(wrong)?;
                match stdin {
                    true => io::copy(&mut io::stdin().lock(), &mut kept),
                    false => io::copy(&mut File::open(path).map_err(wrong)?, &mut kept),
                }
                .map_err(wrong)?;
                kept
            }
        };
        file.rewind().map_err(wrong)?;
        let mut begin = Vec::new();
        (&file).take(1 << 16).read_to_end(&mut begin).map_err(wrong)?;
        if begin.starts_with(b"\xff\xfe") || begin.starts_with(b"\xfe\xff") {
            return Err(Failure::new(7, format!("{path} is UTF-16"))
                .hint("save it as UTF-8 (spreadsheets call it CSV UTF-8)"));
        }
        let Some(shape) = shape.or_else(|| guessed(&begin)) else {
            file.rewind().map_err(wrong)?;
            let mut text = Vec::new();
            file.read_to_end(&mut text).map_err(wrong)?;
            return Ok(Input::One(change::object(path, &text)?));
        };
        let shape = match shape {
            Shape::Table(usual) => Shape::Table(separator(&begin, usual)),
            Shape::Lines => Shape::Lines,
        };
        let name = if stdin { "stdin".to_owned() } else { path.to_owned() };
        Ok(Input::Records(Self { file, shape, name, path: (!stdin).then(|| path.into()) }))
    }

    /// How it holds its records.
    pub(crate) fn shape(&self) -> Shape {
        self.shape
    }

    /// The names of a table's columns, in order; JSON has none.
    pub(crate) fn columns(&self) -> Result<Vec<String>> {
        match self.shape {
            Shape::Table(_) => Ok(self.table()?.1),
            Shape::Lines => Ok(Vec::new()),
        }
    }

    /// All records from the beginning, and what stands between them that is none.
    pub(crate) fn records(&self) -> Result<Box<dyn Iterator<Item = Result<Record, Unreadable>>>> {
        match self.shape {
            Shape::Table(_) => {
                let (reader, columns) = self.table()?;
                let mut rows = Rows { reader, columns, ahead: None };
                Ok(Box::new(std::iter::from_fn(move || rows.next())))
            }
            Shape::Lines => {
                let mut lines = Lines { reader: BufReader::new(self.again()?), line: 0, over: false };
                Ok(Box::new(std::iter::from_fn(move || lines.next())))
            }
        }
    }

    /// The file from its beginning. Handles share their place: one reader at a time.
    fn again(&self) -> Result<File> {
        let wrong = |wrong: io::Error| Failure::usage(format!("{}: {wrong}", self.name));
        let mut file = self.file.try_clone().map_err(wrong)?;
        file.rewind().map_err(wrong)?;
        Ok(file)
    }

    fn table(&self) -> Result<(csv::Reader<Unix>, Vec<String>)> {
        let Shape::Table(separator) = self.shape else {
            return Err(Failure::new(1, "JSON has no heading"));
        };
        let mut reader = csv::ReaderBuilder::new()
            .delimiter(separator)
            .flexible(true)
            .from_reader(Unix::new(self.again()?));
        let heading = reader.headers().map_err(|wrong| {
            Failure::new(7, format!("the heading of {} cannot be read: {wrong}", self.name))
        })?;
        let columns: Vec<String> = heading.iter().map(|name| name.trim().to_owned()).collect();
        Ok((reader, columns))
    }
}

/// A text whose lines end as they do here. Windows ends them with two bytes, which the reader of tables
/// takes for the end of one line and the beginning of the next; and within quotes for a control.
struct Unix {
    text: BufReader<File>,
    /// The first of the two was there.
    held: bool,
    /// The last byte that was given; a text without end gets one.
    last: u8,
    /// Whether an odd number of quotes was given.
    open: bool,
}

impl Unix {
    fn new(file: File) -> Self {
        Self { text: BufReader::new(file), held: false, last: b'\n', open: false }
    }
}

impl io::Read for Unix {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let Some(first) = out.first_mut() else { return Ok(0) };
        loop {
            let next = self.text.fill_buf()?;
            let lone = std::mem::take(&mut self.held) && next.first() != Some(&b'\n');
            if lone || (next.is_empty() && self.last != b'\n') {
                *first = b'\n';
                self.last = b'\n';
                return Ok(1);
            }
            if next.is_empty() {
                return Ok(0);
            }
            let plain = next.iter().position(|byte| *byte == b'\r').unwrap_or(next.len());
            if plain > 0 {
                let count = plain.min(out.len());
                out[..count].copy_from_slice(&next[..count]);
                self.last = next[count - 1];
                self.open ^= out[..count].iter().filter(|byte| **byte == b'"').count() % 2 == 1;
                self.text.consume(count);
                return Ok(count);
            }
            self.text.consume(1);
            self.held = true;
        }
    }
}

/// The rows of a table.
struct Rows {
    reader: csv::Reader<Unix>,
    columns: Vec<String>,
    /// The row after, when it had to be looked at; the inner nothing is the end.
    ahead: Option<Option<Result<(u64, csv::ByteRecord), Unreadable>>>,
}

impl Rows {
    /// The next row and the line that it begins at.
    fn read(&mut self) -> Option<Result<(u64, csv::ByteRecord), Unreadable>> {
        let mut row = csv::ByteRecord::new();
        match self.reader.read_byte_record(&mut row) {
            Ok(false) => None,
            Ok(true) => {
                // counted from its end: where it begins there may be empty lines
                let inside = row.as_slice().iter().filter(|byte| **byte == b'\n').count() as u64;
                Some(Ok((self.reader.position().line().saturating_sub(inside + 1), row)))
            }
            Err(wrong) => {
                let line = self.reader.position().line();
                Some(Err(Unreadable { line, why: format!("cannot be read: {wrong}") }))
            }
        }
    }

    fn next(&mut self) -> Option<Result<Record, Unreadable>> {
        loop {
            let (line, row) = match self.ahead.take().unwrap_or_else(|| self.read())? {
                Ok(row) => row,
                Err(wrong) => return Some(Err(wrong)),
            };
            // its last value ends with a line of its own, or it took the rest of the file
            if row.as_slice().ends_with(b"\n") {
                let after = self.read();
                if after.is_none() && self.reader.get_ref().open {
                    let why = "has a quote that is never closed".to_owned();
                    return Some(Err(Unreadable { line: line + 1, why }));
                }
                self.ahead = Some(after);
            }
            if let Some(read) = read_row(&row, line, &self.columns) {
                return Some(read);
            }
        }
    }
}

/// A row with the names of its columns; empty rows are none.
fn read_row(row: &csv::ByteRecord, line: u64, columns: &[String]) -> Option<Result<Record, Unreadable>> {
    let wrong = |why: String| Some(Err(Unreadable { line, why }));
    if row.iter().all(|cell| cell.trim_ascii().is_empty()) {
        return None;
    }
    if row.len() != columns.len() {
        let torn = row.iter().any(|cell| cell.contains(&b'\n'));
        let hint = if torn { "; is a quote never closed?" } else { "" };
        return wrong(format!("has {} values for {} columns{hint}", row.len(), columns.len()));
    }
    let mut cells = Vec::with_capacity(columns.len());
    for (name, cell) in columns.iter().zip(row.iter()) {
        let Ok(text) = std::str::from_utf8(cell) else {
            return wrong(format!("{name} is not UTF-8; save the file as UTF-8"));
        };
        if !text.trim().is_empty() {
            cells.push((name.clone(), Value::String(text.to_owned())));
        }
    }
    Some(Ok(Record { line, cells }))
}

/// The lines of a file of JSON.
struct Lines {
    reader: BufReader<File>,
    line: u64,
    over: bool,
}

impl Lines {
    fn next(&mut self) -> Option<Result<Record, Unreadable>> {
        while !self.over {
            let mut text = Vec::new();
            let read = (&mut self.reader).take(LINE as u64 + 1).read_until(b'\n', &mut text);
            self.line += 1;
            let line = self.line;
            let wrong = |why: String| Some(Err(Unreadable { line, why }));
            match read {
                Ok(0) => return None,
                Ok(length) if length > LINE => {
                    self.over = true;
                    return wrong("is longer than 1 MiB".to_owned());
                }
                Ok(_) => {}
                Err(why) => {
                    self.over = true;
                    return wrong(format!("cannot be read: {why}"));
                }
            }
            let text = text.strip_prefix(b"\xef\xbb\xbf").filter(|_| line == 1).unwrap_or(&text).trim_ascii();
            if text.is_empty() {
                continue;
            }
            return match serde_json::from_slice::<Map<String, Value>>(text) {
                Ok(members) => Some(Ok(Record { line, cells: members.into_iter().collect() })),
                Err(why) => wrong(format!("is no JSON object: {why}")),
            };
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, text: &[u8]) -> Vec<Result<Record, Unreadable>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        let opened = Source::open(path.to_str().unwrap(), folder.path()).unwrap();
        let Input::Records(source) = opened else { panic!("{name} holds records") };
        let once: Vec<_> = source.records().unwrap().collect();
        let again: Vec<_> = source.records().unwrap().collect();
        assert_eq!(once, again);
        once
    }

    fn record(line: u64, cells: &[(&str, &str)]) -> Result<Record, Unreadable> {
        let cells = cells.iter().map(|(name, value)| ((*name).to_owned(), Value::from(*value))).collect();
        Ok(Record { line, cells })
    }

    #[test]
    fn tables_are_read_as_spreadsheets_write_them() {
        let wanted = [record(2, &[("to", "1"), ("note", "a, \"b\"\nc")]), record(5, &[("to", "2")])];
        for text in [
            "to,note\n1,\"a, \"\"b\"\"\nc\"\n\n2,\n",
            "\u{feff}to,note\n1,\"a, \"\"b\"\"\nc\"\n,\n2,\n",
            "to;note\n1;\"a, \"\"b\"\"\nc\"\n\n2;",
            "to\tnote\n1\t\"a, \"\"b\"\"\nc\"\n\n2\t\n",
        ] {
            assert_eq!(read("a.csv", text.as_bytes()), wanted, "{text:?}");
        }
        let windows = read("a.csv", b"to,note\r\n1,\"x\r\ny\"\r\n2,a\rb\r\n");
        assert_eq!(windows[0], record(2, &[("to", "1"), ("note", "x\ny")]));
        // the two bytes may be torn apart by other programs
        assert_eq!(windows[1], record(4, &[("to", "2"), ("note", "a")]));
        assert_eq!(windows[2].as_ref().unwrap_err().line, 5);
        // a line of its own at the end of a value takes no row away
        let ends = read("a.csv", b"to,note\n1,\"x\n\"\n2,y\n3,\"z\n\"");
        assert_eq!(ends.iter().flatten().map(|record| record.line).collect::<Vec<_>>(), [2, 4, 5]);
    }

    #[test]
    fn rows_that_are_none_are_told_by_their_line() {
        let rows = read("a.csv", b"to,note\n1\n2,\xff\n3,x,y\n4,\"z\n5,x\n");
        let why: Vec<_> = rows.into_iter().map(|row| row.unwrap_err()).map(|w| (w.line, w.why)).collect();
        assert_eq!(why[0], (2, "has 1 values for 2 columns".to_owned()));
        assert!(why[1].0 == 3 && why[1].1.contains("UTF-8"), "{why:?}");
        assert_eq!((why[2].0, why[3].0), (4, 5));
        assert!(why[3].1.contains("never closed"), "{why:?}");
        let lines = read("a.jsonl", b"{\"to\":\"1\"}\n\n[1]\n{\"to\":\n");
        assert_eq!(lines[0], record(1, &[("to", "1")]));
        let why: Vec<u64> = lines[1..].iter().map(|line| line.as_ref().unwrap_err().line).collect();
        assert_eq!(why, [3, 4]);
    }

    #[test]
    fn a_text_of_nobody_is_known_by_how_it_begins() {
        assert_eq!(guessed(b"from,to\n"), Some(Shape::Table(b',')));
        assert_eq!(guessed(b"{\"from\":\"1\"}\n"), Some(Shape::Lines));
        assert_eq!(guessed(b"{\"amount\":1}\n{\"amount\":2}\n"), Some(Shape::Lines));
        // as the API has it
        assert_eq!(guessed(b"{\"fromAccountId\":\"acc_1\"}"), None);
        assert_eq!(guessed(b"{\n \"fromAccountId\":\"acc_1\"\n}"), None);
        assert_eq!(guessed(b"[{}]"), None);
    }
}
