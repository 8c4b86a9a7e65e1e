//! A check that is being awaited.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use ratelimit_backend::Backend;
use ratelimit_core::{Action, Decision};

use crate::{
    AsyncLimiter, Error, Policies,
    async_limiter::{answer, question},
};

/// The answer of a limiter, which is asked first without waiting.
///
/// An `async` block would do the same, but would copy what a store in memory answers from layer to
/// layer, which takes as long as making it.
pub(crate) struct Asking<'a, B, P> {
    limiter: &'a AsyncLimiter<B, P>,
    key: &'a [u8],
    cost: u64,
    action: Action,
    state: State<'a>,
}

enum State<'a> {
    /// Nothing was asked yet.
    New,
    Waiting(Pin<Box<dyn Future<Output = Result<Decision, Error>> + Send + 'a>>),
    Answered,
}

impl<'a, B: Backend, P: Policies> Asking<'a, B, P> {
    pub(crate) const fn new(
        limiter: &'a AsyncLimiter<B, P>,
        key: &'a [u8],
        cost: u64,
        action: Action,
    ) -> Self {
        Self { limiter, key, cost, action, state: State::New }
    }

    /// Asks a store that is to be awaited, and awaits it.
    #[cold]
    #[inline(never)]
    fn wait(&mut self, context: &mut Context<'_>) -> Poll<Result<Decision, Error>> {
        if let State::New = self.state {
            let Self { limiter, key, cost, action, .. } = *self;
            self.state = State::Waiting(Box::pin(async move {
                let policy = limiter.policies().policy(key);
                answer(limiter.backend(), &question(&policy, key, cost)?, action).await
            }));
        }
        let State::Waiting(answer) = &mut self.state else { return Poll::Pending };
        answer.as_mut().poll(context)
    }
}

impl<B: Backend, P: Policies> Future for Asking<'_, B, P> {
    type Output = Result<Decision, Error>;

    /// Inlined, and each case is put together anew, on a path of its own: so an answer stays in
    /// registers, and that of a `dyn` store is copied once less.
    #[inline(always)]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let State::New = self.state {
            let Self { limiter, key, cost, action, .. } = *self;
            match limiter.apply_if_ready(key, cost, action) {
                Some(Ok(decision)) => {
                    self.state = State::Answered;
                    return Poll::Ready(Ok(decision));
                }
                Some(Err(error)) => {
                    self.state = State::Answered;
                    return Poll::Ready(Err(error));
                }
                None => {}
            }
        }
        self.wait(context)
    }
}
