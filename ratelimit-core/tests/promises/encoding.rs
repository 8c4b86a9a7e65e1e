//! Records survive as bytes; bytes that are no record are refused, and never lead anywhere.

use proptest::prelude::*;
use ratelimit_core::{
    Policy, StateError,
    store::{Record, VERSION, words_beside_log},
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

/// Each word of a state in turn is another one. A log's costs may be any.
// FAULTS 41, 42.
#[test]
fn a_word_that_no_step_could_have_left_is_corrupt_or_stays_within_the_limit() {
    const NOW: u64 = 1_700_000_000_000_000;
    const BEYOND: u64 = 1 << 53;
    for rule in one_of_each() {
        let mut subject = Subject::new(&rule);
        assert!(subject.spend(NOW, 1).is_allowed());
        let record = subject.record.clone().expect("the key is known");
        let (header, words) = (record.header(), record.words());
        let has_log = words_beside_log(&header).is_some();
        for (place, &word) in words.iter().enumerate() {
            for other in [0, 1, word + 1, 2 * word + 1, BEYOND - 1, BEYOND, u64::MAX] {
                let mut altered = words.clone();
                altered[place] = other;
                let read = Record::from_words(&header, &altered, &subject.policy);
                let is_refused = read == Err(StateError::Corrupt);
                assert!(is_refused || has_log || other < BEYOND, "{rule:?} {place} {other}");
                if let Ok(record) = read {
                    let found = answers_within_the_limit(subject.clone(), record, &[NOW], 0);
                    assert!(found.is_ok(), "{rule:?} {place} {other}: {found:?}");
                }
            }
        }
    }
}

/// Numbers beyond 64 bits are not cut off.
// FAULTS 42.
#[test]
fn a_number_of_more_than_64_bits_is_corrupt() {
    for rule in one_of_each() {
        let mut subject = Subject::new(&rule);
        assert!(subject.spend(0, 1).is_allowed());
        let mut bytes = subject.record.expect("the key is known").encode();
        let last = bytes.pop().expect("a record is some numbers");
        if bytes.last().is_some_and(|before| 0x80 <= *before) {
            // The last number is a longer one.
            continue;
        }
        bytes.push(last | 0x80);
        bytes.extend([0x80; 8]);
        let with = |highest| Record::decode(&[&bytes[..], &[highest]].concat(), &subject.policy);
        assert_eq!(with(2), Err(StateError::Corrupt), "{rule:?}");
        assert!(with(0).is_ok(), "{rule:?}");
    }
}

pub(crate) fn stays_within_the_limit(
    subject: Subject,
    bytes: &[u8],
    times: &[u64],
    share: u64,
) -> Result<(), TestCaseError> {
    match Record::decode(bytes, &subject.policy) {
        Ok(record) => answers_within_the_limit(subject, record, times, share),
        Err(_) => Ok(()),
    }
}

fn answers_within_the_limit(
    mut subject: Subject,
    record: Record,
    times: &[u64],
    share: u64,
) -> Result<(), TestCaseError> {
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
