//! `Retry-After`: seconds, or a date.

use std::time::{Duration, SystemTime};

use http::{
    HeaderMap, HeaderValue,
    header::{DATE, RETRY_AFTER},
};
use httpdate::parse_http_date;

use super::numbers::number;

/// The longest that any line asks for.
pub(super) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let lines = headers.get_all(RETRY_AFTER).iter();
    lines
        .filter_map(|line| {
            number(line).map(Duration::from_secs).or_else(|| until(line, headers, now))
        })
        .max()
}

/// The time to the date in `line`, zero if it is past.
fn until(line: &HeaderValue, headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let date = |value: &HeaderValue| parse_http_date(value.to_str().ok()?).ok();
    let sent = headers.get(DATE).and_then(date).unwrap_or(now);
    Some(date(line)?.duration_since(sent).unwrap_or_default())
}
