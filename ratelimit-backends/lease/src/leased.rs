//! The backend: admits from leases, and calls the store otherwise.

use std::{fmt, num::NonZeroUsize, sync::Arc};

use ratelimit_backend::{Backend, BackendError, Clock, Names, Reply, SyncBackend};
use ratelimit_core::{Action, Batch, ConfigError, Decision, Policy, Timestamp, store::Decisions};
use ratelimit_memory::SwiftClock;
use ratelimit_resilience::DenyCache;
use tokio::runtime;

use crate::{
    join::{all, both},
    leases::{Admitted, Leases},
    length::LeaseLength,
    stats::LeaseStats,
    table::OwnedCheck,
    takes::Takes,
};

/// Takes permits of hot keys ahead from a store that others share, and admits from them at memory speed.
/// Clones share their leases.
///
/// The [crate's documentation](crate) has the bound of the overshoot, and the cases not to lease.
///
/// - A key is *hot* while four permits or more are asked for in the length of a lease. All requests of a
///   key that is not are decided by the store, exactly, after one look at a table in memory.
/// - Permits of a hot key are taken ahead with [`Action::Take`]: as many as are needed in half the length of a
///   lease and a round trip, at most half of what remains in the store, and at most
///   [`LeaseTerms::held_max`](ratelimit_core::LeaseTerms::held_max) are held. So the last permits of a limit are asked for one by one, and a
///   denial is the store's own. It is repeated from a [`DenyCache`] until it no longer holds.
/// - When few are left, more are taken from a task of tokio's runtime: no request waits for that. There is
///   one take under way for each key, and those of a batch's keys are one call. Requests that find no
///   permits meanwhile go to the store. A request outside of a runtime takes none.
/// - A batch whose keys all have permits here is decided here, all or nothing. Otherwise the whole batch
///   goes to the store.
/// - Decisions made here have [`Source::Lease`](ratelimit_core::Source::Lease). `remaining` is what is held
///   here, and what remained in the store when permits were last taken; `at` is the instant of the charge, so
///   that a [`Receipt`](ratelimit_core::Receipt) is one of that charge. `reset_after` counts from now.
/// - Refunds, peeks, takes and penalties go to the store. A peek tells what the store has: permits that
///   holders have not used yet count as spent. A refund by receipt gives a leased permit back to the store.
/// - A reset or a block ends the key's leases here, and so does a penalty that leaves the key
///   [in debt](Policy::with_debt_max). Other holders admit what they hold, for the length of a lease at most.
///   A changed policy ends them, too.
/// - Permits go back to the store by receipt when a key is no longer hot, and on
///   [`close`](Self::close). Permits that are dropped lapse: they count as spent for as long as any
///   charge does.
///
/// Two calls about one key that has no lease behave as on the store itself.
///
/// ```
/// use ratelimit_algorithms::{Limiter, TokenBucket};
/// use ratelimit_lease::{LeaseLength, Leased};
/// use ratelimit_memory::Memory;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # // A store that others share, in practice.
/// let store = Leased::new(Memory::new(), LeaseLength::share(0.01)?);
/// let limiter = Limiter::new(store.clone(), "api", TokenBucket::per_minute(10_000))?;
/// for _ in 0..100 {
///     assert!(limiter.check("user:42").now()?.is_allowed());
/// }
/// assert!(store.stats().round_trips < 50);
/// # Ok(())
/// # }
/// ```
pub struct Leased<B, C = SwiftClock>(Arc<Inner<B, C>>);

struct Inner<B, C> {
    store: DenyCache<B, Arc<C>>,
    clock: Arc<C>,
    leases: Leases,
}

impl<B> Leased<B> {
    /// Leases of `length` from `inner`, for up to 16 384 keys at once.
    #[must_use]
    pub fn new(inner: B, length: LeaseLength) -> Self {
        Self::with_clock(inner, length, SwiftClock::new(), KEYS_MAX)
    }
}

