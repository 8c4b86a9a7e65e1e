//! Work that is done only with a permit.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use ratelimit_backend::{Backend, SyncBackend};

use crate::{AcquireError, Permit, Policies, Request};

/// Work that is done if a key has permits left for it, where `R` is the request that acquires them.
///
/// It is done with [`now`](Self::now), or, if the work is itself `async`, by awaiting this.
#[must_use = "the work is not done unless this is awaited, or done with `now`"]
pub struct Run<R, W, O> {
    request: R,
    work: Option<W>,
    running: Option<Pin<Box<O>>>,
}

impl<R, W, O> Run<R, W, O> {
    pub(crate) const fn new(request: R, work: W) -> Self {
        Self { request, work: Some(work), running: None }
    }
}

impl<'a, B, P, W, O> Run<Request<'a, B, P, Permit<'a, B>>, W, O>
where
    B: Backend,
    P: Policies,
    W: FnOnce() -> O,
{
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
        request.now()?.keep();
        let work = work.expect("the work is there until it is polled");
        Ok(work())
    }
}

/// Fails as [`now`](Run::now) does.
impl<'a, B, P, W, O> Future for Run<Request<'a, B, P, Permit<'a, B>>, W, O>
where
    B: Backend,
    P: Policies,
    W: FnOnce() -> O,
    O: Future,
{
    type Output = Result<O::Output, AcquireError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { request, work, running } = &mut *self;
        if running.is_none() {
            ready!(Pin::new(request).poll(context))?.keep();
            *running = work.take().map(|work| Box::pin(work()));
        }
        let Some(work) = running else { return Poll::Pending };
        work.as_mut().poll(context).map(Ok)
    }
}

/// The work is moved before it is polled, and boxed from then on.
impl<R, W, O> Unpin for Run<R, W, O> {}

impl<R: fmt::Debug, W, O> fmt::Debug for Run<R, W, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run").field("request", &self.request).finish_non_exhaustive()
    }
}
