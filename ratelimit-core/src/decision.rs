//! The answer to a check: a small value that is copied, not borrowed.

use crate::{Micros, Timestamp};

/// The answer to one check of one policy and key.
///
/// The quantities describe the key after the charge where there was one, and as it stands where
/// there was none (a denial, a peek).
///
/// It is made of whole words throughout: a decision is copied more often than it is looked at, and
/// one with gaps is copied byte by byte, which takes as long as making it.
#[must_use = "a decision that nobody looks at limits nothing"]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Decision {
    /// Whether the request may go on.
    pub outcome: Outcome,
    /// The most permits that a key as good as new has.
    pub limit: u64,
    /// Exactly how many further requests of cost 1 would be admitted at this instant.
    pub remaining: u64,
    /// The time until the key is as good as new, if nobody spends.
    pub reset_after: Micros,
    /// What the algorithm saw, for those who look.
    pub detail: Detail,
    /// The instant of the decision, by the store's clock.
    pub at: Timestamp,
    /// Where the outcome comes from.
    pub source: Source,
}

impl Decision {
    /// Whether the request may go on (after its `delay`, where pacing applies).
    #[must_use]
    pub const fn is_allowed(&self) -> bool {
        matches!(self.outcome, Outcome::Allow { .. })
    }

    /// The time until this very request would be admitted, if nobody else spends; zero when it
    /// was admitted.
    #[must_use]
    pub const fn retry_after(&self) -> Micros {
        match self.outcome {
            Outcome::Allow { .. } => Micros::ZERO,
            Outcome::Deny { retry_after } => retry_after,
        }
    }
}

/// Where an outcome comes from. The core only ever says [`Store`](Self::Store); the others are for
/// what stands between a store and those who ask it.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
#[repr(u64)]
pub enum Source {
    /// From what the store holds.
    #[default]
    Store,
    /// From an earlier denial, which still holds; the store was not asked.
    Cache,
    /// From a list of keys that are always allowed, or always denied; the store was not asked.
    List,
    /// The store denied, and the request is let through all the same: its limit is only watched.
    Shadow,
    /// The store failed, and a limit kept in this process stands in for it.
    Local,
    /// The store failed, and the request is let through without a limit.
    Open,
}

/// Whether a request may go on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[expect(clippy::exhaustive_enums, reason = "complete by nature")]
pub enum Outcome {
    /// It may, once `delay` has passed.
    Allow {
        /// Zero, but for a leaky bucket used as a queue.
        delay: Micros,
    },
    /// It may not; nothing was charged.
    Deny {
        /// The time until this very request would be admitted, if nobody else spends: not a
        /// microsecond less, not one more.
        retry_after: Micros,
    },
}

impl Outcome {
    /// Admitted at once.
    pub(crate) const ALLOW: Self = Self::Allow { delay: Micros::ZERO };
}

/// What the algorithm saw.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
#[repr(u64)]
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
#[repr(u64)]
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
    pub denominator: core::num::NonZeroU64,
}

impl Fraction {
    /// The nearest double, to show to people; decisions never use it.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "to show to people")]
    pub fn to_f64(self) -> f64 {
        self.numerator as f64 / self.denominator.get() as f64
    }
}

/// How a key stands at an instant: a decision without its outcome.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Standing {
    pub(crate) limit: u64,
    pub(crate) remaining: u64,
    pub(crate) reset_after: Micros,
    pub(crate) detail: Detail,
}

impl Standing {
    /// Of nothing at all.
    pub(crate) const NONE: Self = Self {
        limit: 0,
        remaining: 0,
        reset_after: Micros::ZERO,
        detail: Detail::SlidingWindowLog { used: 0 },
    };

    pub(crate) const fn with(self, outcome: Outcome, at: Timestamp) -> Decision {
        let Self { limit, remaining, reset_after, detail } = self;
        Decision { outcome, limit, remaining, reset_after, detail, at, source: Source::Store }
    }
}
