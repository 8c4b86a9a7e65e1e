//! The service that a layer makes.

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use ratelimit_algorithms::{Backend, Policies, Policy};
use tower_service::Service;

use crate::{AsyncKeyFn, ResponseBody, ResponseFuture, rule::Rule};

/// A service behind a limiter; made by a [`RateLimitLayer`](crate::RateLimitLayer).
///
/// It is ready when the inner service is, and hands the request to the very instance that said so.
/// That instance waits for the decision, with whatever it has reserved, and is dropped when the
/// request is denied. Dropping the response future before there is a decision leaves one whole
/// charge or none, none if it was never polled, and the inner service is not called.
pub struct RateLimit<S, B, K, P = Policy> {
    inner: S,
    rule: Arc<Rule<B, K, P>>,
}

impl<S, B, K, P> RateLimit<S, B, K, P> {
    pub(crate) const fn new(inner: S, rule: Arc<Rule<B, K, P>>) -> Self {
        Self { inner, rule }
    }

    accessors!();
}

impl<S, B, K, P, Body, Inner> Service<Request<Body>> for RateLimit<S, B, K, P>
where
    S: Service<Request<Body>, Response = Response<Inner>> + Clone,
    B: Backend + Clone + 'static,
    K: AsyncKeyFn + 'static,
    P: Policies + Clone + 'static,
{
    type Response = Response<ResponseBody<Inner>>;
    type Error = S::Error;
    type Future = ResponseFuture<S, B, K, Body, P>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let fresh = self.inner.clone();
        let ready = std::mem::replace(&mut self.inner, fresh);
        ResponseFuture::new(Arc::clone(&self.rule), request, ready)
    }
}

impl<S: Clone, B, K, P> Clone for RateLimit<S, B, K, P> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), rule: Arc::clone(&self.rule) }
    }
}

impl<S: fmt::Debug, B: Backend, K, P: Policies> fmt::Debug for RateLimit<S, B, K, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { inner, rule } = self;
        f.debug_struct("RateLimit").field("inner", inner).field("rule", rule).finish()
    }
}
