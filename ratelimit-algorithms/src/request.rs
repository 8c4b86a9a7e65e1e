//! One request to a limiter: a verb, a key and its options; awaited, or answered on the spot.

use std::{
    borrow::Cow,
    fmt,
    future::Future,
    marker::PhantomData,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use ratelimit_backend::{Backend, BackendError, ErrorKind, SyncBackend};
use ratelimit_core::{Action, Batch, Check, CostError, Decision, Key, Policy, store::Decisions};

use crate::{Error, Policies, decision::Status, progress::Progress, wait::WaitQueues};

/// A request to a limiter about one key. Its result `R` is a [`Decision`] or a [`Status`].
///
/// Nothing happens before it is awaited, which works on any store, or answered with
/// [`now`](Self::now), which works on stores that answer on the calling thread:
///
/// ```
/// use ratelimit_algorithms::{Limiter, TokenBucket};
/// use ratelimit_memory::Memory;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let limiter = Limiter::new(Memory::new(), "api", TokenBucket::per_hour(10))?;
/// assert_eq!(limiter.check("user:42").now()?.remaining, 9);
/// assert_eq!(limiter.check("user:42").cost(5).await?.remaining, 4);
/// # Ok(())
/// # }
/// ```
///
/// A request that is dropped while it is awaited has been applied as a whole, or not at all.
///
/// It is a future of its own rather than an `async` block: a block would copy the decision of a
/// store in memory from layer to layer, which takes as long as making it.
#[must_use = "a request does nothing unless it is awaited, or answered with `now`"]
pub struct Request<'a, B, P, R = Decision> {
    subject: Subject<'a, B, P>,
    action: Action,
    progress: Progress<'a, Result<Decision, Error>>,
    result: PhantomData<fn() -> R>,
}

/// A cost of a key, and what decides about it.
#[expect(unnameable_types, missing_debug_implementations, reason = "of a sealed trait")]
pub struct Subject<'a, B, P> {
    pub(crate) backend: &'a B,
    pub(crate) policies: &'a P,
    pub(crate) queues: &'a Arc<WaitQueues>,
    pub(crate) key: &'a [u8],
    pub(crate) cost: u64,
}

impl<'a, B, P, R> Request<'a, B, P, R> {
    #[inline(always)]
    pub(crate) const fn new(subject: Subject<'a, B, P>, action: Action) -> Self {
        Self { subject, action, progress: Progress::New, result: PhantomData }
    }

    /// Makes the request about `cost` permits; by default it is about one. (A reset and a block are
    /// about all of them.)
    #[inline(always)]
    pub fn cost(mut self, cost: u64) -> Self {
        self.subject.cost = cost;
        self
    }
}

impl<'a, B: Backend, P: Policies, R: FromDecision<B, P>> Request<'a, B, P, R> {
    /// Answers on the calling thread. On a store that has to be awaited this does not compile:
    ///
    /// ```compile_fail,E0277
    /// use std::sync::Arc;
    /// use ratelimit_algorithms::{Backend, Limiter, TokenBucket};
    /// use ratelimit_memory::Memory;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let store: Arc<dyn Backend> = Arc::new(Memory::new());
    /// let limiter = Limiter::new(store, "api", TokenBucket::per_hour(10))?;
    /// let decision = limiter.check("user:42").now()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As awaiting the request.
    #[inline(always)]
    pub fn now(self) -> Result<R, Error>
    where
        B: SyncBackend,
    {
        let Self { subject, action, progress, .. } = self;
        // Before anything that may panic: so nothing of the request has to lie in memory.
        drop(progress);
        let Subject { backend, key, cost, .. } = subject;
        subject.under_policy(|policy| {
            let decision = decide_now(backend, &policy, key, cost, action);
            R::from_decision(subject, decision)
        })
    }

