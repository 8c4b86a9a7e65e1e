//! Checks that know the policy they will be decided by, and the batch that they make together.

use std::{borrow::Cow, fmt, mem::take, sync::Arc};

use ratelimit_backend::{Backend, BackendError, ErrorKind, SyncBackend};
use ratelimit_core::{Action, Batch, Check, Policy, store::Decisions};
use smallvec::SmallVec;

use crate::{
    Error, Policies,
    policies::SharedPolicies,
    request::{Subject, check_for},
    wait::WaitQueues,
};

/// A cost of a key, under the policy that the key had when the check was prepared.
#[must_use = "a prepared check does nothing unless it is made"]
pub struct PreparedCheck<'a, B> {
    pub(crate) backend: &'a B,
    /// Knows the policy that the key has by now.
    pub(crate) policies: &'a dyn SharedPolicies,
    pub(crate) policy: Cow<'a, Policy>,
    pub(crate) queues: &'a Arc<WaitQueues>,
    pub(crate) key: &'a [u8],
    pub(crate) cost: u64,
}

/// The checks of a request, of which there is at least one.
pub(crate) type Checks<'a, B> = SmallVec<[PreparedCheck<'a, B>; 1]>;

impl<'a, B, P: Policies + Clone + 'static> Subject<'a, B, P> {
    /// A check of `cost` permits, under the policy that the key has now.
    pub(crate) fn prepare(self, cost: u64) -> PreparedCheck<'a, B> {
        let Self { backend, policies, queues, key, .. } = self;
        PreparedCheck { backend, policies, policy: policies.policy(key), queues, key, cost }
    }
}

impl<B> PreparedCheck<'_, B> {
    #[inline(always)]
    fn as_check(&self, action: Action) -> Result<Check<'_>, Error> {
        check_for(action, &self.policy, self.key, self.cost)
    }

    /// Takes the policy that the key has now.
    pub(crate) fn renew(&mut self) {
        self.policy = self.policies.policy(self.key);
    }
}

/// Shows no key.
impl<B> fmt::Debug for PreparedCheck<'_, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { policy, cost, .. } = self;
        let mut shown = f.debug_struct("PreparedCheck");
        shown.field("policy", policy).field("cost", cost).finish_non_exhaustive()
    }
}

