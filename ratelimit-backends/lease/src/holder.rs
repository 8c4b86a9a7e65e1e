//! A holder: the leases of a process, and the store that they are of.

use std::{num::NonZeroUsize, sync::Arc};

use ratelimit_backend::{Backend, BackendError, Clock, Reply, SyncBackend};
use ratelimit_core::{Action, Batch, Decision, Timestamp, store::Decisions};
use ratelimit_resilience::DenyCache;

use crate::{
    join::{all, both},
    leases::{Admitted, Leases},
    length::LeaseLength,
    table::OwnedCheck,
    takes::Takes,
};

/// All that clones of a leased store share. What it holds goes back to the store when it is dropped.
pub(crate) struct Holder<B: Backend, C: Clock> {
    pub(crate) store: DenyCache<B, Arc<C>>,
    clock: Arc<C>,
    pub(crate) leases: Leases,
}

impl<B: Backend, C: Clock> Holder<B, C> {
    pub(crate) fn new(inner: B, length: LeaseLength, clock: C, keys_max: NonZeroUsize) -> Self {
        let clock = Arc::new(clock);
        let store = DenyCache::with_clock(inner, Arc::clone(&clock), keys_max);
        Self { store, clock, leases: Leases::new(keys_max, length) }
    }

    /// The time, as long as leases go by it.
    #[inline(always)]
    pub(crate) fn now(&self) -> Option<Timestamp> {
        self.clock.now().ok()
    }

    /// Admits a spend here, if every check has permits here.
    #[inline(always)]
    pub(crate) fn draw(&self, batch: Batch<'_>, action: Action) -> Option<Admitted> {
        if action == Action::Spend && self.leases.is_open() {
            self.leases.draw(batch.checks(), self.now()?)
        } else {
            None
        }
    }

    /// Counts a spend that the store is to decide. Returns the time before that, if the decision is to be
    /// noted: of a cold key it is not.
    pub(crate) fn count(&self, batch: Batch<'_>) -> Option<Timestamp> {
        let now = self.now()?;
        self.leases.count(batch.checks(), now).then_some(now)
    }

    /// Notes what the store has decided about a spend that was sent at `asked`. Returns takes for which it is
    /// time.
    pub(crate) fn learn(
        &self,
        batch: Batch<'_>,
        decisions: &Decisions,
        asked: Option<Timestamp>,
    ) -> Option<Takes> {
        let (asked, now) = (asked?, self.now()?);
        self.leases.learn(batch.checks(), decisions, asked, now);
        let is_admitted = decisions.iter().all(Decision::is_allowed);
        if is_admitted { self.leases.begin_takes(batch.checks(), now) } else { None }
    }

    /// Ends takes with the store's reply.
    fn end_takes(&self, takes: Takes, result: &Result<Decisions, BackendError>) {
        if let Some(now) = self.now() {
            takes.end(result, now);
        }
    }

    pub(crate) fn call<'a>(&'a self, batch: Batch<'a>, action: Action) -> Reply<'a> {
        self.leases.counters().add_round_trip();
        self.store.apply(batch, action)
    }

    /// Takes permits, and meanwhile gives back those that other keys do not need.
    pub(crate) async fn take(&self, takes: Takes) {
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
            self.give_back(&self.leases.unused(CLOSED_MAX, now)).await;
        }
    }

    /// Ends all leases. Returns the number of permits that were given back.
    pub(crate) async fn close(&self) -> u64 {
        self.leases.close();
        let mut given_back = 0;
        while let Some(now) = self.now() {
            let unused = self.leases.unused(CLOSED_MAX, now);
            if unused.is_empty() {
                break;
            }
            given_back += self.give_back(&unused).await;
        }
        given_back
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

impl<B: SyncBackend, C: Clock> Holder<B, C> {
    pub(crate) fn call_now(
        &self,
        batch: Batch<'_>,
        action: Action,
    ) -> Result<Decisions, BackendError> {
        self.leases.counters().add_round_trip();
        self.store.apply_now(batch, action)
    }

    pub(crate) fn spend_now(&self, batch: Batch<'_>) -> Result<Decisions, BackendError> {
        let asked = self.count(batch);
        let decisions = self.call_now(batch, Action::Spend)?;
        self.take_now(self.learn(batch, &decisions, asked));
        Ok(decisions)
    }

    /// Takes more, and then admits a batch whose permits have been drawn: unless that took so long that they
    /// may not be used any more.
    #[cold]
    pub(crate) fn take_and_admit(
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

impl<B: Backend, C: Clock> Drop for Holder<B, C> {
    /// Gives back what is held, if the store does that without being awaited.
    fn drop(&mut self) {
        let Some(now) = self.now() else { return };
        for unused in self.leases.unused(usize::MAX, now) {
            if let Some(check) = unused.check() {
                self.store.apply_unawaited(Batch::one(&check), Action::Refund);
            }
        }
    }
}

/// Keys whose permits go back at once when leases end.
const CLOSED_MAX: usize = 64;
