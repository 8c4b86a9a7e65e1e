//! Servers that are there and refuse.

use std::{path::PathBuf, time::Duration};

use ratelimit_backend::{Backend, Effect, ErrorKind};
use ratelimit_redis::RedisSettings;
use ratelimit_servers::{Proxy, Server, poll};

use crate::{
    store::spend,
    store_behind_proxy::{Scene, failure, hourly, within},
};

// FAULTS 156.
#[tokio::test]
async fn a_server_that_wants_replicas_and_has_none_is_unavailable() {
    let Some(scene) = Scene::new().await else { return };
    scene.server.cli(&["CONFIG", "SET", "min-replicas-to-write", "1"]);
    let before = scene.redis.recoveries();
    refuses(&scene, ErrorKind::Unavailable).await;
    assert_eq!(scene.redis.recoveries(), before);
    assert!(poll(|| scene.redis.recoveries() == before + 1), "that need not hold for ever");
    scene.server.cli(&["CONFIG", "SET", "min-replicas-to-write", "0"]);
    assert_eq!(scene.recover().await.remaining, scene.policy.limit() - 1);
}

// FAULTS 156.
#[tokio::test]
async fn a_server_that_cannot_save_is_unavailable() {
    let Some(scene) = Scene::new().await else { return };
    let directory = scene.server.cli(&["CONFIG", "GET", "dir"]);
    let directory: PathBuf = directory.lines().nth(1).expect("its value").into();
    std::fs::create_dir(directory.join("dump.rdb")).expect("nothing was saved yet");
    scene.server.cli(&["CONFIG", "SET", "save", "3600 1"]);
    scene.server.cli(&["BGSAVE"]);
    let fails = || scene.server.info("persistence", "rdb_last_bgsave_status:err").is_some();
    assert!(poll(fails), "there is no place to save to");
    refuses(&scene, ErrorKind::Unavailable).await;
    scene.server.cli(&["CONFIG", "SET", "stop-writes-on-bgsave-error", "no"]);
    assert_eq!(scene.recover().await.remaining, scene.policy.limit() - 1);
}

// FAULTS 156.
#[tokio::test]
async fn a_replica_that_has_lost_its_primary_is_unavailable() {
    let Some(scene) = Scene::new().await else { return };
    scene.server.cli(&["CONFIG", "SET", "replica-serve-stale-data", "no"]);
    scene.server.cli(&["REPLICAOF", "127.0.0.1", "1"]);
    refuses(&scene, ErrorKind::Unavailable).await;
    scene.server.cli(&["REPLICAOF", "NO", "ONE"]);
    assert_eq!(scene.recover().await.remaining, scene.policy.limit() - 1);
}

async fn refuses(scene: &Scene, kind: ErrorKind) {
    for _ in 0..10 {
        assert_eq!(scene.fails().await, (kind, Effect::NotApplied));
    }
}

// FAULTS 157.
#[tokio::test]
async fn a_wrong_password_is_told_at_once_and_not_tried_without_end() {
    let Some(server) = Server::start(&["--requirepass", "hunter2"]) else { return };
    let proxy = Proxy::start(server.port);
    for credentials in ["", ":hunter3@", "nobody:hunter2@"] {
        let url = format!("redis://{credentials}127.0.0.1:{}", proxy.port);
        let settings = RedisSettings::new(&url).expect("the URL is good");
        // Long enough for a slow machine to answer.
        let deadline = Duration::from_secs(10);
        let settings = settings.with_deadline(deadline);
        let before = proxy.accepted();
        let redis = settings.connect_lazily();
        // Attempts are counted by real time, since a server refuses them; a slow machine makes fewer.
        let begun = tokio::time::Instant::now();
        while begun.elapsed() < Duration::from_secs(1) {
            let refused = within(deadline, spend(&redis, &hourly(10), b"key", 1)).await;
            let text = format!("{refused:?}");
            assert_eq!(failure(refused), (ErrorKind::Auth, Effect::NotApplied), "{url}");
            assert!(!text.contains("hunter"), "{text}");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let tried = proxy.accepted() - before;
        assert!(tried < 20, "{tried} attempts in a second");
    }
}

// FAULTS 157.
#[tokio::test]
async fn whoever_may_not_run_scripts_is_refused_and_stays_connected() {
    let Some(scene) = Scene::new().await else { return };
    scene.server.cli(&["ACL", "SETUSER", "default", "-evalsha"]);
    let before = scene.proxy.accepted();
    refuses(&scene, ErrorKind::Auth).await;
    assert_eq!(scene.proxy.accepted(), before);
    scene.server.cli(&["ACL", "SETUSER", "default", "+evalsha"]);
    assert_eq!(scene.recover().await.remaining, scene.policy.limit() - 1);
}
