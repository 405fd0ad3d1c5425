//! Money: a currency of ISO 4217, whole minor units, and the decimals that people write.
//!
//! On the wire money is always a whole number of minor units beside its currency. Decimals are for
//! people: clients read and write them here, by the currency's exponent, and never through a float.

use std::{collections::BTreeMap, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use crate::{
    decode::{Decode, Decoder},
    field::Fault,
};

/// The greatest amount: beyond it JSON numbers lose digits in many programs.
pub const MAX_MINOR: i64 = 9_007_199_254_740_991;

/// A currency of ISO 4217 that has minor units, perhaps none of them: not gold, not "no currency".
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency {
    code: [u8; 3],
    exponent: u8,
}

impl Currency {
    /// Three capital letters.
    pub fn code(&self) -> &str {
        // made of ASCII letters only
        std::str::from_utf8(&self.code).unwrap_or_default()
    }

    /// How many digits stand behind the decimal point: EUR 2, JPY 0, KWD 3.
    pub const fn exponent(&self) -> u32 {
        self.exponent as u32
    }

    /// Minor units as people write them: `1234` in EUR is `12.34`.
    pub fn decimal(&self, minor: i64) -> String {
        let places = self.exponent();
        if places == 0 {
            return minor.to_string();
        }
        let unit = 10u64.pow(places);
        let (whole, part) = (minor.unsigned_abs() / unit, minor.unsigned_abs() % unit);
        let sign = if minor < 0 { "-" } else { "" };
        format!("{sign}{whole}.{part:0width$}", width = self.exponent.into())
    }

    /// Reads what people write: digits, perhaps a point and at most as many digits as the currency has.
    ///
    /// # Errors
    /// What is wrong with the text, for people.
    pub fn minor(&self, text: &str) -> Result<i64, String> {
        let places = self.exponent();
        let wrong = || match places {
            0 => format!("must be a whole amount of {self} like 1200: it has no smaller unit"),
            _ => {
                format!("must be an amount of {self} like {}", self.decimal(1_234 * 10i64.pow(places) / 100))
            }
        };
        let (negative, digits) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
        let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let pointless = digits.ends_with('.');
        if whole.is_empty() || !all_digits(whole) || !all_digits(part) || pointless {
            return Err(wrong());
        }
        if part.len() > places as usize {
            return Err(match places {
                0 => wrong(),
                _ => format!("has more digits behind the point than the {places} that {self} has"),
            });
        }
        let padded = format!("{whole}{part:0<width$}", width = self.exponent.into());
        let minor: i64 = padded.parse().ok().filter(|minor| *minor <= MAX_MINOR).ok_or_else(|| {
            format!("is more than {} {self}, the greatest amount there is", self.decimal(MAX_MINOR))
        })?;
        Ok(if negative { -minor } else { minor })
    }
}

impl FromStr for Currency {
    type Err = Fault;
    fn from_str(text: &str) -> Result<Self, Fault> {
        let wrong = || Fault { rule: "enum", message: "must be a currency of ISO 4217 like EUR".to_owned() };
        let code: [u8; 3] = text.as_bytes().try_into().map_err(|_| wrong())?;
        if !code.iter().all(u8::is_ascii_uppercase) {
            return Err(wrong());
        }
        let known = iso_currency::Currency::from_code(text).ok_or_else(wrong)?;
        let exponent = known.exponent().and_then(|places| u8::try_from(places).ok()).ok_or_else(wrong)?;
        Ok(Self { code, exponent })
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.code())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl Serialize for Currency {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.code())
    }
}

impl<'de> Deserialize<'de> for Currency {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(from)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl Decode for Currency {
    fn decode(value: &Value, at: &mut Decoder<'_>) -> Option<Self> {
        let text = at.text(value)?;
        text.parse().map_err(|wrong: Fault| at.fail(wrong.rule, wrong.message)).ok()
    }
}

impl JsonSchema for Currency {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Currency".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[A-Z]{3}$", "examples": ["EUR"] })
    }
}

/// The exponents of the currencies in an answer, for `meta.currencies`.
pub type Currencies = BTreeMap<String, u32>;

/// The exponents of these currencies.
pub fn exponents(of: impl IntoIterator<Item = Currency>) -> Currencies {
    of.into_iter().map(|currency| (currency.code().to_owned(), currency.exponent())).collect()
}

