//! Several limits asked as one, where they are about the same state.

use std::{num::NonZeroUsize, time::Duration};

use ratelimit_algorithms::{CostError, Decision, Error, FixedWindow, Limiter, Limits};
use ratelimit_backend::ManualClock;
use ratelimit_memory::Memory;

type Outcome = Result<(), Box<dyn std::error::Error>>;

#[test]
fn a_key_that_is_named_twice_is_charged_the_sum() -> Outcome {
    let limiter = Limiter::new(Memory::new(), "daily", FixedWindow::per_day(10))?;
    let answer = Limits::new(&limiter, "key", 3).and(&limiter, "key", 4).check().now()?;
    assert!(answer.is_allowed());
    assert_eq!(answer.each().iter().map(|each| each.remaining).collect::<Vec<_>>(), [3, 3]);
    assert_eq!(limiter.peek("key").now()?.remaining, 3);

    let denied = Limits::new(&limiter, "key", 2).and(&limiter, "key", 2).check().now()?;
    assert!(!denied.is_allowed(), "2 would fit, 2 and 2 do not");
    assert_eq!(limiter.peek("key").now()?.remaining, 3, "and none is charged");
    Ok(())
}

#[test]
fn a_sum_that_can_never_be_admitted_is_an_error() -> Outcome {
    let limiter = Limiter::new(Memory::new(), "daily", FixedWindow::per_day(10))?;
    let error = Limits::new(&limiter, "key", 6).and(&limiter, "key", 6).check().now();
    assert!(matches!(error, Err(Error::Cost(CostError::ExceedsLimit { cost: 12, max: 10 }))));
    assert_eq!(limiter.peek("key").now()?.remaining, 10);
    Ok(())
}

#[test]
fn a_take_gets_of_each_limit_what_there_is_or_nothing_at_all() -> Outcome {
    let store = Memory::with_clock(ManualClock::default(), NonZeroUsize::MIN.saturating_add(9));
    let few = Limiter::new(store.clone(), "few", FixedWindow::per_day(3))?;
    let many = Limiter::new(store, "many", FixedWindow::per_day(10))?;
    let both = Limits::new(&few, "key", 50).and(&many, "key", 4);
    let charged = |answer: &ratelimit_algorithms::LimitsDecision| {
        answer.each().iter().map(Decision::charged).collect::<Vec<_>>()
    };
    let taken = both.take().now()?;
    assert!(taken.is_allowed());
    assert_eq!(charged(&taken), [3, 4]);
    let denied = both.take().now()?;
    assert!(!denied.is_allowed());
    assert_eq!((charged(&denied), denied.denied_by()), (vec![0, 0], Some("few")));
    assert_eq!(denied.retry_after(), few.check("key").now()?.retry_after());
    assert_eq!(many.peek("key").now()?.remaining, 6, "nothing was charged");
    Ok(())
}

#[test]
fn two_limiters_of_one_name_and_store_share_what_they_spend() -> Outcome {
    let store = Memory::new();
    let one = Limiter::new(store.clone(), "daily", FixedWindow::per_day(10))?;
    let other = Limiter::new(store, "daily", FixedWindow::per_day(10))?;
    let answer =
        Limits::new(&one, "key", 4).and(&other, "key", 4).and(&one, "else", 1).check().now()?;
    assert!(answer.is_allowed());
    assert_eq!([one.peek("key").now()?.remaining, other.peek("else").now()?.remaining], [2, 9]);
    Ok(())
}

#[tokio::test]
async fn awaiting_callers_are_charged_the_same() -> Outcome {
    let limiter = Limiter::new(Memory::new(), "daily", FixedWindow::per_day(10))?;
    let answer = Limits::new(&limiter, "key", 3).and(&limiter, "key", 4).check().await?;
    assert!(answer.is_allowed());
    assert_eq!(limiter.peek("key").await?.remaining, 3);
    Ok(())
}

#[tokio::test]
async fn a_client_is_blocked_in_all_limits_and_in_no_other() -> Outcome {
    let store = Memory::new();
    let per_day = |name| Limiter::new(store.clone(), name, FixedWindow::per_day(10));
    let (burst, daily, other) = (per_day("burst")?, per_day("daily")?, per_day("other")?);
    Limits::new(&burst, "a", 1).and(&daily, "a", 1).block(Duration::from_secs(60)).now()?;
    Limits::new(&burst, "b", 1).and(&daily, "b", 1).block(Duration::from_secs(60)).await?;
    for client in ["a", "b", "c"] {
        let is_free = client == "c";
        for limiter in [&burst, &daily] {
            let decision = limiter.check(client).now()?;
            assert_eq!((decision.is_allowed(), decision.is_blocked()), (is_free, !is_free));
        }
        assert!(other.check(client).now()?.is_allowed());
    }
    Ok(())
}
