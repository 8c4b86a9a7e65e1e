//! States of three words, stepped without a record around them.
//!
//! Most states are an instant and two numbers. A store that keeps many keys in memory can keep such
//! a state beside its policy, in 32 bytes, and step it where it lies. It goes through the same
//! functions as a state in a [`Record`]; once these are inlined, it does not leave the registers.

use super::record::Record;
use crate::{
    Cost, Decision, Micros, Outcome, Policy, Timestamp,
    algorithm::{Listed, State, definition::Definition, with_quota},
    decision::Standing,
};

/// A state of three words. It does not know its policy: the store keeps that beside it, and gives
/// it to every call.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct CompactState([u64; 3]);

impl CompactState {
    /// Charges `cost` if it fits, as [`Action::Spend`](crate::Action::Spend) does for one check.
    ///
    /// `None` if the states of such a policy are not compact.
    #[inline(always)]
    pub fn spend(&mut self, policy: &Policy, cost: Cost, now: Timestamp) -> Option<Outcome> {
        with_quota!(policy.algorithm(), quota => spend(quota, &mut self.0, cost, now))
    }

    /// Brings the state up to `now` and decides whether `cost` fits: for a batch, which charges all
    /// of its checks or none.
    ///
    /// `None` if the states of such a policy are not compact.
    #[inline(always)]
    pub fn outcome(&mut self, policy: &Policy, cost: Cost, now: Timestamp) -> Option<Outcome> {
        with_quota!(policy.algorithm(), quota => outcome(quota, &mut self.0, cost, now))
    }

    /// Charges a `cost` that fits, by the [`outcome`](Self::outcome) of just now.
    #[inline(always)]
    pub fn charge(&mut self, policy: &Policy, cost: Cost, now: Timestamp) {
        with_quota!(policy.algorithm(), quota => charge(quota, &mut self.0, cost, now));
    }

    /// The decision about a request with this outcome that has left the state like this.
    #[inline(always)]
    pub fn decision(&self, policy: &Policy, outcome: Outcome, now: Timestamp) -> Decision {
        with_quota!(policy.algorithm(), quota => decision(quota, self.0, outcome, now))
    }

    /// The time from `now` until the state may be dropped.
    #[must_use]
    pub fn lifetime(&self, policy: &Policy, now: Timestamp) -> Micros {
        with_quota!(policy.algorithm(), quota => lifetime(quota, self.0, now))
            .unwrap_or(Micros::ZERO)
    }
}

#[inline(always)]
fn spend<A: Definition>(
    quota: &A,
    words: &mut [u64; 3],
    cost: Cost,
    now: Timestamp,
) -> Option<Outcome> {
    let mut state = A::expand(*words)?;
    quota.rewind(&mut state, now);
    quota.renew(&mut state, now);
    let outcome = quota.outcome(&state, now, cost);
    if outcome.is_allow() {
        quota.charge(&mut state, now, cost);
    }
    *words = A::compact(&state)?;
    Some(outcome)
}

#[inline(always)]
fn outcome<A: Definition>(
    quota: &A,
    words: &mut [u64; 3],
    cost: Cost,
    now: Timestamp,
) -> Option<Outcome> {
    let mut state = A::expand(*words)?;
    quota.rewind(&mut state, now);
    quota.renew(&mut state, now);
    *words = A::compact(&state)?;
    Some(quota.outcome(&state, now, cost))
}

#[inline(always)]
fn charge<A: Definition>(
    quota: &A,
    words: &mut [u64; 3],
    cost: Cost,
    now: Timestamp,
) -> Option<()> {
    let mut state = A::expand(*words)?;
    quota.charge(&mut state, now, cost);
    *words = A::compact(&state)?;
    Some(())
}

#[inline(always)]
fn decision<A: Definition>(
    quota: &A,
    words: [u64; 3],
    outcome: Outcome,
    now: Timestamp,
) -> Decision {
    let state = A::expand(words);
    let standing = state.map_or(Standing::NONE, |state| quota.standing(&state, now));
    standing.with(outcome, A::KIND, now)
}

fn lifetime<A: Definition>(quota: &A, words: [u64; 3], now: Timestamp) -> Option<Micros> {
    Some(quota.lifetime(&A::expand(words)?, now))
}

impl Record {
    /// Takes the record apart into its policy and a compact state.
    ///
    /// # Errors
    ///
    /// The record itself, if its state takes more than three words or there is a block.
    pub fn into_compact(self) -> Result<(Policy, CompactState), Self> {
        fn words<A: Listed>(quota: &A, state: &State) -> Option<[u64; 3]> {
            A::compact(quota.state(state)?)
        }
        let words = with_quota!(self.under.algorithm(), quota => words(quota, &self.state));
        match words.filter(|_| self.block.is_none()) {
            Some(words) => Ok((self.under, CompactState(words))),
            None => Err(self),
        }
    }

    /// The record of a compact state under `policy`; `None` if the states of such a policy are not
    /// compact.
    #[must_use]
    pub fn from_compact(policy: Policy, state: CompactState) -> Option<Self> {
        fn wrap<A: Listed>(quota: &A, words: [u64; 3]) -> Option<State> {
            Some(quota.wrap(A::expand(words)?))
        }
        let state = with_quota!(policy.algorithm(), quota => wrap(quota, state.0))?;
        Some(Self { under: policy, state, block: None })
    }
}
