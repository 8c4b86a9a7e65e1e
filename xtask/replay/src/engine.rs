//! The engines: the pure core over a map, and the real stores, each with a clock to set.

use std::{
    num::NonZeroUsize,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context, Result, bail};
use ratelimit_algorithms::{Backend, Clock, ManualClock};
use ratelimit_backend::{Names, Reply};
use ratelimit_conformance::ReferenceStore;
use ratelimit_core::{Action, Batch, store::Decisions};
use ratelimit_memory::Memory;
use ratelimit_redis::{Redis, RedisSettings};
use ratelimit_servers::Server;
use ratelimit_sqlite::SqliteSettings;

/// An engine that scenarios run on.
pub(crate) enum Engine {
    Core,
    Memory,
    Sqlite,
    Redis(RedisServer),
}

/// A server, and how many scenarios have run on it.
pub(crate) struct RedisServer {
    url: String,
    scenarios: u64,
    /// Lives as long as this does, where it is a private one.
    _private: Option<Server>,
}

impl Engine {
    /// The engine of that name; `redis` starts a private server unless there is a URL.
    pub(crate) fn start(name: &str) -> Result<Self> {
        match name {
            "core" => Ok(Self::Core),
            "memory" => Ok(Self::Memory),
            "sqlite" => Ok(Self::Sqlite),
            "redis" => RedisServer::start().map(Self::Redis),
            _ => bail!("there is no backend {name:?}, only core, memory, sqlite and redis"),
        }
    }

    /// An empty store with this clock.
    pub(crate) async fn store(&mut self, clock: ManualClock) -> Result<Arc<dyn Backend>> {
        Ok(match self {
            Self::Core => {
                Arc::new(Core { clock, records: Mutex::default(), names: Names::default() })
            }
            Self::Memory => Arc::new(Memory::with_clock(clock, NonZeroUsize::MAX)),
            Self::Sqlite => Arc::new(SqliteSettings::in_memory().with_clock(clock).open()?),
            Self::Redis(server) => Arc::new(server.store(clock).await?),
        })
    }
}

impl RedisServer {
    fn start() -> Result<Self> {
        let (url, private) =
            Server::given_or_started().context("RATELIMIT_WITHOUT_SERVERS is set")?;
        Ok(Self { url, scenarios: 0, _private: private })
    }

    /// Every scenario has keys of its own.
    async fn store(&mut self, clock: ManualClock) -> Result<Redis> {
        self.scenarios += 1;
        let prefix = format!("replay-{}-{}", std::process::id(), self.scenarios);
        Ok(RedisSettings::new(&self.url)?.with_prefix(&prefix)?.with_clock(clock).connect().await?)
    }
}

/// The pure core over a map.
struct Core {
    clock: ManualClock,
    records: Mutex<ReferenceStore>,
    names: Names,
}

impl Backend for Core {
    fn apply<'a>(&'a self, batch: Batch<'a>, action: Action) -> Reply<'a> {
        let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        let decide = |now| records.apply(batch, action, now);
        Reply::ready(self.clock.now().and_then(decide).map(Decisions::from_iter))
    }

    fn names(&self) -> &Names {
        &self.names
    }
}
