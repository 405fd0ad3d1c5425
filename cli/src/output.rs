//! The only place that prints: data to stdout in the format asked for, words for people to stderr.

pub(crate) mod cells;
pub(crate) mod json;

use std::io::{self, IsTerminal as _, Write};

use clap::ValueEnum;
use serde::Serialize;
use serde_json::Value;
use unicode_width::UnicodeWidthStr as _;

pub(crate) use cells::plain;
use json::Fields;

use crate::{
    error::{Failure, Result},
    jq::Jq,
};

/// How data is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Aligned columns, for people.
    Table,
    /// The same with all columns, however wide.
    Wide,
    /// The wire's shape, indented; a list is one array.
    Json,
    /// One JSON value a line.
    Jsonl,
    /// RFC 4180 with a header.
    Csv,
    /// Tab-separated, full values, no header.
    Tsv,
    /// `users/usr_...`, one a line.
    Name,
}

/// A column of a table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column {
    /// Its heading.
    pub title: &'static str,
    /// Where its values are: a dotted path.
    pub path: &'static str,
    /// Whether tables have no room for it unless they are asked to be wide.
    pub wide: bool,
}

/// How a kind of record is shown.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View {
    /// The plural, as on the command line.
    pub name: &'static str,
    /// What tells records apart: a path.
    pub key: &'static str,
    /// What tables, TSV and CSV show.
    pub columns: &'static [Column],
}

impl View {
    /// What one record is called.
    pub(crate) fn singular(&self) -> &'static str {
        // `status` and `audit` name no plural
        self.name.strip_suffix('s').filter(|_| self.name != "status").unwrap_or(self.name)
    }
}

/// How the output of this command is to look.
#[derive(Default)]
pub(crate) struct Style {
    /// The format that was asked for.
    pub format: Option<Format>,
    /// Only these fields.
    pub fields: Vec<String>,
    /// A program for every row.
    pub jq: Option<Jq>,
    /// With or without headings, if not as the format has it.
    pub header: Option<bool>,
}

impl Style {
    /// The format in force: tables are for terminals.
    pub(crate) fn format(&self) -> Format {
        self.format.unwrap_or(if io::stdout().is_terminal() { Format::Table } else { Format::Tsv })
    }

    /// Whether it goes out in the shape of the wire.
    pub(crate) fn is_json(&self) -> bool {
        self.jq.is_some() || matches!(self.format, Some(Format::Json | Format::Jsonl))
    }

    /// Whether a person reads this: nobody named a format, and it goes to a terminal.
    pub(crate) fn for_people(&self) -> bool {
        self.format.is_none() && self.jq.is_none() && io::stdout().is_terminal()
    }
}

/// Whether somebody can be asked.
pub(crate) fn can_ask() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// How many columns the terminal has.
fn terminal_width() -> Option<usize> {
    let (terminal_size::Width(columns), _) = terminal_size::terminal_size()?;
    Some(usize::from(columns)).filter(|columns| *columns >= 20)
}

/// Ends when nobody can read our output any more: `| head` has seen enough, though nothing is written now.
pub(crate) async fn unread() {
    let (tell, told) = tokio::sync::oneshot::channel();
    // a thread that waits in the kernel: it ends with the process
    std::thread::spawn(move || {
        let stdout = io::stdout();
        let mut watched = [rustix::event::PollFd::new(&stdout, rustix::event::PollFlags::empty())];
        while let Err(rustix::io::Errno::INTR) = rustix::event::poll(&mut watched, None) {}
        let _ = tell.send(());
    });
    let _ = told.await;
}

/// Says something to the person; lost words are no failure.
pub(crate) fn say(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Asks without a line break.
pub(crate) fn ask(text: &str) {
    let mut stderr = io::stderr().lock();
    let _ = write!(stderr, "{text}").and_then(|()| stderr.flush());
}

/// Reports a failure the way the output is read: JSON beside JSON.
pub(crate) fn report(failure: &Failure, as_json: bool) {
    if failure.quiet {
        return;
    }
    say(&if as_json { failure.to_json().to_string() } else { failure.to_text() });
}

/// Writes text to stdout as it is.
pub(crate) fn text(text: &str) -> Result<()> {
    bytes(text.as_bytes())
}

/// Writes bytes to stdout as they are.
pub(crate) fn bytes(bytes: &[u8]) -> Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes)?;
    stdout.flush()?;
    Ok(())
}

