//! Exact integers: divisions that say how they round, and numbers checked once, at the edge.
//!
//! Every product that a decision forms stays at or below [`PRODUCT_MAX`], so that a store that
//! computes in doubles forms it exactly too.

pub(crate) mod division;
pub(crate) mod encoding;
pub(crate) mod fraction;
pub(crate) mod rate;
pub(crate) mod tick;

use core::{num::NonZeroU64, time::Duration};

use crate::{ConfigError, Micros, time::EXACT_MAX};

/// The largest limit, burst or cost: a million million permits.
pub const LIMIT_MAX: u64 = 1_000_000_000_000;

/// The limit, and what remains of it, where permits are counted and none is ever denied.
pub const UNLIMITED: u64 = EXACT_MAX;

/// The longest window, and the longest time a bucket may take to fill: 3 650 days.
pub const WINDOW_MAX: Micros = Micros::from_secs(3_650 * 86_400);

/// The shortest window.
pub const WINDOW_MIN: Micros = Micros::new(1);

/// The largest product of a count and a number of ticks: half of what doubles hold exactly, so
/// that the sum of two still fits.
pub(crate) const PRODUCT_MAX: u64 = 1 << 52;

/// A limit, burst or cap called `field`, from 1 to [`LIMIT_MAX`].
pub(crate) fn limit(field: &'static str, value: u64) -> Result<NonZeroU64, ConfigError> {
    at_most(LIMIT_MAX, field, value)
}

/// A count called `field`, from 1 to `max`.
pub(crate) fn at_most(
    max: u64,
    field: &'static str,
    value: u64,
) -> Result<NonZeroU64, ConfigError> {
    let value = NonZeroU64::new(value).ok_or(ConfigError::ZeroLimit { field })?;
    if max < value.get() { Err(ConfigError::LimitTooLarge { field, max }) } else { Ok(value) }
}

/// A window called `field`, a whole number of microseconds from [`WINDOW_MIN`] to [`WINDOW_MAX`].
pub(crate) fn window(field: &'static str, length: Duration) -> Result<NonZeroU64, ConfigError> {
    if length.is_zero() {
        return Err(ConfigError::ZeroWindow { field });
    }
    if length < Duration::from(WINDOW_MIN) {
        return Err(ConfigError::WindowTooShort { field, min: WINDOW_MIN });
    }
    if Duration::from(WINDOW_MAX) < length {
        return Err(ConfigError::WindowTooLong { field, max: WINDOW_MAX });
    }
    if !length.subsec_nanos().is_multiple_of(1_000) {
        return Err(ConfigError::Unrepresentable { field });
    }
    NonZeroU64::new(Micros::from_duration_ceil(length).as_micros())
        .ok_or(ConfigError::ZeroWindow { field })
}

/// A fraction called `field` in parts per million, rounded to the nearest one.
///
/// Refuses NaN, infinities, and what is not from `low` to `high`.
pub(crate) fn parts_per_million(
    field: &'static str,
    value: f64,
    low: f64,
    high: f64,
) -> Result<u64, ConfigError> {
    if !value.is_finite() {
        return Err(ConfigError::NotFinite { field });
    }
    if value < low || high < value || (value == 0.0 && value.is_sign_negative()) {
        return Err(ConfigError::OutOfRange { field, low, high });
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 ≤ low ≤ value")]
    Ok((value * 1e6 + 0.5) as u64)
}

/// The fraction that [`parts_per_million`] makes `parts` of.
#[expect(clippy::cast_precision_loss, reason = "exact below 2^53, and out of range beyond")]
pub(crate) fn from_parts_per_million(parts: u64) -> f64 {
    parts as f64 / 1e6
}

/// Parts in a whole, for fractions in parts per million.
pub(crate) const MILLION: u64 = 1_000_000;

/// Hashes bytes by FNV-1a.
pub(crate) fn hash(bytes: impl Iterator<Item = u8>) -> u64 {
    let mix = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.fold(0xcbf2_9ce4_8422_2325, mix)
}

/// The microseconds of a length that a constructor has accepted.
pub(crate) fn micros(length: Duration) -> u64 {
    Micros::from_duration_ceil(length).as_micros()
}
