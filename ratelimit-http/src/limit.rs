//! A further limit of a layer: a limiter, a key, and options about its cost.

use std::{fmt, sync::Arc};

use http::{request, response};
use ratelimit_algorithms::{Backend, InTier, Limiter, Policies, Policy, PreparedCheck, Tier};

use crate::{AsyncKeyFn, RequestKey};

/// One more limit for [`RateLimitLayer::also`](crate::RateLimitLayer::also) and
/// [`OutgoingLayer::also`](crate::OutgoingLayer::also): a limiter, the key that it counts by, and the
/// cost of each request.
///
/// ```
/// use http::request::Parts;
/// use ratelimit_algorithms::{FixedWindow, Limiter, TokenBucket};
/// use ratelimit_http::{ApiKey, RateLimitLayer, RequestLimit, cost_header};
/// use ratelimit_memory::Memory;
///
/// /// The tokens that a request may use, as it says itself.
/// fn max_tokens(request: &Parts) -> Option<u64> {
///     request.headers.get("x-max-tokens")?.to_str().ok()?.parse().ok()
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = Memory::new();
/// let requests = Limiter::new(store.clone(), "requests", TokenBucket::per_minute(60))?;
/// let tokens = Limiter::new(store.clone(), "tokens", TokenBucket::per_minute(100_000))?;
/// let budget = Limiter::new(store, "budget", FixedWindow::per_day(1_000_000))?;
///
/// let used = || cost_header("x-tokens-used");
/// let layer = RateLimitLayer::new(requests, ApiKey::header("x-api-key"))
///     .also(
///         RequestLimit::new(tokens, ApiKey::header("x-api-key"))
///             .cost_by(max_tokens)
///             .settle_by(used()),
///     )
///     .also(
///         RequestLimit::new(budget, ApiKey::header("x-team"))
///             .cost_by(max_tokens)
///             .settle_by(used())
///             .optional(),
///     );
/// # Ok(())
/// # }
/// ```
#[must_use = "a limit does nothing unless it is added to a layer"]
pub struct RequestLimit<B, P = Policy> {
    limiter: Limiter<B, P>,
    tier: Option<Arc<ChooseTier<B, P>>>,
    key: Arc<dyn AsyncKeyFn>,
    cost: Cost,
    response_cost: Option<Arc<ResponseCost>>,
    is_optional: bool,
}

/// The cost of a request, by its head.
#[derive(Clone)]
pub(crate) enum Cost {
    Fixed(u64),
    Of(Arc<RequestCost>),
}

/// The key of a request under one of a layer's limits.
pub(crate) struct LimitKey {
    /// The index of the limit.
    pub(crate) limit: usize,
    pub(crate) key: RequestKey,
}

/// Finds a request's tier: the limiter in it.
pub(crate) type ChooseTier<B, P> =
    dyn Fn(&Limiter<B, P>, &request::Parts) -> Limiter<B, P> + Send + Sync;
pub(crate) type RequestCost = dyn Fn(&request::Parts) -> Option<u64> + Send + Sync;
pub(crate) type ResponseCost = dyn Fn(&response::Parts) -> Option<u64> + Send + Sync;

impl<B: Backend, P: Policies> RequestLimit<B, P> {
    /// A limit by `limiter`, under the key that `key` finds, at a cost of 1.
    pub fn new(limiter: Limiter<B, P>, key: impl AsyncKeyFn + 'static) -> Self {
        let (key, cost) = (Arc::new(key), Cost::Fixed(1));
        Self { limiter, tier: None, key, cost, response_cost: None, is_optional: false }
    }

    /// Charges `cost` permits for each request.
    pub fn cost(self, cost: u64) -> Self {
        Self { cost: Cost::Fixed(cost), ..self }
    }

    /// Charges the cost that `cost` finds in each request's head. `None` or zero is answered with
    /// 400; outgoing requests fail.
    pub fn cost_by<F>(self, cost: F) -> Self
    where
        F: Fn(&request::Parts) -> Option<u64> + Send + Sync + 'static,
    {
        Self { cost: Cost::Of(Arc::new(cost)), ..self }
    }

