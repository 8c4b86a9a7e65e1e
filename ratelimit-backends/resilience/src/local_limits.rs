//! Limits of this process, which stand in for those of a store that fails.

use std::{fmt, num::NonZeroU64, sync::Arc};

use ratelimit_backend::SyncBackend;
use ratelimit_core::{
    Action, Algorithm, Batch, Check, ConfigError, Decision, Policy, Source, store::Decisions,
};

use crate::decisions::part;

/// Limits of this process, and a store of their own.
///
/// If N processes fall back at once, each has its own limits, and together they admit N times as
/// much. So [`with_processes`](Self::with_processes) divides every policy and every tier by the
/// number of processes. [`with_limit`](Self::with_limit) and
/// [`with_tier_limit`](Self::with_tier_limit) give a policy other numbers, which are not divided.
///
/// ```
/// use ratelimit_algorithms::TokenBucket;
/// use ratelimit_memory::Memory;
/// use ratelimit_resilience::{LocalLimits, OnFailure};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let eight = 8.try_into()?;
/// let limits = LocalLimits::new(Memory::new())
///     .with_processes(eight)
///     .with_limit("login", TokenBucket::per_second(2))?;
/// let on_failure = OnFailure::Local(limits);
/// # let _ = on_failure;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct LocalLimits {
    store: Arc<dyn SyncBackend>,
    limits: Vec<Limit>,
    processes: NonZeroU64,
}

/// A limit that stands in for the policies of its name.
#[derive(Clone, Debug, PartialEq)]
struct Limit {
    /// The numbers of these policies; `None` if it stands in for any.
    of: Option<Algorithm>,
    policy: Policy,
}

/// A check of the local store.
struct LocalCheck<'a> {
    check: Check<'a>,
    /// The permits that one permit of the request costs here.
    unit: u64,
}

impl LocalLimits {
    /// Limits in `store`, which should have no other users, and decide without waiting: a bounded
    /// store in memory.
    #[must_use]
    pub fn new(store: impl SyncBackend + 'static) -> Self {
        Self { store: Arc::new(store), limits: Vec::new(), processes: NonZeroU64::MIN }
    }

    /// The number of processes that share the store: a policy without a limit here is divided by it,
    /// in this process. A policy of fewer permits than processes keeps one.
    #[must_use]
    pub fn with_processes(self, processes: NonZeroU64) -> Self {
        Self { processes, ..self }
    }

    /// The same with `algorithm` in the place of all policies called `name`.
    ///
    /// # Errors
    ///
    /// If the algorithm's numbers or the name are invalid.
    pub fn with_limit<A>(self, name: &str, algorithm: A) -> Result<Self, ConfigError>
    where
        A: TryInto<Algorithm, Error: Into<ConfigError>>,
    {
        self.with(None, name, algorithm)
    }

    /// The same with `algorithm` in the place of the policies called `name` that have the numbers of
    /// `tier`: of several tiers under one name, that one. It goes before a limit for all of the name.
    ///
    /// # Errors
    ///
    /// If either algorithm's numbers or the name are invalid.
    pub fn with_tier_limit<T, A>(
        self,
        name: &str,
        tier: T,
        algorithm: A,
    ) -> Result<Self, ConfigError>
    where
        T: TryInto<Algorithm, Error: Into<ConfigError>>,
        A: TryInto<Algorithm, Error: Into<ConfigError>>,
    {
        self.with(Some(tier.try_into().map_err(Into::into)?), name, algorithm)
    }

    fn with<A>(
        mut self,
        of: Option<Algorithm>,
        name: &str,
        algorithm: A,
    ) -> Result<Self, ConfigError>
    where
        A: TryInto<Algorithm, Error: Into<ConfigError>>,
    {
        let policy = Policy::new(name, algorithm.try_into().map_err(Into::into)?)?;
        self.store.accepts(&policy)?;
        self.limits.retain(|known| known.policy.name() != name || known.of != of);
        self.limits.push(Limit { of, policy });
        Ok(self)
    }

    /// Accepts `policy` if the store can keep the state of its stand-in.
    pub(crate) fn accepts(&self, policy: &Policy) -> Result<(), ConfigError> {
        self.store.accepts(self.stand_in(policy).unwrap_or(policy))
    }

