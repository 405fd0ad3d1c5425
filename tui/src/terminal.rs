//! The terminal: taken and given back on every way out, its events as ours, a frame in one write.

mod decode;
pub mod paint;
mod reader;

use std::{
    io::{self, Write as _},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::ThreadId,
    time::Instant,
};

use crossterm::{
    Command,
    clipboard::CopyToClipboard,
    cursor::Show,
    event::{DisableBracketedPaste, DisableFocusChange, EnableBracketedPaste, EnableFocusChange},
    style::force_color_output,
    terminal::{
        BeginSynchronizedUpdate, DisableLineWrap, EnableLineWrap, EndSynchronizedUpdate,
        EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode, size,
    },
};
use nix::sys::termios::{FlushArg, tcflush};
use ratatui::{buffer::Buffer, layout::Rect};

use self::paint::Painter;
pub(crate) use self::reader::listen;

/// Clicks and the wheel in the form for wide screens, and no motion: motion would be an event a cell.
const MOUSE_ON: &str = "\x1b[?1000h\x1b[?1006h";
const MOUSE_OFF: &str = "\x1b[?1006l\x1b[?1000l";

/// Whether the terminal is ours and must be given back.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// The thread that took it.
static OWNER: Mutex<Option<ThreadId>> = Mutex::new(None);

/// The terminal while it is ours.
pub(crate) struct Screen {
    painter: Painter,
    /// The cells that are drawn on.
    next: Buffer,
    /// When it was asked for its background, until it answers.
    pub(crate) asked: Option<Instant>,
}

fn ansi(out: &mut Vec<u8>, command: impl Command) {
    let mut text = String::new();
    // writing to a string cannot fail
    let _ = command.write_ansi(&mut text);
    out.extend_from_slice(text.as_bytes());
}

fn send(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    out.flush()
}

/// Asks the terminal for all that is needed.
fn begin(mouse: bool) -> io::Result<()> {
    enable_raw_mode()?;
    TAKEN.store(true, Ordering::SeqCst);
    let mut out = Vec::new();
    ansi(&mut out, EnterAlternateScreen);
    ansi(&mut out, DisableLineWrap);
    ansi(&mut out, EnableBracketedPaste);
    ansi(&mut out, EnableFocusChange);
    if mouse {
        out.extend_from_slice(MOUSE_ON.as_bytes());
    }
    send(&out)
}

impl Screen {
    /// Takes the terminal. It is given back when this is dropped, and when anything panics.
    pub(crate) fn take(mouse: bool) -> io::Result<Self> {
        // without this, NO_COLOR makes crossterm write an empty style that undoes the cursor's
        // reversal; themes without colours are ours to choose
        force_color_output(true);
        static HOOK: std::sync::Once = std::sync::Once::new();
        HOOK.call_once(|| {
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |info| {
                // a daemon in this process may lose a thread while the dashboard goes on
                if OWNER.lock().is_ok_and(|owner| *owner == Some(std::thread::current().id())) {
                    give_back();
                }
                before(info);
            }));
        });
        if let Ok(mut owner) = OWNER.lock() {
            *owner = Some(std::thread::current().id());
        }
        match begin(mouse) {
            Ok(()) => Ok(Self { painter: Painter::new(), next: Buffer::empty(Rect::ZERO), asked: None }),
            Err(wrong) => {
                give_back();
                Err(wrong)
            }
        }
    }

    /// Gives the terminal back for a while.
    pub(crate) fn leave(&self) {
        give_back();
    }

    /// Takes it again, in whatever state it is.
    pub(crate) fn retake(&mut self, mouse: bool) -> io::Result<()> {
        self.painter = Painter::new();
        begin(mouse)
    }

    /// Columns and lines.
    pub(crate) fn size() -> io::Result<(u16, u16)> {
        size()
    }

    /// Asks what the background is. The answer comes among the keys, or never: nobody waits for it.
    pub(crate) fn ask_background(&mut self) -> io::Result<()> {
        self.asked = Some(Instant::now());
        send(b"\x1b]11;?\x1b\\")
    }

    /// Draws a frame: what changed, in one write that the terminal shows at once.
    pub(crate) fn draw<T>(
        &mut self,
        whole: bool,
        draw: impl FnOnce(&mut Buffer) -> (T, Option<(u16, u16)>),
    ) -> io::Result<T> {
        if !TAKEN.load(Ordering::SeqCst) {
            // a task of ours panicked: its message stands on the terminal, which is no longer ours
            return Err(io::Error::other("a part of the dashboard broke"));
        }
        let (width, height) = size()?;
        self.next.resize(Rect::new(0, 0, width, height));
        self.next.reset();
        let (drawn, caret) = draw(&mut self.next);
        let mut out = Vec::with_capacity(4_096);
        ansi(&mut out, BeginSynchronizedUpdate);
        let begun = out.len();
        self.painter.paint(&self.next, whole, caret, &mut out);
        if out.len() > begun {
            ansi(&mut out, EndSynchronizedUpdate);
            send(&out)?;
        }
        Ok(drawn)
    }

    /// Puts text onto the clipboard of the person's terminal, wherever this program runs.
    pub(crate) fn copy(&self, text: &str) -> io::Result<()> {
        let mut out = Vec::new();
        ansi(&mut out, CopyToClipboard::to_clipboard_from(text));
        send(&out)
    }

    /// Takes clicks and the wheel, or leaves them to the terminal.
    pub(crate) fn mouse(&self, on: bool) -> io::Result<()> {
        send(if on { MOUSE_ON } else { MOUSE_OFF }.as_bytes())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

/// Gives the terminal back; does nothing the second time. Errors have nowhere to go: the terminal may
/// be the very thing that is gone.
fn give_back() {
    if !TAKEN.swap(false, Ordering::SeqCst) {
        return;
    }
    let mut out = Vec::new();
    ansi(&mut out, EndSynchronizedUpdate);
    out.extend_from_slice(MOUSE_OFF.as_bytes());
    ansi(&mut out, DisableFocusChange);
    ansi(&mut out, DisableBracketedPaste);
    ansi(&mut out, EnableLineWrap);
    ansi(&mut out, LeaveAlternateScreen);
    ansi(&mut out, Show);
    let _ = send(&out);
    // what was typed ahead, and what the terminal still answered, is not for the shell
    let _ = tcflush(io::stdin(), FlushArg::TCIFLUSH);
    let _ = disable_raw_mode();
}
