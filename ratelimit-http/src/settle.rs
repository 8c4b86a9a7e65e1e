//! Settling: charging a request the cost that its response tells.

use std::{future::Future, pin::Pin, sync::Arc};

use http::{HeaderName, response::Parts};
use ratelimit_algorithms::{Backend, Decision, Limiter, Permit, Policies, Policy};

use crate::{Rejection, RequestKey, response::catch_panic};

/// The way from the charge for a request to its cost.
#[derive(Clone)]
pub(crate) struct Settlement {
    /// Finds the cost in a response; `None` leaves the charge as it is.
    pub(crate) cost: Arc<CostOf>,
    /// Makes a request without a response free.
    pub(crate) refunds_unanswered: bool,
}

impl Default for Settlement {
    fn default() -> Self {
        Self { cost: Arc::new(|_| None), refunds_unanswered: false }
    }
}

pub(crate) type CostOf = dyn Fn(&Parts) -> Option<u64> + Send + Sync;

/// A charge that has yet to be settled: once, by a response or by its drop.
pub(crate) trait Reservation: Send {
    /// Charges the cost that the response tells; `None` if there is nothing to do. Fails if the
    /// function that finds the cost panics: the charge then stays.
    fn settle(self: Box<Self>, response: &Parts) -> Result<Option<Settling>, Rejection>;
}

pub(crate) type Settling = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A charge by `limiter`.
pub(crate) struct Reserved<B: Backend, P: Policies> {
    pub(crate) settlement: Settlement,
    pub(crate) limiter: Limiter<B, P>,
    pub(crate) policy: Policy,
    pub(crate) key: RequestKey,
    pub(crate) cost: u64,
    pub(crate) decision: Decision,
}

impl<B: Backend, P: Policies> Reserved<B, P> {
    fn permit(&self) -> Option<Permit<'_, B>> {
        let Self { limiter, policy, key, cost, decision, .. } = self;
        limiter.prepare_under(policy, key, *cost).permit(*decision).ok()
    }
}

impl<B: Backend + 'static, P: Policies + 'static> Reservation for Reserved<B, P> {
    fn settle(mut self: Box<Self>, response: &Parts) -> Result<Option<Settling>, Rejection> {
        // From here on the charge stays, whatever happens to the response.
        self.settlement.refunds_unanswered = false;
        let cost = catch_panic(|| (self.settlement.cost)(response))?;
        let Some(cost) = cost.filter(|cost| *cost != self.cost) else { return Ok(None) };
        Ok(Some(Box::pin(async move {
            if let Some(permit) = self.permit() {
                // The client gets its response whatever the store says; the charge then stays.
                let _ = permit.settle(cost).await;
            }
        })))
    }
}

/// Runs when the handler panics or fails, or when the client disconnects.
impl<B: Backend, P: Policies> Drop for Reserved<B, P> {
    fn drop(&mut self) {
        if self.settlement.refunds_unanswered {
            drop(self.permit().map(Permit::refund_on_drop));
        }
    }
}

/// Reads a request's cost from a header of its response, for
/// [`settle_by`](crate::RateLimitLayer::settle_by); `None` unless the header is there once and is a
/// number.
///
/// # Panics
///
/// If `name` is not a header name.
pub fn cost_header(name: &'static str) -> impl Fn(&Parts) -> Option<u64> + Send + Sync {
    let name = HeaderName::from_bytes(name.as_bytes()).expect("name should be a header name");
    move |response| {
        let mut values = response.headers.get_all(&name).iter();
        let value = values.next()?.to_str().ok()?;
        let is_plain = values.next().is_none() && value.bytes().all(|byte| byte.is_ascii_digit());
        if is_plain { value.parse().ok() } else { None }
    }
}
