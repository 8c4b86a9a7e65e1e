//! What an algorithm is made of: a few small functions over its own state.
//!
//! The six modules beside this one implement [`Arithmetic`]; the [`Meter`](crate::meter::Meter)
//! writes the step once over all of them. None of the functions can fail: whatever could go
//! wrong went wrong in the constructor of the quota or of the cost.

use crate::{Cost, Micros, Outcome, Receipt, Timestamp, decision::Standing};

/// One algorithm's arithmetic.
pub(crate) trait Arithmetic: Copy {
    /// What is kept per key.
    type State;

    /// The state of a key never seen.
    fn fresh(&self, now: Timestamp) -> Self::State;

    /// Pulls whatever the state dates later than `now` back to `now`, quantities kept.
    ///
    /// So a clock that steps back grants nothing, and delays by one window at most.
    fn rewind(&self, state: &mut Self::State, now: Timestamp);

    /// Starts a state anew that has been kept for its [`lifetime`](Self::lifetime), where that
    /// makes a difference; so it does not matter whether a store has dropped it.
    fn renew(&self, _: &mut Self::State, _: Timestamp) {}

    /// Whether a request of `cost` fits; if not, when it would.
    fn outcome(&self, state: &Self::State, now: Timestamp, cost: Cost) -> Outcome;

    /// Charges a request of `cost` that fits, at the load that it found.
    fn charge(&self, state: &mut Self::State, now: Timestamp, cost: Cost);

    /// Lets a load sensor know that a request was admitted.
    fn record_load(&self, _: &mut Self::State, _: Timestamp) {}

    /// Gives back up to `cost` of what is charged now, newest first; never more than that.
    fn refund(&self, state: &mut Self::State, now: Timestamp, cost: Cost);

    /// Gives back up to `cost` of what is left of the charge that `receipt` is of.
    fn settle(&self, state: &mut Self::State, now: Timestamp, cost: Cost, receipt: Receipt);

    /// How the key stands.
    fn standing(&self, state: &Self::State, now: Timestamp) -> Standing;

    /// The time until the state may be forgotten, because a fresh one is as good.
    fn lifetime(&self, state: &Self::State, now: Timestamp) -> Micros {
        self.standing(state, now).reset_after
    }

    /// Multiplies what is stored by this quota's size over that of `from`, against the caller.
    fn scale(&self, from: &Self, state: &mut Self::State);

    /// Reads a state written under `from` as one of this quota: quantities stay, units change.
    fn adopt(&self, from: &Self, state: &mut Self::State, now: Timestamp);
}

/// An algorithm whose state is a few numbers: brought up to an instant once, and looked at there
/// more than once.
pub(crate) trait Counted: Arithmetic<State: Copy> {
    /// The state as `now` finds it.
    fn at(&self, state: Self::State, now: Timestamp) -> Self::State;

    /// How the key stands whose state `now` has found so.
    fn standing_at(&self, found: Self::State, now: Timestamp) -> Standing;
}
