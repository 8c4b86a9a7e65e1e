//! A charge: what a permit has been charged, to be settled, or given back by a drop.

use std::{borrow::Cow, cmp::Ordering, mem::take, sync::Arc};

use ratelimit_backend::Backend;
use ratelimit_core::{Action, Batch, Check, Decision, Policy, Receipt, store::Decisions};
use smallvec::{SmallVec, smallvec};

use crate::{
    Error, Policies,
    policies::SharedPolicies,
    prepared::{ApplyIfReady, Checks, Merged, PreparedCheck, batch},
    request::{check, penalty},
    wait::WaitQueues,
};

/// A charge of one limit or of several that is not settled yet.
pub(crate) struct Charge<'a, B> {
    parts: SmallVec<[Part<'a, B>; 1]>,
    on_drop: OnDrop,
    /// Refunds it when it is dropped, in the way in which it was acquired.
    apply: ApplyIfReady<B>,
    /// The same on a store that has to be awaited.
    apply_unawaited: fn(&B, Batch<'_>, Action) -> bool,
}

/// The parts of a charge that a drop gives back.
#[derive(Clone, Copy, Default, Eq, PartialEq)]
enum OnDrop {
    /// None: it is settled.
    #[default]
    Nothing,
    /// The holds, since nobody is there to keep them.
    Held,
    All,
}

/// One limit's part of a charge.
struct Part<'a, B> {
    limiter: LimiterRef<'a, B>,
    /// The policy that has decided.
    policy: Cow<'a, Policy>,
    key: Cow<'a, [u8]>,
    cost: u64,
    decision: Decision,
}

/// As much of a limiter as a charge needs.
enum LimiterRef<'a, B> {
    Borrowed { backend: &'a B, policies: &'a dyn SharedPolicies, queues: &'a Arc<WaitQueues> },
    Owned { backend: B, policies: Arc<dyn Policies>, queues: Arc<WaitQueues> },
}

impl<'a, B> Part<'a, B> {
    fn new(check: PreparedCheck<'a, B>, decision: Decision) -> Self {
        let PreparedCheck { backend, policies, policy, queues, key, cost } = check;
        let limiter = LimiterRef::Borrowed { backend, policies, queues };
        Self { limiter, policy, key: Cow::Borrowed(key), cost, decision }
    }

    fn into_owned(self) -> Part<'static, B>
    where
        B: Clone,
    {
        let Self { limiter, policy, key, cost, decision } = self;
        let limiter = match limiter {
            LimiterRef::Borrowed { backend, policies, queues } => LimiterRef::Owned {
                backend: backend.clone(),
                policies: policies.share(),
                queues: Arc::clone(queues),
            },
            LimiterRef::Owned { backend, policies, queues } => {
                LimiterRef::Owned { backend, policies, queues }
            }
        };
        let (policy, key) = (Cow::Owned(policy.into_owned()), Cow::Owned(key.into_owned()));
        Part { limiter, policy, key, cost, decision }
    }

    fn check(&self) -> Result<Check<'_>, Error> {
        check(&self.policy, &self.key, self.cost)
    }

    /// The policy that the key has by now.
    fn policy_now(&self) -> Cow<'_, Policy> {
        match &self.limiter {
            LimiterRef::Borrowed { policies, .. } => policies.policy(&self.key),
            LimiterRef::Owned { policies, .. } => policies.policy(&self.key),
        }
    }

    /// Returns true if the store holds permits until they are given back.
    fn is_held(&self) -> bool {
        self.policy.algorithm().holds_permits() && self.decision.source().is_charged()
    }

    const fn backend(&self) -> &B {
        match &self.limiter {
            LimiterRef::Borrowed { backend, .. } => backend,
            LimiterRef::Owned { backend, .. } => backend,
        }
    }

    fn about_hold(&self, charged: u64, action: Action) -> Correction<'_> {
        let receipt = Receipt::of(&self.decision, &self.policy, charged);
        let (policy, queues, key) = (self.policy_that_holds(charged), self.queues(), &*self.key);
        Correction { policy, queues, key, cost: charged, receipt, action }
    }

    /// The policy to give `charged` permits back under that are held: the one that the key has by now,
    /// if that is of their algorithm, and not of a lower limit.
    fn policy_that_holds(&self, charged: u64) -> Cow<'_, Policy> {
        let now = self.policy_now();
        if now.algorithm().holds_permits() && charged <= now.limit() {
            now
        } else {
            Cow::Borrowed(&*self.policy)
        }
    }

    fn queues(&self) -> &WaitQueues {
        match &self.limiter {
            LimiterRef::Borrowed { queues, .. } => queues,
            LimiterRef::Owned { queues, .. } => queues,
        }
    }
}

