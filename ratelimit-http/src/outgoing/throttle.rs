//! Lets a request go once it has a permit and its server does not ask to wait.

use std::{
    fmt,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant, SystemTime},
};

use http::{HeaderMap, StatusCode, request::Parts};
use ratelimit_algorithms::{
    AcquireError, Backend, Limiter, Outcome, Policies, Timer, WaitError, before,
};

use super::{
    advice::Advice,
    waiting::{Cooldown, Waiting},
};
use crate::key::{KeyError, KeyFn, RequestKey};

/// The settings of an [`OutgoingLayer`](super::OutgoingLayer), and its waiting requests.
#[derive(Clone)]
pub(super) struct Throttle<B, K, T, P> {
    pub(super) limiter: Limiter<B, P>,
    pub(super) key: K,
    pub(super) timer: T,
    pub(super) cost: u64,
    pub(super) wait_max: Duration,
    pub(super) is_paced: bool,
    /// The statuses with which `Retry-After` means that the server is to be left alone.
    pub(super) statuses: Vec<StatusCode>,
    pub(super) shares_cooldowns: bool,
    pub(super) waiting: Arc<Waiting>,
}

impl<B: Backend, K: KeyFn, T: Timer, P: Policies + Clone + 'static> Throttle<B, K, T, P> {
    /// Waits until the request with this head may be sent; returns its key.
    pub(super) async fn wait<E>(&self, request: &Parts) -> Result<RequestKey, OutgoingError<E>> {
        let key = self.key.key(request)?;
        let arrival = self.waiting.queues.arrive();
        // A deadline that overflows means no deadline.
        let deadline = self.timer.now().checked_add(self.wait_max);
        loop {
            if let Some(departure) = self.permit(&key, arrival, deadline).await? {
                self.timer.sleep_until(departure).await;
            }
            // A cooldown may have started meanwhile. Then the permit is lost: it was taken before
            // the server asked to wait, and the next ones have to be spaced from then on.
            if self.cooldown(&key).is_none() {
                return Ok(key);
            }
        }
    }

    /// Takes a permit once the key's cooldown is over and all that arrived earlier have theirs;
    /// returns the time at which the request is to be sent, if that is later.
    async fn permit<E>(
        &self,
        key: &RequestKey,
        arrival: u64,
        deadline: Option<Instant>,
    ) -> Result<Option<Instant>, OutgoingError<E>> {
        self.expect_end_by(key, deadline)?;
        let ticket = self.waiting.queues.enter(key, arrival).ok_or(WaitError::Overloaded)?;
        if !ticket.is_first() {
            self.expect_permit_by(key, deadline).await?;
        }
        loop {
            if before(deadline, &self.timer, ticket.first()).await.is_none() {
                self.expect_end_by(key, deadline)?;
                return Err(WaitError::TimedOut.into());
            }
            while let Some(end) = self.cooldown(key) {
                self.expect_end_by(key, deadline)?;
                let changed = self.waiting.cooldowns.changed(key, end);
                before(Some(end), &self.timer, changed).await;
            }
            if !ticket.is_first() {
                continue;
            }
            let departure = self.spend(key, deadline).await?;
            if self.cooldown(key).is_none() {
                return Ok(departure);
            }
        }
    }

    async fn spend<E>(
        &self,
        key: &RequestKey,
        deadline: Option<Instant>,
    ) -> Result<Option<Instant>, OutgoingError<E>> {
        if self.is_paced {
            let request = self.limiter.check(key).cost(self.cost);
            let decision = request.await.map_err(AcquireError::from)?;
            return match decision.outcome {
                Outcome::Allow { delay } if delay.is_zero() => Ok(None),
                Outcome::Allow { delay } => Ok(self.timer.now().checked_add(delay.into())),
                Outcome::Deny { .. } => Err(AcquireError::Denied(decision).into()),
            };
        }
        let wait = self.limiter.until_ready(key).cost(self.cost).timer(&self.timer);
        match deadline {
            Some(end) => wait.within(end.saturating_duration_since(self.timer.now())).await?,
            None => wait.await?,
        };
        Ok(None)
    }

    /// Gives back the permit of a request that was not sent.
    pub(super) async fn refund(&self, key: &RequestKey) {
        // What a store that fails keeps is on the safe side.
        let _ = self.limiter.refund(key).cost(self.cost).await;
    }

    /// Fails if the key's cooldown ends after the deadline.
    fn expect_end_by<E>(
        &self,
        key: &RequestKey,
        deadline: Option<Instant>,
    ) -> Result<(), OutgoingError<E>> {
        match (self.cooldown(key), deadline) {
            (Some(end), Some(deadline)) if deadline < end => {
                let retry_after = end.saturating_duration_since(self.timer.now());
                Err(OutgoingError::Cooldown { retry_after })
            }
            _ => Ok(()),
        }
    }

    /// Fails if the key has no permit before the deadline even if nobody else takes one.
    async fn expect_permit_by<E>(
        &self,
        key: &RequestKey,
        deadline: Option<Instant>,
    ) -> Result<(), OutgoingError<E>> {
        let (false, Some(deadline)) = (self.is_paced, deadline) else { return Ok(()) };
        let decision = self.limiter.peek(key).cost(self.cost).await.map_err(WaitError::from)?;
        let retry = self.timer.now().checked_add(decision.retry_after().into());
        let is_in_time = retry.is_some_and(|retry| retry <= deadline);
        if is_in_time { Ok(()) } else { Err(WaitError::Denied(decision).into()) }
    }

    /// The end of the key's cooldown.
    pub(super) fn cooldown(&self, key: &RequestKey) -> Option<Instant> {
        self.waiting.cooldowns.end(key, self.timer.now())
    }

    /// Starts, corrects or ends a cooldown by the head of the response to a request that was sent
    /// at `sent`.
    pub(super) async fn observe(
        &self,
        key: &RequestKey,
        sent: Instant,
        status: StatusCode,
        headers: &HeaderMap,
    ) {
        let mut advice = Advice::read(headers, SystemTime::now());
        self.waiting.ignored.fetch_add(advice.ignored as u64, Ordering::Relaxed);
        // With any other status it means something else, such as when to follow a redirect.
        if !self.statuses.contains(&status) {
            advice.retry_after = None;
        }
        let (now, is_explicit) = (self.timer.now(), advice.retry_after.is_some());
        let Some(wait) = advice.wait() else {
            if is_explicit || advice.limits.iter().any(|limit| limit.remaining.is_some()) {
                self.waiting.cooldowns.relax(key, Cooldown { end: now, sent, is_explicit });
            }
            return;
        };
        let end = now.checked_add(wait).unwrap_or(now);
        self.waiting.cooldowns.start(key, Cooldown { end, sent, is_explicit }, now);
        if self.shares_cooldowns {
            // A store that fails gives others no permits either.
            let _ = self.limiter.block(key, wait).await;
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
    Cooldown {
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
            Self::Cooldown { retry_after } => Some(*retry_after),
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
