//! The stores, and how a promise is asked of them.

use std::{
    fmt,
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use proptest::{
    strategy::Strategy,
    test_runner::{Config, TestCaseError, TestRunner},
};
use ratelimit_algorithms::Backend;
use ratelimit_memory::Memory;
use ratelimit_redis::RedisSettings;
use ratelimit_servers::Server;
use ratelimit_sqlite::SqliteSettings;
use tokio::runtime::{Builder, Runtime};

use crate::time::Time;

/// A store, its time, and what runs its callers.
pub(crate) struct On {
    pub(crate) store: Arc<dyn Backend>,
    pub(crate) time: Time,
    cases: u32,
    names: AtomicUsize,
    runtime: Runtime,
    _server: Option<Server>,
}

pub(crate) fn memory() -> On {
    let time = Time::new();
    let store = Arc::new(Memory::with_clock(time.clock.clone(), NonZeroUsize::MAX));
    On::new(store, time, 200)
}

pub(crate) fn sqlite() -> On {
    let time = Time::new();
    let store = SqliteSettings::in_memory().with_clock(time.clock.clone()).open().unwrap();
    On::new(Arc::new(store), time, 60)
}

/// Longer than a machine that is busy takes for an answer.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(10);

pub(crate) fn redis() -> On {
    let (time, runtime) = (Time::new(), runtime());
    let server = Server::start(&[]).expect("redis-server is installed");
    let settings = RedisSettings::new(&server.url()).unwrap().with_clock(time.clock.clone());
    let store = runtime.block_on(settings.with_deadline(PATIENCE).connect()).unwrap();
    On { runtime, _server: Some(server), ..On::new(Arc::new(store), time, 30) }
}

impl On {
    fn new(store: Arc<dyn Backend>, time: Time, cases: u32) -> Self {
        let names = AtomicUsize::new(0);
        Self { store, time, cases, names, runtime: runtime(), _server: None }
    }

    /// A name that no limiter has had.
    pub(crate) fn new_name(&self) -> String {
        format!("limiter-{}", self.names.fetch_add(1, Ordering::Relaxed))
    }

    /// Asks a promise of random histories.
    pub(crate) fn holds<S: Strategy<Value: fmt::Debug>>(
        &self,
        histories: &S,
        promise: impl AsyncFn(S::Value) -> Result<(), TestCaseError>,
    ) {
        let config = Config { cases: self.cases, failure_persistence: None, ..Config::default() };
        let case = |history| self.runtime.block_on(promise(history));
        TestRunner::new(config).run(histories, case).unwrap();
    }
}

/// On one thread, so that whoever yields lets all others go on.
fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}
