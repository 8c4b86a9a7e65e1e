//! The way back from bytes, or from a header and words, to a record; see `encoding`.
//!
//! Reading builds the numbers anew and checks the state against them, so that no bytes, whatever
//! wrote them, lead to a state that no step could have left.

use alloc::boxed::Box;
use core::time::Duration;

use crate::{
    Algorithm, Policy, StateError, Timestamp, WINDOW_MAX,
    algorithm::adaptive,
    algorithm::fixed_window,
    algorithm::leaky_bucket,
    algorithm::sliding_window_counter,
    algorithm::sliding_window_log,
    algorithm::token_bucket,
    meter::State,
    number,
    number::rate::Level,
    state::block::Block,
    state::entries::Log,
    state::level::Bucket,
    state::sensor::Sensor,
    store::encode::{
        ADAPTIVE, BLOCKED, FIXED_WINDOW, LEAKY_BUCKET, SENSOR, SLIDING_WINDOW_COUNTER,
        SLIDING_WINDOW_LOG, TOKEN_BUCKET, VERSION,
    },
    store::{LogSegment, Record},
    time::EXACT_MAX,
};

impl Record {
    /// Reads what [`encode`](Self::encode) wrote. The record shares the numbers of `policy` where
    /// they are the same.
    ///
    /// # Errors
    ///
    /// [`StateError::Version`] for another version, [`StateError::Corrupt`] for bytes that are no
    /// record.
    pub fn decode(bytes: &[u8], policy: &Policy) -> Result<Self, StateError> {
        Self::read(bytes, &[], policy)
    }

    /// Reads a record of a header, or all of its bytes, and the words that follow.
    pub(crate) fn read(bytes: &[u8], words: &[u64], policy: &Policy) -> Result<Self, StateError> {
        match bytes {
            [] | [VERSION] => Err(StateError::Corrupt),
            &[VERSION, kind, ref bytes @ ..] => {
                let mut input = Reader { bytes, words };
                let record = match kind {
                    BLOCKED => input.blocked(policy),
                    kind => input.record(kind, policy),
                };
                let record = record.ok_or(StateError::Corrupt)?;
                if input.is_empty() { Ok(record) } else { Err(StateError::Corrupt) }
            }
            &[found, ..] => Err(StateError::Version { found, want: VERSION }),
        }
    }
}

impl LogSegment {
    /// Reads what [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    ///
    /// [`StateError::Corrupt`] for bytes that are no segment.
    pub fn decode(bytes: &[u8]) -> Result<Self, StateError> {
        let mut input = Reader { bytes, words: &[] };
        let log = input.log().filter(|_| input.is_empty());
        log.map(Self).ok_or(StateError::Corrupt)
    }
}

/// Numbers, one after the other: those in the bytes, then the words.
struct Reader<'a> {
    bytes: &'a [u8],
    words: &'a [u64],
}

