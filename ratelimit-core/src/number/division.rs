//! Divisions that say how they round.

use core::num::NonZeroU64;

use super::PRODUCT_MAX;

/// The greatest common divisor.
pub(crate) fn gcd(mut a: u64, mut b: NonZeroU64) -> NonZeroU64 {
    loop {
        match NonZeroU64::new(a % b) {
            None => return b,
            Some(rest) => {
                a = b.get();
                b = rest;
            }
        }
    }
}

/// `⌈value / divisor⌉`, in place of `NonZero::div_ceil`, which compilers before 1.92 lack.
pub(crate) fn ceil(value: NonZeroU64, divisor: NonZeroU64) -> NonZeroU64 {
    // The quotient of a value that is not zero is at least one.
    NonZeroU64::new(value.get().div_ceil(divisor.get())).unwrap_or(NonZeroU64::MIN)
}

/// The largest count that is ever stored. Nothing that was admitted comes near; a count that is
/// carried over to greater limits, again and again, ends here.
const COUNT_MAX: u64 = PRODUCT_MAX.saturating_sub(1);

/// `⌊value · numerator / denominator⌋`, exact, saturating at [`COUNT_MAX`].
pub(crate) fn scale_floor(value: u64, numerator: u64, denominator: NonZeroU64) -> u64 {
    let product = u128::from(value).saturating_mul(u128::from(numerator));
    saturate(product.div_euclid(u128::from(denominator.get())))
}

/// `⌈value · numerator / denominator⌉`, exact, saturating at [`COUNT_MAX`].
pub(crate) fn scale_ceil(value: u64, numerator: u64, denominator: NonZeroU64) -> u64 {
    let product = u128::from(value).saturating_mul(u128::from(numerator));
    saturate(product.div_ceil(u128::from(denominator.get())))
}

/// A limit, `is`, beside the one that it follows, `of`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Share {
    pub(crate) of: NonZeroU64,
    pub(crate) is: NonZeroU64,
}

impl Share {
    /// Equal limits.
    pub(crate) const WHOLE: Self = Self { of: NonZeroU64::MIN, is: NonZeroU64::MIN };

    /// `⌈count / divisor⌉` of the old limit in permits of the new one, rounded once, saturating at
    /// [`COUNT_MAX`].
    pub(crate) fn ceil(self, count: impl Into<u128>, divisor: u64) -> u64 {
        let product = count.into().saturating_mul(self.is.get().into());
        let divisor = u128::from(divisor).saturating_mul(self.of.get().into());
        saturate(product.div_ceil(divisor.max(1)))
    }
}

fn saturate(count: u128) -> u64 {
    u64::try_from(count).unwrap_or(COUNT_MAX).min(COUNT_MAX)
}
