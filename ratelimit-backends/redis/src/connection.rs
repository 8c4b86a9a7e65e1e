//! The connections to the server, and the one way in which scripts are sent over them.

use std::fmt;

use fred::{
    clients::{Client, Pool},
    error::Error,
    interfaces::{ClientLike, EventInterface, LuaInterface},
    types::{ClusterHash, CustomCommand, Value, Version, config::Options},
};
use ratelimit_backend::{BackendError, ErrorKind};
use tokio::task::JoinHandle;

use crate::{error, script::Script};

/// Some connections, shared by whoever asks; closed when this is dropped.
pub(crate) struct Connection {
    pool: Pool,
    tasks: Vec<JoinHandle<Result<(), Error>>>,
}

impl Connection {
    /// Connects, and looks whether the server is recent enough.
    pub(crate) async fn open(pool: Pool, name: &str) -> Result<Self, BackendError> {
        let mut opened = Self { pool, tasks: Vec::new() };
        for client in opened.pool.clients() {
            opened.tasks.push(tokio::spawn(keep_named(client.clone(), name.to_owned())));
            opened.tasks.push(client.init().await.map_err(|error| error::failure(&error, false))?);
            match client.server_version() {
                Some(found) if found < VERSION_MIN => {
                    let error = BackendError::not_applied(ErrorKind::Incompatible);
                    return Err(error.with_source(TooOld(found.to_string())));
                }
                _ => {}
            }
        }
        Ok(opened)
    }

    /// Begins to connect, and goes on until it succeeds.
    pub(crate) fn open_lazily(pool: Pool, name: &str) -> Self {
        let named = pool.clients().iter();
        let named = named.map(|client| tokio::spawn(keep_named(client.clone(), name.to_owned())));
        let tasks = named.chain(pool.connect_pool()).collect();
        Self { pool, tasks }
    }

    pub(crate) fn is_cluster(&self) -> bool {
        self.pool.next().client_config().server.is_clustered()
    }

    /// The server's `maxmemory-policy`, where it may be asked.
    pub(crate) async fn eviction_policy(&self) -> Option<String> {
        let command = CustomCommand::new_static("INFO", ClusterHash::Random, false);
        let info: String = self.pool.next().custom(command, vec!["memory"]).await.ok()?;
        let policy = info.lines().find_map(|line| line.strip_prefix("maxmemory_policy:"));
        policy.map(str::to_owned)
    }

    /// Runs a script that charges, or does not.
    ///
    /// What may have run is not sent again. What has provably not is, a bounded number of times:
    /// a script that the server has forgotten, with its text; a command for another node, once
    /// the client knows which.
    pub(crate) async fn run(
        &self,
        script: &Script,
        keys: &[String],
        arguments: Vec<Value>,
        charges: bool,
    ) -> Result<Value, BackendError> {
        let client = self.pool.next_connected();
        if !client.is_connected() {
            return Err(BackendError::not_applied(ErrorKind::Unavailable).with_source(NotConnected));
        }
        let mut by_text = false;
        let mut moves = 0;
        loop {
            let (keys, arguments) = (keys.to_vec(), arguments.clone());
            let reply = if by_text {
                client.eval(script.text.clone(), keys, arguments).await
            } else {
                client.evalsha(script.sha.clone(), keys, arguments).await
            };
            match reply {
                Err(error) if !by_text && error::is_unknown_script(&error) => by_text = true,
                Err(error) if moves < MOVES_MAX && error::is_moved(&error) => moves += 1,
                reply => return reply.map_err(|error| error::failure(&error, charges)),
            }
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("pool_size", &self.pool.size()).finish_non_exhaustive()
    }
}

/// Tells the server the name of each new connection. Where it may not, the name is missing.
async fn keep_named(client: Client, name: String) -> Result<(), Error> {
    let mut connected = client.reconnect_rx();
    while let Ok(server) = connected.recv().await {
        let is_cluster = client.client_config().server.is_clustered();
        let options = Options { cluster_node: is_cluster.then_some(server), ..Options::default() };
        let command = CustomCommand::new_static("CLIENT", ClusterHash::Random, false);
        let client = client.with_options(&options);
        let _ = client.custom::<Value, _>(command, vec!["SETNAME", &name]).await;
    }
    Ok(())
}

/// The first version with all that the scripts use.
const VERSION_MIN: Version = Version::new(6, 2, 0);

/// As many times as a cluster may send a command on.
const MOVES_MAX: usize = 5;

/// Why a server is of no use.
#[derive(Debug, thiserror::Error)]
#[error("server is of version {0}, the least is {VERSION_MIN}")]
struct TooOld(String);

/// Why nothing was sent.
#[derive(Debug, thiserror::Error)]
#[error("no connection is up")]
struct NotConnected;
