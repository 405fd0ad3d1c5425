//! Values that exist are valid: each type reads itself and refuses what it must not hold.

use std::{collections::BTreeMap, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::decode::{Decode, Decoder};

/// Why a text is not a valid value: the rule broken and words for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// A stable word such as `length`.
    pub rule: &'static str,
    /// What it must be.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Fault {}

fn fault<T>(rule: &'static str, message: impl Into<String>) -> Result<T, Fault> {
    Err(Fault { rule, message: message.into() })
}

fn length(text: &str, min: usize, max: usize) -> Result<(), Fault> {
    if (min..=max).contains(&text.chars().count()) {
        return Ok(());
    }
    fault("length", format!("must have {min} to {max} characters"))
}

fn no_controls(text: &str, allowed: &[char]) -> Result<(), Fault> {
    if text.chars().any(|letter| letter.is_control() && !allowed.contains(&letter)) {
        return fault("pattern", "must not contain control characters");
    }
    Ok(())
}

macro_rules! texts {
    ($($(#[$doc:meta])* $name:ident($text:ident) $check:block schema $schema:tt)+) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        pub struct $name(String);

        impl $name {
            /// The text itself.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The text itself, taken out.
            pub fn into_string(self) -> String {
                self.0
            }
        }

        impl FromStr for $name {
            type Err = Fault;
            fn from_str($text: &str) -> Result<Self, Fault> $check
        }

        impl Decode for $name {
            fn decode(value: &Value, at: &mut Decoder<'_>) -> Option<Self> {
                let text = at.text(value)?;
                text.parse().map_err(|wrong: Fault| at.fail(wrong.rule, wrong.message)).ok()
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    )+};
}

macro_rules! shown {
    ($($name:ident)+) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                // what the daemon sends was valid when it was stored
                String::deserialize(from).map(Self)
            }
        }
    )+};
}

macro_rules! hidden {
    ($($name:ident)+) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(hidden)"))
            }
        }
    )+};
}

texts! {
    /// An email address, lower-cased; ASCII, RFC 5321 lengths, no quoted local part.
    Email(text) {
        let wrong = || fault("format", "must be an email address like ada@example.com");
        if !text.is_ascii() || text.len() > 254 {
            return wrong();
        }
        let Some((local, domain)) = text.rsplit_once('@') else { return wrong() };
        let atom = |part: &str| {
            !part.is_empty()
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&b))
        };
        let label = |part: &str| {
            (1..=63).contains(&part.len())
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
                && !part.starts_with('-')
                && !part.ends_with('-')
        };
        if local.len() > 64 || !local.split('.').all(atom) {
            return wrong();
        }
        if domain != "localhost" && (!domain.contains('.') || !domain.split('.').all(label)) {
            return wrong();
        }
        Ok(Self(text.to_ascii_lowercase()))
    } schema { "type": "string", "format": "email", "maxLength": 254 }

    /// A person's or thing's name: one line of 1 to 200 characters, not only spaces.
    Name(text) {
        length(text, 1, 200)?;
        no_controls(text, &[])?;
        if text.trim().is_empty() {
            return fault("pattern", "must not be blank");
        }
        Ok(Self(text.to_owned()))
    } schema { "type": "string", "minLength": 1, "maxLength": 200 }

    /// Why something was done: one line of 1 to 200 characters.
    Reason(text) {
        length(text, 1, 200)?;
        no_controls(text, &[])?;
        Ok(Self(text.to_owned()))
    } schema { "type": "string", "minLength": 1, "maxLength": 200 }

    /// A note of several lines: 0 to 2000 characters, newlines and tabs allowed.
    Note(text) {
        length(text, 0, 2_000)?;
        no_controls(text, &['\n', '\t'])?;
        Ok(Self(text.to_owned()))
    } schema { "type": "string", "maxLength": 2000 }

    /// The caller's own id of a record: 1 to 128 visible ASCII characters, unique per resource.
    ExternalId(text) {
        length(text, 1, 128)?;
        if !text.bytes().all(|b| b.is_ascii_graphic()) {
            return fault("pattern", "must be visible ASCII without spaces");
        }
        Ok(Self(text.to_owned()))
    } schema { "type": "string", "minLength": 1, "maxLength": 128, "pattern": "^[!-~]+$" }

    /// A new password: 12 to 128 characters. How guessable it is, the daemon judges.
    Password(text) {
        length(text, 12, 128)?;
        no_controls(text, &[])?;
        Ok(Self(text.to_owned()))
    } schema { "type": "string", "minLength": 12, "maxLength": 128, "format": "password" }

    /// Any password or token that is offered for checking: 1 to 4096 characters.
    Secret(text) {
        length(text, 1, 4096)?;
        no_controls(text, &[])?;
        Ok(Self(text.to_owned()))
    } schema { "type": "string", "minLength": 1, "maxLength": 4096, "format": "password" }

    /// A ready password hash, argon2id in PHC form or bcrypt; its cost is bounded.
    PasswordHash(text) {
        length(text, 50, 200)?;
        let argon2 = text.starts_with("$argon2id$v=19$") && argon2_cost_is_bounded(text);
        let bcrypt = text.len() == 60
            && ["$2a$", "$2b$", "$2y$"].iter().any(|start| text.starts_with(start))
            && text.get(4..6).and_then(|cost| cost.parse().ok()).is_some_and(|cost: u8| (4..=14).contains(&cost));
        if !(argon2 || bcrypt) || !text.bytes().all(|b| b.is_ascii_graphic()) {
            return fault(
                "format",
                "must be an argon2id hash (m <= 65536, t <= 8, p <= 4) or a bcrypt hash (cost <= 14)",
            );
        }
        Ok(Self(text.to_owned()))
    } schema { "type": "string", "minLength": 50, "maxLength": 200, "pattern": "^\\$(argon2id|2[aby])\\$" }

    /// The name of a role: `[a-z][a-z0-9_-]{0,39}`.
    RoleName(text) {
        let first = text.bytes().next().is_some_and(|b| b.is_ascii_lowercase());
        let rest = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-');
        if !first || !rest || text.len() > 40 {
            return fault("pattern", "must be a role name like support: small letters, digits, - and _");
        }
        Ok(Self(text.to_owned()))
    } schema { "type": "string", "pattern": "^[a-z][a-z0-9_-]{0,39}$" }
}

