//! Numbers that come and go: each set of numbers admits no more than it would alone.

use proptest::prelude::*;
use ratelimit_core::{CarryOver, Outcome, fixed_window::Align, store::Record};

use crate::{
    key_under_test::Subject,
    model::Reference,
    rule::{self, Adaptive, Rule, share_of},
    trace::{Course, history, shares, spending, worn},
};

const SECOND: u64 = 1_000_000;
const HOUR: u64 = 3_600 * SECOND;
/// At a whole multiple of every window below, but for those of some hours.
const START: u64 = 1_699_920_000 * SECOND;

/// Two or three sets of numbers of one algorithm.
fn sets() -> impl Strategy<Value = Vec<Rule>> {
    let some = |rules| prop::collection::vec(rules, 2..=3);
    prop_oneof![
        some(rule::fixed_window()),
        some(rule::sliding_window_log()),
        some(rule::sliding_window_counter()),
        some(rule::token_bucket()),
        some(rule::leaky_bucket()),
        some(rule::adaptive()),
        some(rule::in_flight()),
    ]
}

/// The same numbers for a key that has spent nothing under them: it may begin with what it had under
/// others.
fn alone(rule: &Rule) -> Rule {
    match *rule {
        Rule::TokenBucket { capacity, refill, period, .. } => {
            Rule::TokenBucket { capacity, refill, period, initial: capacity }
        }
        other => other,
    }
}

/// Windows that begin with a request begin elsewhere if another set of numbers has begun them. A cap
/// on the entries of a log bounds its memory, and no permits.
fn is_comparable(rule: &Rule) -> bool {
    !matches!(rule, Rule::FixedWindow { align: Align::First, .. } | Rule::Adaptive(_))
        && !rule.is_capped()
}

/// The most permits in any stretch as long as the span of a rule that is not compared with its model;
/// a stretch may touch two windows that begin with a request.
fn most(rule: &Rule) -> u128 {
    match *rule {
        Rule::FixedWindow { limit, .. } => 2 * u128::from(limit),
        Rule::Adaptive(Adaptive { limit, multiplier, .. }) => {
            (u128::from(limit) * u128::from(multiplier) / 1_000_000).max(1)
        }
        _ => u128::MAX,
    }
}

proptest! {
    /// The models know of one set each, and of what was charged under it. So over any stretch of time all
    /// sets together admit no more than the sum of what each would.
    // FAULTS 208.
    #[test]
    fn sets_of_numbers_by_turns_admit_no_more_than_each_alone(
        rules in sets(),
        (start, steps) in spending(),
        turns in prop::collection::vec(0_usize..3, 32),
        proportional in any::<bool>(),
    ) {
        let carry_over = if proportional { CarryOver::Proportional } else { CarryOver::AsIs };
        let policies: Vec<_> =
            rules.iter().map(|rule| rule.policy().with_carry_over(carry_over)).collect();
        let mut alone: Vec<_> = rules.iter().map(|rule| Reference::new(&alone(rule))).collect();
        let mut admitted = vec![Vec::new(); rules.len()];
        let (mut subject, mut now, mut last) = (Subject::new(&rules[0]), start, None);
        for (step, turn) in steps.iter().zip(turns) {
            let (turn, mut course) = (turn % rules.len(), Course::new(&rules[turn % rules.len()], now));
            last.into_iter().for_each(|last| course.saw(last));
            now = course.go(step.wait);
            alone.iter_mut().for_each(|alone| alone.touch(now));
            subject = subject.under(policies[turn].clone());
            let cost = step.cost(subject.limit());
            let decision = subject.spend(now, cost);
            last = Some(decision);
            if !decision.is_allowed() {
                continue;
            }
            if is_comparable(&rules[turn]) {
                let outcome = alone[turn].ask(now, cost);
                let fits = matches!(outcome, Outcome::Allow { .. });
                prop_assert!(fits, "{cost} at {now} under {:?}: {outcome:?}", rules[turn]);
                alone[turn].charge(now, cost);
            }
            admitted[turn].push((now, cost));
            let begin = (now + 1).saturating_sub(rules[turn].span());
            let within = admitted[turn].iter().filter(|&&(at, _)| begin <= at);
            let spent: u128 = within.map(|&(_, cost)| u128::from(cost)).sum();
            prop_assert!(spent <= most(&rules[turn]), "{spent} until {now} under {:?}", rules[turn]);
        }
    }

    /// Whoever reads it, and whatever it keeps.
    #[test]
    fn a_record_with_earlier_states_survives_as_bytes(
        rules in sets(),
        (start, steps) in spending(),
        turns in prop::collection::vec(0_usize..3, 32),
    ) {
        let mut subject = Subject::new(&rules[0]);
        let mut stored = subject.clone();
        let mut course = Course::new(&rules[0], start);
        for (step, turn) in steps.iter().zip(turns) {
            let policy = rules[turn % rules.len()].policy();
            let now = course.go(step.wait);
            [subject, stored] = [&subject, &stored].map(|it| it.under(policy.clone()));
            let cost = step.cost(subject.limit());
            let decision = subject.spend(now, cost);
            prop_assert_eq!(stored.spend(now, cost), decision);
            if let Some(record) = &stored.record {
                let read = Record::decode(&record.encode(), &policy).unwrap();
                prop_assert_eq!(read.encode(), record.encode());
                stored.record = Some(read);
            }
            course.saw(decision);
        }
    }

    /// A store may drop it then: none of the numbers would have remembered anything.
    #[test]
    fn a_record_with_earlier_states_is_not_missed_after_its_lifetime(
        rules in sets(),
        (start, steps) in spending(),
        turns in prop::collection::vec(0_usize..3, 32),
        (turn, later) in (0_usize..3, 0_u64..=1_000_000),
    ) {
        let (mut subject, mut course) =
            (Subject::new(&rules[0]), Course::new(&rules[0], start));
        for (step, turn) in steps.iter().zip(turns) {
            let now = course.go(step.wait);
            subject = subject.under(rules[turn % rules.len()].policy());
            let cost = step.cost(subject.limit());
            course.saw(subject.spend(now, cost));
        }
        let then = course.now + subject.lifetime(course.now) + share_of(HOUR, later);
        let mut changed = subject.under(rules[turn % rules.len()].policy());
        changed.sensor = None;
        let mut dropped = Subject { record: None, ..changed.clone() };
        prop_assert_eq!(changed.spend(then, 1), dropped.spend(then, 1));
    }
}

