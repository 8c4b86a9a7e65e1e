//! Promises about several checks at once: all are charged, or none.
#![expect(missing_docs, reason = "a promise is its name")]

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    task::Poll,
};

use ratelimit_core::{Action, Batch, Check, Policy};

use crate::{StoreUnderTest, policies, store_under_test::check};

pub async fn a_batch_is_charged_as_one(store: StoreUnderTest) {
    let policies = policies::one_of_each(10);
    let checks = on_two_keys(&policies);
    let before = store.apply(&checks, Action::Peek).await.expect("the store decides");
    let spent = store.apply(&checks, Action::Spend).await.expect("the store decides");
    let after = store.apply(&checks, Action::Peek).await.expect("the store decides");
    assert_eq!(spent.len(), checks.len());
    for (index, check) in checks.iter().enumerate() {
        let policy = check.policy();
        assert!(spent[index].is_allowed(), "{policy}: {:?}", spent[index]);
        assert!(after[index].remaining < before[index].remaining, "{policy}");
        assert_eq!(after[index].remaining, spent[index].remaining, "{policy}");
    }
}

pub async fn a_denied_batch_charges_nothing(store: StoreUnderTest) {
    let policies = policies::one_of_each(10);
    let checks = on_two_keys(&policies);
    for full in &checks {
        let (policy, key) = (full.policy(), full.key().as_bytes());
        store.fill(policy, key).await;
        let before = store.apply(&checks, Action::Peek).await.expect("the store decides");
        let denied = store.apply(&checks, Action::Spend).await.expect("the store decides");
        assert_eq!(denied, before, "{policy} is full: each is told as it stands");
        let after = store.apply(&checks, Action::Peek).await.expect("the store decides");
        assert_eq!(after, before, "{policy} is full: nothing was charged");
        store.reset(policy, key).await;
    }
}

pub async fn a_batch_takes_a_part_of_each_or_nothing(store: StoreUnderTest) {
    let policies = policies::one_of_each(10);
    let of_cost = |cost| {
        let checks = on_two_keys(&policies).into_iter();
        checks.map(|one| check(one.policy(), one.key().as_bytes(), cost)).collect::<Vec<_>>()
    };
    let (ones, checks) = (of_cost(1), of_cost(4));
    store.must_spend(checks[0].policy(), checks[0].key().as_bytes(), 7).await;
    let before = store.apply(&ones, Action::Peek).await.expect("the store decides");
    let taken = store.apply(&checks, Action::Take).await.expect("the store decides");
    assert_eq!(taken[0].charged(), 3);
    for (index, check) in checks.iter().enumerate() {
        let wanted = before[index].remaining.min(4);
        assert_eq!(taken[index].charged(), wanted, "{}: {:?}", check.policy(), taken[index]);
    }

    let before = store.apply(&ones, Action::Peek).await.expect("the store decides");
    let denied = store.apply(&checks, Action::Take).await.expect("the store decides");
    assert!(!denied[0].is_allowed() && denied.iter().all(|one| one.charged() == 0), "{denied:?}");
    assert_eq!(denied, before, "each is told as it stands");
    let after = store.apply(&ones, Action::Peek).await.expect("the store decides");
    assert_eq!(after, before, "nothing was charged");
}

pub async fn one_key_under_several_policies_is_several_states(store: StoreUnderTest) {
    let twins = ["one", "two"].map(|name| {
        let algorithm = policies::token_buckets(10)[0].algorithm().clone();
        Policy::new(name, algorithm).expect("the name is good")
    });
    let policies = [policies::one_of_each(10), twins.to_vec()].concat();
    for policy in &policies {
        let before = store.peek(policy, "key").await;
        for other in policies.iter().filter(|other| other.name() != policy.name()) {
            store.must_spend(other, "key", 1).await;
            assert_eq!(store.peek(policy, "key").await, before, "{policy}, {other}");
            store.reset(other, "key").await;
        }
    }
}

pub async fn a_dropped_reply_leaves_one_whole_charge_or_none(store: StoreUnderTest) {
    let policy = policies::fixed_windows(100).swap_remove(0);
    let checks = [b"a", b"b", b"c"].map(|key| check(&policy, key, 1));
    let mut started = 0;
    for polls in 0..8 {
        started += 1;
        let batch = Batch::new(&checks).expect("the keys differ");
        let mut reply = store.backend.apply(batch, Action::Spend);
        for _ in 0..polls {
            if poll_once(&mut reply).await.is_ready() {
                break;
            }
        }
        drop(reply);
        let found = store.apply(&checks, Action::Peek).await.expect("the store decides");
        let left = found[0].remaining;
        assert!(100 - started <= left, "polled {polls} times: {found:?}");
        assert!(found.iter().all(|decision| decision.remaining == left), "{found:?}");
    }
}

pub async fn an_empty_batch_has_no_decisions(store: StoreUnderTest) {
    for action in [Action::Spend, Action::Peek, Action::Refund, Action::Reset] {
        let decisions = store.apply(&[], action).await;
        assert!(decisions.expect("the store decides").is_empty(), "{action:?}");
    }
}

/// Two checks of each policy: one of a cost of 2, and one of 1 on a key that all policies share.
fn on_two_keys(policies: &[Policy]) -> Vec<Check<'_>> {
    let mine = |policy| [check(policy, b"mine", 2), check(policy, b"ours", 1)];
    policies.iter().flat_map(mine).collect()
}

async fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    poll_fn(|context| Poll::Ready(Pin::new(&mut *future).poll(context))).await
}
