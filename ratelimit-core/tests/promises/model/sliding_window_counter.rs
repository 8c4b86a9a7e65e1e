//! Two counts, the older one weighed by what the last window still overlaps.

use num_rational::BigRational;
use num_traits::Zero;

use super::{Model, bucket::tick, fraction, whole};

#[derive(Clone, Debug)]
pub(super) struct SlidingWindowCounter {
    limit: u64,
    window: u64,
    start: u64,
    previous: u64,
    current: u64,
}

impl SlidingWindowCounter {
    pub(super) const fn new(limit: u64, window: u64, now: u64) -> Self {
        Self { limit, window, start: now - now % window, previous: 0, current: 0 }
    }

    /// The same counts, as the window that holds `now` sees them.
    fn rolled(&self, now: u64) -> Self {
        let start = now - now % self.window;
        let (previous, current) = match (start - self.start) / self.window {
            0 => (self.previous, self.current),
            1 => (self.current, 0),
            _ => (0, 0),
        };
        Self { start, previous, current, ..*self }
    }

    fn used(&self, now: u64) -> BigRational {
        let Self { limit, window, start, previous, current } = self.rolled(now);
        let tick = tick(limit, window);
        let (elapsed, ticks) = ((now - start) / tick, window.div_ceil(tick));
        whole(previous) * fraction(ticks - elapsed, ticks) + whole(current)
    }
}

impl Model for SlidingWindowCounter {
    fn boxed(&self) -> Box<dyn Model> {
        Box::new(self.clone())
    }

    fn limit(&self) -> u64 {
        self.limit
    }

    fn rewind(&mut self, now: u64) {
        if now < self.start {
            let both = self.previous + self.current;
            let current = self.current.max(both.min(self.limit));
            *self = Self { current, ..Self::new(self.limit, self.window, now) };
        }
    }

    fn admits(&self, now: u64, cost: u64) -> bool {
        self.used(now) + whole(cost) <= whole(self.limit)
    }

    fn charge(&mut self, now: u64, cost: u64) {
        *self = self.rolled(now);
        self.current += cost;
    }

    fn refund(&mut self, now: u64, cost: u64) {
        *self = self.rolled(now);
        self.current = self.current.saturating_sub(cost);
    }

    fn is_as_new(&self, now: u64) -> bool {
        self.used(now).is_zero()
    }

    fn wait_max(&self) -> u64 {
        2 * self.window
    }
}
