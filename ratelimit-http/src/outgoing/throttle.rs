//! Lets a request go once it has a permit and its server does not ask to wait.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use http::{HeaderMap, StatusCode, request::Parts};
use ratelimit_algorithms::{AcquireError, Backend, Limiter, Policies, Timer, WaitError};

use super::{advice::Advice, cooldowns::Cooldowns};
use crate::key::{KeyError, KeyFn, RequestKey};

/// The settings of an [`OutgoingLayer`](super::OutgoingLayer), and the cooldowns of its keys.
#[derive(Clone)]
pub(super) struct Throttle<B, K, T, P> {
    pub(super) limiter: Limiter<B, P>,
    pub(super) key: K,
    pub(super) timer: T,
    pub(super) cost: u64,
    pub(super) wait_max: Duration,
    pub(super) is_paced: bool,
    pub(super) cooldowns: Arc<Cooldowns>,
}

impl<B: Backend, K: KeyFn, T: Timer, P: Policies> Throttle<B, K, T, P> {
    /// Waits until the request with this head may be sent; returns its key.
    pub(super) async fn wait<E>(&self, request: &Parts) -> Result<RequestKey, OutgoingError<E>> {
        let key = self.key.key(request)?;
        // A deadline that overflows means no deadline.
        let deadline = self.timer.now().checked_add(self.wait_max);
        self.wait_for_cooldown(&key, deadline).await?;
        if self.is_paced {
            self.limiter.pace(&key).timer(&self.timer).await?;
        } else {
            let left =
                deadline.map(|deadline| deadline.saturating_duration_since(self.timer.now()));
            let wait = self.limiter.until_ready(&key).cost(self.cost).timer(&self.timer);
            match left {
                Some(left) => wait.within(left).await?,
                None => wait.await?,
            };
        }
        // A response to another request may have started a cooldown meanwhile.
        self.wait_for_cooldown(&key, deadline).await?;
        Ok(key)
    }

    /// Waits until the key's cooldown is over.
    async fn wait_for_cooldown<E>(
        &self,
        key: &RequestKey,
        deadline: Option<Instant>,
    ) -> Result<(), OutgoingError<E>> {
        while let Some(until) = self.cooldowns.end(key, self.timer.now()) {
            if deadline.is_some_and(|deadline| deadline < until) {
                let retry_after = until.saturating_duration_since(self.timer.now());
                return Err(OutgoingError::Held { retry_after });
            }
            self.timer.sleep_until(until).await;
        }
        Ok(())
    }

    /// Starts a cooldown if the head of a response asks for one.
    pub(super) fn observe(&self, key: &RequestKey, status: StatusCode, headers: &HeaderMap) {
        let mut advice = Advice::read(headers, SystemTime::now());
        // With any other status it means something else, such as when to follow a redirect.
        if ![StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE].contains(&status) {
            advice.retry_after = None;
        }
        if let Some(wait) = advice.wait() {
            self.cooldowns.start(key, wait, self.timer.now());
        }
    }
}

impl<B: Backend, K, T, P: Policies> fmt::Debug for Throttle<B, K, T, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { limiter, cost, wait_max, is_paced, .. } = self;
        f.debug_struct("Throttle")
            .field("policy", &limiter.name())
            .field("cost", cost)
            .field("wait_max", wait_max)
            .field("is_paced", is_paced)
            .finish_non_exhaustive()
    }
}

/// An outgoing request has no response.
///
/// It was sent only if the [`Service`](Self::Service) failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutgoingError<E> {
    /// The request has no key.
    #[error(transparent)]
    Key(KeyError),
    /// The server has asked to wait, for longer than a request may.
    #[error("server asked to wait for {} more seconds", .retry_after.as_secs())]
    Held {
        /// The time until the server is to be asked again.
        retry_after: Duration,
    },
    /// The limiter had no permit in time, or made no decision.
    #[error(transparent)]
    Wait(WaitError),
    /// The queue of a [paced](crate::OutgoingLayer::paced) limiter is too long, or it made no
    /// decision.
    #[error(transparent)]
    Pace(AcquireError),
    /// The inner client failed.
    #[error(transparent)]
    Service(E),
}

impl<E> OutgoingError<E> {
    /// The time after which the same request may be sent, if it is known.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Held { retry_after } => Some(*retry_after),
            Self::Wait(error) => error.retry_after().map(Duration::from),
            Self::Pace(error) => error.retry_after().map(Duration::from),
            Self::Key(_) | Self::Service(_) => None,
        }
    }
}

impl<E> From<KeyError> for OutgoingError<E> {
    fn from(error: KeyError) -> Self {
        Self::Key(error)
    }
}

impl<E> From<WaitError> for OutgoingError<E> {
    fn from(error: WaitError) -> Self {
        Self::Wait(error)
    }
}

impl<E> From<AcquireError> for OutgoingError<E> {
    fn from(error: AcquireError) -> Self {
        Self::Pace(error)
    }
}
