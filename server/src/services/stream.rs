//! The log as it grows: server-sent events for whoever follows, from the table and from memory.
//!
//! A reader sleeps until the bus says that there is a row after its own, looks at most ten times a
//! second, and takes rows from the few thousand latest that are kept in memory while somebody follows.
//! Whoever is further behind reads the table. So a thousand readers cost the store one look at most.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write as _,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bursar_shared::{
    error::{ApiError, ErrorCode},
    field::UserStatus,
    id::SessionId,
    operations::log::{Event, StreamEvents},
    page::Condition,
    permission::Permission,
};
use futures_util::{StreamExt as _, stream::BoxStream};
use serde_json::json;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use super::log::visible;
use crate::{
    app::Shared,
    cx::{Caller, Cx},
    error::{Result, later},
    log::Row,
    repositories::log,
};

/// Streams of one session at the same time: a dashboard, a few scripts, not a leak of them.
const OF_SESSION: u32 = 16;
/// Rows that are kept in memory while somebody follows.
const RECENT: usize = 4_096;
/// Rows read from the table at a time.
const PIECE: i64 = 500;
/// Bytes sent at a time, about.
const CHUNK: usize = 256 << 10;
/// A reader who has everything looks again no sooner than this: a busy log comes in pieces.
const REST: Duration = Duration::from_millis(100);

/// Server-sent events, some at a time, as they are written.
pub type Frames = BoxStream<'static, Vec<u8>>;

/// A row that was committed; its text is made once, when the first reader takes it.
struct Heard {
    row: Row,
    shown: OnceLock<Option<(Event, Vec<u8>)>>,
}

impl Heard {
    fn new(row: Row) -> Self {
        Self { row, shown: OnceLock::new() }
    }

    /// The row as the API shows it, and as a frame; nothing when it is no change or cannot be read.
    fn shown(&self) -> Option<&(Event, Vec<u8>)> {
        self.shown
            .get_or_init(|| {
                let event = self.row.event().ok().filter(|event| log::is_change(&event.kind))?;
                let data = serde_json::to_string(&event).ok()?;
                Some((event, frame(&self.row.kind, Some(self.row.seq), &data)))
            })
            .as_ref()
    }
}

/// Who follows, and the latest rows for them.
pub struct Streams {
    most: usize,
    open: AtomicUsize,
    rows: AtomicU64,
    sessions: Mutex<HashMap<SessionId, u32>>,
    recent: Mutex<BTreeMap<i64, Arc<Heard>>>,
}

impl Streams {
    /// At most so many at the same time.
    pub fn new(most: u32) -> Self {
        Self {
            most: usize::try_from(most).unwrap_or(usize::MAX),
            open: AtomicUsize::new(0),
            rows: AtomicU64::new(0),
            sessions: Mutex::default(),
            recent: Mutex::default(),
        }
    }

    /// Streams that are open now.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Rows that were sent so far.
    pub fn rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }

    fn recent(&self) -> MutexGuard<'_, BTreeMap<i64, Arc<Heard>>> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps rows that were committed here or by others, while somebody follows.
    pub fn hear(&self, rows: &[Row]) {
        if self.open() == 0 {
            return;
        }
        let mut recent = self.recent();
        for row in rows {
            recent.entry(row.seq).or_insert_with(|| Arc::new(Heard::new(row.clone())));
        }
        while recent.len() > RECENT {
            recent.pop_first();
        }
    }

    /// The rows right after this one, without a gap; nothing when the table has to be asked.
    fn after(&self, seq: i64) -> Option<Vec<Arc<Heard>>> {
        let recent = self.recent();
        let rows: Vec<_> = recent
            .range(seq + 1..)
            .zip(seq + 1..)
            .take_while(|((found, _), wanted)| *found == wanted)
            .map(|((_, heard), _)| heard.clone())
            .take(usize::try_from(PIECE).unwrap_or(usize::MAX))
            .collect();
        (!rows.is_empty()).then_some(rows)
    }

    fn sessions(&self) -> MutexGuard<'_, HashMap<SessionId, u32>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A reader's place among the streams, until it is dropped.
