//! Settling: charging a request the cost that its response tells.
//!
//! A request is settled when the head of its response is there; or when the body has ended, if its
//! cost is reported later, or if it holds permits while it is served. A request that gets no
//! response, and a body that is dropped before its end, are settled in the drop.
//!
//! The response to a gRPC call tells its cost at its end: its status is in the trailers, or in the head of
//! a call that fails at once.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
};

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header::CONTENT_TYPE, response::Parts};
use ratelimit_algorithms::{Backend, Permits};
use smallvec::SmallVec;

use crate::{
    ActualCost, Rejection,
    limit::ResponseCost,
    pending_settlements::{Outstanding, Settling},
    response::catch_panic,
};

/// A charge that has yet to be settled: once, by a response, at the end of its body, or by a drop.
pub(crate) trait Reservation: Send + Sync {
    /// Reads the costs that a response tells. Fails if a function that finds one panics: the charge then
    /// stays.
    fn read(&mut self, response: &Parts) -> Result<(), Rejection>;

    /// Notes that the request has its response, so that it is not free from now on.
    fn answer(&mut self);

    /// Returns true if the charge is settled at the end of the body.
    fn lasts(&self) -> bool;

    /// Begins to settle the charge by what has been told; `None` if it is right as it is.
    fn settle(&mut self) -> Option<Settling>;
}

/// A charge of a layer's limits.
pub(crate) struct Reserved<B: Backend + 'static> {
    /// Until it is settled.
    pub(crate) permits: Option<Permits<'static, B>>,
    /// In the order of the permits.
    pub(crate) parts: SmallVec<[ReservedPart; 1]>,
    /// Told by the handler, if the layer settles at the end.
    pub(crate) actual: Option<ActualCost>,
    /// Makes the request free as long as it has no response.
    pub(crate) refunds: bool,
    pub(crate) outstanding: Arc<Outstanding>,
}

/// One limit's part of a charge.
pub(crate) struct ReservedPart {
    /// The index of the limit.
    pub(crate) limit: usize,
    /// The cost that was charged.
    pub(crate) charged: u64,
    /// True if the permits are held while the request is served, and then given back.
    pub(crate) is_held: bool,
    pub(crate) response_cost: Option<Arc<ResponseCost>>,
    /// The cost that the response has told.
    pub(crate) told: Option<u64>,
}

impl<B: Backend> Reserved<B> {
    /// The cost of a limit as far as it is known; `None` if it is what was charged.
    fn cost(&self, part: &ReservedPart) -> Option<u64> {
        if part.is_held {
            return Some(0);
        }
        let told = self.actual.as_ref().and_then(|actual| actual.of(part.limit)).or(part.told);
        told.or_else(|| self.refunds.then_some(0)).filter(|cost| *cost != part.charged)
    }
}

impl<B: Backend> Reservation for Reserved<B> {
    fn read(&mut self, response: &Parts) -> Result<(), Rejection> {
        // The charge stays if one of the functions panics.
        self.answer();
        for part in &mut self.parts {
            if let Some(cost) = &part.response_cost {
                part.told = catch_panic(|| cost(response))?;
            }
        }
        Ok(())
    }

    fn answer(&mut self) {
        self.refunds = false;
    }

    fn lasts(&self) -> bool {
        self.actual.is_some() || self.parts.iter().any(|part| part.is_held)
    }

    fn settle(&mut self) -> Option<Settling> {
        let permits = self.permits.take()?;
        let costs: SmallVec<[_; 4]> = self.parts.iter().map(|part| self.cost(part)).collect();
        if costs.iter().all(Option::is_none) {
            permits.keep();
            return None;
        }
        let costs = costs.into_iter().zip(&self.parts);
        let settle = permits.settle(costs.map(|(cost, part)| cost.unwrap_or(part.charged)));
        // The client gets its response whatever the store says; the charge then stays.
        Some(Box::pin(async move { drop(settle.await) }))
    }
}

/// Runs when the handler panics or fails, when the client disconnects, and when a body is dropped.
impl<B: Backend> Drop for Reserved<B> {
    fn drop(&mut self) {
        if let Some(settling) = self.settle() {
            self.outstanding.finish(settling);
        }
    }
}

/// The progress of a settlement once the head of a response is there.
pub(crate) enum Settled {
    /// Settled, once the future is done if there is one.
    Now(Option<Settling>),
    AtEnd(BodyEnd),
}

