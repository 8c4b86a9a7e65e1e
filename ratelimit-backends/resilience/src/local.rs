//! A limit kept in this process, to stand in for a store that fails.

use std::{fmt, sync::Arc};

use ratelimit_backend::SyncBackend;
use ratelimit_core::{
    Action, Algorithm, Batch, Check, ConfigError, CostError, Policy, Source, store::Decisions,
};

use crate::decisions::{map, part};

/// A store in this process, and the limits that stand in for those of the one that fails.
///
/// A policy keeps its numbers unless it has others here, under its name. Where several processes
/// fall back at once each has its own, so all of them together admit as many times as much:
/// a share of the limit is often what is meant.
///
/// ```
/// use ratelimit_algorithms::TokenBucket;
/// use ratelimit_memory::Memory;
/// use ratelimit_resilience::{Local, OnFailure};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let local = Local::new(Memory::new()).with_limit("api", TokenBucket::per_second(2))?;
/// let on_failure = OnFailure::Local(local);
/// # let _ = on_failure;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Local {
    store: Arc<dyn SyncBackend>,
    policies: Vec<Policy>,
}

impl Local {
    /// Limits in `store`, which nobody else should use, and which should answer without waiting:
    /// a bounded store in memory.
    #[must_use]
    pub fn new(store: impl SyncBackend + 'static) -> Self {
        Self { store: Arc::new(store), policies: Vec::new() }
    }

    /// The same, with `algorithm` in the place of whatever policies are called `name`.
    ///
    /// # Errors
    ///
    /// If the algorithm's numbers or the name cannot be honoured.
    pub fn with_limit<A>(mut self, name: &str, algorithm: A) -> Result<Self, ConfigError>
    where
        A: TryInto<Algorithm, Error: Into<ConfigError>>,
    {
        let algorithm: Algorithm = algorithm.try_into().map_err(Into::into)?;
        let policy = Policy::new(name, algorithm)?;
        self.store.accepts(&policy)?;
        self.policies.retain(|known| known.name() != name);
        self.policies.push(policy);
        Ok(self)
    }

    /// Whether the store can keep the state of what stands in for `policy`.
    pub(crate) fn accepts(&self, policy: &Policy) -> Result<(), ConfigError> {
        self.store.accepts(self.policy(policy))
    }

    /// Decides here. `None` if that cannot be done either: a cost is beyond what stands in, or
    /// this store has no room.
    pub(crate) fn decide(&self, batch: Batch<'_>, action: Action) -> Option<Decisions> {
        let checks = batch.checks().iter().map(|check| self.check(check));
        let checks = checks.collect::<Result<Vec<_>, _>>().ok()?;
        let decisions = self.store.apply_now(part(&checks).ok()?, action).ok()?;
        Some(map(&decisions, |decision| *decision = decision.with_source(Source::Local)))
    }

    fn check<'a>(&'a self, check: &Check<'a>) -> Result<Check<'a>, CostError> {
        Check::new(self.policy(check.policy()), check.key(), check.cost().get())
    }

    fn policy<'a>(&'a self, asked: &'a Policy) -> &'a Policy {
        self.policies.iter().find(|policy| policy.name() == asked.name()).unwrap_or(asked)
    }
}

/// Shows the limits, and nothing of the store.
impl fmt::Debug for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Local").field("policies", &self.policies).finish_non_exhaustive()
    }
}
