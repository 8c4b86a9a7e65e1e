//! A compact state is stepped as the record that it was taken out of.

use proptest::prelude::*;
use ratelimit_core::{Action, Check, Decision, Key, Outcome, store::Record};

use crate::{
    rule,
    subject::{Subject, at},
    trace::{Course, history},
};

proptest! {
    #[test]
    fn a_compact_state_decides_like_its_record(rule in rule::any(), (start, steps) in history()) {
        let (mut kept, mut compact) = (Subject::new(&rule), Subject::new(&rule));
        let mut course = Course::new(&rule, start);
        for step in steps {
            let (now, cost) = (course.go(step.wait), step.cost(kept.limit()));
            let decision = kept.act(step.action, now, cost);
            let spent = if step.action == Action::Spend { spend(&mut compact, now, cost) } else { None };
            let spent = match spent {
                Some(decisions) => {
                    prop_assert_eq!(decisions[0], decisions[1], "a batch of one is one");
                    decisions[0]
                }
                None => compact.act(step.action, now, cost),
            };
            prop_assert_eq!(spent, decision);
            prop_assert_eq!(&compact.record, &kept.record);
            if let Some(Ok((policy, state))) = compact.record.clone().map(Record::into_compact) {
                prop_assert_eq!(state.lifetime(&policy, at(now)).as_micros(), kept.lifetime(now));
            }
            course.saw(decision);
        }
    }
}

/// Spends on the compact state of a known key, if it has one: as a check alone, and as one of a
/// batch.
fn spend(subject: &mut Subject, now: u64, cost: u64) -> Option<[Decision; 2]> {
    let (policy, mut alone) = subject.record.clone()?.into_compact().ok()?;
    let key = Key::new("key").expect("a short key");
    let cost = Check::new(&policy, key, cost).expect("a cost within the limit").cost();
    let mut one_of_many = alone;

    let spent = alone.spend(&policy, cost, at(now)).expect("a compact state");
    let outcome = one_of_many.outcome(&policy, cost, at(now)).expect("a compact state");
    if let Outcome::Allow { .. } = outcome {
        one_of_many.charge(&policy, cost, at(now));
    }
    let decisions = [(alone, spent), (one_of_many, outcome)]
        .map(|(state, outcome)| state.decision(&policy, outcome, at(now)));
    assert_eq!(alone, one_of_many);
    subject.record = Record::from_compact(policy, alone);
    Some(decisions)
}
