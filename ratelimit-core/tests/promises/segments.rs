//! Logs in pieces: together they say what the whole does, and with a part merged what its bounds
//! are.

use proptest::{prelude::*, sample::Index};
use ratelimit_core::{
    Action, Decision, Micros, Outcome, StateError, Timestamp,
    store::{LogSegment, Record},
};

use crate::{
    key_under_test::{Subject, at, retry_after},
    rule::{self, Adaptive, Rule, share_of},
    trace::{history, logged, shares, worn},
};

#[test]
fn entries_are_refused_unless_they_are_in_order() {
    let rule = Rule::SlidingWindowLog { limit: 9, window: 10, entries_max: 9 };
    let record = log_of_two(&rule);
    let log = |entries: &[(u64, u64)]| {
        let entries = entries.iter().map(|&(micros, cost)| (at(micros), cost, 1));
        let record = record.clone().with_log(LogSegment::from_entries(entries)?);
        record.map(|mut record| entries_of(&record.take_log().expect("it has a log")))
    };
    assert_eq!(log(&[(5, 1), (6, 2), (9, 3)]), Ok(vec![(at(5), 1), (at(6), 2), (at(9), 3)]));
    assert_eq!(log(&[]), Ok(vec![]));
    assert_eq!(log(&[(5, 1), (5, 1)]), Err(StateError::Corrupt));
    assert_eq!(log(&[(6, 1), (5, 1)]), Err(StateError::Corrupt));
    assert_eq!(log(&[(5, 0)]), Err(StateError::Corrupt));
    assert_eq!(log(&[(5, u64::MAX), (6, 1)]), Err(StateError::Corrupt));
}

fn entries_of(log: &LogSegment) -> Vec<(Timestamp, u64)> {
    log.entries().collect()
}

/// All entries from the first to the last, and one that stands for so many.
#[test]
fn entries_that_stand_for_several_count_as_many_until_they_leave() {
    let rule = Rule::SlidingWindowLog { limit: 100, window: 10, entries_max: 9 };
    let mut subject = Subject::new(&rule);
    assert!(subject.spend(1, 1).is_allowed());
    let mut record = subject.record.take().expect("it has been spent on");
    assert!(record.take_log().is_some());
    let parts = [(at(1), 1, 1), (at(2), 3, 3), (at(4), 4, 4), (at(6), 1, 1)];
    let log = LogSegment::from_entries(parts).expect("in order");
    subject.record = record.with_log(log).ok();
    for (now, live) in [(7, 9), (10, 9), (11, 8), (12, 5), (14, 1), (16, 0)] {
        let decision = subject.peek(now, 1);
        assert_eq!(decision.is_allowed(), live < 9, "{now}");
    }
}

#[test]
fn bytes_that_are_more_or_less_than_a_segment_are_refused() {
    let bytes = LogSegment::from_entries([(at(5), 1, 1)]).expect("an entry").encode();
    assert!(LogSegment::decode(&bytes).is_ok());
    assert_eq!(LogSegment::decode(&bytes[1..]), Err(StateError::Corrupt));
    assert_eq!(LogSegment::decode(&[&bytes[..], &[0]].concat()), Err(StateError::Corrupt));
}

/// A record whose log has entries of the times one and four.
fn log_of_two(rule: &Rule) -> Record {
    let mut subject = Subject::new(rule);
    for now in [1, 4] {
        assert!(subject.spend(now, 2).is_allowed());
    }
    subject.record.expect("it has been spent on")
}

