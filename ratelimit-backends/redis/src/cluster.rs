//! The nodes of a cluster, and the map of the slots that they serve.
//!
//! Every node has connections of its own, so the loss of one does not affect the others. The map of
//! slots is fetched once and then kept up: a node that is sent a key of another node's slot names
//! that node, and whenever one does or is not there, the whole map is fetched anew.

use std::{
    collections::HashMap,
    num::NonZeroUsize,
    ops::RangeInclusive,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use ratelimit_backend::{BackendError, ErrorKind};
use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
    time::{Instant, sleep, timeout_at},
};

use crate::{
    connection::{
        Connection,
        client::{Address, Bytes, Reply, key_slot},
        connect::Connector,
        node::Node,
    },
    error,
};

/// A cluster; all connections are closed when this is dropped.
#[derive(Debug)]
pub(crate) struct Cluster {
    shared: Arc<Shared>,
    /// The outcome of fetching the map; `Ok` from the first success on.
    fetched: watch::Receiver<Option<Result<(), BackendError>>>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    connector: Connector,
    pool_size: NonZeroUsize,
    map: RwLock<Map>,
    /// Notified when the map may be out of date.
    stale: Notify,
}

#[derive(Debug, Default)]
struct Map {
    nodes: HashMap<Address, Arc<Node>>,
    slots: HashMap<u16, Arc<Node>>,
}

impl Cluster {
    /// Begins to fetch the map and to connect.
    pub(crate) fn open(connector: Connector, pool_size: NonZeroUsize) -> Self {
        let shared = Shared { connector, pool_size, map: RwLock::default(), stale: Notify::new() };
        let shared = Arc::new(shared);
        let (sender, fetched) = watch::channel(None);
        let task = tokio::spawn(keep(Arc::clone(&shared), sender));
        Self { shared, fetched, task }
    }

    /// Waits until the map is there and a node is up, or both have failed.
    pub(crate) async fn settled(&self) -> Result<(), BackendError> {
        self.fetched().await?;
        let mut settled = Err(BackendError::not_applied(ErrorKind::Unavailable));
        for node in self.shared.nodes() {
            match node.settled().await {
                Err(error) if error.kind() == ErrorKind::Incompatible => return Err(error),
                Err(error) if settled.is_err() => settled = Err(error),
                Err(_) => {}
                Ok(()) => settled = Ok(()),
            }
        }
        settled
    }

    /// A connection to the node that serves a key.
    pub(crate) async fn connection_by(
        &self,
        key: &str,
        deadline: Instant,
    ) -> Result<Arc<Connection>, BackendError> {
        let known = self.fetched.borrow().clone();
        match known {
            Some(fetched) => fetched?,
            None => {
                let fetched = Box::pin(timeout_at(deadline, self.fetched())).await;
                fetched.unwrap_or_else(|_| Err(BackendError::not_applied(ErrorKind::Timeout)))?;
            }
        }
        let connection = match self.shared.node_of(key_slot(key)) {
            Some(node) => node.connection_by(deadline).await,
            None => Err(BackendError::not_applied(ErrorKind::Unavailable).with_source(NoNode)),
        };
        connection.inspect_err(|_| self.shared.stale.notify_one())
    }

    /// A connection to a node that another has named.
    pub(crate) async fn connection_at(
        &self,
        address: &Address,
        deadline: Instant,
    ) -> Result<Arc<Connection>, BackendError> {
        let node = self.shared.node_at(address);
        node.connection_by(deadline).await.inspect_err(|_| self.shared.stale.notify_one())
    }

    /// Notes that a key's slot is served by a node that another has named.
    pub(crate) fn moved(&self, key: &str, address: &Address) {
        let node = self.shared.node_at(address);
        self.shared.change(|map| drop(map.slots.insert(key_slot(key), node)));
        self.shared.stale.notify_one();
    }