shown! { Email Name Reason Note ExternalId RoleName }
hidden! { Password Secret PasswordHash }

/// A hash that somebody else made decides how much work a sign-in costs us, so its cost is capped.
fn argon2_cost_is_bounded(text: &str) -> bool {
    let Some(parameters) = text.split('$').nth(3) else { return false };
    let mut names: Vec<&str> = Vec::new();
    let within = parameters.split(',').all(|pair| {
        names.push(pair.split('=').next().unwrap_or(""));
        match pair.split_once('=').map(|(name, value)| (name, value.parse::<u32>())) {
            Some(("m", Ok(m))) => (8..=65_536).contains(&m),
            Some(("t", Ok(t))) => (1..=8).contains(&t),
            Some(("p", Ok(p))) => (1..=4).contains(&p),
            _ => false,
        }
    });
    names.sort_unstable();
    within && names == ["m", "p", "t"] && text.split('$').count() == 6
}

/// Facts that callers keep with a record: at most 50 keys of 1 to 40 characters, values up to 500.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Metadata(pub BTreeMap<String, String>);

impl Decode for Metadata {
    fn decode(value: &Value, at: &mut Decoder<'_>) -> Option<Self> {
        let map = BTreeMap::<String, String>::decode(value, at)?;
        metadata_is_bounded(map.iter().map(|(key, value)| (key.as_str(), Some(value.as_str()))), at)?;
        Some(Self(map))
    }
    fn is_absent(&self) -> bool {
        self.0.is_empty()
    }
    fn absent(_: &mut Decoder<'_>) -> Option<Self> {
        Some(Self::default())
    }
}

/// A merge patch of metadata: null takes a key out.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct MetadataPatch(pub BTreeMap<String, Option<String>>);

impl MetadataPatch {
    /// The metadata after the patch.
    pub fn apply(&self, to: &Metadata) -> Metadata {
        let mut map = to.0.clone();
        for (key, value) in &self.0 {
            match value {
                Some(value) => map.insert(key.clone(), value.clone()),
                None => map.remove(key),
            };
        }
        Metadata(map)
    }
}

impl Decode for MetadataPatch {
    fn decode(value: &Value, at: &mut Decoder<'_>) -> Option<Self> {
        let map = BTreeMap::<String, Option<String>>::decode(value, at)?;
        metadata_is_bounded(map.iter().map(|(key, value)| (key.as_str(), value.as_deref())), at)?;
        Some(Self(map))
    }
}

/// The most keys that metadata may hold.
pub const METADATA_KEYS: usize = 50;

fn metadata_is_bounded<'m>(
    map: impl ExactSizeIterator<Item = (&'m str, Option<&'m str>)>,
    at: &mut Decoder<'_>,
) -> Option<()> {
    if map.len() > METADATA_KEYS {
        at.fail("length", format!("must have at most {METADATA_KEYS} keys"));
        return None;
    }
    let mut fine = Some(());
    for (key, value) in map {
        at.inside(&crate::decode::printable(key), |at| {
            if !(1..=40).contains(&key.chars().count()) || key.chars().any(char::is_control) {
                at.fail("pattern", "must have a key of 1 to 40 characters without controls");
                fine = None;
            }
            if value.is_some_and(|value| value.chars().count() > 500) {
                at.fail("length", "must have at most 500 characters");
                fine = None;
            }
        });
    }
    fine
}

impl JsonSchema for Metadata {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Metadata".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object", "maxProperties": METADATA_KEYS,
            "additionalProperties": { "type": "string", "maxLength": 500 },
            crate::decode::OPTIONAL: true,
        })
    }
}

