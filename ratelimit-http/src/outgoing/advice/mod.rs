//! Limits and waits that servers tell their clients of.

mod lists;
mod structured_field;
mod time_value;

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use http::{HeaderMap, HeaderName, HeaderValue, header::RETRY_AFTER};

pub use self::lists::AdvisedLimit;
use self::{
    lists::{LIMITS_MAX, by_keyword},
    time_value::{Clocks, Unit},
};

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
        let (fields, field_ignored) = vendor_limits(headers, &clocks);
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
            let wait = text(line).and_then(|text| clocks.wait(text, unit));
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

/// Returns the limits in fields of one value each, and the number of fields that make no sense.
///
/// The words of a field's name tell everything: the vendor, `ratelimit`, one of `limit`, `remaining`
/// and `reset`, and the scope if there are several limits (`requests`, `input-tokens`, `minute`), in
/// any order. Fields that differ in `limit`, `remaining` and `reset` only are one limit.
fn vendor_limits(headers: &HeaderMap, clocks: &Clocks) -> (Vec<AdvisedLimit>, usize) {
    let mut limits: BTreeMap<Id<'_>, Values> = BTreeMap::new();
    let (mut more, mut ignored) = (Vec::new(), 0);
    for name in headers.keys() {
        let Some((id, kind)) = parse(name.as_str()) else { continue };
        let value = the_only(headers, name);
        let Some(kind) = kind else {
            // Zendesk: `total=100; remaining=0; resets=9`.
            more.extend(value.and_then(|value| by_keyword(value.as_bytes(), clocks)));
            continue;
        };
        if limits.len() == LIMITS_MAX && !limits.contains_key(&id) {
            continue;
        }
        let is_read = value
            .and_then(|value| text(value))
            .and_then(|text| limits.entry(id).or_default().set(kind, text, clocks));
        ignored += usize::from(is_read.is_none());
    }
    let read = limits.iter().filter_map(|(id, values)| {
        let reset = values.reset().or_else(|| limits.get(&id.of_all())?.reset());
        values.limit(&id.scope, reset)
    });
    (read.chain(more).collect(), ignored)
}

/// The part of a field's name that all fields of one limit share.
#[derive(Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Id<'a> {
    vendor: &'a str,
    spelling: &'static str,
    /// Words that tell the limits of one vendor apart.
    scope: String,
}

impl Id<'_> {
    /// The limit without a scope, whose reset is that of limits that tell of none.
    fn of_all(&self) -> Self {
        Self { scope: String::new(), ..*self }
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    Limit,
    Remaining,
    /// A length or an instant.
    Reset(Unit),
    /// A length.
    ResetAfter(Unit),
}

/// `None` if the field is not about a limit. No kind if its name does not say which part of one.
fn parse(name: &str) -> Option<(Id<'_>, Option<Kind>)> {
    let find = |spelling| name.find(spelling).map(|start| (spelling, start));
    let (spelling, start) = SPELLINGS.into_iter().find_map(find)?;
    let (vendor, rest) = (&name[..start], &name[start + spelling.len()..]);
    let words = || rest.split('-').filter(|word| !word.is_empty());
    let has = |word| words().any(|each| each == word);
    // `RateLimit` is a list, and `x-ratelimit-retry-after` is about requests, not about a limit.
    if name == spelling || has("retry") {
        return None;
    }
    let unit = if words().any(|word| MILLISECONDS.contains(&word)) {
        Unit::Milliseconds
    } else {
        Unit::Seconds
    };
    let is_reset = has("reset") || has("resets");
    let kind = if has("remaining") {
        Some(Kind::Remaining)
    } else if has("after") || is_reset && has("in") {
        Some(Kind::ResetAfter(unit))
    } else if is_reset {
        Some(Kind::Reset(unit))
    } else if has("limit") || rest.is_empty() {
        Some(Kind::Limit)
    } else {
        None
    };
    let is_scope = |word: &&str| !MILLISECONDS.contains(word) && !KIND_WORDS.contains(word);
    let scope = words().filter(is_scope).collect::<Vec<_>>().join("-");
    Some((Id { vendor, spelling, scope }, kind))
}

const SPELLINGS: [&str; 2] = ["ratelimit", "rate-limit"];

const MILLISECONDS: [&str; 4] = ["ms", "millis", "milliseconds", "msec"];

/// Words that say what a value is, and not of which limit.
const KIND_WORDS: [&str; 15] = [
    "limit",
    "remaining",
    "reset",
    "resets",
    "retry",
    "after",
    "in",
    "at",
    "on",
    "time",
    "date",
    "timestamp",
    "epoch",
    "unix",
    "seconds",
];

/// The values of one limit.
#[derive(Debug, Default)]
struct Values {
    limit: Option<u64>,
    /// A limit below zero means that there is none.
    is_unlimited: bool,
    remaining: Option<u64>,
    reset: Option<Duration>,
    reset_after: Option<Duration>,
}

