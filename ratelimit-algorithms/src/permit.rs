//! Permits, as values to hold while the work is done: unused ones are given back.

use std::{borrow::Cow, fmt, iter::repeat_n};

use ratelimit_core::{Decision, Policy};
use smallvec::smallvec;

use crate::{
    AcquireError, Error, Policies,
    decision::LimitsDecision,
    prepared::PreparedCheck,
    request::{FromDecision, RefundInDrop, Subject},
    settle::{Charge, Settle},
};

/// Permits that a key has spent, as a value to hold while the work is done.
///
/// Dropped, they stay spent, unless [`refund_on_drop`](Self::refund_on_drop) says otherwise. If
/// the cost is known only afterwards, acquire an estimate and [`settle`](Self::settle) it.
///
/// A refund gives back what is left of this very charge: after its window has gone that is
/// nothing, so a late refund never makes room that was not there. Nothing is given back if the
/// key's policy has changed meanwhile, since what is left was worked out at the old rate. If
/// something other than the store has decided ([`Source`](crate::Source)), there is nothing to settle.
///
/// ```
/// use ratelimit_algorithms::{FixedWindow, Limiter};
/// use ratelimit_memory::Memory;
///
/// # fn ask_the_model() -> u64 { 412 }
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let tokens = Limiter::new(Memory::new(), "tokens", FixedWindow::per_minute(10_000))?;
///
/// let permit = tokens.acquire("user:42").cost(1_000).now()?;
/// let used = ask_the_model();
/// permit.settle(used).now()?;
///
/// assert_eq!(tokens.peek("user:42").now()?.remaining, 10_000 - 412);
/// # Ok(())
/// # }
/// ```
#[must_use = "permits that are dropped stay spent"]
pub struct Permit<'a, B>(Charge<'a, B>);

impl<'a, B> Permit<'a, B> {
    /// The permits that `decision` about `check` has spent.
    pub(crate) fn new(
        check: PreparedCheck<'a, B>,
        decision: Decision,
        refund: RefundInDrop<B>,
    ) -> Result<Self, AcquireError> {
        if !decision.is_allowed() {
            return Err(AcquireError::Denied(decision));
        }
        Ok(Self(Charge::new(smallvec![(check, decision)], refund)))
    }

    /// The decision of the limiter.
    pub fn decision(&self) -> &Decision {
        &self.0.parts[0].1
    }

    /// Gives the permits back when this is dropped before it is settled: for work that counts only
    /// if it ends well. Call [`keep`](Self::keep) when it has.
    ///
    /// Permits that were awaited are given back only on stores that answer at once; on others they
    /// stay spent, since nothing can be awaited in a drop.
    pub fn refund_on_drop(mut self) -> Self {
        self.0.refunds_on_drop = true;
        self
    }

    /// Leaves the permits spent.
    pub fn keep(mut self) {
        self.0.refunds_on_drop = false;
    }

    /// Makes the work have cost `actual`: gives the rest back, or charges what is missing, as far
    /// as the key has it left.
    pub fn settle(self, actual: u64) -> Settle<'a, B> {
        Settle::new(self.0, smallvec![actual])
    }

    /// Gives all of them back.
    pub fn refund(self) -> Settle<'a, B> {
        self.settle(0)
    }
}

impl<'a, B, P: Policies> FromDecision<'a, B, P> for Permit<'a, B> {
    type Error = AcquireError;

    fn from_decision(
        subject: Subject<'a, B, P>,
        policy: Cow<'a, Policy>,
        decision: Result<Decision, Error>,
        refund: RefundInDrop<B>,
    ) -> Result<Self, AcquireError> {
        let Subject { backend, policies, queues, key, cost } = subject;
        let check = PreparedCheck { backend, policies, policy, queues, key, cost };
        Self::new(check, decision?, refund)
    }
}

/// Shows no key.
impl<B> fmt::Debug for Permit<'_, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (check, decision) = &self.0.parts[0];
        let mut shown = f.debug_struct("Permit");
        shown.field("cost", &check.cost).field("decision", decision).finish_non_exhaustive()
    }
}

/// Permits of several limits that were charged as one, as a value to hold while the work is done.
///
/// Dropped, they stay spent, unless [`refund_on_drop`](Self::refund_on_drop) says otherwise. A
/// refund gives back of each what a [`Permit`] would.
///
/// ```
/// use ratelimit_algorithms::{FixedWindow, Limiter, Limits, TokenBucket};
/// use ratelimit_memory::Memory;
///
/// # fn ask_the_model() -> u64 { 412 }
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = Memory::new();
/// let requests = Limiter::new(store.clone(), "requests", TokenBucket::per_minute(60))?;
/// let tokens = Limiter::new(store, "tokens", FixedWindow::per_minute(10_000))?;
///
/// let both = Limits::new(&requests, "user:42", 1).and(&tokens, "user:42", 1_000);
/// let permits = both.acquire().now()?;
/// let used = ask_the_model();
/// permits.settle([1, used]).now()?;
///
/// assert_eq!(tokens.peek("user:42").now()?.remaining, 10_000 - 412);
/// # Ok(())
/// # }
/// ```
#[must_use = "permits that are dropped stay spent"]
pub struct Permits<'a, B> {
    charge: Charge<'a, B>,
    decision: LimitsDecision,
}

impl<'a, B> Permits<'a, B> {
    /// The permits that `decision` about `checks` has spent.
    pub(crate) fn new(
        checks: Vec<PreparedCheck<'a, B>>,
        decision: LimitsDecision,
        refund: RefundInDrop<B>,
    ) -> Result<Self, AcquireError> {
        if !decision.is_allowed() {
            return Err(AcquireError::DeniedTogether(decision));
        }
        let parts = checks.into_iter().zip(decision.each().iter().copied()).collect();
        Ok(Self { charge: Charge::new(parts, refund), decision })
    }

    /// The decision of the limits.
    pub const fn decision(&self) -> &LimitsDecision {
        &self.decision
    }

    /// Gives the permits back when these are dropped before they are settled: for work that counts
    /// only if it ends well. Call [`keep`](Self::keep) when it has.
    ///
    /// Permits that were awaited are given back only on stores that answer at once; on others they
    /// stay spent, since nothing can be awaited in a drop.
    pub fn refund_on_drop(mut self) -> Self {
        self.charge.refunds_on_drop = true;
        self
    }

    /// Leaves the permits spent.
    pub fn keep(mut self) {
        self.charge.refunds_on_drop = false;
    }

    /// Makes the work have cost `actual`, a cost for each limit in the order in which they were
    /// named: charges what is missing, as far as the keys have it left, and gives the rest back.
    /// Limits for which there is no cost keep what they were charged.
    pub fn settle(self, actual: impl IntoIterator<Item = u64>) -> Settle<'a, B> {
        Settle::new(self.charge, actual.into_iter().collect())
    }

    /// Gives all of them back.
    pub fn refund(self) -> Settle<'a, B> {
        let limits = self.decision.each().len();
        self.settle(repeat_n(0, limits))
    }
}

/// Shows no key.
impl<B> fmt::Debug for Permits<'_, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permits").field("decision", &self.decision).finish_non_exhaustive()
    }
}