    /// Answers on the calling thread if the store can. `None`, and nothing done, if the store has
    /// to be awaited.
    ///
    /// # Errors
    ///
    /// As awaiting the request.
    #[inline(always)]
    #[must_use = "a decision that nobody looks at limits nothing"]
    pub fn if_ready(self) -> Option<Result<R, Error>> {
        self.subject.if_ready(self.action, decide_if_ready)
    }
}

impl<'a, B: Backend, P: Policies, R: FromDecision<B, P>> Future for Request<'a, B, P, R> {
    type Output = Result<R, Error>;

    /// A call that writes its result where the caller wants it. Each case has a path of its own, so
    /// a decision stays in registers until then; copying it would take as long as making it.
    #[inline(never)]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { subject, action, .. } = *self;
        if let Progress::New = self.progress {
            match subject.if_ready(action, decide_inline) {
                Some(Ok(result)) => {
                    self.progress = Progress::Done;
                    return Poll::Ready(Ok(result));
                }
                Some(Err(error)) => {
                    self.progress = Progress::Done;
                    return Poll::Ready(Err(error));
                }
                None => {}
            }
        }
        self.wait(context)
    }
}

impl<'a, B: Backend, P: Policies, R: FromDecision<B, P>> Request<'a, B, P, R> {
    /// Awaits the store, in a function of its own so that stores that are ready do not pay for it.
    #[cold]
    #[inline(never)]
    fn wait(&mut self, context: &mut Context<'_>) -> Poll<Result<R, Error>> {
        let Self { subject, action, ref mut progress, .. } = *self;
        let decision = ready!(progress.poll(context, || subject.awaited(action)));
        Poll::Ready(R::from_decision(subject, decision))
    }
}

/// Shows no key.
impl<B, P, R> fmt::Debug for Request<'_, B, P, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { subject, action, .. } = self;
        let mut shown = f.debug_struct("Request");
        shown.field("action", action).field("cost", &subject.cost).finish_non_exhaustive()
    }
}

impl<B, P> Clone for Subject<'_, B, P> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<B, P> Copy for Subject<'_, B, P> {}

impl<'a, B, P: Policies> Subject<'a, B, P> {
    /// Decides under the policy that the key has now. The branches are separate, so that a borrowed
    /// policy needs no drop.
    #[inline(always)]
    fn under_policy<T>(self, decide: impl Fn(Cow<'a, Policy>) -> T) -> T {
        match self.policies.policy(self.key) {
            Cow::Borrowed(policy) => decide(Cow::Borrowed(policy)),
            Cow::Owned(policy) => decide(Cow::Owned(policy)),
        }
    }

    #[inline(always)]
    fn check<'c>(self, policy: &'c Policy, action: Action) -> Result<Check<'c>, Error>
    where
        'a: 'c,
    {
        check_for(action, policy, self.key, self.cost)
    }
}

impl<'a, B: Backend, P: Policies> Subject<'a, B, P> {
    #[inline(always)]
    fn if_ready<R: FromDecision<B, P>>(
        self,
        action: Action,
        decide: impl Fn(&B, &Policy, &[u8], u64, Action) -> Option<Result<Decision, Error>>,
    ) -> Option<Result<R, Error>> {
        let Subject { backend, key, cost, .. } = self;
        self.under_policy(|policy| match decide(backend, &policy, key, cost, action)? {
            Ok(decision) => Some(R::from_decision(self, Ok(decision))),
            Err(error) => Some(Err(error)),
        })
    }

    async fn awaited(self, action: Action) -> Result<Decision, Error> {
        let policy = self.policies.policy(self.key);
        let check = self.check(&policy, action)?;
        the_one(self.backend.apply(Batch::one(&check), action).await?)
    }
}

use self::sealed::FromDecision;

mod sealed {
    use super::{Decision, Error, Subject};

    /// A result that a decision is turned into; a decision itself is not even copied.
    #[expect(unnameable_types, reason = "sealed")]
    pub trait FromDecision<B, P>: Sized {
        fn from_decision(
            subject: Subject<'_, B, P>,
            decision: Result<Decision, Error>,
        ) -> Result<Self, Error>;
    }
}

