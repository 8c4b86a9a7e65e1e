//! Promises about one key, each told by itself; random traces cover them as well.
#![expect(missing_docs, reason = "a promise is its name")]

use ratelimit_core::{Action, Algorithm, Micros, Policy, Receipt};

use crate::{Subject, policies, store_under_test::check};

pub async fn a_peek_changes_nothing(subject: Subject) {
    for policy in policies::one_of_each(10) {
        subject.charge(&policy, "key", 2).await;
        let first = subject.peek(&policy, "key").await;
        for _ in 0..20 {
            assert_eq!(subject.peek(&policy, "key").await, first, "{policy}");
        }
        let spent = subject.spend(&policy, "key", 1).await;
        assert_eq!(spent.outcome, first.outcome, "{policy}: a peek tells what a check would");
    }
}

pub async fn a_denial_charges_nothing(subject: Subject) {
    for policy in policies::one_of_each(10) {
        let (_, denial) = subject.exhaust(&policy, "key").await;
        for _ in 0..20 {
            assert_eq!(subject.spend(&policy, "key", 1).await, denial, "{policy}");
        }
    }
}

pub async fn a_reset_makes_a_key_as_good_as_new(subject: Subject) {
    for policy in policies::keys_apart(10) {
        let first = subject.spend(&policy, "key", 1).await;
        subject.fill(&policy, "key").await;
        subject.reset(&policy, "key").await;
        assert_eq!(subject.spend(&policy, "key", 1).await, first, "{policy}");
    }
}

pub async fn a_refund_gives_back_no_more_than_was_charged(subject: Subject) {
    for policy in policies::one_of_each(10) {
        let nothing = subject.refund(&policy, "unknown", 3).await;
        assert_eq!(nothing, subject.peek(&policy, "unknown").await, "{policy}: never charged");

        subject.charge(&policy, "key", 1).await;
        let before = subject.peek(&policy, "key").await.remaining;
        subject.charge(&policy, "key", 2).await;
        let after = subject.refund(&policy, "key", 2).await.remaining;
        assert!(after <= before, "{policy}: {after} after a refund, {before} before the charge");

        for _ in 0..3 {
            assert!(subject.refund(&policy, "key", policy.limit()).await.is_allowed());
        }
        let most = subject.peek(&policy, "key").await;
        assert!(most.remaining <= policy.limit(), "{policy}: {most:?}");
    }
}

pub async fn a_charge_takes_what_fits_without_asking(subject: Subject) {
    // What remains of an adaptive hybrid is less than what fits: it is of requests, which add load.
    let is_adaptive = |policy: &Policy| matches!(policy.algorithm(), Algorithm::Adaptive(_));
    for policy in policies::keys_apart(10).into_iter().filter(|policy| !is_adaptive(policy)) {
        let before = subject.peek(&policy, "key").await.remaining;
        let charged = subject.ask(&policy, "key", 2, Action::Penalize).await;
        assert!(charged.is_allowed(), "{policy}: nobody asks: {charged:?}");
        assert_eq!(charged.remaining, before.saturating_sub(2), "{policy}");
        let charged = subject.ask(&policy, "key", policy.limit(), Action::Penalize).await;
        assert!(charged.is_allowed(), "{policy}: what does not fit is forgiven: {charged:?}");
        assert_eq!(charged.remaining, 0, "{policy}");
        assert!(!subject.spend(&policy, "key", 1).await.is_allowed(), "{policy}");
    }
}

