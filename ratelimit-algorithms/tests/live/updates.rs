//! Updates: the numbers they change, the permits they keep, the changes they refuse.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::Duration,
};

use proptest::prelude::*;
use ratelimit_algorithms::{
    Adaptive, Algorithm, CarryOver, ConfigError, Decision, FixedWindow, InFlight, Limiter, Live,
    Micros, Scope, SlidingWindowLog, TokenBucket,
};
use ratelimit_memory::Memory;

use crate::{Outcome, store};

#[test]
fn the_next_check_sees_an_update_whoever_makes_it() -> Outcome {
    let limit = Live::new("api", FixedWindow::per_day(10))?;
    let limiter = Limiter::with_policies(store().0, limit.clone())?;
    assert_eq!(limiter.check("key").now()?.limit, 10);
    thread::scope(|scope| scope.spawn(|| limit.update(FixedWindow::per_day(20))).join())
        .expect("no thread panics")?;
    assert_eq!(limiter.check("key").now()?.limit, 20);
    assert_eq!(limiter.policy("key").limit(), 20);
    Ok(())
}

// FAULTS 17.
#[test]
fn what_is_spent_is_carried_over_as_the_limit_says() -> Outcome {
    for (carry_over, remaining) in
        [(CarryOver::AsIs, 13), (CarryOver::Reset, 20), (CarryOver::Proportional, 6)]
    {
        let limit = Live::new("api", FixedWindow::per_day(10))?.with_carry_over(carry_over);
        let limiter = Limiter::with_policies(store().0, limit.clone())?;
        assert!(limiter.check("key").cost(7).now()?.is_allowed());
        limit.update(FixedWindow::per_day(20))?;
        assert_eq!(limiter.peek("key").now()?.remaining, remaining, "{carry_over:?}");
    }
    Ok(())
}

// FAULTS 17.
#[test]
fn lowering_and_raising_a_limit_again_hands_out_no_second_quota() -> Outcome {
    let limit = Live::new("api", SlidingWindowLog::per_day(10))?;
    let limiter = Limiter::with_policies(store().0, limit.clone())?;
    assert!(limiter.check("key").cost(8).now()?.is_allowed());
    limit.update(SlidingWindowLog::per_day(5))?;
    assert!(!limiter.check("key").now()?.is_allowed());
    limit.update(SlidingWindowLog::per_day(10))?;
    assert_eq!(limiter.peek("key").now()?.remaining, 2);
    limit.update(SlidingWindowLog::per_hour(10))?;
    assert_eq!(limiter.peek("key").now()?.remaining, 2, "another window is no other quota");
    Ok(())
}

// FAULTS 17.
#[test]
fn another_algorithm_is_refused_unless_keys_start_anew() -> Outcome {
    for (carry_over, is_allowed) in
        [(CarryOver::AsIs, false), (CarryOver::Proportional, false), (CarryOver::Reset, true)]
    {
        let limit = Live::new("api", FixedWindow::per_day(10))?.with_carry_over(carry_over);
        let limiter = Limiter::with_policies(store().0, limit.clone())?;
        assert!(limiter.check("key").cost(10).now()?.is_allowed());
        let updated = limit.update(TokenBucket::per_second(7));
        let change = ConfigError::AlgorithmChange { from: "fixed window", to: "token bucket" };
        assert_eq!(updated, if is_allowed { Ok(()) } else { Err(change) });
        assert_eq!(limiter.peek("key").now()?.remaining, if is_allowed { 7 } else { 0 });
        assert!(limit.update(FixedWindow::per_day(11)).is_ok(), "back again");
    }
    Ok(())
}

// FAULTS 17.
#[test]
fn the_scope_of_a_load_sensor_never_changes() -> Outcome {
    let [own, shared] =
        [Scope::PerKey, Scope::Shared].map(|scope| Adaptive::per_second(10).scope(scope));
    for (from, to) in [(own, shared), (shared, own)] {
        let limit = Live::new("api", from)?.with_carry_over(CarryOver::Reset);
        assert_eq!(limit.update(to), Err(ConfigError::ScopeChange));
        assert_eq!(limit.current().algorithm(), &Algorithm::try_from(from)?);
        limit.update(from.penalty(0.25))?;
    }
    let limit = Live::new("api", TokenBucket::per_second(10))?.with_carry_over(CarryOver::Reset);
    assert_eq!(limit.update(shared), Err(ConfigError::ScopeChange));
    assert_eq!(limit.update(own), Ok(()));
    Ok(())
}

