//! A histogram of durations, of fixed size and in whole nanoseconds.
//!
//! Each power of two is divided into eight buckets of equal width, so that a bucket is no wider
//! than an eighth of what lies in it. A bucket holds what is more than the bound before it, and no
//! more than its own.

use std::{array, time::Duration};

use crate::counter::Counter;

/// The counters of a histogram.
#[derive(Debug)]
pub(crate) struct Histogram {
    buckets: [Counter; BUCKETS],
    sum: Counter,
    max: Counter,
}

/// The durations of the calls that were measured.
///
/// A quantile is the upper bound of the bucket it lies in: never less than the true one, and less
/// than an eighth more (of calls of up to 137 s; of longer ones it is [`max`](Self::max)).
#[derive(Clone, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Latency {
    /// The number of calls that were measured.
    pub measured: u64,
    /// The exact sum of all durations.
    pub sum: Duration,
    /// Half of the calls took no longer.
    pub p50: Duration,
    /// Nine of ten calls took no longer.
    pub p90: Duration,
    /// Ninety-nine of a hundred calls took no longer.
    pub p99: Duration,
    /// The exact longest duration.
    pub max: Duration,
    /// The number of calls that took no longer than a duration, for powers of four from 1024 ns to
    /// 17 s.
    pub no_longer_than: Vec<(Duration, u64)>,
}

impl Histogram {
    pub(crate) fn record(&self, latency: Duration) {
        let nanos = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        self.buckets[bucket(nanos)].increment();
        self.sum.add(nanos);
        self.max.raise(nanos);
    }

    pub(crate) fn snapshot(&self) -> Latency {
        let counts: [u64; BUCKETS] = array::from_fn(|index| self.buckets[index].get());
        let up_to = |end: usize| counts[..end].iter().fold(0, |sum: u64, n| sum.saturating_add(*n));
        let measured = up_to(BUCKETS);
        let max = self.max.get();
        let quantile = |percent| Duration::from_nanos(quantile(&counts, measured, percent, max));
        let bound = |power: u32| {
            let nanos = 1 << power;
            (Duration::from_nanos(nanos), up_to(bucket(nanos) + 1))
        };
        Latency {
            measured,
            sum: Duration::from_nanos(self.sum.get()),
            p50: quantile(50),
            p90: quantile(90),
            p99: quantile(99),
            max: Duration::from_nanos(max),
            no_longer_than: (10..=34).step_by(2).map(bound).collect(),
        }
    }
}

impl Default for Histogram {
    fn default() -> Self {
        let (sum, max) = (Counter::default(), Counter::default());
        Self { buckets: array::from_fn(|_| Counter::default()), sum, max }
    }
}

/// Returns the bound of the bucket that holds a percentile.
fn quantile(counts: &[u64], measured: u64, percent: u64, max: u64) -> u64 {
    let rank = u128::from(measured) * u128::from(percent);
    let mut seen = 0;
    for (index, count) in counts.iter().enumerate() {
        seen += u128::from(*count) * 100;
        if rank <= seen && 0 < *count {
            return if index == BUCKETS - 1 { max } else { bound(index).min(max) };
        }
    }
    0
}

/// Returns the index of the bucket that holds a duration.
fn bucket(nanos: u64) -> usize {
    let below = nanos.saturating_sub(1);
    let power = below.max(PARTS).ilog2();
    // Below `PARTS` a bucket is one nanosecond wide.
    let index = if below < PARTS {
        below
    } else {
        let part = (below >> (power - PARTS.ilog2())) % PARTS;
        u64::from(power - PARTS.ilog2() + 1) * PARTS + part
    };
    usize::try_from(index).map_or(BUCKETS - 1, |index| index.min(BUCKETS - 1))
}

/// Returns the longest duration that a bucket holds.
fn bound(index: usize) -> u64 {
    let (octave, part) = (index as u64 / PARTS, index as u64 % PARTS);
    match octave.checked_sub(1) {
        None => part + 1,
        Some(shift) => (PARTS + part + 1) << shift,
    }
}

/// Buckets to a power of two.
const PARTS: u64 = 8;

/// Up to 2^37 ns, which is 137 s; the last one also holds all that is longer.
const BUCKETS: usize = 280;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_latency_lies_in_the_bucket_that_says_so() {
        let near = |power: u32| [(1u64 << power) - 1, 1 << power, (1 << power) + 1];
        for nanos in (0..5000).chain((12..37).flat_map(near)).filter(|&nanos| nanos < 1 << 37) {
            let index = bucket(nanos);
            assert!(nanos <= bound(index), "{nanos} ns");
            assert!(index == 0 || bound(index - 1) < nanos, "{nanos} ns");
            assert!(bound(index) - nanos.max(1) <= nanos / 8, "{nanos} ns");
        }
        assert_eq!(bound(BUCKETS - 1), 1 << 37);
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn quantiles_are_never_less_than_the_true_ones_and_less_than_an_eighth_more() {
        let histogram = Histogram::default();
        let mut nanos: Vec<u64> = (0..1000).map(|n| n * n * 37 + 5).collect();
        nanos.iter().for_each(|&nanos| histogram.record(Duration::from_nanos(nanos)));
        nanos.sort_unstable();
        let latency = histogram.snapshot();
        for (estimate, rank) in [(latency.p50, 500), (latency.p90, 900), (latency.p99, 990)] {
            let (estimate, truth) = (estimate.as_nanos(), u128::from(nanos[rank - 1]));
            assert!(truth <= estimate && (estimate - truth) * 8 < truth, "{estimate} for {truth}");
        }
        assert_eq!(latency.max, Duration::from_nanos(nanos[999]));
        assert_eq!(latency.sum, Duration::from_nanos(nanos.iter().sum()));
        assert_eq!(latency.measured, 1000);
    }

    #[test]
    fn the_counts_up_to_a_bound_are_exact() {
        let histogram = Histogram::default();
        for nanos in [1, 1023, 1024, 1025, 4096, 4097, 1 << 34, (1 << 34) + 1] {
            histogram.record(Duration::from_nanos(nanos));
        }
        let counts = histogram.snapshot().no_longer_than;
        assert_eq!(counts[..2], [(Duration::from_nanos(1024), 3), (Duration::from_nanos(4096), 5)]);
        assert_eq!(counts.last(), Some(&(Duration::from_nanos(1 << 34), 7)));
    }

    #[test]
    fn nothing_measured_is_all_zero() {
        let latency = Histogram::default().snapshot();
        assert_eq!((latency.measured, latency.p99), (0, Duration::ZERO));
    }

    #[test]
    fn the_longest_latency_of_all_is_counted() {
        let histogram = Histogram::default();
        histogram.record(Duration::MAX);
        histogram.record(Duration::MAX);
        let latency = histogram.snapshot();
        assert_eq!((latency.p50, latency.sum), (latency.max, Duration::from_nanos(u64::MAX)));
    }
}
