//! The layer for a client.

use std::{fmt, sync::Arc, time::Duration};

#[cfg(feature = "tokio")]
use ratelimit_algorithms::TokioTimer;
use ratelimit_algorithms::{Backend, Limiter, Policies, Policy, Timer};
use tower_layer::Layer;

use super::{service::Outgoing, throttle::Throttle};
use crate::key::KeyFn;

/// Puts a limiter in front of a client: requests wait for a permit instead of being refused.
///
#[cfg_attr(feature = "tokio", doc = "```")]
#[cfg_attr(not(feature = "tokio"), doc = "```ignore")]
/// use ratelimit_algorithms::{Limiter, TokenBucket};
/// use ratelimit_http::{OutgoingLayer, TargetHost};
/// use ratelimit_memory::Memory;
/// # use http::{Request, Response};
/// # use tower::{Layer, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// # let client = service_fn(async |_: Request<()>| {
/// #     Ok::<_, std::convert::Infallible>(Response::new(()))
/// # });
/// let limiter = Limiter::new(Memory::new(), "upstream", TokenBucket::per_second(1_000))?;
/// let client = OutgoingLayer::new(limiter, TargetHost).layer(client);
/// let request = Request::get("https://api.example.com/users").body(())?;
/// let response = client.oneshot(request).await?;
/// # Ok(())
/// # }
/// ```
///
/// A request waits until its key has a permit left, first come, first served, as
/// [`until_ready`](Limiter::until_ready) does; or, [`paced`](Self::paced), evenly spaced.
/// A response with status 429 or 503 and `Retry-After` starts a cooldown of the key, and so does
/// one that says, in any form that [`Advice`](crate::Advice) reads, that nothing is left. The key's
/// next requests wait until it is over, a day at most; the response itself is returned. So the
/// requests of a retry layer around this one wait here.
///
/// A request that would have to wait for longer than [`wait_at_most`](Self::wait_at_most) fails, at
/// once if that is known. A request that is dropped while it waits spends nothing, or its permit.
/// The inner client is polled for readiness after the wait; until then no part of it is reserved.
#[must_use = "a layer does nothing unless it is put around a service"]
pub struct OutgoingLayer<B, K, T, P = Policy> {
    throttle: Arc<Throttle<B, K, T, P>>,
}

#[cfg(feature = "tokio")]
impl<B: Backend, K: KeyFn, P: Policies> OutgoingLayer<B, K, TokioTimer, P> {
    /// Makes each request wait, by tokio's timer, until `limiter` has a permit for its key.
    pub fn new(limiter: Limiter<B, P>, key: K) -> Self {
        Self::with_timer(limiter, key, TokioTimer)
    }
}

impl<B: Backend, K: KeyFn, T: Timer, P: Policies> OutgoingLayer<B, K, T, P> {
    /// Makes each request wait, by `timer`, until `limiter` has a permit for its key.
    pub fn with_timer(limiter: Limiter<B, P>, key: K, timer: T) -> Self {
        let (cost, wait_max, is_paced, cooldowns) = (1, WAIT_MAX, false, Arc::default());
        let throttle = Throttle { limiter, key, timer, cost, wait_max, is_paced, cooldowns };
        Self { throttle: Arc::new(throttle) }
    }
}

/// As long as people wait for an answer.
const WAIT_MAX: Duration = Duration::from_secs(30);

impl<B: Clone, K: Clone, T: Clone, P: Clone> OutgoingLayer<B, K, T, P> {
    /// Spends `cost` permits for each request. (Paced requests cost one.)
    pub fn cost(mut self, cost: u64) -> Self {
        Arc::make_mut(&mut self.throttle).cost = cost;
        self
    }

    /// Limits the wait of each request; 30 seconds by default.
    pub fn wait_at_most(mut self, longest: Duration) -> Self {
        Arc::make_mut(&mut self.throttle).wait_max = longest;
        self
    }

    /// Spaces requests evenly, by a [`LeakyBucket`](ratelimit_algorithms::LeakyBucket) used as a
    /// queue: it delays each request, and denies those that would wait for too long.
    pub fn paced(mut self) -> Self {
        Arc::make_mut(&mut self.throttle).is_paced = true;
        self
    }
}

impl<S, B, K, T, P> Layer<S> for OutgoingLayer<B, K, T, P> {
    type Service = Outgoing<S, B, K, T, P>;

    fn layer(&self, inner: S) -> Self::Service {
        Outgoing::new(inner, Arc::clone(&self.throttle))
    }
}

impl<B, K, T, P> Clone for OutgoingLayer<B, K, T, P> {
    fn clone(&self) -> Self {
        Self { throttle: Arc::clone(&self.throttle) }
    }
}

impl<B: Backend, K, T, P: Policies> fmt::Debug for OutgoingLayer<B, K, T, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutgoingLayer").field("throttle", &self.throttle).finish()
    }
}
