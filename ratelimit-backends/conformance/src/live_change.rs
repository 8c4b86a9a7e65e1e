//! Promises about policies that change while the store keeps their records.
#![expect(missing_docs, reason = "a promise is its name")]

use std::time::Duration;

use ratelimit_backend::{Effect, ErrorKind};
use ratelimit_core::{
    Action, Algorithm, Calendar, CarryOver, ConfigError, Micros, Policy, Receipt, Timestamp,
    UNLIMITED, adaptive,
    fixed_window::{self, Align},
    in_flight, leaky_bucket, sliding_window_counter, sliding_window_log, token_bucket,
};

use crate::{StoreUnderTest, generators, policies, store_under_test::check, traces::Trace};

pub async fn changed_numbers_are_read_as_is(store: StoreUnderTest) {
    change_to_and_fro(&store, CarryOver::AsIs).await;
}

pub async fn changed_numbers_are_read_in_proportion(store: StoreUnderTest) {
    change_to_and_fro(&store, CarryOver::Proportional).await;
}

pub async fn changed_numbers_start_anew(store: StoreUnderTest) {
    change_to_and_fro(&store, CarryOver::Reset).await;
}

/// The numbers between them forget within a moment what was spent.
pub async fn numbers_that_come_back_find_what_they_left(store: StoreUnderTest) {
    for policy in &policies::one_of_each(10) {
        let other = of_a_moment(policy);
        store.fill(policy, "key").await;
        for _ in 0..3 {
            let _ = store.spend(&other, "key", 1).await;
            store.advance(Micros::from_millis(20));
            store.must_spend(&other, "key", 1).await;
            let decision = store.spend(policy, "key", 1).await;
            assert!(!decision.is_allowed(), "{policy}: {decision:?}");
            store.advance(Micros::from_millis(20));
        }
    }
}

pub async fn a_receipt_of_before_a_change_gives_nothing_back(store: StoreUnderTest) {
    let holds = |policy: &Policy| policy.algorithm().holds_permits();
    for policy in policies::one_of_each(10).iter().filter(|policy| !holds(policy)) {
        let (other, key) = (of_a_moment(policy), b"key");
        let charge = store.spend(policy, key, 1).await;
        let receipt = Receipt::of(&charge, policy, 1);
        for changed in [&other, policy] {
            store.advance(Micros::from_millis(20));
            let before = store.spend(changed, key, 1).await;
            let refund = [check(changed, key, 1).with_receipt(Some(receipt))];
            let after = store.apply(&refund, Action::Refund).await.expect("the store decides")[0];
            assert_eq!(after.remaining, before.remaining, "{changed}");
        }
    }
}

/// A policy of the same name and algorithm whose window is so short that nothing counts for long.
fn of_a_moment(policy: &Policy) -> Policy {
    let (limit, moment) = (1_000, Duration::from_millis(10));
    let algorithm: Result<Algorithm, ConfigError> = match policy.algorithm().name() {
        "fixed window" => {
            fixed_window::Quota::new(limit, moment, Align::Epoch).map(Algorithm::from)
        }
        "sliding window log" => sliding_window_log::Quota::new(limit, moment).map(Algorithm::from),
        "sliding window counter" => {
            sliding_window_counter::Quota::new(limit, moment).map(Algorithm::from)
        }
        "token bucket" => token_bucket::Quota::new(limit, limit, moment).map(Algorithm::from),
        "in flight" => in_flight::Quota::new(limit, moment).map(Algorithm::from),
        "leaky bucket" => leaky_bucket::Quota::new(limit, limit, moment).map(Algorithm::from),
        _ => {
            let mut parameters = adaptive::Parameters::new(limit, moment);
            parameters.penalty = 0.0;
            adaptive::Quota::new(&parameters).map(Algorithm::from)
        }
    };
    let policy = Policy::new(policy.name(), algorithm.expect("in range"));
    policy.expect("the name is good")
}

pub async fn another_algorithm_is_incompatible_until_a_reset(store: StoreUnderTest) {
    let policies = policies::one_of_each(10).into_iter().map(|policy| named("same", &policy));
    let policies: Vec<_> = policies.collect();
    let bystander = named("bystander", &policies[0]);
    for (old, new) in pairs_of_other_algorithms(&policies) {
        store.must_spend(old, "key", 1).await;
        let before = [store.peek(old, "key").await, store.peek(&bystander, "key").await];

        let batch = [check(&bystander, b"key", 1), check(new, b"key", 1)];
        for action in [Action::Spend, Action::Peek, Action::Refund] {
            for checks in [&batch[1..], &batch] {
                let error = store.apply(checks, action).await.expect_err("one is of the other");
                let what = (error.kind(), error.effect());
                assert_eq!(what, (ErrorKind::Incompatible, Effect::NotApplied), "{old} to {new}");
            }
        }
        let after = [store.peek(old, "key").await, store.peek(&bystander, "key").await];
        assert_eq!(after, before, "{old} to {new}: an error charges nothing");

        store.reset(new, "key").await;
        assert_eq!(store.peek(new, "key").await, store.peek(new, "unknown").await, "{new}");
    }
}

pub async fn another_algorithm_starts_anew_once_the_old_state_has_expired(store: StoreUnderTest) {
    let policies = policies::keys_apart(10).into_iter().map(|policy| named("same", &policy));
    let policies: Vec<_> = policies.collect();
    for (old, new) in pairs_of_other_algorithms(&policies) {
        store.must_spend(old, "key", 1).await;
        store.advance(Micros::from_secs(3_600));
        let unseen = store.peek(new, "unknown").await;
        assert_eq!(store.peek(new, "key").await, unseen, "{old} to {new}");
        let fresh = store.spend(new, "unknown", 1).await;
        assert_eq!(store.spend(new, "key", 1).await, fresh, "{old} to {new}");
        store.reset(new, "key").await;
        store.reset(new, "unknown").await;
    }
}

