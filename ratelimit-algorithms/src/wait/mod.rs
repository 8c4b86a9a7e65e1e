//! Waiting for permits instead of being denied them, first come, first served.

mod pace;
mod queue;
mod timer;
#[cfg(feature = "tokio")]
mod tokio_clock;

use std::{
    fmt,
    future::{Future, ready},
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
    Error, Policies, Request, WaitError, decision::Status, progress::Progress, request::Subject,
};

/// A request that waits until a key has permits left, and spends them.
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
pub struct Wait<'a, B, P, T = TokioTimer> {
    subject: Subject<'a, B, P>,
    longest: Option<Duration>,
    timer: &'a T,
    progress: Progress<'a, Result<Status, WaitError>>,
}

impl<'a, B, P> Wait<'a, B, P> {
    pub(crate) const fn new(subject: Subject<'a, B, P>) -> Self {
        let (longest, timer, progress) = (None, &TokioTimer, Progress::New);
        Self { subject, longest, timer, progress }
    }
}

impl<'a, B, P, T> Wait<'a, B, P, T> {
    /// Waits for `cost` permits; by default for one.
    pub fn cost(mut self, cost: u64) -> Self {
        self.subject.cost = cost;
        self
    }

    /// Waits for at most `longest`. If it would take longer even if nobody else spent, the request
    /// fails at once, with [`WaitError::Denied`].
    pub fn within(self, longest: Duration) -> Self {
        Self { longest: Some(longest), ..self }
    }

    /// Sleeps by `timer` when this is awaited, instead of tokio's.
    pub fn timer<U: Timer>(self, timer: &'a U) -> Wait<'a, B, P, U> {
        let Self { subject, longest, .. } = self;
        Wait { subject, longest, timer, progress: Progress::New }
    }
}

impl<B: SyncBackend, P: Policies, T> Wait<'_, B, P, T> {
    /// Waits on the calling thread, which sleeps meanwhile.
    ///
    /// # Errors
    ///
    /// As awaiting the request.
    pub fn wait(self) -> Result<Status, WaitError> {
        let Self { subject, longest, .. } = self;
        let timer = ThreadTimer::default();
        let ask = |action| ready(Request::new(subject, action).now());
        timer.block_on(until_ready(subject.queues, &timer, (subject.key, longest), ask))
    }
}

/// Fails with [`WaitError::Overloaded`] if too many wait already; with [`WaitError::Denied`] or
/// [`WaitError::TimedOut`] if it takes too long; when no decision was made.
impl<B: Backend, P: Policies, T: Timer> Future for Wait<'_, B, P, T> {
    type Output = Result<Status, WaitError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { subject, longest, timer, .. } = *self;
        let ask = move |action| Request::new(subject, action);
        let start = || until_ready(subject.queues, timer, (subject.key, longest), ask);
        self.progress.poll(context, start)
    }
}

/// Queues for a key; the first in the queue checks, sleeps until it may come back or something has
/// changed, and checks again.
async fn until_ready<A: Future<Output = Result<Decision, Error>>>(
    queues: &WaitQueues,
    timer: &impl Timer,
    (key, longest): (&[u8], Option<Duration>),
    ask: impl Fn(Action) -> A,
) -> Result<Status, WaitError> {
    // A deadline that overflows means no deadline.
    let deadline = longest.and_then(|longest| timer.now().checked_add(longest));
    let ticket = queues.join(key).ok_or(WaitError::Overloaded)?;
    if deadline.is_some() && !ticket.is_first() {
        // Those before can only make it later.
        come_back(timer, deadline, ask(Action::Peek).await?)?;
    }
    before(deadline, timer, ticket.turn()).await.ok_or(WaitError::TimedOut)?;
    loop {
        let changes = ticket.changes();
        let decision = ask(Action::Spend).await?;
        if decision.is_allowed() {
            return Ok(Status::after(&decision));
        }
        let then = come_back(timer, deadline, decision)?;
        before(Some(then), timer, ticket.change_after(changes)).await;
    }
}

/// The instant to check again, unless that is too late.
fn come_back(
    timer: &impl Timer,
    deadline: Option<Instant>,
    decision: Decision,
) -> Result<Instant, WaitError> {
    let retry_after = decision.retry_after();
    let then = timer.now().checked_add(retry_after.into());
    let is_in_time = |then: &Instant| {
        retry_after < Micros::MAX && deadline.is_none_or(|deadline| *then <= deadline)
    };
    then.filter(is_in_time).ok_or(WaitError::Denied(decision))
}

/// Shows no key.
impl<B, P, T> fmt::Debug for Wait<'_, B, P, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { subject, longest, .. } = self;
        let mut shown = f.debug_struct("Wait");
        shown.field("cost", &subject.cost).field("longest", longest).finish_non_exhaustive()
    }
}
