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

use crate::{connection::connect::Dialer, connection::reconnect::Link, connection::Live};

/// Some connections to a server, which take turns; closed when this is dropped.
#[derive(Debug)]
pub(crate) struct Node {
    links: Vec<Link>,
    turn: AtomicUsize,
}

impl Node {
    /// Begins to connect.
    pub(crate) fn open(dialer: &Dialer, size: NonZeroUsize) -> Self {
        let links = (0..size.get()).map(|_| Link::open(dialer.clone())).collect();
        Self { links, turn: AtomicUsize::new(0) }
    }

    /// A connection that is up; waits for one only if that has never been tried, and not after
    /// the deadline.
    pub(crate) async fn live_by(&self, deadline: Instant) -> Result<Arc<Live>, BackendError> {
        // Which connection has which turn matters to nobody.
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % self.links.len();
        let (before, after) = self.links.split_at(turn);
        match after.iter().chain(before).find_map(Link::live) {
            Some(live) => Ok(live),
            // Boxed, here and elsewhere: what is rare would make room for itself in every check.
            None => Box::pin(self.links[turn].settled_by(deadline)).await,
        }
    }

    /// A connection, if one is up.
    pub(crate) fn live(&self) -> Option<Arc<Live>> {
        self.links.iter().find_map(Link::live)
    }

    /// Waits until each connection is up, or one has failed.
    pub(crate) async fn settled(&self) -> Result<(), BackendError> {
        for link in &self.links {
            link.settled().await?;
        }
        Ok(())
    }
}
