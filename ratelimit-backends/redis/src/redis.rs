//! The store: a batch becomes keys of the server, and then one script or a compare and swap.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use ratelimit_backend::{Backend, BackendError, Clock, ErrorKind, Names, Reply, transact::refuse};
use ratelimit_core::{
    Action, Batch, Check, ConfigError, Key, Policy, Timestamp,
    store::{Decisions, words_beside_log},
};
use tokio::{runtime::Handle, sync::oneshot, time::Instant};

use crate::{
    compare_and_swap,
    detached_batch::OwnedBatch,
    eval::{self, Evaluated},
    keys::Keyspace,
    request::Request,
    runtimes::Runtimes,
    shared_swap,
};

/// Keeps state in Redis, or a group of it. Clones are the same store.
///
/// It may be used in any runtime of `tokio`, and in several at once: each has connections of its
/// own, which end with it.
#[derive(Clone)]
pub struct Redis {
    server: Arc<Server>,
    keyspace: Keyspace,
    names: Names,
}

/// The part that all groups share.
struct Server {
    runtimes: Arc<Runtimes>,
    /// Dates decisions that the server is not asked about.
    clock: Arc<dyn Clock>,
    groups: Mutex<HashMap<String, Names>>,
}

impl Redis {
    pub(crate) fn new(runtimes: Runtimes, clock: Arc<dyn Clock>, keyspace: Keyspace) -> Self {
        let server = Server { runtimes: Arc::new(runtimes), clock, groups: Mutex::default() };
        Self { server: Arc::new(server), keyspace, names: Names::with_shared_store() }
    }

    /// A store of its own on the same server, all of whose keys lie in one slot of a cluster.
    ///
    /// In a cluster, limits that are checked together have to be of one group, unless they are
    /// about one key; and so has a limiter whose keys share a load sensor. The price is that one
    /// node serves the whole group: have many groups, one for each tenant say, or check one key at
    /// a time.
    ///
    /// The same name is always the same group. Limits of different groups, or of one and of none,
    /// do not share state, nor can they be checked together.
    ///
    /// # Errors
    ///
    /// [`ConfigError::BadName`] if `name` is not 1 to 64 characters of `a-z`, `0-9`, `_`, `.`,
    /// `-`.
    pub fn group(&self, name: &str) -> Result<Self, ConfigError> {
        let keyspace = self.keyspace.group(name)?;
        let mut groups = self.server.groups.lock().unwrap_or_else(PoisonError::into_inner);
        let names = groups.entry(name.to_owned()).or_default().clone();
        Ok(Self { server: Arc::clone(&self.server), keyspace, names })
    }

    /// The server's `maxmemory-policy`, which says what it does when its memory is full; `None`
    /// where `INFO` is not allowed.
    ///
    /// Any other than `noeviction` may forget limits before their time.
    pub async fn eviction_policy(&self) -> Option<String> {
        let coalescer = self.server.runtimes.current().ok()?;
        coalescer.servers.eviction_policy(self.deadline()).await
    }

    /// Waits until the first attempt to connect has succeeded or failed.
    pub(crate) async fn settled(&self) -> Result<(), BackendError> {
        self.server.runtimes.current()?.servers.settled().await
    }

    async fn decide(&self, batch: Batch<'_>, action: Action) -> Result<Decisions, BackendError> {
        let keys = self.keys(batch)?;
        if keys.is_empty() {
            return Ok(Decisions::from_iter([]));
        }
        let coalescer = self.server.runtimes.current()?;
        let request = Request { coalescer, keys, deadline: self.deadline() };
        let evaluated = if shared_swap::is_open(&request, batch, action) {
            Evaluated::Changed(None)
        } else {
            eval::run(&request, batch, action).await?
        };
        match evaluated {
            Evaluated::Decided(decisions) => Ok(decisions),
            other => Box::pin(compare_and_swap::run(&request, batch, action, other)).await,
        }
    }

    /// The same by a task, so that permits are given back that are held when the caller has gone.
    async fn decide_to_the_end(
        &self,
        batch: Batch<'_>,
        action: Action,
    ) -> Result<Decisions, BackendError> {
        let Some(decided) = self.spawn(OwnedBatch::from(batch), action) else {
            return self.decide(batch, action).await;
        };
        let ended = || BackendError::unknown(ErrorKind::Closed);
        let mut untaken = decided.await.map_err(|_| ended())?;
        untaken.decided.take().unwrap_or_else(|| Err(ended()))
    }

    /// Applies an action in a task of the runtime that this is called in; `None` outside of one.
    fn spawn(&self, batch: OwnedBatch, action: Action) -> Option<oneshot::Receiver<Untaken>> {
        let runtime = Handle::try_current().ok()?;
        let (sender, receiver) = oneshot::channel();
        let store = self.clone();
        runtime.spawn(async move {
            let Some(checks) = batch.checks() else { return };
            let Some(borrowed) = Batch::new(&checks) else { return };
            let decided = Some(store.decide(borrowed, action).await);
            drop(checks);
            // Where nobody takes it, the drop is what counts.
            drop(sender.send(Untaken { store, batch, action, decided }));
        });
        Some(receiver)
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.server.runtimes.connector().timeout
    }

