//! The cost of a decision for the server, as it counts itself: reported, and of logs, bounded.

use std::time::Duration;

use ratelimit_algorithms::Limiter;
use ratelimit_backend::ManualClock;
use ratelimit_core::{
    Action, Algorithm, ConfigError, Micros, Policy, Receipt, adaptive, fixed_window, in_flight,
    leaky_bucket, sliding_window_counter, sliding_window_log, token_bucket,
};
use ratelimit_redis::{HELD_MAX, LOG_ENTRIES_MAX, Redis};
use ratelimit_servers::{Server, field};
use tokio::task::JoinSet;

use crate::store::{ask, check, connect, connect_with_clock, spend};

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
        pair("in-flight", |limit| in_flight::Quota::new(limit.min(HELD_MAX), HOUR)),
    ] {
        let allowed = cost(&server, &redis, &allows, 20_000).await;
        let denied = cost(&server, &redis, &denies, 20_000).await;
        println!("{}: allowed {allowed} µs, denied {denied} µs", allows.name());
    }
}

/// The commands that each call takes are counted: no call on a log takes more of them when it is a
/// thousand times as long, and the server's worst case is that of the longest log.
// FAULTS 147, 213.
#[tokio::test]
async fn no_call_takes_more_commands_on_a_long_log_than_a_search_in_it_does() {
    let Some(server) = Server::start(&[]) else { return };
    let (redis, clock) = connect_with_clock(&server).await;
    for entries in [10, 100, 1_000, LOG_ENTRIES_MAX] {
        let quota = sliding_window_log::Quota::new(entries, HOUR).expect("in range");
        let policy = Policy::new("log", quota).expect("the name is good");
        let changed = sliding_window_log::Quota::new(entries, 2 * HOUR).expect("in range");
        let changed = Policy::new("log", changed).expect("the name is good");
        let receipts = fill(&redis, &clock, &policy, entries).await;
        let one = check(&policy, b"key", 1);
        let half = check(&policy, b"key", entries / 2);
        let settled = one.with_receipt(Some(receipts[receipts.len() / 2]));
        let minute = Action::Block(Micros::new(60_000_000));
        let changed = check(&changed, b"key", 1);
        for (name, check, action) in [
            ("denied", one, Action::Spend),
            ("denied by half", half, Action::Spend),
            ("settled", settled, Action::Refund),
            ("allowed", one, Action::Spend),
            ("refunded by half", half, Action::Refund),
            ("penalized", one, Action::Penalize),
            ("blocked", one, minute),
            ("denied by a block", one, Action::Spend),
            ("changed", changed, Action::Penalize),
        ] {
            server.cli(&["CONFIG", "RESETSTAT"]);
            let _ = ask(&redis, &[check], action).await.expect("the server decides");
            let commands = commands(&server);
            println!("{entries} entries, {name}: {commands} commands");
            assert!(commands <= COMMANDS_MAX, "{entries} entries, {name}: {commands} commands");
        }
        let _ = ask(&redis, &[one], Action::Reset).await.expect("the server decides");
    }
}

/// Two searches among ten thousand take 28 each; the rest is what scripts need besides.
const COMMANDS_MAX: u64 = 70;

/// Charges so many, a microsecond apart, from the first to the last moment of a window.
async fn fill(redis: &Redis, clock: &ManualClock, policy: &Policy, entries: u64) -> Vec<Receipt> {
    let mut receipts = Vec::new();
    for _ in 0..entries {
        clock.advance(Micros::new(1));
        let decision = spend(redis, policy, b"key", 1).await.expect("the server decides");
        assert!(decision.is_allowed());
        receipts.push(Receipt::of(&decision, policy, 1));
    }
    receipts
}

/// The commands that the server has run since its statistics began anew.
fn commands(server: &Server) -> u64 {
    let lines = server.cli(&["INFO", "commandstats"]);
    let ours = lines.lines().filter(|line| !line.contains("config") && !line.contains("info"));
    ours.map(|line| field(line, "calls=")).sum()
}

#[tokio::test]
async fn a_log_that_is_longer_than_what_a_server_changes_at_once_is_refused() {
    let Some(server) = Server::start(&[]) else { return };
    let redis = connect(&server).await;
    let refused = |field| Err(ConfigError::LimitTooLarge { field, max: LOG_ENTRIES_MAX });
    let build = |name: &str, quota: Result<Algorithm, ConfigError>| {
        let policy = Policy::new(name, quota.expect("in range")).expect("the name is good");
        Limiter::with_policies(redis.clone(), policy).map(drop)
    };
    let log = |limit, entries_max| {
        sliding_window_log::Quota::capped(limit, HOUR, entries_max).map(Into::into)
    };
    let hybrid = |limit| adaptive::Quota::new(&adaptive::Parameters::new(limit, HOUR));
    assert_eq!(build("a", log(LOG_ENTRIES_MAX, LOG_ENTRIES_MAX)), Ok(()));
    assert_eq!(build("b", log(1_000_000, LOG_ENTRIES_MAX)), Ok(()));
    assert_eq!(build("c", log(1_000_000, LOG_ENTRIES_MAX + 1)), refused("entries_max"));
    assert_eq!(build("d", hybrid(LOG_ENTRIES_MAX / 2).map(Into::into)), Ok(()));
    assert_eq!(build("e", hybrid(LOG_ENTRIES_MAX).map(Into::into)), refused("limit"));
    let bucket = token_bucket::Quota::new(1_000_000, 1_000_000, HOUR);
    assert_eq!(build("f", bucket.map(Into::into)), Ok(()), "it has no log");
    let held = |limit| in_flight::Quota::new(limit, HOUR).map(Into::into);
    assert_eq!(build("g", held(HELD_MAX)), Ok(()));
    let too_large = ConfigError::LimitTooLarge { field: "limit", max: HELD_MAX };
    assert_eq!(build("h", held(HELD_MAX + 1)), Err(too_large));
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
