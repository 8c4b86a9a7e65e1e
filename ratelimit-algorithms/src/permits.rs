//! Permits of several limits, held as one.

use std::{borrow::Cow, fmt, iter::repeat};

use ratelimit_backend::{Backend, SyncBackend};
use ratelimit_core::{Action, Batch, Check, Policy, Receipt};

use crate::{
    AcquireError, Answer, AsyncLimiter, Error, Limit, Limiter, Limits, Question,
    async_limiter::question, limits::Merged, permit::settlement,
};

/// Permits of several limits that were charged as one, as a value to hold while the work is done.
///
/// Dropped, they stay spent, unless [`refund_on_drop`](Self::refund_on_drop) says otherwise. What
/// is given back of each is what a [`Permit`](crate::Permit) would give back.
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
/// let permits = Limits::of(&requests, "user:42", 1).and(&tokens, "user:42", 1_000).acquire()?;
/// let used = ask_the_model();
/// permits.settle([1, used])?;
///
/// assert_eq!(tokens.peek("user:42")?.remaining, 10_000 - 412);
/// # Ok(())
/// # }
/// ```
#[must_use = "permits that are dropped stay spent"]
pub struct Permits<'a, L: Limit> {
    asked: Vec<Question<'a, L::Backend>>,
    answer: Answer,
    refunds_on_drop: bool,
}

impl<L: Limit> Permits<'_, L> {
    /// What the limits said.
    pub const fn answer(&self) -> &Answer {
        &self.answer
    }

    /// Gives the permits back when these are dropped before they are settled: for work that counts
    /// only if it ends well. Call [`keep`](Self::keep) when it has.
    ///
    /// Of [`AsyncLimiter`]s that works on stores that answer at once; on others they stay spent,
    /// since nothing can be awaited in a drop.
    pub const fn refund_on_drop(mut self) -> Self {
        self.refunds_on_drop = true;
        self
    }

    /// Leaves the permits spent.
    pub fn keep(mut self) {
        self.refunds_on_drop = false;
    }

    /// What is to be done for the work to have cost `actual`.
    fn due(&self, actual: impl IntoIterator<Item = u64>) -> Result<Due<'_>, Error> {
        let mut merged = Merged::default();
        merged.ask(&self.asked)?;
        let mut costs = vec![0_u64; merged.checks.len()];
        let mut actual = actual.into_iter();
        for (index, asked) in self.asked.iter().enumerate() {
            let cost = actual.next().unwrap_or(asked.cost);
            let costs = &mut costs[merged.position(index)];
            *costs = costs.saturating_add(cost);
        }
        let first_about =
            |check| (0..self.asked.len()).find(|&index| merged.position(index) == check);
        let part = |(position, (check, actual)): (usize, (&Check<'_>, u64))| {
            let index = first_about(position)?;
            let (asked, decision) = (&self.asked[index], &self.answer.each()[index]);
            let (policy, cost) = (asked.policies.policy(asked.key), check.cost().get());
            let policies = (check.policy(), &*policy);
            let (due, action) = settlement(decision, policies, cost, actual)?;
            let receipt = Receipt::of(decision, check.policy(), cost);
            Some(Part { policy, key: asked.key, cost: due, receipt, action })
        };
        Ok(Due(merged.checks.iter().zip(costs).enumerate().filter_map(part).collect()))
    }
}

impl<B: SyncBackend> Permits<'_, Limiter<B>> {
    /// Makes the work have cost `actual`, a cost for each limit in the order in which they were
    /// named: charges what is missing as far as the keys have it left, and gives the rest back.
    /// Where no cost is given, that which was charged stands.
    ///
    /// # Errors
    ///
    /// When the store did not do it, or may not have done it; what is to be charged comes first.
    pub fn settle(mut self, actual: impl IntoIterator<Item = u64>) -> Result<(), Error> {
        self.refunds_on_drop = false;
        let due = self.due(actual)?;
        for action in SETTLING {
            if let checks @ [_, ..] = &*due.checks(action)? {
                self.asked[0].backend.apply_now(batch(checks), action)?;
            }
        }
        Ok(())
    }

    /// Gives all of them back.
    ///
    /// # Errors
    ///
    /// When the store did not do it, or may not have done it.
    pub fn refund(self) -> Result<(), Error> {
        self.settle(repeat(0))
    }
}

