//! The notation of limits and lengths: `100/60s`, `1m30s`.
//!
//! A length always has units: a bare `60` means seconds to one reader and milliseconds to another.

use std::{fmt, time::Duration};

/// A text that is not a limit, or not a length.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum NotationError {
    /// Not a number of permits, a slash, and a length.
    #[error("a limit is a number of permits per length of time, as in 100/60s")]
    Limit,
    /// Not whole numbers with units.
    #[error("a length is whole numbers with units of d, h, m, s, ms, us, as in 60s or 1m30s")]
    Length,
    /// Not a number of permits in flight.
    #[error(
        "permits in flight are a number, and perhaps the longest time that one is held, as in \
         4 in flight for 30s"
    )]
    InFlight,
    /// Not a window of a calendar.
    #[error(
        "a window of a calendar is day, week, month, quarter or year, its first day, and a time zone, \
         as in 1000/month from 15 Europe/Berlin"
    )]
    Calendar,
    /// A number beyond 64 bits.
    #[error("the number is too large")]
    TooLarge,
}

/// Reads `100/60s`: a number of permits, and their window.
pub(crate) fn limit(text: &str) -> Result<(u64, Duration), NotationError> {
    let (number, window) = text.split_once('/').ok_or(NotationError::Limit)?;
    Ok((permits(number)?, length(window)?))
}

/// Reads `100`: a number of permits.
pub(crate) fn permits(text: &str) -> Result<u64, NotationError> {
    match split_number(text)? {
        (Some(permits), "") => Ok(permits),
        _ => Err(NotationError::Limit),
    }
}

/// Returns true if a text has the window of a calendar: a word, where a length begins with a digit.
#[cfg(all(feature = "calendar", feature = "serde"))]
pub(crate) fn is_calendar(text: &str) -> bool {
    let window = text.split_once('/').map(|(_, window)| window);
    window.is_some_and(|window| window.starts_with(|first: char| first.is_ascii_lowercase()))
}

/// The word in the place of a number of permits, where they are only counted.
#[cfg(any(feature = "calendar", feature = "serde"))]
pub(crate) const UNLIMITED: &str = "unlimited";

/// The words behind a number of permits that are held until they are given back.
pub(crate) const IN_FLIGHT: &str = " in flight";

/// The word before the longest time that one is held.
pub(crate) const HELD: &str = " for ";

/// Reads `1m30s`: whole numbers with units, each unit at most once, and the largest first.
pub(crate) fn length(text: &str) -> Result<Duration, NotationError> {
    let mut units = UNITS.iter();
    let (mut rest, mut micros) = (text, 0_u64);
    loop {
        let (count, after) = split_number(rest)?;
        let count = count.ok_or(NotationError::Length)?;
        let end = after.find(|digit: char| digit.is_ascii_digit()).unwrap_or(after.len());
        let (name, after) = after.split_at(end);
        let (_, unit) = units.find(|unit| unit.0 == name).ok_or(NotationError::Length)?;
        let part = count.checked_mul(*unit).ok_or(NotationError::TooLarge)?;
        micros = micros.checked_add(part).ok_or(NotationError::TooLarge)?;
        if after.is_empty() {
            return Ok(Duration::from_micros(micros));
        }
        rest = after;
    }
}

/// Writes a limit as [`limit`] reads it.
pub(crate) fn write_limit(
    f: &mut fmt::Formatter<'_>,
    permits: u64,
    window: Duration,
) -> fmt::Result {
    write!(f, "{permits}/")?;
    write_length(f, window)
}

/// Writes a length as [`length`] reads it.
pub(crate) fn write_length(f: &mut fmt::Formatter<'_>, length: Duration) -> fmt::Result {
    let mut micros = length.as_micros();
    if micros == 0 {
        return f.write_str("0s");
    }
    for (name, unit) in UNITS {
        let unit = u128::from(unit);
        if unit <= micros {
            write!(f, "{}{name}", micros / unit)?;
            micros %= unit;
        }
    }
    Ok(())
}

/// In microseconds, the largest first.
const UNITS: [(&str, u64); 6] = [
    ("d", 86_400_000_000),
    ("h", 3_600_000_000),
    ("m", 60_000_000),
    ("s", 1_000_000),
    ("ms", 1_000),
    ("us", 1),
];

/// The number at the start of `text`, if there is one, and the rest.
fn split_number(text: &str) -> Result<(Option<u64>, &str), NotationError> {
    let end = text.find(|digit: char| !digit.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    if digits.is_empty() {
        return Ok((None, rest));
    }
    Ok((Some(digits.parse().map_err(|_| NotationError::TooLarge)?), rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    use crate::TokenBucket;

    /// A limit as its builder writes it.
    fn print(permits: u64, micros: u64) -> String {
        TokenBucket::per(permits, Duration::from_micros(micros)).to_string()
    }

    #[test]
    fn lengths_and_limits_read_as_they_are_written() {
        for (text, micros) in [
            ("60s", 60_000_000),
            ("1m30s", 90_000_000),
            ("250ms", 250_000),
            ("1s500ms", 1_500_000),
            ("90m", 5_400_000_000),
            ("1d2h3m4s5ms6us", 93_784_005_006),
            ("0s", 0),
        ] {
            assert_eq!(length(text), Ok(Duration::from_micros(micros)), "{text}");
        }
        assert_eq!(limit("100/60s"), Ok((100, Duration::from_secs(60))));
        assert_eq!(limit("0/1d"), Ok((0, Duration::from_secs(86_400))));
    }

    // FAULTS 19.
    #[test]
    fn a_number_without_a_unit_is_no_length() {
        for text in [
            "60", "0", "", "s", "60 s", " 60s", "60s ", "+60s", "-60s", "1.5s", "1e3s", "60S",
            "60sec", "60M", "30s1m", "1s1s", "1m30", "1_000s", "٦٠s", "60ş", "1ns", "1w", "\0",
        ] {
            assert_eq!(length(text), Err(NotationError::Length), "{text:?}");
        }
        for text in ["100", "/60s", "x/60s", "100 /60s", "+1/60s", "-1/60s", "1.5/60s", "60s"] {
            assert_eq!(limit(text), Err(NotationError::Limit), "{text:?}");
        }
        for text in ["100/", "100/60", "100/ 60s", "100/s", "100/60s/60s", "100/1.5s"] {
            assert_eq!(limit(text), Err(NotationError::Length), "{text:?}");
        }
        for text in ["18446744073709551616us", "18446744073709551615d", "213503982334d"] {
            assert_eq!(length(text), Err(NotationError::TooLarge), "{text:?}");
        }
        assert_eq!(limit("18446744073709551616/1s"), Err(NotationError::TooLarge));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(permits: u64, micros: u64) {
            let text = print(permits, micros);
            prop_assert_eq!(limit(&text), Ok((permits, Duration::from_micros(micros))));
            prop_assert_eq!(text.parse(), Ok(TokenBucket::per(permits, Duration::from_micros(micros))));
        }

        #[test]
        fn any_text_is_read_or_refused(text: String, near in "[0-9]{0,3}/?([0-9]{0,21}[a-z]{0,3}){0,3}") {
            for text in [text, near] {
                let _ = limit(&text);
                let Ok(read) = length(&text) else { continue };
                prop_assert!(text.ends_with(char::is_alphabetic));
                let micros = u64::try_from(read.as_micros()).unwrap();
                prop_assert_eq!(limit(&print(1, micros)), Ok((1, read)));
            }
        }
    }
}