/// Writes one record.
pub(crate) fn one<T: Serialize>(style: Style, view: &View, record: &T) -> Result<()> {
    let json = serde_json::to_vec(record)?;
    let mut sink = Sink::new(style, view, false);
    sink.row(&json)?;
    sink.end()
}

/// Where records go, one after the other.
pub(crate) struct Sink {
    style: Style,
    format: Format,
    view: View,
    many: bool,
    fields: Fields,
    rows: u64,
    buffer: Vec<u8>,
    /// Whether a table has all columns.
    wide: bool,
    /// Whether columns were left out.
    hidden: bool,
    /// Table rows kept back until the widths are known.
    waiting: Vec<Vec<String>>,
    widths: Vec<usize>,
    /// How wide a table may be; only people's tables are cut.
    room: Option<usize>,
    /// Where it goes instead of stdout.
    file: Option<std::fs::File>,
}

/// How many rows decide the widths of a table.
const FIRST_PAGE: usize = 200;
/// Narrower than this no text is cut.
const LEAST: usize = 12;
/// Written to stdout at once.
const CHUNK: usize = 1 << 16;

impl Sink {
    /// A place for records; `many` when it is a list, though it may have one row or none.
    pub(crate) fn new(style: Style, view: &View, many: bool) -> Self {
        let room = if style.for_people() { terminal_width() } else { None };
        let fields = Fields::new(&style.fields);
        let wide = style.format() == Format::Wide;
        let format = if wide { Format::Table } else { style.format() };
        Self {
            style,
            format,
            view: *view,
            many,
            fields,
            rows: 0,
            buffer: Vec::with_capacity(CHUNK + 4096),
            wide,
            hidden: false,
            waiting: Vec::new(),
            widths: Vec::new(),
            room,
            file: None,
        }
    }

    /// The same into a file instead of stdout.
    #[cfg(feature = "tui")]
    pub(crate) fn into_file(self, file: std::fs::File) -> Self {
        Self { file: Some(file), room: None, ..self }
    }

    /// How many rows came.
    pub(crate) fn rows(&self) -> u64 {
        self.rows
    }

    fn columns(&self) -> Vec<(String, String)> {
        if self.style.fields.is_empty() {
            let slim = self.format == Format::Table && self.many && !self.wide;
            let columns = self.view.columns.iter().filter(|column| !(slim && column.wide));
            return columns.map(|c| (c.title.to_owned(), c.path.to_owned())).collect();
        }
        self.style.fields.iter().map(|path| (path.clone(), path.clone())).collect()
    }

    /// Whether a table left columns out.
    pub(crate) fn hides_columns(&self) -> bool {
        let slim = self.format == Format::Table && !self.wide && self.style.fields.is_empty();
        self.hidden || (slim && self.view.columns.iter().any(|column| column.wide))
    }

    fn header(&self, by_default: bool) -> bool {
        self.style.header.unwrap_or(by_default)
    }

    /// Whether rows can be written one by one; a table's widths must be known first.
    pub(crate) fn streams(&self) -> bool {
        self.style.jq.is_some() || self.format != Format::Table
    }

    /// A field that no record has is a slip; answers always carry every field.
    fn check_fields(&self, json: &[u8]) -> Result<()> {
        let members: std::collections::BTreeMap<String, &serde_json::value::RawValue> =
            serde_json::from_slice(json)?;
        let first = |name: &str| name.split('.').next().unwrap_or_default().to_owned();
        match self.style.fields.iter().find(|name| !members.contains_key(&first(name))) {
            None => Ok(()),
            Some(name) => {
                let known: Vec<&str> = members.keys().map(String::as_str).collect();
                Err(Failure::usage(format!("--fields: there is no {name}; valid: {}", known.join(", "))))
            }
        }
    }

    /// One record, as JSON.
    pub(crate) fn row(&mut self, json: &[u8]) -> Result<()> {
        if self.rows == 0 && !self.style.fields.is_empty() {
            self.check_fields(json)?;
        }
        self.rows += 1;
        if self.style.jq.is_some() {
            return self.shaped(json);
        }
        let bare = self.style.fields.is_empty();
        match self.format {
            Format::Jsonl if bare => {
                json::compact(json, &mut self.buffer);
                self.buffer.push(b'\n');
            }
            Format::Jsonl => {
                self.fields.pick(json, &mut self.buffer)?;
                self.buffer.push(b'\n');
            }
            Format::Json => {
                let mut picked = Vec::new();
                let json = if bare {
                    json
                } else {
                    self.fields.pick(json, &mut picked)?;
                    &picked
                };
                if self.many {
                    self.buffer.extend(if self.rows == 1 { &b"[\n  "[..] } else { b",\n  " });
                }
                json::indent(json, usize::from(self.many), &mut self.buffer);
            }
            Format::Csv | Format::Tsv | Format::Table | Format::Wide | Format::Name => {
                self.cells(&serde_json::from_slice(json)?)?;
            }
        }
        self.flush(CHUNK)
    }

