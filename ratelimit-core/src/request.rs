//! Requests to a store: a key, a policy and a cost, alone or in a batch.

use alloc::vec::Vec;
use core::fmt;

use crate::{Cost, CostError, Decision, KeyTooLong, Micros, Policy, Receipt, Timestamp};

/// The client, user or thing that is limited: bytes, taken as they are.
///
/// Its `Debug` shows the length only: keys are often secrets.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub struct Key<'a>(&'a [u8]);

impl<'a> Key<'a> {
    /// The longest key, in bytes.
    pub const BYTES_MAX: usize = 1 << 20;

    /// A key of these bytes, which may be empty.
    ///
    /// # Errors
    ///
    /// If there are more than [`Key::BYTES_MAX`] of them.
    pub fn new<B: AsRef<[u8]> + ?Sized>(bytes: &'a B) -> Result<Self, KeyTooLong> {
        let bytes = bytes.as_ref();
        if Self::BYTES_MAX < bytes.len() {
            return Err(KeyTooLong { max: Self::BYTES_MAX });
        }
        Ok(Self(bytes))
    }

    /// The bytes.
    #[must_use]
    pub const fn as_bytes(self) -> &'a [u8] {
        self.0
    }
}

impl fmt::Debug for Key<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({} bytes)", self.0.len())
    }
}

/// A check: may `key` spend `cost` under `policy`?
#[derive(Clone, Copy, Debug)]
pub struct Check<'a> {
    policy: &'a Policy,
    key: Key<'a>,
    cost: Cost,
    about: About,
}

/// The charge that a check is about, besides its cost.
#[derive(Clone, Copy, Debug)]
enum About {
    Cost,
    /// An earlier charge.
    Receipt(Receipt),
    /// Permits of a penalty beyond the largest cost.
    Excess(u64),
}

impl Receipt {
    /// The receipt for the `cost` that `decision` has charged under `policy`. Of a denial it gives
    /// nothing back.
    #[must_use]
    pub fn of(decision: &Decision, policy: &Policy, cost: u64) -> Self {
        let scope = if decision.is_allowed() { policy.receipt_scope() } else { NO_SCOPE };
        let [level, count] = policy.receipt(decision);
        Self { at: decision.at, cost, level, count, scope }
    }

    /// The receipt of the same charge, which `decision` has extended.
    #[must_use]
    pub const fn extended(self, decision: &Decision) -> Self {
        Self { at: decision.at, ..self }
    }

    /// The instant of the charge.
    #[must_use]
    pub const fn at(&self) -> Timestamp {
        self.at
    }
}

/// No policy has this one.
const NO_SCOPE: u64 = 0;

impl<'a> Check<'a> {
    /// A check of `cost` permits.
    ///
    /// # Errors
    ///
    /// If `policy` can never admit `cost`, see [`Policy::cost`].
    pub fn new(policy: &'a Policy, key: Key<'a>, cost: u64) -> Result<Self, CostError> {
        Ok(Self { policy, key, cost: policy.cost(cost)?, about: About::Cost })
    }

    /// A check for a penalty of `cost` permits, which may be more than a request could ever spend: by as
    /// much as [`Policy::debt_max`] lets a key owe. Only [`Action::Penalize`] looks at the rest.
    ///
    /// # Errors
    ///
    /// If `cost` is zero, or more than that.
    pub fn penalty(policy: &'a Policy, key: Key<'a>, cost: u64) -> Result<Self, CostError> {
        match policy.cost(cost) {
            Err(CostError::ExceedsLimit { max, .. }) => {
                let excess = cost.saturating_sub(max);
                if policy.debt_max() < excess {
                    let max = max.saturating_add(policy.debt_max());
                    return Err(CostError::ExceedsLimit { cost, max });
                }
                Ok(Self { about: About::Excess(excess), ..Self::new(policy, key, max)? })
            }
            cost => Ok(Self { policy, key, cost: cost?, about: About::Cost }),
        }
    }

