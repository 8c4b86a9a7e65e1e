//! The nodes of a cluster, and which of them serves which slot.
//!
//! Every node has connections of its own, so that one which is gone keeps nobody from the others.
//! The map of slots is fetched once and then kept up: a node that is asked for a slot which is not
//! its own says whose it is, and whenever one does or is not there, the whole map is fetched anew.

use std::{
    collections::HashMap,
    num::NonZeroUsize,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use fred::{
    types::{Value, config::Server},
    util::redis_keyslot,
};
use ratelimit_backend::{BackendError, ErrorKind};
use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
    time::{Instant, sleep, timeout_at},
};

use crate::{connection::connect::Dialer, error, connection::Live, connection::node::Node, slots};

/// A cluster; all connections are closed when this is dropped.
#[derive(Debug)]
pub(crate) struct Cluster {
    shared: Arc<Shared>,
    /// Whether the map has ever been fetched, or why it has not.
    fetched: watch::Receiver<Option<Result<(), BackendError>>>,
    keeper: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    dialer: Dialer,
    pool_size: NonZeroUsize,
    map: RwLock<Map>,
    /// Told when the map may be out of date.
    stale: Notify,
}

#[derive(Debug, Default)]
struct Map {
    nodes: HashMap<Server, Arc<Node>>,
    slots: HashMap<u16, Arc<Node>>,
}

impl Cluster {
    /// Begins to ask for the map and to connect.
    pub(crate) fn open(dialer: Dialer, pool_size: NonZeroUsize) -> Self {
        let shared = Shared { dialer, pool_size, map: RwLock::default(), stale: Notify::new() };
        let shared = Arc::new(shared);
        let (sender, fetched) = watch::channel(None);
        let keeper = tokio::spawn(keep(Arc::clone(&shared), sender));
        Self { shared, fetched, keeper }
    }

    /// Waits until the map is there and a node is up, or nothing is.
    pub(crate) async fn settled(&self) -> Result<(), BackendError> {
        self.fetched().await?;
        let mut answer = Err(BackendError::not_applied(ErrorKind::Unavailable));
        for node in self.shared.nodes() {
            match node.settled().await {
                Err(error) if error.kind() == ErrorKind::Incompatible => return Err(error),
                Err(error) if answer.is_err() => answer = Err(error),
                Err(_) => {}
                Ok(()) => answer = Ok(()),
            }
        }
        answer
    }

    /// A connection to the node that serves a key.
    pub(crate) async fn live_by(
        &self,
        key: &str,
        deadline: Instant,
    ) -> Result<Arc<Live>, BackendError> {
        let known = self.fetched.borrow().clone();
        match known {
            Some(fetched) => fetched?,
            None => {
                let fetched = Box::pin(timeout_at(deadline, self.fetched())).await;
                fetched.unwrap_or_else(|_| Err(BackendError::not_applied(ErrorKind::Timeout)))?;
            }
        }
        let slot = redis_keyslot(key.as_bytes());
        let live = match self.shared.node_of(slot) {
            Some(node) => node.live_by(deadline).await,
            None => Err(BackendError::not_applied(ErrorKind::Unavailable).with_source(Nobody)),
        };
        live.inspect_err(|_| self.shared.stale.notify_one())
    }

    /// A connection to a node that another has named.
    pub(crate) async fn live_at(
        &self,
        server: &Server,
        deadline: Instant,
    ) -> Result<Arc<Live>, BackendError> {
        let node = self.shared.node_at(server);
        node.live_by(deadline).await.inspect_err(|_| self.shared.stale.notify_one())
    }

    /// Takes note that a key is served by a node that another has named.
    pub(crate) fn moved(&self, key: &str, server: &Server) {
        let node = self.shared.node_at(server);
        self.shared.change(|map| drop(map.slots.insert(redis_keyslot(key.as_bytes()), node)));
        self.shared.stale.notify_one();
    }

    /// A connection to some node, if one is up.
    pub(crate) fn live(&self) -> Option<Arc<Live>> {
        self.shared.nodes().iter().find_map(|node| node.live())
    }

