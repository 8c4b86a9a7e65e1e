//! Servers that stop, stall, come back empty, or come back as somebody else.

use std::{process::Command, time::Duration};

use ratelimit_backend::{Backend, Clock, Effect, ErrorKind, ManualClock, WallClock};
use ratelimit_core::{Action, Micros};
use ratelimit_redis::RedisSettings;
use ratelimit_servers::{Fault, Proxy, Server, effort, poll};
use tokio::{task::JoinSet, time::Instant};

use crate::{
    store::{ask, check, connect, settings, spend},
    store_behind_proxy::{Scene, failure, hourly, in_time, recover},
};

// FAULTS 140.
#[tokio::test]
async fn while_a_server_is_gone_every_check_fails_at_once_and_then_none_does() {
    let Some(mut scene) = Scene::new().await else { return };
    for _ in 0..3 {
        scene.server.kill();
        let begun = Instant::now();
        for _ in 0..effort(100_000, 2_000) {
            assert_eq!(scene.fails().await.0, ErrorKind::Unavailable);
        }
        println!("{:?} for all checks", begun.elapsed());
        let before = scene.redis.recoveries();
        scene.server.restart();
        assert_eq!(scene.recover().await.remaining, scene.policy.limit() - 1);
        assert!(before < scene.redis.recoveries(), "whoever left it alone is told");
    }
}

/// Nothing is sent to a server that says nothing beyond what it was told to expect.
// FAULTS 140.
#[tokio::test]
async fn checks_beyond_the_queue_are_refused_at_once() {
    let ten = 10.try_into().expect("ten is not zero");
    let few = |settings: RedisSettings| {
        settings.with_queue_max(ten).with_deadline(Duration::from_secs(1))
    };
    let Some(scene) = Scene::with(few).await else { return };
    scene.server.pause();
    let mut tasks = JoinSet::new();
    for _ in 0..1_000 {
        let (redis, policy) = (scene.redis.clone(), scene.policy.clone());
        tasks.spawn(async move { failure(spend(&redis, &policy, b"key", 1).await) });
    }
    let failures = tasks.join_all().await;
    // The first that waited in vain gives the connection up, and so ends the others' wait.
    let sent = failures.iter().filter(|failure| failure.1 == Effect::Unknown).count();
    let refused = (ErrorKind::Overloaded, Effect::NotApplied);
    let refused = failures.iter().filter(|&&failure| failure == refused).count();
    assert_eq!((sent, refused), (10, 990));
    scene.server.resume();
    let _ = scene.recover().await;
    assert!(scene.charged().await <= 11);
}

/// The same for calls that share no command.
// FAULTS 140.
#[tokio::test]
async fn peeks_beyond_the_queue_are_refused_at_once() {
    let ten = 10.try_into().expect("ten is not zero");
    let Some(scene) = Scene::with(|settings| settings.with_queue_max(ten)).await else { return };
    scene.server.pause();
    let mut tasks = JoinSet::new();
    for _ in 0..1_000 {
        let (redis, policy) = (scene.redis.clone(), scene.policy.clone());
        tasks.spawn(async move {
            failure(ask(&redis, &[check(&policy, b"key", 1)], Action::Peek).await)
        });
    }
    let failures = tasks.join_all().await;
    let refused = failures.iter().filter(|failure| failure.0 == ErrorKind::Overloaded).count();
    assert_eq!(refused, 990);
    assert!(failures.iter().all(|failure| failure.1 == Effect::NotApplied), "a peek never is");
    scene.server.resume();
    let _ = scene.recover().await;
}

// FAULTS 143.
#[tokio::test]
async fn a_server_that_pauses_is_not_waited_for_beyond_the_deadline() {
    let Some(scene) = Scene::new().await else { return };
    let pause = Instant::now();
    scene.server.cli(&["CLIENT", "PAUSE", "2000", "ALL"]);
    assert_eq!(scene.fails().await, (ErrorKind::Timeout, Effect::Unknown));
    while pause.elapsed() < Duration::from_millis(1_500) {
        let (kind, effect) = scene.fails().await;
        assert_eq!((kind, effect), (ErrorKind::Unavailable, Effect::NotApplied));
        tokio::task::yield_now().await;
    }
    tokio::time::sleep_until(pause + Duration::from_secs(2)).await;
    // Whether the first was charged when the pause was over is up to the server.
    assert!(scene.policy.limit() - 2 <= scene.recover().await.remaining);
}

