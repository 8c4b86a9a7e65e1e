//! A batch that outlives its caller.

use ratelimit_core::{Batch, Check, Decision, Key, Policy, Receipt};

/// The checks of a batch, with all that they borrow.
pub(crate) struct OwnedBatch(Vec<OwnedCheck>);

struct OwnedCheck {
    policy: Policy,
    key: Vec<u8>,
    cost: u64,
    receipt: Option<Receipt>,
}

impl From<Batch<'_>> for OwnedBatch {
    fn from(batch: Batch<'_>) -> Self {
        let own = |check: &Check<'_>| OwnedCheck {
            policy: check.policy().clone(),
            key: check.key().as_bytes().to_owned(),
            cost: check.cost().get(),
            receipt: check.receipt(),
        };
        Self(batch.checks().iter().map(own).collect())
    }
}

impl OwnedBatch {
    /// The checks; they are as good as those that they were made of.
    pub(crate) fn checks(&self) -> Option<Vec<Check<'_>>> {
        self.0.iter().map(OwnedCheck::check).collect()
    }

    /// The permits that `decisions` hold of it, to be given back; `None` if there are none.
    pub(crate) fn held(&self, decisions: &[Decision]) -> Option<Self> {
        if !decisions.iter().all(Decision::is_allowed) {
            return None;
        }
        let held = |(check, decision): (&OwnedCheck, _)| check.held(decision);
        let held: Vec<_> = self.0.iter().zip(decisions).filter_map(held).collect();
        (!held.is_empty()).then_some(Self(held))
    }
}

impl OwnedCheck {
    fn check(&self) -> Option<Check<'_>> {
        let Self { policy, key, cost, receipt } = self;
        Some(Check::new(policy, Key::new(key).ok()?, *cost).ok()?.with_receipt(*receipt))
    }

    fn held(&self, decision: &Decision) -> Option<Self> {
        let receipt = Some(Receipt::of(decision, &self.policy, self.cost));
        let Self { policy, key, cost, .. } = self;
        let holds = policy.algorithm().holds_permits();
        holds.then(|| Self { policy: policy.clone(), key: key.clone(), cost: *cost, receipt })
    }
}
