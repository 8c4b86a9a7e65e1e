//! A take charges what a spend of as much as there is room for would, and is denied where there is none.

use proptest::prelude::*;
use ratelimit_core::{
    Action, Batch, Check, Decision, Key, LIMIT_MAX, Receipt, UNLIMITED, store::apply,
};

use crate::{
    key_under_test::{Subject, at},
    rule::{self, Rule, one_of_each, share_of},
    trace::{history, shares, worn},
};

proptest! {
    #[test]
    fn a_take_leaves_what_a_spend_of_its_part_leaves(
        rule in prop_oneof![12 => rule::any(), 1 => rule::unbounded()],
        history in history(),
        share in shares(),
    ) {
        let (mut subject, now) = worn(&rule, &history);
        let most = most(&subject, share);
        let part = room(&subject, now, most);
        let mut spender = subject.clone();
        let spent = spender.spend(now, part.max(1));
        let taken = subject.act(Action::Take, now, most);
        prop_assert_eq!(taken, spent, "a take of {} at {} found room for {}", most, now, part);
        prop_assert_eq!(taken.charged(), part);
        prop_assert_eq!(taken.is_allowed(), 0 < part);
        prop_assert_eq!(bytes(&subject), bytes(&spender));
    }

    #[test]
    fn a_blocked_key_denies_a_take_as_a_spend_of_one_permit(
        rule in rule::any(),
        history in history(),
        share in shares(),
        length in 1_u64..=10_000_000,
    ) {
        let (mut subject, now) = worn(&rule, &history);
        let _ = subject.block(now, length);
        let (mut spender, most) = (subject.clone(), most(&subject, share));
        let taken = subject.act(Action::Take, now + length - 1, most);
        prop_assert_eq!(taken, spender.spend(now + length - 1, 1));
        prop_assert!(!taken.is_allowed() && taken.is_blocked() && taken.charged() == 0);
        prop_assert_eq!(bytes(&subject), bytes(&spender));
    }

    #[test]
    fn what_was_taken_is_given_back_by_its_receipt(
        rule in rule::any(),
        history in history(),
        share in shares(),
    ) {
        let (mut subject, now) = worn(&rule, &history);
        let before = subject.peek(now, 1);
        let taken = subject.act(Action::Take, now, most(&subject, share));
        if taken.is_allowed() {
            let receipt = Receipt::of(&taken, &subject.policy, taken.charged());
            let given = subject.settle(now, taken.charged(), receipt);
            prop_assert_eq!(given.charged(), 0);
            // The load of an adaptive hybrid stays: the request was admitted.
            if !rule.is_adaptive() {
                prop_assert_eq!(subject.peek(now, 1).remaining, before.remaining);
            }
        }
    }

    #[test]
    fn takes_of_a_batch_charge_every_part_or_nothing(
        rules in prop::collection::vec(rule::any(), 1..4),
        histories in prop::collection::vec(history(), 4),
        share in shares(),
        emptied in prop::option::of(0_usize..3),
    ) {
        // The instant is that of the first: to the others the clock may have stepped.
        let now = worn(&rules[0], &histories[0]).1;
        let names = ["first", "second", "third"];
        let mut subjects: Vec<_> = rules.iter().zip(&histories).zip(names).map(|((rule, history), name)| {
            let worn = worn(rule, history).0;
            // Only its own request raises the load of each.
            worn.under(rule.named(name))
        }).collect();
        if let Some(emptied) = emptied.and_then(|index| subjects.get_mut(index)) {
            emptied.drain(now);
        }
        let costs: Vec<_> = subjects.iter().map(|subject| most(subject, share)).collect();
        let parts: Vec<_> =
            subjects.iter().zip(&costs).map(|(subject, cost)| room(subject, now, *cost)).collect();
        let is_denied = parts.contains(&0);
        let mut alone = subjects.clone();
        let taken = take_all(&mut subjects, &costs, now);

        for (index, decision) in taken.iter().enumerate() {
            let wanted = if is_denied {
                alone[index].peek(now, parts[index].max(1))
            } else {
                alone[index].spend(now, parts[index])
            };
            prop_assert_eq!(*decision, wanted, "{} of {:?} at {}", index, parts, now);
            if !is_denied {
                prop_assert_eq!(bytes(&subjects[index]), bytes(&alone[index]));
            } else if !rules[index].is_adaptive() {
                let peeked = subjects[index].peek(now, 1);
                prop_assert_eq!(peeked, wanted.with_outcome(peeked.outcome(), 0));
            }
        }
    }
}

