//! The trait of what wants to know, and how it is told so that it harms nobody.

use std::{
    cell::Cell,
    mem,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::Arc,
};

use crate::Event;

/// Is told of every check.
///
/// It runs on the thread that asked, after the decision was made and before the caller has it: what
/// it does changes no decision and holds no lock, but what time it takes the caller waits. One
/// that may be slow belongs into a [`Buffered`](crate::Buffered).
///
/// Recorders compose: `(a, b)`, `(a, b, c)`, a `Vec`, `Option` or `Arc` of recorders is one. Each
/// part is told of every event, even if another one panics.
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
    /// Takes note of `event`.
    fn record(&self, event: &Event<'_>);
}

impl<R: Recorder + ?Sized> Recorder for Arc<R> {
    fn record(&self, event: &Event<'_>) {
        (**self).record(event);
    }
}

impl<R: Recorder + ?Sized> Recorder for Box<R> {
    fn record(&self, event: &Event<'_>) {
        (**self).record(event);
    }
}

impl<R: Recorder> Recorder for Option<R> {
    fn record(&self, event: &Event<'_>) {
        if let Some(recorder) = self {
            recorder.record(event);
        }
    }
}

impl<A: Recorder, B: Recorder> Recorder for (A, B) {
    fn record(&self, event: &Event<'_>) {
        let (a, b) = self;
        first_then(|| a.record(event), || b.record(event));
    }
}

impl<A: Recorder, B: Recorder, C: Recorder> Recorder for (A, B, C) {
    fn record(&self, event: &Event<'_>) {
        let (a, b, c) = self;
        first_then(|| a.record(event), || first_then(|| b.record(event), || c.record(event)));
    }
}

impl<R: Recorder> Recorder for [R] {
    fn record(&self, event: &Event<'_>) {
        if let [first, rest @ ..] = self {
            first_then(|| first.record(event), || rest.record(event));
        }
    }
}

impl<R: Recorder> Recorder for Vec<R> {
    fn record(&self, event: &Event<'_>) {
        self.as_slice().record(event);
    }
}

/// Runs both, whether the first one panics or not.
fn first_then(first: impl FnOnce(), then: impl FnOnce()) {
    let outcome = catch_unwind(AssertUnwindSafe(first));
    then();
    if let Err(panic) = outcome {
        resume_unwind(panic);
    }
}

/// Tells `recorder`, and tells whether it took note: not if it panics, and not of what a recorder
/// itself asks on this thread, of which there would be no end.
#[must_use]
pub(crate) fn tell(recorder: &(impl Recorder + ?Sized), event: &Event<'_>) -> bool {
    if RECORDING.replace(true) {
        return false;
    }
    // Whatever is half done is the recorder's own; nothing of it is looked at here.
    let outcome = catch_unwind(AssertUnwindSafe(|| recorder.record(event)));
    RECORDING.set(false);
    // What was thrown may throw again when it is dropped.
    outcome.map_err(mem::forget).is_ok()
}

thread_local! {
    /// Whether a recorder runs on this thread.
    static RECORDING: Cell<bool> = const { Cell::new(false) };
}
