//! The limiter that awaits its store's answer.

use std::{borrow::Cow, future::Future, sync::Arc, time::Duration};

use ratelimit_backend::{Backend, BackendError, Claim, ErrorKind};
use ratelimit_core::{
    Action, Algorithm, Batch, Check, ConfigError, Decision, Key, Micros, Policy, store::Decisions,
};

use crate::{Error, InTier, Policies, Tier, asking::Asking, wait::Lines};

/// Checks keys against a policy, on any store. Clones are the same limiter.
#[derive(Clone, Debug)]
pub struct AsyncLimiter<B, P = Policy> {
    backend: B,
    policies: P,
    shared: Arc<Shared>,
}

/// What clones have in common.
#[derive(Debug)]
struct Shared {
    /// Keeps the name taken.
    _claim: Claim,
    lines: Lines,
}

impl<B: Backend> AsyncLimiter<B> {
    /// A limiter called `name` that runs `algorithm` on `backend`.
    ///
    /// # Errors
    ///
    /// If the algorithm's numbers or the name cannot be honoured, or if another limiter on this
    /// store has the name and other numbers.
    pub fn new<A>(backend: B, name: &str, algorithm: A) -> Result<Self, ConfigError>
    where
        A: TryInto<Algorithm, Error: Into<ConfigError>>,
    {
        Self::with_policies(backend, Policy::new(name, algorithm)?)
    }
}

impl<B: Backend, P: Policies> AsyncLimiter<B, P> {
    /// A limiter that checks keys against `policies`, most often one [`Policy`], on `backend`.
    ///
    /// # Errors
    ///
    /// If another limiter on this store has the name and other policies, or if the store cannot
    /// keep their state.
    pub fn with_policies(backend: B, policies: P) -> Result<Self, ConfigError> {
        policies.try_each(&mut |policy| backend.accepts(policy))?;
        let claim = policies.claim(backend.names())?;
        let shared = Arc::new(Shared { _claim: claim, lines: Lines::default() });
        Ok(Self { backend, policies, shared })
    }

    /// Spends one permit of `key`, if it has one left.
    ///
    /// # Errors
    ///
    /// When no decision was made. A denial is a decision.
    pub fn check<'a>(
        &'a self,
        key: &'a (impl AsRef<[u8]> + ?Sized),
    ) -> impl Future<Output = Result<Decision, Error>> + 'a {
        self.apply(key.as_ref(), 1, Action::Spend)
    }

    /// Spends `cost` permits of `key`, if it has as many left.
    ///
    /// # Errors
    ///
    /// When no decision was made; if `cost` is zero or can never be admitted.
    pub fn check_n<'a>(
        &'a self,
        key: &'a (impl AsRef<[u8]> + ?Sized),
        cost: u64,
    ) -> impl Future<Output = Result<Decision, Error>> + 'a {
        self.apply(key.as_ref(), cost, Action::Spend)
    }

    /// [`check_n`](Self::check_n) on a store that answers at once; `None`, and nothing charged, on
    /// one that has to be awaited.
    ///
    /// # Errors
    ///
    /// As [`check_n`](Self::check_n).
    pub fn check_n_now(
        &self,
        key: &(impl AsRef<[u8]> + ?Sized),
        cost: u64,
    ) -> Option<Result<Decision, Error>> {
        self.apply_if_ready(key.as_ref(), cost, Action::Spend)
    }

    /// Tells what [`check`](Self::check) would answer, and changes nothing.
    ///
    /// # Errors
    ///
    /// When there is no answer.
    pub async fn peek(&self, key: &(impl AsRef<[u8]> + ?Sized)) -> Result<Decision, Error> {
        self.apply(key.as_ref(), 1, Action::Peek).await
    }

    /// Makes `key` as good as new.
    ///
    /// # Errors
    ///
    /// When the store did not do it, or may not have done it.
    pub async fn reset(&self, key: &(impl AsRef<[u8]> + ?Sized)) -> Result<Decision, Error> {
        self.apply(key.as_ref(), 1, Action::Reset).await
    }

    /// Gives `cost` permits back to `key`, never more than are charged now.
    ///
    /// # Errors
    ///
    /// When the store did not do it, or may not have done it; if `cost` is zero or can never have
    /// been charged.
    pub async fn refund(
        &self,
        key: &(impl AsRef<[u8]> + ?Sized),
        cost: u64,
    ) -> Result<Decision, Error> {
        self.apply(key.as_ref(), cost, Action::Refund).await
    }

    /// Charges `key` without asking: as much of `cost` as it has left. What it has not is
    /// forgiven.
    ///
    /// # Errors
    ///
    /// When the store did not do it, or may not have done it; if `cost` is zero or beyond the
    /// limit.
    pub async fn penalize(
        &self,
        key: &(impl AsRef<[u8]> + ?Sized),
        cost: u64,
    ) -> Result<Decision, Error> {
        self.apply(key.as_ref(), cost, Action::Penalize).await
    }

    /// Denies every request of `key` until `length` has passed, at most
    /// [`WINDOW_MAX`](crate::WINDOW_MAX), wherever it is checked on this store. A block that
    /// lasts longer stays; only a [`reset`](Self::reset) ends it earlier.
    ///
    /// # Errors
    ///
    /// When the store did not do it, or may not have done it.
    pub async fn block(
        &self,
        key: &(impl AsRef<[u8]> + ?Sized),
        length: Duration,
    ) -> Result<Decision, Error> {
        let length = Micros::from_duration_ceil(length);
        self.apply(key.as_ref(), 1, Action::Block(length)).await
    }

    /// The name of the policies that keys are checked against.
    #[must_use]
    pub fn name(&self) -> &str {
        self.policies.name()
    }

    /// The policy that `key` is checked against now.
    #[must_use]
    pub fn policy(&self, key: &(impl AsRef<[u8]> + ?Sized)) -> Cow<'_, Policy> {
        self.policies.policy(key.as_ref())
    }

    pub(crate) const fn apply<'a>(
        &'a self,
        key: &'a [u8],
        cost: u64,
        action: Action,
    ) -> Asking<'a, B, P> {
        Asking::new(self, key, cost, action)
    }

    /// The answer of a store that need not be awaited; another has been asked for nothing.
    #[inline(always)]
    pub(crate) fn apply_if_ready(
        &self,
        key: &[u8],
        cost: u64,
        action: Action,
    ) -> Option<Result<Decision, Error>> {
        let ask =
            |policy: &Policy| answer_if_ready(&self.backend, question(policy, key, cost), action);
        match self.policies.policy(key) {
            Cow::Borrowed(policy) => ask(policy),
            Cow::Owned(policy) => ask(&policy),
        }
    }

    pub(crate) async fn ask(&self, check: &Check<'_>, action: Action) -> Result<Decision, Error> {
        match answer_if_ready(&self.backend, Ok(*check), action) {
            Some(answer) => answer,
            None => answer(&self.backend, check, action).await,
        }
    }
}

