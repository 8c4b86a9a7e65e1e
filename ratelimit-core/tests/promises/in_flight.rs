//! Permits in flight against the exact model: a set of holds, each with the instant at which it lapses.

use core::mem::replace;

use proptest::{prelude::*, sample::Index};
use ratelimit_core::{
    CarryOver, ConfigError, Detail, Micros, Outcome, Receipt, WINDOW_MAX,
    in_flight::{self, HELD_MAX},
    store::Record,
};

use crate::{
    rule::{self, Rule, share_of},
    subject::{Subject, reset_after, retry_after},
    trace::shares,
};

const SECOND: u64 = 1_000_000;
const START: u64 = 1_700_000_000 * SECOND;

/// What is asked, of which hold.
#[derive(Clone, Debug)]
enum Ask {
    Acquire(u64),
    /// Gives back a part of a hold, in parts per million above one permit: whether or not it was given
    /// back before, or has lapsed.
    Release(Index, u64),
    Extend(Index),
    /// Gives back by the receipt of a key of another policy.
    ReleaseForeign(Index),
    /// Gives back without a receipt.
    Refund(u64),
    /// Goes on under the other numbers.
    Change,
    /// Lets the store drop the record, if it may.
    Forget,
}

fn asks() -> impl Strategy<Value = Vec<(i64, Ask)>> {
    let ask = prop_oneof![
        8 => shares().prop_map(Ask::Acquire),
        6 => (any::<Index>(), shares()).prop_map(|(index, part)| Ask::Release(index, part)),
        2 => any::<Index>().prop_map(Ask::Extend),
        1 => any::<Index>().prop_map(Ask::ReleaseForeign),
        1 => shares().prop_map(Ask::Refund),
        1 => Just(Ask::Change),
        2 => Just(Ask::Forget),
    ];
    // Parts per million of the longest hold.
    let wait = prop_oneof![
        4 => Just(0),
        4 => 0_i64..=400_000,
        1 => 0_i64..=1_200_000,
        1 => -1_000_000_i64..=0,
    ];
    prop::collection::vec((wait, ask), 1..60)
}

/// A hold that was made: gone once nothing is left of its cost.
#[derive(Clone, Debug)]
struct Hold {
    at: u64,
    length: u64,
    cost: u64,
    receipt: Receipt,
}

impl Hold {
    fn end(&self) -> u64 {
        self.at + self.length
    }
}

/// All holds that were ever made.
#[derive(Debug, Default)]
struct Model(Vec<Hold>);

impl Model {
    fn live(&self, now: u64) -> impl Iterator<Item = &Hold> {
        self.0.iter().filter(move |hold| now < hold.end())
    }

    fn held(&self, now: u64) -> u64 {
        self.live(now).map(|hold| hold.cost).sum()
    }

    fn rewind(&mut self, now: u64) {
        self.0.iter_mut().for_each(|hold| hold.at = hold.at.min(now));
    }

    /// Microseconds until a request of `cost` fits, if nobody gives anything back.
    fn retry_after(&self, limit: u64, cost: u64, now: u64) -> u64 {
        let mut ends: Vec<_> = self.live(now).map(Hold::end).collect();
        ends.push(now);
        ends.sort_unstable();
        let first = ends.into_iter().find(|&end| self.held(end) + cost <= limit);
        first.expect("all of them lapse") - now
    }

    fn reset_after(&self, now: u64) -> u64 {
        let held = self.live(now).filter(|hold| 0 < hold.cost);
        held.map(|hold| hold.end() - now).max().unwrap_or(0)
    }
}