impl<B: Backend> Permits<'_, AsyncLimiter<B>> {
    /// Makes the work have cost `actual`, a cost for each limit in the order in which they were
    /// named: charges what is missing as far as the keys have it left, and gives the rest back.
    /// Where no cost is given, that which was charged stands.
    ///
    /// # Errors
    ///
    /// When the store did not do it, or may not have done it; what is to be charged comes first.
    pub async fn settle(mut self, actual: impl IntoIterator<Item = u64>) -> Result<(), Error> {
        self.refunds_on_drop = false;
        let due = self.due(actual)?;
        for action in SETTLING {
            if let checks @ [_, ..] = &*due.checks(action)? {
                self.asked[0].backend.apply(batch(checks), action).await?;
            }
        }
        Ok(())
    }

    /// Gives all of them back.
    ///
    /// # Errors
    ///
    /// When the store did not do it, or may not have done it.
    pub async fn refund(self) -> Result<(), Error> {
        self.settle(repeat(0)).await
    }
}

impl<'a, B: SyncBackend> Limits<'a, Limiter<B>> {
    /// Spends all the costs, to be settled later; that a limit does not admit its own is an error.
    ///
    /// # Errors
    ///
    /// [`AcquireError::DeniedTogether`]; as [`check`](Self::check).
    pub fn acquire(self) -> Result<Permits<'a, Limiter<B>>, AcquireError> {
        let answer = self.check()?;
        permits(self, answer)
    }
}

impl<'a, B: Backend> Limits<'a, AsyncLimiter<B>> {
    /// Spends all the costs, to be settled later; that a limit does not admit its own is an error.
    ///
    /// # Errors
    ///
    /// [`AcquireError::DeniedTogether`]; as [`check`](Self::check).
    pub async fn acquire(self) -> Result<Permits<'a, AsyncLimiter<B>>, AcquireError> {
        let answer = self.check().await?;
        permits(self, answer)
    }
}

impl<L: Limit> Drop for Permits<'_, L> {
    fn drop(&mut self) {
        if self.refunds_on_drop
            && let Ok(due) = self.due(repeat(0))
            && let Ok(checks) = due.checks(Action::Refund)
            && !checks.is_empty()
        {
            L::ask_in_drop(self.asked[0].backend, batch(&checks), Action::Refund);
        }
    }
}

/// Shows no key.
impl<L: Limit> fmt::Debug for Permits<'_, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permits").field("answer", &self.answer).finish_non_exhaustive()
    }
}

fn permits<'a, L: Limit>(
    limits: Limits<'a, L>,
    answer: Answer,
) -> Result<Permits<'a, L>, AcquireError> {
    if !answer.is_allowed() {
        return Err(AcquireError::DeniedTogether(answer));
    }
    Ok(Permits { asked: limits.asked, answer, refunds_on_drop: false })
}

/// What settling comes to.
struct Due<'a>(Vec<Part<'a>>);

/// For one key, under the policy that it has by now.
struct Part<'a> {
    policy: Cow<'a, Policy>,
    key: &'a [u8],
    cost: u64,
    receipt: Receipt,
    action: Action,
}

impl Due<'_> {
    /// The checks of those parts that are to be charged, or given back.
    fn checks(&self, action: Action) -> Result<Vec<Check<'_>>, Error> {
        self.0.iter().filter(|part| part.action == action).map(Part::check).collect()
    }
}

impl Part<'_> {
    fn check(&self) -> Result<Check<'_>, Error> {
        let check = question(&self.policy, self.key, self.cost)?;
        Ok(check.with_receipt(Some(self.receipt)))
    }
}

/// Charged first: if the rest fails, too little was given back, and not too much.
const SETTLING: [Action; 2] = [Action::Penalize, Action::Refund];

fn batch<'a>(checks: &'a [Check<'a>]) -> Batch<'a> {
    Batch::new(checks).expect("each part is about another state")
}
