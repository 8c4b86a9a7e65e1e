//! A cache of denials: whoever was told when to come back, and comes earlier, is told again.
//!
//! A denial says exactly how long it holds if nobody else spends, and spending only makes it hold
//! longer. So until then the store has nothing to add.

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

use crate::{
    decisions::Answer,
    digest::{Digest, Digests},
};

/// Answers in the place of a store that has denied the same before. Clones are the same cache.
///
/// The answer is a denial with [`Source::Cache`]; its `retry_after`, `reset_after` and `at` are of
/// now, the rest is as it was when the store denied. It is given to the same key, cost and policy:
/// a smaller cost may fit, a larger one has longer to wait, and changed numbers are other numbers.
/// Limits that are asked together are always asked of the store.
///
/// It is exact, unless somebody else gives back or resets what was charged, or ends a block: that
/// is noticed when the wait is over. Refunds, resets, charges and blocks that go through this
/// cache end the denial. The time is counted from before the store was asked, so that nobody is
/// denied for longer than it said.
///
/// The number of denials is bounded, and so are the steps: each key has one place, where the last
/// denial is kept.
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
    shelf: Arc<Shelf>,
}

impl<B> DenyCache<B> {
    /// A cache of up to 16 384 denials of `inner`.
    #[must_use]
    pub fn new(inner: B) -> Self {
        Self::with_clock(inner, MonotonicClock::new(), DENIALS_MAX)
    }
}

impl<B, C> DenyCache<B, C> {
    /// A cache of up to `denials_max` denials of `inner` that goes by `clock`. The place for all
    /// of them is taken at once.
    #[must_use]
    pub fn with_clock(inner: B, clock: C, denials_max: NonZeroUsize) -> Self {
        Self { inner, clock, shelf: Arc::new(Shelf::new(denials_max)) }
    }

    /// How many denials were answered in the store's place.
    #[must_use]
    pub fn answered(&self) -> u64 {
        self.shelf.answered.load(Ordering::Relaxed)
    }

    accessors!();
}

impl<B, C: Clock> DenyCache<B, C> {
    /// How to go about `action` on `batch`. Without a clock, a denial is not known to hold.
    fn plan<'a>(&'a self, batch: Batch<'a>, action: Action) -> Plan<'a> {
        let checks = batch.checks();
        match (action, checks) {
            (Action::Spend | Action::Peek, [check]) => match self.clock.now() {
                Ok(now) => self.shelf.look(check, now),
                Err(_) => Plan::Ask,
            },
            (Action::Spend | Action::Peek, _) => Plan::Ask,
            _ => Plan::Forget(Forget { shelf: &self.shelf, checks }),
        }
    }
}

impl<B: Backend, C: Clock> Backend for DenyCache<B, C> {
    fn apply<'a>(&'a self, batch: Batch<'a>, action: Action) -> Reply<'a> {
        match self.plan(batch, action) {
            Plan::Answer(denial) => Reply::ready(Ok(denial.into())),
            plan => self.inner.apply(batch, action).then(|answer| plan.end(answer)),
        }
    }

    delegate!();
}

impl<B: SyncBackend, C: Clock> SyncBackend for DenyCache<B, C> {
    fn apply_now(&self, batch: Batch<'_>, action: Action) -> Result<Decisions, BackendError> {
        match self.plan(batch, action) {
            Plan::Answer(denial) => Ok(denial.into()),
            plan => plan.end(self.inner.apply_now(batch, action)),
        }
    }
}

/// How to go about a question.
enum Plan<'a> {
    /// The answer is known.
    Answer(Decision),
    /// Ask, and remember a denial.
    Learn(Learn<'a>),
    /// Ask, and forget what is known.
    Forget(Forget<'a>),
    /// Ask.
    Ask,
}

/// A place for a denial, unless it is touched before that comes.
struct Learn<'a> {
    shelf: &'a Shelf,
    check: &'a Check<'a>,
    digest: Digest,
    version: u64,
    asked: Timestamp,
}

