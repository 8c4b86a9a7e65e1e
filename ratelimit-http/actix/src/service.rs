//! A service of actix-web in the form of a tower service, so that the layer can call it.

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

use crate::{error::ServiceError, head};

/// A request on its way through the layer, which passes it on as a body without looking at it.
///
/// A shared handle, because actix-web makes a response from its request, and so needs a request
/// back that the layer has rejected. It cannot be a copy: routing wants the only reference.
#[derive(Clone)]
pub(crate) struct RequestHandle(Rc<Cell<Option<ServiceRequest>>>);

impl RequestHandle {
    pub(crate) fn new(request: ServiceRequest) -> Self {
        Self(Rc::new(Cell::new(Some(request))))
    }

    pub(crate) fn take(&self) -> Option<ServiceRequest> {
        self.0.take()
    }
}

/// Calls the service with the request behind the handle. The service's response, or the error of
/// which actix-web makes one, is the body of the response that the layer sees.
pub(crate) struct TowerService<S>(Rc<S>);

impl<S> TowerService<S> {
    pub(crate) const fn new(service: Rc<S>) -> Self {
        Self(service)
    }
}

impl<S, Body> tower_service::Service<http::Request<RequestHandle>> for TowerService<S>
where
    S: Service<ServiceRequest, Response = ServiceResponse<Body>, Error = Error> + 'static,
{
    type Response = http::Response<Result<ServiceResponse<Body>, ServiceError>>;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Error>>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<RequestHandle>) -> Self::Future {
        let (parts, handle) = request.into_parts();
        let request = handle.take().expect("the layer calls the service once");
        head::leave(parts.extensions, &request);
        let response = self.0.call(request);
        Box::pin(async move {
            match response.await {
                Ok(response) => {
                    let head = head::of_response(response.status(), response.headers())?;
                    Ok(http::Response::from_parts(head, Ok(response)))
                }
                Err(error) => {
                    let response = error.error_response();
                    let head = head::of_response(response.status(), response.headers())?;
                    let error = ServiceError::new(error, head.headers.clone());
                    Ok(http::Response::from_parts(head, Err(error)))
                }
            }
        })
    }
}

impl<S> Clone for TowerService<S> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}
