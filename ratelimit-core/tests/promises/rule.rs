//! The numbers of a policy as plain data, from which both the crate and the models are built.

use core::time::Duration;

use proptest::prelude::*;
use ratelimit_core::{
    Algorithm, Calendar, ConfigError, LIMIT_MAX, Policy, Timestamp, UNLIMITED, WINDOW_MAX,
    adaptive::{self, Scope},
    fixed_window::{self, Align},
    in_flight::{self, HELD_MAX},
    leaky_bucket, sliding_window_counter, sliding_window_log, token_bucket,
};

/// An algorithm and its numbers; lengths in microseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Rule {
    FixedWindow {
        limit: u64,
        window: u64,
        align: Align,
    },
    /// Windows of these lengths by turns, from the epoch on.
    Calendar {
        limit: u64,
        lengths: [u64; 4],
    },
    SlidingWindowLog {
        limit: u64,
        window: u64,
        entries_max: u64,
    },
    SlidingWindowCounter {
        limit: u64,
        window: u64,
    },
    TokenBucket {
        capacity: u64,
        refill: u64,
        period: u64,
        initial: u64,
    },
    LeakyBucket {
        capacity: u64,
        leak: u64,
        period: u64,
        longest_delay: Option<u64>,
    },
    Adaptive(Adaptive),
    InFlight {
        limit: u64,
        held_at_most: u64,
    },
}

/// The numbers of an adaptive hybrid; fractions in parts per million.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Adaptive {
    pub(crate) limit: u64,
    pub(crate) window: u64,
    pub(crate) multiplier: u32,
    pub(crate) adaptive_window: u64,
    pub(crate) high: u32,
    pub(crate) low: u32,
    pub(crate) penalty: u32,
    pub(crate) scope: Scope,
}

impl Adaptive {
    pub(crate) const fn new(limit: u64, window: u64, scope: Scope) -> Self {
        Self {
            limit,
            window,
            multiplier: 2_000_000,
            adaptive_window: window * 5,
            high: 800_000,
            low: 400_000,
            penalty: 500_000,
            scope,
        }
    }
}

impl Rule {
    pub(crate) fn algorithm(&self) -> Result<Algorithm, ConfigError> {
        let micros = Duration::from_micros;
        Ok(match *self {
            Self::FixedWindow { limit, window, align } => {
                fixed_window::Quota::new(limit, micros(window), align)?.into()
            }
            Self::Calendar { limit: 0, .. } => fixed_window::Quota::nothing().into(),
            Self::Calendar { limit: UNLIMITED, lengths } => {
                fixed_window::Quota::by_calendar(1, calendar(lengths)?)?.unlimited().into()
            }
            Self::Calendar { limit, lengths } => {
                fixed_window::Quota::by_calendar(limit, calendar(lengths)?)?.into()
            }
            Self::SlidingWindowLog { limit, window, entries_max } => {
                sliding_window_log::Quota::capped(limit, micros(window), entries_max)?.into()
            }
            Self::SlidingWindowCounter { limit, window } => {
                sliding_window_counter::Quota::new(limit, micros(window))?.into()
            }
            Self::TokenBucket { capacity, refill, period, initial } => {
                let quota = token_bucket::Quota::new(capacity, refill, micros(period))?;
                quota.with_initial(initial)?.into()
            }
            Self::LeakyBucket { capacity, leak, period, longest_delay } => {
                let meter = leaky_bucket::Quota::new(capacity, leak, micros(period))?;
                longest_delay.map_or(Ok(meter), |delay| meter.queue(micros(delay)))?.into()
            }
            Self::Adaptive(numbers) => {
                let fraction = |parts: u32| f64::from(parts) / 1e6;
                let mut settings = adaptive::Parameters::new(numbers.limit, micros(numbers.window));
                settings.burst_multiplier = fraction(numbers.multiplier);
                settings.adaptive_window = micros(numbers.adaptive_window);
                settings.high_load_threshold = fraction(numbers.high);
                settings.low_load_threshold = fraction(numbers.low);
                settings.penalty = fraction(numbers.penalty);
                settings.scope = numbers.scope;
                adaptive::Quota::new(&settings)?.into()
            }
            Self::InFlight { limit, held_at_most } => {
                in_flight::Quota::new(limit, micros(held_at_most))?.into()
            }
        })
    }

    /// The policy of these numbers, called `test`.
    pub(crate) fn policy(&self) -> Policy {
        self.named("test")
    }

    pub(crate) fn named(&self, name: &str) -> Policy {
        let algorithm = self.algorithm().expect("a rule is drawn or written so as to be valid");
        Policy::new(name, algorithm).expect("names in tests are good")
    }

    /// The length after which what was spent no longer counts: a window, or the time to fill.
    pub(crate) fn span(&self) -> u64 {
        match *self {
            Self::FixedWindow { window, .. } | Self::SlidingWindowLog { window, .. } => window,
            Self::SlidingWindowCounter { window, .. } => window,
            Self::Calendar { lengths, .. } => lengths.into_iter().max().unwrap_or_default(),
            Self::TokenBucket { capacity, refill: rate, period, .. }
            | Self::LeakyBucket { capacity, leak: rate, period, .. } => {
                let span = (u128::from(capacity) * u128::from(period)).div_ceil(rate.into());
                u64::try_from(span).expect("a constructor refuses longer ones")
            }
            Self::Adaptive(Adaptive { window, .. }) => window,
            Self::InFlight { held_at_most, .. } => held_at_most,
        }
    }

