//! Records survive as bytes; bytes that are no record are refused, and never lead anywhere.

use proptest::prelude::*;
use ratelimit_core::{
    Policy, StateError,
    store::{Record, VERSION},
};

use crate::{
    key_under_test::Subject,
    rule::{self, one_of_each, share_of},
    trace::{Course, history, worn},
};

fn decoded(record: Option<&Record>, policy: &Policy) -> Result<Option<Record>, StateError> {
    record.map(|record| Record::decode(&record.encode(), policy)).transpose()
}

proptest! {
    #[test]
    fn a_key_that_is_kept_as_bytes_answers_like_one_that_is_not(
        rule in rule::any(),
        (start, steps) in history(),
    ) {
        let (mut kept, mut stored) = (Subject::new(&rule), Subject::new(&rule));
        let mut course = Course::new(&rule, start);
        for step in steps {
            let (now, cost) = (course.go(step.wait), step.cost(kept.limit()));
            let decision = kept.act(step.action, now, cost);
            prop_assert_eq!(stored.act(step.action, now, cost), decision);
            stored.record = decoded(stored.record.as_ref(), &stored.policy).unwrap();
            stored.sensor = decoded(stored.sensor.as_ref(), &stored.policy).unwrap();
            course.saw(decision);
        }
        let [stored, kept] = [stored.record, kept.record].map(|it| it.map(|it| it.encode()));
        prop_assert_eq!(stored, kept);
    }

    #[test]
    fn a_record_knows_its_numbers_whoever_reads_it(
        (rule, other) in (rule::any(), rule::any()),
        history in history(),
    ) {
        let (subject, _) = worn(&rule, &history);
        if let Some(record) = &subject.record {
            let read = Record::decode(&record.encode(), &other.policy()).unwrap();
            prop_assert_eq!(read.encode(), record.encode());
            prop_assert_eq!(read.policy(), record.policy());
        }
    }

    // FAULTS 42.
    #[test]
    fn truncated_bytes_are_corrupt(rule in rule::any(), history in history()) {
        let (subject, _) = worn(&rule, &history);
        if let Some(bytes) = subject.record.map(|record| record.encode()) {
            for length in 0..bytes.len() {
                let read = Record::decode(&bytes[..length], &subject.policy);
                prop_assert_eq!(read, Err(StateError::Corrupt));
            }
            let longer = [&bytes[..], &[0]].concat();
            prop_assert_eq!(Record::decode(&longer, &subject.policy), Err(StateError::Corrupt));
        }
    }

    // FAULTS 41, 42.
    #[test]
    fn altered_bytes_never_lead_outside_of_the_limit(
        rule in rule::any(),
        history in history(),
        place in 1_usize..200,
        bytes in prop::collection::vec(any::<u8>(), 1..6),
        now in prop_oneof![0..=1_u64 << 52, Just((1 << 53) - 1)],
        share in 0_u64..=1_000_000,
    ) {
        let (mut subject, then) = worn(&rule, &history);
        let Some(record) = subject.record.take() else { return Ok(()) };
        let mut altered = record.encode();
        let place = 1 + place % (altered.len() - 1);
        let end = altered.len().min(place + bytes.len());
        altered.splice(place..end, bytes);
        stays_within_the_limit(subject, &altered, &[then, now], share)?;
    }

    // FAULTS 42.
    #[test]
    fn random_bytes_never_lead_outside_of_the_limit(
        rule in rule::any(),
        kind in 0_u8..12,
        bytes in prop::collection::vec(prop_oneof![2 => 0_u8..=3, 1 => any::<u8>()], 0..60),
        now in 0..=1_u64 << 52,
        share in 0_u64..=1_000_000,
    ) {
        let bytes = [&[VERSION, kind], &bytes[..]].concat();
        stays_within_the_limit(Subject::new(&rule), &bytes, &[now], share)?;
    }

    // FAULTS 42.
    #[test]
    fn arbitrary_bytes_are_no_record(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        for rule in one_of_each() {
            let _ = Record::decode(&bytes, &rule.policy());
        }
    }

    // FAULTS 43.
    #[test]
    fn another_version_is_named(version in any::<u8>(), bytes in any::<Vec<u8>>()) {
        prop_assume!(version != VERSION);
        let bytes = [&[version], &bytes[..]].concat();
        let expected = StateError::Version { found: version, want: VERSION };
        for rule in one_of_each() {
            prop_assert_eq!(Record::decode(&bytes, &rule.policy()), Err(expected));
        }
    }
}

pub(crate) fn stays_within_the_limit(
    mut subject: Subject,
    bytes: &[u8],
    times: &[u64],
    share: u64,
) -> Result<(), TestCaseError> {
    let Ok(record) = Record::decode(bytes, &subject.policy) else { return Ok(()) };
    subject.record = Some(record);
    let limit = subject.limit();
    for &now in times {
        let spent =
            subject.try_act(ratelimit_core::Action::Spend, now, 1 + share_of(limit - 1, share));
        match spent {
            Ok(decision) => prop_assert!(decision.remaining <= limit),
            Err(error) => {
                let is_of_another = matches!(error, StateError::Algorithm { .. });
                prop_assert!(is_of_another, "{error}");
                return Ok(());
            }
        }
        for _ in 0..3 {
            let peeked = subject.peek(now, 1);
            prop_assert!(peeked.remaining <= limit);
            prop_assert_eq!(peeked.limit, limit);
        }
    }
    Ok(())
}
