//! A policy: an algorithm with its numbers, under a name.

use alloc::{boxed::Box, sync::Arc};
use core::fmt;

use crate::{
    Algorithm, CarryOver, ConfigError, Cost, CostError, Decision, Detail, Fraction, LIMIT_MAX,
    Micros, Timestamp, UNLIMITED,
    algorithm::{definition::Definition, with_quota},
    number::hash,
};

/// An algorithm with its numbers, under a name. Cheap to clone.
///
/// In a store the name and a key together say whose state it is: two policies that should not
/// share state need two names.
#[derive(Clone, Debug, Eq)]
pub struct Policy(Arc<Inner>);

#[derive(Clone, Debug, Eq, PartialEq)]
struct Inner {
    name: Box<str>,
    algorithm: Algorithm,
    carry_over: CarryOver,
    debt_max: u64,
    /// [`Algorithm::limit`], which every check asks for.
    limit: u64,
    cost_max: u64,
    name_hash: u64,
    numbers_hash: u64,
}

impl Policy {
    /// A policy called `name`: 1 to 64 characters of `a-z`, `0-9`, `_`, `.` and `-`.
    ///
    /// # Errors
    ///
    /// [`ConfigError::BadName`] for any other name; if the algorithm's numbers are invalid.
    pub fn new<A>(name: &str, algorithm: A) -> Result<Self, ConfigError>
    where
        A: TryInto<Algorithm, Error: Into<ConfigError>>,
    {
        let is_fit = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.' | b'-');
        if name.is_empty() || NAME_MAX < name.len() || !name.bytes().all(is_fit) {
            return Err(ConfigError::BadName);
        }
        let algorithm = algorithm.try_into().map_err(Into::into)?;
        let (limit, cost_max) = (algorithm.limit(), cost_max(&algorithm));
        let (name_hash, numbers_hash) = (hash(name.bytes()), hash_numbers(&algorithm));
        let (name, carry_over) = (name.into(), CarryOver::AsIs);
        let debt_max = 0;
        let inner = Inner {
            name,
            algorithm,
            carry_over,
            debt_max,
            limit,
            cost_max,
            name_hash,
            numbers_hash,
        };
        Ok(Self(Arc::new(inner)))
    }

    /// The same policy with another rule for states written under other numbers.
    #[must_use]
    pub fn with_carry_over(self, carry_over: CarryOver) -> Self {
        Self(Arc::new(Inner { carry_over, ..(*self.0).clone() }))
    }

    /// The same policy, under which a penalty may charge more than a key has left: up to `debt_max`
    /// permits, which the key then owes. By default no key may owe, and a penalty charges only the
    /// permits that are left.
    ///
    /// A key that owes permits is denied until they are paid back, at the rate at which they would
    /// have been admitted; a denial tells when, to the microsecond. Then its state is as if each of
    /// them had been spent as soon as it fitted. A refund pays back debt first. So over any stretch
    /// of time the permits that are used, and not given back, exceed those that the limit admits by
    /// at most `debt_max`.
    ///
    /// A change of numbers carries a debt over as permits, or as the same share of the limit
    /// ([`CarryOver::Proportional`]). It ends if the new numbers allow no debt. A debt under a
    /// [`Calendar`](crate::Calendar) also ends under numbers without that calendar, since a store
    /// does not keep its boundaries. A change of `debt_max` alone leaves a debt as it is.
    ///
    /// While a key of a sliding window log owes permits, a check takes time in proportion to the entries.
    ///
    /// # Errors
    ///
    /// [`ConfigError::NoDebt`] of an adaptive hybrid, of permits in flight, and of a calendar with a single
    /// boundary.
    /// [`ConfigError::LimitTooLarge`] if `debt_max` is more than [`LIMIT_MAX`], or than can be paid back in
    /// [`WINDOW_MAX`](crate::WINDOW_MAX). A limit of nothing or of everything takes any, and never owes.
    pub fn with_debt_max(self, debt_max: u64) -> Result<Self, ConfigError> {
        let max = if self.is_bounded() { self.algorithm().debt_max() } else { LIMIT_MAX };
        if 0 < debt_max && max == 0 {
            return Err(ConfigError::NoDebt { algorithm: self.algorithm().name() });
        }
        if max < debt_max {
            return Err(ConfigError::LimitTooLarge { field: "debt_max", max });
        }
        Ok(Self(Arc::new(Inner { debt_max, ..(*self.0).clone() })))
    }

    /// The name.
    #[must_use]
    #[inline]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Equal for equal names; for tables, which mix it with a seed. Names come from the
    /// application, so nobody else picks them to collide.
    #[must_use]
    #[inline]
    pub fn name_hash(&self) -> u64 {
        self.0.name_hash
    }

    /// Returns true if both have one name, so that their keys share state.
    #[must_use]
    #[inline]
    pub fn shares_name(&self, other: &Self) -> bool {
        self.is(other) || self.has_same_name(other)
    }

    /// Away from the common case, which is of one policy and its clones.
    #[cold]
    fn has_same_name(&self, other: &Self) -> bool {
        self.name_hash() == other.name_hash() && self.name() == other.name()
    }

    /// The algorithm and its numbers.
    #[must_use]
    #[inline]
    pub fn algorithm(&self) -> &Algorithm {
        &self.0.algorithm
    }

    /// The rule for states that were written under other numbers.
    #[must_use]
    pub fn carry_over(&self) -> CarryOver {
        self.0.carry_over
    }

