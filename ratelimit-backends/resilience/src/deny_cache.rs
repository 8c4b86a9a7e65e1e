//! A cache of denials, for clients that retry before `retry_after`.
//!
//! A denial gives the exact time for which it holds if nobody else spends, and spending only
//! prolongs that. So until then the store need not be called.

use std::{
    fmt,
    num::NonZeroUsize,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use ratelimit_backend::{Backend, BackendError, Clock, MonotonicClock, Names, Reply, SyncBackend};
use ratelimit_core::{
    Action, Batch, Check, ConfigError, Cost, Decision, Outcome, Policy, Source, Timestamp,
    store::Decisions,
};

use crate::digest::{Digest, Digests};

/// Repeats a store's denials until they no longer hold. Clones are the same cache.
///
/// A repeated denial has [`Source::Cache`]; its `retry_after`, `reset_after` and `at` are those of
/// now, the rest is the store's. It is repeated for the same key, cost and policy: a smaller cost may
/// fit, a larger one waits longer, and changed numbers are other numbers. (A take is denied as a spend
/// of one permit is.) Only denials of spends and takes are kept: a peek changes nothing, so a spend
/// after it may have longer to wait. Batches of several checks always go to the store, and so do checks
/// of permits in flight, since somebody may give one back at any time.
///
/// It is exact, unless somebody else refunds, resets, or ends a block by a reset: that is noticed when
/// the wait is over. A refund, reset, penalty or block that goes through this cache ends the denial.
/// Time counts from before the store was called, so that no denial lasts longer than the store said.
///
/// The number of denials is bounded: each key has one slot, which holds the last denial.
///
/// ```
/// use ratelimit_algorithms::{Limiter, Source, TokenBucket};
/// use ratelimit_memory::Memory;
/// use ratelimit_resilience::DenyCache;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let limiter = Limiter::new(DenyCache::new(Memory::new()), "api", TokenBucket::per_hour(1))?;
/// assert!(limiter.check("user:42").now()?.is_allowed());
/// assert_eq!(limiter.check("user:42").now()?.source(), Source::Store);
/// assert_eq!(limiter.check("user:42").now()?.source(), Source::Cache);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct DenyCache<B, C = MonotonicClock> {
    inner: B,
    clock: C,
    denials: Arc<Denials>,
}

impl<B> DenyCache<B> {
    /// A cache of up to 16 384 denials of `inner`.
    #[must_use]
    pub fn new(inner: B) -> Self {
        Self::with_clock(inner, MonotonicClock::new(), DENIALS_MAX)
    }
}

impl<B, C> DenyCache<B, C> {
    /// A cache of up to `denials_max` denials of `inner`, with another clock. It allocates all of
    /// them at once.
    #[must_use]
    pub fn with_clock(inner: B, clock: C, denials_max: NonZeroUsize) -> Self {
        Self { inner, clock, denials: Arc::new(Denials::new(denials_max)) }
    }

    /// The number of denials that were repeated without calling the store.
    #[must_use]
    pub fn hits(&self) -> u64 {
        self.denials.hits.load(Ordering::Relaxed)
    }

    accessors!();
}

impl<B, C: Clock> DenyCache<B, C> {
    /// The treatment of `action` on `batch`. Without a time no denial is known to hold.
    fn plan<'a>(&'a self, batch: Batch<'a>, action: Action) -> Plan<'a> {
        let checks = batch.checks();
        match (action, checks) {
            // Somebody may give a permit back at any time.
            (action, [check])
                if action.is_request() && check.policy().algorithm().holds_permits() =>
            {
                Plan::Forward
            }
            (action, [check]) if action.is_request() => match self.clock.now() {
                Ok(now) => self.denials.look_up(check, action, now),
                Err(_) => Plan::Forward,
            },
            (action, _) if action.is_request() => Plan::Forward,
            _ => Plan::Forget(Forget { denials: &self.denials, checks }),
        }
    }
}

impl<B: Backend, C: Clock> Backend for DenyCache<B, C> {
    fn apply<'a>(&'a self, batch: Batch<'a>, action: Action) -> Reply<'a> {
        match self.plan(batch, action) {
            Plan::Deny(denial) => Reply::ready(Ok(denial.into())),
            plan => self.inner.apply(batch, action).then(|result| plan.end(result)),
        }
    }

    /// Ends the denials of the keys at once, though the store may do it later.
    fn apply_unawaited(&self, batch: Batch<'_>, action: Action) -> bool {
        let is_done = self.inner.apply_unawaited(batch, action);
        drop(Forget { denials: &self.denials, checks: batch.checks() });
        is_done
    }

    delegate!(except unawaited);
}

impl<B: SyncBackend, C: Clock> SyncBackend for DenyCache<B, C> {
    fn apply_now(&self, batch: Batch<'_>, action: Action) -> Result<Decisions, BackendError> {
        match self.plan(batch, action) {
            Plan::Deny(denial) => Ok(denial.into()),
            plan => plan.end(self.inner.apply_now(batch, action)),
        }
    }
}

