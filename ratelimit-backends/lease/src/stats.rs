//! Counters of the permits taken ahead, and of calls of the store.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::entry::Tally;

/// Counts since the start. Permits that were leased and have neither lapsed nor been given back were
/// used, or are held.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct LeaseStats {
    /// Permits taken ahead from the store.
    pub leased: u64,
    /// Permits of these that were not used in time.
    pub lapsed: u64,
    /// Permits of these that were sent back to the store.
    pub given_back: u64,
    /// Calls of the store: of checks, of takes, and of permits that went back.
    pub round_trips: u64,
}

/// The counters that all clones share.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    leased: AtomicU64,
    lapsed: AtomicU64,
    given_back: AtomicU64,
    round_trips: AtomicU64,
    /// Searches of the table.
    #[cfg(test)]
    lookups: AtomicU64,
}

impl Counters {
    pub(crate) fn add(&self, tally: Tally) {
        // Relaxed here and below: each count stands for itself.
        if tally != Tally::default() {
            self.leased.fetch_add(tally.leased, Ordering::Relaxed);
            self.lapsed.fetch_add(tally.lapsed, Ordering::Relaxed);
        }
    }

    pub(crate) fn add_given_back(&self, permits: u64) {
        self.given_back.fetch_add(permits, Ordering::Relaxed);
    }

    pub(crate) fn add_round_trip(&self) {
        self.round_trips.fetch_add(1, Ordering::Relaxed);
    }

    #[cfg(test)]
    pub(crate) fn add_lookup(&self) {
        self.lookups.fetch_add(1, Ordering::Relaxed);
    }

    #[cfg(test)]
    pub(crate) fn lookups(&self) -> u64 {
        self.lookups.load(Ordering::Relaxed)
    }

    pub(crate) fn read(&self) -> LeaseStats {
        let Self { leased, lapsed, given_back, round_trips, .. } = self;
        let [leased, lapsed, given_back, round_trips] =
            [leased, lapsed, given_back, round_trips].map(|count| count.load(Ordering::Relaxed));
        LeaseStats { leased, lapsed, given_back, round_trips }
    }
}
