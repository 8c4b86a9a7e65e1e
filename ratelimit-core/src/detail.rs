//! What an algorithm saw when it decided.

use core::num::NonZeroU64;

use crate::Timestamp;

/// What an algorithm saw, for those who look: [`Decision::detail`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub enum Detail {
    /// Of a fixed window.
    FixedWindow {
        /// When the window that counts now began.
        window_start: Timestamp,
        /// Permits spent in it.
        used: u64,
    },
    /// Of a sliding window log.
    SlidingWindowLog {
        /// Permits spent within the last window.
        used: u64,
    },
    /// Of a sliding window counter.
    SlidingWindowCounter {
        /// Permits spent in the window before the current one.
        previous: u64,
        /// Permits spent in the current window.
        current: u64,
        /// The share of `previous` that still counts.
        weight: Fraction,
    },
    /// Of a token bucket.
    TokenBucket {
        /// Tokens in the bucket, with their fraction.
        tokens: Fraction,
        /// Tokens that come back per microsecond.
        refill_rate: Fraction,
        /// Permits given back since the bucket last rested for as long as it takes to fill.
        returned: u64,
    },
    /// Of a leaky bucket.
    LeakyBucket {
        /// Permits in the bucket, with their fraction.
        level: Fraction,
        /// Permits that leak per microsecond.
        leak_rate: Fraction,
        /// Permits given back since the bucket last rested for as long as it takes to drain.
        returned: u64,
    },
    /// Of an adaptive hybrid.
    Adaptive {
        /// The layer that denied, or, of a request that was admitted, the one with less room.
        layer: AdaptiveLayer,
        /// Permits that either layer holds at the present load.
        effective_burst: u64,
        /// Permits spent within the last window, as the guard sees it.
        used: u64,
        /// Whole tokens in the bucket.
        tokens: u64,
        /// Requests that the load sensor counts.
        admitted: u64,
    },
}

/// The two layers of the adaptive hybrid.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[expect(clippy::exhaustive_enums, reason = "complete by nature")]
pub enum AdaptiveLayer {
    /// The sliding window that guards the bucket.
    SlidingWindow,
    /// The token bucket behind it.
    TokenBucket,
}

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
