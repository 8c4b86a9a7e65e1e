//! Bodies of responses.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::settle::BodyEnd;

pin_project! {
    /// The body of a response: the service's own, or that of a rejection.
    ///
    /// An enum, not a conversion into the service's type, because many bodies (boxed ones above
    /// all) are not made from bytes. The service's body passes through as it is. If its cost is
    /// settled at its end, that end and the trailers wait for the settlement.
    #[derive(Debug)]
    pub struct ResponseBody<B> {
        #[pin]
        source: Source<B>,
    }
}

pin_project! {
    #[derive(Debug)]
    #[project = Project]
    enum Source<B> {
        Service { #[pin] body: B, end: BodyEnd },
        Rejection { body: Bytes },
    }
}

impl<B> ResponseBody<B> {
    /// The service's body, and the settlement at its end.
    pub(crate) const fn service(body: B, end: BodyEnd) -> Self {
        Self { source: Source::Service { body, end } }
    }

    pub(crate) const fn rejection(body: Bytes) -> Self {
        Self { source: Source::Rejection { body } }
    }

    /// The service's body, and the settlement that is due when it has been sent; or the whole body of a
    /// rejection, as the error. For adapters to frameworks that have another kind of body.
    ///
    /// # Errors
    ///
    /// If the service was not called.
    pub fn into_parts(self) -> Result<(B, BodyEnd), Bytes> {
        match self.source {
            Source::Service { body, end } => Ok((body, end)),
            Source::Rejection { body } => Err(body),
        }
    }
}

impl<B: Body<Data: From<Bytes>>> Body for ResponseBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        match self.project().source.project() {
            Project::Service { body, end } if end.is_awaited() => poll_to(end, body, context),
            Project::Service { body, .. } => body.poll_frame(context),
            Project::Rejection { body } if body.is_empty() => Poll::Ready(None),
            Project::Rejection { body } => {
                Poll::Ready(Some(Ok(Frame::data(std::mem::take(body).into()))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Service { body, end } => body.is_end_stream() && !end.has_begun(),
            Source::Rejection { body } => body.is_empty(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Service { body, .. } => body.size_hint(),
            Source::Rejection { body } => SizeHint::with_exact(body.len() as u64),
        }
    }
}

type NextFrame<B> = Option<Result<Frame<<B as Body>::Data>, <B as Body>::Error>>;

/// Passes on a frame of a body that is settled at its end; trailers, and the end, once that is done.
fn poll_to<B: Body>(
    end: &mut BodyEnd,
    body: Pin<&mut B>,
    context: &mut Context<'_>,
) -> Poll<NextFrame<B>> {
    if !end.has_begun() {
        match ready!(body.poll_frame(context)) {
            None => end.end(None),
            Some(Ok(frame)) => match frame.into_trailers() {
                Ok(trailers) => end.end(Some(trailers)),
                Err(frame) => return Poll::Ready(Some(Ok(frame))),
            },
            Some(Err(error)) => {
                // Settled in the drop, as one that is not sent to its end.
                drop(std::mem::take(end));
                return Poll::Ready(Some(Err(error)));
            }
        }
    }
    let trailers = ready!(end.poll_trailers(context));
    Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))))
}
