//! Three headers of a number each: `X-RateLimit-*`, and those of draft 6.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderName, HeaderValue};

use super::AdvisedLimit;
use crate::headers::x_ratelimit::{DRAFT_6, Names, X_RATE_LIMIT};

/// Seconds from now.
pub(super) fn draft_6(headers: &HeaderMap) -> Option<AdvisedLimit> {
    read(headers, &DRAFT_6, Duration::from_secs)
}

/// Seconds from now, or since 1970.
pub(super) fn x_rate_limit(headers: &HeaderMap, now: SystemTime) -> Option<AdvisedLimit> {
    read(headers, &X_RATE_LIMIT, |seconds| {
        let told = Duration::from_secs(seconds);
        if told <= SINCE_1970 {
            return told;
        }
        told.saturating_sub(now.duration_since(UNIX_EPOCH).unwrap_or_default())
    })
}

/// No window is that long, and since then all instants are later.
const SINCE_1970: Duration = Duration::from_secs(1_000_000_000);

/// `None` unless one of them is there.
fn read(
    headers: &HeaderMap,
    [limit, remaining, reset]: &Names,
    reset_after: impl Fn(u64) -> Duration,
) -> Option<AdvisedLimit> {
    let the_only = |name: &HeaderName| {
        let mut values = headers.get_all(name).iter();
        let value = number(values.next()?)?;
        values.next().is_none().then_some(value)
    };
    let told = AdvisedLimit {
        limit: the_only(limit),
        remaining: the_only(remaining),
        reset_after: the_only(reset).map(reset_after),
        ..AdvisedLimit::default()
    };
    (told != AdvisedLimit::default()).then_some(told)
}

/// A number in digits alone; one that is too large is as large as can be.
pub(super) fn number(value: &HeaderValue) -> Option<u64> {
    let digits = value.to_str().ok()?.trim();
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().unwrap_or(u64::MAX))
}
