//! Secrets at rest: sealed by a master key that lies outside the store, if there is one.

use std::{fmt, path::Path};

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

use super::random;

/// Marks what was stored without a master key.
const PLAIN: &str = "plain:";
/// Marks AES-256-GCM: base64url of nonce, ciphertext and tag.
const SEALED: &str = "aes256gcm:";

/// Why a secret cannot be sealed or opened.
#[derive(Debug)]
pub enum SealError {
    /// It is sealed, and no master key was given.
    KeyMissing,
    /// It was sealed by another master key, for another purpose, or was changed.
    KeyWrong,
    /// It is not something that was sealed here.
    Damaged,
    /// No randomness.
    NoRandomness,
    /// The file of the master key cannot be used; says why.
    KeyFile(String),
}

impl fmt::Display for SealError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KeyMissing => f.write_str("the store's secrets are sealed: give --master-key-file"),
            Self::KeyWrong => f.write_str("the master key does not open the store's secrets"),
            Self::Damaged => f.write_str("a stored secret is damaged"),
            Self::NoRandomness => f.write_str("the operating system gave no random bytes"),
            Self::KeyFile(why) => write!(f, "the master key file cannot be used: {why}"),
        }
    }
}

impl std::error::Error for SealError {}

/// Seals and opens secrets.
pub struct Sealer(Option<LessSafeKey>);

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Sealer(key hidden)" } else { "Sealer(plain)" })
    }
}

impl Sealer {
    /// Without a master key: whoever can read the store can read its secrets.
    pub fn plain() -> Self {
        Self(None)
    }

    /// With this master key.
    pub fn new(key: &[u8; 32]) -> Self {
        // fails for another length only
        Self(UnboundKey::new(&AES_256_GCM, key).ok().map(LessSafeKey::new))
    }

    /// With the master key in a file: 32 bytes as 64 hex digits or as base64, white space around allowed.
    ///
    /// # Errors
    /// [`SealError::KeyFile`] when it cannot be read, others may read it, or it is no such key.
    pub fn from_file(path: &Path) -> Result<Self, SealError> {
        let wrong = |why: String| SealError::KeyFile(format!("{}: {why}", path.display()));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = std::fs::metadata(path).map_err(|why| wrong(why.to_string()))?.permissions().mode();
            if mode & 0o077 != 0 {
                return Err(wrong(format!("others may use it (mode {:o}): chmod 600", mode & 0o777)));
            }
        }
        let text = std::fs::read_to_string(path).map_err(|why| wrong(why.to_string()))?;
        let key = read_key(text.trim()).ok_or_else(|| wrong("not 32 bytes in hex or base64".to_owned()))?;
        Ok(Self::new(&key))
    }

    /// Whether `stored` was stored without a master key and should be sealed now that there is one.
    pub fn should_seal(&self, stored: &str) -> bool {
        self.0.is_some() && stored.starts_with(PLAIN)
    }

    /// The text to store for a secret. It opens for the same `purpose` only, so that one sealed secret
    /// cannot be put in the place of another.
    ///
    /// # Errors
    /// [`SealError::NoRandomness`].
    pub fn seal(&self, purpose: &str, secret: &[u8]) -> Result<String, SealError> {
        let Some(key) = &self.0 else {
            return Ok(format!("{PLAIN}{}", URL_SAFE_NO_PAD.encode(secret)));
        };
        // a random nonce is safe for 2^32 secrets a key; a store has dozens
        let nonce: [u8; NONCE_LEN] = random().map_err(|_| SealError::NoRandomness)?;
        let mut sealed = secret.to_vec();
        key.seal_in_place_append_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(purpose.as_bytes()),
            &mut sealed,
        )
        .map_err(|_| SealError::Damaged)?;
        sealed.splice(0..0, nonce);
        Ok(format!("{SEALED}{}", URL_SAFE_NO_PAD.encode(sealed)))
    }

    /// The secret that was stored.
    ///
    /// # Errors
    /// All but [`SealError::NoRandomness`] and [`SealError::KeyFile`].
    pub fn open(&self, purpose: &str, stored: &str) -> Result<Vec<u8>, SealError> {
        if let Some(plain) = stored.strip_prefix(PLAIN) {
            return URL_SAFE_NO_PAD.decode(plain).map_err(|_| SealError::Damaged);
        }
        let sealed = stored.strip_prefix(SEALED).ok_or(SealError::Damaged)?;
        let key = self.0.as_ref().ok_or(SealError::KeyMissing)?;
        let mut sealed = URL_SAFE_NO_PAD.decode(sealed).map_err(|_| SealError::Damaged)?;
        let (nonce, rest) = sealed.split_at_mut_checked(NONCE_LEN).ok_or(SealError::Damaged)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SealError::Damaged)?;
        let opened = key.open_in_place(nonce, Aad::from(purpose.as_bytes()), rest);
        opened.map(|secret| secret.to_vec()).map_err(|_| SealError::KeyWrong)
    }
}

