//! What a server has said of its limits, for its clients.

mod dates;
mod lists;
mod numbers;
mod structured_field;

use std::time::{Duration, SystemTime};

use http::HeaderMap;

/// What a server has said of its limits in the head of a response, in whichever form.
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
/// What makes no sense counts as not said, whoever has sent it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Advice {
    /// How long to wait before the next request (`Retry-After`).
    pub retry_after: Option<Duration>,
    /// Each limit that was told of: those of draft 10 by their names, then that of draft 6, then
    /// that of `X-RateLimit-*`.
    pub limits: Vec<AdvisedLimit>,
}

/// What was said of one limit. `None` is for what was not.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct AdvisedLimit {
    /// Its name.
    pub name: Option<String>,
    /// The most that can be spent.
    pub limit: Option<u64>,
    /// The time in which that much can be spent.
    pub window: Option<Duration>,
    /// What is left.
    pub remaining: Option<u64>,
    /// How long it takes until there is more, or all of it.
    pub reset_after: Option<Duration>,
    /// What is counted, if not requests.
    pub unit: Option<String>,
    /// Whose limit it is: bytes that are the same for the same client.
    pub partition_key: Option<Vec<u8>>,
}

impl Advice {
    /// What is said in `headers`, which were received at `now`.
    ///
    /// The time matters where an instant was named. A `Retry-After` with a date is compared with
    /// the response's own `Date`, if there is one, since clocks differ; an `X-RateLimit-Reset` of
    /// more than 10^9 is seconds since 1970, which some servers say.
    #[must_use]
    pub fn read(headers: &HeaderMap, now: SystemTime) -> Self {
        let mut limits = lists::read(headers);
        limits.extend(numbers::draft_6(headers));
        limits.extend(numbers::x_rate_limit(headers, now));
        Self { retry_after: dates::retry_after(headers, now), limits }
    }

    /// How long to wait before the next request, if it is to be admitted; `None` if it need not
    /// wait.
    ///
    /// That is as long as `Retry-After` says, whatever else is said. Without it, it is until there
    /// is more of every limit of which nothing is left: of those of draft 10, if any is told of,
    /// since the other forms mostly tell when there is all of it.
    #[must_use]
    pub fn wait(&self) -> Option<Duration> {
        let wait = self.retry_after.or_else(|| self.until_more());
        wait.filter(|wait| !wait.is_zero())
    }

    fn until_more(&self) -> Option<Duration> {
        let told = self.limits.iter().filter(|limit| limit.remaining.is_some());
        let has_names = told.clone().any(|limit| limit.name.is_some());
        let told = told.filter(|limit| limit.name.is_some() == has_names);
        told.filter(|limit| limit.remaining == Some(0)).filter_map(|limit| limit.reset_after).max()
    }
}
