//! The seven algorithms once more, from the contract alone: slow, obvious, in exact fractions.
//!
//! A model only says whether a request fits at an instant, what a charge changes, and when a key
//! is as good as new. Waits and remainders follow by search from what the words mean: the least
//! wait after which the request fits, the most requests that fit.

mod adaptive;
mod bucket;
mod calendar;
mod fixed_window;
mod in_flight;
mod leaky_bucket;
mod log;
mod sensor;
mod sliding_window_counter;
mod sliding_window_log;
mod token_bucket;

use core::fmt::Debug;

use num_bigint::BigInt;
use num_rational::BigRational;
use ratelimit_core::{Decision, Micros, Outcome};

pub(crate) use self::sensor::Sensor;
use crate::rule::Rule;

/// One key's state under one algorithm.
pub(crate) trait Model: Debug {
    fn boxed(&self) -> Box<dyn Model>;

    /// The largest cost.
    fn limit(&self) -> u64;

    /// Pulls what dates later than `now` back to it.
    fn rewind(&mut self, now: u64);

    /// Returns true if a request of `cost` fits.
    fn admits(&self, now: u64, cost: u64) -> bool;

    /// The time for which a request that fits is held back.
    fn delay(&self, _now: u64) -> u64 {
        0
    }

    fn charge(&mut self, now: u64, cost: u64);

    fn refund(&mut self, now: u64, cost: u64);

    fn is_as_new(&self, now: u64) -> bool;

    /// Returns true if a store may have forgotten the key, so that there is nothing to give back to.
    fn is_expired(&self, now: u64) -> bool {
        let mut key = self.boxed();
        key.rewind(now);
        key.is_as_new(now)
    }

    /// No wait is longer.
    fn wait_max(&self) -> u64;

    /// Requests of cost 1 that fit, one after the other.
    fn remaining(&self, now: u64) -> u64 {
        most(self.limit(), |permits| self.admits(now, permits))
    }

    /// The load sensor, of an algorithm that has one.
    fn sensor(&mut self) -> Option<&mut Sensor> {
        None
    }
}

/// A key of a model, known or not, that answers as the crate does.
#[derive(Debug)]
pub(crate) struct Reference {
    rule: Rule,
    known: Option<Box<dyn Model>>,
    /// The sensor that outlives the key.
    pub(crate) shared: Option<Sensor>,
}

/// The part of a [`Decision`] that a model speaks about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Answer {
    pub(crate) outcome: Outcome,
    pub(crate) limit: u64,
    pub(crate) remaining: u64,
    pub(crate) reset_after: Micros,
}

impl From<Decision> for Answer {
    fn from(decision: Decision) -> Self {
        let Decision { limit, remaining, reset_after, .. } = decision;
        Self { outcome: decision.outcome(), limit, remaining, reset_after }
    }
}

impl Reference {
    pub(crate) fn new(rule: &Rule) -> Self {
        let shared = if rule.is_shared() { rule.model(0).sensor().cloned() } else { None };
        Self { rule: *rule, known: None, shared }
    }

    pub(crate) fn spend(&mut self, now: u64, cost: u64) -> Answer {
        let outcome = self.ask(now, cost);
        self.touch(now);
        if matches!(outcome, Outcome::Allow { .. }) {
            self.charge(now, cost);
        }
        self.answer(now, outcome)
    }

    /// Spends as much of `cost` as there is room for; returns how much with the answer.
    pub(crate) fn take(&mut self, now: u64, cost: u64) -> (Answer, u64) {
        let key = self.open(now);
        let room = most(cost, |permits| key.admits(now, permits));
        (self.spend(now, room.max(1)), room)
    }

    pub(crate) fn peek(&self, now: u64, cost: u64) -> Answer {
        self.answer(now, self.ask(now, cost))
    }

    /// To a key that a store may have forgotten there is nothing to give back.
    pub(crate) fn refund(&mut self, now: u64, cost: u64) -> Answer {
        self.settle(now);
        let expired = self.known.take_if(|key| key.is_expired(now));
        if self.known.is_some() {
            let mut key = self.open(now);
            if !key.is_as_new(now) {
                key.refund(now, cost);
            }
            self.close(key);
        }
        let answer = self.answer(now, ALLOW);
        self.known = self.known.take().or(expired);
        answer
    }

    pub(crate) fn reset(&mut self, now: u64) -> Answer {
        self.settle(now);
        self.known = None;
        self.answer(now, ALLOW)
    }

