//! Options about responses: their headers, rejections, and the cost that they tell.

use std::sync::Arc;

use bytes::Bytes;
use http::{Response, request, response};

use super::RateLimitLayer;
use crate::{HeaderFormat, QuotaUnit, Rejection, response::Responder};

impl<B: Clone, K: Clone, P: Clone> RateLimitLayer<B, K, P> {
    /// Writes the limit into these headers, in place of [`HeaderFormat::XRateLimit`]; an empty list
    /// writes none. No header mentions a limit that is only watched.
    pub fn headers(mut self, formats: impl IntoIterator<Item = HeaderFormat>) -> Self {
        self.pipeline_mut().headers.set_formats(formats);
        self
    }

    /// Tells clients the unit of a limit's permits (`qu` of draft 10): of the limit that was
    /// [added](Self::also) last, or of the first.
    pub fn quota_unit(mut self, unit: QuotaUnit) -> Self {
        self.pipeline_mut().headers.set_unit(unit);
        self
    }

    /// Tells clients a name of their key (`pk` of draft 10), so that a client with several keys, or
    /// several clients with one, can see which limit was spent.
    ///
    /// The name is 128 bits of a hash that is keyed by `secret`, of at least 16 random bytes. It
    /// tells nothing about the key, and differs from the digests in stores. Processes that share a
    /// store should share the secret.
    pub fn partition_keys(mut self, secret: impl AsRef<[u8]>) -> Self {
        self.pipeline_mut().headers.set_partition_secret(secret.as_ref());
        self
    }

    /// Responds to rejected requests with problem details (RFC 9457).
    ///
    /// Denied requests get the type `quota-exceeded`, with the names of the limiters that denied as
    /// `violated-policies`; requests of a key that is blocked, or denied by a list, get
    /// `abnormal-usage-detected`; if the store does not answer, requests get
    /// `temporary-reduced-capacity`.
    pub fn problem_details(mut self) -> Self {
        self.pipeline_mut().responder = Responder::Problem;
        self
    }

    /// Responds to rejected requests with a gRPC status in the headers: `RESOURCE_EXHAUSTED` if they
    /// are denied, with the time to come back in its details (`google.rpc.RetryInfo`) and in
    /// `grpc-retry-pushback-ms`, by which clients pace their own retries.
    ///
    /// Calls are [settled](Self::settle_by) by their own status.
    ///
    /// For tonic, the layer goes into `Server::builder().layer(…)`.
    #[cfg(feature = "grpc")]
    pub fn grpc(mut self) -> Self {
        self.pipeline_mut().responder = Responder::Grpc;
        self
    }

    /// Responds to rejected requests with the response that `respond` makes of the reason and of the
    /// request's head; by default with [`Rejection::to_response`].
    ///
    /// The layer adds `Retry-After` unless it is there already, `Content-Length` in any case, and
    /// `X-RateLimit-*` as to any response. The response to a `HEAD` loses its body.
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
        F: Fn(&Rejection, &request::Parts) -> Response<Bytes> + Send + Sync + 'static,
    {
        self.pipeline_mut().responder = Responder::Custom(Arc::new(respond));
        self
    }

