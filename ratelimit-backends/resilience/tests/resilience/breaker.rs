//! The breaker: when the circuit opens, for how long, and when it closes.

use std::{num::NonZeroU32, time::Duration};

use ratelimit_backend::{Clock, ErrorKind};
use ratelimit_core::{Action, Micros};
use ratelimit_resilience::{
    Breaker,
    CircuitState::{Closed, Open},
};

use crate::{
    breaker_fixture::{DOWN, Rig},
    faulty::{Broken, Cue, Faulty, KINDS, ask, check, clock, hourly, kind, spend},
};

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

/// They wait for their key where a store compares and swaps, which says nothing about other keys.
#[test]
fn refunds_that_time_out_on_one_key_do_not_open_it_for_all() {
    let rig = Rig::new();
    let policy = hourly("api", 10);
    let block = Action::Block(Micros::from_secs(1));
    for action in [Action::Refund, Action::Penalize, block, Action::Reset] {
        rig.store.cue([Cue::Fail(ErrorKind::Timeout); 5]);
        for _ in 0..5 {
            assert!(ask(&rig.breaker, check(&policy, "hot", 1), action).is_err());
        }
        assert_eq!(rig.breaker.state(), Closed, "{action:?}");
        assert!(rig.spend().is_ok());
    }
    rig.store.cue([Cue::Fail(ErrorKind::Timeout); 5]);
    rig.fail(5);
    assert_eq!(rig.breaker.state(), Open, "five checks do");
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
    let breaker = breaker.with_backoff(Duration::from_secs(60), Duration::from_secs(1));
    let policy = hourly("api", 10);
    store.cue([DOWN]);
    assert!(spend(&breaker, &policy, "key").is_err());
    assert_eq!(breaker.state(), Open);
    clock.advance(Micros::from_secs(1));
    assert!(spend(&breaker, &policy, "key").is_ok(), "no pause is longer than the longest");
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
