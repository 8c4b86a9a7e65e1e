//! Sends a request once it has a permit and its server does not ask to wait.

use std::{
    fmt,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant, SystemTime},
};

use http::{HeaderMap, StatusCode, request, response};
use ratelimit_algorithms::{
    AcquireError, Backend, Decision, Limiter, Limits, Micros, Outcome, Permits, Policies,
    PreparedCheck, Timer, WaitError, before,
};

use super::{
    advice::Advice,
    waiting::{Cooldown, Waiting},
};
use crate::{
    key::{KeyError, KeyFn, RequestKey, find},
    limit::{AnyLimit, AnyLimiter, Cost, ResponseCost},
};

/// The settings of an [`OutgoingLayer`](super::OutgoingLayer), and its waiting requests.
#[derive(Clone)]
pub(super) struct Throttle<B, K, T, P> {
    pub(super) limiter: Limiter<B, P>,
    pub(super) key: K,
    pub(super) timer: T,
    pub(super) cost: Cost,
    /// Finds the cost of the first limit in a response.
    pub(super) response_cost: Option<Arc<ResponseCost>>,
    /// The limits that are waited for together with the first one.
    pub(super) more: Vec<AnyLimit<B>>,
    pub(super) wait_max: Duration,
    pub(super) is_paced: bool,
    /// The statuses with which `Retry-After` asks clients to back off.
    pub(super) statuses: Vec<StatusCode>,
    pub(super) shares_cooldowns: bool,
    pub(super) waiting: Arc<Waiting>,
}

/// The charge that a request waits for.
pub(super) struct Charge<'a, B> {
    /// The key of the first limit, and of cooldowns.
    pub(super) key: RequestKey,
    cost: u64,
    /// The other limits that have a key.
    more: Vec<FurtherCharge<'a, B>>,
}

struct FurtherCharge<'a, B> {
    limit: &'a AnyLimit<B>,
    limiter: Arc<dyn AnyLimiter<B>>,
    key: RequestKey,
    cost: u64,
}

