//! Charges and settlements with known results.

use core::ops::RangeInclusive;

use ratelimit_core::{
    Detail, LIMIT_MAX,
    adaptive::{self, Scope},
};

use crate::{
    key_under_test::Subject,
    rule::{Adaptive, Rule, one_of_each},
};

// FAULTS 24.
#[test]
fn a_charge_that_is_settled_for_nothing_is_given_back_whole() {
    for rule in one_of_each() {
        let (mut subject, now) = (Subject::new(&rule), 1_700_000_000_000_000);
        let fresh = subject.peek(now, 1).remaining;
        let spent = subject.spend(now, 5.min(fresh));
        let settled = subject.settle(now, 5.min(fresh), subject.receipt(&spent, 5.min(fresh)));
        assert!(settled.is_allowed());
        let left = subject.peek(now, 1).remaining;
        assert_eq!(left, fresh, "{rule:?}: {settled:?}");
    }
}

// FAULTS 24.
#[test]
fn of_two_overlapping_charges_the_later_one_gives_back_what_an_earlier_cancel_has_left_of_it() {
    let (capacity, rate, period) = (100, 1_000_000, 1_000_000);
    for rule in [
        Rule::TokenBucket { capacity, refill: rate, period, initial: capacity },
        Rule::LeakyBucket { capacity, leak: rate, period, longest_delay: None },
    ] {
        let (mut subject, start) = (Subject::new(&rule), 1_700_000_000_000_000);
        let [earlier, later] = [37, 37].map(|cost| {
            let spent = subject.spend(start, cost);
            subject.receipt(&spent, cost)
        });
        let cancelled = subject.settle(start + 34, 37, earlier);
        assert_eq!(cancelled.remaining, 100 - 40 + 3, "34 came back, of the earlier first");
        let cancelled = subject.settle(start + 35, 37, later);
        assert_eq!(cancelled.remaining, 100, "no more than the later one had left");
    }
}

/// Any request is high load for the next tenth of a second, and cuts the burst from 20 to 10. So
/// what the first has left is cut when the second comes, and was not there to be given back.
// FAULTS 24.
#[test]
fn what_a_high_load_has_cut_off_is_not_given_back() {
    let rule = Adaptive { adaptive_window: 100_000, ..Adaptive::new(10, 1_000_000, Scope::PerKey) };
    is_as_if_less_had_been_charged(&rule, (5, 1), 1..=1, [2, 200_000]);
}

/// The same of a load that comes later: four requests cut the burst from 200 to 100.
// FAULTS 24.
#[test]
fn what_a_load_has_cut_off_since_is_not_given_back() {
    let rule = Adaptive { adaptive_window: 40_000, ..Adaptive::new(100, 1_000_000, Scope::PerKey) };
    is_as_if_less_had_been_charged(&rule, (50, 10), 1_001..=1_005, [2_000, 50_000]);
}

/// Nobody else comes. A key's own load is known as long as the key is; a shared one is not, once
/// its sensor may have been dropped: had the burst been cut from 2000 to 1000, a third of the
/// charge would have fitted.
// FAULTS 24.
#[test]
fn what_no_load_has_cut_off_is_given_back_as_long_as_that_is_known() {
    const START: u64 = 1_700_000_000_000_000;
    let settled_after = |scope, seconds: u64| {
        let rule = Adaptive::new(1_000, 1_000_000_000, scope);
        let rule = Adaptive { adaptive_window: 64_000_000, ..rule };
        let mut subject = Subject::new(&Rule::Adaptive(rule));
        let spent = subject.spend(START, 1_500);
        let settled =
            subject.settle(START + seconds * 1_000_000, 1_500, subject.receipt(&spent, 1_500));
        let Detail::Adaptive(adaptive::Detail { tokens, .. }) = subject.detail(&settled) else {
            panic!("it is adaptive")
        };
        tokens
    };
    for (seconds, own, shared) in [(0, 2_000, 2_000), (63, 1_999, 1_999), (64, 1_999, 998)] {
        let tokens = [Scope::PerKey, Scope::Shared].map(|scope| settled_after(scope, seconds));
        assert_eq!(tokens, [own, shared], "after {seconds} s");
    }
}

