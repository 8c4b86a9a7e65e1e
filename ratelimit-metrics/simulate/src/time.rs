//! Instants as logs write them, without an allocation.
//!
//! Three forms: `10/Oct/2025:13:55:36 +0200` of the common format, `2025-10-10T13:55:36.25Z` of RFC
//! 3339 (a space for the `T`, no offset for UTC), and seconds, milli-, micro- or nanoseconds since
//! the epoch, told apart by their size. What is finer than a microsecond is cut off.

use ratelimit_core::Timestamp;

/// Reads an instant in any of the three forms; `None` if it is none of them, or before 1970.
pub(crate) fn parse(text: &[u8]) -> Option<Timestamp> {
    let micros = match text {
        [_, _, b'/', ..] => common(text)?,
        [_, _, _, _, b'-', ..] => rfc_3339(text)?,
        _ => epoch(text)?,
    };
    Timestamp::from_micros(micros)
}

/// Writes an instant in UTC, to the second: `2025-10-10 13:55:36`.
pub(crate) fn show(at: Timestamp) -> String {
    let seconds = at.as_micros() / 1_000_000;
    let day = seconds / 86_400;
    let begins = |year: u64, month: usize| days(year, month, 1).filter(|begin| *begin <= day);
    let year = (1970..=2255).rev().find(|year| begins(*year, 0).is_some()).unwrap_or(1970);
    let month = (0..12).rev().find(|month| begins(year, *month).is_some()).unwrap_or(0);
    let date = day - begins(year, month).unwrap_or(day) + 1;
    let [hour, minute, second] = [seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60];
    format!("{year}-{:02}-{date:02} {hour:02}:{minute:02}:{second:02}", month + 1)
}

/// Day, month and year, a colon, the time of day and its offset.
fn common(text: &[u8]) -> Option<u64> {
    let month = MONTHS.iter().position(|name| text.get(3..6) == Some(&name[..]))?;
    let day = days(number(text.get(7..11)?)?, month, number(&text[..2])?)?;
    let is_apart = text[6] == b'/' && text.get(11) == Some(&b':');
    instant(is_apart.then_some(day)?, text.get(12..)?)
}

/// Year, month and day, a `T` or a space, the time of day and perhaps its offset.
fn rfc_3339(text: &[u8]) -> Option<u64> {
    let month = number(text.get(5..7)?)?.checked_sub(1)?;
    let day = days(number(&text[..4])?, usize::try_from(month).ok()?, number(text.get(8..10)?)?)?;
    let is_apart = text[7] == b'-' && matches!(text.get(10), Some(b'T' | b't' | b' '));
    instant(is_apart.then_some(day)?, text.get(11..)?)
}

/// The microseconds of a time of day, `13:55:36.25 +0200`, on a day since the epoch.
fn instant(day: u64, text: &[u8]) -> Option<u64> {
    let [hour, minute, second] = [text.get(..2)?, text.get(3..5)?, text.get(6..8)?].map(number);
    let (hour, minute, second) = (hour?, minute?, second?);
    // A leap second is the first of the next minute.
    if text[2] != b':' || text[5] != b':' || 23 < hour || 59 < minute || 60 < second {
        return None;
    }
    let (fraction, zone) = match text.get(8) {
        Some(b'.' | b',') => {
            let digits = text[9..].iter().take_while(|byte| byte.is_ascii_digit()).count();
            (micros(&text[9..9 + digits])?, &text[9 + digits..])
        }
        _ => (0, &text[8..]),
    };
    let seconds = day * 86_400 + hour * 3_600 + minute * 60 + second;
    let seconds = seconds.checked_add_signed(-offset(zone)?)?;
    Some(seconds * 1_000_000 + fraction)
}

/// The seconds by which a zone is ahead of UTC.
fn offset(zone: &[u8]) -> Option<i64> {
    let (sign, digits) = match zone.trim_ascii() {
        [] | [b'Z' | b'z'] => return Some(0),
        [b'+', digits @ ..] => (1, digits),
        [b'-', digits @ ..] => (-1, digits),
        _ => return None,
    };
    let (hours, minutes) = match digits {
        [_, _, b':', _, _] => (&digits[..2], &digits[3..]),
        [_, _, _, _] => digits.split_at(2),
        _ => return None,
    };
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    let seconds = i64::try_from(hours * 3_600 + minutes * 60).ok()?;
    (hours < 24 && minutes < 60).then_some(sign * seconds)
}

/// A count since the epoch. A count of seconds has 11 digits until the year 5138, and one of any
/// smaller unit has more from the year 1973 on.
fn epoch(text: &[u8]) -> Option<u64> {
    let point = text.iter().position(|byte| *byte == b'.');
    let (whole, fraction) = text.split_at(point.unwrap_or(text.len()));
    let count = number(whole)?;
    let fraction = if fraction.is_empty() { 0 } else { micros(&fraction[1..])? };
    Some(match whole.len() {
        ..=11 => count * 1_000_000 + fraction,
        12..=14 => count * 1_000 + fraction / 1_000,
        15..=17 => count,
        _ => count / 1_000,
    })
}

