//! States whose numbers change under them.

use proptest::prelude::*;
use ratelimit_core::{
    Action, CarryOver, Detail, StateError,
    adaptive::{self, Scope},
    fixed_window::{self, Align},
    sliding_window_counter, sliding_window_log,
};

use crate::{
    key_under_test::Subject,
    rule::{self, Adaptive, Rule, changes, one_of_each},
    trace::{history, worn},
};

/// At a whole multiple of every window below.
const START: u64 = 1_700_000_000_000_000;

/// One rule of each algorithm, of `limit` permits per ten seconds; each charged at once in full.
fn of_limit(limit: u64) -> [Rule; 7] {
    let (window, capacity, period) = (10_000_000, limit, 10_000_000);
    let adaptive = Adaptive::new(limit, window, Scope::PerKey);
    [
        Rule::FixedWindow { limit, window, align: Align::Epoch },
        Rule::FixedWindow { limit, window, align: Align::First },
        Rule::SlidingWindowLog { limit, window, entries_max: 1_000 },
        Rule::SlidingWindowCounter { limit, window },
        Rule::TokenBucket { capacity, refill: limit, period, initial: capacity },
        Rule::LeakyBucket { capacity, leak: limit, period, longest_delay: None },
        // Never cut, so that its limit is its burst.
        Rule::Adaptive(Adaptive { multiplier: 1_000_000, penalty: 0, ..adaptive }),
    ]
}

/// The permits that remain of `to` after `spent` of `from`, by algorithm.
fn remaining(rule: CarryOver, (from, spent, to): (u64, u64, u64)) -> Vec<(Rule, u64)> {
    let changes = of_limit(from).into_iter().zip(of_limit(to));
    let remaining = |(from, to): (Rule, Rule)| {
        let mut subject = Subject::new(&from);
        assert!(subject.spend(START, spent).is_allowed());
        let changed = subject.under(to.policy().with_carry_over(rule));
        (to, changed.peek(START, 1).remaining)
    };
    changes.map(remaining).collect()
}

#[test]
fn as_is_keeps_what_is_stored_capped_by_the_new_numbers() {
    // Limit, spent of it, new limit; left by those that count what is spent, and by those that
    // count what is left.
    for (change, spent_stays, left_stays) in [
        ((10, 3, 20), 17, 7),
        ((10, 3, 5), 2, 5),
        ((10, 8, 5), 0, 2),
        ((10, 10, 11), 1, 0),
        ((1_000_000, 1, 1), 0, 1),
    ] {
        for (rule, remaining) in remaining(CarryOver::AsIs, change) {
            let expected = match rule {
                Rule::TokenBucket { .. } => left_stays,
                Rule::Adaptive(_) => left_stays.min(spent_stays),
                _ => spent_stays,
            };
            assert_eq!(remaining, expected, "{change:?} {rule:?}");
        }
    }
}

/// A stored log has entries of some cost, or there is no record.
#[test]
fn entries_that_come_to_nothing_are_dropped() {
    let log = |limit| Rule::SlidingWindowLog { limit, window: 10_000_000, entries_max: limit };
    let mut subject = Subject::new(&log(100));
    for at in START..START + 10 {
        assert!(subject.spend(at, 1).is_allowed());
    }
    let to = log(10).policy().with_carry_over(CarryOver::Proportional);
    let mut changed = subject.under(to);
    assert_eq!(changed.spend(START + 10, 1).remaining, 8);
    let record = changed.record.expect("it was spent on");
    assert_eq!(record.words()[0], 2, "one for the ten, and the new one");
}

/// Such as those of another process, or of this one before it was restarted.
#[test]
fn numbers_that_are_the_same_change_nothing_whatever_is_to_be_carried_over() {
    for carry_over in [CarryOver::AsIs, CarryOver::Reset, CarryOver::Proportional] {
        for (rule, remaining) in remaining(carry_over, (10, 3, 10)) {
            assert_eq!(remaining, 7, "{carry_over:?} {rule:?}");
        }
    }
}

