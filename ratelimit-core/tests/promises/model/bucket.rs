//! The common part of the buckets: a rate, and whole ticks to count it in.

use num_rational::BigRational;
use num_traits::ToPrimitive;
use ratelimit_core::{Detail, leaky_bucket, token_bucket};

use super::{fraction, least, whole};
use crate::{key_under_test::Subject, rule::Rule};

/// Permits that come or go, so many per tick.
#[derive(Clone, Debug)]
pub(super) struct Rate {
    per_tick: BigRational,
    tick: u64,
}

impl Rate {
    /// The rate of a bucket of `capacity` to which `permits` come per `period`; where that is too
    /// fine, the one that the crate says it has.
    pub(super) fn new(rule: &Rule, capacity: u64, permits: u64, period: u64) -> Self {
        let exact = fraction(permits, period);
        let units = exact.denom() * capacity;
        let is_exact = units <= (1_u64 << 52).into();
        Self { per_tick: if is_exact { exact } else { reported(rule) }, tick: 1 }
    }

    pub(super) const fn per_ticks(per_tick: BigRational, tick: u64) -> Self {
        Self { per_tick, tick }
    }

    /// Permits that came from `start` to `now`.
    pub(super) fn over(&self, start: u64, now: u64) -> BigRational {
        &self.per_tick * whole((now - start) / self.tick)
    }

    /// The end of the last whole tick that began at or after `start`.
    pub(super) const fn counted(&self, start: u64, now: u64) -> u64 {
        now - (now - start) % self.tick
    }

    /// The time in which `permits` come.
    pub(super) fn time_for(&self, permits: u64) -> u64 {
        let ticks = (whole(permits) / &self.per_tick).ceil().to_integer();
        ticks.to_u64().expect("a bucket fills within the longest window") * self.tick
    }
}

/// Permits per microsecond, as a bucket reports them.
fn reported(rule: &Rule) -> BigRational {
    match Subject::new(rule).look(0) {
        Detail::TokenBucket(token_bucket::Detail { refill_rate: rate, .. })
        | Detail::LeakyBucket(leaky_bucket::Detail { leak_rate: rate, .. }) => {
            fraction(rate.numerator, rate.denominator.get())
        }
        _ => unreachable!("only buckets have a rate"),
    }
}

/// The shortest tick, in microseconds, for which `size` times the ticks in `length` stay exact in
/// every store.
pub(super) fn tick(size: u64, length: u64) -> u64 {
    let is_exact = |tick: u64| u128::from(size) * u128::from(length.div_ceil(tick)) <= 1 << 52;
    1 + least(length, |before| is_exact(before + 1))
}
