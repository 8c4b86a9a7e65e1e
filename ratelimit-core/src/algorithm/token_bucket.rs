//! Token bucket: `capacity` tokens at most, refilled at a steady rate.
//!
//! A request takes as many tokens as it costs, or is denied. A quiet key saves up tokens for a
//! burst; over any time `T` at most `capacity + ⌊rate · T⌋` permits are admitted. The level is
//! computed at each check, so an idle key costs nothing.

use alloc::{vec, vec::Vec};
use core::{num::NonZeroU64, time::Duration};

use crate::{
    CarryOver, ConfigError, Cost, Decision, Fraction, Micros, Outcome, Receipt, Timestamp,
    algorithm::definition::{Definition, Leasing, Size},
    decision::Standing,
    number::{self, division::scale_floor, encoding::Reader, rate::Rate},
    state::level::Bucket,
};

/// `capacity` tokens, refilled at a rate.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Quota {
    capacity: NonZeroU64,
    refill: NonZeroU64,
    period: Duration,
    initial: u64,
    rate: Rate,
    /// The units in `capacity`.
    full: u64,
}

/// The numbers that a token bucket decided by.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Detail {
    /// Tokens in the bucket, with their fraction.
    pub tokens: Fraction,
    /// Tokens that come back per microsecond.
    pub refill_rate: Fraction,
    /// Permits given back since the bucket last rested for as long as it takes to fill.
    pub returned: u64,
}

impl Quota {
    /// A bucket of `capacity` tokens that is refilled with `refill` tokens per `period`.
    ///
    /// The rate is exact. (Where `capacity` times the reduced period passes 2^52 it is rounded
    /// down once, here, by less than one part in 2^51 / `capacity`.)
    ///
    /// # Errors
    ///
    /// If a number is zero or beyond [`LIMIT_MAX`](crate::LIMIT_MAX),
    /// [`WINDOW_MAX`](crate::WINDOW_MAX), or the bucket takes longer than that to fill.
    pub fn new(capacity: u64, refill: u64, period: Duration) -> Result<Self, ConfigError> {
        let refill = number::limit("limit", refill)?;
        let capacity = number::limit("burst", capacity)?;
        let rate = Rate::new("refill", refill, period, capacity)?;
        let full = rate.units(capacity.get());
        Ok(Self { capacity, refill, period, initial: capacity.get(), rate, full })
    }

    /// A key never seen starts with `initial` tokens instead of a full bucket.
    ///
    /// A key is forgotten, and starts like that again, when it has rested for twice the time that
    /// an empty bucket takes to fill. A block is no rest. A batch that has to wait for another limit
    /// for longer than that may find the key forgotten, and is then denied once more, for no longer
    /// than the bucket takes to fill.
    ///
    /// # Errors
    ///
    /// If `initial` exceeds the capacity.
    pub const fn with_initial(self, initial: u64) -> Result<Self, ConfigError> {
        let max = self.capacity.get();
        if max < initial {
            return Err(ConfigError::LimitTooLarge { field: "initial", max });
        }
        Ok(Self { initial, ..self })
    }

    /// The rest after which a key is forgotten, where that makes a difference.
    #[inline(always)]
    fn forgets_after(&self) -> Option<Micros> {
        (self.initial < self.capacity.get()).then(|| {
            let fill = self.rate.time_for(self.full);
            fill + fill
        })
    }

    /// The bucket as `now` finds it.
    #[inline(always)]
    fn at(&self, state: Bucket, now: Timestamp) -> Bucket {
        let back = self.rate.units_in(now - state.at);
        let gained = back.min(self.full.saturating_sub(state.units));
        state.counted(state.units.saturating_add(gained), now, self.full <= back)
    }

    /// The time until the bucket holds `units`.
    const fn until(&self, level: Bucket, units: u64) -> Micros {
        self.rate.time_for(units.saturating_sub(level.units))
    }
}

impl Definition for Quota {
    type State = Bucket;
    type Detail = Detail;

    const NAME: &'static str = "token bucket";
    const KIND: u8 = 4;

    fn size(&self) -> Size {
        let window = Some(self.rate.time_for(self.full));
        Size { limit: self.capacity.get(), window, rate: self.rate.as_fraction() }
    }

    fn numbers(&self) -> Vec<u64> {
        vec![self.capacity.get(), self.refill.get(), number::micros(self.period), self.initial]
    }

    fn read(input: &mut Reader<'_>) -> Option<Self> {
        let [capacity, refill, period, initial] = input.numbers()?;
        let quota = Self::new(capacity, refill, Duration::from_micros(period)).ok()?;
        quota.with_initial(initial).ok()
    }

    /// Levels are counted in units.
    fn terms(&self, _: Timestamp) -> Vec<(&'static str, u64)> {
        let [permit, gain] = self.rate.terms();
        vec![
            ("capacity", self.full),
            ("permit", permit),
            ("gain", gain),
            ("initial", self.rate.units(self.initial)),
            ("memory", self.forgets_after().map_or(0, Micros::as_micros)),
        ]
    }

    fn read_state(&self, input: &mut Reader<'_>) -> Option<Bucket> {
        Bucket::read(input, self.full)
    }

