//! Many callers of one backend on one key of a store that is a turn of the executor away.

#[expect(dead_code, reason = "the example is a program")]
#[path = "../examples/hash_map.rs"]
mod hash_map;

use std::{
    future::{Future, pending, poll_fn},
    pin::pin,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    task::Poll,
    time::Duration,
};

use async_trait::async_trait;
use ratelimit_backend::{Backend, BackendError, ManualClock, Store, StoreBackend, Swap, Versioned};
use ratelimit_core::{Action, Batch, Check, Decision, Key, Policy, fixed_window};
use tokio::task::{JoinSet, yield_now};

use crate::hash_map::Map;

/// As many as this would lose 64 swaps in a row, if they all went on trying.
const CALLERS: usize = 256;

// FAULTS 212.
#[tokio::test]
async fn of_many_callers_on_a_key_none_gives_up() {
    let backend: &'static _ = Box::leak(Box::new(backend()));
    let mut callers = JoinSet::new();
    for number in 0..CALLERS {
        let action = [Action::Spend, Action::Take, Action::Penalize][number % 3];
        callers.spawn(async move {
            for _ in 0..10 {
                let decision = spend(backend, &["key"], action).await.expect("none fails");
                assert_eq!(decision[0].charged(), 1);
            }
        });
    }
    callers.join_all().await;
    let left = spend(backend, &["key"], Action::Peek).await.expect("it works")[0].remaining;
    assert_eq!(
        usize::try_from(LIMIT - left),
        Ok(10 * CALLERS),
        "none is lost, none is charged twice"
    );
    let lost = backend.get_ref().lost.load(Ordering::Relaxed);
    assert!(lost <= 10 * CALLERS * 17, "{lost} swaps were lost");
}

// FAULTS 212.
#[tokio::test]
async fn who_keeps_losing_to_those_that_come_is_let_first() {
    let backend = backend();
    let mut victim = pin!(one(&backend, 1));
    let mut lost = 0;
    let waiting = loop {
        for _ in 0..2 {
            assert!(poll_once(victim.as_mut()).await.is_none(), "it has loaded, and not swapped");
        }
        let mut other = Box::pin(one(&backend, 1));
        for _ in 0..2 {
            assert!(poll_once(other.as_mut()).await.is_none());
        }
        if poll_once(other.as_mut()).await.is_none() {
            break other;
        }
        lost += 1;
        assert_eq!(backend.get_ref().lost.load(Ordering::Relaxed), lost - 1, "it is about to lose");
    };
    assert_eq!(lost, 16);
    assert!(victim.await.is_allowed());
    assert!(waiting.await.is_allowed(), "the line is open again");
    assert!(one(&backend, 1).await.is_allowed());
    assert_eq!(backend.get_ref().lost.load(Ordering::Relaxed), 16);
}

#[tokio::test]
async fn batches_whose_keys_are_in_any_order_do_not_wait_for_each_other() {
    let backend: &'static _ = Box::leak(Box::new(backend()));
    let mut callers = JoinSet::new();
    for number in 0..CALLERS {
        let keys = [["a", "b"], ["b", "a"], ["b", "c"], ["c", "a"]][number % 4];
        callers.spawn(async move {
            spend(backend, &keys, Action::Spend).await.expect("none fails");
        });
    }
    callers.join_all().await;
    let left = spend(backend, &["a", "b", "c"], Action::Peek).await.expect("it works");
    let spent = left.iter().map(|decision| LIMIT - decision.remaining).collect::<Vec<_>>();
    assert_eq!(spent, [192, 192, 128]);
}

