//! Sends scripts to the server, and sends them again where that is safe.

use std::{num::NonZeroUsize, sync::Arc, time::Duration};

use ratelimit_backend::{BackendError, ErrorKind};
use tokio::time::{Instant, sleep};

use crate::{
    cluster::{self, Cluster},
    connection::{
        Connection,
        client::{Address, Bytes, Failure, Reply, key_slot},
        connect::Connector,
        node::Node,
    },
    error,
    script::Script,
};

/// One server or a cluster; all connections are closed when this is dropped.
#[derive(Debug)]
pub(crate) enum Servers {
    One(Node),
    Cluster(Cluster),
}

/// A script or a command of the server, with its keys and arguments.
pub(crate) struct Command<'a> {
    pub(crate) code: Code<'a>,
    pub(crate) keys: &'a [String],
    pub(crate) arguments: Vec<Bytes>,
    /// True if it may have changed something where nobody knows whether it ran.
    pub(crate) charges: bool,
}

/// The code that the server is to run.
#[derive(Clone, Copy)]
pub(crate) enum Code<'a> {
    Script(&'a Script),
    /// A command of the server's own, by its name.
    Plain(&'static str),
}

impl Servers {
    /// Begins to connect, and goes on until it succeeds.
    pub(crate) fn open(connector: Connector, pool_size: NonZeroUsize) -> Self {
        if connector.endpoint.is_cluster() {
            Self::Cluster(Cluster::open(connector, pool_size))
        } else {
            Self::One(Node::open(&connector, pool_size))
        }
    }

    /// Waits until the first attempt to connect to each server has ended.
    pub(crate) async fn settled(&self) -> Result<(), BackendError> {
        match self {
            Self::One(node) => node.settled().await,
            Self::Cluster(cluster) => cluster.settled().await,
        }
    }

    /// The slot of a key in a cluster.
    pub(crate) fn slot(&self, key: &str) -> Option<u16> {
        matches!(self, Self::Cluster(_)).then(|| key_slot(key))
    }

    /// The server's `maxmemory-policy`, where `INFO` is allowed.
    pub(crate) async fn eviction_policy(&self, deadline: Instant) -> Option<String> {
        let connection = match self {
            Self::One(node) => node.if_up(),
            Self::Cluster(cluster) => cluster.if_up(),
        };
        let info = connection?.call("INFO", vec![Bytes::from("memory")], deadline).await.ok()?;
        let info = info.as_text()?;
        let policy = info.lines().find_map(|line| line.strip_prefix("maxmemory_policy:"));
        policy.map(str::to_owned)
    }

    /// Runs a script, and gives up at the deadline.
    ///
    /// A command that may have run is not sent again. One that provably has not run is, a bounded
    /// number of times: a script that the server has forgotten, with its text; a command for
    /// another node, to that node.
    pub(crate) async fn run(
        &self,
        command: Command<'_>,
        deadline: Instant,
    ) -> Result<Reply, BackendError> {
        let connection = self.connection_by(&command, deadline).await?;
        let mut route = Route { connection, form: Form::Digest };
        let (mut moves, mut waits) = (0, 0);
        loop {
            if deadline <= Instant::now() {
                return Err(BackendError::not_applied(ErrorKind::Timeout).with_source(TooLate));
            }
            let failure = match route.send(&command, deadline).await {
                Ok(reply) => return Ok(reply),
                Err(failure) => failure,
            };
            match (error::word(&failure.details), self) {
                (Some("NOSCRIPT"), _) if route.form == Form::Digest => route.form = Form::Text,
                (Some("MOVED" | "ASK"), Self::Cluster(cluster)) if moves < MOVES_MAX => {
                    moves += 1;
                    let redirected = route.redirect(cluster, &command, &failure, deadline);
                    route = Box::pin(redirected).await?;
                }
                (Some("TRYAGAIN"), Self::Cluster(_)) if waits < WAITS_MAX => {
                    waits += 1;
                    Box::pin(sleep(WAIT)).await;
                }
                _ => {
                    let error = error::command_error(&failure, command.charges);
                    if error.kind() == ErrorKind::ReadOnly {
                        // It was the primary once. The present one is found by connecting anew.
                        route.connection.give_up(error.clone());
                    }
                    return Err(error);
                }
            }
        }
    }

    async fn connection_by(
        &self,
        command: &Command<'_>,
        deadline: Instant,
    ) -> Result<Arc<Connection>, BackendError> {
        match (self, command.keys) {
            (Self::One(node), _) => node.connection_by(deadline).await,
            (Self::Cluster(cluster), [key, ..]) => cluster.connection_by(key, deadline).await,
            (Self::Cluster(_), []) => Err(BackendError::not_applied(ErrorKind::Incompatible)),
        }
    }
}

/// The connection that a script is sent over, and the form in which it is sent.
struct Route {
    connection: Arc<Connection>,
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

impl Route {
    async fn send(&self, command: &Command<'_>, deadline: Instant) -> Result<Reply, Failure> {
        let Command { code, keys, arguments, .. } = command;
        let mut words = Vec::with_capacity(2 + keys.len() + arguments.len());
        let name = match (code, self.form) {
            (Code::Plain(name), _) => name,
            (Code::Script(script), Form::Digest) => {
                words.extend([script.digest.clone(), count(keys)]);
                "EVALSHA"
            }
            (Code::Script(script), Form::Text | Form::Asking) => {
                words.extend([script.text.clone(), count(keys)]);
                "EVAL"
            }
        };
        words.extend(keys.iter().map(|key| Bytes::copy_from_slice(key.as_bytes())));
        words.extend(arguments.iter().cloned());
        match self.form {
            Form::Digest | Form::Text => self.connection.call(name, words, deadline).await,
            Form::Asking => self.connection.call_asking(name, words, deadline).await,
        }
    }

    /// The route to the node that a `MOVED` or `ASK` names.
    async fn redirect(
        &self,
        cluster: &Cluster,
        command: &Command<'_>,
        failure: &Failure,
        deadline: Instant,
    ) -> Result<Self, BackendError> {
        let Some(node) = self.target(failure) else {
            return Err(error::command_error(failure, command.charges));
        };
        let is_ask = error::word(&failure.details) == Some("ASK");
        if let (false, [key, ..]) = (is_ask, command.keys) {
            cluster.moved(key, &node);
        }
        let form = if is_ask { Form::Asking } else { Form::Digest };
        Ok(Self { connection: cluster.connection_at(&node, deadline).await?, form })
    }

    fn target(&self, failure: &Failure) -> Option<Address> {
        cluster::redirect_target(&failure.details, &self.connection.host())
    }
}

fn count(keys: &[String]) -> Bytes {
    match keys.len() {
        1 => Bytes::from_static(b"1"),
        count => Bytes::from(count.to_string()),
    }
}

/// The most redirections that a command follows.
const MOVES_MAX: usize = 5;

/// The most times that a command waits for keys of one slot that are on two nodes for a moment.
const WAITS_MAX: usize = 1;

/// About the time in which a key moves to another node.
const WAIT: Duration = Duration::from_millis(5);

/// Nothing was sent.
#[derive(Debug, thiserror::Error)]
#[error("no time is left")]
struct TooLate;
