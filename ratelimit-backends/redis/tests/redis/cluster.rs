//! A cluster of three: one slot for a decision, or an error that says so before anything is sent.

use std::{error::Error, time::Duration};

use ratelimit_algorithms::{Adaptive, AsyncLimiter, Scope};
use ratelimit_backend::{Effect, ErrorKind};
use ratelimit_core::{Action, ConfigError, Policy, fixed_window, token_bucket};

use ratelimit_servers::{Cluster, Server};

use crate::store::{ask, check, settings, spend};

#[tokio::test]
async fn a_cluster_decides_in_one_slot_or_not_at_all() {
    let Some(cluster) = Cluster::start() else { return };
    let redis = settings(&cluster.url()).connect().await.expect("the cluster is up");
    let hour = Duration::from_secs(3_600);
    let bucket = token_bucket::Quota::new(10, 10, hour).expect("in range");
    let window = fixed_window::Quota::new(10, hour, fixed_window::Align::First).expect("in range");
    let [burst, daily] = [("burst", bucket.into()), ("daily", window.into())]
        .map(|(name, algorithm): (_, ratelimit_core::Algorithm)| Policy::new(name, algorithm));
    let (burst, daily) = (burst.expect("good"), daily.expect("good"));

    // Keys with braces in them spread like any other.
    for index in 0..100 {
        let key = format!("{{x}}{index}");
        assert_eq!(
            spend(&redis, &burst, key.as_bytes(), 1).await.expect("it decides").remaining,
            9
        );
    }
    let sizes = cluster.nodes.iter().map(|node| node.keys().len());
    let sizes: Vec<_> = sizes.collect();
    assert!(sizes.iter().all(|&size| 10 < size), "{sizes:?}");

    // Several limits of one key share its slot.
    let of_one_key = [check(&burst, b"{}", 1), check(&daily, b"{}", 1)];
    for remaining in [9, 8] {
        let decisions = ask(&redis, &of_one_key, Action::Spend).await.expect("it decides");
        assert_eq!(decisions[1].remaining, remaining);
    }

    // Those of several keys need a group.
    let of_two_keys = [check(&burst, b"user", 1), check(&daily, b"org", 1)];
    let error = ask(&redis, &of_two_keys, Action::Spend).await.expect_err("two slots");
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Incompatible, Effect::NotApplied));
    let cause = error.source().map(ToString::to_string).unwrap_or_default();
    assert!(cause.contains("group"), "{cause}");
    let tenant = redis.group("tenant-7").expect("a good name");
    for remaining in [9, 8] {
        let decisions = ask(&tenant, &of_two_keys, Action::Spend).await.expect("it decides");
        assert_eq!([decisions[0].remaining, decisions[1].remaining], [remaining; 2]);
    }

    // And so does a sensor that keys share: when the limiter is built.
    let shared = Adaptive::per(10, hour).scope(Scope::Shared);
    let refused = AsyncLimiter::new(redis.clone(), "load", shared).map(drop);
    assert_eq!(refused, Err(ConfigError::NotAtomic { field: "scope" }));
    let limiter = AsyncLimiter::new(tenant, "load", shared).expect("a group has one slot");
    assert!(limiter.check("a").await.expect("it decides").is_allowed());
    assert!(limiter.check("b").await.expect("it decides").is_allowed());

    // A script that one node has forgotten, and a slot that has moved, are no concern of callers.
    for node in &cluster.nodes {
        node.cli(&["SCRIPT", "FLUSH"]);
    }
    for index in 0..20 {
        let key = format!("{{x}}{index}");
        assert_eq!(
            spend(&redis, &burst, key.as_bytes(), 1).await.expect("it decides").remaining,
            8
        );
    }
    let [from, to] = [&cluster.nodes[0], &cluster.nodes[1]];
    let id = |node: &Server| node.cli(&["CLUSTER", "MYID"]);
    let slot_of = |key: &str| from.cli(&["CLUSTER", "KEYSLOT", key]);
    for key in from.keys() {
        let (slot, node) = (slot_of(&key), id(to));
        to.cli(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &id(from)]);
        from.cli(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &node]);
        for key in from.cli(&["CLUSTER", "GETKEYSINSLOT", &slot, "100"]).lines() {
            from.cli(&["MIGRATE", "127.0.0.1", &to.port.to_string(), key, "0", "5000"]);
        }
        for side in &cluster.nodes {
            side.cli(&["CLUSTER", "SETSLOT", &slot, "NODE", &node]);
        }
    }
    for index in 0..100 {
        let key = format!("{{x}}{index}");
        let remaining = if index < 20 { 7 } else { 8 };
        let decision = spend(&redis, &burst, key.as_bytes(), 1).await.expect("it is found again");
        assert_eq!(decision.remaining, remaining, "{key}");
    }
}
