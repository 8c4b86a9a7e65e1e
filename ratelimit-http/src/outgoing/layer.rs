//! The layer for a client: its requests wait for their turn, and as long as servers ask them to.

use std::{fmt, sync::Arc, time::Duration};

#[cfg(feature = "tokio")]
use ratelimit_algorithms::TokioTimer;
use ratelimit_algorithms::{AsyncLimiter, Backend, Policies, Policy, Timer};
use tower_layer::Layer;

use super::{cooldowns::Held, service::Outgoing, turns::Turns};
use crate::KeyFn;

/// Puts a limiter in front of a client: its requests wait instead of being refused.
///
#[cfg_attr(feature = "tokio", doc = "```")]
#[cfg_attr(not(feature = "tokio"), doc = "```ignore")]
/// use ratelimit_algorithms::{AsyncLimiter, TokenBucket};
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
/// let limiter = AsyncLimiter::new(Memory::new(), "upstream", TokenBucket::per_second(1_000))?;
/// let client = OutgoingLayer::new(limiter, TargetHost).layer(client);
/// let request = Request::get("https://api.example.com/users").body(())?;
/// let response = client.oneshot(request).await?;
/// # Ok(())
/// # }
/// ```
///
/// A request waits until its key has a permit left, first come, first served, as
/// [`until_ready`](AsyncLimiter::until_ready_by) does; or, [`paced`](Self::paced), evenly spaced.
/// Where a server answers 429 or 503 with `Retry-After`, or says in any of the forms that
/// [`Advice`](crate::Advice) reads that nothing is left, the key's next requests wait for as long
/// as it says, a day at most; that answer itself is the caller's. A layer around this one that
/// tries again then waits here.
///
/// No request waits for longer than [`wait_at_most`](Self::wait_at_most) says: if it would have to,
/// it fails, and at once if that is known. A request that is dropped while it waits has spent
/// nothing, or its permit. The client within is asked whether it is ready when the turn has come;
/// until then nothing of it is held.
#[must_use = "a layer does nothing unless it is put around a service"]
pub struct OutgoingLayer<B, K, T, P = Policy> {
    turns: Arc<Turns<B, K, T, P>>,
}

#[cfg(feature = "tokio")]
impl<B: Backend, K: KeyFn, P: Policies> OutgoingLayer<B, K, TokioTimer, P> {
    /// Lets each request wait, by tokio's timer, until `limiter` has a permit for the key that
    /// `key` finds.
    pub fn new(limiter: impl Into<AsyncLimiter<B, P>>, key: K) -> Self {
        Self::with_timer(limiter, key, TokioTimer)
    }
}

impl<B: Backend, K: KeyFn, T: Timer, P: Policies> OutgoingLayer<B, K, T, P> {
    /// Lets each request wait, by `timer`, until `limiter` has a permit for the key that `key`
    /// finds.
    pub fn with_timer(limiter: impl Into<AsyncLimiter<B, P>>, key: K, timer: T) -> Self {
        let (limiter, held) = (limiter.into(), Arc::new(Held::default()));
        let turns = Turns { limiter, key, timer, cost: 1, longest: LONGEST, is_paced: false, held };
        Self { turns: Arc::new(turns) }
    }
}

/// As long as people wait for an answer.
const LONGEST: Duration = Duration::from_secs(30);

impl<B: Clone, K: Clone, T: Clone, P: Clone> OutgoingLayer<B, K, T, P> {
    /// Spends `cost` permits for each request. (Paced requests cost one.)
    pub fn cost(mut self, cost: u64) -> Self {
        Arc::make_mut(&mut self.turns).cost = cost;
        self
    }

    /// Lets no request wait for longer, in place of 30 seconds.
    pub fn wait_at_most(mut self, longest: Duration) -> Self {
        Arc::make_mut(&mut self.turns).longest = longest;
        self
    }

    /// Lets requests go on evenly spaced: with a
    /// [`LeakyBucket`](ratelimit_algorithms::LeakyBucket) that is a queue, which says how long
    /// each has to wait, and refuses those that would wait for too long.
    pub fn paced(mut self) -> Self {
        Arc::make_mut(&mut self.turns).is_paced = true;
        self
    }
}

impl<S, B, K, T, P> Layer<S> for OutgoingLayer<B, K, T, P> {
    type Service = Outgoing<S, B, K, T, P>;

    fn layer(&self, inner: S) -> Self::Service {
        Outgoing::new(inner, Arc::clone(&self.turns))
    }
}

impl<B, K, T, P> Clone for OutgoingLayer<B, K, T, P> {
    fn clone(&self) -> Self {
        Self { turns: Arc::clone(&self.turns) }
    }
}

impl<B: Backend, K, T, P: Policies> fmt::Debug for OutgoingLayer<B, K, T, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutgoingLayer").field("turns", &self.turns).finish()
    }
}
