//! Several limits at once: all of them admit and are charged, or none is.

use std::{cmp::Reverse, fmt, mem::take};

use ratelimit_backend::{Backend, BackendError, ErrorKind, SyncBackend};
use ratelimit_core::{Action, Batch, Check, Decision, Micros, Policy, store::Decisions};
use smallvec::SmallVec;

use crate::{AsyncLimiter, Error, Limiter, Policies, Question};

/// Limits to be asked together, each with a key and a cost of its own.
///
/// All of them have to be on the same store. A limit that is named twice with the same key is
/// charged the sum of the costs, and answers once for each. Each key is checked against the policy
/// that it had when it was named here.
#[must_use = "limits do nothing unless they are checked"]
pub struct Limits<'a, L: Limit> {
    pub(crate) asked: Vec<Question<'a, L::Backend>>,
}

/// A limiter, whatever its policies: a [`Limiter`] or an [`AsyncLimiter`].
pub trait Limit: sealed::Limit {}

mod sealed {
    use super::{Action, AsyncLimiter, Backend, Batch, Policies};

    #[expect(unnameable_types, reason = "sealed")]
    pub trait Limit {
        /// The limiter of this kind and store that has one policy.
        type Kind: super::Limit<Backend = Self::Backend>;
        type Backend: Backend;
        type Policies: Policies;

        fn limiter(&self) -> &AsyncLimiter<Self::Backend, Self::Policies>;

        /// Asks what can be answered without waiting; nobody is there to be told of an error.
        fn ask_in_drop(backend: &Self::Backend, batch: Batch<'_>, action: Action);
    }
}

impl<B: SyncBackend, P: Policies> Limit for Limiter<B, P> {}

impl<B: SyncBackend, P: Policies> sealed::Limit for Limiter<B, P> {
    type Kind = Limiter<B>;
    type Backend = B;
    type Policies = P;

    fn limiter(&self) -> &AsyncLimiter<B, P> {
        self.as_async()
    }

    fn ask_in_drop(backend: &B, batch: Batch<'_>, action: Action) {
        let _ = backend.apply_now(batch, action);
    }
}

impl<B: Backend, P: Policies> Limit for AsyncLimiter<B, P> {}

impl<B: Backend, P: Policies> sealed::Limit for AsyncLimiter<B, P> {
    type Kind = AsyncLimiter<B>;
    type Backend = B;
    type Policies = P;

    fn limiter(&self) -> &Self {
        self
    }

    fn ask_in_drop(backend: &B, batch: Batch<'_>, action: Action) {
        drop(backend.apply(batch, action));
    }
}

impl<'a, L: Limit> Limits<'a, L> {
    /// The first of several limits.
    pub fn of(
        limiter: &'a impl Limit<Kind = L, Backend = L::Backend>,
        key: &'a (impl AsRef<[u8]> + ?Sized),
        cost: u64,
    ) -> Self {
        Self { asked: Vec::with_capacity(FEW) }.and(limiter, key, cost)
    }

    /// One more limit.
    pub fn and(
        self,
        limiter: &'a impl Limit<Kind = L, Backend = L::Backend>,
        key: &'a (impl AsRef<[u8]> + ?Sized),
        cost: u64,
    ) -> Self {
        self.and_question(limiter.limiter().question(key, cost))
    }

    /// One more limit, by a question to it that was made already.
    pub fn and_question(mut self, question: Question<'a, L::Backend>) -> Self {
        self.asked.push(question);
        self
    }
}

impl<'a, B: Backend> From<Question<'a, B>> for Limits<'a, AsyncLimiter<B>> {
    fn from(first: Question<'a, B>) -> Self {
        Self { asked: vec![first] }
    }
}

/// Shows the costs, and none of the keys.
impl<L: Limit> fmt::Debug for Limits<'_, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let costs = self.asked.iter().map(|asked| asked.cost);
        f.debug_tuple("Limits").field(&costs.collect::<Vec<_>>()).finish()
    }
}

impl<B: SyncBackend> Limits<'_, Limiter<B>> {
    /// Spends all the costs, if every limit admits its own.
    ///
    /// # Errors
    ///
    /// When no decision was made; [`Error::DifferentStores`] if they cannot be asked as one.
    pub fn check(&self) -> Result<Answer, Error> {
        self.apply(Action::Spend)
    }

    /// Tells what [`check`](Self::check) would answer, and changes nothing.
    ///
    /// # Errors
    ///
    /// As [`check`](Self::check).
    pub fn peek(&self) -> Result<Answer, Error> {
        self.apply(Action::Peek)
    }

    fn apply(&self, action: Action) -> Result<Answer, Error> {
        let mut merged = Merged::default();
        merged.ask(&self.asked)?;
        let decisions = self.asked[0].backend.apply_now(merged.batch(), action)?;
        merged.answer(decisions)
    }
}