impl Values {
    /// `None` if the text makes no sense.
    fn set(&mut self, kind: Kind, text: &str, clocks: &Clocks) -> Option<()> {
        match kind {
            Kind::Limit => {
                let limit = count(text)?;
                self.is_unlimited = limit.is_none();
                self.limit = limit;
            }
            // Below zero more was spent than there was.
            Kind::Remaining => self.remaining = Some(count(text)?.unwrap_or(0)),
            Kind::Reset(unit) => self.reset = Some(wait(text, unit, clocks)?),
            Kind::ResetAfter(unit) => self.reset_after = Some(wait(text, unit, clocks)?),
        }
        Some(())
    }

    /// A length needs no clock, and so is the better one of two.
    fn reset(&self) -> Option<Duration> {
        self.reset_after.or(self.reset)
    }

    fn limit(&self, scope: &str, reset_after: Option<Duration>) -> Option<AdvisedLimit> {
        let Self { limit, remaining, .. } = *self;
        let limit = AdvisedLimit { limit, remaining, reset_after, ..AdvisedLimit::default() };
        if self.is_unlimited || limit == AdvisedLimit::default() {
            return None;
        }
        let name = (!scope.is_empty()).then(|| scope.to_owned());
        Some(AdvisedLimit { name, ..limit })
    }
}

/// The whole part of a number; of several, as in `10, 10;w=1`, of the first. `Some(None)` if it is
/// below zero.
fn count(text: &str) -> Option<Option<u64>> {
    let text = first(text);
    let (text, is_negative) = text.strip_prefix('-').map_or((text, false), |text| (text, true));
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !is_digits(whole) || !is_digits(fraction) {
        return None;
    }
    let is_zero = [whole, fraction].concat().bytes().all(|byte| byte == b'0');
    if is_negative && !is_zero {
        return Some(None);
    }
    Some(Some(whole.parse().unwrap_or(u64::MAX)))
}

fn wait(text: &str, unit: Unit, clocks: &Clocks) -> Option<Duration> {
    // A date has a comma of its own.
    clocks.wait(text, unit).or_else(|| clocks.wait(first(text), unit))
}

fn first(text: &str) -> &str {
    text.split([',', ';']).next().unwrap_or_default().trim()
}

/// The value of a field that occurs once.
fn the_only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    values.next().is_none().then_some(value)
}

/// The text of a value; `None` if it is longer than a date or a number can be.
fn text(value: &HeaderValue) -> Option<&str> {
    value.to_str().ok().filter(|text| text.len() <= TEXT_MAX)
}

const TEXT_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, vendor: &str, scope: &str, kind: Option<Kind>) {
        let (id, found) = parse(name).expect("name is about a limit");
        assert_eq!((id.vendor, &*id.scope, found), (vendor, scope, kind), "{name}");
    }

    #[test]
    fn a_name_says_what_its_value_is() {
        let (reset, after) = (Kind::Reset(Unit::Seconds), Kind::ResetAfter(Unit::Seconds));
        check("ratelimit-limit", "", "", Some(Kind::Limit));
        check("x-rate-limit", "x-", "", Some(Kind::Limit));
        check("x-rate-limit-limit", "x-", "", Some(Kind::Limit));
        check("x-ratelimit-reset", "x-", "", Some(reset));
        check("x-ratelimit-reset-after", "x-", "", Some(after));
        check("x-ratelimit-after", "x-", "", Some(after));
        check("x-ratelimit-reset-in-seconds", "x-", "", Some(after));
        check("x-ratelimit-in-flight-limit", "x-", "flight", Some(Kind::Limit));
        check("x-ratelimit-reset-ms", "x-", "", Some(Kind::Reset(Unit::Milliseconds)));
        check("x-ratelimit-remaining-requests", "x-", "requests", Some(Kind::Remaining));
        check("x-ratelimit-requests-remaining", "x-", "requests", Some(Kind::Remaining));
        check("x-ratelimit-limit-minute", "x-", "minute", Some(Kind::Limit));
        check("anthropic-ratelimit-input-tokens-reset", "anthropic-", "input-tokens", Some(reset));
        check("x-ratelimit-resource", "x-", "resource", None);
        check("ratelimit-policy", "", "policy", None);
        for other in ["ratelimit", "retry-after", "x-ratelimit-retry-after"] {
            assert_eq!(parse(other), None, "{other}");
        }
        assert_eq!(parse("x-request-limit"), None);
    }

    #[test]
    fn a_count_is_a_number_in_front() {
        assert_eq!(
            ["0", "0.0", "0.9", "-0", "7", "7.5"].map(count),
            [0, 0, 0, 0, 7, 7].map(|n| Some(Some(n)))
        );
        assert_eq!(
            ["10, 10;w=1", "100;w=60", " 5 "].map(count),
            [10, 100, 5].map(|n| Some(Some(n)))
        );
        assert_eq!(["-1", "-0.5"].map(count), [Some(None); 2]);
        assert_eq!(["", "many", "1e3", "0x1", "+1", "--1"].map(count), [None; 6]);
    }
}
