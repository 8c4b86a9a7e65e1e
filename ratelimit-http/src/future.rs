//! From a request to its response: first the verdict, then the inner service.

use std::{
    fmt,
    future::Future,
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
    judge::{Standing, Verdict},
    rule::Rule,
    settle::{Reservation, Settling, settle},
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
        rule: Arc<Rule<B, K, P>>,
    }
}

pin_project! {
    #[project = Project]
    enum Step<S, F, R, Body> {
        Begin { request: Option<(Parts, Body, S)> },
        // Boxed, because the check borrows the limiter and the key that it is about, and a key that
        // is awaited the request's head.
        Judge { judging: Judging, request: Option<(Body, S)> },
        Call {
            #[pin]
            response: F,
            standing: Option<Standing>,
            reservation: Option<Box<dyn Reservation>>,
        },
        Settle { settling: Settling, response: Option<R> },
    }
}

type Judging = Pin<Box<dyn Future<Output = (Verdict, Parts)> + Send>>;

impl<S: Service<Request<Body>>, B, K, Body, P> ResponseFuture<S, B, K, Body, P> {
    /// The response of `service`, which is ready, if the verdict is to call it.
    pub(crate) fn new(rule: Arc<Rule<B, K, P>>, request: Request<Body>, service: S) -> Self {
        let (parts, body) = request.into_parts();
        Self { step: Step::Begin { request: Some((parts, body, service)) }, rule }
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
        let (mut step, rule) = (this.step, this.rule);
        loop {
            let (parts, verdict, body, mut service) = match step.as_mut().project() {
                Project::Begin { request } => {
                    let (parts, body, service) = request.take().expect("a first poll comes once");
                    match rule.judge_now(&parts) {
                        Ok(verdict) => (parts, verdict, body, service),
                        Err(awaits) => {
                            let judging = Box::pin(Arc::clone(rule).judge(awaits, parts));
                            let request = Some((body, service));
                            step.set(Step::Judge { judging, request });
                            continue;
                        }
                    }
                }
                Project::Judge { judging, request } => {
                    let (verdict, parts) = ready!(judging.as_mut().poll(context));
                    let (body, service) = request.take().expect("there is one verdict");
                    (parts, verdict, body, service)
                }
                Project::Call { response, standing, reservation } => {
                    let mut response = ready!(response.poll(context))?;
                    let mut settling = None;
                    if let Some(reservation) = reservation.take() {
                        (settling, response) = settle(reservation, response);
                    }
                    if let Some(standing) = standing {
                        rule.headers.mark(response.headers_mut(), standing);
                    }
                    let Some(settling) = settling else {
                        return Poll::Ready(Ok(response.map(ResponseBody::service)));
                    };
                    step.set(Step::Settle { settling, response: Some(response) });
                    continue;
                }
                Project::Settle { settling, response } => {
                    ready!(settling.as_mut().poll(context));
                    let response = response.take().expect("there is one response");
                    return Poll::Ready(Ok(response.map(ResponseBody::service)));
                }
            };
            let mut request = Request::from_parts(parts, body);
            let (standing, reservation) = match verdict {
                Verdict::Skip => (None, None),
                Verdict::Admit(mut standing, reservation) => {
                    request.extensions_mut().insert(*standing.bound());
                    if let Some(marks) = standing.marks.take() {
                        marks.leave(request.extensions_mut());
                    }
                    (Some(standing), reservation)
                }
                Verdict::Reject(rejection, standing) => {
                    let (parts, _) = request.into_parts();
                    let response = rule.answer(&rejection, standing.as_ref(), &parts);
                    return Poll::Ready(Ok(response.map(ResponseBody::answer)));
                }
            };
            let response = service.call(request);
            step.set(Step::Call { response, standing, reservation });
        }
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
