//! Keys that may owe what they have used beyond their limits.

use std::time::Duration;

use ratelimit_algorithms::{
    AcquireError, Adaptive, ConfigError, FixedWindow, Limiter, Limits, Live, Micros, Policy,
    Source, Tier, Tiers, TokenBucket,
};

use crate::store;

type Outcome = Result<(), Box<dyn std::error::Error>>;

const MINUTE: u64 = 60_000_000;

/// A thousand a minute, an estimate of one, fifty thousand in the end, ten times.
#[test]
fn what_is_used_in_the_long_run_is_what_the_limit_admits() -> Outcome {
    for (debt_max, minutes) in [(0, 0), (20_000, 180), (50_000, 449)] {
        let (store, clock) = store();
        let policy = Policy::new("tokens", TokenBucket::per_minute(1_000))?;
        let tokens = Limiter::with_policies(store, policy.with_debt_max(debt_max)?)?;
        let (mut used, mut passed) = (0, Micros::ZERO);
        for _ in 0..10 {
            let permit = loop {
                match tokens.acquire("key").now() {
                    Ok(permit) => break permit,
                    Err(denied) => {
                        let wait = denied.retry_after().ok_or("it is denied")?;
                        clock.advance(wait - Micros::new(1));
                        assert!(tokens.acquire("key").now().is_err(), "not a microsecond earlier");
                        clock.advance(Micros::new(1));
                        passed = passed + wait;
                    }
                }
            };
            permit.settle(50_000).now()?;
            used += 50_000;
        }
        assert_eq!(used, 500_000);
        let paid = 1_000 * passed.as_micros() / MINUTE;
        assert_eq!(
            passed.as_micros() / MINUTE,
            minutes,
            "of {debt_max} owed, {paid} are paid back"
        );
        // Of all that is used, what cannot be owed is forgiven.
        if 49_000 <= debt_max {
            assert!(used <= paid + 1_000 + debt_max, "{used} used, {paid} paid back");
        }
    }
    Ok(())
}

#[test]
fn a_settlement_pays_a_debt_back_before_it_gives_anything() -> Outcome {
    let (store, clock) = store();
    let policy = Policy::new("tokens", FixedWindow::per_minute(100))?.with_debt_max(1_000)?;
    let tokens = Limiter::with_policies(store, policy)?;
    let reserved = tokens.acquire("key").cost(80).now()?;
    tokens.acquire("key").cost(20).now()?.settle(70).now()?;
    let denied = tokens.check("key").now()?;
    assert!(denied.is_in_debt());
    assert_eq!(denied.retry_after(), Micros::new(MINUTE));

    reserved.settle(40).now()?;
    assert!(tokens.check("key").now()?.is_in_debt(), "forty were given back, and fifty are owed");
    clock.advance(Micros::new(MINUTE));
    assert_eq!(tokens.peek("key").now()?.remaining, 90);
    Ok(())
}

#[test]
fn of_several_limits_each_owes_what_it_may() -> Outcome {
    let (store, _) = store();
    let owing = Policy::new("tokens", FixedWindow::per_minute(100))?.with_debt_max(30)?;
    let tokens = Limiter::with_policies(store.clone(), owing)?;
    let requests = Limiter::new(store, "requests", FixedWindow::per_minute(10))?;
    let permits = Limits::new(&requests, "key", 1).and(&tokens, "key", 1).acquire().now()?;
    permits.settle([50, 500]).now()?;
    assert_eq!(requests.peek("key").now()?.remaining, 0);
    assert!(!requests.peek("key").now()?.is_in_debt(), "what does not fit is forgiven");
    let denied = tokens.check("key").now()?;
    assert_eq!((denied.is_in_debt(), denied.retry_after()), (true, Micros::new(MINUTE)));

    assert_eq!(denied.source(), Source::Store);
    let denied = Limits::new(&requests, "key", 1).and(&tokens, "key", 1).acquire().now();
    assert!(matches!(denied, Err(AcquireError::DeniedTogether(_))));
    Ok(())
}

#[test]
fn a_penalty_may_be_larger_than_the_limit() -> Outcome {
    let policy = Policy::new("logins", TokenBucket::per_minute(60))?.with_debt_max(120)?;
    let logins = Limiter::with_policies(store().0, policy)?;
    assert_eq!(logins.penalize("mallory").cost(150).now()?.remaining, 0);
    let denied = logins.check("mallory").now()?;
    assert_eq!(denied.retry_after(), Micros::from_secs(90 + 1));
    assert!(logins.penalize("mallory").cost(181).now().is_err(), "more than may ever be owed");
    Ok(())
}

#[test]
fn a_live_limit_and_all_tiers_keep_their_debts() -> Outcome {
    let per_minute = TokenBucket::per_minute;
    let live = Live::new("live", per_minute(60))?.with_debt_max(600)?;
    let tiers = Tiers::new("tiers", per_minute(60))?.with_debt_max(600)?;
    let pro = tiers.add("pro", per_minute(120))?;
    let (store, _) = store();
    let one = Limiter::with_policies(store.clone(), live.clone())?;
    let other = Limiter::with_policies(
        store,
        tiers.by_key(move |key| match key {
            b"pro" => pro,
            _ => Tier::DEFAULT,
        }),
    )?;
    for (wait, double) in [(1, 1), (0, 2)] {
        if double == 2 {
            live.update(per_minute(120))?;
        }
        assert_eq!(live.current().debt_max(), 600);
        one.reset("key").now()?;
        let _ = one.penalize("key").cost(60 * double + 600).now()?;
        let seconds = 600 / double + wait;
        assert_eq!(one.check("key").now()?.retry_after().as_secs_ceil(), seconds + 1 - wait);
    }
    for key in ["free", "pro"] {
        let _ = other.penalize(key).cost(600).now()?;
        assert!(other.check(key).now()?.is_in_debt(), "{key}");
    }
    let long = Duration::from_secs(3_650 * 86_400);
    let slow = live.update(TokenBucket::per(1, long));
    assert!(
        matches!(slow, Err(ConfigError::LimitTooLarge { field: "debt_max", max: 1 })),
        "{slow:?}"
    );
    assert_eq!(one.policy("key").limit(), 120, "it stays as it is");
    let hybrid = Live::new("hybrid", Adaptive::per_minute(60))?.with_debt_max(1);
    assert!(matches!(hybrid, Err(ConfigError::NoDebt { .. })));
    Ok(())
}