struct Place {
    app: Shared,
    session: SessionId,
}

impl Place {
    fn take(app: &Shared, session: SessionId) -> Result<Self> {
        let streams = &app.streams;
        let mut sessions = streams.sessions();
        if streams.open() >= streams.most {
            let why = "Too many streams are open; list /v1/events with after instead.";
            return Err(later(ErrorCode::Overloaded, why, Duration::from_secs(10)));
        }
        let of_session = sessions.entry(session).or_default();
        if *of_session >= OF_SESSION {
            let why = format!("This session follows {OF_SESSION} streams already.");
            return Err(later(ErrorCode::RateLimited, why, Duration::from_secs(10)));
        }
        *of_session += 1;
        streams.open.fetch_add(1, Ordering::Relaxed);
        drop(sessions);
        Ok(Self { app: app.clone(), session })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let streams = &self.app.streams;
        let mut sessions = streams.sessions();
        if let Some(of_session) = sessions.get_mut(&self.session) {
            *of_session -= 1;
            if *of_session == 0 {
                sessions.remove(&self.session);
            }
        }
        if streams.open.fetch_sub(1, Ordering::Relaxed) == 1 {
            // nobody is there to keep them for, and the next reader must not find a gap
            streams.recent().clear();
        }
    }
}

fn frame(name: &str, id: Option<i64>, data: &str) -> Vec<u8> {
    let mut text = String::with_capacity(data.len() + 64);
    if let Some(id) = id {
        // writing to a string cannot fail
        let _ = writeln!(text, "id: {id}");
    }
    let _ = write!(text, "event: {name}\ndata: {data}\n\n");
    text.into_bytes()
}

/// Follows the log.
pub async fn follow(cx: Cx, op: StreamEvents) -> Result<Frames> {
    let place = Place::take(&cx.app, cx.who.session)?;
    let (head, _) = cx.app.db.look_up(|conn| log::head(conn).map(|(seq, _)| seq)).await?;
    let (pointer, from) = match cx.beside.last_event_id {
        Some(seq) => ("Last-Event-ID", seq),
        None => ("?after", op.after.unwrap_or(head)),
    };
    if from > head {
        // of another store, or of a time that a backup undid: rows would be left out without a word
        let why = format!("must be at most {head}, the last row of the log");
        return Err(ApiError::violation(pointer, "range", why).into());
    }
    let beat = cx.app.config.stream_beat;
    let reader = Reader {
        head: cx.app.bus.follow(),
        stopping: cx.app.draining.subscribe(),
        caller: cx.who,
        filter: op.filter,
        position: from,
        hello: true,
        reason: None,
        begun: Instant::now(),
        next_beat: Instant::now() + beat,
        rest: Instant::now(),
        sent: 0,
        request_id: cx.beside.request_id,
        place,
    };
    let frames = futures_util::stream::unfold(reader, |mut reader| async move {
        reader.next().await.map(|bytes| (bytes, reader))
    });
    Ok(frames.boxed())
}

/// One who follows.
struct Reader {
    head: watch::Receiver<i64>,
    stopping: watch::Receiver<bool>,
    caller: Caller,
    filter: Vec<Condition>,
    /// The last row that was looked at.
    position: i64,
    hello: bool,
    /// Why it ended.
    reason: Option<&'static str>,
    begun: Instant,
    next_beat: Instant,
    /// Not to look again before.
    rest: Instant,
    sent: u64,
    request_id: String,
    place: Place,
}

impl Reader {
    async fn next(&mut self) -> Option<Vec<u8>> {
        if self.reason.is_some() {
            return None;
        }
        let bytes = self.wait().await;
        self.next_beat = Instant::now() + self.place.app.config.stream_beat;
        Some(bytes)
    }

