//! Responses to requests that the layer rejects.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use actix_web::{
    Error, HttpResponse,
    body::{BodySize, MessageBody},
    error::ErrorInternalServerError,
    http::StatusCode,
};
use bytes::Bytes;
use http::{header::CONTENT_LENGTH, response::Parts};

use crate::head;

/// The body of a response to a rejected request.
#[derive(Debug)]
pub struct RejectionBody {
    bytes: Bytes,
    /// The length that the head tells: for a HEAD, that of the body which it does not get.
    length: u64,
}

impl RejectionBody {
    /// The response whose head and body the layer has made.
    pub(crate) fn response(head: &Parts, bytes: Bytes) -> Result<HttpResponse<Self>, Error> {
        let length = head.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok());
        let length = length.and_then(|length| length.parse().ok()).unwrap_or(bytes.len() as u64);
        let status = StatusCode::from_u16(head.status.as_u16());
        let status = status.map_err(ErrorInternalServerError)?;
        let mut response = HttpResponse::with_body(status, Self { bytes, length });
        head::write(&head.headers, response.headers_mut())?;
        Ok(response)
    }
}

impl MessageBody for RejectionBody {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.length)
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Infallible>>> {
        let bytes = std::mem::take(&mut self.bytes);
        Poll::Ready(if bytes.is_empty() { None } else { Some(Ok(bytes)) })
    }
}
