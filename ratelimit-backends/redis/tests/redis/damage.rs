//! Values that are no state, and keys that have lost their time to live.

use std::{collections::BTreeMap, time::Duration};

use ratelimit_backend::{Effect, ErrorKind};
use ratelimit_conformance::one_of_each;
use ratelimit_core::{Action, Micros};
use ratelimit_servers::Server;

use crate::{
    store::{ask, check, connect, settings, spend},
    store_behind_proxy::hourly,
};

/// It was read whole; that took longer than the deadline, and `reset` failed by the same.
// FAULTS 158, 217.
#[tokio::test]
async fn a_large_value_of_somebody_else_is_corrupt_without_being_read_and_reset_repairs_it() {
    let Some(server) = Server::start(&[]) else { return };
    let redis = connect(&server).await;
    let policy = hourly(100);
    let _ = spend(&redis, &policy, b"key", 1).await.expect("it decides");
    let key = server.keys()[0].clone();
    let string = "redis.call('SET', KEYS[1], ('x'):rep(20000000))";
    let list = "for _ = 1, 200 do redis.call('RPUSH', KEYS[1], ('x'):rep(100000)) end";
    for (large, action) in [string, list].into_iter().flat_map(|large| {
        [Action::Spend, Action::Peek, Action::Penalize].map(|action| (large, action))
    }) {
        server.cli(&["DEL", &key]);
        server.cli(&["EVAL", large, "1", &key]);
        let sent = sent_bytes(&server);
        let error = ask(&redis, &[check(&policy, b"key", 1)], action).await;
        let error = error.expect_err("this is no state");
        assert_eq!((error.kind(), error.effect()), (ErrorKind::Corrupt, Effect::NotApplied));
        assert!(sent_bytes(&server) - sent < 100_000, "{action:?}");
        let _ = ask(&redis, &[check(&policy, b"key", 1)], Action::Reset).await.expect("it repairs");
        let decision = spend(&redis, &policy, b"key", 1).await.expect("it decides");
        assert_eq!(decision.remaining, 99);
    }
}

fn sent_bytes(server: &Server) -> u64 {
    let bytes = server.info("stats", "total_net_output_bytes:").expect("servers count it");
    let (_, bytes) = bytes.split_once(':').expect("a name and a number");
    bytes.trim().parse().expect("a number")
}

/// Only a check that was admitted gave it one.
// FAULTS 173, 217.
#[tokio::test]
async fn a_key_without_a_time_to_live_gets_one_at_the_next_check() {
    let Some(server) = Server::start(&[]) else { return };
    let redis = connect(&server).await;
    for policy in one_of_each(3) {
        server.cli(&["FLUSHALL"]);
        let checks = [check(&policy, b"key", 1)];
        while ask(&redis, &checks, Action::Spend).await.expect("it decides")[0].is_allowed() {}
        for key in server.keys() {
            server.cli(&["PERSIST", &key]);
        }
        let denied = ask(&redis, &checks, Action::Spend).await.expect("it decides");
        assert!(!denied[0].is_allowed());
        for key in server.keys() {
            let ttl_ms: i64 = server.cli(&["PTTL", &key]).parse().expect("a number");
            assert!(ttl_ms == -2 || 0 <= ttl_ms, "{key}: {ttl_ms}");
        }
    }
}

/// A blocked log was a string of any length, and to block it wrote it anew.
#[tokio::test]
async fn a_blocked_log_stays_a_list() {
    let Some(server) = Server::start(&[]) else { return };
    let redis = settings(&server.url()).connect().await.expect("the server is up");
    for policy in one_of_each(50) {
        server.cli(&["FLUSHALL"]);
        let checks = [check(&policy, b"key", 1)];
        let _ = ask(&redis, &checks, Action::Spend).await.expect("it decides");
        let before = kinds(&server);
        let block = Action::Block(Micros::from_duration_ceil(Duration::from_secs(60)));
        let _ = ask(&redis, &checks, block).await.expect("it decides");
        assert_eq!(kinds(&server), before, "{}", policy.name());
        let denied = ask(&redis, &checks, Action::Spend).await.expect("it decides")[0];
        assert!(!denied.is_allowed());
    }
}

/// The kind of each key's value.
fn kinds(server: &Server) -> BTreeMap<String, String> {
    let kind = |key: String| (server.cli(&["TYPE", &key]), key);
    server.keys().into_iter().map(kind).map(|(kind, key)| (key, kind)).collect()
}
