//! Checks that share a command: each is decided as if it had come alone.

use std::time::Duration;

use fastrand::Rng;
use ratelimit_backend::{BackendError, Clock, Effect, ErrorKind};
use ratelimit_conformance::{ReferenceStore, one_of_each};
use ratelimit_core::{Action, Batch, Decision, Micros, Policy, sliding_window_log, token_bucket};
use ratelimit_redis::Redis;
use ratelimit_servers::{Cluster, Server, effort};
use tokio::task::JoinSet;

use crate::{
    store::{ask, check, connect, connect_with_clock, settings, spend},
    store_behind_proxy::{Scene, failure, hourly, in_time},
};

/// On one thread callers wait in the order in which they came, and the server decides in it.
// FAULTS 166.
#[tokio::test]
async fn checks_that_share_a_command_are_decided_as_the_core_does_one_by_one() {
    let Some(server) = Server::start(&[]) else { return };
    let (redis, clock) = connect_with_clock(&server).await;
    let (mut random, mut core) = (Rng::with_seed(166), ReferenceStore::default());
    let policies = one_of_each(50);
    load_scripts(&redis, &policies).await;
    server.cli(&["FLUSHALL"]);
    server.cli(&["CONFIG", "RESETSTAT"]);

    let (rounds, mut checks) = (effort(2_000, 100), 0);
    for round in 0..rounds {
        clock.advance(Micros::new(1 << random.u32(..27)));
        let now = clock.now().expect("tests stay within representable time");
        let policy = random.choice(&policies).expect("there are some");
        let keys: Vec<_> =
            (0..random.usize(1..=100)).map(|_| KEYS[random.usize(..KEYS.len())]).collect();
        // All at one cost, or each at its own.
        let (first, step) = (random.u64(0..3), random.u64(0..2));
        let cost = |index: usize| 1 + (first + step * index as u64) % 3;

        let found = spend_at_once(&redis, policy, &keys, cost).await;
        for (index, (key, found)) in keys.iter().zip(found).enumerate() {
            let check = check(policy, key, cost(index));
            let wanted = core.apply(Batch::one(&check), Action::Spend, now);
            let wanted = wanted.expect("nothing is wrong")[0];
            assert_eq!(found.expect("nothing is wrong"), wanted, "round {round}: {check:?}");
        }
        checks += keys.len() as u64;
    }
    let commands = server.calls("evalsha") + server.calls("eval");
    assert!(commands < checks / 4, "{commands} commands for {checks} checks");
}

#[tokio::test]
async fn a_check_that_comes_alone_has_a_command_of_its_own() {
    let Some(server) = Server::start(&[]) else { return };
    let redis = connect(&server).await;
    let policy = hourly(1_000);
    let _ = spend(&redis, &policy, b"key", 1).await.expect("the script is loaded");
    server.cli(&["CONFIG", "RESETSTAT"]);
    for _ in 0..10 {
        let _ = spend(&redis, &policy, b"key", 1).await.expect("the server decides");
    }
    assert_eq!(server.calls("evalsha"), 10);
}

#[tokio::test]
async fn where_groups_are_of_one_no_command_is_shared() {
    let Some(server) = Server::start(&[]) else { return };
    let alone = settings(&server.url()).with_group_max(1.try_into().expect("not zero"));
    let redis = alone.connect().await.expect("the server is up");
    let policy = hourly(1_000);
    let _ = spend(&redis, &policy, b"key", 1).await.expect("the script is loaded");
    server.cli(&["CONFIG", "RESETSTAT"]);
    let _ = spend_at_once(&redis, &policy, &[KEYS[0]; 50], |_| 1).await;
    assert_eq!(server.calls("evalsha"), 50);
}

#[tokio::test]
async fn a_state_that_is_none_fails_its_own_check_and_no_other() {
    let Some(server) = Server::start(&[]) else { return };
    let redis = connect(&server).await;
    for policy in [bucket(), log()] {
        server.cli(&["FLUSHALL"]);
        let _ = spend(&redis, &policy, b"bad", 1).await.expect("the server decides");
        let key = server.keys().pop().expect("it is the only one");
        server.cli(&["DEL", &key]);
        server.cli(&["HSET", &key, "field", "value"]);

        let keys: Vec<&[u8]> = (0..40_u8).map(|at| KEYS[usize::from(at % 4)]).collect();
        let answers = spend_at_once(&redis, &policy, &keys, |_| 1).await;
        for (key, answer) in keys.iter().zip(answers) {
            match *key {
                b"bad" => assert_eq!(failure(answer), (ErrorKind::Corrupt, Effect::NotApplied)),
                _ => assert!(answer.expect("nothing is wrong with it").is_allowed()),
            }
        }
        assert_eq!(left(&redis, &policy, b"good").await, 90);
    }
}