fn bucket(capacity: u64, period: u64) -> Rule {
    Rule::TokenBucket { capacity, refill: capacity, period, initial: capacity }
}

fn leaky(capacity: u64, period: u64) -> Rule {
    Rule::LeakyBucket { capacity, leak: capacity, period, longest_delay: None }
}

fn window(limit: u64, window: u64) -> Rule {
    Rule::FixedWindow { limit, window, align: Align::Epoch }
}

fn log(limit: u64, window: u64) -> Rule {
    Rule::SlidingWindowLog { limit, window, entries_max: limit }
}

fn counter(limit: u64, window: u64) -> Rule {
    Rule::SlidingWindowCounter { limit, window }
}

/// A key asked for all it has under two sets of numbers by turns, once a second.
fn by_turns(rules: [Rule; 2], seconds: u64) -> [u64; 2] {
    let (mut subject, mut admitted) = (Subject::new(&rules[0]), [0, 0]);
    for second in 0..seconds {
        for (rule, admitted) in rules.iter().zip(&mut admitted) {
            subject = subject.under(rule.policy());
            *admitted += subject.drain(START + second * SECOND);
        }
    }
    admitted
}

/// They were 2,000 of 511, and 10,000 of 1,012.
// FAULTS 208.
#[test]
fn a_key_asked_under_two_sets_of_numbers_by_turns_gets_no_more_than_both() {
    for (rules, bounds) in [
        ([bucket(100, HOUR), bucket(10, SECOND)], [101, 410]),
        ([bucket(10, SECOND), bucket(1_000, 1_000 * SECOND)], [410, 1_040]),
        ([leaky(100, HOUR), leaky(10, SECOND)], [101, 410]),
        ([window(100, HOUR), window(10, SECOND)], [100, 400]),
        ([log(100, HOUR), log(10, SECOND)], [100, 400]),
        ([counter(100, HOUR), counter(10, SECOND)], [100, 400]),
    ] {
        let admitted = by_turns(rules, 40);
        assert!(admitted[0] <= bounds[0] && admitted[1] <= bounds[1], "{admitted:?} {rules:?}");
        assert!(0 < admitted[0] + admitted[1], "{rules:?}");
    }
}

