//! What is said of a limit's policy every time, reckoned once for each policy that it has had.

use std::sync::{Arc, PoisonError, RwLock};

use ratelimit_algorithms::{Decision, Policy};

use super::{
    QuotaUnit,
    draft::{Item, Items},
};

/// The items of the policy that a limit had from the start, and of those that it has had since.
#[derive(Clone, Debug)]
pub(super) struct Known {
    first: Policy,
    unit: Option<QuotaUnit>,
    items: Items,
    others: Arc<RwLock<Vec<(Policy, Items)>>>,
}

impl Known {
    pub(super) fn new(first: &Policy) -> Self {
        let items = Items::new(first, None);
        Self { first: first.clone(), unit: None, items, others: Arc::default() }
    }

    pub(super) fn count(&mut self, unit: QuotaUnit) {
        self.unit = Some(unit);
        self.items = Items::new(&self.first, self.unit);
        self.others = Arc::default();
    }

    /// Whether the limit had this policy from the start.
    pub(super) fn is_about(&self, policy: &Policy) -> bool {
        self.first.is(policy)
    }

    /// What is to be said of a decision by `policy`, or else by the first, about whoever is called
    /// `partition`.
    pub(super) fn item(
        &self,
        decision: &Decision,
        policy: Option<&Policy>,
        partition: Option<&str>,
    ) -> Item {
        match policy {
            Some(policy) if !self.is_about(policy) => {
                self.items_of(policy).item(decision, partition)
            }
            _ => self.items.item(decision, partition),
        }
    }

    fn items_of(&self, policy: &Policy) -> Items {
        // A poisoned lock is as good as any: nothing is ever half changed.
        let others = self.others.read().unwrap_or_else(PoisonError::into_inner);
        let known = others.iter().find(|(known, _)| known.is(policy));
        if let Some((_, items)) = known {
            return items.clone();
        }
        drop(others);
        let items = Items::new(policy, self.unit);
        let mut others = self.others.write().unwrap_or_else(PoisonError::into_inner);
        if others.len() == OTHERS_MAX {
            others.clear();
        }
        others.push((policy.clone(), items.clone()));
        items
    }
}

/// More than an application has tiers, if it has few; those of past updates are among them.
const OTHERS_MAX: usize = 64;
