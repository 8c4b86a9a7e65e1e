//! The store under test, and its clock.

use std::sync::Arc;

use ratelimit_backend::{Backend, BackendError, Clock, Effect, ErrorKind, ManualClock};
use ratelimit_core::{Action, Batch, Check, Decision, Key, Micros, Policy, Timestamp};

use crate::Effort;

/// A store under test. Clones are the same store.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "only passed on by the macro")]
pub struct StoreUnderTest {
    pub(crate) backend: Arc<dyn Backend>,
    pub(crate) effort: Effort,
    clock: ManualClock,
}

/// No multiple of anything, so that windows aligned to the epoch and others differ.
pub(crate) const START: Timestamp = Timestamp::from_micros(1_700_000_012_345_678).unwrap();

/// The retention of the suite's clock: long enough to tell, and so short that most of what has
/// expired is forgotten.
pub(crate) const RETENTION: Micros = Micros::from_secs(1);

impl StoreUnderTest {
    pub(crate) fn new(backend: impl Backend + 'static, clock: ManualClock, effort: Effort) -> Self {
        Self { backend: Arc::new(backend), effort, clock }
    }

    /// Applies `action`, and tries again while the store is overloaded.
    pub(crate) async fn apply(
        &self,
        checks: &[Check<'_>],
        action: Action,
    ) -> Result<Vec<Decision>, BackendError> {
        let batch = Batch::new(checks).expect("no promise names a state twice");
        for _ in 0..ATTEMPTS_MAX {
            match self.backend.apply(batch, action).await {
                Err(error) if is_overloaded(&error) => tokio::task::yield_now().await,
                result => return Ok(result?.to_vec()),
            }
        }
        panic!("the store was overloaded {ATTEMPTS_MAX} times in a row")
    }

    pub(crate) async fn apply_one(
        &self,
        policy: &Policy,
        key: impl AsRef<[u8]>,
        cost: u64,
        action: Action,
    ) -> Decision {
        let decisions = self.apply(&[check(policy, key.as_ref(), cost)], action).await;
        let [decision] = *decisions.expect("the store decides") else {
            panic!("one check has one decision")
        };
        decision
    }

    pub(crate) async fn spend(
        &self,
        policy: &Policy,
        key: impl AsRef<[u8]>,
        cost: u64,
    ) -> Decision {
        self.apply_one(policy, key, cost, Action::Spend).await
    }

    /// Spends permits that the policy must admit.
    pub(crate) async fn must_spend(&self, policy: &Policy, key: impl AsRef<[u8]>, cost: u64) {
        let decision = self.spend(policy, key, cost).await;
        assert!(decision.is_allowed(), "{policy} admits {cost} here: {decision:?}");
    }

    pub(crate) async fn refund(
        &self,
        policy: &Policy,
        key: impl AsRef<[u8]>,
        cost: u64,
    ) -> Decision {
        self.apply_one(policy, key, cost, Action::Refund).await
    }

    pub(crate) async fn reset(&self, policy: &Policy, key: impl AsRef<[u8]>) {
        let decision = self.apply_one(policy, key, 1, Action::Reset).await;
        assert!(decision.is_allowed(), "{policy}: a reset is never denied: {decision:?}");
    }

    /// The state of `key`.
    pub(crate) async fn peek(&self, policy: &Policy, key: impl AsRef<[u8]>) -> Decision {
        self.apply_one(policy, key, 1, Action::Peek).await
    }

    /// Spends a permit at a time until one is denied; returns how many there were, and the denial.
    pub(crate) async fn exhaust(&self, policy: &Policy, key: impl AsRef<[u8]>) -> (u64, Decision) {
        let mut admitted = 0;
        loop {
            let decision = self.spend(policy, key.as_ref(), 1).await;
            if !decision.is_allowed() {
                return (admitted, decision);
            }
            admitted += 1;
            assert!(admitted <= policy.limit(), "{policy} admits more than its limit");
        }
    }

    pub(crate) async fn fill(&self, policy: &Policy, key: impl AsRef<[u8]>) {
        let (_, denial) = self.exhaust(policy, key).await;
        assert!(!denial.retry_after().is_zero(), "{policy}: a denial says when to retry");
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now().expect("tests stay within representable time")
    }

    pub(crate) fn set(&self, now: Timestamp) {
        self.clock.set(now);
    }

    pub(crate) fn advance(&self, length: Micros) {
        self.clock.advance(length);
    }
}

pub(crate) fn check<'a>(policy: &'a Policy, key: &'a [u8], cost: u64) -> Check<'a> {
    let key = Key::new(key).expect("keys in tests are short enough");
    Check::new(policy, key, cost).expect("costs in tests are within the limit")
}

/// A check for a penalty, which may be more than a request could spend.
pub(crate) fn penalty<'a>(policy: &'a Policy, key: &'a [u8], cost: u64) -> Check<'a> {
    let key = Key::new(key).expect("keys in tests are short enough");
    Check::penalty(policy, key, cost).expect("costs in tests may be owed")
}

/// Returns true if the store had too much to do, and did nothing.
fn is_overloaded(error: &BackendError) -> bool {
    error.kind() == ErrorKind::Overloaded && error.effect() == Effect::NotApplied
}

/// Far more than needed by a store that lets one caller through each time.
const ATTEMPTS_MAX: usize = 10_000;