/// Settles a request by the head of its response, unless that is a gRPC call's and leaves its status
/// to the trailers, or the cost is told at the end of the body.
pub(crate) fn settle(
    mut reservation: Box<dyn Reservation>,
    head: &Parts,
    outstanding: &Arc<Outstanding>,
) -> Result<Settled, Rejection> {
    let kind = head.headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    let is_call = kind.is_some_and(|kind| kind.starts_with(b"application/grpc"));
    let call = if !is_call || head.status != StatusCode::OK {
        reservation.read(head)?;
        None
    } else if let Some(outcome) = call_outcome(head, &head.headers) {
        reservation.read(&outcome)?;
        None
    } else {
        Some(head.clone())
    };
    if call.is_none() && !reservation.lasts() {
        return Ok(Settled::Now(reservation.settle()));
    }
    Ok(Settled::AtEnd(BodyEnd(Some(Box::new(Unsettled {
        call,
        reservation: Some(reservation),
        trailers: None,
        settling: Mutex::default(),
        outstanding: Arc::clone(outstanding),
    })))))
}

/// The settlement of a request at the end of its response's body: part of that body, and dropped with it.
///
/// For adapters to frameworks that have another kind of body; see
/// [`ResponseBody::into_parts`](crate::ResponseBody::into_parts).
#[must_use = "a body that is sent without it is settled too early"]
#[derive(Default)]
pub struct BodyEnd(Option<Box<Unsettled>>);

/// A charge that is settled when a body has ended.
struct Unsettled {
    reservation: Option<Box<dyn Reservation>>,
    /// The head of a gRPC call, whose trailers will tell its cost.
    call: Option<Parts>,
    /// Passed on once the charge is settled.
    trailers: Option<HeaderMap>,
    /// In a mutex, which nobody locks, since a body may have to be `Sync`.
    settling: Mutex<Option<Settling>>,
    outstanding: Arc<Outstanding>,
}

impl BodyEnd {
    /// Settles the request, now that the body has been sent whole; ready at once if there is nothing to
    /// settle, or the store is ready. Dropping this settles the request as well, and waits for nothing.
    pub fn poll_settled(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.end(None);
        self.poll_trailers(context).map(drop)
    }

    /// Returns true if there is something to settle.
    pub(crate) const fn is_awaited(&self) -> bool {
        self.0.is_some()
    }

    /// Returns true if the body has ended.
    pub(crate) fn has_begun(&self) -> bool {
        self.0.as_ref().is_some_and(|unsettled| unsettled.reservation.is_none())
    }

    /// Begins to settle the request, by the trailers if there are any.
    pub(crate) fn end(&mut self, trailers: Option<HeaderMap>) {
        if let Some(unsettled) = &mut self.0 {
            unsettled.end(trailers);
        }
    }

    /// Returns the trailers, once the request is settled.
    pub(crate) fn poll_trailers(&mut self, context: &mut Context<'_>) -> Poll<Option<HeaderMap>> {
        let Some(unsettled) = &mut self.0 else { return Poll::Ready(None) };
        let settling = unsettled.settling.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(future) = settling {
            ready!(future.as_mut().poll(context));
            *settling = None;
        }
        let trailers = unsettled.trailers.take();
        self.0 = None;
        Poll::Ready(trailers)
    }
}

impl Unsettled {
    fn end(&mut self, mut trailers: Option<HeaderMap>) {
        let Some(mut reservation) = self.reservation.take() else { return };
        // A call that ends without a status has been answered, too.
        reservation.answer();
        if let (Some(call), Some(trailers)) = (&self.call, &mut trailers)
            && let Some(outcome) = call_outcome(call, trailers)
            && reservation.read(&outcome).is_err()
        {
            // As much of the response as is left to replace.
            trailers.insert(GRPC_STATUS, HeaderValue::from_static("13"));
        }
        self.settling = Mutex::new(reservation.settle());
        self.trailers = trailers;
    }
}

/// Goes on with a settlement that has begun; one that has not is made in the drop of its reservation.
impl Drop for Unsettled {
    fn drop(&mut self) {
        let settling = self.settling.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(settling) = settling.take() {
            self.outstanding.finish(settling);
        }
    }
}

/// Shows neither keys nor trailers.
impl fmt::Debug for BodyEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BodyEnd").field("is_awaited", &self.is_awaited()).finish()
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
