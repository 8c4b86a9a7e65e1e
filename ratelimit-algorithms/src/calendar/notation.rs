//! The notation of a calendar's windows: `1000/month from 15 Europe/Berlin`.

use std::{borrow::Cow, fmt, str::FromStr};

use super::{CalendarWindow, Period, UTC, Weekday};
use crate::config::notation::{NotationError, UNLIMITED, permits};

/// Writes the limit, its window and, if it is not UTC, the time zone.
impl fmt::Display for CalendarWindow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.limit {
            Some(limit) => write!(f, "{limit}/{}", self.period)?,
            None => write!(f, "{UNLIMITED}/{}", self.period)?,
        }
        if self.zone == UTC { Ok(()) } else { write!(f, " {}", self.zone) }
    }
}

/// Reads a limit, a window of a calendar and a time zone, as in `5000/week from sunday
/// America/New_York`. What is left out is the first day, and UTC.
///
/// A month begins `from` a day (`from 15`), a quarter and a year from a month and a day (`from 04-06`).
impl FromStr for CalendarWindow {
    type Err = NotationError;

    fn from_str(text: &str) -> Result<Self, NotationError> {
        let (limit, window) = text.split_once('/').ok_or(NotationError::Limit)?;
        let limit = if limit == UNLIMITED { None } else { Some(permits(limit)?) };
        let mut words = window.split(' ').peekable();
        let name = words.next().unwrap_or_default();
        let from = words.next_if_eq(&"from").map(|_| words.next().unwrap_or_default());
        let period = period(name, from).ok_or(NotationError::Calendar)?;
        let zone = words.next().map_or(UTC, |zone| Cow::Owned(zone.to_owned()));
        match words.next() {
            None if !zone.is_empty() => Ok(Self { limit, period, zone }),
            _ => Err(NotationError::Calendar),
        }
    }
}

fn period(name: &str, from: Option<&str>) -> Option<Period> {
    Some(match name {
        "day" if from.is_none() => Period::Day,
        "week" => Period::Week { from: from.map_or(Some(Weekday::Monday), weekday)? },
        "month" => Period::Month { from: from.map_or(Some(1), number)? },
        "quarter" => Period::Quarter { from: from.map_or(Some((1, 1)), month_and_day)? },
        "year" => Period::Year { from: from.map_or(Some((1, 1)), month_and_day)? },
        _ => return None,
    })
}

fn weekday(name: &str) -> Option<Weekday> {
    WEEKDAYS.into_iter().find_map(|(weekday, known)| (known == name).then_some(weekday))
}

/// Reads `04-06`.
fn month_and_day(text: &str) -> Option<(u8, u8)> {
    let (month, day) = text.split_once('-')?;
    Some((number(month)?, number(day)?))
}

fn number(text: &str) -> Option<u8> {
    text.bytes().all(|digit| digit.is_ascii_digit()).then(|| text.parse().ok())?
}

const WEEKDAYS: [(Weekday, &str); 7] = [
    (Weekday::Monday, "monday"),
    (Weekday::Tuesday, "tuesday"),
    (Weekday::Wednesday, "wednesday"),
    (Weekday::Thursday, "thursday"),
    (Weekday::Friday, "friday"),
    (Weekday::Saturday, "saturday"),
    (Weekday::Sunday, "sunday"),
];

/// Writes the name, and the first day if it is not that of the calendar.
impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Day => f.write_str("day"),
            Self::Week { from: Weekday::Monday } => f.write_str("week"),
            Self::Week { from } => write!(f, "week from {from}"),
            Self::Month { from: 1 } => f.write_str("month"),
            Self::Month { from } => write!(f, "month from {from}"),
            Self::Quarter { from: (1, 1) } => f.write_str("quarter"),
            Self::Quarter { from: (month, day) } => write!(f, "quarter from {month:02}-{day:02}"),
            Self::Year { from: (1, 1) } => f.write_str("year"),
            Self::Year { from: (month, day) } => write!(f, "year from {month:02}-{day:02}"),
        }
    }
}

/// Writes the name, as in `sunday`.
impl fmt::Display for Weekday {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name =
            WEEKDAYS.iter().find(|(weekday, _)| weekday == self).map_or("", |(_, name)| name);
        f.write_str(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calendars_read_as_they_are_written() {
        let berlin = |limit, period| CalendarWindow::per(limit, period).in_zone("Europe/Berlin");
        let sunday = Period::Week { from: Weekday::Sunday };
        for (text, window) in [
            ("10/day", CalendarWindow::per(10, Period::Day)),
            ("1000/month Europe/Berlin", berlin(1_000, Period::Month { from: 1 })),
            ("1000/month from 15", CalendarWindow::per(1_000, Period::Month { from: 15 })),
            ("1000/month from 31 Europe/Berlin", berlin(1_000, Period::Month { from: 31 })),
            (
                "5000/week from sunday America/New_York",
                CalendarWindow::per(5_000, sunday).in_zone("America/New_York"),
            ),
            ("7/week", CalendarWindow::per(7, Period::Week { from: Weekday::Monday })),
            ("7/quarter", CalendarWindow::per(7, Period::Quarter { from: (1, 1) })),
            ("7/quarter from 02-15", CalendarWindow::per(7, Period::Quarter { from: (2, 15) })),
            ("7/year from 04-06", CalendarWindow::per(7, Period::Year { from: (4, 6) })),
            ("unlimited/month", CalendarWindow::unlimited_per(Period::Month { from: 1 })),
        ] {
            assert_eq!(text.parse().as_ref(), Ok(&window), "{text}");
            assert_eq!(window.to_string(), text);
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "10/",
            "10/days",
            "10/1month",
            "10/Month",
            "10/day from 1",
            "10/month from",
            "10/month from ",
            "10/month from x",
            "10/month from -1",
            "10/month from 300",
            "10/week from 1",
            "10/week from Sunday",
            "10/year from 4",
            "10/year from 4-",
            "10/year from 4-6-1",
            "10/month  UTC",
            "10/month ",
            "10/month UTC UTC",
            "10/month UTC from 15",
            "10/month\tUTC",
        ] {
            assert_eq!(text.parse::<CalendarWindow>(), Err(NotationError::Calendar), "{text:?}");
        }
        for text in ["month", "/month", "x/month", "-1/month", "1.5/month", "10 /month", ""] {
            assert_eq!(text.parse::<CalendarWindow>(), Err(NotationError::Limit), "{text:?}");
        }
        let large = "18446744073709551616/month";
        assert_eq!(large.parse::<CalendarWindow>(), Err(NotationError::TooLarge));
    }
}
