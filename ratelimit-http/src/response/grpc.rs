//! Responses for gRPC clients: a status, with the time to retry in its details.
//!
//! The details are three small messages of Google's (`Status`, `Any`, `RetryInfo`), written by hand:
//! a code generator and its runtime would be a hundred times their size.

use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header::CONTENT_TYPE};
use ratelimit_algorithms::Micros;

const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const DETAILS: HeaderName = HeaderName::from_static("grpc-status-details-bin");
const PUSHBACK: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");

/// The counterpart of an HTTP status: a response of headers alone, as for any call that fails at
/// once.
pub(super) fn response(status: StatusCode, retry_delay: Option<Micros>) -> Response<Bytes> {
    let (code, message) = match status {
        StatusCode::TOO_MANY_REQUESTS => (RESOURCE_EXHAUSTED, "rate limit exceeded"),
        StatusCode::SERVICE_UNAVAILABLE => (UNAVAILABLE, "service unavailable"),
        StatusCode::BAD_REQUEST => (INVALID_ARGUMENT, "bad request"),
        _ => (INTERNAL, "internal server error"),
    };
    let mut response = Response::new(Bytes::new());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(STATUS, u64::from(code).into());
    headers.insert(MESSAGE, HeaderValue::from_static(message));
    match retry_delay {
        Some(delay) => {
            let details = STANDARD_NO_PAD.encode(details(code, message, delay));
            let details = HeaderValue::from_str(&details).expect("base64 is visible characters");
            headers.insert(DETAILS, details);
            let millis = i32::try_from(delay.as_micros().div_ceil(1_000)).unwrap_or(i32::MAX);
            headers.insert(PUSHBACK, millis.into());
        }
        // Clients that retry by themselves stop at a negative number.
        None => _ = headers.insert(PUSHBACK, HeaderValue::from_static("-1")),
    }
    response
}

// Status codes of gRPC.
const INVALID_ARGUMENT: u8 = 3;
const RESOURCE_EXHAUSTED: u8 = 8;
const INTERNAL: u8 = 13;
const UNAVAILABLE: u8 = 14;

/// `google.rpc.Status`.
fn details(code: u8, message: &str, delay: Micros) -> Vec<u8> {
    let mut status = Vec::new();
    number(&mut status, 1, code.into());
    bytes(&mut status, 2, message.as_bytes());
    bytes(&mut status, 3, &retry_info(delay));
    status
}

/// `google.rpc.RetryInfo`, in a `google.protobuf.Any`.
fn retry_info(delay: Micros) -> Vec<u8> {
    let (mut duration, mut info, mut any) = (Vec::new(), Vec::new(), Vec::new());
    number(&mut duration, 1, delay.as_micros() / 1_000_000);
    number(&mut duration, 2, delay.as_micros() % 1_000_000 * 1_000);
    bytes(&mut info, 1, &duration);
    bytes(&mut any, 1, b"type.googleapis.com/google.rpc.RetryInfo");
    bytes(&mut any, 2, &info);
    any
}

/// Appends a field that holds a number.
fn number(message: &mut Vec<u8>, field: u8, value: u64) {
    message.push(field << 3);
    varint(message, value);
}

/// Appends a field that holds a text or a message.
fn bytes(message: &mut Vec<u8>, field: u8, value: &[u8]) {
    message.push(field << 3 | 2);
    varint(message, value.len() as u64);
    message.extend_from_slice(value);
}

/// Appends a number, seven bits a byte and the lowest first; the eighth bit says that more follow.
fn varint(message: &mut Vec<u8>, mut value: u64) {
    loop {
        let [low, ..] = value.to_le_bytes();
        value >>= 7;
        if value == 0 {
            return message.push(low & 0x7f);
        }
        message.push(low | 0x80);
    }
}
