//! Logs in pieces: together they say what the whole does, and with a part merged what its bounds are.

use proptest::{prelude::*, sample::Index};
use ratelimit_core::{
    Action, Decision, Micros, Outcome, StateError,
    store::{LogSegment, Record},
};

use crate::{
    rule::{self, Adaptive, Rule, share_of},
    subject::{Subject, at, retry_after},
    trace::{history, logged, shares, worn},
};

#[test]
fn segments_are_refused_unless_they_are_in_order() {
    let rule = Rule::SlidingWindowLog { limit: 9, window: 10, entries_max: 9 };
    let record = log_of_two(&rule);
    let entry = |micros| LogSegment::merged(at(micros), 1).expect("an entry");
    let join = |times: &[u64]| {
        let segments = times.iter().copied().map(entry);
        record.clone().with_log(segments).map(|mut record| {
            record.take_log().map(|log| (log.len(), log.cost(), log.oldest(), log.newest()))
        })
    };
    assert_eq!(join(&[5, 6, 9]), Ok(Some((3, 3, Some(at(5)), Some(at(9))))));
    assert_eq!(join(&[]), Ok(Some((0, 0, None, None))));
    assert_eq!(join(&[5, 5]), Err(StateError::Corrupt));
    assert_eq!(join(&[6, 5]), Err(StateError::Corrupt));
    assert_eq!(LogSegment::merged(at(5), 0), Err(StateError::Corrupt));
    let all = LogSegment::merged(at(5), u64::MAX).expect("an entry");
    assert_eq!(record.clone().with_log([all, entry(6)]), Err(StateError::Corrupt));
}

#[test]
fn an_entry_counts_for_one_window() {
    let log = Rule::SlidingWindowLog { limit: 9, window: 10, entries_max: 9 };
    for rule in [log, Rule::Adaptive(Adaptive::new(9, 10, Default::default()))] {
        let mut record = log_of_two(&rule);
        let log = record.take_log().expect("it has a log");
        assert!(record.take_log().is_some_and(|log| log.is_empty()));
        for (now, expired) in [(0, 0), (10, 0), (11, 1), (13, 1), (14, 2), (15, 2)] {
            assert_eq!(record.expired(&log, at(now)), expired, "{now}");
        }
    }
}

#[test]
fn bytes_that_are_more_or_less_than_a_segment_are_refused() {
    let bytes = LogSegment::merged(at(5), 1).expect("an entry").encode();
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
        let Some(mut log) = rest.take_log() else {
            let has_log = matches!(rule, Rule::SlidingWindowLog { .. } | Rule::Adaptive(_));
            prop_assert!(!has_log);
            prop_assert_eq!(&rest, &record);
            prop_assert_eq!(rest.with_log([]), Err(StateError::Corrupt));
            return Ok(());
        };
        let all = (log.len(), log.cost());
        let mut segments: Vec<_> = cuts.iter().map(|&cut| log.split_off_oldest(cut)).collect();
        segments.push(log);
        let sum = segments.iter().fold((0, 0), |(entries, cost), segment| {
            (entries + segment.len(), cost + segment.cost())
        });
        prop_assert_eq!(sum, all);
        for segment in &mut segments {
            *segment = LogSegment::decode(&segment.encode()).expect("what was encoded");
        }
        let whole = rest.with_log(segments).map(|record| record.encode());
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
        let mut log = rest.take_log().expect("it has a log");
        let _ = log.split_off_oldest(rest.expired(&log, at(now)));
        let mut middle = log.split_off_oldest(last.index(log.len().max(1)));
        let oldest = middle.split_off_oldest(first.index(middle.len().max(1)));
        let newest = log;
        if [&oldest, &middle, &newest].into_iter().any(LogSegment::is_empty) {
            return Ok(());
        }
        let mut told = |middle: &LogSegment, hidden| {
            let segments = [&oldest, middle, &newest].map(LogSegment::clone);
            let record = rest.clone().with_log(segments);
            subject.record = Some(record.expect("in order").hiding(hidden));
            subject.act(Action::Peek, now, cost)
        };
        let whole = told(&middle, 0);
        let merged = |segment: &LogSegment, step: fn(u64) -> u64, time| {
            LogSegment::merged(at(step(time)), segment.cost()).expect("an entry")
        };
        let after = oldest.newest().expect("not empty").as_micros();
        let before = newest.oldest().expect("not empty").as_micros();
        let early = told(&merged(&middle, |time| time + 1, after), middle.len() - 1);
        let late = told(&merged(&middle, |time| time - 1, before), middle.len() - 1);
        prop_assert_eq!(standing(&early), standing(&whole));
        prop_assert_eq!(standing(&late), standing(&whole));
        let [early, whole, late] = [early, whole, late].map(|decision| retry_after(&decision));
        prop_assert!(early <= whole && whole <= late, "{early} <= {whole} <= {late}");
    }
}

/// All of a decision but when to retry.
fn standing(decision: &Decision) -> Decision {
    let mut standing = *decision;
    if let Outcome::Deny { retry_after } = &mut standing.outcome {
        *retry_after = Micros::ZERO;
    }
    standing
}
