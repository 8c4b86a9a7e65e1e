//! What clients are told.

use std::sync::Arc;

use bytes::Bytes;
use http::{Response, request::Parts};

use super::RateLimitLayer;
use crate::{HeaderFormat, QuotaUnit, Rejection, rule::Answers};

impl<B: Clone, K: Clone, P: Clone> RateLimitLayer<B, K, P> {
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
        self.rule_mut().headers.set(formats);
        self
    }

    /// Says what the permits of a limit are (`qu` of draft 10): of the one that was
    /// [added](Self::also) last, of the first if none was.
    pub fn quota_unit(mut self, unit: QuotaUnit) -> Self {
        self.rule_mut().headers.count(unit);
        self
    }

    /// Calls clients by a name (`pk` of draft 10), so that one with several keys, or several with
    /// one, can tell which limit was spent.
    ///
    /// The name is 128 bits of a hash that is keyed by `secret`, of at least 16 random bytes: who
    /// sees it learns nothing about the key, and it is another one than what stores hold.
    /// Processes that share a store should share the secret.
    pub fn partition_keys(mut self, secret: impl AsRef<[u8]>) -> Self {
        self.rule_mut().headers.partition(secret.as_ref());
        self
    }

    /// Answers with problem details (RFC 9457): of type `quota-exceeded`, with the names
    /// of the limiters that denied as its `violated-policies`, to who is denied; of type `temporary-reduced-capacity` where
    /// the store does not answer.
    pub fn problem_details(mut self) -> Self {
        self.rule_mut().answers = Answers::Problems;
        self
    }

    /// Answers as gRPC wants it: with a status in the headers, `RESOURCE_EXHAUSTED` for who is
    /// denied, and a `google.rpc.RetryInfo` in its details that says when to come back.
    ///
    /// For tonic, the layer goes into `Server::builder().layer(…)`.
    #[cfg(feature = "grpc")]
    pub fn grpc(mut self) -> Self {
        self.rule_mut().answers = Answers::Grpc;
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
        self.rule_mut().answers = Answers::Custom(Arc::new(respond));
        self
    }
}
