//! Keys of several tiers, and keys that change theirs.

use std::{
    collections::HashMap,
    sync::{Arc, RwLock},
    thread,
};

use ratelimit_algorithms::{
    Algorithm, CarryOver, ConfigError, FixedWindow, Limiter, Nothing, Policies, Tier, Tiers,
    TokenBucket, Unlimited,
};

use crate::{Outcome, store};

/// A table of which key is of which tier, that the application changes as it likes.
type Table = Arc<RwLock<HashMap<Vec<u8>, Tier>>>;

fn by_table(tiers: &Tiers, table: &Table) -> impl Policies + use<> {
    let table = table.clone();
    tiers.by_key(move |key| {
        table.read().expect("nobody panics with it").get(key).copied().unwrap_or_default()
    })
}

// FAULTS 17.
#[test]
fn a_key_keeps_what_it_has_spent_when_its_tier_changes() -> Outcome {
    let tiers = Tiers::new("api", FixedWindow::per_day(10))?;
    let pro = tiers.add("pro", FixedWindow::per_day(100))?;
    let table = Table::default();
    let limiter = Limiter::with_policies(store().0, by_table(&tiers, &table))?;
    assert_eq!(limiter.check("key").cost(7).now()?.remaining, 3);

    table.write().unwrap().insert(b"key".to_vec(), pro);
    assert_eq!(limiter.check("key").cost(13).now()?.remaining, 80);
    table.write().unwrap().clear();
    assert!(!limiter.check("key").now()?.is_allowed(), "20 are spent of 10");
    assert_eq!(limiter.check("another").now()?.remaining, 9);
    Ok(())
}

// FAULTS 17.
#[test]
fn a_share_is_kept_where_the_carry_over_says_so() -> Outcome {
    let tiers = Tiers::new("api", TokenBucket::per_day(10))?;
    let pro = tiers.add("pro", TokenBucket::per_day(100))?;
    let tiers = tiers.with_carry_over(CarryOver::Proportional);
    let table = Table::default();
    let limiter = Limiter::with_policies(store().0, by_table(&tiers, &table))?;
    assert!(limiter.check("key").cost(7).now()?.is_allowed());
    table.write().unwrap().insert(b"key".to_vec(), pro);
    assert_eq!(limiter.peek("key").now()?.remaining, 30);
    Ok(())
}

#[tokio::test]
async fn a_key_can_be_told_its_tier_with_each_check() -> Outcome {
    let tiers = Tiers::new("api", FixedWindow::per_day(10))?;
    let pro = tiers.add("pro", FixedWindow::per_day(100))?;
    let limiter = Limiter::with_policies(store().0, tiers.in_tier(Tier::DEFAULT))?;
    assert_eq!(limiter.check("key").cost(7).await?.remaining, 3);
    assert_eq!(limiter.in_tier(pro).check("key").cost(13).await?.remaining, 80);
    tiers.update(pro, FixedWindow::per_day(50))?;
    assert_eq!(limiter.in_tier(pro).peek("key").await?.remaining, 30);
    assert!(!limiter.check("key").await?.is_allowed());
    Ok(())
}

#[test]
fn a_tier_s_numbers_change_for_all_of_its_keys_and_for_no_others() -> Outcome {
    let tiers = Tiers::new("api", FixedWindow::per_day(10))?;
    let pro = tiers.add("pro", FixedWindow::per_day(100))?;
    let choose = move |key: &[u8]| if key.starts_with(b"pro") { pro } else { Tier::DEFAULT };
    let limiter = Limiter::with_policies(store().0, tiers.by_key(choose))?;
    tiers.update(pro, FixedWindow::per_day(200))?;
    let limits = |keys: [&str; 3]| keys.map(|key| limiter.policy(key).limit());
    assert_eq!(limits(["pro-1", "pro-2", "free"]), [200, 200, 10]);
    tiers.update(Tier::DEFAULT, FixedWindow::per_day(20))?;
    assert_eq!(limits(["pro-1", "pro-2", "free"]), [200, 200, 20]);
    Ok(())
}

