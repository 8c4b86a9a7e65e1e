//! Limits and lengths as people write them: `100/60s`, `1m30s`.
//!
//! A length has units, always: a bare `60` means seconds to one and milliseconds to another.

use std::time::Duration;

/// A limit or a length that is not written as one.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum NotationError {
    /// Not a number of permits, a slash, and a length.
    #[error("a limit is a number of permits per length of time, as in 100/60s")]
    Limit,
    /// Not whole numbers with units.
    #[error("a length is whole numbers with units of d, h, m, s, ms, us, as in 60s or 1m30s")]
    Length,
    /// A number beyond 64 bits.
    #[error("the number is too large")]
    TooLarge,
}

/// Reads `100/60s`: a number of permits, and the length of time that they are for.
pub(crate) fn limit(text: &str) -> Result<(u64, Duration), NotationError> {
    let (permits, window) = text.split_once('/').ok_or(NotationError::Limit)?;
    match split_number(permits)? {
        (Some(permits), "") => Ok((permits, length(window)?)),
        _ => Err(NotationError::Limit),
    }
}

/// Reads `1m30s`: whole numbers with units, each unit once at most and the largest first.
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

/// In microseconds, the largest first.
const UNITS: [(&str, u64); 6] = [
    ("d", 86_400_000_000),
    ("h", 3_600_000_000),
    ("m", 60_000_000),
    ("s", 1_000_000),
    ("ms", 1_000),
    ("us", 1),
];

/// The number that `text` begins with, if it begins with a digit; and what follows.
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

    /// A length as one writes it, without the units that it has none of.
    fn print(mut micros: u64) -> String {
        let parts = UNITS.map(|(name, unit)| {
            let count = micros / unit;
            micros %= unit;
            if count == 0 { String::new() } else { format!("{count}{name}") }
        });
        parts.concat()
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
        fn what_is_written_is_read_back(permits: u64, micros in 1..u64::MAX) {
            let text = print(micros);
            prop_assert_eq!(length(&text), Ok(Duration::from_micros(micros)));
            let both = limit(&format!("{permits}/{text}"));
            prop_assert_eq!(both, Ok((permits, Duration::from_micros(micros))));
        }

        #[test]
        fn any_text_is_read_or_refused(text: String, near in "[0-9]{0,3}/?([0-9]{0,21}[a-z]{0,3}){0,3}") {
            for text in [text, near] {
                let _ = limit(&text);
                let Ok(read) = length(&text) else { continue };
                prop_assert!(text.ends_with(char::is_alphabetic));
                if !read.is_zero() {
                    let micros = u64::try_from(read.as_micros()).unwrap();
                    prop_assert_eq!(length(&print(micros)), Ok(read));
                }
            }
        }
    }
}
