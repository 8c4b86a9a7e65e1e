//! One set of connections for each runtime that uses a store.
//!
//! Sockets, timers and tasks belong to a runtime. A caller from another runtime would wait while
//! that one is busy, and fail when it has ended.

use std::{
    collections::HashMap,
    future,
    num::NonZeroUsize,
    sync::{Arc, PoisonError, RwLock, RwLockWriteGuard, Weak},
};

use ratelimit_backend::{BackendError, ErrorKind};
use tokio::{
    runtime::{Handle, Id},
    task::AbortHandle,
};

use crate::{
    coalesce::Coalescer, connection::connect::Connector, dispatch::Servers, script::ScriptClock,
};

/// Opens connections for each runtime, and closes them when the runtime ends or this is dropped.
pub(crate) struct Runtimes {
    connector: Connector,
    pool_size: NonZeroUsize,
    group_max: usize,
    clock: ScriptClock,
    known: RwLock<HashMap<Id, Runtime>>,
}

struct Runtime {
    coalescer: Arc<Coalescer>,
    /// The task that ends with the runtime.
    end: Option<AbortHandle>,
}

impl Runtimes {
    pub(crate) fn new(
        connector: Connector,
        pool_size: NonZeroUsize,
        group_max: usize,
        clock: ScriptClock,
    ) -> Self {
        Self { connector, pool_size, group_max, clock, known: RwLock::default() }
    }

    pub(crate) const fn connector(&self) -> &Connector {
        &self.connector
    }

    /// The connections of the runtime that this is called in. The first call opens them.
    pub(crate) fn current(self: &Arc<Self>) -> Result<Arc<Coalescer>, BackendError> {
        let runtime = Handle::try_current()
            .map_err(|_| BackendError::not_applied(ErrorKind::Closed).with_source(NoRuntime))?;
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        match known.get(&runtime.id()) {
            Some(Runtime { coalescer, .. }) => Ok(Arc::clone(coalescer)),
            None => {
                drop(known);
                Ok(self.open(&runtime))
            }
        }
    }

    #[cold]
    fn open(self: &Arc<Self>, runtime: &Handle) -> Arc<Coalescer> {
        let id = runtime.id();
        let mut known = self.known();
        if let Some(Runtime { coalescer, .. }) = known.get(&id) {
            return Arc::clone(coalescer);
        }
        let callers_max = self.connector.queue_max.saturating_mul(self.pool_size.get());
        let servers = Servers::open(self.connector.clone(), self.pool_size);
        let coalescer = Coalescer::new(servers, self.clock.clone(), self.group_max, callers_max);
        let coalescer = Arc::new(coalescer);
        known.insert(id, Runtime { coalescer: Arc::clone(&coalescer), end: None });
        drop(known);
        // Not under the lock: a runtime that has shut down drops a task at once.
        let end = End { id, runtimes: Arc::downgrade(self) };
        let end = runtime.spawn(async move {
            let _end = end;
            future::pending::<()>().await;
        });
        if let Some(runtime) = self.known().get_mut(&id) {
            runtime.end = Some(end.abort_handle());
        }
        coalescer
    }

    fn known(&self) -> RwLockWriteGuard<'_, HashMap<Id, Runtime>> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        let _ = self.end.as_ref().map(AbortHandle::abort);
    }
}

/// Forgets a runtime when it drops its tasks.
struct End {
    id: Id,
    runtimes: Weak<Runtimes>,
}

impl Drop for End {
    fn drop(&mut self) {
        let Some(runtimes) = self.runtimes.upgrade() else { return };
        // Dropped after the lock is free.
        let _ended = runtimes.known().remove(&self.id);
    }
}

/// A check was made outside of a runtime of `tokio`.
#[derive(Debug, thiserror::Error)]
#[error("there is no tokio runtime here")]
struct NoRuntime;
