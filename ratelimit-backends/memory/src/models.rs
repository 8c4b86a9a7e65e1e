//! The store's own protocol, in every interleaving of a few threads: `cargo xtask loom`.
//!
//! Loom stands in for locks and atomics, and runs each model as often as it can go differently.
//! A deadlock, and what a model asserts, fail it.

use std::{num::NonZeroUsize, time::Duration};

use loom::{sync::atomic::AtomicU64, thread};
use ratelimit_backend::{BackendError, Clock, ErrorKind, ManualClock, SyncBackend};
use ratelimit_core::{
    Action, Batch, Check, Decision, Key, Micros, Policy, Timestamp, fixed_window,
};

use crate::Memory;

#[test]
// FAULTS 47, 203.
fn two_spend_one_permit_once() {
    loom::model(|| {
        let memory = memory(4).0;
        let (one, other) = together(&memory, |memory| spend(memory, &per_minute(1), "a"));
        assert_eq!(u32::from(is_allowed(&one)) + u32::from(is_allowed(&other)), 1);
    });
}

#[test]
// FAULTS 50.
fn a_key_that_is_charged_while_room_is_made_keeps_its_charge() {
    loom::model(|| {
        let (memory, clock) = memory(1);
        let policy = per_minute(2);
        assert!(is_allowed(&spend(&memory, &policy, "a")));
        clock.advance(MINUTE);
        let evicts = spawn(&memory, |memory| spend(memory, &per_minute(2), "b"));
        let charged = is_allowed(&spend(&memory, &policy, "a"));
        let stored = is_allowed(&evicts.join().unwrap());
        assert!(charged != stored, "one of them has the room");
        let left = ["a", "b"].map(|key| remaining(&memory, &policy, key));
        assert_eq!(left, if charged { [1, 2] } else { [2, 1] });
        assert_eq!(memory.keys(), 1);
    });
}

#[test]
// FAULTS 49.
fn a_reset_grants_one_limit() {
    loom::model(|| {
        let memory = memory(4).0;
        let policy = per_minute(1);
        assert!(is_allowed(&spend(&memory, &policy, "a")));
        let resets = spawn(&memory, |memory| drop(ask(memory, &per_minute(1), "a", Action::Reset)));
        let before = is_allowed(&spend(&memory, &policy, "a"));
        resets.join().unwrap();
        let after = is_allowed(&spend(&memory, &policy, "a"));
        assert!(before != after, "one more, whenever the reset came");
        assert_eq!(memory.keys(), 1);
    });
}

#[test]
// FAULTS 64.
fn the_last_room_is_given_once() {
    loom::model(|| {
        let memory = memory(1).0;
        let other = spawn(&memory, |memory| spend(memory, &per_minute(1), "b"));
        let answers = [spend(&memory, &per_minute(1), "a"), other.join().unwrap()];
        assert_eq!(answers.iter().filter(|answer| is_allowed(answer)).count(), 1);
        let refused = answers.iter().filter_map(|answer| answer.as_ref().err());
        assert!(refused.map(BackendError::kind).eq([ErrorKind::Capacity]));
        assert_eq!((memory.keys(), memory.capacity_rejected()), (1, 1));
    });
}

#[test]
fn batches_over_two_shards_never_wait_for_each_other() {
    loom::model(|| {
        let memory = memory(4).0;
        let [a, b] = of_two_shards(&memory);
        let other = spawn(&memory, move |memory| spend_all(memory, &per_minute(1), &[b, a]));
        let one = spend_all(&memory, &per_minute(1), &[a, b]);
        let admitted = [one, other.join().unwrap()];
        assert_eq!(admitted.iter().filter(|admitted| **admitted).count(), 1);
        let left = [a, b].map(|key| remaining(&memory, &per_minute(1), key));
        assert_eq!((left, memory.keys()), ([0, 0], 2));
    });
}