    /// A connection to some node, if one is up.
    pub(crate) fn if_up(&self) -> Option<Arc<Connection>> {
        self.shared.nodes().iter().find_map(|node| node.if_up())
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
        self.task.abort();
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

    fn node_at(&self, address: &Address) -> Arc<Node> {
        self.change(|map| {
            let open = || Arc::new(Node::open(&self.connector.at(address), self.pool_size));
            Arc::clone(map.nodes.entry(address.clone()).or_insert_with(open))
        })
    }

    fn change<T>(&self, change: impl FnOnce(&mut Map) -> T) -> T {
        change(&mut self.map.write().unwrap_or_else(PoisonError::into_inner))
    }

    /// Fetches the map from a node that has it, and takes it over.
    async fn fetch(&self) -> Result<(), BackendError> {
        let ranges = self.ranges().await?;
        let mut slots = HashMap::new();
        for range in &ranges {
            let node = self.node_at(&range.node);
            slots.extend(range.slots.clone().map(|slot| (slot, Arc::clone(&node))));
        }
        self.change(|map| {
            map.nodes.retain(|address, _| ranges.iter().any(|range| range.node == *address));
            map.slots = slots;
        });
        Ok(())
    }

    /// Asks the nodes that are up, then those of the URL, until one replies.
    async fn ranges(&self) -> Result<Vec<SlotRange>, BackendError> {
        let nodes: Vec<_> = {
            let map = self.map.read().unwrap_or_else(PoisonError::into_inner);
            let up =
                |(address, node): (&Address, &Arc<Node>)| Some((address.clone(), node.if_up()?));
            map.nodes.iter().filter_map(up).collect()
        };
        for (address, connection) in nodes {
            if let Ok(ranges) = self.ranges_of(&connection, &address).await {
                return Ok(ranges);
            }
        }
        let mut ranges = Err(BackendError::not_applied(ErrorKind::Unavailable));
        for address in self.connector.endpoint.addresses() {
            ranges = match self.connector.at(&address).connect().await {
                Ok((client, _driver)) => {
                    let connection = Arc::new(Connection::new(client, &self.connector));
                    self.ranges_of(&connection, &address).await
                }
                Err(error) => Err(error),
            };
            if ranges.is_ok() {
                break;
            }
        }
        ranges
    }

    async fn ranges_of(
        &self,
        connection: &Arc<Connection>,
        address: &Address,
    ) -> Result<Vec<SlotRange>, BackendError> {
        let deadline = Instant::now() + self.connector.connect_timeout;
        let reply = connection.call("CLUSTER", vec![Bytes::from("SLOTS")], deadline).await;
        let reply = reply.map_err(|failure| error::command_error(&failure, false))?;
        slot_ranges(&reply, &address.host).ok_or_else(|| error::protocol_error(false))
    }
}

/// Fetches the map, and again whenever it may be out of date.
async fn keep(shared: Arc<Shared>, fetched: watch::Sender<Option<Result<(), BackendError>>>) {
    loop {
        let outcome = shared.fetch().await;
        let is_missing = outcome.is_err();
        fetched.send_if_modified(|known| {
            let is_news = !matches!(known, Some(Ok(())));
            if is_news {
                *known = Some(outcome);
            }
            is_news
        });
        sleep(PAUSE).await;
        if !is_missing {
            shared.stale.notified().await;
        }
    }
}

/// The map is fetched no more often than this, however many calls go wrong.
const PAUSE: Duration = Duration::from_millis(100);

/// Nothing was sent, for the map has no node for the slot.
#[derive(Debug, thiserror::Error)]
#[error("no node serves the slot")]
struct NoNode;

/// Slots that one node serves.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct SlotRange {
    slots: RangeInclusive<u16>,
    node: Address,
}

/// Parses the reply to `CLUSTER SLOTS` of the node at `host`.
pub(crate) fn slot_ranges(reply: &Reply, host: &str) -> Option<Vec<SlotRange>> {
    let Reply::Array(ranges) = reply else { return None };
    ranges.iter().map(|range| slot_range(range, host)).collect()
}

/// First and last slot, the primary, its replicas. A node is its host, its port, and more.
fn slot_range(range: &Reply, host: &str) -> Option<SlotRange> {
    let Reply::Array(parts) = range else { return None };
    let [Reply::Integer(first), Reply::Integer(last), Reply::Array(primary), ..] = &parts[..]
    else {
        return None;
    };
    let [name, Reply::Integer(port), ..] = &primary[..] else { return None };
    let [first, last, port] = [first, last, port].map(|&number| u16::try_from(number).ok());
    Some(SlotRange { slots: first?..=last?, node: address(&name.as_text()?, port?, host) })
}

/// The node that `MOVED 3999 127.0.0.1:6381` or `ASK …` points to; the node at `host` has said so.
pub(crate) fn redirect_target(details: &str, host: &str) -> Option<Address> {
    let (name, port) = details.split(' ').nth(2)?.trim_end().rsplit_once(':')?;
    Some(address(name, port.parse().ok()?, host))
}

/// A node that does not know its own name gives none, or a question mark.
fn address(name: &str, port: u16, host: &str) -> Address {
    let host = if matches!(name, "" | "?") { host } else { name };
    Address { host: host.to_owned(), port }
}
