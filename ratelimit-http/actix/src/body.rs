//! Bodies of the service's responses, at whose end requests are settled.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use actix_web::body::{BodySize, MessageBody};
use bytes::Bytes;
use pin_project_lite::pin_project;
use ratelimit_http::BodyEnd;

pin_project! {
    /// The body of the service's response, which passes through as it is. If the request is settled at
    /// the end of the body, that end waits for it; a body that is dropped waits for nothing.
    #[derive(Debug)]
    pub struct SettledBody<B> {
        #[pin]
        body: B,
        end: BodyEnd,
    }
}

impl<B> SettledBody<B> {
    pub(crate) const fn new(body: B, end: BodyEnd) -> Self {
        Self { body, end }
    }
}

impl<B: MessageBody> MessageBody for SettledBody<B> {
    type Error = B::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, B::Error>>> {
        let this = self.project();
        if let Some(chunk) = ready!(this.body.poll_next(context)) {
            return Poll::Ready(Some(chunk));
        }
        this.end.poll_settled(context).map(|()| None)
    }
}