    fn shaped(&mut self, json: &[u8]) -> Result<()> {
        let Some(jq) = &self.style.jq else { return Ok(()) };
        let raw = !matches!(self.style.format, Some(Format::Json | Format::Jsonl));
        let buffer = &mut self.buffer;
        let run = jq.run(json, raw, |line| {
            buffer.extend_from_slice(line);
            buffer.push(b'\n');
            Ok(())
        });
        self.flush(CHUNK)?;
        run
    }

    fn cells(&mut self, row: &Value) -> Result<()> {
        let columns = self.columns();
        match self.format {
            Format::Name => {
                let key = plain(cells::at(row, self.view.key));
                self.buffer.extend(format!("{}/{key}\n", self.view.name).bytes());
            }
            Format::Csv => {
                if self.rows == 1 && self.header(true) {
                    let names: Vec<&str> = columns.iter().map(|(_, path)| path.as_str()).collect();
                    self.buffer.extend(format!("{}\r\n", names.join(",")).bytes());
                }
                for (place, (_, path)) in columns.iter().enumerate() {
                    if place > 0 {
                        self.buffer.push(b',');
                    }
                    cells::csv(&cells::shown(row, path), &mut self.buffer);
                }
                self.buffer.extend(b"\r\n");
            }
            Format::Tsv => {
                if self.rows == 1 && self.header(false) {
                    let names: Vec<&str> = columns.iter().map(|(_, path)| path.as_str()).collect();
                    self.buffer.extend(format!("{}\n", names.join("\t")).bytes());
                }
                for (place, (_, path)) in columns.iter().enumerate() {
                    if place > 0 {
                        self.buffer.push(b'\t');
                    }
                    cells::tsv(&cells::shown(row, path), &mut self.buffer);
                }
                self.buffer.push(b'\n');
            }
            _ if self.many => {
                let cells: Vec<String> = columns.iter().map(|(_, path)| cells::tabled(row, path)).collect();
                if self.widths.is_empty() {
                    self.waiting.push(cells);
                    if self.waiting.len() >= FIRST_PAGE {
                        self.begin_table();
                    }
                } else {
                    self.table_line(&cells);
                }
            }
            _ => self.card(row),
        }
        Ok(())
    }

    /// One record as lines of field and value: everything it has that fits a line.
    fn card(&mut self, row: &Value) {
        let mut lines: Vec<(String, String)> = Vec::new();
        if self.style.fields.is_empty() {
            for column in self.view.columns {
                lines.push((column.title.to_owned(), cells::tabled(row, column.path)));
            }
            for (name, value) in row.as_object().into_iter().flatten() {
                let shown = self.view.columns.iter().any(|c| c.path.split('.').next() == Some(name));
                // records inside a record are for JSON and --fields
                if !shown && !cells::holds_records(value) {
                    lines.push((title(name), cells::tabled(row, name)));
                }
            }
        } else {
            for name in &self.style.fields {
                lines.push((name.clone(), cells::tabled(row, name)));
            }
        }
        let wide = lines.iter().map(|(name, _)| name.width()).max().unwrap_or(0);
        for (name, value) in lines {
            let gap = " ".repeat(wide - name.width() + 2);
            self.buffer.extend(format!("{name}{gap}{value}").trim_end().bytes());
            self.buffer.push(b'\n');
        }
    }

    /// The widths are known now: writes the heading and what was kept back.
    fn begin_table(&mut self) {
        let columns = self.columns();
        let heading: Vec<String> = columns.into_iter().map(|(title, _)| title.to_uppercase()).collect();
        self.widths = heading.iter().map(|title| title.width()).collect();
        for row in &self.waiting {
            for (width, cell) in self.widths.iter_mut().zip(row) {
                *width = (*width).max(cell.width());
            }
        }
        if let Some(room) = self.room {
            self.narrow(room);
        }
        if self.header(true) {
            self.table_line(&heading);
        }
        for row in std::mem::take(&mut self.waiting) {
            self.table_line(&row);
        }
    }

