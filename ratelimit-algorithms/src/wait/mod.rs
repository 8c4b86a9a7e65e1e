//! Waiting for permits instead of being denied them, first come, first served.

mod queue;
mod timer;

use std::{
    future::{Future, ready},
    time::{Duration, Instant},
};

use ratelimit_backend::{Backend, SyncBackend};
use ratelimit_core::{Action, Decision, Micros, Outcome};

use self::timer::{ThreadTimer, before};
#[cfg(feature = "tokio")]
pub use self::timer::TokioTimer;
pub use self::timer::Timer;
pub(crate) use self::queue::Lines;
use crate::{AcquireError, AsyncLimiter, Error, Limiter, Policies};

/// Why a wait has ended without a permit. Nothing was charged, unless the store failed and says
/// that something may have been.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WaitError {
    /// The key has no permits left until after the deadline.
    #[error("rate limit exceeded, retry after {}", .0.retry_after())]
    Denied(Decision),
    /// The deadline has passed while others were first.
    #[error("others were first until the deadline")]
    TimedOut,
    /// As many wait already as may.
    #[error("too many are waiting")]
    Overloaded,
    /// No decision was made.
    #[error(transparent)]
    Failed(#[from] Error),
}

impl WaitError {
    /// The time until the same request would be admitted, if nobody else spends, where that is
    /// known.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Micros> {
        match self {
            Self::Denied(decision) => Some(decision.retry_after()),
            Self::TimedOut | Self::Overloaded | Self::Failed(_) => None,
        }
    }
}

#[cfg(feature = "tokio")]
impl<B: Backend, P: Policies> AsyncLimiter<B, P> {
    /// Waits until `key` has a permit left, and spends it.
    ///
    /// Those who wait for a key by this limiter or its clones are served in the order in which
    /// they came; who is dropped gives up their place at once, and has spent nothing, or the whole
    /// charge. (Whoever only [`check`](Self::check)s does not stand in line.)
    ///
    /// ```
    /// use ratelimit_algorithms::{AsyncLimiter, TokenBucket};
    /// use ratelimit_memory::Memory;
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let limiter = AsyncLimiter::new(Memory::new(), "mails", TokenBucket::per_second(1_000))?;
    /// for _ in 0..3 {
    ///     limiter.until_ready("user:42").await?;
    ///     // Send the mail.
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`WaitError::Overloaded`] if too many wait already, see
    /// [`with_waiters_max`](Self::with_waiters_max); when no decision was made.
    pub async fn until_ready(
        &self,
        key: &(impl AsRef<[u8]> + ?Sized),
    ) -> Result<Decision, WaitError> {
        self.until_ready_n(key, 1).await
    }

    /// Waits until `key` has `cost` permits left, and spends them.
    ///
    /// # Errors
    ///
    /// As [`until_ready`](Self::until_ready); if `cost` is zero or can never be admitted.
    pub async fn until_ready_n(
        &self,
        key: &(impl AsRef<[u8]> + ?Sized),
        cost: u64,
    ) -> Result<Decision, WaitError> {
        self.until_ready_by(&TokioTimer, key, cost, None).await
    }

    /// Waits for at most `longest` until `key` has `cost` permits left, and spends them.
    ///
    /// # Errors
    ///
    /// As [`until_ready_n`](Self::until_ready_n); at once, and with the decision, if it would take
    /// longer even if nobody else spent.
    pub async fn until_ready_within(
        &self,
        key: &(impl AsRef<[u8]> + ?Sized),
        cost: u64,
        longest: Duration,
    ) -> Result<Decision, WaitError> {
        self.until_ready_by(&TokioTimer, key, cost, Some(longest)).await
    }

    /// Spends one permit of `key`, and sleeps the delay that the decision says: with a
    /// [`LeakyBucket`](crate::LeakyBucket) that is a queue, callers go on evenly spaced.
    ///
    /// ```
    /// use std::time::Duration;
    /// use ratelimit_algorithms::{AsyncLimiter, LeakyBucket};
    /// use ratelimit_memory::Memory;
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let calls = LeakyBucket::per_second(50).queue(Duration::from_secs(2));
    /// let limiter = AsyncLimiter::new(Memory::new(), "calls", calls)?;
    /// for _ in 0..3 {
    ///     limiter.pace("upstream").await?;
    ///     // Call it: 20 ms after the one before.
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`AcquireError::Denied`] if the queue is too long; when no decision was made. The permit is
    /// spent once there is a decision, also if the future is dropped in its delay.
    pub async fn pace(&self, key: &(impl AsRef<[u8]> + ?Sized)) -> Result<Decision, AcquireError> {
        self.pace_by(&TokioTimer, key).await
    }
}

impl<B: Backend, P: Policies> AsyncLimiter<B, P> {
    /// Waits by a timer of one's own until `key` has `cost` permits left, for at most `longest` if
    /// that is said, and spends them. With the feature `tokio` there are shorter ways.
    ///
    /// # Errors
    ///
    /// [`WaitError::Overloaded`] if too many wait already; [`WaitError::Denied`] or
    /// [`WaitError::TimedOut`] if it takes too long; when no decision was made.
    pub async fn until_ready_by(
        &self,
        timer: &impl Timer,
        key: &(impl AsRef<[u8]> + ?Sized),
        cost: u64,
        longest: Option<Duration>,
    ) -> Result<Decision, WaitError> {
        let key = key.as_ref();
        let ask = |action| self.apply(key, cost, action);
        until_ready(self.lines(), timer, key, longest, ask).await
    }

