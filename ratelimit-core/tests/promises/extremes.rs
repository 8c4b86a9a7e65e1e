//! Any input at all: no panic, and an answer within the limit.

use proptest::prelude::*;
use ratelimit_core::{Action, ConfigError, LIMIT_MAX, Timestamp, WINDOW_MAX, adaptive::Scope};

use crate::{
    key_under_test::{Subject, retry_after},
    rule::{self, Adaptive, Rule},
};

const END: u64 = Timestamp::MAX.as_micros();
const LONGEST: u64 = WINDOW_MAX.as_micros();

/// Costs and times at their ends, in any order.
fn requests() -> impl Strategy<Value = Vec<(Action, u64, u64)>> {
    let action = prop_oneof![Just(Action::Spend), Just(Action::Refund), Just(Action::Reset)];
    let time = prop_oneof![
        3 => prop_oneof![Just(0), Just(1), Just(END - 1), Just(END), Just(END - LONGEST)],
        2 => 0..=END,
    ];
    let cost = prop_oneof![Just(1), Just(u64::MAX), any::<u64>()];
    prop::collection::vec((prop_oneof![4 => Just(Action::Spend), 1 => action], time, cost), 1..40)
}

fn largest() -> impl Strategy<Value = Rule> {
    let edge = |low, high| prop_oneof![Just(low), Just(high), low..=high];
    let numbers = (edge(1, LIMIT_MAX), edge(1, LIMIT_MAX), edge(1, LONGEST), 0_usize..8);
    let rules = numbers.prop_map(|(limit, rate, window, kind)| {
        let (capacity, period) = (limit, window);
        match kind {
            0..6 => match rule::one_of_each()[kind] {
                Rule::FixedWindow { align, .. } => Rule::FixedWindow { limit, window, align },
                Rule::SlidingWindowLog { .. } => {
                    Rule::SlidingWindowLog { limit, window, entries_max: 1 + rate % 1_000_000 }
                }
                Rule::SlidingWindowCounter { .. } => Rule::SlidingWindowCounter { limit, window },
                _ => Rule::TokenBucket { capacity, refill: rate, period, initial: rate % capacity },
            },
            6 => Rule::LeakyBucket { capacity, leak: rate, period, longest_delay: Some(window) },
            _ => {
                let numbers = Adaptive::new(1 + limit % 500_000, window, Scope::PerKey);
                Rule::Adaptive(Adaptive { adaptive_window: window, penalty: 1_000_000, ..numbers })
            }
        }
    });
    rules.prop_filter("takes too long to fill", |rule| rule.algorithm().is_ok())
}

proptest! {
    // FAULTS 2, 36, 37, 41.
    #[test]
    fn no_time_and_no_cost_leads_outside_of_the_limit(
        rule in prop_oneof![largest(), rule::any()],
        requests in requests(),
    ) {
        let mut subject = Subject::new(&rule);
        let limit = subject.limit();
        for (action, now, cost) in requests {
            let cost = cost.clamp(1, limit);
            let before = subject.peek(now, cost);
            let decision = subject.act(action, now, cost);
            prop_assert_eq!(decision.limit, limit);
            prop_assert!(decision.remaining <= limit);
            if action == Action::Spend {
                prop_assert_eq!(before.outcome(), decision.outcome());
                let fits = cost <= before.remaining;
                prop_assert!(!fits || decision.is_allowed());
                prop_assert!(decision.is_allowed() || 0 < retry_after(&decision) || now == END);
                prop_assert!(!decision.is_allowed() || 0 < before.remaining);
            }
        }
    }
}

// FAULTS 2, 3, 6.
#[test]
fn the_largest_numbers_build_and_one_more_does_not() {
    let too_large = |field| Err(ConfigError::LimitTooLarge { field, max: LIMIT_MAX });
    for (limit, expected) in [(LIMIT_MAX, Ok(())), (LIMIT_MAX + 1, too_large("limit"))] {
        let rule = Rule::SlidingWindowCounter { limit, window: LONGEST };
        assert_eq!(rule.algorithm().map(|_| ()), expected);
    }
    let too_long = ConfigError::WindowTooLong { field: "window", max: WINDOW_MAX };
    for (window, expected) in [(LONGEST, Ok(())), (LONGEST + 1, Err(too_long))] {
        let rule = Rule::SlidingWindowCounter { limit: LIMIT_MAX, window };
        assert_eq!(rule.algorithm().map(|_| ()), expected);
    }
}
