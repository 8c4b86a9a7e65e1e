//! The layer: what an application puts around its routes.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use http::{Response, request::Parts};
use ratelimit_algorithms::{AsyncLimiter, Backend};
use tower_layer::Layer;

use crate::{HeaderFormat, KeyFn, RateLimit, Rejection, headers::Headers, problem, rule::Rule};

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
#[must_use = "a layer does nothing unless it is put around a service"]
pub struct RateLimitLayer<B, K> {
    /// Shared, because axum layers a route anew for every request.
    rule: Arc<Rule<B, K>>,
}

impl<B: Backend, K: KeyFn> RateLimitLayer<B, K> {
    /// Checks each request with `limiter`, under the key that `key` finds, at a cost of 1.
    pub fn new(limiter: impl Into<AsyncLimiter<B>>, key: K) -> Self {
        let respond = |rejection: &Rejection, _: &Parts| rejection.to_response();
        let limiter = limiter.into();
        let headers = Headers::new(limiter.policy());
        let rule = Rule { limiter, key, cost: 1, headers, respond: Arc::new(respond) };
        Self { rule: Arc::new(rule) }
    }
}

impl<B: Clone, K: Clone> RateLimitLayer<B, K> {
    /// Charges `cost` permits for each request.
    ///
    /// A cost that the limiter can never admit is refused with each request, as the
    /// [crate's table](crate#what-is-answered) says.
    pub fn cost(mut self, cost: u64) -> Self {
        Arc::make_mut(&mut self.rule).cost = cost;
        self
    }

    /// Tells of the limit in these headers, in place of [`HeaderFormat::XRateLimit`]; in none if
    /// there are none.
    ///
    /// ```
    /// # use ratelimit_algorithms::{FixedWindow, Limiter};
    /// # use ratelimit_http::{HeaderFormat, PeerAddr, RateLimitLayer};
    /// # use ratelimit_memory::Memory;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let limiter = Limiter::new(Memory::new(), "api", FixedWindow::per_minute(100))?;
    /// let layer = RateLimitLayer::new(limiter, PeerAddr)
    ///     .headers([HeaderFormat::XRateLimit, HeaderFormat::Draft10]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn headers(mut self, formats: impl IntoIterator<Item = HeaderFormat>) -> Self {
        Arc::make_mut(&mut self.rule).headers.set(formats);
        self
    }

    /// Answers with problem details (RFC 9457): of type `quota-exceeded`, with the limiter's name
    /// among its `violated-policies`, to who is denied; of type `temporary-reduced-capacity` where
    /// the store does not answer.
    pub fn problem_details(self) -> Self
    where
        B: Backend,
    {
        let policy = self.rule.limiter.policy().clone();
        self.respond_with(move |rejection, _| problem::response(rejection, policy.name()))
    }

    /// Answers requests that are not to reach the service with what `respond` makes of the reason
    /// and the request's head; by default with [`Rejection::to_response`].
    ///
    /// `Retry-After` is added where the answer has none, `Content-Length` in any case, and
    /// `X-RateLimit-*` as to any response; for a `HEAD` the body is left out.
    ///
    /// ```
    /// # use ratelimit_algorithms::{FixedWindow, Limiter};
    /// # use ratelimit_http::{PeerAddr, RateLimitLayer};
    /// # use ratelimit_memory::Memory;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let limiter = Limiter::new(Memory::new(), "api", FixedWindow::per_minute(100))?;
    /// let layer = RateLimitLayer::new(limiter, PeerAddr).respond_with(|rejection, _request| {
    ///     let mut response = http::Response::new("Slow down.".into());
    ///     *response.status_mut() = rejection.status();
    ///     response
    /// });
    /// # Ok(())
    /// # }
    /// ```
    pub fn respond_with<F>(mut self, respond: F) -> Self
    where
        F: Fn(&Rejection, &Parts) -> Response<Bytes> + Send + Sync + 'static,
    {
        Arc::make_mut(&mut self.rule).respond = Arc::new(respond);
        self
    }
}

impl<S, B, K> Layer<S> for RateLimitLayer<B, K> {
    type Service = RateLimit<S, B, K>;

    fn layer(&self, inner: S) -> Self::Service {
        RateLimit::new(inner, Arc::clone(&self.rule))
    }
}

impl<B, K> Clone for RateLimitLayer<B, K> {
    fn clone(&self) -> Self {
        Self { rule: Arc::clone(&self.rule) }
    }
}

impl<B: Backend, K> fmt::Debug for RateLimitLayer<B, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimitLayer").field("rule", &self.rule).finish()
    }
}