    /// The same check, about one earlier charge if there is a receipt; only [`Action::Refund`] and
    /// [`Action::Extend`] look at it.
    #[must_use]
    pub const fn with_receipt(self, receipt: Option<Receipt>) -> Self {
        let about = match (receipt, self.about) {
            (Some(receipt), _) => About::Receipt(receipt),
            (None, About::Receipt(_)) => About::Cost,
            (None, about) => about,
        };
        Self { about, ..self }
    }

    /// The policy.
    #[must_use]
    pub const fn policy(&self) -> &'a Policy {
        self.policy
    }

    /// The key.
    #[must_use]
    pub const fn key(&self) -> Key<'a> {
        self.key
    }

    /// The cost.
    #[must_use]
    pub const fn cost(&self) -> Cost {
        self.cost
    }

    /// The charge that a refund or an extension is about, if it is about one charge.
    #[must_use]
    pub const fn receipt(&self) -> Option<Receipt> {
        match self.about {
            About::Receipt(receipt) => Some(receipt),
            _ => None,
        }
    }

    /// The permits that a penalty charges: the cost, or more of a [`penalty`](Self::penalty).
    #[must_use]
    pub const fn penalty_cost(&self) -> u64 {
        match self.about {
            About::Excess(excess) => self.cost.get().saturating_add(excess),
            _ => self.cost.get(),
        }
    }

    /// The place of the key's state.
    #[must_use]
    #[inline]
    pub const fn slot(&self) -> Slot<'a> {
        Slot { policy: self.policy, key: Some(self.key) }
    }

    /// The parts that are equal for all checks of one state. They are quick to compare, since names
    /// mostly differ, and then their hashes do.
    #[inline]
    fn place(&self) -> (u64, &'a str, &'a [u8]) {
        (self.policy.name_hash(), self.policy.name(), self.key.as_bytes())
    }

    /// Returns true if both are about the same state: policies of one name, and the same key.
    #[must_use]
    #[inline]
    pub fn is_about(&self, other: &Self) -> bool {
        self.place() == other.place()
    }
}

/// The action to apply to the checks of a batch.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Action {
    /// Charge all of them if every one admits, else none.
    Spend,
    /// Charge as much of each cost as one request would be admitted with: a spend of
    /// `min(cost, room)`, which [`Decision::charged`] tells. If the room of any check is 0, nothing is
    /// charged, and its `retry_after` is that of a spend of one permit.
    Take,
    /// Decide as a request at the same instant would be decided, and change nothing. A peek does
    /// not carry a key over to changed numbers.
    Peek,
    /// Give the costs back, never more than is charged now: newest charge first, or of the charge
    /// that a check has a [`Receipt`] of.
    Refund,
    /// Extend the charges that the checks have receipts of, as if they were made now. If one is no
    /// longer held, none is extended, and that one is denied, as a request for its cost would be.
    /// Only permits in flight are held; a charge of another algorithm is not denied, and stays as
    /// it is. Blocks are ignored, since nothing new is admitted.
    Extend,
    /// Forget the keys' states: they are as good as new.
    Reset,
    /// Charge without deciding: as much of each cost as one request would be admitted with; and of the
    /// rest, as much as the key may owe, see [`Policy::with_debt_max`].
    Penalize,
    /// Deny every request for this length, at most [`WINDOW_MAX`](crate::WINDOW_MAX); a block that
    /// lasts longer stays. Only a reset ends it earlier.
    Block(Micros),
}

impl Action {
    /// Returns true if it decides about requests for permits, which it may deny.
    #[must_use]
    pub const fn is_request(self) -> bool {
        matches!(self, Self::Spend | Self::Take | Self::Peek)
    }

    /// Returns true if it charges the requests that it admits.
    #[must_use]
    pub const fn spends(self) -> bool {
        matches!(self, Self::Spend | Self::Take)
    }

