//! The limiter: a store, and the policies that keys are checked against.

use std::{borrow::Cow, sync::Arc, time::Duration};

use ratelimit_backend::Backend;
use ratelimit_core::{Action, Algorithm, ConfigError, Decision, Micros, Policy};

use crate::{
    Acquire, Policies, Request, Run,
    decision::Status,
    prepared::Checks,
    request::Subject,
    tiers::{InTier, Tier},
    wait::{Pace, Wait, WaitQueues, Waiters},
};

/// Checks keys against a policy, on any store. Clones are the same limiter.
///
/// Each method makes a request, which is awaited (`limiter.check(key).await?`), or, on a store that
/// answers on the calling thread, answered there (`limiter.check(key).now()?`).
#[derive(Clone, Debug)]
pub struct Limiter<B, P = Policy> {
    backend: B,
    policies: P,
    queues: Arc<WaitQueues>,
}

impl<B: Backend> Limiter<B> {
    /// A limiter called `name` that runs `algorithm` on `backend`.
    ///
    /// # Errors
    ///
    /// If the algorithm's numbers or the name are invalid, or if another limiter on this
    /// store has the name and other numbers.
    pub fn new<A>(backend: B, name: &str, algorithm: A) -> Result<Self, ConfigError>
    where
        A: TryInto<Algorithm, Error: Into<ConfigError>>,
    {
        Self::with_policies(backend, Policy::new(name, algorithm)?)
    }
}

impl<B: Backend, P: Policies> Limiter<B, P> {
    /// A limiter that checks keys against `policies`, most often one [`Policy`], on `backend`.
    ///
    /// # Errors
    ///
    /// If another limiter on this store has the name and other policies, or if the store cannot
    /// keep their state.
    pub fn with_policies(backend: B, policies: P) -> Result<Self, ConfigError> {
        policies.try_each(&mut |policy| backend.accepts(policy))?;
        let claim = policies.claim(backend.names())?;
        let queues = Arc::new(WaitQueues::new(claim));
        policies.on_change(Waiters(Arc::downgrade(&queues)));
        Ok(Self { backend, policies, queues })
    }

    /// Lets at most this many callers wait, by this limiter and all of its clones; by default
    /// 10,000.
    #[must_use]
    pub fn with_waiters_max(self, waiters_max: usize) -> Self {
        self.queues.limit(waiters_max);
        self
    }

