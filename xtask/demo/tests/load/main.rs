//! Stores under load: many callers on one key, long logs, two sets of numbers; and the demo's stack,
//! HTTP over `Resilient` over Redis, while the server is killed twice.
//!
//! Every request has a key of its own, a fingerprint, so that a charge which was made twice is found
//! out; the server keeps what it was told in a file, so that a restart forgets nothing. Under
//! `RATELIMIT_FULL` (`cargo xtask load`) it is 10^5 requests with the default deadline.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(clippy::cast_precision_loss, reason = "figures are only shown")]

mod contention;
mod deploy;
mod logs;
mod run;
mod stores;
mod timed;

use std::{sync::Arc, time::Duration};

use axum::http::StatusCode;
use ratelimit_algorithms::{Limiter, TokenBucket};
use ratelimit_http::KeyFn;
use ratelimit_redis::{Redis, RedisSettings};
use ratelimit_resilience::Resilient;
use ratelimit_servers::{Server, effort};
use tokio::{
    task::{JoinSet, spawn_blocking},
    time::Instant,
};

use crate::{
    run::Run,
    timed::{Lateness, Timed},
};

// FAULTS 133, 140.
#[tokio::test]
async fn a_server_that_is_killed_twice_keeps_nobody_waiting_and_charges_nobody_twice() {
    let Some(server) = Server::start(&["--appendonly", "yes", "--appendfsync", "no"]) else {
        return;
    };
    let redis = RedisSettings::new(&server.url())
        .unwrap()
        .with_deadline(deadline())
        .connect()
        .await
        .unwrap();
    let store = Timed::over(Resilient::new(redis).with_deadline(deadline()));
    let run = Arc::new(Run::new(run::app(limiter(store.clone())), requests()));
    let lateness = Lateness::measure();
    let workers: JoinSet<()> = (0..WORKERS).map(|_| Arc::clone(&run).work()).collect();

    let server = outage(server, &run, [20, 40]).await;
    let server = outage(server, &run, [60, 80]).await;
    run.ends();
    workers.join_all().await;

    let (answers, took) = (run.answers(), store.took());
    let allowance = Duration::from_millis(10) + lateness.worst();
    println!(
        "within the limiter half took {:?}, 99 of 100 {:?}, the longest {:?}; \
         the deadline is {:?}, the machine was late by up to {:?}",
        took[took.len() / 2],
        took[took.len() * 99 / 100],
        took[took.len() - 1],
        deadline(),
        lateness.worst(),
    );
    assert!(took[took.len() - 1] <= deadline() + allowance, "beyond the deadline");
    assert_eq!(run.wrong(), 0, "while the server was there, and known to be, it was asked");

    let (mut admitted, mut charged) = (0, 0);
    for (fingerprint, charges) in charges(&server, answers.len()).await.into_iter().enumerate() {
        let was_admitted = match answers[fingerprint] {
            StatusCode::OK => 1,
            StatusCode::SERVICE_UNAVAILABLE => 0,
            other => panic!("{other} is no answer to an outage"),
        };
        assert!((was_admitted..=1).contains(&charges), "{fingerprint} was charged {charges} times");
        (admitted, charged) = (admitted + was_admitted, charged + charges);
    }
    println!("{admitted} admitted <= {charged} charged <= {} asked", answers.len());
    let is_mixed = 0 < admitted && admitted < answers.len() as u64;
    assert!(is_mixed, "there was an outage, and not only that");
}

/// Kills the server when so many of a hundred requests are under way, and starts it again when so
/// many are; waits until it serves.
async fn outage(mut server: Server, run: &Run, [down, up]: [usize; 2]) -> Server {
    run.reaches(down).await;
    run.turns();
    server = aside(server, Server::kill).await;
    run.reaches(up).await;
    server = aside(server, Server::restart).await;
    let back = Instant::now();
    run.serves().await;
    println!("service was back {:?} after the server", back.elapsed());
    assert!(back.elapsed() < Duration::from_secs(2));
    run.turns();
    server
}

/// Not on the thread that serves.
async fn aside(mut server: Server, act: fn(&mut Server)) -> Server {
    let acted = spawn_blocking(move || {
        act(&mut server);
        server
    });
    acted.await.unwrap()
}

/// Returns how often the server has charged each fingerprint.
async fn charges(server: &Server, requests: usize) -> Vec<u64> {
    let settings =
        RedisSettings::new(&server.url()).unwrap().with_deadline(Duration::from_secs(60));
    let limiter: Limiter<Redis> = limiter(settings.connect().await.unwrap());
    let mut charges = Vec::with_capacity(requests);
    for fingerprint in 0..requests {
        let head = run::request(fingerprint).into_parts().0;
        let decision = limiter.peek(&run::client().key(&head).unwrap()).await.unwrap();
        charges.push(decision.limit - decision.remaining);
    }
    charges
}

/// Nothing comes back while the test runs.
fn limiter<B: ratelimit_algorithms::Backend>(store: B) -> Limiter<B> {
    Limiter::new(store, "load", TokenBucket::per(10, Duration::from_secs(10_000_000))).unwrap()
}

fn requests() -> usize {
    effort(100_000, 6_000)
}

/// The default one, or where other tests may keep the machine busy, one that only a fault exceeds.
fn deadline() -> Duration {
    Duration::from_millis(effort(100, 1_000))
}

/// As many as ask at once.
const WORKERS: usize = 50;
