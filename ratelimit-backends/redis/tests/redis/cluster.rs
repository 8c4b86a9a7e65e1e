//! A cluster of three: one slot for a decision, or an error that says so before anything is sent.

use std::time::Duration;

use ratelimit_algorithms::{Adaptive, Limiter, Scope};
use ratelimit_backend::{Effect, ErrorKind};
use ratelimit_core::{Action, ConfigError, Policy, token_bucket};
use ratelimit_redis::Redis;
use ratelimit_servers::Cluster;

use crate::{
    store::{ask, check, settings, spend},
    store_behind_proxy::hourly,
};

const HOUR: Duration = Duration::from_secs(3_600);

// FAULTS 88, 89.
#[tokio::test]
async fn keys_spread_over_all_nodes_whatever_braces_are_in_them() {
    let Some((cluster, redis)) = connect().await else { return };
    for index in 0..100 {
        let key = format!("{{x}}{index}");
        let decision = spend(&redis, &hourly(10), key.as_bytes(), 1).await.expect("it decides");
        assert_eq!(decision.remaining, 9);
    }
    let sizes: Vec<_> = cluster.nodes.iter().map(|node| node.keys().len()).collect();
    assert!(sizes.iter().all(|&size| 10 < size), "{sizes:?}");
}

// FAULTS 89.
#[tokio::test]
async fn limits_of_one_key_are_asked_together_and_those_of_several_in_a_group() {
    let Some((_cluster, redis)) = connect().await else { return };
    let (burst, daily) = (bucket(), hourly(10));
    let of_one_key = [check(&burst, b"{}", 1), check(&daily, b"{}", 1)];
    for remaining in [9, 8] {
        let decisions = ask(&redis, &of_one_key, Action::Spend).await.expect("it decides");
        assert_eq!(decisions[1].remaining, remaining);
    }

    let of_two_keys = [check(&burst, b"user", 1), check(&daily, b"org", 1)];
    let error = ask(&redis, &of_two_keys, Action::Spend).await.expect_err("two slots");
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Incompatible, Effect::NotApplied));
    let cause = error.cause().map(ToString::to_string).unwrap_or_default();
    assert!(cause.contains("group"), "{cause}");

    let tenant = redis.group("tenant-7").expect("a good name");
    for remaining in [9, 8] {
        let decisions = ask(&tenant, &of_two_keys, Action::Spend).await.expect("it decides");
        assert_eq!([decisions[0].remaining, decisions[1].remaining], [remaining; 2]);
    }
}

// FAULTS 205.
#[tokio::test]
async fn a_sensor_that_keys_share_is_refused_outside_of_a_group() {
    let Some((_cluster, redis)) = connect().await else { return };
    let shared = Adaptive::per(10, HOUR).scope(Scope::Shared);
    let refused = Limiter::new(redis.clone(), "load", shared).map(drop);
    assert_eq!(refused, Err(ConfigError::NotAtomic { field: "scope" }));
    let tenant = redis.group("tenant-7").expect("a good name");
    let limiter = Limiter::new(tenant, "load", shared).expect("a group has one slot");
    for key in ["a", "b"] {
        assert!(limiter.check(key).await.expect("it decides").is_allowed());
    }
}

// FAULTS 145.
#[tokio::test]
async fn a_script_that_one_node_has_forgotten_is_no_concern_of_callers() {
    let Some((cluster, redis)) = connect().await else { return };
    for remaining in [9, 8] {
        for index in 0..20 {
            let key = format!("key-{index}");
            let decision = spend(&redis, &bucket(), key.as_bytes(), 1).await.expect("it decides");
            assert_eq!(decision.remaining, remaining);
        }
        cluster.nodes[1].cli(&["SCRIPT", "FLUSH"]);
    }
}

/// A cluster, and a store on it.
pub(crate) async fn connect() -> Option<(Cluster, Redis)> {
    let cluster = Cluster::start()?;
    let redis = settings(&cluster.url()).connect().await.expect("the cluster is up");
    Some((cluster, redis))
}

fn bucket() -> Policy {
    let quota = token_bucket::Quota::new(10, 10, HOUR).expect("in range");
    Policy::new("burst", quota).expect("the name is good")
}
