//! The deadline, on `tokio`'s clock, which stands until there is nothing else to do.

use std::{
    future::Future,
    pin::pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use ratelimit_backend::{Backend, Effect, ErrorKind};
use ratelimit_core::{Action, Batch};
use ratelimit_resilience::Deadline;
use tokio::time::Instant;

use crate::faulty::{Answer, Cue, Faulty, ask_awaiting, check, clock, hourly, poll_and_drop};

const DEADLINE: Duration = Duration::from_millis(100);

fn store() -> (Deadline<Faulty>, Faulty) {
    let store = Faulty::new(&clock());
    (Deadline::new(store.clone()), store)
}

/// Spends a permit; says how long that took.
async fn spend(store: &Deadline<Faulty>) -> (Answer, Duration) {
    let policy = hourly("api", 100);
    let start = Instant::now();
    let answer = ask_awaiting(store, check(&policy, "key", 1), Action::Spend).await;
    (answer, start.elapsed())
}

fn is_overdue(answer: &Answer, effect: Effect) -> bool {
    answer
        .as_ref()
        .is_err_and(|error| (error.kind(), error.effect()) == (ErrorKind::Timeout, effect))
}

// FAULTS 143.
#[tokio::test(start_paused = true)]
async fn a_store_that_is_silent_is_a_timeout_at_the_deadline_and_is_not_asked_twice() {
    for silence in [Cue::Never, Cue::Hold, Cue::Late(Duration::from_secs(2), Duration::ZERO)] {
        let (deadline, store) = store();
        store.otherwise(silence);
        let (answer, took) = spend(&deadline).await;
        assert!(is_overdue(&answer, Effect::Unknown), "{silence:?}: {answer:?}");
        assert_eq!((took, store.asked()), (DEADLINE, 1), "{silence:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_peek_that_is_late_has_charged_nothing() {
    let (deadline, store) = store();
    store.otherwise(Cue::Never);
    let policy = hourly("api", 100);
    let answer = ask_awaiting(&deadline, check(&policy, "key", 1), Action::Peek).await;
    assert!(is_overdue(&answer, Effect::NotApplied), "{answer:?}");
}

// FAULTS 144.
#[tokio::test(start_paused = true)]
async fn a_slow_store_is_waited_for_until_the_deadline_and_each_call_stands_for_itself() {
    let (deadline, store) = store();
    let (mut denied, mut charged) = (0, 0);
    for round in 0..20 {
        for latency_ms in [0, 50, 99, 150, 1_000] {
            let (before, after) = if round % 2 == 0 { (latency_ms, 0) } else { (0, latency_ms) };
            let [before, after] = [before, after].map(Duration::from_millis);
            store.cue([Cue::Late(before, after)]);
            let (answer, took) = spend(&deadline).await;
            assert!(took <= DEADLINE, "{latency_ms} ms of latency took {took:?}");
            assert_eq!(answer.is_ok(), latency_ms < 100, "{latency_ms} ms: {answer:?}");
            assert!(answer.is_ok() || is_overdue(&answer, Effect::Unknown));
            denied += u64::from(answer.is_err());
            charged += u64::from(answer.is_ok() || before.is_zero());
        }
    }
    tokio::time::sleep(Duration::from_secs(10)).await;
    let left = store.left(&hourly("api", 100), "key");
    assert_eq!((left, denied), (100 - charged, 40), "and nothing is charged late");
}

#[tokio::test(start_paused = true)]
async fn the_time_until_a_reply_is_first_polled_does_not_count() {
    let (deadline, store) = store();
    store.cue([Cue::Late(Duration::from_millis(99), Duration::ZERO)]);
    let policy = hourly("api", 100);
    let check = check(&policy, "key", 1);
    let reply = deadline.apply(Batch::one(&check), Action::Spend);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(reply.await.is_ok());
}

// FAULTS 56.
#[tokio::test(start_paused = true)]
async fn a_reply_that_is_dropped_has_charged_once_or_not_at_all() {
    let millisecond = Duration::from_millis(1);
    let policy = hourly("api", 100);
    let check = check(&policy, "key", 1);
    for polls in 0..6 {
        let (deadline, store) = store();
        store.cue([Cue::Late(millisecond, millisecond)]);
        let reply = deadline.apply(Batch::one(&check), Action::Spend);
        poll_and_drop(reply, polls, millisecond).await;
        let left = store.left(&policy, "key");
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert_eq!(store.left(&policy, "key"), left, "polled {polls} times: no charge is late");
        assert_eq!(left, if polls < 2 { 100 } else { 99 }, "polled {polls} times");
    }
}

// FAULTS 60.
#[test]
fn without_a_runtime_what_is_ready_is_answered_and_what_waits_is_not_asked() {
    let (deadline, store) = store();
    let policy = hourly("api", 100);
    let check = check(&policy, "key", 1);
    let poll = || {
        let reply = pin!(deadline.apply(Batch::one(&check), Action::Spend));
        reply.poll(&mut Context::from_waker(Waker::noop()))
    };
    assert!(matches!(poll(), Poll::Ready(Ok(_))));
    store.otherwise(Cue::Hold);
    store.let_one_through();
    let Poll::Ready(Err(error)) = poll() else { panic!("there is nothing to wait with") };
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Closed, Effect::NotApplied));
    assert_eq!(store.left(&policy, "key"), 99, "one of the two was charged");
}

#[tokio::test(start_paused = true)]
async fn another_length_is_taken_as_it_is() {
    for length in [Duration::ZERO, Duration::from_millis(7), Duration::from_secs(3_600)] {
        let (deadline, store) = store();
        store.otherwise(Cue::Never);
        let (answer, took) = spend(&deadline.with_length(length)).await;
        assert!(is_overdue(&answer, Effect::Unknown));
        assert!(
            (length..=length + Duration::from_millis(1)).contains(&took),
            "{length:?}: {took:?}"
        );
    }
    let (deadline, store) = store();
    store.otherwise(Cue::Late(Duration::from_secs(1), Duration::ZERO));
    assert!(spend(&deadline.with_length(Duration::MAX)).await.0.is_ok());
}