impl<B, C: Clock> Leased<B, C> {
    /// The same with a clock of this process, which must not step back, and for up to `keys_max` keys at once,
    /// rounded up to a power of two from eight on. Requests of more keys go to the store.
    ///
    /// It allocates some 160 bytes for each of `keys_max` at once, and 500 more for a key that is counted.
    #[must_use]
    pub fn with_clock(inner: B, length: LeaseLength, clock: C, keys_max: NonZeroUsize) -> Self {
        let clock = Arc::new(clock);
        let store = DenyCache::with_clock(inner, Arc::clone(&clock), keys_max);
        let leases = Leases::new(keys_max, length);
        Self(Arc::new(Inner { store, clock, leases }))
    }
}

impl<B, C> Leased<B, C> {
    /// Limits the permits held of one key, if `permits` is less than [`LeaseTerms::held_max`].
    ///
    /// [`LeaseTerms::held_max`]: ratelimit_core::LeaseTerms::held_max
    #[must_use]
    pub fn with_held_max(self, permits: u64) -> Self {
        self.0.leases.limit_held(permits);
        self
    }

    /// Counters: permits taken ahead, lapsed and given back, and calls of the store.
    #[must_use]
    pub fn stats(&self) -> LeaseStats {
        self.0.leases.counters().read()
    }

    /// The inner store.
    #[must_use]
    pub fn get_ref(&self) -> &B {
        self.0.store.get_ref()
    }
}

impl<B: Backend, C: Clock> Leased<B, C> {
    /// Gives all permits that are held back to the store, and takes no more: from here on every request
    /// goes to the store. Returns the number of permits that were given back.
    ///
    /// For shutdown: call it once requests have ended. A permit whose refund fails, or is cut short, lapses.
    /// Up to 64 refunds are sent at once.
    pub async fn close(&self) -> u64 {
        self.0.leases.close();
        let mut given_back = 0;
        while let Some(now) = self.0.now() {
            let unused = self.0.leases.unused(now);
            if unused.is_empty() {
                break;
            }
            given_back += self.0.give_back(&unused).await;
        }
        given_back
    }
}

impl<B, C: Clock> Inner<B, C> {
    /// The time, as long as leases go by it.
    #[inline(always)]
    fn now(&self) -> Option<Timestamp> {
        self.clock.now().ok()
    }

    /// Admits a spend here, if every check has permits here.
    #[inline(always)]
    fn draw(&self, batch: Batch<'_>, action: Action) -> Option<Admitted> {
        if action == Action::Spend && self.leases.is_open() {
            self.leases.draw(batch.checks(), self.now()?)
        } else {
            None
        }
    }

    /// Counts a spend that the store is to decide. Returns the time before that.
    fn count(&self, batch: Batch<'_>) -> Option<Timestamp> {
        let now = self.now()?;
        self.leases.count(batch.checks(), now);
        Some(now)
    }

    /// Notes what the store has decided about a spend that was sent at `asked`. Returns takes for which it is
    /// time.
    fn learn(
        &self,
        batch: Batch<'_>,
        decisions: &Decisions,
        asked: Option<Timestamp>,
    ) -> Option<Takes> {
        let now = self.now()?;
        self.leases.learn(batch.checks(), decisions, asked?, now);
        let is_admitted = decisions.iter().all(Decision::is_allowed);
        if is_admitted { self.leases.begin_takes(batch.checks(), now) } else { None }
    }

    /// Ends takes with the store's reply.
    fn end_takes(&self, takes: Takes, result: &Result<Decisions, BackendError>) {
        if let Some(now) = self.now() {
            takes.end(result, now);
        }
    }
}

impl<B: Backend, C: Clock> Inner<B, C> {
    fn call<'a>(&'a self, batch: Batch<'a>, action: Action) -> Reply<'a> {
        self.leases.counters().add_round_trip();
        self.store.apply(batch, action)
    }

