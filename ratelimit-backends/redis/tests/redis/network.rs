//! Faults of the network between a store and its server.

use std::{net::TcpListener, num::NonZeroUsize, time::Duration};

use fastrand::Rng;
use ratelimit_backend::{Effect, ErrorKind};
use ratelimit_redis::RedisSettings;
use ratelimit_servers::{Fault, Server, effort};
use tokio::{
    net::TcpSocket,
    task::JoinSet,
    time::{Instant, timeout},
};

use crate::{
    store::spend,
    store_behind_proxy::{Scene, failure, in_time, recover},
};

// FAULTS 133.
#[tokio::test]
async fn a_connection_reset_before_the_command_arrives_charges_nothing() {
    let Some(scene) = Scene::new().await else { return };
    let mut allowed = 0;
    for _ in 0..effort(100, 5) {
        scene.proxy.set(Fault::ResetBefore);
        assert_eq!(scene.fails().await.0, ErrorKind::Unavailable);
        scene.proxy.set(Fault::None);
        let _ = scene.recover().await;
        allowed += 1;
        assert_eq!(scene.charged().await, allowed);
    }
}

// FAULTS 133.
#[tokio::test]
async fn a_connection_closed_between_checks_charges_nothing_for_those_that_fail() {
    let Some(scene) = Scene::new().await else { return };
    let mut allowed = 0;
    for _ in 0..effort(100, 5) {
        scene.proxy.cut();
        for _ in 0..5 {
            match scene.spend().await {
                Ok(_) => allowed += 1,
                Err(error) => assert_eq!(error.kind(), ErrorKind::Unavailable),
            }
        }
        let _ = scene.recover().await;
        allowed += 1;
    }
    assert_eq!(scene.charged().await, allowed);
}

/// A charge is not made again for want of an answer.
// FAULTS 133.
#[tokio::test]
async fn a_connection_reset_after_the_charge_leaves_it_unknown_and_single() {
    let Some(scene) = Scene::new().await else { return };
    for round in 0..5 {
        scene.proxy.set(Fault::ResetAfter);
        assert_eq!(scene.fails().await, (ErrorKind::Unavailable, Effect::Unknown));
        assert_eq!(scene.charged().await, 2 * round + 1);
        scene.proxy.set(Fault::None);
        let _ = scene.recover().await;
    }
}

/// It went unnoticed as long as commands were written to it.
// FAULTS 135.
#[tokio::test]
async fn a_busy_connection_to_a_host_that_has_vanished_is_given_up_at_the_deadline() {
    let Some(scene) = Scene::new().await else { return };
    let _ = scene.spend().await.expect("nothing is wrong");
    scene.proxy.set(Fault::BlackHole);
    let mut busy = JoinSet::new();
    for _ in 0..20 {
        let (redis, policy) = (scene.redis.clone(), scene.policy.clone());
        busy.spawn(async move {
            let first = failure(in_time(spend(&redis, &policy, b"key", 1)).await);
            for _ in 0..100 {
                let _ = failure(in_time(spend(&redis, &policy, b"key", 1)).await);
            }
            first
        });
    }
    for first in busy.join_all().await {
        assert!(matches!(first.0, ErrorKind::Timeout | ErrorKind::Unavailable), "{first:?}");
        assert_eq!(first.1, Effect::Unknown);
    }
    assert_eq!(scene.fails().await, (ErrorKind::Unavailable, Effect::NotApplied));
    let before = scene.proxy.accepted();
    scene.proxy.set(Fault::None);
    assert_eq!(scene.recover().await.remaining, scene.policy.limit() - 2, "nothing has arrived");
    assert!(before <= scene.proxy.accepted() && 1 < scene.proxy.accepted());
}

// FAULTS 136.
#[tokio::test]
async fn replies_that_come_byte_by_byte_are_each_for_their_own_request() {
    let patient = |settings: RedisSettings| settings.with_deadline(Duration::from_secs(10));
    let Some(scene) = Scene::with(patient).await else { return };
    scene.proxy.set(Fault::Drip(Duration::from_micros(100)));
    let mut tasks = JoinSet::new();
    for task in 1..=16 {
        let (redis, policy) = (scene.redis.clone(), scene.policy.clone());
        tasks.spawn(async move {
            for round in 1..=4 {
                let answer = spend(&redis, &policy, &[task], task.into()).await;
                let used = policy.limit() - answer.expect("it is only slow").remaining;
                assert_eq!(used, round * u64::from(task));
            }
        });
    }
    tasks.join_all().await;
}

