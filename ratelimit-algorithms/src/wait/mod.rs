//! Waiting for permits instead of being denied, in order of arrival.

mod pace;
mod queue;
mod timer;
#[cfg(feature = "tokio")]
mod tokio_clock;

use std::{
    fmt,
    future::Future,
    mem::take,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use ratelimit_backend::{Backend, SyncBackend};
use ratelimit_core::{Action, Decision, Micros};

pub(crate) use self::queue::{Listeners, WaitQueues};
use self::timer::ThreadTimer;
#[cfg(feature = "tokio")]
pub use self::tokio_clock::TokioClock;
pub use self::{
    pace::Pace,
    queue::Waiters,
    timer::{Timer, TokioTimer, before},
};
use crate::{
    WaitError,
    error::Denial,
    permit::{Acquired, One},
    prepared::{ApplyIfReady, Checks, PreparedCheck, apply, if_ready, on_thread},
    progress::Progress,
};

/// A request that waits until a key has permits left, and spends them; or several keys, each under
/// its limit. It gives a [`Permit`](crate::Permit), or [`Permits`](crate::Permits).
///
/// It is awaited, by tokio's timer with the feature `tokio` or by [one of your own](Self::timer);
/// or the thread [waits](Self::wait):
///
/// ```
/// use std::time::Duration;
/// use ratelimit_algorithms::{Limiter, TokenBucket};
/// use ratelimit_memory::Memory;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let limiter = Limiter::new(Memory::new(), "mails", TokenBucket::per_second(1_000))?;
/// for _ in 0..3 {
///     limiter.until_ready("user:42").within(Duration::from_secs(1)).wait()?;
///     // Send the mail.
/// }
/// # Ok(())
/// # }
/// ```
#[must_use = "a request does nothing unless it is awaited, or waited for with `wait`"]
pub struct Wait<'a, B, N: Acquired = One, T = TokioTimer> {
    checks: Checks<'a, B>,
    longest: Option<Duration>,
    timer: &'a T,
    progress: Progress<'a, Result<N::Permits<'a, B>, WaitError>>,
}

impl<'a, B, N: Acquired> Wait<'a, B, N> {
    pub(crate) const fn new(checks: Checks<'a, B>) -> Self {
        Self { checks, longest: None, timer: &TokioTimer, progress: Progress::New }
    }
}

impl<B, T> Wait<'_, B, One, T> {
    /// Waits for `cost` permits; by default for one.
    pub fn cost(mut self, cost: u64) -> Self {
        self.checks.iter_mut().for_each(|check| check.cost = cost);
        self
    }
}

impl<'a, B, N: Acquired, T> Wait<'a, B, N, T> {
    /// Waits for at most `longest`. If it would take longer even if nobody else spent, the request
    /// fails at once, with [`WaitError::Denied`].
    pub fn within(self, longest: Duration) -> Self {
        Self { longest: Some(longest), ..self }
    }

    /// Sleeps by `timer` when this is awaited, instead of tokio's.
    pub fn timer<U: Timer>(self, timer: &'a U) -> Wait<'a, B, N, U> {
        let Self { checks, longest, .. } = self;
        Wait { checks, longest, timer, progress: Progress::New }
    }
}

impl<'a, B: SyncBackend, N: Acquired, T> Wait<'a, B, N, T> {
    /// Waits on the calling thread, which sleeps meanwhile.
    ///
    /// # Errors
    ///
    /// As awaiting the request.
    pub fn wait(self) -> Result<N::Permits<'a, B>, WaitError> {
        let Self { checks, longest, .. } = self;
        let timer = ThreadTimer::default();
        timer.block_on(until_ready::<_, N>(checks, &timer, longest, on_thread))
    }
}

/// Fails with [`WaitError::Overloaded`] if too many wait already; with [`WaitError::Denied`],
/// [`WaitError::DeniedTogether`] or [`WaitError::TimedOut`] if it takes too long; when no decision was
/// made.
impl<'a, B: Backend, N: Acquired, T: Timer> Future for Wait<'a, B, N, T> {
    type Output = Result<N::Permits<'a, B>, WaitError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { checks, longest, timer, progress } = &mut *self;
        progress.poll(context, || until_ready::<_, N>(take(checks), *timer, *longest, if_ready))
    }
}