// FAULTS 143.
#[tokio::test]
async fn a_process_that_is_stopped_is_a_server_that_does_not_answer() {
    let Some(scene) = Scene::new().await else { return };
    scene.server.pause();
    assert_eq!(scene.fails().await, (ErrorKind::Timeout, Effect::Unknown));
    assert_eq!(scene.fails().await, (ErrorKind::Unavailable, Effect::NotApplied));
    scene.server.resume();
    assert_eq!(scene.recover().await.remaining, scene.policy.limit() - 2, "it came late, once");
}

// FAULTS 145.
#[tokio::test]
async fn a_hundred_checks_of_a_forgotten_script_are_charged_once_each() {
    let Some(scene) = Scene::new().await else { return };
    let redis = connect(&scene.server).await;
    for round in 1..=2 {
        scene.server.cli(&["CONFIG", "RESETSTAT"]);
        if round == 1 {
            scene.server.cli(&["SCRIPT", "FLUSH"]);
        }
        let mut tasks = JoinSet::new();
        for _ in 0..100 {
            let (redis, policy) = (redis.clone(), scene.policy.clone());
            tasks.spawn(async move { spend(&redis, &policy, b"key", 1).await.expect("it is up") });
        }
        tasks.join_all().await;
        assert_eq!(scene.charged().await, 100 * round);
        // Only those that were under way send the text, and none that comes later.
        let texts = scene.server.calls("eval");
        assert!(if round == 1 { texts <= 101 } else { texts == 0 }, "{texts} texts");
        assert_eq!(scene.server.calls("script|load"), 0);
    }
}

// FAULTS 145.
#[tokio::test]
async fn a_server_that_comes_back_empty_is_told_the_script_again() {
    let Some(mut scene) = Scene::new().await else { return };
    scene.server.restart();
    assert_eq!(scene.recover().await.remaining, scene.policy.limit() - 1);
    assert_eq!([scene.server.calls("evalsha"), scene.server.calls("eval")], [1, 1]);
}

// FAULTS 146.
#[tokio::test]
async fn a_server_that_runs_anothers_script_is_overloaded_until_that_ends() {
    let Some(scene) = Scene::new().await else { return };
    scene.server.cli(&["CONFIG", "SET", "busy-reply-threshold", "20"]);
    let endless = ["-p", &scene.server.port.to_string(), "EVAL", "while true do end", "0"];
    let mut endless = Command::new("redis-cli").args(endless).spawn().expect("redis-cli runs");
    assert!(poll(|| scene.server.cli(&["PING"]).starts_with("BUSY")), "the script runs");
    let begun = Instant::now();
    loop {
        let failure = scene.fails().await;
        assert_ne!(failure.1, Effect::Unknown, "{failure:?}: it says that it does nothing");
        if failure.0 == ErrorKind::Overloaded {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(2), "{failure:?}");
        tokio::task::yield_now().await;
    }
    scene.server.cli(&["SCRIPT", "KILL"]);
    let _ = endless.wait();
    assert_eq!(scene.recover().await.remaining, scene.policy.limit() - 1);
}

// FAULTS 148.
#[tokio::test]
async fn a_primary_that_is_none_any_more_is_left_for_the_one_that_is() {
    let Some(scene) = Scene::new().await else { return };
    let Some(next) = Server::start(&[]) else { return };
    let _ = scene.spend().await.expect("nothing is wrong");
    scene.server.cli(&["REPLICAOF", "127.0.0.1", &next.port.to_string()]);
    // Whoever looks for the primary finds the other; the connection to the old one stays up.
    scene.proxy.lead_to(next.port);
    assert_eq!(scene.fails().await, (ErrorKind::ReadOnly, Effect::NotApplied));
    let decision = scene.recover().await;
    assert_eq!(decision.remaining, scene.policy.limit() - 1, "this one knows of nothing yet");
}

