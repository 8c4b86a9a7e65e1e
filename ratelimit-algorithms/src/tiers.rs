//! Tiers: several limits under one name, of which each key has one.

use std::{
    borrow::Cow,
    collections::{HashMap, hash_map::Entry},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use arc_swap::ArcSwap;
use ratelimit_backend::{Claim, Names};
use ratelimit_core::{Algorithm, CarryOver, ConfigError, Policy};

use crate::{
    Policies, Visit,
    live::Lineage,
    wait::{Listeners, Waiters},
};

/// Several limits under one name, of which each key has one: free, pro, one customer's own.
/// Clones are the same tiers.
///
/// ```
/// use ratelimit_algorithms::{Limiter, Tier, Tiers, TokenBucket};
/// use ratelimit_memory::Memory;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let tiers = Tiers::new("api", TokenBucket::per_second(10))?;
/// let pro = tiers.add("pro", TokenBucket::per_second(100))?;
/// let acme = tiers.add("acme", TokenBucket::per_second(1_000))?;
///
/// let limits = tiers.by_key(move |key| match key {
///     b"user:acme" => acme,
///     _ if key.starts_with(b"pro:") => pro,
///     _ => Tier::DEFAULT,
/// });
/// let limiter = Limiter::with_policies(Memory::new(), limits)?;
/// assert_eq!(limiter.check("user:42").now()?.limit, 10);
/// assert_eq!(limiter.check("pro:7").now()?.limit, 100);
/// assert_eq!(limiter.check("user:acme").now()?.limit, 1_000);
///
/// // A tier's numbers can change, and a tier can be found by its name.
/// tiers.update(tiers.tier("pro")?, TokenBucket::per_second(200))?;
/// assert_eq!(limiter.check("pro:7").now()?.limit, 200);
/// # Ok(())
/// # }
/// ```
///
/// Each check calls the function, so a key's tier may change at any time. A change of tier is a
/// change of numbers: [`CarryOver`] says how spent permits carry over. So all tiers have one
/// algorithm, unless keys start anew.
#[derive(Clone, Debug)]
pub struct Tiers(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// The policies that tiers may have.
    lineage: Lineage,
    /// Held while the policies are changed.
    names: Mutex<HashMap<Box<str>, Tier>>,
    /// A policy for each tier, the default tier's first: so there is always one.
    policies: ArcSwap<Vec<Policy>>,
    listeners: Listeners,
}

/// A handle of one tier, valid for the [`Tiers`] that made it. With others it names another tier,
/// or none.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Tier(usize);

impl Tier {
    /// The tier of a key that has no other.
    pub const DEFAULT: Self = Self(0);
}

impl Tiers {
    /// Tiers under the name `name`, with one tier so far: it is called `default`, and runs
    /// `algorithm`.
    ///
    /// # Errors
    ///
    /// If the algorithm's numbers or the name are invalid.
    pub fn new<A>(name: &str, algorithm: A) -> Result<Self, ConfigError>
    where
        A: TryInto<Algorithm, Error: Into<ConfigError>>,
    {
        let names = HashMap::from([(DEFAULT.into(), Tier::DEFAULT)]);
        Ok(Self::from_parts(vec![Policy::new(name, algorithm)?], names))
    }

    fn from_parts(policies: Vec<Policy>, names: HashMap<Box<str>, Tier>) -> Self {
        Self(Arc::new(Inner {
            lineage: Lineage::new(policies[Tier::DEFAULT.0].clone()),
            names: Mutex::new(names),
            policies: ArcSwap::from_pointee(policies),
            listeners: Listeners::default(),
        }))
    }

    /// The same tiers, with another rule for spent permits when their numbers change. They are tiers
    /// of their own: earlier clones do not change with them.
    #[must_use]
    pub fn with_carry_over(self, carry_over: CarryOver) -> Self {
        let names = self.names();
        let policies = self.0.policies.load();
        let policies = policies.iter().cloned().map(|policy| policy.with_carry_over(carry_over));
        Self::from_parts(policies.collect(), names.clone())
    }

    /// The same tiers, whose keys may owe `debt_max` permits, see [`Policy::with_debt_max`]; also those of
    /// tiers that are added. They are tiers of their own: earlier clones do not change with them.
    ///
    /// # Errors
    ///
    /// As [`Policy::with_debt_max`], of any tier.
    pub fn with_debt_max(self, debt_max: u64) -> Result<Self, ConfigError> {
        let names = self.names();
        let policies = self.0.policies.load();
        let policies = policies.iter().cloned().map(|policy| policy.with_debt_max(debt_max));
        Ok(Self::from_parts(policies.collect::<Result<_, _>>()?, names.clone()))
    }

    /// Adds a tier called `tier`, which runs `algorithm`.
    ///
    /// # Errors
    ///
    /// If there is one of that name, and as [`update`](Self::update).
    pub fn add<A>(&self, tier: &str, algorithm: A) -> Result<Tier, ConfigError>
    where
        A: TryInto<Algorithm, Error: Into<ConfigError>>,
    {
        let policy = self.0.lineage.successor(algorithm, self.debt_max())?;
        let mut names = self.names();
        let Entry::Vacant(name) = names.entry(tier.into()) else {
            return Err(ConfigError::DuplicateTier);
        };
        let mut policies = Vec::clone(&self.0.policies.load());
        let tier = *name.insert(Tier(policies.len()));
        policies.push(policy);
        self.0.policies.store(Arc::new(policies));
        Ok(tier)
    }

    /// Gives `tier` other numbers. The next check of any of its keys sees them.
    ///
    /// # Errors
    ///
    /// If the numbers are invalid; if the algorithm is not the default tier's and keys do not
    /// start anew; if the scope of an adaptive hybrid's load sensor is another one; if there is no
    /// such tier. Then all stays as it is.
    pub fn update<A>(&self, tier: Tier, algorithm: A) -> Result<(), ConfigError>
    where
        A: TryInto<Algorithm, Error: Into<ConfigError>>,
    {
        let policy = self.0.lineage.successor(algorithm, self.debt_max())?;
        let _names = self.names();
        let mut policies = Vec::clone(&self.0.policies.load());
        *policies.get_mut(tier.0).ok_or(ConfigError::UnknownTier)? = policy;
        self.0.policies.store(Arc::new(policies));
        self.0.listeners.wake();
        Ok(())
    }

    /// The tier called `tier`: for code that assigns a tier to a key, not for each check.
    ///
    /// # Errors
    ///
    /// [`ConfigError::UnknownTier`] if there is none.
    pub fn tier(&self, tier: &str) -> Result<Tier, ConfigError> {
        self.names().get(tier).copied().ok_or(ConfigError::UnknownTier)
    }

    /// These tiers, where `choose` finds the tier of a key.
    ///
    /// Behind a layer of `ratelimit-http` the key is the bytes of a `RequestKey`, and so no text;
    /// a tier that depends on the request is simpler to find by the layer's `tier_by`.
    pub fn by_key<F: Fn(&[u8]) -> Tier + Send + Sync>(&self, choose: F) -> TierByKey<F> {
        TierByKey { tiers: self.clone(), choose }
    }

    /// These tiers, with every key in `tier`: for a limiter whose caller sets the tier of each key
    /// by [`Limiter::in_tier`](crate::Limiter::in_tier).
    pub fn in_tier(&self, tier: Tier) -> InTier {
        InTier { tiers: self.clone(), tier }
    }

    /// The same for all tiers.
    fn debt_max(&self) -> u64 {
        self.0.policies.load()[Tier::DEFAULT.0].debt_max()
    }

    fn policy(&self, Tier(index): Tier) -> Cow<'static, Policy> {
        let policies = self.0.policies.load();
        Cow::Owned(policies.get(index).unwrap_or(&policies[Tier::DEFAULT.0]).clone())
    }

    fn claim(&self, names: &Names) -> Result<Claim, ConfigError> {
        names.claim_for(self.0.lineage.name(), &self.0)
    }

    fn try_each(&self, visit: &mut Visit<'_>) -> Result<(), ConfigError> {
        self.0.policies.load().iter().try_for_each(visit)
    }

    /// A poisoned lock is fine: nothing is ever half changed.
    fn names(&self) -> MutexGuard<'_, HashMap<Box<str>, Tier>> {
        self.0.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const DEFAULT: &str = "default";

/// [`Tiers`], with a function that finds the tier of a key; made by [`Tiers::by_key`].
#[must_use = "tiers do nothing unless keys are checked against them"]
#[derive(Clone)]
pub struct TierByKey<F> {
    tiers: Tiers,
    choose: F,
}

impl<F: Fn(&[u8]) -> Tier + Send + Sync> Policies for TierByKey<F> {
    fn name(&self) -> &str {
        self.tiers.0.lineage.name()
    }

    fn policy(&self, key: &[u8]) -> Cow<'_, Policy> {
        self.tiers.policy((self.choose)(key))
    }

    fn claim(&self, names: &Names) -> Result<Claim, ConfigError> {
        self.tiers.claim(names)
    }

    fn try_each(&self, visit: &mut Visit<'_>) -> Result<(), ConfigError> {
        self.tiers.try_each(visit)
    }

    fn on_change(&self, waiters: Waiters) {
        self.tiers.0.listeners.add(waiters);
    }
}

impl<F> fmt::Debug for TierByKey<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TierByKey").field(&self.tiers).finish()
    }
}

/// [`Tiers`], where every key is in the same one; made by [`Tiers::in_tier`].
#[must_use = "tiers do nothing unless keys are checked against them"]
#[derive(Clone, Debug)]
pub struct InTier {
    tiers: Tiers,
    tier: Tier,
}

impl InTier {
    pub(crate) fn but(&self, tier: Tier) -> Self {
        self.tiers.in_tier(tier)
    }
}

impl Policies for InTier {
    fn name(&self) -> &str {
        self.tiers.0.lineage.name()
    }

    fn policy(&self, _: &[u8]) -> Cow<'_, Policy> {
        self.tiers.policy(self.tier)
    }

    fn claim(&self, names: &Names) -> Result<Claim, ConfigError> {
        self.tiers.claim(names)
    }

    fn try_each(&self, visit: &mut Visit<'_>) -> Result<(), ConfigError> {
        self.tiers.try_each(visit)
    }

    fn on_change(&self, waiters: Waiters) {
        self.tiers.0.listeners.add(waiters);
    }
}
