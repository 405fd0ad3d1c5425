//! Bad clients over real sockets: each is closed in time, and nobody else notices.

use std::path::PathBuf;

use axum::{Extension, body::Bytes, routing::get};
use futures_util::stream;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::{Notify, oneshot},
    task::JoinHandle,
    time::{Instant, interval},
};
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, RootCertStore, pki_types::ServerName},
};

use super::*;

const SHORT: Duration = Duration::from_millis(60);
const LONG: Duration = Duration::from_secs(60);

/// Nothing runs out of time but what a test shortens.
const PATIENT: Bounds = Bounds {
    connections: 100,
    first_byte: LONG,
    head: LONG,
    idle: LONG,
    write_stall: LONG,
    handshake: LONG,
    head_bytes: 16 << 10,
    headers: 100,
    target_bytes: 8 << 10,
};

struct Server {
    address: SocketAddr,
    stats: Arc<Stats>,
    stop: oneshot::Sender<()>,
    served: JoinHandle<usize>,
    /// `/wait` answers when it is told.
    release: Arc<Notify>,
    /// `/wait` says that it waits.
    waiting: Arc<Notify>,
}

impl Server {
    async fn start(bounds: Bounds) -> Self {
        Self::start_with(bounds, None, LONG).await
    }

    async fn start_with(bounds: Bounds, tls: Option<TlsAcceptor>, grace: Duration) -> Self {
        let listener = Listener::bind(([127, 0, 0, 1], 0).into(), tls, bounds).await.unwrap();
        let (address, stats) = (listener.address().unwrap(), listener.stats());
        let (stop, stopped) = oneshot::channel();
        let (release, waiting) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (released, waits) = (Arc::clone(&release), Arc::clone(&waiting));
        let wait = move || {
            let (released, waits) = (Arc::clone(&released), Arc::clone(&waits));
            async move {
                waits.notify_one();
                released.notified().await;
                "waited"
            }
        };
        let endless = || async {
            let chunk = Bytes::from(vec![b'x'; 1 << 16]);
            Body::from_stream(stream::repeat_with(move || Ok::<_, Infallible>(chunk.clone())))
        };
        let app =
            Router::new()
                .route("/", get(|| async { "hello" }))
                .route(
                    "/peer",
                    get(|Extension(peer): Extension<Peer>| async move {
                        format!("{} {}", peer.address, peer.tls)
                    }),
                )
                .route("/wait", get(wait))
                .route("/endless", get(endless));
        let served = tokio::spawn(listener.serve(app, async { drop(stopped.await) }, grace));
        Self { address, stats, stop, served, release, waiting }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Stops it and waits until all connections are gone.
    async fn stop(self) -> (usize, Arc<Stats>) {
        self.stop.send(()).unwrap();
        let cut = self.served.await.unwrap();
        assert_eq!(self.stats.open(), 0);
        (cut, self.stats)
    }
}

async fn send(stream: &mut TcpStream, text: &str) {
    stream.write_all(text.as_bytes()).await.unwrap();
}

/// All that comes until the connection ends.
async fn rest(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut text = Vec::new();
    // a reset is an end too
    drop(stream.read_to_end(&mut text).await);
    String::from_utf8(text).unwrap()
}

/// Reads until `end` was read.
async fn until(stream: &mut TcpStream, end: &str) -> String {
    let mut text = String::new();
    while !text.ends_with(end) {
        let byte = stream.read_u8().await.unwrap_or_else(|why| panic!("{why} after {text:?}"));
        text.push(char::from(byte));
    }
    text
}

#[tokio::test]
async fn closes_silent_connections() {
    let server = Server::start(Bounds { first_byte: SHORT, ..PATIENT }).await;
    let mut silent = server.connect().await;
    assert_eq!(rest(&mut silent).await, "");
    let (_, stats) = server.stop().await;
    assert_eq!(stats.closed(Closed::FirstByte), 1);
}

#[tokio::test]
async fn closes_heads_that_come_letter_by_letter() {
    let server = Server::start(Bounds { head: SHORT, ..PATIENT }).await;
    let mut slow = server.connect().await;
    send(&mut slow, "GET / HTTP/1.1\r\nx: ").await;
    let (mut reader, mut writer) = slow.into_split();
    let trickle = tokio::spawn(async move {
        let mut ticks = interval(Duration::from_millis(5));
        while writer.write_all(b"x").await.is_ok() {
            ticks.tick().await;
        }
    });
    assert_eq!(rest(&mut reader).await, "");
    trickle.await.unwrap();
    // the second request of a connection is bounded in the same way
    let mut second = server.connect().await;
    send(&mut second, "GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    until(&mut second, "hello").await;
    send(&mut second, "GET").await;
    assert_eq!(rest(&mut second).await, "");
    let (_, stats) = server.stop().await;
    assert_eq!(stats.closed(Closed::Head), 2);
}

#[tokio::test]
async fn closes_idle_connections_but_not_busy_ones() {
    let server = Server::start(Bounds { idle: SHORT, first_byte: SHORT, head: SHORT, ..PATIENT }).await;
    let mut busy = server.connect().await;
    send(&mut busy, "GET /wait HTTP/1.1\r\nhost: a\r\n\r\n").await;
    server.waiting.notified().await;
    let mut idle = server.connect().await;
    send(&mut idle, "GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    until(&mut idle, "hello").await;
    assert_eq!(rest(&mut idle).await, "");
    // by now the busy one has waited longer than any of the three
    server.release.notify_one();
    until(&mut busy, "waited").await;
    assert_eq!(rest(&mut busy).await, "");
    let (_, stats) = server.stop().await;
    assert_eq!(stats.closed(Closed::Idle), 2);
}

#[tokio::test]
async fn serves_many_requests_on_one_connection_also_pipelined() {
    let server = Server::start(PATIENT).await;
    let mut stream = server.connect().await;
    let one = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    send(&mut stream, &one.repeat(3)).await;
    for _ in 0..3 {
        until(&mut stream, "hello").await;
    }
    send(&mut stream, one).await;
    until(&mut stream, "hello").await;
    assert_eq!((server.stats.open(), server.stats.accepted()), (1, 1));
    drop(stream);
    let (_, stats) = server.stop().await;
    assert_eq!(stats.closed(Closed::Done), 1);
}

#[tokio::test]
async fn refuses_heads_that_are_too_big() {
    let server = Server::start(PATIENT).await;
    let with = |headers: usize| {
        let headers: String = (1..headers).map(|number| format!("x-{number}: a\r\n")).collect();
        format!("GET / HTTP/1.1\r\nhost: a\r\n{headers}\r\n")
    };
    let mut fine = server.connect().await;
    send(&mut fine, &with(100)).await;
    assert!(until(&mut fine, "hello").await.starts_with("HTTP/1.1 200"));
    for (head, status) in [
        (with(101), "HTTP/1.1 431"),
        (format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "a".repeat(17 << 10)), "HTTP/1.1 431"),
        (
            format!("GET /{} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n", "a".repeat(8 << 10)),
            "HTTP/1.1 414",
        ),
        ("nonsense\r\n\r\n".to_owned(), "HTTP/1.1 400"),
    ] {
        let mut stream = server.connect().await;
        send(&mut stream, &head).await;
        let answer = rest(&mut stream).await;
        assert!(answer.starts_with(status), "{answer}");
    }
    server.stop().await;
}

#[tokio::test]
async fn closes_connections_whose_client_takes_nothing() {
    let server = Server::start(Bounds { write_stall: SHORT, ..PATIENT }).await;
    let mut deaf = server.connect().await;
    send(&mut deaf, "GET /endless HTTP/1.1\r\nhost: a\r\n\r\n").await;
    until(&mut deaf, "\r\n\r\n").await;
    // the answer never ends, so the drain ends only because the connection is given up
    let (cut, stats) = server.stop().await;
    assert_eq!((cut, stats.closed(Closed::WriteStall)), (0, 1));
}

#[tokio::test]
async fn holds_its_cap() {
    let server = Server::start(Bounds { connections: 2, ..PATIENT }).await;
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut stream = server.connect().await;
        send(&mut stream, "GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        until(&mut stream, "hello").await;
        held.push(stream);
    }
    for _ in 0..3 {
        let answer = rest(&mut server.connect().await).await;
        assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("retry-after: 1"), "{answer}");
    }
    assert_eq!((server.stats.open(), server.stats.refused()), (2, 3));
    // one leaves: there is room for one more
    drop(held.pop());
    loop {
        let mut stream = server.connect().await;
        // it may be refused, and reset, as long as the other's end was not noticed
        if stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.is_ok()
            && rest(&mut stream).await.ends_with("hello")
        {
            break;
        }
    }
}

#[tokio::test]
async fn finishes_what_was_begun_and_accepts_nobody_more() {
    let server = Server::start(PATIENT).await;
    let mut idle = server.connect().await;
    send(&mut idle, "GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    until(&mut idle, "hello").await;
    let mut silent = server.connect().await;
    let mut busy = server.connect().await;
    send(&mut busy, "GET /wait HTTP/1.1\r\nhost: a\r\n\r\n").await;
    server.waiting.notified().await;

    let Server { address, stats, stop, served, release, .. } = server;
    stop.send(()).unwrap();
    assert_eq!((rest(&mut idle).await, rest(&mut silent).await), (String::new(), String::new()));
    assert!(TcpStream::connect(address).await.is_err());
    release.notify_one();
    let answer = rest(&mut busy).await;
    assert!(answer.contains("connection: close") && answer.ends_with("waited"), "{answer}");
    assert_eq!(served.await.unwrap(), 0);
    assert_eq!((stats.open(), stats.closed(Closed::Stopped), stats.closed(Closed::Done)), (0, 1, 2));
}

#[tokio::test]
async fn cuts_what_does_not_end() {
    let server = Server::start_with(PATIENT, None, SHORT).await;
    let mut busy = server.connect().await;
    send(&mut busy, "GET /wait HTTP/1.1\r\nhost: a\r\n\r\n").await;
    server.waiting.notified().await;
    let (cut, stats) = server.stop().await;
    assert_eq!((cut, stats.closed(Closed::Cut)), (1, 1));
    assert_eq!(rest(&mut busy).await, "");
}

#[tokio::test]
async fn tells_who_asks() {
    let server = Server::start(PATIENT).await;
    let mut stream = server.connect().await;
    let address = stream.local_addr().unwrap();
    send(&mut stream, "GET /peer HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
    assert!(rest(&mut stream).await.ends_with(&format!("{address} false")));
}

/// A fresh certificate for `localhost` in two files, and what trusts it.
fn certificate() -> (PathBuf, PathBuf, ClientConfig) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let folder = std::env::temp_dir().join(bursar_shared::id::request_id());
    std::fs::create_dir(&folder).unwrap();
    let (chain, key) = (folder.join("chain.pem"), folder.join("key.pem"));
    std::fs::write(&chain, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    (chain, key, config.with_root_certificates(roots).with_no_client_auth())
}

#[tokio::test]
async fn speaks_tls_and_waits_for_no_handshake() {
    let (chain, key, client) = certificate();
    let tls = acceptor(&chain, &key).unwrap();
    let bounds = Bounds { handshake: SHORT, ..PATIENT };
    let server = Server::start_with(bounds, Some(tls), LONG).await;
    assert_eq!(rest(&mut server.connect().await).await, "");
    let mut plain = server.connect().await;
    send(&mut plain, "GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(!rest_lossy(&mut plain).await.contains("HTTP"));

    let name = ServerName::try_from("localhost").unwrap();
    // a connection that is slower than the handshake's time is tried again
    let began = Instant::now();
    let mut stream = loop {
        match TlsConnector::from(Arc::new(client.clone())).connect(name.clone(), server.connect().await).await
        {
            Ok(stream) => break stream,
            Err(why) => assert!(began.elapsed() < LONG, "{why}"),
        }
    };
    stream.write_all(b"GET /peer HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
    assert!(rest(&mut stream).await.ends_with(" true"));
    let (_, stats) = server.stop().await;
    assert!(stats.closed(Closed::Handshake) >= 2);

    // files that do not fit are named
    let refused = acceptor(&key, &key).map(|_| ()).unwrap_err().to_string();
    assert!(refused.contains("key.pem") && refused.contains("no certificate"), "{refused}");
    let refused = acceptor(&chain, &chain).map(|_| ()).unwrap_err().to_string();
    assert!(refused.contains("chain.pem"), "{refused}");
    std::fs::remove_dir_all(chain.parent().unwrap()).unwrap();
}

async fn rest_lossy(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    drop(stream.read_to_end(&mut bytes).await);
    String::from_utf8_lossy(&bytes).into_owned()
}
