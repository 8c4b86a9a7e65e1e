//! Totals add up to what was asked.

use std::{num::NonZeroU32, thread, time::Duration};

use ratelimit_algorithms::{FixedWindow, Limiter, Limits};
use ratelimit_backend::{BackendError, ErrorKind};
use ratelimit_core::Source;
use ratelimit_metrics::{Observed, Statistics};

use crate::support::{Failing, decision, memory, policy, shared, tell, three};

// FAULTS 196.
#[test]
fn allowed_denied_and_errors_are_all_calls_that_returned() {
    let (theirs, statistics) = shared(Statistics::new());
    let limiter = three(Observed::new(Failing::new(ErrorKind::Timeout), theirs), "api");
    for _ in 0..5 {
        let _ = limiter.check("user").now();
        let _ = limiter.check("fail").now();
    }

    let snapshot = statistics.snapshot();
    let calls = snapshot.calls;
    assert_eq!((calls.allowed, calls.denied, calls.errors, calls.done), (3, 2, 5, 0));
    assert_eq!(calls.total(), 10);
    let [api] = &*snapshot.limiters else { panic!("one limiter") };
    assert_eq!((api.limiter.as_str(), api.algorithm), ("api", "token bucket"));
    assert_eq!((api.allowed.store, api.denied.store, api.errors.timeout), (3, 2, 5));
    assert_eq!(api.total(), 10);
}

// FAULTS 196.
#[test]
fn threads_at_once_lose_no_count() {
    const EACH: u64 = 20_000;
    let (theirs, statistics) = shared(Statistics::new());
    let store = Observed::new(Failing::new(ErrorKind::Unavailable), theirs);
    thread::scope(|scope| {
        for name in ["a", "b", "a", "b"] {
            let store = store.clone();
            scope.spawn(move || {
                let limiter = three(store, name);
                for n in 0..EACH {
                    let _ = limiter.check(if n % 4 == 0 { "fail" } else { "user" }).now();
                }
            });
        }
    });

    let snapshot = statistics.snapshot();
    assert_eq!(snapshot.calls.total(), 4 * EACH);
    assert_eq!((snapshot.calls.allowed, snapshot.calls.errors), (6, EACH));
    let totals = snapshot.limiters.iter().map(|limiter| limiter.total());
    assert_eq!(totals.collect::<Vec<_>>(), [2 * EACH, 2 * EACH]);
}

// FAULTS 196.
#[test]
fn fallbacks_and_capacity_are_told_apart() {
    let statistics = Statistics::new();
    let api = policy("api");
    for source in [Source::Store, Source::Local, Source::Open, Source::Open, Source::Shadow] {
        tell(&statistics, &api, "k", Ok(&decision(&api, true, source)));
    }
    tell(&statistics, &api, "k", Ok(&decision(&api, false, Source::Local)));
    tell(&statistics, &api, "k", Err(&BackendError::not_applied(ErrorKind::Capacity)));
    tell(&statistics, &api, "k", Err(&BackendError::unknown(ErrorKind::Timeout)));

    let snapshot = statistics.snapshot();
    let totals = &snapshot.limiters[0];
    assert_eq!((totals.allowed.store, totals.allowed.shadow), (1, 1));
    assert_eq!((totals.allowed.local, totals.allowed.open, totals.denied.local), (1, 2, 1));
    assert_eq!(totals.fallbacks(), 4);
    assert_eq!((totals.errors.capacity, totals.errors.timeout), (1, 1));
    assert_eq!((totals.total(), snapshot.calls.total()), (8, 8));
}

#[test]
fn a_take_costs_what_it_got() -> Result<(), Box<dyn std::error::Error>> {
    let (theirs, statistics) = shared(Statistics::new());
    let limiter = three(Observed::new(memory(), theirs), "api");
    for got in [2, 1, 0] {
        assert_eq!(limiter.take("user", 2).now()?.charged(), got);
    }
    let snapshot = statistics.snapshot();
    assert_eq!((snapshot.calls.allowed, snapshot.calls.denied, snapshot.calls.done), (2, 1, 0));
    let [api] = &*snapshot.limiters else { panic!("one limiter") };
    assert_eq!((api.cost_allowed, api.cost_denied), (3, 2));
    Ok(())
}