    /// The keys of a batch's states: in a cluster, all in one slot.
    fn keys(&self, batch: Batch<'_>) -> Result<Vec<String>, BackendError> {
        let is_apart = || {
            let mut slots = batch.slots().map(|slot| slot.key);
            let first = slots.next().flatten();
            first.is_none() || slots.any(|key| key != first)
        };
        if self.is_scattered() && 1 < batch.slots().take(2).count() && is_apart() {
            let error = BackendError::not_applied(ErrorKind::Incompatible);
            return Err(error.with_source(Apart));
        }
        Ok(batch.slots().map(|slot| self.keyspace.key(slot)).collect())
    }

    /// True where the states of different keys lie in different slots.
    fn is_scattered(&self) -> bool {
        self.server.runtimes.connector().endpoint.is_cluster() && !self.keyspace.is_group()
    }
}

impl Backend for Redis {
    fn apply<'a>(&'a self, batch: Batch<'a>, action: Action) -> Reply<'a> {
        match self.apply_if_ready(batch, action) {
            Some(refused) => Reply::ready(refused),
            None if holds(batch, action) => Reply::waiting(self.decide_to_the_end(batch, action)),
            None => Reply::waiting(self.decide(batch, action)),
        }
    }

    /// Returns `None`, since there is a wait, unless the server need not be asked.
    fn apply_if_ready(
        &self,
        batch: Batch<'_>,
        action: Action,
    ) -> Option<Result<Decisions, BackendError>> {
        refuse(batch, action, &*self.server.clock)
    }

    /// A task of the runtime that this is called in does it.
    fn apply_unawaited(&self, batch: Batch<'_>, action: Action) -> bool {
        self.apply_if_ready(batch, action).is_some()
            || self.spawn(OwnedBatch::from(batch), action).is_some()
    }

    fn names(&self) -> &Names {
        &self.names
    }

    fn accepts(&self, policy: &Policy) -> Result<(), ConfigError> {
        if policy.algorithm().shares_sensor() && self.is_scattered() {
            return Err(ConfigError::NotAtomic { field: "scope" });
        }
        if policy.algorithm().holds_permits() && HELD_MAX < policy.limit() {
            return Err(ConfigError::LimitTooLarge { field: "limit", max: HELD_MAX });
        }
        let too_many = log_entries(policy).filter(|(_, entries)| LOG_ENTRIES_MAX < *entries);
        match too_many {
            Some((field, _)) => Err(ConfigError::LimitTooLarge { field, max: LOG_ENTRIES_MAX }),
            None => Ok(()),
        }
    }

    fn recoveries(&self) -> u64 {
        self.server.runtimes.connector().recoveries.count()
    }
}

/// A decision that its caller has yet to take. Permits of one that is dropped unseen are given back, for
/// nobody holds them.
struct Untaken {
    store: Redis,
    batch: OwnedBatch,
    action: Action,
    decided: Option<Result<Decisions, BackendError>>,
}

impl Drop for Untaken {
    fn drop(&mut self) {
        if let Some(Ok(decisions)) = self.decided.take()
            && matches!(self.action, Action::Spend | Action::Take)
            && let Some(batch) = self.batch.held(&decisions)
        {
            let _ = self.store.spawn(batch, Action::Refund);
        }
    }
}

/// Returns true if the action may make holds.
fn holds(batch: Batch<'_>, action: Action) -> bool {
    let holds = |check: &Check<'_>| check.policy().algorithm().holds_permits();
    matches!(action, Action::Spend | Action::Take) && batch.checks().iter().any(holds)
}

/// The most entries that a log of this policy holds, and the field that says so; `None` if it has no
/// log.
fn log_entries(policy: &Policy) -> Option<(&'static str, u64)> {
    let slot = Check::new(policy, Key::new("").ok()?, 1).ok()?.slot();
    let _ = words_beside_log(&slot.header())?;
    let cap = slot.terms(Timestamp::EPOCH).into_iter().find(|(name, _)| *name == "entries_max");
    // An entry costs a permit or more.
    cap.into_iter().chain([("limit", policy.limit())]).min_by_key(|(_, entries)| *entries)
}

/// The most entries of a log: a sliding window log's, and an adaptive hybrid's, which has `limit`
/// times `burst_multiplier`.
///
/// A check of a longer log would cost no more. But a block, a penalty, a refund by receipt, a change
/// of numbers and a check of a blocked key read the whole log, and may move half of it, while the server
/// does nothing else: at this length that is 0.5 to 3 ms.
pub const LOG_ENTRIES_MAX: u64 = 10_000;

/// The most permits in flight of a key.
///
/// They are one string of 28 bytes for each hold, which every change of it reads and writes whole.
pub const HELD_MAX: u64 = 1_000;

/// Shows neither the host nor the credentials.
impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis").field("keyspace", &self.keyspace).finish_non_exhaustive()
    }
}

/// A batch was not sent.
#[derive(Debug, thiserror::Error)]
#[error("keys of one batch lie in different slots of the cluster: name a group")]
struct Apart;
