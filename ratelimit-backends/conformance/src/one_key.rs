//! Promises about one key, one test each. Random traces cover them as well.
#![expect(missing_docs, reason = "a promise is its name")]

use ratelimit_core::{Action, Micros, Policy, Receipt};

use crate::{
    StoreUnderTest, policies,
    store_under_test::{RETENTION, check, penalty},
};

pub async fn a_peek_changes_nothing(store: StoreUnderTest) {
    for policy in policies::one_of_each(10) {
        store.must_spend(&policy, "key", 2).await;
        let first = store.peek(&policy, "key").await;
        for _ in 0..20 {
            assert_eq!(store.peek(&policy, "key").await, first, "{policy}");
        }
        let spent = store.spend(&policy, "key", 1).await;
        assert_eq!(spent.outcome(), first.outcome(), "{policy}: a peek tells what a check would");
    }
}

pub async fn a_denial_charges_nothing(store: StoreUnderTest) {
    for policy in policies::one_of_each(10) {
        let (_, denial) = store.exhaust(&policy, "key").await;
        for _ in 0..20 {
            assert_eq!(store.spend(&policy, "key", 1).await, denial, "{policy}");
        }
    }
}

pub async fn a_reset_makes_a_key_as_good_as_new(store: StoreUnderTest) {
    for policy in policies::keys_apart(10) {
        let first = store.spend(&policy, "key", 1).await;
        store.fill(&policy, "key").await;
        store.reset(&policy, "key").await;
        assert_eq!(store.spend(&policy, "key", 1).await, first, "{policy}");
    }
}

pub async fn a_refund_gives_back_no_more_than_was_charged(store: StoreUnderTest) {
    for policy in policies::one_of_each(10) {
        let nothing = store.refund(&policy, "unknown", 3).await;
        assert_eq!(nothing, store.peek(&policy, "unknown").await, "{policy}: never charged");

        store.must_spend(&policy, "key", 1).await;
        let before = store.peek(&policy, "key").await.remaining;
        store.must_spend(&policy, "key", 2).await;
        let after = store.refund(&policy, "key", 2).await.remaining;
        assert!(after <= before, "{policy}: {after} after a refund, {before} before the charge");

        for _ in 0..3 {
            assert!(store.refund(&policy, "key", policy.limit()).await.is_allowed());
        }
        let most = store.peek(&policy, "key").await;
        assert!(most.remaining <= policy.limit(), "{policy}: {most:?}");
    }
}

pub async fn a_charge_takes_what_fits_without_asking(store: StoreUnderTest) {
    // An adaptive hybrid's `remaining` counts requests, which add load: it is less than what fits.
    let is_adaptive = |policy: &Policy| policy.algorithm().measures_load();
    for policy in policies::keys_apart(10).into_iter().filter(|policy| !is_adaptive(policy)) {
        let before = store.peek(&policy, "key").await.remaining;
        let charged = store.apply_one(&policy, "key", 2, Action::Penalize).await;
        assert!(charged.is_allowed(), "{policy}: nobody asks: {charged:?}");
        assert_eq!(charged.remaining, before.saturating_sub(2), "{policy}");
        let charged = store.apply_one(&policy, "key", policy.limit(), Action::Penalize).await;
        assert!(charged.is_allowed(), "{policy}: what does not fit is forgiven: {charged:?}");
        assert_eq!(charged.remaining, 0, "{policy}");
        assert!(!store.spend(&policy, "key", 1).await.is_allowed(), "{policy}");
    }
}

pub async fn a_take_gets_what_there_is_and_then_nothing(store: StoreUnderTest) {
    for policy in policies::one_of_each(10) {
        let first = store.apply_one(&policy, "key", 2, Action::Take).await;
        assert_eq!((first.is_allowed(), first.charged()), (true, 2), "{policy}: {first:?}");
        let last = store.apply_one(&policy, "key", policy.limit(), Action::Take).await;
        assert!(last.is_allowed() && 0 < last.charged(), "{policy}: {last:?}");
        let denial = store.apply_one(&policy, "key", policy.limit(), Action::Take).await;
        assert_eq!((denial.is_allowed(), denial.charged()), (false, 0), "{policy}: {denial:?}");
        assert_eq!(denial, store.spend(&policy, "key", 1).await, "{policy}: as a spend of one");

        store.set(store.now() + denial.retry_after() - Micros::new(1));
        assert!(!store.apply_one(&policy, "key", 2, Action::Take).await.is_allowed(), "{policy}");
        store.advance(Micros::new(1));
        let due = store.apply_one(&policy, "key", 2, Action::Take).await;
        assert!(due.is_allowed() && 0 < due.charged(), "{policy}: {due:?}");
    }
}

