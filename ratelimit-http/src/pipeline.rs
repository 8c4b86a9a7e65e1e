//! The pipeline of a layer: its limits and keys, and its options about costs and responses.

use std::{fmt, sync::Arc};

use http::request::Parts;
use ratelimit_algorithms::{Backend, Limiter, Policies};

use crate::{
    AsyncKeyFn, RequestKey, Warning,
    actual_cost::LimitNames,
    diagnostics::{Charged, Diagnostics, InspectedLimit},
    headers::Headers,
    limit::{AnyLimit, ChooseTier, Cost, LimitKey, ResponseCost},
    pending_settlements::Outstanding,
    response::Responder,
};

/// The limits of a layer, and its options.
#[derive(Clone)]
pub(crate) struct Pipeline<B, K, P> {
    pub(crate) limiter: Limiter<B, P>,
    /// Picks the limiter that stands in for the first one, where that depends on the request.
    pub(crate) tier: Option<Arc<ChooseTier<B, P>>>,
    pub(crate) key: K,
    pub(crate) cost: Cost,
    /// Finds the cost of the first limit in a response; `None` of it leaves the charge as it is.
    pub(crate) response_cost: Option<Arc<ResponseCost>>,
    /// The limits that are checked together with the first one.
    pub(crate) more: Vec<AnyLimit<B>>,
    pub(crate) settling: SettlingOptions,
    pub(crate) skips: Vec<Arc<Skip>>,
    pub(crate) headers: Headers,
    pub(crate) responder: Responder,
    /// Shared by all clones of a layer.
    pub(crate) diagnostics: Arc<Diagnostics>,
    /// Shared by all clones of a layer.
    pub(crate) outstanding: Arc<Outstanding>,
}

/// The options of a layer about charges that are settled.
#[derive(Clone, Copy, Default)]
pub(crate) struct SettlingOptions {
    /// Settles a request at the end of its response's body, for what its handler tells.
    pub(crate) is_at_end: bool,
    /// Makes a request without a response free.
    pub(crate) refunds_unanswered: bool,
}

pub(crate) type Skip = dyn Fn(&Parts) -> bool + Send + Sync;

impl<B: Backend, K: AsyncKeyFn, P: Policies> Pipeline<B, K, P> {
    /// The key function of a limit.
    pub(crate) fn key_fn(&self, limit: usize) -> &dyn AsyncKeyFn {
        match limit.checked_sub(1) {
            None => &self.key,
            Some(more) => &*self.more[more].key,
        }
    }

    /// Returns true if requests without a key pass a limit.
    pub(crate) fn is_optional(&self, limit: usize) -> bool {
        limit.checked_sub(1).is_some_and(|more| self.more[more].is_optional)
    }

    /// Finds the cost of a limit in a response.
    pub(crate) fn response_cost(&self, limit: usize) -> Option<&Arc<ResponseCost>> {
        match limit.checked_sub(1) {
            None => self.response_cost.as_ref(),
            Some(more) => self.more[more].response_cost.as_ref(),
        }
    }

    /// Returns true if charges may have to be settled.
    pub(crate) fn reserves(&self) -> bool {
        let SettlingOptions { is_at_end, refunds_unanswered } = self.settling;
        is_at_end
            || refunds_unanswered
            || self.response_cost.is_some()
            || self.more.iter().any(|limit| limit.response_cost.is_some())
    }

    /// The name of a limit.
    pub(crate) fn name(&self, limit: usize) -> &str {
        match limit.checked_sub(1) {
            None => self.limiter.name(),
            Some(more) => self.more[more].limiter.name(),
        }
    }

    /// Warns of what looks wrong, if this request is to be looked at.
    pub(crate) fn inspect(&self, request: &Parts, keys: &[LimitKey]) -> Option<Charged> {
        if !self.diagnostics.is_due() {
            return None;
        }
        let names = self.limiter.backend().names();
        for limit in keys.iter().map(|key| key.limit) {
            let warn = &mut |warning: Warning| {
                // Within one process a random pepper is as good as any.
                if names.is_shared() || warning != Warning::RandomPepper {
                    self.diagnostics.warn(&warning);
                }
            };
            self.key_fn(limit).inspect(request, warn);
        }
        for limiter in self.names() {
            if self.limiter.backend().lists_only_text(limiter) {
                let limiter = limiter.to_owned();
                self.diagnostics.warn(&Warning::TextListed { limiter });
            }
        }
        let limits = keys.iter().map(|LimitKey { limit, key }| InspectedLimit {
            limiter: self.name(*limit),
            key: key.as_ref(),
            cost: self.fixed_cost(*limit, key),
        });
        let limits: Vec<_> = limits.collect();
        Some(self.diagnostics.inspect(request, names, &limits))
    }

    /// The cost of every request and the limit; `None` if requests, or their tiers, differ.
    fn fixed_cost(&self, limit: usize, key: &RequestKey) -> Option<(u64, u64)> {
        match (limit.checked_sub(1), &self.cost, &self.tier) {
            (None, Cost::Fixed(cost), None) => Some((*cost, self.limiter.policy(key).limit())),
            (None, ..) => None,
            (Some(more), ..) => {
                let limit = &self.more[more];
                let cost = limit.fixed_cost()?;
                Some((cost, limit.limiter.prepare(key, cost).policy().limit()))
            }
        }
    }
}

impl<B: Backend, K, P: Policies> Pipeline<B, K, P> {
    /// The names of the limits, in their order.
    fn names(&self) -> impl Iterator<Item = &str> {
        let more = self.more.iter().map(|more| more.limiter.name());
        std::iter::once(self.limiter.name()).chain(more)
    }
}

impl<B: Backend, K: Send + Sync, P: Policies> LimitNames for Pipeline<B, K, P> {
    fn for_each(&self, visit: &mut dyn FnMut(&str)) {
        self.names().for_each(visit);
    }
}

impl<B: Backend, K, P: Policies> fmt::Debug for Pipeline<B, K, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let limits: Vec<_> = self.names().collect();
        f.debug_struct("Pipeline").field("limits", &limits).finish_non_exhaustive()
    }
}