/// The millionths that the digits after a point say.
fn micros(digits: &[u8]) -> Option<u64> {
    let (near, far) = digits.split_at(digits.len().min(6));
    let scale = 10_u64.pow(u32::try_from(6 - near.len()).ok()?);
    far.iter().all(u8::is_ascii_digit).then_some(number(near)? * scale)
}

/// One to nineteen digits.
fn number(digits: &[u8]) -> Option<u64> {
    let add =
        |sum: u64, byte: &u8| byte.is_ascii_digit().then(|| sum * 10 + u64::from(byte - b'0'));
    (1..=19).contains(&digits.len()).then(|| digits.iter().try_fold(0, add))?
}

/// The days from the epoch to a date; its month counts from zero.
fn days(year: u64, month: usize, day: u64) -> Option<u64> {
    let is_leap = year.is_multiple_of(if year.is_multiple_of(100) { 400 } else { 4 });
    let leap_day = u64::from(is_leap);
    let (before, after) = (DAYS_BEFORE.get(month)?, DAYS_BEFORE.get(month + 1)?);
    let length = after - before + if month == 1 { leap_day } else { 0 };
    let before = before + if 1 < month { leap_day } else { 0 };
    let is_date = (1970..=2255).contains(&year) && (1..=length).contains(&day);
    let leap_days = |year: u64| year / 4 - year / 100 + year / 400;
    let years = year.checked_sub(1970)? * 365 + leap_days(year - 1) - leap_days(1969);
    is_date.then_some(years + before + day - 1)
}

const MONTHS: [[u8; 3]; 12] = [
    *b"Jan", *b"Feb", *b"Mar", *b"Apr", *b"May", *b"Jun", *b"Jul", *b"Aug", *b"Sep", *b"Oct",
    *b"Nov", *b"Dec",
];

/// The days before each month of a year that is no leap year, and before the next year.
const DAYS_BEFORE: [u64; 13] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_is_read_to_the_microsecond() {
        for (text, micros) in [
            ("10/Oct/2000:13:55:36 -0700", 971_211_336_000_000),
            ("29/Feb/2024:23:59:60 +0000", 1_709_251_200_000_000),
            ("10/Oct/2000:13:55:36.25 +0000", 971_186_136_250_000),
            ("2000-10-10T20:55:36Z", 971_211_336_000_000),
            ("2000-10-10T22:55:36.123456789+02:00", 971_211_336_123_456),
            ("2000-10-10 20:55:36", 971_211_336_000_000),
            ("2016-04-15T20:17:00.310Z", 1_460_751_420_310_000),
            ("1646861401.5241024", 1_646_861_401_524_102),
            ("1646861401", 1_646_861_401_000_000),
            ("1646861401524", 1_646_861_401_524_000),
            ("1646861401524.25", 1_646_861_401_524_250),
            ("1646861401524102", 1_646_861_401_524_102),
            ("1646861401524102999", 1_646_861_401_524_102),
            ("1970-01-01T00:00:00Z", 0),
        ] {
            assert_eq!(parse(text.as_bytes()).map(Timestamp::as_micros), Some(micros), "{text}");
        }
    }

    #[test]
    fn no_other_text_is_an_instant() {
        for text in [
            "",
            "-",
            "now",
            "10/Oct/2000",
            "10/Okt/2000:13:55:36 +0000",
            "31/Feb/2024:00:00:00 +0000",
            "29/Feb/2023:00:00:00 +0000",
            "00/Jan/2024:00:00:00 +0000",
            "01/Jan/1969:00:00:00 +0000",
            "10/Oct/2000:24:00:00 +0000",
            "10/Oct/2000:13:60:00 +0000",
            "10/Oct/2000:13:55:61 +0000",
            "10/Oct/2000:13:55:36 0700",
            "10/Oct/2000:13:55:36 +07",
            "2000-13-10T00:00:00Z",
            "2000-00-10T00:00:00Z",
            "2000-10-10T00:00:00+25:00",
            "1970-01-01T00:00:00+01:00",
            "1e9",
            "-5",
            "12345678901234567890",
            "1646861401.",
            "1646861401.5x",
            "9999-10-10T00:00:00Z",
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn an_instant_is_shown_as_it_is_read() {
        for text in ["1970-01-01 00:00:00", "2024-02-29 23:59:59", "2255-06-05 01:02:03"] {
            assert_eq!(show(parse(text.as_bytes()).unwrap()), text);
        }
    }

    /// Every day has the number after the day before.
    #[test]
    fn days_follow_each_other_from_1970_to_2255() {
        let mut next = 0;
        for year in 1970..=2255 {
            for month in 0..12 {
                for day in 1.. {
                    let Some(number) = days(year, month, day) else { break };
                    assert_eq!(number, next, "{year} {month} {day}");
                    next += 1;
                }
            }
        }
        assert_eq!(next, 104_459);
    }
}
