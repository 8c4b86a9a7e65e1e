//! Permits: acquired, held, given back.

use std::time::Duration;

use ratelimit_algorithms::{
    AcquireError, FixedWindow, Limiter, Limits, Live, ManualClock, Micros, TokenBucket,
};
use ratelimit_memory::Memory;

use crate::store;

fn remaining(limiter: &Limiter<Memory<ManualClock>>, key: &str) -> u64 {
    limiter.peek(key).now().expect("a store in memory answers").remaining
}

#[test]
fn a_denial_is_an_error_that_says_when_to_come_back() {
    let limiter = Limiter::new(store().0, "api", TokenBucket::per_second(2)).unwrap();
    limiter.acquire("a").cost(2).now().unwrap().keep();

    let denied = limiter.acquire("a").now().unwrap_err();
    assert!(matches!(denied, AcquireError::Denied(decision) if !decision.is_allowed()));
    assert_eq!(denied.retry_after(), Some(Micros::from_millis(500)));
    assert_eq!(denied.to_string(), "rate limit exceeded, retry after 500ms");
}

#[test]
fn a_cost_that_never_fits_is_no_denial() {
    let limiter = Limiter::new(store().0, "api", TokenBucket::per_second(2)).unwrap();
    let error = limiter.acquire("a").cost(3).now().unwrap_err();
    assert!(matches!(error, AcquireError::Failed(_)));
    assert_eq!(error.retry_after(), None);
}

#[test]
fn a_permit_that_is_dropped_stays_spent_unless_it_was_to_be_refunded() {
    let limiter = Limiter::new(store().0, "api", FixedWindow::per_hour(10)).unwrap();
    drop(limiter.acquire("a").cost(3).now().unwrap());
    assert_eq!(remaining(&limiter, "a"), 7);

    drop(limiter.acquire("a").cost(3).now().unwrap().refund_on_drop());
    assert_eq!(remaining(&limiter, "a"), 7);
    limiter.acquire("a").cost(3).now().unwrap().refund_on_drop().keep();
    assert_eq!(remaining(&limiter, "a"), 4);
    limiter.acquire("a").cost(3).now().unwrap().refund_on_drop().settle(2).now().unwrap();
    assert_eq!(remaining(&limiter, "a"), 2);
}

#[test]
fn an_estimate_is_settled_for_what_the_work_has_cost() {
    let limiter = Limiter::new(store().0, "api", FixedWindow::per_hour(10)).unwrap();
    let settle = |actual| {
        limiter.reset("a").now().unwrap();
        limiter.acquire("a").cost(4).now().unwrap().settle(actual).now().unwrap();
        remaining(&limiter, "a")
    };
    assert_eq!([0, 1, 4, 5, 10].map(settle), [10, 9, 6, 5, 0]);
    assert_eq!([11, u64::MAX].map(settle), [0, 0], "what is not there is forgiven");
}

#[test]
fn settling_after_the_window_gives_back_nothing_of_others() {
    let (store, clock) = store();
    let limiter = Limiter::new(store, "api", FixedWindow::per_second(10)).unwrap();
    let late = limiter.acquire("a").cost(10).now().unwrap();
    clock.advance(Micros::from_secs(1));
    limiter.acquire("a").cost(10).now().unwrap().keep();

    late.refund().now().unwrap();
    assert_eq!(remaining(&limiter, "a"), 0);
}

#[test]
fn a_bucket_gives_back_what_has_not_come_back_by_itself() {
    let (store, clock) = store();
    let bucket = TokenBucket::per(10, Duration::from_secs(10));
    let limiter = Limiter::new(store, "api", bucket).unwrap();
    let all = limiter.acquire("a").cost(10).now().unwrap();
    clock.advance(Micros::from_secs(4));
    limiter.acquire("a").cost(4).now().unwrap().keep();

    all.refund().now().unwrap();
    assert_eq!(remaining(&limiter, "a"), 6, "4 came back by themselves, and are spent");
}

