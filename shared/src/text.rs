//! Making any text safe to show: names and notes come from strangers, terminals obey what they read.

use std::borrow::Cow;

/// Whether a character could steer a terminal, hide text or reorder it.
///
/// Controls (C0, C1), line separators, bidirectional controls (Unicode TR 9), zero-width characters
/// and tag characters. The joiners U+200C and U+200D stay: Persian, Indic scripts and emoji need them.
pub const fn is_unsafe(letter: char) -> bool {
    matches!(
        letter,
        '\u{0}'..='\u{1f}'
            | '\u{7f}'..='\u{9f}'
            | '\u{ad}'
            | '\u{61c}'
            | '\u{180e}'
            | '\u{200b}'
            | '\u{200e}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

/// The text with every unsafe character written out as `\u{202e}`, on one line.
pub fn clean(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for letter in text.chars() {
        if is_unsafe(letter) {
            out.extend(letter.escape_unicode());
        } else {
            out.push(letter);
        }
    }
    Cow::Owned(out)
}

/// Whether a spreadsheet would read a number, and nothing else, in it.
pub fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    digits.starts_with(|first: char| first.is_ascii_digit())
        && digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
}

/// A cell of a CSV file (RFC 4180). A text that a spreadsheet would take for a formula gets a `'` in front.
pub fn csv_cell(text: &str) -> Cow<'_, str> {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']) && !is_number(text);
    let mark = if formula { "'" } else { "" };
    if text.contains([',', '"', '\n', '\r']) {
        return format!("\"{mark}{}\"", text.replace('"', "\"\"")).into();
    }
    if formula { format!("{mark}{text}").into() } else { text.into() }
}

/// The known word that was probably meant by one that is not known: written otherwise, cut short, or
/// mistyped by a letter or two.
pub fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let typed: Vec<char> = word.to_lowercase().chars().collect();
    if !(2..=40).contains(&typed.len()) {
        return None;
    }
    let text: String = typed.iter().collect();
    let rated = known.filter_map(|known| {
        let letters: Vec<char> = known.to_lowercase().chars().collect();
        let name: String = letters.iter().collect();
        let wrong = if name.contains(&text) || (letters.len() > 2 && text.starts_with(&name)) {
            0
        } else {
            mistakes(&typed, &letters)
        };
        (wrong <= (typed.len() / 3).max(1)).then_some((wrong, known))
    });
    rated.min_by_key(|(wrong, _)| *wrong).map(|(_, known)| known)
}

/// Letters to change, add, take out or swap with their neighbour to come from one word to the other.
fn mistakes(from: &[char], to: &[char]) -> usize {
    let mut rows: [Vec<usize>; 3] = [Vec::new(), Vec::new(), (0..=to.len()).collect()];
    for (i, letter) in from.iter().enumerate() {
        rows.rotate_left(1);
        let [earlier, above, here] = &mut rows;
        here.clear();
        here.push(i + 1);
        for (j, other) in to.iter().enumerate() {
            let changed = above[j] + usize::from(letter != other);
            let mut least = changed.min(above[j + 1] + 1).min(here[j] + 1);
            if i > 0 && j > 0 && from[i - 1] == *other && to[j - 1] == *letter {
                least = least.min(earlier[j - 1] + 1);
            }
            here.push(least);
        }
    }
    rows[2].last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn writes_out_what_could_steer_a_terminal() {
        assert_eq!(clean("Ada Lovelace"), "Ada Lovelace");
        assert_eq!(clean("\u{1b}[2J"), "\\u{1b}[2J");
        assert_eq!(clean("a\u{202e}b\u{200b}c\nd"), "a\\u{202e}b\\u{200b}c\\u{a}d");
        assert_eq!(clean("می‌خواهم 👩‍🚀"), "می‌خواهم 👩‍🚀");
    }

    #[test]
    fn what_was_meant_is_guessed_only_where_it_is_near() {
        let known = ["id", "email", "status", "createdAt", "lastLoginAt"];
        let near = |word: &str| nearest(word, known.into_iter());
        assert_eq!(near("stauts"), Some("status"));
        assert_eq!(near("mail"), Some("email"));
        assert_eq!(near("created_at"), Some("createdAt"));
        assert_eq!(near("emails"), Some("email"));
        assert_eq!(near("colour"), None);
        assert_eq!(near("x"), None);
    }

    proptest! {
        #[test]
        fn nothing_unsafe_is_left(text in "\\PC*|.*") {
            prop_assert!(!clean(&text).chars().any(is_unsafe));
        }
    }
}
