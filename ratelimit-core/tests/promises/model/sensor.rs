//! The requests admitted lately, by sub-window.

use std::collections::BTreeMap;

/// Requests by the number of their sub-window since the epoch.
#[derive(Clone, Debug)]
pub(crate) struct Sensor {
    length: u64,
    requests: BTreeMap<i128, u64>,
}

impl Sensor {
    pub(super) const fn new(adaptive_window: u64) -> Self {
        Self { length: adaptive_window.div_ceil(64), requests: BTreeMap::new() }
    }

    /// Requests of the sub-window that holds `now`, and of the 63 before it.
    pub(super) fn requests(&self, now: u64) -> u64 {
        let newest = self.number(now);
        self.requests.range(newest - 63..=newest).map(|(_, requests)| requests).sum()
    }

    pub(crate) fn add(&mut self, now: u64, requests: u64) {
        let newest = self.number(now);
        *self.requests.entry(newest).or_default() += requests;
        self.requests.retain(|&number, _| newest - 64 < number);
    }

    /// Counts what it has seen later than now as seen now, and forgets what is too old even then.
    pub(crate) fn rewind(&mut self, now: u64) {
        let late: u64 = self.requests.split_off(&(self.number(now) + 1)).into_values().sum();
        if late != 0 {
            self.add(now, late);
        }
    }

    /// The time after which it has forgotten everything.
    pub(super) const fn memory(&self) -> u64 {
        64 * self.length
    }

    fn number(&self, now: u64) -> i128 {
        i128::from(now / self.length)
    }
}
