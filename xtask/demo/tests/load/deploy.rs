//! A rolling deploy: two processes with other numbers on one key.

use std::{sync::Arc, time::Duration};

use ratelimit_core::{Action, Policy, fixed_window, token_bucket};
use ratelimit_servers::effort;
use tokio::{
    task::{JoinSet, yield_now},
    time::Instant,
};

use crate::stores::{NAMES, Store, Stores, apply, check};

// FAULTS 214.
#[tokio::test(flavor = "multi_thread")]
async fn no_check_fails_because_another_process_has_other_numbers() {
    let Some(stores) = Stores::start(DEADLINE) else { return };
    println!(
        "store   algorithm      checks a second, and the longest: same numbers; other numbers"
    );
    for name in NAMES {
        for (algorithm, policies) in [("fixed window", windows()), ("token bucket", buckets())] {
            let mut row = Vec::new();
            for new in [&policies[0], &policies[1]] {
                let first = stores.open(name).await;
                // Memory is one process's.
                let second =
                    if name == "memory" { Arc::clone(&first) } else { stores.open(name).await };
                let _ = apply(&first, check(new, "key", 1), Action::Reset).await.unwrap();
                let mut callers = JoinSet::new();
                let begun = Instant::now();
                for (store, policy) in [(first, &policies[0]), (second, new)] {
                    for _ in 0..CALLERS / 2 {
                        let (store, policy) = (Arc::clone(&store), policy.clone());
                        callers.spawn(async move { spend(&store, &policy).await });
                    }
                }
                let longest = callers.join_all().await.into_iter().max().unwrap_or_default();
                let per_second = (CALLERS * checks()) as f64 / begun.elapsed().as_secs_f64();
                row.push(format!("{per_second:.0}, {longest:.1?}"));
            }
            println!("{name:7} {algorithm:14} {}", row.join("; "));
        }
    }
}

/// Spends one permit after the other; returns the longest time that a check took.
async fn spend(store: &Store, policy: &Policy) -> Duration {
    let mut longest = Duration::ZERO;
    for _ in 0..checks() {
        let begun = Instant::now();
        let spend = apply(store, check(policy, "key", 1), Action::Spend).await;
        assert!(spend.expect("no check fails").is_allowed());
        longest = longest.max(begun.elapsed());
        yield_now().await;
    }
    longest
}

fn windows() -> [Policy; 2] {
    [10_000_000, 20_000_000].map(|limit| {
        let quota = fixed_window::Quota::new(limit, HOUR, fixed_window::Align::Epoch);
        Policy::new("window", quota.unwrap()).unwrap()
    })
}

fn buckets() -> [Policy; 2] {
    [10_000_000, 20_000_000].map(|limit| {
        let quota = token_bucket::Quota::new(limit, limit, HOUR);
        Policy::new("bucket", quota.unwrap()).unwrap()
    })
}

const HOUR: Duration = Duration::from_secs(3_600);

const CALLERS: u64 = 32;

fn checks() -> u64 {
    effort(2_000, 30)
}

/// No pause of a busy machine is longer.
const DEADLINE: Duration = Duration::from_secs(10);