pub async fn another_algorithm_starts_anew_where_the_policy_says_so(store: StoreUnderTest) {
    let anew = |policy: Policy| named("same", &policy).with_carry_over(CarryOver::Reset);
    let policies: Vec<_> = policies::keys_apart(10).into_iter().map(anew).collect();
    for (old, new) in pairs_of_other_algorithms(&policies) {
        store.fill(old, "key").await;
        let fresh = store.spend(new, "unknown", 1).await;
        assert_eq!(store.spend(new, "key", 1).await, fresh, "{old} to {new}");
        store.reset(new, "key").await;
        store.reset(new, "unknown").await;
    }
}

pub async fn a_limit_that_is_turned_off_denies_and_keeps_what_is_stored(store: StoreUnderTest) {
    let bystander = named("bystander", &policies::token_buckets(5)[0]);
    for policy in policies::one_of_each(10) {
        let off = of_name(&policy, fixed_window::Quota::nothing());
        store.must_spend(&policy, "key", 3).await;
        let before = [store.peek(&policy, "key").await, store.peek(&bystander, "key").await];

        let checks = [check(&off, b"key", 2), check(&bystander, b"key", 1)];
        for action in [Action::Spend, Action::Peek] {
            for checks in [&checks[..1], &checks] {
                let decisions = store.apply(checks, action).await.expect("the store decides");
                assert!(!decisions[0].is_allowed(), "{policy}: {action:?}");
                assert_eq!(decisions[0].retry_after(), Micros::MAX, "{policy}: {action:?}");
                assert_eq!((decisions[0].limit, decisions[0].remaining), (0, 0), "{policy}");
            }
        }
        for action in [Action::Refund, Action::Penalize] {
            let _ = store.apply_one(&off, "key", 2, action).await;
        }
        let after = [store.peek(&policy, "key").await, store.peek(&bystander, "key").await];
        assert_eq!(after, before, "{policy} is on again");
    }
}

pub async fn a_limit_that_is_unlimited_counts_and_never_denies(store: StoreUnderTest) {
    let windows = |limit| fixed_window::Quota::new(limit, policies::SPAN, Align::First);
    for policy in policies::one_of_each(10) {
        let window = windows(1_000).expect("the numbers are good");
        let [unlimited, limited] =
            [window.clone().unlimited(), window].map(|quota| of_name(&policy, quota));
        store.fill(&policy, "full").await;
        for key in ["full", "new"] {
            for _ in 0..30 {
                let decision = store.spend(&unlimited, key, 1).await;
                assert!(decision.is_allowed(), "{policy}: {decision:?}");
                assert_eq!((decision.limit, decision.remaining), (UNLIMITED, UNLIMITED));
            }
        }
        assert_eq!(store.peek(&limited, "new").await.remaining, 970, "{policy}: they are counted");
        // Nothing of the other algorithm is left, and it is no error.
        let _ = store.peek(&policy, "full").await;
    }
}

pub async fn a_calendar_that_is_renewed_keeps_what_is_spent(store: StoreUnderTest) {
    let minute = Micros::from_secs(60);
    let start = store.now();
    let policy = |boundaries: &[Timestamp]| {
        let calendar = Calendar::new("minutes", boundaries.iter().copied());
        let calendar = calendar.expect("time goes on");
        policies::policy("calendar", fixed_window::Quota::by_calendar(10, calendar))
    };
    let old = policy(&[start, start + minute]);
    let new = policy(&[start, start + minute, start + minute + minute]);
    let names = store.backend.names();
    let _claims = [&old, &new].map(|policy| names.claim(policy).expect("they are equal"));

    store.must_spend(&old, "key", 3).await;
    assert_eq!(store.spend(&new, "key", 1).await.remaining, 6);
    assert_eq!(store.spend(&old, "key", 1).await.remaining, 5);
    store.advance(minute);
    assert_eq!(store.spend(&new, "key", 1).await.remaining, 9);
    assert_eq!(store.peek(&new, "key").await.reset_after, minute);
}

pub async fn a_name_means_one_set_of_numbers(store: StoreUnderTest) {
    let names = store.backend.names();
    let [policy, other] = [10, 20].map(|limit| policies::fixed_windows(limit).swap_remove(0));
    let claim = names.claim(&policy).expect("the name is free");
    let again = names.claim(&policy).expect("the numbers are the same");
    assert!(matches!(names.claim(&other), Err(ConfigError::DuplicateName)));
    drop((claim, again));
    names.claim(&other).expect("the name is free again");
}

async fn change_to_and_fro(store: &StoreUnderTest, carry_over: CarryOver) {
    Trace::new(store).run(&generators::ONE_OF_EACH, &[carry_over], 1).await;
}

fn named(name: &str, policy: &Policy) -> Policy {
    Policy::new(name, policy.algorithm().clone()).expect("the name is good")
}

/// A policy of the name of another one.
fn of_name(policy: &Policy, quota: fixed_window::Quota) -> Policy {
    Policy::new(policy.name(), quota).expect("the name is good")
}

fn pairs_of_other_algorithms(policies: &[Policy]) -> impl Iterator<Item = (&Policy, &Policy)> {
    let is_other =
        |(old, new): &(&Policy, &Policy)| old.algorithm().name() != new.algorithm().name();
    let pairs = policies.iter().flat_map(|old| policies.iter().map(move |new| (old, new)));
    pairs.filter(is_other)
}
