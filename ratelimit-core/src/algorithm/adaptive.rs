//! Adaptive hybrid: a token bucket behind a sliding window guard, both cut when load is high.
//!
//! A sensor counts the requests admitted in the last `adaptive_window`. While their rate is at or
//! below `low_load_threshold` of the base rate `limit / window`, a key may burst to
//! `limit · burst_multiplier`; at or above `high_load_threshold` the burst is cut by `penalty`;
//! between the two it falls on a straight line. A request is admitted when both layers admit it:
//! the guard, which holds every stretch of length `window` to the effective burst, exactly; and
//! the bucket, of as many tokens, refilled once per window, so that a burst comes back gradually
//! after a cut.

use alloc::boxed::Box;
use core::{num::NonZeroU64, time::Duration};

use crate::{
    AdaptiveLayer, ConfigError, Cost, Detail, Micros, Outcome, Receipt, Timestamp,
    algorithm::definition::Arithmetic,
    algorithm::sliding_window_log::ENTRIES_MAX,
    decision::Standing,
    number,
    number::rate::Level,
    number::tick::Tick,
    state::entries::Log,
    state::load::Load,
    state::sensor::{KEPT, Sensor, SubWindow},
};

/// What an adaptive hybrid is made from. Every value is fine here; [`Quota::new`] refuses what it
/// cannot honour.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Parameters {
    /// Permits per window at the base rate.
    pub limit: u64,
    /// The length over which the guard holds, and in which the bucket refills.
    pub window: Duration,
    /// The burst of a quiet key, as a multiple of `limit`; by default 2.
    pub burst_multiplier: f64,
    /// The length over which the load is measured; by default five windows.
    pub adaptive_window: Duration,
    /// The load, as a share of the base rate, from which the burst is cut whole; by default 0.8.
    pub high_load_threshold: f64,
    /// The load up to which the burst is not cut at all; by default 0.4.
    pub low_load_threshold: f64,
    /// The share of the burst that high load takes away; by default 0.5.
    pub penalty: f64,
    /// Whose requests the sensor counts.
    pub scope: Scope,
}

/// Whose requests a load sensor counts.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[expect(clippy::exhaustive_enums, reason = "complete by nature")]
pub enum Scope {
    /// Each key's own.
    #[default]
    PerKey,
    /// Those of all keys of the policy. A live change to it forgets what each key's own counted.
    Shared,
}

impl Parameters {
    /// `limit` permits per `window`, and the defaults.
    #[must_use]
    pub const fn new(limit: u64, window: Duration) -> Self {
        Self {
            limit,
            window,
            burst_multiplier: 2.0,
            adaptive_window: window.saturating_mul(5),
            high_load_threshold: 0.8,
            low_load_threshold: 0.4,
            penalty: 0.5,
            scope: Scope::PerKey,
        }
    }
}

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

/// What is kept per key. Under a shared sensor the one in here stays empty.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Contents {
    pub(crate) log: Log,
    pub(crate) tokens: Level,
    pub(crate) sensor: Sensor,
}

/// What is kept per key.
pub(crate) type State = Box<Contents>;

impl Quota {
    /// An adaptive hybrid.
    ///
    /// # Errors
    ///
    /// If a number is zero, not finite, or out of its range: `limit · burst_multiplier` from 1 to
    /// [`ENTRIES_MAX`], windows to [`WINDOW_MAX`](crate::WINDOW_MAX), thresholds from 0 to 1 000
    /// with the low one below the high one, `penalty` from 0 to 1.
    pub fn new(parameters: &Parameters) -> Result<Self, ConfigError> {
        let window = number::window("window", parameters.window)?;
        let adaptive_window = number::window("adaptive_window", parameters.adaptive_window)?;
        let load = Load::new(parameters, window, adaptive_window)?;
        let whole = number::at_most(ENTRIES_MAX, "limit * burst_multiplier", load.whole())?;
        let (tick, ticks) = Tick::fit(window, whole);
        let sub_window = SubWindow::of(adaptive_window);
        Ok(Self { window, load, sub_window, tick, ticks, scope: parameters.scope })
    }

    /// Whose requests the sensor counts.
    #[must_use]
    pub const fn scope(&self) -> Scope {
        self.scope
    }

    pub(crate) const fn load(&self) -> &Load {
        &self.load
    }

    pub(crate) const fn sub_window(&self) -> SubWindow {
        self.sub_window
    }

    pub(crate) const fn terms(&self) -> [u64; 4] {
        let sub_window = self.sub_window.micros().get();
        [self.window.get(), self.tick.micros().get(), self.ticks.get(), sub_window]
    }

    pub(crate) const fn window(&self) -> Micros {
        Micros::new(self.window.get())
    }

    /// The most units that the bucket holds.
    pub(crate) const fn full(&self) -> u64 {
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
            // A shared sensor may have been dropped, and what it knew with it.
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

    /// When the bucket, refilled for a burst of `burst`, holds `tokens`.
    const fn holds(&self, level: Level, tokens: u64, burst: NonZeroU64) -> Micros {
        let missing = self.units(tokens).saturating_sub(level.units);
        self.tick.length(missing.div_ceil(burst.get()))
    }

    /// Exactly how many requests of cost 1 would pass at this instant, each of them raising the
    /// load that the next one finds. The more pass, the fewer may: a binary search, unless all of
    /// them may.
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

    /// When the sensor no longer cuts the burst at all.
    fn whole_again(&self, sensor: &Sensor, now: Timestamp) -> Timestamp {
        let present = self.sub_window.number(now);
        let is_whole = |&(_, admitted): &_| self.load.burst(admitted) == self.load.whole();
        match sensor.falling(present).find(is_whole) {
            Some((number, _)) if present < number => self.sub_window.start(number),
            _ => now,
        }
    }
}

impl Arithmetic for Quota {
    type State = State;

