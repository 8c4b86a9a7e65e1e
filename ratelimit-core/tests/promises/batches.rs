//! Several checks as one: all of them are charged, or none is.

use proptest::prelude::*;
use ratelimit_core::{
    Action, AdaptiveLayer, Batch, Check, Decision, Detail, Key, Outcome, Policy, StateError,
    adaptive::{self, Scope},
    store::{Record, apply},
};

use crate::{
    key_under_test::{Subject, at, retry_after},
    model::{Answer, Reference, Sensor},
    rule::{self, Adaptive, Rule, one_of_each, share_of},
    trace::{Course, history, shares, spending},
};

/// Policies with two keys each, all asked together; the records are in the order of the slots.
struct Group {
    policies: Vec<Policy>,
    records: Vec<Option<Record>>,
}

impl Group {
    fn new(rules: &[Rule]) -> Self {
        let name = |index: usize| format!("policy-{index}");
        let policies = rules.iter().enumerate();
        let policies: Vec<_> = policies.map(|(index, rule)| rule.named(&name(index))).collect();
        let shared = rules.iter().filter(|rule| rule.is_shared()).count();
        Self { records: vec![None; 2 * policies.len() + shared], policies }
    }

    fn ask(&mut self, action: Action, now: u64, share: u64) -> Vec<Decision> {
        let keys = ["a", "b"].map(|key| Key::new(key).expect("a short key"));
        let check = |(policy, key)| {
            let cost = cost(policy, share);
            Check::new(policy, key, cost).expect("a cost within the limit")
        };
        let pairs = self.policies.iter().flat_map(|policy| keys.map(|key| (policy, key)));
        let checks: Vec<_> = pairs.map(check).collect();
        let batch = Batch::new(&checks).expect("no key is asked twice");
        assert_eq!(batch.slots().count(), self.records.len());
        apply(batch, action, &mut self.records, at(now))
            .expect("records are of their rule")
            .to_vec()
    }

    fn peek(&mut self, now: u64, share: u64) -> Vec<Decision> {
        let records = self.records.clone();
        let decisions = self.ask(Action::Peek, now, share);
        self.records = records;
        decisions
    }
}

fn cost(policy: &Policy, share: u64) -> u64 {
    1 + share_of(policy.limit() - 1, share)
}

/// The same group of models: first all are asked, then all are charged.
struct References(Vec<[Reference; 2]>);

impl References {
    fn spend(&mut self, now: u64, costs: &[u64]) -> Vec<Answer> {
        let asked =
            |(pair, cost): (&[Reference; 2], &u64)| pair.each_ref().map(|key| key.ask(now, *cost));
        let outcomes: Vec<_> = self.0.iter().zip(costs).flat_map(asked).collect();
        let all_fit = outcomes.iter().all(|outcome| matches!(outcome, Outcome::Allow { .. }));
        for (pair, &cost) in self.0.iter_mut().zip(costs) {
            for key in &mut *pair {
                key.touch(now);
                if all_fit {
                    key.charge(now, cost);
                }
            }
            share_load(pair, now, all_fit);
        }
        let keys = self.0.iter().flatten();
        keys.zip(outcomes).map(|(key, outcome)| key.answer(now, outcome)).collect()
    }
}

/// Each key counted its own request in a sensor that both share.
fn share_load([first, second]: &mut [Reference; 2], now: u64, is_charged: bool) {
    let Some(sensor) = &mut first.shared else { return };
    if is_charged {
        Sensor::add(sensor, now, 1);
    }
    second.shared.clone_from(&first.shared);
}

