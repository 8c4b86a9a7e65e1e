//! The resolution at which time turns into permits.
//!
//! A microsecond, but where a limit times a window would pass what every store multiplies
//! exactly. There a tick is as many microseconds as it takes, and the window, counted in ticks,
//! rounds up: the coarser resolution is never in the caller's favour, and slows a rate by less
//! than one part in 2^52 / limit.

use core::num::NonZeroU64;

use crate::{
    Micros,
    number::{PRODUCT_MAX, division::ceil},
};

/// A number of microseconds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Tick(NonZeroU64);

impl Tick {
    /// The shortest tick such that `count` times `length` in ticks is at most [`PRODUCT_MAX`];
    /// and that length, rounded up.
    pub(crate) fn fit(length: NonZeroU64, count: NonZeroU64) -> (Self, NonZeroU64) {
        let most = NonZeroU64::new(PRODUCT_MAX / count);
        let tick = most.map_or(length, |most| ceil(length, most));
        (Self(tick), ceil(length, tick))
    }

    /// Whole ticks in `elapsed`.
    pub(crate) fn whole(self, elapsed: Micros) -> u64 {
        if self.0 == NonZeroU64::MIN { elapsed.as_micros() } else { elapsed.as_micros() / self.0 }
    }

    /// The length of `ticks`.
    pub(crate) const fn length(self, ticks: u64) -> Micros {
        Micros::new(self.0.get().saturating_mul(ticks))
    }

    /// Microseconds in a tick.
    pub(crate) const fn micros(self) -> NonZeroU64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn nonzero(value: u64) -> NonZeroU64 {
        NonZeroU64::new(value).unwrap()
    }

    #[test]
    fn a_tick_is_a_microsecond_until_products_pass_the_bound() {
        let hour = nonzero(3_600_000_000);
        assert_eq!(Tick::fit(hour, nonzero(1_000_000)), (Tick(NonZeroU64::MIN), hour));
        let (tick, ticks) = Tick::fit(hour, nonzero(1_000_000_000_000));
        assert!(ticks.get() * 1_000_000_000_000 <= PRODUCT_MAX);
        assert!(hour.get() <= ticks.get() * tick.micros().get());
    }
}
