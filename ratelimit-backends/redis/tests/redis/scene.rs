//! A store, its server, and what lies between them.

use std::time::Duration;

use ratelimit_backend::{BackendError, Effect, ErrorKind};
use ratelimit_core::{Action, Decision, Policy, fixed_window};
use ratelimit_redis::{Redis, RedisSettings};
use ratelimit_servers::{Proxy, Server};
use tokio::time::{Instant, sleep};

use crate::store::{ask, check, connect, spend};

/// A store behind a proxy that waits for a quarter of a second, and no longer.
pub(crate) struct Scene {
    pub(crate) redis: Redis,
    pub(crate) proxy: Proxy,
    pub(crate) server: Server,
    /// Ten million in an hour.
    pub(crate) policy: Policy,
}

impl Scene {
    /// `None`, and says why, where there is no `redis-server`.
    pub(crate) async fn new() -> Option<Self> {
        Self::with(|settings| settings).await
    }

    pub(crate) async fn with(settings: impl Fn(RedisSettings) -> RedisSettings) -> Option<Self> {
        let server = Server::start(&[])?;
        let proxy = Proxy::start(server.port);
        let quarter =
            RedisSettings::new(&proxy.url()).expect("the URL is good").with_deadline(QUARTER);
        let redis = settings(quarter).connect().await.expect("the server is up");
        let policy = hourly(10_000_000);
        let _ = spend(&redis, &policy, b"first", 1).await.expect("the script is loaded");
        Some(Self { redis, proxy, server, policy })
    }

    pub(crate) async fn spend(&self) -> Result<Decision, BackendError> {
        in_time(spend(&self.redis, &self.policy, b"key", 1)).await
    }

    /// A check that fails like this.
    pub(crate) async fn fails(&self) -> (ErrorKind, Effect) {
        failure(self.spend().await)
    }

    /// How much has been charged, as the server has it.
    pub(crate) async fn charged(&self) -> u64 {
        let direct = connect(&self.server).await;
        let peek = ask(&direct, &[check(&self.policy, b"key", 1)], Action::Peek).await;
        let peek = peek.expect("nothing is wrong with the server")[0];
        peek.limit - peek.remaining
    }

    /// Waits for the first decision, which has to come within two seconds.
    pub(crate) async fn recover(&self) -> Decision {
        recover(&self.redis, &self.policy).await
    }
}

/// A window that begins with the first permit and outlasts the test.
pub(crate) fn hourly(limit: u64) -> Policy {
    let hour = Duration::from_secs(3_600);
    let quota = fixed_window::Quota::new(limit, hour, fixed_window::Align::First);
    Policy::new("hourly", quota.expect("in range")).expect("the name is good")
}

/// The same, where it takes less than a second: a quarter of that is meant, and any fault would take
/// two.
pub(crate) async fn in_time<T>(future: impl Future<Output = T>) -> T {
    let begun = Instant::now();
    let output = future.await;
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    output
}

pub(crate) async fn recover(redis: &Redis, policy: &Policy) -> Decision {
    let begun = Instant::now();
    loop {
        let answer = in_time(spend(redis, policy, b"key", 1)).await;
        match answer {
            Ok(decision) => return decision,
            Err(error) if Duration::from_secs(2) < begun.elapsed() => panic!("{error:?}"),
            Err(_) => sleep(Duration::from_millis(5)).await,
        }
    }
}

pub(crate) fn failure<T>(answer: Result<T, BackendError>) -> (ErrorKind, Effect) {
    match answer {
        Ok(_) => panic!("nothing was wrong"),
        Err(error) => (error.kind(), error.effect()),
    }
}

/// More than a busy machine takes for a check, less than anybody waits for one.
const QUARTER: Duration = Duration::from_millis(250);
