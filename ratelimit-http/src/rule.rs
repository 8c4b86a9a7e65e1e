//! The rule of a layer: whom a request counts against, what it costs, and how it is answered.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use bytes::Bytes;
use http::{Method, Response, header::CONTENT_LENGTH, request::Parts};
use ratelimit_algorithms::{Answer, AsyncLimiter, Backend, Decision, Error, Limits};
use smallvec::SmallVec;

use crate::{
    KeyError, KeyFn, Rejection, RequestKey,
    headers::{self, Headers},
    problem,
};

#[derive(Clone)]
pub(crate) struct Rule<B, K> {
    pub(crate) limiter: AsyncLimiter<B>,
    pub(crate) key: K,
    pub(crate) cost: Cost,
    /// What is asked together with the first.
    pub(crate) more: Vec<Limit<B>>,
    pub(crate) skips: Vec<Arc<Skip>>,
    pub(crate) headers: Headers,
    pub(crate) answers: Answers,
}

/// One more limit that a request has to pass.
#[derive(Clone)]
pub(crate) struct Limit<B> {
    pub(crate) limiter: AsyncLimiter<B>,
    pub(crate) key: Arc<dyn KeyFn>,
    pub(crate) cost: u64,
}

#[derive(Clone)]
pub(crate) enum Cost {
    Fixed(u64),
    Of(Arc<CostFn>),
}

#[derive(Clone)]
pub(crate) enum Answers {
    Problems,
    #[cfg(feature = "grpc")]
    Grpc,
    Custom(Arc<Respond>),
}

pub(crate) type CostFn = dyn Fn(&Parts) -> Option<u64> + Send + Sync;
pub(crate) type Skip = dyn Fn(&Parts) -> bool + Send + Sync;
pub(crate) type Respond = dyn Fn(&Rejection, &Parts) -> Response<Bytes> + Send + Sync;

/// What becomes of a request.
pub(crate) enum Verdict {
    /// It goes on, uncounted.
    Skip,
    Admit(Standing),
    /// A denial tells how the keys stand.
    Reject(Rejection, Option<Standing>),
}

/// How the keys of a request stand, in the order of their limits.
pub(crate) struct Standing {
    pub(crate) each: SmallVec<[Decision; 1]>,
    bound: usize,
}

impl Standing {
    /// The limit that bound.
    pub(crate) fn bound(&self) -> &Decision {
        &self.each[self.bound]
    }
}

/// What is asked about a request: a cost, and a key for each limit.
pub(crate) struct Question {
    cost: u64,
    key: RequestKey,
    more: Vec<RequestKey>,
}

impl<B: Backend, K: KeyFn> Rule<B, K> {
    /// The verdict; or the question, if the store has to be awaited. Then nothing has been asked
    /// of it.
    pub(crate) fn judge_now(&self, request: &Parts) -> Result<Verdict, Question> {
        if self.skips(request) {
            return Ok(Verdict::Skip);
        }
        let question = match self.question(request) {
            Ok(question) => question,
            Err(rejection) => return Ok(Verdict::Reject(rejection, None)),
        };
        let Question { cost, key, .. } = &question;
        let standing = if self.more.is_empty() {
            self.limiter.check_n_now(key, *cost).map(|decision| decision.map(alone))
        } else {
            self.limits(&question).check_now().map(|answer| answer.map(together))
        };
        standing.map(verdict).ok_or(question)
    }

    pub(crate) async fn judge(self: Arc<Self>, question: Question) -> Verdict {
        verdict(self.ask(&question).await)
    }

    async fn ask(&self, question: &Question) -> Result<Standing, Error> {
        let Question { cost, key, .. } = question;
        if self.more.is_empty() {
            self.limiter.check_n(key, *cost).await.map(alone)
        } else {
            self.limits(question).check().await.map(together)
        }
    }

    fn skips(&self, request: &Parts) -> bool {
        self.skips.iter().any(|skip| skip(request))
    }

    fn question(&self, request: &Parts) -> Result<Question, Rejection> {
        let key = find(&self.key, request)?;
        let more = self.more.iter().map(|limit| find(&*limit.key, request));
        let more = more.collect::<Result<_, _>>()?;
        let cost = match &self.cost {
            Cost::Fixed(cost) => *cost,
            Cost::Of(cost) => cost(request).ok_or(Rejection::Cost)?,
        };
        Ok(Question { cost, key, more })
    }

    fn limits<'a>(&'a self, question: &'a Question) -> Limits<'a, AsyncLimiter<B>> {
        let first = Limits::of(&self.limiter, &question.key, question.cost);
        let more = self.more.iter().zip(&question.more);
        more.fold(first, |limits, (limit, key)| limits.and(&limit.limiter, key, limit.cost))
    }

    pub(crate) fn answer(
        &self,
        rejection: &Rejection,
        standing: Option<&Standing>,
        request: &Parts,
    ) -> Response<Bytes> {
        let mut response = match &self.answers {
            Answers::Custom(respond) => respond(rejection, request),
            #[cfg(feature = "grpc")]
            Answers::Grpc => crate::grpc::response(rejection),
            Answers::Problems => problem::response(rejection, &self.violated(standing)),
        };
        if let Some(seconds) = rejection.retry_after_secs() {
            headers::retry_after(response.headers_mut(), seconds);
        }
        if let Some(standing) = standing {
            self.headers.mark(response.headers_mut(), standing);
        }
        // Said here, since a HEAD is told the length of a body that it does not get.
        let length = response.body().len();
        response.headers_mut().insert(CONTENT_LENGTH, length.into());
        if request.method == Method::HEAD { response.map(|_| Bytes::new()) } else { response }
    }

    /// The names of the policies that denied; of the first, where a cost is beyond it.
    fn violated(&self, standing: Option<&Standing>) -> Vec<&str> {
        let more = self.more.iter().map(|limit| &limit.limiter);
        let mut names = std::iter::once(&self.limiter).chain(more).map(AsyncLimiter::name);
        match standing {
            None => names.next().into_iter().collect(),
            Some(standing) => {
                let denied = names.zip(&standing.each).filter(|(_, each)| !each.is_allowed());
                denied.map(|(name, _)| name).collect()
            }
        }
    }
}

/// A key function is the application's, and its panics are not the connection's.
fn find(key: &(impl KeyFn + ?Sized), request: &Parts) -> Result<RequestKey, KeyError> {
    let key = AssertUnwindSafe(|| key.key(request));
    catch_unwind(key).unwrap_or_else(|_| Err(KeyError::Failed("key function panicked".into())))
}

fn alone(decision: Decision) -> Standing {
    Standing { each: SmallVec::from_buf([decision]), bound: 0 }
}

#[expect(clippy::needless_pass_by_value, reason = "it is what becomes of the answer")]
fn together(answer: Answer) -> Standing {
    Standing { each: answer.each().into(), bound: answer.bound() }
}

fn verdict(answer: Result<Standing, Error>) -> Verdict {
    match answer {
        Err(error) => Verdict::Reject(error.into(), None),
        Ok(standing) if standing.each.iter().all(Decision::is_allowed) => Verdict::Admit(standing),
        Ok(standing) => Verdict::Reject(Rejection::Deny(*standing.bound()), Some(standing)),
    }
}

impl<B: Backend, K> fmt::Debug for Rule<B, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let more = self.more.iter().map(|limit| &limit.limiter);
        let policies = std::iter::once(&self.limiter).chain(more).map(AsyncLimiter::name);
        f.debug_struct("Rule")
            .field("policies", &policies.collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}
