//! The paved path: deadline, circuit breaker and fallback over one store, in the order that works.

use std::{num::NonZeroU32, time::Duration};

use ratelimit_backend::{Backend, Clock, MonotonicClock, Names, Reply};
use ratelimit_core::{Action, Batch, ConfigError, Policy};

use crate::{Breaker, Deadline, Fallback, OnFailure};

/// A store that answers in time, whatever becomes of the one within. A clone is the same store.
///
/// A [`Deadline`] over the store, a [`Breaker`] over that, which sees who is late, and a
/// [`Fallback`] over both, which answers for either.
///
/// An answer takes no longer than the deadline, and what the local limit takes where one stands
/// in. While the circuit is open it takes the latter alone.
///
/// ```
/// use std::time::Duration;
///
/// use ratelimit_algorithms::{Limiter, TokenBucket};
/// use ratelimit_memory::Memory;
/// use ratelimit_resilience::{Local, OnFailure, Resilient};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let redis = Memory::new();
/// let local = Local::new(Memory::new()).with_limit("api", TokenBucket::per_second(2))?;
/// let store = Resilient::over(redis)
///     .with_deadline(Duration::from_millis(50))
///     .on_failure(OnFailure::Local(local));
/// let limiter = Limiter::new(store, "api", TokenBucket::per_second(10))?;
/// assert!(limiter.check("user:42").await?.is_allowed());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Resilient<B, C = MonotonicClock>(Fallback<Breaker<Deadline<B>, C>, C>);

impl<B: Backend> Resilient<B> {
    /// A deadline of 100 ms and a breaker over `inner`, with their defaults; failures are passed
    /// on.
    #[must_use]
    pub fn over(inner: B) -> Self {
        Self::with_clock(inner, MonotonicClock::new())
    }
}

impl<B: Backend, C: Clock + Clone> Resilient<B, C> {
    /// The same, where the breaker goes by `clock`. The deadline goes by `tokio`'s.
    #[must_use]
    pub fn with_clock(inner: B, clock: C) -> Self {
        let breaker = Breaker::with_clock(Deadline::new(inner), clock.clone());
        Self(Fallback::with_clock(breaker, OnFailure::Deny, clock))
    }

    /// How long a check may take; by default 100 ms.
    #[must_use]
    pub fn with_deadline(mut self, length: Duration) -> Self {
        self.0.get_mut().get_mut().length = length;
        self
    }

    /// How many failures in a row open the circuit; by default five.
    #[must_use]
    pub fn with_failures_max(mut self, failures_max: NonZeroU32) -> Self {
        self.0.inner = self.0.inner.with_failures_max(failures_max);
        self
    }

    /// How long the store is left alone, at first and at most; by default 100 ms and 5 s. One that
    /// cannot tell ([`Backend::recoveries`]) may be back for the longest pause before anybody
    /// notices.
    #[must_use]
    pub fn with_pauses(mut self, first: Duration, longest: Duration) -> Self {
        self.0.inner = self.0.inner.with_pauses(first, longest);
        self
    }

    /// What happens when the store fails; by default the error is passed on.
    #[must_use]
    pub fn on_failure(mut self, on_failure: OnFailure) -> Self {
        self.0.on_failure = on_failure;
        self
    }

    /// The breaker, which tells how the circuit stands.
    #[must_use]
    pub const fn breaker(&self) -> &Breaker<Deadline<B>, C> {
        self.0.get_ref()
    }

    /// The fallback, which tells how often it was needed.
    #[must_use]
    pub const fn fallback(&self) -> &Fallback<Breaker<Deadline<B>, C>, C> {
        &self.0
    }
}

impl<B: Backend, C: Clock> Backend for Resilient<B, C> {
    fn apply<'a>(&'a self, batch: Batch<'a>, action: Action) -> Reply<'a> {
        self.0.apply(batch, action)
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
}
