//! The headers that tell clients their limits: three numbers in headers of their own, or the lists
//! of `draft.rs`.

mod draft;
mod number;

use http::{HeaderMap, HeaderName, header::Entry};
use ratelimit_algorithms::{Decision, Policy, UNLIMITED};
use smallvec::SmallVec;

pub use self::draft::QuotaUnit;
use self::draft::{LimitItems, PartitionKeys, PolicyItems};
pub(crate) use self::number::number;
use crate::limit::LimitKey;

/// The headers that describe a limit.
///
/// `draft-ietf-httpapi-ratelimit-headers` has changed several times, so each of its versions that is
/// in use has a variant of its own.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum HeaderFormat {
    /// `X-RateLimit-Limit`, `-Remaining` and `-Reset`, in seconds from now.
    XRateLimit,
    /// `RateLimit-Limit`, `-Remaining` and `-Reset`, in seconds from now, of draft 6.
    Draft6,
    /// `RateLimit-Policy: "api";q=100;w=60` and `RateLimit: "api";r=42;t=37`, of drafts 10 and 11.
    ///
    /// `w` is the time in which a spent limit becomes whole again, left out below a second, and of a
    /// limit that stands in for a store that failed. Of a calendar it is the length of the window at
    /// hand. `t` is the time until there is more, as far as
    /// the algorithm tells, left out where nothing is spent. `Retry-After` is never shorter.
    Draft10,
}

impl HeaderFormat {
    /// Writes the headers about a decision, for a handler that checks a limiter itself; none, if
    /// the limit is [only watched](Decision::is_watched).
    ///
    /// ```
    /// use http::{HeaderMap, HeaderName, header::Entry};
    /// use ratelimit_algorithms::{FixedWindow, Limiter};
    /// use ratelimit_http::HeaderFormat;
    /// use ratelimit_memory::Memory;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let limiter = Limiter::new(Memory::new(), "exports", FixedWindow::per_hour(3))?;
    /// let decision = limiter.check("user:42").now()?;
    ///
    /// let mut headers = HeaderMap::new();
    /// HeaderFormat::XRateLimit.write(&mut headers, &limiter.policy("user:42"), &decision);
    /// assert_eq!(headers["x-ratelimit-remaining"], "2");
    /// # Ok(())
    /// # }
    /// ```
    pub fn write(self, headers: &mut HeaderMap, policy: &Policy, decision: &Decision) {
        if decision.is_watched() {
            return;
        }
        match self {
            Self::XRateLimit => LimitFields::new(decision).write(headers, X_RATE_LIMIT),
            Self::Draft6 => LimitFields::new(decision).write(headers, DRAFT_6),
            Self::Draft10 => PolicyItems::new(policy).items(decision, None, None).write(headers),
        }
    }
}

/// The forms that a layer writes, and the fixed parts of what they say about its limits.
#[derive(Clone, Debug)]
pub(crate) struct Headers {
    formats: Vec<HeaderFormat>,
    /// In the order of the limits.
    limits: Vec<PolicyItems>,
    /// Names clients in draft 10, if they are to be named.
    partition_keys: Option<PartitionKeys>,
}

/// The decisions about one request, in the order of its keys.
pub(crate) struct LimitDecisions {
    pub(crate) each: SmallVec<[Decision; 1]>,
    /// The limit that bound: one that is enforced, if any is.
    pub(crate) bound: usize,
    /// The policies that decided; none if [`Headers::cover`] them.
    pub(crate) policies: Vec<Policy>,
}

/// The values that one response gets; none, for a request that was not counted, or whose limits
/// are all only watched.
#[derive(Default)]
pub(crate) struct PreparedHeaders {
    fields: Option<LimitFields>,
    /// For draft 10, in the order of the limits.
    items: Vec<LimitItems>,
}

impl Headers {
    pub(crate) fn new(policy: &Policy) -> Self {
        let (formats, limits) = (vec![HeaderFormat::XRateLimit], vec![PolicyItems::new(policy)]);
        Self { formats, limits, partition_keys: None }
    }

    /// Adds a limit that began with `policy`.
    pub(crate) fn add_limit(&mut self, policy: &Policy) {
        self.limits.push(PolicyItems::new(policy));
    }