    /// As much as comes back in the time of a lease may be used on top.
    fn leasing(&self, length: Micros) -> Option<Leasing> {
        let excess_max = self.rate.permits_ceil(self.rate.units_in(length));
        Some(Leasing { excess_max, ends_with_window: false })
    }

    /// So many tokens fewer.
    fn for_leases(&self, length: Micros) -> Result<Self, ConfigError> {
        let capacity =
            self.capacity.get().saturating_sub(self.rate.permits_ceil(self.rate.units_in(length)));
        let quota = Self::new(capacity, self.refill.get(), self.period)?;
        quota.with_initial(self.initial.min(capacity))
    }

    fn fresh(&self, now: Timestamp) -> Bucket {
        Bucket::new(self.rate.units(self.initial), now)
    }

    #[inline(always)]
    fn rewind(&self, state: &mut Bucket, now: Timestamp) {
        state.at = state.at.min(now);
    }

    fn memory(&self) -> Micros {
        self.forgets_after().unwrap_or(Micros::ZERO)
    }

    fn touch(&self, state: &mut Bucket, at: Timestamp) {
        if self.forgets_after().is_some_and(|memory| memory <= at - state.at) {
            *state = self.at(*state, at);
        }
    }

    #[inline(always)]
    fn renew(&self, state: &mut Bucket, now: Timestamp) {
        if self.forgets_after().is_some_and(|memory| memory <= now - state.at) {
            *state = self.fresh(now);
        }
    }

    #[inline(always)]
    fn found(&self, state: &Bucket, now: Timestamp) -> Option<Bucket> {
        Some(self.at(*state, now))
    }

    #[inline(always)]
    fn outcome(&self, level: &Bucket, _: Timestamp, cost: Cost) -> Outcome {
        let needed = self.rate.units(cost.get());
        if level.units < needed {
            return Outcome::Deny { retry_after: self.until(*level, needed) };
        }
        Outcome::ALLOW
    }

    #[inline(always)]
    fn charge(&self, level: &mut Bucket, _: Timestamp, cost: Cost) {
        level.units = level.units.saturating_sub(self.rate.units(cost.get()));
    }

    fn refund(&self, state: &mut Bucket, now: Timestamp, cost: Cost) {
        let level = self.at(*state, now);
        let units = level.units.saturating_add(self.rate.units(cost.get())).min(self.full);
        *state = level.given(cost.get(), units);
    }

    fn settle(&self, state: &mut Bucket, now: Timestamp, cost: Cost, receipt: Receipt) {
        let level = self.at(*state, now);
        let given = self.rate.units(cost.get()).min(state.left_of(receipt, &self.rate, now));
        if given != 0 {
            let units = level.units.saturating_add(given).min(self.full);
            *state = level.given(self.rate.permits_ceil(given), units);
        }
    }

    fn debt_max(&self) -> u64 {
        self.rate.debt_max()
    }

    /// The bucket is as many units below empty as it takes; what the last microsecond brings too much is
    /// left in it.
    fn repay(&self, state: &Bucket, owed: Cost) -> Option<(Timestamp, Bucket)> {
        let missing = self.rate.units(owed.get()).saturating_sub(state.units);
        let length = self.rate.time_for(missing);
        let back = self.rate.units_in(length);
        let (at, units) = (state.at + length, back.saturating_sub(missing).min(self.full));
        Some((at, state.counted(units, at, self.full <= back)))
    }

    #[inline(always)]
    fn standing(&self, level: &Bucket, _: Timestamp) -> Standing {
        Standing {
            limit: self.capacity.get(),
            remaining: self.rate.permits_floor(level.units),
            reset_after: self.until(*level, self.full),
            seen: [level.units, level.returned],
        }
    }

    fn lifetime(&self, state: &Bucket, now: Timestamp) -> Micros {
        match self.forgets_after() {
            Some(memory) => memory - (now - state.at),
            None => {
                let fill = self.rate.time_for(self.full);
                self.until(self.at(*state, now), self.full).max(state.lifetime(fill, now))
            }
        }
    }

    fn carry(&self, from: &Self, state: &mut Bucket, rule: CarryOver, now: Timestamp) {
        let found = from.at(*state, now);
        let units = match (rule, NonZeroU64::new(from.full)) {
            (CarryOver::Proportional, Some(full)) => scale_floor(found.units, self.full, full),
            _ => self.rate.convert_floor(&from.rate, found.units),
        };
        *state = Bucket { units: units.min(self.full), ..found };
    }

    fn join(&self, state: &mut Bucket, other: &Bucket, now: Timestamp) {
        let (one, other) = (self.at(*state, now), self.at(*other, now));
        let returned = one.returned.max(other.returned);
        *state = Bucket { units: one.units.min(other.units), returned, ..one };
    }

    fn detail(&self, [units, returned]: [u64; 2], _: Timestamp) -> Detail {
        let (tokens, refill_rate) = (self.rate.permits(units), self.rate.as_fraction());
        Detail { tokens, refill_rate, returned }
    }

    fn receipt(&self, [units, returned]: [u64; 2]) -> [u64; 2] {
        [self.full.saturating_sub(units), returned]
    }

    fn until_more(&self, [units, _]: [u64; 2], _: &Decision) -> Micros {
        self.rate.until_whole(units)
    }
}
