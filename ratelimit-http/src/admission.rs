//! From a request to the verdict about it: what the limits say to it.

use std::{
    ops::ControlFlow::{self, Break, Continue},
    sync::Arc,
};

use bytes::Bytes;
use http::{Response, request::Parts};
use ratelimit_algorithms::{Answer, Backend, Decision, Error, Policies, Policy, Question};
use smallvec::SmallVec;

use crate::{
    AsyncKeyFn, KeyError, Rejection, Warning,
    asked::Asked,
    headers::Lines,
    rule::Rule,
    settle::{Reservation, Reserved},
};

/// What becomes of a request: it goes on, or is answered in place of the service.
pub(crate) type Verdict = ControlFlow<Response<Bytes>, Admission>;

/// What is to be done about the response of a request that goes on; nothing, where it is not
/// counted.
#[derive(Default)]
pub(crate) struct Admission {
    pub(crate) lines: Lines,
    pub(crate) reservation: Option<Box<dyn Reservation>>,
}

/// What has to be awaited before there is a verdict. Nothing has been asked of the store yet.
pub(crate) enum Awaits<B, P> {
    Keys,
    Store(Asked<B, P>),
}

/// How the keys of a request stand, in the order of their limits.
pub(crate) struct Standing {
    pub(crate) each: SmallVec<[Decision; 1]>,
    bound: usize,
    /// The policies that have decided; none where they are those that are known anyway.
    policies: Vec<Policy>,
}

impl Standing {
    /// The limit that bound.
    pub(crate) fn bound(&self) -> &Decision {
        &self.each[self.bound]
    }

    /// The policy by which this limit has decided, unless it is the one that is known.
    pub(crate) fn policy(&self, limit: usize) -> Option<&Policy> {
        self.policies.get(limit)
    }
}

impl<B, K, P> Rule<B, K, P>
where
    B: Backend + Clone + 'static,
    K: AsyncKeyFn,
    P: Policies + Clone + 'static,
{
    /// The verdict, if nothing has to be awaited for it.
    pub(crate) fn judge_now(&self, request: &mut Parts) -> Result<Verdict, Awaits<B, P>> {
        if self.skips(request) {
            return Ok(Continue(Admission::default()));
        }
        let keys = self.keys_now(request).ok_or(Awaits::Keys)?.map_err(Rejection::from);
        match keys.and_then(|keys| self.asked(keys, request)) {
            Ok(asked) => match self.ask_now(&asked) {
                Some(answer) => Ok(self.verdict(asked, answer, request)),
                None => Err(Awaits::Store(asked)),
            },
            Err(rejection) => Ok(self.reject(&rejection, request)),
        }
    }

    /// The verdict, and the request's head again.
    pub(crate) async fn judge(
        self: Arc<Self>,
        awaits: Awaits<B, P>,
        mut request: Parts,
    ) -> (Verdict, Parts) {
        let asked = match awaits {
            Awaits::Store(asked) => Ok(asked),
            Awaits::Keys => match self.keys(&request).await {
                Ok(keys) => self.asked(keys, &request),
                Err(error) => Err(error.into()),
            },
        };
        let verdict = match asked {
            Ok(asked) => {
                let answer = self.ask(&asked).await;
                self.verdict(asked, answer, &mut request)
            }
            Err(rejection) => self.reject(&rejection, &request),
        };
        (verdict, request)
    }

    fn skips(&self, request: &Parts) -> bool {
        self.skips.iter().any(|skip| skip(request))
    }

    fn ask_now(&self, asked: &Asked<B, P>) -> Option<Result<Standing, Error>> {
        let first = self.first(asked);
        if self.more.is_empty() {
            let decision = first.check_now()?;
            return Some(decision.map(|decision| self.alone(decision, &first)));
        }
        let (limits, policies) = self.limits(first, asked);
        limits.check_now().map(|answer| answer.map(|answer| together(&answer, policies)))
    }

    async fn ask(&self, asked: &Asked<B, P>) -> Result<Standing, Error> {
        let first = self.first(asked);
        if self.more.is_empty() {
            return first.check().await.map(|decision| self.alone(decision, &first));
        }
        let (limits, policies) = self.limits(first, asked);
        limits.check().await.map(|answer| together(&answer, policies))
    }

    fn alone(&self, decision: Decision, question: &Question<'_, B>) -> Standing {
        let policies = self.deciding(std::iter::once(question.policy()));
        Standing { each: SmallVec::from_buf([decision]), bound: 0, policies }
    }

    fn reject(&self, rejection: &Rejection, request: &Parts) -> Verdict {
        if matches!(rejection, Rejection::Key(KeyError::NoPeer)) {
            self.check.warn(&Warning::NoPeer);
        }
        Break(self.answer(rejection, None, &Lines::default(), request))
    }

    fn verdict(
        &self,
        mut asked: Asked<B, P>,
        answer: Result<Standing, Error>,
        request: &mut Parts,
    ) -> Verdict {
        let standing = match answer {
            Ok(standing) => standing,
            Err(error) => return self.reject(&error.into(), request),
        };
        let lines = self.headers.lines(&standing, asked.keys.iter());
        if !standing.each.iter().all(Decision::is_allowed) {
            let rejection = Rejection::Deny(*standing.bound());
            return Break(self.answer(&rejection, Some(&standing), &lines, request));
        }
        request.extensions.insert(*standing.bound());
        if let Some(marks) = asked.marks.take() {
            marks.leave(&mut request.extensions);
        }
        Continue(Admission { lines, reservation: self.reservation(asked, &standing) })
    }

    fn reservation(&self, asked: Asked<B, P>, standing: &Standing) -> Option<Box<dyn Reservation>> {
        let settlement = self.settlement.clone()?;
        let Asked { limiter, cost, keys, .. } = asked;
        let limiter = limiter.unwrap_or_else(|| self.limiter.clone());
        let policy = standing.policies.first()?.clone();
        let (key, decision) = (keys.first, standing.each[0]);
        Some(Box::new(Reserved { settlement, limiter, policy, key, cost, decision }))
    }
}

fn together(answer: &Answer, policies: Vec<Policy>) -> Standing {
    let (each, bound) = (answer.each().into(), answer.bound());
    Standing { each, bound, policies }
}