/// A step back used to leave the later window's length where the object, not the numbers, was another.
#[test]
fn a_step_back_under_the_same_numbers_begins_the_window_that_is_now() {
    const DAY: u64 = 86_400 * SECOND;
    let rule = Rule::Calendar { limit: 10, lengths: [30 * DAY, 31 * DAY, 28 * DAY, 31 * DAY] };
    let mut subject = Subject::new(&rule);
    let second_month = 30 * DAY;
    assert!(subject.spend(second_month, 10).is_allowed());
    for policy in [subject.policy.clone(), rule.policy()] {
        let denied = subject.under(policy).spend(second_month - 5 * SECOND, 1);
        assert_eq!(denied.retry_after().as_secs_ceil(), 5);
    }
}

#[test]
fn proportional_keeps_the_share_that_is_spent_rounded_against_the_caller() {
    for (change, expected) in [
        ((10, 3, 20), 14),
        ((10, 3, 5), 3),
        ((10, 1, 5), 4),
        ((3, 1, 100), 66),
        ((10, 10, 1), 0),
        ((7, 7, 1_000), 0),
    ] {
        for (rule, remaining) in remaining(CarryOver::Proportional, change) {
            assert_eq!(remaining, expected, "{change:?} {rule:?}");
        }
    }
}

#[test]
fn reset_starts_anew() {
    for change in [(10, 3, 20), (10, 8, 5), (10, 10, 11)] {
        for (rule, remaining) in remaining(CarryOver::Reset, change) {
            assert_eq!(remaining, change.2, "{rule:?}");
        }
    }
}

const SECOND: u64 = 1_000_000;

/// Ten permits of which three are spent: in windows of seven seconds, of which one begins a second
/// after the start, and then in windows of ten.
#[test]
fn another_window_begins_where_its_alignment_says() {
    for (align, spent_at, reset_after) in [(Align::Epoch, 2, 7), (Align::First, 2, 9)] {
        let rule = |seconds| Rule::FixedWindow { limit: 10, window: seconds * SECOND, align };
        let mut subject = Subject::new(&rule(7));
        assert!(subject.spend(START + spent_at * SECOND, 3).is_allowed());
        let changed = subject.under(rule(10).policy()).peek(START + 3 * SECOND, 1);
        assert_eq!((changed.remaining, changed.reset_after.as_secs_ceil()), (7, reset_after));
    }
}

#[test]
fn what_still_weighs_in_a_counter_counts_in_the_present_one_of_another_window() {
    let rule = |seconds| Rule::SlidingWindowCounter { limit: 10, window: seconds * SECOND };
    let mut subject = Subject::new(&rule(10));
    assert!(subject.spend(START + SECOND, 6).is_allowed());
    // Half of the window after that has passed.
    let subject = subject.under(rule(30).policy());
    let changed = subject.peek(START + 15 * SECOND, 1);
    let Detail::SlidingWindowCounter(sliding_window_counter::Detail { previous, current, .. }) =
        subject.detail(&changed)
    else {
        panic!("{changed:?}");
    };
    assert_eq!((changed.remaining, previous, current), (7, 0, 3));
}

#[test]
fn an_adaptive_hybrid_keeps_its_tokens_under_another_window() {
    let rule = |seconds| {
        let adaptive = Adaptive::new(10, seconds * SECOND, Scope::PerKey);
        Rule::Adaptive(Adaptive { multiplier: 1_000_000, penalty: 0, ..adaptive })
    };
    let mut subject = Subject::new(&rule(10));
    assert!(subject.spend(START, 5).is_allowed());
    for seconds in [5, 20] {
        let changed = subject.under(rule(seconds).policy()).look(START);
        let Detail::Adaptive(adaptive::Detail { tokens, used, admitted, .. }) = changed else {
            panic!("{changed:?}");
        };
        assert_eq!((tokens, used, admitted), (5, 5, 1), "{seconds}");
    }
}

#[test]
fn another_algorithm_is_an_error_unless_it_resets() {
    for from in one_of_each() {
        let mut subject = Subject::new(&from);
        let _ = subject.spend(START, 1);
        for to in one_of_each() {
            let (found, want) = (from.policy(), to.policy());
            let (found, want) = (found.algorithm().name(), want.algorithm().name());
            if found == want {
                continue;
            }
            for carry_over in [CarryOver::AsIs, CarryOver::Proportional] {
                let mut changed = subject.under(to.policy().with_carry_over(carry_over));
                let error = changed.try_act(Action::Spend, START, 1);
                assert_eq!(error, Err(StateError::Algorithm { found, want }));
                assert_eq!(changed.record, subject.record, "nothing has changed");
            }
            let mut anew = subject.under(to.policy().with_carry_over(CarryOver::Reset));
            let fresh = Subject::new(&to).spend(START, 1);
            assert_eq!(anew.try_act(Action::Spend, START, 1), Ok(fresh));
            let mut reset = subject.under(to.policy());
            assert!(reset.try_act(Action::Reset, START, 1).is_ok(), "a reset repairs it");
            assert_eq!(reset.record, None);
        }
    }
}