impl<B, P> FromDecision<B, P> for Decision {
    #[inline(always)]
    fn from_decision(_: Subject<'_, B, P>, decision: Result<Self, Error>) -> Result<Self, Error> {
        decision
    }
}

impl<B, P> FromDecision<B, P> for Status {
    /// A key that has permits left may have been refunded or reset, and somebody may wait for it.
    fn from_decision(
        subject: Subject<'_, B, P>,
        decision: Result<Decision, Error>,
    ) -> Result<Self, Error> {
        let decision = decision?;
        if decision.remaining != 0 {
            subject.queues.wake(subject.key);
        }
        Ok(Self::after(&decision))
    }
}

#[inline(always)]
pub(crate) fn check<'a>(policy: &'a Policy, key: &'a [u8], cost: u64) -> Result<Check<'a>, Error> {
    Ok(Check::new(policy, Key::new(key)?, cost)?)
}

/// A check for a penalty.
pub(crate) fn penalty<'a>(
    policy: &'a Policy,
    key: &'a [u8],
    cost: u64,
) -> Result<Check<'a>, Error> {
    Ok(Check::penalty(policy, Key::new(key)?, cost)?)
}

/// The same for an action: a take may ask for more than its policy can ever admit, and a penalty for as
/// much more as a key may owe.
#[inline(always)]
pub(crate) fn check_for<'a>(
    action: Action,
    policy: &'a Policy,
    key: &'a [u8],
    cost: u64,
) -> Result<Check<'a>, Error> {
    if let Action::Take | Action::Penalize = action
        && let Err(CostError::ExceedsLimit { max, .. }) = policy.cost(cost)
    {
        return match action {
            Action::Take => check(policy, key, max),
            _ => penalty(policy, key, cost),
        };
    }
    check(policy, key, cost)
}

/// A call, so that a request costs no more than its check does. The case of its own for spending
/// keeps that check in registers.
#[inline(never)]
fn decide_now<B: SyncBackend>(
    backend: &B,
    policy: &Policy,
    key: &[u8],
    cost: u64,
    action: Action,
) -> Result<Decision, Error> {
    let check = check_for(action, policy, key, cost)?;
    match action {
        Action::Spend => the_one(backend.apply_now(Batch::one(&{ check }), Action::Spend)?),
        _ => the_one(backend.apply_now(Batch::one(&{ check }), action)?),
    }
}

/// The same of a store that may be ready.
#[inline(never)]
fn decide_if_ready<B: Backend>(
    backend: &B,
    policy: &Policy,
    key: &[u8],
    cost: u64,
    action: Action,
) -> Option<Result<Decision, Error>> {
    decide_inline(backend, policy, key, cost, action)
}

/// The same, for what is a call of its own.
#[inline(always)]
fn decide_inline<B: Backend>(
    backend: &B,
    policy: &Policy,
    key: &[u8],
    cost: u64,
    action: Action,
) -> Option<Result<Decision, Error>> {
    let check = match check_for(action, policy, key, cost) {
        Ok(check) => check,
        Err(error) => return Some(Err(error)),
    };
    let decisions = match action {
        Action::Spend => backend.apply_if_ready(Batch::one(&{ check }), Action::Spend)?,
        _ => backend.apply_if_ready(Batch::one(&{ check }), action)?,
    };
    match decisions {
        Ok(decisions) => Some(the_one(decisions)),
        Err(error) => Some(Err(error.into())),
    }
}

/// The decision about a batch of one; a store that gives none is broken.
#[inline(always)]
fn the_one(decisions: Decisions) -> Result<Decision, Error> {
    match decisions.into_first() {
        Some(decision) => Ok(decision),
        None => Err(BackendError::unknown(ErrorKind::Protocol).into()),
    }
}
