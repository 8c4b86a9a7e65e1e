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

fn saturate(count: u128) -> u64 {
    u64::try_from(count).unwrap_or(COUNT_MAX).min(COUNT_MAX)
}
