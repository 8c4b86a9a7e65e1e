//! Stores on the tests' own servers.

use std::time::Duration;

use ratelimit_backend::{Backend, BackendError, ManualClock};
use ratelimit_core::{Action, Batch, Check, Decision, Key, Policy, Timestamp};
use ratelimit_redis::{Redis, RedisSettings};

use ratelimit_servers::Server;

/// No multiple of anything.
pub(crate) const START: u64 = 1_700_000_012_345_678;

/// Settings for a server that other tests keep busy, too.
pub(crate) fn settings(url: &str) -> RedisSettings {
    RedisSettings::new(url).expect("the URL is good").with_deadline(Duration::from_secs(10))
}

/// A store that goes by the server's clock.
pub(crate) async fn connect(server: &Server) -> Redis {
    settings(&server.url()).connect().await.expect("the server is up")
}

/// A store that goes by a clock that stands until it is set.
pub(crate) async fn connect_with_clock(server: &Server) -> (Redis, ManualClock) {
    let clock = ManualClock::new(at(START));
    let settings = settings(&server.url()).with_clock(clock.clone());
    (settings.connect().await.expect("the server is up"), clock)
}

pub(crate) fn at(micros: u64) -> Timestamp {
    Timestamp::from_micros(micros).expect("tests stay within representable time")
}

pub(crate) fn check<'a>(policy: &'a Policy, key: &'a [u8], cost: u64) -> Check<'a> {
    Check::new(policy, Key::new(key).expect("a short key"), cost).expect("a cost within the limit")
}

pub(crate) async fn ask(
    redis: &Redis,
    checks: &[Check<'_>],
    action: Action,
) -> Result<Vec<Decision>, BackendError> {
    let batch = Batch::new(checks).expect("no two checks are about the same");
    redis.apply(batch, action).await.map(|decisions| decisions.to_vec())
}

pub(crate) async fn spend(
    redis: &Redis,
    policy: &Policy,
    key: &[u8],
    cost: u64,
) -> Result<Decision, BackendError> {
    ask(redis, &[check(policy, key, cost)], Action::Spend).await.map(|decisions| decisions[0])
}