proptest! {
    /// A hold counts from when it is made until it is given back or lapses, and each counts for itself.
    #[test]
    fn permits_are_held_as_the_model_says_and_never_more_than_the_limit(
        rules in [rule::in_flight(), rule::in_flight()],
        asks in asks(),
        resets in any::<bool>(),
    ) {
        let rule = if resets { CarryOver::Proportional } else { CarryOver::AsIs };
        let policy = |rules: &[Rule; 2]| rules[0].policy().with_carry_over(rule);
        let mut rules = rules;
        let mut subject = Subject::of(policy(&rules));
        let mut foreign = Subject::of(rules[0].named("other"));
        let (mut model, mut now, mut earliest) = (Model::default(), START, START / 2);
        for (wait, ask) in asks {
            let length = share_of(rules[0].span(), wait.unsigned_abs());
            // What does not ask the store pulls nothing back.
            let is_back = wait < 0 && !matches!(ask, Ask::Change | Ask::Forget);
            let then = if is_back { now - length } else { now + length };
            // A store keeps what is over for as long as its clock may step back.
            now = then.max(earliest);
            let limit = subject.limit();
            let pick = |model: &Model, index: Index| {
                (!model.0.is_empty()).then(|| index.index(model.0.len()))
            };
            model.rewind(now);
            match ask {
                Ask::Acquire(share) => {
                    let cost = 1 + share_of(limit - 1, share);
                    let fits = model.held(now) + cost <= limit;
                    let wait = model.retry_after(limit, cost, now);
                    let decision = subject.spend(now, cost);
                    prop_assert_eq!(decision.is_allowed(), fits);
                    prop_assert_eq!(retry_after(&decision), wait);
                    if fits {
                        let (receipt, length) = (subject.receipt(&decision, cost), rules[0].span());
                        model.0.push(Hold { at: now, length, cost, receipt });
                        prop_assert!(model.held(now) <= limit);
                    }
                }
                Ask::Release(index, part) => {
                    let Some(index) = pick(&model, index) else { continue };
                    let hold = &mut model.0[index];
                    let part = (1 + share_of(hold.cost.max(1) - 1, part)).min(limit);
                    let _ = subject.settle(now, part, hold.receipt);
                    hold.cost = if now < hold.end() { hold.cost.saturating_sub(part) } else { hold.cost };
                }
                Ask::Extend(index) => {
                    let Some(index) = pick(&model, index) else { continue };
                    let hold = model.0[index].clone();
                    let is_held = now < hold.end() && 0 < hold.cost;
                    let wait = model.retry_after(limit, 1, now);
                    let decision = subject.extend(now, 1, hold.receipt);
                    let wanted = if is_held {
                        Outcome::Allow { delay: Micros::ZERO }
                    } else {
                        Outcome::Deny { retry_after: Micros::new(wait) }
                    };
                    prop_assert_eq!(decision.outcome(), wanted);
                    if is_held {
                        // A holder may keep the old receipt, too.
                        let receipt =
                            if index % 2 == 0 { hold.receipt } else { hold.receipt.extended(&decision) };
                        model.0[index] = Hold { at: now, length: rules[0].span(), receipt, ..hold };
                    }
                }
                Ask::ReleaseForeign(index) => {
                    let spent = foreign.spend(now, 1);
                    let own = pick(&model, index).map(|index| model.0[index].receipt);
                    let receipt = foreign.receipt(&spent, 1);
                    let before = foreign.peek(now, 1).remaining;
                    let _ = subject.settle(now, limit, receipt);
                    if let Some(own) = own {
                        let _ = foreign.settle(now, 1, own);
                    }
                    prop_assert_eq!(foreign.peek(now, 1).remaining, before);
                }
                Ask::Refund(share) => drop(subject.refund(now, 1 + share_of(limit - 1, share))),
                Ask::Change => {
                    rules.swap(0, 1);
                    subject = subject.under(policy(&rules));
                }
                Ask::Forget if subject.lifetime(now) == 0 => subject.record = None,
                Ask::Forget => {
                    let bytes = subject.record.as_ref().map(Record::encode).unwrap_or_default();
                    subject.record = Record::decode(&bytes, &subject.policy).ok();
                }
            }
            if subject.lifetime(now) == 0 {
                earliest = now;
            }
            earliest = model.0.iter().map(Hold::end).filter(|&end| end <= now).fold(earliest, u64::max);
            let seen = subject.peek(now, 1);
            let Detail::InFlight(in_flight::Detail { held, .. }) = subject.detail(&seen) else {
                panic!("the policy is of permits in flight")
            };
            prop_assert_eq!(held, model.held(now));
            prop_assert_eq!(seen.remaining, subject.limit().saturating_sub(held));
            prop_assert_eq!(reset_after(&seen), model.reset_after(now));
        }
    }
}

fn of(limit: u64) -> Subject {
    Subject::new(&Rule::InFlight { limit, held_at_most: 10 * SECOND })
}

