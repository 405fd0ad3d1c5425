//! Accepts connections and bounds them: how many, how slow, how big; drains them at the end.
//!
//! `axum::serve` has no timer, so a silent connection or a head that comes letter by letter stays open
//! for ever; hyper's own timer does not see silence either. So every connection reads and writes through
//! [`Timed`] and is watched by [`Patience`], which knows whether a request is awaited, being read or being
//! answered.

pub mod body;
mod timed;
mod tls;

use std::{
    convert::Infallible,
    fmt,
    future::poll_fn,
    io::{self, Write},
    net::SocketAddr,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::Poll,
    time::Duration,
};

use axum::{Router, body::Body, http::StatusCode, response::Response};
use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

use self::timed::{Answering, Patience, Shared, Timed};
pub use self::tls::acceptor;

/// How many connections, how long and how big.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Connections at once; the next is answered 503 and closed.
    pub connections: usize,
    /// From connecting to the first byte.
    pub first_byte: Duration,
    /// From the first byte of a head to its last.
    pub head: Duration,
    /// From an answer to the next request.
    pub idle: Duration,
    /// The client takes nothing of an answer.
    pub write_stall: Duration,
    /// The TLS handshake.
    pub handshake: Duration,
    /// Bytes of a head; more is answered 431.
    pub head_bytes: usize,
    /// Headers of a request; more are answered 431.
    pub headers: usize,
    /// Bytes of path and query; more are answered 414.
    pub target_bytes: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            connections: 1_024,
            first_byte: Duration::from_secs(10),
            head: Duration::from_secs(10),
            idle: Duration::from_secs(60),
            write_stall: Duration::from_secs(30),
            handshake: Duration::from_secs(10),
            head_bytes: 16 << 10,
            headers: 100,
            target_bytes: 8 << 10,
        }
    }
}

/// The other end of the connection that a request came by; stands in the request's extensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Its address.
    pub address: SocketAddr,
    /// Whether the connection is encrypted.
    pub tls: bool,
}

/// Why a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closed {
    /// As HTTP has it.
    Done,
    /// Nothing came.
    FirstByte,
    /// The head came too slowly.
    Head,
    /// No further request came.
    Idle,
    /// The client took nothing of its answer.
    WriteStall,
    /// The TLS handshake failed or took too long.
    Handshake,
    /// The client went away in the middle, or sent what is not HTTP.
    Broken,
    /// The daemon stopped while nothing was asked.
    Stopped,
    /// The daemon stopped, and the request was not done in time.
    Cut,
}

impl Closed {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Done,
        Self::FirstByte,
        Self::Head,
        Self::Idle,
        Self::WriteStall,
        Self::Handshake,
        Self::Broken,
        Self::Stopped,
        Self::Cut,
    ];

    /// For `/metrics`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::FirstByte => "first_byte",
            Self::Head => "head",
            Self::Idle => "idle",
            Self::WriteStall => "write_stall",
            Self::Handshake => "handshake",
            Self::Broken => "broken",
            Self::Stopped => "stopped",
            Self::Cut => "cut",
        }
    }
}

/// Connections so far.
#[derive(Debug, Default)]
pub struct Stats {
    open: AtomicU64,
    accepted: AtomicU64,
    refused: AtomicU64,
    closed: [AtomicU64; Closed::ALL.len()],
}

impl Stats {
    /// Open now.
    pub fn open(&self) -> u64 {
        self.open.load(Ordering::Relaxed)
    }

    /// Served since the start.
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Turned away because there were too many.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Ended for this reason.
    pub fn closed(&self, why: Closed) -> u64 {
        self.closed[why as usize].load(Ordering::Relaxed)
    }
}

/// Counts a connection as open until it is dropped.
struct Counted {
    stats: Arc<Stats>,
    why: Closed,
}

impl Counted {
    fn new(stats: Arc<Stats>) -> Self {
        stats.open.fetch_add(1, Ordering::Relaxed);
        stats.accepted.fetch_add(1, Ordering::Relaxed);
        // a task that is aborted says nothing more
        Self { stats, why: Closed::Cut }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.stats.closed[self.why as usize].fetch_add(1, Ordering::Relaxed);
        self.stats.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What is written to whoever comes when there are too many.
const REFUSAL: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// A bound socket.
pub struct Listener {
    socket: TcpListener,
    tls: Option<TlsAcceptor>,
    bounds: Bounds,
    stats: Arc<Stats>,
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").field("bounds", &self.bounds).finish_non_exhaustive()
    }
}

impl Listener {
    /// Binds `address` (port 0: any), with TLS if an [`acceptor`] is given.
    ///
    /// # Errors
    /// What the operating system says.
    pub async fn bind(address: SocketAddr, tls: Option<TlsAcceptor>, bounds: Bounds) -> io::Result<Self> {
        let socket = TcpListener::bind(address).await?;
        Ok(Self { socket, tls, bounds, stats: Arc::default() })
    }

    /// The address that it is bound to.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Counters, for `/metrics`.
    pub fn stats(&self) -> Arc<Stats> {
        Arc::clone(&self.stats)
    }

