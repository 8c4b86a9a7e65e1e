//! Builders of the seven algorithms: `TokenBucket::per_second(10).burst(20)`, or, from text,
//! `"10/1s".parse::<TokenBucket>()?`.
//!
//! A builder takes any number and refuses nothing. It becomes an [`Algorithm`], or a
//! [`ConfigError`] that names the field, when a limiter is built from it.

use std::{fmt, str::FromStr, time::Duration};

use ratelimit_core::{
    Algorithm, ConfigError, adaptive, adaptive::Scope, fixed_window, fixed_window::Align,
    in_flight, leaky_bucket, sliding_window_counter, sliding_window_log, token_bucket,
};

use crate::config::notation::{self, NotationError};

macro_rules! per {
    ($algorithm:ident $(. $parameters:tt)?) => {
        impl $algorithm {
            /// `limit` permits per second.
            pub const fn per_second(limit: u64) -> Self {
                Self::per(limit, Duration::from_secs(1))
            }

            /// `limit` permits per minute.
            pub const fn per_minute(limit: u64) -> Self {
                Self::per(limit, Duration::from_secs(60))
            }

            /// `limit` permits per hour.
            pub const fn per_hour(limit: u64) -> Self {
                Self::per(limit, Duration::from_secs(3_600))
            }

            /// `limit` permits per day of 24 hours.
            pub const fn per_day(limit: u64) -> Self {
                Self::per(limit, Duration::from_secs(86_400))
            }
        }

        /// Writes the limit and its window, as in `100/1m`, and none of the other numbers.
        impl fmt::Display for $algorithm {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let numbers = self$(.$parameters)?;
                notation::write_limit(f, numbers.limit, numbers.window)
            }
        }

        /// Reads a limit and its window, as in `100/60s`.
        impl FromStr for $algorithm {
            type Err = NotationError;

            fn from_str(text: &str) -> Result<Self, NotationError> {
                let (limit, window) = notation::limit(text)?;
                Ok(Self::per(limit, window))
            }
        }
    };
}

/// A limit for each window; see [`fixed_window`].
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FixedWindow {
    limit: u64,
    window: Duration,
    align: Align,
}

per!(FixedWindow);

impl FixedWindow {
    /// `limit` permits per `window`.
    pub const fn per(limit: u64, window: Duration) -> Self {
        Self { limit, window, align: Align::Epoch }
    }

    /// The start of windows; by default at whole multiples of the window since the epoch.
    pub const fn align(self, align: Align) -> Self {
        Self { align, ..self }
    }
}

impl TryFrom<FixedWindow> for Algorithm {
    type Error = ConfigError;

    fn try_from(builder: FixedWindow) -> Result<Self, ConfigError> {
        Ok(fixed_window::Quota::new(builder.limit, builder.window, builder.align)?.into())
    }
}

/// A limit for every stretch of a window's length; see [`sliding_window_log`].
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SlidingWindowLog {
    limit: u64,
    window: Duration,
    entries_max: Option<u64>,
}

per!(SlidingWindowLog);

impl SlidingWindowLog {
    /// `limit` permits per `window`.
    pub const fn per(limit: u64, window: Duration) -> Self {
        Self { limit, window, entries_max: None }
    }

    /// The most charges to remember per key; by default as many as there are permits.
    pub const fn entries_max(self, entries_max: u64) -> Self {
        Self { entries_max: Some(entries_max), ..self }
    }
}

impl TryFrom<SlidingWindowLog> for Algorithm {
    type Error = ConfigError;

    fn try_from(builder: SlidingWindowLog) -> Result<Self, ConfigError> {
        let SlidingWindowLog { limit, window, entries_max } = builder;
        let quota = match entries_max {
            None => sliding_window_log::Quota::new(limit, window)?,
            Some(most) => sliding_window_log::Quota::capped(limit, window, most)?,
        };
        Ok(quota.into())
    }
}

/// An estimate of a sliding window from two counters; see [`sliding_window_counter`].
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SlidingWindowCounter {
    limit: u64,
    window: Duration,
}

per!(SlidingWindowCounter);

impl SlidingWindowCounter {
    /// `limit` permits per `window`.
    pub const fn per(limit: u64, window: Duration) -> Self {
        Self { limit, window }
    }
}

