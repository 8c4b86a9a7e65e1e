//! Outgoing requests: they wait for permits, and for as long as servers ask.

mod throttle;
mod waiting;

mod advice;

use std::{
    fmt,
    future::{Future, poll_fn},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use http::{Request, Response, StatusCode, request, response};
#[cfg(feature = "tokio")]
use ratelimit_algorithms::TokioTimer;
use ratelimit_algorithms::{Backend, Limiter, Policies, Policy, Timer};
use tower_layer::Layer;
use tower_service::Service;

use self::throttle::Throttle;
pub use self::{
    advice::{Advice, AdvisedLimit},
    throttle::OutgoingError,
};
use crate::{
    RequestLimit,
    key::{KeyFn, RequestKey},
    limit::Cost,
};

/// Puts a limiter in front of a client: requests wait for a permit instead of being refused.
///
#[cfg_attr(feature = "tokio", doc = "```")]
#[cfg_attr(not(feature = "tokio"), doc = "```ignore")]
/// use ratelimit_algorithms::{Limiter, TokenBucket};
/// use ratelimit_http::{OutgoingLayer, TargetHost};
/// use ratelimit_memory::Memory;
/// # use http::{Request, Response};
/// # use tower::{Layer, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// # let client = service_fn(async |_: Request<()>| {
/// #     Ok::<_, std::convert::Infallible>(Response::new(()))
/// # });
/// let limiter = Limiter::new(Memory::new(), "upstream", TokenBucket::per_second(1_000))?;
/// let client = OutgoingLayer::new(limiter, TargetHost).layer(client);
/// let request = Request::get("https://api.example.com/users").body(())?;
/// let response = client.oneshot(request).await?;
/// # Ok(())
/// # }
/// ```
///
/// A request waits until its key has a permit left: first come, first served by this layer and its
/// clones; or, [`paced`](Self::paced), evenly spaced. A request that would have to wait for longer
/// than [`wait_at_most`](Self::wait_at_most) fails, at once if that is known. A request that is
/// dropped while it waits spends nothing, or its permit. The inner client is polled for readiness
/// after the wait; until then no part of it is reserved.
///
/// Several limits, such as a second's and a day's, are waited for [as one](Self::also). A layer within
/// another one, around the same client, works too: what the inner one refuses, the outer one gives back.
///
/// # Cooldowns
///
/// A response with `Retry-After` and status 403, 429, 430, 503 or 529
/// ([others](Self::retry_statuses)) starts a cooldown of its key; so does a response of any status
/// that says, in any form that [`Advice`](crate::Advice) reads, that nothing is left. The response
/// itself is returned.
///
/// The key's next requests wait until the cooldown is over, a day at most, and only then take their
/// permits, in the order of their arrival: after a cooldown, too, the limit holds. So the requests
/// of a retry layer around this one wait here. The response to a later request corrects a
/// cooldown, but a limit with permits left does not shorten a `Retry-After`. A cooldown can be
/// [seen](Self::cooldown) and [lifted](Self::lift_cooldown), and
/// [shared](Self::share_cooldowns) with other processes.
#[must_use = "a layer does nothing unless it is put around a service"]
pub struct OutgoingLayer<B, K, T, P = Policy> {
    throttle: Arc<Throttle<B, K, T, P>>,
}

#[cfg(feature = "tokio")]
impl<B: Backend, K: KeyFn, P: Policies + Clone + 'static> OutgoingLayer<B, K, TokioTimer, P> {
    /// Makes each request wait, by tokio's timer, until `limiter` has a permit for its key.
    pub fn new(limiter: Limiter<B, P>, key: K) -> Self {
        Self::with_timer(limiter, key, TokioTimer)
    }
}

impl<B: Backend, K: KeyFn, T: Timer, P: Policies + Clone + 'static> OutgoingLayer<B, K, T, P> {
    /// Makes each request wait, by `timer`, until `limiter` has a permit for its key.
    pub fn with_timer(limiter: Limiter<B, P>, key: K, timer: T) -> Self {
        let statuses = RETRY_STATUSES.into_iter().flat_map(StatusCode::from_u16).collect();
        Self {
            throttle: Arc::new(Throttle {
                limiter,
                key,
                timer,
                cost: Cost::Fixed(1),
                response_cost: None,
                more: Vec::new(),
                wait_max: WAIT_MAX,
                is_paced: false,
                statuses,
                shares_cooldowns: false,
                waiting: Arc::default(),
            }),
        }
    }

    /// Returns the rest of the key's cooldown, if it has one.
    #[must_use]
    pub fn cooldown(&self, key: &RequestKey) -> Option<Duration> {
        let end = self.throttle.cooldown(key)?;
        Some(end.saturating_duration_since(self.throttle.timer.now()))
    }
}

