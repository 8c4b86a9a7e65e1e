//! A counter that many threads count on, and that stops at its end.

use std::sync::atomic::{AtomicU64, Ordering};

/// Saturates at [`u64::MAX`].
///
/// Relaxed throughout: a count orders nothing but itself.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// Counts one.
    pub(crate) fn increment(&self) {
        self.add(1);
    }

    /// Counts so many.
    ///
    /// Adding is cheaper than comparing and swapping, and safe in the lower half: no thread pauses
    /// between looking and adding for as long as others take to count through the upper one.
    pub(crate) fn add(&self, more: u64) {
        if self.get() < u64::MAX / 2 && more <= SMALL {
            self.0.fetch_add(more, Ordering::Relaxed);
        } else {
            let sum = |count: u64| Some(count.saturating_add(more));
            let _always_ok = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, sum);
        }
    }

    /// Raises it to `count`, if it is less.
    pub(crate) fn raise(&self, count: u64) {
        if self.get() < count {
            self.0.fetch_max(count, Ordering::Relaxed);
        }
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// More than the largest cost, and than a quarter of an hour in nanoseconds.
const SMALL: u64 = 1 << 40;

#[cfg(test)]
mod tests {
    use super::*;

    // FAULTS 196.
    #[test]
    fn a_counter_stops_at_its_end() {
        let counter = Counter(AtomicU64::new(u64::MAX - 1));
        counter.increment();
        counter.increment();
        assert_eq!(counter.get(), u64::MAX);
        counter.add(u64::MAX);
        assert_eq!(counter.get(), u64::MAX);
    }

    #[test]
    fn an_increment_is_one_on_either_half() {
        for count in [0, u64::MAX / 2 - 1, u64::MAX / 2, u64::MAX - 1] {
            let counter = Counter(AtomicU64::new(count));
            counter.increment();
            assert_eq!(counter.get(), count + 1);
        }
    }
}