impl TryFrom<SlidingWindowCounter> for Algorithm {
    type Error = ConfigError;

    fn try_from(builder: SlidingWindowCounter) -> Result<Self, ConfigError> {
        Ok(sliding_window_counter::Quota::new(builder.limit, builder.window)?.into())
    }
}

/// Tokens that are taken out, and come back at a steady rate; see [`token_bucket`].
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TokenBucket {
    limit: u64,
    window: Duration,
    burst: Option<u64>,
    refill_rate: Option<f64>,
    initial: Option<u64>,
}

per!(TokenBucket);

impl TokenBucket {
    /// `limit` tokens come back per `window`.
    pub const fn per(limit: u64, window: Duration) -> Self {
        Self { limit, window, burst: None, refill_rate: None, initial: None }
    }

    /// The most tokens in the bucket; by default `limit`.
    pub const fn burst(self, burst: u64) -> Self {
        Self { burst: Some(burst), ..self }
    }

    /// Tokens that come back per second, to a millionth of one, instead of `limit` per window.
    pub const fn refill_rate(self, per_second: f64) -> Self {
        Self { refill_rate: Some(per_second), ..self }
    }

    /// The tokens of a key never seen; by default a full bucket.
    ///
    /// With fewer, a key that rests for twice the time that an empty bucket takes to fill is
    /// forgotten, and starts with `initial` again.
    pub const fn initial(self, initial: u64) -> Self {
        Self { initial: Some(initial), ..self }
    }
}

impl TryFrom<TokenBucket> for Algorithm {
    type Error = ConfigError;

    fn try_from(builder: TokenBucket) -> Result<Self, ConfigError> {
        let TokenBucket { limit, window, burst, refill_rate, initial } = builder;
        let (refill, period) = rate("refill_rate", refill_rate, limit, window)?;
        let quota = token_bucket::Quota::new(burst.unwrap_or(limit), refill, period)?;
        Ok(match initial {
            None => quota.into(),
            Some(initial) => quota.with_initial(initial)?.into(),
        })
    }
}

/// Permits that are poured in, and leak at a steady rate; see [`leaky_bucket`].
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LeakyBucket {
    limit: u64,
    window: Duration,
    capacity: Option<u64>,
    leak_rate: Option<f64>,
    longest_delay: Option<Duration>,
}

per!(LeakyBucket);

impl LeakyBucket {
    /// `limit` permits leak per `window`.
    pub const fn per(limit: u64, window: Duration) -> Self {
        Self { limit, window, capacity: None, leak_rate: None, longest_delay: None }
    }

    /// The most permits in the bucket; by default `limit`.
    pub const fn capacity(self, capacity: u64) -> Self {
        Self { capacity: Some(capacity), ..self }
    }

    /// Permits that leak per second, to a millionth of one, instead of `limit` per window.
    pub const fn leak_rate(self, per_second: f64) -> Self {
        Self { leak_rate: Some(per_second), ..self }
    }

    /// Delays requests, each by at most `longest_delay`, so that they are evenly spaced.
    pub const fn queue(self, longest_delay: Duration) -> Self {
        Self { longest_delay: Some(longest_delay), ..self }
    }
}

impl TryFrom<LeakyBucket> for Algorithm {
    type Error = ConfigError;

    fn try_from(builder: LeakyBucket) -> Result<Self, ConfigError> {
        let LeakyBucket { limit, window, capacity, leak_rate, longest_delay } = builder;
        let (leak, period) = rate("leak_rate", leak_rate, limit, window)?;
        let quota = leaky_bucket::Quota::new(capacity.unwrap_or(limit), leak, period)?;
        Ok(match longest_delay {
            None => quota.into(),
            Some(longest_delay) => quota.queue(longest_delay)?.into(),
        })
    }
}

/// A burst that follows the load; see [`adaptive`].
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adaptive(adaptive::Parameters);

per!(Adaptive.0);

impl Adaptive {
    /// `limit` permits per `window` at the base rate.
    pub const fn per(limit: u64, window: Duration) -> Self {
        Self(adaptive::Parameters::new(limit, window))
    }

    /// The burst of a quiet key, as a multiple of `limit`; by default 2.
    pub const fn burst_multiplier(mut self, burst_multiplier: f64) -> Self {
        self.0.burst_multiplier = burst_multiplier;
        self
    }

