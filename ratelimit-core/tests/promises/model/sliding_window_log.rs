//! Every charge, for exactly a window.

use super::{Model, log::Log};

#[derive(Clone, Debug)]
pub(super) struct SlidingWindowLog {
    limit: u64,
    window: u64,
    entries_max: u64,
    log: Log,
}

impl SlidingWindowLog {
    pub(super) fn new(limit: u64, window: u64, entries_max: u64) -> Self {
        Self { limit, window, entries_max, log: Log::default() }
    }
}

impl Model for SlidingWindowLog {
    fn boxed(&self) -> Box<dyn Model> {
        Box::new(self.clone())
    }

    fn limit(&self) -> u64 {
        self.limit
    }

    fn rewind(&mut self, now: u64) {
        self.log.rewind(now);
    }

    fn admits(&self, now: u64, cost: u64) -> bool {
        let entries = self.log.entries(self.window, now) as u64;
        let has_place = self.log.has(now) || entries < self.entries_max;
        has_place && self.log.used(self.window, now) + cost <= self.limit
    }

    fn charge(&mut self, now: u64, cost: u64) {
        self.log.add(self.window, now, cost);
    }

    fn refund(&mut self, now: u64, cost: u64) {
        self.log.take(self.window, now, cost);
    }

    fn is_as_new(&self, now: u64) -> bool {
        self.log.used(self.window, now) == 0
    }

    fn wait_max(&self) -> u64 {
        self.window
    }
}