    /// Settles the charge by the cost that `cost` finds in the head of the response, as
    /// [`RateLimitLayer::settle_by`](crate::RateLimitLayer::settle_by) does for the first limit.
    pub fn settle_by<F>(self, cost: F) -> Self
    where
        F: Fn(&response::Parts) -> Option<u64> + Send + Sync + 'static,
    {
        Self { response_cost: Some(Arc::new(cost)), ..self }
    }

    /// Does not apply this limit to requests without its key
    /// ([`KeyError::Missing`](crate::KeyError::Missing)); the other limits hold.
    ///
    /// By default such a request is refused. A key that cannot be read is refused in any case.
    pub fn optional(self) -> Self {
        Self { is_optional: true, ..self }
    }
}

impl<B: Clone> RequestLimit<B, InTier> {
    /// Checks each request against the limit of the tier that `tier` finds in its head.
    pub fn tier_by<F>(self, tier: F) -> Self
    where
        F: Fn(&request::Parts) -> Tier + Send + Sync + 'static,
    {
        let choose = move |limiter: &Limiter<B, InTier>, request: &request::Parts| {
            limiter.in_tier(tier(request))
        };
        Self { tier: Some(Arc::new(choose)), ..self }
    }
}

impl<B: Backend + Clone + 'static, P: Policies + Clone + 'static> RequestLimit<B, P> {
    /// The policy of a request in no particular tier.
    pub(crate) fn policy(&self) -> Policy {
        self.limiter.policy(&[]).into_owned()
    }

    pub(crate) fn erase(self) -> AnyLimit<B> {
        let Self { limiter, tier, key, cost, response_cost, is_optional } = self;
        let tier = tier.map(|choose| {
            let limiter = limiter.clone();
            let choose = move |request: &request::Parts| -> Arc<dyn AnyLimiter<B>> {
                Arc::new(choose(&limiter, request))
            };
            Arc::new(choose) as Arc<AnyTier<B>>
        });
        AnyLimit { limiter: Arc::new(limiter), tier, key, cost, response_cost, is_optional }
    }
}

/// A [`RequestLimit`], whatever its policies.
pub(crate) struct AnyLimit<B> {
    pub(crate) limiter: Arc<dyn AnyLimiter<B>>,
    tier: Option<Arc<AnyTier<B>>>,
    pub(crate) key: Arc<dyn AsyncKeyFn>,
    pub(crate) cost: Cost,
    pub(crate) response_cost: Option<Arc<ResponseCost>>,
    pub(crate) is_optional: bool,
}

type AnyTier<B> = dyn Fn(&request::Parts) -> Arc<dyn AnyLimiter<B>> + Send + Sync;

/// A limiter, whatever its policies.
pub(crate) trait AnyLimiter<B>: Send + Sync {
    fn name(&self) -> &str;

    fn prepare<'a>(&'a self, key: &'a RequestKey, cost: u64) -> PreparedCheck<'a, B>;
}

impl<B> AnyLimit<B> {
    /// The limiter of a request, in its tier.
    pub(crate) fn limiter_of(&self, request: &request::Parts) -> Arc<dyn AnyLimiter<B>> {
        match &self.tier {
            Some(choose) => choose(request),
            None => Arc::clone(&self.limiter),
        }
    }

    /// The cost of every request; `None` if requests, or their tiers, differ.
    pub(crate) const fn fixed_cost(&self) -> Option<u64> {
        match (&self.cost, &self.tier) {
            (Cost::Fixed(cost), None) => Some(*cost),
            _ => None,
        }
    }
}

impl Cost {
    /// The cost of a request; `None` if it does not tell it.
    pub(crate) fn of(&self, request: &request::Parts) -> Option<u64> {
        match self {
            Self::Fixed(cost) => Some(*cost),
            Self::Of(cost) => cost(request),
        }
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

impl<B> Clone for AnyLimit<B> {
    fn clone(&self) -> Self {
        Self {
            limiter: Arc::clone(&self.limiter),
            tier: self.tier.clone(),
            key: Arc::clone(&self.key),
            cost: self.cost.clone(),
            response_cost: self.response_cost.clone(),
            is_optional: self.is_optional,
        }
    }
}

impl<B: Backend, P: Policies> fmt::Debug for RequestLimit<B, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestLimit").field("name", &self.limiter.name()).finish_non_exhaustive()
    }
}
