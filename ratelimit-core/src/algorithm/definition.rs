//! The definition of an algorithm: its numbers, its state, and a few small functions over both.
//!
//! The files beside this one implement [`Definition`]; [`step`](crate::step) is written once over
//! all of them. No function of a step can fail: whatever could go wrong went wrong in the
//! constructor of the quota or of the cost.

use alloc::vec::Vec;
use core::num::NonZeroU64;

use crate::{
    CarryOver, ConfigError, Cost, Decision, Fraction, Micros, Outcome, Receipt, Timestamp,
    decision::Standing,
    number::encoding::Reader,
    state::{key_state::KeyState, sensor::SubWindow},
};

/// The numbers of a limit that every policy tells.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    /// The most permits that a key as good as new has.
    pub(crate) limit: u64,
    /// The time in which a key that has spent everything is whole again, if that is always the same.
    pub(crate) window: Option<Micros>,
    /// The rate in the long run, in permits per microsecond.
    pub(crate) rate: Fraction,
}

impl Size {
    /// `limit` permits per `window` of so many microseconds.
    pub(crate) const fn per_window(limit: NonZeroU64, window: NonZeroU64) -> Self {
        let rate = Fraction { numerator: limit.get(), denominator: window };
        Self { limit: limit.get(), window: Some(Micros::new(window.get())), rate }
    }
}

/// The effect of leases on the bound of an algorithm.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Leasing {
    /// The most permits above the bound, whatever the number of holders.
    pub(crate) excess_max: u64,
    /// A permit lapses with the window that it was charged in.
    pub(crate) ends_with_window: bool,
}

/// One algorithm, with its numbers.
pub(crate) trait Definition: Clone + Eq + Sized {
    /// The state of a key.
    type State: Clone + KeyState;

    /// The numbers that it decided by, for those who look.
    type Detail;

    /// The name, in words.
    const NAME: &'static str;

    /// The number that marks its states in a store: at most 15, and none that marks what lies around a
    /// state (`store/encode.rs`).
    const KIND: u8;

    /// True if a charge is held until it is given back by its receipt, which names it whatever numbers
    /// and times have come since.
    ///
    /// Such a state is the same under all numbers: none is kept beside it when they change.
    const HOLDS_PERMITS: bool = false;

    /// The limit, the window and the rate, which every policy tells.
    fn size(&self) -> Size;

    /// The length of the window around `now`, where windows differ.
    fn window_at(&self, _: Timestamp) -> Option<Micros> {
        self.size().window
    }

    /// The numbers that its constructor takes, to be stored.
    fn numbers(&self) -> Vec<u64>;