    /// Takes permits, and meanwhile gives back those that other keys do not need.
    async fn take(&self, takes: Takes) {
        let unused = self.leases.cooled(&takes);
        both(self.take_alone(takes), self.give_back(&unused)).await;
    }

    async fn take_alone(&self, takes: Takes) {
        let checks = takes.checks();
        let Some(batch) = Batch::new(&checks) else { return };
        let result = self.call(batch, Action::Take).await;
        drop(checks);
        self.end_takes(takes, &result);
        // Leases have ended meanwhile.
        if !self.leases.is_open()
            && let Some(now) = self.now()
        {
            self.give_back(&self.leases.unused(now)).await;
        }
    }

    /// Sends permits back; returns the number of those that the store has taken back.
    ///
    /// A refund that fails, or whose reply is lost, is not sent again: those permits lapse.
    async fn give_back(&self, unused: &[OwnedCheck]) -> u64 {
        let checks: Vec<_> = unused.iter().filter_map(OwnedCheck::check).collect();
        let refund = |check| self.call(Batch::one(check), Action::Refund);
        let results = all(checks.iter().map(refund).collect()).await;
        let is_done = results.iter().map(Result::is_ok);
        let permits = checks.iter().map(|check| check.cost().get());
        self.leases.count_given_back(permits.zip(is_done))
    }
}

impl<B: Backend + 'static, C: Clock + 'static> Leased<B, C> {
    /// Admits a spend here, if every check has permits here; takes more if it is time.
    #[inline(always)]
    fn admit(&self, batch: Batch<'_>, action: Action) -> Option<Decisions> {
        let Admitted { decisions, is_low, .. } = self.0.draw(batch, action)?;
        if is_low {
            self.take_more(batch);
        }
        Some(decisions)
    }

    #[cold]
    fn take_more(&self, batch: Batch<'_>) {
        let takes = self.0.now().and_then(|now| self.0.leases.begin_takes(batch.checks(), now));
        self.spawn(takes);
    }

    /// Sends takes from a task of its own, so that no request waits for them. Without a runtime they are
    /// not sent, and every request goes to the store.
    fn spawn(&self, takes: Option<Takes>) {
        if let (Some(takes), Ok(runtime)) = (takes, runtime::Handle::try_current()) {
            let inner = Arc::clone(&self.0);
            runtime.spawn(async move { inner.take(takes).await });
        }
    }

    async fn spend(&self, batch: Batch<'_>) -> Result<Decisions, BackendError> {
        let asked = self.0.count(batch);
        let decisions = self.0.call(batch, Action::Spend).await?;
        self.spawn(self.0.learn(batch, &decisions, asked));
        Ok(decisions)
    }
}

impl<B: Backend + 'static, C: Clock + 'static> Backend for Leased<B, C> {
    #[inline(always)]
    fn apply<'a>(&'a self, batch: Batch<'a>, action: Action) -> Reply<'a> {
        if let Some(decisions) = self.admit(batch, action) {
            return Reply::ready(Ok(decisions));
        }
        match action {
            _ if !self.0.leases.is_open() => self.get_ref().apply(batch, action),
            Action::Spend => Reply::waiting(self.spend(batch)),
            Action::Reset | Action::Block(_) => {
                let end = self.0.leases.end(batch.checks());
                self.0.call(batch, action).then(move |result| {
                    drop(end);
                    result
                })
            }
            Action::Penalize => {
                let leases = &self.0.leases;
                self.0.call(batch, action).then(move |result| leases.end_in_debt(batch, result))
            }
            _ => self.0.call(batch, action),
        }
    }

    #[inline(always)]
    fn apply_if_ready(
        &self,
        batch: Batch<'_>,
        action: Action,
    ) -> Option<Result<Decisions, BackendError>> {
        if let Some(decisions) = self.admit(batch, action) {
            return Some(Ok(decisions));
        }
        if self.0.leases.is_open() { None } else { self.get_ref().apply_if_ready(batch, action) }
    }

