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
        told: Told,
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
        Call { #[pin] response: F },
        Settle { settling: Settling, response: Option<R> },
    }
}

/// What the limits have said of a request that goes on. It stays in its place, since it is too large
/// to be moved for nothing.
#[derive(Default)]
struct Told {
    standing: Option<Standing>,
    reservation: Option<Box<dyn Reservation>>,
}

type Judging = Pin<Box<dyn Future<Output = (Verdict, Parts)> + Send>>;

impl<S: Service<Request<Body>>, B, K, Body, P> ResponseFuture<S, B, K, Body, P> {
    /// The response of `service`, which is ready, if the verdict is to call it.
    pub(crate) fn new(rule: Arc<Rule<B, K, P>>, request: Request<Body>, service: S) -> Self {
        let (parts, body) = request.into_parts();
        let step = Step::Begin { request: Some((parts, body, service)) };
        Self { step, told: Told::default(), rule }
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
        let (mut step, told, rule) = (this.step, this.told, this.rule);
        loop {
            match step.as_mut().project() {
                Project::Begin { request } => {
                    let (parts, ..) = request.as_mut().expect("a first poll comes once");
                    let judged = rule.judge_now(parts).map(|verdict| told.by(rule, verdict, parts));
                    let (parts, body, service) = request.take().expect("it is there");
                    match judged {
                        Ok(Continue(())) => step.set(call(service, parts, body)),
                        Ok(Break(response)) => return Poll::Ready(Ok(response)),
                        Err(awaits) => {
                            let judging = Box::pin(Arc::clone(rule).judge(awaits, parts));
                            step.set(Step::Judge { judging, request: Some((body, service)) });
                        }
                    }
                }
                Project::Judge { judging, request } => {
                    let (verdict, mut parts) = ready!(judging.as_mut().poll(context));
                    let (body, service) = request.take().expect("there is one verdict");
                    match told.by(rule, verdict, &mut parts) {
                        Continue(()) => step.set(call(service, parts, body)),
                        Break(response) => return Poll::Ready(Ok(response)),
                    }
                }
                Project::Call { response } => {
                    let response = ready!(response.poll(context))?;
                    let (settling, response) = told.mark(rule, response);
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

fn call<S: Service<Request<Body>>, R, Body>(
    mut service: S,
    parts: Parts,
    body: Body,
) -> Step<S, S::Future, R, Body> {
    Step::Call { response: service.call(Request::from_parts(parts, body)) }
}

impl Told {
    /// Lets the request go on, or answers in place of the service.
    fn by<B: Backend, K, P: Policies, Inner>(
        &mut self,
        rule: &Rule<B, K, P>,
        verdict: Verdict,
        request: &mut Parts,
    ) -> ControlFlow<Response<ResponseBody<Inner>>> {
        match verdict {
            Verdict::Skip => {}
            Verdict::Admit(standing, reservation) => {
                self.reservation = reservation;
                let standing = self.standing.insert(standing);
                request.extensions.insert(*standing.bound());
                if let Some(marks) = standing.marks.take() {
                    marks.leave(&mut request.extensions);
                }
            }
            Verdict::Reject(rejection, standing) => {
                let response = rule.answer(&rejection, standing.as_ref(), request);
                return Break(response.map(ResponseBody::answer));
            }
        }
        Continue(())
    }

    /// Marks the response, and begins to settle what it has cost.
    fn mark<B, K, P, Inner>(
        &mut self,
        rule: &Rule<B, K, P>,
        mut response: Response<Inner>,
    ) -> (Option<Settling>, Response<Inner>) {
        let mut settling = None;
        if let Some(reservation) = self.reservation.take() {
            (settling, response) = settle(reservation, response);
        }
        if let Some(standing) = &self.standing {
            rule.headers.mark(response.headers_mut(), standing);
        }
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
