//! Several limits at once: all of them admit and are charged, or none is.

use std::{
    borrow::Cow,
    fmt,
    future::Future,
    marker::PhantomData,
    mem::take,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use ratelimit_backend::{Backend, BackendError, ErrorKind, SyncBackend};
use ratelimit_core::{Action, Micros, store::Decisions};

use crate::{
    AcquireError, Error, Limiter, Permits, Policies,
    decision::LimitsDecision,
    prepared::{Merged, PreparedCheck},
    progress::Progress,
    request::{RefundInDrop, refund_if_ready, refund_now},
};

/// Limits to be checked together, each with a key and a cost of its own.
///
/// All of them have to be on the same store. A limit that is named twice with the same key is
/// charged the sum of the costs, and decides once for each. Each key is checked against the policy
/// that it had when it was named here.
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
    pub(crate) checks: Vec<PreparedCheck<'a, B>>,
}

impl<'a, B: Backend> Limits<'a, B> {
    /// The first of several limits.
    pub fn new<P: Policies>(
        limiter: &'a Limiter<B, P>,
        key: &'a (impl AsRef<[u8]> + ?Sized),
        cost: u64,
    ) -> Self {
        Self { checks: Vec::with_capacity(4) }.and(limiter, key, cost)
    }

    /// One more limit.
    pub fn and<P: Policies>(
        mut self,
        limiter: &'a Limiter<B, P>,
        key: &'a (impl AsRef<[u8]> + ?Sized),
        cost: u64,
    ) -> Self {
        self.checks.push(limiter.subject(key.as_ref()).prepare(cost));
        self
    }

    /// Spends all the costs, if every limit admits its own.
    pub fn check(&self) -> LimitsRequest<'_, B> {
        LimitsRequest::new(Cow::Borrowed(&self.checks), Action::Spend)
    }

    /// Tells what [`check`](Self::check) would decide, and changes nothing.
    pub fn peek(&self) -> LimitsRequest<'_, B> {
        LimitsRequest::new(Cow::Borrowed(&self.checks), Action::Peek)
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
        LimitsRequest::new(Cow::Borrowed(&self.checks), action)
    }

    /// Spends all the costs, to be settled later; a denial is an error.
    pub fn acquire(self) -> LimitsRequest<'a, B, Permits<'a, B>> {
        LimitsRequest::new(Cow::Owned(self.checks), Action::Spend)
    }
}

/// Shows the costs, and none of the keys.
impl<B> fmt::Debug for Limits<'_, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let costs = self.checks.iter().map(|check| check.cost);
        f.debug_tuple("Limits").field(&costs.collect::<Vec<_>>()).finish()
    }
}

/// A request to several limits, which gives an `R`: a [`LimitsDecision`], [`Permits`], or nothing
/// but that it is done.
///
/// Like a [`Request`](crate::Request) it is awaited, or answered with [`now`](Self::now). It fails
/// when no decision was made; with [`Error::DifferentStores`] if the limits are not on one store.
#[must_use = "a request does nothing unless it is awaited, or answered with `now`"]
pub struct LimitsRequest<'a, B, R = LimitsDecision> {
    checks: Checks<'a, B>,
    action: Action,
    progress: Progress<'a, Result<(Checks<'a, B>, LimitsDecision), Error>>,
    result: PhantomData<fn() -> R>,
}

type Checks<'a, B> = Cow<'a, [PreparedCheck<'a, B>]>;

impl<'a, B: Backend, R> LimitsRequest<'a, B, R> {
    const fn new(checks: Checks<'a, B>, action: Action) -> Self {
        Self { checks, action, progress: Progress::New, result: PhantomData }
    }
}

impl<'a, B: Backend, R: FromLimits<'a, B>> LimitsRequest<'a, B, R> {
    /// Answers on the calling thread. On a store that has to be awaited this does not compile.
    ///
    /// # Errors
    ///
    /// As awaiting the request.
    pub fn now(self) -> Result<R, R::Error>
    where
        B: SyncBackend,
    {
        let mut merged = Merged::default();
        fill(&mut merged, &self.checks)?;
        let backend = self.checks[0].backend;
        let decisions = backend.apply_now(merged.batch(), self.action).map_err(Error::from)?;
        let decision = decide(&merged, decisions)?;
        drop(merged);
        R::from_limits(self.checks, decision, refund_now)
    }

    /// Answers on the calling thread if the store can. `None`, and nothing done, if the store has
    /// to be awaited.
    ///
    /// # Errors
    ///
    /// As awaiting the request.
    #[must_use = "a decision that nobody looks at limits nothing"]
    pub fn if_ready(mut self) -> Option<Result<R, R::Error>> {
        self.try_ready()
    }

    /// Takes the checks only if there is a decision.
    fn try_ready(&mut self) -> Option<Result<R, R::Error>> {
        let mut merged = Merged::default();
        if let Err(error) = fill(&mut merged, &self.checks) {
            return Some(Err(error.into()));
        }
        let decisions = self.checks[0].backend.apply_if_ready(merged.batch(), self.action)?;
        let decision = decisions.map_err(Error::from).and_then(|all| decide(&merged, all));
        drop(merged);
        Some(match decision {
            Ok(decision) => R::from_limits(take(&mut self.checks), decision, refund_if_ready),
            Err(error) => Err(error.into()),
        })
    }
}

