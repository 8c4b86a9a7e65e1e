//! Threads that meet at a key, a shard, or the bound.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

use fastrand::Rng;
use ratelimit_backend::{BackendError, Clock};
use ratelimit_conformance::one_of_each;
use ratelimit_core::{Action, Detail, Micros, Timestamp, fixed_window};

use crate::store_under_test::{
    Answer, ask_all, at, check, is_allowed, is_refused, memory, policy, remaining, reset, spend,
    with_clock,
};

#[test]
// FAULTS 47.
fn sixty_four_threads_spend_exactly_the_limit_of_each_algorithm() {
    for policy in one_of_each(100_000) {
        let (memory, _) = memory(1_000);
        let alone = admitted((0..640_000).map(|_| spend(&memory, &policy, "alone")));
        let (memory, _) = crate::store_under_test::memory(1_000);
        let together =
            on_threads(64, |_| admitted((0..10_000).map(|_| spend(&memory, &policy, "key"))));
        assert_eq!(together.iter().sum::<u64>(), alone, "{policy}");
    }
}

/// A time that was read before a lock was had would reopen a window that is over.
#[test]
// FAULTS 48.
fn no_window_is_spent_twice_while_time_goes_on() {
    let window = Micros::new(50);
    let quota = fixed_window::Quota::new(10, window.into(), Default::default());
    let policy = ratelimit_core::Policy::new("fast", quota.expect("good numbers"));
    let policy = policy.expect("a good name");
    let memory = with_clock(Ticking::default(), 10);
    let starts = on_threads(4, |_| {
        let answers = (0..50_000).map(|_| spend(&memory, &policy, "key").expect("it is known"));
        let admitted = answers.filter(|decision| decision.is_allowed());
        admitted.map(|decision| window_start(decision.detail(&policy))).collect::<Vec<_>>()
    });
    let mut starts = starts.concat();
    starts.sort_unstable();
    for spent in starts.chunk_by(|one, other| one == other) {
        assert!(spent.len() <= 10, "{} permits in the window from {:?}", spent.len(), spent[0]);
    }
}

#[test]
// FAULTS 48.
fn no_token_comes_back_twice_while_time_goes_on() {
    let quota = ratelimit_core::token_bucket::Quota::new(5, 1, Micros::new(10).into());
    let policy = ratelimit_core::Policy::new("fast", quota.expect("good numbers"));
    let policy = policy.expect("a good name");
    let memory = with_clock(Ticking::default(), 10);
    let admitted = on_threads(4, |_| admitted((0..50_000).map(|_| spend(&memory, &policy, "key"))));
    // 200 000 checks are as many ticks of a microsecond.
    assert!(admitted.iter().sum::<u64>() <= 5 + 200_000 / 10);
}

#[test]
// FAULTS 49.
fn checks_and_sweeps_and_resets_grant_one_limit_per_reset() {
    const TURNS: u32 = 20_000;
    let (memory, clock) = memory(50);
    let year = Micros::from_secs(365 * 86_400);
    let quota = fixed_window::Quota::new(5, year.into(), fixed_window::Align::First);
    let lasting = ratelimit_core::Policy::new("lasting", quota.expect("good numbers"));
    let (lasting, passing) = (lasting.expect("a good name"), policy("fixed-window.first", 5));
    let came = AtomicU64::new(admitted((0..10).map(|_| spend(&memory, &lasting, "key"))));
    assert_eq!(came.swap(0, Ordering::Relaxed), 5);
    let counts = on_threads(8, |thread| {
        let turn = |turn: u32| {
            if thread == 0 {
                // Keys of a minute are idle soon, and make room for others.
                clock.advance(Micros::from_secs(1));
                if turn.is_multiple_of(1_000) {
                    reset(&memory, &lasting, "key");
                }
            }
            if thread == 0 || 4 <= thread {
                let new = spend(&memory, &passing, &format!("{thread}-{turn}"));
                came.fetch_add(is_allowed(&new).into(), Ordering::Relaxed);
            }
            (thread < 4).then(|| spend(&memory, &lasting, "key"))
        };
        admitted((0..TURNS).filter_map(turn))
    });
    let (resets, admitted) = (u64::from(TURNS / 1_000), counts.iter().sum::<u64>());
    assert!(admitted <= 5 * resets, "{admitted} admitted, {resets} resets");
    assert!(1_000 < came.into_inner(), "idle keys make room");
    assert!(memory.keys() <= 50);
}

