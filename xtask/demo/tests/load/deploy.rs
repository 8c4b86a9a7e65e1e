//! A rolling deploy: two processes with other numbers on one key.

use std::{iter, sync::Arc, time::Duration};

use ratelimit_backend::StoreBackend;
use ratelimit_core::{Action, Policy, fixed_window, token_bucket};
use ratelimit_servers::effort;
use tokio::{
    task::{JoinSet, yield_now},
    time::Instant,
};

use crate::stores::{NAMES, Store, Stores, apply, check};

#[expect(dead_code, reason = "the example is a program")]
#[path = "../../../../ratelimit-backends/backend/examples/hash_map.rs"]
mod hash_map;

// FAULTS 214.
#[tokio::test(flavor = "multi_thread")]
async fn no_check_fails_because_another_process_has_other_numbers() {
    let Some(stores) = Stores::start(DEADLINE) else { return };
    println!(
        "store        algorithm    callers  checks a second, and the longest: same numbers; other numbers"
    );
    for name in NAMES.into_iter().chain([TWO_METHODS]) {
        for (algorithm, policies) in [("fixed window", windows()), ("token bucket", buckets())] {
            for callers in effort(&[32, 256][..], &[32]) {
                let mut row = Vec::new();
                for new in [&policies[0], &policies[1]] {
                    let (per_second, longest) =
                        run(&stores, name, [&policies[0], new], *callers).await;
                    row.push(format!("{per_second:.0}, {longest:.1?}"));
                }
                println!("{name:12} {algorithm:12} {callers:>7}  {}", row.join("; "));
            }
        }
    }
}

/// Two handles of a store, each with one of the policies and half of the callers; returns the checks a
/// second, and the longest time that one took.
async fn run(
    stores: &Stores,
    name: &str,
    policies: [&Policy; 2],
    callers: usize,
) -> (f64, Duration) {
    let first: Store = match name {
        TWO_METHODS => Arc::new(StoreBackend::new(hash_map::Map::default())),
        _ => stores.open(name).await,
    };
    // What is in memory is one process's, and so quick that fewer checks would say little.
    let is_in_memory = matches!(name, "memory" | TWO_METHODS);
    let second = if is_in_memory { Arc::clone(&first) } else { stores.open(name).await };
    let _ = apply(&first, check(policies[1], "key", 1), Action::Reset).await.unwrap();
    let mut spenders = JoinSet::new();
    let begun = Instant::now();
    let checks = effort(if is_in_memory { 1_280_000 } else { 64_000 }, 960) / callers;
    for (store, policy) in iter::zip([first, second], policies) {
        for _ in 0..callers / 2 {
            let (store, policy) = (Arc::clone(&store), policy.clone());
            spenders.spawn(async move { spend(&store, &policy, checks).await });
        }
    }
    let longest = spenders.join_all().await.into_iter().max().unwrap_or_default();
    ((callers * checks) as f64 / begun.elapsed().as_secs_f64(), longest)
}

/// Spends one permit after the other; returns the longest time that a check took.
async fn spend(store: &Store, policy: &Policy, checks: usize) -> Duration {
    let mut longest = Duration::ZERO;
    for _ in 0..checks {
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

/// A store of two methods, in memory.
const TWO_METHODS: &str = "two methods";

const HOUR: Duration = Duration::from_secs(3_600);

/// No pause of a busy machine is longer.
const DEADLINE: Duration = Duration::from_secs(10);