// FAULTS 149.
#[tokio::test]
async fn a_failover_admits_no_more_than_the_writes_that_it_lost() {
    let Some(scene) = Scene::new().await else { return };
    let Some((replica, link)) = replica_of(&scene.server) else { return };
    let policy = hourly(20);
    let spend_all = async |permits| {
        for _ in 0..permits {
            assert!(spend(&scene.redis, &policy, b"key", 1).await.expect("it is up").is_allowed());
        }
    };
    let (replicated, lost) = (5, 7);
    spend_all(replicated).await;
    assert!(poll(|| offset(&replica) == offset(&scene.server)), "it has all that there is");
    link.set(Fault::BlackHole);
    spend_all(lost).await;

    scene.server.pause();
    assert_eq!(replica.cli(&["REPLICAOF", "NO", "ONE"]), "OK");
    scene.proxy.lead_to(replica.port);
    scene.proxy.cut();
    let after = u64::from(recover(&scene.redis, &policy).await.is_allowed());
    let mut admitted = replicated + lost + after;
    for _ in 0..2 * policy.limit() {
        let decision = spend(&scene.redis, &policy, b"key", 1).await.expect("it is up");
        admitted += u64::from(decision.is_allowed());
    }
    scene.server.resume();
    assert_eq!(admitted, policy.limit() + lost);
}

/// A replica, and the way over which it hears of what is written.
fn replica_of(primary: &Server) -> Option<(Server, Proxy)> {
    let link = Proxy::start(primary.port);
    let replica = Server::start(&["--replicaof", "127.0.0.1", &link.port.to_string()])?;
    let is_up = || replica.cli(&["INFO", "replication"]).contains("master_link_status:up");
    assert!(poll(is_up), "it follows");
    Some((replica, link))
}

/// The number of bytes that a server has written, or has heard of.
fn offset(server: &Server) -> Option<String> {
    let line = server.info("replication", "master_repl_offset:");
    line.map(|line| line.trim_end().to_owned())
}

// FAULTS 150.
#[tokio::test]
async fn a_primary_whose_clock_is_an_hour_behind_delays_by_one_window_at_most() {
    let Some(server) = Server::start(&[]) else { return };
    let now = WallClock::new().now().expect("it is between 1970 and 2255");
    let hour = Micros::new(3_600_000_000);
    let ahead = settings(&server.url()).with_clock(ManualClock::new(now + hour));
    let ahead = ahead.connect().await.expect("the server is up");
    let policy = hourly(5);
    for _ in 0..5 {
        assert!(spend(&ahead, &policy, b"key", 1).await.expect("it decides").is_allowed());
    }
    // Two hosts, which go by the server's clock whatever their own says.
    for host in [connect(&server).await, connect(&server).await] {
        for _ in 0..10 {
            let decision = spend(&host, &policy, b"key", 1).await.expect("it decides");
            assert!(!decision.is_allowed() && decision.retry_after() <= hour, "{decision:?}");
        }
    }
}

// FAULTS 169.
#[tokio::test]
async fn a_server_that_was_flushed_begins_every_limit_anew_once() {
    let Some(scene) = Scene::new().await else { return };
    let policy = hourly(5);
    let mut admitted = 0;
    for round in 0..30 {
        if round == 3 {
            scene.server.cli(&["FLUSHALL"]);
        }
        let decision = in_time(spend(&scene.redis, &policy, b"key", 1)).await;
        admitted += u64::from(decision.expect("nothing is wrong").is_allowed());
    }
    assert_eq!(admitted, 3 + 5);
}

// FAULTS 155.
#[tokio::test]
async fn a_server_that_may_forget_limits_says_so_to_whoever_asks() {
    let Some(server) = Server::start(&["--maxmemory-policy", "allkeys-lru"]) else { return };
    let redis = connect(&server).await;
    assert_eq!(redis.eviction_policy().await.as_deref(), Some("allkeys-lru"));
    let policy = hourly(5);
    let peek = ask(&redis, &[check(&policy, b"key", 1)], Action::Peek).await;
    assert_eq!(peek.expect("it decides")[0].remaining, 5);
}
