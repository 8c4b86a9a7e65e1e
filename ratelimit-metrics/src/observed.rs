//! The wrapper around a store that tells what the store decides.

use std::{
    cell::Cell,
    fmt,
    num::NonZeroU32,
    sync::Arc,
    time::{Duration, Instant},
};

use ratelimit_backend::{Backend, BackendError, Names, Reply, SyncBackend};
use ratelimit_core::{Action, Batch, ConfigError, Policy, store::Decisions};

use crate::{Recorder, counter::Counter, event, recorder::tell};

/// A store that decides what `B` decides, and tells `R` of it. Clones are the same one.
///
/// It changes no decision and no error. It answers on the calling thread where `B` does, and adds
/// no allocation there; where `B` has to be awaited it boxes one more future.
///
/// Outermost it sees everything, what a cache, a list or a fallback decided included. What never
/// reaches a store is not seen: a key or a cost that a limiter refuses.
pub struct Observed<B, R>(Arc<Inner<B, R>>);

struct Inner<B, R> {
    backend: B,
    recorder: R,
    latency_every: NonZeroU32,
    missed: Counter,
}

impl<B, R: Recorder> Observed<B, R> {
    /// `backend`, with `recorder` told of every check.
    #[must_use]
    pub fn new(backend: B, recorder: R) -> Self {
        Self::with_latency_every(backend, recorder, LATENCY_EVERY)
    }

    /// The same, but of the answers that are there at once the latency is measured of one in
    /// `latency_every`, counted on each thread, not of one in 64. Where the store has to be
    /// awaited it always is, from the first poll on.
    #[must_use]
    pub fn with_latency_every(backend: B, recorder: R, latency_every: NonZeroU32) -> Self {
        Self(Arc::new(Inner { backend, recorder, latency_every, missed: Counter::default() }))
    }

    /// The store.
    #[must_use]
    pub fn get_ref(&self) -> &B {
        &self.0.backend
    }

    /// The recorder.
    #[must_use]
    pub fn recorder(&self) -> &R {
        &self.0.recorder
    }

    /// How many events the recorder took no note of: because it panicked, or because it had asked
    /// for them itself. (Where panics abort the process, none is caught.)
    #[must_use]
    pub fn missed(&self) -> u64 {
        self.0.missed.get()
    }

    fn tell(
        &self,
        batch: Batch<'_>,
        action: Action,
        answer: &Result<Decisions, BackendError>,
        latency: Option<Duration>,
    ) {
        event::for_each(batch, action, answer, latency, |event| {
            if !tell(&self.0.recorder, event) {
                self.0.missed.increment();
            }
        });
    }

    /// When a call began whose latency is to be measured.
    fn begin(&self) -> Option<Instant> {
        let turn = TURN.get();
        let is_due = turn == 0;
        TURN.set(if is_due { self.0.latency_every.get() - 1 } else { turn - 1 });
        is_due.then(Instant::now)
    }
}

thread_local! {
    /// How many calls on this thread go unmeasured until the next one is.
    static TURN: Cell<u32> = const { Cell::new(0) };
}

/// Reading the clock twice takes longer than a decision in memory.
const LATENCY_EVERY: NonZeroU32 = NonZeroU32::new(64).unwrap();

impl<B: Backend, R: Recorder> Backend for Observed<B, R> {
    fn apply<'a>(&'a self, batch: Batch<'a>, action: Action) -> Reply<'a> {
        let begin = self.begin();
        let reply = self.0.backend.apply(batch, action);
        if let Some(answer) = reply.as_ready() {
            self.tell(batch, action, answer, begin.map(|begin| begin.elapsed()));
            return reply;
        }
        Reply::waiting(async move {
            let begin = Instant::now();
            let answer = reply.await;
            self.tell(batch, action, &answer, Some(begin.elapsed()));
            answer
        })
    }

    fn names(&self) -> &Names {
        self.0.backend.names()
    }

    fn accepts(&self, policy: &Policy) -> Result<(), ConfigError> {
        self.0.backend.accepts(policy)
    }

    fn recoveries(&self) -> u64 {
        self.0.backend.recoveries()
    }
}

impl<B: SyncBackend, R: Recorder> SyncBackend for Observed<B, R> {
    fn apply_now(&self, batch: Batch<'_>, action: Action) -> Result<Decisions, BackendError> {
        let begin = self.begin();
        let answer = self.0.backend.apply_now(batch, action);
        self.tell(batch, action, &answer, begin.map(|begin| begin.elapsed()));
        answer
    }
}

impl<B, R> Clone for Observed<B, R> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// Shows the store, and nothing of the recorder, which may hold keys.
impl<B: fmt::Debug, R> fmt::Debug for Observed<B, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let backend = &self.0.backend;
        f.debug_struct("Observed").field("backend", backend).finish_non_exhaustive()
    }
}
