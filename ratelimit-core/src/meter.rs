//! A meter: a policy's quota together with one key's state, taken out of a store for one action.
//!
//! It is opened from a record, asked and charged, and closed into the record to store. This is
//! the only place that knows how many algorithms there are: a new one is one module, and one line
//! in the list below.

use alloc::boxed::Box;

use crate::{
    CarryOver, Cost, Micros, Outcome, Policy, Receipt, StateError, Timestamp,
    algorithm::adaptive::{self, Scope},
    algorithm::definition::Arithmetic,
    algorithm::fixed_window,
    algorithm::leaky_bucket,
    algorithm::sliding_window_counter,
    algorithm::sliding_window_log,
    algorithm::token_bucket,
    decision::Standing,
    state::block::Blocked,
    state::sensor::Sensor,
    store::Slot,
};

/// What a store keeps for one key: a state, and the policy it was written under.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Record {
    pub(crate) under: Policy,
    pub(crate) state: State,
}

macro_rules! algorithms {
    ($($(#[$doc:meta])* $variant:ident($module:ident) $name:literal,)*) => {
        /// One of the six algorithms, with its numbers.
        // With a number of its own, which every check branches on.
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        #[non_exhaustive]
        #[repr(u8)]
        pub enum Algorithm {
            $($(#[$doc])* $variant($module::Quota),)*
        }

        $(impl From<$module::Quota> for Algorithm {
            fn from(quota: $module::Quota) -> Self {
                Self::$variant(quota)
            }
        })*

        impl Algorithm {
            /// The name, in words.
            #[must_use]
            pub const fn name(&self) -> &'static str {
                match self { $(Self::$variant(_) => $name,)* }
            }

            /// The most permits that a key as good as new has.
            #[must_use]
            pub fn limit(&self) -> u64 {
                let start = Timestamp::EPOCH;
                match self {
                    $(Self::$variant(quota) => quota.standing(&quota.fresh(start), start).limit,)*
                }
            }
        }

        /// A key's state, or a policy's shared sensor.
        #[derive(Clone, Debug, Eq, PartialEq)]
        pub(crate) enum State {
            $($variant($module::State),)*
            Sensor(Box<Sensor>),
            /// A key's state, around which there is a block.
            Blocked(Box<Blocked>),
        }

        impl State {
            const fn algorithm_name(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => $name,)*
                    Self::Sensor(_) => LOAD_SENSOR,
                    Self::Blocked(blocked) => blocked.state.algorithm_name(),
                }
            }

            /// Pulls times later than `now` back to it.
            fn rewind(&mut self, under: &Algorithm, now: Timestamp) {
                match (under, self) {
                    $((Algorithm::$variant(quota), Self::$variant(state)) => {
                        quota.rewind(state, now);
                    })*
                    (_, Self::Blocked(blocked)) => {
                        blocked.state.rewind(under, now);
                        blocked.block.rewind(now);
                    }
                    _ => {}
                }
            }

            fn lifetime(&self, under: &Algorithm, now: Timestamp) -> Micros {
                match (under, self) {
                    $((Algorithm::$variant(quota), Self::$variant(state)) => {
                        quota.lifetime(state, now)
                    })*
                    (Algorithm::Adaptive(quota), Self::Sensor(sensor)) => {
                        sensor.lifetime(quota.sub_window(), now)
                    }
                    (_, Self::Blocked(blocked)) => {
                        blocked.state.lifetime(under, now).max(blocked.block.left(now))
                    }
                    _ => Micros::ZERO,
                }
            }
        }

        /// A quota, and a state of it.
        #[derive(Debug)]
        pub(crate) enum Meter<'a> {
            $($variant(&'a $module::Quota, $module::State),)*
        }

        impl<'a> Meter<'a> {
            /// Opens what a rewound state written under `from` is worth under `policy`, at `now`. No
            /// state is a key never seen; one of another algorithm, see [`verify`], starts anew.
            pub(crate) fn open(
                policy: &'a Policy,
                from: &Policy,
                state: Option<State>,
                now: Timestamp,
            ) -> Self {
                let rule = policy.carry_over();
                match (policy.algorithm(), from.algorithm(), state) {
                    $((
                        Algorithm::$variant(to),
                        Algorithm::$variant(from),
                        Some(State::$variant(state)),
                    ) => Self::$variant(to, receive(to, from, state, rule, now)),)*
                    $((Algorithm::$variant(to), ..) => Self::$variant(to, to.fresh(now)),)*
                }
            }

            /// The state to store.
            pub(crate) fn close(self) -> State {
                match self { $(Self::$variant(_, state) => State::$variant(state),)* }
            }

            pub(crate) fn outcome(&self, now: Timestamp, cost: Cost) -> Outcome {
                match self { $(Self::$variant(quota, state) => quota.outcome(state, now, cost),)* }
            }

            pub(crate) fn charge(&mut self, now: Timestamp, cost: Cost) {
                match self { $(Self::$variant(quota, state) => quota.charge(state, now, cost),)* }
            }

            /// Lets the sensor of an adaptive hybrid know that a request was admitted.
            pub(crate) fn record_load(&mut self, now: Timestamp) {
                match self { $(Self::$variant(quota, state) => quota.record_load(state, now),)* }
            }

            pub(crate) fn refund(&mut self, now: Timestamp, cost: Cost) {
                match self { $(Self::$variant(quota, state) => quota.refund(state, now, cost),)* }
            }

            pub(crate) fn settle(&mut self, now: Timestamp, cost: Cost, receipt: Receipt) {
                match self {
                    $(Self::$variant(quota, state) => quota.settle(state, now, cost, receipt),)*
                }
            }

            /// The time until a fresh state is as good.
            pub(crate) fn lifetime(&self, now: Timestamp) -> Micros {
                match self { $(Self::$variant(quota, state) => quota.lifetime(state, now),)* }
            }

            pub(crate) fn standing(&self, now: Timestamp) -> Standing {
                match self { $(Self::$variant(quota, state) => quota.standing(state, now),)* }
            }
        }

    };
}

algorithms! {
    /// A count per window.
    FixedWindow(fixed_window) "fixed window",
    /// A log of charges.
    SlidingWindowLog(sliding_window_log) "sliding window log",
    /// An estimate from two counts.
    SlidingWindowCounter(sliding_window_counter) "sliding window counter",
    /// Tokens that are taken out, and come back.
    TokenBucket(token_bucket) "token bucket",
    /// Permits that are poured in, and leak.
    LeakyBucket(leaky_bucket) "leaky bucket",
    /// A log and a bucket whose size follows the load.
    Adaptive(adaptive) "adaptive hybrid",
}

const LOAD_SENSOR: &str = "load sensor";

impl Record {
    /// The policy that it was written under; its name is part of the record's place in a store.
    #[must_use]
    pub const fn policy(&self) -> &Policy {
        &self.under
    }

    /// The time from `now` until the record may be dropped, because no record is as good.
    #[must_use]
    pub fn lifetime(&self, now: Timestamp) -> Micros {
        self.state.lifetime(self.under.algorithm(), now)
    }

    /// Pulls times later than `now` back to it.
    pub(crate) fn rewind(&mut self, now: Timestamp) {
        self.state.rewind(self.under.algorithm(), now);
    }
}

impl Algorithm {
    /// Whether all keys of a policy feed one load sensor, which is a state of its own.
    #[must_use]
    pub const fn shares_sensor(&self) -> bool {
        matches!(self, Self::Adaptive(quota) if matches!(quota.scope(), Scope::Shared))
    }
}

impl Meter<'_> {
    /// Exchanges the sensor of an adaptive hybrid's state; to lend it the shared one, and back.
    pub(crate) const fn swap_sensor(&mut self, sensor: &mut Sensor) {
        if let Self::Adaptive(_, state) = self {
            core::mem::swap(&mut state.sensor, sensor);
        }
    }
}

/// Refuses a record of another algorithm, unless the policy starts anew where the numbers changed.
pub(crate) fn verify(slot: Slot<'_>, record: Option<&Record>) -> Result<(), StateError> {
    let Some(record) = record else { return Ok(()) };
    let found = record.state.algorithm_name();
    let want = slot.key.map_or(LOAD_SENSOR, |_| slot.policy.algorithm().name());
    if found != want && slot.policy.carry_over() != CarryOver::Reset {
        return Err(StateError::Algorithm { found, want });
    }
    Ok(())
}

/// Opens a shared sensor.
pub(crate) fn open_sensor(policy: &Policy, record: Option<Record>, now: Timestamp) -> Sensor {
    let Algorithm::Adaptive(to) = policy.algorithm() else { return Sensor::EMPTY };
    let Some(Record { under, state: State::Sensor(mut sensor) }) = record else {
        return Sensor::EMPTY;
    };
    if let Algorithm::Adaptive(from) = under.algorithm() {
        sensor.rewind(from.sub_window().number(now));
        sensor.adopt(from.sub_window(), to.sub_window(), now);
    }
    *sensor
}

/// Closes a shared sensor.
pub(crate) fn close_sensor(policy: &Policy, sensor: Sensor) -> Record {
    Record { under: policy.clone(), state: State::Sensor(Box::new(sensor)) }
}

/// A state written under `from`, read under `to`.
fn receive<A: Arithmetic + Eq>(
    to: &A,
    from: &A,
    mut state: A::State,
    carry_over: CarryOver,
    now: Timestamp,
) -> A::State {
    if !core::ptr::eq(from, to) && from != to {
        if carry_over == CarryOver::Reset || from.lifetime(&state, now).is_zero() {
            return to.fresh(now);
        }
        if carry_over == CarryOver::Proportional {
            to.scale(from, &mut state);
        }
        to.adopt(from, &mut state, now);
    }
    to.renew(&mut state, now);
    state
}
