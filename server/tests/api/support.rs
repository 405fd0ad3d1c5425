//! What the tests share: raw requests that are checked for what every answer must be, people and
//! their tokens, rows of the store, and random numbers whose seed is printed.

use std::time::Duration;

use bursar_server::{Location, testing::TestServer};
use bursar_shared::{
    client::{Client, Error},
    error::{ApiError, ErrorCode},
    field::Secret,
    operation::Method,
    operations::{
        auth::{Login, Tokens},
        users::{CreateUser, User},
    },
    page::{List, Resource},
};
use diesel::{
    Connection, PgConnection, RunQueryDsl, SqliteConnection, connection::SimpleConnection, sql_types::Text,
};
use serde_json::Value;
use tokio::{io::Interest, net::TcpStream};

pub use bursar_server::testing::PASSWORD;

/// A create with the least there must be; `..new("bob")` and change what matters.
pub fn new(name: &str) -> CreateUser {
    CreateUser {
        email: format!("{}@example.org", name.to_lowercase()).parse().unwrap(),
        name: name.parse().unwrap(),
        password: None,
        password_hash: None,
        roles: None,
        kind: None,
        external_id: None,
        metadata: None,
    }
}

/// A pair of tokens of this person, beside any session they have.
pub async fn tokens(s: &TestServer, user: &User) -> Tokens {
    s.anonymous().call(&login(user.email.as_str(), PASSWORD)).await.unwrap()
}

/// A sign-in.
pub fn login(email: &str, password: &str) -> Login {
    Login { email: email.parse().unwrap(), password: secret(password) }
}

/// A text that is offered as password or token.
pub fn secret(text: &str) -> Secret {
    text.parse().unwrap()
}

/// The access token that a client sends.
pub async fn access(client: &Client) -> String {
    client.access_token().await.unwrap()
}

/// A fresh idempotency key.
pub fn key() -> String {
    bursar_shared::id::idempotency_key()
}

/// How a call was refused.
///
/// # Panics
/// When it was not.
pub fn refusal<T>(result: Result<T, Error>) -> ApiError {
    match result {
        Err(Error::Api { error, .. }) => error,
        Err(other) => panic!("no refusal but {other}"),
        Ok(_) => panic!("it was not refused"),
    }
}

/// The code of a refusal.
pub fn code<T>(result: Result<T, Error>) -> ErrorCode {
    refusal(result).code
}

/// A request, byte by byte as the test wants it.
#[derive(Clone)]
pub struct Request {
    method: String,
    target: Vec<u8>,
    headers: Vec<(String, Vec<u8>)>,
    body: Option<Vec<u8>>,
}

/// A request that reads.
pub fn get(target: impl AsRef<[u8]>) -> Request {
    request("GET", target)
}

/// A request that brings JSON.
pub fn post(target: impl AsRef<[u8]>, body: &Value) -> Request {
    request("POST", target).json(body)
}

/// Any request.
pub fn request(method: &str, target: impl AsRef<[u8]>) -> Request {
    Request { method: method.to_owned(), target: target.as_ref().to_vec(), headers: Vec::new(), body: None }
}

impl Request {
    /// With this access token.
    pub fn bearer(self, token: &str) -> Self {
        self.header("authorization", format!("Bearer {token}"))
    }

    /// With one more header.
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    /// With this JSON.
    pub fn json(self, body: &Value) -> Self {
        self.header("content-type", "application/json").bytes(serde_json::to_vec(body).unwrap())
    }

    /// With this body, whatever it is.
    pub fn bytes(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self
    }

    fn head(&self) -> Vec<u8> {
        let mut out = format!("{} ", self.method).into_bytes();
        out.extend_from_slice(&self.target);
        out.extend_from_slice(b" HTTP/1.1\r\nhost: test\r\nconnection: close\r\n");
        for (name, value) in &self.headers {
            out.extend_from_slice(format!("{name}: ").as_bytes());
            out.extend_from_slice(value);
            out.extend_from_slice(b"\r\n");
        }
        out
    }

