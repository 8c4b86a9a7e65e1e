//! How a connection is made: the one place that sets the client up.
//!
//! The client makes one connection and lives as long as that does. It sends nothing twice and
//! waits for no other connection; see [`Link`](crate::connection::reconnect::Link) for what comes after it.

use std::{fmt, sync::Arc, time::Duration};

use fred::{
    clients::Client,
    error::Error,
    interfaces::ClientLike,
    types::{
        Builder, ConnectHandle, CustomCommand, Value, Version,
        config::{Config, Server, ServerConfig, TcpConfig},
    },
};
use ratelimit_backend::{BackendError, ErrorKind};

use crate::{connection::recoveries::Comebacks, error};

/// Makes connections. Its `Debug` shows neither where to nor how.
#[derive(Clone)]
pub(crate) struct Dialer {
    pub(crate) config: Config,
    pub(crate) client_name: String,
    pub(crate) timeout: Duration,
    pub(crate) connect_timeout: Duration,
    pub(crate) queue_max: usize,
    /// Those of all connections together.
    pub(crate) comebacks: Arc<Comebacks>,
}

impl Dialer {
    /// For one node of what is configured as a cluster.
    pub(crate) fn at(&self, server: &Server) -> Self {
        let server = ServerConfig::Centralized { server: server.clone() };
        Self { config: Config { server, ..self.config.clone() }, ..self.clone() }
    }

    /// Connects, and looks whether the server is recent enough.
    pub(crate) async fn dial(&self) -> Result<(Client, Router), BackendError> {
        // In a task of its own, which ends even when nobody waits any more: with a router that
        // somebody holds, or with none.
        let connecting = tokio::spawn(connect(self.client(), self.client_name.clone()));
        let connected = tokio::time::timeout(self.connect_timeout, connecting).await;
        let Ok(Ok(connected)) = connected else {
            return Err(BackendError::not_applied(ErrorKind::Unavailable).with_source(TooSlow));
        };
        let (client, router) = connected.map_err(|error| error::failure(&error, false))?;
        match client.server_version() {
            Some(found) if found < VERSION_MIN => {
                let error = BackendError::not_applied(ErrorKind::Incompatible);
                Err(error.with_source(TooOld(found.to_string())))
            }
            _ => Ok((client, router)),
        }
    }

    fn client(&self) -> Result<Client, Error> {
        let mut builder = Builder::from_config(Config { fail_fast: true, ..self.config.clone() });
        builder.with_performance_config(|performance| {
            performance.default_command_timeout = self.timeout;
        });
        builder.with_connection_config(|connection| {
            // A command in flight when a connection breaks may have run: it is not sent again.
            connection.max_command_attempts = 1;
            connection.connection_timeout = self.connect_timeout;
            connection.internal_command_timeout = self.connect_timeout;
            connection.tcp = TcpConfig { nodelay: Some(true), ..TcpConfig::default() };
        });
        builder.build()
    }
}

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialer").field("client_name", &self.client_name).finish_non_exhaustive()
    }
}

/// What reads from the connection and writes to it; without it there is none.
#[derive(Debug)]
pub(crate) struct Router(ConnectHandle);

impl Router {
    /// Waits for the connection's end.
    pub(crate) async fn ended(&mut self) {
        let _ = (&mut self.0).await;
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn connect(client: Result<Client, Error>, name: String) -> Result<(Client, Router), Error> {
    let client = client?;
    let router = Router(client.init().await?);
    // Where it may not, the name is missing.
    let command = CustomCommand::new_static("CLIENT", None, false);
    let _ = client.custom::<Value, _>(command, vec!["SETNAME", &name]).await;
    Ok((client, router))
}

/// The first version with all that the scripts use. Valkey calls itself 7.2.4 here.
const VERSION_MIN: Version = Version::new(6, 2, 0);

/// Why a server is of no use.
#[derive(Debug, thiserror::Error)]
#[error("server is of version {0}, the least is {VERSION_MIN}")]
struct TooOld(String);

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
#[error("connecting took too long")]
struct TooSlow;
