//! The pipeline of a layer: its limits and keys, and its options about costs and responses.

use std::{fmt, sync::Arc};

use http::request::Parts;
use ratelimit_algorithms::{Backend, Limiter, Policies, PreparedCheck};

use crate::{
    AsyncKeyFn, RequestKey, Warning,
    diagnostics::{Charged, Diagnostics, InspectedLimit},
    headers::Headers,
    response::Responder,
    settle::Settlement,
};

/// The limits of a layer, and its options.
#[derive(Clone)]
pub(crate) struct Pipeline<B, K, P> {
    pub(crate) limiter: Limiter<B, P>,
    /// Picks the limiter that stands in for the first one, where that depends on the request.
    pub(crate) tier: Option<Arc<ChooseTier<B, P>>>,
    pub(crate) key: K,
    pub(crate) cost: Cost,
    /// Charges the first limit the cost that only the response tells.
    pub(crate) settlement: Option<Settlement>,
    /// The limits that are checked together with the first one.
    pub(crate) more: Vec<AdditionalLimit<B>>,
    pub(crate) skips: Vec<Arc<Skip>>,
    pub(crate) headers: Headers,
    pub(crate) responder: Responder,
    /// Shared by all clones of a layer.
    pub(crate) diagnostics: Arc<Diagnostics>,
}

/// One more limit that a request has to pass.
pub(crate) struct AdditionalLimit<B> {
    pub(crate) limiter: Arc<dyn AnyLimiter<B>>,
    pub(crate) key: Arc<dyn AsyncKeyFn>,
    pub(crate) cost: u64,
}

/// A limiter, whatever its policies.
pub(crate) trait AnyLimiter<B>: Send + Sync {
    fn name(&self) -> &str;

    fn prepare<'a>(&'a self, key: &'a RequestKey, cost: u64) -> PreparedCheck<'a, B>;
}

#[derive(Clone)]
pub(crate) enum Cost {
    Fixed(u64),
    Of(Arc<CostFn>),
}

pub(crate) type ChooseTier<B, P> = dyn Fn(&Limiter<B, P>, &Parts) -> Limiter<B, P> + Send + Sync;
pub(crate) type CostFn = dyn Fn(&Parts) -> Option<u64> + Send + Sync;
pub(crate) type Skip = dyn Fn(&Parts) -> bool + Send + Sync;

impl<B: Backend, K: AsyncKeyFn, P: Policies> Pipeline<B, K, P> {
    /// The key function of a limit.
    pub(crate) fn key_fn(&self, limit: usize) -> &dyn AsyncKeyFn {
        match limit.checked_sub(1) {
            None => &self.key,
            Some(more) => &*self.more[more].key,
        }
    }

    /// Warns of what looks wrong, if this request is to be looked at.
    pub(crate) fn inspect(&self, request: &Parts, keys: &[RequestKey]) -> Option<Charged> {
        if !self.diagnostics.is_due() {
            return None;
        }
        let names = self.limiter.backend().names();
        for index in 0..keys.len() {
            let warn = &mut |warning: Warning| {
                // Within one process a random pepper is as good as any.
                if names.is_shared() || warning != Warning::RandomPepper {
                    self.diagnostics.warn(&warning);
                }
            };
            self.key_fn(index).inspect(request, warn);
        }
        for limiter in self.names() {
            if self.limiter.backend().lists_only_text(limiter) {
                let limiter = limiter.to_owned();
                self.diagnostics.warn(&Warning::TextListed { limiter });
            }
        }
        let limits: Vec<_> = self
            .names()
            .zip(keys)
            .enumerate()
            .map(|(index, (limiter, key))| {
                let cost = self.fixed_cost(index, key);
                InspectedLimit { limiter, key: key.as_ref(), cost }
            })
            .collect();
        Some(self.diagnostics.inspect(request, names, &limits))
    }

    /// The cost of every request and the limit; `None` if requests, or their tiers, differ.
    fn fixed_cost(&self, limit: usize, key: &RequestKey) -> Option<(u64, u64)> {
        match (limit.checked_sub(1), &self.cost, &self.tier) {
            (None, Cost::Fixed(cost), None) => Some((*cost, self.limiter.policy(key).limit())),
            (None, ..) => None,
            (Some(more), ..) => {
                let AdditionalLimit { limiter, cost, .. } = &self.more[more];
                Some((*cost, limiter.prepare(key, *cost).policy().limit()))
            }
        }
    }
}

impl<B: Backend, K, P: Policies> Pipeline<B, K, P> {
    /// The names of the limits, in their order.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        let more = self.more.iter().map(|more| more.limiter.name());
        std::iter::once(self.limiter.name()).chain(more)
    }
}

impl<B: Backend, P: Policies + Clone + 'static> AnyLimiter<B> for Limiter<B, P> {
    fn name(&self) -> &str {
        self.name()
    }

    fn prepare<'a>(&'a self, key: &'a RequestKey, cost: u64) -> PreparedCheck<'a, B> {
        self.prepare(key, cost)
    }
}

impl<B> Clone for AdditionalLimit<B> {
    fn clone(&self) -> Self {
        Self { limiter: Arc::clone(&self.limiter), key: Arc::clone(&self.key), cost: self.cost }
    }
}

impl<B: Backend, K, P: Policies> fmt::Debug for Pipeline<B, K, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let limits: Vec<_> = self.names().collect();
        f.debug_struct("Pipeline").field("limits", &limits).finish_non_exhaustive()
    }
}
