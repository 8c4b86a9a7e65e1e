//! Permits of several limits: acquired, held, settled as one.

use ratelimit_algorithms::{AcquireError, FixedWindow, Limiter, Limits, Live, TokenBucket};
use ratelimit_memory::Memory;

/// A limit on requests and one on tokens, on one store.
fn limits() -> (Limiter<Memory>, Limiter<Memory>) {
    let store = Memory::new();
    let requests = Limiter::new(store.clone(), "requests", FixedWindow::per_day(10)).unwrap();
    (requests, Limiter::new(store, "tokens", FixedWindow::per_day(1_000)).unwrap())
}

fn left(limits: &(Limiter<Memory>, Limiter<Memory>)) -> [u64; 2] {
    [&limits.0, &limits.1].map(|limiter| limiter.peek("key").now().unwrap().remaining)
}

fn asked<'a>(limits: &'a (Limiter<Memory>, Limiter<Memory>), tokens: u64) -> Limits<'a, Memory> {
    Limits::new(&limits.0, "key", 1).and(&limits.1, "key", tokens)
}

#[test]
fn each_limit_is_settled_for_its_own_cost_more_or_less() {
    let limits = limits();
    asked(&limits, 100).acquire().now().unwrap().settle([1, 40]).now().unwrap();
    assert_eq!(left(&limits), [9, 960]);
    asked(&limits, 100).acquire().now().unwrap().settle([3, 40]).now().unwrap();
    assert_eq!(left(&limits), [6, 920], "one is charged more, the other less");
    asked(&limits, 100).acquire().now().unwrap().settle([0]).now().unwrap();
    assert_eq!(left(&limits), [6, 820], "what is not named stands");
    asked(&limits, 100).acquire().now().unwrap().refund().now().unwrap();
    assert_eq!(left(&limits), [6, 820]);
}

#[test]
fn a_denial_names_the_limit_that_bound_and_charges_nothing() {
    let limits = limits();
    asked(&limits, 950).acquire().now().unwrap().keep();
    let error = asked(&limits, 100).acquire().now().unwrap_err();
    assert!(error.retry_after().is_some());
    let AcquireError::DeniedTogether(answer) = error else { panic!("{error}") };
    assert_eq!(answer.bound_name(), "tokens");
    assert_eq!(left(&limits), [9, 50]);
}

#[test]
fn permits_that_are_dropped_stay_spent_unless_they_were_to_be_refunded() {
    let limits = limits();
    drop(asked(&limits, 100).acquire().now().unwrap());
    assert_eq!(left(&limits), [9, 900]);
    drop(asked(&limits, 100).acquire().now().unwrap().refund_on_drop());
    assert_eq!(left(&limits), [9, 900]);
    asked(&limits, 100).acquire().now().unwrap().refund_on_drop().keep();
    assert_eq!(left(&limits), [8, 800]);
}

#[test]
fn a_limit_that_is_named_twice_is_settled_for_the_sum() {
    let limits = limits();
    let twice = asked(&limits, 100).and(&limits.1, "key", 200);
    twice.acquire().now().unwrap().settle([1, 10, 30]).now().unwrap();
    assert_eq!(left(&limits), [9, 960]);
}

#[test]
fn what_has_changed_meanwhile_is_not_given_back_by_an_old_receipt() {
    let store = Memory::new();
    let live = Live::new("tokens", TokenBucket::per_hour(100)).unwrap();
    let tokens = Limiter::with_policies(store.clone(), live.clone()).unwrap();
    let requests = Limiter::new(store, "requests", FixedWindow::per_day(10)).unwrap();
    let limits = Limits::new(&requests, "key", 2).and(&tokens, "key", 50);
    let permits = limits.acquire().now().unwrap();
    live.update(TokenBucket::per_hour(90)).unwrap();
    permits.refund().now().unwrap();
    assert_eq!(requests.peek("key").now().unwrap().remaining, 10);
    assert_eq!(tokens.peek("key").now().unwrap().remaining, 50);
}

#[tokio::test]
async fn awaiting_callers_settle_likewise() {
    let limits = limits();
    asked(&limits, 100).acquire().await.unwrap().settle([1, 1]).await.unwrap();
    assert_eq!(left(&limits), [9, 999]);
}