impl<B: Clone> AsyncLimiter<B, InTier> {
    /// This limiter, for a key that is in `tier`, whatever says so: a request, a session.
    ///
    /// ```
    /// use ratelimit_algorithms::{AsyncLimiter, Tier, Tiers, TokenBucket};
    /// use ratelimit_memory::Memory;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let tiers = Tiers::new("api", TokenBucket::per_second(10))?;
    /// let pro = tiers.add("pro", TokenBucket::per_second(100))?;
    /// let limiter = AsyncLimiter::with_policies(Memory::new(), tiers.only(Tier::DEFAULT))?;
    /// assert_eq!(limiter.check("user:42").await?.limit, 10);
    /// assert_eq!(limiter.in_tier(pro).check("user:42").await?.limit, 100);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn in_tier(&self, tier: Tier) -> Self {
        let (backend, shared) = (self.backend.clone(), Arc::clone(&self.shared));
        Self { backend, policies: self.policies.but(tier), shared }
    }
}

impl<B, P> AsyncLimiter<B, P> {
    /// The store that the limiter is on.
    #[must_use]
    pub const fn backend(&self) -> &B {
        &self.backend
    }

    /// What keys are checked against.
    #[must_use]
    pub const fn policies(&self) -> &P {
        &self.policies
    }

    pub(crate) fn lines(&self) -> &Lines {
        &self.shared.lines
    }
}

/// The question of one key.
#[inline(always)]
pub(crate) fn question<'a>(
    policy: &'a Policy,
    key: &'a [u8],
    cost: u64,
) -> Result<Check<'a>, Error> {
    Ok(Check::new(policy, Key::new(key)?, cost)?)
}

/// The answer of a store.
pub(crate) async fn answer(
    backend: &impl Backend,
    check: &Check<'_>,
    action: Action,
) -> Result<Decision, Error> {
    the_one(backend.apply(Batch::one(check), action).await?)
}

/// The answer of a store that need not be awaited; `None` of another.
#[inline(always)]
pub(crate) fn answer_if_ready(
    backend: &impl Backend,
    check: Result<Check<'_>, Error>,
    action: Action,
) -> Option<Result<Decision, Error>> {
    let check = match check {
        Ok(check) => check,
        Err(error) => return Some(Err(error)),
    };
    match backend.apply_if_ready(Batch::one(&check), action) {
        Some(Ok(decisions)) => Some(the_one(decisions)),
        Some(Err(error)) => Some(Err(error.into())),
        None => None,
    }
}

/// The decision about a batch of one; a store that gives none is broken.
#[inline(always)]
pub(crate) fn the_one(decisions: Decisions) -> Result<Decision, Error> {
    let decision = decisions.into_first();
    Ok(decision.ok_or(BackendError::unknown(ErrorKind::Protocol))?)
}
