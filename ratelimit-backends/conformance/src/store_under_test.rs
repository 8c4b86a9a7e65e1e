//! The store under test, and its clock.

use std::sync::Arc;

use ratelimit_backend::{Backend, BackendError, Clock, Effect, ErrorKind, ManualClock};
use ratelimit_core::{Action, Batch, Check, Decision, Key, Micros, Policy, Timestamp};

use crate::Effort;

/// A store under test. Clones are the same store.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "only passed on by the macro")]
pub struct Subject {
    pub(crate) backend: Arc<dyn Backend>,
    pub(crate) effort: Effort,
    clock: ManualClock,
}

impl Subject {
    pub(crate) fn new(backend: impl Backend + 'static, clock: ManualClock, effort: Effort) -> Self {
        Self { backend: Arc::new(backend), effort, clock }
    }

    /// Applies `action`, as a caller does that is told to come back later.
    pub(crate) async fn apply(
        &self,
        checks: &[Check<'_>],
        action: Action,
    ) -> Result<Vec<Decision>, BackendError> {
        let batch = Batch::new(checks).expect("no promise names a state twice");
        for _ in 0..PATIENCE {
            match self.backend.apply(batch, action).await {
                Err(error) if is_to_come_back(&error) => tokio::task::yield_now().await,
                answer => return Ok(answer?.to_vec()),
            }
        }
        panic!("the store was overloaded {PATIENCE} times in a row")
    }

    pub(crate) async fn ask(
        &self,
        policy: &Policy,
        key: impl AsRef<[u8]>,
        cost: u64,
        action: Action,
    ) -> Decision {
        let answer = self.apply(&[check(policy, key.as_ref(), cost)], action).await;
        let [decision] = *answer.expect("the store decides") else {
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
        self.ask(policy, key, cost, Action::Spend).await
    }

    /// Spends what is there to be spent.
    pub(crate) async fn charge(&self, policy: &Policy, key: impl AsRef<[u8]>, cost: u64) {
        let decision = self.spend(policy, key, cost).await;
        assert!(decision.is_allowed(), "{policy} admits {cost} here: {decision:?}");
    }

    pub(crate) async fn refund(
        &self,
        policy: &Policy,
        key: impl AsRef<[u8]>,
        cost: u64,
    ) -> Decision {
        self.ask(policy, key, cost, Action::Refund).await
    }

    pub(crate) async fn reset(&self, policy: &Policy, key: impl AsRef<[u8]>) {
        let decision = self.ask(policy, key, 1, Action::Reset).await;
        assert!(decision.is_allowed(), "{policy}: a reset is never denied: {decision:?}");
    }

    /// How `key` stands.
    pub(crate) async fn peek(&self, policy: &Policy, key: impl AsRef<[u8]>) -> Decision {
        self.ask(policy, key, 1, Action::Peek).await
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

/// Whether the store had too much to do, and did nothing.
fn is_to_come_back(error: &BackendError) -> bool {
    error.kind() == ErrorKind::Overloaded && error.effect() == Effect::NotApplied
}

/// Far more than a store needs that lets somebody through each time.
const PATIENCE: usize = 10_000;
