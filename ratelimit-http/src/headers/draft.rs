//! `RateLimit-Policy` and `RateLimit` of drafts 10 and 11: lists with an item for each limit.

use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use blake3::KEY_LEN;
use http::{HeaderMap, HeaderName, HeaderValue};
use ratelimit_algorithms::{Decision, Micros, Policy, Source, UNLIMITED};

use super::number::NUMBER_MAX;
use crate::RequestKey;

pub(crate) const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
pub(crate) const LIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// The unit of a limit's permits, as draft 10 tells it to clients.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum QuotaUnit {
    /// Requests, the unit of a limit that names none.
    Requests,
    /// Bytes sent and received.
    ContentBytes,
    /// Requests in flight, the unit of a limit of permits in flight that names none.
    ConcurrentRequests,
    /// Tokens of a language model; draft 10 has not registered this one.
    Tokens,
}

/// The fixed parts of one limit's items, for the policy that it began with and for those that it
/// has had since.
#[derive(Clone, Debug)]
pub(super) struct PolicyItems {
    first: Policy,
    unit: Option<QuotaUnit>,
    item: PolicyItem,
    others: Arc<RwLock<Vec<(Policy, PolicyItem)>>>,
}

/// The fixed parts of one policy's items.
#[derive(Clone, Debug)]
struct PolicyItem {
    /// The name as a string of RFC 9651; none of its characters needs an escape.
    name: Arc<str>,
    value: HeaderValue,
    policy: Policy,
    unit: Option<QuotaUnit>,
}

/// An item of each of the two lists.
pub(super) struct LimitItems {
    name: Arc<str>,
    policy: HeaderValue,
    limit: HeaderValue,
    /// False for a limit without a bound: there is nothing to tell.
    is_told: bool,
}

impl PolicyItems {
    pub(super) fn new(first: &Policy) -> Self {
        let item = PolicyItem::new(first, None);
        Self { first: first.clone(), unit: None, item, others: Arc::default() }
    }

    pub(super) fn set_unit(&mut self, unit: QuotaUnit) {
        self.unit = Some(unit);
        self.item = PolicyItem::new(&self.first, self.unit);
        self.others = Arc::default();
    }

    /// Tells whether the limit began with this policy.
    pub(super) fn began_with(&self, policy: &Policy) -> bool {
        self.first.is(policy)
    }

    /// The items about a decision by `policy` (the first one, if none is given) for the client
    /// named `partition` (in base64).
    pub(super) fn items(
        &self,
        decision: &Decision,
        policy: Option<&Policy>,
        partition: Option<&str>,
    ) -> LimitItems {
        if decision.source() == Source::Local {
            return self.item.standing_in(decision, self.unit).items(decision, partition);
        }
        match policy.filter(|policy| !self.began_with(policy)) {
            Some(policy) => self.item_of(policy).items(decision, partition),
            None => self.item.items(decision, partition),
        }
    }

    fn item_of(&self, policy: &Policy) -> PolicyItem {
        // A poisoned lock is as good as any: nothing is ever half changed.
        let others = self.others.read().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, item)) = others.iter().find(|(known, _)| known.is(policy)) {
            return item.clone();
        }
        drop(others);
        let item = PolicyItem::new(policy, self.unit);
        let mut others = self.others.write().unwrap_or_else(PoisonError::into_inner);
        if others.len() == OTHERS_MAX {
            others.clear();
        }
        others.push((policy.clone(), item.clone()));
        item
    }
}

/// More than the tiers of most applications; past updates of a limit are among them.
const OTHERS_MAX: usize = 64;

impl PolicyItem {
    fn new(policy: &Policy, unit: Option<QuotaUnit>) -> Self {
        let name = format!("\"{}\"", policy.name());
        let holds = policy.algorithm().holds_permits();
        let unit = unit.or_else(|| holds.then_some(QuotaUnit::ConcurrentRequests));
        let value = quota(&name, policy.limit(), policy.window(), unit);
        Self { name: name.into(), value, policy: policy.clone(), unit }
    }

    /// The parts for the local limit that made `decision` in the place of this policy. Its quota is
    /// all that is known of it.
    fn standing_in(&self, decision: &Decision, unit: Option<QuotaUnit>) -> Self {
        Self { value: quota(&self.name, decision.limit, None, unit), ..self.clone() }
    }

    fn items(&self, decision: &Decision, partition: Option<&str>) -> LimitItems {
        let mut limit = format!("{};r={}", self.name, decision.remaining.min(NUMBER_MAX));
        let until_more = match (decision.source(), decision.is_allowed()) {
            (Source::Local | Source::List, true) => decision.reset_after,
            (Source::Local | Source::List, false) => {
                decision.reset_after.min(decision.retry_after())
            }
            _ => self.policy.until_more(decision),
        };
        if !until_more.is_zero() {
            limit.push_str(&format!(";t={}", until_more.as_secs_ceil().min(NUMBER_MAX)));
        }
        let mut policy = match self.policy.window() {
            // Each of the calendar's windows has a length of its own.
            None if decision.source() != Source::Local => {
                let window = self.policy.window_at(decision.at);
                quota(&self.name, self.policy.limit(), window, self.unit)
            }
            _ => self.value.clone(),
        };
        if let Some(partition) = partition {
            let partition = format!(";pk=:{partition}:");
            policy = value(&[policy.to_str().unwrap_or_default(), &partition].concat());
            limit.push_str(&partition);
        }
        let is_told = decision.limit < UNLIMITED;
        LimitItems { name: Arc::clone(&self.name), policy, limit: value(&limit), is_told }
    }
}

/// An item of `RateLimit-Policy`.
fn quota(name: &str, limit: u64, window: Option<Micros>, unit: Option<QuotaUnit>) -> HeaderValue {
    let mut item = format!("{name};q={}", limit.min(NUMBER_MAX));
    if let Some(window) = window.filter(|window| Micros::from_secs(1) <= *window) {
        item.push_str(&format!(";w={}", window.as_secs_ceil()));
    }
    if let Some(unit) = unit {
        item.push_str(&format!(";qu=\"{}\"", unit.name()));
    }
    value(&item)
}

impl QuotaUnit {
    const fn name(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::ContentBytes => "content-bytes",
            Self::ConcurrentRequests => "concurrent-requests",
            Self::Tokens => "tokens",
        }
    }
}

impl LimitItems {
    /// Adds the items to the lists, unless they have a policy of this name already.
    pub(super) fn write(&self, headers: &mut HeaderMap) {
        if !self.is_told || headers.get_all(&LIMIT).iter().any(|line| self.is_in(line)) {
            return;
        }
        headers.append(POLICY, self.policy.clone());
        headers.append(LIMIT, self.limit.clone());
    }

    fn is_in(&self, line: &HeaderValue) -> bool {
        line.as_bytes().windows(self.name.len()).any(|part| part == self.name.as_bytes())
    }
}

/// The secret that turns keys into names of clients (`pk`), which tell nothing about a key.
#[derive(Clone)]
pub(super) struct PartitionKeys([u8; KEY_LEN]);

impl PartitionKeys {
    pub(super) fn new(secret: &[u8]) -> Self {
        Self(blake3::derive_key("ratelimit-http 1 partition keys in headers", secret))
    }

    /// 128 bits of a keyed hash, in base64.
    pub(super) fn name(&self, key: &RequestKey) -> String {
        let hash = blake3::keyed_hash(&self.0, key.as_ref());
        STANDARD.encode(&hash.as_bytes()[..16])
    }
}

/// Shows no secret.
impl fmt::Debug for PartitionKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PartitionKeys")
    }
}

fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("names and numbers are visible characters")
}
