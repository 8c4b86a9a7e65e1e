//! The tower service: a client whose requests wait.

use std::{
    fmt,
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use ratelimit_algorithms::{Backend, Policies, Policy, Timer};
use tower_service::Service;

use super::throttle::{OutgoingError, Throttle};
use crate::key::KeyFn;

/// A client whose requests wait for permits and cooldowns; made by an
/// [`OutgoingLayer`](crate::OutgoingLayer).
pub struct Outgoing<S, B, K, T, P = Policy> {
    inner: S,
    throttle: Arc<Throttle<B, K, T, P>>,
}

impl<S, B, K, T, P> Outgoing<S, B, K, T, P> {
    pub(super) const fn new(inner: S, throttle: Arc<Throttle<B, K, T, P>>) -> Self {
        Self { inner, throttle }
    }

    accessors!();
}

impl<S, B, K, T, P, Body, Inner> Service<Request<Body>> for Outgoing<S, B, K, T, P>
where
    S: Service<Request<Body>, Response = Response<Inner>> + Clone + Send + 'static,
    S::Future: Send,
    B: Backend + 'static,
    K: KeyFn + 'static,
    T: Timer + 'static,
    P: Policies + 'static,
    Body: Send + 'static,
{
    type Response = Response<Inner>;
    type Error = OutgoingError<S::Error>;
    // Boxed: a call to another host takes a thousand times as long as that.
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (mut client, throttle) = (self.inner.clone(), Arc::clone(&self.throttle));
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let key = throttle.wait(&parts).await?;
            let request = Request::from_parts(parts, body);
            let failed = OutgoingError::Service;
            poll_fn(|context| client.poll_ready(context)).await.map_err(failed)?;
            let response = client.call(request).await.map_err(failed)?;
            throttle.observe(&key, response.status(), response.headers());
            Ok(response)
        })
    }
}

impl<S: Clone, B, K, T, P> Clone for Outgoing<S, B, K, T, P> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), throttle: Arc::clone(&self.throttle) }
    }
}

impl<S: fmt::Debug, B: Backend, K, T, P: Policies> fmt::Debug for Outgoing<S, B, K, T, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { inner, throttle } = self;
        f.debug_struct("Outgoing").field("inner", inner).field("throttle", throttle).finish()
    }
}
