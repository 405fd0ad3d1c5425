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
///
/// Time decides one thing only: whether an escape was a key or begins something. What else is begun is
/// waited for, however long it takes, and what is cut off is dropped with what ends it: its rest never
/// becomes keys.
#[derive(Debug, Default)]
pub struct Decoder {
    bytes: Vec<u8>,
    paste: Option<Vec<u8>>,
    /// An escape was taken for a key, and nothing came since: what it began may still come.
    escaped: bool,
    /// An answer was asked for and did not come yet.
    asked: bool,
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
        if std::mem::take(&mut self.escaped) && continues(bytes, self.asked) {
            self.bytes.push(0x1b);
        }
        self.bytes.extend_from_slice(bytes);
        self.decode(out);
    }

    /// Whether it is to be said when nothing more comes for a while.
    pub fn waits(&self) -> bool {
        self.paste.is_none() && self.bytes == [0x1b]
    }

    /// Nothing more came: an escape was the key.
    pub fn flush(&mut self, out: &mut Vec<Decoded>) {
        if self.waits() {
            self.bytes.clear();
            self.escaped = true;
            out.push(key(Key::plain(Code::Esc)));
        }
    }

    fn decode(&mut self, out: &mut Vec<Decoded>) {
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
            match first(&self.bytes) {
                Found::Is(length, found) => {
                    self.bytes.drain(..length);
                    self.asked &= !matches!(found, Some(Decoded::Background(_)));
                    out.extend(found);
                }
                Found::More => {
                    if self.bytes.len() > LONGEST && self.bytes[1] != b'O' {
                        // too long to say anything; only where it ends is still waited for
                        let begin: &[u8] = if self.bytes[1] == b']' { b"\x1b]0" } else { b"\x1b[?" };
                        let ends = self.bytes.ends_with(b"\x1b");
                        self.bytes = begin.to_vec();
                        self.bytes.extend(ends.then_some(0x1b));
                    }
                    return;
                }
            }
        }
    }
}

/// Whether these bytes go on with what an escape began: a line so slow that it was taken for the key. One
/// who types does not press several keys at the same time.
fn continues(bytes: &[u8], asked: bool) -> bool {
    matches!(bytes, [b'[', _, ..]) || asked && bytes.starts_with(b"]1")
}

fn key(key: Key) -> Decoded {
    Decoded::Input(Input::Key(key))
}

fn pasted(text: &[u8], out: &mut Vec<Decoded>) {
    let text = String::from_utf8_lossy(&text[..text.len().min(PASTE)]);
    out.push(Decoded::Input(Input::Paste(text.replace("\r\n", "\n").replace('\r', "\n"))));
}

/// What the first bytes are.
fn first(bytes: &[u8]) -> Found {
    match bytes {
        [0x1b] | [0x1b, b'[' | b']' | b'O'] => Found::More,
        [0x1b, b'[', rest @ ..] => control(rest),
        [0x1b, b']', digit, ..] if digit.is_ascii_digit() => string(bytes),
        [0x1b, b'O', rest @ ..] => keypad(rest),
        // escape twice: the second may begin something
        [0x1b, 0x1b, ..] => Found::Is(1, Some(key(Key::plain(Code::Esc)))),
        // a key with alt, which means nothing here
        [0x1b, rest @ ..] => match first(rest) {
            Found::Is(length, _) => Found::Is(1 + length, None),
            Found::More => Found::More,
        },
        [byte @ 0..=0x7f, ..] => Found::Is(1, single(*byte).map(key)),
        _ => letter(bytes),
    }
}

/// What follows `ESC O`: a letter, perhaps with modifiers before it.
fn keypad(rest: &[u8]) -> Found {
    let Some(end) = rest.iter().position(|byte| !matches!(byte, b'0'..=b'9' | b';')) else {
        return Found::More;
    };
    if !(0x40..=0x7e).contains(&rest[end]) {
        return Found::Is(2 + end, None);
    }
    let text = String::from_utf8_lossy(&rest[..end]);
    let modifiers = text.rsplit(';').next().and_then(|part| part.parse().ok()).unwrap_or(1);
    let found = (end <= LONGEST).then(|| named(rest[end], modifiers)).flatten();
    Found::Is(3 + end, found.map(key))
}

