//! Checks that know the policy they will be decided by, and the batch that they make together.

use std::{borrow::Cow, fmt, mem::take};

use ratelimit_core::{Batch, Check, Decision, Policy, store::Decisions};
use smallvec::SmallVec;

use crate::{
    Error, Policies,
    request::{Subject, check},
    wait::WaitQueues,
};

/// A cost of a key, under the policy that the key had when the check was prepared.
#[must_use = "a prepared check does nothing unless it is made"]
pub struct PreparedCheck<'a, B> {
    pub(crate) backend: &'a B,
    /// Knows the policy that the key has by now.
    pub(crate) policies: &'a dyn Policies,
    pub(crate) policy: Cow<'a, Policy>,
    pub(crate) queues: &'a WaitQueues,
    pub(crate) key: &'a [u8],
    pub(crate) cost: u64,
}

impl<'a, B, P: Policies> Subject<'a, B, P> {
    /// A check of `cost` permits, under the policy that the key has now.
    pub(crate) fn prepare(self, cost: u64) -> PreparedCheck<'a, B> {
        let Self { backend, policies, queues, key, .. } = self;
        PreparedCheck { backend, policies, policy: policies.policy(key), queues, key, cost }
    }
}

impl<B> PreparedCheck<'_, B> {
    pub(crate) fn as_check(&self) -> Result<Check<'_>, Error> {
        check(&self.policy, self.key, self.cost)
    }
}

impl<B> Clone for PreparedCheck<'_, B> {
    fn clone(&self) -> Self {
        Self { policy: self.policy.clone(), ..*self }
    }
}

/// Shows no key.
impl<B> fmt::Debug for PreparedCheck<'_, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { policy, cost, .. } = self;
        let mut shown = f.debug_struct("PreparedCheck");
        shown.field("policy", policy).field("cost", cost).finish_non_exhaustive()
    }
}

/// Checks as a store gets them: each policy and key once. It is filled where it lies, since it is
/// too large to be moved for nothing.
#[derive(Default)]
pub(crate) struct Merged<'a> {
    pub(crate) checks: SmallVec<[Check<'a>; FEW]>,
    /// The index in `checks` for each check that was merged; empty where all have their own.
    positions: Vec<usize>,
}

/// Checks that are merged without an allocation.
const FEW: usize = 16;

impl<'a> Merged<'a> {
    #[inline(always)]
    pub(crate) fn fill<B: 'a>(
        &mut self,
        prepared: impl Iterator<Item = &'a PreparedCheck<'a, B>>,
    ) -> Result<(), Error> {
        for check in prepared {
            self.checks.push(check.as_check()?);
        }
        if Batch::new(&self.checks).is_none() {
            self.merge()?;
        }
        Ok(())
    }

    /// On one store equal names mean equal policies, so costs can be added up. (If a policy has
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

    pub(crate) fn batch(&self) -> Batch<'_> {
        batch(&self.checks)
    }

    /// The index in `checks` of the check that was the `index`th to be merged.
    pub(crate) fn position(&self, index: usize) -> usize {
        self.positions.get(index).copied().unwrap_or(index)
    }

    /// The decisions about the merged checks, one for each check that was merged.
    pub(crate) fn spread(&self, decisions: Decisions) -> Vec<Decision> {
        if self.positions.is_empty() {
            return decisions.into();
        }
        self.positions.iter().map(|&position| decisions[position]).collect()
    }
}

/// A batch of checks that are known to be about different states.
pub(crate) fn batch<'a>(checks: &'a [Check<'a>]) -> Batch<'a> {
    Batch::new(checks).expect("merged checks are about different states")
}
