//! Several futures, awaited at once.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    task::{Context, Poll},
};

use ratelimit_backend::{BackendError, Reply};
use ratelimit_core::store::Decisions;

type Answer = Result<Decisions, BackendError>;

/// Waits until all replies are ready; returns the results in order.
pub(crate) async fn all(replies: Vec<Reply<'_>>) -> Vec<Answer> {
    let mut waiting: Vec<_> = replies.into_iter().map(Waiting::Reply).collect();
    poll_fn(|context| {
        // Each is polled, whether others are ready or not.
        let mut is_ready = true;
        for waiting in &mut waiting {
            is_ready &= waiting.poll(context);
        }
        if is_ready { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    waiting.into_iter().filter_map(Waiting::into_result).collect()
}

/// Waits until both are ready.
pub(crate) async fn both<T, U>(one: impl Future<Output = T>, other: impl Future<Output = U>) {
    let (mut one, mut other) = (pin!(one), pin!(other));
    let (mut has_one, mut has_other) = (false, false);
    poll_fn(|context| {
        has_one = has_one || one.as_mut().poll(context).is_ready();
        has_other = has_other || other.as_mut().poll(context).is_ready();
        if has_one && has_other { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

enum Waiting<'a> {
    Reply(Reply<'a>),
    Result(Answer),
}

impl Waiting<'_> {
    /// Polls the reply, unless it has come; returns true if it has.
    fn poll(&mut self, context: &mut Context<'_>) -> bool {
        if let Self::Reply(reply) = self
            && let Poll::Ready(result) = Pin::new(reply).poll(context)
        {
            *self = Self::Result(result);
        }
        matches!(self, Self::Result(_))
    }

    fn into_result(self) -> Option<Answer> {
        match self {
            Self::Result(result) => Some(result),
            Self::Reply(_) => None,
        }
    }
}
