//! The body of a response: the service's own, or that of a rejection.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

pin_project! {
    /// The body of a response: the service's own, or that of a rejection.
    ///
    /// An enum, not a conversion into the service's type, because many bodies (boxed ones above
    /// all) are not made from bytes. The service's body passes through as it is.
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
        Service { #[pin] body: B },
        Rejection { body: Bytes },
    }
}

impl<B> ResponseBody<B> {
    pub(crate) const fn service(body: B) -> Self {
        Self { source: Source::Service { body } }
    }

    pub(crate) const fn rejection(body: Bytes) -> Self {
        Self { source: Source::Rejection { body } }
    }

    /// The service's body; or the whole body of a rejection, as the error. For adapters to
    /// frameworks that have another kind of body.
    ///
    /// # Errors
    ///
    /// If the service was not called.
    pub fn into_inner(self) -> Result<B, Bytes> {
        match self.source {
            Source::Service { body } => Ok(body),
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
            Project::Service { body } => body.poll_frame(context),
            Project::Rejection { body } if body.is_empty() => Poll::Ready(None),
            Project::Rejection { body } => {
                Poll::Ready(Some(Ok(Frame::data(std::mem::take(body).into()))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Service { body } => body.is_end_stream(),
            Source::Rejection { body } => body.is_empty(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Service { body } => body.size_hint(),
            Source::Rejection { body } => SizeHint::with_exact(body.len() as u64),
        }
    }
}
