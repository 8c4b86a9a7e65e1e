//! The store: connections, the names of keys, and the register of names.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use fred::types::Value as Reply;
use ratelimit_backend::{Backend, BackendError, ErrorKind, Names};
use ratelimit_core::{Action, Batch, ConfigError, Micros, Policy, store::Decisions};

use tokio::time::Instant;

use crate::{
    Settings,
    connection::recoveries::Comebacks,
    dispatch::{Call, Connection},
    compare_and_swap,
    keys::Keyspace,
    coalesce::{Errand, Lanes},
    script::Script,
    eval,
};

/// Keeps state in Redis, or a group of it. Clones are the same store.
#[derive(Clone)]
pub struct Redis {
    server: Arc<Server>,
    keyspace: Keyspace,
    names: Names,
}

/// What all groups share.
struct Server {
    lanes: Arc<Lanes>,
    comebacks: Arc<Comebacks>,
    timeout: Duration,
    groups: Mutex<HashMap<String, Names>>,
}

impl Redis {
    /// A store on the server of a URL, see [`Settings::new`], with the default settings.
    ///
    /// # Errors
    ///
    /// If the URL is refused ([`ErrorKind::Incompatible`]), or the server is not there, refuses,
    /// or is too old.
    pub async fn connect(url: &str) -> Result<Self, BackendError> {
        let refused = BackendError::not_applied(ErrorKind::Incompatible);
        Settings::new(url).map_err(|error| refused.with_source(error))?.connect().await
    }

    pub(crate) fn new(
        lanes: Lanes,
        comebacks: Arc<Comebacks>,
        keyspace: Keyspace,
        timeout: Duration,
    ) -> Self {
        let lanes = Arc::new(lanes);
        let server = Server { lanes, comebacks, timeout, groups: Mutex::default() };
        Self { server: Arc::new(server), keyspace, names: Names::default() }
    }

    /// A store of its own on the same server, all of whose keys lie in one slot of a cluster.
    ///
    /// In a cluster, limits that are to be asked together have to be of one group, unless they
    /// are about one key; and so has a limiter whose keys share a load sensor. The price is that
    /// one node serves the whole group: have many groups, one for each tenant say, or ask about
    /// one key at a time.
    ///
    /// The same name is always the same group; limits of one group and of another, or of none, do
    /// not share state, nor can they be asked together.
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

    /// What the server does when its memory is full, as its `maxmemory-policy` says; `None` where
    /// it may not be asked.
    ///
    /// Anything but `noeviction` may forget limits before their time.
    pub async fn eviction_policy(&self) -> Option<String> {
        self.connection().eviction_policy(Instant::now() + self.server.timeout).await
    }

    /// Waits until there is a connection, or there is none.
    pub(crate) async fn settled(&self) -> Result<(), BackendError> {
        self.connection().settled().await
    }

    async fn decide(&self, batch: Batch<'_>, action: Action) -> Result<Decisions, BackendError> {
        let keys = self.keys(batch)?;
        if keys.is_empty() {
            return Ok(Decisions::from_iter([]));
        }
        let turn = Turn { redis: self, keys, deadline: Instant::now() + self.server.timeout };
        match eval::run(&turn, batch, action).await? {
            Some(decisions) => Ok(decisions),
            None => Box::pin(compare_and_swap::run(&turn, batch, action)).await,
        }
    }

    /// Where the states of a batch lie: in a cluster, all in one slot.
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

    fn connection(&self) -> &Connection {
        &self.server.lanes.connection
    }

    /// Whether the states of different keys lie in different slots.
    fn is_scattered(&self) -> bool {
        self.connection().is_cluster() && !self.keyspace.is_group()
    }
}

/// One check on its way: where its states lie, and until when it may take.
pub(crate) struct Turn<'a> {
    redis: &'a Redis,
    keys: Vec<String>,
    deadline: Instant,
}

impl Turn<'_> {
    /// Runs a script on the states, which may charge, or does not.
    pub(crate) fn run(
        &self,
        script: &'static Script,
        arguments: Vec<Reply>,
        charges: bool,
    ) -> impl Future<Output = Result<Reply, BackendError>> {
        let call = Call { script, keys: &self.keys, arguments, charges };
        self.redis.connection().run(call, self.deadline)
    }

    /// Charges the first state, in one command with others that are charged the same.
    pub(crate) fn share(
        &self,
        errand: Errand,
    ) -> impl Future<Output = Result<Reply, BackendError>> {
        let alone = self.keys.first_chunk().expect("a batch that is sent has a check");
        self.redis.server.lanes.ask(errand, alone, self.deadline)
    }

    /// The time as scripts take it.
    pub(crate) fn time(&self) -> Result<Reply, BackendError> {
        self.redis.server.lanes.clock.argument()
    }

    /// How long the server is to keep what lives for `lifetime`.
    pub(crate) fn ttl_ms(&self, lifetime: Micros) -> u64 {
        let spare_ms = self.redis.server.lanes.clock.spare_ms();
        lifetime.as_micros().div_ceil(1_000).max(1) + spare_ms
    }
}

impl Backend for Redis {
    fn apply<'a>(&'a self, batch: Batch<'a>, action: Action) -> ratelimit_backend::Reply<'a> {
        ratelimit_backend::Reply::waiting(self.decide(batch, action))
    }

    /// Never: there is always a wait.
    fn apply_if_ready(&self, _: Batch<'_>, _: Action) -> Option<Result<Decisions, BackendError>> {
        None
    }

    fn names(&self) -> &Names {
        &self.names
    }

    fn accepts(&self, policy: &Policy) -> Result<(), ConfigError> {
        match policy.algorithm() {
            algorithm if algorithm.shares_sensor() && self.is_scattered() => {
                Err(ConfigError::NotAtomic { field: "scope" })
            }
            _ => Ok(()),
        }
    }

    fn recoveries(&self) -> u64 {
        self.server.comebacks.count()
    }
}

/// Shows neither where the server is nor how to get in.
impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { server, keyspace, .. } = self;
        f.debug_struct("Redis")
            .field("connection", &server.lanes.connection)
            .field("keyspace", keyspace)
            .finish_non_exhaustive()
    }
}

/// Why a batch was not sent.
#[derive(Debug, thiserror::Error)]
#[error("keys of one batch lie in different slots of the cluster: name a group")]
struct Apart;
