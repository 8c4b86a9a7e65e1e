//! Waits as servers write them: durations, instants and bare numbers of any unit.
//!
//! Servers agree neither on a unit nor on an origin. A bare number can be a length or an instant,
//! in seconds, or in milliseconds or less. These lie orders of magnitude apart, so the number
//! itself says which it is; a wait that no server could mean is no wait.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{HeaderMap, header::DATE};
use httpdate::parse_http_date;

/// The unit of a bare number that is a length.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Unit {
    Seconds,
    Milliseconds,
}

/// The clocks that an instant is compared with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clocks {
    /// The server's `Date`: instants are compared with the clock that they were read from.
    sent: Option<SystemTime>,
    received: SystemTime,
}

impl Clocks {
    pub(super) fn new(headers: &HeaderMap, received: SystemTime) -> Self {
        let date = headers.get(DATE).and_then(|date| date.to_str().ok());
        Self { sent: date.and_then(|date| parse_http_date(date).ok()), received }
    }

    /// Reads the time from now that `text` means; zero if it is past. `None` if it cannot be read,
    /// or is longer than [`WAIT_MAX`].
    pub(super) fn wait(&self, text: &str, unit: Unit) -> Option<Duration> {
        let text = text.trim();
        if let Some(nanos) = decimal(text) {
            return self.wait_of_number(nanos, unit);
        }
        if let Some(instant) = parse_http_date(text).ok().or_else(|| iso_instant(text)) {
            return self.until(instant);
        }
        plausible(duration(text)?)
    }

    /// Like [`wait`](Self::wait), of a number in billionths.
    fn wait_of_number(&self, billionths: u128, unit: Unit) -> Option<Duration> {
        let scale = match (billionths / BILLION, unit) {
            (..1_000_000_000, Unit::Seconds) => return plausible(billionths),
            (..100_000_000_000, Unit::Milliseconds) => return plausible(billionths / 1_000),
            (..100_000_000_000, Unit::Seconds) => 1,
            (..100_000_000_000_000, _) => 1_000,
            (..100_000_000_000_000_000, _) => 1_000_000,
            _ => BILLION,
        };
        let since_1970 = Duration::from_nanos(u64::try_from(billionths / scale).ok()?);
        self.until(UNIX_EPOCH.checked_add(since_1970)?)
    }

    /// The time until `instant`. A `Date` by which the wait would be absurd is not believed.
    fn until(&self, instant: SystemTime) -> Option<Duration> {
        let clocks = self.sent.into_iter().chain([self.received]);
        let mut waits = clocks.map(|now| instant.duration_since(now).unwrap_or_default());
        waits.find(|wait| *wait <= WAIT_MAX)
    }
}

/// A year: no quota is counted in longer windows.
const WAIT_MAX: Duration = Duration::from_secs(366 * 24 * 60 * 60);

const BILLION: u128 = 1_000_000_000;

fn plausible(nanos: u128) -> Option<Duration> {
    let wait = Duration::from_nanos(u64::try_from(nanos).ok()?);
    (wait <= WAIT_MAX).then_some(wait)
}

/// A number in digits, in billionths.
fn decimal(text: &str) -> Option<u128> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !is_digits(whole) || !is_digits(fraction) || DIGITS_MAX < whole.len() {
        return None;
    }
    let fraction = fraction.get(..9).unwrap_or(fraction);
    let padded: u128 = format!("{fraction:0<9}").parse().ok()?;
    Some(whole.parse::<u128>().ok()? * BILLION + padded)
}

/// Nanoseconds since 1970 have 19.
const DIGITS_MAX: usize = 24;

/// A duration such as `6m0s`, `1h2m3.5s`, `120ms`, `2 minutes` or `PT1M30S`, in nanoseconds.
fn duration(text: &str) -> Option<u128> {
    let text = text.to_ascii_lowercase();
    let Some(iso) = text.strip_prefix('p') else { return quantities(&text, &UNITS) };
    let (date, time) = iso.split_once('t').unwrap_or((iso, ""));
    match (date, time) {
        ("", time) => quantities(time, &UNITS),
        (date, "") => quantities(date, &DATE_UNITS),
        (date, time) => quantities(date, &DATE_UNITS)?.checked_add(quantities(time, &UNITS)?),
    }
}

