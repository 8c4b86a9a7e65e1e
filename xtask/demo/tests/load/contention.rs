//! Settles, penalties and blocks on a key of which others spend.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use ratelimit_backend::BackendError;
use ratelimit_core::{Action, Micros, Policy, Receipt, fixed_window};
use ratelimit_servers::effort;
use tokio::{
    task::{JoinSet, yield_now},
    time::Instant,
};

use crate::stores::{NAMES, Store, Stores, apply, check, percentile};

// FAULTS 212.
#[tokio::test(flavor = "multi_thread")]
async fn none_is_lost_and_none_is_made_twice_beside_spenders() {
    let Some(stores) = Stores::start(DEADLINE) else { return };
    println!("store   call      99 of 100    longest  failed   (beside {} spenders)", spenders());
    for name in NAMES {
        let store = stores.open(name).await;
        let begun = Instant::now();
        let stop = Arc::new(AtomicBool::new(false));
        let [spent, missed] = [(); 2].map(|()| Arc::new(AtomicU64::new(0)));
        let mut tasks = JoinSet::new();
        for _ in 0..spenders() {
            let (store, stop) = (Arc::clone(&store), Arc::clone(&stop));
            let (spent, missed) = (Arc::clone(&spent), Arc::clone(&missed));
            tasks.spawn(async move {
                let policy = policy();
                while !stop.load(Relaxed) {
                    match apply(&store, check(&policy, "key", 1), Action::Spend).await {
                        Ok(decision) => spent.fetch_add(decision.is_allowed().into(), Relaxed),
                        Err(_) => missed.fetch_add(1, Relaxed),
                    };
                    yield_now().await;
                }
            });
        }
        let mut calls = JoinSet::new();
        for call in [Call::Settle, Call::Penalize, Call::Block] {
            calls.spawn(call.many(Arc::clone(&store)));
        }
        let mut failed = 0;
        for (call, mut took, errors) in calls.join_all().await {
            let (most, longest) = (percentile(&mut took, 99), percentile(&mut took, 100));
            println!("{name:7} {call:8?} {most:>10.1?} {longest:>10.1?} {:>7}", errors.len());
            failed += errors.len();
        }
        stop.store(true, Relaxed);
        tasks.join_all().await;
        let per_second = spent.load(Relaxed) as f64 / begun.elapsed().as_secs_f64();
        println!("{name:7} spends: {per_second:.0} a second, {} failed", missed.load(Relaxed));
        assert_eq!(failed, 0, "{name}: starved");

        let policy = policy();
        let peek = apply(&store, check(&policy, "key", 1), Action::Peek).await.unwrap();
        // A settle has charged 3 and given 2 back; a penalty has charged 2.
        let wanted = spent.load(Relaxed) + 3 * calls_each();
        let found = peek.limit - peek.remaining;
        // The charge of a spend that failed may have landed.
        assert!((wanted..=wanted + missed.load(Relaxed)).contains(&found), "{name}: {found}");
    }
}

#[derive(Clone, Copy, Debug)]
enum Call {
    Settle,
    Penalize,
    Block,
}

type Calls = (Call, Vec<Duration>, Vec<BackendError>);

impl Call {
    /// Makes them one after the other.
    async fn many(self, store: Store) -> Calls {
        let (policy, mut took, mut errors) = (policy(), Vec::new(), Vec::new());
        for _ in 0..calls_each() {
            match self.once(&store, &policy).await {
                Ok(time) => took.push(time),
                Err(error) => errors.push(error),
            }
            yield_now().await;
        }
        (self, took, errors)
    }

    /// The time that it took; that of the charge before a settle is not counted.
    async fn once(self, store: &Store, policy: &Policy) -> Result<Duration, BackendError> {
        let two = check(policy, "key", 2);
        let (check, action) = match self {
            Self::Settle => {
                let receipt = charge(store, policy).await?;
                (two.with_receipt(Some(receipt)), Action::Refund)
            }
            Self::Penalize => (two, Action::Penalize),
            Self::Block => (two, Action::Block(Micros::new(1))),
        };
        let begun = Instant::now();
        let _ = apply(store, check, action).await?;
        Ok(begun.elapsed())
    }
}

/// Charges three permits, as soon as there is no block.
async fn charge(store: &Store, policy: &Policy) -> Result<Receipt, BackendError> {
    loop {
        let decision = apply(store, check(policy, "key", 3), Action::Spend).await?;
        if decision.is_allowed() {
            return Ok(Receipt::of(&decision, policy, 3));
        }
        yield_now().await;
    }
}

fn policy() -> Policy {
    let day = Duration::from_secs(86_400);
    let quota = fixed_window::Quota::new(1_000_000_000, day, fixed_window::Align::First);
    Policy::new("contention", quota.unwrap()).unwrap()
}

fn calls_each() -> u64 {
    effort(10_000, 50)
}

fn spenders() -> usize {
    effort(256, 32)
}

/// No pause of a busy machine is longer: a call that fails was starved.
const DEADLINE: Duration = Duration::from_secs(10);
