//! Keys, as far as the dashboard tells them apart, and how they are written.

use std::fmt;

/// A key, as far as the dashboard tells them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    /// Which.
    pub code: Code,
    /// Whether control was held.
    pub ctrl: bool,
}

/// Which key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Code {
    /// A letter as it is written, capitals included.
    Char(char),
    /// Return.
    Enter,
    /// Escape.
    Esc,
    /// Tab.
    Tab,
    /// Tab backwards.
    BackTab,
    /// Erases before the cursor.
    Backspace,
    /// Erases at the cursor.
    Delete,
    /// An arrow.
    Up,
    /// An arrow.
    Down,
    /// An arrow with shift.
    ShiftUp,
    /// An arrow with shift.
    ShiftDown,
    /// An arrow.
    Left,
    /// An arrow.
    Right,
    /// To the beginning.
    Home,
    /// To the end.
    End,
    /// A screen up.
    PageUp,
    /// A screen down.
    PageDown,
    /// A function key.
    F(u8),
}

impl Key {
    /// A key without control.
    pub const fn plain(code: Code) -> Self {
        Self { code, ctrl: false }
    }

    /// Reads a key as the table writes it: `j`, `^d`, `enter`, `f1`, `shift-down`.
    pub fn read(text: &str) -> Option<Self> {
        let mut letters = text.chars();
        let code = match (letters.next()?, letters.next(), letters.next()) {
            (letter, None, _) => Code::Char(letter),
            ('^', Some(letter), None) => return Some(Self { code: Code::Char(letter), ctrl: true }),
            ('f', Some('1'..='9'), _) => {
                let number = text[1..].parse().ok().filter(|number| (1..=12).contains(number));
                Code::F(number?)
            }
            _ => NAMES.iter().find(|(name, _)| *name == text)?.1,
        };
        Some(Self::plain(code))
    }

    /// Why no terminal sends it, if none does: what a letter with control is, it is whatever its case, and
    /// some are other keys.
    pub fn dead(self) -> Option<String> {
        let Code::Char(letter) = self.code else { return None };
        match (self.ctrl, letter) {
            (false, _) | (true, ' ') => None,
            (true, 'h') => Some("terminals send backspace".to_owned()),
            (true, 'i') => Some("terminals send tab".to_owned()),
            (true, 'm') => Some("terminals send enter".to_owned()),
            (true, 'a'..='z') => None,
            (true, 'A'..='Z') => Some(format!("write ^{}", letter.to_ascii_lowercase())),
            (true, _) => Some("with control there are only letters".to_owned()),
        }
    }

    /// Whether it is not hit by a slip of the hand: a capital letter, one with control, a function key.
    pub fn is_deliberate(self) -> bool {
        match self.code {
            Code::Char(letter) => self.ctrl || letter.is_uppercase(),
            Code::F(_) => true,
            _ => false,
        }
    }
}

const NAMES: &[(&str, Code)] = &[
    ("enter", Code::Enter),
    ("esc", Code::Esc),
    ("tab", Code::Tab),
    ("shift-tab", Code::BackTab),
    ("backtab", Code::BackTab),
    ("backspace", Code::Backspace),
    ("delete", Code::Delete),
    ("up", Code::Up),
    ("down", Code::Down),
    ("left", Code::Left),
    ("right", Code::Right),
    ("home", Code::Home),
    ("end", Code::End),
    ("pgup", Code::PageUp),
    ("pgdn", Code::PageDown),
    ("space", Code::Char(' ')),
    ("shift-up", Code::ShiftUp),
    ("shift-down", Code::ShiftDown),
];

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.ctrl {
            f.write_str("^")?;
        }
        match (self.code, NAMES.iter().find(|(_, code)| *code == self.code)) {
            (_, Some((name, _))) => f.write_str(name),
            (Code::Char(letter), None) => write!(f, "{letter}"),
            (Code::F(number), None) => write!(f, "f{number}"),
            (code, None) => write!(f, "{code:?}"),
        }
    }
}

/// The two keys of `g g` are written together; the others as they are.
pub fn shown(keys: &str) -> String {
    keys.split(' ').map(|key| Key::read(key).map_or_else(|| key.to_owned(), |key| key.to_string())).collect()
}
