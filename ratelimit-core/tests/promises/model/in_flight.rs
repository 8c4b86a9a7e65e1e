//! Every hold, for as long as it may be held.

use super::Model;

#[derive(Clone, Debug)]
pub(super) struct InFlight {
    limit: u64,
    held_at_most: u64,
    /// The instant and the cost of each hold.
    holds: Vec<(u64, u64)>,
}

impl InFlight {
    pub(super) fn new(limit: u64, held_at_most: u64) -> Self {
        Self { limit, held_at_most, holds: Vec::new() }
    }

    fn held(&self, now: u64) -> u64 {
        let held = self.holds.iter().filter(|&&(at, _)| now < at + self.held_at_most);
        held.map(|&(_, cost)| cost).sum()
    }
}

impl Model for InFlight {
    fn boxed(&self) -> Box<dyn Model> {
        Box::new(self.clone())
    }

    fn limit(&self) -> u64 {
        self.limit
    }

    fn rewind(&mut self, now: u64) {
        self.holds.iter_mut().for_each(|(at, _)| *at = now.min(*at));
    }

    fn admits(&self, now: u64, cost: u64) -> bool {
        self.held(now) + cost <= self.limit
    }

    fn charge(&mut self, now: u64, cost: u64) {
        self.holds.retain(|&(at, _)| now < at + self.held_at_most);
        self.holds.push((now, cost));
    }

    /// A hold is given back by its receipt only.
    fn refund(&mut self, _now: u64, _cost: u64) {}

    fn is_as_new(&self, now: u64) -> bool {
        self.held(now) == 0
    }

    fn wait_max(&self) -> u64 {
        self.held_at_most
    }
}
