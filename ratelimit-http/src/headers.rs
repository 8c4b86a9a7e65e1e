//! The `X-RateLimit-*` headers, and `Retry-After`.

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{Entry, RETRY_AFTER},
};
use ratelimit_algorithms::Decision;

const LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

/// Says how the key stands, unless `headers` tell of a stricter limit already.
pub(crate) fn mark(headers: &mut HeaderMap, decision: &Decision) {
    let ours = Budget::of(decision);
    match Budget::read(headers) {
        Some(theirs) if theirs.is_as_strict_as(&ours) => {}
        _ => ours.write(headers),
    }
}

/// Says when to come back, unless `headers` say so already.
pub(crate) fn retry_after(headers: &mut HeaderMap, seconds: u64) {
    if let Entry::Vacant(entry) = headers.entry(RETRY_AFTER) {
        entry.insert(number(seconds));
    }
}

/// What the three headers say together.
struct Budget {
    limit: u64,
    remaining: u64,
    /// Seconds from now.
    reset: u64,
}

impl Budget {
    const fn of(decision: &Decision) -> Self {
        let Decision { limit, remaining, reset_after, .. } = *decision;
        Self { limit, remaining, reset: reset_after.as_secs_ceil() }
    }

    /// `None` unless each of the three is there, once, and a number.
    fn read(headers: &HeaderMap) -> Option<Self> {
        let read = |name| {
            let mut values = headers.get_all(name).iter();
            let value = values.next()?.to_str().ok()?.parse().ok()?;
            values.next().is_none().then_some(value)
        };
        Some(Self { limit: read(LIMIT)?, remaining: read(REMAINING)?, reset: read(RESET)? })
    }

    fn is_as_strict_as(&self, other: &Self) -> bool {
        self.remaining < other.remaining
            || self.remaining == other.remaining && other.reset <= self.reset
    }

    /// Replaces all that was said before.
    fn write(&self, headers: &mut HeaderMap) {
        headers.insert(LIMIT, number(self.limit));
        headers.insert(REMAINING, number(self.remaining));
        headers.insert(RESET, number(self.reset));
    }
}

/// In one allocation of its own size, where `HeaderValue::from(u64)` makes two.
fn number(value: u64) -> HeaderValue {
    let mut digits = [0; NUMBER_MAX.ilog10() as usize + 1];
    let mut start = digits.len();
    let mut rest = value.min(NUMBER_MAX);
    loop {
        start -= 1;
        digits[start] = b'0' + u8::try_from(rest % 10).expect("a digit is small");
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    HeaderValue::from_bytes(&digits[start..]).expect("digits are visible characters")
}

/// The largest integer of a structured field (RFC 9651): 15 digits.
const NUMBER_MAX: u64 = 999_999_999_999_999;
