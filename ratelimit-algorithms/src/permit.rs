//! Permits, as values to hold while the work is done: unused ones are given back.

use std::{
    borrow::Cow,
    cmp::Ordering,
    fmt,
    future::Future,
    iter::repeat_n,
    pin::Pin,
    task::{Context, Poll},
};

use ratelimit_backend::{Backend, SyncBackend};
use ratelimit_core::{Action, Check, Decision, Policy, Receipt, Source};
use smallvec::{SmallVec, smallvec};

use crate::{
    AcquireError, Error, Policies,
    decision::LimitsDecision,
    prepared::{Merged, PreparedCheck, batch},
    progress::Progress,
    request::{FromDecision, RefundInDrop, Subject, check},
};

/// Permits that a key has spent, as a value to hold while the work is done.
///
/// Dropped, they stay spent, unless [`refund_on_drop`](Self::refund_on_drop) says otherwise. If
/// the cost is known only afterwards, acquire an estimate and [`settle`](Self::settle) it.
///
/// A refund gives back what is left of this very charge: after its window has gone that is
/// nothing, so a late refund never makes room that was not there. Nothing is given back if the
/// key's policy has changed meanwhile, since what is left was worked out at the old rate. If
/// something other than the store has decided ([`Source`]), there is nothing to settle.
///
/// ```
/// use ratelimit_algorithms::{FixedWindow, Limiter};
/// use ratelimit_memory::Memory;
///
/// # fn ask_the_model() -> u64 { 412 }
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let tokens = Limiter::new(Memory::new(), "tokens", FixedWindow::per_minute(10_000))?;
///
/// let permit = tokens.acquire("user:42").cost(1_000).now()?;
/// let used = ask_the_model();
/// permit.settle(used).now()?;
///
/// assert_eq!(tokens.peek("user:42").now()?.remaining, 10_000 - 412);
/// # Ok(())
/// # }
/// ```
#[must_use = "permits that are dropped stay spent"]
pub struct Permit<'a, B>(Charge<'a, B>);

impl<'a, B> Permit<'a, B> {
    /// The permits that `decision` about `check` has spent.
    pub(crate) fn new(
        check: PreparedCheck<'a, B>,
        decision: Decision,
        refund: RefundInDrop<B>,
    ) -> Result<Self, AcquireError> {
        if !decision.is_allowed() {
            return Err(AcquireError::Denied(decision));
        }
        Ok(Self(Charge { parts: smallvec![(check, decision)], refunds_on_drop: false, refund }))
    }

    /// The decision of the limiter.
    pub fn decision(&self) -> &Decision {
        &self.0.parts[0].1
    }

    /// Gives the permits back when this is dropped before it is settled: for work that counts only
    /// if it ends well. Call [`keep`](Self::keep) when it has.
    ///
    /// Permits that were awaited are given back only on stores that answer at once; on others they
    /// stay spent, since nothing can be awaited in a drop.
    pub fn refund_on_drop(mut self) -> Self {
        self.0.refunds_on_drop = true;
        self
    }

    /// Leaves the permits spent.
    pub fn keep(mut self) {
        self.0.refunds_on_drop = false;
    }

    /// Makes the work have cost `actual`: gives the rest back, or charges what is missing, as far
    /// as the key has it left.
    pub fn settle(self, actual: u64) -> Settle<'a, B> {
        Settle::new(self.0, smallvec![actual])
    }

    /// Gives all of them back.
    pub fn refund(self) -> Settle<'a, B> {
        self.settle(0)
    }
}

impl<'a, B, P: Policies> FromDecision<'a, B, P> for Permit<'a, B> {
    type Error = AcquireError;

    fn from_decision(
        subject: Subject<'a, B, P>,
        policy: Cow<'a, Policy>,
        decision: Result<Decision, Error>,
        refund: RefundInDrop<B>,
    ) -> Result<Self, AcquireError> {
        let Subject { backend, policies, key, cost } = subject;
        Self::new(PreparedCheck { backend, policies, policy, key, cost }, decision?, refund)
    }
}

/// Shows no key.
impl<B> fmt::Debug for Permit<'_, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (check, decision) = &self.0.parts[0];
        let mut shown = f.debug_struct("Permit");
        shown.field("cost", &check.cost).field("decision", decision).finish_non_exhaustive()
    }
}

/// Permits of several limits that were charged as one, as a value to hold while the work is done.
///
/// Dropped, they stay spent, unless [`refund_on_drop`](Self::refund_on_drop) says otherwise. A
/// refund gives back of each what a [`Permit`] would.
///
/// ```
/// use ratelimit_algorithms::{FixedWindow, Limiter, Limits, TokenBucket};
/// use ratelimit_memory::Memory;
///
/// # fn ask_the_model() -> u64 { 412 }
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = Memory::new();
/// let requests = Limiter::new(store.clone(), "requests", TokenBucket::per_minute(60))?;
/// let tokens = Limiter::new(store, "tokens", FixedWindow::per_minute(10_000))?;
///
/// let both = Limits::new(&requests, "user:42", 1).and(&tokens, "user:42", 1_000);
/// let permits = both.acquire().now()?;
/// let used = ask_the_model();
/// permits.settle([1, used]).now()?;
///
/// assert_eq!(tokens.peek("user:42").now()?.remaining, 10_000 - 412);
/// # Ok(())
/// # }
/// ```
#[must_use = "permits that are dropped stay spent"]
pub struct Permits<'a, B> {
    charge: Charge<'a, B>,
    decision: LimitsDecision,
}

