//! Several limits at once: all of them admit and are charged, or none is.

use std::{
    fmt,
    future::Future,
    marker::PhantomData,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use ratelimit_backend::{Backend, SyncBackend};
use ratelimit_core::{Action, Micros, store::Decisions};

use crate::{
    Acquire, Error, Limiter, Pace, Policies, Several, Wait,
    decision::LimitsDecision,
    prepared::{Checks, PreparedCheck, apply_awaited, apply_if_ready, if_ready, on_thread},
    progress::Progress,
};

/// Limits to be checked together, each with a key and a cost of its own.
///
/// All of them have to be on the same store. A limit that is named twice with the same key is
/// charged the sum of the costs, and decides once for each. Each key is checked against the policy
/// that it had when it was named here; a wait follows the changes.
///
/// ```
/// use ratelimit_algorithms::{FixedWindow, Limiter, Limits, TokenBucket};
/// use ratelimit_memory::Memory;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = Memory::new();
/// let burst = Limiter::new(store.clone(), "burst", TokenBucket::per_second(10))?;
/// let daily = Limiter::new(store, "daily", FixedWindow::per_day(50_000))?;
///
/// let limits = Limits::new(&burst, "user:42", 1).and(&daily, "org:7", 5);
/// assert!(limits.check().now()?.is_allowed());
/// # Ok(())
/// # }
/// ```
#[must_use = "limits do nothing unless they are checked"]
pub struct Limits<'a, B> {
    /// Not a small vector, whose drop would keep the limiters borrowed; nor a list in place, which costs
    /// more to move than this to allocate.
    pub(crate) checks: Vec<PreparedCheck<'a, B>>,
}

impl<'a, B: Backend> Limits<'a, B> {
    /// The first of several limits.
    #[inline(always)]
    pub fn new<P: Policies + Clone + 'static>(
        limiter: &'a Limiter<B, P>,
        key: &'a (impl AsRef<[u8]> + ?Sized),
        cost: u64,
    ) -> Self {
        Self { checks: Vec::with_capacity(4) }.and(limiter, key, cost)
    }

    /// One more limit.
    #[inline(always)]
    pub fn and<P: Policies + Clone + 'static>(
        self,
        limiter: &'a Limiter<B, P>,
        key: &'a (impl AsRef<[u8]> + ?Sized),
        cost: u64,
    ) -> Self {
        self.and_check(limiter.subject(key.as_ref()).prepare(cost))
    }

    #[inline(always)]
    pub(crate) fn and_check(mut self, check: PreparedCheck<'a, B>) -> Self {
        self.checks.push(check);
        self
    }

    /// The names of the limits, in the order in which they were named, as the decisions are.
    ///
    /// ```
    /// use ratelimit_algorithms::{FixedWindow, Limiter, Limits, TokenBucket};
    /// use ratelimit_memory::Memory;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let store = Memory::new();
    /// let burst = Limiter::new(store.clone(), "burst", TokenBucket::per_hour(10))?;
    /// let daily = Limiter::new(store, "daily", FixedWindow::per_day(50_000))?;
    ///
    /// let limits = Limits::new(&burst, "user:42", 1).and(&daily, "user:42", 1);
    /// let decision = limits.check().now()?;
    /// assert_eq!(limits.names().nth(decision.bound()), Some("burst"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.checks.iter().map(|check| check.policy.name())
    }

    /// Spends all the costs, if every limit admits its own.
    pub fn check(&self) -> LimitsRequest<'_, B> {
        LimitsRequest::new(&self.checks, Action::Spend)
    }

    /// Returns the decisions that [`check`](Self::check) would make, and charges nothing.
    pub fn peek(&self) -> LimitsRequest<'_, B> {
        LimitsRequest::new(&self.checks, Action::Peek)
    }

    /// Spends of each limit as many permits as there are, up to its cost, if every limit has at
    /// least one left; [`Decision::charged`](crate::Decision::charged) of each tells how many. A
    /// cost may be above its limit, except that the costs of a limit named twice may not exceed it
    /// together.
    ///
    /// ```
    /// use ratelimit_algorithms::{Limiter, Limits, TokenBucket};
    /// use ratelimit_memory::Memory;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let store = Memory::new();
    /// let rows = Limiter::new(store.clone(), "rows", TokenBucket::per_hour(100))?;
    /// let bytes = Limiter::new(store, "bytes", TokenBucket::per_hour(4_096))?;
    ///
    /// let taken = Limits::new(&rows, "import", 500).and(&bytes, "import", 4_000).take().now()?;
    /// assert_eq!([taken.each()[0].charged(), taken.each()[1].charged()], [100, 4_000]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn take(&self) -> LimitsRequest<'_, B> {
        LimitsRequest::new(&self.checks, Action::Take)
    }

    /// Denies every request of each key under its limit until `length` has passed, at most
    /// [`WINDOW_MAX`](crate::WINDOW_MAX): with one key throughout, a client in all of its limits.
    ///
    /// ```
    /// use std::time::Duration;
    /// use ratelimit_algorithms::{FixedWindow, Limiter, Limits, TokenBucket};
    /// use ratelimit_memory::Memory;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let store = Memory::new();
    /// let burst = Limiter::new(store.clone(), "burst", TokenBucket::per_second(10))?;
    /// let daily = Limiter::new(store, "daily", FixedWindow::per_day(50_000))?;
    ///
    /// let client = Limits::new(&burst, "mallory", 1).and(&daily, "mallory", 1);
    /// client.block(Duration::from_secs(60)).now()?;
    /// assert!(!daily.check("mallory").now()?.is_allowed());
    /// # Ok(())
    /// # }
    /// ```
    pub fn block(&self, length: Duration) -> LimitsRequest<'_, B, ()> {
        let action = Action::Block(Micros::from_duration_ceil(length));
        LimitsRequest::new(&self.checks, action)
    }

    /// Spends all the costs, as [`Permits`](crate::Permits) to hold and settle; a denial is an error.
    pub fn acquire(self) -> Acquire<'a, B, Several> {
        Acquire::new(Checks::from_vec(self.checks))
    }

    /// Waits until every limit admits its cost, and spends all of them.
    ///
    /// Callers are served in order of arrival, over all keys that they wait for: no later caller
    /// overtakes one that waits for one of its keys, however large the cost. So a caller that waits
    /// for a spent key also holds up later callers of its other keys. Otherwise it works as
    /// [`Limiter::until_ready`].
    ///
    /// ```
    /// use std::time::Duration;
    /// use ratelimit_algorithms::{FixedWindow, Limiter, Limits, TokenBucket};
    /// use ratelimit_memory::Memory;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let store = Memory::new();
    /// let calls = Limiter::new(store.clone(), "calls", TokenBucket::per_second(1_000))?;
    /// let tokens = Limiter::new(store, "tokens", FixedWindow::per_minute(100_000))?;
    ///
    /// let limits = Limits::new(&calls, "user:42", 1).and(&tokens, "user:42", 2_000);
    /// let permits = limits.until_ready().within(Duration::from_secs(1)).wait()?;
    /// // Call it.
    /// permits.settle([1, 1_234]).now()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn until_ready(self) -> Wait<'a, B, Several> {
        Wait::new(Checks::from_vec(self.checks))
    }

    /// Spends all the costs, and sleeps the longest delay of the decisions; see [`Limiter::pace`].
    pub fn pace(self) -> Pace<'a, B, Several> {
        Pace::new(Checks::from_vec(self.checks))
    }
}