/// The statuses by which servers ask clients to back off; 430 and 529 are not registered.
const RETRY_STATUSES: [u16; 5] = [403, 429, 430, 503, 529];

/// About as long as people wait for a response.
const WAIT_MAX: Duration = Duration::from_secs(30);

impl<B: Clone, K: Clone, T: Clone, P: Clone> OutgoingLayer<B, K, T, P> {
    /// Spends `cost` permits for each request.
    pub fn cost(mut self, cost: u64) -> Self {
        Arc::make_mut(&mut self.throttle).cost = Cost::Fixed(cost);
        self
    }

    /// Spends the cost that `cost` finds in each request's head; requests without one (`None`) fail
    /// with [`OutgoingError::Cost`].
    pub fn cost_by<F>(mut self, cost: F) -> Self
    where
        F: Fn(&request::Parts) -> Option<u64> + Send + Sync + 'static,
    {
        Arc::make_mut(&mut self.throttle).cost = Cost::Of(Arc::new(cost));
        self
    }

    /// Settles the permits of the first limit for the cost that `cost` finds in the head of the
    /// response; with `None` the request has cost what was spent.
    pub fn settle_by<F>(mut self, cost: F) -> Self
    where
        F: Fn(&response::Parts) -> Option<u64> + Send + Sync + 'static,
    {
        Arc::make_mut(&mut self.throttle).response_cost = Some(Arc::new(cost));
        self
    }

    /// Makes each request wait for one more limit, as one with the others: it spends all of them or
    /// none. They have to be on one store. Cooldowns are those of the first limit's key.
    ///
    /// ```
    /// # use ratelimit_algorithms::{Limiter, TokenBucket, Timer};
    /// # use ratelimit_http::{OutgoingLayer, RequestLimit, TargetHost, cost_header};
    /// # use ratelimit_memory::Memory;
    /// # fn layer(timer: impl Timer + Clone + 'static) -> Result<(), Box<dyn std::error::Error>> {
    /// let store = Memory::new();
    /// let calls = Limiter::new(store.clone(), "calls", TokenBucket::per_minute(60))?;
    /// let tokens = Limiter::new(store, "tokens", TokenBucket::per_minute(100_000))?;
    /// let tokens = RequestLimit::new(tokens, TargetHost)
    ///     .cost(1_000)
    ///     .settle_by(cost_header("x-tokens-used"));
    /// let layer = OutgoingLayer::with_timer(calls, TargetHost, timer).also(tokens);
    /// # Ok(())
    /// # }
    /// ```
    pub fn also<Q>(mut self, limit: RequestLimit<B, Q>) -> Self
    where
        B: Backend + 'static,
        Q: Policies + Clone + 'static,
    {
        Arc::make_mut(&mut self.throttle).more.push(limit.erase());
        self
    }

    /// Limits the wait of each request; 30 seconds by default.
    pub fn wait_at_most(mut self, longest: Duration) -> Self {
        Arc::make_mut(&mut self.throttle).wait_max = longest;
        self
    }

    /// Spaces requests evenly, by a [`LeakyBucket`](ratelimit_algorithms::LeakyBucket) used as a
    /// queue: it delays each request, and denies those that would wait for too long.
    pub fn paced(mut self) -> Self {
        Arc::make_mut(&mut self.throttle).is_paced = true;
        self
    }

    /// Obeys `Retry-After` in responses with these statuses, in place of 403, 429, 430, 503 and
    /// 529.
    pub fn retry_statuses(mut self, statuses: impl IntoIterator<Item = StatusCode>) -> Self {
        Arc::make_mut(&mut self.throttle).statuses = statuses.into_iter().collect();
        self
    }

    /// Blocks a key that cools down in the limiter's store, so that the requests of other processes
    /// wait as well.
    ///
    /// They have no permits until the cooldown is over. A block is never shortened.
    pub fn share_cooldowns(mut self) -> Self {
        Arc::make_mut(&mut self.throttle).shares_cooldowns = true;
        self
    }
}

impl<B, K, T, P> OutgoingLayer<B, K, T, P> {
    /// Ends the key's cooldown: its requests no longer wait for their server. (A
    /// [shared](Self::share_cooldowns) one goes on in the store.)
    pub fn lift_cooldown(&self, key: &RequestKey) {
        self.throttle.waiting.cooldowns.lift(key);
    }

