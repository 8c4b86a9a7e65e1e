//! Tokens that are taken out, and come back.

use num_rational::BigRational;
use num_traits::Zero;

use super::{Model, bucket::Rate, whole};

#[derive(Clone, Debug)]
pub(super) struct TokenBucket {
    capacity: u64,
    rate: Rate,
    initial: u64,
    tokens: BigRational,
    at: u64,
}

impl TokenBucket {
    pub(super) fn new(capacity: u64, rate: Rate, initial: u64, now: u64) -> Self {
        Self { capacity, rate, initial, tokens: whole(initial), at: now }
    }

    fn is_forgotten(&self, now: u64) -> bool {
        let rest = 2 * self.rate.time_for(self.capacity);
        self.initial < self.capacity && self.at + rest <= now
    }

    fn tokens(&self, now: u64) -> BigRational {
        if self.is_forgotten(now) {
            return whole(self.initial);
        }
        whole(self.capacity).min(&self.tokens + self.rate.over(self.at, now))
    }

    fn count(&mut self, now: u64) {
        let tokens = self.tokens(now);
        let is_new = self.is_forgotten(now) || tokens == whole(self.capacity);
        self.at = if is_new { now } else { self.rate.counted(self.at, now) };
        self.tokens = tokens;
    }
}

impl Model for TokenBucket {
    fn boxed(&self) -> Box<dyn Model> {
        Box::new(self.clone())
    }

    fn limit(&self) -> u64 {
        self.capacity
    }

    fn rewind(&mut self, now: u64) {
        self.at = self.at.min(now);
        if self.is_forgotten(now) {
            self.count(now);
        }
    }

    fn admits(&self, now: u64, cost: u64) -> bool {
        whole(cost) <= self.tokens(now)
    }

    fn charge(&mut self, now: u64, cost: u64) {
        self.count(now);
        self.tokens -= whole(cost);
    }

    fn refund(&mut self, now: u64, cost: u64) {
        self.count(now);
        self.tokens = whole(self.capacity).min(&self.tokens + whole(cost));
    }

    fn is_as_new(&self, now: u64) -> bool {
        (whole(self.capacity) - self.tokens(now)).is_zero()
    }

    fn is_expired(&self, now: u64) -> bool {
        let is_full = || self.tokens(now.max(self.at)) == whole(self.capacity);
        if self.initial < self.capacity { self.is_forgotten(now) } else { is_full() }
    }

    fn wait_max(&self) -> u64 {
        self.rate.time_for(self.capacity)
    }
}
