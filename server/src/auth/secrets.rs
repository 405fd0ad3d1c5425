//! Secrets that are shown once and stored as a hash: reset tokens and API keys.
//!
//! They are 256 random bits, so a plain SHA-256 is enough: there is nothing to guess.

use std::fmt;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::digest::{SHA256, digest as hash};
use subtle::ConstantTimeEq;

use super::{NoRandomness, random};

/// A fresh secret: the text for its owner and the hash for the store.
pub struct OneTime {
    /// Shown once, never stored: 43 letters of base64url.
    pub text: String,
    /// What the store keeps: see [`digest`].
    pub digest: String,
}

impl fmt::Debug for OneTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OneTime").field("digest", &self.digest).finish_non_exhaustive()
    }
}

impl OneTime {
    /// Makes one.
    ///
    /// # Errors
    /// Without randomness.
    pub fn new() -> Result<Self, NoRandomness> {
        let text = URL_SAFE_NO_PAD.encode(random::<32>()?);
        Ok(Self { digest: digest(&text), text })
    }
}

/// What is stored of a secret: SHA-256 in base64url.
pub fn digest(secret: &str) -> String {
    URL_SAFE_NO_PAD.encode(hash(&SHA256, secret.as_bytes()))
}

/// Whether a secret is the one whose digest is stored; takes the same time wherever they differ.
pub fn matches(secret: &str, stored: &str) -> bool {
    digest(secret).as_bytes().ct_eq(stored.as_bytes()).into()
}

const API_KEY: &str = "brs_";
const PUBLIC: usize = 12;
const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// An API key: `brs_<public>_<secret>`. The public part finds the row, the secret proves it.
pub struct ApiKeySecret {
    /// 12 letters, stored and shown in lists.
    pub public: String,
    /// 43 letters, about 256 bits, never stored.
    pub secret: String,
}

impl fmt::Debug for ApiKeySecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKeySecret").field("public", &self.public).finish_non_exhaustive()
    }
}

impl fmt::Display for ApiKeySecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{API_KEY}{}_{}", self.public, self.secret)
    }
}

impl ApiKeySecret {
    /// Makes one.
    ///
    /// # Errors
    /// Without randomness.
    pub fn new() -> Result<Self, NoRandomness> {
        Ok(Self { public: letters(PUBLIC)?, secret: letters(43)? })
    }

    /// Takes one apart; nothing when the text is no API key.
    pub fn parse(text: &str) -> Option<Self> {
        let (public, secret) = text.strip_prefix(API_KEY)?.split_once('_')?;
        let fits = |part: &str, length| {
            part.len() == length && part.bytes().all(|letter| letter.is_ascii_alphanumeric())
        };
        (fits(public, PUBLIC) && fits(secret, 43))
            .then(|| Self { public: public.to_owned(), secret: secret.to_owned() })
    }
}

/// So many random letters, each of the 62 as likely as the others.
fn letters(count: usize) -> Result<String, NoRandomness> {
    let mut text = String::with_capacity(count);
    while text.len() < count {
        for byte in random::<32>()? {
            // 248 is 4 * 62: bytes above would make the first letters more likely
            if byte < 248 && text.len() < count {
                text.push(char::from(BASE62[usize::from(byte % 62)]));
            }
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_secret_itself_matches() {
        let one = OneTime::new().unwrap();
        assert_eq!(one.text.len(), 43);
        assert!(matches(&one.text, &one.digest));
        assert!(!matches(&OneTime::new().unwrap().text, &one.digest));
        assert!(!matches(&one.digest, &one.digest));
        assert!(!matches("", &one.digest));
        assert!(!matches(&one.text, ""));
        assert!(!format!("{one:?}").contains(&one.text));
        // echo -n abc | sha256sum
        assert_eq!(digest("abc"), "ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0");
    }

    #[test]
    fn reads_api_keys_and_nothing_like_them() {
        let key = ApiKeySecret::new().unwrap();
        let text = key.to_string();
        let read = ApiKeySecret::parse(&text).unwrap();
        assert_eq!((read.public, read.secret), (key.public, key.secret));
        for wrong in [
            "",
            "brs_",
            "brs_a_b",
            &text[1..],
            &text[..text.len() - 1],
            &format!("{text}_"),
            &text.replacen('_', "-", 2),
        ] {
            assert!(ApiKeySecret::parse(wrong).is_none(), "{wrong}");
        }
    }
}