impl<B, K, T, P> Throttle<B, K, T, P>
where
    B: Backend + Clone + 'static,
    K: KeyFn,
    T: Timer,
    P: Policies + Clone + 'static,
{
    /// The charge for the request with this head.
    pub(super) async fn charge<E>(
        &self,
        request: &request::Parts,
    ) -> Result<Charge<'_, B>, OutgoingError<E>> {
        let key = self.key.key(request)?;
        let cost = self.cost.of(request).ok_or(OutgoingError::Cost)?;
        let mut more = Vec::with_capacity(self.more.len());
        for limit in &self.more {
            let key = match find(&*limit.key, request).await {
                Ok(key) => key,
                Err(KeyError::Missing) if limit.is_optional => continue,
                Err(error) => return Err(error.into()),
            };
            let cost = limit.cost.of(request).ok_or(OutgoingError::Cost)?;
            more.push(FurtherCharge { limit, limiter: limit.limiter_of(request), key, cost });
        }
        Ok(Charge { key, cost, more })
    }

    fn limits<'a>(&'a self, charge: &'a Charge<'_, B>) -> Limits<'a, B> {
        let first = Limits::from(self.limiter.prepare(&charge.key, charge.cost));
        charge.more.iter().fold(first, |limits, FurtherCharge { limiter, key, cost, .. }| {
            limits.and_prepared(limiter.prepare(key, *cost))
        })
    }

    /// Waits until a request may be sent; returns its permits.
    pub(super) async fn wait<E>(
        &self,
        charge: &Charge<'_, B>,
    ) -> Result<Permits<'static, B>, OutgoingError<E>> {
        let arrival = self.waiting.queues.arrive();
        // A deadline that overflows means no deadline.
        let deadline = self.timer.now().checked_add(self.wait_max);
        loop {
            let (permits, departure) = self.permit(charge, arrival, deadline).await?;
            if let Some(departure) = departure {
                self.timer.sleep_until(departure).await;
            }
            // A cooldown may have started meanwhile. Then the permit is lost: it was taken before
            // the server asked to wait, and the next ones have to be spaced from then on.
            if self.cooldown(&charge.key).is_none() {
                return Ok(permits);
            }
        }
    }

    /// Takes permits once the key's cooldown is over and all that arrived earlier have theirs;
    /// returns them with the time at which the request is to be sent, if that is later.
    async fn permit<E>(
        &self,
        charge: &Charge<'_, B>,
        arrival: u64,
        deadline: Option<Instant>,
    ) -> Result<(Permits<'static, B>, Option<Instant>), OutgoingError<E>> {
        let key = &charge.key;
        self.expect_end_by(key, deadline)?;
        let ticket = self.waiting.queues.enter(key, arrival).ok_or(WaitError::Overloaded)?;
        if !ticket.is_first() {
            self.expect_permit_by(charge, deadline).await?;
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
            let permits = self.spend(charge, deadline).await?;
            if self.cooldown(key).is_none() {
                return Ok(permits);
            }
        }
    }

    async fn spend<E>(
        &self,
        charge: &Charge<'_, B>,
        deadline: Option<Instant>,
    ) -> Result<(Permits<'static, B>, Option<Instant>), OutgoingError<E>> {
        let limits = self.limits(charge);
        if self.is_paced {
            let permits = limits.acquire().await?;
            let delay = permits.decision().each().iter().map(delay).max().unwrap_or(Micros::ZERO);
            let departure = if delay.is_zero() { None } else { Some(delay) };
            let departure = departure.and_then(|it| self.timer.now().checked_add(it.into()));
            return Ok((permits.into_owned(), departure));
        }
        let wait = limits.until_ready().timer(&self.timer);
        let permits = match deadline {
            Some(end) => wait.within(end.saturating_duration_since(self.timer.now())).await?,
            None => wait.await?,
        };
        Ok((permits.into_owned(), None))
    }

    /// Gives back the permits of a request that was not sent.
    pub(super) async fn refund(&self, permits: Permits<'static, B>) {
        // What a store that fails keeps is on the safe side.
        let _ = permits.refund().await;
    }

    /// Settles permits by the costs that the response tells, if there is one; gives back those that are
    /// held while a request is under way.
    pub(super) async fn settle(
        &self,
        charge: &Charge<'_, B>,
        permits: Permits<'static, B>,
        response: Option<&response::Parts>,
    ) {
        let cost = |check: PreparedCheck<'_, B>, of: Option<&Arc<ResponseCost>>, charged: u64| {
            if check.policy().algorithm().holds_permits() {
                return 0;
            }
            of.zip(response).and_then(|(of, response)| of(response)).unwrap_or(charged)
        };
        let first = self.limiter.prepare(&charge.key, charge.cost);
        let mut costs = vec![cost(first, self.response_cost.as_ref(), charge.cost)];
        costs.extend(charge.more.iter().map(|more| {
            let check = more.limiter.prepare(&more.key, more.cost);
            cost(check, more.limit.response_cost.as_ref(), more.cost)
        }));
        // The response is there, whatever the store says; the charge then stays.
        let _ = permits.settle(costs).await;
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
        charge: &Charge<'_, B>,
        deadline: Option<Instant>,
    ) -> Result<(), OutgoingError<E>> {
        let (false, Some(deadline)) = (self.is_paced, deadline) else { return Ok(()) };
        let decision = self.limits(charge).peek().await.map_err(WaitError::from)?;
        let retry = self.timer.now().checked_add(decision.retry_after().into());
        let is_in_time = retry.is_some_and(|retry| retry <= deadline);
        if is_in_time { Ok(()) } else { Err(WaitError::DeniedTogether(decision).into()) }
    }
}

impl<B: Backend, K, T: Timer, P: Policies> Throttle<B, K, T, P> {
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

const fn delay(decision: &Decision) -> Micros {
    match decision.outcome() {
        Outcome::Allow { delay } => delay,
        Outcome::Deny { .. } => Micros::ZERO,
    }
}

impl<B: Backend, K, T, P: Policies> fmt::Debug for Throttle<B, K, T, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { limiter, wait_max, is_paced, .. } = self;
        f.debug_struct("Throttle")
            .field("policy", &limiter.name())
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
    /// The request does not tell its cost.
    #[error("request does not tell its cost")]
    Cost,
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
            Self::Key(_) | Self::Cost | Self::Service(_) => None,
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
