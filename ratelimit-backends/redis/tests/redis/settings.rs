//! URLs, and settings at their extremes.

use std::{num::NonZeroUsize, time::Duration};

use ratelimit_core::Action;
use ratelimit_redis::{RedisSettings, UrlError};
use ratelimit_servers::Server;

use crate::{
    store::{ask, check, spend},
    store_behind_proxy::hourly,
};

/// Any other scheme was taken for an unencrypted server.
// FAULTS 15.
#[test]
fn a_url_of_no_server_is_refused_without_a_word_of_it() {
    for url in [
        "",
        "redis",
        "redi://:hunter2@localhost",
        "http://:hunter2@localhost",
        "redis-clusters://:hunter2@localhost",
        "redis://:hunter2@localhost:port",
        "redis://:hunter2@localhost:99999",
    ] {
        let refused = RedisSettings::new(url).expect_err("it is no server");
        assert_eq!(refused, UrlError::Malformed, "{url}");
        assert!(!format!("{refused:?} {refused}").contains("hunter"));
    }
}

/// Encryption is never given up for want of a feature, and is not missing where there is one.
#[test]
fn an_encrypted_connection_needs_a_feature_for_it() {
    let settings = RedisSettings::new("rediss://:hunter2@localhost");
    if cfg!(any(feature = "tls-rustls", feature = "tls-native")) {
        assert!(settings.is_ok());
    } else {
        let refused = settings.expect_err("nothing here encrypts");
        assert_eq!(refused, UrlError::NoTls);
        assert!(!format!("{refused:?} {refused}").contains("hunter"));
    }
}

/// They were ignored: `?db=3` used database 0.
// FAULTS 230.
#[test]
fn a_parameter_that_is_not_known_is_refused() {
    for url in [
        "redis://:hunter2@localhost?db=3",
        "redis://:hunter2@localhost/1?protocol=resp3",
        "redis://:hunter2@localhost?node=other:6379",
        "redis://:hunter2@localhost#3",
        "redis-cluster://:hunter2@localhost?nodes=other:6379",
        "redis-sentinel://:hunter2@localhost?sentinelServiceName=name&database=1",
        "redis+unix://:hunter2@/redis.sock?database=3",
        "redis+unix:///redis.sock?db",
    ] {
        let refused = RedisSettings::new(url).expect_err("it would be ignored");
        assert_eq!(refused, UrlError::UnknownParameter, "{url}");
        assert!(!format!("{refused:?} {refused}").contains("hunter"));
    }
    for url in [
        "redis://localhost/3",
        "redis-cluster://localhost?node=other:6379&node=third:6379",
        "redis-sentinel://localhost/1?sentinelServiceName=name&node=other:26379",
        "redis-sentinel://localhost?sentinelServiceName=name&sentinelPassword=secret",
        "redis+unix:///redis.sock",
        "redis+unix://user:secret@/redis.sock?db=15",
    ] {
        assert!(RedisSettings::new(url).is_ok(), "{url}");
    }
    for url in ["redis+unix://localhost", "redis+unix://host/redis.sock", "rediss+unix:///a"] {
        assert_eq!(RedisSettings::new(url).err(), Some(UrlError::Malformed), "{url}");
    }
}

// FAULTS 230.
#[tokio::test]
async fn a_socket_is_a_server_like_any_and_its_url_names_a_database() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let path = folder.path().join("redis.sock");
    let path = path.to_str().expect("a path in letters");
    let Some(server) = Server::start(&["--unixsocket", path]) else { return };
    let url = format!("redis+unix://{path}?db=3");
    let settings = RedisSettings::new(&url).expect("the URL is good").with_deadline(MINUTE);
    let redis = settings.connect().await.expect("the server is up");
    let _ = spend(&redis, &hourly(5), b"key", 1).await.expect("the server decides");
    assert_eq!(server.cli(&["-n", "3", "DBSIZE"]), "1");
    assert_eq!(server.cli(&["-n", "0", "DBSIZE"]), "0");
}

/// The sum of now and such a deadline is no time; so each check panicked.
// FAULTS 220.
#[tokio::test]
async fn no_setting_at_its_extreme_breaks_a_check() {
    let Some(server) = Server::start(&[]) else { return };
    let policy = hourly(100);
    for (time, number) in
        [(Duration::MAX, NonZeroUsize::MAX), (Duration::from_secs(u64::MAX), NonZeroUsize::MAX)]
    {
        let settings = RedisSettings::new(&server.url()).expect("the URL is good");
        let settings = settings.with_deadline(time).with_connect_timeout(time);
        let settings = settings.with_queue_max(number).with_group_max(number);
        let redis = settings.connect().await.expect("the server is up");
        for action in [Action::Spend, Action::Peek, Action::Penalize, Action::Refund] {
            let decisions = ask(&redis, &[check(&policy, b"key", 1)], action).await;
            assert!(decisions.expect("the server decides")[0].is_allowed());
        }
        assert!(redis.eviction_policy().await.is_some());
    }
    // The least: it fails in time, or it is quick.
    let settings = RedisSettings::new(&server.url()).expect("the URL is good");
    let settings = settings.with_deadline(Duration::ZERO).with_queue_max(NonZeroUsize::MIN);
    let redis = settings.with_connect_timeout(Duration::ZERO).connect_lazily();
    let _ = spend(&redis, &policy, b"key", 1).await;
}

const MINUTE: Duration = Duration::from_secs(60);
