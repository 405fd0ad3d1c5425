//! Text that may reach the screen: `Clean`, and how times and numbers are written.

use std::{borrow::Cow, fmt::Write as _, time::Duration};

use bursar_shared::{money::Currency, text::clean, time::Timestamp};
use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

/// Marks that one letter may carry; more would run over the lines around it.
const MARKS: usize = 4;

/// Text without anything that could steer the terminal, hide or reorder what stands beside it.
///
/// The canvas takes nothing else, so the compiler sees to it that every text went through here.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Clean(Cow<'static, str>);

impl Clean {
    /// Makes any text safe: what could do harm is written out, one line stays one line.
    pub fn of(text: impl AsRef<str>) -> Self {
        let text = clean(text.as_ref());
        if text.is_ascii() {
            return Self(Cow::Owned(text.into_owned()));
        }
        let mut out = String::with_capacity(text.len());
        for letter in text.graphemes(true) {
            let mut marks = 0;
            out.extend(letter.chars().filter(|part| {
                let is_mark = unicode_width::UnicodeWidthChar::width(*part) == Some(0) && *part != '\u{200d}';
                marks += usize::from(is_mark);
                !is_mark || marks <= MARKS
            }));
        }
        Self(Cow::Owned(out))
    }

    /// Words of our own.
    pub const fn fixed(text: &'static str) -> Self {
        Self(Cow::Borrowed(text))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Cells it takes.
    pub fn width(&self) -> usize {
        self.0.width()
    }

    /// The same in at most `width` cells; what was cut is shown by `ellipsis`.
    #[must_use]
    pub fn fit(&self, width: usize, ellipsis: char) -> Self {
        if self.width() <= width {
            return self.clone();
        }
        let mut out = String::new();
        let mut used = 0;
        for letter in self.0.graphemes(true) {
            let wide = letter.width();
            if used + wide + 1 > width {
                break;
            }
            used += wide;
            out.push_str(letter);
        }
        if width > 0 {
            out.push(ellipsis);
        }
        Self(Cow::Owned(out))
    }

    /// The end of it in at most `width` cells: for fields whose cursor is at the end.
    #[must_use]
    pub fn tail(&self, width: usize) -> Self {
        let mut start = self.0.len();
        let mut used = 0;
        for (at, letter) in self.0.grapheme_indices(true).rev() {
            used += letter.width();
            if used > width {
                break;
            }
            start = at;
        }
        Self(Cow::Owned(self.0[start..].to_owned()))
    }

    /// Broken into lines of at most `width` cells, at spaces where there are any.
    pub fn wrap(&self, width: usize) -> Vec<Self> {
        let mut lines = Vec::new();
        let mut line = String::new();
        for word in self.0.split(' ') {
            let mut rest = Self::of(word);
            let room = usize::from(!line.is_empty()) + line.width() + rest.width();
            if room <= width {
                if !line.is_empty() {
                    line.push(' ');
                }
                line.push_str(rest.as_str());
                continue;
            }
            if !line.is_empty() {
                lines.push(Self::of(std::mem::take(&mut line)));
            }
            while rest.width() > width && width > 0 {
                let mut head = String::new();
                for letter in rest.0.graphemes(true) {
                    if head.width() + letter.width() > width {
                        break;
                    }
                    head.push_str(letter);
                }
                // a letter that is wider than a whole line has no place on any
                let taken = if head.is_empty() {
                    rest.0.graphemes(true).next().map_or(1, str::len)
                } else {
                    head.len()
                };
                rest = Self::of(&rest.0[taken..]);
                if !head.is_empty() {
                    lines.push(Self::of(head));
                }
            }
            line.push_str(rest.as_str());
        }
        if !line.is_empty() || lines.is_empty() {
            lines.push(Self::of(line));
        }
        lines
    }
}

impl From<&'static str> for Clean {
    fn from(text: &'static str) -> Self {
        // our own words pass through as well: a literal may have been pasted from anywhere
        if clean(text).len() == text.len() { Self::fixed(text) } else { Self::of(text) }
    }
}

impl From<String> for Clean {
    fn from(text: String) -> Self {
        Self::of(text)
    }
}

/// The time of day: `12:04:31Z`.
pub fn clock(time: Timestamp) -> String {
    format!("{}Z", &time.to_string()[11..19])
}

/// When it was, in nine columns: the time of day today, else the day, else month and year.
pub fn when(time: Timestamp, now: Timestamp) -> String {
    let (then, today) = (time.to_string(), now.to_string());
    match then {
        then if then[..10] == today[..10] => clock(time),
        then if then[..4] == today[..4] => format!("{} {}h", &then[5..10], &then[11..13]),
        then => then[..7].to_owned(),
    }
}

/// The day and the minute of this year, the day of others, in eleven columns: `08-22 12:04`.
pub fn stamp(time: Timestamp, now: Timestamp) -> String {
    let (then, today) = (time.to_string(), now.to_string());
    match then[..4] == today[..4] {
        true => format!("{} {}", &then[5..10], &then[11..16]),
        false => then[..10].to_owned(),
    }
}