/// It was 90 of 20 left.
// FAULTS 208.
#[test]
fn a_limit_that_is_tightened_and_restored_has_what_it_had() {
    for (rule, tight) in [
        (bucket(1_000, HOUR), bucket(5, SECOND)),
        (leaky(1_000, HOUR), leaky(5, SECOND)),
        (window(1_000, HOUR), window(5, SECOND)),
        (log(1_000, HOUR), log(5, SECOND)),
        (counter(1_000, HOUR), counter(5, SECOND)),
    ] {
        let mut subject = Subject::new(&rule);
        assert!(subject.spend(START, 980).is_allowed());
        let mut tightened = subject.under(tight.policy());
        let _ = tightened.spend(START, 1);
        let restored = tightened.under(rule.policy()).peek(START + 2 * SECOND, 1);
        assert!(restored.remaining <= 20, "{restored:?} {rule:?}");
    }
}

#[test]
fn a_reset_of_every_key_forgets_what_was_kept_as_well() {
    let (rule, other) = (bucket(100, HOUR), bucket(10, SECOND));
    let mut subject = Subject::new(&rule);
    assert!(subject.spend(START, 100).is_allowed());
    let mut anew = subject.under(other.policy().with_carry_over(CarryOver::Reset));
    assert_eq!(anew.spend(START, 1).remaining, 9);
    assert_eq!(anew.under(rule.policy()).peek(START, 1).remaining, 9);
}

/// A step back of the clock delays what is kept as it delays what is not: by a window at most.
#[test]
fn what_is_kept_is_pulled_back_with_the_clock() {
    let (rule, other) = (window(10, HOUR), window(20, SECOND));
    let mut subject = Subject::new(&rule);
    assert!(subject.spend(START, 10).is_allowed());
    let mut changed = subject.under(other.policy());
    let _ = changed.spend(START, 1);
    let earlier = START - 100 * HOUR;
    let _ = changed.spend(earlier, 1);
    assert!(changed.lifetime(earlier) <= HOUR);
    let back = changed.under(rule.policy());
    assert!(!back.peek(earlier + SECOND, 1).is_allowed());
    assert!(back.peek(earlier + HOUR, 1).is_allowed());
}

/// Between two turns of one set of numbers others come, each for a second, in which a key gets back
/// more than the first would have given.
fn remaining_after(others: u64, of: Rule) -> u64 {
    let mut subject = Subject::new(&of);
    let _ = subject.drain(START);
    for other in 1..=others {
        subject = subject.under(bucket(1_000_000 + other, 1_000 * SECOND).policy());
        assert!(!subject.spend(START + (other - 1) * SECOND, 1_000_000).is_allowed());
    }
    subject.under(of.policy()).peek(START + others * SECOND, 1).remaining
}

#[test]
fn of_more_sets_of_numbers_than_four_those_are_kept_that_count_longest() {
    let short = bucket(100, 100 * SECOND);
    assert_eq!(remaining_after(4, short), 4);
    assert_eq!(remaining_after(5, short), 100, "it would have been whole before the others");
    let long = bucket(100, HOUR);
    assert_eq!(remaining_after(20, long), 0);
}

proptest! {
    /// Also the first under numbers that come back, when nothing of those in between counts any more.
    #[test]
    fn a_refund_tells_what_the_next_check_finds(
        (from, to) in rule::changes(),
        history in history(),
        rest in 0_u64..=2_000_000,
        share in shares(),
    ) {
        let (subject, now) = worn(&from, &history);
        let mut between = subject.under(to.policy());
        let _ = between.spend(now, 1);
        let now = now + share_of(to.span(), rest);
        let mut back = between.under(from.policy());
        let cost = 1 + share_of(back.limit() - 1, share);
        let told = back.refund(now, cost);
        let found = back.peek(now, cost);
        prop_assert_eq!(told.remaining, found.remaining);
        prop_assert_eq!(told.reset_after, found.reset_after);
    }
}

/// More sets of numbers than are kept: those that count longest stay.
// FAULTS 208.
#[test]
fn of_many_sets_of_numbers_those_that_count_longest_are_kept() {
    let policy = |limit, window| Rule::FixedWindow { limit, window, align: Align::Epoch }.policy();
    let mut subject = Subject::of(policy(10, 24 * HOUR));
    assert!(subject.spend(START, 10).is_allowed());
    for limit in 11..=16 {
        subject = subject.under(policy(limit, HOUR));
        assert!(subject.spend(START, 1).is_allowed());
    }
    assert_eq!(subject.peek(START + HOUR, 1).remaining, 16);
    assert_eq!(subject.under(policy(10, 24 * HOUR)).peek(START + HOUR, 1).remaining, 0);
}