    /// The longest time for which the past can cut what may be spent.
    pub(crate) fn memory(&self) -> u64 {
        match *self {
            Self::Adaptive(Adaptive { window, adaptive_window, .. }) => {
                window + 64 * adaptive_window.div_ceil(64)
            }
            Self::SlidingWindowCounter { window, .. } => 2 * window,
            _ => self.span(),
        }
    }

    /// Returns true if a key never seen has less than a full bucket, so that being known is an advantage.
    pub(crate) fn starts_low(&self) -> bool {
        matches!(self, Self::TokenBucket { capacity, initial, .. } if initial < capacity)
    }

    /// Returns true if its log may run out of entries before it runs out of permits.
    pub(crate) const fn is_capped(&self) -> bool {
        matches!(self, Self::SlidingWindowLog { limit, entries_max, .. } if *entries_max < *limit)
    }

    pub(crate) const fn is_queue(&self) -> bool {
        matches!(self, Self::LeakyBucket { longest_delay: Some(_), .. })
    }

    pub(crate) const fn is_shared(&self) -> bool {
        matches!(self, Self::Adaptive(Adaptive { scope: Scope::Shared, .. }))
    }

    /// Returns true if permits come back by their receipts only.
    pub(crate) const fn is_in_flight(&self) -> bool {
        matches!(self, Self::InFlight { .. })
    }

    pub(crate) const fn is_adaptive(&self) -> bool {
        matches!(self, Self::Adaptive(_))
    }
}

/// The calendar of these lengths, for all of time.
fn calendar(lengths: [u64; 4]) -> Result<Calendar, ConfigError> {
    let mut next = 0;
    let starts = lengths.into_iter().cycle().map(|length| {
        next += length;
        next - length
    });
    Calendar::new(&format!("{lengths:?}"), starts.map_while(Timestamp::from_micros))
}

/// One rule of each algorithm, and of each kind where there are several: small and round.
pub(crate) fn one_of_each() -> [Rule; 12] {
    let (limit, window) = (10, 1_000_000);
    let (capacity, refill, leak, period) = (10, 7, 7, 3_000_000);
    [
        Rule::FixedWindow { limit, window, align: Align::Epoch },
        Rule::FixedWindow { limit, window, align: Align::First },
        Rule::SlidingWindowLog { limit, window, entries_max: limit },
        Rule::SlidingWindowCounter { limit, window },
        Rule::TokenBucket { capacity, refill, period, initial: capacity },
        Rule::TokenBucket { capacity, refill, period, initial: 3 },
        Rule::LeakyBucket { capacity, leak, period, longest_delay: None },
        Rule::LeakyBucket { capacity, leak, period, longest_delay: Some(3_000_000) },
        Rule::Adaptive(Adaptive::new(limit, window, Scope::PerKey)),
        Rule::Adaptive(Adaptive::new(limit, window, Scope::Shared)),
        Rule::Calendar { limit, lengths: [30 * DAY, 31 * DAY, 28 * DAY, 31 * DAY] },
        Rule::InFlight { limit, held_at_most: window },
    ]
}

pub(crate) fn any() -> impl Strategy<Value = Rule> {
    let windows = prop_oneof![fixed_window(), sliding_window_log(), sliding_window_counter()];
    let buckets = prop_oneof![token_bucket(), leaky_bucket()];
    prop_oneof![3 => windows, 2 => buckets, 1 => adaptive(), 1 => in_flight()]
}

/// Two rules of one algorithm.
pub(crate) fn changes() -> impl Strategy<Value = (Rule, Rule)> {
    prop_oneof![
        (fixed_window(), fixed_window()),
        (sliding_window_log(), sliding_window_log()),
        (sliding_window_counter(), sliding_window_counter()),
        (token_bucket(), token_bucket()),
        (leaky_bucket(), leaky_bucket()),
        (adaptive(), adaptive()),
        (in_flight(), in_flight()),
    ]
}

/// In microseconds.
const DAY: u64 = 86_400_000_000;

pub(crate) fn fixed_window() -> BoxedStrategy<Rule> {
    let align = prop_oneof![Just(Align::Epoch), Just(Align::First)];
    let numbers = (limits(), windows(), align);
    let even =
        numbers.prop_map(|(limit, window, align)| Rule::FixedWindow { limit, window, align });
    valid(prop_oneof![2 => even, 1 => by_calendar(limits())])
}

/// Limits of nothing and of everything.
pub(crate) fn unbounded() -> BoxedStrategy<Rule> {
    by_calendar(prop_oneof![Just(0), Just(UNLIMITED)])
}

