//! Permits that somebody holds: a denial is an error, and what was not needed is given back.

use std::{borrow::Cow, cmp::Ordering, fmt};

use ratelimit_backend::{Backend, SyncBackend};
use ratelimit_core::{Action, Batch, Check, Decision, Micros, Policy, Receipt, Source};

use crate::{Answer, AsyncLimiter, Error, Limit, Limiter, Policies, async_limiter::question};

/// Permits that a key has spent, as a value to hold while the work is done.
///
/// Dropped, they stay spent, unless [`refund_on_drop`](Self::refund_on_drop) says otherwise. Where
/// the cost is known only afterwards, acquire an estimate and [`settle`](Self::settle) it.
///
/// What is given back is what is left of this very charge: after its window has gone that is
/// nothing, so giving back late never makes room that was not there. Nor is anything given back
/// where the key's policy has changed meanwhile: how much is left was reckoned at the old rate. And
/// where somebody else than the store has decided ([`Source`]), there is nothing to settle.
///
/// ```
/// use ratelimit_algorithms::{FixedWindow, Limiter};
/// use ratelimit_memory::Memory;
///
/// # fn ask_the_model() -> u64 { 412 }
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let tokens = Limiter::new(Memory::new(), "tokens", FixedWindow::per_minute(10_000))?;
///
/// let permit = tokens.acquire_n("user:42", 1_000)?;
/// let used = ask_the_model();
/// permit.settle(used)?;
///
/// assert_eq!(tokens.peek("user:42")?.remaining, 10_000 - 412);
/// # Ok(())
/// # }
/// ```
#[must_use = "permits that are dropped stay spent"]
pub struct Permit<'a, L: Limit> {
    limiter: &'a L,
    policy: Cow<'a, Policy>,
    key: &'a [u8],
    cost: u64,
    decision: Decision,
    refunds_on_drop: bool,
}

/// Why there are no permits.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AcquireError {
    /// The key has not as many left.
    #[error("rate limit exceeded, retry after {}", .0.retry_after())]
    Denied(Decision),
    /// Of several limits, at least one has not as many left.
    #[error("rate limit {} exceeded, retry after {}", .0.bound_name(), .0.retry_after())]
    DeniedTogether(Answer),
    /// No decision was made.
    #[error(transparent)]
    Failed(#[from] Error),
}

impl AcquireError {
    /// The time until the same request would be admitted, if nobody else spends; `None` where no
    /// decision was made.
    #[must_use]
    pub fn retry_after(&self) -> Option<Micros> {
        match self {
            Self::Denied(decision) => Some(decision.retry_after()),
            Self::DeniedTogether(answer) => Some(answer.retry_after()),
            Self::Failed(_) => None,
        }
    }
}

impl<'a, L: Limit> Permit<'a, L> {
    /// What the limiter said.
    pub const fn decision(&self) -> &Decision {
        &self.decision
    }

    /// Gives the permits back when this is dropped before it is settled: for work that counts only
    /// if it ends well. Call [`keep`](Self::keep) when it has.
    ///
    /// Of an [`AsyncLimiter`] that works on stores that answer at once; on others they stay spent,
    /// since nothing can be awaited in a drop.
    pub const fn refund_on_drop(mut self) -> Self {
        self.refunds_on_drop = true;
        self
    }

    /// Leaves the permits spent.
    pub fn keep(mut self) {
        self.refunds_on_drop = false;
    }

    /// What is to be done for the work to have cost `actual`, under the policy that the key has by
    /// now.
    fn settlement(&mut self, actual: u64) -> Option<(u64, Action)> {
        self.refunds_on_drop = false;
        let limiter: &'a L = self.limiter;
        let before = std::mem::replace(&mut self.policy, limiter.limiter().policy(self.key));
        settlement(&self.decision, (&before, &self.policy), self.cost, actual)
    }

    fn check(&self, cost: u64) -> Result<Check<'_>, Error> {
        let check = question(&self.policy, self.key, cost)?;
        Ok(check.with_receipt(Some(Receipt::of(&self.decision, &self.policy, self.cost))))
    }
}

impl<B: SyncBackend, P: Policies> Permit<'_, Limiter<B, P>> {
    /// Makes the work have cost `actual`: gives the rest back, or charges what is missing as far
    /// as the key has it left.
    ///
    /// # Errors
    ///
    /// When the store did not do it, or may not have done it.
    pub fn settle(mut self, actual: u64) -> Result<(), Error> {
        let Some((cost, action)) = self.settlement(actual) else { return Ok(()) };
        self.limiter.ask(&self.check(cost)?, action).map(drop)
    }

    /// Gives all of them back.
    ///
    /// # Errors
    ///
    /// When the store did not do it, or may not have done it.
    pub fn refund(self) -> Result<(), Error> {
        self.settle(0)
    }
}

impl<B: Backend, P: Policies> Permit<'_, AsyncLimiter<B, P>> {
    /// Makes the work have cost `actual`: gives the rest back, or charges what is missing as far
    /// as the key has it left.
    ///
    /// # Errors
    ///
    /// When the store did not do it, or may not have done it.
    pub async fn settle(mut self, actual: u64) -> Result<(), Error> {
        let Some((cost, action)) = self.settlement(actual) else { return Ok(()) };
        self.limiter.ask(&self.check(cost)?, action).await.map(drop)
    }

    /// Gives all of them back.
    ///
    /// # Errors
    ///
    /// When the store did not do it, or may not have done it.
    pub async fn refund(self) -> Result<(), Error> {
        self.settle(0).await
    }
}

