//! Amounts and currencies as people type them.

use bursar_shared::{
    error::ApiError,
    money::{Amount, Currency},
};

use crate::error::{Failure, Result};

/// A currency; small letters do as well.
pub(crate) fn currency(text: &str) -> Result<Currency, String> {
    text.trim().to_ascii_uppercase().parse().map_err(|wrong| format!("{wrong}"))
}

/// An amount that moves, in minor units.
pub(crate) fn amount(text: &str, of: Currency) -> Result<Amount, String> {
    let minor = of.minor(text.trim())?;
    Amount::new(minor).ok_or_else(|| {
        let least = of.decimal(Amount::ONE.minor());
        format!("must be at least {least} {of}: money goes from one account to another, never backwards")
    })
}

/// A value that was typed behind a flag, when it is wrong.
pub(crate) fn wrong(flag: &str, why: &str) -> Failure {
    Failure::invalid(&ApiError::violation(flag, "format", why)).hint("bursar help money")
}

/// How long: `1h`, `30m`, `7d`, `1h30m`, or whole seconds as the API has it.
pub(crate) fn seconds(text: &str) -> Result<i64, String> {
    let wrong = || "must be a time like 90s, 30m, 1h or 7d".to_owned();
    let text = text.trim();
    if let Ok(seconds) = text.parse::<i64>() {
        return if seconds > 0 { Ok(seconds) } else { Err(wrong()) };
    }
    let (mut total, mut number) = (0i64, String::new());
    for letter in text.chars() {
        if letter.is_ascii_digit() {
            number.push(letter);
            continue;
        }
        let unit = i64::from(bursar_shared::time::unit_seconds(letter).ok_or_else(wrong)?);
        let count: i64 = number.parse().map_err(|_| wrong())?;
        total = count.checked_mul(unit).and_then(|more| total.checked_add(more)).ok_or_else(wrong)?;
        number.clear();
    }
    if number.is_empty() && total > 0 { Ok(total) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_people_write_them() {
        for (text, wanted) in [
            ("600", 600),
            ("90s", 90),
            ("30m", 1_800),
            ("1h", 3_600),
            ("1h30m", 5_400),
            ("7d", 604_800),
            ("2w", 1_209_600),
        ] {
            assert_eq!(seconds(text), Ok(wanted), "{text}");
        }
        for text in ["", "0", "-5", "h", "1h3", "1.5h", "1y", "99999999999999999d", "1 h"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }

    #[test]
    fn amounts_move_forwards_and_currencies_may_be_small() {
        let eur = currency("eur").unwrap();
        assert_eq!(amount("12.5", eur).unwrap().minor(), 1_250);
        for text in ["-5", "0", "0.00"] {
            assert!(amount(text, eur).unwrap_err().contains("at least 0.01 EUR"), "{text}");
        }
        assert!(amount("1,50", eur).unwrap_err().contains("12.34"));
        assert!(currency("euro").unwrap_err().contains("ISO 4217"));
    }
}
