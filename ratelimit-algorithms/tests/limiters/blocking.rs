//! Waiting threads, without any runtime.

use std::{sync::mpsc, thread, time::Duration};

use ratelimit_algorithms::{
    AcquireError, FixedWindow, LeakyBucket, Limiter, ManualClock, Micros, TokenBucket, WaitError,
};
use ratelimit_memory::Memory;

use crate::store;

/// Far more than is needed.
const LONG: Duration = Duration::from_secs(60);

fn is_waiting(limiter: &Limiter<Memory<ManualClock>>, count: usize) -> bool {
    format!("{limiter:?}").contains(&format!("WaitQueues({count} waiting)"))
}

// FAULTS 60.
#[test]
fn threads_are_served_in_the_order_they_came_without_a_runtime() {
    let (store, clock) = store();
    let bucket = TokenBucket::per_second(1_000).burst(1);
    let limiter = Limiter::new(store, "api", bucket).unwrap();
    assert!(limiter.check("key").now().unwrap().is_allowed());
    let (served, order) = mpsc::channel();
    let wait = |number| {
        let (limiter, served) = (limiter.clone(), served.clone());
        thread::spawn(move || {
            limiter.until_ready("key").wait().unwrap();
            served.send(number).unwrap();
        })
    };
    let mut threads = Vec::new();
    for number in 0..8 {
        threads.push(wait(number));
        while !is_waiting(&limiter, number + 1) {
            thread::yield_now();
        }
    }
    for number in 0..8 {
        clock.advance(Micros::from_millis(1));
        assert_eq!(order.recv_timeout(LONG), Ok(number));
    }
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert!(is_waiting(&limiter, 0));
}

#[test]
fn no_wake_up_is_lost_between_threads() {
    let bucket = TokenBucket::per_second(10_000).burst(1);
    let limiter = Limiter::new(Memory::new(), "api", bucket).unwrap();
    let (done, ends) = mpsc::channel();
    for number in 0..8 {
        let (limiter, done) = (limiter.clone(), done.clone());
        thread::spawn(move || {
            for _ in 0..50 {
                let longest = if number % 2 == 0 { LONG } else { Duration::from_micros(150) };
                match limiter.until_ready("key").within(longest).wait() {
                    Ok(_) => {}
                    Err(WaitError::Denied(_) | WaitError::TimedOut) if longest < LONG => {}
                    Err(error) => panic!("{error}"),
                }
            }
            done.send(()).unwrap();
        });
    }
    for _ in 0..8 {
        ends.recv_timeout(LONG).expect("nobody waits for ever");
    }
}

#[test]
fn a_thread_that_cannot_be_served_in_time_is_told_at_once() {
    let limiter = Limiter::new(store().0, "api", FixedWindow::per_hour(1)).unwrap();
    limiter.until_ready("key").wait().unwrap();
    let denied = limiter.until_ready("key").within(LONG).wait().unwrap_err();
    assert!(matches!(denied, WaitError::Denied(_)));
    assert_eq!(denied.retry_after(), Some(Micros::from_secs(3_600)));
}

// FAULTS 58.
#[test]
fn a_thread_too_many_is_told_at_once() {
    let limiter = Limiter::new(store().0, "api", FixedWindow::per_hour(1)).unwrap();
    let limiter = limiter.with_waiters_max(0);
    assert!(matches!(limiter.until_ready("key").wait(), Err(WaitError::Overloaded)));
    assert_eq!(limiter.peek("key").now().unwrap().remaining, 1, "and nothing is charged");
}

#[test]
fn a_thread_is_paced_by_a_queue() {
    let queue = LeakyBucket::per_second(1_000).queue(Duration::from_micros(2_500));
    let limiter = Limiter::new(store().0, "api", queue).unwrap();
    for _ in 0..3 {
        limiter.pace("key").wait().unwrap();
    }
    assert!(matches!(limiter.pace("key").wait(), Err(AcquireError::Denied(_))));
}
