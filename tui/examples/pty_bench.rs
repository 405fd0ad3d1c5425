//! Measures the dashboard in a real terminal, and a bare ratatui loop beside it in the same minute.
//!
//! `cargo run --release -p bursar-tui --example pty_bench -- PATH/TO/bursar STORE EMAIL PASSWORD [IDLE_SECONDS]`
//!
//! A frame is what stands between the marks of a synchronised update; times are taken where the bytes
//! arrive, so they hold everything from the key on.
#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a measurement: it says what it finds, and stops where it cannot go on"
)]

use std::{
    io::{Read as _, Write as _},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Condvar, Mutex},
    time::{Duration, Instant},
};

use portable_pty::{CommandBuilder, MasterPty, PtySize, native_pty_system};

const SIZE: PtySize = PtySize { rows: 36, cols: 120, pixel_width: 0, pixel_height: 0 };
const END: &[u8] = b"\x1b[?2026l";
const PATIENCE: Duration = Duration::from_secs(30);

/// What came from the terminal so far.
#[derive(Default)]
struct Seen {
    bytes: Vec<u8>,
    /// When each frame ended, and where.
    frames: Vec<(Instant, usize)>,
}

/// A program in a terminal.
struct Terminal {
    child: Box<dyn portable_pty::Child + Send + Sync>,
    writer: Box<dyn std::io::Write + Send>,
    seen: Arc<(Mutex<Seen>, Condvar)>,
    begun: Instant,
    _master: Box<dyn MasterPty>,
}

impl Terminal {
    fn run(program: &str, args: &[&str], home: &Path) -> Self {
        let pair = native_pty_system().openpty(SIZE).expect("a pty");
        let mut command = CommandBuilder::new(program);
        command.args(args);
        command.env_clear();
        command.env("HOME", home);
        command.env("BURSAR_CONFIG_DIR", home);
        command.env("TERM", "xterm-256color");
        command.env("LANG", "C.UTF-8");
        let seen = Arc::new((Mutex::new(Seen::default()), Condvar::new()));
        let mut reader = pair.master.try_clone_reader().expect("a reader");
        let all = seen.clone();
        let begun = Instant::now();
        let child = pair.slave.spawn_command(command).expect("the program starts");
        drop(pair.slave);
        std::thread::spawn(move || {
            let mut buffer = [0; 65_536];
            while let Ok(count @ 1..) = reader.read(&mut buffer) {
                let now = Instant::now();
                let mut seen = all.0.lock().expect("nobody panicked");
                let from = seen.bytes.len().saturating_sub(END.len() - 1);
                seen.bytes.extend_from_slice(&buffer[..count]);
                let ends: Vec<usize> = seen.bytes[from..]
                    .windows(END.len())
                    .enumerate()
                    .filter(|(_, part)| *part == END)
                    .map(|(at, _)| from + at + END.len())
                    .collect();
                let last = seen.frames.last().map_or(0, |(_, at)| *at);
                seen.frames.extend(ends.into_iter().filter(|at| *at > last).map(|at| (now, at)));
                all.1.notify_all();
            }
        });
        let writer = pair.master.take_writer().expect("a writer");
        Self { child, writer, seen, begun, _master: pair.master }
    }

    fn press(&mut self, keys: &str) {
        self.writer.write_all(keys.as_bytes()).expect("the terminal takes keys");
        self.writer.flush().expect("the terminal takes keys");
    }