impl Reader<'_> {
    fn record(&mut self, kind: u8, policy: &Policy) -> Option<Record> {
        let (algorithm, state) = match kind {
            FIXED_WINDOW => self.fixed_window()?,
            SLIDING_WINDOW_LOG => self.sliding_window_log()?,
            SLIDING_WINDOW_COUNTER => self.sliding_window_counter()?,
            TOKEN_BUCKET => self.token_bucket()?,
            LEAKY_BUCKET => self.leaky_bucket()?,
            ADAPTIVE | SENSOR => self.adaptive(kind)?,
            _ => return None,
        };
        let is_same = algorithm == *policy.algorithm();
        let under = if is_same { policy.clone() } else { policy.with_algorithm(algorithm) };
        Some(Record { under, state })
    }

    fn blocked(&mut self, policy: &Policy) -> Option<Record> {
        let &kind = self.bytes.split_off_first()?;
        if kind == SENSOR {
            return None;
        }
        let Record { under, state } = self.record(kind, policy)?;
        let [since, until] = self.numbers()?;
        let since = Timestamp::from_micros(since)?;
        let until = Timestamp::from_micros(until)?;
        if until <= since || WINDOW_MAX < until - since {
            return None;
        }
        Some(Record { under, state: state.with_block(Some(Block { since, until })) })
    }

    fn fixed_window(&mut self) -> Option<(Algorithm, State)> {
        let [limit, window, align, start, used] = self.numbers()?;
        let align = match align {
            0 => fixed_window::Align::Epoch,
            1 => fixed_window::Align::First,
            _ => return None,
        };
        let quota = fixed_window::Quota::new(limit, Duration::from_micros(window), align).ok()?;
        let state = fixed_window::State { start: Timestamp::from_micros(start)?, used };
        Some((quota.into(), State::FixedWindow(state)))
    }

    fn sliding_window_log(&mut self) -> Option<(Algorithm, State)> {
        let [limit, window, entries_max] = self.numbers()?;
        let window = Duration::from_micros(window);
        let quota = sliding_window_log::Quota::capped(limit, window, entries_max).ok()?;
        Some((quota.into(), State::SlidingWindowLog(self.log()?)))
    }

    fn sliding_window_counter(&mut self) -> Option<(Algorithm, State)> {
        let [limit, window, start, previous, current] = self.numbers()?;
        let window = Duration::from_micros(window);
        let quota = sliding_window_counter::Quota::new(limit, window).ok()?;
        let start = Timestamp::from_micros(start)?;
        if quota.count_max() < previous.max(current) || !quota.is_start(start) {
            return None;
        }
        let state = sliding_window_counter::State { start, previous, current };
        Some((quota.into(), State::SlidingWindowCounter(state)))
    }

    fn token_bucket(&mut self) -> Option<(Algorithm, State)> {
        let [capacity, refill, period, initial] = self.numbers()?;
        let period = Duration::from_micros(period);
        let quota = token_bucket::Quota::new(capacity, refill, period).ok()?;
        let quota = quota.with_initial(initial).ok()?;
        Some((quota.into(), State::TokenBucket(self.bucket(quota.full())?)))
    }

    fn leaky_bucket(&mut self) -> Option<(Algorithm, State)> {
        let [capacity, leak, period, delay] = self.numbers()?;
        let meter = leaky_bucket::Quota::new(capacity, leak, Duration::from_micros(period)).ok()?;
        let quota = match delay.checked_sub(1) {
            None => meter,
            Some(delay) => meter.queue(Duration::from_micros(delay)).ok()?,
        };
        Some((quota.into(), State::LeakyBucket(self.bucket(quota.brim())?)))
    }

    fn adaptive(&mut self, kind: u8) -> Option<(Algorithm, State)> {
        let quota = self.adaptive_quota()?;
        let state = if kind == SENSOR {
            State::Sensor(Box::new(self.sensor()?))
        } else {
            let log = self.log()?;
            let tokens = self.level(quota.full())?;
            let sensor = self.sensor()?;
            State::Adaptive(Box::new(adaptive::Contents { log, tokens, sensor }))
        };
        Some((quota.into(), state))
    }

    fn adaptive_quota(&mut self) -> Option<adaptive::Quota> {
        let [limit, window, adaptive_window, multiplier, high, low, penalty, scope] =
            self.numbers()?;
        let mut parameters = adaptive::Parameters::new(limit, Duration::from_micros(window));
        parameters.adaptive_window = Duration::from_micros(adaptive_window);
        parameters.burst_multiplier = number::from_parts_per_million(multiplier);
        parameters.high_load_threshold = number::from_parts_per_million(high);
        parameters.low_load_threshold = number::from_parts_per_million(low);
        parameters.penalty = number::from_parts_per_million(penalty);
        parameters.scope = match scope {
            0 => adaptive::Scope::PerKey,
            1 => adaptive::Scope::Shared,
            _ => return None,
        };
        adaptive::Quota::new(&parameters).ok()
    }

    const fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.words.is_empty()
    }

    fn number(&mut self) -> Option<u64> {
        if self.bytes.is_empty() {
            return self.words.split_off_first().copied();
        }
        let mut number = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let &byte = self.bytes.split_off_first()?;
            let part = u64::from(byte & 0x7f);
            if part << shift >> shift != part {
                return None;
            }
            number |= part << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    fn numbers<const N: usize>(&mut self) -> Option<[u64; N]> {
        let mut numbers = [0; N];
        for number in &mut numbers {
            *number = self.number()?;
        }
        Some(numbers)
    }

    fn bucket(&mut self, units_max: u64) -> Option<Bucket> {
        let Level { units, at } = self.level(units_max)?;
        let returned = self.number()?;
        (returned <= EXACT_MAX).then_some(Bucket { units, at, returned })
    }

    fn level(&mut self, units_max: u64) -> Option<Level> {
        let [units, at] = self.numbers()?;
        let at = Timestamp::from_micros(at)?;
        (units <= units_max).then_some(Level { units, at })
    }

    fn log(&mut self) -> Option<Log> {
        let entries = self.number()?;
        // Each takes two words, of a byte at least: so there is room for as many as are said.
        if self.bytes.len().saturating_add(self.words.len()) / 2 < usize::try_from(entries).ok()? {
            return None;
        }
        let mut at = 0_u64;
        Log::from_costs((0..entries).map(|_| {
            let [since, cost] = self.numbers()?;
            at = at.checked_add(since)?;
            Some((Timestamp::from_micros(at)?, cost))
        }))
    }

    fn sensor(&mut self) -> Option<Sensor> {
        let newest = self.number()?;
        let mut counts = *Sensor::EMPTY.counts();
        for count in &mut counts {
            *count = u32::try_from(self.number()?).ok()?;
        }
        Some(Sensor::new(newest, counts))
    }
}