#[test]
fn batches_over_common_keys_charge_all_of_them_or_none() {
    let (memory, _) = memory(100);
    let policy = policy("fixed-window", 20_000);
    let charges = on_threads(8, |thread| {
        let mut random = Rng::with_seed(thread);
        let mut charges = [0_u64; KEYS.len()];
        for _ in 0..10_000 {
            let first = random.usize(..8);
            let indices = [first, (first + 3) % 8, (first + 6) % 8];
            let checks = indices.map(|index| check(&policy, KEYS[index], 1));
            let spent = ask_all(&memory, &checks, Action::Spend).expect("there is room");
            if spent.iter().all(|decision| decision.is_allowed()) {
                indices.into_iter().for_each(|index| charges[index] += 1);
            }
        }
        charges
    });
    for (index, key) in KEYS.into_iter().enumerate() {
        let charged: u64 = charges.iter().map(|charges| charges[index]).sum();
        assert_eq!(charged + remaining(&memory, &policy, key), 20_000, "{key}");
    }
}

#[test]
fn threads_that_flood_never_pass_the_bound_together() {
    let (memory, clock) = memory(1_000);
    let policy = policy("token-bucket", 10);
    let refused = on_threads(8, |thread| {
        let mut refused = 0;
        for turn in 0..10_000_u32 {
            let answer = spend(&memory, &policy, &format!("{thread}-{turn}"));
            refused += u64::from(is_refused(&answer));
            clock.advance(Micros::new(1_000));
            assert!(memory.keys() <= 1_000);
        }
        refused
    });
    assert_eq!(refused.iter().sum::<u64>(), memory.capacity_rejected());
    clock.advance(Micros::from_secs(600));
    for number in 0..1_000_u32 {
        assert!(
            is_allowed(&spend(&memory, &policy, &number.to_string())),
            "all room is found again"
        );
    }
}

#[test]
// FAULTS 51.
fn keys_are_counted_while_others_are_checked() {
    let (memory, _) = memory(1_000);
    let policy = policy("token-bucket", 100_000);
    let counted = on_threads(4, |thread| {
        let mut most = 0;
        for turn in 0..250_000_u32 {
            if thread == 0 {
                most = most.max(memory.keys());
                assert!(!format!("{memory:?}").contains("key-"));
            } else {
                let key = format!("key-{}", turn % 100);
                assert!(is_allowed(&spend(&memory, &policy, &key)));
            }
        }
        most
    });
    assert!(counted[0] <= 100);
    assert_eq!(memory.keys(), 100);
}

const KEYS: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];

/// A clock of which no two readings are the same.
#[derive(Debug, Default)]
struct Ticking(AtomicU64);

impl Clock for Ticking {
    fn now(&self) -> Result<Timestamp, BackendError> {
        Ok(at(self.0.fetch_add(1, Ordering::Relaxed)))
    }
}

/// Runs `work` on so many threads at once, and collects what they return.
fn on_threads<T: Send>(count: u64, work: impl Fn(u64) -> T + Sync) -> Vec<T> {
    let work = &work;
    thread::scope(|scope| {
        let threads: Vec<_> = (0..count).map(|thread| scope.spawn(move || work(thread))).collect();
        threads.into_iter().map(|thread| thread.join().expect("no thread panics")).collect()
    })
}

fn admitted(answers: impl Iterator<Item = Answer>) -> u64 {
    answers.filter(is_allowed).map(|_| 1).sum()
}

fn window_start(detail: Option<Detail>) -> Timestamp {
    match detail {
        Some(Detail::FixedWindow(fixed_window::Detail { window_start, .. })) => window_start,
        other => panic!("{other:?} is not of a fixed window"),
    }
}