    fn until<T>(&self, what: &str, mut done: impl FnMut(&Seen) -> Option<T>) -> T {
        let end = Instant::now() + PATIENCE;
        let mut seen = self.seen.0.lock().expect("nobody panicked");
        loop {
            if let Some(found) = done(&seen) {
                return found;
            }
            let left = end.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "never seen: {what}");
            seen = self.seen.1.wait_timeout(seen, left).expect("nobody panicked").0;
        }
    }

    /// When the first frame from `from` on ended that has this text before its end.
    fn shows(&self, from: usize, text: &str) -> Instant {
        let text = text.as_bytes();
        self.until(&String::from_utf8_lossy(text), |seen| {
            let at = from + seen.bytes.get(from..)?.windows(text.len()).position(|part| part == text)?;
            seen.frames.iter().find(|(_, end)| *end > at).map(|(when, _)| *when)
        })
    }

    fn frames(&self) -> usize {
        self.seen.0.lock().expect("nobody panicked").frames.len()
    }

    fn bytes(&self) -> usize {
        self.seen.0.lock().expect("nobody panicked").bytes.len()
    }

    /// Waits until nothing was written for so long.
    fn settles(&self, quiet: Duration) {
        let mut seen = self.seen.0.lock().expect("nobody panicked");
        loop {
            let before = seen.bytes.len();
            let (next, waited) = self.seen.1.wait_timeout(seen, quiet).expect("nobody panicked");
            seen = next;
            if waited.timed_out() && seen.bytes.len() == before {
                return;
            }
        }
    }

    /// A key, and the frame that follows: how long, and how many bytes.
    fn step(&mut self, key: &str) -> (Duration, usize) {
        let (frames, bytes) = (self.frames(), self.bytes());
        let pressed = Instant::now();
        self.press(key);
        let (when, at) = self.until("a frame", |seen| seen.frames.get(frames).copied());
        (when.saturating_duration_since(pressed), at - bytes)
    }

    fn proc(&self, file: &str) -> String {
        let id = self.child.process_id().unwrap_or(0);
        std::fs::read_to_string(format!("/proc/{id}/{file}")).unwrap_or_default()
    }

    fn memory(&self, name: &str) -> f64 {
        let status = self.proc("status");
        let line = status.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        let kilobytes: f64 = line.split_whitespace().nth(1).and_then(|kb| kb.parse().ok()).unwrap_or(0.0);
        kilobytes / 1024.0
    }

    /// Seconds of processor time so far.
    fn cpu(&self) -> f64 {
        let stat = self.proc("stat");
        let rest = stat.rsplit(") ").next().unwrap_or_default();
        let ticks: Vec<f64> =
            rest.split_whitespace().skip(11).take(2).filter_map(|t| t.parse().ok()).collect();
        ticks.iter().sum::<f64>() / 100.0
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The p-th part of sorted values.
fn part<T: Copy + PartialOrd>(mut values: Vec<T>, p: usize) -> T {
    values.sort_by(|a, b| a.partial_cmp(b).expect("numbers"));
    values[(values.len() * p / 100).min(values.len() - 1)]
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

fn said(what: &str, ours: f64, control: f64, unit: &str, target: &str) {
    println!("{what:<44} {ours:>9.2} {unit:<6} bare loop {control:>9.2}   target {target}");
}

struct Daemon(Child);

impl Daemon {
    fn start(bursar: &str, store: &str, listen: &str) -> (Self, String) {
        let mut child = Command::new(bursar)
            .args([
                "serve",
                "--listen",
                listen,
                "--data-dir",
                store,
                "--limits",
                "off",
                "--log-level",
                "error",
            ])
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("the daemon starts");
        let mut lines = String::new();
        let mut stderr = child.stderr.take().expect("it says where it listens");
        let mut byte = [0];
        while !lines.ends_with('\n') || !lines.contains("listening on ") {
            assert_eq!(stderr.read(&mut byte).unwrap_or(0), 1, "the daemon ended: {lines}");
            lines.push(char::from(byte[0]));
        }
        let url = lines.split("listening on ").nth(1).unwrap_or_default().trim().to_owned();
        // what else it says has somewhere to go
        std::thread::spawn(move || {
            let mut rest = Vec::new();
            let _ = stderr.read_to_end(&mut rest);
        });
        (Self(child), url)
    }
}

/// Also after a panic: nobody else could serve the store meanwhile.
impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    if args.get(1).map(String::as_str) == Some("control") {
        control::run().expect("the bare loop runs");
        return;
    }
    let [_, bursar, store, email, password, rest @ ..] = args.as_slice() else {
        println!("pty_bench BURSAR STORE EMAIL PASSWORD [IDLE_SECONDS]");
        return;
    };
    let idle: u64 = rest.first().and_then(|seconds| seconds.parse().ok()).unwrap_or(60);
    let ourselves = std::env::current_exe().expect("we run").display().to_string();
    let home = tempfile::tempdir().expect("a folder");
    let (daemon, url) = Daemon::start(bursar, store, "127.0.0.1:0");
    let mut login = Command::new(bursar)
        .args(["auth", "login", "--server", &url, "--email", email, "--password-stdin"])
        .env("BURSAR_CONFIG_DIR", home.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::inherit())
        .spawn()
        .expect("the command line starts");
    writeln!(login.stdin.take().expect("stdin"), "{password}").expect("it reads");
    assert!(login.wait().expect("it ends").success(), "could not sign in");

    // from nothing to the first frame, and to the first rows
    let (mut first, mut rows, mut bare) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..10 {
        let terminal = Terminal::run(bursar, &[], home.path());
        first.push(ms(terminal.shows(0, "Bursar").saturating_duration_since(terminal.begun)));
        rows.push(ms(terminal.shows(0, "TIME").saturating_duration_since(terminal.begun)));
        terminal.shows(0, "session.");
        drop(terminal);
        let control = Terminal::run(&ourselves, &["control"], home.path());
        bare.push(ms(control.shows(0, "Users").saturating_duration_since(control.begun)));
    }
    said("first full frame, p50 of 10", part(first, 50), part(bare.clone(), 50), "ms", "60");
    said("first rows, p50 of 10", part(rows, 50), part(bare, 50), "ms", "150");

    let mut ours = Terminal::run(bursar, &[], home.path());
    ours.shows(0, "session.");
    ours.settles(Duration::from_millis(500));
    let mut control = Terminal::run(&ourselves, &["control"], home.path());
    control.shows(0, "Users");
    said("memory, signed in", ours.memory("VmRSS"), control.memory("VmRSS"), "MiB", "20");
    let from = ours.bytes();
    ours.press("2");
    ours.shows(from, "EMAIL");
    ours.settles(Duration::from_millis(500));

    // on the screen, then over its edge
    for (what, steps) in [("on the screen", 25), ("scrolling", 60)] {
        let (mut mine, mut bare) = (Vec::new(), Vec::new());
        for at in 0..steps {
            let (step, other) = (ours.step("j").1 as f64, control.step("j").1 as f64);
            // the first steps of the second round are still on the screen
            if what == "on the screen" || at > 10 {
                mine.push(step);
                bare.push(other);
            }
            ours.settles(Duration::from_millis(20));
        }
        said(
            &format!("bytes of a cursor step, {what}, p50"),
            part(mine.clone(), 50),
            part(bare.clone(), 50),
            "B",
            "700",
        );
        said(&format!("bytes of a cursor step, {what}, most"), part(mine, 100), part(bare, 100), "B", "700");
        ours.settles(Duration::from_millis(400));
    }

    // key to frame
    let (mut mine, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..200 {
        mine.push(ms(ours.step("j").0));
        bare.push(ms(control.step("j").0));
        std::thread::sleep(Duration::from_millis(12));
    }
    said("key to frame, p50 of 200", part(mine.clone(), 50), part(bare.clone(), 50), "ms", "4");
    said("key to frame, p95 of 200", part(mine, 95), part(bare, 95), "ms", "16");

    ours.settles(Duration::from_millis(500));
    let burst = |terminal: &mut Terminal| {
        let frames = terminal.frames();
        terminal.press(&"k".repeat(500));
        terminal.settles(Duration::from_millis(300));
        (terminal.frames() - frames) as f64
    };
    said("frames of a burst of 500 keys", burst(&mut ours), burst(&mut control), "", "5");

    // idle and live
    ours.settles(Duration::from_secs(1));
    let before = (ours.frames(), ours.bytes(), ours.cpu(), control.cpu());
    std::thread::sleep(Duration::from_secs(idle));
    let after = (ours.frames(), ours.bytes(), ours.cpu(), control.cpu());
    said(&format!("frames in {idle} s idle and live"), (after.0 - before.0) as f64, 0.0, "", "0");
    said(&format!("bytes in {idle} s idle and live"), (after.1 - before.1) as f64, 0.0, "B", "0");
    said(&format!("processor time in {idle} s idle"), after.2 - before.2, after.3 - before.3, "s", "0.02");

    // a held key, through a hundred thousand rows
    let begun = Instant::now();
    for _ in 0..4_000 {
        ours.step(&"j".repeat(25));
    }
    let held = begun.elapsed().as_secs_f64();
    ours.settles(Duration::from_millis(500));
    said(
        "memory after holding j through 100,000 rows",
        ours.memory("VmRSS"),
        control.memory("VmRSS"),
        "MiB",
        "30",
    );
    println!("{:<44} {held:>9.2} s", "  which took");

    // the daemon goes, and comes back
    let listen = url.trim_start_matches("http://").to_owned();
    let from = ours.bytes();
    let gone = Instant::now();
    drop(daemon);
    let banner = ms(ours.shows(from, "OFFLINE").saturating_duration_since(gone));
    std::thread::sleep(Duration::from_secs(5).saturating_sub(gone.elapsed()));
    let from = ours.bytes();
    let (daemon, _) = Daemon::start(bursar, store, &listen);
    let back = Instant::now();
    let live = ms(ours.shows(from, "live").saturating_duration_since(back));
    println!("{:<44} {banner:>9.2} ms     target 1000", "daemon down: banner after");
    println!("{:<44} {live:>9.2} ms     target 2000", "daemon back: live after");
    ours.press("q");
    drop(daemon);
}

/// A loop that does as little as one can: wait, take everything, draw the visible rows once.
mod control {
    use std::{
        io::{self, Write as _, stdout},
        sync::mpsc,
        time::{Duration, Instant},
    };

    use crossterm::{
        event::{self, Event, KeyCode, KeyEventKind},
        execute, queue,
        terminal::{
            BeginSynchronizedUpdate, EndSynchronizedUpdate, EnterAlternateScreen, LeaveAlternateScreen,
            disable_raw_mode, enable_raw_mode,
        },
    };
    use ratatui::{
        Terminal,
        backend::CrosstermBackend,
        layout::Constraint,
        style::{Modifier, Style},
        widgets::{Block, Row, Table, TableState},
    };

    const ROWS: u64 = 1_000_000;

    pub fn run() -> io::Result<()> {
        enable_raw_mode()?;
        execute!(stdout(), EnterAlternateScreen)?;
        let done = stay();
        execute!(stdout(), LeaveAlternateScreen)?;
        disable_raw_mode()?;
        done
    }

    fn stay() -> io::Result<()> {
        let mut terminal =
            Terminal::new(CrosstermBackend::new(io::BufWriter::with_capacity(65_536, stdout())))?;
        let (to, from) = mpsc::channel();
        std::thread::spawn(move || {
            while let Ok(event) = event::read() {
                if to.send(event).is_err() {
                    return;
                }
            }
        });
        let (mut at, mut top) = (0_u64, 0_u64);
        let apart = Duration::from_millis(8);
        let mut drawn = Instant::now() - apart;
        let mut dirty = true;
        loop {
            if std::mem::take(&mut dirty) {
                queue!(terminal.backend_mut(), BeginSynchronizedUpdate)?;
                terminal.draw(|frame| {
                    let area = frame.area();
                    let height = u64::from(area.height.saturating_sub(3));
                    top = top.min(at).max((at + 1).saturating_sub(height));
                    let rows = (top..(top + height).min(ROWS)).map(|n| {
                        Row::new([format!("usr_{n:07}"), format!("user{n}@example.com"), "active".to_owned()])
                    });
                    let widths = [Constraint::Length(12), Constraint::Fill(1), Constraint::Length(8)];
                    let mut state = TableState::default().with_selected(usize::try_from(at - top).ok());
                    let table = Table::new(rows, widths)
                        .header(Row::new(["ID", "EMAIL", "STATUS"]))
                        .block(Block::bordered().title(" Users "))
                        .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED));
                    frame.render_stateful_widget(table, area, &mut state);
                })?;
                queue!(terminal.backend_mut(), EndSynchronizedUpdate)?;
                terminal.backend_mut().flush()?;
                drawn = Instant::now();
            }
            let Ok(first) = from.recv() else { return Ok(()) };
            let mut events = vec![first];
            events.extend(from.try_iter());
            if let Some(wait) = apart.checked_sub(drawn.elapsed()) {
                std::thread::sleep(wait);
                events.extend(from.try_iter());
            }
            for event in events {
                let Event::Key(key) = event else { continue };
                if key.kind == KeyEventKind::Release {
                    continue;
                }
                let before = at;
                match key.code {
                    KeyCode::Char('j') => at = (at + 1).min(ROWS - 1),
                    KeyCode::Char('k') => at = at.saturating_sub(1),
                    KeyCode::Char('q') => return Ok(()),
                    _ => {}
                }
                dirty |= at != before;
            }
        }
    }
}
