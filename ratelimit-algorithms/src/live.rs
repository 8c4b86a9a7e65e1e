//! A limit whose numbers change while it is in use.

use std::{borrow::Cow, sync::Arc};

use arc_swap::ArcSwap;
use ratelimit_backend::{Claim, Names};
use ratelimit_core::{Algorithm, CarryOver, ConfigError, Policy};

use crate::{Policies, Visit};

/// A limit whose numbers change while it is in use. Clones are the same limit.
///
/// ```
/// use ratelimit_algorithms::{Limiter, Live, TokenBucket};
/// use ratelimit_memory::Memory;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let limit = Live::new("api", TokenBucket::per_second(10))?;
/// let limiter = Limiter::with_policies(Memory::new(), limit.clone())?;
/// assert_eq!(limiter.check("user:42").now()?.limit, 10);
///
/// limit.update(TokenBucket::per_second(50))?;
/// assert_eq!(limiter.check("user:42").now()?.limit, 50);
///
/// // What cannot be honoured is refused, and changes nothing.
/// assert!(limit.update(TokenBucket::per_second(0)).is_err());
/// assert_eq!(limiter.check("user:42").now()?.limit, 50);
/// # Ok(())
/// # }
/// ```
///
/// Each check sees the numbers that were the last ones when it began, whole; a check never waits
/// for an update. What a key has spent is carried over as [`CarryOver`] says. One limit may serve
/// several limiters and stores.
#[derive(Clone, Debug)]
pub struct Live(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// What the limit began as: the name, and what no update changes.
    first: Policy,
    current: ArcSwap<Policy>,
}

impl Live {
    /// A limit called `name` that runs `algorithm` until it is updated.
    ///
    /// # Errors
    ///
    /// If the algorithm's numbers or the name cannot be honoured.
    pub fn new<A>(name: &str, algorithm: A) -> Result<Self, ConfigError>
    where
        A: TryInto<Algorithm, Error: Into<ConfigError>>,
    {
        Ok(Self::of(Policy::new(name, algorithm)?))
    }

    pub(crate) fn of(first: Policy) -> Self {
        Self(Arc::new(Inner { current: ArcSwap::from_pointee(first.clone()), first }))
    }

    /// The limit as it is now with another rule for what keys have spent when its numbers change.
    /// It is a limit of its own: clones that were made before do not change with it.
    #[must_use]
    pub fn with_carry_over(self, carry_over: CarryOver) -> Self {
        Self::of(self.current().with_carry_over(carry_over))
    }

    /// Gives the limit other numbers, or another algorithm if keys start anew
    /// ([`CarryOver::Reset`]). The next check sees them.
    ///
    /// # Errors
    ///
    /// If they cannot be honoured, if the algorithm is another one and could read nothing of what
    /// is stored, or if the scope of an adaptive hybrid's load sensor is another one: stores were
    /// asked about that when the limiters were built. Then the limit stays as it is.
    pub fn update<A>(&self, algorithm: A) -> Result<(), ConfigError>
    where
        A: TryInto<Algorithm, Error: Into<ConfigError>>,
    {
        self.publish(successor(&self.0.first, algorithm)?);
        Ok(())
    }

    /// The policy that keys are checked against now.
    #[must_use]
    pub fn current(&self) -> Policy {
        Policy::clone(&self.0.current.load())
    }

    /// The policy that an update to `algorithm` would publish.
    #[cfg(any(feature = "json", feature = "toml"))]
    pub(crate) fn successor(&self, algorithm: Algorithm) -> Result<Policy, ConfigError> {
        successor(&self.0.first, algorithm)
    }

    /// Makes a successor the policy that keys are checked against.
    pub(crate) fn publish(&self, successor: Policy) {
        self.0.current.store(Arc::new(successor));
    }
}

impl Policies for Live {
    fn name(&self) -> &str {
        self.0.first.name()
    }

    fn policy(&self, _: &[u8]) -> Cow<'_, Policy> {
        Cow::Owned(self.current())
    }

    fn claim(&self, names: &Names) -> Result<Claim, ConfigError> {
        names.claim_for(self.name(), &self.0)
    }

    fn try_each(&self, visit: &mut Visit<'_>) -> Result<(), ConfigError> {
        visit(&self.current())
    }
}

/// A policy that may take the place of `first`, or stand beside it: it can read what has been
/// stored under it, and asks nothing else of a store.
///
/// Whatever may follow a successor may follow `first`, so it is enough to compare with that.
pub(crate) fn successor<A>(first: &Policy, algorithm: A) -> Result<Policy, ConfigError>
where
    A: TryInto<Algorithm, Error: Into<ConfigError>>,
{
    let policy = Policy::new(first.name(), algorithm)?.with_carry_over(first.carry_over());
    if first.algorithm().shares_sensor() != policy.algorithm().shares_sensor() {
        return Err(ConfigError::ScopeChange);
    }
    let (from, to) = (first.algorithm().name(), policy.algorithm().name());
    if from != to && first.carry_over() != CarryOver::Reset {
        return Err(ConfigError::AlgorithmChange { from, to });
    }
    Ok(policy)
}
