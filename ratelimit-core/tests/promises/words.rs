//! Terms and words: the numbers of a policy, and those of a record, for a store that steps elsewhere.

use std::mem::replace;

use proptest::prelude::*;
use ratelimit_core::{
    Action, Batch, Check, Detail, Key, Policy, StateError, WINDOW_MAX, adaptive, store::Record,
};

use crate::{
    key_under_test::{Subject, at},
    rule::{self, Adaptive, Rule, one_of_each, share_of},
    trace::{history, logged, shares, worn},
};

/// In order, and by name: scripts read them so.
#[test]
fn a_policy_names_the_numbers_that_its_steps_compute_with() {
    let second = 1_000_000;
    // Seven permits in three seconds: a microsecond brings back 7 units, and a permit is as many
    // as there are microseconds.
    let (permit, per_micro) = (3_000_000, 7);
    let full = 10 * permit;
    // From 20 permits at a load of 20 to 10 at one of 40: (60 - load) / 2.
    let load = [20, 10, 20, 40, 60, 1, 2];
    // In the cycle of 120 days that began 19,560 days after the epoch, from the 90th day on.
    let day = 86_400 * second;
    let start = (163 * 120 + 89) * day;
    let adaptive = [&[second, 1, second, 5 * second / 64][..], &load].concat();
    let expected: [&[u64]; 12] = [
        &[10, second, 0],
        &[10, second, 1],
        &[10, second, 10],
        &[10, second, 1, second],
        &[full, permit, per_micro, full, 0],
        // What it is remembered for: twice the time to bring back 10 permits.
        &[full, permit, per_micro, 3 * permit, 2 * full.div_ceil(per_micro)],
        &[full, permit, per_micro, full],
        &[full, permit, per_micro, 3_000_000 * per_micro],
        &adaptive,
        &adaptive,
        &[10, 31 * day, 2 + start],
        &[10, second],
    ];
    for (rule, expected) in one_of_each().iter().zip(expected) {
        assert_eq!(terms(&rule.policy()), expected, "{rule:?}");
    }
}

#[test]
fn a_rate_is_counted_in_its_lowest_terms() {
    let rule = Rule::TokenBucket { capacity: 30, refill: 12, period: 9_000_000, initial: 30 };
    assert_eq!(terms(&rule.policy()), [22_500_000, 750_000, 1, 22_500_000, 0]);
}

/// Stored bytes have to be read by whoever comes later: other bytes are another version.
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

#[test]
fn words_that_no_step_leaves_are_refused() {
    let counter = Rule::SlidingWindowCounter { limit: 10, window: 1_000_000 };
    let largest_count = (1 << 53) - 1;
    for (counts, is_good) in [
        ([largest_count, 0], true),
        ([largest_count + 1, 0], false),
        ([0, largest_count], true),
        ([0, largest_count + 1], false),
    ] {
        assert_eq!(altered(&counter, &counts, Action::Spend).is_ok(), is_good, "{counts:?}");
    }
    let log = Rule::SlidingWindowLog { limit: 10, window: 1_000_000, entries_max: 10 };
    for (entries, is_good) in [
        (&[1, 5, 1][..], true),
        (&[1, 5, 0], false),
        (&[2, 5, 1, 1, 1], true),
        (&[2, 5, 1, 1, 0], false),
        (&[2, 5, 1, 0, 1], false),
        (&[2, 5, 1, u64::MAX, 1], false),
    ] {
        let record = Record::from_words(&header(&log), entries, &log.policy());
        assert_eq!(record.is_ok(), is_good, "{entries:?}");
    }
    let longest = WINDOW_MAX.as_micros();
    for (block, is_good) in [
        ([5, 6], true),
        ([5, 5], false),
        ([6, 5], false),
        ([5, 5 + longest], true),
        ([5, 6 + longest], false),
    ] {
        let blocked = Action::Block(WINDOW_MAX);
        for rule in one_of_each() {
            assert_eq!(altered(&rule, &block, blocked).is_ok(), is_good, "{block:?} {rule:?}");
        }
    }
}

fn header(rule: &Rule) -> Vec<u8> {
    let mut subject = Subject::new(rule);
    let _ = subject.spend(1_700_000_000_000_000, 1);
    subject.record.expect("the key is known by now").header()
}

