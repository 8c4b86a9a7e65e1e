//! The trait itself, and the future that its method returns.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use ratelimit_core::{Action, Batch, ConfigError, Decisions, Policy};

use crate::{BackendError, Names};

/// A store that applies actions to the records it keeps.
///
/// Two calls about one key behave as if one came after the other, and a batch as if it were
/// alone: either all of its checks are charged, or none. Dropping the reply before it is ready
/// leaves one whole charge, or none.
pub trait Backend: Send + Sync {
    /// Applies `action` to `batch`, and gives a decision for each of its checks, in order.
    ///
    /// A reply that is not ready from the start has asked for nothing before it is first polled.
    fn apply<'a>(&'a self, batch: Batch<'a>, action: Action) -> Reply<'a>;

    /// Applies `action` to `batch` if that needs no waiting. `None`, and nothing done, if it does.
    ///
    /// By default the answer that [`apply`](Self::apply) has ready from the start. Stores that
    /// know whether they wait save the reply, which would take as long as a decision in memory.
    fn apply_if_ready(
        &self,
        batch: Batch<'_>,
        action: Action,
    ) -> Option<Result<Decisions, BackendError>> {
        self.apply(batch, action).into_ready()
    }

    /// The names that policies have taken in this store. Clones of a store share theirs.
    fn names(&self) -> &Names;

    /// Whether the store can keep the state of `policy`; asked when a limiter is built of it.
    ///
    /// # Errors
    ///
    /// [`ConfigError::NotAtomic`] if some of the state would lie where the rest does not. By
    /// default every policy is accepted.
    fn accepts(&self, policy: &Policy) -> Result<(), ConfigError> {
        let _ = policy;
        Ok(())
    }

    /// How many times the store may have come back into reach, as far as it can tell.
    ///
    /// Whoever leaves a store alone that did not answer asks it again as soon as this has changed.
    /// By default it never does: a store that notices only when it is asked has nothing to tell.
    fn comebacks(&self) -> u64 {
        0
    }
}

/// A store that can also answer on the calling thread, without a runtime.
pub trait SyncBackend: Backend {
    /// Applies `action` to `batch`, and gives a decision for each of its checks, in order.
    ///
    /// # Errors
    ///
    /// When no decision was made; [`BackendError::effect`] says whether a charge may have landed.
    fn apply_now(&self, batch: Batch<'_>, action: Action) -> Result<Decisions, BackendError>;
}

/// The answer of a store: a future that is often ready from the start, and then costs nothing.
#[must_use = "a reply does nothing unless it is awaited"]
pub struct Reply<'a>(State<'a>);

enum State<'a> {
    Ready(Option<Answer>),
    Waiting(Pin<Box<dyn Future<Output = Answer> + Send + 'a>>),
}

type Answer = Result<Decisions, BackendError>;

impl<'a> Reply<'a> {
    /// A reply that is known already.
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

    /// The answer, if it is known already.
    #[must_use]
    pub const fn as_ready(&self) -> Option<&Result<Decisions, BackendError>> {
        match &self.0 {
            State::Ready(answer) => answer.as_ref(),
            State::Waiting(_) => None,
        }
    }

    /// The answer, if it was ready from the start. `None` of a reply that takes time and has not
    /// been polled: nothing was done.
    #[must_use]
    #[inline(always)]
    pub fn into_ready(self) -> Option<Result<Decisions, BackendError>> {
        match self.0 {
            State::Ready(answer) => answer,
            State::Waiting(_) => None,
        }
    }

    /// The reply that `next` makes of the answer: at once, if that is known already.
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

impl<B: Backend + ?Sized> Backend for Arc<B> {
    fn apply<'a>(&'a self, batch: Batch<'a>, action: Action) -> Reply<'a> {
        (**self).apply(batch, action)
    }

    fn apply_if_ready(
        &self,
        batch: Batch<'_>,
        action: Action,
    ) -> Option<Result<Decisions, BackendError>> {
        (**self).apply_if_ready(batch, action)
    }

    fn names(&self) -> &Names {
        (**self).names()
    }

    fn accepts(&self, policy: &Policy) -> Result<(), ConfigError> {
        (**self).accepts(policy)
    }

    fn comebacks(&self) -> u64 {
        (**self).comebacks()
    }
}

impl<B: SyncBackend + ?Sized> SyncBackend for Arc<B> {
    fn apply_now(&self, batch: Batch<'_>, action: Action) -> Result<Decisions, BackendError> {
        (**self).apply_now(batch, action)
    }
}
