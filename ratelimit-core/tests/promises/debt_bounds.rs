//! A key that may owe permits uses no more than its bound, and pays back at its rate to the microsecond.

use proptest::prelude::*;
use ratelimit_core::{Action, Receipt, WINDOW_MAX, fixed_window::Align};

use crate::{
    bounds::bound,
    debt::{debts, most, owing},
    key_under_test::{Subject, retry_after},
    rule::Rule,
    trace::{Course, history},
};

const NOW: u64 = 1_700_000_000_000_000;

/// A bucket whose full level and largest debt are many units, and its rate.
fn buckets_of_many_units() -> impl Strategy<Value = (Rule, u64, u64)> {
    let numbers = (1_u64..=5, 1_u64..=10_000_000, 1_u64..=1_000_000_000, any::<bool>());
    let rules = numbers.prop_map(|(capacity, rate, period, is_token)| {
        let rule = if is_token {
            Rule::TokenBucket { capacity, refill: rate, period, initial: capacity }
        } else {
            Rule::LeakyBucket { capacity, leak: rate, period, longest_delay: None }
        };
        (rule, rate, period)
    });
    rules.prop_filter("the bucket fills in time", |(rule, _, _)| rule.algorithm().is_ok())
}

proptest! {
    /// As many units as the numbers make of it, a debt is paid back at the rate.
    #[test]
    fn the_largest_debt_is_paid_back_at_exactly_the_rate((rule, rate, period) in buckets_of_many_units()) {
        let mut subject = Subject::new(&rule);
        let debt_max = most(&subject.policy);
        subject.policy = subject.policy.clone().with_debt_max(debt_max).expect("the most");
        let all = subject.limit() + debt_max;
        prop_assert_eq!(subject.penalize(NOW, all).charged(), all);
        prop_assert_eq!(subject.penalize(NOW, 1).charged(), 0);
        for cost in [1, subject.limit()] {
            let back = u128::from(debt_max + cost) * u128::from(period);
            let wait = u64::try_from(back.div_ceil(u128::from(rate))).expect("in time");
            prop_assert!(wait <= WINDOW_MAX.as_micros() + rule.span());
            prop_assert_eq!(retry_after(&subject.peek(NOW, cost)), wait);
        }
    }

    /// In any stretch of time no more is used than the limit admits in it, and the most that may be owed.
    #[test]
    fn no_stretch_of_time_uses_more_than_its_bound_and_the_debt(
        rule in owing(),
        (start, steps) in history(),
        debt in debts(),
    ) {
        // Such windows begin when a debt is paid back, wherever that is.
        let is_first = matches!(rule, Rule::FixedWindow { align: Align::First, .. });
        if is_first || rule.starts_low() {
            return Ok(());
        }
        let mut subject = Subject::new(&rule);
        let debt_max = debt.0.min(most(&subject.policy));
        subject.policy = subject.policy.clone().with_debt_max(debt_max).expect("as much may be owed");
        let mut course = Course::new(&rule, start);
        let mut used: Vec<(u64, u64)> = Vec::new();
        let mut receipts: Vec<(usize, Receipt)> = Vec::new();
        for (index, step) in steps.into_iter().enumerate() {
            let before = course.now;
            let now = course.go(step.wait);
            if now < before {
                break;
            }
            let decision = match index % 3 {
                0 => subject.penalize(now, step.cost(subject.limit() + debt_max)),
                1 if !receipts.is_empty() => {
                    // The charge has used less than it was charged for.
                    let (charge, receipt) = receipts.swap_remove(index % receipts.len());
                    let given = step.cost(subject.limit()).min(used[charge].1);
                    used[charge].1 -= given;
                    if 0 < given {
                        let _ = subject.settle(now, given, receipt);
                    }
                    subject.peek(now, 1)
                }
                _ => subject.act(Action::Take, now, step.cost(subject.limit())),
            };
            if 0 < decision.charged() {
                if decision.charged() <= subject.limit() && index % 3 != 0 {
                    let receipt = subject.receipt(&decision, decision.charged());
                    receipts.push((used.len(), receipt));
                }
                used.push((now, decision.charged()));
            }
            course.saw(decision);
        }
        for (first, &(start, _)) in used.iter().enumerate() {
            for last in first..used.len() {
                let (spent, bound) = bound(&rule, &used[..=last], start);
                // The last window of a debt counts as full in a sliding counter.
                let most = bound + 1 + u128::from(debt_max);
                prop_assert!(spent <= most, "{spent} of {most} since {start}: {used:?}");
            }
        }
    }
}