/// Half a limit to two limits and a half beyond what there is.
pub async fn a_debt_is_paid_back_to_the_microsecond(store: StoreUnderTest) {
    for policy in owing(25) {
        for owed in [5, 10, 25] {
            let key = owed.to_string();
            let fresh = store.apply_one(&policy, &key, 10, Action::Take).await.charged();
            let charge = [penalty(&policy, key.as_bytes(), owed)];
            let charged =
                store.apply(&charge, Action::Penalize).await.expect("the store decides")[0];
            assert!(charged.is_allowed() && charged.is_in_debt(), "{policy}: {charged:?}");
            assert_eq!((charged.charged(), charged.remaining), (owed, 0), "{policy}, {fresh}");

            let denial = store.spend(&policy, &key, 1).await;
            assert!(!denial.is_allowed() && denial.is_in_debt(), "{policy}: {denial:?}");
            assert_eq!(store.apply_one(&policy, &key, 9, Action::Take).await, denial, "{policy}");
            let then = store.now() + denial.retry_after();
            store.set(then - Micros::new(1));
            let early = store.spend(&policy, &key, 1).await;
            assert_eq!(early.retry_after(), Micros::new(1), "{policy} owes {owed}: {early:?}");
            store.set(then);
            let due = store.spend(&policy, &key, 1).await;
            assert!(due.is_allowed() && !due.is_in_debt(), "{policy} owes {owed}: {due:?}");
        }
    }
}

pub async fn what_is_given_back_pays_a_debt_first(store: StoreUnderTest) {
    for policy in owing(25) {
        let charge = store.apply_one(&policy, "key", 2, Action::Take).await;
        let _ = store.apply_one(&policy, "key", 10, Action::Take).await;
        let over = [penalty(&policy, b"key", 6)];
        let _ = store.apply(&over, Action::Penalize).await.expect("the store decides");
        let before = store.spend(&policy, "key", 1).await;
        let receipt = Some(Receipt::of(&charge, &policy, 2));
        let refund = [check(&policy, b"key", 2).with_receipt(receipt)];
        let given = store.apply(&refund, Action::Refund).await.expect("the store decides")[0];
        assert!(given.is_in_debt() && given.remaining == 0, "{policy}: four are owed: {given:?}");
        let after = store.spend(&policy, "key", 1).await;
        assert!(!after.is_allowed(), "{policy}: {after:?}");
        assert!(after.retry_after() <= before.retry_after(), "{policy}: {before:?}, {after:?}");
    }
}

/// Policies of ten permits whose keys may owe as many permits.
fn owing(debt_max: u64) -> Vec<Policy> {
    let policies = policies::keys_apart(10).into_iter();
    policies.filter_map(|policy| policy.with_debt_max(debt_max).ok()).collect()
}

pub async fn a_block_denies_until_it_is_over(store: StoreUnderTest) {
    let length = Micros::from_secs(90);
    for policy in policies::keys_apart(10) {
        let block = store.apply_one(&policy, "key", 1, Action::Block(length)).await;
        assert!(block.is_allowed(), "{policy}: {block:?}");
        let end = store.now() + length;
        let shorter = Action::Block(Micros::new(1));
        assert_eq!(store.apply_one(&policy, "key", 1, shorter).await.remaining, 0, "{policy}");

        let denial = store.spend(&policy, "key", 1).await;
        assert!(length <= denial.retry_after(), "{policy}: {denial:?}");
        store.set(end - Micros::new(1));
        let denial = store.spend(&policy, "key", 1).await;
        assert!(!denial.is_allowed() && denial.remaining == 0, "{policy}: {denial:?}");
        assert!(store.spend(&policy, "other", 1).await.is_allowed(), "{policy}");
        store.set(store.now() + denial.retry_after());
        assert!(store.spend(&policy, "key", 1).await.is_allowed(), "{policy}: it is over");

        let _ = store.apply_one(&policy, "key", 1, Action::Block(length)).await;
        store.reset(&policy, "key").await;
        let fresh = store.peek(&policy, "unseen").await;
        assert_eq!(store.peek(&policy, "key").await, fresh, "{policy}: a reset ends it");
    }
}