    /// Returns the number of header values that were
    /// [ignored](crate::Advice::ignored) because they make no sense.
    #[must_use]
    pub fn ignored_values(&self) -> u64 {
        self.throttle.waiting.ignored.load(Ordering::Relaxed)
    }
}

impl<S, B, K, T, P> Layer<S> for OutgoingLayer<B, K, T, P> {
    type Service = Outgoing<S, B, K, T, P>;

    fn layer(&self, inner: S) -> Self::Service {
        Outgoing::new(inner, Arc::clone(&self.throttle))
    }
}

impl<B, K, T, P> Clone for OutgoingLayer<B, K, T, P> {
    fn clone(&self) -> Self {
        Self { throttle: Arc::clone(&self.throttle) }
    }
}

impl<B: Backend, K, T, P: Policies> fmt::Debug for OutgoingLayer<B, K, T, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutgoingLayer").field("throttle", &self.throttle).finish()
    }
}

/// A client whose requests wait for permits and cooldowns; made by an
/// [`OutgoingLayer`](crate::OutgoingLayer).
pub struct Outgoing<S, B, K, T, P = Policy> {
    inner: S,
    throttle: Arc<Throttle<B, K, T, P>>,
}

impl<S, B, K, T, P> Outgoing<S, B, K, T, P> {
    const fn new(inner: S, throttle: Arc<Throttle<B, K, T, P>>) -> Self {
        Self { inner, throttle }
    }

    accessors!();
}

impl<S, B, K, T, P, Body, Inner> Service<Request<Body>> for Outgoing<S, B, K, T, P>
where
    S: Service<Request<Body>, Response = Response<Inner>> + Clone + Send + 'static,
    S::Error: Send,
    S::Future: Send,
    B: Backend + Clone + 'static,
    K: KeyFn + 'static,
    T: Timer + 'static,
    P: Policies + Clone + 'static,
    Body: Send + 'static,
    Inner: Send,
{
    type Response = Response<Inner>;
    type Error = OutgoingError<S::Error>;
    // Boxed: a call to another host takes a thousand times as long as that.
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (mut client, throttle) = (self.inner.clone(), Arc::clone(&self.throttle));
        Box::pin(async move {
            let (mut parts, body) = request.into_parts();
            let journey = parts.extensions.get_or_insert_default::<Journey>().clone();
            let charge = throttle.charge(&parts).await.inspect_err(|_| journey.refuse())?;
            let permits = throttle.wait(&charge).await.inspect_err(|_| journey.refuse())?;
            let request = Request::from_parts(parts, body);
            poll_fn(|context| client.poll_ready(context)).await.map_err(OutgoingError::Service)?;
            let sent = throttle.timer.now();
            match client.call(request).await {
                Err(error) if journey.is_refused() => {
                    throttle.refund(permits).await;
                    Err(OutgoingError::Service(error))
                }
                Err(error) => {
                    journey.arrive();
                    throttle.settle(&charge, permits, None).await;
                    Err(OutgoingError::Service(error))
                }
                Ok(response) => {
                    journey.arrive();
                    let (head, body) = response.into_parts();
                    throttle.settle(&charge, permits, Some(&head)).await;
                    throttle.observe(&charge.key, sent, head.status, &head.headers).await;
                    Ok(Response::from_parts(head, body))
                }
            }
        })
    }
}

/// In a request's extensions: how far it came. A permit of one layer is given back if a layer
/// within refuses the request, unless an earlier try of it was sent.
#[derive(Clone, Debug, Default)]
struct Journey(Arc<AtomicU8>);

impl Journey {
    fn refuse(&self) {
        self.0.fetch_or(REFUSED, Ordering::Relaxed);
    }

    fn arrive(&self) {
        self.0.fetch_or(SENT, Ordering::Relaxed);
    }

    fn is_refused(&self) -> bool {
        self.0.load(Ordering::Relaxed) == REFUSED
    }
}

const REFUSED: u8 = 1;
const SENT: u8 = 2;

impl<S: Clone, B, K, T, P> Clone for Outgoing<S, B, K, T, P> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), throttle: Arc::clone(&self.throttle) }
    }
}

impl<S: fmt::Debug, B: Backend, K, T, P: Policies> fmt::Debug for Outgoing<S, B, K, T, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { inner, throttle } = self;
        f.debug_struct("Outgoing").field("inner", inner).field("throttle", throttle).finish()
    }
}