fn carry_overs() -> impl Strategy<Value = CarryOver> {
    prop_oneof![Just(CarryOver::AsIs), Just(CarryOver::Proportional), Just(CarryOver::Reset)]
}

proptest! {
    #[test]
    fn no_change_leads_outside_of_the_new_limit(
        (from, to) in changes(),
        carry_over in carry_overs(),
        history in history(),
    ) {
        let (subject, now) = worn(&from, &history);
        let mut changed = subject.under(to.policy().with_carry_over(carry_over));
        let limit = changed.limit();
        let peeked = changed.peek(now, 1);
        prop_assert!(peeked.remaining <= limit);
        prop_assert_eq!(peeked.limit, limit);
        prop_assert!(changed.drain(now) <= limit);
        let denied = changed.spend(now, limit);
        prop_assert!(!denied.is_allowed());
        prop_assert!(changed.spend(now + denied.retry_after().as_micros(), limit).is_allowed());
    }

    #[test]
    fn the_same_numbers_change_nothing(
        rule in rule::any(),
        carry_over in carry_overs(),
        history in history(),
    ) {
        let (subject, now) = worn(&rule, &history);
        let same = subject.under(rule.policy().with_carry_over(carry_over));
        prop_assert_eq!(same.peek(now, 1), subject.peek(now, 1));
    }

    #[test]
    fn a_key_as_good_as_new_is_new_under_any_numbers(
        (from, to) in changes(),
        carry_over in carry_overs(),
        history in history(),
    ) {
        prop_assume!(!from.is_shared() && !to.is_shared());
        let (mut subject, now) = worn(&from, &history);
        let _ = subject.spend(now, 1);
        let now = now + subject.lifetime(now);
        let changed = subject.under(to.policy().with_carry_over(carry_over));
        prop_assert_eq!(changed.peek(now, 1), Subject::new(&to).peek(now, 1));
    }

    #[test]
    fn a_change_of_a_fixed_window_hands_out_no_second_quota(
        from in rule::fixed_window(),
        to in rule::fixed_window(),
        history in history(),
        rest in 0_u64..=1_000_000,
    ) {
        let (mut subject, now) = worn(&from, &history);
        let spent = subject.limit() - subject.peek(now, 1).remaining + subject.drain(now);
        let mut changed = subject.under(to.policy());
        let Detail::FixedWindow(fixed_window::Detail { window_end, .. }) = changed.look(now) else {
            unreachable!("the rule is a fixed window")
        };
        let left = window_end.as_micros() - 1 - now;
        let later = now + rule::share_of(left, rest);
        // Even a denial stores the count under the new numbers.
        let first = u64::from(changed.spend(now, 1).is_allowed());
        let admitted = spent + first + changed.drain(now) + changed.drain(later);
        prop_assert!(admitted <= subject.limit().max(changed.limit()), "{admitted}");
    }

    #[test]
    fn a_change_of_a_log_hands_out_no_second_quota(
        from in rule::sliding_window_log(),
        to in rule::sliding_window_log(),
        history in history(),
        rest in 0_u64..=1_000_000,
    ) {
        let (mut subject, now) = worn(&from, &history);
        let Detail::SlidingWindowLog(sliding_window_log::Detail { used, .. }) = subject.look(now) else {
            unreachable!("the rule is a log")
        };
        let used = if from.span() <= to.span() { used } else { 0 };
        let spent = used + subject.drain(now);
        let mut changed = subject.under(to.policy());
        // Whatever was spent now is within the new window until then.
        let later = now + rule::share_of(to.span() - 1, rest);
        let now_admitted = changed.drain(now);
        prop_assert!(spent + now_admitted <= subject.limit().max(changed.limit()));
        let in_window = subject.drain(now) + now_admitted + changed.drain(later);
        prop_assert!(in_window <= changed.limit());
    }
}
