//! A store may drop a record once its lifetime is over: whether it does, nobody can tell.

use proptest::prelude::*;
use ratelimit_core::{Action, Micros};

use crate::{
    key_under_test::{Subject, at},
    rule::{self, share_of},
    trace::{history, shares, worn},
};

proptest! {
    // FAULTS 34.
    #[test]
    fn a_record_that_is_dropped_after_its_lifetime_is_not_missed(
        rule in rule::any(),
        history in history(),
        share in shares(),
        later in 0_u64..=1_000_000,
    ) {
        let (mut subject, now) = worn(&rule, &history);
        let cost = 1 + share_of(subject.limit() - 1, share);
        let _ = subject.spend(now, cost);
        let then = now + subject.lifetime(now) + share_of(rule.span(), later);
        let mut dropped = Subject { record: None, ..subject.clone() };
        prop_assert_eq!(dropped.spend(then, cost), subject.spend(then, cost));
        prop_assert_eq!(dropped.spend(then + later, cost), subject.spend(then + later, cost));
    }

    /// Not even by a clock that steps back to before the record was over.
    // FAULTS 34.
    #[test]
    fn what_begins_upon_a_record_that_is_over_is_as_without_it(
        rule in rule::any(),
        history in history(),
        share in shares(),
        action in begins(),
        (later, earlier) in (0_u64..=1_000_000, 0_u64..=1_000_000),
    ) {
        let (mut subject, now) = worn(&rule, &history);
        let cost = 1 + share_of(subject.limit() - 1, share);
        let _ = subject.spend(now, cost);
        let then = now + subject.lifetime(now) + share_of(rule.span(), later);
        let mut dropped = Subject { record: None, ..subject.clone() };
        let began = subject.act(action, then, cost);
        prop_assert_eq!(dropped.act(action, then, cost), began);
        if began.is_allowed() {
            let earlier = then - share_of(then - now, earlier);
            prop_assert_eq!(dropped.spend(earlier, cost), subject.spend(earlier, cost));
        }
    }

    // FAULTS 34.
    #[test]
    fn a_change_of_the_numbers_brings_nothing_back_that_was_over(
        (before, after) in (rule::adaptive(), rule::adaptive()),
        history in history(),
        later in 0_u64..=1_000_000,
    ) {
        let (subject, now) = worn(&before, &history);
        let (old, new) = (subject.policy.clone(), after.policy());
        let mut subject = subject.under(new);
        let _ = subject.act(Action::Penalize, now, 1);
        let then = now + subject.lifetime(now) + share_of(after.span(), later);
        let mut dropped = Subject { record: None, ..subject.clone() };
        prop_assert_eq!(dropped.spend(then, 1), subject.spend(then, 1));
        prop_assert_eq!(dropped.under(old.clone()).peek(then, 1), subject.under(old).peek(then, 1));
    }

    // FAULTS 34.
    #[test]
    fn a_late_settlement_does_not_miss_a_shared_sensor(
        rule in rule::adaptive(),
        history in history(),
        shares in (shares(), shares()),
        later in 0_u64..=1_000_000,
    ) {
        let (mut subject, now) = worn(&rule, &history);
        let cost = 1 + share_of(subject.limit() - 1, shares.0);
        let charge = subject.spend(now, cost);
        let receipt = subject.receipt(&charge, cost);
        let others = now + share_of(rule.span(), shares.1);
        for _ in 0..50 {
            let _ = subject.spend(others, 1);
        }
        let lifetime = subject.sensor.as_ref().map_or(Micros::ZERO, |it| it.lifetime(at(others)));
        let then = others + lifetime.as_micros() + share_of(rule.span(), later);
        let mut dropped = Subject { sensor: None, ..subject.clone() };
        prop_assert_eq!(dropped.settle(then, cost, receipt), subject.settle(then, cost, receipt));
    }
}

/// The actions that make a key known.
fn begins() -> impl Strategy<Value = Action> {
    let block = (1..=1_u64 << 24).prop_map(|length| Action::Block(Micros::new(length)));
    prop_oneof![Just(Action::Spend), Just(Action::Penalize), block]
}
