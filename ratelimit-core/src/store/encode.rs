//! The versioned bytes of a record, for stores that keep bytes; see `decoding` for the way back.
//!
//! ```text
//! version · algorithm · its numbers, as its constructor takes them · its state
//! ```
//!
//! Version and algorithm are a byte each, everything else is an unsigned LEB128 integer.

use alloc::vec::Vec;
use core::{mem, time::Duration};

use crate::{
    Algorithm, Micros, Timestamp,
    meter::State,
    number::rate::Level,
    state::block::Blocked,
    state::entries::Log,
    state::load::Numbers,
    state::sensor::Sensor,
    store::{LogSegment, Record},
};

/// The version of the encoding that this library writes, and the only one it reads.
pub const VERSION: u8 = 1;

/// What a state is of: its second byte.
pub(crate) type Kind = u8;

pub(crate) const FIXED_WINDOW: Kind = 1;
pub(crate) const SLIDING_WINDOW_LOG: Kind = 2;
pub(crate) const SLIDING_WINDOW_COUNTER: Kind = 3;
pub(crate) const TOKEN_BUCKET: Kind = 4;
pub(crate) const LEAKY_BUCKET: Kind = 5;
pub(crate) const ADAPTIVE: Kind = 6;
pub(crate) const SENSOR: Kind = 7;
/// A key's state with a block around it; what it is of follows, as a third byte.
pub(crate) const BLOCKED: Kind = 8;

impl Record {
    /// The bytes to store.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer(Vec::with_capacity(32));
        out.header(self.kind(), self.under.algorithm());
        self.state.each_word(&mut |word| out.number(word));
        out.0
    }

    pub(crate) fn kind(&self) -> Kind {
        match self.state {
            State::Sensor(_) => SENSOR,
            State::Blocked(_) => BLOCKED,
            _ => kind(self.under.algorithm()),
        }
    }
}

impl LogSegment {
    /// The bytes to store.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer(Vec::new());
        self.0.each_word(&mut |word| out.number(word));
        out.0
    }
}

/// The numbers that tell a state, in the order in which they are written.
impl State {
    pub(crate) fn each_word(&self, put: &mut impl FnMut(u64)) {
        match self {
            Self::FixedWindow(state) => {
                [state.start.as_micros(), state.used].into_iter().for_each(put);
            }
            Self::SlidingWindowLog(log) => log.each_word(put),
            Self::SlidingWindowCounter(state) => {
                let words = [state.start.as_micros(), state.previous, state.current];
                words.into_iter().for_each(put);
            }
            Self::TokenBucket(bucket) | Self::LeakyBucket(bucket) => {
                let words = [bucket.units, bucket.at.as_micros(), bucket.returned];
                words.into_iter().for_each(put);
            }
            Self::Adaptive(state) => {
                state.log.each_word(put);
                state.tokens.each_word(put);
                state.sensor.each_word(put);
            }
            Self::Sensor(sensor) => sensor.each_word(put),
            Self::Blocked(blocked) => {
                let Blocked { state, block } = &**blocked;
                state.each_word(put);
                [block.since, block.until].map(Timestamp::as_micros).into_iter().for_each(put);
            }
        }
    }
}

impl Level {
    fn each_word(self, put: &mut impl FnMut(u64)) {
        [self.units, self.at.as_micros()].into_iter().for_each(put);
    }
}

impl Log {
    fn each_word(&self, put: &mut impl FnMut(u64)) {
        let costs = self.costs();
        put(u64::try_from(costs.len()).unwrap_or(u64::MAX));
        let mut before = 0;
        for (at, cost) in costs {
            let at = at.as_micros();
            put(at.saturating_sub(mem::replace(&mut before, at)));
            put(cost);
        }
    }
}

impl Sensor {
    fn each_word(&self, put: &mut impl FnMut(u64)) {
        put(self.newest);
        self.counts().iter().for_each(|&count| put(count.into()));
    }
}

fn micros(length: Duration) -> u64 {
    Micros::from_duration_ceil(length).as_micros()
}

/// What the states of keys are of.
pub(crate) const fn kind(algorithm: &Algorithm) -> Kind {
    match algorithm {
        Algorithm::FixedWindow(_) => FIXED_WINDOW,
        Algorithm::SlidingWindowLog(_) => SLIDING_WINDOW_LOG,
        Algorithm::SlidingWindowCounter(_) => SLIDING_WINDOW_COUNTER,
        Algorithm::TokenBucket(_) => TOKEN_BUCKET,
        Algorithm::LeakyBucket(_) => LEAKY_BUCKET,
        Algorithm::Adaptive(_) => ADAPTIVE,
    }
}

/// All of a record but its words: what it is of, and under which numbers.
pub(crate) fn header(kind: Kind, algorithm: &Algorithm) -> Vec<u8> {
    let mut out = Writer(Vec::with_capacity(32));
    out.header(kind, algorithm);
    out.0
}

struct Writer(Vec<u8>);

impl Writer {
    fn header(&mut self, kind: Kind, algorithm: &Algorithm) {
        self.0.extend([VERSION, kind]);
        if kind == BLOCKED {
            self.0.push(self::kind(algorithm));
        }
        match algorithm {
            Algorithm::FixedWindow(quota) => {
                let (limit, window, align) = quota.parts();
                self.numbers([limit, window.as_micros(), align as u64]);
            }
            Algorithm::SlidingWindowLog(quota) => {
                let (limit, window, entries_max) = quota.parts();
                self.numbers([limit, window.as_micros(), entries_max]);
            }
            Algorithm::SlidingWindowCounter(quota) => {
                let (limit, window) = quota.parts();
                self.numbers([limit, window.as_micros()]);
            }
            Algorithm::TokenBucket(quota) => {
                let (capacity, refill, period, initial) = quota.parts();
                self.numbers([capacity, refill, micros(period), initial]);
            }
            Algorithm::LeakyBucket(quota) => {
                let (capacity, leak, period, longest_delay) = quota.parts();
                let delay = longest_delay.map_or(0, |delay| delay.as_micros().saturating_add(1));
                self.numbers([capacity, leak, micros(period), delay]);
            }
            Algorithm::Adaptive(quota) => {
                let Numbers { limit, window, adaptive_window, multiplier, high, low, penalty } =
                    *quota.load().numbers();
                self.numbers([limit.get(), window.get(), adaptive_window.get()]);
                self.numbers([multiplier, high, low, penalty, quota.scope() as u64]);
            }
        }
    }

    fn number(&mut self, mut number: u64) {
        while let (rest, 1..) = (number & 0x7f, number >> 7) {
            self.0.push(rest.to_le_bytes()[0] | 0x80);
            number >>= 7;
        }
        self.0.push(number.to_le_bytes()[0]);
    }

    fn numbers<const N: usize>(&mut self, numbers: [u64; N]) {
        numbers.into_iter().for_each(|number| self.number(number));
    }
}
