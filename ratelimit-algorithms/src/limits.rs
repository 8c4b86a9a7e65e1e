//! Several limits at once: all of them admit and are charged, or none is.

use std::fmt;

use ratelimit_backend::{Backend, BackendError, ErrorKind, SyncBackend};
use ratelimit_core::{Action, Batch, Check, Decision, Decisions, Key, Micros, Policy};

use crate::{AsyncLimiter, Error, Limiter};

/// Limits to be asked together, each with a key and a cost of its own.
///
/// All of them have to be on the same store. A limit that is named twice with the same key is
/// charged the sum of the costs, and answers once for each.
#[must_use = "limits do nothing unless they are checked"]
#[derive(Clone)]
pub struct Limits<'a, L> {
    first: Asked<'a, L>,
    more: Vec<Asked<'a, L>>,
}

#[derive(Clone, Copy)]
struct Asked<'a, L> {
    limiter: &'a L,
    key: &'a [u8],
    cost: u64,
}

impl<'a, L> Limits<'a, L> {
    /// The first of several limits.
    pub fn of(limiter: &'a L, key: &'a (impl AsRef<[u8]> + ?Sized), cost: u64) -> Self {
        Self { first: Asked { limiter, key: key.as_ref(), cost }, more: Vec::new() }
    }

    /// One more limit.
    pub fn and(mut self, limiter: &'a L, key: &'a (impl AsRef<[u8]> + ?Sized), cost: u64) -> Self {
        self.more.push(Asked { limiter, key: key.as_ref(), cost });
        self
    }

    fn asked(&self) -> impl Iterator<Item = &Asked<'a, L>> {
        std::iter::once(&self.first).chain(&self.more)
    }
}

/// Shows the costs, and none of the keys.
impl<L> fmt::Debug for Limits<'_, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let costs = self.asked().map(|asked| asked.cost);
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
        let asked = self.asked().map(|asked| asked.about(asked.limiter.as_async()));
        let merged = Merged::new(asked)?;
        let backend = self.first.limiter.as_async().backend();
        merged.answer(&backend.apply_now(merged.batch(), action)?)
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
    pub fn check_now(&self) -> Option<Result<Answer, Error>> {
        let merged = match self.merged() {
            Ok(merged) => merged,
            Err(error) => return Some(Err(error)),
        };
        let backend = self.first.limiter.backend();
        let decisions = backend.apply(merged.batch(), Action::Spend).into_ready()?;
        Some(decisions.map_err(Error::from).and_then(|decisions| merged.answer(&decisions)))
    }

    /// Tells what [`check`](Self::check) would answer, and changes nothing.
    ///
    /// # Errors
    ///
    /// As [`check`](Self::check).
    pub async fn peek(&self) -> Result<Answer, Error> {
        self.apply(Action::Peek).await
    }

    async fn apply(&self, action: Action) -> Result<Answer, Error> {
        let merged = self.merged()?;
        let backend = self.first.limiter.backend();
        merged.answer(&backend.apply(merged.batch(), action).await?)
    }

    fn merged(&self) -> Result<Merged<'_>, Error> {
        Merged::new(self.asked().map(|asked| asked.about(asked.limiter)))
    }
}

/// The answer about several limits, of which there is at least one.
#[must_use = "an answer that nobody looks at limits nothing"]
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Answer {
    each: Vec<Decision>,
    bound: usize,
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
}

/// One limit's part in the question, and the store that it is on.
struct About<'a, B> {
    backend: &'a B,
    policy: &'a Policy,
    key: &'a [u8],
    cost: u64,
}

impl<'a, L> Asked<'a, L> {
    const fn about<B: Backend>(&self, limiter: &'a AsyncLimiter<B>) -> About<'a, B> {
        let (backend, policy) = (limiter.backend(), limiter.policy());
        About { backend, policy, key: self.key, cost: self.cost }
    }
}

/// The question as the store is asked it: every policy and key once.
struct Merged<'a> {
    checks: Vec<Check<'a>>,
    /// For each limit that was named, which of the checks is about it.
    positions: Vec<usize>,
}

impl<'a> Merged<'a> {
    fn new<B: Backend + 'a>(asked: impl Iterator<Item = About<'a, B>>) -> Result<Self, Error> {
        let mut merged = Self { checks: Vec::new(), positions: Vec::new() };
        let mut store = None;
        for About { backend, policy, key, cost } in asked {
            if !store.get_or_insert_with(|| backend.names()).is(backend.names()) {
                return Err(Error::DifferentStores);
            }
            merged.add(Check::new(policy, Key::new(key)?, cost)?)?;
        }
        Ok(merged)
    }

    /// On one store equal names mean equal policies, so costs can be added up.
    fn add(&mut self, check: Check<'a>) -> Result<(), Error> {
        match self.checks.iter().position(|known| known.is_about(&check)) {
            None => {
                self.positions.push(self.checks.len());
                self.checks.push(check);
            }
            Some(position) => {
                let cost = self.checks[position].cost().get().saturating_add(check.cost().get());
                self.checks[position] = Check::new(check.policy(), check.key(), cost)?;
                self.positions.push(position);
            }
        }
        Ok(())
    }

    fn batch(&self) -> Batch<'_> {
        Batch::new(&self.checks).expect("`add` leaves no two checks about the same")
    }

    fn answer(&self, decisions: &Decisions) -> Result<Answer, Error> {
        let decision = |&position: &usize| decisions.get(position).copied();
        let each: Option<Vec<_>> = self.positions.iter().map(decision).collect();
        let each = each.ok_or(BackendError::unknown(ErrorKind::Protocol))?;
        let urgency = |decision: &Decision| {
            (!decision.is_allowed(), decision.retry_after(), u64::MAX - decision.remaining)
        };
        let bound = (0..each.len()).rev().max_by_key(|&index| urgency(&each[index]));
        Ok(Answer { each, bound: bound.unwrap_or_default() })
    }
}