    /// The next frames, whenever they come.
    async fn wait(&mut self) -> Vec<u8> {
        let seq = json!({ "seq": self.position }).to_string();
        if std::mem::take(&mut self.hello) {
            let hello = frame("hello", Some(self.position), &seq);
            return [b"retry: 1000\n", hello.as_slice()].concat();
        }
        loop {
            if let Some(reason) = self.reason_to_end().await {
                return self.bye(reason);
            }
            let now = Instant::now();
            let behind = *self.head.borrow_and_update() > self.position;
            if behind && now >= self.rest {
                match self.read().await {
                    Ok(bytes) if !bytes.is_empty() => return bytes,
                    // nothing for this reader, who must hear all the same how far it is
                    Ok(_) if Instant::now() >= self.next_beat => return self.beat(),
                    Ok(_) => continue,
                    Err(why) => {
                        tracing::warn!(request_id = self.request_id, why = %why, "a stream cannot be read on");
                        return self.bye("unavailable");
                    }
                }
            }
            let until_expiry = self.caller.expires.since(self.place.app.clock.now());
            let mut wake = self.next_beat.min(now + until_expiry);
            if behind {
                wake = wake.min(self.rest);
            }
            let (gone, silent) = tokio::select! {
                // an error means that the daemon is gone
                changed = self.head.changed(), if !behind => (changed.is_err(), false),
                stopping = self.stopping.changed() => (stopping.is_err(), false),
                () = sleep_until(wake) => (false, Instant::now() >= self.next_beat),
            };
            if gone {
                return self.bye("shutting_down");
            }
            if silent {
                return self.beat();
            }
        }
    }

    fn beat(&self) -> Vec<u8> {
        frame("beat", Some(self.position), &json!({ "seq": self.position }).to_string())
    }

    fn bye(&mut self, reason: &'static str) -> Vec<u8> {
        self.reason = Some(reason);
        frame("bye", None, &json!({ "reason": reason }).to_string())
    }

    /// Whether the caller may still listen, judged anew whenever something happens.
    async fn reason_to_end(&mut self) -> Option<&'static str> {
        let app = &self.place.app;
        if *self.stopping.borrow() {
            return Some("shutting_down");
        }
        let now = app.clock.now();
        let (session, standing) =
            match (app.session(self.caller.session).await, app.standing(self.caller.user).await) {
                (Ok(session), Ok(standing)) => (session, standing),
                _ => return Some("unavailable"),
            };
        let standing = standing.filter(|standing| standing.status == UserStatus::Active);
        let (Some(standing), true) = (standing, session.is_some_and(|session| session.is_live(now))) else {
            return Some("session_revoked");
        };
        self.caller.permissions = standing.permissions();
        if !self.caller.permissions.has(Permission::EventsRead) {
            return Some("forbidden");
        }
        (self.caller.expires <= now).then_some("token_expired")
    }

    /// Goes on by some rows; their frames, of those that the caller may see and wants to.
    async fn read(&mut self) -> Result<Vec<u8>> {
        let app = &self.place.app;
        let rows = match app.streams.after(self.position) {
            Some(rows) => rows,
            None => {
                let from = self.position;
                let (rows, _) = app.db.read(move |conn| log::after(conn, from, PIECE)).await?;
                rows.into_iter().map(|row| Arc::new(Heard::new(row))).collect()
            }
        };
        let seen = visible(self.caller.permissions);
        let (mut bytes, before) = (Vec::new(), self.position);
        for heard in &rows {
            self.position = heard.row.seq;
            let kind = &heard.row.resource_type;
            if let Some((event, frame)) = heard.shown()
                && seen.contains(kind)
                && event.meets(&self.filter)
            {
                bytes.extend_from_slice(frame);
                self.sent += 1;
                self.place.app.streams.rows.fetch_add(1, Ordering::Relaxed);
                if bytes.len() >= CHUNK {
                    break;
                }
            }
        }
        if self.position >= *self.head.borrow() || self.position == before {
            self.rest = Instant::now() + REST;
        }
        Ok(bytes)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        tracing::info!(
            request_id = self.request_id,
            operation = "StreamEvents",
            rows = self.sent,
            seconds = self.begun.elapsed().as_secs(),
            reason = self.reason.unwrap_or("closed"),
            "stream ended"
        );
    }
}
