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
    outcome: Outcome,
    source: Source,
) -> Result<Decision, BackendError> {
    let batch = Batch::one(check);
    let mut records: Vec<_> = batch.slots().map(|_| None).collect();
    let decisions = apply(batch, Action::Peek, &mut records, at)?;
    let mut decision = decisions.first().copied().ok_or(BROKEN)?;
    decision.outcome = outcome;
    decision = decision.with_source(source);
    Ok(decision)
}

/// Changes each decision.
pub(crate) fn map(decisions: &Decisions, change: impl Fn(&mut Decision)) -> Decisions {
    let changed = |mut decision| {
        change(&mut decision);
        decision
    };
    match **decisions {
        [decision] => changed(decision).into(),
        _ => decisions.iter().copied().map(changed).collect(),
    }
}

/// Completes `known` decisions with the store's, in order.
pub(crate) fn fill(known: Vec<Option<Decision>>, rest: &[Decision]) -> Decisions {
    let mut rest = rest.iter().copied();
    known.into_iter().filter_map(|decision| decision.or_else(|| rest.next())).collect()
}

/// Makes a batch of some checks of another batch.
pub(crate) fn part<'a>(checks: &'a [Check<'a>]) -> Result<Batch<'a>, BackendError> {
    Batch::new(checks).ok_or(BROKEN)
}

/// The error where a store, or this crate, breaks a promise.
const BROKEN: BackendError = BackendError::unknown(ratelimit_backend::ErrorKind::Protocol);