/// The sum of numbers with units, at least one.
fn quantities(mut text: &str, units: &[(&str, u128)]) -> Option<u128> {
    let mut sum: u128 = 0;
    loop {
        text = text.trim_start_matches([' ', ',']);
        let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, rest) = text.split_at(digits);
        let rest = rest.trim_start();
        let letters = rest.find(|c: char| !c.is_alphabetic()).unwrap_or(rest.len());
        let (name, rest) = rest.split_at(letters);
        let (_, nanos) = units.iter().find(|(unit, _)| *unit == name)?;
        // Numbers are in billionths, and units in nanoseconds.
        sum = sum.checked_add(decimal(number)?.checked_mul(*nanos)? / BILLION)?;
        text = rest;
        if text.trim().is_empty() {
            return Some(sum);
        }
    }
}

const SECOND: u128 = BILLION;

const UNITS: [(&str, u128); 27] = [
    ("ns", 1),
    ("us", 1_000),
    ("\u{b5}s", 1_000),
    ("\u{3bc}s", 1_000),
    ("ms", 1_000_000),
    ("msec", 1_000_000),
    ("millis", 1_000_000),
    ("millisecond", 1_000_000),
    ("milliseconds", 1_000_000),
    ("s", SECOND),
    ("sec", SECOND),
    ("secs", SECOND),
    ("second", SECOND),
    ("seconds", SECOND),
    ("m", 60 * SECOND),
    ("min", 60 * SECOND),
    ("mins", 60 * SECOND),
    ("minute", 60 * SECOND),
    ("minutes", 60 * SECOND),
    ("h", 3_600 * SECOND),
    ("hr", 3_600 * SECOND),
    ("hrs", 3_600 * SECOND),
    ("hour", 3_600 * SECOND),
    ("hours", 3_600 * SECOND),
    ("d", 86_400 * SECOND),
    ("day", 86_400 * SECOND),
    ("days", 86_400 * SECOND),
];

/// In front of the `T` of an ISO 8601 duration, where `M` means months.
const DATE_UNITS: [(&str, u128); 2] = [("d", 86_400 * SECOND), ("w", 7 * 86_400 * SECOND)];

/// An instant of ISO 8601 or RFC 3339: `2026-08-01T00:01:00.5Z`. Without a zone it is UTC.
fn iso_instant(text: &str) -> Option<SystemTime> {
    let (date, time) = text.split_once(['T', 't', ' '])?;
    let [year, month, day] = fields(date, '-', [4, 2, 2])?;
    let end = time.find(['Z', 'z', '+', '-']).unwrap_or(time.len());
    let (time, zone) = time.split_at(end);
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let [hour, minute, second] = fields(time, ':', [2, 2, 2])?;
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    if 23 < hour || 59 < minute || 60 < second {
        return None;
    }
    let seconds = days_since_1970(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second;
    let seconds = u64::try_from(seconds - zone_seconds(zone)?).ok()?;
    let nanos = u64::try_from(decimal(&format!("0.{fraction}"))?).ok()?;
    UNIX_EPOCH.checked_add(Duration::from_secs(seconds))?.checked_add(Duration::from_nanos(nanos))
}

/// Three numbers of so many digits each.
fn fields(text: &str, separator: char, digits: [usize; 3]) -> Option<[i64; 3]> {
    let mut parts = text.split(separator);
    let mut next = |digits: usize| {
        let part = parts.next().filter(|part| part.len() == digits)?;
        part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.parse().ok())?
    };
    let [a, b, c] = digits;
    let fields = [next(a)?, next(b)?, next(c)?];
    parts.next().is_none().then_some(fields)
}

/// The seconds that a zone (`Z`, `+02:00`, `-0530`, none) is ahead of UTC.
fn zone_seconds(zone: &str) -> Option<i64> {
    if matches!(zone, "" | "Z" | "z") {
        return Some(0);
    }
    let (sign, offset) = zone.split_at(1);
    let offset = offset.replace(':', "");
    if !matches!(offset.len(), 2 | 4) || !offset.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (hours, minutes) = offset.split_at(2);
    let hours: i64 = hours.parse().ok()?;
    let minutes: i64 = if minutes.is_empty() { 0 } else { minutes.parse().ok()? };
    let seconds = hours * 3_600 + minutes * 60;
    Some(if sign == "-" { -seconds } else { seconds })
}

/// Days of the Gregorian calendar, counted in years that begin in March, so that a leap day is the
/// last day of its year.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month < 3 { (year - 1, month + 9) } else { (year, month - 3) };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    365 * year + leap_days + day_of_year - DAYS_BEFORE_1970
}