#[test]
fn a_batch_and_a_single_check_charge_a_key_one_after_the_other() {
    loom::model(|| {
        let memory = memory(4).0;
        let [a, b] = of_two_shards(&memory);
        let single = spawn(&memory, move |memory| is_allowed(&spend(memory, &per_minute(1), b)));
        let batch = spend_all(&memory, &per_minute(1), &[a, b]);
        assert!(batch != single.join().unwrap(), "b has one permit");
        let left = [a, b].map(|key| remaining(&memory, &per_minute(1), key));
        assert_eq!(left, [u64::from(!batch), 0], "all of the batch is charged, or none");
        assert_eq!(memory.keys(), if batch { 2 } else { 1 }, "what was not needed is given back");
    });
}

#[test]
fn known_keys_of_a_batch_are_charged_all_or_none() {
    loom::model(|| {
        let memory = memory(4).0;
        let policy = per_minute(2);
        let [a, b] = of_two_shards(&memory);
        assert!(spend_all(&memory, &policy, &[a, b]));
        let batch_policy = policy.clone();
        let batch = spawn(&memory, move |memory| spend_all(memory, &batch_policy, &[a, b]));
        let single = is_allowed(&spend(&memory, &policy, b));
        let batch = batch.join().unwrap();
        assert!(batch != single);
        let left = [a, b].map(|key| remaining(&memory, &policy, key));
        assert_eq!(left, [u64::from(!batch), 0]);
    });
}

#[test]
fn what_a_denied_batch_gives_back_is_missed_by_nobody() {
    loom::model(|| {
        let memory = memory(4).0;
        let policy = per_minute(2);
        let [a, b] = of_two_shards(&memory);
        assert!(spend_all(&memory, &policy, &[a, b]) && is_allowed(&spend(&memory, &policy, b)));
        let batch_policy = policy.clone();
        let batch = spawn(&memory, move |memory| spend_all(memory, &batch_policy, &[a, b]));
        assert!(is_allowed(&spend(&memory, &policy, a)));
        assert!(!batch.join().unwrap());
        assert_eq!(remaining(&memory, &policy, a), 0);
    });
}

#[test]
fn batches_that_race_for_the_last_room_take_all_of_it_or_none() {
    loom::model(|| {
        let memory = memory(3).0;
        let [a, b] = of_two_shards(&memory);
        let other = spawn(&memory, move |memory| spend_all(memory, &named("other", 1), &[a, b]));
        let one = spend_all(&memory, &named("one", 1), &[a, b]);
        assert!(one != other.join().unwrap());
        assert_eq!(memory.keys(), 2, "what was reserved in vain is given back");
        assert!(is_allowed(&spend(&memory, &per_minute(1), "c")));
    });
}

#[test]
// FAULTS 64.
fn a_batch_that_finds_no_room_leaves_what_it_knew() {
    loom::model(|| {
        let memory = memory(2).0;
        let [a, b] = of_two_shards(&memory);
        let policy = per_minute(2);
        assert!(is_allowed(&spend(&memory, &policy, a)));
        let other = spawn(&memory, |memory| is_allowed(&spend(memory, &named("other", 1), "c")));
        let charged = spend_all(&memory, &policy, &[a, b]);
        assert!(charged != other.join().unwrap(), "one of them has the room");
        let left = [a, b].map(|key| remaining(&memory, &policy, key));
        assert_eq!(left, if charged { [0, 1] } else { [1, 2] });
        assert_eq!((memory.keys(), memory.capacity_rejected()), (2, 1));
    });
}

#[test]
fn a_live_change_loses_no_charge() {
    loom::model(|| {
        let memory = memory(4).0;
        assert!(is_allowed(&spend(&memory, &per_minute(3), "a")));
        let changed = spawn(&memory, |memory| spend(memory, &per_minute(9), "a"));
        assert!(is_allowed(&spend(&memory, &per_minute(3), "a")));
        assert!(is_allowed(&changed.join().unwrap()));
        assert_eq!(remaining(&memory, &per_minute(9), "a"), 6);
    });
}

/// Every reading is of a new window of one permit. A time that was read before the lock was had
/// would pull the other's charge back into its own window, and be denied.
#[test]
fn time_is_read_under_the_lock() {
    loom::model(|| {
        let clock = Ticking(AtomicU64::new(60_000_000));
        let memory = Memory::with_clock(clock, room(4));
        let other = spawn(&memory, |memory| spend(memory, &per_minute(1), "a"));
        assert!(is_allowed(&spend(&memory, &per_minute(1), "a")));
        assert!(is_allowed(&other.join().unwrap()));
    });
}

