//! Three headers of a number each: what `X-RateLimit-*` and draft 6 have in common.

use http::{HeaderMap, HeaderName};
use ratelimit_algorithms::Decision;

use super::number;

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

/// Says how the key stands, unless `headers` tell of a stricter limit already.
pub(super) fn mark(headers: &mut HeaderMap, names: Names, decision: &Decision) {
    let ours = Budget::of(decision);
    match Budget::read(headers, &names) {
        Some(theirs) if theirs.is_as_strict_as(&ours) => {}
        _ => ours.write(headers, names),
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
    fn read(headers: &HeaderMap, [limit, remaining, reset]: &Names) -> Option<Self> {
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

    /// Replaces all that was said before.
    fn write(&self, headers: &mut HeaderMap, [limit, remaining, reset]: Names) {
        headers.insert(limit, number(self.limit));
        headers.insert(remaining, number(self.remaining));
        headers.insert(reset, number(self.reset));
    }
}