/// Shows the costs, and none of the keys.
impl<B> fmt::Debug for Limits<'_, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let costs = self.checks.iter().map(|check| check.cost);
        f.debug_tuple("Limits").field(&costs.collect::<Vec<_>>()).finish()
    }
}

/// A request to several limits. Its result `R` is a [`LimitsDecision`], or `()`.
///
/// Like a [`Request`](crate::Request) it is awaited, or answered with [`now`](Self::now). It fails
/// when no decision was made; with [`Error::DifferentStores`] if the limits are not on one store.
#[must_use = "a request does nothing unless it is awaited, or answered with `now`"]
pub struct LimitsRequest<'a, B, R = LimitsDecision> {
    checks: &'a [PreparedCheck<'a, B>],
    action: Action,
    progress: Progress<'a, Result<Decisions, Error>>,
    result: PhantomData<fn() -> R>,
}

impl<'a, B: Backend, R> LimitsRequest<'a, B, R> {
    const fn new(checks: &'a [PreparedCheck<'a, B>], action: Action) -> Self {
        Self { checks, action, progress: Progress::New, result: PhantomData }
    }
}

impl<B: Backend, R: FromDecisions> LimitsRequest<'_, B, R> {
    /// Answers on the calling thread, on stores that can ([`SyncBackend`]).
    ///
    /// # Errors
    ///
    /// As awaiting the request.
    pub fn now(self) -> Result<R, Error>
    where
        B: SyncBackend,
    {
        let decisions = apply_if_ready(self.checks, self.action, on_thread);
        let decisions = decisions.expect("a thread has the decisions")?;
        Ok(R::from_decisions(self.checks, decisions))
    }

    /// Answers on the calling thread. `None`, and nothing done, if the store has to be awaited.
    ///
    /// # Errors
    ///
    /// As awaiting the request.
    #[must_use = "a decision that nobody looks at limits nothing"]
    pub fn if_ready(self) -> Option<Result<R, Error>> {
        self.try_ready()
    }

    fn try_ready(&self) -> Option<Result<R, Error>> {
        let decisions = apply_if_ready(self.checks, self.action, if_ready)?;
        Some(decisions.map(|decisions| R::from_decisions(self.checks, decisions)))
    }
}

impl<B: Backend, R: FromDecisions> Future for LimitsRequest<'_, B, R> {
    type Output = Result<R, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Progress::New = self.progress
            && let Some(answer) = self.try_ready()
        {
            self.progress = Progress::Done;
            return Poll::Ready(answer);
        }
        let Self { checks, action, ref mut progress, .. } = *self;
        let decisions = ready!(progress.poll(context, || apply_awaited(checks, action)))?;
        Poll::Ready(Ok(R::from_decisions(checks, decisions)))
    }
}

/// Shows no key.
impl<B, R> fmt::Debug for LimitsRequest<'_, B, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { action, checks, .. } = self;
        let mut shown = f.debug_struct("LimitsRequest");
        shown.field("action", action).field("limits", &checks.len()).finish_non_exhaustive()
    }
}

use self::sealed::FromDecisions;

mod sealed {
    use super::{Decisions, PreparedCheck};

    /// A result that the decisions about several limits are turned into.
    #[expect(unnameable_types, reason = "sealed")]
    pub trait FromDecisions: Sized {
        fn from_decisions<B>(checks: &[PreparedCheck<'_, B>], decisions: Decisions) -> Self;
    }
}

impl FromDecisions for LimitsDecision {
    fn from_decisions<B>(checks: &[PreparedCheck<'_, B>], decisions: Decisions) -> Self {
        Self::new(decisions.into(), |index| &checks[index].policy)
    }
}

impl FromDecisions for () {
    fn from_decisions<B>(_: &[PreparedCheck<'_, B>], _: Decisions) {}
}
