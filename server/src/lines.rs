//! Log lines on their way to standard error: a request hands its line over and never waits for the
//! terminal, the pipe or the disk behind it.
//!
//! A thread writes whatever has come in the last few milliseconds in one call. A call and a wake-up a
//! line cost a third of a cached request.

use std::{
    fmt,
    io::{self, Write},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::Duration,
};

use serde::Serialize;
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter, format},
    registry::LookupSpan,
};

use crate::clock::Clock;

/// How long a first line waits for others.
const COMPANY: Duration = Duration::from_millis(5);
/// Bytes that wait at most; beyond, lines are left out and counted.
const MOST: usize = 8 << 20;

#[derive(Default)]
struct Waiting {
    bytes: Vec<u8>,
    left_out: u64,
    closed: bool,
}

#[derive(Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    come: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes lines; clones take them for the same thread.
#[derive(Clone)]
pub struct Lines(Arc<Shared>);

/// Writes what is left when it is dropped.
pub struct LinesGuard {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// Lines to this writer, and the guard to keep while lines are written.
///
/// # Errors
/// When there can be no thread.
pub fn lines(to: impl Write + Send + 'static) -> io::Result<(Lines, LinesGuard)> {
    let shared = Arc::new(Shared::default());
    let of_thread = shared.clone();
    let thread =
        std::thread::Builder::new().name("bursar-log".to_owned()).spawn(move || write(&of_thread, to))?;
    Ok((Lines(shared.clone()), LinesGuard { shared, thread: Some(thread) }))
}

fn write(shared: &Shared, mut to: impl Write) {
    let mut bytes = Vec::new();
    loop {
        let (left_out, closed) = {
            let mut waiting = shared.lock();
            while waiting.bytes.is_empty() && !waiting.closed {
                waiting = shared.come.wait(waiting).unwrap_or_else(PoisonError::into_inner);
            }
            // lines rarely come alone: waiting for company costs a reader nothing and saves a busy
            // daemon a wake-up a line
            let (waiting, _) = shared
                .come
                .wait_timeout_while(waiting, COMPANY, |waiting| !waiting.closed)
                .unwrap_or_else(PoisonError::into_inner);
            let mut waiting = waiting;
            std::mem::swap(&mut bytes, &mut waiting.bytes);
            (std::mem::take(&mut waiting.left_out), waiting.closed)
        };
        // nobody is there to be told that the log cannot be written
        let _ = to.write_all(&bytes);
        if left_out > 0 {
            let _ = writeln!(to, r#"{{"level":"WARN","message":"log lines left out","count":{left_out}}}"#);
        }
        let _ = to.flush();
        if closed && bytes.is_empty() {
            return;
        }
        bytes.clear();
    }
}

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut waiting = self.0.lock();
        if waiting.bytes.len() + line.len() > MOST {
            waiting.left_out += 1;
            return Ok(line.len());
        }
        let sleeping = waiting.bytes.is_empty();
        waiting.bytes.extend_from_slice(line);
        drop(waiting);
        if sleeping {
            self.0.come.notify_one();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;
    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Drop for LinesGuard {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.come.notify_one();
        if let Some(thread) = self.thread.take() {
            // a panic of the thread was printed by its hook
            let _ = thread.join();
        }
    }
}

/// One JSON object a line: time, level, and the event's fields beside them. Straight into the line's
/// bytes: the usual way through maps and adapters cost a tenth of a cached request.
#[derive(Default)]
pub struct JsonLine(Clock);

impl<S, N> FormatEvent<S, N> for JsonLine
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut to: format::Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = Members(Vec::with_capacity(512));
        line.0.extend_from_slice(b"{");
        line.member("timestamp", &self.0.now());
        line.member("level", event.metadata().level().as_str());
        event.record(&mut line);
        line.0.extend_from_slice(b"}\n");
        to.write_str(&String::from_utf8(line.0).map_err(|_| fmt::Error)?)
    }
}

/// The members of an object that is being written.
struct Members(Vec<u8>);

impl Members {
    fn member(&mut self, name: &str, value: &(impl Serialize + ?Sized)) {
        if self.0.len() > 1 {
            self.0.push(b',');
        }
        self.value(name);
        self.0.push(b':');
        self.value(value);
    }

    fn value(&mut self, value: &(impl Serialize + ?Sized)) {
        let before = self.0.len();
        if serde_json::to_writer(&mut self.0, value).is_err() {
            self.0.truncate(before);
            self.0.extend_from_slice(b"null");
        }
    }
}

impl Visit for Members {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.member(field.name(), value);
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.member(field.name(), &value);
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.member(field.name(), &value);
    }
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.member(field.name(), &value);
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.member(field.name(), &value);
    }
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.member(field.name(), &format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_object_whatever_its_fields_hold() {
        let page = Page::default();
        let (lines, guard) = lines(page.clone()).unwrap();
        let subscriber =
            tracing_subscriber::fmt().with_writer(lines).event_format(JsonLine::default()).finish();
        tracing::subscriber::with_default(subscriber, || {
            let hostile = "a \"b\"\n{} \u{1b}[2J \u{202e}";
            let none: Option<&str> = None;
            tracing::info!(request_id = hostile, status = 200_u16, none, ip = %"::1", "request");
            tracing::warn!("plain {}", 1);
        });
        drop(guard);
        let text = String::from_utf8(page.0.lock().unwrap().clone()).unwrap();
        let read: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(read.len(), 2, "{text}");
        assert_eq!(read[0]["message"], "request");
        assert_eq!(read[0]["level"], "INFO");
        assert_eq!(read[0]["status"], 200);
        assert_eq!(read[0]["ip"], "::1");
        assert_eq!(read[0]["request_id"], "a \"b\"\n{} \u{1b}[2J \u{202e}");
        assert_eq!(read[0].get("none"), None);
        assert_eq!(read[1]["message"], "plain 1");
        assert!(!text.contains('\u{1b}'), "control characters stand escaped: {text}");
    }

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn every_line_is_written_once_and_in_the_order_of_its_writer() {
        let page = Page::default();
        let (lines, guard) = lines(page.clone()).unwrap();
        std::thread::scope(|scope| {
            for writer in 0..4 {
                let mut lines = lines.clone();
                scope.spawn(move || {
                    for number in 0..1_000 {
                        lines.write_all(format!("{writer} {number}\n").as_bytes()).unwrap();
                    }
                });
            }
        });
        drop(guard);
        let text = String::from_utf8(page.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text.lines().count(), 4_000);
        for writer in 0..4 {
            let begin = format!("{writer} ");
            let numbers: Vec<u32> =
                text.lines().filter_map(|line| line.strip_prefix(&begin)?.parse().ok()).collect();
            assert_eq!(numbers, (0..1_000).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_log_that_cannot_be_written_holds_nobody_up() {
        struct Stuck(std::sync::mpsc::Receiver<()>);
        impl Write for Stuck {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                let _ = self.0.recv();
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let (open, stuck) = std::sync::mpsc::channel();
        let (mut lines, guard) = lines(Stuck(stuck)).unwrap();
        let line = [b'x'; 1 << 20];
        for _ in 0..20 {
            lines.write_all(&line).unwrap();
        }
        assert!(lines.0.lock().left_out > 0);
        drop(open);
        drop(guard);
    }
}