/// Declares an enum whose values are `lower_snake` on the wire.
macro_rules! words {
    ($($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident $text:literal),+ $(,)? })+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
        pub enum $name { $($(#[$vdoc])* #[serde(rename = $text)] $variant),+ }

        impl $name {
            /// All values, as the wire has them.
            pub const WORDS: &'static [&'static str] = &[$($text),+];

            /// The value as the wire has it.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = Fault;
            fn from_str(text: &str) -> Result<Self, Fault> {
                match text {
                    $($text => Ok(Self::$variant),)+
                    _ => fault("enum", format!("must be one of {}", Self::WORDS.join(", "))),
                }
            }
        }

        impl Decode for $name {
            fn decode(value: &Value, at: &mut Decoder<'_>) -> Option<Self> {
                let text = at.text(value)?;
                text.parse().map_err(|wrong: Fault| at.fail(wrong.rule, wrong.message)).ok()
            }
        }
    )+};
}

words! {
    /// Where a person stands.
    UserStatus {
        /// May sign in.
        Active "active",
        /// May not sign in until activated again.
        Suspended "suspended",
        /// Soft-deleted: kept for the books, listed only when asked for.
        Deleted "deleted",
    }
    /// Who is behind a user.
    UserKind {
        /// A person.
        Human "human",
        /// A program.
        Service "service",
    }
    /// Whether a bulk request happens as a whole or item by item.
    BulkMode {
        /// All items or none.
        Atomic "atomic",
        /// Each item by itself.
        Independent "independent",
    }
    /// Where an account stands.
    AccountStatus {
        /// Money comes and goes.
        Active "active",
        /// Money may come in, nothing goes out.
        Frozen "frozen",
        /// Empty, and nothing moves any more.
        Closed "closed",
    }
    /// What a system account stands for.
    SystemKey {
        /// Everything outside: money comes from it and goes to it.
        World "world",
        /// What was earned.
        Revenue "revenue",
    }
    /// What a transfer does.
    TransferKind {
        /// Moves money.
        Transfer "transfer",
        /// Keeps money back for the receiver.
        Hold "hold",
        /// Moves money that was held, and lets go of the rest.
        Capture "capture",
        /// Lets go of money that was held.
        Void "void",
        /// Lets go of money that was held too long.
        Expiry "expiry",
        /// Moves money back.
        Reversal "reversal",
    }
    /// Where a transfer stands.
    TransferStatus {
        /// Done.
        Posted "posted",
        /// A hold that waits for its end.
        Pending "pending",
        /// A hold that was captured.
        Captured "captured",
        /// A hold that was let go.
        Voided "voided",
        /// A hold that ran out.
        Expired "expired",
    }
    /// Whether money moves at once.
    TransferMode {
        /// It moves.
        Post "post",
        /// It is only kept back.
        Hold "hold",
    }
    /// On which side of an account an entry stands.
    Side {
        /// Money out.
        Debit "debit",
        /// Money in.
        Credit "credit",
    }
    /// Which end of a list to enter at.
    Position {
        /// The first page.
        Start "start",
        /// The last page.
        End "end",
    }
    /// How a total is counted.
    TotalMode {
        /// Up to 10,000, then `at_least`.
        Bounded "bounded",
        /// To the last row, under a time limit.
        Exact "exact",
        /// Not at all.
        None "none",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn emails_are_lower_cased_and_checked() {
        assert_eq!("Ada.L+x@Example.COM".parse::<Email>().unwrap().as_str(), "ada.l+x@example.com");
        for wrong in
            ["", "ada", "@x.io", "ada@", "a b@x.io", "a..b@x.io", "a@x", "a@-x.io", "ä@x.io", "a@x.io\n"]
        {
            assert!(wrong.parse::<Email>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn names_refuse_controls_and_blanks_and_keep_bidi_as_sent() {
        assert!("a\u{0}b".parse::<Name>().is_err());
        assert!("   ".parse::<Name>().is_err());
        assert!("\u{202e}abc".parse::<Name>().is_ok());
        assert!("x".repeat(201).parse::<Name>().is_err());
    }

    #[test]
    fn secrets_do_not_show_themselves() {
        let password: Password = "correct horse battery".parse().unwrap();
        assert_eq!(format!("{password:?}"), "Password(hidden)");
    }

    #[test]
    fn foreign_hashes_may_not_cost_too_much() {
        let tail = "c29tZXNhbHQ$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaGhhc2g";
        let hash = |parameters: &str| format!("$argon2id$v=19${parameters}${tail}").parse::<PasswordHash>();
        assert!(hash("m=19456,t=2,p=1").is_ok());
        assert!(hash("m=99999999,t=2,p=1").is_err());
        assert!(hash("m=19456,t=2").is_err());
        assert!(
            "$2b$12$EXRkfkdmXn2gzds2SSitu.MW9.gAVqa9eLS1//RYtYCmB1eLHg.9q".parse::<PasswordHash>().is_ok()
        );
        assert!(
            "$2b$31$EXRkfkdmXn2gzds2SSitu.MW9.gAVqa9eLS1//RYtYCmB1eLHg.9q".parse::<PasswordHash>().is_err()
        );
    }
}
