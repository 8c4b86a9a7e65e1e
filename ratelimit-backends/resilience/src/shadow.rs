//! Shadow mode: a limit decides and records, but denies nothing, or only a share of the keys.

use std::sync::{
    Arc,
    atomic::{AtomicU8, AtomicU64, Ordering},
};

use ratelimit_backend::{Backend, BackendError, Names, Reply, SyncBackend};
use ratelimit_core::{
    Action, Batch, Check, ConfigError, Decision, Key, Policy, Source, store::Decisions,
};

use crate::decisions::{ALLOW, fill, map, part};

/// Lets requests through that the inner store denies. Clones are the same shadow.
///
/// Such a decision has [`Source::Shadow`] and the store's numbers, and nothing was charged.
/// [`let_through`](Self::let_through) counts these requests. All decisions of a limit that is only
/// watched [say so](Decision::is_watched): `ratelimit-http` tells no client of it. (A cost that the
/// limit could never admit is an error all the same, since no store is asked about it.)
///
/// A limit may be enforced on a share of the keys: [`enforce`](Self::enforce) it on 1 %, then on 10 %,
/// then on all. The share has the same keys on every host, and a larger share contains every smaller
/// one. It goes by a public hash: clients that choose their keys may choose to be outside.
///
/// In a batch the enforced checks stay all or nothing: where only others deny, they are checked again
/// without these, and charged. That takes up to twice as long. A limit that is only watched is never
/// the one that denies a batch.
///
/// ```
/// use ratelimit_algorithms::{Limiter, Source, TokenBucket};
/// use ratelimit_memory::Memory;
/// use ratelimit_resilience::Shadow;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let shadow = Shadow::new(Memory::new());
/// let limiter = Limiter::new(shadow.clone(), "api", TokenBucket::per_hour(1))?;
/// assert!(limiter.check("user:42").now()?.is_allowed());
/// let second = limiter.check("user:42").now()?;
/// assert!(second.is_allowed());
/// assert_eq!((second.source(), second.remaining), (Source::Shadow, 0));
///
/// shadow.enforce(100)?;
/// assert!(!limiter.check("user:42").now()?.is_allowed());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Shadow<B> {
    inner: B,
    /// The policies in shadow mode; others are enforced. `None` means all policies.
    names: Option<Arc<[String]>>,
    rollout: Arc<Rollout>,
}

#[derive(Debug, Default)]
struct Rollout {
    percent: AtomicU8,
    let_through: AtomicU64,
}

impl<B> Shadow<B> {
    /// A shadow over `inner` that enforces no denial.
    #[must_use]
    pub fn new(inner: B) -> Self {
        Self { inner, names: None, rollout: Arc::default() }
    }

    /// The same for the policies of these names only: all others are enforced.
    #[must_use]
    pub fn with_names<N: Into<String>>(self, names: impl IntoIterator<Item = N>) -> Self {
        Self { names: Some(names.into_iter().map(Into::into).collect()), ..self }
    }

    /// Enforces denials of this share of the keys from now on.
    ///
    /// # Errors
    ///
    /// [`ConfigError::OutOfRange`] if `percent` is more than 100.
    pub fn enforce(&self, percent: u8) -> Result<(), ConfigError> {
        if 100 < percent {
            return Err(ConfigError::OutOfRange { field: "percent", low: 0.0, high: 100.0 });
        }
        // Relaxed here and below: these numbers order nothing but themselves.
        self.rollout.percent.store(percent, Ordering::Relaxed);
        Ok(())
    }

    /// Returns true if a denial of `key` under the policy called `name` is enforced now.
    #[must_use]
    pub fn enforces(&self, name: &str, key: Key<'_>) -> bool {
        let percent = self.rollout.percent.load(Ordering::Relaxed);
        let is_watched = self.names.as_ref().is_none_or(|names| names.iter().any(|it| it == name));
        !is_watched || percentile(name, key) < u64::from(percent)
    }

    /// The number of requests that were let through though the store denied them.
    #[must_use]
    pub fn let_through(&self) -> u64 {
        self.rollout.let_through.load(Ordering::Relaxed)
    }

    accessors!();