// FAULTS 136.
#[tokio::test]
async fn a_reply_that_takes_ten_seconds_is_not_waited_for() {
    let Some(scene) = Scene::new().await else { return };
    scene.proxy.set(Fault::Drip(Duration::from_millis(250)));
    assert_eq!(scene.fails().await, (ErrorKind::Timeout, Effect::Unknown));
    scene.proxy.set(Fault::None);
    assert_eq!(scene.recover().await.remaining, scene.policy.limit() - 2);
}

// FAULTS 137.
#[tokio::test]
async fn a_reply_that_nobody_waits_for_any_more_is_nobody_elses() {
    let patient = |settings: RedisSettings| settings.with_deadline(Duration::from_secs(10));
    let Some(scene) = Scene::with(patient).await else { return };
    scene.proxy.set(Fault::Delay(Duration::from_millis(5)));
    for round in 1..=20 {
        let late = spend(&scene.redis, &scene.policy, b"late", 1_000);
        assert!(timeout(Duration::from_millis(2), late).await.is_err());
        let decision = spend(&scene.redis, &scene.policy, b"key", 1).await.expect("it is slow");
        assert_eq!(decision.remaining, scene.policy.limit() - round);
    }
}

// FAULTS 137.
#[tokio::test]
async fn a_reply_after_the_deadline_is_not_that_of_the_next_check() {
    let Some(scene) = Scene::new().await else { return };
    for round in 0..5 {
        scene.proxy.set(Fault::Delay(Duration::from_millis(200)));
        let late = in_time(spend(&scene.redis, &scene.policy, b"late", 1_000)).await;
        assert_eq!(failure(late), (ErrorKind::Timeout, Effect::Unknown));
        scene.proxy.set(Fault::None);
        assert_eq!(scene.recover().await.remaining, scene.policy.limit() - 1 - round);
    }
}

// FAULTS 138.
#[tokio::test]
async fn what_is_no_reply_is_an_error_and_the_next_connection_is_right() {
    let Some(scene) = Scene::new().await else { return };
    let nonsense: [&[u8]; 6] = [
        b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\xff\xfe\xfd",
        b"*2\r\n-ERR no\r\n$1\r\nx\r\n",
        b":17\r\n",
        b"$3\r\nfoo\r\n",
        b"$99999999999999999999\r\n",
    ];
    for nonsense in nonsense {
        scene.proxy.set(Fault::Garbage(nonsense));
        let text = String::from_utf8_lossy(nonsense);
        assert_eq!(scene.fails().await, (ErrorKind::Protocol, Effect::Unknown), "{text}");
        scene.proxy.set(Fault::None);
        let charged = scene.charged().await;
        assert_eq!(scene.recover().await.remaining, scene.policy.limit() - charged - 1, "{text}");
    }
    // As much as half a gigabyte is a reply that may yet come.
    scene.proxy.set(Fault::Garbage(b"$536870912\r\nx"));
    assert_eq!(scene.fails().await, (ErrorKind::Timeout, Effect::Unknown));
    scene.proxy.set(Fault::None);
    let _ = scene.recover().await;
}

/// Of a connection that goes one way only.
// FAULTS 135.
#[tokio::test]
async fn a_connection_that_the_server_has_half_closed_is_lost() {
    let Some(scene) = Scene::new().await else { return };
    scene.proxy.set(Fault::HalfClose);
    assert_eq!(scene.fails().await, (ErrorKind::Unavailable, Effect::Unknown));
    scene.proxy.set(Fault::None);
    assert_eq!(scene.recover().await.remaining, scene.policy.limit() - 2);
}

// FAULTS 140.
#[tokio::test]
async fn a_connection_that_dies_takes_no_other_with_it() {
    let four = NonZeroUsize::new(4).expect("four is not zero");
    let Some(scene) = Scene::with(|settings| settings.with_pool_size(four)).await else { return };
    let list = scene.server.cli(&["CLIENT", "LIST", "TYPE", "normal"]);
    let ours = list.lines().find(|line| line.contains("name=ratelimit")).expect("it has a name");
    let id = ours.strip_prefix("id=").and_then(|line| line.split(' ').next()).expect("an id");
    scene.server.cli(&["CLIENT", "KILL", "ID", id]);
    let mut failed = 0;
    for _ in 0..100 {
        failed += usize::from(scene.spend().await.is_err());
    }
    assert!(failed <= 1, "the other connections are up: {failed} failed");
}