/// The largest cost up to `most` that is admitted.
fn room(subject: &Subject, now: u64, most: u64) -> u64 {
    let (mut fits, mut exceeds) = (0, most + 1);
    while fits + 1 < exceeds {
        let middle = fits.midpoint(exceeds);
        if subject.peek(now, middle).is_allowed() { fits = middle } else { exceeds = middle }
    }
    fits
}

fn most(subject: &Subject, share: u64) -> u64 {
    1 + share_of(subject.limit().clamp(1, LIMIT_MAX) - 1, share)
}

/// The record and the shared sensor.
fn bytes(subject: &Subject) -> [Option<Vec<u8>>; 2] {
    let Subject { record, sensor, .. } = subject;
    [record, sensor].map(|record| record.as_ref().map(|record| record.encode()))
}

fn take_all(subjects: &mut [Subject], costs: &[u64], now: u64) -> Vec<Decision> {
    let policies: Vec<_> = subjects.iter().map(|subject| subject.policy.clone()).collect();
    let key = Key::new("key").expect("a short key");
    let check = |(policy, cost)| Check::new(policy, key, cost).expect("a cost within the limit");
    let checks: Vec<_> = policies.iter().zip(costs.iter().copied()).map(check).collect();
    let batch = Batch::new(&checks).expect("no two names are the same");
    let mut records: Vec<_> = subjects.iter_mut().map(|subject| subject.record.take()).collect();
    let shares = |index: &usize| policies[*index].algorithm().shares_sensor();
    let shared: Vec<_> = (0..subjects.len()).filter(shares).collect();
    records.extend(shared.iter().map(|&index| subjects[index].sensor.take()));
    let decisions =
        apply(batch, Action::Take, &mut records, at(now)).expect("records of their own");
    let sensors = records.split_off(subjects.len());
    for (subject, record) in subjects.iter_mut().zip(records) {
        subject.record = record;
    }
    for (index, sensor) in shared.into_iter().zip(sensors) {
        subjects[index].sensor = sensor;
    }
    decisions.to_vec()
}

#[test]
fn a_take_gets_what_is_left_and_then_nothing() {
    let now = 1_700_000_000_000_000;
    for rule in one_of_each() {
        let mut subject = Subject::new(&rule);
        let fresh = room(&subject, now, subject.limit());
        let first = subject.act(Action::Take, now, subject.limit());
        assert_eq!(first.charged(), fresh, "{rule:?}");
        assert!(first.is_allowed(), "{rule:?}");
        let denied = subject.act(Action::Take, now, subject.limit());
        assert_eq!((denied.is_allowed(), denied.charged()), (false, 0), "{rule:?}");
        assert_eq!(denied, subject.peek(now, 1), "{rule:?}");
    }
}

#[test]
fn a_limit_of_nothing_gives_nothing_and_one_of_everything_gives_all() {
    let [nothing, everything] =
        [0, UNLIMITED].map(|limit| Rule::Calendar { limit, lengths: [1 << 40; 4] });
    let take = |rule| Subject::new(rule).act(Action::Take, 1 << 50, 1_000);
    assert_eq!((take(&nothing).is_allowed(), take(&nothing).charged()), (false, 0));
    assert_eq!((take(&everything).is_allowed(), take(&everything).charged()), (true, 1_000));
}
