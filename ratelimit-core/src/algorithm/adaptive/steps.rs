//! The steps of an adaptive hybrid.

use alloc::{boxed::Box, vec::Vec};
use core::num::NonZeroU64;

use super::{AdaptiveLayer, Detail, Parameters, Quota, Scope, State};
use crate::{
    CarryOver, Cost, Decision, Micros, Outcome, Receipt, Timestamp,
    algorithm::definition::{Definition, Size},
    decision::Standing,
    number::{division::scale_floor, encoding::Reader},
    state::{
        entries::Log,
        key_state::KeyState,
        level::{LEVEL_WORDS, Level},
        load::Numbers,
        sensor::{SENSOR_WORDS, Sensor, SubWindow},
    },
};

impl Definition for Quota {
    type State = Box<State>;
    type Detail = Detail;

    const NAME: &'static str = "adaptive hybrid";
    const KIND: u8 = 6;
    const SENSOR_KIND: Option<u8> = Some(7);

    /// The rate is the base rate. The sensor remembers for longer than the guard, but a key may spend
    /// again once that is over.
    fn size(&self) -> Size {
        let base = Size::per_window(self.load.numbers().limit, self.window);
        Size { limit: self.load.whole(), ..base }
    }

    fn numbers(&self) -> Vec<u64> {
        let Numbers { limit, window, adaptive_window, multiplier, high, low, penalty } =
            *self.load.numbers();
        let lengths = [limit, window, adaptive_window].map(NonZeroU64::get);
        [&lengths[..], &[multiplier, high, low, penalty, self.scope as u64]].concat()
    }

    fn read(input: &mut Reader<'_>) -> Option<Self> {
        Self::new(&Parameters::read(input)?).ok()
    }

    fn terms(&self, _: Timestamp) -> Vec<(&'static str, u64)> {
        let lengths = [
            ("window", self.window.get()),
            ("tick", self.tick.micros().get()),
            ("ticks", self.ticks.get()),
            ("sub_window", self.sub_window.micros().get()),
        ];
        [&lengths[..], &self.load.terms()].concat()
    }

    fn read_state(&self, input: &mut Reader<'_>) -> Option<Box<State>> {
        let (log, tokens) = (Log::read(input)?, Level::read(input, self.full())?);
        Some(Box::new(State { log, tokens, sensor: Sensor::read(input)? }))
    }

    fn sub_window(&self) -> Option<SubWindow> {
        Some(self.sub_window)
    }

    fn shares_sensor(&self) -> bool {
        self.scope == Scope::Shared
    }

    fn fresh(&self, now: Timestamp) -> Box<State> {
        Box::new(State {
            log: Log::default(),
            tokens: Level { units: self.full(), at: now },
            sensor: Sensor::EMPTY,
        })
    }

    fn rewind(&self, state: &mut Box<State>, now: Timestamp) {
        state.log.rewind(now);
        state.tokens.at = state.tokens.at.min(now);
        state.sensor.rewind(self.sub_window.number(now));
    }

    /// Without traffic the load only falls, a step at the end of each sub-window, so the first
    /// step whose burst lets the request fit before the next one holds the answer.
    fn outcome(&self, state: &Box<State>, now: Timestamp, cost: Cost) -> Outcome {
        let mut begin = now;
        let mut fits = Timestamp::MAX;
        for (number, admitted) in state.sensor.falling(self.sub_window.number(now)) {
            let burst = self.load.burst(admitted);
            let end = self.sub_window.start(number.saturating_add(1));
            if let (Some(keep), Some(refill)) =
                (burst.checked_sub(cost.get()), NonZeroU64::new(burst))
            {
                let guard = state.log.falls_to(keep, self.length(), now);
                let bucket = state.tokens.at + self.holds(state.tokens, cost.get(), refill);
                fits = begin.max(guard).max(bucket);
                if fits < end {
                    break;
                }
            }
            begin = end;
        }
        if now < fits { Outcome::Deny { retry_after: fits - now } } else { Outcome::ALLOW }
    }

    fn charge(&self, state: &mut Box<State>, now: Timestamp, cost: Cost) {
        let burst = self.burst(&state.sensor, now);
        state.tokens = self.bucket(state.tokens, burst, now);
        state.tokens.units = state.tokens.units.saturating_sub(self.units(cost.get()));
        state.log.push(self.length(), now, cost);
    }

    fn record_load(&self, state: &mut Box<State>, now: Timestamp) {
        state.sensor.record(self.sub_window.number(now));
    }

    /// The load stays: the request was admitted, whatever it cost in the end.
    fn refund(&self, state: &mut Box<State>, now: Timestamp, cost: Cost) {
        self.pour_back(state, now, self.units(cost.get()));
        state.log.take(self.length(), now, cost);
    }

    /// The order of charges is not known in a bucket. So everything that may have come back since
    /// counts as come back, and everything that a higher load may have cut off counts as gone.
    fn settle(&self, state: &mut Box<State>, now: Timestamp, cost: Cost, receipt: Receipt) {
        let uncut = self.uncut(&state.sensor, now, cost, receipt);
        let left = uncut.saturating_sub(self.back(receipt, now));
        self.pour_back(state, now, left);
        state.log.take_at(receipt.at, self.length(), now, cost);
    }

