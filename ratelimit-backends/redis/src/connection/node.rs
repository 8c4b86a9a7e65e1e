//! The connections to one server.

use std::{
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use ratelimit_backend::BackendError;
use tokio::time::Instant;

use super::{Connection, connect::Connector, reconnect::Reconnecting};

/// Some connections to a server, which take turns; closed when this is dropped.
#[derive(Debug)]
pub(crate) struct Node {
    connections: Vec<Reconnecting>,
    next: AtomicUsize,
}

impl Node {
    /// Begins to connect.
    pub(crate) fn open(connector: &Connector, pool_size: NonZeroUsize) -> Self {
        let open = |_| Reconnecting::open(connector.clone());
        Self { connections: (0..pool_size.get()).map(open).collect(), next: AtomicUsize::new(0) }
    }

    /// A connection that is up; waits for the first attempt at most, and not after the deadline.
    pub(crate) async fn connection_by(
        &self,
        deadline: Instant,
    ) -> Result<Arc<Connection>, BackendError> {
        // Relaxed: any order of turns will do.
        let next = self.next.fetch_add(1, Ordering::Relaxed) % self.connections.len();
        let (before, after) = self.connections.split_at(next);
        match after.iter().chain(before).find_map(Reconnecting::if_up) {
            Some(connection) => Ok(connection),
            // Boxed, here and elsewhere: rare waits would make every check's future larger.
            None => Box::pin(self.connections[next].settled_by(deadline)).await,
        }
    }

    /// A connection, if one is up.
    pub(crate) fn if_up(&self) -> Option<Arc<Connection>> {
        self.connections.iter().find_map(Reconnecting::if_up)
    }

    /// Waits until each connection is up, or one has failed.
    pub(crate) async fn settled(&self) -> Result<(), BackendError> {
        for connection in &self.connections {
            connection.settled().await?;
        }
        Ok(())
    }
}
