//! Counters that many threads count on, and that stop at their end.

use std::{
    cell::Cell,
    sync::{
        OnceLock,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    thread,
};

/// A counter that saturates at [`u64::MAX`].
///
/// Relaxed throughout: a count orders nothing but itself.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// Counts one.
    pub(crate) fn increment(&self) {
        self.add(1);
    }

    /// Adds `more`.
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

/// Copies of `T`, of which each thread counts on one: so threads write to cache lines of their own
/// as long as there are no more of them than processors.
#[derive(Debug)]
pub(crate) struct Sharded<T>(Box<[Shard<T>]>);

/// Processors fetch lines of 64 bytes in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard<T>(T);

impl<T> Sharded<T> {
    /// Returns the copy that this thread counts on.
    pub(crate) fn local(&self) -> &T {
        // The number of copies is a power of two.
        &self.0[thread_number() as usize & (self.0.len() - 1)].0
    }

    /// Returns all copies, whose counts have to be added up.
    pub(crate) fn all(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|shard| &shard.0)
    }

    /// Adds up a counter of all copies.
    pub(crate) fn sum(&self, counter: impl Fn(&T) -> &Counter) -> u64 {
        self.all().fold(0, |sum: u64, copy| sum.saturating_add(counter(copy).get()))
    }
}

impl<T: Default> Default for Sharded<T> {
    fn default() -> Self {
        Self((0..shards()).map(|_| Shard::default()).collect())
    }
}

/// Returns the number of processors as a power of two, up to a number that costs little memory.
fn shards() -> usize {
    static SHARDS: OnceLock<usize> = OnceLock::new();
    *SHARDS.get_or_init(|| {
        let processors = thread::available_parallelism().map_or(1, usize::from);
        processors.next_power_of_two().min(SHARDS_MAX)
    })
}

const SHARDS_MAX: usize = 16;

/// Returns a number of this thread: threads that start one after the other have different ones.
pub(crate) fn thread_number() -> u32 {
    static STARTED: AtomicU32 = AtomicU32::new(1);
    thread_local! {
        static NUMBER: Cell<u32> = const { Cell::new(0) };
    }
    match NUMBER.get() {
        0 => {
            let number = STARTED.fetch_add(1, Ordering::Relaxed).max(1);
            NUMBER.set(number);
            number
        }
        number => number,
    }
}

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
    fn what_threads_count_apart_adds_up() {
        let sharded = Sharded::<Counter>::default();
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| (0..1000).for_each(|_| sharded.local().increment()));
            }
        });
        assert_eq!(sharded.sum(|counter| counter), 8000);
        sharded.local().raise(u64::MAX);
        assert_eq!(sharded.sum(|counter| counter), u64::MAX);
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
