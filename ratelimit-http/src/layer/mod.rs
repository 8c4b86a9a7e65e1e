//! The layer: what an application puts around its routes.

mod charges;
mod responses;
mod settling;
mod skips;
mod warnings;

use std::{fmt, sync::Arc};

use http::request::Parts;
use ratelimit_algorithms::{AsyncLimiter, Backend, Policies, Policy};
use tower_layer::Layer;

use crate::{
    AsyncKeyFn, RateLimit, Rejection,
    diagnostics::SelfCheck,
    headers::Headers,
    rule::{Answers, Cost, Rule},
};

/// Puts a limiter in front of services. Clones, and the services they make, share its budgets.
///
/// The limiter's [`Decision`](ratelimit_algorithms::Decision) is in the extensions of each request
/// that is admitted. A `delay` in it (of a leaky bucket used as a queue) is for the service to
/// wait; this layer has no timer, and passes the request on at once.
///
/// # Examples
///
/// One budget, of which some routes take more:
///
/// ```
/// use axum::{Router, routing::get};
/// use ratelimit_algorithms::{FixedWindow, Limiter};
/// use ratelimit_http::{PeerAddr, RateLimitLayer};
/// use ratelimit_memory::Memory;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let limiter = Limiter::new(Memory::new(), "api", FixedWindow::per_minute(100))?;
/// let layer = RateLimitLayer::new(limiter, PeerAddr);
/// let app: Router = Router::new()
///     .route("/search", get(|| async { "found" }).layer(layer.clone().cost(10)))
///     .route("/", get(|| async { "hello" }).layer(layer));
/// # Ok(())
/// # }
/// ```
///
/// The limiter's numbers may change while it is in use
/// ([`Live`](ratelimit_algorithms::Live)), and with them what is told of them: always those that
/// have decided.
#[must_use = "a layer does nothing unless it is put around a service"]
pub struct RateLimitLayer<B, K, P = Policy> {
    /// Shared, because axum layers a route anew for every request.
    rule: Arc<Rule<B, K, P>>,
}

impl<B: Backend, K: AsyncKeyFn, P: Policies> RateLimitLayer<B, K, P> {
    /// Checks each request with `limiter`, under the key that `key` finds, at a cost of 1.
    pub fn new(limiter: impl Into<AsyncLimiter<B, P>>, key: K) -> Self {
        let respond = |rejection: &Rejection, _: &Parts| rejection.to_response();
        let limiter = limiter.into();
        let headers = Headers::new(&limiter.policy(&[]));
        let rule = Rule {
            limiter,
            tier: None,
            key,
            cost: Cost::Fixed(1),
            settlement: None,
            more: Vec::new(),
            skips: Vec::new(),
            headers,
            answers: Answers::Custom(Arc::new(respond)),
            check: Arc::new(SelfCheck::new(None)),
        };
        Self { rule: Arc::new(rule) }
    }
}

impl<B: Clone, K: Clone, P: Clone> RateLimitLayer<B, K, P> {
    /// The rule, of this layer alone.
    fn rule_mut(&mut self) -> &mut Rule<B, K, P> {
        Arc::make_mut(&mut self.rule)
    }
}

impl<S, B, K, P> Layer<S> for RateLimitLayer<B, K, P> {
    type Service = RateLimit<S, B, K, P>;

    fn layer(&self, inner: S) -> Self::Service {
        RateLimit::new(inner, Arc::clone(&self.rule))
    }
}

impl<B, K, P> Clone for RateLimitLayer<B, K, P> {
    fn clone(&self) -> Self {
        Self { rule: Arc::clone(&self.rule) }
    }
}

impl<B: Backend, K, P: Policies> fmt::Debug for RateLimitLayer<B, K, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimitLayer").field("rule", &self.rule).finish()
    }
}