    /// Sends it and checks the answer for what every answer of an operation must be.
    ///
    /// # Panics
    /// When the answer is a 5xx, or not an envelope with the three members and the request's id.
    pub async fn send(self, s: &TestServer) -> Answer {
        let answer = self.clone().send_unchecked(s).await;
        answer.check(&self);
        answer
    }

    /// Sends it; what the HTTP layer itself refuses has no envelope.
    pub async fn send_unchecked(self, s: &TestServer) -> Answer {
        self.send_to(&s.url()).await
    }

    /// Sends it to any daemon, even to one that is dying.
    pub async fn send_to(self, url: &str) -> Answer {
        let mut out = self.head();
        if let Some(body) = &self.body {
            out.extend_from_slice(format!("content-length: {}\r\n\r\n", body.len()).as_bytes());
            out.extend_from_slice(body);
        } else {
            out.extend_from_slice(b"\r\n");
        }
        exchange(url, &out).await
    }

    /// Sends the body in chunks, without saying how long it is.
    pub async fn send_chunked(self, s: &TestServer) -> Answer {
        let mut out = self.head();
        out.extend_from_slice(b"transfer-encoding: chunked\r\n\r\n");
        for chunk in self.body.as_deref().unwrap_or_default().chunks(64 << 10) {
            out.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            out.extend_from_slice(chunk);
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"0\r\n\r\n");
        let answer = exchange(&s.url(), &out).await;
        answer.check(&self);
        answer
    }
}

/// Writes bytes to a daemon and reads until it closes the connection.
pub async fn exchange(url: &str, bytes: &[u8]) -> Answer {
    let address = url.strip_prefix("http://").unwrap();
    let talk = async {
        let stream = TcpStream::connect(address).await.unwrap();
        let (mut sent, mut received, mut buffer) = (0, Vec::new(), vec![0; 64 << 10]);
        loop {
            let interest =
                if sent < bytes.len() { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE };
            let ready = stream.ready(interest).await.unwrap();
            if ready.is_writable() && sent < bytes.len() {
                match stream.try_write(&bytes[sent..]) {
                    Ok(count) => sent += count,
                    Err(why) if why.kind() == std::io::ErrorKind::WouldBlock => {}
                    // the daemon has heard enough; what it answered can still be read
                    Err(_) => sent = bytes.len(),
                }
            }
            if ready.is_readable() {
                match stream.try_read(&mut buffer) {
                    Ok(0) => return received,
                    Ok(count) => {
                        received.extend_from_slice(&buffer[..count]);
                        // a stream never ends by itself: its first words are the answer
                        if is_stream(&received) && received.windows(5).any(|five| five == b"hello") {
                            return received;
                        }
                    }
                    Err(why) if why.kind() == std::io::ErrorKind::WouldBlock => {}
                    Err(_) => return received,
                }
            }
        }
    };
    let received =
        tokio::time::timeout(Duration::from_secs(30), talk).await.expect("the daemon answers in time");
    Answer::read(&received)
}

fn is_stream(received: &[u8]) -> bool {
    received.windows(31).any(|some| some == b"content-type: text/event-stream")
}

/// What a daemon answered.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The HTTP status; 0 when the connection was closed without a word.
    pub status: u16,
    /// Names in small letters.
    pub headers: Vec<(String, String)>,
    /// The body as it came.
    pub body: Vec<u8>,
    /// The body as JSON, null when it is none.
    pub json: Value,
}

impl Answer {
    fn read(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or(bytes.len());
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let mut lines = head.split("\r\n");
        let status = lines
            .next()
            .and_then(|line| line.split(' ').nth(1))
            .and_then(|text| text.parse().ok())
            .unwrap_or(0);
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let body = bytes.get(end + 4..).unwrap_or_default().to_vec();
        let json = serde_json::from_slice(&body).unwrap_or(Value::Null);
        Self { status, headers, body, json }
    }

