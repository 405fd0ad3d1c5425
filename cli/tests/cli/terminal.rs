//! The program in a real terminal: a pty, a screen that is read while it is written, no sleeping.

#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up should stop at once")]

use std::{
    collections::BTreeMap,
    io::{Read as _, Write},
    num::NonZeroU16,
    path::PathBuf,
    sync::{
        Arc, Condvar, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, SlavePty, native_pty_system};

use crate::support::Home;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Keys, as terminals send them.
pub const ENTER: &str = "\r";
pub const TAB: &str = "\t";
pub const ESCAPE: &str = "\x1b";
pub const REVIEW: &str = "\x13";
pub const CLEAR_FIELD: &str = "\x15";

/// What the terminal got so far.
struct Seen {
    bytes: Vec<u8>,
    parser: vt100::Parser,
}

/// A program that does not outlive its test.
struct Program(Box<dyn Child + Send + Sync>);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A terminal with a program in it.
pub struct Terminal {
    program: Program,
    master: Box<dyn MasterPty>,
    writer: Box<dyn Write + Send>,
    /// Kept open, so that the terminal outlives the program.
    slave: Box<dyn SlavePty + Send>,
    seen: Arc<(Mutex<Seen>, Condvar)>,
    before: String,
    closing: Arc<AtomicBool>,
    reader: JoinHandle<()>,
}

/// Where a program in this home makes temporary files.
pub fn temporary(home: &Home) -> PathBuf {
    let folder = home.path().join("tmp");
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

fn size(columns: u16, lines: u16) -> PtySize {
    PtySize { rows: lines, cols: columns, ..PtySize::default() }
}

fn cells(number: u16) -> NonZeroU16 {
    NonZeroU16::new(number).unwrap()
}

impl Terminal {
    /// `bursar` with these arguments in a terminal of 100x30.
    pub fn run(home: &Home, args: &[&str]) -> Self {
        Self::run_with(home, args, &[])
    }

    /// The same with these variables.
    pub fn run_with(home: &Home, args: &[&str], variables: &[(&str, &str)]) -> Self {
        Self::start(home, env!("CARGO_BIN_EXE_bursar"), args, variables)
    }

    /// A line of shell, in which `bursar` is the program.
    pub fn shell(home: &Home, line: &str) -> Self {
        let line = format!("bursar() {{ '{}' \"$@\"; }}; {line}", env!("CARGO_BIN_EXE_bursar"));
        Self::start(home, "/bin/sh", &["-c", &line], &[])
    }

    fn start(home: &Home, program: &str, args: &[&str], variables: &[(&str, &str)]) -> Self {
        let pair = native_pty_system().openpty(size(100, 30)).unwrap();
        let mut command = CommandBuilder::new(program);
        command.args(args);
        command.env_clear();
        command.cwd(home.path());
        command.env("PATH", "/usr/bin:/bin");
        command.env("HOME", home.path());
        command.env("BURSAR_CONFIG_DIR", home.path());
        command.env("TMPDIR", temporary(home));
        command.env("TERM", "xterm-256color");
        for (name, value) in variables {
            command.env(name, value);
        }
        let parser = vt100::Parser::new(cells(30), cells(100), 0);
        let seen = Arc::new((Mutex::new(Seen { bytes: Vec::new(), parser }), Condvar::new()));
        let mut reader = pair.master.try_clone_reader().unwrap();
        let all = seen.clone();
        let closing = Arc::new(AtomicBool::new(false));
        let closes = closing.clone();
        let reader = std::thread::spawn(move || {
            let mut buffer = [0; 65_536];
            while let Ok(count @ 1..) = reader.read(&mut buffer) {
                let mut seen = all.0.lock().unwrap();
                seen.parser.process(&buffer[..count]);
                seen.bytes.extend_from_slice(&buffer[..count]);
                all.1.notify_all();
                if closes.load(Ordering::Relaxed) {
                    return;
                }
            }
        });
        let writer = pair.master.take_writer().unwrap();
        let before = format!("{:?}", pair.master.get_termios().unwrap());
        let program = Program(pair.slave.spawn_command(command).unwrap());
        Self { program, master: pair.master, writer, slave: pair.slave, seen, before, closing, reader }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.0.lock().unwrap()
    }

    /// How many bytes came.
    pub fn count(&self) -> usize {
        self.seen().bytes.len()
    }

    /// All bytes that came.
    pub fn bytes(&self) -> Vec<u8> {
        self.seen().bytes.clone()
    }

    /// The screen as text.
    pub fn text(&self) -> String {
        self.seen().parser.screen().contents()
    }

    /// The screen now.
    pub fn screen(&self) -> vt100::Screen {
        self.seen().parser.screen().clone()
    }

    /// Types.
    pub fn press(&mut self, keys: &str) {
        self.writer.write_all(keys.as_bytes()).unwrap();
        self.writer.flush().unwrap();
    }

    /// Waits until the bytes and the screen are like this.
    #[track_caller]
    fn until(&self, what: &str, mut done: impl FnMut(&[u8], &vt100::Screen) -> bool) {
        let end = Instant::now() + PATIENCE;
        let mut seen = self.seen();
        while !done(&seen.bytes, seen.parser.screen()) {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let text = seen.parser.screen().contents();
                drop(seen);
                panic!("never seen: {what}; the screen is\n{text}");
            }
            // what is waited for may also be a state of the terminal, which notifies nobody
            let wait = left.min(Duration::from_millis(10));
            seen = self.seen.1.wait_timeout(seen, wait).unwrap().0;
        }
    }

    /// Waits for a text on the screen.
    #[track_caller]
    pub fn shows(&self, text: &str) {
        self.until(text, |_, screen| screen.contents().contains(text));
    }

    /// Waits until a text is no longer on the screen.
    #[track_caller]
    pub fn hides(&self, text: &str) {
        self.until(&format!("no {text}"), |_, screen| !screen.contents().contains(text));
    }

    /// Waits until these bytes came after the first `count`.
    #[track_caller]
    pub fn writes_after(&self, count: usize, bytes: &str) {
        let bytes = bytes.as_bytes();
        let new = |all: &[u8]| all[count..].windows(bytes.len()).any(|part| part == bytes);
        self.until(&format!("{bytes:?} after {count} bytes"), |all, _| new(all));
    }

    /// Waits until the line under the cursor has this text.
    #[track_caller]
    pub fn cursor_on(&self, text: &str) {
        self.until(&format!("the cursor on {text}"), |_, screen| {
            marked(screen).is_some_and(|line| line.contains(text))
        });
    }

    /// The line under the cursor.
    #[track_caller]
    pub fn marked(&self) -> String {
        marked(self.seen().parser.screen()).unwrap()
    }

    /// Whether nothing is written for so long.
    pub fn is_quiet_for(&self, time: Duration) -> bool {
        let end = Instant::now() + time;
        let mut seen = self.seen();
        let count = seen.bytes.len();
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() || seen.bytes.len() > count {
                return seen.bytes.len() == count;
            }
            seen = self.seen.1.wait_timeout(seen, left).unwrap().0;
        }
    }

    /// Waits until everything that follows from the last key was written.
    #[track_caller]
    pub fn settles(&self) {
        let end = Instant::now() + PATIENCE;
        // longer than a button must be there before it works
        while !self.is_quiet_for(Duration::from_millis(450)) {
            assert!(Instant::now() < end, "it never stops writing");
        }
    }

    /// Presses the button under the cursor: it works only after what is asked could be read, and that is for
    /// the program to say.
    pub fn press_button(&mut self) {
        loop {
            self.press(ENTER);
            self.settles();
            if !self.text().contains("not so fast") {
                return;
            }
            // the key that came too early counts as held until another one says that it was let go
            self.press("k");
        }
    }

    /// The dashboard at 120x36 on one of its screens, once it is live and was read.
    #[track_caller]
    pub fn dashboard(home: &Home, number: &str, title: &str) -> Self {
        let mut terminal = Self::run(home, &[]);
        terminal.resize(120, 36);
        terminal.shows("● live");
        terminal.press(number);
        terminal.shows(title);
        terminal.shows("as of");
        terminal
    }

    /// Makes the terminal so wide and high; gives how many bytes came before.
    pub fn resize(&self, columns: u16, lines: u16) -> usize {
        let mut seen = self.seen();
        seen.parser.set_size(cells(lines), cells(columns));
        self.master.resize(size(columns, lines)).unwrap();
        seen.bytes.len()
    }

    /// Whether the terminal has this local mode: `ECHO`, `ICANON`, `ISIG`.
    pub fn has_mode(&self, name: &str) -> bool {
        let modes = format!("{:?}", self.master.get_termios().unwrap().local_flags);
        modes.split(|letter: char| !letter.is_ascii_alphanumeric()).any(|mode| mode == name)
    }

    /// Waits until what is typed is not shown.
    #[track_caller]
    pub fn stops_echoing(&self) {
        self.until("no echo", |_, _| !self.has_mode("ECHO"));
    }

    /// Sends the program a signal: `TERM`, `HUP`, `INT`.
    pub fn signal(&self, name: &str) {
        let id = self.program.0.process_id().unwrap().to_string();
        let sent = std::process::Command::new("/bin/sh")
            .args(["-c", "kill -s \"$0\" \"$1\"", name, &id])
            .status()
            .unwrap();
        assert!(sent.success());
    }

    /// Waits for the end; the code as a shell would say it.
    #[track_caller]
    pub fn ends(&mut self) -> u32 {
        let text = self.seen.clone();
        ends(&mut self.program, || text.0.lock().unwrap().parser.screen().contents())
    }

    /// Waits for the end, and sees to it that the terminal is as it was before.
    #[track_caller]
    pub fn ends_sane(&mut self) -> u32 {
        let code = self.ends();
        assert_eq!(format!("{:?}", self.master.get_termios().unwrap()), self.before, "its line settings");
        // typed now, it is shown now: behind everything the program wrote
        self.press("<sane>");
        self.shows("<sane>");
        let seen = self.seen();
        for (mode, on) in modes(&seen.bytes) {
            // the cursor and the wrapping of lines are on by themselves, all else is off
            assert_eq!(on, matches!(mode, 7 | 25), "mode {mode} was left behind");
        }
        let screen = seen.parser.screen();
        assert!(!screen.alternate_screen() && !screen.hide_cursor() && !screen.bracketed_paste());
        assert_eq!(screen.mouse_protocol_mode(), vt100::MouseProtocolMode::None);
        code
    }

    /// Closes the terminal, as a lost connection does, and waits for the end. `key` must make the
    /// program write something: whoever reads the terminal has it open.
    #[track_caller]
    pub fn hangs_up(mut self, key: &str) -> u32 {
        self.closing.store(true, Ordering::Relaxed);
        self.press(key);
        let Self { mut program, master, writer, slave, reader, .. } = self;
        reader.join().unwrap();
        drop((writer, slave, master));
        ends(&mut program, || "gone".to_owned())
    }
}

