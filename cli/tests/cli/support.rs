//! The program as its users run it, and a line to the daemon that loses answers.

#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up should stop at once")]

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Command, Stdio},
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};

use bursar_server::testing::{PASSWORD, TestServer};
use bursar_shared::operations::users::User;
use serde_json::Value;

/// What a run of the program left.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Ran {
    /// What it wrote, when it went well.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.code, 0, "{}", self.err);
        self.out
    }

    /// What it wrote, read as JSON.
    #[track_caller]
    pub fn json(self) -> Value {
        serde_json::from_str(&self.ok()).unwrap()
    }

    /// What it complained about, when it ended with this code and wrote no data.
    #[track_caller]
    pub fn fails(self, code: i32) -> String {
        assert_eq!(self.code, code, "stdout: {}\nstderr: {}", self.out, self.err);
        assert_eq!(self.out, "");
        self.err
    }
}

impl Ran {
    /// The same for commands that may say something on stdout before they fail.
    #[track_caller]
    pub fn fails_with_some_output(self, code: i32) {
        assert_eq!(self.code, code, "stdout: {}\nstderr: {}", self.out, self.err);
    }
}

/// Somebody's home, from which the program is run.
pub struct Home {
    folder: tempfile::TempDir,
}

impl Home {
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The program with these arguments; it sees nothing of our environment.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bursar"));
        command
            .args(args)
            .env_clear()
            .env("HOME", self.path())
            .env("BURSAR_CONFIG_DIR", self.path())
            .current_dir(self.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    pub fn run(&self, args: &[&str]) -> Ran {
        finish(self.command(args), "")
    }

    pub fn feed(&self, args: &[&str], stdin: &str) -> Ran {
        finish(self.command(args), stdin)
    }

    /// Signs a person in.
    pub fn sign_in(&self, server: &str, user: &User) {
        let args = ["auth", "login", "--server", server, "--email", user.email.as_str(), "--password-stdin"];
        let said = self.feed(&args, &format!("{PASSWORD}\n"));
        assert_eq!(said.code, 0, "{}", said.err);
    }
}

pub fn finish(mut command: Command, stdin: &str) -> Ran {
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    // a program that does not read is no failure of this test
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    let output = child.wait_with_output().unwrap();
    Ran {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A daemon, an owner, and the owner's home.
pub async fn house() -> (TestServer, Home) {
    inhabited(TestServer::start().await).await
}

/// The same; the daemon is where it was when it is stopped and started again.
pub async fn house_that_comes_back() -> (TestServer, Home) {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    inhabited(TestServer::start_with(&[("limits", "off"), ("listen", &free)]).await).await
}

async fn inhabited(daemon: TestServer) -> (TestServer, Home) {
    let home = Home::new();
    let owner = daemon.person("ann", "owner").await;
    home.sign_in(&daemon.url(), &owner);
    (daemon, home)
}

/// A line to a daemon that can lose answers.
pub struct Line {
    pub server: String,
    /// While true, requests arrive and their answers are lost.
    pub lossy: Arc<AtomicBool>,
    /// While true, requests arrive and a proxy answers with a page of its own.
    pub garbling: Arc<AtomicBool>,
    requests: Arc<AtomicU32>,
}

impl Line {
    /// How many requests went over it.
    pub fn requests(&self) -> u32 {
        self.requests.load(Ordering::Relaxed)
    }

    pub fn to(daemon: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = format!("http://{}", listener.local_addr().unwrap());
        let daemon = daemon.trim_start_matches("http://").to_owned();
        let lossy = Arc::new(AtomicBool::new(false));
        let lose = lossy.clone();
        let garbling = Arc::new(AtomicBool::new(false));
        let garble = garbling.clone();
        let requests = Arc::new(AtomicU32::new(0));
        let count = requests.clone();
        std::thread::spawn(move || {
            for near in listener.incoming().flatten() {
                let far = TcpStream::connect(&daemon).unwrap();
                let (mut from, mut to) = (near.try_clone().unwrap(), far.try_clone().unwrap());
                let count = count.clone();
                std::thread::spawn(move || {
                    let mut buffer = [0; 65_536];
                    while let Ok(read @ 1..) = from.read(&mut buffer) {
                        // small requests come in one piece
                        let heads = buffer[..read].windows(9).filter(|text| text == b" HTTP/1.1").count();
                        count.fetch_add(u32::try_from(heads).unwrap(), Ordering::Relaxed);
                        if to.write_all(&buffer[..read]).is_err() {
                            break;
                        }
                    }
                });
                let (mut from, mut to, lose, garble) = (far, near, lose.clone(), garble.clone());
                std::thread::spawn(move || {
                    let mut buffer = [0; 4096];
                    while let Ok(count @ 1..) = from.read(&mut buffer) {
                        if lose.load(Ordering::Relaxed) {
                            break;
                        }
                        if garble.load(Ordering::Relaxed) {
                            let page = b"HTTP/1.1 200 OK\r\ncontent-length: 12\r\n\r\n<p>hotel</p>";
                            let _ = to.write_all(page);
                            break;
                        }
                        if to.write_all(&buffer[..count]).is_err() {
                            break;
                        }
                    }
                    let _ = to.shutdown(std::net::Shutdown::Both);
                });
            }
        });
        Self { server, lossy, garbling, requests }
    }
}

/// What a server whose list never ends was asked for.
#[derive(Default)]
pub struct Pages {
    asked: AtomicU32,
    more: Mutex<bool>,
    allowed: Condvar,
}

impl Pages {
    /// How many were asked for.
    pub fn asked(&self) -> u32 {
        self.asked.load(Ordering::Relaxed)
    }

    /// Gives what comes after the first one; until then whoever asks waits.
    pub fn allow_more(&self) {
        *self.more.lock().unwrap() = true;
        self.allowed.notify_all();
    }

    fn wait_for_more(&self) {
        drop(self.allowed.wait_while(self.more.lock().unwrap(), |more| !*more).unwrap());
    }
}

/// A server whose list never ends; gives the first page at once.
pub fn endless(rows: usize) -> (String, Arc<Pages>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = format!("http://{}", listener.local_addr().unwrap());
    let pages = Arc::new(Pages::default());
    let count = pages.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let count = count.clone();
            std::thread::spawn(move || {
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let mut stream = stream;
                loop {
                    let mut line = String::new();
                    while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
                        line.clear();
                    }
                    if line.is_empty() {
                        return;
                    }
                    let page = count.asked.fetch_add(1, Ordering::Relaxed);
                    if page > 0 {
                        count.wait_for_more();
                    }
                    let row = r#"{"id":"usr_x","email":"ada@example.com","name":"Ada"}"#;
                    let rows = vec![row; rows].join(",");
                    let body = format!(
                        r#"{{"data":[{rows}],"error":null,"meta":{{"timestamp":"2026-01-15T09:30:00.000000Z","requestId":"req_x","pagination":{{"mode":"cursor","page":null,"pageSize":2,"total":null,"totalPages":null,"totalAccuracy":"none","hasMore":true,"nextCursor":"c{page}","prevCursor":null}}}}}}"#
                    );
                    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
                    if stream.write_all((head + &body).as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
    });
    (server, pages)
}