    fn check(&self, request: &Request) {
        let shown = || format!("{} {}: {self:?}", request.method, String::from_utf8_lossy(&request.target));
        assert!((200..500).contains(&self.status), "{}", shown());
        assert_eq!(self.header("x-content-type-options"), Some("nosniff"), "{}", shown());
        let text = String::from_utf8_lossy(&self.body);
        assert!(!text.contains("$argon2") && !text.contains(PASSWORD), "a secret is shown: {}", shown());
        if self.status == 304 || request.method == "HEAD" {
            assert!(self.body.is_empty(), "{}", shown());
            return;
        }
        if self.status == 200 && self.header("content-type") == Some("text/event-stream") {
            return;
        }
        assert_eq!(self.header("content-type"), Some("application/json"), "{}", shown());
        let members: Vec<&String> =
            self.json.as_object().unwrap_or_else(|| panic!("{}", shown())).keys().collect();
        assert_eq!(members, ["data", "error", "meta"], "{}", shown());
        let failed = self.status >= 400;
        assert_eq!(self.json["error"].is_object(), failed, "{}", shown());
        assert!(!failed || self.json["data"].is_null(), "{}", shown());
        assert!(!failed || self.json["error"]["details"].is_object(), "{}", shown());
        assert_eq!(self.header("x-request-id"), self.json["meta"]["requestId"].as_str(), "{}", shown());
        let code: ErrorCode =
            serde_json::from_value(self.json["error"]["code"].clone()).unwrap_or(ErrorCode::Unknown);
        assert!(!failed || code.status() == self.status, "{}", shown());
        crate::openapi::is_documented(&request.method, &request.target, self, &shown);
    }

    /// The header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The code of the error; empty when there is none.
    pub fn code(&self) -> &str {
        self.json["error"]["code"].as_str().unwrap_or_default()
    }

    /// Status and code in one text.
    pub fn verdict(&self) -> String {
        format!("{} {}", self.status, self.code()).trim().to_owned()
    }

    /// The data.
    pub fn data(&self) -> &Value {
        &self.json["data"]
    }

    /// `pointer rule` of each violation, sorted.
    pub fn rules(&self) -> Vec<String> {
        let list = self.json["error"]["details"]["violations"].as_array().cloned().unwrap_or_default();
        let mut rules: Vec<String> = list
            .iter()
            .map(|one| format!("{} {}", one["pointer"].as_str().unwrap(), one["rule"].as_str().unwrap()))
            .collect();
        rules.sort();
        rules
    }

    /// The ids of the rows.
    pub fn ids(&self) -> Vec<String> {
        let rows = self.data().as_array().unwrap_or_else(|| panic!("no list: {self:?}"));
        rows.iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect()
    }

    /// A member of `meta.pagination`.
    pub fn pagination(&self, name: &str) -> &Value {
        &self.json["meta"]["pagination"][name]
    }
}

/// This list with something changed.
pub fn but<R: Resource>(mut list: List<R>, change: impl FnOnce(&mut List<R>)) -> List<R> {
    change(&mut list);
    list
}

/// The path of an operation with these ids in it.
pub fn fill(path: &str, id: &str, key: &str) -> String {
    path.replace("{id}", id).replace("{key}", key)
}

/// An id that nobody has, of the kind that the path asks for.
pub fn unknown_id(path: &str) -> &'static str {
    let kinds = [
        ("/users/", "usr"),
        ("/roles/", "rol"),
        ("/sessions/", "ses"),
        ("/audit/", "evt"),
        ("/accounts/", "acc"),
        ("/transfers/", "trf"),
    ];
    match kinds.iter().find(|(part, _)| path.contains(part)).map(|(_, kind)| *kind) {
        Some("rol") => "rol_01h455vb4pex5vsknk084sn02q",
        Some("ses") => "ses_01h455vb4pex5vsknk084sn02q",
        Some("evt") => "evt_01h455vb4pex5vsknk084sn02q",
        Some("acc") => "acc_01h455vb4pex5vsknk084sn02q",
        Some("trf") => "trf_01h455vb4pex5vsknk084sn02q",
        _ => "usr_01h455vb4pex5vsknk084sn02q",
    }
}

/// A key that nobody used.
pub const UNUSED_KEY: &str = "0123456789abcdef-unused";

/// Whether an operation brings a body.
pub fn request_of(method: Method, target: &str) -> Request {
    let request = request(method.as_str(), target);
    if method.has_body() { request.json(&serde_json::json!({})) } else { request }
}

