//! Points in time: microseconds since 1970 in UTC, on the wire RFC 3339 with six fractional digits.
//!
//! A value copied from an answer into a filter or cursor is exact, because the store keeps the same
//! microseconds that the text shows.

use std::{fmt, ops, str::FromStr, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use crate::decode::{Decode, Decoder};

const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;
/// The years 0 and 9999 end here: RFC 3339 has four digits.
const FIRST: i64 = -719_528 * DAY;
const LAST: i64 = 2_932_897 * DAY - 1;

/// Microseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The point this many microseconds after 1970.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds after 1970.
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// Whole seconds after 1970, as in a JWT's NumericDate.
    pub const fn seconds(self) -> i64 {
        self.0.div_euclid(SECOND)
    }

    /// The time passed since `earlier`; zero if that is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl ops::Add<Duration> for Timestamp {
    type Output = Self;
    fn add(self, wait: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(wait.as_micros()).unwrap_or(i64::MAX)))
    }
}

impl ops::Sub<Duration> for Timestamp {
    type Output = Self;
    fn sub(self, wait: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(wait.as_micros()).unwrap_or(i64::MAX)))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text(&mut [0; TEXT]))
    }
}

/// Bytes of a time as text.
const TEXT: usize = 27;

impl Timestamp {
    /// The text of this time, written digit by digit: five of them stand in every answer about a person.
    fn text(self, to: &mut [u8; TEXT]) -> &str {
        // what RFC 3339 cannot say is shown as the nearest that it can
        let micros = self.0.clamp(FIRST, LAST);
        let (days, of_day) = (micros.div_euclid(DAY), micros.rem_euclid(DAY));
        let (year, month, day) = civil(days);
        let (seconds, micros) = (of_day / SECOND, of_day % SECOND);
        let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        to.copy_from_slice(b"0000-00-00T00:00:00.000000Z");
        for (places, number) in [
            (0..4, year),
            (5..7, month),
            (8..10, day),
            (11..13, hour),
            (14..16, minute),
            (17..19, second),
            (20..26, micros),
        ] {
            let mut rest = number;
            for digit in to[places].iter_mut().rev() {
                *digit += (rest % 10) as u8;
                rest /= 10;
            }
        }
        // digits and the letters above: always text
        std::str::from_utf8(to).unwrap_or_default()
    }
}

/// Year, month and day of the n-th day after 1970 (H. Hinnant, "chrono-compatible date algorithms").
fn civil(days: i64) -> (i64, i64, i64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let of_era = z.rem_euclid(146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year + era * 400 + i64::from(month <= 2), month, day)
}

/// What a text that is no time is answered with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimeError;

impl fmt::Display for TimeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("must be a time like 2026-01-15T09:30:00Z")
    }
}

impl std::error::Error for TimeError {}

impl FromStr for Timestamp {
    type Err = TimeError;
    fn from_str(text: &str) -> Result<Self, TimeError> {
        let at: jiff::Timestamp = text.parse().map_err(|_| TimeError)?;
        // a nanosecond below the microsecond would be lost: refused, so that what is read is exact
        if at.subsec_nanosecond() % 1_000 != 0 {
            return Err(TimeError);
        }
        Ok(Self(at.as_microsecond()))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.text(&mut [0; TEXT]))
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(from)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Timestamp {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Timestamp".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string", "format": "date-time",
            "examples": ["2026-01-15T09:30:00.123456Z"],
        })
    }
}

/// A time in a filter: absolute, or counted back from now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeExpr {
    /// This very moment.
    At(Timestamp),
    /// So many seconds before now: `-7d`, `-24h`, `-30m`, `-45s`.
    Ago(u64),
    /// Midnight (UTC) of the current day: `today`.
    Today,
}

impl TimeExpr {
    /// The moment meant, for a reader whose clock says `now`.
    pub fn resolve(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(time) => time,
            Self::Ago(seconds) => now - Duration::from_secs(seconds),
            Self::Today => Timestamp(now.0 - now.0.rem_euclid(DAY)),
        }
    }
}

