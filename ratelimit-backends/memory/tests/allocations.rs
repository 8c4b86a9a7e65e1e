//! A warm check allocates nothing, whatever comes of it.

use std::{hint::black_box, num::NonZeroUsize, ops::Range, time::Duration};

use ratelimit_backend::{ManualClock, SyncBackend};
use ratelimit_conformance::one_of_each;
use ratelimit_core::{Action, Batch, Check, Key, Micros};
use ratelimit_memory::Memory;
use ratelimit_servers::effort;

#[test]
fn a_check_of_a_known_key_allocates_nothing() {
    for policy in one_of_each(10) {
        let clock = ManualClock::default();
        clock.advance(Micros::from_secs(3_600));
        let memory = Memory::with_clock(clock, NonZeroUsize::MIN.saturating_add(9));
        let check = Check::new(&policy, Key::new("user:42").expect("a short key"), 1);
        let check = check.expect("a cost that fits");
        let spend = || memory.apply_now(Batch::one(&check), Action::Spend).expect("there is room");
        let known = spend();
        if known.len() != 1 || policy.name().contains("shared") {
            continue;
        }
        // The first ones fill a log, the last ones are denied.
        (0..20).for_each(|_| drop(black_box(spend())));
        let counted = allocation_counter::measure(|| {
            (0..100).for_each(|_| drop(black_box(spend())));
        });
        assert_eq!(counted.count_total, 0, "{policy}");
    }
}

#[test]
fn a_key_of_a_bucket_takes_eighty_bytes() {
    const KEYS: u64 = 100_000;
    let quota = ratelimit_core::token_bucket::Quota::new(10, 1, Duration::from_secs(60));
    let policy = ratelimit_core::Policy::new("bucket", quota.expect("good numbers"));
    let policy = policy.expect("a good name");
    let room = NonZeroUsize::new(100_000).expect("room for something");
    let memory = Memory::with_clock(ManualClock::default(), room);
    let counted = allocation_counter::measure(|| {
        for number in 0..KEYS {
            let key = format!("user:{number:07}");
            let check = Check::new(&policy, Key::new(&key).expect("a short key"), 1);
            let batch = [check.expect("a cost that fits")];
            drop(memory.apply_now(Batch::one(&batch[0]), Action::Spend).expect("there is room"));
        }
    });
    let each = counted.bytes_current / i64::try_from(KEYS).expect("not so many");
    assert!(each <= 80, "{each} bytes");
}

#[test]
// FAULTS 62.
fn a_flood_of_keys_that_come_and_go_takes_no_more_than_its_room() {
    const ROOM: usize = 10_000;
    let (memory, clock) = with_room_for(ROOM);
    let counted = allocation_counter::measure(|| flood(&memory, &clock, 0..1_000_000));
    assert!(memory.keys() <= ROOM);
    // Twice what the records take: a small store's shards fill by halves.
    assert!(counted.bytes_max <= 160 * 10_000, "{} bytes", counted.bytes_max);
}

/// Whatever room there is: 5 000 keys are live at a time, and as many wait to be swept.
#[test]
fn keys_that_come_and_go_take_the_room_of_those_that_are_there() {
    let (memory, clock) = with_room_for(1_000_000);
    let counted = allocation_counter::measure(|| flood(&memory, &clock, 0..200_000));
    assert!(memory.keys() <= 12_000, "{} keys", memory.keys());
    assert!(counted.bytes_max <= 1_200_000, "{} bytes", counted.bytes_max);
}

#[test]
fn room_that_is_no_longer_needed_is_given_back() {
    let (memory, clock) = with_room_for(1_000_000);
    let counted = allocation_counter::measure(|| {
        let still = ManualClock::default();
        flood(&memory, &still, 0..100_000);
        assert_eq!(memory.keys(), 100_000);
        clock.advance(Micros::from_secs(2));
        flood(&memory, &clock, 100_000..300_000);
    });
    assert!(memory.keys() <= 12_000, "{} keys", memory.keys());
    assert!(counted.bytes_current <= 1_200_000, "{} bytes", counted.bytes_current);
}

/// A removed entry leaves a trace in a hash table; one that is full of them is laid out anew, and
/// does not grow. Here 64 of 1 024 places each are two thirds full, and stay so.
#[test]
fn keys_that_are_reset_leave_their_room_to_others() {
    const LIVE: u32 = 64 * 680;
    let (memory, _) = with_room_for(64 * 824);
    let quota = ratelimit_core::token_bucket::Quota::new(10, 1, Duration::from_secs(3_600));
    let policy = ratelimit_core::Policy::new("bucket", quota.expect("good numbers"));
    let policy = policy.expect("a good name");
    let ask = |number: u32, action| {
        let key = number.to_le_bytes();
        let check = Check::new(&policy, Key::new(&key).expect("a short key"), 1);
        let check = check.expect("a cost that fits");
        drop(memory.apply_now(Batch::one(&check), action).expect("there is room"));
    };
    let counted = allocation_counter::measure(|| {
        for number in 0..500_000 {
            ask(number, Action::Spend);
            if let Some(oldest) = number.checked_sub(LIVE) {
                ask(oldest, Action::Reset);
            }
        }
    });
    assert_eq!(memory.keys(), LIVE as usize);
    assert!(counted.bytes_current <= 64 * 1_024 * 60, "{} bytes", counted.bytes_current);
}

