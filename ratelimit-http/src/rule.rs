//! The rule of a layer: whom a request counts against, what it costs, and how it is answered.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use http::{Method, Request, Response, header::CONTENT_LENGTH, request::Parts};
use ratelimit_algorithms::{AsyncLimiter, Backend, Decision};

use crate::{KeyFn, Rejection, headers};

#[derive(Clone)]
pub(crate) struct Rule<B, K> {
    pub(crate) limiter: AsyncLimiter<B>,
    pub(crate) key: K,
    pub(crate) cost: u64,
    pub(crate) respond: Arc<Respond>,
}

pub(crate) type Respond = dyn Fn(&Rejection, &Parts) -> Response<Bytes> + Send + Sync;

/// What becomes of a request.
pub(crate) enum Verdict<Body> {
    Admit { request: Request<Body>, decision: Decision },
    Reject { response: Response<Bytes> },
}

impl<B: Backend, K: KeyFn> Rule<B, K> {
    pub(crate) async fn judge<Body>(self: Arc<Self>, request: Request<Body>) -> Verdict<Body> {
        let (mut parts, body) = request.into_parts();
        match self.decide(&parts).await {
            Ok(decision) => {
                parts.extensions.insert(decision);
                Verdict::Admit { request: Request::from_parts(parts, body), decision }
            }
            Err(rejection) => Verdict::Reject { response: self.answer(&rejection, &parts) },
        }
    }

    async fn decide(&self, request: &Parts) -> Result<Decision, Rejection> {
        let key = self.key.key(request)?;
        let decision = self.limiter.check_n(&key, self.cost).await?;
        if decision.is_allowed() { Ok(decision) } else { Err(Rejection::Deny(decision)) }
    }

    fn answer(&self, rejection: &Rejection, request: &Parts) -> Response<Bytes> {
        let mut response = (self.respond)(rejection, request);
        if let Some(seconds) = rejection.retry_after_secs() {
            headers::retry_after(response.headers_mut(), seconds);
        }
        if let Rejection::Deny(decision) = rejection {
            headers::mark(response.headers_mut(), decision);
        }
        // Said here, since a HEAD is told the length of a body that it does not get.
        let length = response.body().len();
        response.headers_mut().insert(CONTENT_LENGTH, length.into());
        if request.method == Method::HEAD { response.map(|_| Bytes::new()) } else { response }
    }
}

impl<B: Backend, K> fmt::Debug for Rule<B, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { limiter, cost, .. } = self;
        f.debug_struct("Rule")
            .field("policy", &limiter.name())
            .field("cost", cost)
            .finish_non_exhaustive()
    }
}
