//! Lists of keys that are always allowed, or always denied.

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
    decisions::{ALLOW, fill, let_through, part, unseen},
    digest::{Digest, Digests},
};

/// Decides about listed keys without the store. Clones are the same lists.
///
/// A key is listed by all of its bytes, under the policies of one [name](Self::under) or
/// [everywhere](Self::everywhere); the list of a name goes first. A change holds from the next call
/// on. Lists keep keyed digests of keys.
///
/// Behind a layer of `ratelimit-http` the key of a client is a `RequestKey`, and is listed as one:
/// `lists.everywhere().deny(&RequestKey::text("mallory"))`. A plain text denies nobody there, and the
/// layer warns of lists that have nothing else.
///
/// Decisions have [`Source::List`] and the numbers of a key never seen; a denial has nothing left,
/// and the longest `retry_after`. The store is not called to spend, take or peek, nor to penalize or
/// refund an allowed key. Resets and blocks always reach the store.
///
/// In a batch the other checks stay all or nothing: they are charged as one, or only peeked at if a
/// key is denied by a list.
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

/// The list of one name, or of all names.
#[derive(Clone, Copy)]
#[must_use = "a list does nothing by itself"]
pub struct List<'a> {
    table: &'a Table,
    name: Option<&'a str>,
}

#[derive(Default)]
struct Table {
    digests: Digests,
    listings: RwLock<Listings>,
}

#[derive(Default)]
struct Listings {
    by_key: HashMap<Digest, Listing>,
    /// The number of keys of each list that are text, and of those that are not.
    texts: HashMap<Option<Box<str>>, Texts>,
}

#[derive(Clone, Copy, Default)]
struct Texts {
    yes: usize,
    no: usize,
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Listing {
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
    /// Empty lists before `inner`; `clock` dates their decisions.
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

    /// The number of listed keys; a key counts once for each list.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.table.listings().by_key.len()
    }

    accessors!();
}

impl List<'_> {
    /// Allows `key` from now on.
    pub fn allow(&self, key: &(impl AsRef<[u8]> + ?Sized)) {
        self.put(key.as_ref(), Some(Listing::Allow));
    }

    /// Denies `key` from now on.
    pub fn deny(&self, key: &(impl AsRef<[u8]> + ?Sized)) {
        self.put(key.as_ref(), Some(Listing::Deny));
    }

    /// Takes `key` off this list.
    pub fn remove(&self, key: &(impl AsRef<[u8]> + ?Sized)) {
        self.put(key.as_ref(), None);
    }

    fn put(&self, key: &[u8], listing: Option<Listing>) {
        // No check can have a key that is too long.
        let Ok(key) = Key::new(key) else { return };
        let digest = self.table.digests.of(self.name, key);
        let mut listings = self.table.listings.write().unwrap_or_else(PoisonError::into_inner);
        let was_listed = match listing {
            Some(listing) => listings.by_key.insert(digest, listing),
            None => listings.by_key.remove(&digest),
        };
        let texts = listings.texts.entry(self.name.map(Box::from)).or_default();
        let count = if is_text(key.as_bytes()) { &mut texts.yes } else { &mut texts.no };
        *count += usize::from(listing.is_some());
        *count -= usize::from(was_listed.is_some());
    }
}

/// Keys of `ratelimit-http` are not: they tell the lengths of their parts.
fn is_text(key: &[u8]) -> bool {
    std::str::from_utf8(key).is_ok_and(|text| !text.contains(char::is_control))
}

impl Table {
    fn listings(&self) -> RwLockReadGuard<'_, Listings> {
        self.listings.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells whether the lists that hold for policies of this name have keys, and only text.
    fn has_only_text(&self, name: &str) -> bool {
        let listings = self.listings();
        let lists = [Some(name.into()), None].map(|list| listings.texts.get(&list).copied());
        let is_one = |test: fn(Texts) -> bool| lists.iter().flatten().any(|&texts| test(texts));
        is_one(|texts| texts.yes != 0) && !is_one(|texts| texts.no != 0)
    }