/// Long windows, so that not too many of them make all of time.
fn by_calendar(limit: impl Strategy<Value = u64> + 'static) -> BoxedStrategy<Rule> {
    let length = || prop_oneof![20 * DAY..40 * DAY, Just(30 * DAY)];
    let lengths = [length(), length(), length(), length()];
    (limit, lengths).prop_map(|(limit, lengths)| Rule::Calendar { limit, lengths }).boxed()
}

pub(crate) fn sliding_window_log() -> BoxedStrategy<Rule> {
    let entries = prop_oneof![Just(1_000_000_u64), 1_u64..=6];
    valid((limits(), windows(), entries).prop_map(|(limit, window, entries_max)| {
        Rule::SlidingWindowLog { limit, window, entries_max }
    }))
}

pub(crate) fn sliding_window_counter() -> BoxedStrategy<Rule> {
    let numbers = (limits(), windows());
    valid(numbers.prop_map(|(limit, window)| Rule::SlidingWindowCounter { limit, window }))
}

pub(crate) fn token_bucket() -> BoxedStrategy<Rule> {
    let initial = prop_oneof![3 => Just(1_000_000), 1 => Just(0), 1 => 0_u64..=1_000_000];
    let numbers = (limits(), limits(), windows(), initial);
    valid(numbers.prop_map(|(capacity, refill, period, share)| {
        let initial = share_of(capacity, share);
        Rule::TokenBucket { capacity, refill, period, initial }
    }))
}

pub(crate) fn leaky_bucket() -> BoxedStrategy<Rule> {
    let delay = prop::option::of(prop_oneof![0_u64..=1_500_000, Just(0), Just(1_000_000)]);
    valid((limits(), limits(), windows(), delay).prop_map(|(capacity, leak, period, share)| {
        let meter = Rule::LeakyBucket { capacity, leak, period, longest_delay: None };
        let drain = meter.algorithm().map_or(0, |_| meter.span());
        let longest_delay = share.map(|share| share_of(drain, share).min(WINDOW_MAX.as_micros()));
        Rule::LeakyBucket { capacity, leak, period, longest_delay }
    }))
}

/// Small bursts only, since the model spends them permit by permit.
pub(crate) fn adaptive() -> BoxedStrategy<Rule> {
    let limit = prop_oneof![4 => 1_u64..=12, 1 => 1_u64..=80];
    let multiplier =
        prop_oneof![Just(2_000_000), 1_000_000_u32..=3_000_000, 100_000_u32..=1_000_000];
    let threshold = || prop_oneof![0_u32..=1_500_000, Just(400_000), Just(0)];
    let penalty = prop_oneof![Just(500_000), 0_u32..=1_000_000, Just(1_000_000)];
    let window = prop_oneof![1_u64..=20, 100_u64..=5_000, Just(1_000_000), 1_u64..=100_000_000_000];
    let adaptive_window = prop_oneof![Just(5_000_u64), 1_u64..=200, 1_000_u64..=20_000];
    let scope = prop_oneof![Just(Scope::PerKey), Just(Scope::Shared)];
    let thresholds = (threshold(), 1_u32..=800_000);
    valid((limit, window, multiplier, adaptive_window, thresholds, penalty, scope).prop_map(
        |(limit, window, multiplier, adaptive_window, (low, above), penalty, scope)| {
            let adaptive_window = (window * adaptive_window / 1_000).max(1);
            let high = low + above;
            Rule::Adaptive(Adaptive {
                limit,
                window,
                multiplier,
                adaptive_window,
                high,
                low,
                penalty,
                scope,
            })
        },
    ))
}

pub(crate) fn in_flight() -> BoxedStrategy<Rule> {
    let limit = prop_oneof![3 => 1_u64..=10, 1 => 1_u64..=HELD_MAX, 1 => Just(HELD_MAX)];
    let numbers = (limit, windows());
    numbers.prop_map(|(limit, held_at_most)| Rule::InFlight { limit, held_at_most }).boxed()
}

fn limits() -> impl Strategy<Value = u64> {
    prop_oneof![
        3 => 1_u64..=10,
        2 => 1_u64..=100,
        1 => 1_u64..=1_000_000,
        1 => 1_u64..=LIMIT_MAX,
        1 => LIMIT_MAX - 3..=LIMIT_MAX,
    ]
}

fn windows() -> impl Strategy<Value = u64> {
    let longest = WINDOW_MAX.as_micros();
    prop_oneof![
        2 => 1_u64..=20,
        2 => 100_u64..=5_000,
        2 => prop_oneof![Just(1_000_000), Just(3_000_000), Just(60_000_000)],
        1 => 1_u64..=1_000_000_000,
        1 => 1_u64..=longest,
        1 => Just(longest),
    ]
}

/// Only rules that can be built: a bucket may take too long to fill.
fn valid(rules: impl Strategy<Value = Rule> + 'static) -> BoxedStrategy<Rule> {
    rules.prop_filter("takes too long to fill", |rule| rule.algorithm().is_ok()).boxed()
}

/// So many parts per million of a whole, rounded down.
pub(crate) fn share_of(whole: u64, parts: u64) -> u64 {
    let share = u128::from(whole) * u128::from(parts) / 1_000_000;
    u64::try_from(share).expect("shares are at most some wholes")
}