fn read_key(text: &str) -> Option<[u8; 32]> {
    let mut key = [0; 32];
    if text.len() == 64 && text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        for (byte, place) in key.iter_mut().zip((0..64).step_by(2)) {
            *byte = u8::from_str_radix(&text[place..place + 2], 16).ok()?;
        }
        return Some(key);
    }
    let bytes = STANDARD.decode(text).or_else(|_| URL_SAFE_NO_PAD.decode(text)).ok()?;
    key = bytes.try_into().ok()?;
    Some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_what_it_sealed_for_the_same_purpose_only() {
        let sealer = Sealer::new(&[1; 32]);
        let stored = sealer.seal("signing key", b"secret").unwrap();
        assert!(!stored.contains("secret"));
        assert_ne!(stored, sealer.seal("signing key", b"secret").unwrap());
        assert_eq!(sealer.open("signing key", &stored).unwrap(), b"secret");
        assert!(matches!(sealer.open("cursor key", &stored), Err(SealError::KeyWrong)));
        assert!(matches!(Sealer::new(&[2; 32]).open("signing key", &stored), Err(SealError::KeyWrong)));
        assert!(matches!(Sealer::plain().open("signing key", &stored), Err(SealError::KeyMissing)));
        for damaged in ["", "secret", "aes256gcm:", "aes256gcm:AAAA", "aes256gcm:!"] {
            assert!(matches!(sealer.open("signing key", damaged), Err(SealError::Damaged)), "{damaged}");
        }
        let cut = &stored[..stored.len() - 4];
        assert!(sealer.open("signing key", cut).is_err());
    }

    #[test]
    fn says_when_nothing_is_sealed() {
        let stored = Sealer::plain().seal("x", b"secret").unwrap();
        assert!(stored.starts_with(PLAIN));
        assert_eq!(Sealer::plain().open("x", &stored).unwrap(), b"secret");
        assert_eq!(Sealer::new(&[1; 32]).open("x", &stored).unwrap(), b"secret");
    }

    #[test]
    fn reads_its_key_from_a_file_that_nobody_else_can_read() {
        use std::os::unix::fs::PermissionsExt;
        let path = std::env::temp_dir().join(format!("{}", bursar_shared::id::SessionId::new()));
        let read = |text: &str, mode: u32| {
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            Sealer::from_file(&path).map(|sealer| sealer.0.is_some())
        };
        let (hex, base64) = ("0f".repeat(32), STANDARD.encode([15; 32]));
        assert!(read(&format!("{hex}\n"), 0o600).unwrap());
        assert!(read(&base64, 0o400).unwrap());
        assert!(read(&hex, 0o640).unwrap_err().to_string().contains("chmod 600"));
        for wrong in ["", "short", &hex[2..], "äöü"] {
            let refused = read(wrong, 0o600).unwrap_err().to_string();
            assert!(refused.contains("32 bytes"), "{refused}");
        }
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(Sealer::from_file(&path), Err(SealError::KeyFile(_))));
    }
}
