//! No drift: over a million windows exactly what the rate says is admitted.

use proptest::prelude::*;
use ratelimit_core::{Detail, LIMIT_MAX, fixed_window::Align, token_bucket};

use crate::{
    key_under_test::{Subject, retry_after},
    rule::Rule,
};

const WINDOWS: u64 = 1_000_000;
const START: u64 = 1_700_000_000_000_000;

/// Capacity, permits, and the microseconds in which they come back: few of them divide.
const RATES: [(u64, u64, u64); 6] = [
    (7, 7, 3_000_000),
    (10, 7, 3_000_000),
    (5, 1, 3),
    (2_000, 1_001, 1_009),
    (1_000_000_001, 1_000_000_001, 1_000_000),
    (1_000, 3, 7_000_003),
];

fn buckets((capacity, rate, period): (u64, u64, u64)) -> [Rule; 2] {
    [
        Rule::TokenBucket { capacity, refill: rate, period, initial: capacity },
        Rule::LeakyBucket { capacity, leak: rate, period, longest_delay: None },
    ]
}

// FAULTS 7, 33.
#[test]
fn a_bucket_asked_once_a_period_admits_capacity_and_rate_times_time() {
    for numbers in RATES {
        let (capacity, rate, period) = numbers;
        for rule in buckets(numbers) {
            let mut subject = Subject::new(&rule);
            let admitted: u64 =
                (0..=WINDOWS).map(|window| subject.drain(START + window * period)).sum();
            assert_eq!(admitted, capacity + rate * WINDOWS, "{rule:?}");
        }
    }
}

// FAULTS 33.
#[test]
fn a_bucket_asked_every_microsecond_admits_capacity_and_rate_times_time() {
    for numbers in RATES {
        let (capacity, rate, period) = numbers;
        for rule in buckets(numbers) {
            let mut subject = Subject::new(&rule);
            let admitted: u64 = (0..=500_000).map(|elapsed| subject.drain(START + elapsed)).sum();
            assert_eq!(admitted, capacity + rate * 500_000 / period, "{rule:?}");
        }
    }
}

// FAULTS 33.
#[test]
fn a_bucket_asked_as_soon_as_it_promises_admits_capacity_and_rate_times_time() {
    let (capacity, rate, period) = (7, 7, 3_000_000);
    for rule in buckets((capacity, rate, period)) {
        let mut subject = Subject::new(&rule);
        let (mut now, mut admitted) = (START, 0);
        while now <= START + WINDOWS * period {
            let decision = subject.spend(now, 1);
            admitted += u64::from(decision.is_allowed());
            now += retry_after(&decision);
        }
        assert_eq!(admitted, capacity + rate * WINDOWS, "{rule:?}");
    }
}

// FAULTS 38.
#[test]
fn windows_admit_their_limit_each_and_no_more() {
    let (limit, window) = (7, 3_000_001);
    for rule in [
        Rule::FixedWindow { limit, window, align: Align::Epoch },
        Rule::FixedWindow { limit, window, align: Align::First },
        Rule::SlidingWindowLog { limit, window, entries_max: limit },
    ] {
        let mut subject = Subject::new(&rule);
        let start = START - START % window;
        let admitted: u64 =
            (0..WINDOWS / 2).map(|number| subject.drain(start + number * window)).sum();
        assert_eq!(admitted, limit * WINDOWS / 2, "{rule:?}");
    }
}

proptest! {
    /// If the units of a full bucket would pass 2^52.
    #[test]
    fn a_rate_that_is_too_fine_is_a_little_slower_and_never_faster(
        capacity in 1_000_000..=LIMIT_MAX,
        refill in 1..=LIMIT_MAX,
        period in 1_u64..=86_400_000_000,
    ) {
        let rule = Rule::TokenBucket { capacity, refill, period, initial: capacity };
        prop_assume!(rule.algorithm().is_ok());
        let Detail::TokenBucket(token_bucket::Detail { refill_rate, .. }) = Subject::new(&rule).look(0) else {
            panic!("the policy is a token bucket");
        };
        let exact = u128::from(refill) * u128::from(refill_rate.denominator.get());
        let reported = u128::from(refill_rate.numerator) * u128::from(period);
        prop_assert!(reported <= exact);
        let slower = (exact - reported) as f64 / exact as f64;
        prop_assert!(slower <= capacity as f64 / (1_u64 << 51) as f64, "slower by {slower}");
    }
}
