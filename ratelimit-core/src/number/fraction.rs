//! An exact fraction.

use core::num::NonZeroU64;

/// An exact fraction; the denominator is never zero.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[expect(clippy::exhaustive_structs, reason = "complete by nature")]
pub struct Fraction {
    /// Above the line.
    pub numerator: u64,
    /// Below the line.
    pub denominator: NonZeroU64,
}

impl Fraction {
    /// The nearest double, to show to people; decisions never use it.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "to show to people")]
    pub fn to_f64(self) -> f64 {
        self.numerator as f64 / self.denominator.get() as f64
    }
}
