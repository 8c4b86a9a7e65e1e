//! Permits: acquired, held, given back.

use std::time::Duration;

use ratelimit_algorithms::{
    AcquireError, AsyncLimiter, FixedWindow, Limiter, Limits, Live, ManualClock, Micros,
    TokenBucket,
};
use ratelimit_memory::Memory;

use crate::store;

fn remaining(limiter: &Limiter<Memory<ManualClock>>, key: &str) -> u64 {
    limiter.peek(key).expect("a store in memory answers").remaining
}

#[test]
fn a_denial_is_an_error_that_says_when_to_come_back() {
    let limiter = Limiter::new(store().0, "api", TokenBucket::per_second(2)).unwrap();
    limiter.acquire_n("a", 2).unwrap().keep();

    let denied = limiter.acquire("a").unwrap_err();
    assert!(matches!(denied, AcquireError::Denied(decision) if !decision.is_allowed()));
    assert_eq!(denied.retry_after(), Some(Micros::from_millis(500)));
    assert_eq!(denied.to_string(), "rate limit exceeded, retry after 500ms");
}

#[test]
fn a_cost_that_never_fits_is_no_denial() {
    let limiter = Limiter::new(store().0, "api", TokenBucket::per_second(2)).unwrap();
    let error = limiter.acquire_n("a", 3).unwrap_err();
    assert!(matches!(error, AcquireError::Failed(_)));
    assert_eq!(error.retry_after(), None);
}

#[test]
fn a_permit_that_is_dropped_stays_spent_unless_it_was_to_be_refunded() {
    let limiter = Limiter::new(store().0, "api", FixedWindow::per_hour(10)).unwrap();
    drop(limiter.acquire_n("a", 3).unwrap());
    assert_eq!(remaining(&limiter, "a"), 7);

    drop(limiter.acquire_n("a", 3).unwrap().refund_on_drop());
    assert_eq!(remaining(&limiter, "a"), 7);
    limiter.acquire_n("a", 3).unwrap().refund_on_drop().keep();
    assert_eq!(remaining(&limiter, "a"), 4);
    limiter.acquire_n("a", 3).unwrap().refund_on_drop().settle(2).unwrap();
    assert_eq!(remaining(&limiter, "a"), 2);
}

#[test]
fn an_estimate_is_settled_for_what_the_work_has_cost() {
    let limiter = Limiter::new(store().0, "api", FixedWindow::per_hour(10)).unwrap();
    let settle = |actual| {
        let _ = limiter.reset("a").unwrap();
        limiter.acquire_n("a", 4).unwrap().settle(actual).unwrap();
        remaining(&limiter, "a")
    };
    assert_eq!([0, 1, 4, 5, 10].map(settle), [10, 9, 6, 5, 0]);
    assert_eq!([11, u64::MAX].map(settle), [0, 0], "what is not there is forgiven");
}

#[test]
fn settling_after_the_window_gives_back_nothing_of_others() {
    let (store, clock) = store();
    let limiter = Limiter::new(store, "api", FixedWindow::per_second(10)).unwrap();
    let late = limiter.acquire_n("a", 10).unwrap();
    clock.advance(Micros::from_secs(1));
    limiter.acquire_n("a", 10).unwrap().keep();

    late.refund().unwrap();
    assert_eq!(remaining(&limiter, "a"), 0);
}

#[test]
fn a_bucket_gives_back_what_has_not_come_back_by_itself() {
    let (store, clock) = store();
    let bucket = TokenBucket::per(10, Duration::from_secs(10));
    let limiter = Limiter::new(store, "api", bucket).unwrap();
    let all = limiter.acquire_n("a", 10).unwrap();
    clock.advance(Micros::from_secs(4));
    limiter.acquire_n("a", 4).unwrap().keep();

    all.refund().unwrap();
    assert_eq!(remaining(&limiter, "a"), 6, "4 came back by themselves, and are spent");
}

/// Under the old numbers the charge would have capped what the key has by the new ones.
#[test]
fn what_is_missing_is_charged_under_the_policy_of_now() {
    let (store, clock) = store();
    let limit = Live::new("api", TokenBucket::per_second(10)).unwrap();
    let limiter = Limiter::with_policies(store, limit.clone()).unwrap();
    let permit = limiter.acquire_n("a", 4).unwrap();
    limit.update(TokenBucket::per_second(100)).unwrap();
    limiter.acquire("a").unwrap().keep();
    clock.advance(Micros::from_millis(500));
    assert_eq!(limiter.peek("a").unwrap().remaining, 55);

    permit.settle(5).unwrap();
    assert_eq!(limiter.peek("a").unwrap().remaining, 54);
}

#[test]
fn a_receipt_of_another_policy_gives_nothing_back() {
    let limit = Live::new("api", FixedWindow::per_hour(10)).unwrap();
    let limiter = Limiter::with_policies(store().0, limit.clone()).unwrap();
    let permit = limiter.acquire_n("a", 4).unwrap();
    limit.update(FixedWindow::per_hour(20)).unwrap();

    permit.refund().unwrap();
    assert_eq!(limiter.peek("a").unwrap().remaining, 16);
}

#[test]
fn work_is_done_for_those_who_have_a_permit() {
    let limiter = Limiter::new(store().0, "api", FixedWindow::per_hour(1)).unwrap();
    let parsed = limiter.run("a", || "7".parse::<u8>()).unwrap();
    assert_eq!(parsed, Ok(7));
    let denied = limiter.run("a", || unreachable!("it is denied"));
    assert!(matches!(denied, Err::<(), _>(AcquireError::Denied(_))));
}

#[tokio::test]
async fn all_of_it_is_awaited_as_well() {
    let limiter = Limiter::new(store().0, "api", FixedWindow::per_hour(10)).unwrap();
    let awaited: AsyncLimiter<_> = limiter.clone().into();

    awaited.acquire_n("a", 4).await.unwrap().settle(1).await.unwrap();
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
    let permit = limiter.acquire("canary").unwrap();
    assert!(!format!("{permit:?}").contains("canary"));
}

#[tokio::test]
async fn one_of_several_charges_can_be_settled_like_any_other() {
    let store = store().0;
    let tokens = AsyncLimiter::new(store.clone(), "tokens", FixedWindow::per_hour(100)).unwrap();
    let calls = AsyncLimiter::new(store, "calls", FixedWindow::per_hour(10)).unwrap();
    let question = tokens.question("a", 60);
    let policy = question.policy().clone();
    let asked = Limits::from(question).and(&calls, "a", 1);

    let answer = asked.check().await.unwrap();
    let permit = tokens.permit(&policy, "a", 60, answer.each()[0]).unwrap();
    permit.settle(20).await.unwrap();
    assert_eq!(tokens.peek("a").await.unwrap().remaining, 80);
    assert_eq!(calls.peek("a").await.unwrap().remaining, 9);

    let denied = tokens.question("a", 81).check().await.unwrap();
    let nothing = tokens.permit(&policy, "a", 81, denied);
    assert!(matches!(nothing, Err(AcquireError::Denied(decision)) if decision == denied));
}
