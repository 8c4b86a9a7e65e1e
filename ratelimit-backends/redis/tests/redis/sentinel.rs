//! A server behind a sentinel.

use std::time::Duration;

use ratelimit_core::{Policy, token_bucket};

use ratelimit_servers::{Server, poll};

use crate::store::{settings, spend};

#[tokio::test]
async fn a_sentinel_says_where_the_server_is() {
    let Some(server) = Server::start(&[]) else { return };
    let configuration = format!("sentinel monitor limits 127.0.0.1 {} 1\n", server.port);
    let Some(sentinel) = Server::start_as(&configuration, &["--sentinel"]) else { return };
    let knows = || sentinel.cli(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", "limits"]).contains("127");
    assert!(poll(knows), "the sentinel knows the server");

    let url = format!("redis-sentinel://127.0.0.1:{}?sentinelServiceName=limits", sentinel.port);
    let redis = settings(&url).connect().await.expect("the server is up");
    let quota = token_bucket::Quota::new(10, 10, Duration::from_secs(3_600)).expect("in range");
    let policy = Policy::new("burst", quota).expect("the name is good");
    for remaining in [9, 8] {
        let decision = spend(&redis, &policy, b"key", 1).await.expect("the server decides");
        assert_eq!(decision.remaining, remaining);
    }
    assert_eq!(server.keys().len(), 1);
}
