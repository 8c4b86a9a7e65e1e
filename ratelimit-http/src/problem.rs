//! Answers as problem details (RFC 9457), with the types of the draft on rate-limit headers.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header::CONTENT_TYPE};

use crate::Rejection;

/// The problem behind `rejection`; of a spent limit, of the policies that are called so.
pub(crate) fn response(rejection: &Rejection, violated: &[&str]) -> Response<Bytes> {
    let status = rejection.status();
    let (kind, title, violated) = match status {
        StatusCode::TOO_MANY_REQUESTS => (
            "https://iana.org/assignments/http-problem-types#quota-exceeded",
            "Request cannot be satisfied as assigned quota has been exceeded",
            format!(r#","violated-policies":["{}"]"#, violated.join(r#"",""#)),
        ),
        // No quota is violated when a store does not answer.
        StatusCode::SERVICE_UNAVAILABLE => (
            "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity",
            "Request cannot be satisfied due to temporary server capacity constraints",
            r#","violated-policies":[]"#.to_owned(),
        ),
        _ => ("about:blank", status.canonical_reason().unwrap_or_default(), String::new()),
    };
    let code = status.as_u16();
    let body = format!(r#"{{"type":"{kind}","title":"{title}","status":{code}{violated}}}"#);
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = status;
    let content_type = HeaderValue::from_static("application/problem+json");
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}
