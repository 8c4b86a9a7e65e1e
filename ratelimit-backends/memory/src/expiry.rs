//! The time at which a sweep of a shard is worth its cost.
//!
//! A sweep looks at every record of a shard, so it should free a fair share of them. It is due when
//! one record in [`SHARE`] of those that the last sweep kept has expired, or one of the records
//! stored since, once these are as many. So a flood of new keys pays for looking at [`SHARE`]
//! records or so each, however full the table is; and at most two expired records in [`SHARE`] are
//! kept while new keys are refused.

use std::sync::atomic::Ordering;

use ratelimit_core::Timestamp;

use crate::sync::{AtomicU64, AtomicUsize};

/// The time of a shard's next sweep. Written under the shard's lock, read without.
///
/// Relaxed throughout, and written without locked instructions, each of which would wait for the
/// memory of the record that was just stored. A thread that reads an older time sweeps a little
/// later, or finds nothing to drop.
pub(crate) struct Expiry {
    at: AtomicU64,
    /// Records stored since the last sweep, and the time at which the first of them expires.
    new: AtomicUsize,
    new_expires: AtomicU64,
}

impl Expiry {
    /// The expiry of a shard without records.
    pub(crate) fn never() -> Self {
        let [at, new_expires] = [AtomicU64::new(u64::MAX), AtomicU64::new(u64::MAX)];
        Self { at, new: AtomicUsize::new(0), new_expires }
    }

    /// The time from which a sweep is worth its cost, in microseconds.
    pub(crate) fn at(&self) -> u64 {
        self.at.load(Ordering::Relaxed)
    }

    /// Returns true once a sweep is worth its cost.
    pub(crate) fn is_due(&self, now: Timestamp) -> bool {
        self.at() <= now.as_micros()
    }

    /// Records that a record was stored, in a shard that now has `records`.
    pub(crate) fn record_stored(&self, expires: Timestamp, records: usize) {
        let new = 1 + self.new.load(Ordering::Relaxed);
        let first = expires.as_micros().min(self.new_expires.load(Ordering::Relaxed));
        self.new.store(new, Ordering::Relaxed);
        self.new_expires.store(first, Ordering::Relaxed);
        if records / SHARE < new {
            self.at.store(first.min(self.at.load(Ordering::Relaxed)), Ordering::Relaxed);
        }
    }

    /// Records that a sweep has kept records that expire at these times.
    pub(crate) fn record_sweep(&self, expire: &mut [Timestamp]) {
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
        let expiry = Expiry::never();
        assert!(!expiry.is_due(Timestamp::MAX));
        expiry.record_stored(at(30), 1);
        expiry.record_stored(at(20), 2);
        assert!(!expiry.is_due(at(19)) && expiry.is_due(at(20)));
        expiry.record_sweep(&mut [at(50), at(40)]);
        assert!(!expiry.is_due(at(39)) && expiry.is_due(at(40)));
    }

    #[test]
    fn many_records_are_swept_when_a_share_of_them_has_expired() {
        let expiry = Expiry::never();
        let mut expire: Vec<_> = (0..320).rev().map(at).collect();
        expiry.record_sweep(&mut expire);
        assert!(!expiry.is_due(at(9)) && expiry.is_due(at(10)));
    }

    #[test]
    fn new_records_count_once_they_are_a_share() {
        let expiry = Expiry::never();
        expiry.record_sweep(&mut [at(1_000); 320]);
        for stored in 1..=10 {
            expiry.record_stored(at(5), 320 + stored);
            assert!(!expiry.is_due(at(999)), "{stored}");
        }
        expiry.record_stored(at(6), 331);
        assert!(expiry.is_due(at(5)));
    }

    #[test]
    fn an_empty_shard_is_never_swept() {
        let expiry = Expiry::never();
        expiry.record_stored(at(1), 1);
        expiry.record_sweep(&mut []);
        assert!(!expiry.is_due(Timestamp::MAX));
    }
}