/// The treatment of a call.
enum Plan<'a> {
    /// Repeat a denial.
    Deny(Decision),
    /// Call the store, and keep a denial.
    Learn(Learn<'a>),
    /// Call the store, and forget the keys' denials.
    Forget(Forget<'a>),
    /// Call the store.
    Forward,
}

/// A slot that takes a denial, unless a key of it was forgotten since.
struct Learn<'a> {
    denials: &'a Denials,
    check: &'a Check<'a>,
    cost: Cost,
    digest: Digest,
    version: u64,
    asked: Timestamp,
}

/// Forgets the denials of some keys when it is dropped: also if the reply is dropped before its end.
struct Forget<'a> {
    denials: &'a Denials,
    checks: &'a [Check<'a>],
}

impl Plan<'_> {
    fn end(self, result: Result<Decisions, BackendError>) -> Result<Decisions, BackendError> {
        match self {
            Self::Learn(learn) => learn.learn(&result),
            Self::Forget(forget) => drop(forget),
            Self::Deny(_) | Self::Forward => {}
        }
        result
    }
}

impl Learn<'_> {
    fn learn(self, result: &Result<Decisions, BackendError>) {
        let Self { denials, check, cost, digest, version, asked } = self;
        let Ok([denial]) = result.as_deref() else { return };
        if denial.is_allowed() || denial.source() != Source::Store {
            return;
        }
        let mut slot = denials.slot(digest);
        // The denial may have been about what was reset meanwhile.
        if slot.version == version {
            let policy = check.policy().clone();
            slot.entry = Some(Entry { digest, policy, cost, asked, denial: *denial });
        }
    }
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        for check in self.checks {
            let digest = self.denials.digest(check);
            let mut slot = self.denials.slot(digest);
            slot.version = slot.version.wrapping_add(1);
            slot.entry.take_if(|entry| entry.digest == digest);
        }
    }
}

/// The denials: each key has one slot, which it shares with other keys.
struct Denials {
    digests: Digests,
    slots: Box<[Mutex<Slot>]>,
    hits: AtomicU64,
}

#[derive(Default)]
struct Slot {
    /// The number of times that a key of the slot was forgotten.
    version: u64,
    entry: Option<Entry>,
}

struct Entry {
    digest: Digest,
    policy: Policy,
    cost: Cost,
    asked: Timestamp,
    denial: Decision,
}

impl Denials {
    fn new(denials_max: NonZeroUsize) -> Self {
        let slots = (0..denials_max.get()).map(|_| Mutex::default()).collect();
        Self { digests: Digests::default(), slots, hits: AtomicU64::new(0) }
    }

    fn look_up<'a>(&'a self, check: &'a Check<'a>, action: Action, now: Timestamp) -> Plan<'a> {
        let digest = self.digest(check);
        let slot = self.slot(digest);
        let cost = if action == Action::Take { Cost::ONE } else { check.cost() };
        let is_about = |entry: &&Entry| {
            (entry.digest, entry.cost) == (digest, cost) && entry.policy == *check.policy()
        };
        let entry = slot.entry.as_ref().filter(is_about);
        match entry.and_then(|entry| entry.at(now)) {
            Some(denial) => {
                // Relaxed: the count stands for itself.
                self.hits.fetch_add(1, Ordering::Relaxed);
                Plan::Deny(denial)
            }
            None if action == Action::Peek => Plan::Forward,
            None => {
                let version = slot.version;
                Plan::Learn(Learn { denials: self, check, cost, digest, version, asked: now })
            }
        }
    }

    fn digest(&self, check: &Check<'_>) -> Digest {
        self.digests.of(Some(check.policy().name()), check.key())
    }

    /// Locks a slot even if poisoned: no caller's code runs under the lock.
    fn slot(&self, [number, _]: Digest) -> MutexGuard<'_, Slot> {
        #[expect(clippy::cast_possible_truncation, reason = "a remainder of a usize")]
        let index = (number % self.slots.len() as u64) as usize;
        self.slots[index].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    /// The denial at `now`, if it still holds; none if time has stepped back.
    fn at(&self, now: Timestamp) -> Option<Decision> {
        let passed = now - self.asked;
        let retry_after = self.denial.retry_after() - passed;
        if now < self.asked || retry_after.is_zero() {
            return None;
        }
        let mut denial = self.denial;
        denial = denial.with_outcome(Outcome::Deny { retry_after }, 0);
        denial.reset_after = denial.reset_after - passed;
        denial.at = denial.at + passed;
        denial = denial.with_source(Source::Cache);
        Some(denial)
    }
}

/// Shows the number of hits, and no key.
impl fmt::Debug for Denials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Denials").field("hits", &self.hits).finish_non_exhaustive()
    }
}

/// Of 152 bytes each: two and a half megabytes.
const DENIALS_MAX: NonZeroUsize = NonZeroUsize::new(1 << 14).unwrap();
