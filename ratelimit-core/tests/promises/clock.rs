//! A clock that misbehaves grants little: nothing when it steps back, one limit when it jumps.

use proptest::prelude::*;
use ratelimit_core::Timestamp;

use crate::{
    key_under_test::{Subject, retry_after},
    rule::{self, Rule, one_of_each, share_of},
    trace::{history, shares, worn},
};

proptest! {
    #[test]
    fn a_step_back_grants_nothing(
        rule in rule::any(),
        history in history(),
        back in 0_u64..=3_000_000,
    ) {
        // A log without a free entry has more at the very instant of its newest: that is no grant.
        if rule.is_capped() {
            return Ok(());
        }
        let (subject, now) = worn(&rule, &history);
        // A key that starts low has all of it until it is forgotten, and then what a new key has.
        let is_forgotten = rule.starts_low() && !subject.is_known(now);
        let most =
            if is_forgotten { subject.limit() } else { subject.peek(now, 1).remaining };
        let back = now.saturating_sub(share_of(rule.span(), back));
        prop_assert!(subject.peek(back, 1).remaining <= most);
    }

    #[test]
    fn a_step_back_delays_by_one_window_at_most(
        rule in rule::any(),
        history in history(),
        back in 0_u64..=3_000_000,
        share in shares(),
    ) {
        let (mut subject, now) = worn(&rule, &history);
        let cost = 1 + share_of(subject.limit() - 1, share);
        let before = retry_after(&subject.peek(now, cost));
        let back = now.saturating_sub(share_of(rule.span(), back));
        let wait = retry_after(&subject.spend(back, cost));
        // A coarse rate is a little slower than its numbers.
        let window = rule.memory() + rule.memory() / 1_000 + 2;
        prop_assert!(wait <= before + window, "{wait} µs, not {before} + {window}");
    }

    // FAULTS 36.
    #[test]
    fn a_jump_forward_grants_one_limit_at_most(
        rule in rule::any(),
        history in history(),
        jump in prop_oneof![Just(3_600_000_000), Just(315_360_000_000_000), Just(u64::MAX)],
    ) {
        let (mut subject, now) = worn(&rule, &history);
        subject.drain(now);
        let then = now.saturating_add(jump).min(Timestamp::MAX.as_micros());
        prop_assert!(subject.drain(then) <= subject.limit());
        prop_assert!(!subject.spend(then, 1).is_allowed());
    }
}

// FAULTS 37.
#[test]
fn a_time_from_the_future_is_pulled_back_even_by_a_denied_request() {
    let (start, leap) = (1_700_000_000_000_000, 1_000_000_000_000);
    for rule in one_of_each() {
        let mut subject = Subject::new(&rule);
        subject.drain(start + leap);
        let denied = subject.spend(start, 1);
        assert!(!denied.is_allowed(), "{rule:?}");
        let wait = retry_after(&denied);
        assert!(wait <= rule.memory(), "{rule:?}");
        assert!(subject.spend(start + wait, 1).is_allowed(), "{rule:?}");
    }
}

#[test]
fn a_counter_keeps_its_previous_window_when_the_clock_steps_back() {
    let mut subject = Subject::new(&Rule::SlidingWindowCounter { limit: 10, window: 1_000_000 });
    assert_eq!(subject.drain(0), 10);
    assert_eq!(subject.drain(1_100_000), 1);
    assert_eq!(subject.drain(999_999), 0, "ten were spent in this very window");
}
