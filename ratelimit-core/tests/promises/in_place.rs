//! Records that are stepped where they lie decide as those that go through [`apply`].

use proptest::prelude::*;
use ratelimit_core::{
    Action, Algorithm, Batch, Check, Decision, Key, Policy,
    store::{Record, SmallRecord, Spent, apply},
};

use crate::{
    rule,
    subject::{Subject, at},
    trace::{Course, history, spending, worn},
};

proptest! {
    #[test]
    fn a_key_that_is_stepped_where_it_lies_answers_like_one_that_is_not(
        rule in rule::any(),
        (start, steps) in history(),
    ) {
        let (mut kept, mut placed) = (Subject::new(&rule), Subject::new(&rule));
        let mut course = Course::new(&rule, start);
        for step in steps {
            let (now, cost) = (course.go(step.wait), step.cost(kept.limit()));
            let decision = kept.act(step.action, now, cost);
            let stepped = (step.action == Action::Spend).then(|| in_place(&mut placed, now, cost));
            let stepped = match stepped.flatten() {
                Some(decision) => decision,
                None => {
                    prop_assert!(step.action != Action::Spend || is_for_apply(&placed));
                    placed.act(step.action, now, cost)
                }
            };
            prop_assert_eq!(stepped, decision);
            prop_assert_eq!(&placed.record, &kept.record);
            if let Some(Ok(small)) = placed.record.clone().map(SmallRecord::try_from) {
                prop_assert_eq!(small.lifetime(at(now)).as_micros(), kept.lifetime(now));
            }
            course.saw(decision);
        }
    }

    #[test]
    fn a_record_of_other_numbers_is_not_stepped_where_it_lies(
        rule in rule::any(),
        history in spending(),
    ) {
        let (subject, now) = worn(&rule, &history);
        let mut other = subject.under(rule.policy());
        prop_assert!(other.record.is_none() || in_place(&mut other, now, 1).is_none());
        prop_assert_eq!(other.record, subject.record);
    }

    /// As a store asks two keys as one, of which the second denies.
    #[test]
    fn what_was_spent_in_vain_is_taken_back_as_if_it_had_not_been(
        rule in rule::any(),
        history in spending(),
    ) {
        let (subject, now) = worn(&rule, &history);
        let (mut full, policy) = (Subject::new(&rule), rule.policy());
        full.drain(now);
        let checks = [("key", 1), ("other", policy.limit())]
            .map(|(key, cost)| question(&policy, key, cost));
        let mut records = [rewritten(&subject, &policy), rewritten(&full, &policy)];
        let small = records[0].clone().map(SmallRecord::try_from);
        let Some(Ok(mut small)) = small else { return Ok(()) };
        let before = Record::from(small.clone());
        let mut spent = small.spend(&checks[0], at(now)).expect("it is of this policy");
        let asked = small.clone();
        small.undo(&spent);
        prop_assert_eq!(Record::from(small), before);

        let batch = Batch::new(&checks).expect("two keys");
        let decisions = apply(batch, Action::Spend, &mut records, at(now)).unwrap();
        prop_assert!(!decisions[1].is_allowed(), "it has nothing left");
        let mut small = asked;
        small.take_back(&mut spent);
        prop_assert_eq!(spent.decision(), decisions[0]);
        let [record, _] = records;
        prop_assert_eq!(Some(Record::from(small)), record);
    }
}

/// Whether only [`apply`] may spend on the key: its sensor is another record, or its state is large
/// and yet to be made.
fn is_for_apply(subject: &Subject) -> bool {
    let algorithm = subject.policy.algorithm();
    let is_large = matches!(algorithm, Algorithm::SlidingWindowLog(_) | Algorithm::Adaptive(_));
    algorithm.shares_sensor() || subject.record.is_none() && is_large
}

/// Spends without [`apply`], if that can be.
fn in_place(subject: &mut Subject, now: u64, cost: u64) -> Option<Decision> {
    let check = question(&subject.policy, "key", cost);
    let Some(record) = &mut subject.record else {
        let (spent, record) = SmallRecord::begin(&check, at(now))?;
        subject.record = record.map(Record::from);
        return Some(told(&spent));
    };
    match SmallRecord::try_from(record.clone()) {
        Err(_) => record.spend(&check, at(now)),
        Ok(mut small) => {
            let decision = told(&small.spend(&check, at(now))?);
            *record = small.into();
            Some(decision)
        }
    }
}

fn told(spent: &Spent<'_>) -> Decision {
    let decision = spent.decision();
    assert_eq!(spent.is_allowed(), decision.is_allowed());
    decision
}

fn question<'a>(policy: &'a Policy, key: &'a str, cost: u64) -> Check<'a> {
    Check::new(policy, Key::new(key).expect("a short key"), cost).expect("a cost within the limit")
}

/// The record of a key as if it had been written under `policy`, which has the same numbers.
fn rewritten(subject: &Subject, policy: &Policy) -> Option<Record> {
    let record = subject.record.as_ref()?;
    Some(Record::decode(&record.encode(), policy).expect("it was just written"))
}
