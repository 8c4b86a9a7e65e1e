//! The layer that an application puts around its routes: its limits, costs and keys.

mod responses;

use std::{fmt, sync::Arc};

use http::request::Parts;
use ratelimit_algorithms::{Backend, InTier, Limiter, Policies, Policy, Tier};
use tower_layer::Layer;

use crate::{
    AsyncKeyFn, ClientIp, ClientIpError, RateLimitService, Warning,
    diagnostics::Diagnostics,
    headers::Headers,
    key::network,
    limit::{Cost, RequestLimit},
    pending_settlements::Outstanding,
    pipeline::{Pipeline, SettlingOptions},
    response::Responder,
};

/// Puts a limiter in front of services. Clones, and the services they make, share its budgets.
///
/// Each admitted request carries the limiter's [`Decision`](ratelimit_algorithms::Decision) in its
/// extensions. The service itself has to wait for a `delay` in it (of a leaky bucket used as a
/// queue): this layer has no timer, and passes the request on at once.
///
/// # Examples
///
/// One budget, of which some routes spend more:
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
/// The limiter's numbers may change while it is in use ([`Live`](ratelimit_algorithms::Live)); the
/// headers always tell the numbers that decided.
#[must_use = "a layer does nothing unless it is put around a service"]
pub struct RateLimitLayer<B, K, P = Policy> {
    /// Shared, because axum layers a route anew for every request.
    pipeline: Arc<Pipeline<B, K, P>>,
}

impl<B: Backend, K: AsyncKeyFn, P: Policies> RateLimitLayer<B, K, P> {
    /// Checks each request with `limiter`, under the key that `key` finds, at a cost of 1.
    pub fn new(limiter: Limiter<B, P>, key: K) -> Self {
        let headers = Headers::new(&limiter.policy(&[]));
        let pipeline = Pipeline {
            limiter,
            tier: None,
            key,
            cost: Cost::Fixed(1),
            response_cost: None,
            more: Vec::new(),
            settling: SettlingOptions::default(),
            skips: Vec::new(),
            headers,
            responder: Responder::Json,
            diagnostics: Arc::new(Diagnostics::new(None)),
            outstanding: Arc::new(Outstanding::default()),
        };
        Self { pipeline: Arc::new(pipeline) }
    }
}

impl<B: Clone, K: Clone, P: Clone> RateLimitLayer<B, K, P> {
    /// Charges `cost` permits for each request.
    ///
    /// Requests with a cost that the limiter can never admit are refused, as the
    /// [crate's table](crate#responses-to-rejected-requests) shows.
    pub fn cost(mut self, cost: u64) -> Self {
        self.pipeline_mut().cost = Cost::Fixed(cost);
        self
    }

    /// Charges the cost that `cost` finds in each request's head. Requests without one (`None`), or
    /// with a cost of zero, get 400.
    ///
    /// ```
    /// use http::request::Parts;
    ///
    /// # use ratelimit_algorithms::{FixedWindow, Limiter};
    /// # use ratelimit_http::{PeerAddr, RateLimitLayer};
    /// # use ratelimit_memory::Memory;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let limiter = Limiter::new(Memory::new(), "upload", FixedWindow::per_hour(1_000_000))?;
    /// /// A permit for every KiB, and one for the request.
    /// fn kibibytes(request: &Parts) -> Option<u64> {
    ///     let length = request.headers.get("content-length")?.to_str().ok()?;
    ///     Some(1 + length.parse::<u64>().ok()?.div_ceil(1024))
    /// }
    ///
    /// let layer = RateLimitLayer::new(limiter, PeerAddr).cost_by(kibibytes);
    /// # Ok(())
    /// # }
    /// ```
    pub fn cost_by<F>(mut self, cost: F) -> Self
    where
        F: Fn(&Parts) -> Option<u64> + Send + Sync + 'static,
    {
        self.pipeline_mut().cost = Cost::Of(Arc::new(cost));
        self
    }

    /// Checks each request with one more limit, together with the others: either all of them
    /// admit and are charged, or none is. They have to be on one store.
    ///
    /// Headers of a denied request give the limit with the longest wait, those of an admitted one
    /// the limit with the least remaining. Draft 10 gives all limits.
    ///
    /// ```
    /// # use ratelimit_algorithms::{FixedWindow, Limiter, TokenBucket};
    /// # use ratelimit_http::{ApiKey, ClientIp, RateLimitLayer, RequestLimit};
    /// # use ratelimit_memory::Memory;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let store = Memory::new();
    /// let burst = Limiter::new(store.clone(), "burst", TokenBucket::per_second(10))?;
    /// let daily = Limiter::new(store, "daily", FixedWindow::per_day(50_000))?;
    /// let layer = RateLimitLayer::new(burst, ClientIp::peer())
    ///     .also(RequestLimit::new(daily, ApiKey::header("x-api-key")));
    /// # Ok(())
    /// # }
    /// ```
    pub fn also<Q>(mut self, limit: RequestLimit<B, Q>) -> Self
    where
        B: Backend + 'static,
        Q: Policies + Clone + 'static,
    {
        let pipeline = self.pipeline_mut();
        pipeline.headers.add_limit(&limit.policy());
        pipeline.more.push(limit.erase());
        self
    }

