//! When a sweep of a shard is worth its while.
//!
//! A sweep looks at every record of a shard, so it should free a fair share of them. It is due
//! when one record in [`SHARE`] of those that the last sweep kept has expired, or one of the
//! records stored since, once these are as many. So a flood of new keys pays for looking at
//! [`SHARE`] records or so each, however full the table is; and at most two records in [`SHARE`]
//! are kept while new keys are refused for want of room.

use std::sync::atomic::Ordering;

use ratelimit_core::Timestamp;

use crate::sync::{AtomicU64, AtomicUsize};

/// When a shard is to be swept. Written under the shard's lock, read without.
///
/// Relaxed throughout, and written without locked instructions, each of which would wait for the
/// memory of the record that was just stored: who reads an older time sweeps a little later, or
/// looks in vain.
pub(crate) struct Due {
    at: AtomicU64,
    /// Records stored since the last sweep, and when the first of them expires.
    new: AtomicUsize,
    new_expires: AtomicU64,
}

impl Due {
    /// Of a shard without records.
    pub(crate) fn never() -> Self {
        let [at, new_expires] = [AtomicU64::new(u64::MAX), AtomicU64::new(u64::MAX)];
        Self { at, new: AtomicUsize::new(0), new_expires }
    }

    /// Whether a sweep is worth its while.
    pub(crate) fn has_come(&self, now: Timestamp) -> bool {
        self.at.load(Ordering::Relaxed) <= now.as_micros()
    }

    /// Notes a new record, in a shard of so many.
    pub(crate) fn stored(&self, expires: Timestamp, records: usize) {
        let new = 1 + self.new.load(Ordering::Relaxed);
        let first = expires.as_micros().min(self.new_expires.load(Ordering::Relaxed));
        self.new.store(new, Ordering::Relaxed);
        self.new_expires.store(first, Ordering::Relaxed);
        if records / SHARE < new {
            self.at.store(first.min(self.at.load(Ordering::Relaxed)), Ordering::Relaxed);
        }
    }

    /// Notes that a sweep has kept the records that expire then.
    pub(crate) fn swept(&self, expire: &mut [Timestamp]) {
        let share = expire.len() / SHARE;
        let at = match expire.get(share) {
            None => u64::MAX,
            Some(_) => expire.select_nth_unstable(share).1.as_micros(),
        };
        self.at.store(at, Ordering::Relaxed);
        self.new.store(0, Ordering::Relaxed);
        self.new_expires.store(u64::MAX, Ordering::Relaxed);
    }
}

const SHARE: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(micros: u64) -> Timestamp {
        Timestamp::from_micros(micros).unwrap()
    }

    #[test]
    fn few_records_are_swept_when_the_first_expires() {
        let due = Due::never();
        assert!(!due.has_come(Timestamp::MAX));
        due.stored(at(30), 1);
        due.stored(at(20), 2);
        assert!(!due.has_come(at(19)) && due.has_come(at(20)));
        due.swept(&mut [at(50), at(40)]);
        assert!(!due.has_come(at(39)) && due.has_come(at(40)));
    }

    #[test]
    fn many_records_are_swept_when_a_share_of_them_has_expired() {
        let due = Due::never();
        let mut expire: Vec<_> = (0..320).rev().map(at).collect();
        due.swept(&mut expire);
        assert!(!due.has_come(at(9)) && due.has_come(at(10)));
    }

    #[test]
    fn new_records_count_once_they_are_a_share() {
        let due = Due::never();
        due.swept(&mut [at(1_000); 320]);
        for stored in 1..=10 {
            due.stored(at(5), 320 + stored);
            assert!(!due.has_come(at(999)), "{stored}");
        }
        due.stored(at(6), 331);
        assert!(due.has_come(at(5)));
    }

    #[test]
    fn an_empty_shard_is_never_swept() {
        let due = Due::never();
        due.stored(at(1), 1);
        due.swept(&mut []);
        assert!(!due.has_come(Timestamp::MAX));
    }
}
