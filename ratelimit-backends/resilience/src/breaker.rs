//! A circuit breaker: it stops calling a store that does not answer.

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

use crate::circuit::{Circuit, CircuitState, Health, Permission};

/// Stops calling a store that does not answer. Clones are the same breaker.
///
/// After five calls in a row that ended in [`Unavailable`](ErrorKind::Unavailable) or
/// [`Timeout`](ErrorKind::Timeout) the circuit opens. While it is open every call ends at once in
/// `Unavailable`, and nothing was charged. After a backoff one call goes through as a probe. If the
/// store answers, the circuit closes; otherwise the next backoff is twice as long, from 100 ms up to
/// 5 s, each shortened by a random part of up to a half. A store that counts its recoveries
/// ([`Backend::recoveries`]) ends a backoff early.
///
/// A denial is an answer, and so is a store's own refusal (`ReadOnly`, `Auth`, `Full`, `Corrupt`,
/// `Incompatible`, `Capacity`): they end the row, and close the circuit. Some errors say nothing about
/// the store's health: `Overloaded`, `Protocol`, `Closed`, `Clock`, and a `Timeout` of anything but a
/// spend or a peek, since others may contend for one key. They neither count nor end a row; a probe
/// that ends in one has failed. A call whose reply is dropped is not counted, and a dropped probe makes
/// way for another. So does a probe that takes longer than the longest backoff.
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
    /// A breaker over `inner` with another clock for its backoffs.
    #[must_use]
    pub fn with_clock(inner: B, clock: C) -> Self {
        let seed = RandomState::new().hash_one(());
        Self { inner, clock, circuit: Arc::new(Mutex::new(Circuit::new(seed))) }
    }

    /// The number of failures in a row that open the circuit; by default five.
    #[must_use]
    pub fn with_failures_max(self, failures_max: NonZeroU32) -> Self {
        self.circuit().failures_max = failures_max;
        self
    }

    /// The first backoff, and the longest; by default 100 ms and 5 s. The longest bounds the first.
    #[must_use]
    pub fn with_backoff(self, first: Duration, longest: Duration) -> Self {
        self.circuit().first_backoff = Micros::from_duration_ceil(first);
        self.circuit().longest_backoff = Micros::from_duration_ceil(longest);
        self
    }

    /// The seed of the backoffs' random parts; by default itself random. The same seed makes the same
    /// backoffs.
    #[must_use]
    pub fn with_seed(self, seed: u64) -> Self {
        self.circuit().seed = seed;
        self
    }

    /// The state of the circuit. An open circuit stays open until the next call, even if its backoff
    /// is over.
    #[must_use]
    pub fn state(&self) -> CircuitState {
        self.circuit().state()
    }

    /// The number of times that the circuit has opened, failed probes included.
    #[must_use]
    pub fn opened(&self) -> u64 {
        self.circuit().opened
    }

    /// The number of calls that were refused without calling the store.
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
    fn admit(&self, action: Action) -> Result<Call<'_, C>, BackendError> {
        let recoveries = self.inner.recoveries();
        let permission = self.circuit().admit(recoveries, || self.clock.now().ok());
        let permission = permission.ok_or_else(|| {
            BackendError::not_applied(ErrorKind::Unavailable).with_source(CircuitOpen)
        })?;
        Ok(Call { circuit: &self.circuit, clock: &self.clock, action, permission })
    }
}

impl<B: Backend, C: Clock> Backend for Breaker<B, C> {
    fn apply<'a>(&'a self, batch: Batch<'a>, action: Action) -> Reply<'a> {
        if batch.is_refused(action) {
            return self.inner.apply(batch, action);
        }
        match self.admit(action) {
            Ok(call) => self.inner.apply(batch, action).then(|result| call.end(result)),
            Err(error) => Reply::ready(Err(error)),
        }
    }

    delegate!();
}

impl<B: SyncBackend, C: Clock> SyncBackend for Breaker<B, C> {
    fn apply_now(&self, batch: Batch<'_>, action: Action) -> Result<Decisions, BackendError> {
        if batch.is_refused(action) {
            return self.inner.apply_now(batch, action);
        }
        self.admit(action)?.end(self.inner.apply_now(batch, action))
    }
}

/// A call that was let through. If it is dropped before its end, it gives its permission back.
struct Call<'a, C> {
    circuit: &'a Mutex<Circuit>,
    clock: &'a C,
    action: Action,
    permission: Permission,
}

impl<C: Clock> Call<'_, C> {
    fn end(self, result: Result<Decisions, BackendError>) -> Result<Decisions, BackendError> {
        let health = Health::of(self.action, &result);
        lock(self.circuit).report(self.permission, health, || self.clock.now().ok());
        result
    }
}

impl<C> Drop for Call<'_, C> {
    fn drop(&mut self) {
        if self.permission.is_probe {
            lock(self.circuit).cancel(self.permission);
        }
    }
}

/// Locks even if poisoned: a clock that panics under the lock leaves nothing half done.
fn lock(circuit: &Mutex<Circuit>) -> MutexGuard<'_, Circuit> {
    circuit.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The cause of a refusal.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("circuit breaker is open")]
struct CircuitOpen;
