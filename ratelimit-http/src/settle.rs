//! Settling: charging a request the cost that its response tells.
//!
//! The response to a gRPC call tells it at its end: its status is in the trailers, or in the head of
//! a call that fails at once.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
};

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header::CONTENT_TYPE, response::Parts};
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
pub(crate) trait Reservation: Send + Sync {
    /// Charges the cost that the response tells; `None` if there is nothing to do. Fails if the
    /// function that finds the cost panics: the charge then stays.
    fn settle(self: Box<Self>, response: &Parts) -> Result<Option<Settling>, Rejection>;

    /// Leaves the charge as it is, whatever becomes of the response.
    fn keep(self: Box<Self>);
}

pub(crate) type Settling = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A charge by `limiter`.
pub(crate) struct Reserved<B: Backend, P: Policies + Clone + 'static> {
    pub(crate) settlement: Settlement,
    pub(crate) limiter: Limiter<B, P>,
    pub(crate) policy: Policy,
    pub(crate) key: RequestKey,
    pub(crate) cost: u64,
    pub(crate) decision: Decision,
}

impl<B: Backend, P: Policies + Clone + 'static> Reserved<B, P> {
    fn permit(&self) -> Option<Permit<'_, B>> {
        let Self { limiter, policy, key, cost, decision, .. } = self;
        limiter.prepare_under(policy, key, *cost).permit(*decision).ok()
    }
}

impl<B: Backend + 'static, P: Policies + Clone + 'static> Reservation for Reserved<B, P> {
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

    fn keep(mut self: Box<Self>) {
        self.settlement.refunds_unanswered = false;
    }
}

/// Runs when the handler panics or fails, or when the client disconnects.
impl<B: Backend, P: Policies + Clone + 'static> Drop for Reserved<B, P> {
    fn drop(&mut self) {
        if self.settlement.refunds_unanswered {
            drop(self.permit().map(Permit::refund_on_drop));
        }
    }
}

/// The progress of a settlement once the head of a response is there.
pub(crate) enum Settled {
    /// Settled, once the future is done if there is one.
    Now(Option<Settling>),
    AtEnd(Box<UnsettledCall>),
}

/// Settles a request by the head of its response, unless that is a gRPC call's and leaves its status
/// to the trailers.
pub(crate) fn settle(
    reservation: Box<dyn Reservation>,
    head: &Parts,
) -> Result<Settled, Rejection> {
    let kind = head.headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    let is_call = kind.is_some_and(|kind| kind.starts_with(b"application/grpc"));
    if !is_call || head.status != StatusCode::OK {
        return reservation.settle(head).map(Settled::Now);
    }
    match call_outcome(head, &head.headers) {
        Some(outcome) => reservation.settle(&outcome).map(Settled::Now),
        None => Ok(Settled::AtEnd(Box::new(UnsettledCall {
            head: head.clone(),
            reservation: Some(reservation),
            trailers: None,
            settling: Mutex::default(),
        }))),
    }
}

/// A gRPC call whose trailers will tell its cost.
pub(crate) struct UnsettledCall {
    head: Parts,
    reservation: Option<Box<dyn Reservation>>,
    /// Passed on once the call is settled.
    trailers: Option<HeaderMap>,
    /// In a mutex, which nobody locks, since a body may have to be `Sync`.
    settling: Mutex<Option<Settling>>,
}

impl UnsettledCall {
    pub(crate) const fn has_trailers(&self) -> bool {
        self.trailers.is_some()
    }

    /// Begins to settle the call by its trailers.
    pub(crate) fn end(&mut self, mut trailers: HeaderMap) {
        match (self.reservation.take(), call_outcome(&self.head, &trailers)) {
            (Some(reservation), Some(outcome)) => match reservation.settle(&outcome) {
                Ok(settling) => self.settling = Mutex::new(settling),
                // As much of the response as is left to replace.
                Err(_) => _ = trailers.insert(GRPC_STATUS, HeaderValue::from_static("13")),
            },
            (reservation, _) => reservation.into_iter().for_each(Reservation::keep),
        }
        self.trailers = Some(trailers);
    }

    /// Leaves the charge as it is.
    pub(crate) fn keep(self) {
        self.reservation.into_iter().for_each(Reservation::keep);
    }

    /// Returns the trailers, once the call is settled.
    pub(crate) fn poll_settled(&mut self, context: &mut Context<'_>) -> Poll<HeaderMap> {
        let settling = self.settling.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(future) = settling {
            ready!(future.as_mut().poll(context));
            *settling = None;
        }
        Poll::Ready(self.trailers.take().unwrap_or_default())
    }
}

/// Shows neither keys nor trailers.
impl fmt::Debug for UnsettledCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UnsettledCall")
    }
}

/// The end of a gRPC call as a response of HTTP: its trailers are among the headers, and its status
/// is the counterpart of the call's. `None` if `trailers` have no status.
fn call_outcome(head: &Parts, trailers: &HeaderMap) -> Option<Parts> {
    let status = trailers.get(GRPC_STATUS)?;
    let mut outcome = head.clone();
    outcome.headers.extend(trailers.clone());
    outcome.status = match status.as_bytes() {
        b"0" => StatusCode::OK,
        b"3" | b"9" | b"11" => StatusCode::BAD_REQUEST,
        b"4" => StatusCode::GATEWAY_TIMEOUT,
        b"5" => StatusCode::NOT_FOUND,
        b"6" | b"10" => StatusCode::CONFLICT,
        b"7" => StatusCode::FORBIDDEN,
        b"8" => StatusCode::TOO_MANY_REQUESTS,
        b"12" => StatusCode::NOT_IMPLEMENTED,
        b"14" => StatusCode::SERVICE_UNAVAILABLE,
        b"16" => StatusCode::UNAUTHORIZED,
        // Among them a call that the client has cancelled, for which HTTP has no status.
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    Some(outcome)
}

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

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
