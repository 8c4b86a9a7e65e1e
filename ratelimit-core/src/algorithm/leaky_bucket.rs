//! Leaky bucket: each request pours in its cost, the bucket leaks at a steady rate.
//!
//! As a *meter* it answers at once: a request that would overflow the bucket is denied. Its
//! arithmetic is the token bucket's, looked at from the other side. As a *queue* it lets requests
//! out evenly: each is admitted with the `delay` after which all that was poured in before it has
//! leaked, so that no two come out closer together than the leak rate says; a request that would
//! have to wait longer than the longest delay is denied.

use alloc::{vec, vec::Vec};
use core::{num::NonZeroU64, time::Duration};

use crate::{
    CarryOver, ConfigError, Cost, Decision, Fraction, Micros, Outcome, Receipt, Timestamp,
    WINDOW_MAX,
    algorithm::definition::{Definition, Leasing, Size},
    decision::Standing,
    number::{self, division::scale_ceil, encoding::Reader, rate::Rate},
    state::level::Bucket,
};

/// A bucket of `capacity` permits that leaks at a rate.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Quota {
    capacity: NonZeroU64,
    leak: NonZeroU64,
    period: Duration,
    rate: Rate,
    /// The units in `capacity`.
    brim: u64,
    longest_delay: Option<Micros>,
}

/// The numbers that a leaky bucket decided by.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Detail {
    /// Permits in the bucket, with their fraction.
    pub level: Fraction,
    /// Permits that leak per microsecond.
    pub leak_rate: Fraction,
    /// Permits given back since the bucket last rested for as long as it takes to drain.
    pub returned: u64,
}

impl Quota {
    /// A bucket of `capacity` permits that leaks `leak` permits per `period`, used as a meter.
    ///
    /// The rate is exact. (Where `capacity` times the reduced period passes 2^52 it is rounded
    /// down once, here, by less than one part in 2^51 / `capacity`.)
    ///
    /// # Errors
    ///
    /// If a number is zero or beyond [`LIMIT_MAX`](crate::LIMIT_MAX),
    /// [`WINDOW_MAX`](crate::WINDOW_MAX), or the bucket takes longer than that to drain.
    pub fn new(capacity: u64, leak: u64, period: Duration) -> Result<Self, ConfigError> {
        let leak = number::limit("limit", leak)?;
        let capacity = number::limit("capacity", capacity)?;
        let rate = Rate::new("leak", leak, period, capacity)?;
        let brim = rate.units(capacity.get());
        Ok(Self { capacity, leak, period, rate, brim, longest_delay: None })
    }

    /// The same bucket as a queue whose requests wait for at most `longest_delay`.
    ///
    /// # Errors
    ///
    /// If `longest_delay` is beyond [`WINDOW_MAX`](crate::WINDOW_MAX). Zero is fine: it admits
    /// only into an empty bucket.
    pub fn queue(self, longest_delay: Duration) -> Result<Self, ConfigError> {
        if Duration::from(WINDOW_MAX) < longest_delay {
            let max = WINDOW_MAX;
            return Err(ConfigError::WindowTooLong { field: "longest_delay", max });
        }
        if !longest_delay.subsec_nanos().is_multiple_of(1_000) {
            return Err(ConfigError::Unrepresentable { field: "longest_delay" });
        }
        Ok(Self { longest_delay: Some(Micros::from_duration_ceil(longest_delay)), ..self })
    }

    /// The bucket as `now` finds it.
    #[inline(always)]
    fn at(&self, state: Bucket, now: Timestamp) -> Bucket {
        let back = self.rate.units_in(now - state.at);
        state.counted(state.units.saturating_sub(back), now, self.brim <= back)
    }

    /// The time until no more than `units` are in the bucket.
    const fn until(&self, level: Bucket, units: u64) -> Micros {
        self.rate.time_for(level.units.saturating_sub(units))
    }

    /// The most units that a request may find in the bucket, for its delay not to be too long.
    fn queue_max(&self) -> u64 {
        self.longest_delay
            .map_or_else(|| self.brim, |delay| self.rate.units_in(delay).min(self.brim))
    }
}

impl Definition for Quota {
    type State = Bucket;
    type Detail = Detail;

    const NAME: &'static str = "leaky bucket";
    const KIND: u8 = 5;

    /// Of a queue, what its longest delay lets in at once counts for its window.
    fn size(&self) -> Size {
        let empty = self.standing(&self.fresh(Timestamp::EPOCH), Timestamp::EPOCH);
        let window = Some(self.rate.time_for(self.rate.units(empty.remaining)));
        Size { limit: self.capacity.get(), window, rate: self.rate.as_fraction() }
    }

    /// The delay comes last, and one more than it is; zero for a meter.
    fn numbers(&self) -> Vec<u64> {
        let delay = self.longest_delay.map_or(0, |delay| delay.as_micros().saturating_add(1));
        vec![self.capacity.get(), self.leak.get(), number::micros(self.period), delay]
    }

    fn read(input: &mut Reader<'_>) -> Option<Self> {
        let [capacity, leak, period, delay] = input.numbers()?;
        let meter = Self::new(capacity, leak, Duration::from_micros(period)).ok()?;
        match delay.checked_sub(1) {
            None => Some(meter),
            Some(delay) => meter.queue(Duration::from_micros(delay)).ok(),
        }
    }

    /// Levels are counted in units.
    fn terms(&self, _: Timestamp) -> Vec<(&'static str, u64)> {
        let [permit, loss] = self.rate.terms();
        vec![
            ("capacity", self.brim),
            ("permit", permit),
            ("loss", loss),
            ("queue_max", self.queue_max()),
        ]
    }