proptest! {
    #[test]
    fn a_batch_answers_as_its_models_do_one_after_the_other(
        rules in prop::collection::vec(prop_oneof![3 => rule::any(), 1 => rule::adaptive()], 1..4),
        (start, steps) in history(),
    ) {
        let mut group = Group::new(&rules);
        let pair = |rule| [Reference::new(rule), Reference::new(rule)];
        let mut references = References(rules.iter().map(pair).collect());
        let mut course = Course::new(&rules[0], start);
        for step in steps {
            let now = course.go(step.wait);
            let costs: Vec<_> =
                group.policies.iter().map(|policy| cost(policy, step.share)).collect();
            let decisions = group.ask(Action::Spend, now, step.share);
            let expected = references.spend(now, &costs);
            let answers: Vec<_> = decisions.iter().copied().map(Answer::from).collect();
            prop_assert_eq!(answers, expected, "{:?} at {}", step, now);
            course.saw(decisions[0]);
        }
    }

    /// Two kinds may deny once more after the wait for another limit, for a span at most: a bucket that
    /// starts low, and is forgotten meanwhile; and a log whose entries are capped, to whose newest entry
    /// the request would have been added now, and is not later.
    #[test]
    fn a_batch_that_is_denied_fits_after_its_wait(
        rules in prop::collection::vec(rule::any(), 1..4),
        (start, steps) in spending(),
        share in shares(),
    ) {
        let odd: Vec<_> =
            rules.iter().filter(|rule| rule.starts_low() || rule.is_capped()).collect();
        prop_assume!(odd.len() <= 1);
        let mut group = Group::new(&rules);
        let mut course = Course::new(&rules[0], start);
        for step in steps {
            let now = course.go(step.wait);
            course.saw(group.ask(Action::Spend, now, step.share)[0]);
        }
        let wait = |decisions: &[Decision]| decisions.iter().map(retry_after).max().unwrap_or(0);
        let first = wait(&group.ask(Action::Spend, course.now, share));
        if first == 0 {
            return Ok(());
        }
        let then = course.now + first;
        let again = group.ask(Action::Spend, then, share);
        let second = wait(&again);
        if 0 < second {
            let odd = odd.first().expect("all others keep their promise");
            // It has rested since it was last charged, or since it was first asked for.
            prop_assert!(!odd.starts_low() || 2 * odd.span() <= then - start + 1, "{again:?}");
            prop_assert!(second <= odd.span(), "{again:?}");
            let third = group.ask(Action::Spend, then + second, share);
            prop_assert!(third.iter().all(Decision::is_allowed), "{third:?}");
        }
    }

    #[test]
    fn a_batch_that_is_denied_answers_and_leaves_everything_as_a_peek_does(
        rules in prop::collection::vec(rule::any(), 1..4),
        (start, steps) in history(),
    ) {
        let mut group = Group::new(&rules);
        let mut course = Course::new(&rules[0], start);
        for step in steps {
            let now = course.go(step.wait);
            let peeked = group.peek(now, step.share);
            let spent = group.ask(Action::Spend, now, step.share);
            if !spent.iter().all(Decision::is_allowed) {
                prop_assert_eq!(&spent, &peeked);
                prop_assert_eq!(group.peek(now, step.share), peeked);
            }
            course.saw(spent[0]);
        }
    }
}

// FAULTS 46.
#[test]
fn the_third_denies_and_none_is_charged() {
    let now = 1_700_000_000_000_000;
    for rule in one_of_each().into_iter().filter(|rule| !rule.is_shared()) {
        let policies = ["first", "second", "third"].map(|name| rule.named(name));
        let key = Key::new("key").expect("a short key");
        let exhausted = &policies[2];
        let mut records = [None, None, None];
        loop {
            let check = Check::new(exhausted, key, 1).expect("one permit");
            let spent = apply(Batch::one(&check), Action::Spend, &mut records[2..], at(now));
            if !spent.expect("a record of its own")[0].is_allowed() {
                break;
            }
        }
        let checks = policies.each_ref().map(|policy| Check::new(policy, key, 1).expect("one"));
        let batch = Batch::new(&checks).expect("three names");
        for _ in 0..3 {
            let decisions = apply(batch, Action::Spend, &mut records, at(now));
            let decisions = decisions.expect("records of their own");
            let allowed = [0, 1, 2].map(|index: usize| decisions[index].is_allowed());
            assert_eq!(allowed, [true, true, false], "{rule:?}");
            let fresh = apply(batch, Action::Peek, &mut [None, None, None], at(now));
            let fresh = fresh.expect("no records");
            assert_eq!(decisions[0].remaining, fresh[0].remaining, "{rule:?}");
            assert_eq!(decisions[1].remaining, fresh[1].remaining, "{rule:?}");
        }
    }
}