    /// Serves `app` until `stop` is ready; then accepts nobody more, lets requests that are being
    /// served end for at most `grace`, and cuts the rest. Answers how many were cut. Dropping the
    /// future cuts all at once.
    pub async fn serve(self, app: Router, stop: impl Future<Output = ()>, grace: Duration) -> usize {
        let Self { socket, tls, bounds, stats } = self;
        let (stopping, stopped) = watch::channel(false);
        let room = Arc::new(Semaphore::new(bounds.connections));
        let mut tasks = JoinSet::new();
        let mut stop = pin!(stop);
        loop {
            let accepted = tokio::select! {
                () = &mut stop => break,
                accepted = socket.accept() => accepted,
                // ended tasks give their memory back
                Some(_) = tasks.join_next(), if !tasks.is_empty() => continue,
            };
            let (stream, address) = match accepted {
                Ok(accepted) => accepted,
                Err(why) if is_of_one_connection(&why) => continue,
                Err(why) => {
                    // out of file descriptors or memory: others must end first
                    tracing::warn!(error = %why, "cannot accept a connection");
                    tokio::select! {
                        () = &mut stop => break,
                        () = sleep(Duration::from_millis(100)) => continue,
                    }
                }
            };
            let Ok(permit) = Arc::clone(&room).try_acquire_owned() else {
                stats.refused.fetch_add(1, Ordering::Relaxed);
                refuse(stream, tls.is_none());
                continue;
            };
            let counted = Counted::new(Arc::clone(&stats));
            let connection = Connection {
                peer: Peer { address, tls: tls.is_some() },
                app: app.clone(),
                bounds,
                stopped: stopped.clone(),
            };
            let tls = tls.clone();
            tasks.spawn(async move {
                let mut counted = counted;
                counted.why = connection.run(stream, tls).await;
                drop(permit);
            });
        }
        drop(socket);
        stopping.send_replace(true);
        let drained = timeout(grace, async { while tasks.join_next().await.is_some() {} }).await;
        let cut = if drained.is_ok() { 0 } else { tasks.len() };
        tasks.shutdown().await;
        cut
    }
}

/// The client was gone before we accepted it: no reason to wait.
fn is_of_one_connection(why: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(
        why.kind(),
        Kind::ConnectionAborted | Kind::ConnectionReset | Kind::ConnectionRefused | Kind::Interrupted
    )
}

/// One short write that cannot block; a client that is deaf to it sees the end of the connection.
fn refuse(stream: TcpStream, plain: bool) {
    if plain && let Ok(mut stream) = stream.into_std() {
        let _ = stream.write(REFUSAL);
    }
}

struct Connection {
    peer: Peer,
    app: Router,
    bounds: Bounds,
    stopped: watch::Receiver<bool>,
}

impl Connection {
    async fn run(self, stream: TcpStream, tls: Option<TlsAcceptor>) -> Closed {
        // answers are written at once; waiting for more would only delay them
        let _ = stream.set_nodelay(true);
        let Some(tls) = tls else { return self.serve(stream).await };
        let mut stopped = self.stopped.clone();
        let handshake = timeout(self.bounds.handshake, tls.accept(stream));
        let stream = tokio::select! {
            shaken = handshake => shaken,
            () = told(&mut stopped) => return Closed::Stopped,
        };
        match stream {
            Ok(Ok(stream)) => self.serve(stream).await,
            Ok(Err(_)) | Err(_) => Closed::Handshake,
        }
    }

    async fn serve(self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Closed {
        let Self { peer, app, bounds, mut stopped } = self;
        let shared = Arc::new(Shared::default());
        let io = TokioIo::new(Timed::new(stream, bounds.write_stall, Arc::clone(&shared)));
        let answering = Arc::clone(&shared);
        let service = service_fn(move |request: Request<Incoming>| {
            let turn = Answering::begin(Arc::clone(&answering));
            answer(app.clone(), request, peer, bounds.target_bytes, turn)
        });
        let mut connection = pin!(
            http1::Builder::new()
                .timer(TokioTimer::new())
                // ours covers it, and from the first byte on
                .header_read_timeout(None)
                .max_headers(bounds.headers)
                .max_header_size(bounds.head_bytes)
                .max_buf_size(bounds.head_bytes.max(64 << 10))
                .serve_connection(io, service)
        );
        let mut patience = Patience::new(bounds, Arc::clone(&shared));
        let (mut told, mut stopping) = (pin!(told(&mut stopped)), false);
        poll_fn(|cx| {
            if !stopping && told.as_mut().poll(cx).is_ready() {
                stopping = true;
                // hyper takes a connection that never asked anything for a busy one
                if shared.is_fresh() {
                    return Poll::Ready(Closed::Stopped);
                }
                connection.as_mut().graceful_shutdown();
            }
            match connection.as_mut().poll(cx) {
                Poll::Ready(Ok(())) => Poll::Ready(shared.why().unwrap_or(Closed::Done)),
                Poll::Ready(Err(_)) => Poll::Ready(shared.why().unwrap_or(Closed::Broken)),
                Poll::Pending => patience.is_over(cx).map_or(Poll::Pending, Poll::Ready),
            }
        })
        .await
    }
}

/// Ends when the daemon stops; holds no lock of the channel afterwards.
async fn told(stopped: &mut watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

async fn answer(
    app: Router,
    mut request: Request<Incoming>,
    peer: Peer,
    target_bytes: usize,
    turn: Answering,
) -> Result<Response<timed::Watched>, Infallible> {
    let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    let response = if target > target_bytes {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::URI_TOO_LONG;
        response
    } else {
        request.extensions_mut().insert(peer);
        match app.oneshot(request.map(Body::new)).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    };
    Ok(response.map(|body| turn.watch(body)))
}

#[cfg(test)]
#[path = "listener_tests.rs"]
mod tests;
