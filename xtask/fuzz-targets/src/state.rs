//! Invalid bytes of a state are refused, and valid ones never lead above the limit.

use ratelimit_core::{
    Timestamp,
    store::{LogSegment, Record},
};

use crate::{encoding::stays_within_the_limit, key_under_test::Subject, rule::one_of_each};

/// Takes the bytes behind the first eleven for a record; these are a time and a cost.
pub fn state(data: &[u8]) {
    let Some((&time, rest)) = data.split_first_chunk() else { return };
    let Some((&[a, b, c], bytes)) = rest.split_first_chunk() else { return };
    let now = u64::from_be_bytes(time).min(Timestamp::MAX.as_micros());
    let share = u64::from(u32::from_be_bytes([0, a, b, c])).min(1_000_000);
    if let Ok(segment) = LogSegment::decode(bytes) {
        assert_eq!(LogSegment::decode(&segment.encode()), Ok(segment));
    }
    for rule in one_of_each() {
        let subject = Subject::new(&rule);
        if let Ok(record) = Record::decode(bytes, &subject.policy) {
            assert_eq!(Record::decode(&record.encode(), &subject.policy), Ok(record));
        }
        if let Err(difference) = stays_within_the_limit(subject, bytes, &[now], share) {
            panic!("{difference}\n{rule:?}");
        }
    }
}
