//! An even pace: a permit is spent at once, and its delay slept.

use std::{
    fmt,
    future::Future,
    mem::take,
    pin::Pin,
    task::{Context, Poll},
};

use ratelimit_backend::{Backend, SyncBackend};
use ratelimit_core::{Action, Decision, Micros, Outcome};

use super::timer::{ThreadTimer, Timer, TokioTimer};
use crate::{
    AcquireError,
    permit::{Acquired, One},
    prepared::{ApplyIfReady, Checks, apply, if_ready, on_thread},
    progress::Progress,
};

/// A request that spends permits of a key, and sleeps the delay of the decision; or of several keys,
/// and sleeps the longest delay. It gives a [`Permit`](crate::Permit), or [`Permits`](crate::Permits).
///
/// It is awaited, by tokio's timer or [another](Self::timer); or the thread [waits](Self::wait):
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
pub struct Pace<'a, B, N: Acquired = One, T = TokioTimer> {
    checks: Checks<'a, B>,
    timer: &'a T,
    progress: Progress<'a, Result<N::Permits<'a, B>, AcquireError>>,
}

impl<'a, B, N: Acquired> Pace<'a, B, N> {
    pub(crate) const fn new(checks: Checks<'a, B>) -> Self {
        Self { checks, timer: &TokioTimer, progress: Progress::New }
    }
}

impl<B, T> Pace<'_, B, One, T> {
    /// Spends `cost` permits; by default one.
    pub fn cost(mut self, cost: u64) -> Self {
        self.checks.iter_mut().for_each(|check| check.cost = cost);
        self
    }
}

impl<'a, B, N: Acquired, T> Pace<'a, B, N, T> {
    /// Sleeps by `timer` when this is awaited, instead of tokio's.
    pub fn timer<U: Timer>(self, timer: &'a U) -> Pace<'a, B, N, U> {
        Pace { checks: self.checks, timer, progress: Progress::New }
    }
}

impl<'a, B: SyncBackend, N: Acquired, T> Pace<'a, B, N, T> {
    /// Waits on the calling thread, which sleeps meanwhile.
    ///
    /// # Errors
    ///
    /// As awaiting the request.
    pub fn wait(self) -> Result<N::Permits<'a, B>, AcquireError> {
        let timer = ThreadTimer::default();
        timer.block_on(pace::<_, N>(self.checks, &timer, on_thread))
    }
}

/// Fails with [`AcquireError::Denied`] or [`AcquireError::DeniedTogether`] if a queue is too long, and
/// when no decision was made.
impl<'a, B: Backend, N: Acquired, T: Timer> Future for Pace<'a, B, N, T> {
    type Output = Result<N::Permits<'a, B>, AcquireError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { checks, timer, progress } = &mut *self;
        progress.poll(context, || pace::<_, N>(take(checks), *timer, if_ready))
    }
}

async fn pace<'a, B: Backend, N: Acquired>(
    checks: Checks<'a, B>,
    timer: &impl Timer,
    ready: ApplyIfReady<B>,
) -> Result<N::Permits<'a, B>, AcquireError> {
    let decisions = apply(&checks, Action::Spend, ready).await?;
    if !decisions.iter().all(Decision::is_allowed) {
        return Err(N::denied(&checks, decisions).into());
    }
    let delay = decisions.iter().map(delay).max().unwrap_or(Micros::ZERO);
    if !delay.is_zero()
        && let Some(then) = timer.now().checked_add(delay.into())
    {
        timer.sleep_until(then).await;
    }
    Ok(N::granted(checks, decisions, ready))
}

const fn delay(decision: &Decision) -> Micros {
    match decision.outcome() {
        Outcome::Allow { delay } => delay,
        Outcome::Deny { .. } => Micros::ZERO,
    }
}

/// Shows no key.
impl<B, N: Acquired, T> fmt::Debug for Pace<'_, B, N, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let costs = self.checks.iter().map(|check| check.cost).collect::<Vec<_>>();
        f.debug_struct("Pace").field("costs", &costs).finish_non_exhaustive()
    }
}
