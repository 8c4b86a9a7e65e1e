//! What a request is charged, and by which limits.

use std::sync::Arc;

use http::request::Parts;
use ratelimit_algorithms::{AsyncLimiter, Backend, InTier, Policies, Tier};

use super::RateLimitLayer;
use crate::{
    AsyncKeyFn,
    rule::{Cost, Limit},
};

impl<B: Clone, K: Clone, P: Clone> RateLimitLayer<B, K, P> {
    /// Charges `cost` permits for each request.
    ///
    /// A cost that the limiter can never admit is refused with each request, as the
    /// [crate's table](crate#what-is-answered) says.
    pub fn cost(mut self, cost: u64) -> Self {
        self.rule_mut().cost = Cost::Fixed(cost);
        self
    }

    /// Charges what `cost` says of each request's head. `None` is for a request that does not say,
    /// or makes no sense: it is answered with 400, and so is a cost of nothing.
    ///
    /// ```
    /// use http::request::Parts;
    ///
    /// # use ratelimit_algorithms::{FixedWindow, Limiter};
    /// # use ratelimit_http::{PeerAddr, RateLimitLayer};
    /// # use ratelimit_memory::Memory;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let limiter = Limiter::new(Memory::new(), "upload", FixedWindow::per_hour(1_000_000))?;
    /// /// A permit for every KiB, and one for the request.
    /// fn kibibytes(request: &Parts) -> Option<u64> {
    ///     let length = request.headers.get("content-length")?.to_str().ok()?;
    ///     Some(1 + length.parse::<u64>().ok()?.div_ceil(1024))
    /// }
    ///
    /// let layer = RateLimitLayer::new(limiter, PeerAddr).cost_by(kibibytes);
    /// # Ok(())
    /// # }
    /// ```
    pub fn cost_by<F>(mut self, cost: F) -> Self
    where
        F: Fn(&Parts) -> Option<u64> + Send + Sync + 'static,
    {
        self.rule_mut().cost = Cost::Of(Arc::new(cost));
        self
    }

    /// Asks one more limiter about each request, as one with the others: either all of them admit
    /// and are charged, or none is. They have to be on one store.
    ///
    /// Who is denied is told of the limit with the longest wait, who is admitted of the one with
    /// the least remaining; draft 10 tells of all.
    ///
    /// ```
    /// # use ratelimit_algorithms::{FixedWindow, Limiter, TokenBucket};
    /// # use ratelimit_http::{ApiKey, ClientIp, RateLimitLayer};
    /// # use ratelimit_memory::Memory;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let store = Memory::new();
    /// let burst = Limiter::new(store.clone(), "burst", TokenBucket::per_second(10))?;
    /// let daily = Limiter::new(store, "daily", FixedWindow::per_day(50_000))?;
    /// let layer = RateLimitLayer::new(burst, ClientIp::peer())
    ///     .also(daily, ApiKey::header("x-api-key"), 1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn also<Q>(
        mut self,
        limiter: impl Into<AsyncLimiter<B, Q>>,
        key: impl AsyncKeyFn + 'static,
        cost: u64,
    ) -> Self
    where
        B: Backend + 'static,
        Q: Policies + 'static,
    {
        let rule = self.rule_mut();
        let limiter = limiter.into();
        rule.headers.add(&limiter.policy(&[]));
        rule.more.push(Limit { limiter: Arc::new(limiter), key: Arc::new(key), cost });
        self
    }
}

impl<B: Clone, K: Clone> RateLimitLayer<B, K, InTier> {
    /// Checks each request against the limit of the tier that `tier` finds in its head: in what an
    /// authentication layer has put into its extensions, or in a header that no client can set.
    ///
    /// The key is the same in every tier: who changes theirs keeps what they have spent.
    ///
    /// ```
    /// use http::request::Parts;
    /// use ratelimit_algorithms::{Limiter, Tier, Tiers, TokenBucket};
    /// use ratelimit_http::{Extension, RateLimitLayer};
    /// use ratelimit_memory::Memory;
    ///
    /// /// What an authentication layer has found.
    /// #[derive(Clone)]
    /// struct User {
    ///     id: u64,
    ///     is_paying: bool,
    /// }
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let tiers = Tiers::new("api", TokenBucket::per_second(10))?;
    /// let pro = tiers.add("pro", TokenBucket::per_second(100))?;
    /// let limiter = Limiter::with_policies(Memory::new(), tiers.only(Tier::DEFAULT))?;
    ///
    /// let user = Extension::new(|user: &User| user.id);
    /// let layer = RateLimitLayer::new(limiter, user).tier_by(move |request: &Parts| {
    ///     let user = request.extensions.get::<User>();
    ///     if user.is_some_and(|user| user.is_paying) { pro } else { Tier::DEFAULT }
    /// });
    /// # Ok(())
    /// # }
    /// ```
    pub fn tier_by<F>(mut self, tier: F) -> Self
    where
        F: Fn(&Parts) -> Tier + Send + Sync + 'static,
    {
        let choose = move |limiter: &AsyncLimiter<B, InTier>, request: &Parts| {
            limiter.in_tier(tier(request))
        };
        self.rule_mut().tier = Some(Arc::new(choose));
        self
    }
}
