//! A cluster that changes while it is asked.

use std::{sync::Arc, time::Duration};

use ratelimit_backend::{BackendError, Effect, ErrorKind};
use ratelimit_core::{Action, Policy};
use ratelimit_redis::Redis;
use ratelimit_servers::{Cluster, Server, effort, field, poll};
use tokio::{
    task::{JoinSet, spawn_blocking},
    time::Instant,
};

use crate::{
    cluster::connect,
    store::{ask, check, spend},
    store_behind_proxy::{failure, hourly, within},
};

/// Keys are taken from their node one after the other while every one of them is spent. Each check
/// comes to where its key is just then, and is charged once.
// FAULTS 152.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slots_that_move_under_load_are_followed_and_every_check_is_charged_once() {
    let Some((cluster, redis)) = connect().await else { return };
    let policy = hourly(10_000_000);
    for key in 0..KEYS {
        let _ = spend(&redis, &policy, &[key], 1).await.expect("it decides");
    }
    let cluster = Arc::new(cluster);
    let moves = {
        let cluster = Arc::clone(&cluster);
        spawn_blocking(move || migrate(&cluster.nodes[0], &cluster.nodes[1], &cluster))
    };
    let mut load = JoinSet::new();
    for key in 0..KEYS {
        let (redis, policy) = (redis.clone(), policy.clone());
        load.spawn(async move {
            for _ in 0..effort(2_000, 200) {
                let _ = spend(&redis, &policy, &[key], 1).await.expect("it is followed");
            }
        });
    }
    load.join_all().await;
    let moved = moves.await.expect("the slots move");
    assert!(10 < moved, "{moved} keys moved");
    println!("{moved} keys moved, {} checks asked", cluster.nodes[1].calls("asking"));
    for key in 0..KEYS {
        let peek = ask(&redis, &[check(&policy, &[key], 1)], Action::Peek).await;
        let charged = policy.limit() - peek.expect("it decides")[0].remaining;
        assert_eq!(charged, 1 + effort(2_000_u64, 200));
    }
}

/// Half of the way, where a slot's keys are on either side: known ones here, new ones there.
// FAULTS 152.
#[tokio::test]
async fn a_slot_that_is_moving_serves_the_keys_that_stay_and_those_that_have_gone() {
    let Some((cluster, redis)) = connect().await else { return };
    let policy = hourly(10);
    let tenant = redis.group("tenant-7").expect("a good name");
    for key in ["stays", "goes"] {
        assert_eq!(left(&tenant, &policy, &[key]).await.expect("it decides"), [9]);
    }
    let from = cluster.nodes.iter().find(|node| !node.keys().is_empty()).expect("one has them");
    let to = cluster.nodes.iter().find(|node| node.port != from.port).expect("there are three");
    let keys = from.keys();
    let slot = Slot::begin(from, to, &keys[0]);
    assert_eq!(left(&tenant, &policy, &["goes"]).await.expect("it decides"), [8]);
    slot.carry(&keys[0]);
    for remaining in [[8], [7], [6]] {
        for key in ["stays", "new", "goes"] {
            let expected = match key {
                "new" => [remaining[0] + 1],
                "goes" => [remaining[0] - 1],
                _ => remaining,
            };
            assert_eq!(left(&tenant, &policy, &[key]).await.expect("it is found"), expected);
        }
    }

    assert!(0 < to.calls("asking"), "it was asked for what was not its own yet");

    // Both at once: some of what is needed is here, some is there. Nothing is done.
    let begun = left(&tenant, &policy, &["stays", "goes"]).await;
    assert_eq!(failure(begun), (ErrorKind::Unavailable, Effect::NotApplied));
    let refusals =
        cluster.nodes.iter().filter_map(|node| node.info("errorstats", "errorstat_TRYAGAIN"));
    let refusals: u64 = refusals.map(|line| field(&line, "count=")).sum();
    assert_eq!(refusals, 2, "it was sent once more");
    slot.carry(&keys[1]);
    assert_eq!(left(&tenant, &policy, &["stays", "goes"]).await.expect("both are there"), [5, 4]);
    slot.finish(&cluster);
    assert_eq!(left(&tenant, &policy, &["stays", "goes"]).await.expect("both are there"), [4, 3]);
}