pub async fn a_late_refund_of_a_charge_gives_back_nothing_of_others(store: StoreUnderTest) {
    for policy in policies::keys_apart(10) {
        let charge = store.spend(&policy, "key", 3).await;
        assert!(charge.is_allowed(), "{policy}: {charge:?}");
        store.advance(charge.reset_after);
        store.fill(&policy, "key").await;
        let before = store.peek(&policy, "key").await;
        let late = check(&policy, b"key", 3).with_receipt(Some(Receipt::of(&charge, &policy, 3)));
        let answer = store.apply(&[late], Action::Refund).await.expect("the store decides");
        assert_eq!(answer[0].remaining, before.remaining, "{policy}: what others spent stays");
        assert_eq!(store.peek(&policy, "key").await, before, "{policy}");
    }
}

// FAULTS 28, 29.
pub async fn retry_after_is_neither_early_nor_late(store: StoreUnderTest) {
    for policy in policies::one_of_each(10) {
        for cost in 1..=policy.limit() {
            let key = cost.to_string();
            store.fill(&policy, &key).await;
            let now = store.now();
            let denial = store.apply_one(&policy, &key, cost, Action::Peek).await;
            assert!(!denial.is_allowed(), "{policy}, cost {cost}: {denial:?}");

            let then = now + denial.retry_after();
            store.set(then - Micros::new(1));
            let early = store.spend(&policy, &key, cost).await;
            assert_eq!(early.retry_after(), Micros::new(1), "{policy}, cost {cost}");
            store.set(then);
            let due = store.spend(&policy, &key, cost).await;
            assert!(due.is_allowed(), "{policy}, cost {cost}: {due:?}");
        }
    }
}

// FAULTS 32.
pub async fn reset_after_is_neither_early_nor_late(store: StoreUnderTest) {
    for policy in policies::one_of_each(10) {
        let (_, denial) = store.exhaust(&policy, "key").await;
        let then = store.now() + denial.reset_after;
        store.set(then - Micros::new(1));
        let early = store.peek(&policy, "key").await;
        assert_eq!(early.reset_after, Micros::new(1), "{policy}");
        store.set(then);
        let rested = store.peek(&policy, "key").await;
        let unseen = store.peek(&policy, "unseen").await;
        assert_eq!(rested.reset_after, Micros::ZERO, "{policy}");
        assert!(unseen.remaining <= rested.remaining, "{policy}: {rested:?}, {unseen:?}");
    }
}

pub async fn a_clock_that_steps_back_grants_nothing(store: StoreUnderTest) {
    for policy in policies::one_of_each(10) {
        store.fill(&policy, "key").await;
        for length in [1, 1_000_000, 1_000_000_000, 1_000_000_000_000] {
            store.set(store.now() - Micros::new(length));
            let denial = store.spend(&policy, "key", 1).await;
            assert!(!denial.is_allowed(), "{policy}, {length} µs back: {denial:?}");
        }
    }
}

/// Other keys come meanwhile, so that a store that forgets has had its reasons to.
// FAULTS 211.
pub async fn a_step_back_within_the_retention_finds_what_had_expired(store: StoreUnderTest) {
    for policy in policies::keys_apart(10) {
        store.fill(&policy, "key").await;
        let expiry = store.now() + store.peek(&policy, "key").await.reset_after;
        store.set(expiry - Micros::new(1));
        let before = store.peek(&policy, "key").await;
        assert!(!before.reset_after.is_zero(), "{policy}: {before:?}");
        for then in [expiry, expiry + (RETENTION - Micros::new(2))] {
            store.set(then);
            for other in 0_u32..200 {
                let _ = store.spend(&policy, other.to_le_bytes(), 1).await;
            }
        }
        store.set(expiry - Micros::new(1));
        assert_eq!(store.peek(&policy, "key").await, before, "{policy}");
        store.set(expiry + Micros::from_secs(3_600));
    }
}
