//! A count per window.

use ratelimit_core::fixed_window::Align;

use super::Model;

#[derive(Clone, Debug)]
pub(super) struct FixedWindow {
    limit: u64,
    window: u64,
    align: Align,
    start: u64,
    used: u64,
}

impl FixedWindow {
    pub(super) fn new(limit: u64, window: u64, align: Align, now: u64) -> Self {
        let mut fresh = Self { limit, window, align, start: 0, used: 0 };
        fresh.start = fresh.start_of(now);
        fresh
    }

    const fn start_of(&self, now: u64) -> u64 {
        match self.align {
            Align::Epoch => now - now % self.window,
            Align::First => now,
        }
    }

    const fn is_over(&self, now: u64) -> bool {
        self.used == 0 || self.start + self.window <= now
    }

    const fn used(&self, now: u64) -> u64 {
        if self.is_over(now) { 0 } else { self.used }
    }

    fn turn(&mut self, now: u64) {
        if self.is_over(now) {
            self.used = 0;
            self.start = self.start_of(now);
        }
    }
}

impl Model for FixedWindow {
    fn boxed(&self) -> Box<dyn Model> {
        Box::new(self.clone())
    }

    fn limit(&self) -> u64 {
        self.limit
    }

    fn rewind(&mut self, now: u64) {
        if now < self.start {
            self.start = self.start_of(now);
        }
    }

    fn admits(&self, now: u64, cost: u64) -> bool {
        self.used(now) + cost <= self.limit
    }

    fn charge(&mut self, now: u64, cost: u64) {
        self.turn(now);
        self.used += cost;
    }

    fn refund(&mut self, now: u64, cost: u64) {
        self.turn(now);
        self.used = self.used.saturating_sub(cost);
    }

    fn is_as_new(&self, now: u64) -> bool {
        self.used(now) == 0
    }

    fn wait_max(&self) -> u64 {
        self.window
    }
}