/// Queues for all keys; the first in all queues checks, sleeps until it may come back or something
/// has changed, and checks again.
async fn until_ready<'a, B: Backend, N: Acquired>(
    mut checks: Checks<'a, B>,
    timer: &impl Timer,
    longest: Option<Duration>,
    ready: ApplyIfReady<B>,
) -> Result<N::Permits<'a, B>, WaitError> {
    // A deadline that overflows means no deadline.
    let deadline = longest.and_then(|longest| timer.now().checked_add(longest));
    let places = checks.iter().map(|check| (&**check.queues, check.key));
    let ticket = WaitQueues::join(places).ok_or(WaitError::Overloaded)?;
    if deadline.is_some() && !ticket.is_first() {
        // Those before can only make it later.
        let decisions = apply(&checks, Action::Peek, ready).await?;
        let delay = Delay::of(&checks, &decisions);
        come_back(timer, deadline, delay, N::denied(&checks, decisions))?;
    }
    before(deadline, timer, ticket.turn()).await.ok_or(WaitError::TimedOut)?;
    loop {
        let changes = ticket.changes();
        checks.iter_mut().for_each(PreparedCheck::renew);
        let decisions = apply(&checks, Action::Spend, ready).await?;
        if decisions.iter().all(Decision::is_allowed) {
            return Ok(N::granted(checks, decisions, ready));
        }
        let delay = Delay::of(&checks, &decisions);
        let then = come_back(timer, deadline, delay, N::denied(&checks, decisions))?;
        before(Some(then), timer, ticket.change_after(changes)).await;
    }
}

/// The time until denied checks may be admitted.
#[derive(Clone, Copy, Default)]
struct Delay {
    /// No sooner, if nobody gives anything back.
    least: Micros,
    /// The time after which to look: not much later where a permit that is held may be given back at
    /// any time, perhaps in another process.
    look: Micros,
}

impl Delay {
    fn of<B>(checks: &[PreparedCheck<'_, B>], decisions: &[Decision]) -> Self {
        let denied = checks.iter().zip(decisions).filter(|(_, decision)| !decision.is_allowed());
        denied.fold(Self::default(), |delay, (check, decision)| {
            let retry_after = decision.retry_after();
            let is_held = check.policy.algorithm().holds_permits() && !decision.is_blocked();
            let [least, look] = match is_held {
                true => [Micros::ZERO, retry_after.min(LOOK_AGAIN)],
                false => [retry_after; 2],
            };
            Self { least: delay.least.max(least), look: delay.look.max(look) }
        })
    }
}

/// The pause between two looks at permits that others hold.
const LOOK_AGAIN: Micros = Micros::from_millis(100);

/// The instant to check again, unless that is too late.
fn come_back(
    timer: &impl Timer,
    deadline: Option<Instant>,
    Delay { least, look }: Delay,
    denial: Denial,
) -> Result<Instant, WaitError> {
    let now = timer.now();
    let [least_at, look_at] = [least, look].map(|delay| now.checked_add(delay.into()));
    let is_in_time = |then: Instant| deadline.is_none_or(|deadline| then <= deadline);
    // A waiter that has reached its deadline does not check again.
    let is_late = deadline.is_some_and(|deadline| deadline <= now) && !look.is_zero();
    match (least_at, look_at) {
        (Some(least_at), Some(look_at))
            if least < Micros::MAX && is_in_time(least_at) && !is_late =>
        {
            Ok(deadline.map_or(look_at, |deadline| look_at.min(deadline)))
        }
        _ => Err(denial.into()),
    }
}

/// Shows no key.
impl<B, N: Acquired, T> fmt::Debug for Wait<'_, B, N, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let costs = self.checks.iter().map(|check| check.cost).collect::<Vec<_>>();
        let mut shown = f.debug_struct("Wait");
        shown.field("costs", &costs).field("longest", &self.longest).finish_non_exhaustive()
    }
}
