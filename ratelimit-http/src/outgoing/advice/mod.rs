//! Limits and waits that servers tell their clients of.

mod fields;
mod lists;
mod structured_field;
mod time_value;

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, header::RETRY_AFTER};

pub use self::lists::AdvisedLimit;
use self::time_value::{Clocks, Unit};

/// The limits and the wait in the head of a response, in whichever form.
///
/// ```
/// use std::time::{Duration, SystemTime};
///
/// use http::{HeaderMap, HeaderValue};
/// use ratelimit_http::Advice;
///
/// let mut headers = HeaderMap::new();
/// let policy = r#""burst";q=100;w=60, "daily";q=5000;w=86400"#;
/// headers.insert("ratelimit-policy", HeaderValue::from_static(policy));
/// headers.insert("ratelimit", HeaderValue::from_static(r#""burst";r=0;t=37"#));
///
/// let advice = Advice::read(&headers, SystemTime::now());
/// assert_eq!(advice.wait(), Some(Duration::from_secs(37)));
/// assert_eq!(advice.limits[1].name.as_deref(), Some("daily"));
/// ```
///
/// # Fields
///
/// - `Retry-After`, and `retry-after-ms`, `x-ms-retry-after-ms`, `x-amz-retry-after` in
///   milliseconds;
/// - `RateLimit` and `RateLimit-Policy` of drafts 7 to 10, `RateLimit-Limit`, `-Remaining` and
///   `-Reset` of drafts 3 to 6;
/// - `X-RateLimit-*`, `X-Rate-Limit-*`, and the like of any vendor: `x-ratelimit-reset-after`,
///   `x-ratelimit-remaining-tokens`, `anthropic-ratelimit-requests-reset`.
///
/// # Times
///
/// In each of them a time is seconds or milliseconds from now or since 1970, with or without a
/// fraction, a date, an instant of ISO 8601, or a duration such as `6m0s`. Its size tells which it
/// is. Instants are compared with the response's `Date`, if it has one, since clocks differ.
///
/// A value that cannot be read, or that means a wait of more than a year, is
/// [ignored](Self::ignored), and so is a field that occurs twice.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Advice {
    /// The time to wait before the next request (`Retry-After`).
    pub retry_after: Option<Duration>,
    /// The limits: those of draft 8 to 10, then that of draft 7, then those of drafts 3 to 6, and
    /// of vendors by their names.
    pub limits: Vec<AdvisedLimit>,
    /// The number of values that were ignored because they make no sense.
    pub ignored: usize,
    /// The number of limits that say when there is more, and not when there is all: the first.
    precise: usize,
}

impl Advice {
    /// Reads `headers`, which were received at `now`.
    #[must_use]
    pub fn read(headers: &HeaderMap, now: SystemTime) -> Self {
        let clocks = Clocks::new(headers, now);
        let (mut limits, list_ignored) = lists::read(headers, &clocks);
        let precise = limits.len();
        limits.extend(lists::draft_7(headers, &clocks));
        let (fields, field_ignored) = fields::read(headers, &clocks);
        limits.extend(fields);
        let (retry_after, ignored) = retry_after(headers, &clocks);
        Self { retry_after, limits, ignored: ignored + list_ignored + field_ignored, precise }
    }

    /// Returns the time to wait before the next request; `None` if it need not wait.
    ///
    /// That is `Retry-After`, whatever else is said. Without it, it is the time until every limit
    /// of which nothing is left has more: of those of drafts 8 to 10, if there are any, since the
    /// other forms mostly tell when there is all of it.
    #[must_use]
    pub fn wait(&self) -> Option<Duration> {
        let wait = self.retry_after.or_else(|| self.until_more());
        wait.filter(|wait| !wait.is_zero())
    }

    fn until_more(&self) -> Option<Duration> {
        let (precise, others) = self.limits.split_at(self.precise.min(self.limits.len()));
        let is_told = |limit: &&AdvisedLimit| limit.remaining.is_some();
        let limits = if precise.iter().any(|limit| is_told(&limit)) { precise } else { others };
        let spent = limits.iter().filter(|limit| limit.remaining == Some(0));
        spent.filter_map(|limit| limit.reset_after).max()
    }
}

/// Returns the longest wait that any line asks for, and the number of lines that make no sense.
fn retry_after(headers: &HeaderMap, clocks: &Clocks) -> (Option<Duration>, usize) {
    let (mut longest, mut ignored) = (None, 0);
    for (name, unit) in RETRY_FIELDS {
        for line in headers.get_all(name) {
            let wait = fields::text(line).and_then(|text| clocks.wait(text, unit));
            longest = longest.max(wait);
            ignored += usize::from(wait.is_none());
        }
    }
    (longest, ignored)
}

const RETRY_FIELDS: [(HeaderName, Unit); 8] = [
    (RETRY_AFTER, Unit::Seconds),
    (HeaderName::from_static("x-retry-after"), Unit::Seconds),
    (HeaderName::from_static("x-ratelimit-retry-after"), Unit::Seconds),
    (HeaderName::from_static("x-rate-limit-retry-after"), Unit::Seconds),
    (HeaderName::from_static("x-ratelimit-retry-after-ms"), Unit::Milliseconds),
    (HeaderName::from_static("retry-after-ms"), Unit::Milliseconds),
    (HeaderName::from_static("x-ms-retry-after-ms"), Unit::Milliseconds),
    (HeaderName::from_static("x-amz-retry-after"), Unit::Milliseconds),
];
