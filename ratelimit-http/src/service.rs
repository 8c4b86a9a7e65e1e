//! The service that a layer makes, and the future of its responses.

use std::{
    fmt,
    future::Future,
    ops::ControlFlow::{self, Break, Continue},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::{Request, Response};
use pin_project_lite::pin_project;
use ratelimit_algorithms::{Backend, Policies, Policy};
use tower_service::Service;

use crate::{
    AsyncKeyFn, ResponseBody,
    admission::{Admission, Admitted, MaybeReady, Waiting},
    pending_settlements::Settling,
    pipeline::Pipeline,
    settle::{BodyEnd, Settled, settle},
};

/// Access to the inner service, the same for every service around one.
macro_rules! accessors {
    () => {
        /// Borrows the inner service.
        #[must_use]
        pub const fn get_ref(&self) -> &S {
            &self.inner
        }

        /// Borrows the inner service mutably.
        #[must_use]
        pub const fn get_mut(&mut self) -> &mut S {
            &mut self.inner
        }

        /// Returns the inner service.
        #[must_use]
        pub fn into_inner(self) -> S {
            self.inner
        }
    };
}

/// A service behind a limiter; made by a [`RateLimitLayer`](crate::RateLimitLayer).
///
/// It is ready when the inner service is, and hands the request to the instance that said so. That
/// instance waits for the decision, with everything it has reserved, and is dropped when the request
/// is denied. Dropping the response future before there is a decision leaves one whole charge or
/// none (none if it was never polled), and the inner service is not called.
pub struct RateLimitService<S, B, K, P = Policy> {
    inner: S,
    pipeline: Arc<Pipeline<B, K, P>>,
}

pin_project! {
    /// The response of a [`RateLimitService`].
    ///
    /// Nothing is charged before it is first polled.
    #[must_use = "futures do nothing unless they are awaited"]
    pub struct ResponseFuture<S, B, K, Body, P = Policy>
    where
        S: Service<Request<Body>>,
    {
        #[pin]
        stage: Stage<S, S::Future, S::Response, Body>,
        admitted: Admitted,
        pipeline: Arc<Pipeline<B, K, P>>,
    }
}

pin_project! {
    #[project = Project]
    enum Stage<S, F, R, Body> {
        New { request: Option<(Request<Body>, S)> },
        Admit { admission: Waiting<Admission>, rest: Option<(Body, S)> },
        Call { #[pin] response: F },
        Settle { settling: Settling, response: Option<R> },
    }
}

impl<S, B, K, P> RateLimitService<S, B, K, P> {
    pub(crate) const fn new(inner: S, pipeline: Arc<Pipeline<B, K, P>>) -> Self {
        Self { inner, pipeline }
    }

    accessors!();
}

impl<S, B, K, P, Body, Inner> Service<Request<Body>> for RateLimitService<S, B, K, P>
where
    S: Service<Request<Body>, Response = Response<Inner>> + Clone,
    B: Backend + Clone + 'static,
    K: AsyncKeyFn + 'static,
    P: Policies + Clone + 'static,
{
    type Response = Response<ResponseBody<Inner>>;
    type Error = S::Error;
    type Future = ResponseFuture<S, B, K, Body, P>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let fresh = self.inner.clone();
        let ready = std::mem::replace(&mut self.inner, fresh);
        ResponseFuture {
            stage: Stage::New { request: Some((request, ready)) },
            admitted: Admitted::default(),
            pipeline: Arc::clone(&self.pipeline),
        }
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
        let (mut stage, pipeline) = (this.stage, this.pipeline);
        loop {
            let (admission, body, mut service) = match stage.as_mut().project() {
                Project::New { request } => {
                    let (request, service) = request.take().expect("a first poll comes once");
                    let (head, body) = request.into_parts();
                    match pipeline.admit(head) {
                        MaybeReady::Ready(admission) => (admission, body, service),
                        MaybeReady::Waiting(admission) => {
                            stage.set(Stage::Admit { admission, rest: Some((body, service)) });
                            continue;
                        }
                    }
                }
                Project::Admit { admission, rest } => {
                    let admission = ready!(admission.as_mut().poll(context));
                    let (body, service) = rest.take().expect("a request is admitted once");
                    (admission, body, service)
                }
                Project::Call { response } => {
                    let response = ready!(response.poll(context))?;
                    match this.admitted.finish(pipeline, response) {
                        Break(response) => return Poll::Ready(Ok(response)),
                        Continue((settling, response)) => {
                            stage.set(Stage::Settle { settling, response: Some(response) });
                            continue;
                        }
                    }
                }
                Project::Settle { settling, response } => {
                    ready!(settling.as_mut().poll(context));
                    let response = response.take().expect("there is one response");
                    return Poll::Ready(Ok(response.map(whole)));
                }
            };
            match admission {
                Admission::Admit(head, admitted) => {
                    *this.admitted = admitted;
                    let response = service.call(Request::from_parts(head, body));
                    stage.set(Stage::Call { response });
                }
                Admission::Reject(response) => {
                    return Poll::Ready(Ok(response.map(ResponseBody::rejection)));
                }
            }
        }
    }
}

impl Admitted {
    /// Writes the headers of the service's response, and begins to settle its cost, if there is
    /// something to settle by now. If that panics, another response takes the place of the service's.
    fn finish<B, K, P, Inner>(
        &mut self,
        pipeline: &Pipeline<B, K, P>,
        response: Response<Inner>,
    ) -> ControlFlow<Response<ResponseBody<Inner>>, (Settling, Response<Inner>)> {
        let (mut head, body) = response.into_parts();
        let reservation = self.reservation.take();
        let settled = match reservation.map(|it| settle(it, &head, &pipeline.outstanding)) {
            Some(Ok(settled)) => settled,
            None => Settled::Now(None),
            Some(Err(rejection)) => {
                let mut response = pipeline.responder.respond(&rejection, Vec::new, None);
                pipeline.headers.write(response.headers_mut(), &self.headers);
                return Break(response.map(ResponseBody::rejection));
            }
        };
        pipeline.headers.write(&mut head.headers, &self.headers);
        let response = Response::from_parts(head, body);
        match settled {
            Settled::Now(Some(settling)) => Continue((settling, response)),
            Settled::Now(None) => Break(response.map(whole)),
            Settled::AtEnd(end) => Break(response.map(|body| ResponseBody::service(body, end))),
        }
    }
}

/// A body at whose end there is nothing to settle.
fn whole<B>(body: B) -> ResponseBody<B> {
    ResponseBody::service(body, BodyEnd::default())
}

impl<S: Clone, B, K, P> Clone for RateLimitService<S, B, K, P> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), pipeline: Arc::clone(&self.pipeline) }
    }
}

impl<S: fmt::Debug, B: Backend, K, P: Policies> fmt::Debug for RateLimitService<S, B, K, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { inner, pipeline } = self;
        let mut shown = f.debug_struct("RateLimitService");
        shown.field("inner", inner).field("pipeline", pipeline).finish()
    }
}

impl<S: Service<Request<Body>>, B, K, Body, P> fmt::Debug for ResponseFuture<S, B, K, Body, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.stage {
            Stage::New { .. } => "ResponseFuture(new)",
            Stage::Admit { .. } => "ResponseFuture(waiting for the decision)",
            Stage::Call { .. } => "ResponseFuture(waiting for the service)",
            Stage::Settle { .. } => "ResponseFuture(settling)",
        })
    }
}
