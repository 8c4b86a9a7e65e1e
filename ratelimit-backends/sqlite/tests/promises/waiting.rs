//! Callers that wait, while somebody else holds the file's lock.

use std::{
    num::NonZeroUsize,
    sync::{Arc, Condvar, Mutex},
    task::Poll,
    thread,
    time::{Duration, Instant},
};

use ratelimit_algorithms::{
    BackendError, Clock, ErrorKind, InFlight, Limiter, Timestamp, WallClock,
};
use ratelimit_sqlite::Sqlite;
use tokio::runtime::Builder;

use crate::{
    child::Holder,
    store_under_test::{Call, Folder, assert_fails, left, limiter, poll, spend, wait},
};

// FAULTS 175.
#[test]
fn a_lock_that_another_process_holds_is_a_timeout_until_it_is_let_go() {
    const DEADLINE: Duration = Duration::from_millis(20);

    let folder = Folder::new();
    let store = folder.settings().with_deadline(DEADLINE).open().unwrap();
    let limiter = limiter(&store, 10);
    spend(&limiter, "key", 1);

    let holder = Holder::new(&folder.file());
    assert_in_time(DEADLINE, || {
        let start = Instant::now();
        assert_fails(limiter.check("key").now(), ErrorKind::Timeout);
        start.elapsed()
    });
    assert_in_time(DEADLINE, || {
        let start = Instant::now();
        assert_fails(wait(Box::pin(limiter.clone().check("key"))), ErrorKind::Timeout);
        start.elapsed()
    });
    assert_eq!(left(&limiter, "key"), 9, "a peek waits for no lock");

    holder.let_go();
    assert_eq!(limiter.check("key").now().unwrap().remaining, 8);
}

/// Even without a runtime, and behind a full transaction of others.
#[test]
fn a_permit_in_flight_that_is_dropped_is_given_back_by_the_stores_thread() {
    let folder = Folder::new();
    let store = folder.open();
    let jobs = |store: &Sqlite| {
        let in_flight = InFlight::limit(1).held_at_most(Duration::from_secs(3_600));
        Limiter::new(store.clone(), "jobs", in_flight).unwrap()
    };
    let runtime = Builder::new_current_thread().build().unwrap();
    let limiter = jobs(&store);
    for _ in 0..100 {
        let permit = runtime.block_on(async { limiter.acquire("key").await }).unwrap();
        assert_eq!(left(&limiter, "key"), 0);
        drop(permit);
    }
    let permit = runtime.block_on(async { limiter.acquire("key").await }).unwrap();
    drop(permit);
    store.close();
    assert_eq!(
        left(&jobs(&folder.open()), "key"),
        1,
        "a store that is closed leaves nothing undone"
    );
}

#[test]
fn a_permit_in_flight_whose_caller_leaves_before_the_answer_is_given_back() {
    let folder = Folder::new();
    let store = folder.open();
    let limiter = Limiter::new(store, "jobs", InFlight::limit(1)).unwrap();
    let holder = Holder::new(&folder.file());
    let mut call: Call<'_> = Box::pin(limiter.check("key"));
    assert!(poll(&mut call).is_pending());
    holder.let_go();
    // Then it is held, and nobody has been told.
    while left(&limiter, "key") != 0 {
        thread::yield_now();
    }
    drop(call);
    while left(&limiter, "key") != 1 {
        thread::yield_now();
    }
}

