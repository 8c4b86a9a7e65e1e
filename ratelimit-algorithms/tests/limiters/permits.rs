//! Permits of several limits: acquired, held, settled as one.

use ratelimit_algorithms::{
    AcquireError, FixedWindow, Limiter, Limits, Live, Permit, Permits, TokenBucket,
};
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
    assert_eq!(answer.denied_by(), Some("tokens"));
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

/// Work that holds the permits it was admitted with.
struct Job {
    call: Permit<'static, Memory>,
    both: Permits<'static, Memory>,
}

#[tokio::test]
async fn permits_that_own_what_they_need_outlive_limiter_and_key() {
    let limits = limits();
    let job = {
        let (limits, key) = (limits.clone(), String::from("key"));
        let call = limits.0.acquire(&key).cost(3).await.unwrap().into_owned();
        let both = asked(&limits, 100).acquire().now().unwrap().into_owned();
        Job { call, both }
    };
    assert_eq!(left(&limits), [6, 900]);
    assert!(job.call.decision().is_allowed() && job.both.decision().is_allowed());
    let work = tokio::spawn(async move {
        job.call.settle(1).await.unwrap();
        job.both.settle([1, 40]).await.unwrap();
    });
    work.await.unwrap();
    assert_eq!(left(&limits), [8, 960]);
}

#[test]
fn owned_permits_are_refunded_in_their_drop_once_and_by_the_policy_of_then() {
    let store = Memory::new();
    let live = Live::new("tokens", FixedWindow::per_day(100)).unwrap();
    let tokens = Limiter::with_policies(store, live.clone()).unwrap();
    let permit = || tokens.acquire("key").cost(40).now().unwrap();
    let left = || tokens.peek("key").now().unwrap().remaining;
    drop(permit().refund_on_drop().into_owned());
    assert_eq!(left(), 100, "an option stays");
    drop(permit().into_owned().into_owned());
    assert_eq!(left(), 60, "and none is added");
    permit().refund_on_drop().into_owned().keep();
    assert_eq!(left(), 20);
    tokens.reset("key").now().unwrap();
    let permit = permit().into_owned();
    live.update(FixedWindow::per_day(50)).unwrap();
    permit.refund().now().unwrap();
    assert_eq!(left(), 10, "the receipt is of other numbers");
}
