//! What a request has cost in the end, as its response tells.

use std::{future::Future, pin::Pin, sync::Arc};

use http::{HeaderName, Response, response::Parts};
use ratelimit_algorithms::{AsyncLimiter, Backend, Decision, Permit, Policies, Policy};

use crate::RequestKey;

/// How what was charged for a request is made to be what it has cost.
#[derive(Clone)]
pub(crate) struct Settlement {
    /// `None`: as much as was charged.
    pub(crate) cost: Arc<CostOf>,
    /// Whether a request without a response has cost nothing.
    pub(crate) refunds_unanswered: bool,
}

pub(crate) type CostOf = dyn Fn(&Parts) -> Option<u64> + Send + Sync;

/// What a request was charged and has yet to be settled.
///
/// Settled or dropped, it is so once: it can be neither of them twice, nor both.
pub(crate) trait Reservation: Send {
    /// Makes the request have cost what its response says; `None` where there is nothing to do.
    fn settle(self: Box<Self>, response: &Parts) -> Option<Settling>;
}

pub(crate) type Settling = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What was charged by `limiter`.
pub(crate) struct Reserved<B: Backend, P: Policies> {
    pub(crate) settlement: Settlement,
    pub(crate) limiter: AsyncLimiter<B, P>,
    pub(crate) policy: Policy,
    pub(crate) key: RequestKey,
    pub(crate) cost: u64,
    pub(crate) decision: Decision,
}

impl<B: Backend, P: Policies> Reserved<B, P> {
    fn permit(&self) -> Option<Permit<'_, AsyncLimiter<B, P>>> {
        let Self { limiter, policy, key, cost, decision, .. } = self;
        limiter.permit(policy, key, *cost, *decision).ok()
    }
}

impl<B: Backend + 'static, P: Policies + 'static> Reservation for Reserved<B, P> {
    fn settle(mut self: Box<Self>, response: &Parts) -> Option<Settling> {
        // From here on it stays spent, whatever happens to the response.
        self.settlement.refunds_unanswered = false;
        let cost = (self.settlement.cost)(response).filter(|cost| *cost != self.cost)?;
        Some(Box::pin(async move {
            if let Some(permit) = self.permit() {
                // The client has its answer, whatever the store says; what failed stays charged.
                let _ = permit.settle(cost).await;
            }
        }))
    }
}

/// The handler panicked or failed, or the client has gone away.
impl<B: Backend, P: Policies> Drop for Reserved<B, P> {
    fn drop(&mut self) {
        if self.settlement.refunds_unanswered {
            drop(self.permit().map(Permit::refund_on_drop));
        }
    }
}

/// The number in a header of the response, for
/// [`settle_by`](crate::RateLimitLayer::settle_by); `None` where it is not there once, or is none.
///
/// # Panics
///
/// If `name` is no header name.
pub fn cost_header(name: &'static str) -> impl Fn(&Parts) -> Option<u64> + Send + Sync {
    let name = HeaderName::from_bytes(name.as_bytes()).expect("name should be a header name");
    move |response| {
        let mut values = response.headers.get_all(&name).iter();
        let value = values.next()?.to_str().ok()?;
        let is_plain = values.next().is_none() && value.bytes().all(|byte| byte.is_ascii_digit());
        if is_plain { value.parse().ok() } else { None }
    }
}

/// What becomes of a response's reservation, and the response itself.
pub(crate) fn settle<Body>(
    reservation: Box<dyn Reservation>,
    response: Response<Body>,
) -> (Option<Settling>, Response<Body>) {
    let (parts, body) = response.into_parts();
    let settling = reservation.settle(&parts);
    (settling, Response::from_parts(parts, body))
}