/// Under the old numbers the charge would have capped what the key has by the new ones.
#[test]
fn what_is_missing_is_charged_under_the_policy_of_now() {
    let (store, clock) = store();
    let limit = Live::new("api", TokenBucket::per_second(10)).unwrap();
    let limiter = Limiter::with_policies(store, limit.clone()).unwrap();
    let permit = limiter.acquire("a").cost(4).now().unwrap();
    limit.update(TokenBucket::per_second(100)).unwrap();
    limiter.acquire("a").now().unwrap().keep();
    clock.advance(Micros::from_millis(500));
    assert_eq!(limiter.peek("a").now().unwrap().remaining, 55);

    permit.settle(5).now().unwrap();
    assert_eq!(limiter.peek("a").now().unwrap().remaining, 54);
}

#[test]
fn a_receipt_of_another_policy_gives_nothing_back() {
    let limit = Live::new("api", FixedWindow::per_hour(10)).unwrap();
    let limiter = Limiter::with_policies(store().0, limit.clone()).unwrap();
    let permit = limiter.acquire("a").cost(4).now().unwrap();
    limit.update(FixedWindow::per_hour(20)).unwrap();

    permit.refund().now().unwrap();
    assert_eq!(limiter.peek("a").now().unwrap().remaining, 16);
}

#[test]
fn work_is_done_for_those_who_have_a_permit() {
    let limiter = Limiter::new(store().0, "api", FixedWindow::per_hour(1)).unwrap();
    let parsed = limiter.run("a", || "7".parse::<u8>()).now().unwrap();
    assert_eq!(parsed, Ok(7));
    let denied = limiter.run("a", || unreachable!("it is denied")).now();
    assert!(matches!(denied, Err::<(), _>(AcquireError::Denied(_))));
}

#[tokio::test]
async fn all_of_it_is_awaited_as_well() {
    let limiter = Limiter::new(store().0, "api", FixedWindow::per_hour(10)).unwrap();
    let awaited = limiter.clone();

    awaited.acquire("a").cost(4).await.unwrap().settle(1).await.unwrap();
    assert_eq!(remaining(&limiter, "a"), 9);
    awaited.acquire("a").await.unwrap().refund().await.unwrap();
    drop(awaited.acquire("a").await.unwrap().refund_on_drop());
    assert_eq!(remaining(&limiter, "a"), 9);
    assert_eq!(awaited.run("a", async || 7).await.unwrap(), 7);
    assert_eq!(remaining(&limiter, "a"), 8);
}

#[test]
fn a_permit_shows_no_key() {
    let limiter = Limiter::new(store().0, "api", FixedWindow::per_hour(1)).unwrap();
    let permit = limiter.acquire("canary").now().unwrap();
    assert!(!format!("{permit:?}").contains("canary"));
}

#[tokio::test]
async fn one_of_several_charges_can_be_settled_like_any_other() {
    let store = store().0;
    let tokens = Limiter::new(store.clone(), "tokens", FixedWindow::per_hour(100)).unwrap();
    let calls = Limiter::new(store, "calls", FixedWindow::per_hour(10)).unwrap();
    let check = tokens.prepare("a", 60);
    let policy = check.policy().clone();
    let asked = Limits::from(check).and(&calls, "a", 1);

    let answer = asked.check().await.unwrap();
    let permit = tokens.prepare_under(&policy, "a", 60).permit(answer.each()[0]).unwrap();
    permit.settle(20).await.unwrap();
    assert_eq!(tokens.peek("a").await.unwrap().remaining, 80);
    assert_eq!(calls.peek("a").await.unwrap().remaining, 9);

    let denied = tokens.prepare("a", 81).check().await.unwrap();
    let nothing = tokens.prepare_under(&policy, "a", 81).permit(denied);
    assert!(matches!(nothing, Err(AcquireError::Denied(decision)) if decision == denied));
}
