//! A request for permits, of one limit or of several as one.

use std::{
    fmt,
    future::Future,
    marker::PhantomData,
    mem::take,
    pin::Pin,
    task::{Context, Poll, ready},
};

use ratelimit_backend::{Backend, SyncBackend};
use ratelimit_core::{Action, Decision, store::Decisions};

use crate::{
    AcquireError, Error,
    permit::{Acquired, One},
    prepared::{ApplyIfReady, Checks, apply_awaited, apply_if_ready, if_ready, on_thread},
    progress::Progress,
};

/// A request for permits, which gives a [`Permit`](crate::Permit) of [`One`] limit, or the
/// [`Permits`](crate::Permits) of [`Several`](crate::Several), which are charged as one.
///
/// Nothing happens before it is awaited, or answered with [`now`](Self::now). It fails with
/// [`AcquireError::Denied`] or [`AcquireError::DeniedTogether`] if a key does not have the permits
/// left, and when no decision was made.
#[must_use = "a request does nothing unless it is awaited, or answered with `now`"]
pub struct Acquire<'a, B, N = One> {
    checks: Checks<'a, B>,
    progress: Progress<'a, Answer<'a, B>>,
    result: PhantomData<fn() -> N>,
}

type Answer<'a, B> = Result<(Checks<'a, B>, Decisions), Error>;

impl<'a, B, N> Acquire<'a, B, N> {
    pub(crate) const fn new(checks: Checks<'a, B>) -> Self {
        Self { checks, progress: Progress::New, result: PhantomData }
    }
}

impl<B> Acquire<'_, B> {
    /// Makes the request about `cost` permits; by default it is about one.
    pub fn cost(mut self, cost: u64) -> Self {
        self.checks.iter_mut().for_each(|check| check.cost = cost);
        self
    }
}

impl<'a, B: Backend, N: Acquired> Acquire<'a, B, N> {
    /// Answers on the calling thread. On a store that has to be awaited this does not compile.
    ///
    /// # Errors
    ///
    /// As awaiting the request.
    pub fn now(self) -> Result<N::Permits<'a, B>, AcquireError>
    where
        B: SyncBackend,
    {
        let decisions = apply_if_ready(&self.checks, Action::Spend, on_thread);
        let decisions = decisions.expect("a thread has the decision")?;
        acquired::<_, N>(self.checks, decisions, on_thread)
    }

    /// Answers on the calling thread, or returns `None` without effect if the store has to be
    /// awaited.
    ///
    /// # Errors
    ///
    /// As awaiting the request.
    #[must_use = "permits that nobody looks at limit nothing"]
    pub fn if_ready(mut self) -> Option<Result<N::Permits<'a, B>, AcquireError>> {
        self.try_ready()
    }

    /// Takes the checks only if there is a decision.
    fn try_ready(&mut self) -> Option<Result<N::Permits<'a, B>, AcquireError>> {
        Some(match apply_if_ready(&self.checks, Action::Spend, if_ready)? {
            Ok(decisions) => acquired::<_, N>(take(&mut self.checks), decisions, if_ready),
            Err(error) => Err(error.into()),
        })
    }
}

impl<'a, B: Backend, N: Acquired> Future for Acquire<'a, B, N> {
    type Output = Result<N::Permits<'a, B>, AcquireError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Progress::New = self.progress
            && let Some(answer) = self.try_ready()
        {
            self.progress = Progress::Done;
            return Poll::Ready(answer);
        }
        let Self { checks, progress, .. } = &mut *self;
        let (checks, decisions) = ready!(progress.poll(context, || awaited(take(checks))))?;
        Poll::Ready(acquired::<_, N>(checks, decisions, if_ready))
    }
}

async fn awaited<B: Backend>(checks: Checks<'_, B>) -> Answer<'_, B> {
    let decisions = apply_awaited(&checks, Action::Spend).await?;
    Ok((checks, decisions))
}

/// The permits that `decisions` about `checks` have charged, if all of them admit.
pub(crate) fn acquired<'a, B: Backend, N: Acquired>(
    checks: Checks<'a, B>,
    decisions: Decisions,
    apply: ApplyIfReady<B>,
) -> Result<N::Permits<'a, B>, AcquireError> {
    if decisions.iter().all(Decision::is_allowed) {
        Ok(N::granted(checks, decisions, apply))
    } else {
        Err(N::denied(&checks, decisions).into())
    }
}

/// Shows no key.
impl<B, N> fmt::Debug for Acquire<'_, B, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let costs = self.checks.iter().map(|check| check.cost).collect::<Vec<_>>();
        f.debug_struct("Acquire").field("costs", &costs).finish_non_exhaustive()
    }
}
