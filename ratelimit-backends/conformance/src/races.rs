//! Promises about many callers at once. Time stands, so that every sum is exact.
#![expect(missing_docs, reason = "a promise is its name")]

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
};

use ratelimit_core::{Action, Micros, Policy, Receipt};

use crate::{
    StoreUnderTest, policies,
    store_under_test::{check, penalty},
};

pub async fn tasks_at_once_spend_a_fixed_window_exactly(store: StoreUnderTest) {
    spend_exactly(&store, policies::fixed_windows).await;
}

pub async fn tasks_at_once_spend_a_sliding_window_log_exactly(store: StoreUnderTest) {
    spend_exactly(&store, policies::sliding_window_logs).await;
}

pub async fn tasks_at_once_spend_a_sliding_window_counter_exactly(store: StoreUnderTest) {
    spend_exactly(&store, policies::sliding_window_counters).await;
}

pub async fn tasks_at_once_spend_a_token_bucket_exactly(store: StoreUnderTest) {
    spend_exactly(&store, policies::token_buckets).await;
}

pub async fn tasks_at_once_spend_a_leaky_bucket_exactly(store: StoreUnderTest) {
    spend_exactly(&store, policies::leaky_buckets).await;
}

pub async fn tasks_at_once_spend_an_adaptive_hybrid_exactly(store: StoreUnderTest) {
    spend_exactly(&store, policies::adaptive_hybrids).await;
}

pub async fn tasks_at_once_hold_permits_in_flight_exactly(store: StoreUnderTest) {
    spend_exactly(&store, policies::permits_in_flight).await;
}

/// Each task holds a permit now and then, and gives it back: once, twice, or by extending it first.
pub async fn tasks_at_once_hold_no_more_than_the_limit(store: StoreUnderTest) {
    const LIMIT: u64 = TASKS / 16;
    let policy = policies::permits_in_flight(LIMIT).swap_remove(0);
    let (held, most) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let work = together(&store, |task, store| {
        let (policy, held, most) = (policy.clone(), Arc::clone(&held), Arc::clone(&most));
        async move {
            for turn in 0..store.effort.checks_per_task {
                let spent = store.spend(&policy, "key", 1).await;
                if !spent.is_allowed() {
                    continue;
                }
                most.fetch_max(1 + held.fetch_add(1, SeqCst), SeqCst);
                let receipt = Some(Receipt::of(&spent, &policy, 1));
                let hold = [check(&policy, b"key", 1).with_receipt(receipt)];
                if (task + turn).is_multiple_of(3) {
                    let extended = store.apply(&hold, Action::Extend).await;
                    assert!(extended.expect("the store decides")[0].is_allowed(), "it is held");
                }
                // Nobody else has a permit before the store has heard of it.
                held.fetch_sub(1, SeqCst);
                for _ in 0..1 + turn % 2 {
                    let given = store.apply(&hold, Action::Refund).await;
                    assert!(given.expect("the store decides")[0].is_allowed());
                }
            }
        }
    });
    work.await;
    assert!(most.load(SeqCst) <= LIMIT, "{most:?} of {LIMIT}");
    assert_eq!(store.peek(&policy, "key").await.remaining, LIMIT, "none is lost");
}

/// Each task has a key of its own, and meets the load that all of them make.
// FAULTS 205.
pub async fn tasks_at_once_feed_a_shared_sensor_exactly(store: StoreUnderTest) {
    let policy = policies::shared_sensors(TASKS).swap_remove(0);
    let spent = together(&store, |task, store| {
        let policy = policy.clone();
        async move { store.spend(&policy, task.to_string(), 1).await }
    });
    let mut bursts: Vec<_> = spent.await.into_iter().map(|spent| spent.detail(&policy)).collect();

    let alone = Policy::new("alone", policy.algorithm().clone()).expect("the name is good");
    let mut wanted = Vec::new();
    for task in 0..TASKS {
        wanted.push(store.spend(&alone, task.to_string(), 1).await.detail(&alone));
    }
    bursts.sort_by_key(|detail| format!("{detail:?}"));
    wanted.sort_by_key(|detail| format!("{detail:?}"));
    assert_eq!(bursts, wanted, "as if one task had come after the other");
}

