//! Errors of the service, of which actix-web makes responses further outside.

use std::fmt;

use actix_web::{Error, HttpResponse, ResponseError, http::StatusCode};
use http::HeaderMap;

use crate::head;

/// An error of the service, with the headers of its response.
#[derive(Debug)]
pub(crate) struct ServiceError {
    error: Error,
    headers: HeaderMap,
}

impl ServiceError {
    pub(crate) const fn new(error: Error, headers: HeaderMap) -> Self {
        Self { error, headers }
    }

    /// The error, whose response gets those of the layer's headers that are not in it already.
    pub(crate) fn with_headers(self, layers: HeaderMap) -> Error {
        let Self { error, headers: own } = self;
        let mut added = layers;
        for name in own.keys() {
            if added.get_all(name) == own.get_all(name) {
                added.remove(name);
            }
        }
        // Left as it is where possible, since others may look for its type.
        if added.is_empty() { error } else { Self { error, headers: added }.into() }
    }
}

impl ResponseError for ServiceError {
    fn status_code(&self) -> StatusCode {
        self.error.as_response_error().status_code()
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = self.error.error_response();
        match head::write(&self.headers, response.headers_mut()) {
            Ok(()) => response,
            Err(error) => error.error_response(),
        }
    }
}

impl fmt::Display for ServiceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}
