//! A guard and a bucket, both as large as the load allows.

use num_rational::BigRational;
use num_traits::ToPrimitive;
use ratelimit_core::adaptive::Scope;

use super::{
    Model, Sensor,
    bucket::{Rate, tick},
    fraction,
    log::Log,
    whole,
};
use crate::rule::Adaptive;

#[derive(Clone, Debug)]
pub(super) struct Hybrid {
    numbers: Adaptive,
    guard: Log,
    tokens: BigRational,
    at: u64,
    sensor: Sensor,
}

impl Hybrid {
    pub(super) fn new(numbers: Adaptive, now: u64) -> Self {
        let sensor = Sensor::new(numbers.adaptive_window);
        let tokens = whole(burst(&numbers, whole(1)));
        Self { numbers, guard: Log::default(), tokens, at: now, sensor }
    }

    /// `max(1, ⌊limit · multiplier · factor⌋)` at the load that `now` finds.
    fn effective_burst(&self, now: u64) -> u64 {
        let Adaptive { limit, window, adaptive_window, high, low, penalty, .. } = self.numbers;
        let measured = fraction(self.sensor.requests(now), adaptive_window);
        let load = measured / fraction(limit, window);
        let (high, low, penalty) = (parts(high), parts(low), parts(penalty));
        let cut = if high <= load {
            penalty
        } else if load <= low {
            whole(0)
        } else {
            penalty * (load - &low) / (high - &low)
        };
        burst(&self.numbers, whole(1) - cut)
    }

    fn refill(&self, burst: u64) -> Rate {
        let tick = tick(self.limit(), self.numbers.window);
        Rate::per_ticks(fraction(burst, self.numbers.window.div_ceil(tick)), tick)
    }

    fn tokens(&self, now: u64) -> BigRational {
        let burst = self.effective_burst(now);
        whole(burst).min(&self.tokens + self.refill(burst).over(self.at, now))
    }

    fn count(&mut self, now: u64) {
        let burst = self.effective_burst(now);
        self.tokens = self.tokens(now);
        let is_full = self.tokens == whole(burst);
        self.at = if is_full { now } else { self.refill(burst).counted(self.at, now) };
    }

    fn least_burst(&self) -> u64 {
        burst(&self.numbers, whole(1) - parts(self.numbers.penalty))
    }
}

fn burst(numbers: &Adaptive, factor: BigRational) -> u64 {
    let burst = whole(numbers.limit) * parts(numbers.multiplier) * factor;
    burst.floor().to_integer().to_u64().expect("bursts are small").max(1)
}

fn parts(per_million: u32) -> BigRational {
    fraction(per_million.into(), 1_000_000)
}

impl Model for Hybrid {
    fn boxed(&self) -> Box<dyn Model> {
        Box::new(self.clone())
    }

    fn limit(&self) -> u64 {
        burst(&self.numbers, whole(1))
    }

    fn rewind(&mut self, now: u64) {
        self.guard.rewind(now);
        self.at = self.at.min(now);
        self.sensor.rewind(now);
    }

    fn admits(&self, now: u64, cost: u64) -> bool {
        let used = self.guard.used(self.numbers.window, now);
        used + cost <= self.effective_burst(now) && whole(cost) <= self.tokens(now)
    }

    fn charge(&mut self, now: u64, cost: u64) {
        self.count(now);
        self.tokens -= whole(cost);
        self.guard.add(self.numbers.window, now, cost);
        self.sensor.add(now, 1);
    }

    fn refund(&mut self, now: u64, cost: u64) {
        let burst = whole(self.effective_burst(now));
        self.count(now);
        self.tokens = burst.min(&self.tokens + whole(cost));
        self.guard.take(self.numbers.window, now, cost);
    }

    /// A sensor of its own is the key's to empty; of a shared one it only has to bear the load.
    fn is_as_new(&self, now: u64) -> bool {
        let has_past = self.numbers.scope == Scope::PerKey && 0 < self.sensor.requests(now);
        let is_used = 0 < self.guard.used(self.numbers.window, now);
        !has_past && !is_used && self.tokens(now) == whole(self.limit())
    }

    /// Others may keep a shared sensor high, and the refill at its slowest.
    fn is_expired(&self, now: u64) -> bool {
        let mut key = self.clone();
        key.rewind(now);
        match self.numbers.scope {
            Scope::PerKey => key.is_as_new(now),
            Scope::Shared => {
                let refilled = self.refill(self.least_burst()).over(key.at, now);
                let is_used = 0 < key.guard.used(self.numbers.window, now);
                !is_used && whole(self.limit()) <= key.tokens + refilled
            }
        }
    }

    fn wait_max(&self) -> u64 {
        let refill = self.refill(self.least_burst()).time_for(self.limit());
        self.sensor.memory() + self.numbers.window + refill
    }

    fn remaining(&self, now: u64) -> u64 {
        let mut key = self.clone();
        let mut requests = 0;
        while key.admits(now, 1) {
            key.charge(now, 1);
            requests += 1;
        }
        requests
    }

    fn sensor(&mut self) -> Option<&mut Sensor> {
        Some(&mut self.sensor)
    }
}
