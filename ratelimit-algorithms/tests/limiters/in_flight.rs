//! Permits in flight: given back by whatever ends their work, and held for longer if asked.

use std::{sync::Arc, time::Duration};

use ratelimit_algorithms::{
    Backend, ConfigError, FixedWindow, InFlight, Limiter, Limits, Live, ManualClock, Micros,
    NotationError, Nothing,
};
use ratelimit_memory::Memory;

use crate::store;

const HELD_AT_MOST: Micros = Micros::from_secs(30);

fn limiter(limit: u64) -> (Limiter<Memory<ManualClock>>, ManualClock) {
    let (store, clock) = store();
    let in_flight = InFlight::limit(limit).held_at_most(HELD_AT_MOST.into());
    (Limiter::new(store, "calls", in_flight).unwrap(), clock)
}

fn free(limiter: &Limiter<Memory<ManualClock>>) -> u64 {
    limiter.peek("a").now().unwrap().remaining
}

#[test]
fn a_permit_is_given_back_however_its_work_ends() {
    let (limiter, _) = limiter(4);
    let ends: [fn(_); 4] = [
        |permit: ratelimit_algorithms::Permit<'_, Memory<ManualClock>>| drop(permit),
        |permit| permit.keep(),
        |permit| permit.settle(1).now().unwrap(),
        |permit| permit.refund().now().unwrap(),
    ];
    for end in ends {
        let permit = limiter.acquire("a").cost(3).now().unwrap();
        assert_eq!(free(&limiter), 1);
        end(permit);
        assert_eq!(free(&limiter), 4);
    }
    let owned = limiter.acquire("a").now().unwrap().into_owned();
    assert_eq!(free(&limiter), 3);
    std::thread::spawn(move || drop(owned)).join().unwrap();
    assert_eq!(free(&limiter), 4);
    limiter.run("a", || assert_eq!(free(&limiter), 3)).now().unwrap();
    assert_eq!(free(&limiter), 4);
}

#[test]
fn a_permit_that_lapsed_gives_back_nothing_of_others() {
    let (limiter, clock) = limiter(1);
    let late = limiter.acquire("a").now().unwrap();
    assert!(limiter.acquire("a").now().is_err());
    clock.advance(HELD_AT_MOST);
    let next = limiter.acquire("a").now().unwrap();
    assert!(!late.extend().now().unwrap(), "it is another's by now");
    drop(late);
    assert_eq!(free(&limiter), 0);
    drop(next);
    assert_eq!(free(&limiter), 1);
}

#[test]
fn a_permit_that_is_extended_is_held_for_longer() {
    let (limiter, clock) = limiter(1);
    let permit = limiter.acquire("a").now().unwrap();
    for _ in 0..10 {
        clock.advance(HELD_AT_MOST - Micros::new(1));
        assert!(permit.extend().now().unwrap());
        assert_eq!(free(&limiter), 0);
    }
    drop(permit);
    assert_eq!(free(&limiter), 1);
}

#[test]
fn an_awaited_permit_is_extended_and_given_back_on_any_store() {
    let (store, _) = store();
    let store: Arc<dyn Backend> = Arc::new(store);
    let limiter = Limiter::new(store, "calls", InFlight::limit(2)).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let permit = limiter.acquire("a").await.unwrap();
        let extended: bool = permit.extend().await.unwrap();
        assert!(extended);
        assert_eq!(limiter.peek("a").await.unwrap().remaining, 1);
        permit.refund().await.unwrap();
        assert_eq!(limiter.peek("a").await.unwrap().remaining, 2);
        limiter
            .run("a", async || assert_eq!(limiter.peek("a").await.unwrap().remaining, 1))
            .await
            .unwrap();
        assert_eq!(limiter.peek("a").await.unwrap().remaining, 2);
    });
}

