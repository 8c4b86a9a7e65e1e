//! An exact rate: permits that come back per tick, with nothing lost to rounding.
//!
//! `permits` per `period` is reduced to its lowest terms, and levels are counted in *units* so
//! small that one tick brings back a whole number of them. So a bucket never drifts: after any
//! time `T` it has taken back exactly `⌊rate · T⌋` permits.

use core::{num::NonZeroU64, time::Duration};

use crate::{ConfigError, Fraction, Micros, Timestamp, number, tick::Tick};

/// Units that come back per tick, and units in a permit.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Rate {
    per_tick: NonZeroU64,
    per_permit: NonZeroU64,
    tick: Tick,
}

/// What is kept per key of a bucket: a level, and the instant up to which it is counted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Level {
    pub(crate) units: u64,
    pub(crate) at: Timestamp,
}

impl Rate {
    /// `permits` per `period`, for levels of up to `capacity` permits.
    ///
    /// `field` names what sets the rate, for the error that says that the time to bring back
    /// `capacity` passes [`WINDOW_MAX`](crate::WINDOW_MAX).
    pub(crate) fn new(
        field: &'static str,
        permits: NonZeroU64,
        period: Duration,
        capacity: NonZeroU64,
    ) -> Result<Self, ConfigError> {
        let period = number::window("window", period)?;
        let divisor = number::gcd(permits.get(), period);
        let (per_tick, length) = (permits.div_ceil(divisor), period.div_ceil(divisor));
        let (tick, per_permit) = Tick::fit(length, capacity);
        let rate = Self { per_tick, per_permit, tick };
        if number::WINDOW_MAX < rate.time_for(rate.units(capacity.get())) {
            return Err(ConfigError::WindowTooLong { field, max: number::WINDOW_MAX });
        }
        Ok(rate)
    }

    /// The units in `permits`.
    pub(crate) const fn units(&self, permits: u64) -> u64 {
        permits.saturating_mul(self.per_permit.get())
    }

    /// Whole permits in `units`.
    pub(crate) fn permits_floor(&self, units: u64) -> u64 {
        units / self.per_permit
    }

    /// Permits in `units`, exactly.
    pub(crate) const fn permits(&self, units: u64) -> Fraction {
        Fraction { numerator: units, denominator: self.per_permit }
    }

    /// Permits per microsecond, exactly.
    pub(crate) const fn per_micro(&self) -> Fraction {
        let denominator = self.per_permit.saturating_mul(self.tick.micros());
        Fraction { numerator: self.per_tick.get(), denominator }
    }

    /// The units that have come back from `since` to `now`, at most `most`; and the instant up to
    /// which they are counted, the last whole tick.
    pub(crate) fn gained(&self, since: Timestamp, now: Timestamp, most: u64) -> (u64, Timestamp) {
        let ticks = self.tick.whole(now - since);
        let units = ticks.saturating_mul(self.per_tick.get());
        if units < most { (units, since + self.tick.length(ticks)) } else { (most, now) }
    }

    /// How long `units` take to come back.
    pub(crate) const fn time_for(&self, units: u64) -> Micros {
        self.tick.length(units.div_ceil(self.per_tick.get()))
    }

    /// The units that come back in `length`, at most `most`.
    pub(crate) fn units_in(&self, length: Micros, most: u64) -> u64 {
        self.tick.whole(length).saturating_mul(self.per_tick.get()).min(most)
    }

    /// `units` of the rate `from` in units of this one, rounded down.
    pub(crate) fn convert_floor(&self, from: &Self, units: u64) -> u64 {
        number::scale_floor(units, self.per_permit.get(), from.per_permit)
    }

    /// `units` of the rate `from` in units of this one, rounded up.
    pub(crate) fn convert_ceil(&self, from: &Self, units: u64) -> u64 {
        number::scale_ceil(units, self.per_permit.get(), from.per_permit)
    }
}
