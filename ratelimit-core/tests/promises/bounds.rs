//! Admissions stay within the algorithm's bound in every stretch of time.

use proptest::prelude::*;
use ratelimit_core::{Detail, Outcome, Timestamp, adaptive, fixed_window::Align};

use crate::{
    key_under_test::Subject,
    rule::{self, Adaptive, Rule, one_of_each},
    trace::{Course, play, spending},
};

/// An admitted request: when, and how much.
type Admitted = (u64, u64);

proptest! {
    #[test]
    fn no_stretch_of_time_admits_more_than_its_bound(rule in rule::any(), history in spending()) {
        let mut admitted = Vec::new();
        play(&mut Subject::new(&rule), &rule, &history, |now, cost, decision| {
            if decision.is_allowed() {
                admitted.push((now, cost));
            }
        });
        for (first, &(start, _)) in admitted.iter().enumerate() {
            for last in first..admitted.len() {
                let (spent, bound) = bound(&rule, &admitted[..=last], start);
                prop_assert!(spent <= bound, "{spent} of {bound} since {start}: {admitted:?}");
            }
        }
    }

    #[test]
    fn adaptive_admits_no_more_in_a_window_than_the_effective_burst(
        rule in rule::adaptive(),
        (start, steps) in spending(),
    ) {
        let (mut subject, mut course) = (Subject::new(&rule), Course::new(&rule, start));
        let mut admitted = Vec::new();
        for step in steps {
            let (now, cost) = (course.go(step.wait), step.cost(subject.limit()));
            let Detail::Adaptive(adaptive::Detail { effective_burst, .. }) = subject.look(now) else {
                unreachable!("the rule is adaptive")
            };
            let decision = subject.spend(now, cost);
            course.saw(decision);
            if decision.is_allowed() {
                admitted.push((now, cost));
                let window = spent_within(&admitted, (now + 1).saturating_sub(rule.span()));
                prop_assert!(window <= u128::from(effective_burst));
            }
        }
    }

    #[test]
    fn a_queue_lets_nothing_out_closer_together_than_its_rate(
        rule in rule::leaky_bucket(),
        history in spending(),
    ) {
        let Rule::LeakyBucket { leak, period, longest_delay: Some(longest), .. } = rule else {
            return Ok(());
        };
        let mut free = 0;
        let mut outputs = Vec::new();
        play(&mut Subject::new(&rule), &rule, &history, |now, cost, decision| {
            if let Outcome::Allow { delay } = decision.outcome() {
                outputs.push((now + delay.as_micros(), free));
                assert!(delay.as_micros() <= longest);
                // Instants are whole microseconds: the exact ones lie less than one before.
                let gap = u128::from(cost) * u128::from(period) / u128::from(leak);
                free = now + delay.as_micros() + u64::try_from(gap).expect("within a window");
            }
        });
        for (out, free) in outputs {
            prop_assert!(free <= out, "out at {out}, not free before {free}");
        }
    }
}

/// The part of `admitted` in the stretch that starts at `start` and ends with the last of them,
/// and the most that it may hold.
pub(crate) fn bound(rule: &Rule, admitted: &[Admitted], start: u64) -> (u128, u128) {
    let end = admitted.last().map_or(start, |&(at, _)| at);
    let begin = start.max((end + 1).saturating_sub(rule.span()));
    match *rule {
        Rule::FixedWindow { limit, window, align: Align::Epoch } => {
            (spent_within(admitted, end - end % window), limit.into())
        }
        Rule::FixedWindow { limit, window, align: Align::First } => {
            let open = |open: u64, at: u64| if at < open + window { open } else { at };
            let open = admitted.iter().map(|&(at, _)| at).reduce(open);
            (spent_within(admitted, open.unwrap_or(start)), limit.into())
        }
        Rule::Calendar { limit, lengths } => {
            let mut start = end - end % lengths.iter().sum::<u64>();
            for length in lengths {
                start += if start + length <= end { length } else { 0 };
            }
            (spent_within(admitted, start), limit.into())
        }
        Rule::SlidingWindowLog { limit, .. } | Rule::InFlight { limit, .. } => {
            (spent_within(admitted, begin), limit.into())
        }
        Rule::SlidingWindowCounter { limit, .. } => {
            (spent_within(admitted, begin), u128::from(limit) * 2 - 1)
        }
        Rule::TokenBucket { capacity, refill: rate, period, .. }
        | Rule::LeakyBucket { capacity, leak: rate, period, .. } => {
            let back = u128::from(rate) * u128::from(end - start) / u128::from(period);
            (spent_within(admitted, start), u128::from(capacity) + back)
        }
        Rule::Adaptive(Adaptive { limit, multiplier, .. }) => {
            let burst = u128::from(limit) * u128::from(multiplier) / 1_000_000;
            (spent_within(admitted, begin), burst.max(1))
        }
    }
}

/// The permits spent at or after `begin`.
fn spent_within(admitted: &[Admitted], begin: u64) -> u128 {
    admitted.iter().filter(|&&(at, _)| begin <= at).map(|&(_, cost)| u128::from(cost)).sum()
}

// FAULTS 25, 37.
#[test]
fn a_frozen_clock_admits_exactly_the_limit_in_a_million_requests() {
    for rule in one_of_each() {
        let times = [(0, 1_000), (1_700_000_000_000_000, 1_000_000)];
        for (now, requests) in times.into_iter().chain([(Timestamp::MAX.as_micros(), 1_000)]) {
            let mut subject = Subject::new(&rule);
            let fresh = subject.peek(now, 1).remaining;
            let admitted = (0..requests).filter(|_| subject.spend(now, 1).is_allowed()).count();
            assert_eq!(admitted as u64, fresh, "{rule:?} at {now}");
            // Requests raise the load, and some start or are queued with less.
            let is_whole = !matches!(rule, Rule::Adaptive(_)) && !rule.starts_low();
            assert!(fresh == subject.limit() || !is_whole || rule.is_queue(), "{rule:?}");
        }
    }
}

/// Half open, of any length: even a window of a microsecond is one of its own.
// FAULTS 38, 39.
#[test]
fn a_window_ends_where_the_next_begins_and_not_a_microsecond_before() {
    let (limit, start) = (3, 1_700_000_000_000_000);
    for window in [1, 100, 1_000, 10_000, 1_000_000] {
        for align in [Align::Epoch, Align::First] {
            let mut subject = Subject::new(&Rule::FixedWindow { limit, window, align });
            for begin in (0..1_000).map(|number| start + number * window) {
                assert_eq!(subject.drain(begin), limit, "{window} µs, {align:?}");
                assert_eq!(subject.drain(begin + window - 1), 0, "{window} µs, {align:?}");
            }
        }
    }
}
