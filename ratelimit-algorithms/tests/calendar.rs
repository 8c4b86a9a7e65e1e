//! Windows of calendars, beside another library's reading of the same time zones.
#![cfg(feature = "calendar")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::num::NonZeroUsize;

use chrono::{DateTime, Datelike, Days, LocalResult, NaiveDate, NaiveTime, TimeDelta, TimeZone};
use chrono_tz::Tz;
use ratelimit_algorithms::{
    Algorithm, CalendarWindow, ConfigError, Detail, Limiter, ManualClock, Micros, Period,
    Timestamp, Weekday,
};
use ratelimit_memory::Memory;

/// Daylight saving in the small hours, at midnight, of half an hour, and apart from Ramadan.
const ZONES: [&str; 6] = [
    "Europe/Berlin",
    "America/New_York",
    "America/Santiago",
    "Africa/Cairo",
    "Australia/Lord_Howe",
    "Africa/Casablanca",
];

const PERIODS: [Period; 9] = [
    Period::Day,
    Period::Week { from: Weekday::Monday },
    Period::Week { from: Weekday::Sunday },
    Period::Month { from: 1 },
    Period::Month { from: 15 },
    Period::Month { from: 31 },
    Period::Quarter { from: (2, 15) },
    Period::Year { from: (1, 1) },
    Period::Year { from: (4, 6) },
];

#[test]
fn windows_are_those_of_another_library_from_2024_to_2032() {
    for zone in ZONES {
        let tz: Tz = zone.parse().unwrap();
        for period in PERIODS {
            let days = days().filter(|day| begins(period, *day));
            let expected: Vec<_> = days.map(|day| start_of(day, tz)).collect();
            let window = CalendarWindow::per(10, period).in_zone(zone);
            let (first, last) = (expected[0], *expected.last().unwrap());
            assert_eq!(starts(window, first, last), expected, "{period} {zone}");
        }
    }
}

fn days() -> impl Iterator<Item = NaiveDate> {
    let first = NaiveDate::from_ymd_opt(2024, 1, 1).unwrap();
    first.iter_days().take_while(|day| day.year() <= 2032)
}

/// Returns true if a window begins on that day.
fn begins(period: Period, day: NaiveDate) -> bool {
    let next = day.checked_add_days(Days::new(1)).unwrap();
    let is_last = next.month() != day.month();
    let is_day = |from: u8| day.day() == u32::from(from) || is_last && day.day() < u32::from(from);
    match period {
        Period::Day => true,
        Period::Week { from } => {
            let (name, wanted) = (day.weekday().to_string(), from.to_string());
            wanted.starts_with(&name.to_lowercase())
        }
        Period::Month { from } => is_day(from),
        Period::Quarter { from: (month, from) } => {
            is_day(from) && day.month() % 3 == u32::from(month) % 3
        }
        Period::Year { from: (month, from) } => is_day(from) && day.month() == u32::from(month),
        _ => unreachable!("a period that this test does not know"),
    }
}

/// The first minute of a day.
fn start_of(day: NaiveDate, tz: Tz) -> DateTime<Tz> {
    match tz.from_local_datetime(&day.and_time(NaiveTime::MIN)) {
        LocalResult::Single(start) | LocalResult::Ambiguous(start, _) => start,
        LocalResult::None => {
            let evening = day.pred_opt().unwrap().and_hms_opt(12, 0, 0).unwrap();
            let noon = tz.from_local_datetime(&evening).unwrap();
            let minutes = (0..).map(|minutes| noon + TimeDelta::minutes(minutes));
            minutes.into_iter().find(|minute| minute.date_naive() == day).unwrap()
        }
    }
}

/// The starts of the windows from one to another, as a store finds them.
fn starts(window: CalendarWindow, first: DateTime<Tz>, last: DateTime<Tz>) -> Vec<DateTime<Tz>> {
    let at = |time: DateTime<Tz>| {
        Timestamp::from_micros(time.timestamp_micros().cast_unsigned()).unwrap()
    };
    let clock = ManualClock::new(at(first));
    let store = Memory::with_clock(clock.clone(), NonZeroUsize::MAX);
    let limiter = Limiter::new(store, "test", window).unwrap();
    let policy = limiter.policy("key").into_owned();
    let mut starts = Vec::new();
    let mut now = at(first);
    while now <= at(last) {
        clock.set(now + Micros::new(1));
        let decision = limiter.check("key").now().unwrap();
        let Some(Detail::FixedWindow(window)) = decision.detail(&policy) else { unreachable!() };
        assert_eq!((window.window_start, window.used), (now, 1));
        let length = window.window_end - window.window_start;
        assert_eq!(policy.window_at(now), Some(length));
        assert_eq!(decision.reset_after, length - Micros::new(1));
        starts.push(first.timezone().timestamp_micros(now.as_micros().cast_signed()).unwrap());
        now = window.window_end;
    }
    starts
}

#[test]
fn a_day_of_23_or_25_hours_is_one_window() {
    let berlin: Tz = "Europe/Berlin".parse().unwrap();
    for (month, day, hours) in [(3, 28, 24), (3, 29, 23), (10, 25, 25), (10, 26, 24)] {
        let day = NaiveDate::from_ymd_opt(2026, month, day).unwrap();
        let [start, next] = [day, day.succ_opt().unwrap()].map(|day| start_of(day, berlin));
        let window = "10/day Europe/Berlin".parse().unwrap();
        assert_eq!(starts(window, start, next), [start, next]);
        assert_eq!(next - start, TimeDelta::hours(hours));
    }
}

/// The last of them is so far away that nobody has to make more.
#[test]
fn windows_go_on_for_as_long_as_time_can_be_represented() {
    let utc: Tz = "UTC".parse().unwrap();
    let [first, last] = [(2_250, 1), (2_255, 6)]
        .map(|(year, month)| start_of(NaiveDate::from_ymd_opt(year, month, 1).unwrap(), utc));
    let months = starts("10/month".parse().unwrap(), first, last - TimeDelta::seconds(1));
    assert_eq!(months.len(), 5 * 12 + 5);
}

#[test]
fn what_no_calendar_has_is_refused_when_it_is_built() {
    let refused =
        |text: &str| Algorithm::try_from(text.parse::<CalendarWindow>().unwrap()).unwrap_err();
    assert_eq!(refused("10/month Europe/Berlinn"), ConfigError::UnknownTimeZone);
    assert_eq!(refused("0/month"), ConfigError::ZeroLimit { field: "limit" });
    for text in
        ["10/month from 0", "10/month from 32", "10/year from 01-32", "10/quarter from 01-00"]
    {
        let day = ConfigError::OutOfRange { field: "day", low: 1.0, high: 31.0 };
        assert_eq!(refused(text), day, "{text}");
    }
    for text in ["10/year from 00-01", "10/quarter from 13-01"] {
        let month = ConfigError::OutOfRange { field: "month", low: 1.0, high: 12.0 };
        assert_eq!(refused(text), month, "{text}");
    }
}

/// However it is written, and whenever it is built.
#[test]
fn one_calendar_has_one_name() {
    let calendar = |text: &str| text.parse::<CalendarWindow>().unwrap().calendar().unwrap();
    assert_eq!(calendar("10/month Europe/Berlin"), calendar("20/month from 1 europe/berlin"));
    assert_eq!(calendar("10/quarter from 11-15"), calendar("10/quarter from 02-15"));
    assert_ne!(calendar("10/month Europe/Berlin"), calendar("10/month from 2 Europe/Berlin"));
    assert_ne!(calendar("10/month Europe/Berlin"), calendar("10/month Europe/Paris"));
}
