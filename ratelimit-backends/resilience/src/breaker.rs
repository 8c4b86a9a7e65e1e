//! A circuit breaker: a store that does not answer is left alone for a while.

use std::{
    hash::{BuildHasher, RandomState},
    num::NonZeroU32,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use ratelimit_backend::{
    Backend, BackendError, Clock, ErrorKind, MonotonicClock, Names, Reply, SyncBackend,
};
use ratelimit_core::{Action, Batch, ConfigError, Micros, Policy, store::Decisions};

use crate::circuit::{Circuit, CircuitState, Health, Leave};

/// Answers in the place of a store that does not. Clones are the same breaker.
///
/// After five calls in a row that ended in [`Unavailable`](ErrorKind::Unavailable) or
/// [`Timeout`](ErrorKind::Timeout) the circuit opens. While it is open every call ends at once in
/// `Unavailable`, and nothing was charged. After a pause one call goes through as a probe; if the
/// store answers, the circuit closes, else the next pause is twice as long, from 100 ms up to 5 s,
/// each shortened by a random part of up to a half. A store that can tell when it may have come
/// back ([`Backend::recoveries`]) ends the pause by that, however long it would be.
///
/// A denial is an answer, and so is a refusal that the store itself has made (`ReadOnly`, `Auth`,
/// `Full`, `Corrupt`, `Incompatible`, `Capacity`): they end the row, and close the circuit. Errors
/// that say nothing of the store's health (`Overloaded`, `Protocol`, `Closed`, `Clock`) neither
/// count nor end a row; a probe that ends in one has failed. A call whose reply is dropped is not
/// counted, and a dropped probe makes way for another. So does one that is held for longer than
/// the longest pause.
///
/// ```
/// use ratelimit_algorithms::{Limiter, TokenBucket};
/// use ratelimit_memory::Memory;
/// use ratelimit_resilience::{Breaker, CircuitState};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = Breaker::new(Memory::new());
/// let limiter = Limiter::new(store.clone(), "api", TokenBucket::per_second(10))?;
/// assert!(limiter.check("user:42").now()?.is_allowed());
/// assert_eq!(store.state(), CircuitState::Closed);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Breaker<B, C = MonotonicClock> {
    inner: B,
    clock: C,
    circuit: Arc<Mutex<Circuit>>,
}

impl<B> Breaker<B> {
    /// A breaker over `inner`.
    #[must_use]
    pub fn new(inner: B) -> Self {
        Self::with_clock(inner, MonotonicClock::new())
    }
}

impl<B, C> Breaker<B, C> {
    /// A breaker over `inner` whose pauses go by `clock`.
    #[must_use]
    pub fn with_clock(inner: B, clock: C) -> Self {
        let seed = RandomState::new().hash_one(());
        Self { inner, clock, circuit: Arc::new(Mutex::new(Circuit::new(seed))) }
    }

    /// How many failures in a row open the circuit; by default five.
    #[must_use]
    pub fn with_failures_max(self, failures_max: NonZeroU32) -> Self {
        self.circuit().failures_max = failures_max;
        self
    }

    /// The first pause, and the longest; by default 100 ms and 5 s. A first one that is longer
    /// than the longest is as long as that.
    #[must_use]
    pub fn with_pauses(self, first: Duration, longest: Duration) -> Self {
        self.circuit().first_pause = Micros::from_duration_ceil(first);
        self.circuit().longest_pause = Micros::from_duration_ceil(longest);
        self
    }

    /// What the random parts of pauses are drawn from; by default itself random. The same seed
    /// draws the same pauses.
    #[must_use]
    pub fn with_seed(self, seed: u64) -> Self {
        self.circuit().seed = seed;
        self
    }

    /// How the circuit stands. An open one stays open until somebody asks, though its pause be
    /// over.
    #[must_use]
    pub fn state(&self) -> CircuitState {
        self.circuit().state()
    }

    /// How many times the circuit has opened, failed probes included.
    #[must_use]
    pub fn opened(&self) -> u64 {
        self.circuit().opened
    }

    /// How many calls were answered in the store's place.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.circuit().refused
    }

    accessors!();

    fn circuit(&self) -> MutexGuard<'_, Circuit> {
        lock(&self.circuit)
    }
}

impl<B: Backend, C: Clock> Breaker<B, C> {
    fn admit(&self) -> Result<Call<'_, C>, BackendError> {
        let recoveries = self.inner.recoveries();
        let leave = self.circuit().admit(recoveries, || self.clock.now().ok());
        let leave = leave.ok_or_else(|| {
            BackendError::not_applied(ErrorKind::Unavailable).with_source(CircuitOpen)
        })?;
        Ok(Call { circuit: &self.circuit, clock: &self.clock, leave })
    }
}

impl<B: Backend, C: Clock> Backend for Breaker<B, C> {
    fn apply<'a>(&'a self, batch: Batch<'a>, action: Action) -> Reply<'a> {
        match self.admit() {
            Ok(call) => self.inner.apply(batch, action).then(|answer| call.end(answer)),
            Err(error) => Reply::ready(Err(error)),
        }
    }

    delegate!();
}

impl<B: SyncBackend, C: Clock> SyncBackend for Breaker<B, C> {
    fn apply_now(&self, batch: Batch<'_>, action: Action) -> Result<Decisions, BackendError> {
        self.admit()?.end(self.inner.apply_now(batch, action))
    }
}

/// A call that was admitted. One that ends otherwise than in an answer gives its leave back.
struct Call<'a, C> {
    circuit: &'a Mutex<Circuit>,
    clock: &'a C,
    leave: Leave,
}

impl<C: Clock> Call<'_, C> {
    fn end(self, answer: Result<Decisions, BackendError>) -> Result<Decisions, BackendError> {
        lock(self.circuit).report(self.leave, Health::of(&answer), || self.clock.now().ok());
        answer
    }
}

impl<C> Drop for Call<'_, C> {
    fn drop(&mut self) {
        if self.leave.is_probe {
            lock(self.circuit).give_back(self.leave);
        }
    }
}

/// A clock that panics under the lock leaves nothing half done.
fn lock(circuit: &Mutex<Circuit>) -> MutexGuard<'_, Circuit> {
    circuit.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Why the store was not asked.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("circuit breaker is open")]
struct CircuitOpen;
