//! The demand for a key: the permits that were asked for in the last length of a lease.

use ratelimit_core::{Micros, Timestamp};

/// Permits asked for, estimated from the counts of two windows, as a sliding window counter does.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Demand {
    start: Timestamp,
    previous: u64,
    current: u64,
}

impl Demand {
    /// No demand so far.
    pub(crate) const fn new(now: Timestamp) -> Self {
        Self { start: now, previous: 0, current: 0 }
    }

    /// Counts a request of `cost`.
    #[inline]
    pub(crate) fn add(&mut self, cost: u64, now: Timestamp, window: Micros) {
        if window <= now - self.start {
            *self = self.at(now, window);
        }
        self.current = self.current.saturating_add(cost);
    }

    /// Counts a request no longer.
    pub(crate) const fn take_back(&mut self, cost: u64) {
        self.current = self.current.saturating_sub(cost);
    }

    /// The permits asked for in the window up to `now`, rounded up.
    pub(crate) fn over(&self, now: Timestamp, window: Micros) -> u64 {
        let Self { start, previous, current } = self.at(now, window);
        let weight = window - (now - start);
        current.saturating_add(scale_ceil(previous, weight, window))
    }

    /// The counts as `now` finds them.
    fn at(self, now: Timestamp, window: Micros) -> Self {
        let next = self.start + window;
        if now < next {
            self
        } else if now < next + window {
            Self { start: next, previous: self.current, current: 0 }
        } else {
            Self::new(now)
        }
    }
}

/// `⌈count · part / whole⌉`; `count` itself if `whole` is no time.
pub(crate) fn scale_ceil(count: u64, part: Micros, whole: Micros) -> u64 {
    let product = u128::from(count) * u128::from(part.as_micros());
    if whole.is_zero() {
        return count;
    }
    u64::try_from(product.div_ceil(u128::from(whole.as_micros()))).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Micros = Micros::new(100);

    fn at(micros: u64) -> Timestamp {
        Timestamp::EPOCH + Micros::new(micros)
    }

    #[test]
    fn demand_fades_evenly_over_the_next_window_and_is_then_forgotten() {
        let mut demand = Demand::new(at(0));
        (0..10).for_each(|number| demand.add(1, at(number * 10), WINDOW));
        let over = |demand: &Demand, micros| demand.over(at(micros), WINDOW);
        assert_eq!(
            [95, 100, 145, 150, 199, 200].map(|micros| over(&demand, micros)),
            [10, 10, 6, 5, 1, 0]
        );
        demand.add(7, at(150), WINDOW);
        assert_eq!(over(&demand, 150), 12);
        demand.take_back(7);
        assert_eq!(over(&demand, 150), 5);
        demand.add(1, at(1_000), WINDOW);
        assert_eq!(over(&demand, 1_000), 1);
    }

    #[test]
    fn extremes_saturate() {
        let mut demand = Demand::new(Timestamp::MAX);
        demand.add(u64::MAX, Timestamp::EPOCH, Micros::MAX);
        demand.add(1, Timestamp::EPOCH, Micros::MAX);
        assert_eq!(demand.over(Timestamp::MAX, Micros::MAX), u64::MAX);
        assert_eq!(scale_ceil(u64::MAX, Micros::MAX, Micros::new(1)), u64::MAX);
        assert_eq!(scale_ceil(3, Micros::MAX, Micros::ZERO), 3);
    }
}