    fn fresh(&self, now: Timestamp) -> State {
        Box::new(Contents {
            log: Log::default(),
            tokens: Level { units: self.full(), at: now },
            sensor: Sensor::EMPTY,
        })
    }

    fn rewind(&self, state: &mut State, now: Timestamp) {
        state.log.rewind(now);
        state.tokens.at = state.tokens.at.min(now);
        state.sensor.rewind(self.sub_window.number(now));
    }

    /// Without traffic the load only falls, a step at the end of each sub-window, so the first
    /// step whose burst lets the request fit before the next one holds the answer.
    fn outcome(&self, state: &State, now: Timestamp, cost: Cost) -> Outcome {
        let mut begin = now;
        let mut fits = Timestamp::MAX;
        for (number, admitted) in state.sensor.falling(self.sub_window.number(now)) {
            let burst = self.load.burst(admitted);
            let end = self.sub_window.start(number.saturating_add(1));
            if let (Some(keep), Some(refill)) =
                (burst.checked_sub(cost.get()), NonZeroU64::new(burst))
            {
                let guard = state.log.falls_to(keep, self.window(), now);
                let bucket = state.tokens.at + self.holds(state.tokens, cost.get(), refill);
                fits = begin.max(guard).max(bucket);
                if fits < end {
                    break;
                }
            }
            begin = end;
        }
        if now < fits { Outcome::Deny { retry_after: fits - now } } else { Outcome::ALLOW }
    }

    fn charge(&self, state: &mut State, now: Timestamp, cost: Cost) {
        let burst = self.burst(&state.sensor, now);
        state.tokens = self.bucket(state.tokens, burst, now);
        state.tokens.units = state.tokens.units.saturating_sub(self.units(cost.get()));
        state.log.push(self.window(), now, cost);
    }

    fn record_load(&self, state: &mut State, now: Timestamp) {
        state.sensor.record(self.sub_window.number(now));
    }

    /// The load stays: the request was admitted, whatever it cost in the end.
    fn refund(&self, state: &mut State, now: Timestamp, cost: Cost) {
        self.pour_back(state, now, self.units(cost.get()));
        state.log.take(self.window(), now, cost);
    }

    /// What came first is not known of the bucket: all that may have come back since has, and
    /// what a higher load may have cut off is gone.
    fn settle(&self, state: &mut State, now: Timestamp, cost: Cost, receipt: Receipt) {
        let uncut = self.uncut(&state.sensor, now, cost, receipt);
        let left = uncut.saturating_sub(self.back(receipt, now));
        self.pour_back(state, now, left);
        state.log.take_at(receipt.at, self.window(), now, cost);
    }

    fn standing(&self, state: &State, now: Timestamp) -> Standing {
        let admitted = state.sensor.admitted(self.sub_window.number(now));
        let burst = self.load.burst(admitted);
        let used = state.log.used(self.window(), now);
        let tokens = self.bucket(state.tokens, burst, now).units / self.ticks;
        let whole = self.load.whole();
        let refilled = state.tokens.at + self.holds(state.tokens, whole, self.load.whole_nonzero());
        let as_new = state
            .log
            .last_leaves(self.window(), now)
            .max(refilled)
            .max(self.whole_again(&state.sensor, now))
            .max(now + state.sensor_lifetime(self, now));
        Standing {
            limit: whole,
            remaining: self.remaining(used, tokens, admitted),
            reset_after: as_new - now,
            detail: Detail::Adaptive {
                layer: if burst.saturating_sub(used) <= tokens {
                    AdaptiveLayer::SlidingWindow
                } else {
                    AdaptiveLayer::TokenBucket
                },
                effective_burst: burst,
                used,
                tokens,
                admitted,
            },
        }
    }

    /// Others may keep a shared sensor high, so there the bucket is as good as new only once it is
    /// full at the slowest refill.
    fn lifetime(&self, state: &State, now: Timestamp) -> Micros {
        let slowest = self.load.cut_nonzero();
        let refilled = state.tokens.at + self.holds(state.tokens, self.load.whole(), slowest);
        match self.scope {
            Scope::PerKey => self.standing(state, now).reset_after,
            Scope::Shared => state.log.last_leaves(self.window(), now).max(refilled) - now,
        }
    }

    fn scale(&self, from: &Self, state: &mut State) {
        let (to, from) = (self.load.whole_nonzero(), from.load.whole_nonzero());
        state.log.scale(to, from);
        state.tokens.units = number::scale_floor(state.tokens.units, to.get(), from);
    }

    fn adopt(&self, from: &Self, state: &mut State, now: Timestamp) {
        let units = number::scale_floor(state.tokens.units, self.ticks.get(), from.ticks);
        state.tokens.units = units.min(self.full());
        match self.scope {
            Scope::PerKey => state.sensor.adopt(from.sub_window, self.sub_window, now),
            // The record may be dropped before the key's own load falls: none is to come back.
            Scope::Shared => state.sensor = Sensor::EMPTY,
        }
    }
}

impl Contents {
    /// The time until the key's own sensor is empty; a shared one is not the key's to keep.
    fn sensor_lifetime(&self, quota: &Quota, now: Timestamp) -> Micros {
        match quota.scope {
            Scope::PerKey => self.sensor.lifetime(quota.sub_window, now),
            Scope::Shared => Micros::ZERO,
        }
    }
}
