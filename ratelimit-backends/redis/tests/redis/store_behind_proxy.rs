//! A store, its server, and what lies between them.

use std::{pin::pin, time::Duration};

use ratelimit_backend::{BackendError, Effect, ErrorKind};
use ratelimit_core::{Action, Decision, Policy, fixed_window};
use ratelimit_redis::{Redis, RedisSettings};
use ratelimit_servers::{Proxy, Server};
use tokio::{
    select,
    task::yield_now,
    time::{Instant, sleep},
};

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

    /// The permits charged, as the server has them.
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

/// The output of a call of a [`Scene`], which comes by its deadline and ten milliseconds.
pub(crate) async fn in_time<T>(future: impl Future<Output = T>) -> T {
    within(QUARTER, future).await
}

/// The output of a call, which comes by this deadline and ten milliseconds.
///
/// A machine that is late is so for the timer here, too. So that is not the end: all others have
/// their turns first, and a call whose own timer has run out is ready after some of them.
pub(crate) async fn within<T>(deadline: Duration, future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    select! {
        biased;
        output = &mut future => return output,
        () = sleep(deadline + TOLERANCE) => {}
    }
    for _ in 0..TURNS {
        select! {
            biased;
            output = &mut future => return output,
            () = yield_now() => {}
        }
    }
    panic!("not within {deadline:?} and {TOLERANCE:?}")
}

const TOLERANCE: Duration = Duration::from_millis(10);

const TURNS: usize = 100;

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
pub(crate) const QUARTER: Duration = Duration::from_millis(250);
