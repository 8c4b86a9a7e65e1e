//! The rule of a layer: whom a request counts against, what it costs, and how it is answered.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use bytes::Bytes;
use http::{Method, Response, header::CONTENT_LENGTH, request::Parts};
use ratelimit_algorithms::{AsyncLimiter, Backend, Decision, Error};

use crate::{
    KeyError, KeyFn, Rejection, RequestKey,
    headers::{self, Headers},
};

#[derive(Clone)]
pub(crate) struct Rule<B, K> {
    pub(crate) limiter: AsyncLimiter<B>,
    pub(crate) key: K,
    pub(crate) cost: u64,
    pub(crate) headers: Headers,
    pub(crate) respond: Arc<Respond>,
}

pub(crate) type Respond = dyn Fn(&Rejection, &Parts) -> Response<Bytes> + Send + Sync;

/// What becomes of a request.
pub(crate) type Verdict = Result<Decision, Rejection>;

impl<B: Backend, K: KeyFn> Rule<B, K> {
    /// The verdict, unless the store has to be awaited; then nothing has been asked of it.
    pub(crate) fn judge_now(&self, request: &Parts) -> Option<Verdict> {
        let key = match self.key_of(request) {
            Ok(key) => key,
            Err(error) => return Some(Err(error.into())),
        };
        Some(verdict(self.limiter.check_n_now(&key, self.cost)?))
    }

    pub(crate) async fn judge(self: Arc<Self>, request: Parts) -> (Parts, Verdict) {
        let verdict = match self.key_of(&request) {
            Ok(key) => verdict(self.limiter.check_n(&key, self.cost).await),
            Err(error) => Err(error.into()),
        };
        (request, verdict)
    }

    /// A key function is the application's, and its panics are not the connection's.
    fn key_of(&self, request: &Parts) -> Result<RequestKey, KeyError> {
        let key = AssertUnwindSafe(|| self.key.key(request));
        catch_unwind(key).unwrap_or_else(|_| Err(KeyError::Failed("key function panicked".into())))
    }

    pub(crate) fn answer(&self, rejection: &Rejection, request: &Parts) -> Response<Bytes> {
        let mut response = (self.respond)(rejection, request);
        if let Some(seconds) = rejection.retry_after_secs() {
            headers::retry_after(response.headers_mut(), seconds);
        }
        if let Rejection::Deny(decision) = rejection {
            self.headers.mark(response.headers_mut(), decision);
        }
        // Said here, since a HEAD is told the length of a body that it does not get.
        let length = response.body().len();
        response.headers_mut().insert(CONTENT_LENGTH, length.into());
        if request.method == Method::HEAD { response.map(|_| Bytes::new()) } else { response }
    }
}

fn verdict(answer: Result<Decision, Error>) -> Verdict {
    match answer {
        Ok(decision) if decision.is_allowed() => Ok(decision),
        Ok(denied) => Err(Rejection::Deny(denied)),
        Err(error) => Err(error.into()),
    }
}

impl<B: Backend, K> fmt::Debug for Rule<B, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { limiter, cost, .. } = self;
        f.debug_struct("Rule")
            .field("policy", &limiter.policy().name())
            .field("cost", cost)
            .finish_non_exhaustive()
    }
}