// FAULTS 196.
#[test]
fn a_call_about_several_limits_is_one_call_and_a_check_of_each() {
    let (theirs, statistics) = shared(Statistics::new());
    let store = Observed::new(memory(), theirs);
    let narrow = three(store.clone(), "narrow");
    let wide = Limiter::new(store, "wide", FixedWindow::per_day(100)).unwrap();
    for _ in 0..5 {
        let _ = Limits::new(&wide, "org", 2).and(&narrow, "user", 1).check().now().unwrap();
    }

    let snapshot = statistics.snapshot();
    assert_eq!((snapshot.calls.allowed, snapshot.calls.denied), (3, 2));
    let [narrow, wide] = &*snapshot.limiters else { panic!("two limiters") };
    assert_eq!((narrow.allowed.total(), narrow.denied.total()), (3, 2));
    assert_eq!((wide.allowed.total(), wide.denied.total(), wide.withheld.total()), (3, 0, 2));
    assert_eq!((wide.cost_allowed, wide.cost_denied), (6, 4));
    assert_eq!((narrow.total(), wide.total()), (5, 5));
    assert_eq!((narrow.drop_rate(), wide.drop_rate()), (0.4, 0.0));
}

#[test]
fn what_is_no_request_is_neither_allowed_nor_denied() {
    let (theirs, statistics) = shared(Statistics::new());
    let limiter = three(Observed::new(memory(), theirs), "api");
    let _ = limiter.peek("user").now().unwrap();
    limiter.penalize("user").cost(3).now().unwrap();
    let _ = limiter.peek("user").now().unwrap();
    limiter.refund("user").now().unwrap();
    limiter.block("user", Duration::from_secs(1)).now().unwrap();
    limiter.reset("user").now().unwrap();

    let calls = statistics.snapshot().calls;
    assert_eq!((calls.done, calls.total()), (6, 6));
    assert_eq!(calls.drop_rate(), 0.0);
}

#[test]
fn a_key_near_its_limit_is_counted_as_such() {
    let (theirs, statistics) = shared(Statistics::new().with_near_limit_percent(34));
    let limiter = three(Observed::new(memory(), theirs), "api");
    for _ in 0..4 {
        let _ = limiter.check("user").now().unwrap();
    }
    // Two left are too many, one left and none left are near, a denial is none.
    assert_eq!(statistics.snapshot().limiters[0].near_limit, 2);
}

#[test]
fn answers_at_once_are_measured_as_often_as_said() {
    let (theirs, statistics) = shared(Statistics::new());
    let every = NonZeroU32::new(4).unwrap();
    let store = Observed::new(memory(), theirs).with_latency_every(every);
    let limiter = three(store, "api");
    for _ in 0..40 {
        let _ = limiter.check("user").now().unwrap();
    }
    let latency = &statistics.snapshot().limiters[0].latency;
    assert_eq!(latency.measured, 10);
    assert!(latency.p50 <= latency.p90 && latency.p90 <= latency.p99);
    assert!(latency.p99 <= latency.max && latency.max <= latency.sum);
}

/// The numbers of measured calls of so many limiters that each request checks in turn.
fn measured_in_turn(limiters: u64, requests: u64) -> Vec<u64> {
    let (theirs, statistics) = shared(Statistics::new());
    let store = Observed::new(memory(), theirs);
    let limiters: Vec<_> =
        (0..limiters).map(|number| three(store.clone(), &format!("limiter-{number}"))).collect();
    for _ in 0..requests {
        for limiter in &limiters {
            let _ = limiter.check("user").now().unwrap();
        }
    }
    let limiters = statistics.snapshot().limiters;
    limiters.iter().map(|limiter| limiter.latency.measured).collect()
}

// Every 64th call was measured: of two limiters that are checked in turn, always the same one.
// FAULTS 240.
#[test]
fn limiters_that_are_checked_in_turn_are_measured_alike() {
    for limiters in [1, 2, 3, 4, 8, 64] {
        let measured = measured_in_turn(limiters, 6_400);
        assert!(measured.iter().all(|calls| (80..=120).contains(calls)), "{measured:?}");
    }
}

