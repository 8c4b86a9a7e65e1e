//! Adaptive hybrid: a token bucket behind a sliding window guard, both cut when load is high.
//!
//! A sensor counts the requests admitted in the last `adaptive_window`. While their rate is at or
//! below `low_load_threshold` of the base rate `limit / window`, a key may burst to
//! `limit · burst_multiplier`; at or above `high_load_threshold` the burst is cut by `penalty`;
//! between the two it falls on a straight line. A request is admitted when both layers admit it:
//! the guard, which holds every stretch of length `window` to the effective burst, exactly; and
//! the bucket, of as many tokens, refilled once per window, so that a burst comes back gradually
//! after a cut.

mod parameters;
mod steps;

use core::num::NonZeroU64;

pub use self::parameters::{Parameters, Scope};
use super::sliding_window_log::ENTRIES_MAX;
use crate::{
    ConfigError, Cost, Micros, Receipt, Timestamp,
    number::{self, tick::Tick},
    state::{
        entries::Log,
        level::Level,
        load::{Load, Numbers},
        sensor::{KEPT, Sensor, SubWindow},
    },
};

/// An effective burst that follows the load.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Quota {
    window: NonZeroU64,
    load: Load,
    sub_window: SubWindow,
    tick: Tick,
    /// The window in ticks, rounded up; and the units in a token.
    ticks: NonZeroU64,
    scope: Scope,
}

/// The state of a key. Under a shared sensor, the one in here stays empty.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct State {
    log: Log,
    tokens: Level,
    sensor: Sensor,
}

/// The numbers that an adaptive hybrid decided by.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Detail {
    /// The layer that denied, or, of a request that was admitted, the one with less room.
    pub layer: AdaptiveLayer,
    /// Permits that either layer holds at the present load.
    pub effective_burst: u64,
    /// Permits spent within the last window, as the guard sees it.
    pub used: u64,
    /// Whole tokens in the bucket.
    pub tokens: u64,
    /// Requests that the load sensor counts.
    pub admitted: u64,
}

/// The two layers of the adaptive hybrid.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[expect(clippy::exhaustive_enums, reason = "complete by nature")]
pub enum AdaptiveLayer {
    /// The sliding window that guards the bucket.
    SlidingWindow,
    /// The token bucket behind it.
    TokenBucket,
}

impl Quota {
    /// An adaptive hybrid.
    ///
    /// # Errors
    ///
    /// If a number is zero, not finite, or out of its range: `limit · burst_multiplier` from 1 to
    /// [`ENTRIES_MAX`], windows to [`WINDOW_MAX`](crate::WINDOW_MAX), thresholds from 0 to 1 000
    /// with the low one below the high one, `penalty` from 0 to 1.
    pub fn new(parameters: &Parameters) -> Result<Self, ConfigError> {
        let load = parameters.load()?;
        let Numbers { window, adaptive_window, .. } = *load.numbers();
        let whole = number::at_most(ENTRIES_MAX, "limit * burst_multiplier", load.whole())?;
        let (tick, ticks) = Tick::fit(window, whole);
        let sub_window = SubWindow::of(adaptive_window);
        Ok(Self { window, load, sub_window, tick, ticks, scope: parameters.scope })
    }

    /// The requests that the sensor counts.
    #[must_use]
    pub const fn scope(&self) -> Scope {
        self.scope
    }

    const fn length(&self) -> Micros {
        Micros::new(self.window.get())
    }

    /// The most units that the bucket holds.
    const fn full(&self) -> u64 {
        self.units(self.load.whole())
    }

    const fn units(&self, tokens: u64) -> u64 {
        tokens.saturating_mul(self.ticks.get())
    }

    /// The burst at the load that `now` finds.
    fn burst(&self, sensor: &Sensor, now: Timestamp) -> u64 {
        self.load.burst(sensor.admitted(self.sub_window.number(now)))
    }

    /// The bucket as `now` finds it, with room for `burst` tokens.
    fn bucket(&self, level: Level, burst: u64, now: Timestamp) -> Level {
        let ticks = self.tick.whole(now - level.at);
        let units = level.units.saturating_add(ticks.saturating_mul(burst));
        if units < self.units(burst) {
            Level { units, at: level.at + self.tick.length(ticks) }
        } else {
            Level { units: self.units(burst), at: now }
        }
    }

