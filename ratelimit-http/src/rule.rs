//! The rule of a layer: whom a request counts against, what it costs, and how it is answered.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use http::{Response, request::Parts};
use ratelimit_algorithms::{AsyncLimiter, Backend, Policies, Question};

use crate::{
    AsyncKeyFn, Rejection, RequestKey, diagnostics::SelfCheck, headers::Headers, settle::Settlement,
};

#[derive(Clone)]
pub(crate) struct Rule<B, K, P> {
    pub(crate) limiter: AsyncLimiter<B, P>,
    /// Says of a request which limiter stands in for the first, where that depends on it.
    pub(crate) tier: Option<Arc<Choose<B, P>>>,
    pub(crate) key: K,
    pub(crate) cost: Cost,
    /// How the first limit is charged what the request has cost, if that is known afterwards only.
    pub(crate) settlement: Option<Settlement>,
    /// What is asked together with the first.
    pub(crate) more: Vec<Limit<B>>,
    pub(crate) skips: Vec<Arc<Skip>>,
    pub(crate) headers: Headers,
    pub(crate) answers: Answers,
    /// Of this layer and all clones of it.
    pub(crate) check: Arc<SelfCheck>,
}

/// One more limit that a request has to pass.
pub(crate) struct Limit<B> {
    pub(crate) limiter: Arc<dyn Limited<B>>,
    pub(crate) key: Arc<dyn AsyncKeyFn>,
    pub(crate) cost: u64,
}

/// A limiter, whatever its policies.
pub(crate) trait Limited<B>: Send + Sync {
    fn name(&self) -> &str;

    fn question<'a>(&'a self, key: &'a RequestKey, cost: u64) -> Question<'a, B>;
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

pub(crate) type Choose<B, P> =
    dyn Fn(&AsyncLimiter<B, P>, &Parts) -> AsyncLimiter<B, P> + Send + Sync;
pub(crate) type CostFn = dyn Fn(&Parts) -> Option<u64> + Send + Sync;
pub(crate) type Skip = dyn Fn(&Parts) -> bool + Send + Sync;
pub(crate) type Respond = dyn Fn(&Rejection, &Parts) -> Response<Bytes> + Send + Sync;

impl<B: Backend, K, P: Policies> Rule<B, K, P> {
    /// The names of the limits, in their order.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.limiter.name()).chain(self.more.iter().map(|more| more.limiter.name()))
    }
}

impl<B: Backend, P: Policies> Limited<B> for AsyncLimiter<B, P> {
    fn name(&self) -> &str {
        self.name()
    }

    fn question<'a>(&'a self, key: &'a RequestKey, cost: u64) -> Question<'a, B> {
        self.question(key, cost)
    }
}

impl<B> Clone for Limit<B> {
    fn clone(&self) -> Self {
        Self { limiter: Arc::clone(&self.limiter), key: Arc::clone(&self.key), cost: self.cost }
    }
}

impl<B: Backend, K, P: Policies> fmt::Debug for Rule<B, K, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let policies: Vec<_> = self.names().collect();
        f.debug_struct("Rule").field("policies", &policies).finish_non_exhaustive()
    }
}