    fn plan<'a>(&self, batch: Batch<'a>, action: Action) -> Plan<'a> {
        let checks = batch.checks();
        let is_enforced = |check: &Check<'_>| self.enforces(check.policy().name(), check.key());
        if !matches!(action, Action::Spend | Action::Peek) || checks.iter().all(is_enforced) {
            return Plan::Enforce;
        }
        if !checks.iter().any(is_enforced) {
            return Plan::Watch;
        }
        Plan::Mix(Mix { checks, enforced: checks.iter().map(is_enforced).collect() })
    }

    /// The decisions where nothing is enforced.
    fn watch(
        &self,
        result: Result<Decisions, BackendError>,
        action: Action,
    ) -> Result<Decisions, BackendError> {
        let decisions = result?;
        if decisions.iter().all(Decision::is_allowed) {
            return Ok(map(&decisions, mark));
        }
        self.record(action);
        Ok(map(&decisions, let_through))
    }

    fn record(&self, action: Action) {
        if action == Action::Spend {
            self.rollout.let_through.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The decisions of the whole batch, once the enforced checks were decided again.
    fn join(&self, mix: &Mix<'_>, all: &Decisions, rest: &Decisions, action: Action) -> Decisions {
        if rest.iter().all(Decision::is_allowed) {
            self.record(action);
        }
        let watched = |(mut decision, &is_enforced): (Decision, &bool)| {
            let_through(&mut decision);
            (!is_enforced).then_some(decision)
        };
        fill(all.iter().copied().zip(&mix.enforced).map(watched).collect(), rest)
    }
}

/// The treatment of a denial.
enum Plan<'a> {
    /// Enforce it.
    Enforce,
    /// Let it through.
    Watch,
    /// Either, depending on who denies.
    Mix(Mix<'a>),
}

/// A batch of which some checks are enforced.
struct Mix<'a> {
    checks: &'a [Check<'a>],
    enforced: Vec<bool>,
}

impl<'a> Mix<'a> {
    /// Returns true if the enforced checks are to be decided again, alone: only others deny.
    fn needs_second_call(&self, all: &Decisions) -> bool {
        let denies = |side: bool| {
            let mut both = all.iter().zip(&self.enforced);
            both.any(|(one, &is_enforced)| is_enforced == side && !one.is_allowed())
        };
        denies(false) && !denies(true)
    }

    /// The decisions of the whole batch, if there is no second call.
    fn mark(&self, all: &Decisions) -> Decisions {
        let marked = |(mut decision, &is_enforced): (Decision, &bool)| {
            if !is_enforced {
                mark(&mut decision);
            }
            decision
        };
        all.iter().copied().zip(&self.enforced).map(marked).collect()
    }

    fn enforced(&self) -> Vec<Check<'a>> {
        let both = self.checks.iter().zip(&self.enforced);
        both.filter(|&(_, &is_enforced)| is_enforced).map(|(check, _)| *check).collect()
    }
}

impl<B: Backend> Backend for Shadow<B> {
    fn apply<'a>(&'a self, batch: Batch<'a>, action: Action) -> Reply<'a> {
        match self.plan(batch, action) {
            Plan::Enforce => self.inner.apply(batch, action),
            Plan::Watch => {
                self.inner.apply(batch, action).then(move |result| self.watch(result, action))
            }
            // Nothing is done before the reply is polled, even where the store is ready.
            Plan::Mix(mix) => Reply::waiting(async move {
                let all = self.inner.apply(batch, action).await?;
                if !mix.needs_second_call(&all) {
                    return Ok(mix.mark(&all));
                }
                let enforced = mix.enforced();
                let rest = self.inner.apply(part(&enforced)?, action).await?;
                Ok(self.join(&mix, &all, &rest, action))
            }),
        }
    }

    delegate!();
}

impl<B: SyncBackend> SyncBackend for Shadow<B> {
    fn apply_now(&self, batch: Batch<'_>, action: Action) -> Result<Decisions, BackendError> {
        let result = self.inner.apply_now(batch, action);
        match self.plan(batch, action) {
            Plan::Enforce => result,
            Plan::Watch => self.watch(result, action),
            Plan::Mix(mix) => {
                let all = result?;
                if !mix.needs_second_call(&all) {
                    return Ok(mix.mark(&all));
                }
                let rest = self.inner.apply_now(part(&mix.enforced())?, action)?;
                Ok(self.join(&mix, &all, &rest, action))
            }
        }
    }
}

/// Marks a decision of a limit that is only watched, and lets its denial through.
const fn mark(decision: &mut Decision) {
    if decision.is_allowed() {
        *decision = decision.watched();
    } else {
        let_through(decision);
    }
}

/// Turns a decision of a denied batch, of which nothing was charged, into one that lets the request
/// through.
const fn let_through(decision: &mut Decision) {
    if !decision.is_allowed() {
        decision.outcome = ALLOW;
    }
    *decision = decision.with_source(Source::Shadow).watched();
}

/// The percentile of a key, from 0 to 99, in this version and all later ones: FNV-1a, mixed well.
fn percentile(name: &str, key: Key<'_>) -> u64 {
    // No name has a colon in it.
    let bytes = name.bytes().chain([b':']).chain(key.as_bytes().iter().copied());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let mixed = (hash ^ (hash >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ (mixed >> 32)) % 100
}