impl<'a, B> Charge<'a, B> {
    /// The charge that `decisions` about `checks` have made.
    pub(crate) fn new(checks: Checks<'a, B>, decisions: &Decisions, apply: ApplyIfReady<B>) -> Self
    where
        B: Backend,
    {
        let parts = checks.into_iter().zip(decisions.iter());
        let parts = parts.map(|(check, decision)| Part::new(check, *decision)).collect();
        Self { parts, on_drop: OnDrop::Held, apply, apply_unawaited: B::apply_unawaited }
    }

    /// Gives all of it back when it is dropped.
    pub(crate) const fn refund_on_drop(&mut self) {
        self.on_drop = OnDrop::All;
    }

    /// Leaves it spent when it is dropped, but for what is held.
    pub(crate) const fn keep(&mut self) {
        self.on_drop = OnDrop::Held;
    }

    /// Leaves all of it as it is.
    pub(crate) fn forget(mut self) {
        self.on_drop = OnDrop::Nothing;
    }

    pub(crate) fn into_owned(mut self) -> Charge<'static, B>
    where
        B: Clone,
    {
        let on_drop = take(&mut self.on_drop);
        let parts = take(&mut self.parts).into_iter().map(Part::into_owned).collect();
        Charge { parts, on_drop, apply: self.apply, apply_unawaited: self.apply_unawaited }
    }

    /// Returns true if the store holds any of the permits.
    pub(crate) fn is_held(&self) -> bool {
        self.parts.iter().any(Part::is_held)
    }

    /// The decision of the first limit.
    pub(crate) fn decision(&self) -> &Decision {
        &self.parts[0].decision
    }

    pub(crate) fn backend(&self) -> &B {
        self.parts[0].backend()
    }

    /// The corrections that make the charge `actual`, a cost for each part.
    pub(crate) fn settlement(
        &self,
        actual: impl IntoIterator<Item = u64>,
    ) -> Result<Settlement<'_>, Error> {
        let mut merged = Merged::default();
        merged.fill(self.parts.iter().map(Part::check))?;
        let mut costs: SmallVec<[u64; 1]> = smallvec![0; merged.checks.len()];
        let mut actual = actual.into_iter();
        for (index, part) in self.parts.iter().enumerate() {
            let cost = actual.next().unwrap_or(part.cost);
            let costs = &mut costs[merged.position(index)];
            *costs = costs.saturating_add(cost);
        }
        let first_about =
            |position| (0..self.parts.len()).find(|&index| merged.position(index) == position);
        let part = |(position, (check, actual)): (usize, (&Check<'_>, u64))| {
            let part = &self.parts[first_about(position)?];
            let charged = check.cost().get();
            if part.is_held() {
                return Some(part.about_hold(charged, Action::Refund));
            }
            let policy = part.policy_now();
            let policies = (check.policy(), &*policy);
            let (cost, action) = correction(&part.decision, policies, charged, actual)?;
            let (queues, key) = (part.queues(), &*part.key);
            let receipt = Receipt::of(&part.decision, check.policy(), charged);
            Some(Correction { policy, queues, key, cost, receipt, action })
        };
        Ok(Settlement(merged.checks.iter().zip(costs).enumerate().filter_map(part).collect()))
    }

    /// The holds, to be extended.
    pub(crate) fn extension(&self) -> Result<Settlement<'_>, Error> {
        let mut merged = Merged::default();
        merged.fill(self.parts.iter().map(Part::check))?;
        let part = |(position, check): (usize, &Check<'_>)| {
            let index = (0..self.parts.len()).find(|&index| merged.position(index) == position)?;
            let part = Some(&self.parts[index]).filter(|part| part.is_held())?;
            Some(part.about_hold(check.cost().get(), Action::Extend))
        };
        Ok(Settlement(merged.checks.iter().enumerate().filter_map(part).collect()))
    }
}

impl<B> Drop for Charge<'_, B> {
    fn drop(&mut self) {
        let gives_back = match self.on_drop {
            OnDrop::Nothing => false,
            OnDrop::Held => self.is_held(),
            OnDrop::All => true,
        };
        let is_kept = |part: &Part<'_, B>| if self.on_drop == OnDrop::All { 0 } else { part.cost };
        if gives_back
            && let Ok(settlement) = self.settlement(self.parts.iter().map(is_kept))
            && let Ok(checks) = settlement.checks(Action::Refund)
            && !checks.is_empty()
        {
            // Nobody is there to see an error, and nothing can be awaited.
            if (self.apply)(self.backend(), batch(&checks), Action::Refund).is_none() {
                (self.apply_unawaited)(self.backend(), batch(&checks), Action::Refund);
            }
            settlement.wake();
        }
    }
}

/// The corrections of a charge, each under the policy that its key has by now.
pub(crate) struct Settlement<'a>(SmallVec<[Correction<'a>; 1]>);

struct Correction<'a> {
    policy: Cow<'a, Policy>,
    queues: &'a WaitQueues,
    key: &'a [u8],
    cost: u64,
    receipt: Receipt,
    action: Action,
}

impl Settlement<'_> {
    /// The checks of the keys that need this action.
    pub(crate) fn checks(&self, action: Action) -> Result<SmallVec<[Check<'_>; 1]>, Error> {
        self.0.iter().filter(|part| part.action == action).map(Correction::check).collect()
    }

    /// Wakes those that wait for what was given back.
    pub(crate) fn wake(&self) {
        let refunded = self.0.iter().filter(|part| part.action == Action::Refund);
        refunded.for_each(|part| part.queues.wake(part.key));
    }
}

impl Correction<'_> {
    fn check(&self) -> Result<Check<'_>, Error> {
        match self.action {
            Action::Penalize => penalty(&self.policy, self.key, self.cost),
            _ => {
                let check = check(&self.policy, self.key, self.cost)?;
                Ok(check.with_receipt(Some(self.receipt)))
            }
        }
    }
}

/// The cost and action that make a charge of `charged` one of `actual`, now that the key has the
/// second of two policies. `None` if the charge is right already, if the store charged nothing, or
/// if a receipt of another policy would give something back.
fn correction(
    decision: &Decision,
    (before, now): (&Policy, &Policy),
    charged: u64,
    actual: u64,
) -> Option<(u64, Action)> {
    if !decision.source().is_charged() {
        return None;
    }
    // A hold keeps the numbers that it was made under.
    let is_same = before.algorithm() == now.algorithm();
    let is_refundable = is_same || now.algorithm().holds_permits();
    match actual.cmp(&charged) {
        Ordering::Equal => None,
        Ordering::Less => is_refundable.then_some((charged - actual, Action::Refund)),
        Ordering::Greater => {
            let most = now.limit().saturating_add(now.debt_max());
            Some(((actual - charged).min(most), Action::Penalize))
        }
    }
}
