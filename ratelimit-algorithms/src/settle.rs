//! The settlement of a charge: unused permits are given back, missing ones are charged.

use std::{
    borrow::Cow,
    cmp::Ordering,
    fmt,
    future::Future,
    iter::repeat_n,
    mem::take,
    pin::Pin,
    task::{Context, Poll},
};

use ratelimit_backend::{Backend, SyncBackend};
use ratelimit_core::{Action, Check, Decision, Policy, Receipt, Source};
use smallvec::{SmallVec, smallvec};

use crate::{
    Error,
    prepared::{Merged, PreparedCheck, batch},
    progress::Progress,
    request::{RefundInDrop, check},
    wait::WaitQueues,
};

/// The settlement of a [`Permit`](crate::Permit), or of [`Permits`](crate::Permits): awaited, or made with
/// [`now`](Self::now).
#[must_use = "nothing is settled unless this is awaited, or made with `now`"]
pub struct Settle<'a, B> {
    /// Until it is polled.
    charge: Option<Charge<'a, B>>,
    actual: SmallVec<[u64; 1]>,
    progress: Progress<'a, Result<(), Error>>,
}

impl<'a, B> Settle<'a, B> {
    pub(crate) fn new(charge: Charge<'a, B>, actual: SmallVec<[u64; 1]>) -> Self {
        Self { charge: Some(charge), actual, progress: Progress::New }
    }
}

impl<B: Backend> Settle<'_, B> {
    /// Settles on the calling thread. On a store that has to be awaited this does not compile.
    ///
    /// # Errors
    ///
    /// As awaiting the settlement.
    pub fn now(mut self) -> Result<(), Error>
    where
        B: SyncBackend,
    {
        let Some(mut charge) = self.charge.take() else { return Ok(()) };
        charge.refunds_on_drop = false;
        let settlement = charge.settlement(self.actual.iter().copied())?;
        for action in SETTLING {
            if let checks @ [_, ..] = &*settlement.checks(action)? {
                charge.backend().apply_now(batch(checks), action)?;
            }
        }
        settlement.wake();
        Ok(())
    }
}

/// Fails when the store did not do it, or may not have done it; missing permits are charged first.
impl<B: Backend> Future for Settle<'_, B> {
    type Output = Result<(), Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { charge, actual, progress } = &mut *self;
        progress.poll(context, || settle(charge.take(), take(actual)))
    }
}

async fn settle<B: Backend>(
    charge: Option<Charge<'_, B>>,
    actual: SmallVec<[u64; 1]>,
) -> Result<(), Error> {
    let Some(mut charge) = charge else { return Ok(()) };
    charge.refunds_on_drop = false;
    let settlement = charge.settlement(actual.iter().copied())?;
    for action in SETTLING {
        if let checks @ [_, ..] = &*settlement.checks(action)? {
            charge.backend().apply(batch(checks), action).await?;
        }
    }
    settlement.wake();
    Ok(())
}

/// Charges come first: if the refund fails, too little was given back, and not too much.
const SETTLING: [Action; 2] = [Action::Penalize, Action::Refund];

impl<B> fmt::Debug for Settle<'_, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settle").field("actual", &self.actual).finish_non_exhaustive()
    }
}

/// A charge of one limit or of several that is not settled yet.
pub(crate) struct Charge<'a, B> {
    pub(crate) parts: Parts<'a, B>,
    pub(crate) refunds_on_drop: bool,
    refund: RefundInDrop<B>,
}

/// The checks of a charge, each with its decision.
type Parts<'a, B> = SmallVec<[(PreparedCheck<'a, B>, Decision); 1]>;

impl<'a, B> Charge<'a, B> {
    pub(crate) const fn new(parts: Parts<'a, B>, refund: RefundInDrop<B>) -> Self {
        Self { parts, refunds_on_drop: false, refund }
    }

    fn backend(&self) -> &'a B {
        self.parts[0].0.backend
    }

    /// The corrections that make the charge `actual`, a cost for each part.
    fn settlement(&self, actual: impl IntoIterator<Item = u64>) -> Result<Settlement<'_>, Error> {
        let mut merged = Merged::default();
        merged.fill(self.parts.iter().map(|(check, _)| check))?;
        let mut costs: SmallVec<[u64; 1]> = smallvec![0; merged.checks.len()];
        let mut actual = actual.into_iter();
        for (index, (check, _)) in self.parts.iter().enumerate() {
            let cost = actual.next().unwrap_or(check.cost);
            let costs = &mut costs[merged.position(index)];
            *costs = costs.saturating_add(cost);
        }
        let first_about =
            |position| (0..self.parts.len()).find(|&index| merged.position(index) == position);
        let part = |(position, (check, actual)): (usize, (&Check<'_>, u64))| {
            let (prepared, decision) = &self.parts[first_about(position)?];
            let policy = prepared.policies.policy(prepared.key);
            let charged = check.cost().get();
            let (cost, action) = correction(decision, (check.policy(), &policy), charged, actual)?;
            let (queues, key) = (prepared.queues, prepared.key);
            let receipt = Receipt::of(decision, check.policy(), charged);
            Some(Correction { policy, queues, key, cost, receipt, action })
        };
        Ok(Settlement(merged.checks.iter().zip(costs).enumerate().filter_map(part).collect()))
    }
}

impl<B> Drop for Charge<'_, B> {
    fn drop(&mut self) {
        if self.refunds_on_drop
            && let Ok(settlement) = self.settlement(repeat_n(0, self.parts.len()))
            && let Ok(checks) = settlement.checks(Action::Refund)
            && !checks.is_empty()
        {
            (self.refund)(self.backend(), batch(&checks));
            settlement.wake();
        }
    }
}

/// The corrections of a charge, each under the policy that its key has by now.
struct Settlement<'a>(SmallVec<[Correction<'a>; 1]>);

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
    fn checks(&self, action: Action) -> Result<SmallVec<[Check<'_>; 1]>, Error> {
        self.0.iter().filter(|part| part.action == action).map(Correction::check).collect()
    }

    /// Wakes those that wait for what was given back.
    fn wake(&self) {
        let refunded = self.0.iter().filter(|part| part.action == Action::Refund);
        refunded.for_each(|part| part.queues.wake(part.key));
    }
}

impl Correction<'_> {
    fn check(&self) -> Result<Check<'_>, Error> {
        let check = check(&self.policy, self.key, self.cost)?;
        Ok(check.with_receipt(Some(self.receipt)))
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
    if decision.source() != Source::Store {
        return None;
    }
    match actual.cmp(&charged) {
        Ordering::Equal => None,
        Ordering::Less => (before == now).then_some((charged - actual, Action::Refund)),
        Ordering::Greater => Some(((actual - charged).min(now.limit()), Action::Penalize)),
    }
}
