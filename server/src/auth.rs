//! Who somebody is: passwords, tokens, one-time secrets, cursors and secrets at rest.
//!
//! Nothing in here reads the database, the network or the machine's clock; time is an argument.

mod cursor;
mod hasher;
mod provider;
mod seal;
mod secrets;
mod strength;
mod tokens;

use ring::rand::{SecureRandom, SystemRandom};

pub use self::{
    cursor::CursorKey,
    hasher::{HashError, Hasher},
    seal::{SealError, Sealer},
    secrets::{OneTime, digest},
    tokens::{Checked, KeyError, KeyRing, SigningKey, TokenError, TokenSettings, Who, signer},
};

/// The machine gave no random bytes; nothing secret can be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoRandomness;

impl std::fmt::Display for NoRandomness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the operating system gave no random bytes")
    }
}

impl std::error::Error for NoRandomness {}

/// Random bytes from the operating system.
///
/// # Errors
/// When the operating system has none to give.
pub fn random<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| NoRandomness)?;
    Ok(bytes)
}
