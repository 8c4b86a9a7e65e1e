//! Permits in flight, case by case.

use core::mem::replace;

use ratelimit_core::{
    ConfigError, Micros, Outcome, Receipt, WINDOW_MAX,
    in_flight::{self, HELD_MAX},
    store::Record,
};

use crate::{
    key_under_test::{Subject, reset_after, retry_after},
    rule::{self, Rule},
};

const SECOND: u64 = 1_000_000;
const START: u64 = 1_700_000_000 * SECOND;

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
fn a_peek_gives_no_receipt_of_what_others_hold() {
    let mut subject = of(3);
    let [first, _] = [(); 2].map(|()| acquire(&mut subject, START));
    for later in [1, 2] {
        let peeked = subject.peek(START + later, 1);
        let receipt = subject.receipt(&peeked, 1);
        assert_eq!(subject.settle(START + later, 1, receipt).remaining, 1, "{later}");
        assert!(subject.extend(START + 2, 1, first).is_allowed());
    }
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
fn a_hold_that_has_lapsed_is_not_extended_though_nobody_has_dropped_it() {
    let mut subject = of(2);
    let first = acquire(&mut subject, START);
    let second = acquire(&mut subject, START + SECOND);
    let late = START + 10 * SECOND;
    assert!(!subject.extend(late, 1, first).is_allowed());
    assert!(subject.extend(late, 1, second).is_allowed());
    assert_eq!(subject.peek(late, 1).remaining, 1);
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
fn in_no_window_all_of_it_is_back() {
    assert_eq!(of(1).policy.window(), None);
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
    let mut of_nothing = words;
    [of_nothing[7], of_nothing[11]] = [0, 2];
    assert!(Record::from_words(&header, &of_nothing, &subject.policy).is_err());
}

#[test]
fn what_is_read_has_the_bounds_of_what_is_held() {
    let mut subject = of(HELD_MAX);
    let _ = acquire(&mut subject, 100);
    let record = subject.record.take().expect("it is known");
    let last_max = (1 << 53) - 1;
    for (last, held, is_read) in [
        (last_max, HELD_MAX, true),
        (last_max + 1, HELD_MAX, false),
        (last_max, HELD_MAX + 1, false),
    ] {
        let mut words = record.words();
        [words[0], words[2], words[7]] = [last, held, held];
        let read = Record::from_words(&record.header(), &words, &subject.policy);
        assert_eq!(read.is_ok(), is_read, "{last} {held}");
    }
}

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
