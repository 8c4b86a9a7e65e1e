//! Why a request did not reach the service, and what its client is told.

#[cfg(feature = "grpc")]
pub(crate) mod grpc;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header::CONTENT_TYPE};
use ratelimit_algorithms::{CostError, Decision, Error};

use crate::KeyError;

/// Why a request did not reach the service.
#[derive(Debug)]
#[non_exhaustive]
pub enum Rejection {
    /// It was denied; nothing was charged.
    Deny(Decision),
    /// It has no key.
    Key(KeyError),
    /// It does not say what it costs, or makes no sense there.
    Cost,
    /// The limiter made no decision.
    Check(Error),
}

impl Rejection {
    /// 429 for a spent limit, 503 for a store that did not answer, and never one for the other.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::Deny(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Key(error) => error.status(),
            Self::Check(Error::Backend(_)) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Check(Error::Cost(CostError::ExceedsLimit { .. })) => {
                StatusCode::TOO_MANY_REQUESTS
            }
            Self::Cost | Self::Check(Error::Cost(_) | Error::Key(_)) => StatusCode::BAD_REQUEST,
            Self::Check(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// Whole seconds after which to try again, at least 1: who waits that long is never early.
    /// `None` where waiting does not help.
    #[must_use]
    pub fn retry_after_secs(&self) -> Option<u64> {
        match self {
            Self::Deny(decision) => Some(decision.retry_after().as_secs_ceil().max(1)),
            Self::Check(Error::Backend(_)) | Self::Key(KeyError::TimedOut) => Some(1),
            _ => None,
        }
    }

    /// The answer unless a layer has [another](crate::RateLimitLayer::respond_with): the status,
    /// and JSON that says no more than it does.
    ///
    /// `Retry-After`, `X-RateLimit-*` and `Content-Length` are not in it; the layer adds them to
    /// any answer.
    #[must_use]
    pub fn to_response(&self) -> Response<Bytes> {
        let status = self.status();
        let body: &[u8] = match status {
            StatusCode::TOO_MANY_REQUESTS => br#"{"error":"rate limit exceeded"}"#,
            StatusCode::SERVICE_UNAVAILABLE => br#"{"error":"service unavailable"}"#,
            StatusCode::BAD_REQUEST => br#"{"error":"bad request"}"#,
            _ => br#"{"error":"internal server error"}"#,
        };
        let mut response = Response::new(Bytes::from_static(body));
        *response.status_mut() = status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }
}

impl From<KeyError> for Rejection {
    fn from(error: KeyError) -> Self {
        Self::Key(error)
    }
}

impl From<Error> for Rejection {
    fn from(error: Error) -> Self {
        Self::Check(error)
    }
}