    /// Takes from the widest columns until the table fits. Ids, times and figures stay whole: cut ones are
    /// worth nothing, so that columns at the end go first.
    fn narrow(&mut self, room: usize) {
        let whole: Vec<bool> = (0..self.widths.len())
            .map(|place| {
                self.waiting.iter().any(|row| row.get(place).is_some_and(|cell| cells::stays_whole(cell)))
            })
            .collect();
        let total = |widths: &[usize]| widths.iter().sum::<usize>() + 2 * widths.len().saturating_sub(1);
        // what was asked for by name is shown, though it is too wide
        while self.style.fields.is_empty() && self.widths.len() > 1 {
            let least = self.widths.iter().zip(&whole);
            let least: Vec<usize> =
                least.map(|(width, whole)| if *whole { *width } else { (*width).min(LEAST) }).collect();
            if total(&least) <= room {
                break;
            }
            self.widths.pop();
            self.hidden = true;
        }
        while total(&self.widths) > room {
            let soft =
                self.widths.iter_mut().zip(&whole).filter(|(width, whole)| !**whole && **width > LEAST);
            match soft.max_by_key(|(width, _)| **width) {
                Some((width, _)) => *width -= 1,
                None => return,
            }
        }
    }

    /// A longer value than those before widens its column while there is room.
    fn widen(&mut self, cells: &[String]) {
        let gaps = 2 * self.widths.len().saturating_sub(1);
        let mut spare = match self.room {
            Some(room) => room.saturating_sub(self.widths.iter().sum::<usize>() + gaps),
            None => return,
        };
        for (width, cell) in self.widths.iter_mut().zip(cells) {
            let more = cell.width().saturating_sub(*width).min(spare);
            *width += more;
            spare -= more;
        }
    }

    fn table_line(&mut self, cells: &[String]) {
        self.widen(cells);
        let last = self.widths.len().saturating_sub(1);
        let mut line = String::new();
        for (place, (cell, width)) in cells.iter().zip(&self.widths).enumerate() {
            let cell = if self.room.is_some() { cells::cut(cell, *width) } else { cell.into() };
            line.push_str(&cell);
            if place < last {
                line.push_str(&" ".repeat(width.saturating_sub(cell.width()) + 2));
            }
        }
        self.buffer.extend(line.trim_end().bytes());
        self.buffer.push(b'\n');
    }

    /// What is ready goes out now: at the end of a page, and before waiting for anything.
    pub(crate) fn page_end(&mut self) -> Result<()> {
        if !self.waiting.is_empty() {
            self.begin_table();
        }
        self.flush(0)
    }

    /// No more rows come.
    pub(crate) fn end(&mut self) -> Result<()> {
        let empty = self.rows == 0;
        match self.format {
            _ if self.style.jq.is_some() => {}
            Format::Json if self.many => self.buffer.extend(if empty { &b"[]\n"[..] } else { b"\n]\n" }),
            Format::Json => self.buffer.push(b'\n'),
            Format::Csv if empty && self.header(true) => {
                let names: Vec<String> = self.columns().into_iter().map(|(_, path)| path).collect();
                self.buffer.extend(format!("{}\r\n", names.join(",")).bytes());
            }
            Format::Table if self.many && empty => self.begin_table(),
            _ => {}
        }
        self.page_end()
    }

    fn flush(&mut self, above: usize) -> Result<()> {
        if self.buffer.len() > above {
            if let Some(file) = &mut self.file {
                file.write_all(&self.buffer)?;
                self.buffer.clear();
                return Ok(());
            }
            // unlocked between pages, so that nothing else has to wait for us
            let mut stdout = io::stdout().lock();
            stdout.write_all(&self.buffer)?;
            stdout.flush()?;
            self.buffer.clear();
        }
        Ok(())
    }
}

/// `lastLoginAt` as a heading: `Last login at`.
fn title(name: &str) -> String {
    let mut out = String::new();
    for (place, letter) in name.chars().enumerate() {
        if place == 0 {
            out.extend(letter.to_uppercase());
        } else if letter.is_ascii_uppercase() {
            out.push(' ');
            out.push(letter.to_ascii_lowercase());
        } else {
            out.push(letter);
        }
    }
    bursar_shared::text::clean(&out).into_owned()
}

/// Whether stdin is a terminal.
pub(crate) fn stdin_is_terminal() -> bool {
    io::stdin().is_terminal()
}

/// Whether stderr is a terminal.
pub(crate) fn stderr_is_terminal() -> bool {
    io::stderr().is_terminal()
}

/// Whether stdout is a terminal.
#[cfg(feature = "tui")]
pub(crate) fn stdout_is_terminal() -> bool {
    io::stdout().is_terminal()
}