// FAULTS 142.
#[tokio::test]
async fn whoever_cannot_be_reached_is_unavailable_within_the_time_to_connect() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("there is a port");
    let silent = silent.local_addr().expect("it is bound");
    let full = TcpSocket::new_v4().expect("there are sockets");
    full.bind("127.0.0.1:0".parse().expect("an address")).expect("there is a port");
    let full = full.listen(1).expect("it listens");
    let full_address = full.local_addr().expect("it is bound");
    let mut waiting = JoinSet::new();
    for _ in 0..4 {
        // Two are taken in and wait; what the rest send is dropped.
        waiting.spawn(tokio::net::TcpStream::connect(full_address));
    }
    for url in [
        "redis://no-such-host.invalid".to_owned(),
        format!("redis://{silent}"),
        format!("redis://{full_address}"),
        format!("redis-cluster://{silent}"),
        format!("redis-sentinel://{silent}?sentinelServiceName=limits"),
    ] {
        let settings = RedisSettings::new(&url).expect("the URL is good");
        let settings = settings.with_connect_timeout(Duration::from_millis(200));
        let refused = in_time(settings.connect()).await;
        assert_eq!(failure(refused), (ErrorKind::Unavailable, Effect::NotApplied), "{url}");
    }
}

// FAULTS 144.
#[tokio::test]
async fn a_slow_network_costs_each_check_its_own_deadline() {
    let Some(scene) = Scene::new().await else { return };
    for delay in [200, 1_000] {
        scene.proxy.set(Fault::Delay(Duration::from_millis(delay)));
        for _ in 0..effort(20, 5) {
            let (kind, _) = scene.fails().await;
            assert!(matches!(kind, ErrorKind::Timeout | ErrorKind::Unavailable), "{kind:?}");
        }
        scene.proxy.set(Fault::None);
        let _ = recover(&scene.redis, &scene.policy).await;
    }
}

/// Each way takes 50 ms, more or less by chance, and none of the checks is any the worse for it.
// FAULTS 144.
#[tokio::test]
async fn answers_that_take_their_time_are_decisions_like_any() {
    let patient = |settings: RedisSettings| settings.with_deadline(Duration::from_secs(10));
    let Some(scene) = Scene::with(patient).await else { return };
    let mut random = Rng::with_seed(144);
    for round in 1..=effort(100, 10) {
        let delay = Duration::from_millis(random.u64(25..=75));
        scene.proxy.set(Fault::Delay(delay));
        let begun = Instant::now();
        let decision = spend(&scene.redis, &scene.policy, b"key", 1).await;
        assert_eq!(decision.expect("it is slow").remaining, scene.policy.limit() - round);
        assert!(2 * delay <= begun.elapsed(), "it went there and back");
    }
}

/// One call of a hundred meets a stall of a second.
// FAULTS 144.
#[tokio::test]
async fn a_stall_is_the_failure_of_the_calls_that_meet_it() {
    let Some(scene) = Scene::new().await else { return };
    for _ in 0..effort(10, 2) {
        for _ in 0..99 {
            let _ = scene.spend().await.expect("nothing is wrong");
        }
        scene.proxy.set(Fault::Delay(Duration::from_secs(1)));
        assert_eq!(scene.fails().await, (ErrorKind::Timeout, Effect::Unknown));
        scene.proxy.set(Fault::None);
        let _ = scene.recover().await;
    }
}

// FAULTS 139.
#[tokio::test]
async fn a_server_that_comes_later_is_found_by_itself() {
    let Some(mut server) = Server::start(&[]) else { return };
    server.kill();
    let redis = RedisSettings::new(&server.url()).expect("the URL is good").connect_lazily();
    let policy = crate::store_behind_proxy::hourly(10);
    for _ in 0..10 {
        let refused = in_time(spend(&redis, &policy, b"key", 1)).await;
        let text = refused.as_ref().map_err(ToString::to_string).expect_err("it is away");
        assert!(text.contains(&format!(": 127.0.0.1:{}: ", server.port)), "{text}");
        assert!(text.to_lowercase().contains("connection refused"), "{text}");
        assert_eq!(failure(refused), (ErrorKind::Unavailable, Effect::NotApplied));
    }
    server.restart();
    assert_eq!(recover(&redis, &policy).await.remaining, 9);
}