    /// Spends permits of `key`, one unless the request says otherwise, if it has them left.
    ///
    /// The request fails when no decision was made, and if the cost is zero or can never be
    /// admitted. A denial is a decision.
    #[inline(always)]
    pub fn check<'a>(
        &'a self,
        key: &'a (impl AsRef<[u8]> + ?Sized),
    ) -> Request<'a, B, P, Decision> {
        self.request(key.as_ref(), Action::Spend)
    }

    /// Returns the decision that [`check`](Self::check) would make, and charges nothing.
    pub fn peek<'a>(&'a self, key: &'a (impl AsRef<[u8]> + ?Sized)) -> Request<'a, B, P, Decision> {
        self.request(key.as_ref(), Action::Peek)
    }

    /// Spends as many permits of `key` as there are, up to `most`;
    /// [`Decision::charged`](crate::Decision::charged) tells how many. `most` may be more than the limit.
    ///
    /// ```
    /// use ratelimit_algorithms::{Limiter, TokenBucket};
    /// use ratelimit_memory::Memory;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let limiter = Limiter::new(Memory::new(), "rows", TokenBucket::per_hour(100))?;
    /// assert_eq!(limiter.take("import", 70).now()?.charged(), 70);
    /// assert_eq!(limiter.take("import", 70).now()?.charged(), 30);
    /// assert!(!limiter.take("import", 70).now()?.is_allowed());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// The request is denied where not one permit is left, with the `retry_after` of a
    /// [`check`](Self::check) of one. It fails when no decision was made, and if `most` is zero.
    pub fn take<'a>(
        &'a self,
        key: &'a (impl AsRef<[u8]> + ?Sized),
        most: u64,
    ) -> Request<'a, B, P, Decision> {
        self.request(key.as_ref(), Action::Take).cost(most)
    }

    /// Resets `key` to the state of a key never seen: no charges, no debt, no block.
    ///
    /// The request fails if the store may not have done it.
    pub fn reset<'a>(&'a self, key: &'a (impl AsRef<[u8]> + ?Sized)) -> Request<'a, B, P, Status> {
        self.request(key.as_ref(), Action::Reset)
    }

    /// Gives permits back to `key`, never more than are charged now.
    ///
    /// The request fails if the store may not have done it, and for a cost that is zero or above
    /// the limit.
    pub fn refund<'a>(&'a self, key: &'a (impl AsRef<[u8]> + ?Sized)) -> Request<'a, B, P, Status> {
        self.request(key.as_ref(), Action::Refund)
    }

    /// Charges `key` without deciding: the cost, or all permits left if these are fewer; the rest
    /// becomes debt, as far as the key may owe it ([`Policy::with_debt_max`]).
    ///
    /// The request fails if the store may not have done it, and for a cost that is zero or above
    /// the limit and the debt that the key may have.
    pub fn penalize<'a>(
        &'a self,
        key: &'a (impl AsRef<[u8]> + ?Sized),
    ) -> Request<'a, B, P, Status> {
        self.request(key.as_ref(), Action::Penalize)
    }

    /// Denies every request of `key` until `length` has passed, at most
    /// [`WINDOW_MAX`](crate::WINDOW_MAX): by every limiter of this name on this store, in any
    /// process, and by no other limiter. [`Limits::block`](crate::Limits::block) blocks a client in
    /// several. A block that lasts longer stays; only a [`reset`](Self::reset) ends it earlier.
    ///
    /// The request fails if the store may not have done it.
    pub fn block<'a>(
        &'a self,
        key: &'a (impl AsRef<[u8]> + ?Sized),
        length: Duration,
    ) -> Request<'a, B, P, Status> {
        self.request(key.as_ref(), Action::Block(Micros::from_duration_ceil(length)))
    }

    /// The name of the policies that keys are checked against.
    #[must_use]
    pub fn name(&self) -> &str {
        self.policies.name()
    }

    /// The policy that `key` is checked against now.
    #[must_use]
    pub fn policy(&self, key: &(impl AsRef<[u8]> + ?Sized)) -> Cow<'_, Policy> {
        self.policies.policy(key.as_ref())
    }

    #[inline(always)]
    fn request<'a, R>(&'a self, key: &'a [u8], action: Action) -> Request<'a, B, P, R> {
        Request::new(self.subject(key), action)
    }

    #[inline(always)]
    pub(crate) fn subject<'a>(&'a self, key: &'a [u8]) -> Subject<'a, B, P> {
        let Self { backend, policies, queues } = self;
        Subject { backend, policies, queues, key, cost: 1 }
    }
}

