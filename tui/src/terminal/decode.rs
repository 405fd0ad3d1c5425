//! Bytes from the terminal as what the person did: keys, clicks, pastes, and what the terminal itself says.
//!
//! Pure. An answer of the terminal never becomes keys, in however many pieces it comes: a string it
//! sends is taken up to its end, or dropped when that never comes.

use crate::{
    keys::{Code, Key},
    message::Input,
};

/// What was decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decoded {
    /// The person did something.
    Input(Input),
    /// The terminal says what its background is; whether that is a light colour.
    Background(bool),
}

/// A string of the terminal's that is longer than this is no answer.
const LONGEST: usize = 4_096;
/// Text that one paste can have.
const PASTE: usize = 1 << 20;

/// What of the bytes so far is not decoded yet.
#[derive(Debug, Default)]
pub struct Decoder {
    bytes: Vec<u8>,
    paste: Option<Vec<u8>>,
    /// An answer was asked for and did not come yet: what begins like one is waited for.
    pub asked: bool,
}

/// What a look at the first bytes finds.
enum Found {
    /// So many bytes are this.
    Is(usize, Option<Decoded>),
    /// More must come.
    More,
}

impl Decoder {
    /// Nothing came yet; the terminal was asked for its background, or not.
    pub fn new(asked: bool) -> Self {
        Self { asked, ..Self::default() }
    }

    /// Takes in what came.
    pub fn feed(&mut self, bytes: &[u8], out: &mut Vec<Decoded>) {
        self.bytes.extend_from_slice(bytes);
        self.decode(out, false);
    }

    /// Whether something is waited for, and whether that may take longer than a key takes.
    pub fn waits(&self) -> Option<bool> {
        let long = self.paste.is_some() || is_string(&self.bytes, self.asked);
        (long || !self.bytes.is_empty()).then_some(long)
    }

    /// Nothing more came: what is there is all there is.
    pub fn flush(&mut self, out: &mut Vec<Decoded>) {
        if let Some(text) = self.paste.take() {
            // its end was lost; keys must not be swallowed for ever
            let rest = std::mem::take(&mut self.bytes);
            pasted(&[text, rest].concat(), out);
            return;
        }
        // a sequence that breaks off is no letters that somebody typed
        let cut = self.bytes.starts_with(b"\x1b[") && self.bytes.len() > 2;
        if cut || is_string(&self.bytes, self.asked) {
            self.bytes.clear();
            return;
        }
        self.decode(out, true);
    }

    fn decode(&mut self, out: &mut Vec<Decoded>, last: bool) {
        const END: &[u8] = b"\x1b[201~";
        loop {
            if let Some(text) = &mut self.paste {
                let Some(at) = self.bytes.windows(END.len()).position(|part| part == END) else {
                    // the end may be here in part
                    let keep = self.bytes.len().min(END.len() - 1);
                    text.extend(self.bytes.drain(..self.bytes.len() - keep));
                    text.truncate(PASTE);
                    return;
                };
                text.extend_from_slice(&self.bytes[..at]);
                self.bytes.drain(..at + END.len());
                let text = self.paste.take().unwrap_or_default();
                pasted(&text, out);
                continue;
            }
            if self.bytes.starts_with(b"\x1b[200~") {
                self.bytes.drain(..6);
                self.paste = Some(Vec::new());
                continue;
            }
            if self.bytes.is_empty() {
                return;
            }
            match first(&self.bytes, self.asked) {
                Found::Is(length, found) => {
                    self.bytes.drain(..length);
                    self.asked &= !matches!(found, Some(Decoded::Background(_)));
                    out.extend(found);
                }
                Found::More if last => {
                    // what is no whole sequence was typed letter by letter
                    let byte = self.bytes.remove(0);
                    out.extend(single(byte).map(key));
                }
                Found::More => return,
            }
        }
    }
}

fn key(key: Key) -> Decoded {
    Decoded::Input(Input::Key(key))
}

fn pasted(text: &[u8], out: &mut Vec<Decoded>) {
    let text = String::from_utf8_lossy(&text[..text.len().min(PASTE)]);
    out.push(Decoded::Input(Input::Paste(text.replace("\r\n", "\n").replace('\r', "\n"))));
}

