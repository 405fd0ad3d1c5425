//! Cursors carry a signature, so that what comes back is what was given out.

use std::fmt;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::hmac;
use subtle::ConstantTimeEq;

/// Names the format; another one can follow without guessing.
const VERSION: &str = "b1";
/// Bytes of the tag: enough that forging needs 2^127 questions.
const TAG: usize = 16;
/// Longer texts are not ours.
const LONGEST: usize = 4096;

/// Signs cursors; all daemons on one database share the key.
pub struct CursorKey(hmac::Key);

impl fmt::Debug for CursorKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CursorKey(hidden)")
    }
}

impl CursorKey {
    /// The key made of these 32 secret bytes.
    pub fn new(secret: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    fn tag(&self, payload: &str) -> [u8; TAG] {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(VERSION.as_bytes());
        context.update(b".");
        context.update(payload.as_bytes());
        let mut tag = [0; TAG];
        tag.copy_from_slice(&context.sign().as_ref()[..TAG]);
        tag
    }

    /// Payload and signature as text for a URL.
    pub fn sign(&self, payload: &[u8]) -> String {
        let payload = URL_SAFE_NO_PAD.encode(payload);
        let tag = URL_SAFE_NO_PAD.encode(self.tag(&payload));
        format!("{VERSION}.{payload}.{tag}")
    }

    /// The payload, if the text is exactly what [`CursorKey::sign`] once gave out.
    pub fn open(&self, text: &str) -> Option<Vec<u8>> {
        if text.len() > LONGEST {
            return None;
        }
        let (payload, tag) = text.strip_prefix(VERSION)?.strip_prefix('.')?.split_once('.')?;
        // the decoder refuses padding and stray bits, so one payload has one text
        let tag = URL_SAFE_NO_PAD.decode(tag).ok()?;
        bool::from(tag.ct_eq(&self.tag(payload))).then(|| URL_SAFE_NO_PAD.decode(payload).ok())?
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn opens_what_it_signed_and_nothing_else(payload: Vec<u8>, place: prop::sample::Index, letter in "[A-Za-z0-9._=-]") {
            let key = CursorKey::new(&[7; 32]);
            let text = key.sign(&payload);
            prop_assert_eq!(key.open(&text), Some(payload));
            prop_assert_eq!(CursorKey::new(&[8; 32]).open(&text), None);
            let at = place.index(text.len());
            let changed = format!("{}{letter}{}", &text[..at], &text[at + 1..]);
            if changed != text {
                prop_assert_eq!(key.open(&changed), None);
            }
        }

        #[test]
        fn never_panics(text: String) {
            prop_assert_eq!(CursorKey::new(&[7; 32]).open(&text), None);
        }
    }

    #[test]
    fn knows_only_one_spelling() {
        let key = CursorKey::new(&[7; 32]);
        let text = key.sign(b"a");
        for other in [format!("{text}="), format!(" {text}"), text.to_uppercase(), text.replace("b1", "b2")] {
            assert_eq!(key.open(&other), None, "{other}");
        }
        // the last letter of a tag of 16 bytes has four bits that mean nothing
        let (rest, last) = text.split_at(text.len() - 1);
        let next = char::from(last.as_bytes()[0] + 1);
        assert_eq!(key.open(&format!("{rest}{next}")), None);
        for short in ["", "b1", "b1.", "b1..", "b1.YQ", "b1.YQ."] {
            assert_eq!(key.open(short), None, "{short}");
        }
    }
}