impl fmt::Display for TimeExpr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(time) => time.fmt(f),
            Self::Ago(seconds) => write!(f, "-{seconds}s"),
            Self::Today => f.write_str("today"),
        }
    }
}

impl Serialize for TimeExpr {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl Decode for TimeExpr {
    fn decode(value: &Value, at: &mut Decoder<'_>) -> Option<Self> {
        let text = at.text(value)?;
        text.parse().map_err(|wrong: String| at.fail("format", wrong)).ok()
    }
}

impl JsonSchema for TimeExpr {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "TimeExpr".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A time, a day, today, or a distance back like -7d.",
            "examples": ["2026-01-15"],
        })
    }
}

impl FromStr for TimeExpr {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            "must be a time like 2026-01-15T09:30:00Z, a day like 2026-01-15, `today`, or a \
             distance back like -7d, -24h, -30m"
                .to_owned()
        };
        if text == "today" {
            return Ok(Self::Today);
        }
        if let Some(back) = text.strip_prefix('-') {
            let unit = back.chars().next_back().ok_or_else(wrong)?;
            let scale = u64::from(unit_seconds(unit).ok_or_else(wrong)?);
            let digits = &back[..back.len() - unit.len_utf8()];
            if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
                return Err(wrong());
            }
            let count: u64 = digits.parse().map_err(|_| wrong())?;
            // more than three centuries back is a slip, and must not overflow microseconds
            return match count.checked_mul(scale) {
                Some(seconds) if seconds <= 10_000_000_000 => Ok(Self::Ago(seconds)),
                _ => Err(wrong()),
            };
        }
        if let Ok(day) = text.parse::<jiff::civil::Date>()
            && text.len() == 10
        {
            let midnight = day.to_zoned(jiff::tz::TimeZone::UTC).map_err(|_| wrong())?;
            return Ok(Self::At(Timestamp(midnight.timestamp().as_microsecond())));
        }
        text.parse().map(Self::At).map_err(|_| wrong())
    }
}

/// The seconds of a unit of time as people write it: `s`, `m`, `h`, `d` or `w`.
pub const fn unit_seconds(unit: char) -> Option<u32> {
    Some(match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        'w' => 7 * 86_400,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn reads_what_it_writes(micros in -2_000_000_000_000_000i64..200_000_000_000_000_000) {
            let time = Timestamp(micros);
            prop_assert_eq!(time.to_string().parse(), Ok(time));
        }

        #[test]
        fn agrees_with_a_library(micros in -2_000_000_000_000_000i64..200_000_000_000_000_000) {
            let other = jiff::Timestamp::from_microsecond(micros).unwrap();
            prop_assert_eq!(Timestamp(micros).to_string(), format!("{other:.6}"));
        }
    }

    #[test]
    fn what_four_digits_cannot_say_is_the_nearest_that_they_can() {
        assert_eq!(Timestamp(i64::MAX).to_string(), "9999-12-31T23:59:59.999999Z");
        assert_eq!(Timestamp(i64::MIN).to_string(), "0000-01-01T00:00:00.000000Z");
    }

    #[test]
    fn counts_back_from_now() {
        let now: Timestamp = "2026-01-15T09:30:00Z".parse().unwrap();
        let resolved = |text: &str| text.parse::<TimeExpr>().unwrap().resolve(now).to_string();
        assert_eq!(resolved("-7d"), "2026-01-08T09:30:00.000000Z");
        assert_eq!(resolved("today"), "2026-01-15T00:00:00.000000Z");
        assert_eq!(resolved("2026-01-02"), "2026-01-02T00:00:00.000000Z");
        for wrong in ["", "-", "-d", "-7", "7d", "-99999999999999999999d", "-9999999999w", "-7ü"] {
            assert!(wrong.parse::<TimeExpr>().is_err(), "{wrong}");
        }
    }
}