/// Whether these bytes begin a string of the terminal's: `ESC ]` and a number, or no more yet where one
/// is expected.
fn is_string(bytes: &[u8], asked: bool) -> bool {
    match bytes {
        [0x1b, b']', digit, ..] => digit.is_ascii_digit(),
        [0x1b, b']'] => asked,
        _ => false,
    }
}

/// What the first bytes are.
fn first(bytes: &[u8], asked: bool) -> Found {
    if is_string(bytes, asked) {
        return string(bytes);
    }
    match bytes {
        [0x1b] | [0x1b, b'[' | b'O' | b']'] => Found::More,
        [0x1b, b'[', rest @ ..] => control(rest),
        [0x1b, b'O', letter, ..] => Found::Is(3, named(*letter, 1).map(key)),
        // escape, and something typed after it
        [0x1b, ..] => Found::Is(1, Some(key(Key::plain(Code::Esc)))),
        [byte @ 0..=0x7f, ..] => Found::Is(1, single(*byte).map(key)),
        _ => letter(bytes),
    }
}

/// A letter beyond ASCII.
fn letter(bytes: &[u8]) -> Found {
    let length = match bytes[0] {
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => return Found::Is(1, None),
    };
    match bytes.get(..length).map(std::str::from_utf8) {
        None => Found::More,
        Some(Ok(text)) => Found::Is(length, text.chars().next().map(|c| key(Key::plain(Code::Char(c))))),
        Some(Err(_)) => Found::Is(1, None),
    }
}

/// A byte that is a key by itself.
fn single(byte: u8) -> Option<Key> {
    let code = match byte {
        b'\r' => Code::Enter,
        b'\t' => Code::Tab,
        0x7f | 0x08 => Code::Backspace,
        0x1b => Code::Esc,
        0 => return Some(Key { code: Code::Char(' '), ctrl: true }),
        1..=0x1a => return Some(Key { code: Code::Char(char::from(byte - 1 + b'a')), ctrl: true }),
        b' '..=b'~' => Code::Char(char::from(byte)),
        _ => return None,
    };
    Some(Key::plain(code))
}

/// A key that is named by a letter at the end of a sequence; `modifiers` is 1 and a bit each.
fn named(letter: u8, modifiers: u8) -> Option<Key> {
    let bits = modifiers.saturating_sub(1);
    let shift = bits & 1 != 0;
    let code = match letter {
        b'A' if shift => Code::ShiftUp,
        b'B' if shift => Code::ShiftDown,
        b'A' => Code::Up,
        b'B' => Code::Down,
        b'C' => Code::Right,
        b'D' => Code::Left,
        b'H' => Code::Home,
        b'F' => Code::End,
        b'M' => Code::Enter,
        b'Z' => Code::BackTab,
        b'P'..=b'S' => Code::F(letter - b'P' + 1),
        _ => return None,
    };
    Some(Key { code, ctrl: bits & 4 != 0 })
}

/// A key that is named by a number before `~`.
fn numbered(number: u16, modifiers: u8) -> Option<Key> {
    let code = match number {
        1 | 7 => Code::Home,
        3 => Code::Delete,
        4 | 8 => Code::End,
        5 => Code::PageUp,
        6 => Code::PageDown,
        11..=15 => Code::F((number - 10) as u8),
        17..=21 => Code::F((number - 11) as u8),
        23 | 24 => Code::F((number - 12) as u8),
        _ => return None,
    };
    Some(Key { code, ctrl: modifiers.saturating_sub(1) & 4 != 0 })
}