    /// Spends one permit of `key`, and sleeps, by a timer of one's own, the delay that the
    /// decision says.
    ///
    /// # Errors
    ///
    /// [`AcquireError::Denied`] if the queue is too long; when no decision was made.
    pub async fn pace_by(
        &self,
        timer: &impl Timer,
        key: &(impl AsRef<[u8]> + ?Sized),
    ) -> Result<Decision, AcquireError> {
        let decision = self.apply(key.as_ref(), 1, Action::Spend).await?;
        pace(timer, decision).await
    }

    /// Lets no more than so many callers wait, by this limiter and all of its clones; by default
    /// 10 000.
    #[must_use]
    pub fn with_waiters_max(self, most: usize) -> Self {
        self.lines().limit(most);
        self
    }
}

impl<B: SyncBackend, P: Policies> Limiter<B, P> {
    /// Waits until `key` has a permit left, and spends it. The thread sleeps meanwhile.
    ///
    /// Those who wait for a key by this limiter or its clones are served in the order in which
    /// they came. (Whoever only [`check`](Self::check)s does not stand in line.)
    ///
    /// ```
    /// use ratelimit_algorithms::{Limiter, TokenBucket};
    /// use ratelimit_memory::Memory;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let limiter = Limiter::new(Memory::new(), "mails", TokenBucket::per_second(1_000))?;
    /// for _ in 0..3 {
    ///     limiter.until_ready("user:42")?;
    ///     // Send the mail.
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`WaitError::Overloaded`] if too many wait already, see
    /// [`with_waiters_max`](Self::with_waiters_max); when no decision was made.
    pub fn until_ready(&self, key: &(impl AsRef<[u8]> + ?Sized)) -> Result<Decision, WaitError> {
        self.until_ready_n(key, 1)
    }

    /// Waits until `key` has `cost` permits left, and spends them.
    ///
    /// # Errors
    ///
    /// As [`until_ready`](Self::until_ready); if `cost` is zero or can never be admitted.
    pub fn until_ready_n(
        &self,
        key: &(impl AsRef<[u8]> + ?Sized),
        cost: u64,
    ) -> Result<Decision, WaitError> {
        self.wait(key.as_ref(), cost, None)
    }

    /// Waits for at most `longest` until `key` has `cost` permits left, and spends them.
    ///
    /// # Errors
    ///
    /// As [`until_ready_n`](Self::until_ready_n); at once, and with the decision, if it would take
    /// longer even if nobody else spent.
    pub fn until_ready_within(
        &self,
        key: &(impl AsRef<[u8]> + ?Sized),
        cost: u64,
        longest: Duration,
    ) -> Result<Decision, WaitError> {
        self.wait(key.as_ref(), cost, Some(longest))
    }

    /// Spends one permit of `key`, and sleeps the delay that the decision says: with a
    /// [`LeakyBucket`](crate::LeakyBucket) that is a queue, callers go on evenly spaced.
    ///
    /// # Errors
    ///
    /// [`AcquireError::Denied`] if the queue is too long; when no decision was made.
    pub fn pace(&self, key: &(impl AsRef<[u8]> + ?Sized)) -> Result<Decision, AcquireError> {
        let timer = ThreadTimer::default();
        timer.block_on(pace(&timer, self.check(key)?))
    }

    /// Lets no more than so many callers wait, by this limiter and all of its clones; by default
    /// 10 000.
    #[must_use]
    pub fn with_waiters_max(self, most: usize) -> Self {
        self.as_async().lines().limit(most);
        self
    }

    fn wait(
        &self,
        key: &[u8],
        cost: u64,
        longest: Option<Duration>,
    ) -> Result<Decision, WaitError> {
        let timer = ThreadTimer::default();
        let ask = |action| ready(self.apply(key, cost, action));
        timer.block_on(until_ready(self.as_async().lines(), &timer, key, longest, ask))
    }
}

/// Stands in line for `key`; who is first asks, sleeps until it says to come back, and asks again.
async fn until_ready<A: Future<Output = Result<Decision, Error>>>(
    lines: &Lines,
    timer: &impl Timer,
    key: &[u8],
    longest: Option<Duration>,
    ask: impl Fn(Action) -> A,
) -> Result<Decision, WaitError> {
    // A deadline so far away that it cannot be told is none.
    let deadline = longest.and_then(|longest| timer.now().checked_add(longest));
    let place = lines.join(key).ok_or(WaitError::Overloaded)?;
    if deadline.is_some() && !place.is_first() {
        // Those before can only make it later.
        come_back(timer, deadline, ask(Action::Peek).await?)?;
    }
    before(deadline, timer, place.turn()).await.ok_or(WaitError::TimedOut)?;
    loop {
        let decision = ask(Action::Spend).await?;
        if decision.is_allowed() {
            return Ok(decision);
        }
        timer.sleep_until(come_back(timer, deadline, decision)?).await;
    }
}

/// When to ask again, unless that is too late.
fn come_back(
    timer: &impl Timer,
    deadline: Option<Instant>,
    decision: Decision,
) -> Result<Instant, WaitError> {
    let then = timer.now().checked_add(decision.retry_after().into());
    let is_in_time = |then: &Instant| deadline.is_none_or(|deadline| *then <= deadline);
    then.filter(is_in_time).ok_or(WaitError::Denied(decision))
}

async fn pace(timer: &impl Timer, decision: Decision) -> Result<Decision, AcquireError> {
    let Outcome::Allow { delay } = decision.outcome else {
        return Err(AcquireError::Denied(decision));
    };
    if !delay.is_zero()
        && let Some(then) = timer.now().checked_add(delay.into())
    {
        timer.sleep_until(then).await;
    }
    Ok(decision)
}
