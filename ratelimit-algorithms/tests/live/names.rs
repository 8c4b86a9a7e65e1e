//! On one store a name that may change has one owner.

use std::sync::Arc;

use ratelimit_algorithms::{
    ConfigError, FixedWindow, Limiter, Limits, Live, ManualClock, Policies, Tier, Tiers,
};
use ratelimit_memory::Memory;

use crate::{Outcome, store};

fn daily() -> FixedWindow {
    FixedWindow::per_day(10)
}

#[track_caller]
fn is_refused(store: &Memory<ManualClock>, policies: impl Policies) {
    let built = Limiter::with_policies(store.clone(), policies);
    assert!(matches!(built, Err(ConfigError::DuplicateName)));
}

// FAULTS 10.
#[test]
fn limiters_of_one_handle_share_its_name_and_what_is_spent() -> Outcome {
    let (store, limit) = (store().0, Live::new("api", daily())?);
    let one = Limiter::with_policies(store.clone(), limit.clone())?;
    limit.update(FixedWindow::per_day(20))?;
    let other = Limiter::with_policies(store, limit)?;
    let answer = Limits::new(&one, "key", 4).and(&other, "key", 5).check().now()?;
    assert!(answer.is_allowed());
    assert_eq!(one.peek("key").now()?.remaining, 11);
    Ok(())
}

#[test]
fn policies_behind_a_pointer_are_the_same_policies() -> Outcome {
    let (store, limit) = (store().0, Live::new("api", daily())?);
    let pointer: Arc<dyn Policies> = Arc::new(limit.clone());
    let one = Limiter::with_policies(store.clone(), pointer)?;
    let other = Limiter::with_policies(store.clone(), limit)?;
    is_refused(&store, Live::new(one.name(), daily())?);
    assert!(one.check("key").cost(4).now()?.is_allowed());
    assert_eq!(other.peek("key").now()?.remaining, 6);
    Ok(())
}

// FAULTS 10.
#[test]
fn another_handle_or_policy_of_the_name_is_refused_even_with_equal_numbers() -> Outcome {
    let (store, limit) = (store().0, Live::new("api", daily())?);
    let limiter = Limiter::with_policies(store.clone(), limit.clone())?;
    is_refused(&store, Live::new("api", daily())?);
    is_refused(&store, limit.clone().with_carry_over(Default::default()));
    is_refused(&store, limit.current());
    is_refused(&store, Tiers::new("api", daily())?.by_key(|_| Tier::DEFAULT));
    assert!(Limiter::new(store.clone(), "else", daily()).is_ok());

    drop(limiter);
    let fixed = Limiter::new(store.clone(), "api", daily())?;
    is_refused(&store, limit);
    drop(fixed);
    Ok(())
}

// FAULTS 10.
#[test]
fn limiters_of_the_same_tiers_share_their_name_and_what_is_spent() -> Outcome {
    let (store, tiers) = (store().0, Tiers::new("api", daily())?);
    let one = Limiter::with_policies(store.clone(), tiers.by_key(|_| Tier::DEFAULT))?;
    let other = Limiter::with_policies(store.clone(), tiers.in_tier(Tier::DEFAULT))?;
    is_refused(&store, Tiers::new("api", daily())?.in_tier(Tier::DEFAULT));
    assert!(one.check("key").cost(4).now()?.is_allowed());
    assert_eq!(other.peek("key").now()?.remaining, 6);
    Ok(())
}

// FAULTS 10.
#[test]
fn one_handle_serves_several_stores() -> Outcome {
    let limit = Live::new("api", daily())?;
    let one = Limiter::with_policies(store().0, limit.clone())?;
    let other = Limiter::with_policies(store().0, limit.clone())?;
    limit.update(FixedWindow::per_day(3))?;
    assert_eq!(one.check("key").cost(2).now()?.remaining, 1);
    assert_eq!(other.peek("key").now()?.remaining, 3, "each store has its own state");
    Ok(())
}

// FAULTS 11.
#[test]
fn a_bad_name_is_refused() {
    for name in ["", "a b", "a{b}", "é", "UPPER", &"x".repeat(65)] {
        assert!(matches!(Live::new(name, daily()), Err(ConfigError::BadName)));
        assert!(matches!(Tiers::new(name, daily()), Err(ConfigError::BadName)));
    }
}
