//! Settlements that continue after their requests are dropped.

use std::{
    fmt,
    future::{Future, poll_fn},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

/// A settlement; its outcome is nobody's to see, since a charge that a store fails to settle stays.
pub(crate) type Settling = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The settlements of a layer and its clones that have begun, and that nobody waits for.
#[derive(Default)]
pub(crate) struct Outstanding(Mutex<State>);

#[derive(Default)]
struct State {
    count: usize,
    /// Those that wait until there are none.
    wakers: Vec<Waker>,
}

impl Outstanding {
    /// Finishes a settlement: here if the store is ready, else in a task of its own. Without a runtime
    /// for that, the charge stays.
    pub(crate) fn finish(self: &Arc<Self>, mut settling: Settling) {
        let context = &mut Context::from_waker(Waker::noop());
        if settling.as_mut().poll(context).is_ready() {
            return;
        }
        #[cfg(feature = "tokio")]
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let one = One::of(self);
            runtime.spawn(async move {
                settling.await;
                drop(one);
            });
        }
    }

    /// Waits until there are none.
    pub(crate) async fn none(&self) {
        poll_fn(|context| {
            let mut state = self.lock();
            if state.count == 0 {
                return Poll::Ready(());
            }
            if !state.wakers.iter().any(|waker| waker.will_wake(context.waker())) {
                state.wakers.push(context.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }

    /// Ignores poison: a number is never half written.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts one settlement, until it is dropped.
#[cfg(feature = "tokio")]
struct One(Arc<Outstanding>);

#[cfg(feature = "tokio")]
impl One {
    fn of(all: &Arc<Outstanding>) -> Self {
        all.lock().count += 1;
        Self(Arc::clone(all))
    }
}

#[cfg(feature = "tokio")]
impl Drop for One {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.count -= 1;
        if state.count == 0 {
            let wakers = std::mem::take(&mut state.wakers);
            drop(state);
            wakers.into_iter().for_each(Waker::wake);
        }
    }
}

impl fmt::Debug for Outstanding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Outstanding({})", self.lock().count)
    }
}