    /// Builds it anew from its [`numbers`](Self::numbers).
    fn read(input: &mut Reader<'_>) -> Option<Self>;

    /// The numbers that its steps compute with at about `now`, by name: for a store that runs the step
    /// elsewhere.
    fn terms(&self, now: Timestamp) -> Vec<(&'static str, u64)>;

    /// Reads a state from its [`words`](KeyState::words); `None` for a state that no step leaves.
    fn read_state(&self, input: &mut Reader<'_>) -> Option<Self::State>;

    /// The number that marks a shared load sensor in a store, if there is such a thing.
    const SENSOR_KIND: Option<u8> = None;

    /// The resolution of the load sensor, if there is one.
    fn sub_window(&self) -> Option<SubWindow> {
        None
    }

    /// Returns true if all keys of a policy feed one load sensor.
    fn shares_sensor(&self) -> bool {
        false
    }

    /// The effect of leases of `length`; `None` if every request has to be seen, or put in
    /// order, so that no permit can be charged before it is needed.
    fn leasing(&self, _length: Micros) -> Option<Leasing> {
        None
    }

    /// The same limit with numbers under which leases of `length` exceed it by nothing.
    fn for_leases(&self, _length: Micros) -> Result<Self, ConfigError> {
        Err(ConfigError::NotLeasable { algorithm: Self::NAME })
    }

    /// The state of a key never seen.
    fn fresh(&self, now: Timestamp) -> Self::State;

    /// Pulls times later than `now` back to `now`, quantities kept.
    ///
    /// So a clock that steps back grants nothing, and delays by one window at most.
    fn rewind(&self, state: &mut Self::State, now: Timestamp);

    /// The same under a quota that was stored, and may lack what is not stored: a calendar's boundaries.
    fn rewind_stored(&self, state: &mut Self::State, now: Timestamp) {
        self.rewind(state, now);
    }

    /// Starts a state anew that has been kept for its [`lifetime`](Self::lifetime), if that makes a
    /// difference. Then it does not matter whether a store has dropped it.
    fn renew(&self, _: &mut Self::State, _: Timestamp) {}

    /// The rest after which a state starts anew, if that makes a difference; else zero.
    fn memory(&self) -> Micros {
        Micros::ZERO
    }

    /// Notes of a state that [`renew`](Self::renew) would start anew that it was known until `at`.
    fn touch(&self, _: &mut Self::State, _at: Timestamp) {}

    /// The state as `now` finds it, with what has come back or is over by then. `None` if that is the
    /// state as it is stored.
    ///
    /// [`outcome`](Self::outcome), [`charge`](Self::charge), [`room`](Self::room) and
    /// [`standing`](Self::standing) get a state like this. A denial does not store it.
    #[inline(always)]
    fn found(&self, _: &Self::State, _: Timestamp) -> Option<Self::State> {
        None
    }

    /// Looks at the state as `now` finds it.
    fn look<T>(
        &self,
        state: &Self::State,
        now: Timestamp,
        look: impl FnOnce(&Self::State) -> T,
    ) -> T {
        match self.found(state, now) {
            Some(found) => look(&found),
            None => look(state),
        }
    }

    /// Decides whether a request of `cost` fits; if not, when it would.
    fn outcome(&self, state: &Self::State, now: Timestamp, cost: Cost) -> Outcome;

    /// Charges a request of `cost` that fits, at the load that it found.
    fn charge(&self, state: &mut Self::State, now: Timestamp, cost: Cost);

    /// Counts an admitted request in the load sensor.
    fn record_load(&self, _: &mut Self::State, _: Timestamp) {}

    /// Gives back up to `cost` of what is charged now, newest first; never more than that.
    fn refund(&self, state: &mut Self::State, now: Timestamp, cost: Cost);

    /// Gives back up to `cost` of what is left of the charge that `receipt` is of.
    fn settle(&self, state: &mut Self::State, now: Timestamp, cost: Cost, receipt: Receipt);

    /// Returns true if the charge of `receipt` is still held, so that it can be extended. By
    /// default true, for algorithms whose permits are not held.
    fn holds(&self, _: &Self::State, _now: Timestamp, _: Option<Receipt>) -> bool {
        true
    }

    /// Extends the charge that `receipt` is of, which is still held: it lapses as if it were made now.
    fn extend(&self, _: &mut Self::State, _now: Timestamp, _: Receipt) {}

    /// The largest cost that one request would be admitted with.
    fn room(&self, state: &Self::State, now: Timestamp) -> u64 {
        self.standing(state, now).remaining
    }

    /// The most permits that a key may owe: as many as are paid back within
    /// [`WINDOW_MAX`](crate::WINDOW_MAX); zero if no key may owe any.
    fn debt_max(&self) -> u64 {
        0
    }

    /// Pays back `owed` permits in a state that has no room for a single one: each is charged as soon as
    /// it fits, from the instant on at which the state was left. Returns the state that the last of them
    /// leaves, and the instant of that; a larger debt is never paid back sooner.
    fn repay(&self, _: &Self::State, _owed: Cost) -> Option<(Timestamp, Self::State)> {
        None
    }

    /// These numbers, as they tell how a debt is paid back that is read under the numbers `to`, of the same
    /// algorithm if there are any. `None` if they do not tell: then nothing is owed any more.
    fn for_debt(&self, _to: Option<&Self>) -> Option<Self> {
        Some(self.clone())
    }

    /// The standing of the key.
    fn standing(&self, state: &Self::State, now: Timestamp) -> Standing;

    /// The time until the state may be forgotten, because a fresh one is as good.
    fn lifetime(&self, state: &Self::State, now: Timestamp) -> Micros {
        self.look(state, now, |found| self.standing(found, now).reset_after)
    }

    /// Brings a state written under `from` up to `now` at the old numbers, then reads it under these.
    ///
    /// Quantities stay ([`CarryOver::AsIs`]) or keep their share of the limit
    /// ([`CarryOver::Proportional`]), rounded against the caller.
    fn carry(&self, from: &Self, state: &mut Self::State, rule: CarryOver, now: Timestamp);

    /// The most entries of a state's log, if older ones are merged into the next where a change of
    /// numbers leaves more.
    fn entries_max(&self) -> Option<u64> {
        None
    }

    /// The state to keep beside one that other numbers carry over from it: itself, or less that is at
    /// least as strict.
    fn keep(&self, state: &Self::State, _: Timestamp) -> Self::State {
        state.clone()
    }

    /// Makes a state as strict as `other`, of the same numbers, where that is stricter: what either
    /// of them would deny now or later is denied.
    fn join(&self, state: &mut Self::State, other: &Self::State, now: Timestamp);

    /// Expands the two numbers that a [`Standing`] has seen.
    fn detail(&self, seen: [u64; 2], at: Timestamp) -> Self::Detail;

    /// The level and count of a [`Receipt`], from what was seen after the charge.
    fn receipt(&self, _seen: [u64; 2]) -> [u64; 2] {
        [0, 0]
    }

    /// The time until there is one permit more, from what was seen.
    fn until_more(&self, _seen: [u64; 2], decision: &Decision) -> Micros {
        decision.reset_after
    }
}
