//! Heads of requests and responses, from one version of `http` to another.

use std::rc::Rc;

use actix_web::{
    Error, HttpMessage,
    dev::ServiceRequest,
    error::{ErrorBadRequest, ErrorInternalServerError},
    http::{
        StatusCode,
        header::{HeaderMap, HeaderName, HeaderValue},
    },
};
use http::request::Parts;
use ratelimit_algorithms::Decision;
use ratelimit_http::{ActualCost, Peer};

/// Sets the extensions that the layer sees.
pub(crate) type SetExtensions = dyn Fn(&ServiceRequest, &mut http::Extensions);

/// The head of a request in the layer's version of `http`.
pub(crate) fn of_request(
    request: &ServiceRequest,
    extensions: &[Rc<SetExtensions>],
) -> Result<Parts, Error> {
    let (mut head, ()) = http::Request::new(()).into_parts();
    head.method = request.method().as_str().parse().map_err(ErrorBadRequest)?;
    head.uri = request.uri().to_string().try_into().map_err(ErrorBadRequest)?;
    head.version = version(request.version());
    head.headers = copy(request.headers()).map_err(ErrorBadRequest)?;
    head.extensions = request.extensions().get().cloned().unwrap_or_default();
    if let Some(peer) = request.peer_addr() {
        head.extensions.insert(Peer(peer));
    }
    for set in extensions {
        set(request, &mut head.extensions);
    }
    Ok(head)
}

/// Leaves the layer's extensions in the request: the decision and the handle for the actual cost for
/// handlers, and all of them for layers inside of this one.
pub(crate) fn leave(extensions: http::Extensions, request: &ServiceRequest) {
    let mut left = request.extensions_mut();
    if let Some(decision) = extensions.get::<Decision>() {
        left.insert(*decision);
    }
    if let Some(cost) = extensions.get::<ActualCost>() {
        left.insert(cost.clone());
    }
    left.insert(extensions);
}

/// The head of a response in the layer's version of `http`.
pub(crate) fn of_response(
    status: StatusCode,
    headers: &HeaderMap,
) -> Result<http::response::Parts, Error> {
    let (mut head, ()) = http::Response::new(()).into_parts();
    let status = http::StatusCode::from_u16(status.as_u16());
    head.status = status.map_err(ErrorInternalServerError)?;
    head.headers = copy(headers).map_err(ErrorInternalServerError)?;
    Ok(head)
}

fn copy(headers: &HeaderMap) -> Result<http::HeaderMap, http::Error> {
    let mut copy = http::HeaderMap::with_capacity(headers.len());
    for (name, value) in headers {
        let name = http::HeaderName::from_bytes(name.as_str().as_bytes())?;
        copy.append(name, http::HeaderValue::from_bytes(value.as_bytes())?);
    }
    Ok(copy)
}

fn version(version: actix_web::http::Version) -> http::Version {
    use actix_web::http::Version;
    match version {
        Version::HTTP_09 => http::Version::HTTP_09,
        Version::HTTP_10 => http::Version::HTTP_10,
        Version::HTTP_2 => http::Version::HTTP_2,
        Version::HTTP_3 => http::Version::HTTP_3,
        _ => http::Version::HTTP_11,
    }
}

/// Copies the layer's headers into those of the response; unchanged ones stay as they are.
pub(crate) fn write(layers: &http::HeaderMap, headers: &mut HeaderMap) -> Result<(), Error> {
    for name in layers.keys() {
        let values = || layers.get_all(name).iter().map(http::HeaderValue::as_bytes);
        if values().eq(headers.get_all(name.as_str()).map(HeaderValue::as_bytes)) {
            continue;
        }
        headers.remove(name.as_str());
        let name = HeaderName::from_bytes(name.as_str().as_bytes());
        let name = name.map_err(ErrorInternalServerError)?;
        for value in values() {
            let value = HeaderValue::from_bytes(value).map_err(ErrorInternalServerError)?;
            headers.append(name.clone(), value);
        }
    }
    Ok(())
}
