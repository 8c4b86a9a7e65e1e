//! Responses to rejected requests: the reason, and the forms in which clients get it.

#[cfg(feature = "grpc")]
mod grpc;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Response, StatusCode,
    header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER},
    request::Parts,
};
use ratelimit_algorithms::{
    AcquireError, CostError, Decision, Error, LimitsDecision, Micros, Source,
};

use crate::{KeyError, headers::number};

/// The reason why a request did not reach the service.
///
/// A handler that checks a limiter itself makes one of the limiter's error or decision, and responds
/// like a layer with [`to_response`](Self::to_response).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Rejection {
    /// The request was denied; nothing was charged.
    Deny(Decision),
    /// The request has no key.
    Key(KeyError),
    /// The request has no cost, or an invalid one.
    Cost,
    /// The limiter made no decision.
    Check(Error),
    /// One of the layer's functions panicked, for skips, costs, tiers, settling or responses.
    Internal,
}

/// The form of the responses to rejected requests.
#[derive(Clone)]
pub(crate) enum Responder {
    /// [`Rejection::to_response`].
    Json,
    /// Problem details (RFC 9457), with the types of the draft about rate-limit headers.
    Problem,
    #[cfg(feature = "grpc")]
    Grpc,
    Custom(Arc<Respond>),
}

pub(crate) type Respond = dyn Fn(&Rejection, &Parts) -> Response<Bytes> + Send + Sync;

impl Rejection {
    /// The status: 429 for a spent limit, 503 for a store that did not answer, never one for the
    /// other.
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
            Self::Check(_) | Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// Whole seconds after which to retry, at least 1: a client that waits this long is never
    /// early. `None` if waiting does not help.
    #[must_use]
    pub fn retry_after_secs(&self) -> Option<u64> {
        self.retry_after().map(|wait| wait.as_secs_ceil().max(1))
    }

    fn retry_after(&self) -> Option<Micros> {
        match self {
            // A limit of nothing never admits anything.
            Self::Deny(decision) => Some(decision.retry_after()).filter(|it| *it < Micros::MAX),
            Self::Check(Error::Backend(_)) | Self::Key(KeyError::TimedOut) => {
                Some(Micros::from_secs(1))
            }
            _ => None,
        }
    }

    /// The response unless a layer has [another](crate::RateLimitLayer::respond_with): the status,
    /// and JSON that says no more than the status does.
    ///
    /// `Retry-After` is among its headers; [`HeaderFormat::write`](crate::HeaderFormat::write) adds
    /// those of the limit, as a layer does.
    #[must_use]
    pub fn to_response(&self) -> Response<Bytes> {
        let status = self.status();
        let body: &[u8] = match status {
            StatusCode::TOO_MANY_REQUESTS => br#"{"error":"rate limit exceeded"}"#,
            StatusCode::SERVICE_UNAVAILABLE => br#"{"error":"service unavailable"}"#,
            StatusCode::BAD_REQUEST => br#"{"error":"bad request"}"#,
            _ => br#"{"error":"internal server error"}"#,
        };
        let mut response = response(status, "application/json", Bytes::from_static(body));
        self.set_retry_after(response.headers_mut());
        response
    }

    /// Sets `Retry-After`, unless it is there already or does not apply.
    fn set_retry_after(&self, headers: &mut HeaderMap) {
        if let Some(seconds) = self.retry_after_secs() {
            headers.entry(RETRY_AFTER).or_insert_with(|| number(seconds));
        }
    }
}

impl Responder {
    /// The response to a rejected request, unless the service has it already. `violated` lists the
    /// names of the limits that denied it.
    pub(crate) fn respond<'a>(
        &self,
        rejection: &Rejection,
        violated: impl FnOnce() -> Vec<&'a str>,
        request: Option<&Parts>,
    ) -> Response<Bytes> {
        let mut response = match (self, request) {
            (Self::Custom(respond), Some(request)) => {
                match catch_panic(|| respond(rejection, request)) {
                    Ok(response) => response,
                    Err(failure) => return Self::Json.respond(&failure, violated, Some(request)),
                }
            }
            (Self::Json | Self::Custom(_), _) => rejection.to_response(),
            (Self::Problem, _) => problem(rejection, &violated()),
            #[cfg(feature = "grpc")]
            (Self::Grpc, _) => grpc::response(rejection.status(), rejection.retry_after()),
        };
        let length = number(response.body().len() as u64);
        if !matches!(self, Self::Json) {
            rejection.set_retry_after(response.headers_mut());
        }
        // Set here, since a HEAD is told the length of a body that it does not get.
        response.headers_mut().insert(CONTENT_LENGTH, length);
        let is_head = request.is_some_and(|request| request.method == Method::HEAD);
        if is_head { response.map(|_| Bytes::new()) } else { response }
    }
}

