//! A connection that is made anew whenever it is lost.
//!
//! Who asks while there is none learns why, at once: nothing waits for a connection but for the
//! very first. A connection on which a call ends in silence is given up, however busy it is, for a
//! host that has vanished says nothing either.

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

use crate::{connection::connect::Dialer, connection::Live};

/// A connection, or the attempt to have one; ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Link {
    state: watch::Receiver<State>,
    keeper: JoinHandle<()>,
}

#[derive(Clone, Debug)]
enum State {
    /// For the first time.
    Connecting,
    Up(Arc<Live>),
    /// For this reason.
    Down(BackendError),
}

impl State {
    /// The connection, or why there is none.
    fn live(&self) -> Result<Arc<Live>, BackendError> {
        match self {
            Self::Up(live) => live.given_up().map_or_else(|| Ok(Arc::clone(live)), Err),
            Self::Down(reason) => Err(reason.clone()),
            Self::Connecting => Err(BackendError::not_applied(ErrorKind::Unavailable)),
        }
    }
}

impl Link {
    /// Begins to connect.
    pub(crate) fn open(dialer: Dialer) -> Self {
        let (sender, state) = watch::channel(State::Connecting);
        Self { state, keeper: tokio::spawn(keep(dialer, sender)) }
    }

    /// The connection, if there is one.
    pub(crate) fn live(&self) -> Option<Arc<Live>> {
        self.state.borrow().live().ok()
    }

    /// The connection, or why there is none, as soon as that is known for the first time.
    pub(crate) async fn settled(&self) -> Result<Arc<Live>, BackendError> {
        let mut state = self.state.clone();
        let state = state.wait_for(|state| !matches!(state, State::Connecting)).await;
        state.map_or_else(|_| Err(BackendError::not_applied(ErrorKind::Closed)), |it| it.live())
    }

    /// The same, but not after the deadline.
    pub(crate) async fn settled_by(&self, deadline: Instant) -> Result<Arc<Live>, BackendError> {
        let settled = timeout_at(deadline, self.settled()).await;
        settled.unwrap_or_else(|_| Err(BackendError::not_applied(ErrorKind::Timeout)))
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

/// Connects, again and again.
async fn keep(dialer: Dialer, state: watch::Sender<State>) {
    let mut pause = PAUSE_MIN;
    loop {
        let reason = match dialer.dial().await {
            Ok((client, router)) => {
                let since = Instant::now();
                let live = Arc::new(Live::new(client, &dialer));
                state.send_replace(State::Up(Arc::clone(&live)));
                dialer.comebacks.connected();
                let reason = live.ended(router).await;
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
