//! Secrets that are shown once and stored as a hash: reset tokens.
//!
//! They are 256 random bits, so a plain SHA-256 is enough: there is nothing to guess.

use std::fmt;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::digest::{SHA256, digest as hash};

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

/// What is stored of a secret, and looked up when it comes back: SHA-256 in base64url. Looking it up
/// tells by its time at most something about digests, never about secrets.
pub fn digest(secret: &str) -> String {
    URL_SAFE_NO_PAD.encode(hash(&SHA256, secret.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_found_by_its_digest_and_not_shown() {
        let one = OneTime::new().unwrap();
        assert_eq!(one.text.len(), 43);
        assert_eq!(digest(&one.text), one.digest);
        assert_ne!(OneTime::new().unwrap().text, one.text);
        assert!(!format!("{one:?}").contains(&one.text));
        // echo -n abc | sha256sum
        assert_eq!(digest("abc"), "ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0");
    }
}