// FAULTS 190.
#[test]
fn a_thousand_callers_are_served_in_order_or_refused_at_once() {
    const CALLERS: usize = 1_000;
    const QUEUE_MAX: usize = 100;
    const LIMIT: u64 = 10_000;

    let folder = Folder::new();
    let settings = folder.settings().with_queue_max(NonZeroUsize::new(QUEUE_MAX).unwrap());
    let limiter = limiter(&settings.open().unwrap(), LIMIT);
    let calls = limiter.clone();

    let holder = Holder::new(&folder.file());
    let mut waiting = Vec::new();
    for _ in 0..CALLERS {
        let mut call: Call<'_> = Box::pin(calls.check("key"));
        match poll(&mut call) {
            Poll::Pending => waiting.push(call),
            Poll::Ready(refused) => assert_fails(refused, ErrorKind::Overloaded),
        }
    }
    // Those in the queue, and those that the writer had taken before it met the lock.
    assert!((QUEUE_MAX..=2 * QUEUE_MAX).contains(&waiting.len()), "{}", waiting.len());
    holder.let_go();

    let served = waiting.len() as u64;
    for (before, call) in (0..).zip(waiting) {
        assert_eq!(wait(call).unwrap().remaining, LIMIT - before - 1);
    }
    assert_eq!(left(&limiter, "key"), LIMIT - served);
}

// FAULTS 190.
#[test]
fn a_thousand_callers_in_the_queue_all_keep_their_deadline() {
    const DEADLINE: Duration = Duration::from_millis(50);

    let folder = Folder::new();
    let store = folder.settings().with_deadline(DEADLINE).open().unwrap();
    let limiter = limiter(&store, 10);
    let calls = limiter.clone();
    spend(&limiter, "key", 1);

    let holder = Holder::new(&folder.file());
    assert_in_time(DEADLINE, || {
        let begin = |_| {
            let mut call: Call<'_> = Box::pin(calls.check("key"));
            let start = Instant::now();
            assert!(poll(&mut call).is_pending());
            (start, call)
        };
        let waiting: Vec<_> = (0..1_000).map(begin).collect();
        let ended = waiting.into_iter().map(|(start, call)| {
            assert_fails(wait(call), ErrorKind::Timeout);
            start.elapsed()
        });
        ended.max().unwrap()
    });
    holder.let_go();
    assert_eq!(left(&limiter, "key"), 9);
}

/// The first one holds the writer up, so that the others are answered as one.
// FAULTS 190, 215.
#[test]
fn callers_who_are_answered_as_one_time_out_one_by_one() {
    const DEADLINE: Duration = Duration::from_secs(2);

    let folder = Folder::new();
    let store = folder.settings().with_deadline(DEADLINE).open().unwrap();
    let calls = limiter(&store, 10);
    let holder = Holder::new(&folder.file());
    let begin = || {
        let mut call: Call<'_> = Box::pin(calls.check("key"));
        assert!(poll(&mut call).is_pending());
        call
    };
    let first = begin();
    // The writer has taken it by the time that the second one comes; and the deadlines of the others lie
    // apart by more than it takes to let the lock go.
    thread::sleep(DEADLINE * 3 / 10);
    let second = begin();
    thread::sleep(DEADLINE * 3 / 10);
    let third = begin();
    assert_fails(wait(first), ErrorKind::Timeout);
    assert_fails(wait(second), ErrorKind::Timeout);
    holder.let_go();
    assert_eq!(wait(third).unwrap().remaining, 9);
}

/// Fails unless what `attempt` measures, the longest wait of a round, is the deadline and ten
/// milliseconds at most, in the best of some rounds.
///
/// A machine that is busy lets any timer wait: one that runs beside each round says by how much.
#[track_caller]
fn assert_in_time(deadline: Duration, mut attempt: impl FnMut() -> Duration) {
    let beyond = |_| {
        let timer = thread::spawn(move || {
            let start = Instant::now();
            thread::sleep(deadline);
            start.elapsed()
        });
        let took = attempt();
        took.saturating_sub(timer.join().unwrap())
    };
    let beyond = (0..10).map(beyond).min().unwrap();
    assert!(beyond <= Duration::from_millis(10), "{beyond:?} later than a timer");
}

