//! The limiter that answers on the calling thread.

use std::{borrow::Cow, time::Duration};

use ratelimit_backend::SyncBackend;
use ratelimit_core::{Action, Algorithm, Batch, Check, ConfigError, Decision, Micros, Policy};

use crate::{
    AsyncLimiter, Error, Policies,
    async_limiter::{question, the_one},
};

/// Checks keys against a policy, on the calling thread. Clones are the same limiter.
///
/// For stores that have to wait for an answer there is [`AsyncLimiter`].
#[derive(Clone, Debug)]
pub struct Limiter<B, P = Policy>(AsyncLimiter<B, P>);

impl<B: SyncBackend> Limiter<B> {
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
        AsyncLimiter::new(backend, name, algorithm).map(Self)
    }
}

impl<B: SyncBackend, P: Policies> Limiter<B, P> {
    /// A limiter that checks keys against `policies`, most often one [`Policy`], on `backend`.
    ///
    /// # Errors
    ///
    /// If another limiter on this store has the name and other policies, or if the store cannot
    /// keep their state.
    pub fn with_policies(backend: B, policies: P) -> Result<Self, ConfigError> {
        AsyncLimiter::with_policies(backend, policies).map(Self)
    }

    /// Spends one permit of `key`, if it has one left.
    ///
    /// # Errors
    ///
    /// When no decision was made. A denial is a decision.
    pub fn check(&self, key: &(impl AsRef<[u8]> + ?Sized)) -> Result<Decision, Error> {
        self.check_n(key, 1)
    }

    /// Spends `cost` permits of `key`, if it has as many left.
    ///
    /// # Errors
    ///
    /// When no decision was made; if `cost` is zero or can never be admitted.
    pub fn check_n(&self, key: &(impl AsRef<[u8]> + ?Sized), cost: u64) -> Result<Decision, Error> {
        self.apply(key.as_ref(), cost, Action::Spend)
    }

    /// Tells what [`check`](Self::check) would answer, and changes nothing.
    ///
    /// # Errors
    ///
    /// When there is no answer.
    pub fn peek(&self, key: &(impl AsRef<[u8]> + ?Sized)) -> Result<Decision, Error> {
        self.apply(key.as_ref(), 1, Action::Peek)
    }

    /// Makes `key` as good as new.
    ///
    /// # Errors
    ///
    /// When the store did not do it, or may not have done it.
    pub fn reset(&self, key: &(impl AsRef<[u8]> + ?Sized)) -> Result<Decision, Error> {
        self.apply(key.as_ref(), 1, Action::Reset)
    }

    /// Gives `cost` permits back to `key`, never more than are charged now.
    ///
    /// # Errors
    ///
    /// When the store did not do it, or may not have done it; if `cost` is zero or can never have
    /// been charged.
    pub fn refund(&self, key: &(impl AsRef<[u8]> + ?Sized), cost: u64) -> Result<Decision, Error> {
        self.apply(key.as_ref(), cost, Action::Refund)
    }

    /// Charges `key` without asking: as much of `cost` as it has left. What it has not is
    /// forgiven.
    ///
    /// # Errors
    ///
    /// When the store did not do it, or may not have done it; if `cost` is zero or beyond the
    /// limit.
    pub fn penalize(
        &self,
        key: &(impl AsRef<[u8]> + ?Sized),
        cost: u64,
    ) -> Result<Decision, Error> {
        self.apply(key.as_ref(), cost, Action::Penalize)
    }

    /// Denies every request of `key` until `length` has passed, at most
    /// [`WINDOW_MAX`](crate::WINDOW_MAX), wherever it is checked on this store. A block that
    /// lasts longer stays; only a [`reset`](Self::reset) ends it earlier.
    ///
    /// # Errors
    ///
    /// When the store did not do it, or may not have done it.
    pub fn block(
        &self,
        key: &(impl AsRef<[u8]> + ?Sized),
        length: Duration,
    ) -> Result<Decision, Error> {
        let length = Micros::from_duration_ceil(length);
        self.apply(key.as_ref(), 1, Action::Block(length))
    }

    /// The name of the policies that keys are checked against.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.name()
    }

    /// The policy that `key` is checked against now.
    #[must_use]
    pub fn policy(&self, key: &(impl AsRef<[u8]> + ?Sized)) -> Cow<'_, Policy> {
        self.0.policy(key)
    }

    /// What keys are checked against.
    #[must_use]
    pub const fn policies(&self) -> &P {
        self.0.policies()
    }

    pub(crate) const fn as_async(&self) -> &AsyncLimiter<B, P> {
        &self.0
    }

    pub(crate) fn apply(&self, key: &[u8], cost: u64, action: Action) -> Result<Decision, Error> {
        // Apart, so that who owns no policy keeps nothing in memory that would have to be dropped.
        let ask = |policy: &Policy| self.ask(&question(policy, key, cost)?, action);
        match self.0.policies().policy(key) {
            Cow::Borrowed(policy) => ask(policy),
            Cow::Owned(policy) => ask(&policy),
        }
    }

    pub(crate) fn ask(&self, check: &Check<'_>, action: Action) -> Result<Decision, Error> {
        the_one(self.0.backend().apply_now(Batch::one(check), action)?)
    }
}

/// Stores that answer at once answer awaiting callers too.
impl<B, P> From<Limiter<B, P>> for AsyncLimiter<B, P> {
    fn from(limiter: Limiter<B, P>) -> Self {
        limiter.0
    }
}
