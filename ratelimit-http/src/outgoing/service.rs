//! The tower service: a client whose requests wait.

use std::{
    fmt,
    future::{Future, poll_fn},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
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
    S::Error: Send,
    S::Future: Send,
    B: Backend + 'static,
    K: KeyFn + 'static,
    T: Timer + 'static,
    P: Policies + 'static,
    Body: Send + 'static,
    Inner: Send,
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
            let (mut parts, body) = request.into_parts();
            let journey = parts.extensions.get_or_insert_default::<Journey>().clone();
            let key = throttle.wait(&parts).await.inspect_err(|_| journey.refuse())?;
            let request = Request::from_parts(parts, body);
            poll_fn(|context| client.poll_ready(context)).await.map_err(OutgoingError::Service)?;
            let sent = throttle.timer.now();
            match client.call(request).await {
                Err(error) if journey.is_refused() => {
                    throttle.refund(&key).await;
                    Err(OutgoingError::Service(error))
                }
                response => {
                    journey.arrive();
                    let response = response.map_err(OutgoingError::Service)?;
                    throttle.observe(&key, sent, response.status(), response.headers()).await;
                    Ok(response)
                }
            }
        })
    }
}

/// In a request's extensions: how far it came. A permit of one layer is given back if a layer
/// within refuses the request, unless an earlier try of it was sent.
#[derive(Clone, Debug, Default)]
struct Journey(Arc<AtomicU8>);

impl Journey {
    fn refuse(&self) {
        self.0.fetch_or(REFUSED, Ordering::Relaxed);
    }

    fn arrive(&self) {
        self.0.fetch_or(SENT, Ordering::Relaxed);
    }

    fn is_refused(&self) -> bool {
        self.0.load(Ordering::Relaxed) == REFUSED
    }
}

const REFUSED: u8 = 1;
const SENT: u8 = 2;

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