fn with_room_for(keys: usize) -> (Memory<ManualClock>, ManualClock) {
    let clock = ManualClock::default();
    let room = NonZeroUsize::new(keys).expect("room for something");
    (Memory::with_clock(clock.clone(), room), clock)
}

/// So many keys come, 5 000 a second, each to be as good as new after one.
fn flood(memory: &Memory<ManualClock>, clock: &ManualClock, numbers: Range<u32>) {
    let quota = ratelimit_core::token_bucket::Quota::new(10, 1, Duration::from_secs(1));
    let policy = ratelimit_core::Policy::new("bucket", quota.expect("good numbers"));
    let policy = policy.expect("a good name");
    for number in numbers {
        clock.advance(Micros::new(200));
        let key = format!("user:{number:07}");
        let check = Check::new(&policy, Key::new(&key).expect("a short key"), 1);
        let check = check.expect("a cost that fits");
        let _ = memory.apply_now(Batch::one(&check), Action::Spend);
    }
}

#[test]
// FAULTS 69.
fn a_long_key_takes_no_more_than_a_short_one() {
    let policy = one_of_each(10).into_iter().find(|policy| policy.name() == "token-bucket");
    let policy = policy.expect("a token bucket");
    let room = NonZeroUsize::new(100).expect("room for something");
    let memory = Memory::with_clock(ManualClock::default(), room);
    for length in [1, 1 << 10, 1 << 20] {
        let key = vec![b'x'; length];
        let check = Check::new(&policy, Key::new(&key).expect("not too long"), 1);
        let check = check.expect("a cost that fits");
        let counted = allocation_counter::measure(|| {
            drop(memory.apply_now(Batch::one(&check), Action::Spend).expect("there is room"));
        });
        assert!(counted.bytes_current < 1_000, "{length}: {counted:?}");
    }
    assert_eq!(memory.keys(), 3);
    assert!(Key::new(&vec![b'x'; (1 << 20) + 1]).is_err());
}

#[test]
// FAULTS 68.
fn a_log_of_a_million_entries_takes_their_room_and_there_is_none_longer() {
    const LIMIT: u64 = 1_000_000;
    let hour = Duration::from_secs(3_600);
    let quota = ratelimit_core::sliding_window_log::Quota::new(LIMIT, hour);
    let policy = ratelimit_core::Policy::new("log", quota.expect("good numbers"));
    let policy = policy.expect("a good name");
    let clock = ManualClock::default();
    let memory = Memory::with_clock(clock.clone(), NonZeroUsize::MIN);
    let check = Check::new(&policy, Key::new("key").expect("a short key"), 1);
    let check = check.expect("a cost that fits");
    let counted = allocation_counter::measure(|| {
        for _ in 0..LIMIT + 1_000 {
            clock.advance(Micros::new(1));
            drop(memory.apply_now(Batch::one(&check), Action::Spend).expect("there is room"));
        }
    });
    // 16 bytes each, in a room that doubles.
    assert!(counted.bytes_current <= 17 << 20, "{} bytes", counted.bytes_current);
    assert!(ratelimit_core::sliding_window_log::Quota::new(LIMIT + 1, hour).is_err());
}

#[test]
// FAULTS 73.
fn keys_that_come_and_go_for_long_leave_nothing_behind() {
    const ROOM: u32 = 5_000;
    let clock = ManualClock::default();
    let room = NonZeroUsize::new(5_000).expect("room for something");
    let memory = Memory::with_clock(clock.clone(), room);
    let policies = one_of_each(10);
    let rounds = effort(1_000, 30);
    let mut kept = Vec::new();
    let mut number = 0_u32;
    allocation_counter::measure(|| {
        for _ in 0..rounds {
            let round = allocation_counter::measure(|| {
                for _ in 0..ROOM {
                    number += 1;
                    let key = number.to_le_bytes();
                    let policy = &policies[number as usize % policies.len()];
                    let check = Check::new(policy, Key::new(&key).expect("a short key"), 1);
                    let check = check.expect("a cost that fits");
                    let _ = memory.apply_now(Batch::one(&check), Action::Spend);
                }
                clock.advance(Micros::from_secs(600));
            });
            kept.push(kept.last().copied().unwrap_or(0) + round.bytes_current);
        }
    });
    let (warm, rest) = kept.split_at(rounds / 3);
    let [warm, rest] = [warm, rest].map(|bytes| bytes.iter().max().expect("some rounds"));
    assert!(*rest <= warm + warm / 10, "{warm} bytes, and later {rest}");
}
