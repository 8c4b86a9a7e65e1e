//! A count per window of a calendar, or without a limit.

use ratelimit_core::UNLIMITED;

use super::Model;

#[derive(Clone, Debug)]
pub(super) struct Calendar {
    limit: u64,
    lengths: [u64; 4],
    /// The start of the window that was charged last.
    start: u64,
    used: u64,
}

impl Calendar {
    pub(super) fn new(limit: u64, lengths: [u64; 4], now: u64) -> Self {
        let mut fresh = Self { limit, lengths, start: 0, used: 0 };
        fresh.start = fresh.start_of(now);
        fresh
    }

    /// Windows of these lengths by turns, one after the other.
    fn start_of(&self, now: u64) -> u64 {
        let mut start = now - now % self.lengths.iter().sum::<u64>();
        for length in self.lengths {
            if now < start + length {
                break;
            }
            start += length;
        }
        start
    }

    fn used(&self, now: u64) -> u64 {
        if self.start == self.start_of(now) { self.used } else { 0 }
    }

    fn turn(&mut self, now: u64) {
        self.used = self.used(now);
        self.start = self.start_of(now);
    }
}

impl Model for Calendar {
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
        self.limit == UNLIMITED || self.used(now) + cost <= self.limit
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

    /// No wait is long enough under a policy that admits nothing.
    fn wait_max(&self) -> u64 {
        let longest = self.lengths.into_iter().max().unwrap_or_default();
        if self.limit == 0 { UNLIMITED } else { longest }
    }

    fn remaining(&self, now: u64) -> u64 {
        if self.limit == UNLIMITED { UNLIMITED } else { self.limit.saturating_sub(self.used(now)) }
    }
}