    async fn fetched(&self) -> Result<(), BackendError> {
        let mut fetched = self.fetched.clone();
        let fetched = fetched.wait_for(Option::is_some).await;
        let closed = || Err(BackendError::not_applied(ErrorKind::Closed));
        fetched.ok().and_then(|fetched| fetched.clone()).unwrap_or_else(closed)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

impl Shared {
    fn nodes(&self) -> Vec<Arc<Node>> {
        let map = self.map.read().unwrap_or_else(PoisonError::into_inner);
        map.nodes.values().cloned().collect()
    }

    fn node_of(&self, slot: u16) -> Option<Arc<Node>> {
        let map = self.map.read().unwrap_or_else(PoisonError::into_inner);
        map.slots.get(&slot).cloned()
    }

    fn node_at(&self, server: &Server) -> Arc<Node> {
        self.change(|map| {
            let open = || Arc::new(Node::open(&self.dialer.at(server), self.pool_size));
            Arc::clone(map.nodes.entry(server.clone()).or_insert_with(open))
        })
    }

    fn change<T>(&self, change: impl FnOnce(&mut Map) -> T) -> T {
        change(&mut self.map.write().unwrap_or_else(PoisonError::into_inner))
    }

    /// Fetches the map from whoever has it, and takes it over.
    async fn fetch(&self) -> Result<(), BackendError> {
        let ranges = self.ask().await?;
        let mut slots = HashMap::new();
        for range in &ranges {
            let node = self.node_at(&range.server);
            slots.extend(range.slots.clone().map(|slot| (slot, Arc::clone(&node))));
        }
        self.change(|map| {
            map.nodes.retain(|server, _| ranges.iter().any(|range| range.server == *server));
            map.slots = slots;
        });
        Ok(())
    }

    /// Asks the nodes that are up, and if none answers, those that were configured.
    async fn ask(&self) -> Result<Vec<slots::Range>, BackendError> {
        let nodes: Vec<_> = {
            let map = self.map.read().unwrap_or_else(PoisonError::into_inner);
            let live = |(server, node): (&Server, &Arc<Node>)| Some((server.clone(), node.live()?));
            map.nodes.iter().filter_map(live).collect()
        };
        for (server, live) in nodes {
            if let Ok(ranges) = self.slots(&live, &server).await {
                return Ok(ranges);
            }
        }
        let mut answer = Err(BackendError::not_applied(ErrorKind::Unavailable));
        for server in self.dialer.config.server.hosts() {
            answer = match self.dialer.at(&server).dial().await {
                Ok((client, _router)) => {
                    let live = Arc::new(Live::new(client, &self.dialer));
                    self.slots(&live, &server).await
                }
                Err(error) => Err(error),
            };
            if answer.is_ok() {
                break;
            }
        }
        answer
    }

    async fn slots(
        &self,
        live: &Arc<Live>,
        server: &Server,
    ) -> Result<Vec<slots::Range>, BackendError> {
        let deadline = Instant::now() + self.dialer.connect_timeout;
        let reply = live.call("CLUSTER", vec![Value::from("SLOTS")], deadline).await;
        let reply = reply.map_err(|error| error::failure(&error, false))?;
        let nonsense = || BackendError::not_applied(ErrorKind::Protocol);
        slots::ranges(&reply, &server.host).ok_or_else(nonsense)
    }
}

/// Fetches the map, and again whenever it may be out of date.
async fn keep(shared: Arc<Shared>, fetched: watch::Sender<Option<Result<(), BackendError>>>) {
    loop {
        let answer = shared.fetch().await;
        let is_missing = answer.is_err();
        fetched.send_if_modified(|known| {
            let is_news = !matches!(known, Some(Ok(())));
            if is_news {
                *known = Some(answer);
            }
            is_news
        });
        sleep(PAUSE).await;
        if !is_missing {
            shared.stale.notified().await;
        }
    }
}

/// So often at most, however many calls go wrong.
const PAUSE: Duration = Duration::from_millis(100);

/// Why nothing was sent.
#[derive(Debug, thiserror::Error)]
#[error("no node serves the slot")]
struct Nobody;