/// What follows `ESC [`.
fn control(rest: &[u8]) -> Found {
    const BEFORE: usize = 2;
    // the Linux console's first function keys
    if let [b'[', tail @ ..] = rest {
        return match tail {
            [] => Found::More,
            [letter @ b'A'..=b'E', ..] => {
                Found::Is(BEFORE + 2, Some(key(Key::plain(Code::F(letter - b'A' + 1)))))
            }
            _ => Found::Is(BEFORE + 1, None),
        };
    }
    // letters of the mouse that older terminals send as they are
    if rest[0] == b'M' {
        return if rest.len() < 4 { Found::More } else { Found::Is(BEFORE + 4, None) };
    }
    let Some(end) = rest.iter().position(|byte| !(0x20..=0x3f).contains(byte)) else {
        return if rest.len() > LONGEST { Found::Is(BEFORE + rest.len(), None) } else { Found::More };
    };
    let (parameters, last) = (&rest[..end], rest[end]);
    if !(0x40..=0x7e).contains(&last) {
        // cut short by something else, which is decoded by itself
        return Found::Is(BEFORE + end, None);
    }
    let text = String::from_utf8_lossy(parameters);
    let numbers = |text: &str| text.split(';').map(|part| part.parse().unwrap_or(0)).collect::<Vec<u16>>();
    let found = match (text.strip_prefix('<'), last) {
        (Some(mouse), b'M') => clicked(&numbers(mouse)).map(Decoded::Input),
        (Some(_), _) => None,
        (None, b'I') => Some(Decoded::Input(Input::Focus(true))),
        (None, b'O') => Some(Decoded::Input(Input::Focus(false))),
        (None, _) => {
            let numbers = numbers(&text);
            let modifiers = numbers.get(1).copied().unwrap_or(1).min(16) as u8;
            match last {
                b'~' => numbered(numbers[0], modifiers).map(key),
                // with another number it is where the cursor stands
                b'P'..=b'S' if numbers[0] > 1 => None,
                letter => named(letter, modifiers).map(key),
            }
        }
    };
    Found::Is(BEFORE + end + 1, found)
}

/// What a button or the wheel did.
fn clicked(numbers: &[u16]) -> Option<Input> {
    let [button, x, y] = *numbers else { return None };
    let (x, y) = (x.saturating_sub(1), y.saturating_sub(1));
    // shift, alt and control make no difference
    match button & !0b1_1100 {
        0 => Some(Input::Click(x, y)),
        2 => Some(Input::Menu(x, y)),
        64 => Some(Input::Wheel(-1)),
        65 => Some(Input::Wheel(1)),
        _ => None,
    }
}

/// A string of the terminal's, up to its end.
fn string(bytes: &[u8]) -> Found {
    let mut at = 2;
    while at < bytes.len() {
        match bytes[at..] {
            [0x07, ..] => return Found::Is(at + 1, background(&bytes[2..at])),
            [0x1b, b'\\', ..] => return Found::Is(at + 2, background(&bytes[2..at])),
            [0x1b] => return Found::More,
            // another one begins: this was none
            [0x1b, ..] => return Found::Is(at, None),
            _ => at += 1,
        }
    }
    if bytes.len() > LONGEST { Found::Is(bytes.len(), None) } else { Found::More }
}

