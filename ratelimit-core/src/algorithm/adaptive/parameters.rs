//! The parameters of an adaptive hybrid, and the exact numbers that they become.

use core::time::Duration;

use crate::{
    ConfigError,
    number::{self, encoding::Reader},
    state::load::{Load, Numbers},
};

/// The parameters of an adaptive hybrid. Any value is possible here;
/// [`Quota::new`](super::Quota::new) refuses invalid ones.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Parameters {
    /// Permits per window at the base rate.
    pub limit: u64,
    /// The length over which the guard holds, and in which the bucket refills.
    pub window: Duration,
    /// The burst of a quiet key, as a multiple of `limit`; by default 2.
    pub burst_multiplier: f64,
    /// The length over which the load is measured; by default five windows.
    pub adaptive_window: Duration,
    /// The load, as a share of the base rate, from which the burst is cut whole; by default 0.8.
    pub high_load_threshold: f64,
    /// The load up to which the burst is not cut at all; by default 0.4.
    pub low_load_threshold: f64,
    /// The share of the burst that high load takes away; by default 0.5.
    pub penalty: f64,
    /// The requests that the sensor counts.
    pub scope: Scope,
}

/// The requests that a load sensor counts.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[expect(clippy::exhaustive_enums, reason = "complete by nature")]
pub enum Scope {
    /// Each key's own.
    #[default]
    PerKey,
    /// Those of all keys of the policy. A live change to it forgets what each key's own counted.
    Shared,
}

impl Parameters {
    /// `limit` permits per `window`, and the defaults.
    #[must_use]
    pub const fn new(limit: u64, window: Duration) -> Self {
        Self {
            limit,
            window,
            burst_multiplier: 2.0,
            adaptive_window: window.saturating_mul(5),
            high_load_threshold: 0.8,
            low_load_threshold: 0.4,
            penalty: 0.5,
            scope: Scope::PerKey,
        }
    }

    /// The exact numbers: each field is checked, fractions become parts per million.
    pub(super) fn numbers(&self) -> Result<Numbers, ConfigError> {
        let fraction = number::parts_per_million;
        let window = number::window("window", self.window)?;
        let adaptive_window = number::window("adaptive_window", self.adaptive_window)?;
        let limit = number::limit("limit", self.limit)?;
        if self.burst_multiplier.is_finite() && self.burst_multiplier <= 0.0 {
            return Err(ConfigError::NotPositive { field: "burst_multiplier" });
        }
        let multiplier = fraction("burst_multiplier", self.burst_multiplier, 0.0, MULTIPLE_MAX)?;
        if multiplier == 0 {
            return Err(ConfigError::NotPositive { field: "burst_multiplier" });
        }
        let high = fraction("high_load_threshold", self.high_load_threshold, 0.0, MULTIPLE_MAX)?;
        let low = fraction("low_load_threshold", self.low_load_threshold, 0.0, MULTIPLE_MAX)?;
        if high <= low {
            let high = self.high_load_threshold;
            return Err(ConfigError::OutOfRange { field: "low_load_threshold", low: 0.0, high });
        }
        let penalty = fraction("penalty", self.penalty, 0.0, 1.0)?;
        Ok(Numbers { limit, window, adaptive_window, multiplier, high, low, penalty })
    }

    /// The line on which the burst follows the load.
    pub(super) fn load(&self) -> Result<Load, ConfigError> {
        Load::of(self.numbers()?).ok_or(ConfigError::Unrepresentable { field: "adaptive_window" })
    }

    /// Reads parameters from the numbers that are stored of them.
    pub(super) fn read(input: &mut Reader<'_>) -> Option<Self> {
        let [limit, window, adaptive_window, multiplier, high, low, penalty, scope] =
            input.numbers()?;
        let mut parameters = Self::new(limit, Duration::from_micros(window));
        parameters.adaptive_window = Duration::from_micros(adaptive_window);
        parameters.burst_multiplier = number::from_parts_per_million(multiplier);
        parameters.high_load_threshold = number::from_parts_per_million(high);
        parameters.low_load_threshold = number::from_parts_per_million(low);
        parameters.penalty = number::from_parts_per_million(penalty);
        parameters.scope = match scope {
            0 => Scope::PerKey,
            1 => Scope::Shared,
            _ => return None,
        };
        Some(parameters)
    }
}

/// The largest burst multiplier and load threshold.
const MULTIPLE_MAX: f64 = 1_000.0;
