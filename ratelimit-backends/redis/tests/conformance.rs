//! Redis keeps every promise of a store.

use ratelimit_backend::{Backend, ManualClock, Names, Reply};
use ratelimit_conformance::{Effort, processes, suite};
use ratelimit_core::{Action, Batch, ConfigError, Policy};
use ratelimit_redis::{Redis, RedisSettings};
use ratelimit_servers::{Server, effort};

suite!(
    private,
    Effort::new()
        .with_checks_per_task(20)
        .with_trace_steps(effort(100_000, 1_500))
        .with_keys(2_000)
);

processes!(
    || {
        let server = Server::start(&[])?;
        let url = server.url();
        Some((server, url))
    },
    async |url| {
        let settings = RedisSettings::new(&url).expect("the URL is good");
        settings.with_deadline(A_MINUTE).connect().await.expect("the server is up")
    },
    Effort::new().with_checks_per_task(effort(10_000, 200))
);

/// Longer than any of so many processes has to wait for the others.
const A_MINUTE: std::time::Duration = std::time::Duration::from_secs(60);

/// A store, and the server that is its own.
struct Private {
    redis: Redis,
    _server: Server,
}

async fn private(clock: ManualClock) -> Private {
    let server = Server::start(&[]).expect("redis-server is installed");
    let settings = RedisSettings::new(&server.url()).expect("the URL is good");
    let settings = settings.with_clock(clock).with_deadline(std::time::Duration::from_secs(10));
    Private { redis: settings.connect().await.expect("the server is up"), _server: server }
}

impl Backend for Private {
    fn apply<'a>(&'a self, batch: Batch<'a>, action: Action) -> Reply<'a> {
        self.redis.apply(batch, action)
    }

    fn names(&self) -> &Names {
        self.redis.names()
    }

    fn accepts(&self, policy: &Policy) -> Result<(), ConfigError> {
        self.redis.accepts(policy)
    }
}