#[test]
fn of_several_limits_only_the_permits_in_flight_are_given_back_where_the_rest_is_kept() {
    let (calls, clock) = limiter(2);
    let rate = Limiter::new(calls.backend().clone(), "rate", FixedWindow::per_hour(10)).unwrap();
    let both = || Limits::new(&calls, "a", 1).and(&rate, "a", 1).acquire().now();
    let [first, second] = [both().unwrap(), both().unwrap()];
    assert!(both().is_err());
    assert_eq!(rate.peek("a").now().unwrap().remaining, 8);
    first.keep();
    drop(second);
    assert_eq!((free(&calls), rate.peek("a").now().unwrap().remaining), (2, 8));
    both().unwrap().settle([1, 1]).now().unwrap();
    assert_eq!((free(&calls), rate.peek("a").now().unwrap().remaining), (2, 7));
    drop(both().unwrap().refund_on_drop());
    assert_eq!((free(&calls), rate.peek("a").now().unwrap().remaining), (2, 7));
    let permits = both().unwrap();
    assert!(permits.extend().now().unwrap());
    clock.advance(HELD_AT_MOST);
    assert!(!permits.extend().now().unwrap());
}

#[test]
fn one_key_that_is_named_twice_is_held_once_for_both() {
    let (calls, _) = limiter(4);
    let twice = Limits::new(&calls, "a", 1).and(&calls, "a", 2).acquire().now().unwrap();
    assert_eq!(free(&calls), 1);
    drop(twice);
    assert_eq!(free(&calls), 4);
}

#[test]
fn a_permit_is_given_back_whatever_its_limit_has_become() {
    let (store, _) = store();
    let live = Live::new("calls", InFlight::limit(4)).unwrap();
    let limiter = Limiter::with_policies(store, live.clone()).unwrap();
    let permit = limiter.acquire("a").cost(3).now().unwrap();
    live.update(InFlight::limit(2)).unwrap();
    assert_eq!(limiter.peek("a").now().unwrap().remaining, 0);
    drop(permit);
    assert_eq!(limiter.peek("a").now().unwrap().remaining, 2);

    let permit = limiter.acquire("a").cost(2).now().unwrap();
    live.update(Nothing).unwrap();
    drop(permit);
    live.update(InFlight::limit(2)).unwrap();
    assert_eq!(limiter.peek("a").now().unwrap().remaining, 2);
}

#[test]
fn permits_of_a_rate_need_no_extension() {
    let limiter = Limiter::new(store().0, "rate", FixedWindow::per_hour(10)).unwrap();
    let permit = limiter.acquire("a").now().unwrap();
    let before = limiter.peek("a").now().unwrap();
    assert!(permit.extend().now().unwrap());
    assert_eq!(limiter.peek("a").now().unwrap(), before);
}

#[test]
fn a_limit_in_words_is_the_one_that_is_built() {
    let five_minutes = Duration::from_secs(300);
    for (text, limit, held) in [
        ("4 in flight", 4, five_minutes),
        ("4 in flight for 5m", 4, five_minutes),
        ("100 in flight for 1m30s", 100, Duration::from_secs(90)),
    ] {
        let built = InFlight::limit(limit).held_at_most(held);
        assert_eq!(text.parse(), Ok(built));
        assert_eq!(built.to_string().parse(), Ok(built));
    }
    assert_eq!(InFlight::limit(4).to_string(), "4 in flight for 5m");
    for text in ["4", "in flight", " in flight", "4 in flight 30s", "4 in flight/30s", "4/30s"] {
        assert!(text.parse::<InFlight>().is_err(), "{text}");
    }
    assert_eq!("4 in flight for 30".parse::<InFlight>(), Err(NotationError::Length));
    let build = |in_flight| Limiter::new(store().0, "calls", in_flight).map(drop).unwrap_err();
    assert_eq!(build(InFlight::limit(0)), ConfigError::ZeroLimit { field: "limit" });
    let none = InFlight::limit(1).held_at_most(Duration::ZERO);
    assert_eq!(build(none), ConfigError::ZeroWindow { field: "held_at_most" });
}
