//! The line on which the adaptive hybrid's burst follows the load: whole, falling, cut.
//!
//! The configuration's fractions become integers here, once. Between the thresholds the effective
//! burst is `(offset − slope · admitted) / divisor`, rounded down; where these three would pass
//! what every store multiplies exactly they are rounded once, so that the burst is never larger.

use core::num::NonZeroU64;

use crate::number::{MILLION, PRODUCT_MAX};

/// The effective burst as a function of the number of requests admitted lately.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Load {
    numbers: Numbers,
    whole: NonZeroU64,
    cut: NonZeroU64,
    /// The most admitted requests that leave the burst whole.
    low: u64,
    /// The least that cut it by the full penalty.
    high: u64,
    offset: u64,
    slope: u64,
    divisor: NonZeroU64,
}

/// The parameters, fractions in parts per million and lengths in microseconds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Numbers {
    pub(crate) limit: NonZeroU64,
    pub(crate) window: NonZeroU64,
    pub(crate) adaptive_window: NonZeroU64,
    pub(crate) multiplier: u64,
    pub(crate) high: u64,
    pub(crate) low: u64,
    pub(crate) penalty: u64,
}

impl Load {
    /// The line of these numbers. `None` if the numbers are so odd that the exact line cannot be
    /// formed in 128 bits.
    pub(crate) fn of(numbers: Numbers) -> Option<Self> {
        let [limit, window, adaptive_window] =
            [numbers.limit, numbers.window, numbers.adaptive_window].map(|n| u128::from(n.get()));
        let [multiplier, high, low, penalty, million] =
            [numbers.multiplier, numbers.high, numbers.low, numbers.penalty, MILLION]
                .map(u128::from);
        let spread = high.checked_sub(low)?;

        // Requests per adaptive window at the base rate, and the thresholds' shares of them.
        let base = limit.checked_mul(adaptive_window)?;
        let unit = window.checked_mul(million)?;
        let low_count = base.checked_mul(low)?.checked_div(unit)?;
        let high_count = base.checked_mul(high)?.div_ceil(unit);

        // limit · multiplier · (1 − penalty · (admitted − low) / (high − low)), on one line.
        let shared = gcd(adaptive_window, window);
        let (adaptive_window, window) =
            (adaptive_window.checked_div(shared)?, window.checked_div(shared)?);
        let inner = spread.checked_mul(million)?.checked_add(penalty.checked_mul(low)?)?;
        let burst = limit.checked_mul(multiplier)?;
        let offset = burst.checked_mul(adaptive_window)?.checked_mul(inner)?;
        let slope = multiplier.checked_mul(penalty)?.checked_mul(window)?.checked_mul(million)?;
        let divisor =
            spread.checked_mul(adaptive_window)?.checked_mul(million)?.checked_mul(million)?;
        let shared = gcd(gcd(offset, slope), divisor);
        let largest = offset.max(slope).max(divisor);
        let coarse = shared.max(largest.div_ceil(u128::from(PRODUCT_MAX)));

        let cut = burst.checked_mul(million.checked_sub(penalty)?)?;
        Some(Self {
            numbers,
            whole: at_least_one(burst.checked_div(million)?)?,
            cut: at_least_one(cut.checked_div(million.checked_mul(million)?)?)?,
            low: u64::try_from(low_count).ok()?,
            high: u64::try_from(high_count).ok()?,
            offset: u64::try_from(offset.checked_div(coarse)?).ok()?,
            slope: u64::try_from(slope.div_ceil(coarse)).ok()?,
            divisor: at_least_one(divisor.div_ceil(coarse))?,
        })
    }

    pub(crate) const fn numbers(&self) -> &Numbers {
        &self.numbers
    }

    /// The numbers of the line, by name.
    pub(crate) const fn terms(&self) -> [(&'static str, u64); 7] {
        [
            ("whole", self.whole.get()),
            ("cut", self.cut.get()),
            ("low", self.low),
            ("high", self.high),
            ("offset", self.offset),
            ("slope", self.slope),
            ("divisor", self.divisor.get()),
        ]
    }

    /// The burst when there is no load.
    pub(crate) const fn whole(&self) -> u64 {
        self.whole.get()
    }

    pub(crate) const fn whole_nonzero(&self) -> NonZeroU64 {
        self.whole
    }

    /// The burst under the highest load.
    pub(crate) const fn cut_nonzero(&self) -> NonZeroU64 {
        self.cut
    }

    /// The effective burst when `admitted` requests were admitted lately.
    pub(crate) fn burst(&self, admitted: u64) -> u64 {
        if admitted <= self.low {
            self.whole.get()
        } else if self.high <= admitted {
            self.cut.get()
        } else {
            let line = self.offset.saturating_sub(self.slope.saturating_mul(admitted));
            (line / self.divisor).max(self.cut.get())
        }
    }
}

fn at_least_one(value: u128) -> Option<NonZeroU64> {
    NonZeroU64::new(u64::try_from(value.max(1)).ok()?)
}

fn gcd(a: u128, b: u128) -> u128 {
    match a.checked_rem(b) {
        None => a,
        Some(rest) => gcd(b, rest),
    }
}