    /// Returns true if it may make a key known that the store knows nothing of.
    #[must_use]
    pub const fn makes_known(self) -> bool {
        matches!(self, Self::Spend | Self::Take | Self::Penalize | Self::Block(_))
    }
}

/// Checks that are decided as one: all are charged, or none.
///
/// No two are about the same policy name and key.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    checks: &'a [Check<'a>],
}

impl<'a> Batch<'a> {
    /// One check alone.
    #[must_use]
    pub const fn one(check: &'a Check<'a>) -> Self {
        Self { checks: core::slice::from_ref(check) }
    }

    /// Several checks, or `None` if two of them are about the same policy name and key: merge those
    /// into one check of the sum of their costs.
    #[must_use]
    pub fn new(checks: &'a [Check<'a>]) -> Option<Self> {
        let is_fit = have_names_apart(checks)
            || if checks.len() <= FEW { are_apart(checks) } else { are_many_apart(checks) };
        is_fit.then_some(Self { checks })
    }

    /// The checks.
    #[must_use]
    pub const fn checks(&self) -> &'a [Check<'a>] {
        self.checks
    }

    /// Returns true if no policy admits anything, so that `action` has the same outcome whatever is
    /// stored: [`apply`](crate::store::apply) tells it without the records.
    #[must_use]
    pub fn is_refused(&self, action: Action) -> bool {
        let is_about_limits = !matches!(action, Action::Reset | Action::Block(_));
        let admits_nothing = |check: &Check<'_>| check.policy.limit() == 0;
        is_about_limits && !self.checks.is_empty() && self.checks.iter().all(admits_nothing)
    }

    /// The states that the batch needs, each once: of every check, in order; then the shared load
    /// sensors, in order of their first use.
    pub fn slots(&self) -> impl Iterator<Item = Slot<'a>> + use<'a> {
        let keys = self.checks.iter().map(Check::slot);
        let sensors = self.sensors().into_iter();
        keys.chain(sensors.map(|policy| Slot { policy, key: None }))
    }

    /// The policies with a shared sensor, each name once.
    pub(crate) fn sensors(&self) -> Vec<&'a Policy> {
        let mut policies: Vec<&Policy> = Vec::new();
        for Check { policy, .. } in self.checks {
            let is_new = || policies.iter().all(|known| known.name() != policy.name());
            if policy.algorithm().shares_sensor() && is_new() {
                policies.push(policy);
            }
        }
        policies
    }
}

/// Returns true if no two of a few checks are of policies of one name, as far as one look at each can
/// tell: if no two names have the same few bits of their hashes.
#[inline]
fn have_names_apart(checks: &[Check<'_>]) -> bool {
    let mut seen = [0_u64; 8];
    checks.len() <= FEW
        && checks.iter().all(|check| {
            let [first, second, ..] = check.policy.name_hash().to_le_bytes();
            let (word, bit) = (&mut seen[usize::from(first & 7)], 1 << (second & 63));
            let is_new = *word & bit == 0;
            *word |= bit;
            is_new
        })
}

/// Returns true if no two checks are about the same state, by comparing each with all others.
#[cold]
fn are_apart(mut checks: &[Check<'_>]) -> bool {
    while let [first, others @ ..] = checks {
        if others.iter().any(|other| other.is_about(first)) {
            return false;
        }
        checks = others;
    }
    true
}

/// The same by sorting, in O(n log n).
#[cold]
fn are_many_apart(checks: &[Check<'_>]) -> bool {
    let mut sorted: Vec<_> = checks.iter().map(Check::place).collect();
    sorted.sort_unstable();
    sorted.iter().zip(&sorted[1..]).all(|(one, other)| one != other)
}

/// Checks that are compared with each other without an allocation.
const FEW: usize = 16;

/// A slot of a store: the place of one state.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Slot<'a> {
    /// The policy whose name is part of the place.
    pub policy: &'a Policy,
    /// The key of the state; `None` for the load sensor that all keys of the policy share.
    pub key: Option<Key<'a>>,
}
