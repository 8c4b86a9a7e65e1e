//! The paved path as a whole, on `tokio`'s clock.

use std::{
    num::{NonZeroU32, NonZeroUsize},
    time::Duration,
};

use ratelimit_backend::{Backend, ErrorKind, ManualClock};
use ratelimit_core::{Action, Batch, Micros, Source};
use ratelimit_resilience::{
    CircuitState, DenyCache, Lists, LocalLimits, OnFailure, Resilient, Shadow,
};
use tokio::time::Instant;

use crate::faulty::{
    Answer, Cue, Faulty, ask_awaiting, check, clock, hourly, kind, memory, poll_and_drop,
};

fn resilient() -> (Resilient<Faulty, ManualClock>, Faulty, ManualClock) {
    let clock = clock();
    let store = Faulty::new(&clock);
    (Resilient::with_clock(store.clone(), clock.clone()), store, clock)
}

async fn spend(store: &impl Backend) -> Answer {
    let policy = hourly("api", 1_000_000);
    ask_awaiting(store, check(&policy, "key", 1), Action::Spend).await
}

// FAULTS 140.
#[tokio::test(start_paused = true)]
async fn of_a_hundred_thousand_calls_to_a_dead_store_a_few_wait_and_none_for_longer_than_the_deadline()
 {
    let (resilient, store, clock) = resilient();
    store.otherwise(Cue::Never);
    let mut waited = 0;
    for _ in 0..100_000 {
        let start = Instant::now();
        let answer = spend(&resilient).await;
        let took = start.elapsed();
        assert!(matches!(kind(&answer), Some(ErrorKind::Timeout | ErrorKind::Unavailable)));
        assert!(took.is_zero() || took == Duration::from_millis(100), "{took:?}");
        waited += u64::from(!took.is_zero());
        clock.advance(Micros::new(600) + Micros::from_duration_floor(took));
    }
    assert_eq!(waited, store.asked());
    assert!(waited <= 5 + 6 + 60 / 2, "{waited} have waited");

    store.otherwise(Cue::Answer);
    clock.advance(Micros::from_secs(5));
    assert!(spend(&resilient).await.is_ok());
    assert_eq!(resilient.breaker().state(), CircuitState::Closed);
    assert_eq!(resilient.fallback().failures().denied, 100_000);
}

#[tokio::test(start_paused = true)]
async fn whatever_is_chosen_answers_within_the_deadline_and_at_once_while_the_circuit_is_open() {
    let policy = hourly("api", 1_000_000);
    let local = || OnFailure::Local(LocalLimits::new(memory(&clock(), 100)));
    for (on_failure, wanted) in [(OnFailure::Allow, Source::Open), (local(), Source::Local)] {
        let (resilient, store, _) = resilient();
        let resilient = resilient
            .with_deadline(Duration::from_millis(20))
            .with_failures_max(NonZeroU32::new(2).expect("it is not zero"))
            .with_backoff(Duration::from_secs(1), Duration::from_secs(1))
            .with_fallback(on_failure);
        store.otherwise(Cue::Never);
        for wait_ms in [20, 20, 0, 0] {
            let start = Instant::now();
            let answer = ask_awaiting(&resilient, check(&policy, "key", 1), Action::Spend).await;
            assert!(answer.is_ok_and(|decision| decision.source() == wanted));
            assert_eq!(start.elapsed(), Duration::from_millis(wait_ms), "{wanted:?}");
        }
        assert_eq!(store.asked(), 2);
    }
}

#[test]
fn a_store_that_answers_at_once_does_so_through_all_wrappers() {
    let (resilient, store, clock) = resilient();
    let cache = DenyCache::with_clock(resilient, clock.clone(), NonZeroUsize::MIN);
    let lists = Lists::with_clock(Shadow::new(cache), clock);
    lists.everywhere().allow("friend");
    let policy = hourly("api", 1);
    for key in ["key", "key", "key", "friend"] {
        let check = check(&policy, key, 1);
        assert!(lists.apply(Batch::one(&check), Action::Spend).as_ready().is_some(), "{key}");
    }
    store.otherwise(Cue::Fail(ErrorKind::Unavailable));
    let check = check(&policy, "new", 1);
    for _ in 0..10 {
        assert!(
            lists.apply(Batch::one(&check), Action::Spend).as_ready().is_some(),
            "and so do failures"
        );
    }
}

#[test]
fn deny_is_what_happens_unless_something_else_is_chosen() {
    let (resilient, ..) = resilient();
    let shown = format!("{resilient:?}");
    assert!(shown.contains("on_failure: Deny") && shown.contains("length: 100ms"), "{shown}");
}

// FAULTS 56.
#[tokio::test(start_paused = true)]
async fn a_check_that_is_dropped_at_any_point_has_charged_once_or_not_at_all() {
    let policy = hourly("api", 1_000_000);
    let check = check(&policy, "key", 1);
    let millisecond = Duration::from_millis(1);
    let (resilient, store, _) = resilient();
    for polls in (0..6).cycle().take(1_000) {
        let before = store.left(&policy, "key");
        store.cue([Cue::Late(millisecond, millisecond)]);
        let reply = resilient.apply(Batch::one(&check), Action::Spend);
        poll_and_drop(reply, polls, millisecond).await;
        let after = store.left(&policy, "key");
        assert!(after == before || after == before - 1, "polled {polls} times");
        tokio::time::sleep(10 * millisecond).await;
        assert_eq!(store.left(&policy, "key"), after, "polled {polls} times: no charge is late");
    }
    assert_eq!(resilient.breaker().state(), CircuitState::Closed, "nobody has failed");
}

// FAULTS 144.
#[tokio::test(start_paused = true)]
async fn a_slow_store_opens_the_circuit_only_by_failing_in_a_row() {
    let (resilient, store, _) = resilient();
    let slow = |ms| Cue::Late(Duration::from_millis(ms), Duration::ZERO);
    for _ in 0..10 {
        store.cue([slow(150), slow(150), slow(150), slow(150), slow(50)]);
        for is_late in [true, true, true, true, false] {
            assert_eq!(spend(&resilient).await.is_err(), is_late);
        }
    }
    assert_eq!(resilient.breaker().state(), CircuitState::Closed);
}
