//! A store in several runtimes, one after the other and at once.

use std::{
    sync::mpsc,
    task::{Context, Poll, Waker},
    thread,
    time::{Duration, Instant},
};

use ratelimit_backend::{Effect, ErrorKind};
use ratelimit_core::Policy;
use ratelimit_redis::{Redis, RedisSettings};
use ratelimit_servers::Server;
use tokio::{
    runtime::{Builder, Runtime},
    task::JoinSet,
};

use crate::{
    store::spend,
    store_behind_proxy::{failure, hourly},
};

/// As a static, or one `#[tokio::test]` after another, has it.
// FAULTS 216.
#[test]
fn a_store_whose_runtime_has_ended_works_in_the_next_one() {
    let Some(server) = Server::start(&[]) else { return };
    // Outside of any runtime.
    let redis = patient(&server).connect_lazily();
    let policy = hourly(100);
    for round in 1..=3 {
        let decision = runtime().block_on(spend(&redis, &policy, b"key", 1));
        let decision = decision.expect("this runtime has connections of its own");
        assert_eq!(decision.remaining, 100 - round);
    }
    // Those of the first two have gone with their runtimes.
    let clients = server.cli(&["CLIENT", "LIST"]);
    let ours = clients.lines().filter(|line| line.contains("name=ratelimit")).count();
    assert!(ours <= 1, "{clients}");
}

// FAULTS 216.
#[test]
fn a_check_outside_of_a_runtime_is_an_error_and_no_panic() {
    let redis = RedisSettings::new("redis://127.0.0.1:1").expect("the URL is good");
    let (redis, policy) = (redis.connect_lazily(), hourly(100));
    let mut check = Box::pin(spend(&redis, &policy, b"key", 1));
    let Poll::Ready(outcome) = check.as_mut().poll(&mut Context::from_waker(Waker::noop())) else {
        panic!("nothing is waited for");
    };
    assert_eq!(failure(outcome), (ErrorKind::Closed, Effect::NotApplied));
}

/// They waited for it, and then their checks, which had never been sent, had an unknown effect.
// FAULTS 215.
#[test]
fn callers_of_one_runtime_neither_wait_for_another_nor_fail_with_it() {
    let Some(server) = Server::start(&[]) else { return };
    for is_ended in [false, true] {
        let redis = patient(&server).with_deadline(BUSY / 2).connect_lazily();
        let policy = hourly(10_000);
        let (sender, is_busy) = mpsc::channel();
        let busy = {
            let (redis, policy, port) = (redis.clone(), policy.clone(), server.port);
            thread::spawn(move || {
                let runtime = runtime();
                runtime.block_on(async {
                    let _ = spend(&redis, &policy, b"key", 1).await.expect("the server is up");
                    let mut checks = spends(&redis, &policy, 8);
                    pause(port);
                    // Each is sent, or waits to be sent; on a machine that is slower than this, some
                    // are not, and the other's checks have to come through all the same.
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    sender.send(()).expect("the other waits for it");
                    if !is_ended {
                        thread::sleep(BUSY);
                    }
                    checks.abort_all();
                });
                drop(runtime);
            })
        };
        is_busy.recv().expect("the other goes on");
        let begun = Instant::now();
        runtime().block_on(async {
            for outcome in spends(&redis, &policy, 16).join_all().await {
                assert!(outcome.expect("nothing is wrong here").is_allowed());
            }
        });
        assert!(begun.elapsed() < BUSY, "{:?}", begun.elapsed());
        busy.join().expect("it does not panic");
    }
}

/// So long one runtime is busy; half of it is the deadline of the other's checks.
const BUSY: Duration = Duration::from_secs(3);

fn patient(server: &Server) -> RedisSettings {
    let settings = RedisSettings::new(&server.url()).expect("the URL is good");
    settings.with_deadline(Duration::from_secs(10))
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime can be made")
}

type Outcome = Result<ratelimit_core::Decision, ratelimit_backend::BackendError>;

/// So many checks of one key at once.
fn spends(redis: &Redis, policy: &Policy, count: usize) -> JoinSet<Outcome> {
    let mut tasks = JoinSet::new();
    for _ in 0..count {
        let (redis, policy) = (redis.clone(), policy.clone());
        tasks.spawn(async move { spend(&redis, &policy, b"key", 1).await });
    }
    tasks
}

/// The server answers nobody for a while.
fn pause(port: u16) {
    let words = ["-p", &port.to_string(), "CLIENT", "PAUSE", "200"];
    let status = std::process::Command::new("redis-cli").args(words).output();
    assert!(status.expect("redis-cli runs").status.success());
}