/// A charge, others of one permit each at those times after it, and a settlement.
fn is_as_if_less_had_been_charged(
    rule: &Adaptive,
    (charged, kept): (u64, u64),
    others: RangeInclusive<u64>,
    [settled_at, asked_at]: [u64; 2],
) {
    const START: u64 = 1_700_000_000_000_000;
    let [mut settled, mut exact] = [(); 2].map(|()| Subject::new(&Rule::Adaptive(*rule)));
    let spent = settled.spend(START, charged);
    assert!(exact.spend(START, kept).is_allowed());
    for subject in [&mut settled, &mut exact] {
        for later in others.clone() {
            assert!(subject.spend(START + later, 1).is_allowed());
        }
    }
    let receipt = settled.receipt(&spent, charged);
    let _ = settled.settle(START + settled_at, charged - kept, receipt);
    for cost in 1..=settled.limit() {
        let [settled, exact] =
            [&settled, &exact].map(|subject| subject.peek(START + asked_at, cost).is_allowed());
        assert_eq!(settled, exact, "{cost} at once");
    }
}

// FAULTS 24.
#[test]
fn many_permits_a_microsecond_are_settled_to_the_permit() {
    let rule =
        Rule::TokenBucket { capacity: 100, refill: 10_000_000, period: 1_000_000, initial: 100 };
    let (mut subject, now) = (Subject::new(&rule), 1_700_000_000_000_000);
    let spent = subject.spend(now, 15);
    assert!(subject.spend(now + 1, 20).is_allowed());
    let settled = subject.settle(now + 1, 15, subject.receipt(&spent, 15));
    assert_eq!(settled.remaining, 80, "5 of the 15 were still missing, not 10");
}

/// Of six permits of the first window four are given back in that window, in the next one, where
/// half of it still weighs, and in the one after that, where it is gone.
#[test]
fn a_counter_gives_back_in_the_window_that_a_charge_was_made_in() {
    const START: u64 = 1_700_000_000_000_000;
    const SECOND: u64 = 1_000_000;
    for (settled_at, spent_before, remaining) in [(2, 0, 8), (15, 0, 9), (25, 3, 8)] {
        let rule = Rule::SlidingWindowCounter { limit: 10, window: 10 * SECOND };
        let mut subject = Subject::new(&rule);
        let spent = subject.spend(START + SECOND, 6);
        if 0 < spent_before {
            assert!(subject.spend(START + 11 * SECOND, spent_before).is_allowed());
        }
        let settled = subject.settle(START + settled_at * SECOND, 4, subject.receipt(&spent, 6));
        assert_eq!(settled.remaining, remaining, "settled at {settled_at}");
    }
}

/// Of two charges of a half each the first is given back at once, then four tenths come back, and
/// are spent. So all but a tenth of the second would have come back in vain.
// FAULTS 24.
#[test]
fn what_was_given_back_of_other_charges_is_not_given_back_again() {
    const TENTH: u64 = LIMIT_MAX / 10;
    const START: u64 = 1_700_000_000_000_000;
    const SECOND: u64 = 1_000_000;
    let (capacity, rate, period) = (LIMIT_MAX, LIMIT_MAX, SECOND);
    for rule in [
        Rule::TokenBucket { capacity, refill: rate, period, initial: capacity },
        Rule::LeakyBucket { capacity, leak: rate, period, longest_delay: None },
    ] {
        // The second time there are more permits than are counted.
        for settled_before in [0, 1 << 53] {
            let mut subject = Subject::new(&rule);
            for _ in 0..settled_before / LIMIT_MAX {
                let spent = subject.spend(START, LIMIT_MAX);
                let receipt = subject.receipt(&spent, LIMIT_MAX);
                assert_eq!(subject.settle(START, LIMIT_MAX, receipt).remaining, LIMIT_MAX);
            }
            let half = 5 * TENTH;
            let [first, second] = [half; 2].map(|cost| {
                let spent = subject.spend(START, cost);
                assert!(spent.is_allowed());
                subject.receipt(&spent, cost)
            });
            assert_eq!(subject.settle(START, half, first).remaining, half);
            let spent = subject.spend(START + 4 * SECOND / 10, 4 * TENTH);
            assert_eq!(spent.remaining, half);
            let settled = subject.settle(START + 4 * SECOND / 10, half, second);
            assert_eq!(settled.remaining, half + TENTH, "{settled_before} {rule:?}");
        }
    }
}