impl<B: Backend> Limits<'_, AsyncLimiter<B>> {
    /// Spends all the costs, if every limit admits its own.
    ///
    /// # Errors
    ///
    /// When no decision was made; [`Error::DifferentStores`] if they cannot be asked as one.
    pub async fn check(&self) -> Result<Answer, Error> {
        self.apply(Action::Spend).await
    }

    /// [`check`](Self::check) on a store that answers at once; `None`, and nothing charged, on one
    /// that has to be awaited.
    ///
    /// # Errors
    ///
    /// As [`check`](Self::check).
    #[must_use = "an answer that nobody looks at limits nothing"]
    pub fn check_now(&self) -> Option<Result<Answer, Error>> {
        self.apply_if_ready(Action::Spend)
    }

    /// Tells what [`check`](Self::check) would answer, and changes nothing.
    ///
    /// # Errors
    ///
    /// As [`check`](Self::check).
    pub async fn peek(&self) -> Result<Answer, Error> {
        self.apply(Action::Peek).await
    }

    /// First without waiting, as an [`AsyncLimiter`] does.
    async fn apply(&self, action: Action) -> Result<Answer, Error> {
        if let Some(answer) = self.apply_if_ready(action) {
            return answer;
        }
        let mut merged = Merged::default();
        merged.ask(&self.asked)?;
        let decisions = self.asked[0].backend.apply(merged.batch(), action).await?;
        merged.answer(decisions)
    }

    fn apply_if_ready(&self, action: Action) -> Option<Result<Answer, Error>> {
        let mut merged = Merged::default();
        if let Err(error) = merged.ask(&self.asked) {
            return Some(Err(error));
        }
        let decisions = self.asked[0].backend.apply_if_ready(merged.batch(), action)?;
        Some(decisions.map_err(Error::from).and_then(|decisions| merged.answer(decisions)))
    }
}

/// The answer about several limits, of which there is at least one.
#[must_use = "an answer that nobody looks at limits nothing"]
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Answer {
    each: Vec<Decision>,
    bound: usize,
    bound_policy: Policy,
}

impl Answer {
    /// Whether every limit admitted, so that all of them were charged.
    #[must_use]
    pub fn is_allowed(&self) -> bool {
        self.each.iter().all(Decision::is_allowed)
    }

    /// The time until all of them would admit, if nobody else spends; zero when they did.
    #[must_use]
    pub fn retry_after(&self) -> Micros {
        self.each[self.bound].retry_after()
    }

    /// The decision of each limit, in the order in which they were named.
    ///
    /// Where the whole was admitted they describe the keys after the charge; where it was not, as
    /// they stand, and an `Allow` among them says that this limit alone would have admitted.
    pub fn each(&self) -> &[Decision] {
        &self.each
    }

    /// Which limit bound: of those that denied the one with the longest wait, else the one with
    /// the least remaining.
    #[must_use]
    pub const fn bound(&self) -> usize {
        self.bound
    }

    /// The name of the limit that bound.
    #[must_use]
    pub fn bound_name(&self) -> &str {
        self.bound_policy.name()
    }
}

/// The question as the store is asked it: every policy and key once. It is filled where it lies,
/// since it is too large to be moved for nothing.
#[derive(Default)]
pub(crate) struct Merged<'a> {
    pub(crate) checks: SmallVec<[Check<'a>; FEW]>,
    /// For each limit that was named, which of the checks is about it; none where each has its own.
    positions: Vec<usize>,
}

/// Limits that are merged without an allocation.
const FEW: usize = 16;

impl<'a> Merged<'a> {
    #[inline(always)]
    pub(crate) fn ask<B: Backend>(&mut self, asked: &'a [Question<'_, B>]) -> Result<(), Error> {
        for question in asked {
            if !question.backend.names().is(asked[0].backend.names()) {
                return Err(Error::DifferentStores);
            }
            self.checks.push(question.as_check()?);
        }
        if Batch::new(&self.checks).is_none() {
            self.merge()?;
        }
        Ok(())
    }

    /// On one store equal names mean equal policies, so costs can be added up. (Where a policy has
    /// changed between two mentions of a key, the first one counts.)
    #[cold]
    fn merge(&mut self) -> Result<(), Error> {
        for check in take(&mut self.checks) {
            match self.checks.iter().position(|known| known.is_about(&check)) {
                None => {
                    self.positions.push(self.checks.len());
                    self.checks.push(check);
                }
                Some(position) => {
                    let known = &mut self.checks[position];
                    let cost = known.cost().get().saturating_add(check.cost().get());
                    *known = Check::new(known.policy(), check.key(), cost)?;
                    self.positions.push(position);
                }
            }
        }
        Ok(())
    }

    /// Which of the checks is about the limit that was named at `index`.
    pub(crate) fn position(&self, index: usize) -> usize {
        self.positions.get(index).copied().unwrap_or(index)
    }

    fn batch(&self) -> Batch<'_> {
        Batch::new(&self.checks).expect("`ask` leaves no two checks about the same")
    }

    fn answer(&self, decisions: Decisions) -> Result<Answer, Error> {
        if decisions.len() != self.checks.len() {
            return Err(BackendError::unknown(ErrorKind::Protocol).into());
        }
        let each: Vec<_> = if self.positions.is_empty() {
            decisions.into()
        } else {
            self.positions.iter().map(|&position| decisions[position]).collect()
        };
        let urgency = |decision: &Decision| (Reverse(decision.retry_after()), decision.remaining);
        let bound = (0..each.len()).min_by_key(|&index| urgency(&each[index]));
        let bound = bound.unwrap_or_default();
        let bound_policy = self.checks[self.position(bound)].policy().clone();
        Ok(Answer { each, bound, bound_policy })
    }
}
