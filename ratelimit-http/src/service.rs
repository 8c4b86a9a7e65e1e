//! The service that a layer makes.

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use ratelimit_algorithms::Backend;
use tower_service::Service;

use crate::{KeyFn, ResponseBody, ResponseFuture, rule::Rule};

/// A service behind a limiter; made by a [`RateLimitLayer`](crate::RateLimitLayer).
///
/// It is ready when the inner service is, and hands the request to the very instance that said so.
/// That instance waits for the decision, with whatever it has reserved, and is dropped when the
/// request is denied. Dropping the response future before there is a decision leaves one whole
/// charge or none, none if it was never polled, and the inner service is not called.
pub struct RateLimit<S, B, K> {
    inner: S,
    rule: Arc<Rule<B, K>>,
}

impl<S, B, K> RateLimit<S, B, K> {
    pub(crate) const fn new(inner: S, rule: Arc<Rule<B, K>>) -> Self {
        Self { inner, rule }
    }

    /// The inner service.
    #[must_use]
    pub const fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The inner service.
    #[must_use]
    pub const fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// The inner service.
    #[must_use]
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, B, K, Body, Inner> Service<Request<Body>> for RateLimit<S, B, K>
where
    S: Service<Request<Body>, Response = Response<Inner>> + Clone,
    B: Backend + 'static,
    K: KeyFn + 'static,
{
    type Response = Response<ResponseBody<Inner>>;
    type Error = S::Error;
    type Future = ResponseFuture<S, B, K, Body>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let fresh = self.inner.clone();
        let ready = std::mem::replace(&mut self.inner, fresh);
        ResponseFuture::new(Arc::clone(&self.rule), request, ready)
    }
}

impl<S: Clone, B, K> Clone for RateLimit<S, B, K> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), rule: Arc::clone(&self.rule) }
    }
}

impl<S: fmt::Debug, B: Backend, K> fmt::Debug for RateLimit<S, B, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { inner, rule } = self;
        f.debug_struct("RateLimit").field("inner", inner).field("rule", rule).finish()
    }
}
