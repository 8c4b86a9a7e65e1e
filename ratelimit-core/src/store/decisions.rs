//! The decisions of a batch.

use alloc::vec::Vec;
use core::ops::Deref;

use crate::Decision;

/// The decisions of a batch, one for each check, in order.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Decisions(Repr);

/// One decision, the common case, is kept in place.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Repr {
    One([Decision; 1]),
    Many(Vec<Decision>),
}

impl Decisions {
    /// The first decision.
    #[must_use]
    #[inline(always)]
    pub fn into_first(self) -> Option<Decision> {
        match &self.0 {
            Repr::One([decision]) => Some(*decision),
            Repr::Many(decisions) => first_of(decisions),
        }
    }
}

/// All decisions; several are moved as they are.
impl From<Decisions> for Vec<Decision> {
    fn from(decisions: Decisions) -> Self {
        match decisions.0 {
            Repr::One(decision) => decision.into(),
            Repr::Many(decisions) => decisions,
        }
    }
}

/// Out of line, so that the compiler keeps the common case in registers.
#[cold]
fn first_of(decisions: &[Decision]) -> Option<Decision> {
    decisions.first().copied()
}

impl Deref for Decisions {
    type Target = [Decision];

    fn deref(&self) -> &[Decision] {
        match &self.0 {
            Repr::One(decision) => decision,
            Repr::Many(decisions) => decisions,
        }
    }
}

impl From<Decision> for Decisions {
    #[inline(always)]
    fn from(decision: Decision) -> Self {
        Self(Repr::One([decision]))
    }
}

impl FromIterator<Decision> for Decisions {
    fn from_iter<I: IntoIterator<Item = Decision>>(decisions: I) -> Self {
        Self(Repr::Many(decisions.into_iter().collect()))
    }
}