/// Batches over two of three keys, in all orders; a store that locks keys has to sort them.
pub async fn batches_in_opposite_orders_neither_wait_nor_overspend(store: StoreUnderTest) {
    let policy = policies::fixed_windows(limit(&store)).swap_remove(0);
    let keys: [&[u8]; 3] = [b"a", b"b", b"c"];
    let charges = together(&store, |task, store| {
        let policy = policy.clone();
        let checks_per_task = store.effort.checks_per_task;
        async move {
            let mut charges = [0; 3];
            for turn in 0..checks_per_task {
                let (first, second) = ORDERS[index(task + turn) % ORDERS.len()];
                let checks = [first, second].map(|key| check(&policy, keys[key], 1));
                let spent = store.apply(&checks, Action::Spend).await;
                if spent.expect("the store decides").iter().all(|one| one.is_allowed()) {
                    charges[first] += 1;
                    charges[second] += 1;
                }
            }
            charges
        }
    });
    let charges = charges.await;
    for (index, key) in keys.into_iter().enumerate() {
        let charged: u64 = charges.iter().map(|charges| charges[index]).sum();
        let left = store.peek(&policy, key).await.remaining;
        assert_eq!(charged + left, policy.limit(), "each permit was charged once, or is left");
    }
}

/// As many as one spender alone is admitted. Of two kinds it may be another number, up to the limit: of
/// an adaptive hybrid, whose load every take raises; of a queue, which has room for more than one permit
/// beside the last that does not wait too long.
pub async fn takes_at_once_get_no_more_than_there_is(store: StoreUnderTest) {
    for policy in policies::one_of_each(limit(&store)) {
        let (wanted, _) = store.exhaust(&policy, "alone").await;
        let taken = together(&store, |task, store| {
            let (policy, most) = (policy.clone(), 1 + task % 7);
            async move {
                let mut taken = 0;
                for _ in 0..store.effort.checks_per_task {
                    let take = store.apply_one(&policy, "key", most, Action::Take).await;
                    assert!(take.charged() <= most, "{take:?}");
                    taken += take.charged();
                }
                taken
            }
        });
        let taken: u64 = taken.await.into_iter().sum();
        if policy.algorithm().measures_load() || policy.name() == "leaky-bucket.queue" {
            assert!(0 < taken && taken <= policy.limit(), "{policy}: {taken}");
        } else {
            assert_eq!(taken, wanted, "{policy}");
        }
    }
}

pub async fn refunds_at_once_lose_nothing(store: StoreUnderTest) {
    let policy = policies::fixed_windows(TASKS / 2).swap_remove(0);
    let work = together(&store, |_, store| {
        let policy = policy.clone();
        async move {
            for _ in 0..store.effort.checks_per_task {
                if store.spend(&policy, "key", 1).await.is_allowed() {
                    assert!(store.refund(&policy, "key", 1).await.is_allowed());
                }
            }
        }
    });
    work.await;
    assert_eq!(store.peek(&policy, "key").await.remaining, policy.limit());
}

/// Spends, refunds of certain charges, and penalties, all of one key.
pub async fn refunds_of_charges_and_penalties_amid_checks_are_counted_exactly(
    store: StoreUnderTest,
) {
    let policy = policies::fixed_windows(3 * TASKS * store.effort.checks_per_task).swap_remove(0);
    let work = together(&store, |task, store| {
        let policy = policy.clone();
        async move {
            let mut charged = 0;
            for turn in 0..store.effort.checks_per_task {
                let spent = store.spend(&policy, "key", 2).await;
                assert!(spent.is_allowed(), "there is room for all: {spent:?}");
                charged += 2;
                match (task + turn) % 3 {
                    0 => {
                        let receipt = Some(Receipt::of(&spent, &policy, 2));
                        let refund = [check(&policy, b"key", 1).with_receipt(receipt)];
                        let given = store.apply(&refund, Action::Refund).await;
                        assert!(given.expect("the store decides")[0].is_allowed());
                        charged -= 1;
                    }
                    1 => {
                        let penalty = store.apply_one(&policy, "key", 1, Action::Penalize).await;
                        assert!(penalty.is_allowed(), "nothing can deny it: {penalty:?}");
                        charged += 1;
                    }
                    _ => {}
                }
            }
            charged
        }
    });
    let charged: u64 = work.await.into_iter().sum();
    let left = store.peek(&policy, "key").await.remaining;
    assert_eq!(left, policy.limit() - charged, "none was lost, and none counted twice");
}

