//! The instants at which permits were spent, and their number at each.

use std::collections::BTreeMap;

/// Permits by instant.
#[derive(Clone, Debug, Default)]
pub(super) struct Log(BTreeMap<u64, u64>);

impl Log {
    /// Permits that were spent less than a `window` ago.
    pub(super) fn used(&self, window: u64, now: u64) -> u64 {
        self.young(window, now).map(|(_, cost)| cost).sum()
    }

    /// Instants less than a `window` ago at which permits were spent.
    pub(super) fn entries(&self, window: u64, now: u64) -> usize {
        self.young(window, now).count()
    }

    fn young(&self, window: u64, now: u64) -> impl Iterator<Item = (u64, u64)> {
        let entries = self.0.iter().map(|(&at, &cost)| (at, cost));
        entries.filter(move |&(at, _)| now < at + window)
    }

    pub(super) fn has(&self, now: u64) -> bool {
        self.0.contains_key(&now)
    }

    /// Adds a charge, and drops what is older than a `window`.
    pub(super) fn add(&mut self, window: u64, now: u64, cost: u64) {
        self.0.retain(|at, _| now < at + window);
        *self.0.entry(now).or_default() += cost;
    }

    /// Takes away up to `cost` permits, the newest first.
    pub(super) fn take(&mut self, window: u64, now: u64, mut cost: u64) {
        for (_, permits) in self.0.iter_mut().rev().filter(|(at, _)| now < **at + window) {
            let part = cost.min(*permits);
            cost -= part;
            *permits -= part;
        }
        self.0.retain(|_, permits| 0 < *permits);
    }

    pub(super) fn rewind(&mut self, now: u64) {
        for (_, cost) in self.0.split_off(&(now + 1)) {
            *self.0.entry(now).or_default() += cost;
        }
    }
}
