//! Any input at all: no panic, and an answer within the limit.

use proptest::prelude::*;
use ratelimit_core::{
    Action, ConfigError, LIMIT_MAX, Policy, Timestamp, WINDOW_MAX, adaptive::Scope, store::Record,
};

use crate::{
    debt::most,
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

/// The policy of a rule, whose keys may owe as much as there may be.
fn owing_most(rule: &Rule) -> Policy {
    let policy = rule.policy();
    let debt_max = most(&policy);
    policy.with_debt_max(debt_max).expect("it is the most")
}

/// Blocks and debts may end beyond representable time, and numbers change at its very end.
fn charges() -> impl Strategy<Value = Vec<(Action, u64, u64)>> {
    let action = prop_oneof![
        2 => Just(Action::Spend),
        1 => Just(Action::Refund),
        2 => Just(Action::Penalize),
        1 => Just(Action::Block(WINDOW_MAX)),
    ];
    let time = prop_oneof![Just(0), Just(END - 1), Just(END), END - LONGEST..=END, 0..=END];
    prop::collection::vec((action, time, prop_oneof![Just(1), any::<u64>()]), 1..20)
}

proptest! {
    #[test]
    fn what_is_left_at_the_ends_of_time_is_read_again(
        (from, to) in rule::changes(),
        charges in charges(),
    ) {
        let mut policies = [owing_most(&from), owing_most(&to)];
        let mut subject = Subject::of(policies[0].clone());
        for (index, (action, now, cost)) in charges.into_iter().enumerate() {
            if index % 3 == 2 {
                policies.reverse();
                subject = subject.under(policies[0].clone());
            }
            let limit = subject.limit();
            let _ = match action {
                Action::Penalize => {
                    subject.penalize(now, cost.clamp(1, limit + subject.policy.debt_max()))
                }
                _ => subject.act(action, now, cost.clamp(1, limit)),
            };
            let Some(record) = &subject.record else { continue };
            let (bytes, policy) = (record.encode(), record.policy());
            let read = Record::decode(&bytes, policy);
            prop_assert_eq!(read.map(|read| read.encode()), Ok(bytes.clone()), "{:?}", record);
            let read = Record::from_words(&record.header(), &record.words(), policy);
            let earlier = record.earlier();
            let read = if earlier.is_empty() {
                read
            } else {
                read.and_then(|read| read.with_earlier(&earlier))
            };
            prop_assert_eq!(read.map(|read| read.encode()), Ok(bytes), "{:?}", record);
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
