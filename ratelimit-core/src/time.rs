//! Time as integer microseconds: [`Timestamp`], a point, and [`Micros`], a length.
//!
//! Both are at most 2^53 − 1, the largest integer that every store keeps exactly (a Lua script in
//! Redis computes in doubles, SQLite in signed 64 bits). As a point that is the year 2255. Their
//! operators saturate; adding two points does not compile.

use core::{
    fmt,
    num::NonZeroU64,
    ops::{Add, Sub},
    time::Duration,
};

/// The largest integer below which every store counts exactly: 2^53 − 1.
pub(crate) const EXACT_MAX: u64 = (1 << 53) - 1;

/// A point in time: microseconds since the Unix epoch, at most 2^53 − 1 (the year 2255).
///
/// The sum of a point and a length may lie beyond that, so that it stays exact; no clock is there.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(transparent))]
pub struct Timestamp(u64);

impl Timestamp {
    /// The Unix epoch.
    pub const EPOCH: Self = Self(0);
    /// The last representable point, in the year 2255.
    pub const MAX: Self = Self(EXACT_MAX);

    /// The point `micros` after the epoch, or `None` beyond [`Timestamp::MAX`].
    #[must_use]
    pub const fn from_micros(micros: u64) -> Option<Self> {
        if micros <= EXACT_MAX { Some(Self(micros)) } else { None }
    }

    /// Microseconds since the epoch.
    #[must_use]
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// The point of a word that [`as_micros`](Self::as_micros) gave.
    pub(crate) const fn from_word(micros: u64) -> Self {
        Self(micros)
    }

    /// The start of the `number`th stretch of `length` since the epoch.
    pub(crate) const fn nth(number: u64, length: NonZeroU64) -> Self {
        Self(number.saturating_mul(length.get()))
    }

    /// The last multiple of `length` since the epoch, at or before this point.
    pub(crate) fn floor(self, length: NonZeroU64) -> Self {
        Self(self.0.saturating_sub(self.0 % length))
    }
}

impl Add<Micros> for Timestamp {
    type Output = Self;

    fn add(self, length: Micros) -> Self {
        Self(self.0.saturating_add(length.0))
    }
}

/// The time since `earlier`; zero if that is not earlier.
impl Sub for Timestamp {
    type Output = Micros;

    fn sub(self, earlier: Self) -> Micros {
        Micros::new(self.0.saturating_sub(earlier.0))
    }
}

impl Sub<Micros> for Timestamp {
    type Output = Self;

    fn sub(self, length: Micros) -> Self {
        Self(self.0.saturating_sub(length.0))
    }
}

/// A length of time in microseconds, at most 2^53 − 1 (285 years).
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(transparent))]
pub struct Micros(u64);

impl Micros {
    /// No time at all.
    pub const ZERO: Self = Self(0);
    /// The longest representable length.
    pub const MAX: Self = Self(EXACT_MAX);

    /// A length of `micros`, saturating at [`Micros::MAX`].
    #[must_use]
    pub const fn new(micros: u64) -> Self {
        Self(if micros < EXACT_MAX { micros } else { EXACT_MAX })
    }

    /// A length of `seconds`, saturating at [`Micros::MAX`].
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Self {
        Self::new(seconds.saturating_mul(1_000_000))
    }

    /// A length of `millis`, saturating at [`Micros::MAX`].
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self::new(millis.saturating_mul(1_000))
    }

    /// The shortest length that is not shorter than `duration`, saturating at [`Micros::MAX`].
    #[must_use]
    pub const fn from_duration_ceil(duration: Duration) -> Self {
        let micros = duration.as_nanos().div_ceil(1_000);
        #[expect(clippy::cast_possible_truncation, reason = "compared with a u64 just before")]
        Self(if micros < EXACT_MAX as u128 { micros as u64 } else { EXACT_MAX })
    }

    /// The longest length that is not longer than `duration`, saturating at [`Micros::MAX`].
    #[must_use]
    pub const fn from_duration_floor(duration: Duration) -> Self {
        let micros = duration.as_micros();
        #[expect(clippy::cast_possible_truncation, reason = "compared with a u64 just before")]
        Self(if micros < EXACT_MAX as u128 { micros as u64 } else { EXACT_MAX })
    }

    /// The number of microseconds.
    #[must_use]
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// Whole seconds, rounded up: a caller that waits this long is never early.
    #[must_use]
    pub const fn as_secs_ceil(self) -> u64 {
        self.0.div_ceil(1_000_000)
    }

    /// Returns true if this is no time at all.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }
}

