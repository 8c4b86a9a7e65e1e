//! The limits that promises are asked of: one of each algorithm, of ten permits.

use std::time::Duration;

use proptest::prelude::*;
use ratelimit_algorithms::{
    Adaptive, Algorithm, FixedWindow, LeakyBucket, SlidingWindowCounter, SlidingWindowLog,
    TokenBucket,
};

pub(crate) const LIMIT: u64 = 10;
pub(crate) const WINDOW: Duration = Duration::from_millis(3_000);

/// An algorithm, of `limit` permits a window.
pub(crate) fn algorithm(number: usize, limit: u64) -> Algorithm {
    let made: Result<Algorithm, _> = match number {
        0 => FixedWindow::per(limit, WINDOW).try_into(),
        1 => SlidingWindowLog::per(limit, WINDOW).try_into(),
        2 => SlidingWindowCounter::per(limit, WINDOW).try_into(),
        3 => TokenBucket::per(limit, WINDOW).try_into(),
        4 => LeakyBucket::per(limit, WINDOW).try_into(),
        _ => Adaptive::per(limit, WINDOW).try_into(),
    };
    made.unwrap()
}

pub(crate) fn any_algorithm() -> std::ops::Range<usize> {
    0..6
}

/// A time between two steps, in microseconds: often none, seldom more than a window.
pub(crate) fn wait() -> impl Strategy<Value = u64> {
    prop_oneof![3 => Just(0), 4 => 0_u64..=700_000, 1 => 0_u64..=4_000_000]
}
