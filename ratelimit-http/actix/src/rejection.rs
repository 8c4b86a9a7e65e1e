//! What a request is answered that does not reach the service.

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

/// The body of an answer that was given in the service's place.
#[derive(Debug)]
pub struct Answer {
    body: Bytes,
    /// The body's; to a HEAD that of the body that it does not get.
    length: u64,
}

impl Answer {
    /// The whole response, whose head the layer has made.
    pub(crate) fn respond(told: &Parts, body: Bytes) -> Result<HttpResponse<Self>, Error> {
        let length = told.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok());
        let length = length.and_then(|length| length.parse().ok()).unwrap_or(body.len() as u64);
        let status = StatusCode::from_u16(told.status.as_u16());
        let status = status.map_err(ErrorInternalServerError)?;
        let mut response = HttpResponse::with_body(status, Self { body, length });
        head::write(&told.headers, response.headers_mut())?;
        Ok(response)
    }
}

impl MessageBody for Answer {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.length)
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Infallible>>> {
        let body = std::mem::take(&mut self.body);
        Poll::Ready(if body.is_empty() { None } else { Some(Ok(body)) })
    }
}
