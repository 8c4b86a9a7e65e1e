//! The body of a response: the service's own, or that of a rejection.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::settle::UnsettledCall;

pin_project! {
    /// The body of a response: the service's own, or that of a rejection.
    ///
    /// An enum, not a conversion into the service's type, because many bodies (boxed ones above
    /// all) are not made from bytes. The service's body passes through as it is; the trailers of a
    /// gRPC call wait until its cost is settled.
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
        Service { #[pin] body: B, call: Option<Box<UnsettledCall>> },
        Rejection { body: Bytes },
    }
}

impl<B> ResponseBody<B> {
    pub(crate) const fn service(body: B) -> Self {
        Self { source: Source::Service { body, call: None } }
    }

    /// The body of a call that is to be settled by its trailers.
    pub(crate) const fn of_call(body: B, call: Box<UnsettledCall>) -> Self {
        Self { source: Source::Service { body, call: Some(call) } }
    }

    pub(crate) const fn rejection(body: Bytes) -> Self {
        Self { source: Source::Rejection { body } }
    }

    /// The service's body; or the whole body of a rejection, as the error. For adapters to
    /// frameworks that have another kind of body. A charge that only trailers would settle stays.
    ///
    /// # Errors
    ///
    /// If the service was not called.
    pub fn into_inner(self) -> Result<B, Bytes> {
        match self.source {
            Source::Service { body, call } => {
                call.into_iter().for_each(|call| call.keep());
                Ok(body)
            }
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
            Project::Service { body, call: call @ Some(_) } => poll_call(body, call, context),
            Project::Service { body, .. } => body.poll_frame(context),
            Project::Rejection { body } if body.is_empty() => Poll::Ready(None),
            Project::Rejection { body } => {
                Poll::Ready(Some(Ok(Frame::data(std::mem::take(body).into()))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Service { body, call } => {
                body.is_end_stream() && call.as_ref().is_none_or(|call| !call.has_trailers())
            }
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

/// Passes on a frame of a call's body; trailers, once they have settled the call.
fn poll_call<B: Body>(
    body: Pin<&mut B>,
    call: &mut Option<Box<UnsettledCall>>,
    context: &mut Context<'_>,
) -> Poll<NextFrame<B>> {
    let Some(unsettled) = call else { return body.poll_frame(context) };
    if !unsettled.has_trailers() {
        match ready!(body.poll_frame(context)).map(|frame| frame.map(Frame::into_trailers)) {
            Some(Ok(Ok(trailers))) => unsettled.end(trailers),
            Some(Ok(Err(frame))) => return Poll::Ready(Some(Ok(frame))),
            end => {
                // A body that fails is no answer, and one without trailers is.
                let unsettled = call.take().filter(|_| end.is_none());
                unsettled.into_iter().for_each(|call| call.keep());
                return Poll::Ready(end.and_then(Result::err).map(Err));
            }
        }
    }
    let trailers = ready!(unsettled.poll_settled(context));
    *call = None;
    Poll::Ready(Some(Ok(Frame::trailers(trailers))))
}
