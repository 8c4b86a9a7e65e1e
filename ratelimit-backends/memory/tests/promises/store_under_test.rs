//! A store to ask, and short ways to ask it.

use std::num::NonZeroUsize;

use crate::Memory;
use ratelimit_backend::{BackendError, Clock, Effect, ErrorKind, ManualClock, SyncBackend};
use ratelimit_conformance::one_of_each;
use ratelimit_core::{Action, Batch, Check, Decision, Key, Policy, Timestamp};

pub(crate) type Answer = Result<Decision, BackendError>;

/// A store of at most `keys_max` keys, and its clock.
pub(crate) fn memory(keys_max: usize) -> (Memory<ManualClock>, ManualClock) {
    let clock = ManualClock::new(at(1_700_000_012_345_678));
    (with_clock(clock.clone(), keys_max), clock)
}

pub(crate) fn with_clock<C: Clock>(clock: C, keys_max: usize) -> Memory<C> {
    crate::store(clock, NonZeroUsize::new(keys_max).expect("room for something"))
}

/// The policy called `name` among [`one_of_each`].
pub(crate) fn policy(name: &str, limit: u64) -> Policy {
    let mut policies = one_of_each(limit).into_iter();
    policies.find(|policy| policy.name() == name).expect("a policy of this name")
}

pub(crate) fn check<'a>(policy: &'a Policy, key: &'a str, cost: u64) -> Check<'a> {
    Check::new(policy, Key::new(key).expect("a short key"), cost).expect("a cost that fits")
}

pub(crate) fn spend<C: Clock>(memory: &Memory<C>, policy: &Policy, key: &str) -> Answer {
    ask(memory, &check(policy, key, 1), Action::Spend)
}

/// The permits left of `key`, which the store can tell.
pub(crate) fn remaining<C: Clock>(memory: &Memory<C>, policy: &Policy, key: &str) -> u64 {
    ask(memory, &check(policy, key, 1), Action::Peek).expect("a peek needs no room").remaining
}

pub(crate) fn reset<C: Clock>(memory: &Memory<C>, policy: &Policy, key: &str) {
    let decision = ask(memory, &check(policy, key, 1), Action::Reset);
    assert!(decision.expect("a reset needs no room").is_allowed());
}

pub(crate) fn ask<C: Clock>(memory: &Memory<C>, check: &Check<'_>, action: Action) -> Answer {
    Ok(memory.apply_now(Batch::one(check), action)?[0])
}

/// Asks several as one.
pub(crate) fn ask_all<C: Clock>(
    memory: &Memory<C>,
    checks: &[Check<'_>],
    action: Action,
) -> Result<Vec<Decision>, BackendError> {
    let batch = Batch::new(checks).expect("no two about the same");
    Ok(memory.apply_now(batch, action)?.to_vec())
}

pub(crate) fn is_allowed(answer: &Answer) -> bool {
    answer.as_ref().is_ok_and(Decision::is_allowed)
}

/// Returns true if a key was refused for want of room, and nothing was charged.
pub(crate) fn is_refused<T>(answer: &Result<T, BackendError>) -> bool {
    let refusal = (ErrorKind::Capacity, Effect::NotApplied);
    answer.as_ref().is_err_and(|error| (error.kind(), error.effect()) == refusal)
}

pub(crate) fn at(micros: u64) -> Timestamp {
    Timestamp::from_micros(micros).expect("tests stay within representable time")
}