#[test]
fn a_batch_reads_the_time_under_its_locks() {
    loom::model(|| {
        let clock = Ticking(AtomicU64::new(60_000_000));
        let memory = Memory::with_clock(clock, room(4));
        let policy = per_minute(1);
        let [a, b] = of_two_shards(&memory);
        assert!(spend_all(&memory, &policy, &[a, b]));
        let batch_policy = policy.clone();
        let batch = spawn(&memory, move |memory| spend_all(memory, &batch_policy, &[a, b]));
        assert!(is_allowed(&spend(&memory, &policy, b)));
        assert!(batch.join().unwrap());
    });
}

#[derive(Debug)]
struct Ticking(AtomicU64);

impl Clock for Ticking {
    fn now(&self) -> Result<Timestamp, BackendError> {
        let step = MINUTE.as_micros();
        let now = self.0.fetch_add(step, loom::sync::atomic::Ordering::Relaxed);
        Ok(Timestamp::from_micros(now).unwrap())
    }
}

const MINUTE: Micros = Micros::from_secs(60);

fn memory(keys_max: usize) -> (Memory<ManualClock>, ManualClock) {
    let clock = ManualClock::new(Timestamp::from_micros(60_000_000).unwrap());
    (Memory::with_clock(clock.clone(), room(keys_max)), clock)
}

fn room(keys_max: usize) -> NonZeroUsize {
    NonZeroUsize::new(keys_max).unwrap()
}

fn per_minute(limit: u64) -> Policy {
    named("policy", limit)
}

fn named(name: &str, limit: u64) -> Policy {
    let quota = fixed_window::Quota::new(limit, Duration::from_secs(60), Default::default());
    Policy::new(name, quota.unwrap()).unwrap()
}

fn spend<C: Clock>(
    memory: &Memory<C>,
    policy: &Policy,
    key: &str,
) -> Result<Decision, BackendError> {
    ask(memory, policy, key, Action::Spend)
}

fn ask<C: Clock>(
    memory: &Memory<C>,
    policy: &Policy,
    key: &str,
    action: Action,
) -> Result<Decision, BackendError> {
    let check = Check::new(policy, Key::new(key).unwrap(), 1).unwrap();
    Ok(memory.apply_now(Batch::one(&check), action)?[0])
}

/// Returns true if all of them were admitted.
fn spend_all<C: Clock>(memory: &Memory<C>, policy: &Policy, keys: &[&str]) -> bool {
    let keys = keys.iter().map(|key| Key::new(*key).unwrap());
    let checks: Vec<_> = keys.map(|key| Check::new(policy, key, 1).unwrap()).collect();
    let decisions = memory.apply_now(Batch::new(&checks).unwrap(), Action::Spend);
    decisions.is_ok_and(|decisions| decisions.iter().all(Decision::is_allowed))
}

fn remaining(memory: &Memory<ManualClock>, policy: &Policy, key: &str) -> u64 {
    ask(memory, policy, key, Action::Peek).unwrap().remaining
}

fn is_allowed(answer: &Result<Decision, BackendError>) -> bool {
    answer.as_ref().is_ok_and(Decision::is_allowed)
}

fn spawn<C: Clock + 'static, T: 'static>(
    memory: &Memory<C>,
    work: impl FnOnce(&Memory<C>) -> T + 'static,
) -> thread::JoinHandle<T> {
    let memory = memory.clone();
    thread::spawn(move || work(&memory))
}

/// The results of two threads that do the same.
fn together<T: 'static>(
    memory: &Memory<ManualClock>,
    work: impl Fn(&Memory<ManualClock>) -> T + Clone + 'static,
) -> (T, T) {
    let other = spawn(memory, work.clone());
    (work(memory), other.join().unwrap())
}

/// Two keys that lie in different shards.
fn of_two_shards<C: Clock>(memory: &Memory<C>) -> [&'static str; 2] {
    let keys = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let shard = |key: &&str| memory.shard_of(&per_minute(1), key);
    let other = keys.iter().find(|key| shard(key) != shard(&"a")).unwrap();
    ["a", other]
}