/// Permits to hold: a permit keeps a clone of the policies if it is to outlive the limiter.
impl<B: Backend, P: Policies + Clone + 'static> Limiter<B, P> {
    /// Spends permits of `key`, as a [`Permit`](crate::Permit) to hold and settle; a denial is an
    /// error.
    ///
    /// The request fails with [`AcquireError::Denied`](crate::AcquireError::Denied) if the key does not have them left, and as
    /// [`check`](Self::check) does.
    pub fn acquire<'a>(&'a self, key: &'a (impl AsRef<[u8]> + ?Sized)) -> Acquire<'a, B> {
        Acquire::new(self.checks(key.as_ref()))
    }

    /// Does `work` if `key` has a permit left for it; otherwise fails as [`acquire`](Self::acquire)
    /// does. Work that is `async` is awaited, other work is done with [`now`](Run::now):
    ///
    /// ```
    /// use ratelimit_algorithms::{Limiter, TokenBucket};
    /// use ratelimit_memory::Memory;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let limiter = Limiter::new(Memory::new(), "sums", TokenBucket::per_hour(2))?;
    /// assert_eq!(limiter.run("user:42", || 6 * 7).now()?, 42);
    /// assert_eq!(limiter.run("user:42", async || 6 * 7).await?, 42);
    /// # Ok(())
    /// # }
    /// ```
    pub fn run<'a, W: FnOnce() -> O, O>(
        &'a self,
        key: &'a (impl AsRef<[u8]> + ?Sized),
        work: W,
    ) -> Run<'a, B, W, O> {
        Run::new(self.acquire(key), work)
    }

    /// Waits until `key` has permits left, and spends them.
    ///
    /// Callers that wait for a key by this limiter or its clones are served in order of arrival. A
    /// wait that is dropped leaves the queue at once, and has spent nothing, or the whole charge.
    /// (A [`check`](Self::check) does not queue.)
    ///
    /// It gives a [`Permit`](crate::Permit), to settle if the cost is known only afterwards.
    ///
    /// A wait ends earlier when the limit is raised, or when the key is reset or refunded by this limiter or
    /// its clones. Other processes and other limiters on the store wake nobody.
    ///
    /// The timer sleeps, and the store's clock says for how long. Tokio's paused time does not move
    /// a store's own clock, so a wait checks again and again until that has caught up: in such
    /// tests give the store a `TokioClock` (feature `tokio`).
    ///
    /// The request fails with [`WaitError::Overloaded`](crate::WaitError::Overloaded) if too many
    /// wait already, see [`with_waiters_max`](Self::with_waiters_max); when no decision was made;
    /// and if the cost is zero or can never be admitted.
    pub fn until_ready<'a>(&'a self, key: &'a (impl AsRef<[u8]> + ?Sized)) -> Wait<'a, B> {
        Wait::new(self.checks(key.as_ref()))
    }

    /// Spends permits of `key`, and sleeps the delay of the decision: with a
    /// [`LeakyBucket`](crate::LeakyBucket) that is a queue, callers go on evenly spaced.
    ///
    /// The request fails with [`AcquireError::Denied`](crate::AcquireError::Denied) if the queue is too long, and when no
    /// decision was made. The permit is spent once there is a decision, also if the request is
    /// dropped in its delay.
    pub fn pace<'a>(&'a self, key: &'a (impl AsRef<[u8]> + ?Sized)) -> Pace<'a, B> {
        Pace::new(self.checks(key.as_ref()))
    }

    fn checks<'a>(&'a self, key: &'a [u8]) -> Checks<'a, B> {
        Checks::from_iter([self.subject(key).prepare(1)])
    }
}

impl<B, P> Limiter<B, P> {
    /// The store that the limiter is on.
    #[must_use]
    pub const fn backend(&self) -> &B {
        &self.backend
    }

    /// The source of the policies that keys are checked against.
    #[must_use]
    pub const fn policies(&self) -> &P {
        &self.policies
    }
}

impl<B: Clone> Limiter<B, InTier> {
    /// This limiter for keys in `tier`, where a request or a session knows the tier.
    ///
    /// ```
    /// use ratelimit_algorithms::{Limiter, Tier, Tiers, TokenBucket};
    /// use ratelimit_memory::Memory;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let tiers = Tiers::new("api", TokenBucket::per_second(10))?;
    /// let pro = tiers.add("pro", TokenBucket::per_second(100))?;
    /// let limiter = Limiter::with_policies(Memory::new(), tiers.in_tier(Tier::DEFAULT))?;
    /// assert_eq!(limiter.check("user:42").now()?.limit, 10);
    /// assert_eq!(limiter.in_tier(pro).check("user:42").now()?.limit, 100);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn in_tier(&self, tier: Tier) -> Self {
        let (backend, queues) = (self.backend.clone(), Arc::clone(&self.queues));
        Self { backend, policies: self.policies.but(tier), queues }
    }
}
