//! The one way in which scripts are sent to the server, and sent again where that is safe.

use std::{num::NonZeroUsize, sync::Arc, time::Duration};

use fred::{
    error::Error,
    types::{Value, config::Server},
    util::redis_keyslot,
};
use ratelimit_backend::{BackendError, ErrorKind};
use tokio::time::{Instant, sleep};

use crate::{cluster::Cluster, connection::connect::Dialer, error, connection::Live, connection::node::Node, script::Script, slots};

/// The connections to a server or to a cluster; closed when this is dropped.
#[derive(Debug)]
pub(crate) enum Connection {
    One(Node),
    Cluster(Cluster),
}

/// A script with what it is to work on.
pub(crate) struct Call<'a> {
    pub(crate) script: &'a Script,
    pub(crate) keys: &'a [String],
    pub(crate) arguments: Vec<Value>,
    /// Whether it may have done something if nobody knows.
    pub(crate) charges: bool,
}

impl Connection {
    /// Begins to connect, and goes on until it succeeds.
    pub(crate) fn open(dialer: Dialer, pool_size: NonZeroUsize) -> Self {
        if dialer.config.server.is_clustered() {
            Self::Cluster(Cluster::open(dialer, pool_size))
        } else {
            Self::One(Node::open(&dialer, pool_size))
        }
    }

    /// Waits until that has succeeded, or failed for the first time.
    pub(crate) async fn settled(&self) -> Result<(), BackendError> {
        match self {
            Self::One(node) => node.settled().await,
            Self::Cluster(cluster) => cluster.settled().await,
        }
    }

    pub(crate) const fn is_cluster(&self) -> bool {
        matches!(self, Self::Cluster(_))
    }

    /// The slot of a key, where it matters.
    pub(crate) fn slot(&self, key: &str) -> Option<u16> {
        self.is_cluster().then(|| redis_keyslot(key.as_bytes()))
    }

    /// The server's `maxmemory-policy`, where it may be asked.
    pub(crate) async fn eviction_policy(&self, deadline: Instant) -> Option<String> {
        let live = match self {
            Self::One(node) => node.live(),
            Self::Cluster(cluster) => cluster.live(),
        };
        let info = live?.call("INFO", vec![Value::from("memory")], deadline).await.ok()?;
        let info = info.as_str()?;
        let policy = info.lines().find_map(|line| line.strip_prefix("maxmemory_policy:"));
        policy.map(str::to_owned)
    }

    /// Runs a script, and gives up at the deadline.
    ///
    /// What may have run is not sent again. What has provably not is, a bounded number of times:
    /// a script that the server has forgotten, with its text; a command for another node, to that.
    pub(crate) async fn run(
        &self,
        call: Call<'_>,
        deadline: Instant,
    ) -> Result<Value, BackendError> {
        let mut way = Way { live: self.live_by(&call, deadline).await?, form: Form::Digest };
        let (mut moves, mut waits) = (0, 0);
        loop {
            if deadline <= Instant::now() {
                return Err(BackendError::not_applied(ErrorKind::Timeout).with_source(TooLate));
            }
            let error = match way.send(&call, deadline).await {
                Ok(reply) => return Ok(reply),
                Err(error) => error,
            };
            match (error::word(error.details()), self) {
                (Some("NOSCRIPT"), _) if way.form == Form::Digest => way.form = Form::Text,
                (Some("MOVED" | "ASK"), Self::Cluster(cluster)) if moves < MOVES_MAX => {
                    moves += 1;
                    let Some(there) = way.target(&error) else {
                        return Err(error::failure(&error, call.charges));
                    };
                    way = Box::pin(follow(cluster, &call, &error, &there, deadline)).await?;
                }
                (Some("TRYAGAIN"), Self::Cluster(_)) if waits < WAITS_MAX => {
                    waits += 1;
                    Box::pin(sleep(WAIT)).await;
                }
                _ => {
                    let failure = error::failure(&error, call.charges);
                    if failure.kind() == ErrorKind::ReadOnly {
                        // It was the primary once. Whoever is now is found by connecting anew.
                        way.live.give_up(failure.clone());
                    }
                    return Err(failure);
                }
            }
        }
    }

    async fn live_by(&self, call: &Call<'_>, deadline: Instant) -> Result<Arc<Live>, BackendError> {
        match (self, call.keys) {
            (Self::One(node), _) => node.live_by(deadline).await,
            (Self::Cluster(cluster), [key, ..]) => cluster.live_by(key, deadline).await,
            (Self::Cluster(_), []) => Err(BackendError::not_applied(ErrorKind::Incompatible)),
        }
    }
}

/// Whom a script is sent to, and how.
struct Way {
    live: Arc<Live>,
    form: Form,
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Form {
    /// By the digest of its text.
    Digest,
    /// By its text.
    Text,
    /// By its text, to a node that is only about to serve the key.
    Asking,
}

impl Way {
    async fn send(&self, call: &Call<'_>, deadline: Instant) -> Result<Value, Error> {
        let Call { script, keys, arguments, .. } = call;
        let script = if self.form == Form::Digest { &script.sha } else { &script.text };
        let count = i64::try_from(keys.len()).unwrap_or(i64::MAX);
        let mut words = Vec::with_capacity(2 + keys.len() + arguments.len());
        words.extend([Value::from(script.clone()), Value::from(count)]);
        words.extend(keys.iter().map(|key| Value::from(key.as_str())));
        words.extend(arguments.iter().cloned());
        match self.form {
            Form::Digest => self.live.call("EVALSHA", words, deadline).await,
            Form::Text => self.live.call("EVAL", words, deadline).await,
            Form::Asking => self.live.call_asking("EVAL", words, deadline).await,
        }
    }

    /// Where a redirection points to.
    fn target(&self, error: &Error) -> Option<Server> {
        slots::target(error.details(), &self.live.host())
    }
}

/// The way that a redirection shows.
async fn follow(
    cluster: &Cluster,
    call: &Call<'_>,
    error: &Error,
    there: &Server,
    deadline: Instant,
) -> Result<Way, BackendError> {
    let form = if error.is_ask() { Form::Asking } else { Form::Digest };
    if let (Form::Digest, [key, ..]) = (form, call.keys) {
        cluster.moved(key, there);
    }
    Ok(Way { live: cluster.live_at(there, deadline).await?, form })
}

/// As many times as a cluster may send a command on.
const MOVES_MAX: usize = 5;

/// As many times as keys that are parted for a moment are waited for.
const WAITS_MAX: usize = 1;

/// So long: what parts them is one key's journey to another node.
const WAIT: Duration = Duration::from_millis(5);

/// Why nothing was sent.
#[derive(Debug, thiserror::Error)]
#[error("no time is left")]
struct TooLate;
