//! The middleware that an application wraps its app, a scope or a resource in.

use std::{
    fmt,
    future::{Future, Ready, ready},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use actix_web::{
    Error,
    body::{EitherBody, MessageBody},
    dev::{Service, ServiceRequest, ServiceResponse, Transform},
    error::InternalError,
};
use ratelimit_algorithms::{Backend, Policies, Policy};
use ratelimit_http::{AsyncKeyFn, RateLimitLayer};
use tower_layer::Layer;
use tower_service::Service as _;

use crate::{
    RejectionBody, SettledBody,
    head::{self, SetExtensions},
    service::{RequestHandle, TowerService},
};

/// A [`RateLimitLayer`] for actix-web.
#[must_use = "it does nothing unless an app, a scope or a resource is wrapped in it"]
pub struct RateLimit<B, K, P = Policy> {
    layer: RateLimitLayer<B, K, P>,
    extensions: Vec<Rc<SetExtensions>>,
}

impl<B, K, P> RateLimit<B, K, P> {
    /// Limits requests as `layer` does. Its clones share its budgets, as those of all workers should.
    pub const fn new(layer: RateLimitLayer<B, K, P>) -> Self {
        Self { layer, extensions: Vec::new() }
    }

    /// Calls `set` to copy what keys are made of from actix-web's request into the extensions that
    /// the layer sees; after those of earlier calls.
    ///
    /// ```
    /// use actix_web::HttpMessage;
    /// use ratelimit_actix::RateLimit;
    /// use ratelimit_http::{Extension, KeyFn, PeerAddr, RateLimitLayer};
    /// # use ratelimit_algorithms::{FixedWindow, Limiter};
    /// # use ratelimit_memory::Memory;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let limiter = Limiter::new(Memory::new(), "api", FixedWindow::per_minute(100))?;
    /// /// Set by a middleware that authenticates, outside of this one.
    /// #[derive(Clone)]
    /// struct User { id: u64 }
    ///
    /// let client = Extension::new(|user: &User| user.id).or(PeerAddr);
    /// let layer = RateLimitLayer::new(limiter, client);
    /// let limit = RateLimit::new(layer).extensions(|request, extensions| {
    ///     if let Some(user) = request.extensions().get::<User>() {
    ///         extensions.insert(user.clone());
    ///     }
    /// });
    /// # Ok(())
    /// # }
    /// ```
    pub fn extensions<F>(mut self, set: F) -> Self
    where
        F: Fn(&ServiceRequest, &mut http::Extensions) + 'static,
    {
        self.extensions.push(Rc::new(set));
        self
    }
}

impl<S, B, K, P> Transform<S, ServiceRequest> for RateLimit<B, K, P>
where
    RateLimitMiddleware<S, B, K, P>: Service<ServiceRequest>,
{
    type Response = <Self::Transform as Service<ServiceRequest>>::Response;
    type Error = <Self::Transform as Service<ServiceRequest>>::Error;
    type Transform = RateLimitMiddleware<S, B, K, P>;
    type InitError = ();
    type Future = Ready<Result<Self::Transform, ()>>;

    fn new_transform(&self, service: S) -> Self::Future {
        let service = Rc::new(service);
        let limited = self.layer.layer(TowerService::new(Rc::clone(&service)));
        ready(Ok(RateLimitMiddleware { service, limited, extensions: self.extensions.clone() }))
    }
}

/// A service behind a limiter; made by a [`RateLimit`].
pub struct RateLimitMiddleware<S, B, K, P = Policy> {
    service: Rc<S>,
    limited: ratelimit_http::RateLimitService<TowerService<S>, B, K, P>,
    extensions: Vec<Rc<SetExtensions>>,
}

impl<S, B, K, P, Body> Service<ServiceRequest> for RateLimitMiddleware<S, B, K, P>
where
    S: Service<ServiceRequest, Response = ServiceResponse<Body>, Error = Error> + 'static,
    B: Backend + Clone + 'static,
    K: AsyncKeyFn + 'static,
    P: Policies + Clone + 'static,
    Body: MessageBody + 'static,
{
    type Response = ServiceResponse<EitherBody<SettledBody<Body>, RejectionBody>>;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Error>>>>;

    fn poll_ready(&self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.service.poll_ready(context)
    }

    fn call(&self, request: ServiceRequest) -> Self::Future {
        let mut limited = self.limited.clone();
        let head = head::of_request(&request, &self.extensions);
        Box::pin(async move {
            let handle = RequestHandle::new(request);
            let response = limited.call(http::Request::from_parts(head?, handle.clone())).await?;
            let (head, body) = response.into_parts();
            match body.into_parts() {
                Ok((Ok(mut response), end)) => {
                    head::write(&head.headers, response.headers_mut())?;
                    let body = |_: &mut _, body| SettledBody::new(body, end);
                    Ok(response.map_body(body).map_into_left_body())
                }
                // Settled here: the body of the error's response is made further outside.
                Ok((Err(error), _)) => Err(error.with_headers(head.headers)),
                Err(body) => {
                    let response = RejectionBody::response(&head, body)?;
                    match handle.take() {
                        Some(request) => Ok(request.into_response(response).map_into_right_body()),
                        // Passed on: the layer failed after that.
                        None => Err(InternalError::from_response(
                            "a function of the layer panicked",
                            response.map_into_boxed_body(),
                        )
                        .into()),
                    }
                }
            }
        })
    }
}

impl<B: Backend, K, P: Policies> fmt::Debug for RateLimit<B, K, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimit").field("layer", &self.layer).finish_non_exhaustive()
    }
}

impl<S, B, K, P> fmt::Debug for RateLimitMiddleware<S, B, K, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimitMiddleware").finish_non_exhaustive()
    }
}