    /// Settles a request by the cost that `cost` finds in the head of its response: gives back the
    /// permits that were charged in excess, or charges the missing ones as far as the key has them, or may
    /// owe them ([`Policy::with_debt_max`](ratelimit_algorithms::Policy::with_debt_max)). With `None` the request has cost what was charged.
    ///
    /// The charge before, by [`cost`](Self::cost) or [`cost_by`](Self::cost_by), is a reservation:
    /// nobody else spends these permits while the service works on the request. So it should be
    /// about the usual cost. Headers show the key with the reservation, and the response waits for
    /// the store. A limit that was added with [`also`](Self::also) is settled by its own
    /// [`settle_by`](crate::RequestLimit::settle_by).
    ///
    /// By a header that the service sets; or by the status, so that only failed logins are charged,
    /// over HTTP as over gRPC:
    ///
    /// ```
    /// use ratelimit_http::cost_header;
    ///
    /// # use ratelimit_algorithms::{FixedWindow, Limiter};
    /// # use ratelimit_http::{PeerAddr, RateLimitLayer};
    /// # use ratelimit_memory::Memory;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let store = Memory::new();
    /// # let tokens = Limiter::new(store.clone(), "tokens", FixedWindow::per_hour(100_000))?;
    /// # let logins = Limiter::new(store, "logins", FixedWindow::per_hour(5))?;
    /// let by_header = RateLimitLayer::new(tokens, PeerAddr)
    ///     .cost(1_000)
    ///     .settle_by(cost_header("x-tokens-used"));
    /// let by_status = RateLimitLayer::new(logins, PeerAddr)
    ///     .settle_by(|response| response.status.is_success().then_some(0));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Calls of gRPC
    ///
    /// Every gRPC call has the HTTP status 200, and tells its own status in the trailers, or in the
    /// head if it fails at once. So `cost` is called once that is known, with a head whose status is
    /// the HTTP counterpart of the call's (401 for `UNAUTHENTICATED`), and whose headers contain the
    /// trailers. The trailers wait for the store. A panic of `cost` makes the call one that failed
    /// with `INTERNAL`; a call that ends without a status has cost its reservation.
    ///
    /// # Without a response
    ///
    /// A request whose handler panics or fails, or whose client disconnects first, has cost its
    /// reservation, on every store: the service has worked on it, and a client that disconnects
    /// early should not get that for free. [`refund_unanswered`](Self::refund_unanswered) makes such
    /// requests free. The reservation also stays charged if the store fails to settle it.
    ///
    /// # With a layer that retries
    ///
    /// If the retry layer is inside of this one, all its attempts are one request: charged once, and
    /// settled by the last response. If it is outside, each attempt is charged and settled by
    /// itself.
    pub fn settle_by<F>(mut self, cost: F) -> Self
    where
        F: Fn(&response::Parts) -> Option<u64> + Send + Sync + 'static,
    {
        self.pipeline_mut().response_cost = Some(Arc::new(cost));
        self
    }

    /// Refunds requests without a response: the handler panics or fails, or the client disconnects,
    /// in a gRPC call also before its trailers.
    ///
    /// A client that keeps disconnecting uses the service for free, so this is for handlers that do
    /// nothing expensive before they respond. On a store that has to be awaited a task of tokio
    /// does it (feature `tokio`, see [`settled`](Self::settled)); without that feature the charge
    /// stays.
    pub fn refund_unanswered(mut self) -> Self {
        self.pipeline_mut().settling.refunds_unanswered = true;
        self
    }
    /// Settles each request when the body of its response has ended, has failed or is dropped, for
    /// the cost that its handler or its stream has reported by then. The handle for reports is an
    /// [`ActualCost`](crate::ActualCost) in the request's extensions.
    ///
    /// The charge before is a reservation, as with [`settle_by`](Self::settle_by), and all limits
    /// are settled as one. A limit without a reported cost keeps its reservation; a cost in the
    /// head of the response holds until the handler reports another.
    ///
    /// ```
    /// use axum::{Extension, Router, routing::get};
    /// use ratelimit_algorithms::{Limiter, TokenBucket};
    /// use ratelimit_http::{ActualCost, PeerAddr, RateLimitLayer};
    /// use ratelimit_memory::Memory;
    ///
    /// /// A stream would keep the handle, and tell what each chunk has cost: example `stream`.
    /// async fn complete(Extension(cost): Extension<ActualCost>) -> &'static str {
    ///     cost.set("tokens", 5).expect("the layer has this limit");
    ///     "a poem in five words"
    /// }
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let tokens = Limiter::new(Memory::new(), "tokens", TokenBucket::per_minute(100_000))?;
    /// let layer = RateLimitLayer::new(tokens, PeerAddr).cost(1_000).settle_at_end();
    /// let app: Router = Router::new().route("/complete", get(complete)).layer(layer);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// The end of a body that is read to its end waits for the store. A body that is dropped, as
    /// when the client disconnects, waits for nothing: if the store has to be awaited, a task of
    /// tokio (feature `tokio`) settles it, see [`settled`](Self::settled); without that feature the
    /// charge stays.
    pub fn settle_at_end(mut self) -> Self {
        self.pipeline_mut().settling.is_at_end = true;
        self
    }
}

impl<B, K, P> RateLimitLayer<B, K, P> {
    /// Waits until all requests are settled that have ended by now, on this layer and its clones: for an
    /// orderly shutdown, after the server has closed its connections and before its runtime ends.
    ///
    /// Only settlements in tasks of their own are waited for: of requests that were dropped, on a store
    /// that has to be awaited.
    pub async fn settled(&self) {
        self.pipeline.outstanding.none().await;
    }
}