impl<'a, B> Permits<'a, B> {
    /// The permits that `decision` about `checks` has spent.
    pub(crate) fn new(
        checks: Vec<PreparedCheck<'a, B>>,
        decision: LimitsDecision,
        refund: RefundInDrop<B>,
    ) -> Result<Self, AcquireError> {
        if !decision.is_allowed() {
            return Err(AcquireError::DeniedTogether(decision));
        }
        let parts = checks.into_iter().zip(decision.each().iter().copied()).collect();
        Ok(Self { charge: Charge { parts, refunds_on_drop: false, refund }, decision })
    }

    /// The decision of the limits.
    pub const fn decision(&self) -> &LimitsDecision {
        &self.decision
    }

    /// Gives the permits back when these are dropped before they are settled: for work that counts
    /// only if it ends well. Call [`keep`](Self::keep) when it has.
    ///
    /// Permits that were awaited are given back only on stores that answer at once; on others they
    /// stay spent, since nothing can be awaited in a drop.
    pub fn refund_on_drop(mut self) -> Self {
        self.charge.refunds_on_drop = true;
        self
    }

    /// Leaves the permits spent.
    pub fn keep(mut self) {
        self.charge.refunds_on_drop = false;
    }

    /// Makes the work have cost `actual`, a cost for each limit in the order in which they were
    /// named: charges what is missing, as far as the keys have it left, and gives the rest back.
    /// Limits for which there is no cost keep what they were charged.
    pub fn settle(self, actual: impl IntoIterator<Item = u64>) -> Settle<'a, B> {
        Settle::new(self.charge, actual.into_iter().collect())
    }

    /// Gives all of them back.
    pub fn refund(self) -> Settle<'a, B> {
        let limits = self.decision.each().len();
        self.settle(repeat_n(0, limits))
    }
}

/// Shows no key.
impl<B> fmt::Debug for Permits<'_, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permits").field("decision", &self.decision).finish_non_exhaustive()
    }
}

/// The settlement of a [`Permit`] or of [`Permits`]: awaited, or made with [`now`](Self::now).
#[must_use = "nothing is settled unless this is awaited, or made with `now`"]
pub struct Settle<'a, B> {
    /// Until it is polled.
    charge: Option<Charge<'a, B>>,
    actual: SmallVec<[u64; 1]>,
    progress: Progress<'a, Result<(), Error>>,
}

impl<'a, B> Settle<'a, B> {
    fn new(charge: Charge<'a, B>, actual: SmallVec<[u64; 1]>) -> Self {
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
        Ok(())
    }
}

/// Fails when the store did not do it, or may not have done it; missing permits are charged first.
impl<B: Backend> Future for Settle<'_, B> {
    type Output = Result<(), Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { charge, actual, progress } = &mut *self;
        progress.poll(context, || settle(charge.take(), std::mem::take(actual)))
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
    Ok(())
}

/// Charges come first: if the refund fails, too little was given back, and not too much.
const SETTLING: [Action; 2] = [Action::Penalize, Action::Refund];

impl<B> fmt::Debug for Settle<'_, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settle").field("actual", &self.actual).finish_non_exhaustive()
    }
}

/// What was charged as one, and has not been settled.
struct Charge<'a, B> {
    parts: SmallVec<[(PreparedCheck<'a, B>, Decision); 1]>,
    refunds_on_drop: bool,
    refund: RefundInDrop<B>,
}

impl<'a, B> Charge<'a, B> {
    fn backend(&self) -> &'a B {
        self.parts[0].0.backend
    }

    /// What has to be done so that the charge is `actual`, a cost for each part.
    fn settlement(&self, actual: impl IntoIterator<Item = u64>) -> Result<Settlement<'_>, Error> {
        let mut merged = Merged::default();
        merged.fill(self.parts.iter().map(|(check, _)| check))?;
        let mut costs = vec![0_u64; merged.checks.len()];
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
            let (key, receipt) = (prepared.key, Receipt::of(decision, check.policy(), charged));
            Some(Correction { policy, key, cost, receipt, action })
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
        }
    }
}

/// What has to be done to the keys of a charge, each under the policy that it has by now.
struct Settlement<'a>(SmallVec<[Correction<'a>; 1]>);

struct Correction<'a> {
    policy: Cow<'a, Policy>,
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
}

impl Correction<'_> {
    fn check(&self) -> Result<Check<'_>, Error> {
        let check = check(&self.policy, self.key, self.cost)?;
        Ok(check.with_receipt(Some(self.receipt)))
    }
}

/// What has to be done so that `decision`, which charged `charged`, has charged `actual`, now that
/// the key has the second of two policies. `None` if that is so already, if the store charged
/// nothing, or if a receipt of another policy would give something back.
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
