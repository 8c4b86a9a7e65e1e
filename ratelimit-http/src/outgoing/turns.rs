//! Whose turn it is: who has a permit, and is not asked to wait by the server.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use http::{HeaderMap, StatusCode, request::Parts};
use ratelimit_algorithms::{AsyncLimiter, Backend, Policies, Timer};

use super::{OutgoingError, cooldowns::Held};
use crate::{Advice, KeyFn, RequestKey};

#[derive(Clone)]
pub(super) struct Turns<B, K, T, P> {
    pub(super) limiter: AsyncLimiter<B, P>,
    pub(super) key: K,
    pub(super) timer: T,
    pub(super) cost: u64,
    pub(super) longest: Duration,
    pub(super) is_paced: bool,
    pub(super) held: Arc<Held>,
}

impl<B: Backend, K: KeyFn, T: Timer, P: Policies> Turns<B, K, T, P> {
    /// Waits for the turn of the request with this head; returns its key.
    pub(super) async fn wait<E>(&self, request: &Parts) -> Result<RequestKey, OutgoingError<E>> {
        let key = self.key.key(request)?;
        // A deadline so far away that it cannot be told is none.
        let deadline = self.timer.now().checked_add(self.longest);
        self.obey(&key, deadline).await?;
        if self.is_paced {
            let _ = self.limiter.pace_by(&self.timer, &key).await?;
        } else {
            let left =
                deadline.map(|deadline| deadline.saturating_duration_since(self.timer.now()));
            let _ = self.limiter.until_ready_by(&self.timer, &key, self.cost, left).await?;
        }
        // Others may have been told to wait meanwhile.
        self.obey(&key, deadline).await?;
        Ok(key)
    }

    /// Waits for as long as the server has asked for.
    async fn obey<E>(
        &self,
        key: &RequestKey,
        deadline: Option<Instant>,
    ) -> Result<(), OutgoingError<E>> {
        while let Some(until) = self.held.until(key, self.timer.now()) {
            if deadline.is_some_and(|deadline| deadline < until) {
                let retry_after = until.saturating_duration_since(self.timer.now());
                return Err(OutgoingError::Held { retry_after });
            }
            self.timer.sleep_until(until).await;
        }
        Ok(())
    }

    /// Heeds what the server has said in the head of a response.
    pub(super) fn heed(&self, key: &RequestKey, status: StatusCode, headers: &HeaderMap) {
        let mut advice = Advice::read(headers, SystemTime::now());
        // With any other status it is about something else, such as when to follow a redirect.
        if ![StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE].contains(&status) {
            advice.retry_after = None;
        }
        if let Some(wait) = advice.wait() {
            self.held.hold(key, wait, self.timer.now());
        }
    }
}

impl<B: Backend, K, T, P: Policies> fmt::Debug for Turns<B, K, T, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { limiter, cost, longest, is_paced, .. } = self;
        f.debug_struct("Turns")
            .field("policy", &limiter.name())
            .field("cost", cost)
            .field("longest", longest)
            .field("is_paced", is_paced)
            .finish_non_exhaustive()
    }
}
