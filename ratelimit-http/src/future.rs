//! From a request to its response: first the verdict, then the inner service.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::{Request, Response};
use pin_project_lite::pin_project;
use ratelimit_algorithms::Decision;
use tower_service::Service;

use crate::{ResponseBody, headers, rule::Verdict};

pin_project! {
    /// The response of a [`RateLimit`](crate::RateLimit).
    #[must_use = "futures do nothing unless they are awaited"]
    pub struct ResponseFuture<S, Body>
    where
        S: Service<Request<Body>>,
    {
        #[pin]
        step: Step<S, S::Future, Body>,
    }
}

pin_project! {
    #[project = Project]
    enum Step<S, F, Body> {
        // Boxed, because the check borrows the limiter and the key that it is about.
        Judge { verdict: Pin<Box<dyn Future<Output = Verdict<Body>> + Send>>, service: S },
        Call { #[pin] response: F, decision: Decision },
    }
}

impl<S: Service<Request<Body>>, Body> ResponseFuture<S, Body> {
    /// The response of `service`, which is ready, if the verdict is to call it.
    pub(crate) fn new(
        verdict: impl Future<Output = Verdict<Body>> + Send + 'static,
        service: S,
    ) -> Self {
        Self { step: Step::Judge { verdict: Box::pin(verdict), service } }
    }
}

impl<S, Body, Inner> Future for ResponseFuture<S, Body>
where
    S: Service<Request<Body>, Response = Response<Inner>>,
{
    type Output = Result<Response<ResponseBody<Inner>>, S::Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut step = self.project().step;
        loop {
            let next = match step.as_mut().project() {
                Project::Judge { verdict, service } => {
                    let verdict = ready!(verdict.as_mut().poll(context));
                    match verdict {
                        Verdict::Admit { request, decision } => {
                            Step::Call { response: service.call(request), decision }
                        }
                        Verdict::Reject { response } => {
                            return Poll::Ready(Ok(response.map(ResponseBody::answer)));
                        }
                    }
                }
                Project::Call { response, decision } => {
                    let mut response = ready!(response.poll(context))?;
                    headers::mark(response.headers_mut(), decision);
                    return Poll::Ready(Ok(response.map(ResponseBody::service)));
                }
            };
            step.set(next);
        }
    }
}

impl<S: Service<Request<Body>>, Body> fmt::Debug for ResponseFuture<S, Body> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.step {
            Step::Judge { .. } => "ResponseFuture(judging)",
            Step::Call { .. } => "ResponseFuture(calling)",
        })
    }
}