/// Acquires a permit, and returns its receipt.
#[track_caller]
fn acquire(subject: &mut Subject, now: u64) -> Receipt {
    let decision = subject.spend(now, 1);
    assert!(decision.is_allowed(), "{decision:?}");
    subject.receipt(&decision, 1)
}

#[test]
fn holds_of_one_instant_are_told_apart() {
    let mut subject = of(3);
    let [first, second, third] = [(); 3].map(|()| acquire(&mut subject, START));
    assert!(!subject.spend(START, 1).is_allowed());
    for _ in 0..3 {
        assert_eq!(subject.settle(START, 1, second).remaining, 1, "once, whoever says it again");
    }
    assert_eq!(subject.settle(START, 1, first).remaining, 2);
    assert_eq!(subject.settle(START, 1, third).remaining, 3);
}

#[test]
fn a_number_is_not_given_again_when_a_store_has_dropped_the_record() {
    let mut subject = of(3);
    let early = acquire(&mut subject, START);
    let _ = subject.settle(START, 1, early);
    assert_eq!(subject.lifetime(START), 1, "not in the same microsecond");
    assert_eq!(subject.lifetime(START + 1), 0);
    subject.record = None;
    let _ = acquire(&mut subject, START + 1);
    assert_eq!(subject.settle(START + 1, 1, early).remaining, 2, "a double release is nobody's");
}

#[test]
fn a_decision_that_charged_nothing_gives_no_receipt_of_others() {
    let mut subject = of(2);
    let held = [(); 2].map(|()| acquire(&mut subject, START));
    let denied = subject.spend(START + 1, 1);
    let peeked = subject.peek(START + 1, 1);
    for decision in [denied, peeked] {
        let receipt = subject.receipt(&decision, 1);
        assert_eq!(subject.settle(START + 1, 1, receipt).remaining, 0);
    }
    assert_eq!(subject.settle(START + 1, 1, held[0]).remaining, 1);
}

#[test]
fn a_hold_lapses_at_its_instant_and_not_a_microsecond_before() {
    let mut subject = of(1);
    let receipt = acquire(&mut subject, START);
    let denied = subject.spend(START + SECOND, 1);
    assert_eq!(retry_after(&denied), 9 * SECOND);
    assert!(!subject.peek(START + 10 * SECOND - 1, 1).is_allowed());
    let late = START + 10 * SECOND;
    let _ = acquire(&mut subject, late);
    assert_eq!(subject.settle(late, 1, receipt).remaining, 0, "late: it is another's by now");
    assert!(!subject.extend(late, 1, receipt).is_allowed());
}

#[test]
fn an_extended_hold_lapses_as_if_it_were_made_then() {
    let mut subject = of(2);
    let long = acquire(&mut subject, START);
    let _ = acquire(&mut subject, START + 5 * SECOND);
    let decision = subject.extend(START + 9 * SECOND, 1, long);
    assert!(decision.is_allowed());
    let long = long.extended(&decision);
    assert_eq!(subject.peek(START + 15 * SECOND, 1).remaining, 1, "the other one has lapsed");
    assert_eq!(reset_after(&subject.peek(START + 15 * SECOND, 1)), 4 * SECOND);
    assert_eq!(subject.settle(START + 15 * SECOND, 1, long).remaining, 2);
}

#[test]
fn an_extension_without_a_receipt_and_of_an_unknown_key_is_denied_and_leaves_nothing() {
    let mut subject = of(2);
    let receipt = acquire(&mut subject, START);
    let mut unknown = of(2);
    assert!(!unknown.extend(START, 1, receipt).is_allowed());
    assert!(unknown.record.is_none());
    let before = subject.record.clone();
    let denied = subject.act(ratelimit_core::Action::Extend, START + 1, 1);
    assert_eq!(denied.outcome(), Outcome::Deny { retry_after: Micros::ZERO });
    assert_eq!(subject.record, before);
}

#[test]
fn charges_of_other_algorithms_are_not_held_and_an_extension_leaves_them() {
    for rule in rule::one_of_each().into_iter().filter(|rule| !rule.is_in_flight()) {
        let mut subject = Subject::new(&rule);
        let spent = subject.spend(START, 1);
        let (receipt, before) = (subject.receipt(&spent, 1), subject.record.clone());
        assert!(subject.extend(START + 1, 1, receipt).is_allowed(), "{rule:?}");
        assert_eq!(subject.record, before, "{rule:?}");
    }
}