// FAULTS 205.
#[test]
fn keys_that_share_a_sensor_share_its_load_and_nothing_else() {
    for (scope, expected) in [(Scope::PerKey, 20), (Scope::Shared, 10)] {
        let rule = Rule::Adaptive(Adaptive::new(10, 1_000_000, scope));
        let (other, now) = beside_a_busy_key(&rule);
        assert_eq!(effective_burst(&other, now), expected, "{scope:?}");
    }
}

// FAULTS 205.
#[test]
fn a_sensor_takes_no_more_room_after_a_million_events() {
    let rule = Rule::Adaptive(Adaptive::new(10, 1_000_000, Scope::Shared));
    let mut subject = Subject::new(&rule);
    let mut longest = 0;
    for request in 0..1_000_000_u64 {
        let _ = subject.spend(1_700_000_000_000_000 + request * 1_000, 1);
        if request.is_multiple_of(10_000) {
            let sensor = subject.sensor.as_ref().expect("it was fed");
            longest = longest.max(sensor.encode().len());
        }
    }
    // 64 counts, of one to three bytes each here, and what belongs to them.
    assert!(longest < 64 * 4, "{longest} bytes");
}

/// A key never seen, and the time, after another key of its policy has made a high load.
fn beside_a_busy_key(rule: &Rule) -> (Subject, u64) {
    let (mut busy, start) = (Subject::new(rule), 1_700_000_000_000_000);
    for request in 0..200 {
        let _ = busy.spend(start + request * 50_000, 1);
    }
    (Subject { record: None, ..busy }, start + 10_000_000)
}

/// The burst of an adaptive hybrid, of a key that has not spent.
fn effective_burst(subject: &Subject, now: u64) -> u64 {
    let Detail::Adaptive(adaptive::Detail { layer, effective_burst, used, tokens, .. }) =
        subject.look(now)
    else {
        unreachable!("the rule is adaptive")
    };
    assert_eq!((layer, used, tokens), (AdaptiveLayer::SlidingWindow, 0, effective_burst));
    effective_burst
}

#[test]
fn a_reset_of_one_key_leaves_the_load_that_others_made() {
    let rule = Rule::Adaptive(Adaptive::new(10, 1_000_000, Scope::Shared));
    let (mut other, now) = beside_a_busy_key(&rule);
    let before = other.peek(now, 1);
    let _ = other.reset(now);
    assert_eq!(other.peek(now, 1), before);
}

#[test]
fn no_batch_asks_twice_about_one_name_and_key() {
    let [rule, other, ..] = one_of_each();
    let (policy, same_name, other_name) = (rule.named("a"), other.named("a"), rule.named("b"));
    let [first, second] = ["x", "y"].map(|key| Key::new(key).expect("a short key"));
    let numbers: Vec<_> = (0..100_u32).map(u32::to_be_bytes).collect();
    let check = |number| Check::new(&policy, Key::new(number).expect("a short key"), 1);
    let others: Vec<_> = numbers.iter().map(|number| check(number).expect("one permit")).collect();
    let batch = |pairs: [(&Policy, Key<'_>); 2]| {
        let few = pairs.map(|(policy, key)| Check::new(policy, key, 1).expect("one permit"));
        // Among many others, first and last, it is the same.
        let many = [&few[..1], &others, &few[1..]].concat();
        let is_fit = Batch::new(&few).is_some();
        assert_eq!(Batch::new(&many).is_some(), is_fit);
        is_fit
    };
    assert!(!batch([(&policy, first), (&policy, first)]));
    assert!(!batch([(&policy, first), (&same_name, first)]));
    assert!(batch([(&policy, first), (&policy, second)]));
    assert!(batch([(&policy, first), (&other_name, first)]));
    assert!(Batch::new(&[]).is_some());
}

#[test]
fn what_is_no_sensor_is_not_read_as_one() {
    let rule = Rule::Adaptive(Adaptive::new(10, 1_000_000, Scope::Shared));
    let mut subject = Subject::new(&rule);
    assert!(subject.spend(0, 1).is_allowed());
    subject.sensor.clone_from(&subject.record);
    let error = subject.try_act(Action::Spend, 0, 1).expect_err("a key's state is no sensor");
    assert!(matches!(error, StateError::Algorithm { want: "load sensor", .. }), "{error:?}");
}