    fn room(&self, state: &Box<State>, now: Timestamp) -> u64 {
        let burst = self.burst(&state.sensor, now);
        let tokens = self.bucket(state.tokens, burst, now).units / self.ticks;
        tokens.min(burst.saturating_sub(state.log.used(self.length(), now)))
    }

    fn standing(&self, state: &Box<State>, now: Timestamp) -> Standing {
        let admitted = state.sensor.admitted(self.sub_window.number(now));
        let burst = self.load.burst(admitted);
        let used = state.log.used(self.length(), now);
        let tokens = self.bucket(state.tokens, burst, now).units / self.ticks;
        let whole = self.load.whole();
        let refilled = state.tokens.at + self.holds(state.tokens, whole, self.load.whole_nonzero());
        let as_new = state
            .log
            .last_leaves(self.length(), now)
            .max(refilled)
            .max(self.whole_again(&state.sensor, now))
            .max(now + state.sensor_lifetime(self, now));
        Standing {
            limit: whole,
            remaining: self.remaining(used, tokens, admitted),
            reset_after: as_new - now,
            seen: [used.min(USED_MAX) << TOKENS_BITS | tokens, admitted],
        }
    }

    /// Others may keep a shared sensor high, so there the bucket is as good as new only once it is
    /// full at the slowest refill.
    fn lifetime(&self, state: &Box<State>, now: Timestamp) -> Micros {
        let slowest = self.load.cut_nonzero();
        let refilled = state.tokens.at + self.holds(state.tokens, self.load.whole(), slowest);
        match self.scope {
            Scope::PerKey => self.standing(state, now).reset_after,
            Scope::Shared => state.log.last_leaves(self.length(), now).max(refilled) - now,
        }
    }

    fn carry(&self, from: &Self, state: &mut Box<State>, rule: CarryOver, now: Timestamp) {
        state.log.drop_expired(from.length(), now);
        let found = from.units_found(state, now);
        let units = match (rule, NonZeroU64::new(from.full())) {
            (CarryOver::Proportional, Some(full)) => {
                state.log.scale(self.load.whole_nonzero(), from.load.whole_nonzero());
                scale_floor(found, self.full(), full)
            }
            _ => scale_floor(found, self.ticks.get(), from.ticks),
        };
        state.tokens = Level { units: units.min(self.full()), at: now };
        match self.scope {
            Scope::PerKey => state.sensor.adopt(from.sub_window, self.sub_window, now),
            // The record may be dropped before the key's own load falls: none is to come back.
            Scope::Shared => state.sensor = Sensor::EMPTY,
        }
    }

    fn keep(&self, state: &Box<State>, now: Timestamp) -> Box<State> {
        let log = state.log.summary(self.length(), now);
        Box::new(State { log, tokens: state.tokens, sensor: state.sensor })
    }

    fn join(&self, state: &mut Box<State>, other: &Box<State>, now: Timestamp) {
        state.log.drop_expired(self.length(), now);
        state.log.join(&other.log);
        state.tokens.units = self.units_found(state, now).min(self.units_found(other, now));
        state.tokens.at = now;
        state.sensor.join(&other.sensor, self.sub_window.number(now));
    }

    fn detail(&self, [seen, admitted]: [u64; 2], _: Timestamp) -> Detail {
        let (used, tokens) = parts(seen);
        let effective_burst = self.load.burst(admitted);
        let layer = if effective_burst.saturating_sub(used) <= tokens {
            AdaptiveLayer::SlidingWindow
        } else {
            AdaptiveLayer::TokenBucket
        };
        Detail { layer, effective_burst, used, tokens, admitted }
    }

    fn receipt(&self, [seen, admitted]: [u64; 2]) -> [u64; 2] {
        [parts(seen).1, admitted]
    }

    /// A token more comes within a share of the window, and a whole window brings back what the key
    /// has spent. If neither is enough, the load is what binds.
    fn until_more(&self, [seen, admitted]: [u64; 2], decision: &Decision) -> Micros {
        let (used, tokens) = parts(seen);
        let more = |used, tokens| decision.remaining < self.remaining(used, tokens, admitted);
        match NonZeroU64::new(self.load.burst(admitted)) {
            Some(refill) if more(used, tokens.saturating_add(1)) => {
                self.tick.length(self.ticks.get().div_ceil(refill.get()))
            }
            Some(burst) if more(0, burst.get()) => self.length(),
            _ => decision.reset_after,
        }
    }
}

impl KeyState for Box<State> {
    const WORDS_BESIDE_LOG: Option<usize> = Some(LEVEL_WORDS + SENSOR_WORDS);

    fn words(&self) -> Vec<u64> {
        self.log.words().chain(self.tokens.words()).chain(self.sensor.words()).collect()
    }

    fn log_mut(&mut self) -> Option<&mut Log> {
        Some(&mut self.log)
    }

    fn sensor_mut(&mut self) -> Option<&mut Sensor> {
        Some(&mut self.sensor)
    }
}

/// The permits used and the tokens left, of one number.
const fn parts(seen: u64) -> (u64, u64) {
    (seen >> TOKENS_BITS, seen & ((1 << TOKENS_BITS) - 1))
}

/// No bucket holds more than a million tokens.
const TOKENS_BITS: u32 = 20;

/// Far more than a key can have used; what is carried over again and again ends here.
const USED_MAX: u64 = u64::MAX >> TOKENS_BITS;
