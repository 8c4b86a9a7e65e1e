//! The layer: what an application puts around its routes.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use http::{Response, request::Parts};
use ratelimit_algorithms::{AsyncLimiter, Backend};
use tower_layer::Layer;

use crate::{
    ClientIp, ClientIpError, HeaderFormat, KeyFn, RateLimit, Rejection,
    client_ip::network,
    headers::Headers,
    rule::{Answers, Cost, Limit, Rule},
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
        let headers = Headers::new(limiter.policies());
        let rule = Rule {
            limiter,
            key,
            cost: Cost::Fixed(1),
            more: Vec::new(),
            skips: Vec::new(),
            headers,
            answers: Answers::Custom(Arc::new(respond)),
        };
        Self { rule: Arc::new(rule) }
    }
}

impl<B: Clone, K: Clone> RateLimitLayer<B, K> {
    /// Charges `cost` permits for each request.
    ///
    /// A cost that the limiter can never admit is refused with each request, as the
    /// [crate's table](crate#what-is-answered) says.
    pub fn cost(mut self, cost: u64) -> Self {
        Arc::make_mut(&mut self.rule).cost = Cost::Fixed(cost);
        self
    }

    /// Charges what `cost` says of each request's head. `None` is for a request that does not say,
    /// or makes no sense: it is answered with 400, and so is a cost of nothing.
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
        Arc::make_mut(&mut self.rule).cost = Cost::Of(Arc::new(cost));
        self
    }

    /// Asks one more limiter about each request, as one with the others: either all of them admit
    /// and are charged, or none is. They have to be on one store.
    ///
    /// Who is denied is told of the limit with the longest wait, who is admitted of the one with
    /// the least remaining; draft 10 tells of all.
    ///
    /// ```
    /// # use ratelimit_algorithms::{FixedWindow, Limiter, TokenBucket};
    /// # use ratelimit_http::{ApiKey, ClientIp, RateLimitLayer};
    /// # use ratelimit_memory::Memory;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let store = Memory::new();
    /// let burst = Limiter::new(store.clone(), "burst", TokenBucket::per_second(10))?;
    /// let daily = Limiter::new(store, "daily", FixedWindow::per_day(50_000))?;
    /// let layer = RateLimitLayer::new(burst, ClientIp::peer())
    ///     .also(daily, ApiKey::header("x-api-key"), 1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn also(
        mut self,
        limiter: impl Into<AsyncLimiter<B>>,
        key: impl KeyFn + 'static,
        cost: u64,
    ) -> Self
    where
        B: Backend,
    {
        let rule = Arc::make_mut(&mut self.rule);
        let limit = Limit { limiter: limiter.into(), key: Arc::new(key), cost };
        rule.headers.add(limit.limiter.policies());
        rule.more.push(limit);
        self
    }

    /// Passes on, uncounted, the requests that `skip` picks by their heads; also those that an
    /// earlier `skip` picks.
    ///
    /// Such a request carries no [`Decision`](ratelimit_algorithms::Decision), and its response
    /// no headers of ours.
    pub fn skip<F>(mut self, skip: F) -> Self
    where
        F: Fn(&Parts) -> bool + Send + Sync + 'static,
    {
        Arc::make_mut(&mut self.rule).skips.push(Arc::new(skip));
        self
    }

    /// Passes on, uncounted, the requests of clients in these networks (`10.0.0.0/8`).
    ///
    /// # Errors
    ///
    /// If one of them is no network, or contains every address.
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

    /// Answers with problem details (RFC 9457): of type `quota-exceeded`, with the names
    /// of the limiters that denied as its `violated-policies`, to who is denied; of type `temporary-reduced-capacity` where
    /// the store does not answer.
    pub fn problem_details(mut self) -> Self {
        Arc::make_mut(&mut self.rule).answers = Answers::Problems;
        self
    }

    /// Answers as gRPC wants it: with a status in the headers, `RESOURCE_EXHAUSTED` for who is
    /// denied, and a `google.rpc.RetryInfo` in its details that says when to come back.
    ///
    /// For tonic, the layer goes into `Server::builder().layer(…)`.
    #[cfg(feature = "grpc")]
    #[cfg_attr(docsrs, doc(cfg(feature = "grpc")))]
    pub fn grpc(mut self) -> Self {
        Arc::make_mut(&mut self.rule).answers = Answers::Grpc;
        self
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
        Arc::make_mut(&mut self.rule).answers = Answers::Custom(Arc::new(respond));
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
