//! Deadline, circuit breaker and fallback over one store, in the order that works.

use std::{num::NonZeroU32, time::Duration};

use ratelimit_backend::{Backend, Clock, MonotonicClock, Names, Reply};
use ratelimit_core::{Action, Batch, ConfigError, Policy};

use crate::{Breaker, Deadline, Fallback, OnFailure};

/// A store that decides in time, even if the inner store does not. A clone is the same store.
///
/// It is a [`Deadline`] over the store, a [`Breaker`] over that, which sees timeouts, and a
/// [`Fallback`] over both, which decides when either fails.
///
/// A call takes no longer than the deadline, plus the time of the local limit if there is one. While
/// the circuit is open it takes only the latter.
///
/// ```
/// use std::time::Duration;
///
/// use ratelimit_algorithms::{Limiter, TokenBucket};
/// use ratelimit_memory::Memory;
/// use ratelimit_resilience::{LocalLimits, OnFailure, Resilient};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let redis = Memory::new();
/// let local = LocalLimits::new(Memory::new()).with_limit("api", TokenBucket::per_second(2))?;
/// let store = Resilient::new(redis)
///     .with_deadline(Duration::from_millis(50))
///     .with_fallback(OnFailure::Local(local));
/// let limiter = Limiter::new(store, "api", TokenBucket::per_second(10))?;
/// assert!(limiter.check("user:42").await?.is_allowed());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Resilient<B, C = MonotonicClock>(Fallback<Breaker<Deadline<B>, C>, C>);

impl<B: Backend> Resilient<B> {
    /// A deadline and a breaker over `inner` with their defaults; failures are passed on.
    #[must_use]
    pub fn new(inner: B) -> Self {
        Self::with_clock(inner, MonotonicClock::new())
    }
}

impl<B: Backend, C: Clock + Clone> Resilient<B, C> {
    /// The same with another clock for the breaker. The deadline uses `tokio`'s timer.
    #[must_use]
    pub fn with_clock(inner: B, clock: C) -> Self {
        let breaker = Breaker::with_clock(Deadline::new(inner), clock.clone());
        Self(Fallback::with_clock(breaker, OnFailure::Deny, clock))
    }

    /// The longest time of a call; by default 100 ms.
    #[must_use]
    pub fn with_deadline(mut self, length: Duration) -> Self {
        self.0.get_mut().get_mut().length = length;
        self
    }

    /// Opens the circuit after this number of failures in a row; by default five.
    #[must_use]
    pub fn with_failures_max(mut self, failures_max: NonZeroU32) -> Self {
        self.0.inner = self.0.inner.with_failures_max(failures_max);
        self
    }

    /// The time for which an open circuit refuses calls, at first and at most; by default 100 ms and
    /// 5 s. A store that does not count its recoveries ([`Backend::recoveries`]) may be back for the
    /// longest backoff before anybody notices.
    #[must_use]
    pub fn with_backoff(mut self, first: Duration, longest: Duration) -> Self {
        self.0.inner = self.0.inner.with_backoff(first, longest);
        self
    }

    /// The fallback for a store that fails; by default the error is passed on.
    #[must_use]
    pub fn with_fallback(mut self, on_failure: OnFailure) -> Self {
        self.0.on_failure = on_failure;
        self
    }

    /// The breaker, which shows the state of the circuit.
    #[must_use]
    pub const fn breaker(&self) -> &Breaker<Deadline<B>, C> {
        self.0.get_ref()
    }

    /// The fallback, which counts how often it was needed.
    #[must_use]
    pub const fn fallback(&self) -> &Fallback<Breaker<Deadline<B>, C>, C> {
        &self.0
    }
}

impl<B: Backend, C: Clock> Backend for Resilient<B, C> {
    fn apply<'a>(&'a self, batch: Batch<'a>, action: Action) -> Reply<'a> {
        self.0.apply(batch, action)
    }

    fn apply_unawaited(&self, batch: Batch<'_>, action: Action) -> bool {
        self.0.apply_unawaited(batch, action)
    }

    fn names(&self) -> &Names {
        self.0.names()
    }

    fn accepts(&self, policy: &Policy) -> Result<(), ConfigError> {
        self.0.accepts(policy)
    }

    fn recoveries(&self) -> u64 {
        self.0.recoveries()
    }

    fn lists_only_text(&self, name: &str) -> bool {
        self.0.lists_only_text(name)
    }
}
