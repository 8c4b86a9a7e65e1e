//! A wrapper around a store that passes its decisions to a recorder.

use std::{
    cell::Cell,
    fmt,
    num::NonZeroU32,
    sync::Arc,
    time::{Duration, Instant},
};

use ratelimit_backend::{Backend, BackendError, Names, Reply, SyncBackend};
use ratelimit_core::{Action, Batch, ConfigError, Policy, store::Decisions};

use crate::{
    Recorder,
    counter::{Counter, thread_number},
    event,
    recorder::is_noted,
};

/// A store that decides as `B` does, and hands every check to `R`. Clones share both.
///
/// It changes no decision and no error. It answers on the calling thread where `B` does, and
/// allocates nothing there; a call of `B` that has to be awaited costs one more boxed future.
///
/// As the outermost wrapper it sees everything, decisions of a cache, a list or a fallback included.
/// It does not see what never reaches a store: a key or a cost that a limiter refuses.
pub struct Observed<B, R> {
    inner: Arc<Inner<B, R>>,
    latency_every: NonZeroU32,
}

struct Inner<B, R> {
    backend: B,
    recorder: R,
    missed: Counter,
}

impl<B, R: Recorder> Observed<B, R> {
    /// Wraps `backend`, with `recorder` to get every check.
    #[must_use]
    pub fn new(backend: B, recorder: R) -> Self {
        let inner = Inner { backend, recorder, missed: Counter::default() };
        Self { inner: Arc::new(inner), latency_every: LATENCY_EVERY }
    }

    /// Measures the latency of one call in `calls`, instead of one in 64, where `B` answers at once.
    ///
    /// Of so many successive calls on a thread one is measured, at random, so that limiters that are
    /// checked in turn are measured alike. A call that has to be awaited always is measured, from
    /// the first poll on.
    #[must_use]
    pub fn with_latency_every(self, calls: NonZeroU32) -> Self {
        Self { latency_every: calls, ..self }
    }

    /// Returns the store.
    #[must_use]
    pub fn get_ref(&self) -> &B {
        &self.inner.backend
    }

    /// Returns the recorder.
    #[must_use]
    pub fn recorder(&self) -> &R {
        &self.inner.recorder
    }

    /// Returns the number of events that were not recorded, because the recorder panicked, or
    /// because it had made the check itself. (Where panics abort the process, none is caught.)
    #[must_use]
    pub fn missed(&self) -> u64 {
        self.inner.missed.get()
    }

    fn record(
        &self,
        batch: Batch<'_>,
        action: Action,
        result: &Result<Decisions, BackendError>,
        latency: Option<Duration>,
    ) {
        event::for_each(batch, action, result, latency, |event| {
            self.call(|recorder| recorder.record(event));
        });
    }

    fn call(&self, call: impl FnOnce(&R)) {
        if !is_noted(|| call(&self.inner.recorder)) {
            self.inner.missed.increment();
        }
    }

    /// Returns the start of a call whose latency is to be measured.
    fn start(&self) -> Option<Instant> {
        is_measured(self.latency_every.get()).then(Instant::now)
    }
}

/// Counts a call on this thread; returns whether it is the one to be measured of its block of
/// `every` calls.
///
/// The position in a block is that of a golden section sequence. A fixed one, as that of every 64th
/// call, would measure one limiter and never the other where a request checks two in turn.
fn is_measured(every: u32) -> bool {
    let call = CALLS.get();
    // Threads begin at different blocks, since many may be too short-lived for a second one.
    let call = if call == 0 { thread_number().wrapping_mul(BLOCK_STRIDE) } else { call };
    CALLS.set(call.wrapping_add(1));
    let (block, position) = (call / every, call % every);
    let fraction = u64::from(block.wrapping_mul(GOLDEN_SECTION));
    u64::from(position) == (fraction * u64::from(every)) >> 32
}

thread_local! {
    /// The number of the next call on this thread; 0 before the first one.
    static CALLS: Cell<u32> = const { Cell::new(0) };
}

/// An odd multiple of 2^16, so that a thread begins with a whole block of any usual length.
const BLOCK_STRIDE: u32 = 40_503 << 16;

/// The golden section as a fraction of 2^32.
const GOLDEN_SECTION: u32 = 0x9E37_79B9;

/// Reading the clock twice takes longer than a decision in memory.
const LATENCY_EVERY: NonZeroU32 = NonZeroU32::new(64).unwrap();

impl<B: Backend, R: Recorder> Backend for Observed<B, R> {
    fn apply<'a>(&'a self, batch: Batch<'a>, action: Action) -> Reply<'a> {
        let start = self.start();
        let reply = self.inner.backend.apply(batch, action);
        if let Some(result) = reply.as_ready() {
            self.record(batch, action, result, start.map(|start| start.elapsed()));
            return reply;
        }
        Reply::waiting(async move {
            let start = Instant::now();
            let result = reply.await;
            self.record(batch, action, &result, Some(start.elapsed()));
            result
        })
    }

    fn apply_if_ready(
        &self,
        batch: Batch<'_>,
        action: Action,
    ) -> Option<Result<Decisions, BackendError>> {
        let start = self.start();
        let result = self.inner.backend.apply_if_ready(batch, action)?;
        self.record(batch, action, &result, start.map(|start| start.elapsed()));
        Some(result)
    }

    /// Nobody learns of its result, and so no event tells of it.
    fn apply_unawaited(&self, batch: Batch<'_>, action: Action) -> bool {
        self.inner.backend.apply_unawaited(batch, action)
    }

    fn names(&self) -> &Names {
        self.inner.backend.names()
    }

    fn accepts(&self, policy: &Policy) -> Result<(), ConfigError> {
        self.inner.backend.accepts(policy)?;
        self.call(|recorder| recorder.register(policy));
        Ok(())
    }

    fn recoveries(&self) -> u64 {
        self.inner.backend.recoveries()
    }

    fn lists_only_text(&self, name: &str) -> bool {
        self.inner.backend.lists_only_text(name)
    }
}

impl<B: SyncBackend, R: Recorder> SyncBackend for Observed<B, R> {
    fn apply_now(&self, batch: Batch<'_>, action: Action) -> Result<Decisions, BackendError> {
        let start = self.start();
        let result = self.inner.backend.apply_now(batch, action);
        self.record(batch, action, &result, start.map(|start| start.elapsed()));
        result
    }
}

impl<B, R> Clone for Observed<B, R> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner), latency_every: self.latency_every }
    }
}

/// Shows the store, and nothing of the recorder, which may hold keys.
impl<B: fmt::Debug, R> fmt::Debug for Observed<B, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let backend = &self.inner.backend;
        f.debug_struct("Observed").field("backend", backend).finish_non_exhaustive()
    }
}