    /// The length over which the load is measured; by default five windows.
    pub const fn adaptive_window(mut self, adaptive_window: Duration) -> Self {
        self.0.adaptive_window = adaptive_window;
        self
    }

    /// The load, as a share of the base rate, from which the burst is cut whole; by default 0.8.
    pub const fn high_load_threshold(mut self, high_load_threshold: f64) -> Self {
        self.0.high_load_threshold = high_load_threshold;
        self
    }

    /// The load up to which the burst is not cut at all; by default 0.4.
    pub const fn low_load_threshold(mut self, low_load_threshold: f64) -> Self {
        self.0.low_load_threshold = low_load_threshold;
        self
    }

    /// The share of the burst that high load takes away; by default 0.5.
    pub const fn penalty(mut self, penalty: f64) -> Self {
        self.0.penalty = penalty;
        self
    }

    /// The requests that count as load; by default each key's own.
    pub const fn scope(mut self, scope: Scope) -> Self {
        self.0.scope = scope;
        self
    }
}

impl TryFrom<Adaptive> for Algorithm {
    type Error = ConfigError;

    fn try_from(builder: Adaptive) -> Result<Self, ConfigError> {
        Ok(adaptive::Quota::new(&builder.0)?.into())
    }
}

/// Permits that are held until they are given back; see [`in_flight`].
///
/// [Acquire](crate::Limiter::acquire) them: a [`Permit`](crate::Permit) gives them back when it is
/// dropped. Permits of a bare [check](crate::Limiter::check) are held until they lapse.
#[must_use]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct InFlight {
    limit: u64,
    held_at_most: Duration,
}

impl InFlight {
    /// At most `limit` permits held at once, up to [`in_flight::HELD_MAX`].
    pub const fn limit(limit: u64) -> Self {
        Self { limit, held_at_most: Self::HELD_AT_MOST }
    }

    /// The longest time for which a permit is held, by default five minutes. Then it lapses, so
    /// that a crashed holder does not keep it; a holder that needs more time extends it.
    pub const fn held_at_most(self, held_at_most: Duration) -> Self {
        Self { held_at_most, ..self }
    }

    const HELD_AT_MOST: Duration = Duration::from_secs(300);
}

impl TryFrom<InFlight> for Algorithm {
    type Error = ConfigError;

    fn try_from(builder: InFlight) -> Result<Self, ConfigError> {
        Ok(in_flight::Quota::new(builder.limit, builder.held_at_most)?.into())
    }
}

/// Writes the limit, and the longest time that a permit is held, as in `4 in flight for 5m`.
impl fmt::Display for InFlight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{}", self.limit, notation::IN_FLIGHT, notation::HELD)?;
        notation::write_length(f, self.held_at_most)
    }
}

/// Reads a limit, and perhaps the longest time that a permit is held: `4 in flight`,
/// `4 in flight for 30s`.
impl FromStr for InFlight {
    type Err = NotationError;

    fn from_str(text: &str) -> Result<Self, NotationError> {
        let (limit, rest) = text.split_once(notation::IN_FLIGHT).ok_or(NotationError::InFlight)?;
        let in_flight = Self::limit(notation::permits(limit)?);
        match rest.strip_prefix(notation::HELD) {
            Some(length) => Ok(in_flight.held_at_most(notation::length(length)?)),
            None if rest.is_empty() => Ok(in_flight),
            None => Err(NotationError::InFlight),
        }
    }
}

/// An explicit rate as permits and the time they take to come back, else `limit` per `window`.
fn rate(
    field: &'static str,
    per_second: Option<f64>,
    limit: u64,
    window: Duration,
) -> Result<(u64, Duration), ConfigError> {
    let Some(per_second) = per_second else { return Ok((limit, window)) };
    if !per_second.is_finite() {
        return Err(ConfigError::NotFinite { field });
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
    match (per_second * 1e6).round() as u64 {
        0 => Err(ConfigError::NotPositive { field }),
        millionths if millionths.is_multiple_of(1_000_000) => {
            Ok((millionths / 1_000_000, Duration::from_secs(1)))
        }
        millionths => Ok((millionths, Duration::from_secs(1_000_000))),
    }
}