/// If a check blocked its thread, there would be one gap as long as the deadline.
// FAULTS 61.
#[tokio::test]
async fn a_ticker_on_the_same_thread_goes_on_while_checks_wait_for_a_lock() {
    const DEADLINE: Duration = Duration::from_secs(1);

    let folder = Folder::new();
    let store = folder.settings().with_deadline(DEADLINE).open().unwrap();
    let calls = limiter(&store, 10);
    let holder = Holder::new(&folder.file());
    let checks = (0..8).map(|_| {
        let calls = calls.clone();
        tokio::spawn(async move { assert_fails(calls.check("key").await, ErrorKind::Timeout) })
    });
    let checks: Vec<_> = checks.collect();

    let mut ticks = tokio::time::interval(Duration::from_millis(1));
    let (mut longest, mut before) = (Duration::ZERO, Instant::now());
    while !checks.iter().all(|check| check.is_finished()) {
        ticks.tick().await;
        longest = longest.max(before.elapsed());
        before = Instant::now();
    }
    println!("the longest gap was {longest:?}");
    assert!(longest < DEADLINE / 2, "{longest:?}");
    for check in checks {
        check.await.unwrap();
    }
    holder.let_go();
}

// FAULTS 60.
#[test]
fn async_callers_need_no_runtime() {
    let folder = Folder::new();
    let calls = limiter(&folder.open(), 10);
    assert_eq!(wait(Box::pin(calls.check("key"))).unwrap().remaining, 9);
    assert_eq!(wait(Box::pin(calls.peek("key"))).unwrap().remaining, 9);
}

// FAULTS 59.
#[test]
fn a_runtime_that_is_shut_down_with_checks_in_flight_leaves_a_store_that_closes() {
    let folder = Folder::new();
    let store = folder.open();
    let limiter = limiter(&store, 100);
    let holder = Holder::new(&folder.file());

    let runtime = Builder::new_multi_thread().worker_threads(2).build().unwrap();
    for _ in 0..50 {
        let calls = limiter.clone();
        runtime.spawn(async move { calls.check("key").await });
    }
    runtime.shutdown_background();
    holder.let_go();

    let left = left(&limiter, "key");
    assert!((50..=100).contains(&left), "{left} left");
    store.close();
    assert_fails(limiter.check("key").now(), ErrorKind::Closed);
    assert!(!folder.log().exists(), "the file is closed");
    folder.verify();
}

/// A clock that shows no time until it is let go, and so holds up the store.
#[derive(Clone, Debug, Default)]
struct Held(Arc<(Mutex<bool>, Condvar)>);

impl Held {
    fn hold(&self, is_held: bool) {
        *self.0.0.lock().unwrap() = is_held;
        self.0.1.notify_all();
    }
}

impl Clock for Held {
    fn now(&self) -> Result<Timestamp, BackendError> {
        let _free = self.0.1.wait_while(self.0.0.lock().unwrap(), |is_held| *is_held).unwrap();
        WallClock::new().now()
    }
}

/// The store is let go only when the caller has returned.
#[test]
fn a_blocked_caller_returns_at_its_deadline_whatever_holds_up_the_store() {
    let (folder, clock) = (Folder::new(), Held::default());
    let settings = folder.settings().with_deadline(Duration::from_millis(50));
    let limiter = limiter(&settings.with_clock(clock.clone()).open().unwrap(), 10);
    spend(&limiter, "key", 1);

    let mut admitted = 0;
    clock.hold(true);
    thread::scope(|scope| {
        let slow = scope.spawn(|| limiter.check("key").now());
        // Those that come behind the slow one, or its group, wait for their turn in vain.
        let late: Vec<_> = (0..3).map(|_| scope.spawn(|| limiter.check("key").now())).collect();
        while 1 < late.iter().filter(|late| !late.is_finished()).count() {
            thread::yield_now();
        }
        clock.hold(false);
        for answer in late.into_iter().chain([slow]).map(|call| call.join().unwrap()) {
            match answer {
                Ok(_) => admitted += 1,
                refused => assert_fails(refused, ErrorKind::Timeout),
            }
        }
    });
    assert_eq!(left(&limiter, "key"), 9 - admitted, "who returns with a timeout is not charged");
}