    /// Decides here; `None` if a cost is beyond the local limit, or the store has no room.
    pub(crate) fn decide(&self, batch: Batch<'_>, action: Action) -> Option<Decisions> {
        let local = batch.checks().iter().map(|check| self.check(check, action));
        let local = local.collect::<Option<Vec<_>>>()?;
        let decisions = if action == Action::Take && local.iter().any(|local| 1 < local.unit) {
            self.take_units(&local)?
        } else {
            let checks: Vec<_> = local.iter().map(|local| local.check).collect();
            self.apply(&checks, action)?
        };
        let mut decisions = decisions.iter().zip(&local).map(|(one, local)| local.decision(*one));
        match local.len() {
            1 => decisions.next().map(Decisions::from),
            _ => Some(decisions.collect()),
        }
    }

    fn apply(&self, checks: &[Check<'_>], action: Action) -> Option<Decisions> {
        self.store.apply_now(part(checks).ok()?, action).ok()
    }

    /// Takes whole permits of the requests. A take of the store would leave parts of one: so a spend of
    /// what a peek has seen; and where another caller was faster, of one permit each.
    fn take_units(&self, local: &[LocalCheck<'_>]) -> Option<Decisions> {
        let ones: Option<Vec<_>> = local.iter().map(LocalCheck::one).collect();
        let ones = ones?;
        let seen = self.apply(&ones, Action::Peek)?;
        if !seen.iter().all(Decision::is_allowed) {
            return Some(seen);
        }
        let parts = local.iter().zip(&*seen).map(|(local, seen)| local.part(seen.remaining));
        let parts: Option<Vec<_>> = parts.collect();
        let taken = self.apply(&parts?, Action::Spend)?;
        if taken.iter().all(Decision::is_allowed) {
            return Some(taken);
        }
        self.apply(&ones, Action::Spend)
    }

    /// The check of the local store. A share is not another policy, but a higher cost: so it is exact
    /// for every algorithm. A take may ask for more than there ever is.
    fn check<'a>(&'a self, check: &Check<'a>, action: Action) -> Option<LocalCheck<'a>> {
        let (policy, cost) = (check.policy(), check.cost().get());
        let (policy, unit) = match self.stand_in(policy) {
            Some(policy) => (policy, 1),
            None if policy.is_bounded() => (policy, self.processes.get().min(policy.limit())),
            None => (policy, 1),
        };
        let cost = cost.checked_mul(unit)?;
        let most = if action == Action::Take { policy.limit().max(1) } else { cost };
        let check = Check::new(policy, check.key(), cost.min(most)).ok()?;
        Some(LocalCheck { check, unit })
    }

    /// The limit that stands in for `policy`; none for one that admits nothing, and never fails.
    fn stand_in(&self, policy: &Policy) -> Option<&Policy> {
        if policy.limit() == 0 {
            return None;
        }
        let same_name = |limit: &&Limit| limit.policy.name() == policy.name();
        let find = |of: Option<&Algorithm>| {
            self.limits.iter().filter(same_name).find(|limit| limit.of.as_ref() == of)
        };
        find(Some(policy.algorithm())).or_else(|| find(None)).map(|limit| &limit.policy)
    }
}

impl<'a> LocalCheck<'a> {
    /// The check of one of the request's permits.
    fn one(&self) -> Option<Check<'a>> {
        Check::new(self.check.policy(), self.check.key(), self.unit).ok()
    }

    /// The check of as many of the request's permits as there are among `remaining`, at least one.
    fn part(&self, remaining: u64) -> Option<Check<'a>> {
        let whole = self.check.cost().get().min(remaining) / self.unit * self.unit;
        Check::new(self.check.policy(), self.check.key(), whole.max(self.unit)).ok()
    }

    /// The decision in the request's permits.
    const fn decision(&self, mut decision: Decision) -> Decision {
        decision.limit /= self.unit;
        decision.remaining /= self.unit;
        let charged = decision.charged() / self.unit;
        decision.with_outcome(decision.outcome(), charged).with_source(Source::Local)
    }
}

/// Shows the limits, and nothing of the store.
impl fmt::Debug for LocalLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalLimits")
            .field("limits", &self.limits)
            .field("processes", &self.processes)
            .finish_non_exhaustive()
    }
}
