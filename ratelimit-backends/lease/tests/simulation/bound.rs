//! Admissions, compared with the bound of the limit, exactly.

use std::time::Duration;

use ratelimit_core::{
    Algorithm, fixed_window, leaky_bucket, sliding_window_counter, sliding_window_log, token_bucket,
};

/// A limit under test: its numbers as plain data.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Limit {
    /// Refilled with `limit` per `window`; a token bucket, or a leaky bucket as a meter.
    Bucket {
        burst: u64,
        limit: u64,
        window: u64,
    },
    /// Windows aligned to the epoch.
    Fixed {
        limit: u64,
        window: u64,
    },
    Log {
        limit: u64,
        window: u64,
    },
    Counter {
        limit: u64,
        window: u64,
    },
}

/// Permits that were used at an instant, in microseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Use {
    pub(crate) at: u64,
    pub(crate) permits: u64,
}

impl Limit {
    /// The numbers as an algorithm.
    pub(crate) fn algorithm(&self, is_leaky: bool) -> Algorithm {
        let length = Duration::from_micros;
        let algorithm = match *self {
            Self::Bucket { burst, limit, window } if is_leaky => {
                leaky_bucket::Quota::new(burst, limit, length(window)).map(Algorithm::from)
            }
            Self::Bucket { burst, limit, window } => {
                token_bucket::Quota::new(burst, limit, length(window)).map(Algorithm::from)
            }
            Self::Fixed { limit, window } => {
                let align = fixed_window::Align::Epoch;
                fixed_window::Quota::new(limit, length(window), align).map(Algorithm::from)
            }
            Self::Log { limit, window } => {
                sliding_window_log::Quota::new(limit, length(window)).map(Algorithm::from)
            }
            Self::Counter { limit, window } => {
                sliding_window_counter::Quota::new(limit, length(window)).map(Algorithm::from)
            }
        };
        algorithm.expect("what is simulated is a limit")
    }

    /// The window, or the time in which `limit` permits come back.
    pub(crate) const fn window(&self) -> u64 {
        match *self {
            Self::Bucket { window, .. }
            | Self::Fixed { window, .. }
            | Self::Log { window, .. }
            | Self::Counter { window, .. } => window,
        }
    }

    /// The permits in a window.
    pub(crate) const fn permits(&self) -> u64 {
        match *self {
            Self::Bucket { limit, .. }
            | Self::Fixed { limit, .. }
            | Self::Log { limit, .. }
            | Self::Counter { limit, .. } => limit,
        }
    }

    /// The most permits by which `uses`, in order of time, exceed the bound of the limit in any interval. Below
    /// zero if they never reach it.
    pub(crate) fn excess(&self, uses: &[Use]) -> i128 {
        match *self {
            Self::Bucket { burst, limit, window } => bucket_excess(uses, burst, limit, window),
            Self::Fixed { limit, window } => {
                let same = |one: &Use, other: &Use| one.at / window == other.at / window;
                let sums = uses.chunk_by(same).map(|uses| sum(uses) - i128::from(limit));
                sums.max().unwrap_or_else(|| -i128::from(limit))
            }
            Self::Log { limit, window } => sliding_max(uses, window) - i128::from(limit),
            Self::Counter { limit, window } => {
                sliding_max(uses, window) - (2 * i128::from(limit) - 1)
            }
        }
    }
}

/// The most permits of `uses` above `burst + ⌊limit · T / window⌋` in any interval of length T.
///
/// The permits are an integer, so they may as well be compared without rounding. The maximum over all
/// intervals that end at a use is that of the last one, less what came back since, or this use alone.
fn bucket_excess(uses: &[Use], burst: u64, limit: u64, window: u64) -> i128 {
    let [burst, limit, window] = [burst, limit, window].map(i128::from);
    let (mut level, mut before, mut most) = (0, 0, 0);
    for &Use { at, permits } in uses {
        level = (level - limit * i128::from(at - before)).max(0) + window * i128::from(permits);
        (before, most) = (at, most.max(level));
    }
    // Rounded up: the next whole permit is above the bound.
    (most - burst * window + window - 1).div_euclid(window)
}

/// The most permits in any half-open interval of length `window`.
fn sliding_max(uses: &[Use], window: u64) -> i128 {
    let (mut first, mut inside, mut most) = (0, 0, 0);
    for use_ in uses {
        inside += i128::from(use_.permits);
        while uses[first].at + window <= use_.at {
            inside -= i128::from(uses[first].permits);
            first += 1;
        }
        most = most.max(inside);
    }
    most
}

fn sum(uses: &[Use]) -> i128 {
    uses.iter().map(|one| i128::from(one.permits)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By all pairs of uses, from the definitions.
    fn slowly(limit: &Limit, uses: &[Use]) -> i128 {
        let mut most = i128::MIN;
        for first in 0..uses.len() {
            for last in first..uses.len() {
                let length = uses[last].at - uses[first].at;
                let bound = match *limit {
                    Limit::Bucket { burst, limit, window } => burst + limit * length / window,
                    Limit::Fixed { limit, window }
                        if uses[first].at / window == uses[last].at / window =>
                    {
                        limit
                    }
                    Limit::Log { limit, window } if length < window => limit,
                    Limit::Counter { limit, window } if length < window => 2 * limit - 1,
                    _ => continue,
                };
                most = most.max(sum(&uses[first..=last]) - i128::from(bound));
            }
        }
        most
    }

    #[test]
    fn the_excess_is_that_of_all_intervals() {
        fastrand::seed(1);
        for _ in 0..20_000 {
            let (burst, limit, window) =
                (fastrand::u64(1..9), fastrand::u64(1..9), fastrand::u64(1..30));
            let mut at = 0;
            let uses: Vec<_> = (0..fastrand::usize(1..12))
                .map(|_| {
                    at += fastrand::u64(0..12);
                    Use { at, permits: fastrand::u64(1..4) }
                })
                .collect();
            for limit in [
                Limit::Bucket { burst, limit, window },
                Limit::Fixed { limit, window },
                Limit::Log { limit, window },
                Limit::Counter { limit, window },
            ] {
                assert_eq!(limit.excess(&uses), slowly(&limit, &uses), "{limit:?} {uses:?}");
            }
        }
    }
}
