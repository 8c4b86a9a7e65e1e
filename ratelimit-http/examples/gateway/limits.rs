//! The limits of the gateway: of an API key and of its team, in one layer.

use std::time::Duration;

use http::request::Parts;
use ratelimit_algorithms::{
    Algorithm, Backend, CalendarWindow, ConfigError, InFlight, InTier, Limiter, Period, Tier,
    Tiers, TokenBucket,
};
use ratelimit_http::{
    AsyncKeyFn, Extension, HeaderFormat, QuotaUnit, RateLimitLayer, RequestLimit,
};

/// The customer that an API key stands for, in the extensions of its requests.
#[derive(Clone, Copy)]
pub(crate) struct Account {
    pub(crate) id: u64,
    pub(crate) team: u64,
    pub(crate) plan: Plan,
}

#[derive(Clone, Copy)]
pub(crate) enum Plan {
    Free,
    Pro,
}

/// The most tokens that a completion may use, in the extensions of its request.
#[derive(Clone, Copy)]
pub(crate) struct Estimate(pub(crate) u64);

/// The numbers of the limits.
pub(crate) struct Quotas {
    pub(crate) free: PlanQuotas,
    pub(crate) pro: PlanQuotas,
    /// Tokens of a team.
    pub(crate) budget: Algorithm,
}

/// The requests and the tokens of an API key.
pub(crate) struct PlanQuotas {
    pub(crate) requests: Algorithm,
    pub(crate) tokens: Algorithm,
}

impl PlanQuotas {
    fn per_minute(requests: u64, tokens: u64) -> Result<Self, ConfigError> {
        Ok(Self {
            requests: TokenBucket::per_minute(requests).try_into()?,
            tokens: TokenBucket::per_minute(tokens).try_into()?,
        })
    }
}

impl Quotas {
    pub(crate) fn of_plans() -> Result<Self, ConfigError> {
        Ok(Self {
            free: PlanQuotas::per_minute(60, 100_000)?,
            pro: PlanQuotas::per_minute(600, 1_000_000)?,
            budget: CalendarWindow::per(5_000_000, Period::Day).try_into()?,
        })
    }
}

/// The limits, all on one store.
pub(crate) struct Limits<B> {
    pub(crate) requests: Limiter<B, InTier>,
    requests_of_pro: Tier,
    pub(crate) tokens: Limiter<B, InTier>,
    tokens_of_pro: Tier,
    pub(crate) in_flight: Limiter<B>,
    pub(crate) budget: Limiter<B>,
}

impl<B: Backend + Clone + 'static> Limits<B> {
    pub(crate) fn new(store: &B, quotas: Quotas) -> Result<Self, ConfigError> {
        let Quotas { free, pro, budget } = quotas;
        let requests = Tiers::new("requests", free.requests)?;
        let tokens = Tiers::new("tokens", free.tokens)?;
        let in_flight = InFlight::limit(4).held_at_most(STREAM_MAX);
        Ok(Self {
            requests_of_pro: requests.add("pro", pro.requests)?,
            requests: Limiter::with_policies(store.clone(), requests.in_tier(Tier::DEFAULT))?,
            tokens_of_pro: tokens.add("pro", pro.tokens)?,
            tokens: Limiter::with_policies(store.clone(), tokens.in_tier(Tier::DEFAULT))?,
            in_flight: Limiter::new(store.clone(), "in-flight", in_flight)?,
            budget: Limiter::new(store.clone(), "budget", budget)?,
        })
    }

    /// Checks all limits as one. The estimate of tokens is charged, and settled for the actual
    /// usage at the end of the stream; permits in flight are given back then.
    pub(crate) fn layer(&self) -> RateLimitLayer<B, impl AsyncKeyFn + Clone + 'static, InTier> {
        let account = Extension::new(|account: &Account| account.id);
        let team = Extension::new(|account: &Account| account.team);
        let tokens = RequestLimit::new(self.tokens.clone(), account.clone())
            .tier_by(in_tier(self.tokens_of_pro))
            .cost_by(estimate);
        RateLimitLayer::new(self.requests.clone(), account.clone())
            .tier_by(in_tier(self.requests_of_pro))
            .quota_unit(QuotaUnit::Requests)
            .also(tokens)
            .quota_unit(QuotaUnit::Tokens)
            .also(RequestLimit::new(self.in_flight.clone(), account))
            .quota_unit(QuotaUnit::ConcurrentRequests)
            .also(RequestLimit::new(self.budget.clone(), team).cost_by(estimate))
            .quota_unit(QuotaUnit::Tokens)
            .headers([HeaderFormat::Draft10])
            .problem_details()
            .settle_at_end()
    }
}

/// Longer than any stream, so that only permits of a crashed gateway lapse.
const STREAM_MAX: Duration = Duration::from_secs(3_600);

/// The tier of a request: the present one of its account.
fn in_tier(pro: Tier) -> impl Fn(&Parts) -> Tier + Send + Sync {
    move |request| match request.extensions.get() {
        Some(Account { plan: Plan::Pro, .. }) => pro,
        _ => Tier::DEFAULT,
    }
}

fn estimate(request: &Parts) -> Option<u64> {
    request.extensions.get().map(|Estimate(tokens)| *tokens)
}
