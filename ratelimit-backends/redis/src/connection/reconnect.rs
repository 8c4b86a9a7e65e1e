//! A connection that is made anew whenever it is lost.
//!
//! A call while there is no connection fails at once, with the reason; only the very first attempt
//! is awaited. A connection on which a call times out is given up, however busy it is, since a host
//! that has vanished is silent, too.

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher, Hasher},
    sync::Arc,
    time::Duration,
};

use ratelimit_backend::{BackendError, ErrorKind};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep, timeout_at},
};

use super::{Connection, connect::Connector};

/// A connection, or the attempts to have one; ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Reconnecting {
    state: watch::Receiver<State>,
    task: JoinHandle<()>,
}

#[derive(Clone, Debug)]
enum State {
    /// The first attempt is under way.
    Connecting,
    Up(Arc<Connection>),
    /// There is none, for this reason.
    Down(BackendError),
}

impl State {
    fn connection(&self) -> Result<Arc<Connection>, BackendError> {
        match self {
            Self::Up(connection) => {
                connection.given_up().map_or_else(|| Ok(Arc::clone(connection)), Err)
            }
            Self::Down(reason) => Err(reason.clone()),
            Self::Connecting => Err(BackendError::not_applied(ErrorKind::Unavailable)),
        }
    }
}

impl Reconnecting {
    /// Begins to connect.
    pub(crate) fn open(connector: Connector) -> Self {
        let (sender, state) = watch::channel(State::Connecting);
        Self { state, task: tokio::spawn(keep(connector, sender)) }
    }

    /// The connection, if it is up.
    pub(crate) fn if_up(&self) -> Option<Arc<Connection>> {
        self.state.borrow().connection().ok()
    }

    /// Waits for the end of the first attempt; returns the connection, or why there is none.
    pub(crate) async fn settled(&self) -> Result<Arc<Connection>, BackendError> {
        let mut state = self.state.clone();
        let state = state.wait_for(|state| !matches!(state, State::Connecting)).await;
        let closed = || BackendError::not_applied(ErrorKind::Closed);
        state.map_or_else(|_| Err(closed()), |state| state.connection())
    }

    /// The same, until the deadline at most.
    pub(crate) async fn settled_by(
        &self,
        deadline: Instant,
    ) -> Result<Arc<Connection>, BackendError> {
        let settled = timeout_at(deadline, self.settled()).await;
        settled.unwrap_or_else(|_| Err(BackendError::not_applied(ErrorKind::Timeout)))
    }
}

impl Drop for Reconnecting {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Connects, and connects again when the connection has ended.
async fn keep(connector: Connector, state: watch::Sender<State>) {
    let mut pause = PAUSE_MIN;
    loop {
        let reason = match connector.connect().await {
            Ok((client, driver)) => {
                let since = Instant::now();
                let connection = Arc::new(Connection::new(client, &connector));
                state.send_replace(State::Up(Arc::clone(&connection)));
                connector.recoveries.connected();
                let reason = connection.ended(driver).await;
                if PAUSE_MAX < since.elapsed() {
                    pause = PAUSE_MIN;
                }
                reason
            }
            Err(error) => error,
        };
        state.send_replace(State::Down(reason));
        sleep(pause + jitter(pause)).await;
        pause = (2 * pause).min(PAUSE_MAX);
    }
}

/// Up to as much again, so that many clients of one server do not all come back at once.
fn jitter(pause: Duration) -> Duration {
    let random = RandomState::new().build_hasher().finish() % 1_024;
    pause.mul_f64(random as f64 / 1_024.0)
}

/// A connection that was closed for being idle is back before most would notice.
const PAUSE_MIN: Duration = Duration::from_millis(10);

/// With the jitter, and an attempt to connect that takes its time, service resumes within two
/// seconds.
const PAUSE_MAX: Duration = Duration::from_millis(400);
