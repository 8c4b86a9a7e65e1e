//! Shadow mode: a limit decides and records, and refuses nobody; or only some, until it is trusted.

use std::sync::{
    Arc,
    atomic::{AtomicU8, AtomicU64, Ordering},
};

use ratelimit_backend::{Backend, BackendError, Names, Reply, SyncBackend};
use ratelimit_core::{
    Action, Batch, Check, ConfigError, Decision, Key, Policy, Source, store::Decisions,
};

use crate::decisions::{ALLOW, Answer, fill, map, part};

/// Lets through what the store within denies. Clones are the same shadow.
///
/// The decision then says so with [`Source::Shadow`]; its numbers are the store's, and nothing was
/// charged. Who wants to know how many there would have been counts these, or asks
/// [`let_through`](Self::let_through).
///
/// A share of the keys may be refused all the same: [`enforce`](Self::enforce) it on 1 %, then on
/// 10, then on all. A key is always on the same side, on every host, and what is enforced at some
/// share is enforced at every larger one. Sides go by a public hash, so whoever may choose a key
/// may choose its side.
///
/// Of limits that are asked together, those that are enforced stay all or nothing: where only
/// others deny, the enforced ones are asked again without them, and charged. That takes up to twice
/// as long.
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
    /// Policies of other names are enforced; `None` where there are no others.
    names: Option<Arc<[String]>>,
    dial: Arc<Dial>,
}

#[derive(Debug, Default)]
struct Dial {
    percent: AtomicU8,
    let_through: AtomicU64,
}

impl<B> Shadow<B> {
    /// Enforces nothing of what `inner` decides.
    #[must_use]
    pub fn new(inner: B) -> Self {
        Self { inner, names: None, dial: Arc::default() }
    }

    /// The same for policies of these names alone: all others are enforced.
    #[must_use]
    pub fn with_names<N: Into<String>>(self, names: impl IntoIterator<Item = N>) -> Self {
        Self { names: Some(names.into_iter().map(Into::into).collect()), ..self }
    }

    /// Enforces denials of so many in a hundred keys from now on. Zero is none, 100 is all.
    ///
    /// # Errors
    ///
    /// [`ConfigError::OutOfRange`] if `percent` is more than 100.
    pub fn enforce(&self, percent: u8) -> Result<(), ConfigError> {
        if 100 < percent {
            return Err(ConfigError::OutOfRange { field: "percent", low: 0.0, high: 100.0 });
        }
        // Relaxed here and below: these numbers order nothing but themselves.
        self.dial.percent.store(percent, Ordering::Relaxed);
        Ok(())
    }

    /// Whether a denial of `key` under the policy called `name` is enforced now.
    #[must_use]
    pub fn enforces(&self, name: &str, key: Key<'_>) -> bool {
        let percent = self.dial.percent.load(Ordering::Relaxed);
        let is_watched = self.names.as_ref().is_none_or(|names| names.iter().any(|it| it == name));
        !is_watched || side(name, key) < u64::from(percent)
    }

    /// How many requests were let through that the store had denied.
    #[must_use]
    pub fn let_through(&self) -> u64 {
        self.dial.let_through.load(Ordering::Relaxed)
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

    /// The answer where nothing is enforced.
    fn watch(&self, answer: Answer, action: Action) -> Answer {
        let decisions = answer?;
        if decisions.iter().all(Decision::is_allowed) {
            return Ok(decisions);
        }
        self.record(action);
        Ok(map(&decisions, let_through))
    }

    fn record(&self, action: Action) {
        if action == Action::Spend {
            self.dial.let_through.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The whole answer, once the enforced checks have one of their own.
    fn join(&self, mix: &Mix<'_>, all: &Decisions, rest: &Decisions, action: Action) -> Decisions {
        let admitted = rest.iter().all(Decision::is_allowed);
        if admitted {
            self.record(action);
        }
        let place = |(mut decision, &is_enforced): (Decision, &bool)| {
            if admitted {
                let_through(&mut decision);
            }
            (!is_enforced).then_some(decision)
        };
        fill(all.iter().copied().zip(&mix.enforced).map(place).collect(), rest)
    }
}

/// What to do about a denial.
enum Plan<'a> {
    /// Enforce it.
    Enforce,
    /// Let it through.
    Watch,
    /// Either, depending on who denies.
    Mix(Mix<'a>),
}

/// Checks of which some are enforced.
struct Mix<'a> {
    checks: &'a [Check<'a>],
    enforced: Vec<bool>,
}

impl<'a> Mix<'a> {
    /// Whether to ask the enforced ones again, alone: others deny, and they do not.
    fn asks_again(&self, all: &Decisions) -> bool {
        let denies = |side: bool| {
            let mut both = all.iter().zip(&self.enforced);
            both.any(|(one, &is_enforced)| is_enforced == side && !one.is_allowed())
        };
        denies(false) && !denies(true)
    }

    fn enforced(&self) -> Vec<Check<'a>> {
        let both = self.checks.iter().zip(&self.enforced);
        both.filter(|&(_, &is_enforced)| is_enforced).map(|(check, _)| *check).collect()
    }
}

impl<B: Backend> Backend for Shadow<B> {
    fn apply<'a>(&'a self, batch: Batch<'a>, action: Action) -> Reply<'a> {
        let reply = self.inner.apply(batch, action);
        match self.plan(batch, action) {
            Plan::Enforce => reply,
            Plan::Watch => reply.then(move |answer| self.watch(answer, action)),
            Plan::Mix(mix) => Reply::waiting(async move {
                let all = reply.await?;
                if !mix.asks_again(&all) {
                    return Ok(all);
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
        let answer = self.inner.apply_now(batch, action);
        match self.plan(batch, action) {
            Plan::Enforce => answer,
            Plan::Watch => self.watch(answer, action),
            Plan::Mix(mix) => {
                let all = answer?;
                if !mix.asks_again(&all) {
                    return Ok(all);
                }
                let rest = self.inner.apply_now(part(&mix.enforced())?, action)?;
                Ok(self.join(&mix, &all, &rest, action))
            }
        }
    }
}

/// The decision about a request that was denied as a whole, and goes on.
const fn let_through(decision: &mut Decision) {
    if !decision.is_allowed() {
        decision.outcome = ALLOW;
    }
    *decision = decision.with_source(Source::Shadow);
}

/// Where a key is, from 0 to 99, now and in every version to come: FNV-1a, its bits mixed well.
fn side(name: &str, key: Key<'_>) -> u64 {
    // No name has a colon in it.
    let bytes = name.bytes().chain([b':']).chain(key.as_bytes().iter().copied());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let mixed = (hash ^ (hash >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ (mixed >> 32)) % 100
}