    fn read_state(&self, input: &mut Reader<'_>) -> Option<Bucket> {
        Bucket::read(input, self.brim)
    }

    /// As much as leaks in the time of a lease may be used on top. A queue puts its requests in order.
    fn leasing(&self, length: Micros) -> Option<Leasing> {
        let excess_max = self.rate.permits_ceil(self.rate.units_in(length));
        let is_meter = self.longest_delay.is_none();
        is_meter.then_some(Leasing { excess_max, ends_with_window: false })
    }

    /// So many permits fewer.
    fn for_leases(&self, length: Micros) -> Result<Self, ConfigError> {
        if self.longest_delay.is_some() {
            return Err(ConfigError::NotLeasable { algorithm: Self::NAME });
        }
        let capacity =
            self.capacity.get().saturating_sub(self.rate.permits_ceil(self.rate.units_in(length)));
        Self::new(capacity, self.leak.get(), self.period)
    }

    fn fresh(&self, now: Timestamp) -> Bucket {
        Bucket::new(0, now)
    }

    #[inline(always)]
    fn rewind(&self, state: &mut Bucket, now: Timestamp) {
        state.at = state.at.min(now);
    }

    #[inline(always)]
    fn found(&self, state: &Bucket, now: Timestamp) -> Option<Bucket> {
        Some(self.at(*state, now))
    }

    #[inline(always)]
    fn outcome(&self, level: &Bucket, _: Timestamp, cost: Cost) -> Outcome {
        let room = self.brim.saturating_sub(self.rate.units(cost.get())).min(self.queue_max());
        if room < level.units {
            return Outcome::Deny { retry_after: self.until(*level, room) };
        }
        match self.longest_delay {
            None => Outcome::ALLOW,
            Some(_) => Outcome::Allow { delay: self.until(*level, 0) },
        }
    }

    #[inline(always)]
    fn charge(&self, level: &mut Bucket, _: Timestamp, cost: Cost) {
        level.units = level.units.saturating_add(self.rate.units(cost.get()));
    }

    fn refund(&self, state: &mut Bucket, now: Timestamp, cost: Cost) {
        let level = self.at(*state, now);
        let units = level.units.saturating_sub(self.rate.units(cost.get()));
        *state = level.given(cost.get(), units);
    }

    /// In a queue the place of a request that is not the last stays empty: those behind it have been
    /// told theirs.
    fn settle(&self, state: &mut Bucket, now: Timestamp, cost: Cost, receipt: Receipt) {
        let left = receipt.level.saturating_sub(self.rate.units_in(now - receipt.at));
        let level = self.at(*state, now);
        if self.longest_delay.is_some() && level.units != left {
            return;
        }
        let given = self.rate.units(cost.get()).min(state.left_of(receipt, &self.rate, now));
        if given != 0 {
            let units = level.units.saturating_sub(given);
            *state = level.given(self.rate.permits_ceil(given), units);
        }
    }

    fn room(&self, level: &Bucket, _: Timestamp) -> u64 {
        if self.queue_max() < level.units {
            return 0;
        }
        self.rate.permits_floor(self.brim.saturating_sub(level.units))
    }

    fn debt_max(&self) -> u64 {
        self.rate.debt_max()
    }

    /// The bucket overflows by as many units as it takes; in a queue, the place behind what is owed must
    /// not be too late.
    fn repay(&self, state: &Bucket, owed: Cost) -> Option<(Timestamp, Bucket)> {
        let units = state.units.saturating_add(self.rate.units(owed.get()));
        let late = state.units.saturating_sub(self.queue_max());
        let length = self.rate.time_for(units.saturating_sub(self.brim).max(late));
        let back = self.rate.units_in(length);
        let (at, units) = (state.at + length, units.saturating_sub(back));
        Some((at, state.counted(units, at, self.brim <= back)))
    }

    #[inline(always)]
    fn standing(&self, level: &Bucket, _: Timestamp) -> Standing {
        let fit = self.rate.permits_floor(self.brim.saturating_sub(level.units));
        let in_time = match self.queue_max().checked_sub(level.units) {
            None => 0,
            Some(room) => self.rate.permits_floor(room).saturating_add(1),
        };
        Standing {
            limit: self.capacity.get(),
            remaining: fit.min(in_time),
            reset_after: self.until(*level, 0),
            seen: [level.units, level.returned],
        }
    }

    fn lifetime(&self, state: &Bucket, now: Timestamp) -> Micros {
        let drain = self.rate.time_for(self.brim);
        self.until(self.at(*state, now), 0).max(state.lifetime(drain, now))
    }

    fn carry(&self, from: &Self, state: &mut Bucket, rule: CarryOver, now: Timestamp) {
        let found = from.at(*state, now);
        let units = match (rule, NonZeroU64::new(from.brim)) {
            (CarryOver::Proportional, Some(brim)) => scale_ceil(found.units, self.brim, brim),
            _ => self.rate.convert_ceil(&from.rate, found.units),
        };
        *state = Bucket { units: units.min(self.brim), ..found };
    }

    fn join(&self, state: &mut Bucket, other: &Bucket, now: Timestamp) {
        let (one, other) = (self.at(*state, now), self.at(*other, now));
        let returned = one.returned.max(other.returned);
        *state = Bucket { units: one.units.max(other.units), returned, ..one };
    }

    fn detail(&self, [units, returned]: [u64; 2], _: Timestamp) -> Detail {
        let (level, leak_rate) = (self.rate.permits(units), self.rate.as_fraction());
        Detail { level, leak_rate, returned }
    }

    fn receipt(&self, seen: [u64; 2]) -> [u64; 2] {
        seen
    }

    fn until_more(&self, [units, _]: [u64; 2], _: &Decision) -> Micros {
        self.rate.until_fewer(units)
    }
}
