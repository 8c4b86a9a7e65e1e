//! An exact rate: permits that come back per microsecond, with nothing lost to rounding.
//!
//! `permits` per `period` is reduced to its lowest terms, and levels are counted in *units* so
//! small that one microsecond brings back a whole number of them. So a bucket never drifts: after
//! any time `T` it has taken back exactly `⌊rate · T⌋` permits.
//!
//! If a full bucket would be more units than every store counts exactly, the rate is rounded
//! once: down, to the nearest fraction whose units are coarse enough.

use core::{num::NonZeroU64, time::Duration};

use crate::{
    ConfigError, Fraction, Micros,
    number::{
        self, LIMIT_MAX, PRODUCT_MAX, WINDOW_MAX,
        division::{ceil, gcd, scale_ceil, scale_floor},
    },
};

/// Units that come back per microsecond, and units in a permit.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Rate {
    per_micro: NonZeroU64,
    per_permit: NonZeroU64,
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
        let divisor = gcd(permits.get(), period);
        let exact = Self { per_micro: ceil(permits, divisor), per_permit: ceil(period, divisor) };
        let fill = scale_ceil(capacity.get(), period.get(), permits);
        if WINDOW_MAX.as_micros() < fill {
            return Err(ConfigError::WindowTooLong { field, max: WINDOW_MAX });
        }
        let units_max = PRODUCT_MAX / capacity;
        if exact.per_permit.get() <= units_max {
            return Ok(exact);
        }
        let (per_micro, per_permit) = largest_at_most(exact, units_max);
        match (NonZeroU64::new(per_micro), NonZeroU64::new(per_permit)) {
            (Some(per_micro), Some(per_permit)) => Ok(Self { per_micro, per_permit }),
            _ => Err(ConfigError::Unrepresentable { field }),
        }
    }

    /// Units in a permit, units that come back per microsecond.
    pub(crate) const fn terms(&self) -> [u64; 2] {
        [self.per_permit.get(), self.per_micro.get()]
    }

    /// The units in `permits`.
    pub(crate) const fn units(&self, permits: u64) -> u64 {
        permits.saturating_mul(self.per_permit.get())
    }

    /// Whole permits in `units`.
    pub(crate) fn permits_floor(&self, units: u64) -> u64 {
        units / self.per_permit
    }

    /// Permits in `units`, where a part of one counts as one.
    pub(crate) const fn permits_ceil(&self, units: u64) -> u64 {
        units.div_ceil(self.per_permit.get())
    }

    /// Permits in `units`, exactly.
    pub(crate) const fn permits(&self, units: u64) -> Fraction {
        Fraction { numerator: units, denominator: self.per_permit }
    }

    /// Permits per microsecond, exactly.
    pub(crate) const fn as_fraction(&self) -> Fraction {
        Fraction { numerator: self.per_micro.get(), denominator: self.per_permit }
    }

    /// The most permits that may be owed: as many as come back in [`WINDOW_MAX`], but so few that their
    /// units and those of a full bucket, which are at most [`PRODUCT_MAX`], have an exact sum.
    pub(crate) fn debt_max(&self) -> u64 {
        let units = self.units_in(WINDOW_MAX).min(u64::MAX.saturating_sub(PRODUCT_MAX));
        self.permits_floor(units).min(LIMIT_MAX)
    }

    /// The units that come back in `length`. Most rates bring back one in a microsecond: a period
    /// is most often a multiple of its permits.
    #[inline]
    pub(crate) const fn units_in(&self, length: Micros) -> u64 {
        match self.per_micro {
            NonZeroU64::MIN => length.as_micros(),
            per_micro => length.as_micros().saturating_mul(per_micro.get()),
        }
    }

    /// The time that `units` take to come back.
    #[inline]
    pub(crate) const fn time_for(&self, units: u64) -> Micros {
        match self.per_micro {
            NonZeroU64::MIN => Micros::new(units),
            per_micro => Micros::new(units.div_ceil(per_micro.get())),
        }
    }

    /// The time until there is one whole permit more than in `units`.
    pub(crate) fn until_whole(&self, units: u64) -> Micros {
        self.time_for(self.per_permit.get().saturating_sub(units % self.per_permit))
    }

    /// The time until there is one whole permit less than in `units`, rounded up.
    pub(crate) fn until_fewer(&self, units: u64) -> Micros {
        match units % self.per_permit {
            0 => self.time_for(self.per_permit.get()),
            over => self.time_for(over),
        }
    }

    /// `units` of the rate `from` in units of this one, rounded down.
    pub(crate) fn convert_floor(&self, from: &Self, units: u64) -> u64 {
        scale_floor(units, self.per_permit.get(), from.per_permit)
    }

    /// `units` of the rate `from` in units of this one, rounded up.
    pub(crate) fn convert_ceil(&self, from: &Self, units: u64) -> u64 {
        scale_ceil(units, self.per_permit.get(), from.per_permit)
    }
}

/// The largest fraction that is at most `rate` and has a denominator of at most `units_max`.
///
/// Walks down the Stern–Brocot tree between a fraction below and one above, as many steps at once
/// as go in the same direction, until the next step would pass `units_max`.
fn largest_at_most(rate: Rate, units_max: u64) -> (u64, u64) {
    let (numerator, denominator) = (rate.per_micro.get().into(), rate.per_permit.get().into());
    let distance =
        |(n, d): (u128, u128)| n.saturating_mul(denominator).abs_diff(d.saturating_mul(numerator));
    let steps_to = |from: (u128, u128), by: (u128, u128)| {
        u128::from(units_max).saturating_sub(from.1).checked_div(by.1).unwrap_or(u128::MAX)
    };
    let step = |from: (u128, u128), by: (u128, u128), times: u128| {
        let add = |from: u128, by: u128| from.saturating_add(by.saturating_mul(times));
        (add(from.0, by.0), add(from.1, by.1))
    };
    let (mut below, mut above): ((u128, u128), (u128, u128)) = ((0, 1), (1, 0));
    loop {
        let up = distance(below).checked_div(distance(above)).unwrap_or(0);
        let up = up.min(steps_to(below, above));
        below = step(below, above, up);
        let down = distance(above).saturating_sub(1).checked_div(distance(below)).unwrap_or(0);
        let down = down.min(steps_to(above, below));
        above = step(above, below, down);
        if up == 0 && down == 0 {
            let narrow = |n| u64::try_from(n).unwrap_or(u64::MAX);
            return (narrow(below.0), narrow(below.1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rounded_rate_is_the_largest_fraction_that_fits() {
        let rate = |(n, d)| Rate {
            per_micro: NonZeroU64::new(n).unwrap(),
            per_permit: NonZeroU64::new(d).unwrap(),
        };
        let end = if cfg!(miri) { 8 } else { 40_u64 };
        for numerator in 1..end {
            for denominator in 2..end {
                for most in 1..denominator {
                    let below = (1..=most).map(|d| (numerator * d / denominator, d));
                    let (n, d) = below.max_by(|a, b| (a.0 * b.1).cmp(&(b.0 * a.1))).unwrap();
                    let (found_n, found_d) = largest_at_most(rate((numerator, denominator)), most);
                    assert!((1..=most).contains(&found_d));
                    assert_eq!(found_n * d, n * found_d, "{numerator}/{denominator} in {most}");
                }
            }
        }
    }
}