fn minor(value: &Value, at: &mut Decoder<'_>, least: i64) -> Option<i64> {
    let read = match value {
        Value::Number(number) => number.as_i64().filter(|_| !number.is_f64()),
        _ => None,
    };
    match read {
        Some(minor) if (least..=MAX_MINOR).contains(&minor) => Some(minor),
        Some(_) => {
            at.fail("range", format!("must be between {least} and {MAX_MINOR}"));
            None
        }
        None if value.is_number() || value.is_string() => {
            at.fail("minor_units", "must be a whole number of minor units, like 1234 for 12.34 EUR");
            None
        }
        None => {
            at.fail("type", "must be a whole number of minor units");
            None
        }
    }
}

macro_rules! amounts {
    ($($(#[$doc:meta])* $name:ident from $least:literal;)+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(i64);

        impl $name {
            /// Minor units.
            pub const fn minor(self) -> i64 {
                self.0
            }

            /// So many minor units, if that is an amount.
            pub fn new(minor: i64) -> Option<Self> {
                ($least..=MAX_MINOR).contains(&minor).then_some(Self(minor))
            }
        }

        impl Decode for $name {
            fn decode(value: &Value, at: &mut Decoder<'_>) -> Option<Self> {
                minor(value, at, $least).map(Self)
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "integer", "minimum": $least, "maximum": MAX_MINOR })
            }
        }
    )+};
}

amounts! {
    /// An amount that moves: at least one minor unit.
    Amount from 1;
    /// A limit: perhaps nothing.
    Limit from 0;
}

impl Amount {
    /// The least there is: one minor unit.
    pub const ONE: Self = Self(1);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn currency(code: &str) -> Currency {
        code.parse().unwrap()
    }

    #[test]
    fn knows_the_exponents_of_iso_4217() {
        let of = |code: &str| currency(code).exponent();
        assert_eq!((of("EUR"), of("JPY"), of("KWD"), of("CLF")), (2, 0, 3, 4));
        for wrong in ["", "eur", "EURO", "XXX", "XAU", "ZZZ", "E R"] {
            assert!(wrong.parse::<Currency>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn writes_and_reads_decimals_by_the_exponent() {
        assert_eq!(currency("EUR").decimal(-5), "-0.05");
        assert_eq!(currency("EUR").decimal(123_456), "1234.56");
        assert_eq!(currency("JPY").decimal(1_200), "1200");
        assert_eq!(currency("KWD").decimal(1), "0.001");
        assert_eq!(currency("EUR").minor("12.3"), Ok(1_230));
        assert_eq!(currency("EUR").minor("12"), Ok(1_200));
        assert_eq!(currency("EUR").minor("0.01"), Ok(1));
        assert_eq!(currency("EUR").minor("90071992547409.91"), Ok(MAX_MINOR));
        for wrong in ["", ".", "1.", ".5", "1.234", "1,5", "1e3", "+1", "--1", " 1", "90071992547409.92"] {
            assert!(currency("EUR").minor(wrong).is_err(), "{wrong}");
        }
        assert!(currency("JPY").minor("1.0").is_err());
    }

    #[test]
    fn amounts_are_whole_and_bounded() {
        let read = |value: Value| {
            let mut violations = Vec::new();
            let read = Amount::decode(&value, &mut Decoder::new(&mut violations, false));
            read.map(Amount::minor).ok_or_else(|| violations[0].rule.clone())
        };
        assert_eq!(read(1.into()), Ok(1));
        assert_eq!(read(MAX_MINOR.into()), Ok(MAX_MINOR));
        assert_eq!(read(0.into()), Err("range".to_owned()));
        assert_eq!(read((MAX_MINOR + 1).into()), Err("range".to_owned()));
        assert_eq!(read("12.34".into()), Err("minor_units".to_owned()));
        assert_eq!(read(12.34.into()), Err("minor_units".to_owned()));
        assert_eq!(read(1e3.into()), Err("minor_units".to_owned()));
        assert_eq!(read(Value::Null), Err("type".to_owned()));
    }

    proptest! {
        #[test]
        fn reads_what_it_writes(minor in -MAX_MINOR..=MAX_MINOR, code in prop::sample::select(vec!["EUR", "JPY", "KWD", "CLF"])) {
            let currency = currency(code);
            prop_assert_eq!(currency.minor(&currency.decimal(minor)), Ok(minor));
        }

        #[test]
        fn nothing_a_person_types_breaks_it(text in ".{0,40}") {
            let _ = currency("EUR").minor(&text);
        }
    }
}
