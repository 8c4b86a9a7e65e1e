//! The three stores, each new, and calls of them.

use std::{num::NonZeroUsize, path::PathBuf, sync::Arc, time::Duration};

use ratelimit_algorithms::Backend;
use ratelimit_backend::{BackendError, Clock, ManualClock, WallClock};
use ratelimit_core::{Action, Batch, Check, Decision, Key, Policy, Timestamp};
use ratelimit_memory::Memory;
use ratelimit_redis::RedisSettings;
use ratelimit_servers::Server;
use ratelimit_sqlite::SqliteSettings;
use tempfile::TempDir;

/// A Redis server, and a folder for a file of SQLite.
pub(crate) struct Stores {
    server: Server,
    folder: TempDir,
    deadline: Duration,
}

pub(crate) type Store = Arc<dyn Backend>;

pub(crate) const NAMES: [&str; 3] = ["memory", "sqlite", "redis"];

impl Stores {
    /// `None` where tests are to do without Redis.
    pub(crate) fn start(deadline: Duration) -> Option<Self> {
        Some(Self { server: Server::start(&[])?, folder: tempfile::tempdir().unwrap(), deadline })
    }

    /// The store of that name. A second handle of one is the same store, but for memory.
    pub(crate) async fn open(&self, name: &str) -> Store {
        match name {
            "memory" => Arc::new(Memory::with_clock(WallClock::new(), ROOM)),
            "sqlite" => Arc::new(self.file().open().unwrap()),
            _ => Arc::new(self.settings().connect().await.unwrap()),
        }
    }

    /// The same, on a clock that stands until it is moved.
    pub(crate) async fn open_at(&self, name: &str, clock: &ManualClock) -> Store {
        let clock = clock.clone();
        match name {
            "memory" => Arc::new(Memory::with_clock(clock, ROOM)),
            "sqlite" => Arc::new(self.file().with_clock(clock).open().unwrap()),
            _ => Arc::new(self.settings().with_clock(clock).connect().await.unwrap()),
        }
    }

    fn file(&self) -> SqliteSettings {
        let path: PathBuf = self.folder.path().join("limits.sqlite");
        SqliteSettings::file(path).with_deadline(self.deadline)
    }

    fn settings(&self) -> RedisSettings {
        RedisSettings::new(&self.server.url()).unwrap().with_deadline(self.deadline)
    }
}

/// A clock that stands at the present.
pub(crate) fn standing() -> ManualClock {
    let now: Timestamp = WallClock::new().now().unwrap();
    ManualClock::new(now)
}

pub(crate) fn check<'a>(policy: &'a Policy, key: &'a str, cost: u64) -> Check<'a> {
    Check::new(policy, Key::new(key).unwrap(), cost).unwrap()
}

/// Applies an action to one check.
pub(crate) async fn apply(
    store: &Store,
    check: Check<'_>,
    action: Action,
) -> Result<Decision, BackendError> {
    store.apply(Batch::one(&check), action).await.map(|decisions| decisions[0])
}

/// The value below which so many of a hundred are; `all` need not be in order.
pub(crate) fn percentile(all: &mut [Duration], percent: usize) -> Duration {
    all.sort_unstable();
    all.get((all.len() * percent / 100).min(all.len().saturating_sub(1)))
        .copied()
        .unwrap_or_default()
}

/// Room for more keys than there are.
const ROOM: NonZeroUsize = NonZeroUsize::new(1_000).unwrap();
