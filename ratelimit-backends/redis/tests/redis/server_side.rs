//! The work of the server: round trips, times to live, keys, and values that are no state.

use std::time::Duration;

use ratelimit_backend::{Backend, Effect, ErrorKind};
use ratelimit_core::{
    Action, Algorithm, Key, Policy, adaptive, fixed_window, sliding_window_log, token_bucket,
};

use ratelimit_servers::Server;

use crate::store::{ask, check, connect, settings, spend};

const HOUR: Duration = Duration::from_secs(3_600);

#[tokio::test]
async fn a_composite_of_three_limits_is_one_round_trip() {
    let Some(server) = Server::start(&[]) else { return };
    let redis = connect(&server).await;
    let [burst, daily, load] = three();
    let checks = [check(&burst, b"user", 1), check(&daily, b"org", 2), check(&load, b"user", 1)];
    let _ = ask(&redis, &checks, Action::Spend).await.expect("the script is loaded");
    server.cli(&["CONFIG", "RESETSTAT"]);
    let _ = ask(&redis, &checks, Action::Spend).await.expect("the server decides");
    assert_eq!([server.calls("evalsha"), server.calls("eval")], [1, 0]);
}

// FAULTS 145.
#[tokio::test]
async fn a_forgotten_script_is_sent_once_by_its_text_and_charged_once() {
    let Some(server) = Server::start(&[]) else { return };
    let redis = connect(&server).await;
    let [burst, ..] = three();
    let _ = spend(&redis, &burst, b"key", 1).await.expect("the server decides");
    server.cli(&["SCRIPT", "FLUSH"]);
    server.cli(&["CONFIG", "RESETSTAT"]);
    let decision = spend(&redis, &burst, b"key", 1).await.expect("the server decides");
    assert_eq!([server.calls("evalsha"), server.calls("eval")], [1, 1]);
    assert_eq!(decision.remaining, 8);
}

// FAULTS 161.
// FAULTS 173.
#[tokio::test]
async fn no_key_is_without_a_time_to_live() {
    let Some(server) = Server::start(&[]) else { return };
    let redis = connect(&server).await;
    let short = Duration::from_micros(100);
    let quota = fixed_window::Quota::new(5, short, fixed_window::Align::First).expect("in range");
    let shortest = Policy::new("shortest", quota).expect("the name is good");
    for policy in three().iter().chain([&shortest]) {
        for key in [b"a", b"b"] {
            for action in [Action::Spend, Action::Spend, Action::Refund, Action::Peek] {
                let _ = ask(&redis, &[check(policy, key, 1)], action).await.expect("it decides");
            }
        }
    }
    for key in server.keys() {
        let ttl_ms: i64 = server.cli(&["PTTL", &key]).parse().expect("a number");
        // -2: it has expired since the scan.
        assert!(ttl_ms == -2 || 0 <= ttl_ms, "{key}: {ttl_ms}");
        assert!(ttl_ms <= 3 * 3_600_000, "{key}: {ttl_ms}");
    }
}

/// It had more digits than the server reads, and failed when half was written.
#[tokio::test]
async fn a_time_to_live_of_ten_million_years_is_one_of_285() {
    let Some(server) = Server::start(&[]) else { return };
    let redis = connect(&server).await;
    let mut settings = adaptive::Parameters::new(400_000, 3_650 * 24 * HOUR);
    settings.burst_multiplier = 2.5;
    settings.adaptive_window = Duration::from_secs(38);
    settings.penalty = 1.0;
    let quota = adaptive::Quota::new(&settings).expect("in range");
    let policy = Policy::new("patient", quota).expect("the name is good");
    let checks = [check(&policy, b"key", 1)];
    for action in [Action::Spend, Action::Refund] {
        let _ = ask(&redis, &checks, action).await.expect("the server decides");
    }
    let ttl_ms: u64 = server.cli(&["PTTL", &server.keys()[0]]).parse().expect("a number");
    assert!(ttl_ms <= 9_007_199_254_741 + 10_000, "{ttl_ms}");
}

