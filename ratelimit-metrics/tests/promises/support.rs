//! A store that fails as it is told to, and one decision to make others of.

use std::{num::NonZeroUsize, sync::Arc, time::Duration};

use ratelimit_algorithms::{Limiter, SyncBackend, TokenBucket};
use ratelimit_backend::{Backend, BackendError, ErrorKind, ManualClock, Names, Reply};
use ratelimit_core::{
    Action, Batch, Check, Decision, Key, Policy, Source, store::Decisions, token_bucket,
};
use ratelimit_memory::Memory;
use ratelimit_metrics::{Event, Recorder};

pub(crate) type Store = Memory<ManualClock>;

pub(crate) const fn size(n: usize) -> NonZeroUsize {
    NonZeroUsize::new(n).unwrap()
}

/// A store whose clock stands.
pub(crate) fn memory() -> Store {
    Memory::with_clock(ManualClock::default(), size(100_000))
}

/// A limiter of three permits.
pub(crate) fn three<B: SyncBackend>(store: B, name: &str) -> Limiter<B> {
    Limiter::new(store, name, TokenBucket::per_hour(3)).unwrap()
}

pub(crate) fn policy(name: &str) -> Policy {
    let quota = token_bucket::Quota::new(3, 1, Duration::from_secs(1)).unwrap();
    Policy::new(name, quota).unwrap()
}

/// Keys beginning with `fail` get this error, all others what a store in memory says.
pub(crate) struct Failing {
    pub(crate) store: Store,
    pub(crate) error: BackendError,
}

impl Failing {
    pub(crate) fn new(kind: ErrorKind) -> Self {
        Self { store: memory(), error: BackendError::unknown(kind) }
    }
}

impl Backend for Failing {
    fn apply<'a>(&'a self, batch: Batch<'a>, action: Action) -> Reply<'a> {
        Reply::waiting(async move { self.apply_now(batch, action) })
    }

    fn names(&self) -> &Names {
        self.store.names()
    }
}

impl SyncBackend for Failing {
    fn apply_now(&self, batch: Batch<'_>, action: Action) -> Result<Decisions, BackendError> {
        let fails = |check: &Check<'_>| check.key().as_bytes().starts_with(b"fail");
        if batch.checks().iter().any(fails) {
            return Err(self.error.clone());
        }
        self.store.apply_now(batch, action)
    }
}

/// A decision of a fresh key, admitted or denied, from `source`.
pub(crate) fn decision(policy: &Policy, is_allowed: bool, source: Source) -> Decision {
    let store = memory();
    let check = Check::new(policy, Key::new("k").unwrap(), 3).unwrap();
    let spend = || store.apply_now(Batch::one(&check), Action::Spend).unwrap()[0];
    let mut decision = spend();
    if !is_allowed {
        decision = spend();
    }
    decision = decision.with_source(source);
    decision
}

/// Tells `recorder` that `policy` was asked for `key`, and answered so.
pub(crate) fn tell(
    recorder: &impl Recorder,
    policy: &Policy,
    key: &str,
    answer: Result<&Decision, &BackendError>,
) {
    let check = Check::new(policy, Key::new(key).unwrap(), 1).unwrap();
    recorder.record(&Event::new(&check, Action::Spend, answer));
}

/// A recorder that does what a closure does.
pub(crate) struct Run<F>(pub(crate) F);

impl<F: Fn(&Event<'_>) + Send + Sync> Recorder for Run<F> {
    fn record(&self, event: &Event<'_>) {
        (self.0)(event);
    }
}

pub(crate) fn shared<T>(value: T) -> (Arc<T>, Arc<T>) {
    let shared = Arc::new(value);
    (Arc::clone(&shared), shared)
}
