//! A compact state is stepped as the record that it was taken out of.

use proptest::prelude::*;
use ratelimit_core::{
    Action, Batch, Check, Decision, Key, Policy,
    store::{CompactState, Record, apply},
};

use crate::{
    key_under_test::{Subject, at},
    rule,
    trace::{Course, history, spending, worn},
};

proptest! {
    #[test]
    fn a_compact_state_decides_like_its_record(rule in rule::any(), (start, steps) in history()) {
        let (mut kept, mut compact) = (Subject::new(&rule), Subject::new(&rule));
        let mut course = Course::new(&rule, start);
        for step in steps {
            let (now, cost) = (course.go(step.wait), step.cost(kept.limit()));
            let decision = kept.act(step.action, now, cost);
            let spends = step.action == Action::Spend;
            let spent = if spends { spend(&mut compact, now, cost) } else { None };
            let spent = spent.unwrap_or_else(|| compact.act(step.action, now, cost));
            prop_assert_eq!(spent, decision);
            prop_assert_eq!(&compact.record, &kept.record);
            if let Some(Ok((policy, state))) = compact.record.clone().map(Record::into_compact) {
                prop_assert_eq!(state.lifetime(&policy, at(now)).as_micros(), kept.lifetime(now));
            }
            course.saw(decision);
        }
    }

    /// As a store spends on two keys of a batch, of which the second denies.
    #[test]
    fn a_compact_state_of_a_denied_batch_is_left_like_its_record(
        rule in rule::any(),
        history in spending(),
    ) {
        let (subject, now) = worn(&rule, &history);
        let (policy, mut full) = (&subject.policy, Subject::new(&rule));
        full.drain(now);
        let Some(Ok((_, mut state))) = subject.record.clone().map(Record::into_compact) else {
            return Ok(());
        };
        let checks = [check(policy, "key", 1), check(policy, "other", policy.limit())];
        let mut records = [subject.record.clone(), full.record];
        let batch = Batch::new(&checks).expect("two keys");
        let decisions = apply(batch, Action::Spend, &mut records, at(now)).unwrap();
        prop_assert!(!decisions[1].is_allowed(), "it has nothing left");

        let step = state.deny(policy, checks[0].cost(), at(now)).expect("a compact state");
        prop_assert_eq!(step.decision(policy, at(now)), decisions[0]);
        prop_assert_eq!(&Record::from_compact(policy.clone(), state), &records[0]);
    }
}

/// Spends on the compact state of a key, if it has one: alone, and as a batch does.
fn spend(subject: &mut Subject, now: u64, cost: u64) -> Option<Decision> {
    let Some(record) = subject.record.clone() else { return begin(subject, now, cost) };
    let (policy, mut state) = record.into_compact().ok()?;
    let cost = check(&policy, "key", cost).cost();
    let mut other = state;
    let step = state.spend(&policy, cost, at(now)).expect("a compact state");
    let decision = step.decision(&policy, at(now));
    assert_eq!(step.is_allowed(), decision.is_allowed());
    let stored = other.step(&policy, cost, at(now)).expect("a compact state");
    if stored.is_allowed() {
        other.store(&stored);
        assert_eq!((other, stored.decision(&policy, at(now))), (state, decision));
    }
    subject.record = Record::from_compact(policy, state);
    Some(decision)
}

/// The same of a key never seen.
fn begin(subject: &mut Subject, now: u64, cost: u64) -> Option<Decision> {
    let policy = subject.policy.clone();
    let cost = check(&policy, "key", cost).cost();
    let (step, begun) = CompactState::begin(&policy, cost, at(now))?;
    let decision = step.decision(&policy, at(now));
    if let Some((state, lifetime)) = begun {
        assert_eq!(lifetime, state.lifetime(&policy, at(now)));
        subject.record = Record::from_compact(policy, state);
    }
    Some(decision)
}

fn check<'a>(policy: &'a Policy, key: &'a str, cost: u64) -> Check<'a> {
    Check::new(policy, Key::new(key).expect("a short key"), cost).expect("a cost within the limit")
}