/// Each task penalizes amid spends, and all of them together by more than may be owed. A queue is left
/// out: the room behind what it has admitted is not the sum of its parts.
pub async fn penalties_at_once_owe_no_more_than_they_may(store: StoreUnderTest) {
    const DEBT_MAX: u64 = TASKS / 2;
    for policy in policies::keys_apart(TASKS / 4) {
        let Ok(policy) = policy.with_debt_max(DEBT_MAX) else { continue };
        if policy.name() == "leaky-bucket.queue" {
            continue;
        }
        let (room, _) = store.exhaust(&policy, "alone").await;
        let charged = together(&store, |task, store| {
            let policy = policy.clone();
            async move {
                let mut charged = store.spend(&policy, "key", 1).await.charged();
                for _ in 0..store.effort.checks_per_task {
                    let over = [penalty(&policy, b"key", 2 + task % 7)];
                    let decisions = store.apply(&over, Action::Penalize).await;
                    charged += decisions.expect("the store decides")[0].charged();
                }
                charged
            }
        });
        let charged: u64 = charged.await.into_iter().sum();
        assert_eq!(charged, room + DEBT_MAX, "{policy}");
        let denied = store.spend(&policy, "key", 1).await;
        assert!(!denied.is_allowed() && denied.is_in_debt(), "{policy}: {denied:?}");
    }
}

/// One task blocks the key that the others spend on.
pub async fn a_block_amid_checks_denies_all_that_follow(store: StoreUnderTest) {
    let policy = policies::fixed_windows(TASKS * store.effort.checks_per_task).swap_remove(0);
    let length = Micros::from_secs(30);
    let work = together(&store, |task, store| {
        let policy = policy.clone();
        async move {
            for turn in 0..store.effort.checks_per_task {
                if task == 0 && turn == store.effort.checks_per_task / 2 {
                    let _ = store.apply_one(&policy, "key", 1, Action::Block(length)).await;
                }
                let spent = store.spend(&policy, "key", 1).await;
                let is_after = task == 0 && store.effort.checks_per_task / 2 <= turn;
                assert!(!is_after || !spent.is_allowed(), "turn {turn}: {spent:?}");
            }
        }
    });
    work.await;
    let denied = store.spend(&policy, "key", 1).await;
    assert_eq!((denied.remaining, denied.retry_after()), (0, length));
}

pub async fn a_reset_amid_checks_grants_one_limit(store: StoreUnderTest) {
    let policy = policies::token_buckets(10).swap_remove(0);
    let work = together(&store, |task, store| {
        let policy = policy.clone();
        async move {
            let mut admitted = 0;
            for turn in 0..store.effort.checks_per_task {
                admitted += u64::from(store.spend(&policy, "key", 1).await.is_allowed());
                if task == 0 && turn % 8 == 0 {
                    store.reset(&policy, "key").await;
                }
            }
            admitted
        }
    });
    let admitted: u64 = work.await.into_iter().sum();
    let resets = store.effort.checks_per_task.div_ceil(8);
    assert!(admitted <= policy.limit() * (resets + 1), "{admitted} in {resets} resets");
}

/// All ordered pairs of three keys.
const ORDERS: [(usize, usize); 6] = [(0, 1), (1, 0), (1, 2), (2, 1), (2, 0), (0, 2)];

/// Tasks that race: as many as the two-method adapter promises to get through at once.
const TASKS: u64 = 64;

/// Many tasks, one key, frozen time: they are admitted as often as one task alone.
async fn spend_exactly(store: &StoreUnderTest, policies: impl Fn(u64) -> Vec<Policy>) {
    for policy in policies(limit(store)) {
        let (wanted, _) = store.exhaust(&policy, "alone").await;
        let admitted = together(store, |_, store| {
            let policy = policy.clone();
            async move {
                let mut admitted = 0;
                for _ in 0..store.effort.checks_per_task {
                    admitted += u64::from(store.spend(&policy, "key", 1).await.is_allowed());
                }
                admitted
            }
        });
        let admitted: u64 = admitted.await.into_iter().sum();
        assert_eq!(admitted, wanted, "{policy}");
    }
}

/// A third of all checks, so that some are denied even where a policy admits twice its limit.
const fn limit(store: &StoreUnderTest) -> u64 {
    (TASKS * store.effort.checks_per_task).div_ceil(3)
}

async fn together<T, F>(store: &StoreUnderTest, work: impl Fn(u64, StoreUnderTest) -> F) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let tasks = (0..TASKS).map(|task| tokio::spawn(work(task, store.clone())));
    let mut results = Vec::new();
    for task in tasks.collect::<Vec<_>>() {
        results.push(task.await.expect("the task does not panic"));
    }
    results
}

fn index(number: u64) -> usize {
    usize::try_from(number).expect("a small number")
}
