//! What a store that does sums of its own is told: the numbers of a policy, and those of a record.

use proptest::prelude::*;
use ratelimit_core::{Batch, Check, Key, Policy, Record};

use crate::{
    rule::{self, one_of_each},
    subject::Subject,
    trace::{history, worn},
};

/// In the order of the table of `Slot::terms`: scripts read them by their places.
#[test]
fn what_a_policy_counts_with_is_told_in_order() {
    let (second, largest_count) = (1_000_000, (1 << 52) / 1_000_000);
    // Seven permits in three seconds: a microsecond brings back 7 units, and a permit is as many
    // as there are microseconds.
    let (permit, per_micro) = (3_000_000, 7);
    let full = 10 * permit;
    // From 20 permits at a load of 20 to 10 at one of 40: (60 - load) / 2.
    let load = [20, 10, 20, 40, 60, 1, 2];
    let adaptive = [&[second, 1, second, 5 * second / 64][..], &load].concat();
    let expected: [&[u64]; 10] = [
        &[10, second, 0],
        &[10, second, 1],
        &[10, second, 10],
        &[10, second, 1, second, largest_count],
        &[full, permit, per_micro, full, 0],
        // What it is remembered for: twice the time to bring back 10 permits.
        &[full, permit, per_micro, 3 * permit, 2 * full.div_ceil(per_micro)],
        &[full, permit, per_micro, full],
        &[full, permit, per_micro, 3_000_000 * per_micro],
        &adaptive,
        &adaptive,
    ];
    for (rule, expected) in one_of_each().iter().zip(expected) {
        assert_eq!(terms(&rule.policy()), expected, "{rule:?}");
    }
}

/// What is stored has to be read by whoever comes later: other bytes are another version.
#[test]
fn a_record_of_this_version_is_made_of_these_bytes() {
    const START: [u8; 8] = [128, 128, 249, 192, 193, 196, 130, 3];
    const AT: [u8; 8] = [172, 130, 249, 192, 193, 196, 130, 3];
    const SECOND: [u8; 3] = [192, 132, 61];
    const RATE: [u8; 6] = [10, 7, 192, 141, 183, 1];
    const LEFT: [u8; 4] = [192, 222, 129, 10];
    let expected: [&[&[u8]]; 8] = [
        &[&[1, 1, 10], &SECOND, &[0], &START, &[3]],
        &[&[1, 1, 10], &SECOND, &[1], &AT, &[3]],
        &[&[1, 2, 10], &SECOND, &[10, 1], &AT, &[3]],
        &[&[1, 3, 10], &SECOND, &START, &[0, 3]],
        &[&[1, 4], &RATE, &[10], &LEFT, &AT, &[0]],
        &[&[1, 4], &RATE, &[3, 0], &AT, &[0]],
        &[&[1, 5], &RATE, &[0, 192, 168, 165, 4], &AT, &[0]],
        &[&[1, 5], &RATE, &[193, 141, 183, 1, 192, 168, 165, 4], &AT, &[0]],
    ];
    for (rule, expected) in one_of_each().iter().zip(expected) {
        let mut subject = Subject::new(rule);
        assert!(subject.spend(1_700_000_000_000_300, 3).is_allowed());
        let record = subject.record.expect("it has been spent on");
        assert_eq!(record.encode(), expected.concat(), "{rule:?}");
    }
}

fn terms(policy: &Policy) -> Vec<u64> {
    let key = Key::new("key").expect("a short key");
    let check = Check::new(policy, key, 1).expect("a cost within the limit");
    let slots = Batch::one(&check).slots().map(|slot| slot.terms());
    slots.reduce(|first, _| first).expect("there is a slot")
}

proptest! {
    #[test]
    fn a_header_and_words_are_all_of_a_record(rule in rule::any(), history in history()) {
        let (subject, _) = worn(&rule, &history);
        for record in [&subject.record, &subject.sensor].into_iter().flatten() {
            let read = Record::from_words(&record.header(), &record.words(), &subject.policy);
            prop_assert_eq!(read.map(|read| read.encode()), Ok(record.encode()));
        }
    }
}