    /// Passes on, uncounted, the requests that `skip` picks by their heads, in addition to those of
    /// earlier calls.
    ///
    /// Such a request carries no [`Decision`](ratelimit_algorithms::Decision), and its response
    /// none of this layer's headers.
    pub fn skip<F>(mut self, skip: F) -> Self
    where
        F: Fn(&Parts) -> bool + Send + Sync + 'static,
    {
        self.pipeline_mut().skips.push(Arc::new(skip));
        self
    }

    /// Passes on, uncounted, the requests of clients in these networks (`10.0.0.0/8`).
    ///
    /// # Errors
    ///
    /// If one of them is not a network, or contains every address.
    pub fn skip_networks<'a>(
        self,
        client: ClientIp,
        networks: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, ClientIpError> {
        let networks = networks.into_iter().map(network).collect::<Result<Vec<_>, _>>()?;
        Ok(self.skip(move |request| {
            let address = client.address(request);
            address.is_ok_and(|address| networks.iter().any(|network| network.contains(&address)))
        }))
    }

    /// Calls `listener` with each [`Warning`] about how this layer is set up, in place of the log.
    ///
    /// A layer looks at its first 1 000 requests, and gives each warning once, however many clones
    /// it has; the one about missing peer addresses also later. By default warnings go to the
    /// `tracing` subscriber (feature `tracing`), or to standard error if there is none: an
    /// application that sets up a layer wrongly most likely has not set up a log either.
    ///
    /// A test may let it panic: `.on_warning(|warning| panic!("{warning}"))`.
    pub fn on_warning<F>(mut self, listener: F) -> Self
    where
        F: Fn(&Warning) + Send + Sync + 'static,
    {
        self.pipeline_mut().diagnostics = Arc::new(Diagnostics::new(Some(Arc::new(listener))));
        self
    }

    /// The pipeline, of this layer alone.
    fn pipeline_mut(&mut self) -> &mut Pipeline<B, K, P> {
        Arc::make_mut(&mut self.pipeline)
    }
}

impl<B: Clone, K: Clone> RateLimitLayer<B, K, InTier> {
    /// Checks each request against the limit of the tier that `tier` finds in its head: in the
    /// extensions that an authentication layer has set, or in a header that no client can set.
    ///
    /// The key is the same in every tier: a client that changes its tier keeps what it has spent.
    ///
    /// ```
    /// use http::request::Parts;
    /// use ratelimit_algorithms::{Limiter, Tier, Tiers, TokenBucket};
    /// use ratelimit_http::{Extension, RateLimitLayer};
    /// use ratelimit_memory::Memory;
    ///
    /// /// Set by an authentication layer.
    /// #[derive(Clone)]
    /// struct User {
    ///     id: u64,
    ///     is_paying: bool,
    /// }
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let tiers = Tiers::new("api", TokenBucket::per_second(10))?;
    /// let pro = tiers.add("pro", TokenBucket::per_second(100))?;
    /// let limiter = Limiter::with_policies(Memory::new(), tiers.in_tier(Tier::DEFAULT))?;
    ///
    /// let user = Extension::new(|user: &User| user.id);
    /// let layer = RateLimitLayer::new(limiter, user).tier_by(move |request: &Parts| {
    ///     let user = request.extensions.get::<User>();
    ///     if user.is_some_and(|user| user.is_paying) { pro } else { Tier::DEFAULT }
    /// });
    /// # Ok(())
    /// # }
    /// ```
    pub fn tier_by<F>(mut self, tier: F) -> Self
    where
        F: Fn(&Parts) -> Tier + Send + Sync + 'static,
    {
        let choose =
            move |limiter: &Limiter<B, InTier>, request: &Parts| limiter.in_tier(tier(request));
        self.pipeline_mut().tier = Some(Arc::new(choose));
        self
    }
}

impl<S, B, K, P> Layer<S> for RateLimitLayer<B, K, P> {
    type Service = RateLimitService<S, B, K, P>;

    fn layer(&self, inner: S) -> Self::Service {
        RateLimitService::new(inner, Arc::clone(&self.pipeline))
    }
}

impl<B, K, P> Clone for RateLimitLayer<B, K, P> {
    fn clone(&self) -> Self {
        Self { pipeline: Arc::clone(&self.pipeline) }
    }
}

impl<B: Backend, K, P: Policies> fmt::Debug for RateLimitLayer<B, K, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimitLayer").field("pipeline", &self.pipeline).finish()
    }
}
