//! From a request to its response: first the verdict, then the inner service.

use std::{
    fmt,
    future::Future,
    ops::ControlFlow::{Break, Continue},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::{Request, Response, request::Parts};
use pin_project_lite::pin_project;
use ratelimit_algorithms::{Backend, Policies, Policy};
use tower_service::Service;

use crate::{
    AsyncKeyFn, ResponseBody,
    admission::{Admission, Verdict},
    headers::Headers,
    rule::Rule,
    settle::{Settling, settle},
};

pin_project! {
    /// The response of a [`RateLimit`](crate::RateLimit).
    ///
    /// Nothing is charged before it is first polled.
    #[must_use = "futures do nothing unless they are awaited"]
    pub struct ResponseFuture<S, B, K, Body, P = Policy>
    where
        S: Service<Request<Body>>,
    {
        #[pin]
        step: Step<S, S::Future, S::Response, Body>,
        admission: Admission,
        rule: Arc<Rule<B, K, P>>,
    }
}

pin_project! {
    #[project = Project]
    enum Step<S, F, R, Body> {
        Begin { request: Option<(Request<Body>, S)> },
        // Boxed, because the check borrows the limiter and the key that it is about, and a key that
        // is awaited the request's head.
        Judge { judging: Judging, request: Option<(Body, S)> },
        Call { #[pin] response: F },
        Settle { settling: Settling, response: Option<R> },
    }
}

type Judging = Pin<Box<dyn Future<Output = (Verdict, Parts)> + Send>>;

impl<S: Service<Request<Body>>, B, K, Body, P> ResponseFuture<S, B, K, Body, P> {
    /// The response of `service`, which is ready, if the verdict is to call it.
    pub(crate) fn new(rule: Arc<Rule<B, K, P>>, request: Request<Body>, service: S) -> Self {
        let step = Step::Begin { request: Some((request, service)) };
        Self { step, admission: Admission::default(), rule }
    }
}

impl<S, B, K, Body, P, Inner> Future for ResponseFuture<S, B, K, Body, P>
where
    S: Service<Request<Body>, Response = Response<Inner>>,
    B: Backend + Clone + 'static,
    K: AsyncKeyFn + 'static,
    P: Policies + Clone + 'static,
{
    type Output = Result<Response<ResponseBody<Inner>>, S::Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let (mut step, admission, rule) = (this.step, this.admission, this.rule);
        loop {
            match step.as_mut().project() {
                Project::Begin { request } => {
                    let (request, mut service) = request.take().expect("a first poll comes once");
                    let (mut parts, body) = request.into_parts();
                    match rule.judge_now(&mut parts) {
                        Ok(Continue(admitted)) => {
                            *admission = admitted;
                            let response = service.call(Request::from_parts(parts, body));
                            step.set(Step::Call { response });
                        }
                        Ok(Break(response)) => {
                            return Poll::Ready(Ok(response.map(ResponseBody::answer)));
                        }
                        Err(awaits) => {
                            let judging = Box::pin(Arc::clone(rule).judge(awaits, parts));
                            step.set(Step::Judge { judging, request: Some((body, service)) });
                        }
                    }
                }
                Project::Judge { judging, request } => {
                    let (verdict, parts) = ready!(judging.as_mut().poll(context));
                    let (body, mut service) = request.take().expect("there is one verdict");
                    // Once more, since a function for both would move the request again.
                    match verdict {
                        Continue(admitted) => {
                            *admission = admitted;
                            let response = service.call(Request::from_parts(parts, body));
                            step.set(Step::Call { response });
                        }
                        Break(response) => {
                            return Poll::Ready(Ok(response.map(ResponseBody::answer)));
                        }
                    }
                }
                Project::Call { response } => {
                    let response = ready!(response.poll(context))?;
                    let (settling, response) = admission.mark(&rule.headers, response);
                    match settling {
                        Some(settling) => {
                            step.set(Step::Settle { settling, response: Some(response) });
                        }
                        None => return Poll::Ready(Ok(response.map(ResponseBody::service))),
                    }
                }
                Project::Settle { settling, response } => {
                    ready!(settling.as_mut().poll(context));
                    let response = response.take().expect("there is one response");
                    return Poll::Ready(Ok(response.map(ResponseBody::service)));
                }
            }
        }
    }
}

impl Admission {
    /// Marks the response, and begins to settle what it has cost.
    fn mark<Inner>(
        &mut self,
        headers: &Headers,
        mut response: Response<Inner>,
    ) -> (Option<Settling>, Response<Inner>) {
        let mut settling = None;
        if let Some(reservation) = self.reservation.take() {
            (settling, response) = settle(reservation, response);
        }
        headers.mark(response.headers_mut(), &self.lines);
        (settling, response)
    }
}

impl<S: Service<Request<Body>>, B, K, Body, P> fmt::Debug for ResponseFuture<S, B, K, Body, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.step {
            Step::Begin { .. } => "ResponseFuture(new)",
            Step::Judge { .. } => "ResponseFuture(judging)",
            Step::Call { .. } => "ResponseFuture(calling)",
            Step::Settle { .. } => "ResponseFuture(settling)",
        })
    }
}
