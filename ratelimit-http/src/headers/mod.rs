//! What a response tells of the limit: one file for each form that there is.

pub(crate) mod draft;
mod known;
mod partition_key;
pub(crate) mod x_ratelimit;

use http::{
    HeaderMap, HeaderValue,
    header::{Entry, RETRY_AFTER},
};
use ratelimit_algorithms::Policy;

use self::{draft::Item, known::Known, partition_key::Partitions, x_ratelimit::Budget};
use crate::{RequestKey, admission::Standing};

/// The headers that tell of a limit.
///
/// `draft-ietf-httpapi-ratelimit-headers` has changed its mind several times, so each of its
/// versions that is in use has a variant of its own.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum HeaderFormat {
    /// `X-RateLimit-Limit`, `-Remaining` and `-Reset`, in seconds from now.
    XRateLimit,
    /// `RateLimit-Limit`, `-Remaining` and `-Reset`, in seconds from now, of draft 6.
    Draft6,
    /// `RateLimit-Policy: "api";q=100;w=60` and `RateLimit: "api";r=42;t=37`, of draft 10.
    ///
    /// `w` is the time in which a limit that is spent is whole again, left out where that is less
    /// than a second; `t` the time until there is more, as far as the algorithm tells, left out
    /// where nothing is spent.
    Draft10,
}

/// What the permits of a limit are, as draft 10 tells clients.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum QuotaUnit {
    /// Requests, as where nothing is said.
    Requests,
    /// Bytes of what is sent and received.
    ContentBytes,
    /// Requests that are worked on at a time.
    ConcurrentRequests,
}

impl QuotaUnit {
    const fn name(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::ContentBytes => "content-bytes",
            Self::ConcurrentRequests => "concurrent-requests",
        }
    }
}

/// The forms that a layer uses, and what they say of its policy every time.
#[derive(Clone, Debug)]
pub(crate) struct Headers {
    formats: Vec<HeaderFormat>,
    /// In the order of the limits.
    items: Vec<Known>,
    /// By which draft 10 tells clients apart, if it does.
    partitions: Option<Partitions>,
}

impl Headers {
    pub(crate) fn new(policy: &Policy) -> Self {
        let (formats, items) = (vec![HeaderFormat::XRateLimit], vec![Known::new(policy)]);
        Self { formats, items, partitions: None }
    }

    /// One more policy.
    pub(crate) fn add(&mut self, policy: &Policy) {
        self.items.push(Known::new(policy));
    }

    /// Says what the limit that came last counts.
    pub(crate) fn count(&mut self, unit: QuotaUnit) {
        if let Some(last) = self.items.last_mut() {
            last.count(unit);
        }
    }

    pub(crate) fn partition(&mut self, secret: &[u8]) {
        self.partitions = Some(Partitions::new(secret));
    }

    pub(crate) fn set(&mut self, formats: impl IntoIterator<Item = HeaderFormat>) {
        self.formats.clear();
        for format in formats {
            if !self.formats.contains(&format) {
                self.formats.push(format);
            }
        }
    }

    /// Whether nothing else is to be said of these policies, one of each limit, than of those that
    /// the limits had from the start.
    pub(crate) fn know<'a>(&self, policies: impl IntoIterator<Item = &'a Policy>) -> bool {
        let mut policies = self.items.iter().zip(policies);
        !self.formats.contains(&HeaderFormat::Draft10)
            || policies.all(|(known, policy)| known.is_about(policy))
    }

    /// What is to be said of how these keys, one of each limit, stand: of several, where there is
    /// room for one, of that which bound.
    pub(crate) fn lines<'a>(
        &self,
        standing: &Standing,
        keys: impl Iterator<Item = &'a RequestKey>,
    ) -> Lines {
        let is_told_of_each = self.formats.contains(&HeaderFormat::Draft10);
        let items = if is_told_of_each { self.items(standing, keys) } else { Vec::new() };
        Lines { budget: Some(Budget::of(standing.bound())), items }
    }

    fn items<'a>(
        &self,
        standing: &Standing,
        keys: impl Iterator<Item = &'a RequestKey>,
    ) -> Vec<Item> {
        let each = self.items.iter().zip(&standing.each).zip(keys).enumerate();
        each.map(|(limit, ((known, decision), key))| {
            let partition = self.partitions.as_ref().map(|partitions| partitions.name(key));
            known.item(decision, standing.policy(limit), partition.as_deref())
        })
        .collect()
    }

    /// Says it.
    pub(crate) fn mark(&self, headers: &mut HeaderMap, lines: &Lines) {
        let Lines { budget: Some(budget), items } = lines else { return };
        for format in &self.formats {
            match format {
                HeaderFormat::XRateLimit => budget.mark(headers, x_ratelimit::X_RATE_LIMIT),
                HeaderFormat::Draft6 => budget.mark(headers, x_ratelimit::DRAFT_6),
                HeaderFormat::Draft10 => items.iter().for_each(|item| item.mark(headers)),
            }
        }
    }
}

/// What a response is to say of the limits; nothing, of a request that was not counted.
#[derive(Default)]
pub(crate) struct Lines {
    budget: Option<Budget>,
    /// For draft 10, in the order of the limits.
    items: Vec<Item>,
}

/// Says when to come back, unless `headers` say so already.
pub(crate) fn retry_after(headers: &mut HeaderMap, seconds: u64) {
    if let Entry::Vacant(entry) = headers.entry(RETRY_AFTER) {
        entry.insert(number(seconds));
    }
}

/// A number as a header's value: most are small, and take no allocation.
pub(crate) fn number(value: u64) -> HeaderValue {
    match usize::try_from(value).ok().and_then(|value| SMALL.get(value)) {
        Some(digits) => {
            let text = str::from_utf8(significant(digits)).expect("digits are text");
            HeaderValue::from_static(text)
        }
        None => large_number(value),
    }
}

/// In one allocation of its own size, where `HeaderValue::from(u64)` makes two.
fn large_number(value: u64) -> HeaderValue {
    let mut digits = [[0; 4]; NUMBER_MAX.ilog10() as usize / 4 + 1];
    let mut rest = value.min(NUMBER_MAX);
    for four in digits.iter_mut().rev() {
        *four = SMALL[(rest % 10_000) as usize];
        rest /= 10_000;
    }
    HeaderValue::from_bytes(significant(digits.as_flattened())).expect("digits are visible")
}

/// Without zeros in front, but for the last digit.
fn significant(digits: &[u8]) -> &[u8] {
    let zeros = digits.iter().take_while(|&&digit| digit == b'0').count();
    &digits[zeros.min(digits.len() - 1)..]
}

/// The numbers of four digits: hours in seconds, and what most limits are.
static SMALL: [[u8; 4]; 10_000] = {
    let mut all = [[0; 4]; 10_000];
    let mut number = 0;
    while number < all.len() {
        let n = number as u64;
        all[number] = [digit(n / 1_000), digit(n / 100), digit(n / 10), digit(n)];
        number += 1;
    }
    all
};

/// The last digit of a number.
const fn digit(number: u64) -> u8 {
    b'0' + (number % 10) as u8
}

/// The largest integer of a structured field (RFC 9651): 15 digits.
const NUMBER_MAX: u64 = 999_999_999_999_999;