proptest! {
    #[test]
    fn a_log_is_put_together_as_it_was_taken_apart(
        rule in rule::any(),
        history in history(),
        blocked in any::<bool>(),
        cuts in prop::collection::vec(0_usize..6, 0..6),
    ) {
        let (mut subject, now) = worn(&rule, &history);
        if blocked {
            let _ = subject.block(now, 1_000);
        }
        let Some(record) = subject.record else { return Ok(()) };
        let mut rest = record.clone();
        let Some(log) = rest.take_log() else {
            let has_log = matches!(rule, Rule::SlidingWindowLog { .. } | Rule::Adaptive(_));
            prop_assert!(!has_log);
            prop_assert_eq!(&rest, &record);
            prop_assert_eq!(rest.with_log(LogSegment::default()), Err(StateError::Corrupt));
            return Ok(());
        };
        let mut entries = entries_of(&log);
        let mut pieces: Vec<_> =
            cuts.iter().map(|&cut| entries.drain(..cut.min(entries.len())).collect()).collect();
        pieces.push(entries);
        let one = |&(at, cost): &_| (at, cost, 1);
        let read = |piece: &Vec<_>| {
            let piece = LogSegment::from_entries(piece.iter().map(one)).expect("in order");
            entries_of(&LogSegment::decode(&piece.encode()).expect("what was encoded"))
        };
        let all: Vec<_> = pieces.iter().flat_map(read).collect();
        let log = LogSegment::from_entries(all.iter().map(one)).expect("in order");
        let whole = rest.with_log(log).map(|record| record.encode());
        prop_assert_eq!(whole, Ok(record.encode()));
    }

    /// Merged as early as may be and as late, entries tell between which moments the decision is.
    #[test]
    fn merged_entries_bound_the_decision_about_all(
        (limit, window) in (1_u64..300, 1_u64..1_000_000),
        is_behind_a_bucket: bool,
        charges in prop::collection::vec((shares(), shares()), 4..40),
        (first, last, share) in (any::<Index>(), any::<Index>(), shares()),
    ) {
        let rule = if is_behind_a_bucket {
            Rule::Adaptive(Adaptive::new(limit, window, Default::default()))
        } else {
            Rule::SlidingWindowLog { limit, window, entries_max: limit.min(20) }
        };
        let (mut subject, now) = logged(&rule, window / 20, limit / 12, &charges);
        let mut rest = subject.record.take().expect("the first is admitted");
        let (now, cost) = (now + 1, 1 + share_of(subject.limit() - 1, share));
        let mut oldest = entries_of(&rest.take_log().expect("it has a log"));
        oldest.retain(|&(then, _)| now - then.as_micros() < window);
        let mut middle = oldest.split_off(first.index(oldest.len().max(1)));
        let newest = middle.split_off(last.index(middle.len().max(1)));
        if [&oldest, &middle, &newest].into_iter().any(Vec::is_empty) {
            return Ok(());
        }
        let one = |&(at, cost): &_| (at, cost, 1);
        let mut told = |middle: Vec<_>| {
            let entries = oldest.iter().map(one).chain(middle).chain(newest.iter().map(one));
            let log = LogSegment::from_entries(entries).expect("in order");
            subject.record = rest.clone().with_log(log).ok();
            subject.act(Action::Peek, now, cost)
        };
        let whole = told(middle.iter().map(one).collect());
        let (all, entries) = (middle.iter().map(|&(_, cost)| cost).sum(), middle.len() as u64);
        let merged = |micros| vec![(at(micros), all, entries)];
        let early = told(merged(oldest[oldest.len() - 1].0.as_micros() + 1));
        let late = told(merged(newest[0].0.as_micros() - 1));
        prop_assert_eq!(standing(&early), standing(&whole));
        prop_assert_eq!(standing(&late), standing(&whole));
        let [early, whole, late] = [early, whole, late].map(|decision| retry_after(&decision));
        prop_assert!(early <= whole && whole <= late, "{early} <= {whole} <= {late}");
    }
}

/// All of a decision but when to retry.
fn standing(decision: &Decision) -> Decision {
    match decision.outcome() {
        Outcome::Allow { .. } => *decision,
        Outcome::Deny { .. } => {
            decision.with_outcome(Outcome::Deny { retry_after: Micros::ZERO }, 0)
        }
    }
}
