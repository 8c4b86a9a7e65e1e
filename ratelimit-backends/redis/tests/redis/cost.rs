//! What a decision costs the server, as it counts itself: reported, and of logs, that it is no
//! matter of their length.

use std::time::Duration;

use ratelimit_core::{
    Algorithm, ConfigError, Policy, adaptive, fixed_window, leaky_bucket, sliding_window_counter,
    sliding_window_log, token_bucket,
};
use ratelimit_redis::Redis;

use tokio::task::JoinSet;

use ratelimit_servers::Server;

use crate::store::{connect, spend};

const HOUR: Duration = Duration::from_secs(3_600);

#[tokio::test]
async fn what_an_allowed_and_a_denied_decision_cost() {
    let Some(server) = Server::start(&[]) else { return };
    let redis = connect(&server).await;
    for (allows, denies) in [
        pair("token-bucket", |limit| token_bucket::Quota::new(limit, limit, HOUR)),
        pair("leaky-bucket", |limit| leaky_bucket::Quota::new(limit, limit, HOUR)),
        pair("fixed-window", |limit| {
            fixed_window::Quota::new(limit, HOUR, fixed_window::Align::First)
        }),
        pair("window-counter", |limit| sliding_window_counter::Quota::new(limit, HOUR)),
        pair("window-log", |limit| sliding_window_log::Quota::new(limit, HOUR)),
        pair("adaptive", |limit| {
            adaptive::Quota::new(&adaptive::Parameters::new(limit.div_ceil(2), HOUR))
        }),
    ] {
        let allowed = cost(&server, &redis, &allows, 20_000).await;
        let denied = cost(&server, &redis, &denies, 20_000).await;
        println!("{}: allowed {allowed} µs, denied {denied} µs", allows.name());
    }
}

// FAULTS 147.
#[tokio::test]
async fn what_a_long_log_costs() {
    let Some(server) = Server::start(&[]) else { return };
    let redis = connect(&server).await;
    for entries in [10, 100, 1_000, 10_000] {
        let name = format!("log-{entries}");
        let quota = sliding_window_log::Quota::new(entries, HOUR).expect("in range");
        let policy = Policy::new(&name, quota).expect("the name is good");
        let allowed = cost(&server, &redis, &policy, entries).await;
        let denied = cost(&server, &redis, &policy, 1_000).await;
        for micros in [&allowed, &denied] {
            let micros: f64 = micros.parse().expect("a number");
            assert!(micros < 1_000.0, "{entries} entries: {micros} µs");
        }
        println!("{entries} entries: allowed {allowed} µs, denied {denied} µs");
    }
}

fn pair<Q: Into<Algorithm>>(
    name: &str,
    make: impl Fn(u64) -> Result<Q, ConfigError>,
) -> (Policy, Policy) {
    let policy = |name: &str, limit| {
        Policy::new(name, make(limit).expect("in range")).expect("the name is good")
    };
    (policy(name, 1_000_000), policy(&format!("{name}-denied"), 1))
}

/// Microseconds of one `EVALSHA`, on average over `calls` of them.
async fn cost(server: &Server, redis: &Redis, policy: &Policy, calls: u64) -> String {
    let _ = spend(redis, policy, b"warm", 1).await.expect("the server decides");
    server.cli(&["CONFIG", "RESETSTAT"]);
    let mut tasks = JoinSet::new();
    for _ in 0..TASKS {
        let (redis, policy) = (redis.clone(), policy.clone());
        tasks.spawn(async move {
            for _ in 0..calls / TASKS {
                let _ = spend(&redis, &policy, b"key", 1).await.expect("the server decides");
            }
        });
    }
    tasks.join_all().await;
    let line = server.info("commandstats", "cmdstat_evalsha:").expect("it was called");
    let per_call = line.split_once("usec_per_call=").map_or("", |(_, rest)| rest);
    per_call.split(',').next().unwrap_or_default().to_owned()
}

/// As many at once as keep the server busy.
const TASKS: u64 = 10;
