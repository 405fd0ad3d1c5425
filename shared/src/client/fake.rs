//! A small server for the client's tests: it answers as the test says, or breaks off.

use std::{
    collections::HashMap,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
};

use serde_json::{Value, json};

/// A request as it came.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) method: String,
    pub(super) target: String,
    pub(super) headers: HashMap<String, String>,
    pub(super) body: String,
}

impl Asked {
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// A member of the JSON body.
    pub(super) fn member(&self, name: &str) -> String {
        let body: Value = serde_json::from_str(&self.body).unwrap_or_default();
        body[name].as_str().unwrap_or_default().to_owned()
    }
}

/// What is answered; nothing means that the connection breaks.
pub(super) type Said = Option<(u16, Vec<(&'static str, String)>, String)>;

/// A server that is gone with the process.
#[derive(Clone)]
pub(super) struct Fake {
    pub(super) server: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Fake {
    pub(super) fn start(answer: impl Fn(&Asked) -> Said + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = format!("http://{}", listener.local_addr().unwrap());
        let fake = Self { server, asked: Arc::default() };
        let (asked, answer) = (fake.asked.clone(), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (asked, answer) = (asked.clone(), answer.clone());
                std::thread::spawn(move || converse(stream, &asked, &*answer));
            }
        });
        fake
    }

    /// Everything that was asked so far.
    pub(super) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

fn converse(stream: TcpStream, all: &Mutex<Vec<Asked>>, answer: &dyn Fn(&Asked) -> Said) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split_whitespace();
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = HashMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let asked = Asked { method, target, headers, body: String::from_utf8(body).ok()? };
    all.lock().unwrap().push(asked.clone());
    let (status, headers, body) = answer(&asked)?;
    let mut head = format!("HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    let mut stream = stream;
    stream.write_all(format!("{head}\r\n{body}").as_bytes()).ok()
}

fn meta() -> Value {
    json!({ "timestamp": super::session::local_now(), "requestId": "req_test" })
}

/// An answer with data.
pub(super) fn fine(data: Value) -> Said {
    let envelope = json!({ "data": data, "error": null, "meta": meta() });
    Some((200, vec![("content-type", "application/json".to_owned())], envelope.to_string()))
}

/// A page of a list.
pub(super) fn page(rows: Value, next: Option<&str>) -> Said {
    let mut meta = meta();
    meta["pagination"] = json!({
        "mode": "cursor", "page": null, "pageSize": 2, "total": null, "totalPages": null,
        "totalAccuracy": "none", "hasMore": next.is_some(), "nextCursor": next, "prevCursor": null,
    });
    Some((200, vec![], json!({ "data": rows, "error": null, "meta": meta }).to_string()))
}

/// A refusal.
pub(super) fn refused(status: u16, code: &str, headers: &[(&'static str, &str)]) -> Said {
    let error = json!({ "code": code, "message": "no", "details": {} });
    let envelope = json!({ "data": null, "error": error, "meta": meta() });
    let headers = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    Some((status, headers, envelope.to_string()))
}

/// A person.
pub(super) fn user() -> Value {
    json!({
        "id": "usr_01h455vb4pex5vsknk084sn02q", "email": "ada@example.com", "name": "Ada", "status": "active",
        "kind": "human", "roles": [], "externalId": null, "metadata": {}, "lastLoginAt": null, "version": 1,
        "createdAt": "2026-01-15T09:30:00.000000Z", "updatedAt": "2026-01-15T09:30:00.000000Z",
    })
}

/// A pair of tokens whose access token lives so many milliseconds.
pub(super) fn tokens(access: &str, refresh: &str, life: u64) -> Value {
    let now = super::session::local_now();
    json!({
        "accessToken": access, "accessExpiresAt": now + std::time::Duration::from_millis(life),
        "refreshToken": refresh, "refreshExpiresAt": now + std::time::Duration::from_secs(3600),
        "tokenType": "Bearer", "user": user(),
    })
}
