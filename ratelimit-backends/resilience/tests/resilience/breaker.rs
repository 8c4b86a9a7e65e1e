//! The breaker: when the circuit opens, who probes, and when it closes.

use std::{
    error::Error as _,
    num::NonZeroU32,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use ratelimit_backend::{Backend, BackendError, Clock, Effect, ErrorKind, ManualClock};
use ratelimit_core::{Action, Batch, Micros, Timestamp};
use ratelimit_resilience::{
    Breaker,
    CircuitState::{Closed, Open, Probing},
};

use crate::faulty::{
    Answer, Cue, Faulty, KINDS, ask_awaiting, check, clock, failure, hourly, kind, spend,
};

const DOWN: Cue = Cue::Fail(ErrorKind::Unavailable);

/// A breaker of a known seed over a store that fails on cue.
struct Rig {
    breaker: Breaker<Faulty, ManualClock>,
    store: Faulty,
    clock: ManualClock,
}

impl Rig {
    fn new() -> Self {
        let clock = clock();
        let store = Faulty::new(&clock);
        let breaker = Breaker::with_clock(store.clone(), clock.clone()).with_seed(1);
        Self { breaker, store, clock }
    }

    /// A rig whose circuit has opened, over a store that is back.
    fn open() -> Self {
        let rig = Self::new();
        rig.store.cue([DOWN; 5]);
        rig.fail(5);
        assert_eq!(rig.breaker.state(), Open);
        rig
    }

    /// A rig whose pause is over, too.
    fn due() -> Self {
        let rig = Self::open();
        rig.clock.advance(Micros::from_millis(100));
        rig
    }

    fn spend(&self) -> Answer {
        spend(&self.breaker, &hourly("api", 1_000_000), "key")
    }

    fn fail(&self, times: u32) {
        for _ in 0..times {
            assert!(self.spend().is_err());
        }
    }

    /// Whether the breaker answers by itself: at once, and nothing is charged.
    fn refuses(&self) -> bool {
        let (asked, refused) = (self.store.asked(), self.breaker.refused());
        let answer = self.spend();
        let is_refusal = (asked, refused + 1) == (self.store.asked(), self.breaker.refused());
        if is_refusal {
            let error = answer.expect_err("nobody was asked");
            assert_eq!(
                (error.kind(), error.effect()),
                (ErrorKind::Unavailable, Effect::NotApplied)
            );
            let source = error.source().map(ToString::to_string);
            assert_eq!(source.as_deref(), Some("circuit breaker is open"));
        }
        is_refusal
    }
}

// FAULTS 170.
#[test]
fn five_failures_open_it_a_failed_probe_doubles_the_pause_and_an_answer_closes_it() {
    let rig = Rig::new();
    rig.store.otherwise(DOWN);
    for failures in 1..=5 {
        assert_eq!(rig.breaker.state(), Closed, "{failures} before it opens");
        assert_eq!(kind(&rig.spend()), Some(ErrorKind::Unavailable));
    }
    assert_eq!((rig.breaker.state(), rig.breaker.opened()), (Open, 1));

    for (index, pause) in PAUSES.into_iter().enumerate() {
        assert!(rig.refuses(), "pause {index} has begun");
        rig.clock.advance(Micros::new(pause - 1));
        assert!(rig.refuses(), "pause {index} lasts for one more microsecond");
        rig.clock.advance(Micros::new(1));
        let asked = rig.store.asked();
        assert!(!rig.refuses(), "pause {index} is over");
        assert_eq!(rig.store.asked(), asked + 1, "one probe");
        assert_eq!(rig.breaker.state(), Open, "the probe has failed");
    }
    rig.store.otherwise(Cue::Answer);
    assert!(rig.refuses(), "nobody knows yet");
    rig.clock.advance(Micros::from_secs(5));
    assert!(rig.spend().is_ok_and(|decision| decision.is_allowed()));
    assert_eq!((rig.breaker.state(), rig.breaker.opened()), (Closed, 9));

    rig.store.cue([DOWN; 4]);
    rig.fail(4);
    assert_eq!(rig.breaker.state(), Closed, "it counts from nothing again");
    assert!(rig.spend().is_ok());
    rig.store.cue([DOWN; 5]);
    rig.fail(5);
    rig.clock.advance(Micros::from_millis(100));
    assert!(!rig.refuses(), "and the first pause is short again");
}

/// Between a half and the whole of 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5 and 5 seconds.
const PAUSES: [u64; 8] =
    [58_607, 171_381, 367_081, 473_317, 1_172_605, 2_674_512, 4_218_737, 4_955_673];

/// The same sequence, cut short where the store tells that it may be back.
// FAULTS 140, 170.
#[test]
fn a_store_that_tells_of_its_return_is_asked_at_once_however_long_it_was_away() {
    let rig = Rig::new();
    rig.store.otherwise(DOWN);
    rig.fail(5);
    for pause in PAUSES {
        rig.clock.advance(Micros::new(pause));
        rig.fail(1);
    }
    rig.clock.advance(Micros::from_secs(60 - 16));
    rig.fail(1);
    assert!(rig.refuses(), "after a minute a pause takes seconds");

    rig.store.come_back();
    assert!(!rig.refuses(), "it was back too soon: one probe");
    assert!(rig.refuses(), "whose failure is not tried again before it tells once more");
    assert_eq!(rig.breaker.state(), Open);

    rig.store.come_back();
    rig.store.otherwise(Cue::Answer);
    assert!(rig.spend().is_ok_and(|decision| decision.is_allowed()), "the very next call");
    assert_eq!((rig.breaker.state(), rig.store.asked()), (Closed, 5 + 8 + 3));
}

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
    assert_eq!((rig.store.asked(), breaker.state()), (asked + 1, Probing));

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
            std::future::poll_fn(|context| {
                assert!(std::pin::Pin::new(&mut probe).poll(context).is_pending());
                std::task::Poll::Ready(())
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
    assert_eq!(rig.breaker.state(), Probing, "and the probe is to tell");
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

#[test]
fn only_a_store_that_does_not_answer_opens_it_and_any_answer_ends_the_row() {
    for kind in KINDS {
        let (opens, ends_the_row) = match kind {
            ErrorKind::Unavailable | ErrorKind::Timeout => (true, false),
            ErrorKind::Overloaded | ErrorKind::Protocol | ErrorKind::Closed | ErrorKind::Clock => {
                (false, false)
            }
            _ => (false, true),
        };
        let rig = Rig::new();
        rig.store.cue([Cue::Fail(kind); 100]);
        rig.fail(100);
        assert_eq!(rig.breaker.state() == Open, opens, "{kind:?}, a hundred times");

        let rig = Rig::new();
        rig.store.cue([DOWN, DOWN, DOWN, DOWN, Cue::Fail(kind), DOWN]);
        rig.fail(6);
        assert_eq!(rig.breaker.state() == Closed, ends_the_row, "{kind:?} after four failures");

        let rig = Rig::due();
        rig.store.cue([Cue::Fail(kind)]);
        rig.fail(1);
        assert_eq!(rig.breaker.state() == Closed, ends_the_row, "{kind:?} from the probe");
        assert_eq!(rig.refuses(), !ends_the_row, "{kind:?}: another pause, or none");
    }
}

#[test]
fn a_denial_is_an_answer() {
    let rig = Rig::new();
    let policy = hourly("full", 1);
    assert!(spend(&rig.breaker, &policy, "key").is_ok_and(|decision| decision.is_allowed()));
    for _ in 0..5 {
        rig.store.cue([DOWN; 4]);
        rig.fail(4);
        assert!(spend(&rig.breaker, &policy, "key").is_ok_and(|decision| !decision.is_allowed()));
    }
    assert_eq!(rig.breaker.state(), Closed);
}

// FAULTS 140.
#[test]
fn a_store_that_is_down_for_a_minute_is_left_alone_and_then_found_again() {
    let rig = Rig::new();
    rig.store.otherwise(DOWN);
    for _ in 0..100_000 {
        let _ = rig.spend();
        rig.clock.advance(Micros::new(600));
    }
    // Five, and a probe after each pause: of 2.5 to 5 s in the end.
    let asked = rig.store.asked();
    assert!((5 + 6 + 54 / 5..=5 + 6 + 59 / 2).contains(&asked), "asked {asked} times");
    assert_eq!(asked + rig.breaker.refused(), 100_000);

    rig.store.otherwise(Cue::Answer);
    rig.clock.advance(Micros::from_secs(5));
    assert!((0..100).all(|_| rig.spend().is_ok()));
}

#[test]
fn pauses_of_many_breakers_spread_over_half_their_length() {
    let first = |seed| {
        let rig = Rig::open();
        let breaker = rig.breaker.with_seed(seed);
        rig.store.cue([DOWN]);
        rig.clock.advance(Micros::from_millis(100));
        let policy = hourly("api", 10);
        assert!(
            spend(&breaker, &policy, "key").is_err(),
            "the probe fails, the next pause is of 200 ms"
        );
        let is_due = |ms| {
            rig.clock.advance(Micros::from_millis(1));
            spend(&breaker, &policy, "key").is_ok().then_some(ms)
        };
        (1..=200).find_map(is_due).expect("a pause is never longer")
    };
    let pauses: Vec<u64> = (0..200).map(first).collect();
    assert!(pauses.iter().all(|ms| (100..=200).contains(ms)), "{pauses:?}");
    let below = |bound| pauses.iter().filter(|&&ms| ms <= bound).count();
    assert!((10..=90).contains(&below(125)) && (110..=190).contains(&below(175)), "{pauses:?}");
}

#[test]
fn limits_of_its_own_are_taken_as_they_are() {
    let (clock, one) = (clock(), NonZeroU32::MIN);
    let store = Faulty::new(&clock);
    let breaker = Breaker::with_clock(store.clone(), clock.clone()).with_failures_max(one);
    let breaker = breaker.with_pauses(Duration::from_secs(60), Duration::from_secs(1));
    let policy = hourly("api", 10);
    store.cue([DOWN]);
    assert!(spend(&breaker, &policy, "key").is_err());
    assert_eq!(breaker.state(), Open);
    clock.advance(Micros::from_secs(1));
    assert!(spend(&breaker, &policy, "key").is_ok(), "no pause is longer than the longest");
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

#[test]
fn a_clock_that_steps_back_or_fails_does_not_keep_it_open() {
    let rig = Rig::open();
    let before = clock().now().expect("it is set") - Micros::new(1);
    rig.clock.set(before);
    assert!(rig.spend().is_ok());

    let store = Faulty::new(&rig.clock);
    let breaker = Breaker::with_clock(store.clone(), Broken);
    let policy = hourly("api", 10);
    store.cue([DOWN; 5]);
    for _ in 0..5 {
        assert!(spend(&breaker, &policy, "key").is_err());
    }
    assert_eq!(breaker.state(), Open);
    assert!(spend(&breaker, &policy, "key").is_ok());
}

#[derive(Debug)]
struct Broken;

impl Clock for Broken {
    fn now(&self) -> Result<Timestamp, BackendError> {
        Err(failure(ErrorKind::Clock))
    }
}