#[derive(diesel::QueryableByName)]
struct Line {
    #[diesel(sql_type = Text)]
    value: String,
}

/// What a query of the store says: one text column named `value`.
pub fn rows(s: &TestServer, sql: &str) -> Vec<String> {
    rows_at(s.location(), sql)
}

/// The same, wherever the store is.
pub fn rows_at(location: &Location, sql: &str) -> Vec<String> {
    let lines: Vec<Line> = match location {
        Location::Sqlite(path) => {
            let mut conn = SqliteConnection::establish(path.to_str().unwrap()).unwrap();
            diesel::sql_query("PRAGMA busy_timeout=5000").execute(&mut conn).unwrap();
            diesel::sql_query(sql).load(&mut conn).unwrap()
        }
        Location::Postgres(url) => {
            let mut conn = PgConnection::establish(url).unwrap();
            diesel::sql_query(sql).load(&mut conn).unwrap()
        }
    };
    lines.into_iter().map(|line| line.value).collect()
}

/// What `work` comes to when it wants to write while somebody else does, who runs `sql` and commits once
/// the work waits.
pub async fn held_up<T, F: Future<Output = T>>(s: &TestServer, sql: &str, work: impl FnOnce() -> F) -> T {
    held_up_by(s, sql, "LOCK TABLE users IN ACCESS EXCLUSIVE MODE", 1, work).await
}

/// Waits until so many requests are being worked on.
pub async fn in_flight(s: &TestServer, requests: u32) {
    bursar_server::testing::eventually("the requests are under way", || async {
        let metrics = get("/metrics").send_unchecked(s).await;
        String::from_utf8_lossy(&metrics.body).contains(&format!("bursar_requests_in_flight {requests}\n"))
    })
    .await;
}

/// The same when the work is so many requests, and what they wait for on PostgreSQL is this.
pub async fn held_up_by<T, F: Future<Output = T>>(
    s: &TestServer,
    sql: &str,
    lock: &str,
    requests: u32,
    work: impl FnOnce() -> F,
) -> T {
    let (begin, lock) = match s.location() {
        Location::Sqlite(_) => ("BEGIN IMMEDIATE", String::new()),
        Location::Postgres(_) => ("BEGIN", format!("; {lock}")),
    };
    let mut other: Box<dyn FnMut(&str)> = match s.location() {
        Location::Sqlite(path) => {
            let mut conn = SqliteConnection::establish(path.to_str().unwrap()).unwrap();
            Box::new(move |sql| conn.batch_execute(sql).unwrap())
        }
        Location::Postgres(url) => {
            let mut conn = PgConnection::establish(url).unwrap();
            Box::new(move |sql| conn.batch_execute(sql).unwrap())
        }
    };
    other(&format!("{begin}; {sql}{lock}"));
    let waiting = async {
        in_flight(s, requests).await;
        other("COMMIT");
    };
    tokio::join!(work(), waiting).0
}

/// One number of the store.
pub fn count(s: &TestServer, what: &str) -> i64 {
    rows(s, &format!("SELECT CAST(COUNT(*) AS TEXT) AS value FROM {what}"))[0].parse().unwrap()
}

/// `many` instead of `few` rounds with `BURSAR_LONG=1`.
pub fn rounds(few: u32, many: u32) -> u32 {
    if setting("BURSAR_LONG").is_some_and(|value| value == "1") { many } else { few }
}

/// A switch of the tests.
#[expect(clippy::disallowed_methods, reason = "switches of the tests have no other place")]
pub fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The seed of a random test: printed, and given again by `BURSAR_SEED`.
pub fn seed() -> u64 {
    let seed = setting("BURSAR_SEED")
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(|| u64::from_str_radix(&key()[..15], 16).unwrap());
    println!("BURSAR_SEED={seed}");
    seed
}

/// Random numbers (SplitMix64): the same seed gives the same ones.
#[derive(Clone)]
pub struct Random(pub u64);

impl Random {
    /// Any number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap()
    }

    /// One of them.
    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }
}
