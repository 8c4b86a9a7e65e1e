//! Lists of keys that are always let through, or never, whatever the store would say.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard},
};

use ratelimit_backend::{Backend, BackendError, Clock, MonotonicClock, Names, Reply, SyncBackend};
use ratelimit_core::{
    Action, Batch, Check, ConfigError, Decision, Key, Outcome, Policy, Source, Timestamp,
    WINDOW_MAX, store::Decisions,
};

use crate::{
    decisions::{ALLOW, fill, part, unseen},
    digest::{Digest, Digests},
};

/// Answers in the place of the store for keys that are listed. Clones are the same lists.
///
/// A key is listed by all of its bytes, under the policies of one [name](Self::under) or
/// [everywhere](Self::everywhere); where it is both, the name's list counts. What was listed last
/// counts, from the next call on. What is kept of a key is a keyed digest.
///
/// Decisions have [`Source::List`] and the numbers of a key never seen; a denial has nothing left,
/// and the longest wait there is. The store is not asked: neither to spend nor to peek, nor to
/// charge or refund a key that is always let through. A reset or a block reaches the store,
/// whatever the lists say.
///
/// Of limits that are asked together, the rest stay all or nothing: they are charged as one, and
/// where a key is denied by list they are only looked at.
///
/// ```
/// use ratelimit_algorithms::{Limiter, Source, TokenBucket};
/// use ratelimit_memory::Memory;
/// use ratelimit_resilience::Lists;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let lists = Lists::new(Memory::new());
/// let limiter = Limiter::new(lists.clone(), "api", TokenBucket::per_second(10))?;
/// lists.everywhere().deny("mallory");
/// lists.under("api").allow("health-check");
/// assert!(!limiter.check("mallory").now()?.is_allowed());
/// assert_eq!(limiter.check("health-check").now()?.source(), Source::List);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Lists<B, C = MonotonicClock> {
    inner: B,
    clock: C,
    table: Arc<Table>,
}

/// The list of one name, or the one for all.
#[derive(Clone, Copy)]
#[must_use = "a list does nothing by itself"]
pub struct List<'a> {
    table: &'a Table,
    name: Option<&'a str>,
}

#[derive(Default)]
struct Table {
    digests: Digests,
    verdicts: RwLock<HashMap<Digest, Verdict>>,
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Verdict {
    Allow,
    Deny,
}

impl<B> Lists<B> {
    /// Empty lists before `inner`.
    #[must_use]
    pub fn new(inner: B) -> Self {
        Self::with_clock(inner, MonotonicClock::new())
    }
}

impl<B, C> Lists<B, C> {
    /// Empty lists before `inner`, whose answers are dated by `clock`.
    #[must_use]
    pub fn with_clock(inner: B, clock: C) -> Self {
        Self { inner, clock, table: Arc::default() }
    }

    /// The list for the policies of every name.
    pub fn everywhere(&self) -> List<'_> {
        List { table: &self.table, name: None }
    }

    /// The list for the policies of one name.
    pub fn under<'a>(&'a self, name: &'a str) -> List<'a> {
        List { table: &self.table, name: Some(name) }
    }

    /// How many keys are listed; one that is listed under several names counts as often.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.table.verdicts().len()
    }

    accessors!();
}

impl List<'_> {
    /// Lets `key` through from now on.
    pub fn allow(&self, key: &(impl AsRef<[u8]> + ?Sized)) {
        self.put(key.as_ref(), Some(Verdict::Allow));
    }

    /// Denies `key` from now on.
    pub fn deny(&self, key: &(impl AsRef<[u8]> + ?Sized)) {
        self.put(key.as_ref(), Some(Verdict::Deny));
    }

    /// Takes `key` off this list.
    pub fn remove(&self, key: &(impl AsRef<[u8]> + ?Sized)) {
        self.put(key.as_ref(), None);
    }

    fn put(&self, key: &[u8], verdict: Option<Verdict>) {
        // No limiter ever asks about a key that is too long to be one.
        let Ok(key) = Key::new(key) else { return };
        let digest = self.table.digests.of(self.name, key);
        let mut verdicts = self.table.verdicts.write().unwrap_or_else(PoisonError::into_inner);
        match verdict {
            Some(verdict) => verdicts.insert(digest, verdict),
            None => verdicts.remove(&digest),
        };
    }
}