    /// The most permits that a key may owe.
    #[must_use]
    pub fn debt_max(&self) -> u64 {
        self.0.debt_max
    }

    /// The most permits that a key as good as new has: zero where nothing is admitted, [`UNLIMITED`]
    /// where everything is.
    #[must_use]
    #[inline]
    pub fn limit(&self) -> u64 {
        self.0.limit
    }

    /// Returns true unless the limit admits nothing or everything.
    #[must_use]
    pub fn is_bounded(&self) -> bool {
        0 < self.limit() && self.limit() < UNLIMITED
    }

    /// A cost that this policy can admit.
    ///
    /// # Errors
    ///
    /// If `cost` is zero, or more than [`limit`](Self::limit): no wait could ever satisfy it. A policy
    /// that admits nothing takes any cost up to [`LIMIT_MAX`], to deny it, and an unlimited one too.
    #[inline]
    pub fn cost(&self, cost: u64) -> Result<Cost, CostError> {
        let max = self.0.cost_max;
        match Cost::new(cost) {
            Some(fit) if cost <= max => Ok(fit),
            Some(_) => Err(CostError::ExceedsLimit { cost, max }),
            None => Err(CostError::Zero),
        }
    }

    /// The time in which a key that has spent everything is whole again, if nobody spends (the
    /// IETF draft's `w`). `None` if windows differ, see [`window_at`](Self::window_at), or if there is
    /// no such time.
    #[must_use]
    pub fn window(&self) -> Option<Micros> {
        with_quota!(self.algorithm(), quota => quota.size().window)
    }

    /// The same at `now`: of a [`Calendar`](crate::Calendar), the length of the window around it.
    #[must_use]
    pub fn window_at(&self, now: Timestamp) -> Option<Micros> {
        with_quota!(self.algorithm(), quota => quota.window_at(now))
    }

    /// The permits per microsecond that are admitted in the long run.
    #[must_use]
    pub fn rate(&self) -> Fraction {
        with_quota!(self.algorithm(), quota => quota.size().rate)
    }

    /// The time from a decision of this policy until the key has one permit more, if the algorithm
    /// tells, else until it is as good as new; never later than a denied request is told to retry,
    /// and never before a block is over, or a debt paid back.
    #[must_use]
    pub fn until_more(&self, decision: &Decision) -> Micros {
        let until_more = with_quota!(self.algorithm(), quota => seen_by(quota, self, decision)
            .map_or(decision.reset_after, |seen| quota.until_more(seen, decision)));
        let is_known = !decision.is_blocked() && !decision.is_in_debt();
        let until_more = if is_known { until_more } else { Micros::MAX };
        let until_more = until_more.min(decision.reset_after);
        if decision.is_allowed() { until_more } else { until_more.min(decision.retry_after()) }
    }

    /// The level and count of a receipt for a charge of this policy.
    pub(crate) fn receipt(&self, decision: &Decision) -> [u64; 2] {
        with_quota!(self.algorithm(), quota => seen_by(quota, self, decision)
            .map_or([0, 0], |seen| quota.receipt(seen)))
    }

    /// Equal for policies whose receipts are good for each other: of equal numbers, or of one name
    /// where receipts name charges.
    pub(crate) fn receipt_scope(&self) -> u64 {
        if self.algorithm().holds_permits() { self.name_hash() } else { self.0.numbers_hash }
    }

    /// Returns true if both are clones of one policy.
    #[must_use]
    #[inline]
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// The same name over other numbers.
    pub(crate) fn with_algorithm(&self, algorithm: Algorithm) -> Self {
        let (limit, cost_max) = (algorithm.limit(), cost_max(&algorithm));
        let numbers_hash = hash_numbers(&algorithm);
        let inner = Inner { algorithm, limit, cost_max, numbers_hash, ..(*self.0).clone() };
        Self(Arc::new(inner))
    }
}

impl Decision {
    /// The numbers that the algorithm decided by. `None` if `policy` has another algorithm, or
    /// another limit, than the decision was made under.
    ///
    /// They are worked out here and now, from the numbers of `policy`.
    #[must_use]
    pub fn detail(&self, policy: &Policy) -> Option<Detail> {
        with_quota!(policy.algorithm(), quota => seen_by(quota, policy, self)
            .map(|seen| quota.detail(seen, self.at).into()))
    }
}

/// The two quantities that an algorithm has seen, if it has made the decision. (A limit that stands
/// in for another one may have other numbers.)
fn seen_by<A: Definition>(_: &A, policy: &Policy, decision: &Decision) -> Option<[u64; 2]> {
    decision.seen_by(A::KIND).filter(|_| decision.limit == policy.limit())
}

fn hash_numbers(algorithm: &Algorithm) -> u64 {
    let numbers = algorithm.numbers().into_iter().flat_map(u64::to_le_bytes);
    hash(core::iter::once(algorithm.kind()).chain(numbers))
}

/// The largest cost that is decided about.
fn cost_max(algorithm: &Algorithm) -> u64 {
    match algorithm.limit() {
        0 | UNLIMITED => LIMIT_MAX,
        limit => limit,
    }
}

/// The longest name, in bytes.
const NAME_MAX: usize = 64;

/// Clones of one policy are equal at a glance.
impl PartialEq for Policy {
    fn eq(&self, other: &Self) -> bool {
        self.is(other) || self.0 == other.0
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name(), self.algorithm().name())
    }
}
