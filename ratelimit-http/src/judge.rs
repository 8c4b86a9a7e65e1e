//! From a request to the verdict about it: its keys, its cost, and what the limits say to that.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use http::request::Parts;
use ratelimit_algorithms::{
    Answer, AsyncLimiter, Backend, Decision, Error, Limits, Policies, Policy, Question,
};
use smallvec::SmallVec;

use crate::{
    KeyError, KeyFn, Rejection, RequestKey, Warning,
    inspect::Mark,
    rule::{Cost, Rule},
    settle::{Reservation, Reserved},
};

/// What becomes of a request.
pub(crate) enum Verdict {
    /// It goes on, uncounted.
    Skip,
    Admit(Standing, Option<Box<dyn Reservation>>),
    /// A denial tells how the keys stand.
    Reject(Rejection, Option<Standing>),
}

/// How the keys of a request stand, in the order of their limits.
pub(crate) struct Standing {
    pub(crate) each: SmallVec<[Decision; 1]>,
    bound: usize,
    /// The policies that have decided; none where they are those that are known anyway.
    policies: Vec<Policy>,
    /// What is left in the request for layers further inside.
    pub(crate) mark: Option<Mark>,
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

/// What is asked about a request: a cost, and a key for each limit.
pub(crate) struct Asked<B, P> {
    /// What stands in for the first limiter.
    limiter: Option<AsyncLimiter<B, P>>,
    cost: u64,
    key: RequestKey,
    more: Vec<RequestKey>,
    mark: Option<Mark>,
}

impl<B, K, P> Rule<B, K, P>
where
    B: Backend + Clone + 'static,
    K: KeyFn,
    P: Policies + Clone + 'static,
{
    /// The verdict; or what is to be asked, if the store has to be awaited. Then nothing has been
    /// asked of it.
    pub(crate) fn judge_now(&self, request: &Parts) -> Result<Verdict, Asked<B, P>> {
        if self.skips(request) {
            return Ok(Verdict::Skip);
        }
        match self.asked(request) {
            Ok(asked) => match self.ask_now(&asked) {
                Some(answer) => Ok(self.verdict(asked, answer)),
                None => Err(asked),
            },
            Err(rejection) => {
                if matches!(rejection, Rejection::Key(KeyError::NoPeer)) {
                    self.check.warn(&Warning::NoPeer);
                }
                Ok(Verdict::Reject(rejection, None))
            }
        }
    }

    pub(crate) async fn judge(self: Arc<Self>, asked: Asked<B, P>) -> Verdict {
        let answer = self.ask(&asked).await;
        self.verdict(asked, answer)
    }

    fn skips(&self, request: &Parts) -> bool {
        self.skips.iter().any(|skip| skip(request))
    }

    fn asked(&self, request: &Parts) -> Result<Asked<B, P>, Rejection> {
        let key = find(&self.key, request)?;
        let more = self.more.iter().map(|limit| find(&*limit.key, request));
        let more = more.collect::<Result<_, _>>()?;
        let cost = match &self.cost {
            Cost::Fixed(cost) => *cost,
            Cost::Of(cost) => cost(request).ok_or(Rejection::Cost)?,
        };
        let limiter = self.tier.as_ref().map(|choose| choose(&self.limiter, request));
        let mark = self.inspect(request, &key);
        Ok(Asked { limiter, cost, key, more, mark })
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

    fn first<'a>(&'a self, asked: &'a Asked<B, P>) -> Question<'a, B> {
        asked.limiter.as_ref().unwrap_or(&self.limiter).question(&asked.key, asked.cost)
    }

    /// All limits, and by which policies they decide.
    fn limits<'a>(
        &'a self,
        first: Question<'a, B>,
        asked: &'a Asked<B, P>,
    ) -> (Limits<'a, AsyncLimiter<B>>, Vec<Policy>) {
        let more = self.more.iter().zip(&asked.more);
        let more = more.map(|(limit, key)| limit.limiter.question(key, limit.cost));
        let questions: Vec<_> = std::iter::once(first).chain(more).collect();
        let policies = self.deciding(questions.iter().map(Question::policy));
        let mut questions = questions.into_iter();
        let first = Limits::from(questions.next().expect("there is a first"));
        (questions.fold(first, Limits::and_question), policies)
    }

    fn alone(&self, decision: Decision, question: &Question<'_, B>) -> Standing {
        let policies = self.deciding(std::iter::once(question.policy()));
        Standing { each: SmallVec::from_buf([decision]), bound: 0, policies, mark: None }
    }

    fn verdict(&self, mut asked: Asked<B, P>, answer: Result<Standing, Error>) -> Verdict {
        match answer {
            Err(error) => Verdict::Reject(error.into(), None),
            Ok(mut standing) if standing.each.iter().all(Decision::is_allowed) => {
                standing.mark = asked.mark.take();
                let reservation = self.reservation(asked, &standing);
                Verdict::Admit(standing, reservation)
            }
            Ok(standing) => Verdict::Reject(Rejection::Deny(*standing.bound()), Some(standing)),
        }
    }

    fn reservation(&self, asked: Asked<B, P>, standing: &Standing) -> Option<Box<dyn Reservation>> {
        let settlement = self.settlement.clone()?;
        let Asked { limiter, cost, key, .. } = asked;
        let limiter = limiter.unwrap_or_else(|| self.limiter.clone());
        let policy = standing.policies.first()?.clone();
        let decision = standing.each[0];
        Some(Box::new(Reserved { settlement, limiter, policy, key, cost, decision }))
    }

    /// The policies that decide, unless nobody has to be told.
    fn deciding<'a>(&self, policies: impl Iterator<Item = &'a Policy> + Clone) -> Vec<Policy> {
        let is_needed = self.settlement.is_some() || !self.headers.know(policies.clone());
        if is_needed { policies.cloned().collect() } else { Vec::new() }
    }
}

/// A key function is the application's, and its panics are not the connection's.
fn find(key: &(impl KeyFn + ?Sized), request: &Parts) -> Result<RequestKey, KeyError> {
    let key = AssertUnwindSafe(|| key.key(request));
    catch_unwind(key).unwrap_or_else(|_| Err(KeyError::Failed("key function panicked".into())))
}

fn together(answer: &Answer, policies: Vec<Policy>) -> Standing {
    Standing { each: answer.each().into(), bound: answer.bound(), policies, mark: None }
}
