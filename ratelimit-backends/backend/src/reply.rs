//! The reply of a store: a future that costs nothing where it is ready from the start.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use ratelimit_core::store::Decisions;

use crate::BackendError;

/// The decisions of a batch, or an error: a future that is often ready from the start.
#[must_use = "a reply does nothing unless it is awaited"]
pub struct Reply<'a>(State<'a>);

enum State<'a> {
    Ready(Option<Result<Decisions, BackendError>>),
    Waiting(Pin<Box<dyn Future<Output = Result<Decisions, BackendError>> + Send + 'a>>),
}

impl<'a> Reply<'a> {
    /// A reply that is ready.
    #[inline(always)]
    pub const fn ready(answer: Result<Decisions, BackendError>) -> Self {
        Self(State::Ready(Some(answer)))
    }

    /// A reply that takes time.
    pub fn waiting(
        answer: impl Future<Output = Result<Decisions, BackendError>> + Send + 'a,
    ) -> Self {
        Self(State::Waiting(Box::pin(answer)))
    }

    /// The result, if the reply was ready from the start.
    #[must_use]
    pub const fn as_ready(&self) -> Option<&Result<Decisions, BackendError>> {
        match &self.0 {
            State::Ready(answer) => answer.as_ref(),
            State::Waiting(_) => None,
        }
    }

    /// The result, if the reply was ready from the start; `None` if it takes time. Then nothing was
    /// done, unless it has been polled.
    #[must_use]
    #[inline(always)]
    pub fn into_ready(self) -> Option<Result<Decisions, BackendError>> {
        match self.0 {
            State::Ready(answer) => answer,
            State::Waiting(_) => None,
        }
    }

    /// Passes the result through `next`: at once, if the reply is ready.
    pub fn then(
        self,
        next: impl FnOnce(Result<Decisions, BackendError>) -> Result<Decisions, BackendError>
        + Send
        + 'a,
    ) -> Self {
        match self.0 {
            State::Ready(answer) => Self(State::Ready(answer.map(next))),
            State::Waiting(answer) => Self::waiting(async move { next(answer.await) }),
        }
    }
}

impl Future for Reply<'_> {
    type Output = Result<Decisions, BackendError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            State::Ready(answer) => answer.take().map_or(Poll::Pending, Poll::Ready),
            State::Waiting(answer) => answer.as_mut().poll(context),
        }
    }
}

impl fmt::Debug for Reply<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            State::Ready(_) => "Reply(ready)",
            State::Waiting(_) => "Reply(waiting)",
        })
    }
}
