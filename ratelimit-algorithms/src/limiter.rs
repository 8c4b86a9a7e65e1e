//! The limiter: a store, and a policy to check keys against.

use std::sync::Arc;

use ratelimit_backend::{Backend, BackendError, Claim, ErrorKind, SyncBackend};
use ratelimit_core::{
    Action, Algorithm, Batch, Check, ConfigError, Decision, Decisions, Key, Policy,
};

use crate::Error;

/// Checks keys against one policy, on the calling thread. Clones are the same limiter.
///
/// For stores that have to wait for an answer there is [`AsyncLimiter`].
#[derive(Clone, Debug)]
pub struct Limiter<B>(AsyncLimiter<B>);

/// Checks keys against one policy, on any store. Clones are the same limiter.
#[derive(Clone, Debug)]
pub struct AsyncLimiter<B> {
    backend: B,
    policy: Policy,
    /// Keeps the name taken.
    _claim: Arc<Claim>,
}

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

    /// A limiter that runs `policy` on `backend`.
    ///
    /// # Errors
    ///
    /// If another limiter on this store has the policy's name and other settings.
    pub fn with_policy(backend: B, policy: Policy) -> Result<Self, ConfigError> {
        AsyncLimiter::with_policy(backend, policy).map(Self)
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

    /// The policy that keys are checked against.
    #[must_use]
    pub const fn policy(&self) -> &Policy {
        &self.0.policy
    }

    pub(crate) const fn as_async(&self) -> &AsyncLimiter<B> {
        &self.0
    }

    fn apply(&self, key: &[u8], cost: u64, action: Action) -> Result<Decision, Error> {
        let check = self.0.prepare(key, cost)?;
        the_one(&self.0.backend.apply_now(Batch::one(&check), action)?)
    }
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
        let algorithm: Algorithm = algorithm.try_into().map_err(Into::into)?;
        Self::with_policy(backend, Policy::new(name, algorithm)?)
    }

    /// A limiter that runs `policy` on `backend`.
    ///
    /// # Errors
    ///
    /// If another limiter on this store has the policy's name and other settings, or if the store
    /// cannot keep its state.
    pub fn with_policy(backend: B, policy: Policy) -> Result<Self, ConfigError> {
        backend.accepts(&policy)?;
        let claim = Arc::new(backend.names().claim(&policy)?);
        Ok(Self { backend, policy, _claim: claim })
    }

    /// Spends one permit of `key`, if it has one left.
    ///
    /// # Errors
    ///
    /// When no decision was made. A denial is a decision.
    pub async fn check(&self, key: &(impl AsRef<[u8]> + ?Sized)) -> Result<Decision, Error> {
        self.apply(key.as_ref(), 1, Action::Spend).await
    }

    /// Spends `cost` permits of `key`, if it has as many left.
    ///
    /// # Errors
    ///
    /// When no decision was made; if `cost` is zero or can never be admitted.
    pub async fn check_n(
        &self,
        key: &(impl AsRef<[u8]> + ?Sized),
        cost: u64,
    ) -> Result<Decision, Error> {
        self.apply(key.as_ref(), cost, Action::Spend).await
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
        let check = match self.prepare(key.as_ref(), cost) {
            Ok(check) => check,
            Err(error) => return Some(Err(error)),
        };
        let decisions = self.backend.apply(Batch::one(&check), Action::Spend).into_ready()?;
        Some(decisions.map_err(Error::from).and_then(|decisions| the_one(&decisions)))
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

    /// The policy that keys are checked against.
    #[must_use]
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }

    pub(crate) const fn backend(&self) -> &B {
        &self.backend
    }

    async fn apply(&self, key: &[u8], cost: u64, action: Action) -> Result<Decision, Error> {
        let check = self.prepare(key, cost)?;
        the_one(&self.backend.apply(Batch::one(&check), action).await?)
    }
}

impl<B> AsyncLimiter<B> {
    fn prepare<'a>(&'a self, key: &'a [u8], cost: u64) -> Result<Check<'a>, Error> {
        Ok(Check::new(&self.policy, Key::new(key)?, cost)?)
    }
}

/// Stores that answer at once answer awaiting callers too.
impl<B> From<Limiter<B>> for AsyncLimiter<B> {
    fn from(limiter: Limiter<B>) -> Self {
        limiter.0
    }
}

/// The decision about a batch of one; a store that gives none is broken.
fn the_one(decisions: &Decisions) -> Result<Decision, Error> {
    let decision = decisions.first().copied();
    Ok(decision.ok_or(BackendError::unknown(ErrorKind::Protocol))?)
}