/// The client's own handling took every node down with it.
// FAULTS 153.
#[tokio::test]
async fn a_node_that_is_killed_keeps_nobody_from_the_others() {
    let Some((mut cluster, redis)) = connect().await else { return };
    let policy = hourly(1_000_000);
    let mut dead = Vec::new();
    for key in 0..KEYS {
        let _ = spend(&redis, &policy, &[key], 1).await.expect("it decides");
        if cluster.nodes[2].keys().len() > dead.len() {
            dead.push(key);
        }
    }
    assert!(!dead.is_empty() && dead.len() < usize::from(KEYS));
    cluster.nodes[2].kill();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(3) {
        for key in 0..KEYS {
            // Ten seconds are what a check may take here, and what waiting would.
            let answer = within(SECOND, spend(&redis, &policy, &[key], 1)).await;
            if dead.contains(&key) {
                assert_eq!(failure(answer).0, ErrorKind::Unavailable);
            } else {
                let _ = answer.expect("its node is up");
            }
        }
    }
    cluster.nodes[2].restart();
    let node = &cluster.nodes[2];
    assert!(poll(|| node.cli(&["CLUSTER", "INFO"]).contains("cluster_state:ok")), "it is back");
    let begun = Instant::now();
    for &key in &dead {
        while within(SECOND, spend(&redis, &policy, &[key], 1)).await.is_err() {
            assert!(begun.elapsed() < Duration::from_secs(2), "service resumes");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Only keys of the lost node are asked for, so no other node says where they are now.
// FAULTS 153.
#[tokio::test]
async fn a_replica_that_takes_the_place_of_its_primary_is_found_and_goes_on_with_its_keys() {
    let Some((mut cluster, redis)) = connect().await else { return };
    let Some(replica) = cluster.add_replica_of(2) else { return };
    let policy = hourly(1_000_000);
    let mut spent = Vec::new();
    for key in 0..KEYS {
        let before = cluster.nodes[2].keys().len();
        let left = spend(&redis, &policy, &[key], 1).await.expect("it decides").remaining;
        if before < cluster.nodes[2].keys().len() {
            spent.push((key, left));
        }
    }
    assert!(!spent.is_empty());
    assert!(poll(|| replica.keys().len() == spent.len()), "it has repeated all");
    cluster.nodes[2].kill();
    let begun = Instant::now();
    for (key, left) in spent {
        let decision = loop {
            match within(SECOND, spend(&redis, &policy, &[key], 1)).await {
                Ok(decision) => break decision,
                answer => assert_eq!(failure(answer).0, ErrorKind::Unavailable),
            }
            assert!(begun.elapsed() < 20 * SECOND, "service resumes");
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        assert_eq!(decision.remaining, left - 1);
    }
    assert!(replica.info("replication", "role:master").is_some());
}

/// The permits left of each key after it was charged along with the others.
async fn left(redis: &Redis, policy: &Policy, keys: &[&str]) -> Result<Vec<u64>, BackendError> {
    let checks: Vec<_> = keys.iter().map(|key| check(policy, key.as_bytes(), 1)).collect();
    let decisions = ask(redis, &checks, Action::Spend).await?;
    Ok(decisions.iter().map(|decision| decision.remaining).collect())
}

/// Moves every slot of a node that has keys, and gives the number of these.
fn migrate(from: &Server, to: &Server, cluster: &Cluster) -> usize {
    let keys = from.keys();
    for key in &keys {
        let slot = Slot::begin(from, to, key);
        slot.carry(key);
        slot.finish(cluster);
    }
    keys.len()
}

/// A slot on its way.
struct Slot<'a> {
    from: &'a Server,
    to: &'a Server,
    number: String,
}

impl<'a> Slot<'a> {
    /// Begins to move the slot of a key.
    fn begin(from: &'a Server, to: &'a Server, key: &str) -> Self {
        let number = from.cli(&["CLUSTER", "KEYSLOT", key]);
        to.cli(&["CLUSTER", "SETSLOT", &number, "IMPORTING", &id(from)]);
        from.cli(&["CLUSTER", "SETSLOT", &number, "MIGRATING", &id(to)]);
        Self { from, to, number }
    }

    /// Moves a key.
    fn carry(&self, key: &str) {
        let port = self.to.port.to_string();
        assert_eq!(self.from.cli(&["MIGRATE", "127.0.0.1", &port, key, "0", "5000"]), "OK");
    }

    /// Tells all nodes where the slot is now.
    fn finish(self, cluster: &Cluster) {
        for node in [self.to, self.from].into_iter().chain(&cluster.nodes) {
            node.cli(&["CLUSTER", "SETSLOT", &self.number, "NODE", &id(self.to)]);
        }
    }
}

fn id(node: &Server) -> String {
    node.cli(&["CLUSTER", "MYID"])
}

const KEYS: u8 = 60;

/// More than a busy machine takes, and less than the deadline of ten seconds.
const SECOND: Duration = Duration::from_secs(1);