#[test]
fn a_lowered_limit_waits_until_enough_is_given_back() {
    let mut subject = of(4);
    let held = [(); 4].map(|()| acquire(&mut subject, START));
    let mut lowered = subject.under(Rule::InFlight { limit: 2, held_at_most: SECOND }.policy());
    for (released, receipt) in (1..).zip(held) {
        let seen = lowered.settle(START + 2 * SECOND, 1, receipt);
        assert_eq!(seen.remaining, [0, 0, 1, 2][released - 1], "holds end as when they were made");
    }
    let _ = acquire(&mut lowered, START + 2 * SECOND);
    assert_eq!(reset_after(&lowered.peek(START + 2 * SECOND, 1)), SECOND);
}

#[test]
fn holds_are_given_back_when_the_clock_has_stepped_back() {
    let mut subject = of(2);
    let [first, second] = [(); 2].map(|()| acquire(&mut subject, START));
    let back = START - 60 * SECOND;
    let denied = subject.spend(back, 1);
    assert_eq!(retry_after(&denied), 10 * SECOND, "one hold's length at most");
    assert_eq!(subject.settle(back, 1, first).remaining, 1);
    assert!(subject.extend(back, 1, second).is_allowed());
    let third = acquire(&mut subject, back);
    assert_eq!(subject.settle(back, 1, first).remaining, 0);
    assert_eq!(subject.settle(back, 1, third).remaining, 1);
}

#[test]
fn a_penalty_is_a_hold_that_lapses() {
    let mut subject = of(4);
    let charged = subject.act(ratelimit_core::Action::Penalize, START, 3);
    assert_eq!((charged.remaining, reset_after(&charged)), (1, 10 * SECOND));
    assert_eq!(subject.peek(START + 10 * SECOND, 1).remaining, 4);
}

#[test]
fn the_numbers_have_their_bounds() {
    let of = |limit, micros| {
        in_flight::Quota::new(limit, core::time::Duration::from_micros(micros)).map(|_| ())
    };
    let (longest, field) = (WINDOW_MAX.as_micros(), "held_at_most");
    assert_eq!(of(HELD_MAX, longest), Ok(()));
    assert_eq!(of(0, 1), Err(ConfigError::ZeroLimit { field: "limit" }));
    let too_large = ConfigError::LimitTooLarge { field: "limit", max: HELD_MAX };
    assert_eq!(of(HELD_MAX + 1, 1), Err(too_large));
    assert_eq!(of(1, 0), Err(ConfigError::ZeroWindow { field }));
    assert_eq!(of(1, longest + 1), Err(ConfigError::WindowTooLong { field, max: WINDOW_MAX }));
}

#[test]
fn words_of_holds_that_no_step_leaves_are_refused() {
    let mut subject = of(4);
    let _ = [(); 2].map(|()| acquire(&mut subject, 100));
    let record = subject.record.take().expect("it is known");
    let (header, words) = (record.header(), record.words());
    assert_eq!(words, [102, 100, 2, 2, 100, 10 * SECOND, 101, 1, 100, 10 * SECOND, 102, 1]);
    for (place, other) in [
        (0, 101),
        (1, 99),
        (2, 3),
        (2, 1),
        (3, 1),
        (3, 3),
        (4, 101),
        (5, 0),
        (5, 10 * SECOND + 1),
        (5, WINDOW_MAX.as_micros() + 1),
        (6, 0),
        (6, 103),
        (7, 0),
        (7, 2),
    ] {
        let mut altered = words.clone();
        let before = replace(&mut altered[place], other);
        let read = Record::from_words(&header, &altered, &subject.policy);
        assert!(read.is_err(), "{other} in place of {before} at {place}");
    }
}

/// Memory is not kept for the most that was ever held.
#[test]
fn ten_thousand_holds_come_and_go() {
    let mut subject = of(HELD_MAX);
    let held: Vec<_> = (0..HELD_MAX).map(|_| acquire(&mut subject, START)).collect();
    assert!(!subject.spend(START, 1).is_allowed());
    for (left, receipt) in (1..).zip(held) {
        assert_eq!(subject.settle(START + 1, 1, receipt).remaining, left);
    }
    assert_eq!(subject.lifetime(START + HELD_MAX), 0);
}
