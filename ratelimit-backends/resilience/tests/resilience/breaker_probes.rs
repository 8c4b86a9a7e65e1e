//! Probes of a store that failed, and the answers that tell if it is back.

use std::{
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::Poll,
};

use ratelimit_backend::{Backend, ErrorKind};
use ratelimit_core::{Action, Batch, Micros};
use ratelimit_resilience::CircuitState::{Closed, HalfOpen, Open};

use crate::{
    breaker_fixture::{DOWN, Rig},
    faulty::{Cue, ask_awaiting, check, hourly, kind},
};

#[tokio::test]
async fn a_return_while_the_probe_is_under_way_is_not_missed() {
    let rig = Rig::due();
    rig.store.cue([Cue::HoldAndFail(ErrorKind::Unavailable)]);
    let policy = hourly("api", 10);
    let check = check(&policy, "key", 1);
    let probe = rig.breaker.apply(Batch::one(&check), Action::Spend);
    rig.store.come_back();
    assert!(rig.refuses(), "somebody is asking");
    rig.store.let_one_through();
    assert!(probe.await.is_err());
    assert!(rig.spend().is_ok(), "what that was told was the state of before");
    assert_eq!(rig.breaker.state(), Closed);
}

// FAULTS 170.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_a_thousand_callers_at_once_one_is_the_probe() {
    let rig = Rig::due();
    rig.store.otherwise(Cue::Hold);
    let asked = rig.store.asked();
    let breaker = Arc::new(rig.breaker);
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..1_000 {
        let breaker = Arc::clone(&breaker);
        callers.spawn(async move {
            let policy = hourly("api", 1_000);
            ask_awaiting(&breaker, check(&policy, "key", 1), Action::Spend).await
        });
    }
    for _ in 0..999 {
        let refused = callers.join_next().await.expect("there are more").expect("no panic");
        assert_eq!(kind(&refused), Some(ErrorKind::Unavailable));
    }
    assert_eq!((rig.store.asked(), breaker.state()), (asked + 1, HalfOpen));

    rig.store.let_one_through();
    let probe = callers.join_next().await.expect("there is one more").expect("no panic");
    assert!(probe.is_ok_and(|decision| decision.is_allowed()));
    assert_eq!((breaker.state(), breaker.refused()), (Closed, 999));
}

// FAULTS 170.
#[test]
fn of_threads_that_cannot_wait_one_is_the_probe_each_time() {
    for _ in 0..50 {
        let rig = Rig::due();
        rig.store.otherwise(DOWN);
        let asked = rig.store.asked();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| assert!(rig.spend().is_err()));
            }
        });
        assert_eq!(rig.store.asked(), asked + 1);
    }
}

// FAULTS 56.
#[tokio::test]
async fn a_probe_that_is_dropped_makes_way_for_another() {
    let policy = hourly("api", 10);
    let check = check(&policy, "key", 1);
    for is_polled in [false, true] {
        let rig = Rig::due();
        rig.store.otherwise(Cue::Hold);
        let mut probe = rig.breaker.apply(Batch::one(&check), Action::Spend);
        if is_polled {
            poll_fn(|context| {
                assert!(Pin::new(&mut probe).poll(context).is_pending());
                Poll::Ready(())
            })
            .await;
        }
        assert!(rig.refuses(), "somebody is asking");
        drop(probe);
        assert_eq!(rig.breaker.state(), Open);
        rig.store.otherwise(Cue::Answer);
        assert!(rig.spend().is_ok(), "and the next one asks at once");
        assert_eq!(rig.breaker.state(), Closed);
        assert_eq!(
            rig.store.left(&hourly("api", 1_000_000), "key"),
            999_999,
            "the drop charged nothing"
        );
    }
}

#[tokio::test]
async fn a_probe_that_is_held_for_ever_does_not_hold_everybody() {
    let rig = Rig::due();
    rig.store.otherwise(Cue::Never);
    let policy = hourly("api", 10);
    let check = check(&policy, "key", 1);
    let forgotten = rig.breaker.apply(Batch::one(&check), Action::Spend);
    rig.store.otherwise(Cue::Answer);
    rig.clock.advance(Micros::from_secs(5) - Micros::new(1));
    assert!(rig.refuses());
    rig.clock.advance(Micros::new(1));
    assert!(rig.spend().is_ok(), "after the longest pause it is given up");
    drop(forgotten);
    assert_eq!(rig.breaker.state(), Closed, "and has no say any more");
}

#[tokio::test]
async fn what_was_asked_before_it_opened_has_no_say_afterwards() {
    let rig = Rig::new();
    let policy = hourly("api", 10);
    let check = check(&policy, "key", 1);
    rig.store.otherwise(Cue::Hold);
    let late = rig.breaker.apply(Batch::one(&check), Action::Spend);
    rig.store.otherwise(DOWN);
    rig.fail(5);
    rig.clock.advance(Micros::from_millis(100));
    rig.store.otherwise(Cue::Never);
    let probe = rig.breaker.apply(Batch::one(&check), Action::Spend);
    rig.store.let_one_through();
    assert!(late.await.is_ok(), "the caller has the answer");
    assert_eq!(rig.breaker.state(), HalfOpen, "and the probe is to tell");
    drop(probe);
}

#[tokio::test]
async fn failures_from_before_it_opened_do_not_count_once_it_has_closed() {
    let rig = Rig::new();
    let policy = hourly("api", 10);
    let check = check(&policy, "key", 1);
    rig.store.cue([Cue::HoldAndFail(ErrorKind::Timeout); 5]);
    let late = [(); 5].map(|()| rig.breaker.apply(Batch::one(&check), Action::Spend));
    rig.store.cue([DOWN; 5]);
    rig.fail(5);
    rig.clock.advance(Micros::from_millis(100));
    assert!(rig.spend().is_ok());
    for reply in late {
        rig.store.let_one_through();
        assert!(reply.await.is_err());
    }
    assert_eq!(rig.breaker.state(), Closed);
}

// FAULTS 54.
#[test]
fn a_store_that_panics_leaves_the_breaker_as_it_was() {
    let rig = Rig::due();
    rig.store.cue([Cue::Panic]);
    assert!(catch_unwind(AssertUnwindSafe(|| rig.spend())).is_err());
    assert_eq!(rig.breaker.state(), Open);
    assert!(rig.spend().is_ok(), "the next call is the probe");
}
