//! A limit whose numbers change while it is in use.

use std::{
    borrow::Cow,
    sync::{Arc, OnceLock},
};

use arc_swap::ArcSwap;
use ratelimit_backend::{Claim, Names};
use ratelimit_core::{Algorithm, CarryOver, ConfigError, Policy};

use crate::{
    Policies, Visit,
    wait::{Listeners, Waiters},
};

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
/// // Invalid numbers are refused, and change nothing.
/// assert!(limit.update(TokenBucket::per_second(0)).is_err());
/// assert_eq!(limiter.check("user:42").now()?.limit, 50);
/// # Ok(())
/// # }
/// ```
///
/// Each check sees one whole set of numbers, the last one when it began; a check never waits for an
/// update. [`CarryOver`] says how spent permits carry over. One limit may serve several limiters
/// and stores.
#[derive(Clone, Debug)]
pub struct Live(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// The policies that the limit may have.
    lineage: Lineage,
    current: ArcSwap<Policy>,
    listeners: Listeners,
}

impl Live {
    /// A limit called `name` that runs `algorithm` until it is updated.
    ///
    /// # Errors
    ///
    /// If the algorithm's numbers or the name are invalid.
    pub fn new<A>(name: &str, algorithm: A) -> Result<Self, ConfigError>
    where
        A: TryInto<Algorithm, Error: Into<ConfigError>>,
    {
        Ok(Self::from_policy(Policy::new(name, algorithm)?))
    }

    pub(crate) fn from_policy(first: Policy) -> Self {
        let (current, listeners) = (ArcSwap::from_pointee(first.clone()), Listeners::default());
        Self(Arc::new(Inner { lineage: Lineage::new(first), current, listeners }))
    }

    /// The limit as it is now, with another rule for spent permits when its numbers change. It is a
    /// limit of its own: earlier clones do not change with it.
    #[must_use]
    pub fn with_carry_over(self, carry_over: CarryOver) -> Self {
        Self::from_policy(self.current().with_carry_over(carry_over))
    }

    /// The limit as it is now, whose keys may owe `debt_max` permits, see [`Policy::with_debt_max`]; also
    /// when its numbers have changed. It is a limit of its own: earlier clones do not change with it.
    ///
    /// # Errors
    ///
    /// As [`Policy::with_debt_max`].
    pub fn with_debt_max(self, debt_max: u64) -> Result<Self, ConfigError> {
        Ok(Self::from_policy(self.current().with_debt_max(debt_max)?))
    }

    /// Gives the limit other numbers, or another algorithm if keys start anew
    /// ([`CarryOver::Reset`]). The next check sees them.
    ///
    /// Any limit may become one of [`Nothing`](crate::Nothing) or [`Unlimited`](crate::Unlimited), and
    /// what it was before.
    ///
    /// # Errors
    ///
    /// If the numbers are invalid; if the algorithm is another one, which could not read the
    /// stored states; if the scope of an adaptive hybrid's load sensor is another one, since stores
    /// accepted the old one when the limiters were built; if keys may not owe as much under these numbers.
    /// Then the limit stays as it is.
    pub fn update<A>(&self, algorithm: A) -> Result<(), ConfigError>
    where
        A: TryInto<Algorithm, Error: Into<ConfigError>>,
    {
        self.update_with_debt(algorithm, self.current().debt_max())
    }

    /// The same, with another debt that keys may have.
    pub(crate) fn update_with_debt<A>(&self, algorithm: A, debt_max: u64) -> Result<(), ConfigError>
    where
        A: TryInto<Algorithm, Error: Into<ConfigError>>,
    {
        self.0.current.store(Arc::new(self.0.lineage.successor(algorithm, debt_max)?));
        self.0.listeners.wake();
        Ok(())
    }

    /// The policy that keys are checked against now.
    #[must_use]
    pub fn current(&self) -> Policy {
        Policy::clone(&self.0.current.load())
    }

    /// Returns true if there are clones of it.
    #[cfg(any(feature = "json", feature = "toml"))]
    pub(crate) fn is_used(&self) -> bool {
        1 < Arc::strong_count(&self.0)
    }
}

impl Policies for Live {
    fn name(&self) -> &str {
        self.0.lineage.name()
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

    fn on_change(&self, waiters: Waiters) {
        self.0.listeners.add(waiters);
    }
}

/// Policies that may replace each other, or stand beside each other: each can read the states that are
/// stored under any other, and needs nothing else from a store.
#[derive(Debug)]
pub(crate) struct Lineage {
    /// The policy at the start: its name, and its rule for states written under other numbers.
    first: Policy,
    /// The first one of which anything is kept: all others are of its algorithm.
    bounded: OnceLock<Policy>,
}

impl Lineage {
    pub(crate) fn new(first: Policy) -> Self {
        let bounded = OnceLock::new();
        if first.is_bounded() {
            bounded.get_or_init(|| first.clone());
        }
        Self { first, bounded }
    }

    pub(crate) fn name(&self) -> &str {
        self.first.name()
    }

    /// The policy of `algorithm`, if it may follow all that there were.
    pub(crate) fn successor<A>(&self, algorithm: A, debt_max: u64) -> Result<Policy, ConfigError>
    where
        A: TryInto<Algorithm, Error: Into<ConfigError>>,
    {
        let carry_over = self.first.carry_over();
        let policy = Policy::new(self.name(), algorithm)?.with_debt_max(debt_max)?;
        let policy = policy.with_carry_over(carry_over);
        if !policy.is_bounded() {
            return Ok(policy);
        }
        let shares_sensor = policy.algorithm().shares_sensor();
        // Stores accepted what there was when the limiters were built.
        if self.bounded.get().unwrap_or(&self.first).algorithm().shares_sensor() != shares_sensor {
            return Err(ConfigError::ScopeChange);
        }
        let bounded = self.bounded.get_or_init(|| policy.clone());
        let (from, to) = (bounded.algorithm().name(), policy.algorithm().name());
        if from != to && carry_over != CarryOver::Reset {
            return Err(ConfigError::AlgorithmChange { from, to });
        }
        Ok(policy)
    }
}
