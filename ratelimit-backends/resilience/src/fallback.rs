//! The policy for a store that fails: deny, allow, or use a limit of this process.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use ratelimit_backend::{
    Backend, BackendError, Clock, ErrorKind, MonotonicClock, Names, Reply, SyncBackend,
};
use ratelimit_core::{
    Action, Batch, Check, ConfigError, Micros, Outcome, Policy, Source, store::Decisions,
};

use crate::{
    decisions::{ALLOW, all_or_nothing, let_through, unseen},
    local_limits::LocalLimits,
};

/// Decides when the store fails, as [`OnFailure`] says. A clone counts together with its original.
///
/// These errors are failures of the store: `Unavailable`, `Timeout`, `Overloaded`, `ReadOnly`,
/// `Auth`, `Full`, `Capacity`, `Protocol` and `Closed`. Unreadable state (`Corrupt`,
/// `Incompatible`) and a clock out of range do not go away by waiting, so these errors are passed
/// on.
///
/// Only spends, takes and peeks are decided here. The caller of any other action (a refund, a
/// reset, a block) has to know that it failed. The store is not told of decisions made here, and
/// later goes on from its own state. So refund a charge only if the decision's [`Source`] is the
/// store.
///
/// ```
/// use ratelimit_algorithms::{Limiter, Source, TokenBucket};
/// use ratelimit_memory::Memory;
/// use ratelimit_resilience::{Fallback, OnFailure};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = Fallback::new(Memory::new(), OnFailure::Allow);
/// let limiter = Limiter::new(store.clone(), "api", TokenBucket::per_second(10))?;
/// assert_eq!(limiter.check("user:42").now()?.source(), Source::Store);
/// assert_eq!(store.failures().allowed, 0);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Fallback<B, C = MonotonicClock> {
    pub(crate) inner: B,
    pub(crate) on_failure: OnFailure,
    clock: C,
    counters: Arc<Counters>,
}

/// The answer when the store fails.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum OnFailure {
    /// The error is passed on; an HTTP service responds with 503.
    #[default]
    Deny,
    /// Every request is let through, with [`Source::Open`] and the numbers of a key never seen; but
    /// for those of a limit that admits nothing.
    Allow,
    /// A limit of this process decides, with [`Source::Local`]. The error is passed on if it cannot
    /// decide: the cost is more than it ever admits, or it has no room for a key.
    Local(LocalLimits),
}

/// The number of spends, takes and peeks at which the store failed, by their outcome.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Failures {
    /// The error was passed on.
    pub denied: u64,
    /// The request was let through.
    pub allowed: u64,
    /// The local limit decided.
    pub local: u64,
}

#[derive(Debug, Default)]
struct Counters {
    denied: AtomicU64,
    allowed: AtomicU64,
    local: AtomicU64,
}

impl<B> Fallback<B> {
    /// Decides as `on_failure` says when `inner` fails.
    #[must_use]
    pub fn new(inner: B, on_failure: OnFailure) -> Self {
        Self::with_clock(inner, on_failure, MonotonicClock::new())
    }
}

impl<B, C> Fallback<B, C> {
    /// The same with another clock, which dates decisions that are made without a limit.
    #[must_use]
    pub fn with_clock(inner: B, on_failure: OnFailure, clock: C) -> Self {
        Self { inner, on_failure, clock, counters: Arc::default() }
    }

    /// The number of spends, takes and peeks at which the store has failed so far.
    #[must_use]
    pub fn failures(&self) -> Failures {
        // Relaxed here and below: each count stands for itself.
        let Counters { denied, allowed, local } = &*self.counters;
        let [denied, allowed, local] =
            [denied, allowed, local].map(|count| count.load(Ordering::Relaxed));
        Failures { denied, allowed, local }
    }

    accessors!();
}

impl<B, C: Clock> Fallback<B, C> {
    fn decide(
        &self,
        result: Result<Decisions, BackendError>,
        batch: Batch<'_>,
        action: Action,
    ) -> Result<Decisions, BackendError> {
        match result {
            Err(error) if is_failure(&error) && action.is_request() => {
                let (result, count) = self.fall_back(error, batch, action);
                count.fetch_add(1, Ordering::Relaxed);
                result
            }
            result => result,
        }
    }

    fn fall_back(
        &self,
        error: BackendError,
        batch: Batch<'_>,
        action: Action,
    ) -> (Result<Decisions, BackendError>, &AtomicU64) {
        let Counters { denied, allowed, local } = &*self.counters;
        let (decisions, count) = match &self.on_failure {
            OnFailure::Deny => (None, denied),
            OnFailure::Allow => (self.allow(batch, action).ok(), allowed),
            OnFailure::Local(limits) => (limits.decide(batch, action), local),
        };
        decisions.map_or((Err(error), denied), |decisions| (Ok(decisions), count))
    }

    fn allow(&self, batch: Batch<'_>, action: Action) -> Result<Decisions, BackendError> {
        let now = self.clock.now()?;
        // A limit of nothing admits nothing, whether the store can be asked or not.
        let outcome = |check: &Check<'_>| match check.policy().limit() {
            0 => (Outcome::Deny { retry_after: Micros::MAX }, 0),
            _ => (ALLOW, let_through(check, action)),
        };
        let open = |check| unseen(check, now, outcome(check), Source::Open);
        match batch.checks() {
            [check] => Ok(open(check)?.into()),
            checks => Ok(all_or_nothing(checks.iter().map(open).collect::<Result<_, _>>()?)),
        }
    }
}

impl<B: Backend, C: Clock> Backend for Fallback<B, C> {
    fn apply<'a>(&'a self, batch: Batch<'a>, action: Action) -> Reply<'a> {
        let reply = self.inner.apply(batch, action);
        reply.then(move |result| self.decide(result, batch, action))
    }

    /// Nobody learns of its result, so nothing is decided in place of the store.
    fn apply_unawaited(&self, batch: Batch<'_>, action: Action) -> bool {
        self.inner.apply_unawaited(batch, action)
    }

    fn names(&self) -> &Names {
        self.inner.names()
    }

    fn accepts(&self, policy: &Policy) -> Result<(), ConfigError> {
        self.inner.accepts(policy)?;
        match &self.on_failure {
            OnFailure::Local(local) => local.accepts(policy),
            _ => Ok(()),
        }
    }

    fn recoveries(&self) -> u64 {
        self.inner.recoveries()
    }

    fn lists_only_text(&self, name: &str) -> bool {
        self.inner.lists_only_text(name)
    }
}

impl<B: SyncBackend, C: Clock> SyncBackend for Fallback<B, C> {
    fn apply_now(&self, batch: Batch<'_>, action: Action) -> Result<Decisions, BackendError> {
        self.decide(self.inner.apply_now(batch, action), batch, action)
    }
}

const fn is_failure(error: &BackendError) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Unavailable
            | ErrorKind::Timeout
            | ErrorKind::Overloaded
            | ErrorKind::ReadOnly
            | ErrorKind::Auth
            | ErrorKind::Full
            | ErrorKind::Capacity
            | ErrorKind::Protocol
            | ErrorKind::Closed
    )
}