#[tokio::test]
async fn who_leaves_keeps_nobody_waiting_and_denials_stand_in_no_line() {
    let backend = backend();
    let mut second = pin!(one(&backend, 1));
    let (mut third, mut fourth) = (pin!(one(&backend, 1)), pin!(one(&backend, 1)));
    // One wins each time, and the others begin again, until they stand in line.
    for number in 0..8 {
        for caller in [&mut second, &mut third, &mut fourth] {
            assert!(poll_once(caller.as_mut()).await.is_none());
            assert!(poll_once(caller.as_mut()).await.is_none());
        }
        assert!(one(&backend, 1).await.is_allowed(), "{number}");
    }
    for caller in [&mut second, &mut third, &mut fourth] {
        assert!(poll_once(caller.as_mut()).await.is_none());
    }
    assert_eq!(backend.get_ref().lost.load(Ordering::Relaxed), 3 * 8);
    assert!(one(&backend, LIMIT - 9).await.is_allowed());
    backend.get_ref().hangs.store(true, Ordering::Relaxed);
    for _ in 0..9 {
        for caller in [&mut second, &mut third, &mut fourth] {
            assert!(poll_once(caller.as_mut()).await.is_none(), "the second hangs");
        }
    }
    // A cost that does not fit changes nothing.
    assert!(!one(&backend, LIMIT).await.is_allowed());
    third.set(one(&backend, LIMIT));
    assert!(!third.await.is_allowed());
    backend.get_ref().hangs.store(false, Ordering::Relaxed);
    second.set(one(&backend, LIMIT));
    assert!(fourth.await.is_allowed(), "those before it have left");
    assert!(!second.await.is_allowed());
}

const LIMIT: u64 = 1_000_000;

async fn one(backend: &StoreBackend<Near, ManualClock>, cost: u64) -> Decision {
    let policy = policy();
    let check = Check::new(&policy, Key::new("key").expect("a short key"), cost);
    let check = check.expect("a cost that fits");
    backend.apply(Batch::one(&check), Action::Spend).await.expect("none fails")[0]
}

/// The outcome, if there is one after one poll.
async fn poll_once<F: Future>(mut future: std::pin::Pin<&mut F>) -> Option<F::Output> {
    poll_fn(|context| {
        Poll::Ready(match future.as_mut().poll(context) {
            Poll::Ready(outcome) => Some(outcome),
            Poll::Pending => None,
        })
    })
    .await
}

async fn spend(
    backend: &StoreBackend<Near, ManualClock>,
    keys: &[&str],
    action: Action,
) -> Result<Vec<Decision>, BackendError> {
    let policy = policy();
    let check = |key| Check::new(&policy, Key::new(key).expect("a short key"), 1);
    let checks: Vec<_> = keys.iter().map(|key| check(*key).expect("it fits")).collect();
    let batch = Batch::new(&checks).expect("there is a check");
    Ok(backend.apply(batch, action).await?.to_vec())
}

fn policy() -> Policy {
    let hour = Duration::from_secs(3_600);
    let quota = fixed_window::Quota::new(LIMIT, hour, fixed_window::Align::Epoch);
    Policy::new("window", quota.expect("good numbers")).expect("a good name")
}

fn backend() -> StoreBackend<Near, ManualClock> {
    StoreBackend::with_clock(Near::default(), ManualClock::default())
}

/// The map of the example, one turn of the executor away.
#[derive(Default)]
struct Near {
    map: Map,
    /// Swaps that were not made.
    lost: AtomicUsize,
    /// Swaps do not end.
    hangs: AtomicBool,
}

#[async_trait]
impl Store for Near {
    type Version = Vec<u8>;

    async fn load(&self, key: &[u8]) -> Result<Option<Versioned<Vec<u8>>>, BackendError> {
        let loaded = self.map.load(key).await;
        yield_now().await;
        loaded
    }

    async fn compare_and_swap(&self, swaps: &[Swap<'_, Vec<u8>>]) -> Result<bool, BackendError> {
        yield_now().await;
        if self.hangs.load(Ordering::Relaxed) {
            pending::<()>().await;
        }
        let is_swapped = self.map.compare_and_swap(swaps).await?;
        self.lost.fetch_add(usize::from(!is_swapped), Ordering::Relaxed);
        Ok(is_swapped)
    }
}