/// From 1 March of the year 0 to 1970.
const DAYS_BEFORE_1970: i64 = 719_468;

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_785_542_400;

    fn clocks() -> Clocks {
        Clocks { sent: None, received: UNIX_EPOCH + Duration::from_secs(NOW) }
    }

    #[track_caller]
    fn check(texts: &[&str], millis: impl Into<Option<u64>>) {
        let expected = millis.into().map(Duration::from_millis);
        for text in texts {
            assert_eq!(clocks().wait(text, Unit::Seconds), expected, "{text:?}");
        }
    }

    #[test]
    fn a_number_is_a_length_or_an_instant_by_its_size() {
        check(&["57", "57.0", " 57 ", "057", "1785542457", "1785542457.0"], 57_000);
        check(&["1785542457000", "1785542457000000", "1785542457000000000"], 57_000);
        check(&["0", "0.0", "1785542400", "1785542300", "1785542399999", "1000000000"], 0);
        check(&["0.65", "1785542400.650", "1785542400650"], 650);
        check(&["31622400"], 31_622_400_000);
    }

    #[test]
    fn milliseconds_are_milliseconds_unless_they_are_an_instant() {
        let wait = |text| clocks().wait(text, Unit::Milliseconds);
        assert_eq!(wait("1500"), Some(Duration::from_millis(1_500)));
        assert_eq!(wait("1500.5"), Some(Duration::from_micros(1_500_500)));
        assert_eq!(wait("1785542401500"), Some(Duration::from_millis(1_500)));
        assert_eq!(wait("99999999999"), None, "three years");
    }

    #[test]
    fn durations_are_read_in_any_notation() {
        check(&["6m0s", "6m", "360s", "PT6M", "pt360s", "6 minutes", "6 min", "0h6m0.0s"], 360_000);
        check(&["1h2m3.5s", "1 hour, 2 minutes, 3.5 seconds", "PT1H2M3.5S"], 3_723_500);
        check(&["120ms", "120000us", "120000\u{b5}s", "0.12s", "120 milliseconds"], 120);
        check(&["1d", "P1D", "PT24H", "P1DT0S", "24h", "1 day"], 86_400_000);
        check(&["7.66s", "0m7.66s"], 7_660);
    }

    #[test]
    fn instants_are_read_in_any_notation() {
        check(&["2026-08-01T00:00:30Z", "2026-08-01t00:00:30z", "2026-08-01 00:00:30"], 30_000);
        check(&["2026-08-01T02:00:30+02:00", "2026-07-31T18:30:30-0530"], 30_000);
        check(&["2026-08-01T00:00:30.250Z", "2026-08-01T00:00:30.250000+00:00"], 30_250);
        check(&["Sat, 01 Aug 2026 00:00:30 GMT", "Sat Aug  1 00:00:30 2026"], 30_000);
        check(&["2025-01-01T00:00:00Z", "Thu, 01 Jan 1970 00:00:00 GMT"], 0);
        check(&["2027-02-28T00:00:00Z"], 211 * 86_400_000);
    }

    // FAULTS 226.
    #[test]
    fn what_cannot_be_read_or_meant_is_no_wait() {
        check(
            &["", "-1", "+1", "1e3", "soon", ".5", "5.", "1.2.3", "0x10", "1 2", "\u{661}"],
            None,
        );
        check(&["m", "5x", "5m5", "PT", "P", "P1M", "P1Y", "5 m s", "s5"], None);
        check(
            &["2026-13-01T00:00:00Z", "2026-08-01T24:00:00Z", "2026-08-01", "26-8-1T0:0:0"],
            None,
        );
        check(&["31622401", "999999999", "4102444800", "9999999999999", "100000d"], None);
        check(&["2126-08-01T00:00:00Z", "Fri, 31 Dec 9999 23:59:59 GMT"], None);
        check(&[&"9".repeat(24), &"9".repeat(60), &"9".repeat(20)], None);
    }

    #[test]
    fn an_instant_is_compared_with_the_clock_of_its_server() {
        let at = |seconds| Some(UNIX_EPOCH + Duration::from_secs(seconds));
        let wait = |sent| Clocks { sent, ..clocks() }.wait("1785543030", Unit::Seconds);
        assert_eq!(wait(at(NOW + 600)), Some(Duration::from_secs(30)));
        assert_eq!(wait(at(NOW - 600)), Some(Duration::from_secs(1_230)));
        assert_eq!(wait(at(0)), Some(Duration::from_secs(630)), "a clock that was never set");
    }
}
