//! `X-RateLimit-*`, and the same three numbers under the names of draft 6.

use http::{HeaderMap, HeaderName, HeaderValue, header::Entry};
use ratelimit_algorithms::Decision;

/// The names of the headers for limit, remaining and reset.
pub(crate) type Names = [HeaderName; 3];

pub(crate) const X_RATE_LIMIT: Names = [
    HeaderName::from_static("x-ratelimit-limit"),
    HeaderName::from_static("x-ratelimit-remaining"),
    HeaderName::from_static("x-ratelimit-reset"),
];

pub(crate) const DRAFT_6: Names = [
    HeaderName::from_static("ratelimit-limit"),
    HeaderName::from_static("ratelimit-remaining"),
    HeaderName::from_static("ratelimit-reset"),
];

/// The values of the three headers.
pub(super) struct LimitFields {
    limit: u64,
    remaining: u64,
    /// Seconds from now.
    reset: u64,
}

impl LimitFields {
    pub(super) const fn new(decision: &Decision) -> Self {
        let Decision { limit, remaining, reset_after, .. } = *decision;
        Self { limit, remaining, reset: reset_after.as_secs_ceil() }
    }

    /// Writes the three headers, unless `headers` tell of a stricter limit already.
    pub(super) fn write(&self, headers: &mut HeaderMap, [limit, remaining, reset]: Names) {
        let is_first = match headers.entry(&limit) {
            Entry::Vacant(entry) => {
                entry.insert(number(self.limit));
                true
            }
            Entry::Occupied(_) => false,
        };
        if !is_first {
            let theirs = Self::read(headers, [&limit, &remaining, &reset]);
            if theirs.is_some_and(|theirs| theirs.is_as_strict_as(self)) {
                return;
            }
            headers.insert(limit, number(self.limit));
        }
        headers.insert(remaining, number(self.remaining));
        headers.insert(reset, number(self.reset));
    }

    /// Reads the three headers; `None` unless each is there once and is a number.
    fn read(headers: &HeaderMap, [limit, remaining, reset]: [&HeaderName; 3]) -> Option<Self> {
        let read = |name: &HeaderName| {
            let mut values = headers.get_all(name).iter();
            let value = values.next()?.to_str().ok()?.parse().ok()?;
            values.next().is_none().then_some(value)
        };
        Some(Self { limit: read(limit)?, remaining: read(remaining)?, reset: read(reset)? })
    }

    fn is_as_strict_as(&self, other: &Self) -> bool {
        self.remaining < other.remaining
            || self.remaining == other.remaining && other.reset <= self.reset
    }
}

/// The largest integer of a structured field (RFC 9651): 15 digits.
pub(crate) const NUMBER_MAX: u64 = 999_999_999_999_999;

/// A number as a header's value, in one allocation of its size; `HeaderValue::from` makes two.
pub(crate) fn number(value: u64) -> HeaderValue {
    let mut digits = itoa::Buffer::new();
    HeaderValue::from_str(digits.format(value.min(NUMBER_MAX))).expect("digits are visible")
}