/// The record that is read of one that `action` leaves, with `words` in the place of its last ones.
fn altered(rule: &Rule, words: &[u64], action: Action) -> Result<Record, StateError> {
    let mut subject = Subject::new(rule);
    let _ = subject.act(action, 1_700_000_000_000_000, 1);
    let record = subject.record.expect("the key is known by now");
    let mut all = record.words();
    all.truncate(all.len() - words.len());
    all.extend(words);
    Record::from_words(&record.header(), &all, &subject.policy)
}

fn terms(policy: &Policy) -> Vec<u64> {
    let key = Key::new("key").expect("a short key");
    let check = Check::new(policy, key, 1).expect("a cost within the limit");
    let slots = Batch::one(&check).slots().map(|slot| slot.terms(at(1_700_000_000_000_000)));
    let terms = slots.reduce(|first, _| first).expect("there is a slot");
    terms.into_iter().map(|(_, term)| term).collect()
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

    /// Three entries say as much as all of them: a store of logs need not read more.
    #[test]
    fn a_log_of_which_most_is_hidden_is_told_of_as_a_whole(
        (limit, window) in (1_u64..300, 1_u64..1_000_000),
        is_behind_a_bucket: bool,
        charges in prop::collection::vec((shares(), shares()), 4..12),
        share in shares(),
    ) {
        let rule = if is_behind_a_bucket {
            Rule::Adaptive(Adaptive::new(limit, window, Default::default()))
        } else {
            Rule::SlidingWindowLog { limit, window, entries_max: limit.min(6) }
        };
        let (mut subject, now) = logged(&rule, window / 12, limit / 12, &charges);
        let record = subject.record.take().expect("the first is admitted");
        let (now, cost) = (now + 1, 1 + share_of(subject.limit() - 1, share));
        let burst = burst(&subject, &record, now);
        subject.record = Some(shown(&record, burst, cost, (now, window), &subject.policy));
        let told = subject.act(Action::Peek, now, cost);
        subject.record = Some(record);
        let whole = subject.act(Action::Peek, now, cost);
        if is_behind_a_bucket && !whole.is_allowed() {
            // Which entry it waits for depends on how the load falls.
            return Ok(());
        }
        prop_assert_eq!(told, whole);
    }
}

/// The permits that a window has at present.
fn burst(subject: &Subject, record: &Record, now: u64) -> u64 {
    let mut subject = subject.clone();
    subject.record = Some(record.clone());
    match subject.look(now) {
        Detail::Adaptive(adaptive::Detail { effective_burst, .. }) => effective_burst,
        _ => subject.limit(),
    }
}

/// The record with no more than three entries in its log.
fn shown(
    record: &Record,
    limit: u64,
    cost: u64,
    (now, window): (u64, u64),
    policy: &Policy,
) -> Record {
    let words = record.words();
    let (entries, rest) = words[1..].split_at(2 * usize::try_from(words[0]).expect("few"));
    let entries = entries.chunks(2).scan(0, |at, entry| {
        *at += entry[0];
        Some([*at, entry[1]])
    });
    let live: Vec<_> = entries.filter(|[at, _]| now.saturating_sub(*at) < window).collect();
    if live.len() < 4 {
        return record.clone();
    }
    let total_after = |index: usize| live[index + 1..].iter().map(|entry| entry[1]).sum::<u64>();
    let last = live.len() - 1;
    let pivot = (0..last).find(|&index| total_after(index) <= limit.saturating_sub(cost));
    let pivot = pivot.unwrap_or(1).clamp(1, last - 1);
    let total = |from: usize, to: usize| live[from..to].iter().map(|entry| entry[1]).sum::<u64>();
    let three = [
        (live[0][0], total(0, pivot)),
        (live[pivot][0], live[pivot][1]),
        (live[last][0], total(pivot + 1, live.len())),
    ];
    let mut words = vec![3];
    let mut before = 0;
    words.extend(three.into_iter().flat_map(|(at, cost)| [at - replace(&mut before, at), cost]));
    words.extend(rest);
    let read = Record::from_words(&record.header(), &words, policy).expect("a log in order");
    read.hiding(live.len() - 3)
}
