//! What is asked about a request: its keys, its cost, its tier.

use http::request::Parts;
use ratelimit_algorithms::{AsyncLimiter, Backend, Limits, Policies, Policy, Question};

use crate::{
    AsyncKeyFn, KeyError, Rejection, RequestKey,
    inspect::Marks,
    key::{find, find_now},
    rule::{Cost, Rule},
};

/// A cost, and a key for each limit.
pub(crate) struct Asked<B, P> {
    /// What stands in for the first limiter.
    pub(crate) limiter: Option<AsyncLimiter<B, P>>,
    pub(crate) cost: u64,
    pub(crate) keys: Keys,
    /// What is to be left in the request.
    pub(crate) marks: Option<Marks>,
}

/// The keys of a request, in the order of their limits.
pub(crate) struct Keys {
    pub(crate) first: RequestKey,
    more: Vec<RequestKey>,
}

impl Keys {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &RequestKey> {
        std::iter::once(&self.first).chain(&self.more)
    }
}

impl<B: Backend, K: AsyncKeyFn, P: Policies> Rule<B, K, P> {
    /// The keys; `None` if one of them has to be awaited.
    pub(crate) fn keys_now(&self, request: &Parts) -> Option<Result<Keys, KeyError>> {
        let first = match find_now(&self.key, request)? {
            Ok(first) => first,
            Err(error) => return Some(Err(error)),
        };
        let mut more = Vec::with_capacity(self.more.len());
        for limit in &self.more {
            match find_now(&*limit.key, request)? {
                Ok(key) => more.push(key),
                Err(error) => return Some(Err(error)),
            }
        }
        Some(Ok(Keys { first, more }))
    }

    pub(crate) async fn keys(&self, request: &Parts) -> Result<Keys, KeyError> {
        let first = find(&self.key, request).await?;
        let mut more = Vec::with_capacity(self.more.len());
        for limit in &self.more {
            more.push(find(&*limit.key, request).await?);
        }
        Ok(Keys { first, more })
    }

    pub(crate) fn asked(&self, keys: Keys, request: &Parts) -> Result<Asked<B, P>, Rejection> {
        let cost = match &self.cost {
            Cost::Fixed(cost) => *cost,
            Cost::Of(cost) => cost(request).ok_or(Rejection::Cost)?,
        };
        let limiter = self.tier.as_ref().map(|choose| choose(&self.limiter, request));
        let marks = self.inspect(request, &keys);
        Ok(Asked { limiter, cost, keys, marks })
    }
}

impl<B: Backend, K, P: Policies> Rule<B, K, P> {
    pub(crate) fn first<'a>(&'a self, asked: &'a Asked<B, P>) -> Question<'a, B> {
        asked.limiter.as_ref().unwrap_or(&self.limiter).question(&asked.keys.first, asked.cost)
    }

    /// All limits, and by which policies they decide.
    pub(crate) fn limits<'a>(
        &'a self,
        first: Question<'a, B>,
        asked: &'a Asked<B, P>,
    ) -> (Limits<'a, AsyncLimiter<B>>, Vec<Policy>) {
        let more = self.more.iter().zip(&asked.keys.more);
        let more = more.map(|(limit, key)| limit.limiter.question(key, limit.cost));
        let questions: Vec<_> = std::iter::once(first).chain(more).collect();
        let policies = self.deciding(questions.iter().map(Question::policy));
        let mut questions = questions.into_iter();
        let first = Limits::from(questions.next().expect("there is a first"));
        (questions.fold(first, Limits::and_question), policies)
    }

    /// The policies that decide, unless nobody has to be told.
    pub(crate) fn deciding<'a>(
        &self,
        policies: impl Iterator<Item = &'a Policy> + Clone,
    ) -> Vec<Policy> {
        let is_needed = self.settlement.is_some() || !self.headers.know(policies.clone());
        if is_needed { policies.cloned().collect() } else { Vec::new() }
    }
}