/// A letter beyond ASCII.
fn letter(bytes: &[u8]) -> Found {
    let length = match bytes[0] {
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => return Found::Is(1, None),
    };
    match std::str::from_utf8(&bytes[..length.min(bytes.len())]) {
        Ok(text) => Found::Is(length, text.chars().next().map(|c| key(Key::plain(Code::Char(c))))),
        Err(wrong) if wrong.error_len().is_none() => Found::More,
        Err(_) => Found::Is(1, None),
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

/// Shift and control of the modifiers, which are 1 and a bit each. With alt and the like it is no key of
/// ours; locks make no difference.
fn held(modifiers: u16) -> Option<(bool, bool)> {
    let bits = modifiers.saturating_sub(1) & 0b11_1111;
    (bits & !0b101 == 0).then_some((bits & 1 != 0, bits & 4 != 0))
}

/// A key that is named by a letter at the end of a sequence.
fn named(letter: u8, modifiers: u16) -> Option<Key> {
    let (shift, ctrl) = held(modifiers)?;
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
    Some(Key { code, ctrl })
}

/// A key that is named by a number before `~`.
fn numbered(number: u16, modifiers: u16) -> Option<Key> {
    let (_, ctrl) = held(modifiers)?;
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
    Some(Key { code, ctrl })
}

/// A key that is named by its letter's number: `ESC [ 99 ; 5 u`, or `ESC [ 27 ; 5 ; 99 ~`.
fn coded(number: u32, modifiers: u16) -> Option<Key> {
    let (shift, ctrl) = held(modifiers)?;
    let code = match number {
        9 if shift => Code::BackTab,
        9 => Code::Tab,
        13 | 57_414 => Code::Enter,
        27 => Code::Esc,
        8 | 127 => Code::Backspace,
        // what other keys are called, in a range of no letters
        57_344..=63_743 => return None,
        _ => {
            let letter = char::from_u32(number).filter(|letter| !letter.is_control())?;
            match (shift, ctrl) {
                // that is the terminal's, to copy and paste
                (true, true) => return None,
                (false, true) if letter == ' ' => return single(0),
                // as it is without a number
                (false, true) => {
                    return u8::try_from(number).ok().filter(|n| *n >= b'@').and_then(|n| single(n & 0x1f));
                }
                (true, false) => Code::Char(letter.to_ascii_uppercase()),
                (false, false) => Code::Char(letter),
            }
        }
    };
    Some(Key::plain(code))
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
        return Found::More;
    };
    let (parameters, last) = (&rest[..end], rest[end]);
    if !(0x40..=0x7e).contains(&last) {
        // cut short by something else, which is decoded by itself
        return Found::Is(BEFORE + end, None);
    }
    let text = String::from_utf8_lossy(parameters);
    let numbers = |text: &str| text.split(';').map(|part| part.parse().unwrap_or(0)).collect::<Vec<u16>>();
    let found = match (text.strip_prefix('<'), last) {
        _ if BEFORE + end > LONGEST => None,
        (Some(mouse), b'M') => clicked(&numbers(mouse)).map(Decoded::Input),
        (Some(_), _) => None,
        (None, _) if text.starts_with(['?', '>', '=']) => None,
        (None, b'I') => Some(Decoded::Input(Input::Focus(true))),
        (None, b'O') => Some(Decoded::Input(Input::Focus(false))),
        (None, _) => pressed(&text, last).map(key),
    };
    Found::Is(BEFORE + end + 1, found)
}

/// The key that a sequence with these parameters and this last byte stands for.
fn pressed(text: &str, last: u8) -> Option<Key> {
    // after a colon: other letters of the key, and whether it went down
    let mut parts = text.split(';').map(|part| part.split(':').map(|one| one.parse::<u32>().unwrap_or(0)));
    let number = parts.next()?.next()?;
    let mut second = parts.next().into_iter().flatten();
    let modifiers = second.next().map_or(1, |one| u16::try_from(one).unwrap_or(u16::MAX));
    const UP: u32 = 3;
    if second.next() == Some(UP) {
        return None;
    }
    match last {
        b'u' => coded(number, modifiers),
        b'~' if number == 27 => coded(parts.next()?.next()?, modifiers),
        b'~' => numbered(u16::try_from(number).ok()?, modifiers),
        // with another number it is where the cursor stands
        b'P'..=b'S' if number > 1 => None,
        letter => named(letter, modifiers),
    }
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
    let said = |end: usize| (end <= LONGEST).then(|| background(&bytes[2..end])).flatten();
    for at in 2..bytes.len() {
        match bytes[at..] {
            [0x07, ..] => return Found::Is(at + 1, said(at)),
            [0x1b, b'\\', ..] => return Found::Is(at + 2, said(at)),
            [0x1b] => return Found::More,
            // another one begins, or somebody wants out: this was none
            [0x1b | 0x03 | 0x18 | 0x1a, ..] => return Found::Is(at, None),
            _ => {}
        }
    }
    Found::More
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
        assert_eq!(keys(b"\x1b\x1b[A"), "esc up");
        // a key with alt is another key, and none of ours
        assert_eq!(keys("x\x1bj\x1b:\x1bé\x1b\r\x1b[1;3Ay".as_bytes()), "x y");
        // the keypad with modifiers, and locks that are on
        assert_eq!(keys(b"\x1bO5Aj\x1bO1;5B\x1b[1;129A"), "^up j ^down up");
        // keys that are named by their letters
        assert_eq!(
            keys(b"\x1b[99;5u\x1b[27;5;99~\x1b[106u\x1b[97;2u\x1b[13u\x1b[27u\x1b[9;2u"),
            "^c ^c j A enter esc shift-tab"
        );
        assert_eq!(keys(b"\x1b[99;5:3u\x1b[99;3u\x1b[99;6u\x1b[57358u\x1b[91;5u\x1b[32;5u"), "esc ^space");
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
        // until its end comes nothing of it is a key, however long that takes
        let (mut decoder, mut out) = (Decoder::default(), Vec::new());
        for piece in [&b"\x1b[20"[..], b"0~:q!", b"\r", b"y\x1b[2", b"01~j"] {
            decoder.feed(piece, &mut out);
            decoder.flush(&mut out);
        }
        let typed = Decoded::Input(Input::Key(Key::plain(Code::Char('j'))));
        assert_eq!(out, [paste(":q!\ny").remove(0), typed]);
    }

    #[test]
    fn what_is_cut_off_or_too_long_is_no_keys() {
        let pieces = |pieces: &[&[u8]]| {
            let (mut decoder, mut out) = (Decoder::new(true), Vec::new());
            for piece in pieces {
                decoder.feed(piece, &mut out);
                decoder.flush(&mut out);
            }
            out
        };
        let long = [b'1'; 9_000];
        let key = |letter| Decoded::Input(Input::Key(Key::plain(Code::Char(letter))));
        assert_eq!(pieces(&[b"\x1b]11;", &long, b"q:!", b"\x07j"]), [key('j')]);
        assert_eq!(pieces(&[b"\x1b]11;", &long, b"\x1b", b"\\j"]), [key('j')]);
        assert_eq!(pieces(&[b"\x1b[1;", &long, b"5", b"Aj"]), [key('j')]);
        // somebody wants out of what never ends
        assert_eq!(pieces(&[b"\x1b]11;", b"\x03"]).len(), 1);
        // an escape that was taken for the key, and what it began
        assert_eq!(pieces(&[b"\x1b", b"[200~q\x1b[201~"]).len(), 2);
        assert_eq!(pieces(&[b"\x1b", b"]11;rgb:0/0/0\x07"])[1], Decoded::Background(false));
        assert_eq!(pieces(&[b"\x1b", b"]", b"["])[1..], [key(']'), key('[')]);
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

    /// The same in pieces, with a pause after each that does not end in an escape.
    fn in_pieces(bytes: &[u8], cuts: &[usize]) -> Vec<Decoded> {
        let (mut decoder, mut out) = (Decoder::new(true), Vec::new());
        let (mut rest, mut cuts) = (bytes, cuts.iter().cycle());
        while !rest.is_empty() {
            let (piece, tail) = rest.split_at((*cuts.next().unwrap()).min(rest.len()));
            decoder.feed(piece, &mut out);
            if !decoder.waits() {
                decoder.flush(&mut out);
            }
            rest = tail;
        }
        decoder.flush(&mut out);
        out
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn in_whatever_pieces_it_comes_it_is_the_same(
            parts in prop::collection::vec(prop_oneof![
                Just(&b"\x1b]11;rgb:ffff/ffff/ffff\x1b\\"[..]), Just(&b"\x1b[A"[..]), Just(&b"j"[..]), Just("é".as_bytes()),
                Just(&b"\x1b[<0;5;7M"[..]), Just(&b"\x1b[200~a\x1bb\x1b[201~"[..]), Just(&b"\x1b[1;2B"[..]),
                Just(&b"\x1bO5A"[..]), Just(&b"\x1b[27;5;99~"[..]), Just(&b"\x1b:"[..]), Just(&b"\x1b"[..]),
                Just(&b"\x1b["[..]), Just(&b"\x1b]"[..]), Just(&b"\x1b[20"[..]), Just(&b"\x1b[M !!"[..]), Just(&b"\r"[..]),
            ], 0..8),
            cuts in prop::collection::vec(1usize..9, 1..40),
        ) {
            let bytes = parts.concat();
            prop_assert_eq!(in_pieces(&bytes, &cuts), decoded(&bytes));
        }

        #[test]
        fn whatever_bytes_in_whatever_pieces_are_the_same(
            bytes in prop::collection::vec(prop_oneof![
                3 => prop::sample::select(&b"\x1b[]O;:?<0127~uAMq\r\x07\\\x03"[..]), 1 => any::<u8>(),
            ], 0..200),
            cuts in prop::collection::vec(1usize..9, 1..40),
        ) {
            prop_assert_eq!(in_pieces(&bytes, &cuts), decoded(&bytes));
        }
    }
}
