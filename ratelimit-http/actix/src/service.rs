//! The service of actix-web as the layer calls it.

use std::{
    cell::Cell,
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use actix_web::{
    Error,
    dev::{Service, ServiceRequest, ServiceResponse},
};

use crate::head;

/// A request on its way through the layer, which passes it on as a body that it does not look at.
///
/// A handle, because actix-web answers in the name of a request: one that the layer turns away is
/// still needed then. It cannot be a copy, since actix-web wants the request to be the only one.
#[derive(Clone)]
pub(crate) struct Handed(Rc<Cell<Option<ServiceRequest>>>);

impl Handed {
    pub(crate) fn new(request: ServiceRequest) -> Self {
        Self(Rc::new(Cell::new(Some(request))))
    }

    pub(crate) fn take(&self) -> Option<ServiceRequest> {
        self.0.take()
    }
}

/// Calls the service with the request that was handed through; its response is the body of the one
/// that the layer sees.
pub(crate) struct Handler<S>(Rc<S>);

impl<S> Handler<S> {
    pub(crate) const fn new(service: Rc<S>) -> Self {
        Self(service)
    }
}

impl<S, Body> tower_service::Service<http::Request<Handed>> for Handler<S>
where
    S: Service<ServiceRequest, Response = ServiceResponse<Body>, Error = Error> + 'static,
{
    type Response = http::Response<ServiceResponse<Body>>;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Error>>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Handed>) -> Self::Future {
        let (parts, handed) = request.into_parts();
        let request = handed.take().expect("the layer calls the service once");
        head::leave(parts.extensions, &request);
        let response = self.0.call(request);
        Box::pin(async move { head::respond(response.await?) })
    }
}

impl<S> Clone for Handler<S> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}