impl<'a, B: Backend, R: FromLimits<'a, B>> Future for LimitsRequest<'a, B, R> {
    type Output = Result<R, R::Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Progress::New = self.progress
            && let Some(answer) = self.try_ready()
        {
            self.progress = Progress::Done;
            return Poll::Ready(answer);
        }
        let Self { checks, action, progress, .. } = &mut *self;
        let answer = ready!(progress.poll(context, || awaited(take(checks), *action)));
        let (checks, decision) = answer?;
        Poll::Ready(R::from_limits(checks, decision, refund_if_ready))
    }
}

async fn awaited<B: Backend>(
    checks: Checks<'_, B>,
    action: Action,
) -> Result<(Checks<'_, B>, LimitsDecision), Error> {
    let mut merged = Merged::default();
    fill(&mut merged, &checks)?;
    let decisions = checks[0].backend.apply(merged.batch(), action).await?;
    let decision = decide(&merged, decisions)?;
    drop(merged);
    Ok((checks, decision))
}

#[inline(always)]
fn fill<'a, B: Backend>(
    merged: &mut Merged<'a>,
    checks: &'a [PreparedCheck<'a, B>],
) -> Result<(), Error> {
    let names = checks[0].backend.names();
    if !checks.iter().all(|check| check.backend.names().is(names)) {
        return Err(Error::DifferentStores);
    }
    merged.fill(checks.iter())
}

fn decide(merged: &Merged<'_>, decisions: Decisions) -> Result<LimitsDecision, Error> {
    if decisions.len() != merged.checks.len() {
        return Err(BackendError::unknown(ErrorKind::Protocol).into());
    }
    let policy = |index| merged.checks[merged.position(index)].policy();
    Ok(LimitsDecision::new(merged.spread(decisions), policy))
}

/// Shows no key.
impl<B, R> fmt::Debug for LimitsRequest<'_, B, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { action, checks, .. } = self;
        let mut shown = f.debug_struct("LimitsRequest");
        shown.field("action", action).field("limits", &checks.len()).finish_non_exhaustive()
    }
}

use self::sealed::FromLimits;

mod sealed {
    use super::{Checks, Error, LimitsDecision, RefundInDrop};

    /// A result that a decision about several limits is turned into.
    #[expect(unnameable_types, reason = "sealed")]
    pub trait FromLimits<'a, B>: Sized {
        type Error: From<Error>;

        fn from_limits(
            checks: Checks<'a, B>,
            decision: LimitsDecision,
            refund: RefundInDrop<B>,
        ) -> Result<Self, Self::Error>;
    }
}

impl<B> FromLimits<'_, B> for LimitsDecision {
    type Error = Error;

    fn from_limits(_: Checks<'_, B>, decision: Self, _: RefundInDrop<B>) -> Result<Self, Error> {
        Ok(decision)
    }
}

impl<B> FromLimits<'_, B> for () {
    type Error = Error;

    fn from_limits(_: Checks<'_, B>, _: LimitsDecision, _: RefundInDrop<B>) -> Result<(), Error> {
        Ok(())
    }
}

impl<'a, B> FromLimits<'a, B> for Permits<'a, B> {
    type Error = AcquireError;

    fn from_limits(
        checks: Checks<'a, B>,
        decision: LimitsDecision,
        refund: RefundInDrop<B>,
    ) -> Result<Self, AcquireError> {
        Self::new(checks.into_owned(), decision, refund)
    }
}