    /// The units in the bucket when its numbers change at `now`. A shared sensor may have seen any
    /// load until then, so the bucket is taken to have refilled at the slowest rate.
    fn units_found(&self, state: &State, now: Timestamp) -> u64 {
        match self.scope {
            Scope::PerKey => self.bucket(state.tokens, self.burst(&state.sensor, now), now).units,
            Scope::Shared => {
                let slowest = self.bucket(state.tokens, self.load.cut_nonzero().get(), now);
                slowest.units.max(state.tokens.units)
            }
        }
    }

    /// Gives units back to the bucket, as far as they fit.
    fn pour_back(&self, state: &mut State, now: Timestamp, units: u64) {
        let burst = self.burst(&state.sensor, now);
        let level = self.bucket(state.tokens, burst, now);
        let units = level.units.saturating_add(units).min(self.units(burst));
        state.tokens = Level { units, ..level };
    }

    /// The most units that came back between the charge and `now`.
    fn back(&self, receipt: Receipt, now: Timestamp) -> u64 {
        let ticks = match now - receipt.at {
            Micros::ZERO => 0,
            // A bucket that was full in between counts its ticks from there: one more or less.
            length => self.tick.whole(length).saturating_add(1),
        };
        ticks.saturating_mul(self.load.whole())
    }

    /// The units of `cost` that fitted beside what the charge left, at the highest load that there
    /// may have been since.
    fn uncut(&self, sensor: &Sensor, now: Timestamp, cost: Cost, receipt: Receipt) -> u64 {
        let [then, present] = [receipt.at, now].map(|at| self.sub_window.number(at));
        let highest = if then == present {
            // Within a sub-window it only rises.
            receipt.count.max(sensor.admitted(present))
        } else if self.scope == Scope::Shared && u64::from(KEPT) <= present.saturating_sub(then) {
            // A shared sensor may have been dropped, with all of its counts.
            u64::MAX
        } else {
            receipt.count.saturating_add(sensor.admitted_since(then))
        };
        let least = self.load.burst(highest);
        if least == self.load.whole() {
            return self.units(cost.get());
        }
        // Tokens are whole: there may have been a fraction of one more.
        let room = least.saturating_sub(receipt.level.saturating_add(1));
        self.units(cost.get().min(room))
    }

    /// The time that the bucket, refilled for a burst of `burst`, takes to hold `tokens`.
    const fn holds(&self, level: Level, tokens: u64, burst: NonZeroU64) -> Micros {
        let missing = self.units(tokens).saturating_sub(level.units);
        self.tick.length(missing.div_ceil(burst.get()))
    }

    /// The exact number of requests of cost 1 that would pass at this instant, each of them raising
    /// the load that the next one finds. Found by a binary search, unless all of them pass.
    fn remaining(&self, used: u64, tokens: u64, admitted: u64) -> u64 {
        let fits = |count: u64| {
            let load = admitted.saturating_add(count).saturating_sub(1);
            used.saturating_add(count) <= self.load.burst(load)
        };
        let mut most = tokens.min(self.load.burst(admitted).saturating_sub(used));
        let mut least = if fits(most) { most } else { 0 };
        while least < most {
            let middle = most.saturating_sub(most.saturating_sub(least).div_euclid(2));
            if fits(middle) {
                least = middle;
            } else {
                most = middle.saturating_sub(1);
            }
        }
        least
    }

    /// The instant from which the sensor no longer cuts the burst at all.
    fn whole_again(&self, sensor: &Sensor, now: Timestamp) -> Timestamp {
        let present = self.sub_window.number(now);
        let is_whole = |&(_, admitted): &_| self.load.burst(admitted) == self.load.whole();
        match sensor.falling(present).find(is_whole) {
            Some((number, _)) if present < number => self.sub_window.start(number),
            _ => now,
        }
    }
}

impl State {
    /// The time until the key's own sensor is empty; a shared one is not the key's to keep.
    fn sensor_lifetime(&self, quota: &Quota, now: Timestamp) -> Micros {
        match quota.scope {
            Scope::PerKey => self.sensor.lifetime(quota.sub_window, now),
            Scope::Shared => Micros::ZERO,
        }
    }
}
