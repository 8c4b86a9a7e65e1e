//! Decisions that are made or changed on this side of the store.

use ratelimit_backend::BackendError;
use ratelimit_core::{
    Action, Batch, Check, Decision, Micros, Outcome, Source, Timestamp,
    store::{Decisions, apply},
};

/// The outcome of a request that is let through.
pub(crate) const ALLOW: Outcome = Outcome::Allow { delay: Micros::ZERO };

/// Decides without a record: the numbers are those of a key never seen.
pub(crate) fn unseen(
    check: &Check<'_>,
    at: Timestamp,
    (outcome, charged): (Outcome, u64),
    source: Source,
) -> Result<Decision, BackendError> {
    let batch = Batch::one(check);
    let mut records: Vec<_> = batch.slots().map(|_| None).collect();
    let decisions = apply(batch, Action::Peek, &mut records, at)?;
    let decision = decisions.first().copied().ok_or(BROKEN)?;
    Ok(decision.with_outcome(outcome, charged).with_source(source))
}

/// Permits that a request of this check has, where it is let through.
pub(crate) const fn let_through(check: &Check<'_>, action: Action) -> u64 {
    if action.spends() { check.cost().get() } else { 0 }
}

/// Changes each decision, knowing its check.
pub(crate) fn map<'a>(
    batch: Batch<'a>,
    decisions: &Decisions,
    change: impl Fn(&mut Decision, &Check<'a>),
) -> Decisions {
    let changed = |(mut decision, check): (Decision, &Check<'a>)| {
        change(&mut decision, check);
        decision
    };
    match (&**decisions, batch.checks()) {
        (&[decision], [check]) => changed((decision, check)).into(),
        (all, checks) => all.iter().copied().zip(checks).map(changed).collect(),
    }
}

/// Completes `known` decisions with the store's, in order. Nothing is charged if one of them denies.
pub(crate) fn fill(known: Vec<Option<Decision>>, rest: &[Decision]) -> Decisions {
    let mut rest = rest.iter().copied();
    let all: Vec<_> =
        known.into_iter().filter_map(|decision| decision.or_else(|| rest.next())).collect();
    all_or_nothing(all)
}

/// The decisions of a batch: if one of them denies, nothing is charged.
pub(crate) fn all_or_nothing(decisions: Vec<Decision>) -> Decisions {
    let is_admitted = decisions.iter().all(Decision::is_allowed);
    let uncharged = |decision: Decision| decision.with_outcome(decision.outcome(), 0);
    let decision = |decision| if is_admitted { decision } else { uncharged(decision) };
    decisions.into_iter().map(decision).collect()
}

/// Makes a batch of some checks of another batch.
pub(crate) fn part<'a>(checks: &'a [Check<'a>]) -> Result<Batch<'a>, BackendError> {
    Batch::new(checks).ok_or(BROKEN)
}

/// The error where a store, or this crate, breaks a promise.
const BROKEN: BackendError = BackendError::unknown(ratelimit_backend::ErrorKind::Protocol);