/// Forgets what is known of some keys when it ends, even if that is because nobody waits for the
/// answer any longer.
struct Forget<'a> {
    shelf: &'a Shelf,
    checks: &'a [Check<'a>],
}

impl Plan<'_> {
    fn end(self, answer: Answer) -> Answer {
        match self {
            Self::Learn(learn) => learn.learn(&answer),
            Self::Forget(forget) => drop(forget),
            Self::Answer(_) | Self::Ask => {}
        }
        answer
    }
}

impl Learn<'_> {
    fn learn(self, answer: &Answer) {
        let Self { shelf, check, digest, version, asked } = self;
        let Ok([denial]) = answer.as_deref() else { return };
        if denial.is_allowed() || denial.source() != Source::Store {
            return;
        }
        let mut slot = shelf.slot(digest);
        // What was forgotten meanwhile may be what this denial was about.
        if slot.version == version {
            let (policy, cost) = (check.policy().clone(), check.cost());
            slot.entry = Some(Entry { digest, policy, cost, asked, denial: *denial });
        }
    }
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        for check in self.checks {
            let mut slot = self.shelf.slot(self.shelf.digest(check));
            slot.version = slot.version.wrapping_add(1);
            slot.entry = None;
        }
    }
}

/// All denials: each key has one slot, which others may share and take.
struct Shelf {
    digests: Digests,
    slots: Box<[Mutex<Slot>]>,
    answered: AtomicU64,
}

#[derive(Default)]
struct Slot {
    /// How often something was forgotten here.
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

impl Shelf {
    fn new(denials_max: NonZeroUsize) -> Self {
        let slots = (0..denials_max.get()).map(|_| Mutex::default()).collect();
        Self { digests: Digests::default(), slots, answered: AtomicU64::new(0) }
    }

    fn look<'a>(&'a self, check: &'a Check<'a>, now: Timestamp) -> Plan<'a> {
        let digest = self.digest(check);
        let slot = self.slot(digest);
        let entry = slot.entry.as_ref().filter(|entry| entry.is_about(digest, check));
        match entry.and_then(|entry| entry.at(now)) {
            Some(denial) => {
                // Relaxed: the count stands for itself.
                self.answered.fetch_add(1, Ordering::Relaxed);
                Plan::Answer(denial)
            }
            None => {
                Plan::Learn(Learn { shelf: self, check, digest, version: slot.version, asked: now })
            }
        }
    }

    fn digest(&self, check: &Check<'_>) -> Digest {
        self.digests.of(Some(check.policy().name()), check.key())
    }

    /// No caller's code runs under the lock, so it is never poisoned half way.
    fn slot(&self, [number, _]: Digest) -> MutexGuard<'_, Slot> {
        #[expect(clippy::cast_possible_truncation, reason = "a remainder of a usize")]
        let index = (number % self.slots.len() as u64) as usize;
        self.slots[index].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn is_about(&self, digest: Digest, check: &Check<'_>) -> bool {
        self.digest == digest && self.cost == check.cost() && self.policy == *check.policy()
    }

    /// The denial as it is at `now`, if it still holds then. If time has stepped back, nobody knows.
    fn at(&self, now: Timestamp) -> Option<Decision> {
        let passed = now - self.asked;
        let retry_after = self.denial.retry_after() - passed;
        if now < self.asked || retry_after.is_zero() {
            return None;
        }
        let mut denial = self.denial;
        denial.outcome = Outcome::Deny { retry_after };
        denial.reset_after = denial.reset_after - passed;
        denial.at = denial.at + passed;
        denial = denial.with_source(Source::Cache);
        Some(denial)
    }
}

/// Shows how much was answered, and no keys.
impl fmt::Debug for Shelf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shelf").field("answered", &self.answered).finish_non_exhaustive()
    }
}

/// Of 152 bytes each: two and a half megabytes.
const DENIALS_MAX: NonZeroUsize = NonZeroUsize::new(1 << 14).unwrap();
