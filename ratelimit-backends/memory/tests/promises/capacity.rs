//! The number of keys is bounded: idle ones make room, live ones never do.

use crate::Memory;
use ratelimit_backend::{ErrorKind, ManualClock};
use ratelimit_core::{Action, CarryOver, Micros, Policy};
use ratelimit_servers::effort;

use crate::store_under_test::{
    ask, ask_all, check, is_allowed, is_refused, memory, policy, remaining, reset, spend,
};

#[test]
// FAULTS 64.
fn a_full_map_refuses_new_keys_and_keeps_known_ones_exact() {
    let (memory, _) = memory(100);
    let policy = policy("token-bucket", 3);
    let keys = names("known", 100);
    assert!(keys.iter().all(|key| is_allowed(&spend(&memory, &policy, key))));

    for refused in 1..=50 {
        assert!(is_refused(&spend(&memory, &policy, "new")));
        assert_eq!(memory.capacity_rejected(), refused);
    }
    for key in &keys {
        assert_eq!(
            [1, 2, 3].map(|_| is_allowed(&spend(&memory, &policy, key))),
            [true, true, false]
        );
    }
    assert_eq!(memory.keys(), 100);
    assert_eq!(memory.capacity_rejected(), 50);
}

#[test]
fn what_a_full_map_can_answer_without_room_it_answers() {
    let (memory, _) = memory(1);
    let policy = policy("token-bucket", 3);
    assert!(is_allowed(&spend(&memory, &policy, "known")));
    for action in [Action::Peek, Action::Refund, Action::Reset] {
        let decision = ask(&memory, &check(&policy, "new", 1), action).expect("needs no room");
        assert_eq!(decision.remaining, 3, "{action:?}");
    }
    assert_eq!((memory.keys(), memory.capacity_rejected()), (1, 0));
}

#[test]
// FAULTS 65.
fn idle_keys_make_room_and_live_ones_stay() {
    let (memory, clock) = memory(1_000);
    let policy = policy("fixed-window.first", 3);
    let [idle, live, new] = ["idle", "live", "new"].map(|prefix| names(prefix, 500));
    assert!(idle.iter().all(|key| is_allowed(&spend(&memory, &policy, key))));
    clock.advance(Micros::from_secs(59));
    assert!(live.iter().all(|key| is_allowed(&spend(&memory, &policy, key))));
    clock.advance(Micros::from_secs(1));

    assert!(new.iter().all(|key| is_allowed(&spend(&memory, &policy, key))));
    assert!(live.iter().all(|key| remaining(&memory, &policy, key) == 2));
    assert!(is_refused(&spend(&memory, &policy, "one too many")));
    assert_eq!(memory.keys(), 1_000);
}

#[test]
fn a_key_is_idle_at_the_moment_it_is_as_good_as_new_and_no_sooner() {
    for name in ["fixed-window", "sliding-window-log", "sliding-window-counter", "token-bucket"] {
        let (memory, clock) = memory(1);
        let policy = policy(name, 10);
        let decision = spend(&memory, &policy, "old").expect("there is room");
        clock.advance(decision.reset_after - Micros::new(1));
        assert!(is_refused(&spend(&memory, &policy, "new")), "{name}");
        clock.advance(Micros::new(1));
        assert!(is_allowed(&spend(&memory, &policy, "new")), "{name}");
    }
}

#[test]
// FAULTS 34, 66.
fn a_slow_bucket_is_kept_for_the_years_it_takes_to_fill() {
    let (memory, clock) = memory(1);
    let year = std::time::Duration::from_secs(365 * 86_400);
    let quota = ratelimit_core::token_bucket::Quota::new(3, 1, year).expect("good numbers");
    let policy = Policy::new("slow", quota).expect("a good name");
    assert!(is_allowed(&ask(&memory, &check(&policy, "old", 3), Action::Spend)));
    for left in [0, 1, 2] {
        assert!(is_refused(&spend(&memory, &policy, "new")));
        assert_eq!(remaining(&memory, &policy, "old"), left);
        clock.advance(Micros::from_duration_ceil(year));
    }
    assert!(is_allowed(&spend(&memory, &policy, "new")));
}

#[test]
// FAULTS 67.
fn no_call_sweeps_more_than_a_few_shards_however_many_keys_have_expired() {
    let keys_max = effort(1_000_000, 200_000);
    let (memory, clock) = memory(keys_max);
    let policy = policy("token-bucket", 10);
    for number in 0..keys_max {
        assert!(is_allowed(&spend(&memory, &policy, &format!("old-{number}"))));
    }
    clock.advance(Micros::from_secs(600));
    check_that_sweeps_are_small(&memory, &policy, keys_max);
}

#[test]
// FAULTS 72.
fn an_hour_that_passes_at_once_grants_one_full_bucket_and_no_sweep_of_everything() {
    let keys_max = 20_000;
    let (memory, clock) = memory(keys_max);
    let policy = policy("token-bucket", 10);
    let keys = names("old", keys_max);
    for key in &keys {
        assert!(is_allowed(&ask(&memory, &check(&policy, key, 10), Action::Spend)));
    }
    // What `Instant` does where it goes on while the machine sleeps.
    clock.advance(Micros::from_secs(3_600));
    let admitted = (0..100).filter(|_| is_allowed(&spend(&memory, &policy, &keys[0])));
    assert_eq!(admitted.count(), 10);
    check_that_sweeps_are_small(&memory, &policy, keys_max);
}