    /// Sets the unit of the limit that was added last.
    pub(crate) fn set_unit(&mut self, unit: QuotaUnit) {
        if let Some(last) = self.limits.last_mut() {
            last.set_unit(unit);
        }
    }

    pub(crate) fn set_partition_secret(&mut self, secret: &[u8]) {
        self.partition_keys = Some(PartitionKeys::new(secret));
    }

    pub(crate) fn set_formats(&mut self, formats: impl IntoIterator<Item = HeaderFormat>) {
        self.formats.clear();
        for format in formats {
            if !self.formats.contains(&format) {
                self.formats.push(format);
            }
        }
    }

    /// Tells whether the fixed parts of a limit hold for `policy`: then nobody needs to say which
    /// policy has decided.
    pub(crate) fn cover(&self, limit: usize, policy: &Policy) -> bool {
        !self.tells_each() || self.limits.get(limit).is_none_or(|limit| limit.began_with(policy))
    }

    /// The values about `decisions` of `keys`, without limits that are only watched. A form with
    /// room for one limit has the one that bound.
    pub(crate) fn prepare(&self, decisions: &LimitDecisions, keys: &[LimitKey]) -> PreparedHeaders {
        if decisions.bound().is_watched() {
            return PreparedHeaders::default();
        }
        let items = if self.tells_each() { self.items(decisions, keys) } else { Vec::new() };
        PreparedHeaders { fields: Some(LimitFields::new(decisions.bound())), items }
    }

    fn tells_each(&self) -> bool {
        self.formats.contains(&HeaderFormat::Draft10)
    }

    fn items(&self, decisions: &LimitDecisions, keys: &[LimitKey]) -> Vec<LimitItems> {
        let each = keys.iter().zip(&decisions.each).enumerate();
        let told = each.filter(|(_, (_, decision))| !decision.is_watched());
        told.map(|(index, (LimitKey { limit, key }, decision))| {
            let partition = self.partition_keys.as_ref().map(|names| names.name(key));
            let policy = decisions.policies.get(index);
            self.limits[*limit].items(decision, policy, partition.as_deref())
        })
        .collect()
    }

    /// Writes what was prepared into the headers of a response.
    pub(crate) fn write(&self, headers: &mut HeaderMap, prepared: &PreparedHeaders) {
        let PreparedHeaders { fields: Some(fields), items } = prepared else { return };
        for format in &self.formats {
            match format {
                HeaderFormat::XRateLimit => fields.write(headers, X_RATE_LIMIT),
                HeaderFormat::Draft6 => fields.write(headers, DRAFT_6),
                HeaderFormat::Draft10 => items.iter().for_each(|item| item.write(headers)),
            }
        }
    }
}

impl LimitDecisions {
    /// The decision of the limit that bound.
    pub(crate) fn bound(&self) -> &Decision {
        &self.each[self.bound]
    }

    pub(crate) fn is_allowed(&self) -> bool {
        self.each.iter().all(Decision::is_allowed)
    }
}

/// The names of the headers for limit, remaining and reset.
type Names = [HeaderName; 3];

const X_RATE_LIMIT: Names = [
    HeaderName::from_static("x-ratelimit-limit"),
    HeaderName::from_static("x-ratelimit-remaining"),
    HeaderName::from_static("x-ratelimit-reset"),
];

const DRAFT_6: Names = [
    HeaderName::from_static("ratelimit-limit"),
    HeaderName::from_static("ratelimit-remaining"),
    HeaderName::from_static("ratelimit-reset"),
];

/// The values of the three headers.
struct LimitFields {
    limit: u64,
    remaining: u64,
    /// Seconds from now.
    reset: u64,
}

impl LimitFields {
    const fn new(decision: &Decision) -> Self {
        let Decision { limit, remaining, reset_after, .. } = *decision;
        Self { limit, remaining, reset: reset_after.as_secs_ceil() }
    }

    /// Writes the three headers, unless `headers` have a stricter limit already, or the limit has
    /// no bound.
    fn write(&self, headers: &mut HeaderMap, [limit, remaining, reset]: Names) {
        if self.limit == UNLIMITED {
            return;
        }
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