impl Table {
    fn verdicts(&self) -> RwLockReadGuard<'_, HashMap<Digest, Verdict>> {
        self.verdicts.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the lists say about each check, if they have a say in any.
    fn say(&self, batch: Batch<'_>, action: Action) -> Option<Vec<Option<Verdict>>> {
        let verdicts = self.verdicts();
        let verdict = |check: &Check<'_>| {
            let find = |name| verdicts.get(&self.digests.of(name, check.key())).copied();
            let verdict = find(Some(check.policy().name())).or_else(|| find(None));
            verdict.filter(|verdict| verdict.is_about(action))
        };
        let is_listed = |check| verdict(check).is_some();
        let has_say = !verdicts.is_empty() && batch.checks().iter().any(is_listed);
        has_say.then(|| batch.checks().iter().map(verdict).collect())
    }
}

impl<B, C: Clock> Lists<B, C> {
    fn plan<'a>(&self, batch: Batch<'a>, action: Action) -> Result<Plan<'a>, BackendError> {
        let Some(verdicts) = self.table.say(batch, action) else { return Ok(Plan::Ask) };
        let now = self.clock.now()?;
        let listed = batch.checks().iter().zip(&verdicts);
        let known = listed.map(|(check, verdict)| verdict.map(|it| it.on(check, now)).transpose());
        let known = known.collect::<Result<Vec<_>, _>>()?;
        let unlisted = batch.checks().iter().zip(&known).filter(|(_, known)| known.is_none());
        let rest: Vec<_> = unlisted.map(|(check, _)| *check).collect();
        if rest.is_empty() {
            return Ok(Plan::Answer(fill(known, &[])));
        }
        let is_denied = verdicts.contains(&Some(Verdict::Deny));
        Ok(Plan::Mix { known, rest, action: if is_denied { Action::Peek } else { action } })
    }
}

impl Verdict {
    const fn is_about(self, action: Action) -> bool {
        match action {
            Action::Spend | Action::Peek => true,
            Action::Penalize | Action::Refund => matches!(self, Self::Allow),
            _ => false,
        }
    }

    fn on(self, check: &Check<'_>, now: Timestamp) -> Result<Decision, BackendError> {
        match self {
            Self::Allow => unseen(check, now, ALLOW, Source::List),
            Self::Deny => {
                let deny = Outcome::Deny { retry_after: WINDOW_MAX };
                let mut decision = unseen(check, now, deny, Source::List)?;
                decision.remaining = 0;
                decision.reset_after = WINDOW_MAX;
                Ok(decision)
            }
        }
    }
}

/// How to go about a question.
enum Plan<'a> {
    /// Nobody in it is listed.
    Ask,
    /// Everybody is.
    Answer(Decisions),
    /// Some are; of the rest, the store is asked to do this.
    Mix { known: Vec<Option<Decision>>, rest: Vec<Check<'a>>, action: Action },
}

impl<B: Backend, C: Clock> Backend for Lists<B, C> {
    fn apply<'a>(&'a self, batch: Batch<'a>, action: Action) -> Reply<'a> {
        match self.plan(batch, action) {
            Ok(Plan::Ask) => self.inner.apply(batch, action),
            Ok(Plan::Answer(decisions)) => Reply::ready(Ok(decisions)),
            Ok(Plan::Mix { known, rest, action }) => Reply::waiting(async move {
                Ok(fill(known, &self.inner.apply(part(&rest)?, action).await?))
            }),
            Err(error) => Reply::ready(Err(error)),
        }
    }

    delegate!();
}

impl<B: SyncBackend, C: Clock> SyncBackend for Lists<B, C> {
    fn apply_now(&self, batch: Batch<'_>, action: Action) -> Result<Decisions, BackendError> {
        match self.plan(batch, action)? {
            Plan::Ask => self.inner.apply_now(batch, action),
            Plan::Answer(decisions) => Ok(decisions),
            Plan::Mix { known, rest, action } => {
                Ok(fill(known, &self.inner.apply_now(part(&rest)?, action)?))
            }
        }
    }
}

/// Shows how many keys there are, and none of them.
impl<B: fmt::Debug, C: fmt::Debug> fmt::Debug for Lists<B, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { inner, clock, .. } = self;
        f.debug_struct("Lists")
            .field("inner", inner)
            .field("clock", clock)
            .field("keys", &self.keys())
            .finish_non_exhaustive()
    }
}

/// Shows which list it is, and no keys.
impl fmt::Debug for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("List").field("name", &self.name).finish_non_exhaustive()
    }
}
