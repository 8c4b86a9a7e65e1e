//! What happens when the store fails, which is the caller's choice.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use ratelimit_backend::{
    Backend, BackendError, Clock, ErrorKind, MonotonicClock, Names, Reply, SyncBackend,
};
use ratelimit_core::{Action, Batch, ConfigError, Policy, Source, store::Decisions};

use crate::{
    Local,
    decisions::{ALLOW, Answer, unseen},
};

/// Answers as chosen when the store fails to. A clone counts together with its original.
///
/// What counts as such a failure is an error about the store: `Unavailable`, `Timeout`,
/// `Overloaded`, `ReadOnly`, `Auth`, `Full`, `Capacity`, `Protocol` and `Closed`. State that
/// cannot be read (`Corrupt`, `Incompatible`) and a clock out of range are not waited out, but
/// mended, so these are passed on. Keys, costs and configurations are refused before there is
/// anything to ask a store.
///
/// Only questions are answered here, that is [`Action::Spend`] and [`Action::Peek`]. Whoever
/// wants something done (a refund, a reset, a block) has to know that it was not. What was
/// answered here is never told to the store: afterwards, that goes on from where it was. So a
/// charge is to be given back only where the decision's [`Source`] is the store.
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

/// What happens when the store fails.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum OnFailure {
    /// The error is passed on; an HTTP service answers 503.
    #[default]
    Deny,
    /// Everybody is let through, with [`Source::Open`] and the numbers of a key never seen, for
    /// nothing is known of any.
    Allow,
    /// A limit kept in this process decides, with [`Source::Local`]. Where it cannot, because a
    /// cost is more than it ever admits or it has no room for a key, the error is passed on.
    Local(Local),
}

/// How many questions the store has failed to answer, by what came of them.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Failures {
    /// The error was passed on.
    pub denied: u64,
    /// They were let through.
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
    /// Does what `on_failure` says when `inner` fails.
    #[must_use]
    pub fn new(inner: B, on_failure: OnFailure) -> Self {
        Self::with_clock(inner, on_failure, MonotonicClock::new())
    }
}

impl<B, C> Fallback<B, C> {
    /// The same, where what is let through without a limit is dated by `clock`.
    #[must_use]
    pub fn with_clock(inner: B, on_failure: OnFailure, clock: C) -> Self {
        Self { inner, on_failure, clock, counters: Arc::default() }
    }

    /// How many questions the store has failed to answer so far.
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
    fn settle(&self, answer: Answer, batch: Batch<'_>, action: Action) -> Answer {
        match answer {
            Err(error) if is_failure(&error) && is_question(action) => {
                let (answer, count) = self.fall_back(error, batch, action);
                count.fetch_add(1, Ordering::Relaxed);
                answer
            }
            answer => answer,
        }
    }

    fn fall_back(
        &self,
        error: BackendError,
        batch: Batch<'_>,
        action: Action,
    ) -> (Answer, &AtomicU64) {
        let Counters { denied, allowed, local } = &*self.counters;
        let (decisions, count) = match &self.on_failure {
            OnFailure::Deny => (None, denied),
            OnFailure::Allow => (self.allow(batch).ok(), allowed),
            OnFailure::Local(limits) => (limits.decide(batch, action), local),
        };
        decisions.map_or((Err(error), denied), |decisions| (Ok(decisions), count))
    }

    fn allow(&self, batch: Batch<'_>) -> Answer {
        let now = self.clock.now()?;
        match batch.checks() {
            [check] => Ok(unseen(check, now, ALLOW, Source::Open)?.into()),
            checks => checks.iter().map(|check| unseen(check, now, ALLOW, Source::Open)).collect(),
        }
    }
}

impl<B: Backend, C: Clock> Backend for Fallback<B, C> {
    fn apply<'a>(&'a self, batch: Batch<'a>, action: Action) -> Reply<'a> {
        let reply = self.inner.apply(batch, action);
        reply.then(move |answer| self.settle(answer, batch, action))
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
}

impl<B: SyncBackend, C: Clock> SyncBackend for Fallback<B, C> {
    fn apply_now(&self, batch: Batch<'_>, action: Action) -> Result<Decisions, BackendError> {
        self.settle(self.inner.apply_now(batch, action), batch, action)
    }
}

const fn is_question(action: Action) -> bool {
    matches!(action, Action::Spend | Action::Peek)
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
