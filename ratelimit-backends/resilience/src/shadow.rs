//! Shadow mode: a limit decides and records, but denies nothing, or only a share of the keys.

use std::sync::{
    Arc,
    atomic::{AtomicU8, AtomicU64, Ordering},
};

use ratelimit_backend::{Backend, BackendError, Names, Reply, SyncBackend};
use ratelimit_core::{
    Action, Batch, Check, ConfigError, Decision, Key, Policy, Source, store::Decisions,
};

use crate::decisions::{self, ALLOW, fill, map, part};

/// Lets requests through that the inner store denies. Clones are the same shadow.
///
/// Such a decision has [`Source::Shadow`] and the store's numbers, and nothing was charged. A take that
/// finds too little gets all it asked for as well; what there was is charged.
/// [`let_through`](Self::let_through) counts these requests. All decisions of a limit that is only
/// watched [say so](Decision::is_watched): `ratelimit-http` tells no client of it. (A cost that the
/// limit could never admit is an error all the same, since no store is asked about it.)
///
/// A limit may be enforced on a share of the keys: [`enforce`](Self::enforce) it on 1 %, then on 10
/// %, then on all. The share has the same keys on every host, and a larger share contains every
/// smaller one. It uses a public hash: clients that choose their keys may choose one outside of the
/// share.
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

    /// The number of requests that were let through though the store denied them, or had too little.
    #[must_use]
    pub fn let_through(&self) -> u64 {
        self.rollout.let_through.load(Ordering::Relaxed)
    }

    accessors!();

    fn plan<'a>(&self, batch: Batch<'a>, action: Action) -> Plan<'a> {
        let checks = batch.checks();
        let is_enforced = |check: &Check<'_>| self.enforces(check.policy().name(), check.key());
        if !action.is_request() || checks.iter().all(is_enforced) {
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
        batch: Batch<'_>,
        action: Action,
    ) -> Result<Decisions, BackendError> {
        let decisions = result?;
        let is_admitted = decisions.iter().all(Decision::is_allowed);
        let is_short =
            |(decision, check): (&Decision, &Check<'_>)| is_short(decision, check, action);
        if !is_admitted || decisions.iter().zip(batch.checks()).any(is_short) {
            self.record(action);
        }
        Ok(map(batch, &decisions, |decision, check| match is_admitted {
            true => mark(decision, check, action),
            false => let_through(decision, check, action),
        }))
    }

    fn record(&self, action: Action) {
        if action.spends() {
            self.rollout.let_through.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The decisions of a batch whose denials, if there are any, are enforced.
    fn mark(&self, mix: &Mix<'_>, all: &Decisions, action: Action) -> Decisions {
        if mix.is_short(all, action) {
            self.record(action);
        }
        mix.mark(all, action)
    }

    /// The decisions of the whole batch, once the enforced checks were decided again.
    fn join(&self, mix: &Mix<'_>, all: &Decisions, rest: &Decisions, action: Action) -> Decisions {
        if rest.iter().all(Decision::is_allowed) {
            self.record(action);
        }
        let watched = |((mut decision, check), &is_enforced): ((Decision, &Check<'_>), &bool)| {
            let_through(&mut decision, check, action);
            (!is_enforced).then_some(decision)
        };
        let all = all.iter().copied().zip(mix.checks).zip(&mix.enforced);
        fill(all.map(watched).collect(), rest)
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
    fn mark(&self, all: &Decisions, action: Action) -> Decisions {
        let marked = |((mut decision, check), &is_enforced): ((Decision, &Check<'_>), &bool)| {
            if !is_enforced {
                mark(&mut decision, check, action);
            }
            Some(decision)
        };
        let all = all.iter().copied().zip(self.checks).zip(&self.enforced);
        fill(all.map(marked).collect(), &[])
    }

    /// Returns true if a take got less than it asked for from a limit that is only watched.
    fn is_short(&self, all: &Decisions, action: Action) -> bool {
        let mut all = all.iter().zip(self.checks).zip(&self.enforced);
        all.any(|((decision, check), is_enforced)| {
            !is_enforced && is_short(decision, check, action)
        })
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
                let reply = self.inner.apply(batch, action);
                reply.then(move |result| self.watch(result, batch, action))
            }
            // Nothing is done before the reply is polled, even where the store is ready.
            Plan::Mix(mix) => Reply::waiting(async move {
                let all = self.inner.apply(batch, action).await?;
                if !mix.needs_second_call(&all) {
                    return Ok(self.mark(&mix, &all, action));
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
            Plan::Watch => self.watch(result, batch, action),
            Plan::Mix(mix) => {
                let all = result?;
                if !mix.needs_second_call(&all) {
                    return Ok(self.mark(&mix, &all, action));
                }
                let rest = self.inner.apply_now(part(&mix.enforced())?, action)?;
                Ok(self.join(&mix, &all, &rest, action))
            }
        }
    }
}

/// Returns true if a take got something, but less than it asked for.
fn is_short(decision: &Decision, check: &Check<'_>, action: Action) -> bool {
    action == Action::Take && (1..check.cost().get()).contains(&decision.charged())
}

/// Marks a decision of a limit that is only watched, and lets its denial through, or all of a take.
fn mark(decision: &mut Decision, check: &Check<'_>, action: Action) {
    if decision.is_allowed() && !is_short(decision, check, action) {
        *decision = decision.watched();
    } else {
        let_through(decision, check, action);
    }
}

/// Turns a decision of a batch that was denied, or of a take that got less than it asked for, into one
/// that lets the whole request through.
const fn let_through(decision: &mut Decision, check: &Check<'_>, action: Action) {
    let outcome = if decision.is_allowed() { decision.outcome() } else { ALLOW };
    let charged = decisions::let_through(check, action);
    *decision = decision.with_outcome(outcome, charged).with_source(Source::Shadow).watched();
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
