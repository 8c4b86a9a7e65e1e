//! The answer to an action is the same for all who look.

use core::num::NonZeroU64;
use std::collections::BTreeSet;

use ratelimit_core::{
    Action, Batch, CarryOver, Check, Decision, Fraction, Key, Micros, Timestamp,
    store::{Decisions, apply},
};

use crate::{key_under_test::Subject, rule::one_of_each};

const NOW: u64 = 1_700_000_000_000_000;

#[test]
fn only_what_makes_a_key_known_leaves_a_record_of_one_that_was_not() {
    let a_second = Micros::new(1_000_000);
    for rule in one_of_each() {
        for action in [Action::Spend, Action::Take, Action::Penalize, Action::Block(a_second)] {
            let mut subject = Subject::new(&rule);
            let _ = subject.act(action, NOW, 1);
            assert!(action.makes_known() && subject.record.is_some(), "{action:?} {rule:?}");
        }
        for action in [Action::Refund, Action::Extend, Action::Reset] {
            let mut subject = Subject::new(&rule);
            let _ = subject.act(action, NOW, 1);
            assert!(!action.makes_known() && subject.record.is_none(), "{action:?} {rule:?}");
        }
        assert!(!Action::Peek.makes_known());
    }
}

#[test]
fn each_check_of_a_batch_has_its_decision_in_order() {
    let policy = one_of_each()[0].policy();
    let names = ["a", "b", "c"];
    let check = |(cost, name)| Check::new(&policy, Key::new(name).unwrap(), cost).unwrap();
    let checks: Vec<_> = (1..).zip(&names).map(check).collect();
    for checks in [&checks[..1], &checks] {
        let batch = Batch::new(checks).expect("no two are about the same");
        let mut records = vec![None; checks.len()];
        let now = Timestamp::from_micros(NOW).unwrap();
        let decisions: Decisions = apply(batch, Action::Spend, &mut records, now).unwrap();
        let left: Vec<u64> = decisions.iter().map(|decision| decision.remaining).collect();
        assert_eq!(left, [9, 8, 7][..checks.len()]);
        assert_eq!(decisions.clone().into_first(), Some(decisions[0]));
        let first = decisions[0];
        let collected: Decisions = decisions.iter().copied().collect();
        assert_eq!(collected.into_first(), Some(first));
        let all: Vec<Decision> = decisions.clone().into();
        assert_eq!(all[..], decisions[..]);
    }
}

#[test]
fn fractions_are_shown_as_numbers_and_keys_as_their_lengths() {
    let fraction = |numerator, denominator| {
        Fraction { numerator, denominator: NonZeroU64::new(denominator).unwrap() }.to_f64()
    };
    assert_eq!([fraction(7, 2), fraction(0, 3), fraction(1, 4)], [3.5, 0.0, 0.25]);
    assert_eq!(format!("{:?}", Key::new("secret").unwrap()), "Key(6 bytes)");
}

/// A store finds a key by its bytes and this.
#[test]
fn names_have_hashes_of_their_own() {
    let rule = one_of_each()[0];
    let hashes: BTreeSet<_> =
        (0..1_000).map(|number| rule.named(&format!("api-{number}")).name_hash()).collect();
    assert_eq!(hashes.len(), 1_000);
    let [one, same] = ["api", "api"].map(|name| rule.named(name));
    assert!(one.shares_name(&same) && one.name_hash() == same.name_hash());
    assert!(!one.shares_name(&rule.named("app")));
}

#[test]
fn policies_are_equal_if_all_that_is_said_of_them_is() {
    let [fixed, first, ..] = one_of_each();
    assert_eq!(fixed.named("api"), fixed.named("api"));
    assert_ne!(fixed.named("api"), fixed.named("app"));
    assert_ne!(fixed.named("api"), first.named("api"));
    assert_ne!(fixed.named("api"), fixed.named("api").with_carry_over(CarryOver::Reset));
    assert_eq!(fixed.named("api").to_string(), "api (fixed window)");
}
