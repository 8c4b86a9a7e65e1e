//! The backend: admits from leases, and calls the store otherwise.

use std::{fmt, num::NonZeroUsize, sync::Arc};

use ratelimit_backend::{Backend, BackendError, Clock, Names, Reply, SyncBackend};
use ratelimit_core::{Action, Batch, ConfigError, Policy, store::Decisions};
use ratelimit_memory::SwiftClock;
use tokio::runtime;

use crate::{
    holder::Holder, leases::Admitted, length::LeaseLength, stats::LeaseStats, takes::Takes,
};

/// Takes permits of hot keys ahead from a store that others share, and admits from them at memory speed.
/// Clones share their leases.
///
/// The [crate's documentation](crate) has the bound of the overshoot, and the cases not to lease.
///
/// - A key is *hot* while four permits or more are asked for in the length of a lease. A key that is
///   not hot, and of which no permits are held, is *cold*: the store decides all its requests, exactly.
///   Each of them, awaited or not, costs one lookup in the table of leases, which counts it, and one in
///   the deny cache; the table has no part in what follows the store's decision. Both take constant time.
/// - Permits of a hot key are taken ahead with [`Action::Take`]: as many as are needed in half the length of a
///   lease and a round trip, at most half of what remains in the store, and at most
///   [`LeaseTerms::held_max`](ratelimit_core::LeaseTerms::held_max) are held. So the last permits of a limit are asked for one by one, and a
///   denial is the store's own. It is repeated from a [deny cache](ratelimit_resilience::DenyCache) until it no longer holds.
/// - When few are left, more are taken from a task of tokio's runtime: no request waits for that. There is
///   one take under way for each key. Those of a batch's keys are one call; those of other requests run
///   at the same time, and a Redis store sends up to 64 of them, under the same numbers, as one command. Requests
///   that find no permits meanwhile go to the store. A request outside of a runtime takes none.
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
///   [`close`](Self::close). When the last clone is dropped, they go back without a wait, if the store
///   can do that ([`Backend::apply_unawaited`]): in memory at once, in SQLite on its thread, in Redis in
///   a task of the tokio runtime in which the drop happens. Outside of a runtime, or if the runtime or
///   the process ends before that task does, they lapse: they count as spent for as long as any charge
///   does.
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
pub struct Leased<B: Backend, C: Clock = SwiftClock>(Arc<Holder<B, C>>);

impl<B: Backend> Leased<B> {
    /// Leases of `length` from `inner`, for up to 16 384 keys at once.
    #[must_use]
    pub fn new(inner: B, length: LeaseLength) -> Self {
        Self::with_clock(inner, length, SwiftClock::new(), KEYS_MAX)
    }
}

impl<B: Backend, C: Clock> Leased<B, C> {
    /// The same with a clock of this process, which must not step back, and for up to `keys_max` keys at once,
    /// rounded up to a power of two from eight on. Requests of more keys go to the store.
    ///
    /// It allocates some 170 bytes for each of `keys_max` at once, and 500 more for a key that is counted.
    #[must_use]
    pub fn with_clock(inner: B, length: LeaseLength, clock: C, keys_max: NonZeroUsize) -> Self {
        Self(Arc::new(Holder::new(inner, length, clock, keys_max)))
    }
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

    /// The number of times that a request has searched the table.
    #[cfg(test)]
    pub(crate) fn lookups(&self) -> u64 {
        self.0.leases.counters().lookups()
    }

    /// The inner store.
    #[must_use]
    pub fn get_ref(&self) -> &B {
        self.0.store.get_ref()
    }
    /// Gives all permits that are held back to the store, and takes no more: from here on every request
    /// goes to the store. Returns the number of permits that were given back.
    ///
    /// For shutdown: call it once requests have ended. A permit whose refund fails, or is cut short, lapses.
    /// Up to 64 refunds are sent at once.
    pub async fn close(&self) -> u64 {
        self.0.close().await
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
            let holder = Arc::clone(&self.0);
            runtime.spawn(async move { holder.take(takes).await });
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

impl<B: Backend, C: Clock> Clone for Leased<B, C> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// Shows the counters, and no key.
impl<B: Backend, C: Clock> fmt::Debug for Leased<B, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leased").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

const KEYS_MAX: NonZeroUsize = NonZeroUsize::new(1 << 14).unwrap();