impl<L: Limit> Drop for Permit<'_, L> {
    fn drop(&mut self) {
        if self.refunds_on_drop
            && let Some((cost, action)) = self.settlement(0)
            && let Ok(check) = self.check(cost)
        {
            L::ask_in_drop(self.limiter.limiter().backend(), Batch::one(&check), action);
        }
    }
}

/// Shows no key.
impl<L: Limit> fmt::Debug for Permit<'_, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cost, decision, .. } = self;
        let mut shown = f.debug_struct("Permit");
        shown.field("cost", cost).field("decision", decision).finish_non_exhaustive()
    }
}

impl<B: SyncBackend, P: Policies> Limiter<B, P> {
    /// Spends one permit of `key`; that it has none left is an error.
    ///
    /// # Errors
    ///
    /// [`AcquireError::Denied`] if it has none left; when no decision was made.
    pub fn acquire<'a>(
        &'a self,
        key: &'a (impl AsRef<[u8]> + ?Sized),
    ) -> Result<Permit<'a, Self>, AcquireError> {
        self.acquire_n(key, 1)
    }

    /// Spends `cost` permits of `key`; that it has not as many left is an error.
    ///
    /// # Errors
    ///
    /// As [`acquire`](Self::acquire); if `cost` is zero or can never be admitted.
    pub fn acquire_n<'a>(
        &'a self,
        key: &'a (impl AsRef<[u8]> + ?Sized),
        cost: u64,
    ) -> Result<Permit<'a, Self>, AcquireError> {
        let key = key.as_ref();
        let policy = self.policies().policy(key);
        let decision = self.ask(&question(&policy, key, cost)?, Action::Spend)?;
        permit(self, policy, key, cost, decision)
    }

    /// Does `work` if `key` has a permit left for it.
    ///
    /// # Errors
    ///
    /// As [`acquire`](Self::acquire). What `work` returns, errors too, is its result.
    pub fn run<T>(
        &self,
        key: &(impl AsRef<[u8]> + ?Sized),
        work: impl FnOnce() -> T,
    ) -> Result<T, AcquireError> {
        self.acquire(key)?.keep();
        Ok(work())
    }
}

impl<B: Backend, P: Policies> AsyncLimiter<B, P> {
    /// Spends one permit of `key`; that it has none left is an error.
    ///
    /// # Errors
    ///
    /// [`AcquireError::Denied`] if it has none left; when no decision was made.
    pub async fn acquire<'a>(
        &'a self,
        key: &'a (impl AsRef<[u8]> + ?Sized),
    ) -> Result<Permit<'a, Self>, AcquireError> {
        self.acquire_n(key, 1).await
    }

    /// Spends `cost` permits of `key`; that it has not as many left is an error.
    ///
    /// # Errors
    ///
    /// As [`acquire`](Self::acquire); if `cost` is zero or can never be admitted.
    pub async fn acquire_n<'a>(
        &'a self,
        key: &'a (impl AsRef<[u8]> + ?Sized),
        cost: u64,
    ) -> Result<Permit<'a, Self>, AcquireError> {
        let key = key.as_ref();
        let policy = self.policies().policy(key);
        let decision = self.ask(&question(&policy, key, cost)?, Action::Spend).await?;
        permit(self, policy, key, cost, decision)
    }

    /// Does `work` if `key` has a permit left for it.
    ///
    /// # Errors
    ///
    /// As [`acquire`](Self::acquire). What `work` returns, errors too, is its result.
    pub async fn run<T>(
        &self,
        key: &(impl AsRef<[u8]> + ?Sized),
        work: impl AsyncFnOnce() -> T,
    ) -> Result<T, AcquireError> {
        self.acquire(key).await?.keep();
        Ok(work().await)
    }
}

/// What is to be done for what was charged `cost` to have cost `actual`, now that the key has the
/// second of two policies; nothing where that is so already, the store was charged nothing, or
/// something would be given back by a receipt of another policy.
pub(crate) fn settlement(
    charged: &Decision,
    (before, now): (&Policy, &Policy),
    cost: u64,
    actual: u64,
) -> Option<(u64, Action)> {
    if charged.source() != Source::Store {
        return None;
    }
    match actual.cmp(&cost) {
        Ordering::Equal => None,
        Ordering::Less => (before == now).then_some((cost - actual, Action::Refund)),
        Ordering::Greater => Some(((actual - cost).min(now.limit()), Action::Penalize)),
    }
}

pub(crate) fn permit<'a, L: Limit>(
    limiter: &'a L,
    policy: Cow<'a, Policy>,
    key: &'a [u8],
    cost: u64,
    decision: Decision,
) -> Result<Permit<'a, L>, AcquireError> {
    if !decision.is_allowed() {
        return Err(AcquireError::Denied(decision));
    }
    Ok(Permit { limiter, policy, key, cost, decision, refunds_on_drop: false })
}