/// Fills a store that is full of expired keys with new ones.
fn check_that_sweeps_are_small(memory: &Memory<ManualClock>, policy: &Policy, keys_max: usize) {
    let (mut keys, mut swept) = (memory.keys(), 0);
    for number in 0..keys_max / 2 {
        assert!(is_allowed(&spend(memory, policy, &format!("new-{number}"))));
        let dropped = (keys + 1).saturating_sub(memory.keys());
        assert!(dropped <= 5_000, "{dropped} records in one call");
        (keys, swept) = (memory.keys(), swept + dropped);
    }
    assert!(keys_max / 4 < swept, "{swept} records made room");
}

#[test]
fn a_flood_of_unique_keys_never_passes_the_bound() {
    const KEYS_MAX: usize = 100_000;
    let (memory, clock) = memory(KEYS_MAX);
    let policy = policy("token-bucket", 10);
    let mut admitted = 0_u64;
    for number in 0..1_000_000_u32 {
        if number.is_multiple_of(200_000) {
            clock.advance(Micros::from_secs(60));
        }
        admitted += u64::from(is_allowed(&spend(&memory, &policy, &number.to_string())));
        assert!(memory.keys() <= KEYS_MAX);
    }
    assert_eq!(admitted, 500_000, "each minute all keys are idle, and as many find room again");
    assert_eq!(memory.capacity_rejected(), 500_000);
}

#[test]
fn a_batch_finds_room_for_all_its_new_keys_or_takes_none() {
    let (memory, _) = memory(10);
    let policy = policy("token-bucket", 3);
    for key in names("known", 9) {
        assert!(is_allowed(&spend(&memory, &policy, &key)));
    }
    let two = ["new-1", "new-2"].map(|key| check(&policy, key, 1));
    assert!(is_refused(&ask_all(&memory, &two, Action::Spend)));
    assert_eq!(memory.keys(), 9);

    let known_and_new = ["known-0", "new-1"].map(|key| check(&policy, key, 1));
    assert!(ask_all(&memory, &known_and_new, Action::Spend).is_ok());
    assert!(is_refused(&ask_all(&memory, &two, Action::Spend)));
    let left = ["known-0", "known-1", "new-1"].map(|key| remaining(&memory, &policy, key));
    assert_eq!((left, memory.keys()), ([1, 2, 2], 10));
}

#[test]
fn a_batch_that_fails_gives_its_room_back() {
    let (memory, _) = memory(3);
    let [window, bucket] = ["fixed-window", "token-bucket"]
        .map(|name| Policy::new("same", policy(name, 3).algorithm().clone()).expect("a good name"));
    assert!(is_allowed(&spend(&memory, &window, "a")));
    let checks = ["a", "b", "c"].map(|key| check(&bucket, key, 1));
    for _ in 0..10 {
        let error = ask_all(&memory, &checks, Action::Spend).expect_err("a is of the other kind");
        assert_eq!((error.kind(), memory.keys()), (ErrorKind::Incompatible, 1));
    }
    let bucket = bucket.with_carry_over(CarryOver::Reset);
    let checks = ["a", "b", "c"].map(|key| check(&bucket, key, 1));
    assert!(ask_all(&memory, &checks, Action::Spend).is_ok());
}

#[test]
fn a_batch_that_is_denied_keeps_no_more_room_than_its_keys_need() {
    let (memory, _) = memory(2);
    let policy = policy("fixed-window", 3);
    assert!(is_allowed(&ask(&memory, &check(&policy, "full", 3), Action::Spend)));
    let checks = ["full", "new"].map(|key| check(&policy, key, 1));
    for _ in 0..10 {
        let denied = ask_all(&memory, &checks, Action::Spend).expect("there is room for both");
        assert_eq!([denied[0].remaining, denied[1].remaining], [0, 3]);
    }
    assert!(is_allowed(&spend(&memory, &policy, "new")));
    assert_eq!(memory.keys(), 2);
}

#[test]
fn a_batch_does_not_make_room_of_its_own_idle_keys() {
    let (memory, clock) = memory(2);
    let policy = policy("fixed-window.first", 3);
    for key in ["a", "z"] {
        assert!(is_allowed(&spend(&memory, &policy, key)));
    }
    clock.advance(Micros::from_secs(60));
    let three = ["a", "b", "c"].map(|key| check(&policy, key, 1));
    assert!(is_refused(&ask_all(&memory, &three, Action::Spend)));
    assert!(ask_all(&memory, &three[..2], Action::Spend).is_ok(), "z makes room");
    assert_eq!(memory.keys(), 2);

    for key in ["a", "b", "c", "z"] {
        reset(&memory, &policy, key);
    }
    assert_eq!(memory.keys(), 0, "every record was counted once");
}

#[test]
fn a_refund_makes_nothing_known() {
    let (memory, _) = memory(2);
    let policy = policy("adaptive.shared", 3);
    assert!(ask(&memory, &check(&policy, "key", 1), Action::Refund).is_ok());
    assert_eq!(memory.keys(), 0);
    reset(&memory, &policy, "key");
    assert_eq!(memory.keys(), 0);
    assert!(is_allowed(&spend(&memory, &policy, "key")));
    assert_eq!(memory.keys(), 2, "the key, and the sensor that it shares");
}

#[test]
fn debug_shows_no_key() {
    let (memory, _) = memory(10);
    assert!(is_allowed(&spend(&memory, &policy("token-bucket", 3), "canary")));
    let shown = format!("{memory:?}");
    assert!(shown.contains("keys: 1") && !shown.contains("canary"), "{shown}");
}

fn names(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{prefix}-{number}")).collect()
}
