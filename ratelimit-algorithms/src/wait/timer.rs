//! Timers: a way to wait for an instant, on tokio, on a thread, or on another runtime.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
    time::Instant,
};

/// A source of instants, and a way to wait for one.
///
/// With the feature `tokio` there is [`TokioTimer`]; another runtime's is two lines.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no timer",
    note = "enable the feature `tokio` of `ratelimit-algorithms`, or name a timer with `.timer(…)`"
)]
pub trait Timer: Send + Sync {
    /// The present instant.
    fn now(&self) -> Instant;

    /// Waits until `then` has come.
    fn sleep_until(&self, then: Instant) -> impl Future<Output = ()> + Send;
}

/// The timer of a tokio runtime, with the feature `tokio`; like the runtime's, it can be paused in
/// tests.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "it has no settings")]
pub struct TokioTimer;

#[cfg(feature = "tokio")]
impl Timer for TokioTimer {
    fn now(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }

    fn sleep_until(&self, then: Instant) -> impl Future<Output = ()> + Send {
        tokio::time::sleep_until(then.into())
    }
}

/// The outcome of `future`, or `None` if the deadline comes first.
pub async fn before<F: Future>(
    deadline: Option<Instant>,
    timer: &impl Timer,
    future: F,
) -> Option<F::Output> {
    let Some(deadline) = deadline else { return Some(future.await) };
    let (mut future, mut end) = (pin!(future), pin!(timer.sleep_until(deadline)));
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(outcome) => Poll::Ready(Some(outcome)),
        Poll::Pending => end.as_mut().poll(context).map(|()| None),
    })
    .await
}

/// Runs one future on the calling thread, which sleeps while there is nothing to do.
#[derive(Debug, Default)]
pub(crate) struct ThreadTimer {
    /// The instant to wake up at, set by the future that was polled last.
    alarm: Mutex<Option<Instant>>,
}

impl ThreadTimer {
    /// Runs `future`, which may sleep by this timer, to its end.
    pub(crate) fn block_on<F: Future>(&self, future: F) -> F::Output {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let (mut context, mut future) = (Context::from_waker(&waker), pin!(future));
        loop {
            self.set(None);
            if let Poll::Ready(outcome) = future.as_mut().poll(&mut context) {
                return outcome;
            }
            // A wake-up that came before is not lost: then neither of them sleeps.
            match self.alarm() {
                None => thread::park(),
                Some(then) => thread::park_timeout(then.saturating_duration_since(self.now())),
            }
        }
    }

    fn alarm(&self) -> Option<Instant> {
        *self.alarm.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, then: Option<Instant>) {
        *self.alarm.lock().unwrap_or_else(PoisonError::into_inner) = then;
    }
}

impl Timer for ThreadTimer {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn sleep_until(&self, then: Instant) -> impl Future<Output = ()> + Send {
        poll_fn(move |_| {
            if then <= self.now() {
                return Poll::Ready(());
            }
            self.set(Some(then));
            Poll::Pending
        })
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
