//! An even pace: a permit is spent at once, and its delay slept.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use ratelimit_backend::{Backend, SyncBackend};
use ratelimit_core::{Action, Decision, Outcome};

use super::timer::{ThreadTimer, Timer, TokioTimer};
use crate::{
    AcquireError, Policies, Request, decision::Status, progress::Progress, request::Subject,
};

/// A request that spends permits of a key, and sleeps the delay of the decision.
///
/// It is awaited, by tokio's timer with the feature `tokio` or by [one of your own](Self::timer);
/// or the thread [waits](Self::wait):
///
/// ```
/// use std::time::Duration;
/// use ratelimit_algorithms::{LeakyBucket, Limiter};
/// use ratelimit_memory::Memory;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let calls = LeakyBucket::per_second(500).queue(Duration::from_secs(2));
/// let limiter = Limiter::new(Memory::new(), "calls", calls)?;
/// for _ in 0..3 {
///     limiter.pace("upstream").wait()?;
///     // Call it: 2 ms after the one before.
/// }
/// # Ok(())
/// # }
/// ```
#[must_use = "a request does nothing unless it is awaited, or waited for with `wait`"]
pub struct Pace<'a, B, P, T = TokioTimer> {
    subject: Subject<'a, B, P>,
    timer: &'a T,
    progress: Progress<'a, Result<Status, AcquireError>>,
}

impl<'a, B, P> Pace<'a, B, P> {
    pub(crate) const fn new(subject: Subject<'a, B, P>) -> Self {
        Self { subject, timer: &TokioTimer, progress: Progress::New }
    }
}

impl<'a, B, P, T> Pace<'a, B, P, T> {
    /// Spends `cost` permits; by default one.
    pub fn cost(mut self, cost: u64) -> Self {
        self.subject.cost = cost;
        self
    }

    /// Sleeps by `timer` when this is awaited, instead of tokio's.
    pub fn timer<U: Timer>(self, timer: &'a U) -> Pace<'a, B, P, U> {
        Pace { subject: self.subject, timer, progress: Progress::New }
    }
}

impl<B: SyncBackend, P: Policies, T> Pace<'_, B, P, T> {
    /// Waits on the calling thread, which sleeps meanwhile.
    ///
    /// # Errors
    ///
    /// As awaiting the request.
    pub fn wait(self) -> Result<Status, AcquireError> {
        let timer = ThreadTimer::default();
        let decision = Request::new(self.subject, Action::Spend).now()?;
        timer.block_on(sleep(&timer, decision))
    }
}

/// Fails with [`AcquireError::Denied`] if the queue is too long, and when no decision was made.
impl<B: Backend, P: Policies, T: Timer> Future for Pace<'_, B, P, T> {
    type Output = Result<Status, AcquireError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { subject, timer, .. } = *self;
        self.progress.poll(context, || async move {
            sleep(timer, Request::new(subject, Action::Spend).await?).await
        })
    }
}

async fn sleep(timer: &impl Timer, decision: Decision) -> Result<Status, AcquireError> {
    let Outcome::Allow { delay } = decision.outcome else {
        return Err(AcquireError::Denied(decision));
    };
    if !delay.is_zero()
        && let Some(then) = timer.now().checked_add(delay.into())
    {
        timer.sleep_until(then).await;
    }
    Ok(Status::after(&decision))
}

/// Shows no key.
impl<B, P, T> fmt::Debug for Pace<'_, B, P, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pace").field("cost", &self.subject.cost).finish_non_exhaustive()
    }
}