pub async fn a_block_denies_until_it_is_over(subject: Subject) {
    let length = Micros::from_secs(90);
    for policy in policies::keys_apart(10) {
        let block = subject.ask(&policy, "key", 1, Action::Block(length)).await;
        assert!(block.is_allowed(), "{policy}: {block:?}");
        let end = subject.now() + length;
        let shorter = Action::Block(Micros::new(1));
        assert_eq!(subject.ask(&policy, "key", 1, shorter).await.remaining, 0, "{policy}");

        let denial = subject.spend(&policy, "key", 1).await;
        assert!(length <= denial.retry_after(), "{policy}: {denial:?}");
        subject.set(end - Micros::new(1));
        let denial = subject.spend(&policy, "key", 1).await;
        assert!(!denial.is_allowed() && denial.remaining == 0, "{policy}: {denial:?}");
        assert!(subject.spend(&policy, "other", 1).await.is_allowed(), "{policy}");
        subject.set(subject.now() + denial.retry_after());
        assert!(subject.spend(&policy, "key", 1).await.is_allowed(), "{policy}: it is over");

        let _ = subject.ask(&policy, "key", 1, Action::Block(length)).await;
        subject.reset(&policy, "key").await;
        let fresh = subject.peek(&policy, "unseen").await;
        assert_eq!(subject.peek(&policy, "key").await, fresh, "{policy}: a reset ends it");
    }
}

pub async fn a_late_refund_of_a_charge_gives_back_nothing_of_others(subject: Subject) {
    for policy in policies::keys_apart(10) {
        let charge = subject.spend(&policy, "key", 3).await;
        assert!(charge.is_allowed(), "{policy}: {charge:?}");
        subject.advance(charge.reset_after);
        subject.fill(&policy, "key").await;
        let before = subject.peek(&policy, "key").await;
        let late = check(&policy, b"key", 3).with_receipt(Some(Receipt::of(&charge, 3)));
        let answer = subject.apply(&[late], Action::Refund).await.expect("the store decides");
        assert_eq!(answer[0].remaining, before.remaining, "{policy}: what others spent stays");
        assert_eq!(subject.peek(&policy, "key").await, before, "{policy}");
    }
}

// FAULTS 28, 29.
pub async fn retry_after_is_neither_early_nor_late(subject: Subject) {
    for policy in policies::one_of_each(10) {
        for cost in 1..=policy.limit() {
            let key = cost.to_string();
            subject.fill(&policy, &key).await;
            let now = subject.now();
            let denial = subject.ask(&policy, &key, cost, Action::Peek).await;
            assert!(!denial.is_allowed(), "{policy}, cost {cost}: {denial:?}");

            let then = now + denial.retry_after();
            subject.set(then - Micros::new(1));
            let early = subject.spend(&policy, &key, cost).await;
            assert_eq!(early.retry_after(), Micros::new(1), "{policy}, cost {cost}");
            subject.set(then);
            let due = subject.spend(&policy, &key, cost).await;
            assert!(due.is_allowed(), "{policy}, cost {cost}: {due:?}");
        }
    }
}

// FAULTS 32.
pub async fn reset_after_is_neither_early_nor_late(subject: Subject) {
    for policy in policies::one_of_each(10) {
        let (_, denial) = subject.exhaust(&policy, "key").await;
        let then = subject.now() + denial.reset_after;
        subject.set(then - Micros::new(1));
        let early = subject.peek(&policy, "key").await;
        assert_eq!(early.reset_after, Micros::new(1), "{policy}");
        subject.set(then);
        let rested = subject.peek(&policy, "key").await;
        let unseen = subject.peek(&policy, "unseen").await;
        assert_eq!(rested.reset_after, Micros::ZERO, "{policy}");
        assert!(unseen.remaining <= rested.remaining, "{policy}: {rested:?}, {unseen:?}");
    }
}

pub async fn a_clock_that_steps_back_grants_nothing(subject: Subject) {
    for policy in policies::one_of_each(10) {
        subject.fill(&policy, "key").await;
        for length in [1, 1_000_000, 1_000_000_000, 1_000_000_000_000] {
            subject.set(subject.now() - Micros::new(length));
            let denial = subject.spend(&policy, "key", 1).await;
            assert!(!denial.is_allowed(), "{policy}, {length} µs back: {denial:?}");
        }
    }
}