#[test]
fn what_cannot_be_honoured_leaves_the_limit_as_it_is() -> Outcome {
    let limit = Live::new("api", TokenBucket::per_second(10))?;
    let before = limit.current();
    let zero = ConfigError::ZeroLimit { field: "limit" };
    assert_eq!(limit.update(TokenBucket::per_second(0)), Err(zero));
    let window = ConfigError::ZeroWindow { field: "window" };
    assert_eq!(limit.update(TokenBucket::per(10, Duration::ZERO)), Err(window));
    assert_eq!(limit.current(), before);
    Ok(())
}

#[test]
fn a_limit_of_its_own_carry_over_does_not_change_with_the_one_it_was_made_of() -> Outcome {
    let limit = Live::new("api", FixedWindow::per_day(10))?;
    let other = limit.clone().with_carry_over(CarryOver::Reset);
    limit.update(FixedWindow::per_day(20))?;
    assert_eq!(other.current().limit(), 10);
    Ok(())
}

// FAULTS 18.
#[test]
fn a_million_checks_among_updates_each_see_one_whole_configuration() -> Outcome {
    let short = TokenBucket::per(10, Duration::from_secs(1));
    let long = TokenBucket::per(1_000, Duration::from_secs(1_000));
    let limit = Live::new("api", short)?;
    let limiter = Limiter::with_policies(Memory::new(), limit.clone())?;
    let seen = [const { AtomicU64::new(0) }; 2];
    let work = |thread: usize| -> Result<(), String> {
        for turn in 0..125_000 {
            if turn % 8 == thread {
                let other = if turn % 16 == thread { long } else { short };
                limit.update(other).map_err(|error| error.to_string())?;
            }
            let key = [b'a' + u8::try_from(turn % 5).unwrap_or_default()];
            let decision = limiter.check(&key).now().map_err(|error| error.to_string())?;
            let configuration = match decision.limit {
                10 if is_refilled(&decision, 100_000) => 0,
                1_000 if is_refilled(&decision, 1_000_000) => 1,
                _ => return Err(format!("{decision:?} mixes two configurations")),
            };
            seen[configuration].fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|thread| scope.spawn(move || work(thread))).collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("no thread panics"))
    })?;
    let seen = seen.map(AtomicU64::into_inner);
    assert_eq!(seen.iter().sum::<u64>(), 1_000_000);
    assert!(seen.iter().all(|&times| 1_000 < times), "both are in use: {seen:?}");
    Ok(())
}

proptest! {
    // FAULTS 17.
    #[test]
    fn whatever_the_updates_a_window_admits_no_more_than_the_largest_limit(
        first in 1_u64..30,
        changes in prop::collection::vec((1_u64..30, 1_u64..9_000_000, 0_u32..40), 1..20),
    ) {
        let per = |limit, window| SlidingWindowLog::per(limit, Duration::from_micros(window));
        let (store, clock) = store();
        let limit = Live::new("api", per(first, 9_000_000))?;
        let limiter = Limiter::with_policies(store, limit.clone())?;
        let mut admitted = Vec::new();
        for (permits, passed, checks) in changes {
            clock.advance(Micros::new(passed));
            limit.update(per(permits, 9_000_000))?;
            for _ in 0..checks {
                let decision = limiter.check("key").now()?;
                if decision.is_allowed() {
                    admitted.push(decision.at);
                    let since = decision.at - Micros::new(8_999_999);
                    let in_window = admitted.iter().filter(|at| since <= **at).count();
                    prop_assert!(u64::try_from(in_window).unwrap() <= permits);
                }
            }
        }
    }
}

/// True if the missing permits come back one per `interval` microseconds.
fn is_refilled(decision: &Decision, interval: u64) -> bool {
    let missing = decision.limit - decision.remaining;
    let most = missing * interval;
    (most.saturating_sub(interval)..=most).contains(&decision.reset_after.as_micros())
}

#[test]
fn a_permit_in_flight_is_given_back_whatever_became_of_its_limit() -> Outcome {
    let (store, _) = store();
    let limit = Live::new("at-once", InFlight::limit(4))?;
    let limiter = Limiter::with_policies(store, limit.clone())?;
    for (permits, then) in [(4, 5), (5, 2), (2, 2)] {
        limit.update(InFlight::limit(permits))?;
        let permit = limiter.acquire("key").now()?;
        limit.update(InFlight::limit(then).held_at_most(Duration::from_secs(7)))?;
        assert_eq!(limiter.peek("key").now()?.remaining, then - 1);
        permit.refund().now()?;
        assert_eq!(limiter.peek("key").now()?.remaining, then);
    }
    Ok(())
}