// FAULTS 88, 90.
#[tokio::test]
async fn the_text_of_a_key_is_never_seen_by_the_server() {
    let Some(server) = Server::start(&[]) else { return };
    let redis = connect(&server).await;
    let [burst, ..] = three();
    let hostile: [&[u8]; 11] =
        [b"", b"*", b"?", b"[a]", b"{", b"}", b"{}", b"{a}b", b"a}{b", b"\"]] os.execute()", b"%s"];
    for key in hostile {
        assert_eq!(spend(&redis, &burst, key, 1).await.expect("it decides").remaining, 9);
    }
    let keys = server.keys();
    assert_eq!(keys.len(), hostile.len());
    for key in keys {
        let tag = key.strip_prefix("ratelimit:1:burst:{").and_then(|key| key.strip_suffix('}'));
        let is_digest =
            |tag: &str| tag.len() == 32 && tag.bytes().all(|byte| byte.is_ascii_hexdigit());
        assert!(tag.is_some_and(is_digest), "{key}");
    }
}

// FAULTS 158.
#[tokio::test]
async fn what_is_no_state_is_corrupt_and_left_alone_until_a_reset() {
    let Some(server) = Server::start(&[]) else { return };
    let redis = connect(&server).await;
    for policy in three() {
        let _ = spend(&redis, &policy, b"key", 1).await.expect("the server decides");
        let [key] = &server.keys()[..] else { panic!("one key is one key") };
        let damages: [&[&str]; 7] = [
            &["SET", key, "abc"],
            &["SET", key, ""],
            &["HSET", key, "units", "1e400"],
            &["SADD", key, "NaN"],
            &["RPUSH", key, "0x10", "x"],
            &["RPUSH", key, ""],
            &["SETRANGE", key, "200", "x"],
        ];
        for damage in damages {
            server.cli(&["DEL", key]);
            server.cli(damage);
            let before = server.cli(&["DUMP", key]);
            for action in [Action::Spend, Action::Peek, Action::Refund] {
                let answer = ask(&redis, &[check(&policy, b"key", 1)], action).await;
                let error = answer.expect_err("this is no state");
                assert_eq!(error.kind(), ErrorKind::Corrupt, "{damage:?}");
                assert_eq!(error.effect(), Effect::NotApplied, "{damage:?}");
            }
            assert_eq!(server.cli(&["DUMP", key]), before, "{damage:?}");
            let _ = ask(&redis, &[check(&policy, b"key", 1)], Action::Reset).await.expect("it can");
            let decision = spend(&redis, &policy, b"key", 1).await.expect("the server decides");
            assert_eq!(decision.remaining, decision.limit - 1, "{damage:?}");
        }
        server.cli(&["FLUSHALL"]);
    }
}

// FAULTS 158.
#[tokio::test]
async fn a_log_that_no_step_could_have_left_is_corrupt() {
    let Some(server) = Server::start(&[]) else { return };
    let redis = connect(&server).await;
    let [_, daily, load] = three();
    for policy in [daily, load] {
        for _ in 0..5 {
            let _ = spend(&redis, &policy, b"key", 1).await.expect("the server decides");
        }
        let key = &server.keys()[0];
        // An entry that is too early, one that is too short.
        let first = "return redis.call('RPUSH', KEYS[1], redis.call('LINDEX', KEYS[1], 1))";
        let short = "return redis.call('LSET', KEYS[1], 1, 'x')";
        for damage in [first, short] {
            server.cli(&["EVAL", damage, "1", key]);
            let before = server.cli(&["DUMP", key]);
            let error = spend(&redis, &policy, b"key", 1).await.expect_err("this is no log");
            assert_eq!((error.kind(), error.effect()), (ErrorKind::Corrupt, Effect::NotApplied));
            assert_eq!(server.cli(&["DUMP", key]), before);
            server.cli(&["EVAL", "redis.call('RPOP', KEYS[1])", "1", key]);
        }
        server.cli(&["FLUSHALL"]);
    }
}

// FAULTS 43, 167.
#[tokio::test]
async fn a_state_of_another_version_is_incompatible() {
    let Some(server) = Server::start(&[]) else { return };
    let redis = connect(&server).await;
    let [burst, ..] = three();
    let _ = spend(&redis, &burst, b"key", 1).await.expect("the server decides");
    server.cli(&["SETRANGE", &server.keys()[0], "1", "\x09"]);
    let error = spend(&redis, &burst, b"key", 1).await.expect_err("the version is another");
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Incompatible, Effect::NotApplied));
}

