//! The promises of a decision are exact: waits to the microsecond, remainders to the permit.

use proptest::prelude::*;

use crate::{
    key_under_test::{Subject, reset_after, retry_after},
    rule::{self, Rule, share_of},
    trace::{history, shares, worn},
};

proptest! {
    // FAULTS 28, 29.
    #[test]
    fn a_denied_request_fits_after_its_wait_and_not_a_microsecond_before(
        rule in rule::any(),
        history in history(),
        share in shares(),
    ) {
        let (mut subject, now) = worn(&rule, &history);
        subject.drain(now);
        let cost = 1 + share_of(subject.limit() - 1, share);
        let denial = subject.spend(now, cost);
        prop_assert!(!denial.is_allowed(), "nothing remained");
        let wait = retry_after(&denial);
        prop_assert!(0 < wait);
        prop_assert!(!subject.clone().spend(now + wait - 1, cost).is_allowed());
        prop_assert!(subject.spend(now + wait, cost).is_allowed());
    }

    // FAULTS 28, 29.
    #[test]
    fn a_denied_request_waits_for_its_own_cost_only(
        rule in rule::any(),
        history in history(),
        share in shares(),
    ) {
        let (mut subject, now) = worn(&rule, &history);
        let cost = 1 + share_of(subject.limit() - 1, share);
        let decision = subject.spend(now, cost);
        if !decision.is_allowed() {
            let wait = retry_after(&decision);
            prop_assert!(!subject.clone().spend(now + wait - 1, cost).is_allowed());
            prop_assert!(subject.spend(now + wait, cost).is_allowed());
        }
    }

    #[test]
    fn exactly_the_remaining_requests_succeed_at_that_instant(
        rule in rule::any(),
        history in history(),
    ) {
        let (mut subject, now) = worn(&rule, &history);
        let remaining = subject.peek(now, 1).remaining;
        // Where there are too many to ask for each alone, all but the last few go as one.
        let one_by_one = remaining.min(300);
        if let bulk @ 1.. = remaining - one_by_one {
            prop_assert!(subject.spend(now, bulk).is_allowed());
        }
        for left in (0..one_by_one).rev() {
            let decision = subject.spend(now, 1);
            prop_assert!(decision.is_allowed());
            prop_assert!(rule.is_adaptive() || decision.remaining == left);
        }
        prop_assert!(!subject.spend(now, 1).is_allowed());
    }

    // FAULTS 32.
    #[test]
    fn after_reset_after_the_full_limit_is_there_and_not_a_microsecond_before(
        rule in rule::any(),
        history in history(),
        share in shares(),
    ) {
        let (mut subject, now) = worn(&rule, &history);
        let limit = subject.limit();
        let reset = reset_after(&subject.spend(now, 1 + share_of(limit - 1, share)));
        // The adaptive hybrid also waits for its sensor, whether or not that still matters.
        if 0 < reset && !rule.is_adaptive() {
            prop_assert!(!subject.clone().spend(now + reset - 1, limit).is_allowed());
        }
        prop_assert!(subject.spend(now + reset, limit).is_allowed());
        prop_assert_eq!(subject.peek(now + reset, 1).remaining, 0);
    }

    // FAULTS 21.
    #[test]
    fn a_new_key_has_the_whole_limit_at_once(rule in rule::any(), now in 0..=1_u64 << 52) {
        if !rule.starts_low() {
            let mut subject = Subject::new(&rule);
            let decision = subject.spend(now, subject.limit());
            prop_assert!(decision.is_allowed());
            prop_assert_eq!(decision.remaining, 0);
            prop_assert_eq!(decision.limit, subject.limit());
        }
    }
}

// FAULTS 210.
#[test]
fn a_bucket_that_starts_empty_keeps_its_promise_after_it_was_forgotten() {
    let rule = Rule::TokenBucket { capacity: 1, refill: 1, period: 10, initial: 0 };
    let mut subject = Subject::new(&rule);
    for start in [0, 1_000] {
        let denial = subject.spend(start, 1);
        assert_eq!(retry_after(&denial), 10);
        assert!(!subject.spend(start + 9, 1).is_allowed());
        assert!(subject.spend(start + 10, 1).is_allowed(), "promised at {start}");
    }
}
