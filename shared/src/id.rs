//! Identifiers: TypeID text, a prefix that names the resource and 26 base32 characters of a UUIDv7.
//!
//! Source: the TypeID specification 0.3 (`<prefix>_<crockford base32 of 128 bits>`). Ids sort by the
//! time they were made, and the wrong kind of id is refused where it is read.

use std::{fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use crate::decode::{Decode, Decoder};

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const SUFFIX: usize = 26;

/// Why a text is not the id it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdError {
    expected: &'static str,
}

impl fmt::Display for IdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "must be an id like {0}_01j9zq3v5tf8c8m1k2n3p4q5r6", self.expected)
    }
}

impl std::error::Error for IdError {}

fn encode(prefix: &str, bits: u128) -> String {
    let mut text = String::with_capacity(prefix.len() + 1 + SUFFIX);
    text.push_str(prefix);
    text.push('_');
    for place in (0..SUFFIX).rev() {
        let digit = (bits >> (5 * place)) as usize & 31;
        text.push(char::from(ALPHABET[digit]));
    }
    text
}

fn decode(prefix: &str, text: &str) -> Option<u128> {
    let digits = text.strip_prefix(prefix)?.strip_prefix('_')?.as_bytes();
    // 26 digits hold 130 bits, so the first may not be above 7
    if digits.len() != SUFFIX || digits[0] > b'7' {
        return None;
    }
    digits.iter().try_fold(0u128, |bits, digit| {
        let value = ALPHABET.iter().position(|known| known == digit)?;
        Some(bits << 5 | value as u128)
    })
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident $prefix:literal;)+) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u128);

        impl $name {
            /// The text before the underscore.
            pub const PREFIX: &'static str = $prefix;

            /// A new id; later ones sort after earlier ones of the same process.
            pub fn new() -> Self {
                Self(uuid::Uuid::now_v7().as_u128())
            }

            /// The id made of these 128 bits; for generators that need the same ids again.
            pub const fn from_bits(bits: u128) -> Self {
                Self(bits)
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self::new()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&encode($prefix, self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&encode($prefix, self.0))
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                decode($prefix, text).map(Self).ok_or(IdError { expected: $prefix })
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_str(&encode($prefix, self.0))
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<str>::deserialize(from)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }

        impl Decode for $name {
            fn decode(value: &Value, at: &mut Decoder<'_>) -> Option<Self> {
                let text = at.text(value)?;
                text.parse().map_err(|wrong: IdError| at.fail("id_type", wrong.to_string())).ok()
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({
                    "type": "string",
                    "pattern": concat!("^", $prefix, "_[0-7][0-9a-hjkmnp-tv-z]{25}$"),
                    "examples": [concat!($prefix, "_01j9zq3v5tf8c8m1k2n3p4q5r6")],
                })
            }
        }
    )+};
}

ids! {
    /// A person or a service that can be signed in.
    UserId "usr";
    /// A named set of permissions.
    RoleId "rol";
    /// One sign-in and the refresh tokens that followed from it.
    SessionId "ses";
    /// One row of the log.
    EventId "evt";
    /// An account: money of one currency.
    AccountId "acc";
    /// A movement of money between two accounts.
    TransferId "trf";
}

/// A fresh request id (`req_...`); clients may send their own. It is no secret, so its random part does
/// not ask the operating system, which every request would wait for.
pub fn request_id() -> String {
    let mut random = [0; 10];
    fastrand::fill(&mut random);
    let now = jiff::Timestamp::now().as_millisecond();
    let id = uuid::Builder::from_unix_timestamp_millis(u64::try_from(now).unwrap_or(0), &random);
    encode("req", id.into_uuid().as_u128())
}

/// A fresh idempotency key, also good as a refresh key: 128 random bits as text.
pub fn idempotency_key() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

/// Whether a client's request id is taken over: 8 to 64 letters, digits, `_` and `-`.
pub fn is_request_id(text: &str) -> bool {
    (8..=64).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes_and_refuses_the_wrong_kind() {
        for bits in [0, 1, u128::MAX, 0x0192_3456_789a_7bcd_8000_1234_5678_9abc] {
            let id = UserId(bits);
            assert_eq!(id.to_string().parse(), Ok(id));
        }
        let user = UserId::new().to_string();
        assert!(user.parse::<SessionId>().is_err());
        assert!(user.to_uppercase().parse::<UserId>().is_err());
        assert!("usr_80000000000000000000000000".parse::<UserId>().is_err());
    }

    #[test]
    fn matches_the_example_of_the_specification() {
        // TypeID 0.3, valid.yml: "uuidv7"
        let id: UserId = "usr_01h455vb4pex5vsknk084sn02q".parse().unwrap();
        assert_eq!(uuid::Uuid::from_u128(id.0).to_string(), "01890a5d-ac96-774b-bcce-b302099a8057");
    }

    #[test]
    fn later_ids_sort_later() {
        let ids: Vec<String> = (0..100).map(|_| UserId::new().to_string()).collect();
        assert!(ids.is_sorted());
    }
}
