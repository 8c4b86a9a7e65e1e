//! States of three words, stepped without a record around them.
//!
//! Most states are an instant and two numbers. A store that keeps many keys in memory can keep such
//! a state beside its policy, in 32 bytes, and step it where it lies. It goes through the same
//! functions as a state in a [`Record`]; once these are inlined, it does not leave the registers.

use super::{key_state::KeyState, record::Record};
use crate::{
    Cost, Decision, Micros, Outcome, Policy, Timestamp,
    algorithm::{Listed, State, definition::Definition, with_quota},
    decision::Standing,
};

/// A state of three words. It does not know its policy: the store keeps that beside it, and gives
/// it to every call.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct CompactState([u64; 3]);

/// A step of a compact state: its outcome, and the state that it leaves.
#[derive(Clone, Copy, Debug)]
#[must_use = "a step changes nothing until it is stored"]
pub struct CompactStep {
    outcome: Outcome,
    /// Permits charged.
    permits: u64,
    /// The state as the instant of the step finds it, with the permits charged.
    left: [u64; 3],
}

impl CompactState {
    /// Spends on a key never seen. Returns the step, and the state to store with the time from `now` until
    /// it may be dropped; no state if a fresh one is as good.
    ///
    /// `None` if the states of such a policy are not compact.
    #[must_use = "nobody else stores the state"]
    pub fn begin(
        policy: &Policy,
        cost: Cost,
        now: Timestamp,
    ) -> Option<(CompactStep, Option<(Self, Micros)>)> {
        with_quota!(policy.algorithm(), quota => {
            let mut state = Self(quota.fresh(now).compact()?);
            let step = state.spend_under(quota, cost, now)?;
            let lifetime = lifetime(quota, state.0, now)?;
            Some((step, (!lifetime.is_zero()).then_some((state, lifetime))))
        })
    }

    /// Decides at `now` whether `cost` fits, as one of a batch: nothing is changed yet. A batch that
    /// fits is [stored](Self::store); one that does not is [denied](Self::deny).
    ///
    /// `None` if the states of such a policy are not compact.
    #[must_use = "a step changes nothing until it is stored"]
    #[inline(always)]
    pub fn step(&self, policy: &Policy, cost: Cost, now: Timestamp) -> Option<CompactStep> {
        with_quota!(policy.algorithm(), quota => Some(step(quota, self.0, cost, now)?.charged))
    }

    /// Charges the step that was made of this state.
    #[inline(always)]
    pub const fn store(&mut self, step: &CompactStep) {
        self.0 = step.left;
    }

    /// Makes the step of a batch that is denied: it charges nothing, whether or not `cost` fits.
    ///
    /// `None` if the states of such a policy are not compact.
    pub fn deny(&mut self, policy: &Policy, cost: Cost, now: Timestamp) -> Option<CompactStep> {
        with_quota!(policy.algorithm(), quota => {
            let Step { rewound, found, charged } = step(quota, self.0, cost, now)?;
            self.0 = rewound;
            Some(CompactStep { permits: 0, left: found, ..charged })
        })
    }

    /// Charges the state of a check alone if the cost fits.
    ///
    /// `None` if the states of such a policy are not compact.
    #[inline(always)]
    pub fn spend(&mut self, policy: &Policy, cost: Cost, now: Timestamp) -> Option<CompactStep> {
        with_quota!(policy.algorithm(), quota => self.spend_under(quota, cost, now))
    }

    #[inline(always)]
    fn spend_under<A: Definition>(
        &mut self,
        quota: &A,
        cost: Cost,
        now: Timestamp,
    ) -> Option<CompactStep> {
        let Step { rewound, charged, .. } = step(quota, self.0, cost, now)?;
        self.0 = if charged.is_allowed() { charged.left } else { rewound };
        Some(charged)
    }

    /// The time from `now` until the state may be dropped.
    #[must_use]
    pub fn lifetime(&self, policy: &Policy, now: Timestamp) -> Micros {
        with_quota!(policy.algorithm(), quota => lifetime(quota, self.0, now))
            .unwrap_or(Micros::ZERO)
    }
}

impl CompactStep {
    /// Returns true if the request fits.
    #[must_use]
    #[inline(always)]
    pub const fn is_allowed(&self) -> bool {
        self.outcome.is_allow()
    }

    /// The decision, once the step has been stored, or denied.
    #[inline(always)]
    pub fn decision(&self, policy: &Policy, now: Timestamp) -> Decision {
        with_quota!(policy.algorithm(), quota => decision(quota, self, now))
    }
}

/// A step, and the states that it passes through.
struct Step {
    /// To be kept if nothing is charged.
    rewound: [u64; 3],
    /// As the instant of the step finds it.
    found: [u64; 3],
    charged: CompactStep,
}

#[inline(always)]
fn step<A: Definition>(quota: &A, words: [u64; 3], cost: Cost, now: Timestamp) -> Option<Step> {
    let mut state = A::State::expand(words)?;
    quota.rewind(&mut state, now);
    quota.renew(&mut state, now);
    let rewound = state.compact()?;
    let mut state = quota.found(&state, now).unwrap_or(state);
    let outcome = quota.outcome(&state, now, cost);
    let found = state.compact()?;
    if outcome.is_allow() {
        quota.charge(&mut state, now, cost);
    }
    let charged = CompactStep { outcome, permits: cost.get(), left: state.compact()? };
    Some(Step { rewound, found, charged })
}

#[inline(always)]
fn decision<A: Definition>(quota: &A, step: &CompactStep, now: Timestamp) -> Decision {
    let standing = match A::State::expand(step.left) {
        Some(state) => quota.standing(&state, now),
        None => Standing::NONE,
    };
    standing.with((step.outcome, step.permits), A::KIND, now)
}

fn lifetime<A: Definition>(quota: &A, words: [u64; 3], now: Timestamp) -> Option<Micros> {
    Some(quota.lifetime(&A::State::expand(words)?, now))
}

impl Record {
    /// Takes the record apart into its policy and a compact state.
    ///
    /// # Errors
    ///
    /// The record itself, if its state takes more than three words, there is a debt or a block, or states
    /// under earlier numbers are kept.
    pub fn into_compact(self) -> Result<(Policy, CompactState), Self> {
        fn words<A: Listed>(quota: &A, state: &State) -> Option<[u64; 3]> {
            quota.state(state)?.compact()
        }
        let words = with_quota!(self.under.algorithm(), quota => words(quota, &self.state));
        match words.filter(|_| self.is_plain()) {
            Some(words) => Ok((self.under, CompactState(words))),
            None => Err(self),
        }
    }

    /// The record of a compact state under `policy`; `None` if the states of such a policy are not
    /// compact.
    #[must_use]
    pub fn from_compact(policy: Policy, state: CompactState) -> Option<Self> {
        fn wrap<A: Listed>(quota: &A, words: [u64; 3]) -> Option<State> {
            Some(quota.wrap(A::State::expand(words)?))
        }
        let state = with_quota!(policy.algorithm(), quota => wrap(quota, state.0))?;
        Some(Self { under: policy, state, owed: 0, block: None, earlier: None })
    }
}