/// Applies an action to a batch; `None`, and nothing done, if the store has to be awaited.
pub(crate) type ApplyIfReady<B> =
    fn(&B, Batch<'_>, Action) -> Option<Result<Decisions, BackendError>>;

/// Applies an action on the calling thread.
#[inline(always)]
pub(crate) fn on_thread<B: SyncBackend>(
    backend: &B,
    batch: Batch<'_>,
    action: Action,
) -> Option<Result<Decisions, BackendError>> {
    Some(backend.apply_now(batch, action))
}

/// Applies an action if the store is ready.
#[inline(always)]
pub(crate) fn if_ready<B: Backend>(
    backend: &B,
    batch: Batch<'_>,
    action: Action,
) -> Option<Result<Decisions, BackendError>> {
    backend.apply_if_ready(batch, action)
}

/// Applies `action` to all checks as one by `apply`; returns a decision for each.
#[inline(always)]
pub(crate) fn apply_if_ready<B: Backend>(
    checks: &[PreparedCheck<'_, B>],
    action: Action,
    apply: ApplyIfReady<B>,
) -> Option<Result<Decisions, Error>> {
    let mut merged = Merged::default();
    let backend = match merged.fill_from(checks, action) {
        Ok(backend) => backend,
        Err(error) => return Some(Err(error)),
    };
    if let Some(batch) = Batch::new(&merged.checks) {
        return match apply(backend, batch, action)? {
            Ok(decisions) if decisions.len() == merged.checks.len() => Some(Ok(decisions)),
            Ok(_) => Some(Err(wrong_number())),
            Err(error) => Some(Err(error.into())),
        };
    }
    merged.apply_if_ready(backend, action, apply)
}

/// Applies `action` to all checks as one, and awaits the store.
pub(crate) async fn apply_awaited<B: Backend>(
    checks: &[PreparedCheck<'_, B>],
    action: Action,
) -> Result<Decisions, Error> {
    let mut merged = Merged::default();
    let backend = merged.fill_from(checks, action)?;
    merged.merge()?;
    let decisions = backend.apply(merged.batch(), action).await?;
    merged.spread(decisions)
}

/// Applies `action` to all checks as one by `apply`, or awaits the store if it has to be.
pub(crate) async fn apply<B: Backend>(
    checks: &[PreparedCheck<'_, B>],
    action: Action,
    apply: ApplyIfReady<B>,
) -> Result<Decisions, Error> {
    match apply_if_ready(checks, action, apply) {
        Some(decisions) => decisions,
        None => apply_awaited(checks, action).await,
    }
}

/// Checks as a store gets them: each policy and key once. It is filled where it lies, since it is
/// too large to be moved for nothing.
#[derive(Default)]
pub(crate) struct Merged<'a> {
    pub(crate) checks: SmallVec<[Check<'a>; FEW]>,
    /// The index in `checks` for each check that was merged; empty where all have their own.
    positions: Vec<usize>,
}

/// Checks that are merged without an allocation.
const FEW: usize = 16;

impl<'a> Merged<'a> {
    /// Takes checks, which have to be on one store, as they are; returns the store.
    #[inline(always)]
    fn fill_from<B: Backend>(
        &mut self,
        checks: &'a [PreparedCheck<'_, B>],
        action: Action,
    ) -> Result<&'a B, Error> {
        let store = checks[0].backend;
        for check in checks {
            if !std::ptr::eq(store, check.backend) && !check.backend.names().is(store.names()) {
                return Err(Error::DifferentStores);
            }
            self.checks.push(check.as_check(action)?);
        }
        Ok(store)
    }

    /// Takes checks, and merges them.
    pub(crate) fn fill(
        &mut self,
        checks: impl Iterator<Item = Result<Check<'a>, Error>>,
    ) -> Result<(), Error> {
        for check in checks {
            self.checks.push(check?);
        }
        self.merge()
    }

    /// Merges those that are about one state. On one store equal names mean equal policies, so costs can be
    /// added up. (If a policy has changed between two mentions of a key, the first one counts.)
    fn merge(&mut self) -> Result<(), Error> {
        if Batch::new(&self.checks).is_some() {
            return Ok(());
        }
        for check in take(&mut self.checks) {
            match self.checks.iter().position(|known| known.is_about(&check)) {
                None => {
                    self.positions.push(self.checks.len());
                    self.checks.push(check);
                }
                Some(position) => {
                    let known = &mut self.checks[position];
                    let cost = known.cost().get().saturating_add(check.cost().get());
                    *known = Check::new(known.policy(), check.key(), cost)?;
                    self.positions.push(position);
                }
            }
        }
        Ok(())
    }

    /// Applies `action` to checks that are not merged yet.
    #[cold]
    #[inline(never)]
    fn apply_if_ready<B>(
        mut self,
        backend: &B,
        action: Action,
        apply: ApplyIfReady<B>,
    ) -> Option<Result<Decisions, Error>> {
        if let Err(error) = self.merge() {
            return Some(Err(error));
        }
        match apply(backend, self.batch(), action)? {
            Ok(decisions) => Some(self.spread(decisions)),
            Err(error) => Some(Err(error.into())),
        }
    }

    fn batch(&self) -> Batch<'_> {
        batch(&self.checks)
    }

    /// The index in `checks` of the check that was the `index`th to be merged.
    pub(crate) fn position(&self, index: usize) -> usize {
        self.positions.get(index).copied().unwrap_or(index)
    }

    /// The decisions about the merged checks, one for each check that was merged.
    fn spread(&self, decisions: Decisions) -> Result<Decisions, Error> {
        if decisions.len() != self.checks.len() {
            return Err(wrong_number());
        }
        if self.positions.is_empty() {
            return Ok(decisions);
        }
        Ok(self.positions.iter().map(|&position| decisions[position]).collect())
    }
}

/// A store that gives another number of decisions than there are checks is broken.
#[cold]
fn wrong_number() -> Error {
    BackendError::unknown(ErrorKind::Protocol).into()
}

/// A batch of checks that are known to be about different states.
pub(crate) fn batch<'a>(checks: &'a [Check<'a>]) -> Batch<'a> {
    Batch::new(checks).expect("merged checks are about different states")
}
