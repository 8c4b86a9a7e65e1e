//! Makes connections.

use std::{sync::Arc, time::Duration};

use ratelimit_backend::{BackendError, ErrorKind};

use crate::{
    connection::{
        client::{Address, Client, Driver, Endpoint, Failure},
        recoveries::Recoveries,
    },
    error,
};

/// All that is needed to make a connection.
#[derive(Clone, Debug)]
pub(crate) struct Connector {
    pub(crate) endpoint: Endpoint,
    pub(crate) client_name: String,
    pub(crate) timeout: Duration,
    pub(crate) connect_timeout: Duration,
    /// The most commands under way on a connection.
    pub(crate) queue_max: usize,
    /// Those of all connections together.
    pub(crate) recoveries: Arc<Recoveries>,
}

impl Connector {
    /// The same for one node of a cluster.
    pub(crate) fn at(&self, address: &Address) -> Self {
        Self { endpoint: self.endpoint.at(address), ..self.clone() }
    }

    /// Connects, and refuses a server that is too old.
    pub(crate) async fn connect(&self) -> Result<(Client, Driver), BackendError> {
        let client = Client::new(&self.endpoint, self.timeout, self.connect_timeout);
        let client = client.map_err(|failure| error::command_error(&failure, false))?;
        // In a task of its own, which ends even when nobody waits any more: with a driver that
        // somebody holds, or with none.
        let connecting = tokio::spawn(connect(client, self.client_name.clone(), self.timeout));
        let connected = tokio::time::timeout(self.connect_timeout, connecting).await;
        let Ok(Ok(connected)) = connected else {
            let reason = "connecting took too long";
            return Err(error::unconnected(ErrorKind::Unavailable, reason, &self.endpoint));
        };
        let (client, driver) =
            connected.map_err(|failure| error::connect_error(&failure, &self.endpoint))?;
        match client.server_version() {
            Some(found) if found < VERSION_MIN => {
                let error = BackendError::not_applied(ErrorKind::Incompatible);
                Err(error.with_source(TooOld(found)))
            }
            _ => Ok((client, driver)),
        }
    }
}

async fn connect(
    client: Client,
    name: String,
    timeout: Duration,
) -> Result<(Client, Driver), Failure> {
    let driver = client.connect().await?;
    // A user who may not set it does without.
    let arguments = vec!["SETNAME".into(), name.into()];
    let _ = client.call("CLIENT", arguments, timeout).await;
    Ok((client, driver))
}

/// The first version with all that the scripts use. Valkey calls itself 7.2.4 here.
const VERSION_MIN: [u64; 3] = [6, 2, 0];

/// The server's version has not all that the scripts use.
#[derive(Debug, thiserror::Error)]
#[error("server is of version {}.{}.{}, the least is 6.2.0", .0[0], .0[1], .0[2])]
struct TooOld([u64; 3]);