// FAULTS 154.
#[tokio::test]
async fn a_server_that_is_full_refuses_those_that_charge_and_denies_the_others() {
    let Some(server) = Server::start(&[]) else { return };
    let redis = connect(&server).await;
    let policy = bucket();
    let all = ask(&redis, &[check(&policy, b"bad", 100)], Action::Spend).await;
    assert!(all.expect("the server decides")[0].is_allowed());
    server.cli(&["CONFIG", "SET", "maxmemory", "1"]);

    let keys: Vec<&[u8]> = (0..40_u8).map(|at| KEYS[usize::from(at % 4)]).collect();
    let answers = spend_at_once(&redis, &policy, &keys, |_| 1).await;
    for (key, answer) in keys.iter().zip(answers) {
        match *key {
            b"bad" => assert!(!answer.expect("a denial writes nothing").is_allowed()),
            _ => assert_eq!(failure(answer), (ErrorKind::Full, Effect::NotApplied)),
        }
    }
    server.cli(&["CONFIG", "SET", "maxmemory", "0"]);
    assert_eq!(left(&redis, &policy, b"good").await, 100);
}

/// Four keys in as many slots, then the same in one.
#[tokio::test]
async fn in_a_cluster_keys_of_one_slot_share_commands_and_others_do_not() {
    let Some(cluster) = Cluster::start() else { return };
    let redis = settings(&cluster.url()).connect().await.expect("the nodes are up");
    let group = redis.group("tenant").expect("the name is good");
    let (policy, mut commands) = (hourly(1_000), Vec::new());
    for store in [redis, group] {
        let keys: Vec<&[u8]> = (0..80_u8).map(|at| KEYS[usize::from(at % 4)]).collect();
        for answer in spend_at_once(&store, &policy, &keys, |_| 1).await {
            assert!(answer.expect("the nodes decide").is_allowed());
        }
        commands.push(cluster.nodes.iter().map(|node| node.calls("evalsha")).sum::<u64>());
        assert_eq!(left(&store, &policy, b"good").await, 980);
    }
    assert!(commands[0] < 80 && commands[1] - commands[0] < 20, "{commands:?}");
}

/// Whoever waits to share a command waits for a millisecond, not for those before it.
// FAULTS 143.
#[tokio::test]
async fn those_that_wait_for_a_silent_server_hear_of_it_in_time_too() {
    let Some(scene) = Scene::new().await else { return };
    scene.server.pause();
    let answers = spend_at_once(&scene.redis, &scene.policy, &[KEYS[0]; 200], |_| 1);
    let answers = in_time(answers).await;
    for answer in answers {
        // The first to hear nothing gives the connection up.
        let (kind, _) = failure(answer);
        assert!(matches!(kind, ErrorKind::Timeout | ErrorKind::Unavailable), "{kind:?}");
    }
    scene.server.resume();
    let _ = scene.recover().await;
    assert!(scene.charged().await <= 202);
}

/// A script that the server does not know yet is sent again, and later than others that are.
async fn load_scripts(redis: &Redis, policies: &[Policy]) {
    let checks: Vec<_> = policies.iter().map(|policy| check(policy, b"key", 1)).collect();
    for checks in checks.chunks(1).chain([&checks[..]]) {
        let _ = ask(redis, checks, Action::Spend).await.expect("nothing is wrong");
    }
}

/// The answers, in the order in which they come.
async fn spend_at_once(
    redis: &Redis,
    policy: &Policy,
    keys: &[&'static [u8]],
    cost: impl Fn(usize) -> u64,
) -> Vec<Result<Decision, BackendError>> {
    let mut tasks = JoinSet::new();
    for (index, &key) in keys.iter().enumerate() {
        let (redis, policy, cost) = (redis.clone(), policy.clone(), cost(index));
        tasks.spawn(async move { (index, spend(&redis, &policy, key, cost).await) });
    }
    let mut answers = tasks.join_all().await;
    answers.sort_by_key(|(index, _)| *index);
    answers.into_iter().map(|(_, answer)| answer).collect()
}

async fn left(redis: &Redis, policy: &Policy, key: &[u8]) -> u64 {
    let peek = ask(redis, &[check(policy, key, 1)], Action::Peek).await;
    peek.expect("the server decides")[0].remaining
}

const KEYS: [&[u8]; 4] = [b"good", b"bad", b"new", b"other"];

fn bucket() -> Policy {
    let quota = token_bucket::Quota::new(100, 1, DAY).expect("in range");
    Policy::new("bucket", quota).expect("the name is good")
}

fn log() -> Policy {
    let quota = sliding_window_log::Quota::new(100, DAY).expect("in range");
    Policy::new("log", quota).expect("the name is good")
}

/// Nothing comes back while the test runs.
const DAY: Duration = Duration::from_secs(86_400);
