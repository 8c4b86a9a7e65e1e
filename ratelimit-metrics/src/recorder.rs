//! The trait of recorders, and the call of one that harms no decision.

use std::{
    cell::Cell,
    mem,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::Arc,
};

use ratelimit_core::Policy;

use crate::Event;

/// Gets every check of a store.
///
/// It runs on the thread that checks, after the decision was made and before the caller has it. It
/// changes no decision and no lock is held, but the caller waits for it: a recorder that may be slow
/// belongs into a [`Buffered`](crate::Buffered).
///
/// Recorders compose: `(a, b)`, `(a, b, c)`, a `Vec`, `Option` or `Arc` of recorders is one. Each
/// part gets every event, even if another one panics.
///
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering};
///
/// use ratelimit_metrics::{Event, Recorder, Verdict};
///
/// #[derive(Default)]
/// struct Denials(AtomicU64);
///
/// impl Recorder for Denials {
///     fn record(&self, event: &Event<'_>) {
///         if event.verdict == Verdict::Deny {
///             self.0.fetch_add(1, Ordering::Relaxed);
///         }
///     }
/// }
/// ```
pub trait Recorder: Send + Sync {
    /// Records a check.
    fn record(&self, event: &Event<'_>);

    /// Records that a limiter of `policy` was made, so that its series exist before its first check.
    /// Does nothing by default.
    fn register(&self, policy: &Policy) {
        let _ = policy;
    }
}

impl<R: Recorder + ?Sized> Recorder for Arc<R> {
    fn record(&self, event: &Event<'_>) {
        (**self).record(event);
    }

    fn register(&self, policy: &Policy) {
        (**self).register(policy);
    }
}

impl<R: Recorder + ?Sized> Recorder for Box<R> {
    fn record(&self, event: &Event<'_>) {
        (**self).record(event);
    }

    fn register(&self, policy: &Policy) {
        (**self).register(policy);
    }
}

impl<R: Recorder> Recorder for Option<R> {
    fn record(&self, event: &Event<'_>) {
        if let Some(recorder) = self {
            recorder.record(event);
        }
    }

    fn register(&self, policy: &Policy) {
        if let Some(recorder) = self {
            recorder.register(policy);
        }
    }
}

impl<A: Recorder, B: Recorder> Recorder for (A, B) {
    fn record(&self, event: &Event<'_>) {
        let (a, b) = self;
        both(|| a.record(event), || b.record(event));
    }

    fn register(&self, policy: &Policy) {
        let (a, b) = self;
        both(|| a.register(policy), || b.register(policy));
    }
}

impl<A: Recorder, B: Recorder, C: Recorder> Recorder for (A, B, C) {
    fn record(&self, event: &Event<'_>) {
        let (a, b, c) = self;
        both(|| a.record(event), || both(|| b.record(event), || c.record(event)));
    }

    fn register(&self, policy: &Policy) {
        let (a, b, c) = self;
        both(|| a.register(policy), || both(|| b.register(policy), || c.register(policy)));
    }
}

impl<R: Recorder> Recorder for [R] {
    fn record(&self, event: &Event<'_>) {
        if let [first, rest @ ..] = self {
            both(|| first.record(event), || rest.record(event));
        }
    }

    fn register(&self, policy: &Policy) {
        if let [first, rest @ ..] = self {
            both(|| first.register(policy), || rest.register(policy));
        }
    }
}

impl<R: Recorder> Recorder for Vec<R> {
    fn record(&self, event: &Event<'_>) {
        self.as_slice().record(event);
    }

    fn register(&self, policy: &Policy) {
        self.as_slice().register(policy);
    }
}

/// Runs both, whether the first one panics or not.
fn both(first: impl FnOnce(), second: impl FnOnce()) {
    let outcome = catch_unwind(AssertUnwindSafe(first));
    second();
    if let Err(panic) = outcome {
        resume_unwind(panic);
    }
}

/// Calls a recorder; returns whether it took note. It does not if it panics, nor of a check that a
/// recorder makes itself on this thread, since there would be no end.
#[must_use]
pub(crate) fn is_noted(call: impl FnOnce()) -> bool {
    if RECORDING.replace(true) {
        return false;
    }
    // A recorder that panicked may be in any state; nothing here reads it.
    let outcome = catch_unwind(AssertUnwindSafe(call));
    RECORDING.set(false);
    // The payload of a panic may panic again when it is dropped.
    outcome.map_err(mem::forget).is_ok()
}

thread_local! {
    /// True while a recorder runs on this thread.
    static RECORDING: Cell<bool> = const { Cell::new(false) };
}