/// It is in a receipt, so a key that was forgotten would begin to count anew.
// FAULTS 24.
#[test]
fn what_was_given_back_is_remembered_for_as_long_as_a_bucket_takes_to_fill() {
    const SECOND: u64 = 1_000_000;
    let (capacity, rate, period) = (10, 10, 10 * SECOND);
    for rule in [
        Rule::TokenBucket { capacity, refill: rate, period, initial: capacity },
        Rule::LeakyBucket { capacity, leak: rate, period, longest_delay: None },
    ] {
        let mut subject = Subject::new(&rule);
        let spent = subject.spend(0, 5);
        assert_eq!(subject.settle(0, 5, subject.receipt(&spent, 5)).remaining, 10);
        for (now, lifetime) in [(0, 10), (4, 6), (10, 0), (11, 0)] {
            assert_eq!(subject.lifetime(now * SECOND), lifetime * SECOND, "after {now} s");
        }
    }
}

/// The clock has stepped back since.
#[test]
fn a_charge_of_a_later_time_is_not_settled() {
    for rule in one_of_each().into_iter().filter(|rule| !rule.is_in_flight()) {
        let (mut subject, now) = (Subject::new(&rule), 1_700_000_000_000_000);
        let spent = subject.spend(now, 2);
        let before = subject.peek(now - 1, 1).remaining;
        let settled = subject.settle(now - 1, 2, subject.receipt(&spent, 2));
        assert_eq!(settled.remaining, before, "{rule:?}");
    }
}

/// A part of a charge that was given back before, with no receipt of its own, is not given back again.
// FAULTS 24.
#[test]
fn refunds_with_and_without_a_receipt_leave_no_more_than_the_limit() {
    const NOW: u64 = 1_700_000_000_000_000;
    for rule in one_of_each() {
        let mut subject = Subject::new(&rule);
        let (charge, other) = (subject.spend(NOW, 2), subject.spend(NOW, 1));
        assert!(charge.is_allowed() && other.is_allowed(), "{rule:?}");
        let receipt = subject.receipt(&charge, 2);
        let _ = subject.refund(NOW, 2);
        assert!(subject.settle(NOW, 2, receipt).remaining <= subject.limit(), "{rule:?}");
        assert!(subject.peek(NOW, 1).remaining <= subject.limit(), "{rule:?}");
    }
}

/// As much was given back of another charge since, so of each of ten charges of a permit only nine tenths
/// are. Then 5.9 permits are missing, and 15.9 after one more charge: no more than 5.9 may be given back of
/// what was charged before.
// FAULTS 24.
#[test]
fn parts_of_permits_that_were_given_back_of_other_charges_are_not_given_back_again() {
    const SECOND: u64 = 1_000_000;
    let (capacity, rate, period) = (60, 1, SECOND);
    for rule in [
        Rule::TokenBucket { capacity, refill: rate, period, initial: capacity },
        Rule::LeakyBucket { capacity, leak: rate, period, longest_delay: None },
    ] {
        let (mut subject, start) = (Subject::new(&rule), 1_700_000_000_000_000);
        let mut charge = |cost| {
            let spent = subject.spend(start, cost);
            subject.receipt(&spent, cost)
        };
        let (small, [large, last]) = ([(); 10].map(|()| charge(1)), [10, 10].map(charge));
        let soon = start + SECOND / 10;
        let _ = subject.settle(soon, 10, large);
        for receipt in small {
            let _ = subject.settle(soon, 1, receipt);
        }
        let later = start + 51 * SECOND / 10;
        assert!(subject.spend(later, 10).is_allowed());
        let left = subject.settle(later, 10, last).remaining;
        assert!((49..=50).contains(&left), "{rule:?}: {left}");
    }
}