#[test]
fn tiers_can_be_added_while_limiters_use_them() -> Outcome {
    let (tiers, table) = (Tiers::new("api", FixedWindow::per_day(10))?, Table::default());
    let limiter = Limiter::with_policies(store().0, by_table(&tiers, &table))?;
    thread::scope(|scope| {
        for number in 1..=50 {
            let (tiers, table) = (&tiers, &table);
            scope.spawn(move || {
                let name = format!("customer-{number}");
                let tier = tiers.add(&name, FixedWindow::per_day(number)).unwrap();
                table.write().unwrap().insert(name.into_bytes(), tier);
            });
        }
    });
    for number in 1..=50 {
        let name = format!("customer-{number}");
        assert_eq!(limiter.policy(&name).limit(), number);
        assert_eq!(tiers.tier(&name)?, table.read().unwrap()[name.as_bytes()]);
    }
    Ok(())
}

#[test]
fn a_tier_that_is_unknown_or_there_already_is_a_typed_error() -> Outcome {
    let tiers = Tiers::new("api", FixedWindow::per_day(10))?;
    assert_eq!(tiers.tier("default"), Ok(Tier::DEFAULT));
    assert_eq!(tiers.tier("prp"), Err(ConfigError::UnknownTier));
    let pro = tiers.add("pro", FixedWindow::per_day(100))?;
    assert_eq!(tiers.tier("pro"), Ok(pro));
    for name in ["pro", "default"] {
        let added = tiers.add(name, FixedWindow::per_day(1));
        assert_eq!(added, Err(ConfigError::DuplicateTier));
    }
    let fewer = Tiers::new("api", FixedWindow::per_day(10))?;
    assert_eq!(fewer.update(pro, FixedWindow::per_day(1)), Err(ConfigError::UnknownTier));
    assert_eq!(
        fewer.by_key(move |_| pro).policy(b"key").limit(),
        10,
        "nobody's tier is the default"
    );
    Ok(())
}

// FAULTS 17.
#[test]
fn all_tiers_are_of_one_algorithm_unless_keys_start_anew() -> Outcome {
    let tiers = Tiers::new("api", FixedWindow::per_day(10))?;
    let change = ConfigError::AlgorithmChange { from: "fixed window", to: "token bucket" };
    assert_eq!(tiers.add("pro", TokenBucket::per_second(1)), Err(change));
    assert_eq!(tiers.tier("pro"), Err(ConfigError::UnknownTier), "nothing is left of it");
    assert_eq!(tiers.update(Tier::DEFAULT, TokenBucket::per_second(1)), Err(change));

    let tiers = tiers.with_carry_over(CarryOver::Reset);
    let pro = tiers.add("pro", TokenBucket::per_second(5))?;
    let table = Table::default();
    let limiter = Limiter::with_policies(store().0, by_table(&tiers, &table))?;
    assert!(limiter.check("key").cost(10).now()?.is_allowed());
    table.write().unwrap().insert(b"key".to_vec(), pro);
    assert_eq!(limiter.check("key").now()?.remaining, 4);
    Ok(())
}

#[test]
fn a_store_is_asked_about_every_tier() -> Outcome {
    let tiers = Tiers::new("api", FixedWindow::per_day(10))?;
    tiers.add("pro", FixedWindow::per_day(100))?;
    let mut seen = Vec::new();
    let tiers = tiers.by_key(|_| Tier::DEFAULT);
    tiers.try_each(&mut |policy| {
        seen.push(policy.algorithm().clone());
        Ok(())
    })?;
    let expected = [10, 100].map(|limit| Algorithm::try_from(FixedWindow::per_day(limit)));
    assert_eq!(seen.into_iter().map(Ok).collect::<Vec<_>>(), expected);
    Ok(())
}

#[test]
fn a_tier_is_switched_off_and_another_has_no_limit() -> Outcome {
    let tiers = Tiers::new("api", Nothing)?;
    let free = tiers.add("free", TokenBucket::per_hour(10))?;
    let limiter = Limiter::with_policies(store().0, tiers.in_tier(free))?;
    assert_eq!(limiter.check("key").cost(4).now()?.remaining, 6);
    tiers.update(free, Nothing)?;
    assert!(!limiter.check("key").now()?.is_allowed());
    assert!(!limiter.in_tier(Tier::DEFAULT).check("key").now()?.is_allowed());
    tiers.update(free, TokenBucket::per_hour(20))?;
    assert_eq!(limiter.check("key").now()?.remaining, 5);
    tiers.update(Tier::DEFAULT, Unlimited::per_day())?;
    assert!(limiter.in_tier(Tier::DEFAULT).check("other").cost(1_000).now()?.is_allowed());
    let refused = tiers.update(Tier::DEFAULT, FixedWindow::per_hour(20));
    assert!(matches!(refused, Err(ConfigError::AlgorithmChange { .. })));
    Ok(())
}