/// Calls one of the layer's functions, whose panic is the failure of one request.
pub(crate) fn catch_panic<T>(call: impl FnOnce() -> T) -> Result<T, Rejection> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|_| Rejection::Internal)
}

/// A response with problem details, of the types and titles that draft 11 registers. `violated` are
/// the names of the limits that denied, if any did.
fn problem(rejection: &Rejection, violated: &[&str]) -> Response<Bytes> {
    let status = rejection.status();
    let violated = || format!(r#"["{}"]"#, violated.join(r#"",""#));
    let (kind, title, violated) = match (status, rejection) {
        (_, Rejection::Deny(decision)) if is_excluded(decision) => {
            ("abnormal-usage-detected", "Abnormal Usage Detected", violated())
        }
        (StatusCode::TOO_MANY_REQUESTS, _) => ("quota-exceeded", "Quota Exceeded", violated()),
        (StatusCode::SERVICE_UNAVAILABLE, _) => {
            ("temporary-reduced-capacity", "Temporary Reduced Capacity", "[]".to_owned())
        }
        _ => return untyped_problem(status),
    };
    let code = status.as_u16();
    let body = format!(
        r#"{{"type":"{TYPES}{kind}","title":"{title}","status":{code},"violated-policies":{violated}}}"#
    );
    response(status, PROBLEM, body.into())
}

/// True of a denial whatever the client has spent: by a block, or by a list.
fn is_excluded(decision: &Decision) -> bool {
    decision.is_blocked() || decision.source() == Source::List
}

fn untyped_problem(status: StatusCode) -> Response<Bytes> {
    let (code, title) = (status.as_u16(), status.canonical_reason().unwrap_or_default());
    let body = format!(r#"{{"type":"about:blank","title":"{title}","status":{code}}}"#);
    response(status, PROBLEM, body.into())
}

const PROBLEM: &str = "application/problem+json";
const TYPES: &str = "https://iana.org/assignments/http-problem-types#";

fn response(status: StatusCode, content_type: &'static str, body: Bytes) -> Response<Bytes> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = HeaderMap::with_capacity(HEADERS);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// The headers of most rejections: three of the response, and three of the limit.
const HEADERS: usize = 6;

/// A decision that denied the request.
impl From<Decision> for Rejection {
    fn from(decision: Decision) -> Self {
        Self::Deny(decision)
    }
}

/// A decision about several limits that denied the request: the limit that bound.
impl From<&LimitsDecision> for Rejection {
    fn from(decision: &LimitsDecision) -> Self {
        Self::Deny(decision.each()[decision.bound()])
    }
}

impl From<AcquireError> for Rejection {
    fn from(error: AcquireError) -> Self {
        match error {
            AcquireError::Denied(decision) => decision.into(),
            AcquireError::DeniedTogether(decision) => (&decision).into(),
            AcquireError::Failed(error) => error.into(),
            _ => Self::Internal,
        }
    }
}

/// [`to_response`](Rejection::to_response), so that a handler can return a `Rejection` as its error:
///
/// ```
/// use ratelimit_algorithms::Limiter;
/// use ratelimit_http::Rejection;
/// use ratelimit_memory::Memory;
///
/// async fn export(limiter: Limiter<Memory>) -> Result<&'static str, Rejection> {
///     let permit = limiter.acquire("exports").await?;
///     # permit.keep();
///     Ok("id,name")
/// }
/// ```
#[cfg(feature = "axum")]
impl axum::response::IntoResponse for Rejection {
    fn into_response(self) -> axum::response::Response {
        self.to_response().map(axum::body::Body::from)
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
