//! Waiting callers, by tokio's paused clock: who comes first, who gives up, and when.
#![cfg(feature = "tokio")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod in_flight;
mod one;
mod several;

use std::{
    future::{Future, poll_fn},
    num::NonZeroUsize,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::Poll,
};

use ratelimit_algorithms::{
    Backend, BackendError, ErrorKind, Limiter, Policies, Timestamp, TokioClock,
};
use ratelimit_backend::{Names, Reply};
use ratelimit_core::{Action, Batch};
use ratelimit_memory::Memory;
use tokio::task::yield_now;

/// A store that answers at the second poll, or not at all.
#[derive(Clone, Debug)]
struct Slow {
    store: Arc<Memory<TokioClock>>,
    is_broken: Arc<AtomicBool>,
}

impl Slow {
    fn new() -> Self {
        let keys_max = NonZeroUsize::new(100).expect("more than none");
        let start = Timestamp::from_micros(1_700_000_000_000_000).expect("it is of our time");
        let store = Arc::new(Memory::with_clock(TokioClock::new(start), keys_max));
        Self { store, is_broken: Arc::default() }
    }
}

impl Backend for Slow {
    fn apply<'a>(&'a self, batch: Batch<'a>, action: Action) -> Reply<'a> {
        Reply::waiting(async move {
            yield_now().await;
            if self.is_broken.load(Ordering::Relaxed) {
                return Err(BackendError::not_applied(ErrorKind::Unavailable));
            }
            self.store.apply(batch, action).await
        })
    }

    fn names(&self) -> &Names {
        self.store.names()
    }
}

fn waiting<P: Policies>(limiter: &Limiter<Slow, P>, count: usize) -> bool {
    format!("{limiter:?}").contains(&format!("WaitQueues({count} waiting)"))
}

/// Drops a future after so many polls, wherever it is then.
async fn polled<F: Future>(future: F, polls: usize) -> Option<F::Output> {
    let (mut future, mut left): (Pin<Box<F>>, _) = (Box::pin(future), polls);
    poll_fn(|context| {
        let Some(fewer) = left.checked_sub(1) else { return Poll::Ready(None) };
        left = fewer;
        match future.as_mut().poll(context) {
            Poll::Pending if left == 0 => Poll::Ready(None),
            outcome => outcome.map(Some),
        }
    })
    .await
}
