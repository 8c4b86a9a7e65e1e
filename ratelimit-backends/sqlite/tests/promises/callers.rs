//! Callers at once, callers that leave, and a store that is closed.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    sync::atomic::{AtomicBool, Ordering},
    task::Poll,
    thread,
};

use ratelimit_algorithms::{BackendError, Clock, Effect, ErrorKind, Timestamp, WallClock};

use crate::store_under_test::{
    Call, Folder, assert_fails, backend_error, left, limiter, poll, spend, wait,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_tasks_and_threads_at_once_spend_exactly_the_limit() {
    const TASKS: u64 = 256;
    const THREADS: u64 = 4;
    const EACH: u64 = 40;
    let limit = (TASKS + THREADS) * EACH - 777;

    let folder = Folder::new();
    let limiter = limiter(&folder.open(), limit);
    let threads = (0..THREADS).map(|_| {
        let limiter = limiter.clone();
        thread::spawn(move || {
            let admitted = (0..EACH).filter(|_| limiter.check("key").now().unwrap().is_allowed());
            admitted.count() as u64
        })
    });
    let threads: Vec<_> = threads.collect();
    let tasks = (0..TASKS).map(|_| {
        let limiter = limiter.clone();
        tokio::spawn(async move {
            let mut admitted = 0;
            for _ in 0..EACH {
                admitted += u64::from(limiter.check("key").await.unwrap().is_allowed());
            }
            admitted
        })
    });
    let mut admitted = 0;
    for task in tasks.collect::<Vec<_>>() {
        admitted += task.await.unwrap();
    }
    admitted += threads.into_iter().map(|thread| thread.join().unwrap()).sum::<u64>();
    assert_eq!(admitted, limit);
    assert_eq!(left(&limiter, "key"), 0);
    drop(limiter);
    folder.verify();
}

// FAULTS 56.
#[test]
fn a_reply_dropped_before_its_turn_leaves_no_charge() {
    let folder = Folder::new();
    let limiter = limiter(&folder.open(), 100);
    let calls = limiter.clone();
    drop(calls.check("key"));
    assert_eq!(left(&limiter, "key"), 100);

    let stranger = folder.stranger();
    stranger.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut waiting: Vec<Call<'_>> =
        (0..10).map(|_| Box::pin(calls.check("key")) as Call<'_>).collect();
    assert!(waiting.iter_mut().all(|call| poll(call).is_pending()));
    let kept = waiting.split_off(7);
    drop(waiting);
    stranger.execute_batch("COMMIT").unwrap();
    for call in kept {
        assert!(wait(call).unwrap().is_allowed());
    }
    assert_eq!(left(&limiter, "key"), 97);
}

// FAULTS 56.
#[test]
fn a_reply_dropped_at_any_time_leaves_one_whole_charge_or_none() {
    let folder = Folder::new();
    let limiter = limiter(&folder.open(), 100_000);
    let calls = limiter.clone();
    let mut left_before = left(&limiter, "key");
    for yields in 0..200 {
        let mut call: Call<'_> = Box::pin(calls.check("key").cost(10));
        let _ = poll(&mut call);
        (0..yields).for_each(|_| thread::yield_now());
        drop(call);
        // This one comes after whatever becomes of it.
        let left_after = limiter.check("key").cost(10).now().unwrap().remaining;
        assert!([10, 20].contains(&(left_before - left_after)));
        left_before = left_after;
    }
}

/// If the check blocked its thread, nobody would ever release the lock.
// FAULTS 61.
#[tokio::test]
async fn an_async_check_blocks_no_other_task() {
    let folder = Folder::new();
    let limiter = limiter(&folder.open(), 10);
    let stranger = folder.stranger();
    stranger.execute_batch("BEGIN IMMEDIATE").unwrap();
    let release = async {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        stranger.execute_batch("COMMIT").unwrap();
    };
    let (decision, ()) = tokio::join!(limiter.check("key"), release);
    assert_eq!(decision.unwrap().remaining, 9);
}

// FAULTS 59, 189.
#[test]
fn a_closed_store_has_answered_who_waited_and_says_closed_to_others() {
    let folder = Folder::new();
    let store = folder.open();
    let limiter = limiter(&store, 10);
    let calls = limiter.clone();
    let mut waiting: Call<'_> = Box::pin(calls.check("key"));
    assert!(poll(&mut waiting).is_pending());

    store.close();
    store.close();
    assert!(matches!(poll(&mut waiting), Poll::Ready(Ok(decision)) if decision.remaining == 9));
    assert!(!folder.log().exists(), "the file is closed");

    assert_fails(limiter.check("key").now(), ErrorKind::Closed);
    assert_fails(limiter.peek("key").now(), ErrorKind::Closed);
    let mut late: Call<'_> = Box::pin(calls.check("key"));
    let Poll::Ready(refused) = poll(&mut late) else { panic!("it waits for nothing") };
    assert_fails(refused, ErrorKind::Closed);
}

// FAULTS 59.
#[test]
fn dropping_the_last_clone_closes_the_file() {
    let folder = Folder::new();
    let store = folder.open();
    let limiter = limiter(&store, 10);
    spend(&limiter, "key", 1);
    drop(store);
    assert!(folder.log().exists());
    drop(limiter);
    assert!(!folder.log().exists());
}

#[derive(Clone, Debug, Default)]
struct Panicking(Arc<AtomicBool>);

impl Clock for Panicking {
    fn now(&self) -> Result<Timestamp, BackendError> {
        assert!(!self.0.load(Ordering::Relaxed), "as it was told to");
        WallClock::new().now()
    }
}

/// The call may be served on this thread or on the store's own.
// FAULTS 189.
#[test]
fn a_panic_of_the_clock_rolls_back_and_leaves_the_store_usable() {
    let (folder, clock) = (Folder::new(), Panicking::default());
    let limiter = limiter(&folder.settings().with_clock(clock.clone()).open().unwrap(), 10);
    spend(&limiter, "key", 1);

    for _ in 0..20 {
        clock.0.store(true, Ordering::Relaxed);
        if let Ok(answer) = catch_unwind(AssertUnwindSafe(|| limiter.check("key").now())) {
            let error = backend_error(answer);
            assert_eq!((error.kind(), error.effect()), (ErrorKind::Unavailable, Effect::Unknown));
        }
        clock.0.store(false, Ordering::Relaxed);
        folder.stranger().execute_batch("BEGIN IMMEDIATE; ROLLBACK").unwrap();
        assert_eq!(left(&limiter, "key"), 9);
    }
    spend(&limiter, "key", 1);
}
