//! A connection that runs out of time: while a request is awaited, while its head comes, while the
//! client does not take its answer. Not while the daemon works: that is bounded by the request's own time.

use std::{
    future::Future,
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

use super::{Bounds, Closed};

/// What the reading side and the answering side know of each other.
#[derive(Default)]
pub(super) struct Shared {
    /// Even: a request is awaited. Odd: one is being answered. Never goes back.
    turn: AtomicU64,
    /// The turn in which bytes of a head came last, and one; zero before the first.
    head: AtomicU64,
    /// Why the stream was given up: the place in [`Closed::ALL`] and one; zero while it was not.
    why: AtomicUsize,
}

impl Shared {
    /// Whether nothing was ever asked.
    pub(super) fn is_fresh(&self) -> bool {
        self.head.load(Ordering::Relaxed) == 0
    }

    /// Why the stream was given up, if it was.
    pub(super) fn why(&self) -> Option<Closed> {
        let place = self.why.load(Ordering::Relaxed).checked_sub(1)?;
        Closed::ALL.get(place).copied()
    }
}

/// Lasts from a request's head to the last byte of its answer.
pub(super) struct Answering(Arc<Shared>);

impl Answering {
    pub(super) fn begin(shared: Arc<Shared>) -> Self {
        shared.turn.fetch_add(1, Ordering::AcqRel);
        Self(shared)
    }

    /// The body, at whose end the answering ends.
    pub(super) fn watch(self, body: Body) -> Watched {
        Watched { body, _turn: self }
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.turn.fetch_add(1, Ordering::AcqRel);
    }
}

/// The body of an answer.
pub(super) struct Watched {
    body: Body,
    _turn: Answering,
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }
    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A timer that is set only when somebody really has to wait, and moved only when it must ring sooner:
/// a busy connection never touches it.
#[derive(Default)]
struct Alarm(Option<Pin<Box<Sleep>>>);

impl Alarm {
    /// Whether `deadline` is over; if not, wakes the task when it is.
    fn is_over(&mut self, deadline: Instant, cx: &mut Context<'_>) -> bool {
        let sleep = self.0.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if sleep.deadline() > deadline {
            sleep.as_mut().reset(deadline);
        }
        while sleep.as_mut().poll(cx).is_ready() {
            if Instant::now() >= deadline {
                return true;
            }
            sleep.as_mut().reset(deadline);
        }
        false
    }
}

/// How long the client may still let us wait for a request. Looked at after each turn of the connection's
/// own work, because hyper does not read again after an answer, so a timer inside of its reading would
/// never be set.
pub(super) struct Patience {
    bounds: Bounds,
    shared: Arc<Shared>,
    /// The turn that `deadline` is for.
    turn: u64,
    /// Whether a byte of the awaited head came.
    in_head: bool,
    deadline: Instant,
    alarm: Alarm,
}

impl Patience {
    pub(super) fn new(bounds: Bounds, shared: Arc<Shared>) -> Self {
        let deadline = Instant::now() + bounds.first_byte;
        Self { bounds, shared, turn: 0, in_head: false, deadline, alarm: Alarm::default() }
    }

    /// Whether it is over, and why; if not, wakes the task when it is.
    pub(super) fn is_over(&mut self, cx: &mut Context<'_>) -> Option<Closed> {
        let turn = self.shared.turn.load(Ordering::Acquire);
        if !turn.is_multiple_of(2) {
            return None;
        }
        if turn != self.turn {
            self.turn = turn;
            self.in_head = false;
            self.deadline = Instant::now() + self.bounds.idle;
        }
        if !self.in_head && self.shared.head.load(Ordering::Relaxed) == turn + 1 {
            self.in_head = true;
            self.deadline = Instant::now() + self.bounds.head;
        }
        self.alarm.is_over(self.deadline, cx).then_some(match (self.in_head, turn) {
            (true, _) => Closed::Head,
            (false, 0) => Closed::FirstByte,
            (false, _) => Closed::Idle,
        })
    }
}

/// A stream that notes when bytes come, and gives up a client that takes none.
pub(super) struct Timed<S> {
    stream: S,
    shared: Arc<Shared>,
    /// How long a client may take nothing.
    patience: Duration,
    /// While the client takes nothing: until when it may go on so.
    stalled: Option<Instant>,
    alarm: Alarm,
}

impl<S> Timed<S> {
    pub(super) fn new(stream: S, write_stall: Duration, shared: Arc<Shared>) -> Self {
        Self { stream, shared, patience: write_stall, stalled: None, alarm: Alarm::default() }
    }

    /// Passes on what a write came to, unless it has come to nothing for too long.
    fn written<T>(&mut self, written: Poll<io::Result<T>>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let deadline = *self.stalled.get_or_insert_with(|| Instant::now() + self.patience);
        match self.alarm.is_over(deadline, cx) {
            true => {
                self.shared.why.store(Closed::WriteStall as usize + 1, Ordering::Relaxed);
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
            false => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Timed<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = into.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, into))?;
        let turn = this.shared.turn.load(Ordering::Acquire);
        if into.filled().len() > before && turn.is_multiple_of(2) {
            this.shared.head.store(turn + 1, Ordering::Relaxed);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Timed<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(cx, bytes);
        this.written(written, cx)
    }
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write_vectored(cx, bytes);
        this.written(written, cx)
    }
    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = Pin::new(&mut this.stream).poll_flush(cx);
        // a flush that is ready says nothing about the writes before it
        match flushed {
            Poll::Pending => this.written(flushed, cx),
            Poll::Ready(done) => Poll::Ready(done),
        }
    }
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let shut = Pin::new(&mut this.stream).poll_shutdown(cx);
        this.written(shut, cx)
    }
}