/// The colour in `11;rgb:1e1e/1e1e/2e2e`, and whether it is light.
fn background(text: &[u8]) -> Option<Decoded> {
    let text = std::str::from_utf8(text).ok()?.strip_prefix("11;")?;
    let colour = text.strip_prefix("rgb:").or_else(|| text.strip_prefix("rgba:"))?;
    let mut parts = colour.split('/').map(|part| {
        let most =
            16u32.checked_pow(u32::try_from(part.len()).ok()?)?.checked_sub(1).filter(|most| *most > 0)?;
        Some(f64::from(u32::from_str_radix(part, 16).ok()?) / f64::from(most))
    });
    let (red, green, blue) = (parts.next()??, parts.next()??, parts.next()??);
    Some(Decoded::Background(0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.5))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// All of it in one piece, and then nothing more.
    fn decoded(bytes: &[u8]) -> Vec<Decoded> {
        let (mut decoder, mut out) = (Decoder { asked: true, ..Decoder::default() }, Vec::new());
        decoder.feed(bytes, &mut out);
        decoder.flush(&mut out);
        out
    }

    fn keys(bytes: &[u8]) -> String {
        let name = |one: Decoded| match one {
            Decoded::Input(Input::Key(key)) => key.to_string(),
            other => format!("{other:?}"),
        };
        decoded(bytes).into_iter().map(name).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn keys_are_told_apart() {
        assert_eq!(keys(b"jG\r\t\x7f\x01\x1a"), "j G enter tab backspace ^a ^z");
        assert_eq!(keys("é日".as_bytes()), "é 日");
        assert_eq!(keys(b"\x1b[A\x1bOB\x1b[1;2B\x1b[1;5C\x1b[Z"), "up down shift-down ^right shift-tab");
        assert_eq!(keys(b"\x1b[5~\x1b[6~\x1b[3~\x1b[1~\x1b[4~"), "pgup pgdn delete home end");
        assert_eq!(keys(b"\x1bOP\x1b[15~\x1b[24~\x1b[[B"), "f1 f5 f12 f2");
        assert_eq!(keys(b"\x1b"), "esc");
        // over a slow line: escape, and a letter soon after it
        assert_eq!(keys(b"\x1bj"), "esc j");
        assert_eq!(keys(b"\x1b\x1b[A"), "esc up");
        // what has no meaning here says nothing
        assert_eq!(keys(b"\x1b[99~\x1b[?1;2c\x1b[12;5R"), "");
        assert_eq!(keys(b"\x1b[M !!x"), "x");
    }

    #[test]
    fn the_mouse_pastes_and_the_window() {
        assert_eq!(
            decoded(b"\x1b[<0;5;7M\x1b[<0;5;7m\x1b[<2;1;1M\x1b[<64;1;1M\x1b[<35;9;9M"),
            [Input::Click(4, 6), Input::Menu(0, 0), Input::Wheel(-1)].map(Decoded::Input)
        );
        assert_eq!(decoded(b"\x1b[I\x1b[O"), [Input::Focus(true), Input::Focus(false)].map(Decoded::Input));
        let paste = |text: &str| vec![Decoded::Input(Input::Paste(text.to_owned()))];
        assert_eq!(decoded(b"\x1b[200~q\x1b[2J\r\x1b[201~"), paste("q\x1b[2J\n"));
        // an end that never comes swallows nothing for ever
        assert_eq!(decoded(b"\x1b[200~abc"), paste("abc"));
    }

    #[test]
    fn the_terminal_says_whether_it_is_light() {
        for (answer, light) in [
            (&b"\x1b]11;rgb:ffff/ffff/ffff\x1b\\"[..], true),
            (b"\x1b]11;rgb:1e1e/1e1e/2e2e\x07", false),
            (b"\x1b]11;rgb:f/f/e\x07", true),
            (b"\x1b]11;rgba:0000/0000/0000/ffff\x07", false),
        ] {
            assert_eq!(decoded(answer), [Decoded::Background(light)]);
        }
        // what cannot be understood, and other strings, are no keys
        assert_eq!(decoded(b"\x1b]11;rgb:zz/1/1\x07\x1b]52;c;YQ==\x07"), []);
        // cut off, it is dropped
        assert_eq!(keys(b"\x1b]11;rgb:ffff/ff"), "");
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn in_whatever_pieces_it_comes_it_is_the_same(
            parts in prop::collection::vec(prop_oneof![
                Just(&b"\x1b]11;rgb:ffff/ffff/ffff\x1b\\"[..]), Just(&b"\x1b[A"[..]), Just(&b"j"[..]), Just("é".as_bytes()),
                Just(&b"\x1b[<0;5;7M"[..]), Just(&b"\x1b[200~a\x1bb\x1b[201~"[..]), Just(&b"\x1b[1;2B"[..]),
            ], 0..8),
            cuts in prop::collection::vec(1usize..9, 1..40),
        ) {
            let bytes = parts.concat();
            let whole = decoded(&bytes);
            let (mut decoder, mut out) = (Decoder { asked: true, ..Decoder::default() }, Vec::new());
            let (mut rest, mut cuts) = (&bytes[..], cuts.into_iter().cycle());
            while !rest.is_empty() {
                let (piece, tail) = rest.split_at(cuts.next().unwrap().min(rest.len()));
                decoder.feed(piece, &mut out);
                rest = tail;
            }
            decoder.flush(&mut out);
            prop_assert_eq!(out, whole);
        }

        #[test]
        fn no_bytes_break_it(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut decoder = Decoder::default();
            let mut out = Vec::new();
            decoder.feed(&bytes, &mut out);
            decoder.flush(&mut out);
            decoder.flush(&mut out);
        }
    }
}