    fn apply_unawaited(&self, batch: Batch<'_>, action: Action) -> bool {
        match action {
            _ if !self.0.leases.is_open() => self.get_ref().apply_unawaited(batch, action),
            Action::Refund | Action::Penalize => {
                self.0.leases.counters().add_round_trip();
                self.0.store.apply_unawaited(batch, action)
            }
            _ => self.apply_if_ready(batch, action).is_some(),
        }
    }

    fn names(&self) -> &Names {
        self.get_ref().names()
    }

    /// Refuses what cannot be leased.
    fn accepts(&self, policy: &Policy) -> Result<(), ConfigError> {
        self.0.leases.accepts(policy)?;
        self.get_ref().accepts(policy)
    }

    fn recoveries(&self) -> u64 {
        self.get_ref().recoveries()
    }
}

/// Permits are taken on the calling thread, before the request that finds few left is admitted.
impl<B: SyncBackend + 'static, C: Clock + 'static> SyncBackend for Leased<B, C> {
    #[inline(always)]
    fn apply_now(&self, batch: Batch<'_>, action: Action) -> Result<Decisions, BackendError> {
        match self.0.draw(batch, action) {
            Some(Admitted { decisions, is_low: false, .. }) => return Ok(decisions),
            Some(admitted) => return self.0.take_and_admit(batch, admitted),
            None => {}
        }
        match action {
            _ if !self.0.leases.is_open() => self.get_ref().apply_now(batch, action),
            Action::Spend => self.0.spend_now(batch),
            Action::Reset | Action::Block(_) => {
                let _end = self.0.leases.end(batch.checks());
                self.0.call_now(batch, action)
            }
            Action::Penalize => {
                let result = self.0.call_now(batch, action);
                self.0.leases.end_in_debt(batch, result)
            }
            _ => self.0.call_now(batch, action),
        }
    }
}

impl<B: SyncBackend, C: Clock> Inner<B, C> {
    fn call_now(&self, batch: Batch<'_>, action: Action) -> Result<Decisions, BackendError> {
        self.leases.counters().add_round_trip();
        self.store.apply_now(batch, action)
    }

    fn spend_now(&self, batch: Batch<'_>) -> Result<Decisions, BackendError> {
        let asked = self.count(batch);
        let decisions = self.call_now(batch, Action::Spend)?;
        self.take_now(self.learn(batch, &decisions, asked));
        Ok(decisions)
    }

    /// Takes more, and then admits a batch whose permits have been drawn: unless that took so long that they
    /// may not be used any more.
    #[cold]
    fn take_and_admit(
        &self,
        batch: Batch<'_>,
        admitted: Admitted,
    ) -> Result<Decisions, BackendError> {
        self.take_now(self.now().and_then(|now| self.leases.begin_takes(batch.checks(), now)));
        let is_in_time = self.now().is_some_and(|now| now < admitted.until);
        if is_in_time { Ok(admitted.decisions) } else { self.spend_now(batch) }
    }

    fn take_now(&self, takes: Option<Takes>) {
        let Some(takes) = takes else { return };
        for unused in self.leases.cooled(&takes) {
            let Some(check) = unused.check() else { continue };
            let result = self.call_now(Batch::one(&check), Action::Refund);
            self.leases.count_given_back([(check.cost().get(), result.is_ok())]);
        }
        let checks = takes.checks();
        let Some(batch) = Batch::new(&checks) else { return };
        let result = self.call_now(batch, Action::Take);
        drop(checks);
        self.end_takes(takes, &result);
    }
}

impl<B, C> Clone for Leased<B, C> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// Shows the counters, and no key.
impl<B, C> fmt::Debug for Leased<B, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leased").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

const KEYS_MAX: NonZeroUsize = NonZeroUsize::new(1 << 14).unwrap();
