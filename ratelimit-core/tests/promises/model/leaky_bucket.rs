//! Permits that are poured in, and leak.

use num_rational::BigRational;
use num_traits::Zero;

use super::{Model, bucket::Rate, least, most, whole};

#[derive(Clone, Debug)]
pub(super) struct LeakyBucket {
    capacity: u64,
    rate: Rate,
    longest_delay: Option<u64>,
    level: BigRational,
    at: u64,
}

impl LeakyBucket {
    pub(super) fn new(capacity: u64, rate: Rate, longest_delay: Option<u64>, now: u64) -> Self {
        Self { capacity, rate, longest_delay, level: BigRational::zero(), at: now }
    }

    fn level(&self, now: u64) -> BigRational {
        (&self.level - self.rate.over(self.at, now)).max(BigRational::zero())
    }

    fn count(&mut self, now: u64) {
        self.level = self.level(now);
        self.at = if self.level.is_zero() { now } else { self.rate.counted(self.at, now) };
    }
}

impl Model for LeakyBucket {
    fn boxed(&self) -> Box<dyn Model> {
        Box::new(self.clone())
    }

    fn limit(&self) -> u64 {
        self.capacity
    }

    fn rewind(&mut self, now: u64) {
        self.at = self.at.min(now);
    }

    /// The delay that decides is that from the end of the last whole tick.
    fn admits(&self, now: u64, cost: u64) -> bool {
        let since = self.rate.counted(self.at, now);
        let is_soon = self.longest_delay.is_none_or(|longest| self.delay(since) <= longest);
        is_soon && self.level(now) + whole(cost) <= whole(self.capacity)
    }

    /// The time until all that was poured in before has leaked.
    fn delay(&self, now: u64) -> u64 {
        let is_empty = |wait| self.level(now + wait).is_zero();
        if self.longest_delay.is_none() { 0 } else { least(self.wait_max(), is_empty) }
    }

    fn charge(&mut self, now: u64, cost: u64) {
        self.count(now);
        self.level += whole(cost);
    }

    fn refund(&mut self, now: u64, cost: u64) {
        self.count(now);
        self.level = (&self.level - whole(cost)).max(BigRational::zero());
    }

    fn is_as_new(&self, now: u64) -> bool {
        self.level(now).is_zero()
    }

    fn wait_max(&self) -> u64 {
        self.rate.time_for(self.capacity)
    }

    fn remaining(&self, now: u64) -> u64 {
        most(self.capacity, |requests| {
            let mut bucket = self.clone();
            bucket.count(now);
            bucket.level += whole(requests - 1);
            bucket.admits(now, 1)
        })
    }
}