    /// Looks up each check; `None` if no key is listed.
    fn look_up(&self, batch: Batch<'_>, action: Action) -> Option<Vec<Option<Listing>>> {
        let listings = &self.listings().by_key;
        let listing = |check: &Check<'_>| {
            let find = |name| listings.get(&self.digests.of(name, check.key())).copied();
            let listing = find(Some(check.policy().name())).or_else(|| find(None));
            listing.filter(|listing| listing.applies_to(action))
        };
        let is_listed = |check| listing(check).is_some();
        let is_any_listed = !listings.is_empty() && batch.checks().iter().any(is_listed);
        is_any_listed.then(|| batch.checks().iter().map(listing).collect())
    }
}

impl<B, C: Clock> Lists<B, C> {
    fn plan<'a>(&self, batch: Batch<'a>, action: Action) -> Result<Plan<'a>, BackendError> {
        let Some(listings) = self.table.look_up(batch, action) else { return Ok(Plan::Forward) };
        let now = self.clock.now()?;
        let listed = batch.checks().iter().zip(&listings);
        let known = listed
            .map(|(check, listing)| listing.map(|it| it.decision(check, action, now)).transpose());
        let known = known.collect::<Result<Vec<_>, _>>()?;
        let unlisted = batch.checks().iter().zip(&known).filter(|(_, known)| known.is_none());
        let rest: Vec<_> = unlisted.map(|(check, _)| *check).collect();
        if rest.is_empty() {
            return Ok(Plan::Decided(fill(known, &[])));
        }
        let is_denied = listings.contains(&Some(Listing::Deny));
        Ok(Plan::Mix { known, rest, action: if is_denied { Action::Peek } else { action } })
    }
}

impl Listing {
    const fn applies_to(self, action: Action) -> bool {
        match action {
            action if action.is_request() => true,
            Action::Penalize | Action::Refund => matches!(self, Self::Allow),
            _ => false,
        }
    }

    fn decision(
        self,
        check: &Check<'_>,
        action: Action,
        now: Timestamp,
    ) -> Result<Decision, BackendError> {
        match self {
            Self::Allow => unseen(check, now, (ALLOW, let_through(check, action)), Source::List),
            Self::Deny => {
                let deny = Outcome::Deny { retry_after: WINDOW_MAX };
                let mut decision = unseen(check, now, (deny, 0), Source::List)?;
                decision.remaining = 0;
                decision.reset_after = WINDOW_MAX;
                Ok(decision)
            }
        }
    }
}

/// The treatment of a batch.
enum Plan<'a> {
    /// No key is listed.
    Forward,
    /// All keys are listed.
    Decided(Decisions),
    /// Some keys are listed; the store applies `action` to the rest.
    Mix { known: Vec<Option<Decision>>, rest: Vec<Check<'a>>, action: Action },
}

impl<B: Backend, C: Clock> Backend for Lists<B, C> {
    fn apply<'a>(&'a self, batch: Batch<'a>, action: Action) -> Reply<'a> {
        match self.plan(batch, action) {
            Ok(Plan::Forward) => self.inner.apply(batch, action),
            Ok(Plan::Decided(decisions)) => Reply::ready(Ok(decisions)),
            Ok(Plan::Mix { known, rest, action }) => Reply::waiting(async move {
                Ok(fill(known, &self.inner.apply(part(&rest)?, action).await?))
            }),
            Err(error) => Reply::ready(Err(error)),
        }
    }

    delegate!(except lists);

    fn lists_only_text(&self, name: &str) -> bool {
        self.table.has_only_text(name) || self.inner.lists_only_text(name)
    }
}

impl<B: SyncBackend, C: Clock> SyncBackend for Lists<B, C> {
    fn apply_now(&self, batch: Batch<'_>, action: Action) -> Result<Decisions, BackendError> {
        match self.plan(batch, action)? {
            Plan::Forward => self.inner.apply_now(batch, action),
            Plan::Decided(decisions) => Ok(decisions),
            Plan::Mix { known, rest, action } => {
                Ok(fill(known, &self.inner.apply_now(part(&rest)?, action)?))
            }
        }
    }
}

/// Shows the number of keys, and no key.
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

/// Shows the list's name, and no key.
impl fmt::Debug for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("List").field("name", &self.name).finish_non_exhaustive()
    }
}