// FAULTS 154.
#[tokio::test]
async fn a_full_server_is_full_and_nothing_is_charged() {
    let Some(server) = Server::start(&["--maxmemory-policy", "noeviction"]) else { return };
    let redis = connect(&server).await;
    assert_eq!(redis.eviction_policy().await.as_deref(), Some("noeviction"));
    for policy in three() {
        let before = spend(&redis, &policy, b"key", 1).await.expect("the server decides");
        server.cli(&["CONFIG", "SET", "maxmemory", "1"]);
        let error = spend(&redis, &policy, b"key", 1).await.expect_err("there is no room");
        assert_eq!((error.kind(), error.effect()), (ErrorKind::Full, Effect::NotApplied));
        let peek = ask(&redis, &[check(&policy, b"key", 1)], Action::Peek).await;
        assert_eq!(peek.expect("reading needs no room")[0].remaining, before.remaining);
        server.cli(&["CONFIG", "SET", "maxmemory", "0"]);
    }
}

// FAULTS 139.
#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable_at_once() {
    let Some(server) = Server::start(&[]) else { return };
    let url = server.url();
    drop(server);
    let error = settings(&url).connect().await.expect_err("nobody listens");
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Unavailable, Effect::NotApplied));
    let lazy = settings(&url).connect_lazily();
    let [burst, ..] = three();
    let error = spend(&lazy, &burst, b"key", 1).await.expect_err("nobody listens");
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Unavailable, Effect::NotApplied));
}

#[tokio::test]
async fn connections_carry_their_name_and_no_secret_is_shown() {
    let Some(server) = Server::start(&["--requirepass", "hunter2"]) else { return };
    let url = format!("redis://:hunter2@127.0.0.1:{}", server.port);
    let redis =
        settings(&url).with_client_name("limits").connect().await.expect("it is the password");
    let [burst, ..] = three();
    let _ = spend(&redis, &burst, b"key", 1).await.expect("the server decides");
    let list = server.cli(&["-a", "hunter2", "--no-auth-warning", "CLIENT", "LIST"]);
    assert!(list.contains("name=limits"), "{list}");
    assert!(!format!("{redis:?}").contains("hunter2"));

    let wrong = format!("redis://:hunter3@127.0.0.1:{}", server.port);
    let error = settings(&wrong).connect().await.expect_err("it is not the password");
    assert_eq!(error.kind(), ErrorKind::Auth);
    assert!(!format!("{error:?}").contains("hunter"));
}

#[tokio::test]
async fn groups_are_stores_of_their_own() {
    let Some(server) = Server::start(&[]) else { return };
    let redis = connect(&server).await;
    let [burst, ..] = three();
    let [a, again, b] = ["a", "a", "b"].map(|name| redis.group(name).expect("a good name"));
    assert!(
        a.names().is(again.names()) && !a.names().is(b.names()) && !a.names().is(redis.names())
    );
    for store in [&redis, &a, &b] {
        assert_eq!(spend(store, &burst, b"key", 1).await.expect("it decides").remaining, 9);
    }
    assert_eq!(spend(&again, &burst, b"key", 1).await.expect("it decides").remaining, 8);
    for name in ["", "A", "{a}", "a b", &"a".repeat(65)] {
        assert!(redis.group(name).is_err() && settings(&server.url()).with_prefix(name).is_err());
    }
    assert!(Key::new("{a}").is_ok());
}

/// One of each kind of value: a string, a list with a short head, one with a long.
fn three() -> [Policy; 3] {
    let policy = |name: &str, algorithm: Algorithm| Policy::new(name, algorithm).expect("good");
    [
        policy("burst", token_bucket::Quota::new(10, 10, HOUR).expect("in range").into()),
        policy("daily", sliding_window_log::Quota::new(10, HOUR).expect("in range").into()),
        policy("load", {
            let mut settings = adaptive::Parameters::new(10, HOUR);
            settings.adaptive_window = HOUR;
            settings.penalty = 0.0;
            adaptive::Quota::new(&settings).expect("in range").into()
        }),
    ]
}
