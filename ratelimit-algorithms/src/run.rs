//! Work that is done only with a permit.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use ratelimit_backend::{Backend, SyncBackend};

use crate::{Acquire, AcquireError, Permit};

/// Work that is done if a key has permits left for it, by a limiter.
///
/// Call [`now`](Self::now), or await this if the work is `async`. The permits are held meanwhile,
/// and stay spent.
#[must_use = "the work is not done unless this is awaited, or done with `now`"]
pub struct Run<'a, B, W, O> {
    request: Acquire<'a, B>,
    work: Option<W>,
    running: Option<(Permit<'a, B>, Pin<Box<O>>)>,
}

impl<'a, B, W, O> Run<'a, B, W, O> {
    pub(crate) const fn new(request: Acquire<'a, B>, work: W) -> Self {
        Self { request, work: Some(work), running: None }
    }
}

impl<B: Backend, W: FnOnce() -> O, O> Run<'_, B, W, O> {
    /// Spends `cost` permits for the work; by default one.
    pub fn cost(self, cost: u64) -> Self {
        Self { request: self.request.cost(cost), ..self }
    }

    /// Does the work on the calling thread. On a store that has to be awaited this does not compile.
    ///
    /// # Errors
    ///
    /// [`AcquireError::Denied`] if the key has no permits left; when no decision was made. What the
    /// work returns, errors too, is its result.
    pub fn now(self) -> Result<O, AcquireError>
    where
        B: SyncBackend,
    {
        let Self { request, work, .. } = self;
        let permit = request.now()?;
        let work = work.expect("the work is there until it is polled");
        let outcome = work();
        drop(permit);
        Ok(outcome)
    }
}

/// Fails as [`now`](Run::now) does.
impl<B: Backend, W: FnOnce() -> O, O: Future> Future for Run<'_, B, W, O> {
    type Output = Result<O::Output, AcquireError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { request, work, running } = &mut *self;
        if running.is_none() {
            let permit = ready!(Pin::new(request).poll(context))?;
            *running = work.take().map(|work| (permit, Box::pin(work())));
        }
        let Some((_, work)) = running else { return Poll::Pending };
        let outcome = ready!(work.as_mut().poll(context));
        *running = None;
        Poll::Ready(Ok(outcome))
    }
}

/// The work is moved before it is polled, and boxed from then on.
impl<B, W, O> Unpin for Run<'_, B, W, O> {}

impl<B, W, O> fmt::Debug for Run<'_, B, W, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run").field("request", &self.request).finish_non_exhaustive()
    }
}