    /// A shared sensor has no late times even where the key is not known.
    fn settle(&mut self, now: u64) {
        if let Some(sensor) = &mut self.shared {
            sensor.rewind(now);
        }
    }

    pub(crate) fn ask(&self, now: u64, cost: u64) -> Outcome {
        let key = self.open(now);
        if key.admits(now, cost) {
            return Outcome::Allow { delay: Micros::new(key.delay(now)) };
        }
        let wait = least(key.wait_max(), |wait| key.admits(now + wait, cost));
        Outcome::Deny { retry_after: Micros::new(wait) }
    }

    pub(crate) fn charge(&mut self, now: u64, cost: u64) {
        let mut key = self.open(now);
        key.charge(now, cost);
        self.close(key);
    }

    /// The effect of any spending, admitted or not: a known key's times are not late, and one that is
    /// not full begins to fill.
    pub(crate) fn touch(&mut self, now: u64) {
        self.settle(now);
        let key = self.open(now);
        if self.known.is_some() || !key.is_as_new(now) {
            self.close(key);
        }
    }

    pub(crate) fn answer(&self, now: u64, outcome: Outcome) -> Answer {
        let key = self.open(now);
        let reset_after = least(key.wait_max(), |wait| key.is_as_new(now + wait));
        let reset_after = Micros::new(reset_after);
        Answer { outcome, limit: key.limit(), remaining: key.remaining(now), reset_after }
    }

    fn open(&self, now: u64) -> Box<dyn Model> {
        let mut key = self.known.as_ref().map_or_else(|| self.rule.model(now), |key| key.boxed());
        if let (Some(own), Some(shared)) = (key.sensor(), &self.shared) {
            own.clone_from(shared);
        }
        key.rewind(now);
        key
    }

    fn close(&mut self, mut key: Box<dyn Model>) {
        if let (Some(own), Some(shared)) = (key.sensor(), &mut self.shared) {
            shared.clone_from(own);
        }
        self.known = Some(key);
    }
}

impl Rule {
    /// A key never seen before `now`.
    fn model(&self, now: u64) -> Box<dyn Model> {
        match *self {
            Self::FixedWindow { limit, window, align } => {
                Box::new(fixed_window::FixedWindow::new(limit, window, align, now))
            }
            Self::Calendar { limit, lengths } => {
                Box::new(calendar::Calendar::new(limit, lengths, now))
            }
            Self::SlidingWindowLog { limit, window, entries_max } => {
                Box::new(sliding_window_log::SlidingWindowLog::new(limit, window, entries_max))
            }
            Self::SlidingWindowCounter { limit, window } => {
                Box::new(sliding_window_counter::SlidingWindowCounter::new(limit, window, now))
            }
            Self::TokenBucket { capacity, refill, period, initial } => {
                let rate = bucket::Rate::new(self, capacity, refill, period);
                Box::new(token_bucket::TokenBucket::new(capacity, rate, initial, now))
            }
            Self::LeakyBucket { capacity, leak, period, longest_delay } => {
                let rate = bucket::Rate::new(self, capacity, leak, period);
                Box::new(leaky_bucket::LeakyBucket::new(capacity, rate, longest_delay, now))
            }
            Self::Adaptive(numbers) => Box::new(adaptive::Hybrid::new(numbers, now)),
            Self::InFlight { limit, held_at_most } => {
                Box::new(in_flight::InFlight::new(limit, held_at_most))
            }
        }
    }
}

const ALLOW: Outcome = Outcome::Allow { delay: Micros::ZERO };

/// The least number for which `holds`, which holds for every number from there on; at most `max`.
fn least(max: u64, holds: impl Fn(u64) -> bool) -> u64 {
    let (mut low, mut high) = (0, if holds(0) { 0 } else { max });
    while low < high {
        let middle = low + (high - low) / 2;
        if holds(middle) { high = middle } else { low = middle + 1 }
    }
    low
}

/// The greatest number for which `holds`, which holds for every number up to there; at most `max`.
fn most(max: u64, holds: impl Fn(u64) -> bool) -> u64 {
    least(max, |number| !holds(number + 1))
}

fn whole(number: u64) -> BigRational {
    BigInt::from(number).into()
}

fn fraction(numerator: u64, denominator: u64) -> BigRational {
    BigRational::new(numerator.into(), denominator.into())
}