#[track_caller]
fn ends(program: &mut Program, text: impl Fn() -> String) -> u32 {
    let end = Instant::now() + PATIENCE;
    let nothing = (Mutex::new(()), Condvar::new());
    let status = loop {
        if let Some(status) = program.0.try_wait().unwrap() {
            break status;
        }
        assert!(Instant::now() < end, "it never ends; the screen is\n{}", text());
        let guard = nothing.0.lock().unwrap();
        drop(nothing.1.wait_timeout(guard, Duration::from_millis(5)).unwrap());
    };
    match status.signal() {
        None => status.exit_code(),
        Some("Interrupt") => 130,
        Some(other) => panic!("killed: {other}"),
    }
}

fn marked(screen: &vt100::Screen) -> Option<String> {
    let (_, columns) = screen.size();
    screen.rows(0, columns.get()).find(|line| line.starts_with('›'))
}

/// The private modes that were ever set or reset, and how they are at the end.
fn modes(bytes: &[u8]) -> BTreeMap<u16, bool> {
    let text = String::from_utf8_lossy(bytes);
    let mut modes = BTreeMap::new();
    for part in text.split("\x1b[?").skip(1) {
        let end = part.find(|letter: char| letter.is_ascii_alphabetic()).unwrap();
        let on = match &part[end..=end] {
            "h" => true,
            "l" => false,
            _ => continue,
        };
        modes.extend(part[..end].split(';').map(|mode| (mode.parse().unwrap(), on)));
    }
    modes
}

/// The parameters of all sequences that say how letters look.
pub fn looks(bytes: &[u8]) -> Vec<u16> {
    let text = String::from_utf8_lossy(bytes);
    let mut looks = Vec::new();
    for part in text.split("\x1b[").skip(1) {
        let Some(end) = part.find(|letter: char| ('@'..='~').contains(&letter)) else { continue };
        if &part[end..=end] == "m" && !part.starts_with(['?', '>']) {
            looks.extend(part[..end].split([';', ':']).map(|number| number.parse().unwrap_or(0)));
        }
    }
    looks
}
