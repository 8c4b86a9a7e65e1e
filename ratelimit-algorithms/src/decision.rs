//! Results of requests, beside the core's `Decision`: a key's numbers after a change, and the
//! decision about several limits.

use std::cmp::Reverse;

use ratelimit_core::{Decision, Micros, Policy};

/// The numbers of a key after it was changed, or after a wait.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Status {
    /// The most permits that a key as good as new has.
    pub limit: u64,
    /// The number of further requests of cost 1 that would be admitted at this instant.
    pub remaining: u64,
    /// The time until the key is as good as new, if nobody spends.
    pub reset_after: Micros,
}

impl Status {
    pub(crate) const fn after(decision: &Decision) -> Self {
        let Decision { limit, remaining, reset_after, .. } = *decision;
        Self { limit, remaining, reset_after }
    }
}

/// The decision about several limits, of which there is at least one.
#[must_use = "a decision that nobody looks at limits nothing"]
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LimitsDecision {
    each: Vec<Decision>,
    bound: usize,
    /// The policy that denied, if any did. An admitted request needs no name, and sharing a policy
    /// writes to memory of all threads.
    denied_by: Option<Policy>,
}

impl LimitsDecision {
    /// The decision of which `each` is a part, where `policy` gives the policy of each.
    #[inline]
    pub(crate) fn new<'a>(each: Vec<Decision>, policy: impl FnOnce(usize) -> &'a Policy) -> Self {
        let is_allowed = each.iter().all(Decision::is_allowed);
        let mut bound = 0;
        if is_allowed {
            for (index, decision) in each.iter().enumerate() {
                let [other, least] =
                    [decision, &each[bound]].map(|it| (it.is_watched(), it.remaining));
                if other < least {
                    bound = index;
                }
            }
            return Self { each, bound, denied_by: None };
        }
        let urgency = |decision: &Decision| {
            (Reverse(decision.retry_after()), decision.is_watched(), decision.remaining)
        };
        bound = (0..each.len()).min_by_key(|&index| urgency(&each[index])).unwrap_or_default();
        Self { each, bound, denied_by: Some(policy(bound).clone()) }
    }

    /// True if every limit admitted, so that all of them were charged.
    #[must_use]
    pub const fn is_allowed(&self) -> bool {
        self.denied_by.is_none()
    }

    /// The time until all of them would admit, if nobody else spends; zero when they did.
    ///
    /// It may be followed by another wait, of one window at most, where a token bucket with fewer
    /// initial tokens than its capacity is among them, and is forgotten meanwhile; or a log with a cap
    /// on its entries.
    #[must_use]
    pub fn retry_after(&self) -> Micros {
        self.each[self.bound].retry_after()
    }

    /// The decision of each limit, in the order in which they were named.
    ///
    /// If all limits admitted, the decisions describe the keys after the charge. If not, they
    /// describe the keys as they stand, and an `Allow` among them says that this limit alone would
    /// have admitted.
    pub fn each(&self) -> &[Decision] {
        &self.each
    }

    /// The index of the limit that bound: the denying one with the longest wait, else the one with
    /// the least remaining, of those that are enforced if any is.
    #[must_use]
    pub const fn bound(&self) -> usize {
        self.bound
    }

    /// The name of the limit that denied, with the longest wait if several did; `None` if all admitted.
    ///
    /// [`Limits::names`](crate::Limits::names) tells the names of all.
    #[must_use]
    pub fn denied_by(&self) -> Option<&str> {
        self.denied_by.as_ref().map(Policy::name)
    }
}
