//! The starts of windows, by the rules of time zones.

use jiff::{
    ToSpan,
    civil::{Date, Weekday as CivilWeekday},
    tz::{AmbiguousOffset, TimeZone},
};
use ratelimit_core::{Calendar, ConfigError, Timestamp};

use super::{Period, Weekday};

/// The calendar of a period in a zone, from the epoch on, for all time that can be represented.
pub(super) fn calendar(period: Period, zone: &str) -> Result<Calendar, ConfigError> {
    let zone = TimeZone::get(zone).map_err(|_| ConfigError::UnknownTimeZone)?;
    let days = days(period)?;
    let name = format!("{} {}", period.normal(), zone.iana_name().unwrap_or("UTC"));
    let starts = days.filter_map(|day| start(day, &zone));
    let mut last = None;
    // Where a place has left a day out, the next one begins at the same instant.
    Calendar::new(&name, starts.filter(move |start| last.replace(*start) < Some(*start)))
}

impl Period {
    /// The same period, written in the one way that names it.
    fn normal(self) -> Self {
        match self {
            Self::Quarter { from: (month, day) } => {
                Self::Quarter { from: ((month.max(1) - 1) % 3 + 1, day) }
            }
            other => other,
        }
    }
}

/// The first days of all windows.
fn days(period: Period) -> Result<Box<dyn Iterator<Item = Date>>, ConfigError> {
    Ok(match period {
        Period::Day => Box::new(FIRST.series(1.day()).take_while(is_representable)),
        Period::Week { from } => {
            let first = FIRST.nth_weekday(1, civil(from)).unwrap_or(FIRST);
            Box::new(first.series(1.week()).take_while(is_representable))
        }
        Period::Month { from } => Box::new(months((1, from), 1)?),
        Period::Quarter { from } => Box::new(months(from, 3)?),
        Period::Year { from } => Box::new(months(from, 12)?),
    })
}

/// The days `day` of every `step`th month, `month` among them.
fn months((month, day): (u8, u8), step: u8) -> Result<impl Iterator<Item = Date>, ConfigError> {
    let (month, day) = (within("month", month, 12)?, within("day", day, 31)?);
    let months = (1..=12).filter(move |one| (one - month) % step.cast_signed() == 0);
    let years = FIRST.year()..=LAST_YEAR;
    let days = years.flat_map(move |year| months.clone().map(move |month| (year, month)));
    Ok(days.filter_map(move |(year, month)| {
        let first = Date::new(year, month, 1).ok()?;
        Date::new(year, month, day.min(first.days_in_month())).ok()
    }))
}

/// A day or a month that a year can have.
fn within(field: &'static str, value: u8, most: i8) -> Result<i8, ConfigError> {
    let fits = i8::try_from(value).ok().filter(|value| (1..=most).contains(value));
    fits.ok_or_else(|| ConfigError::OutOfRange { field, low: 1.0, high: most.into() })
}

/// A day before the epoch, anywhere; the first window begins at the epoch.
const FIRST: Date = Date::constant(1969, 12, 1);

/// Representable time ends in the course of this year.
const LAST_YEAR: i16 = 2255;

fn is_representable(day: &Date) -> bool {
    day.year() <= LAST_YEAR
}

/// The first instant at which it is `day` in the zone; `None` if that is not representable.
fn start(day: Date, zone: &TimeZone) -> Option<Timestamp> {
    let midnight = zone.to_ambiguous_timestamp(day.at(0, 0, 0, 0));
    let is_left_out = matches!(midnight.offset(), AmbiguousOffset::Gap { .. });
    let mut start = midnight.compatible().ok()?;
    if is_left_out {
        // Clocks were put on over midnight: the day began when they were.
        let after = start.checked_add(1.nanosecond()).ok()?;
        start = zone.preceding(after).next()?.timestamp();
    }
    Timestamp::from_micros(u64::try_from(start.as_microsecond()).ok()?)
}

const fn civil(weekday: Weekday) -> CivilWeekday {
    match weekday {
        Weekday::Monday => CivilWeekday::Monday,
        Weekday::Tuesday => CivilWeekday::Tuesday,
        Weekday::Wednesday => CivilWeekday::Wednesday,
        Weekday::Thursday => CivilWeekday::Thursday,
        Weekday::Friday => CivilWeekday::Friday,
        Weekday::Saturday => CivilWeekday::Saturday,
        Weekday::Sunday => CivilWeekday::Sunday,
    }
}