/// The day and the minute: `2026-08-22 12:04`.
pub fn minute(time: Timestamp) -> String {
    let text = time.to_string();
    match (text.get(..10), text.get(11..16)) {
        (Some(day), Some(minute)) => format!("{day} {minute}"),
        _ => text,
    }
}

/// The day: `2026-08-22`.
pub fn day(time: Timestamp) -> String {
    time.to_string().chars().take(10).collect()
}

/// A number with its thousands parted: `48,213`.
pub fn number(value: u64) -> String {
    let digits = value.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// An amount as people read it, its thousands parted: `12,500.00`; without its currency.
pub fn amount(currency: Currency, minor: i64) -> String {
    let decimal = currency.decimal(minor);
    let (whole, part) = decimal.split_once('.').map_or((decimal.as_str(), None), |(w, p)| (w, Some(p)));
    let sign = if minor < 0 { "-" } else { "" };
    let whole = number(whole.trim_start_matches('-').parse().unwrap_or(0));
    part.map_or_else(|| format!("{sign}{whole}"), |part| format!("{sign}{whole}.{part}"))
}

/// The same in so many cells: without the marks of thousands where there is no room for them.
pub fn amount_in(currency: Currency, minor: i64, cells: usize) -> String {
    let text = amount(currency, minor);
    if text.len() <= cells { text } else { currency.decimal(minor) }
}

/// An id as far as it tells records apart: its kind and its last letters, for the first are a time.
pub fn brief(id: &str) -> String {
    match (id.split_once('_'), id.char_indices().rev().nth(5)) {
        (Some((kind, rest)), Some((at, _))) if rest.len() > 8 => format!("{kind} {}", &id[at..]),
        _ => id.to_owned(),
    }
}

/// How long ago, in one unit: `now`, `12 s`, `4 min`, `3 h`, `2 d`.
pub fn ago(then: Timestamp, now: Timestamp) -> String {
    let seconds = now.since(then).as_secs();
    match seconds {
        0..5 => "now".to_owned(),
        5..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..86_400 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// How long something has lasted, in the two largest units: `12 d 4 h`.
pub fn lasted(time: Duration) -> String {
    let seconds = time.as_secs();
    let (d, h, m, s) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    let mut out = String::new();
    let parts = [(d, "d"), (h, "h"), (m, "min"), (s, "s")];
    let first = parts.iter().position(|(count, _)| *count > 0).unwrap_or(3);
    for (count, unit) in parts.iter().skip(first).take(2).filter(|(count, _)| *count > 0 || seconds == 0) {
        let gap = if out.is_empty() { "" } else { " " };
        let _ = write!(out, "{gap}{count} {unit}");
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn writes_numbers_and_times_for_people() {
        assert_eq!(number(0), "0");
        assert_eq!(number(48_213), "48,213");
        assert_eq!(number(1_000_000), "1,000,000");
        assert_eq!(lasted(Duration::from_secs(0)), "0 s");
        assert_eq!(lasted(Duration::from_secs(3_700)), "1 h 1 min");
        assert_eq!(lasted(Duration::from_secs(12 * 86_400 + 4 * 3_600 + 7)), "12 d 4 h");
        let time: Timestamp = "2026-08-22T12:04:31Z".parse().unwrap();
        assert_eq!((clock(time), minute(time)), ("12:04:31Z".into(), "2026-08-22 12:04".into()));
        let at = |now: &str| when(time, now.parse().unwrap());
        assert_eq!(at("2026-08-22T23:59:59Z"), "12:04:31Z");
        assert_eq!(at("2026-08-23T00:00:00Z"), "08-22 12h");
        assert_eq!(at("2028-01-01T00:00:00Z"), "2026-08");
    }

    #[test]
    fn cuts_by_cells_and_says_so() {
        assert_eq!(Clean::of("Ada Lovelace").fit(6, '…').as_str(), "Ada L…");
        assert_eq!(Clean::of("日本語テキスト").fit(6, '…').as_str(), "日本…");
        assert_eq!(Clean::of("Ada").fit(0, '…').as_str(), "");
        assert_eq!(Clean::of("one two three").wrap(7).len(), 2);
    }

    #[test]
    fn a_letter_carries_few_marks() {
        let zalgo = format!("Z{}", "\u{301}".repeat(50));
        assert_eq!(Clean::of(zalgo).as_str().chars().count(), 1 + MARKS);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn never_wider_than_asked(text in "\\PC{0,40}|.{0,40}", width in 0usize..30) {
            prop_assert!(Clean::of(&text).fit(width, '…').width() <= width);
            prop_assert!(Clean::of(&text).tail(width).width() <= width);
            prop_assert!(!Clean::of(&text).as_str().chars().any(bursar_shared::text::is_unsafe));
            for line in Clean::of(&text).wrap(width.max(2)) {
                prop_assert!(line.width() <= width.max(2));
            }
        }
    }
}
