//! From a request to its response: first the verdict, then the inner service.

use std::{
    fmt,
    future::Future,
    ops::ControlFlow::{self, Break, Continue},
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
            let next = match step.as_mut().project() {
                Project::Begin { request } => {
                    let (parts, body, service) = request.take().expect("a first poll comes once");
                    match rule.judge_now(&parts) {
                        Ok(verdict) => begin(rule, verdict, parts, body, service),
                        Err(awaits) => {
                            let judging = Box::pin(Arc::clone(rule).judge(awaits, parts));
                            Continue(Step::Judge { judging, request: Some((body, service)) })
                        }
                    }
                }
                Project::Judge { judging, request } => {
                    let (verdict, parts) = ready!(judging.as_mut().poll(context));
                    let (body, service) = request.take().expect("there is one verdict");
                    begin(rule, verdict, parts, body, service)
                }
                Project::Call { response, standing, reservation } => {
                    let response = ready!(response.poll(context))?;
                    end(rule, response, standing.as_ref(), reservation.take())
                }
                Project::Settle { settling, response } => {
                    ready!(settling.as_mut().poll(context));
                    let response = response.take().expect("there is one response");
                    Break(response.map(ResponseBody::service))
                }
            };
            match next {
                Continue(next) => step.set(next),
                Break(response) => return Poll::Ready(Ok(response)),
            }
        }
    }
}

/// What comes next, or the response.
type Next<S, Inner, Body> = ControlFlow<
    Response<ResponseBody<Inner>>,
    Step<S, <S as Service<Request<Body>>>::Future, Response<Inner>, Body>,
>;

/// Calls the service, or answers in its place.
fn begin<S, B, K, P, Inner, Body>(
    rule: &Rule<B, K, P>,
    verdict: Verdict,
    parts: Parts,
    body: Body,
    mut service: S,
) -> Next<S, Inner, Body>
where
    S: Service<Request<Body>, Response = Response<Inner>>,
    B: Backend,
    P: Policies,
{
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
            return Break(response.map(ResponseBody::answer));
        }
    };
    Continue(Step::Call { response: service.call(request), standing, reservation })
}

/// Marks the response, and settles what it has cost.
fn end<S, B, K, P, Inner, Body>(
    rule: &Rule<B, K, P>,
    mut response: Response<Inner>,
    standing: Option<&Standing>,
    reservation: Option<Box<dyn Reservation>>,
) -> Next<S, Inner, Body>
where
    S: Service<Request<Body>, Response = Response<Inner>>,
{
    let mut settling = None;
    if let Some(reservation) = reservation {
        (settling, response) = settle(reservation, response);
    }
    if let Some(standing) = standing {
        rule.headers.mark(response.headers_mut(), standing);
    }
    match settling {
        Some(settling) => Continue(Step::Settle { settling, response: Some(response) }),
        None => Break(response.map(ResponseBody::service)),
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