// Threads that live for one request began with a measured call, and with the first limiter.
#[test]
fn limiters_that_short_threads_check_are_measured_alike() {
    let (theirs, statistics) = shared(Statistics::new());
    let store = Observed::new(memory(), theirs);
    let limiters = [three(store.clone(), "first"), three(store, "second")];
    for _ in 0..2_000 {
        let check = || limiters.each_ref().map(|limiter| limiter.check("user").now().is_ok());
        thread::scope(|scope| assert_eq!(scope.spawn(check).join().unwrap(), [true, true]));
    }
    let limiters = statistics.snapshot().limiters;
    let measured: Vec<_> = limiters.iter().map(|limiter| limiter.latency.measured).collect();
    assert!(measured.iter().all(|calls| (10..=80).contains(calls)), "{measured:?}");
}

// A store around another one, or beside it, took its turns.
// FAULTS 240.
#[test]
fn a_store_that_measures_every_call_does_so_beside_and_around_others() {
    let [(theirs, all), (others, some)] = [(); 2].map(|()| shared(Statistics::new()));
    let every = NonZeroU32::new(1).unwrap();
    let inner = Observed::new(memory(), others);
    let beside = three(inner.clone(), "beside");
    let around = three(Observed::new(inner, theirs).with_latency_every(every), "around");
    for _ in 0..6_400 {
        let _ = beside.check("user").now().unwrap();
        let _ = around.check("user").now().unwrap();
    }
    assert_eq!(all.snapshot().limiters[0].latency.measured, 6_400);
    let limiters = some.snapshot().limiters;
    let measured: Vec<_> = limiters.iter().map(|limiter| limiter.latency.measured).collect();
    assert!(measured.iter().all(|calls| (80..=120).contains(calls)), "{measured:?}");
}

#[test]
fn a_limiter_is_listed_before_its_first_check() {
    let (theirs, statistics) = shared(Statistics::new());
    let _limiter = three(Observed::new(memory(), theirs), "api");
    let snapshot = statistics.snapshot();
    assert_eq!((snapshot.limiters[0].limiter.as_str(), snapshot.limiters[0].total()), ("api", 0));
    assert!(snapshot.to_prometheus().contains("ratelimit_near_limit_total{limiter=\"api\""));
}

#[tokio::test]
async fn answers_that_are_awaited_are_all_measured() {
    let (theirs, statistics) = shared(Statistics::new());
    let store = Observed::new(Failing::new(ErrorKind::Closed), theirs);
    let limiter: Limiter<_> = three(store, "api");
    for _ in 0..5 {
        let _ = limiter.check("user").await.unwrap();
        let _ = limiter.check("fail").await.unwrap_err();
    }
    // Dropped before it returned: no call that has returned.
    drop(limiter.check("user"));
    let snapshot = statistics.snapshot();
    assert_eq!((snapshot.calls.total(), snapshot.limiters[0].latency.measured), (10, 10));
}

// FAULTS 240.
#[test]
fn more_limiters_than_there_is_room_for_are_counted_together() {
    let statistics = Statistics::new();
    for n in 0..300 {
        let policy = policy(&format!("limiter-{n}"));
        tell(&statistics, &policy, "k", Ok(&decision(&policy, true, Source::Store)));
    }
    let limiters = statistics.snapshot().limiters;
    assert_eq!(limiters.len(), 257);
    assert_eq!((limiters[0].limiter.as_str(), limiters[0].total()), ("(rest)", 44));
}

#[cfg(feature = "serde")]
#[test]
fn a_snapshot_is_written_as_json() {
    let statistics = Statistics::new();
    let api = policy("api");
    tell(&statistics, &api, "k", Ok(&decision(&api, false, Source::Cache)));
    let json = serde_json::to_value(statistics.snapshot()).unwrap();
    assert_eq!(json["calls"]["denied"], 1);
    assert_eq!(json["limiters"][0]["denied"]["cache"], 1);
}
