//! The progress of a request that is awaited.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

/// The state of a future that starts when it is first polled, and is boxed only if it has to wait.
pub(crate) enum Progress<'a, T> {
    New,
    Waiting(Pin<Box<dyn Future<Output = T> + Send + 'a>>),
    Done,
}

impl<'a, T> Progress<'a, T> {
    /// Polls the future, which `start` makes at the first poll. A future that is done stays
    /// pending.
    pub(crate) fn poll<F: Future<Output = T> + Send + 'a>(
        &mut self,
        context: &mut Context<'_>,
        start: impl FnOnce() -> F,
    ) -> Poll<T> {
        if let Self::New = self {
            *self = Self::Waiting(Box::pin(start()));
        }
        let Self::Waiting(future) = self else { return Poll::Pending };
        let output = ready!(future.as_mut().poll(context));
        *self = Self::Done;
        Poll::Ready(output)
    }
}