impl Add for Micros {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0).min(EXACT_MAX))
    }
}

impl Sub for Micros {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl From<Micros> for Duration {
    fn from(length: Micros) -> Self {
        Self::from_micros(length.0)
    }
}

#[cfg(feature = "std")]
impl From<Timestamp> for std::time::SystemTime {
    fn from(time: Timestamp) -> Self {
        Self::UNIX_EPOCH.checked_add(Duration::from_micros(time.0)).unwrap_or(Self::UNIX_EPOCH)
    }
}

/// Rounds down to whole microseconds.
#[cfg(feature = "std")]
impl TryFrom<std::time::SystemTime> for Timestamp {
    type Error = TimeOutOfRange;

    fn try_from(time: std::time::SystemTime) -> Result<Self, TimeOutOfRange> {
        let since_epoch = time.duration_since(std::time::SystemTime::UNIX_EPOCH);
        let micros = u64::try_from(since_epoch.map_err(|_| TimeOutOfRange)?.as_micros());
        micros.ok().and_then(Self::from_micros).ok_or(TimeOutOfRange)
    }
}

/// A time before 1970, or after [`Timestamp::MAX`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete by nature")]
pub struct TimeOutOfRange;

impl fmt::Display for TimeOutOfRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("time is before 1970 or after 2255")
    }
}

impl core::error::Error for TimeOutOfRange {}

/// Seconds with as many decimals as it takes: `0.25s`.
impl fmt::Display for Micros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&Duration::from(*self), f)
    }
}

/// Refuses what is beyond [`Timestamp::MAX`].
#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for Timestamp {
    fn deserialize<D: serde::Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let out_of_range = || serde::de::Error::custom("a time beyond the year 2255");
        Self::from_micros(u64::deserialize(input)?).ok_or_else(out_of_range)
    }
}

/// Saturates at [`Micros::MAX`].
#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for Micros {
    fn deserialize<D: serde::Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        u64::deserialize(input).map(Self::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators_saturate_at_both_ends() {
        assert_eq!((Timestamp::MAX + Micros::MAX) - Timestamp::MAX, Micros::MAX);
        assert_eq!(Timestamp::EPOCH - Timestamp::MAX, Micros::ZERO);
        assert_eq!(Timestamp::EPOCH - Micros::new(1), Timestamp::EPOCH);
        assert_eq!(Timestamp(5) - Micros(2), Timestamp(3));
        assert_eq!(Micros::new(u64::MAX), Micros::MAX);
        assert_eq!(Timestamp::from_micros(1 << 53), None);
    }

    #[test]
    fn whole_seconds_round_up() {
        for (nanos, seconds) in [(1, 1), (999_000_000, 1), (1_000_000_000, 1), (1_000_000_001, 2)] {
            let wait = Micros::from_duration_ceil(Duration::from_nanos(nanos));
            assert_eq!(wait.as_secs_ceil(), seconds, "{nanos} ns");
        }
    }

    #[cfg(feature = "std")]
    #[test]
    fn system_times_convert_unless_they_are_out_of_range() {
        use std::time::SystemTime;

        let at = |nanos| SystemTime::UNIX_EPOCH + Duration::from_nanos(nanos);
        assert_eq!(Timestamp::try_from(at(2_999)), Ok(Timestamp(2)));
        assert_eq!(SystemTime::from(Timestamp(2)), at(2_000));
        let before = SystemTime::UNIX_EPOCH - Duration::from_micros(1);
        assert_eq!(Timestamp::try_from(before), Err(TimeOutOfRange));
        let last = SystemTime::from(Timestamp::MAX);
        assert_eq!(Timestamp::try_from(last), Ok(Timestamp::MAX));
        assert_eq!(Timestamp::try_from(last + Duration::from_micros(1)), Err(TimeOutOfRange));
    }

    #[test]
    fn the_longest_duration_saturates() {
        assert_eq!(Micros::from_duration_ceil(Duration::MAX), Micros::MAX);
        assert_eq!(Micros::from_duration_floor(Duration::MAX), Micros::MAX);
        assert_eq!(Micros::from_duration_floor(Duration::from_nanos(2_999)), Micros(2));
    }
}
