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

    proptest! {
        #[test]
        fn nothing_unsafe_is_left(text in "\\PC*|.*") {
            prop_assert!(!clean(&text).chars().any(is_unsafe));
        }
    }
}
