//! Methods for `ratelimit-http`, and for no application: checks that know their policy before they
//! are made, and permits of a charge that was decided earlier.

use std::borrow::Cow;

use ratelimit_backend::Backend;
use ratelimit_core::{Action, Decision, Policy};

use crate::{
    AcquireError, Limiter, Limits, One, Permit, Policies, PreparedCheck, Request,
    acquire::acquired, prepared::if_ready, request::Subject,
};

#[doc(hidden)]
impl<B: Backend, P: Policies + Clone + 'static> Limiter<B, P> {
    /// A check of `cost` permits of `key`, under the policy that it has now: whatever is updated
    /// before it is made.
    pub fn prepare<'a>(
        &'a self,
        key: &'a (impl AsRef<[u8]> + ?Sized),
        cost: u64,
    ) -> PreparedCheck<'a, B> {
        self.subject(key.as_ref()).prepare(cost)
    }

    /// A check under a policy that `key` had.
    pub fn prepare_under<'a>(
        &'a self,
        policy: &'a Policy,
        key: &'a (impl AsRef<[u8]> + ?Sized),
        cost: u64,
    ) -> PreparedCheck<'a, B> {
        let Subject { backend, policies, queues, key, .. } = self.subject(key.as_ref());
        PreparedCheck { backend, policies, policy: Cow::Borrowed(policy), queues, key, cost }
    }
}

#[doc(hidden)]
impl<'a, B: Backend> PreparedCheck<'a, B> {
    /// The policy that decides.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Spends the cost, if the key has that many permits left.
    #[inline(always)]
    pub fn check(&self) -> Request<'_, B, Policy> {
        let Self { backend, policy, queues, key, cost, .. } = self;
        let subject = Subject { backend: *backend, policies: &**policy, queues, key, cost: *cost };
        Request::new(subject, Action::Spend)
    }

    /// The permits that `decision` about this check has spent, alone or among others.
    ///
    /// # Errors
    ///
    /// [`AcquireError::Denied`] if it has spent none.
    pub fn permit(self, decision: Decision) -> Result<Permit<'a, B>, AcquireError> {
        acquired::<_, One>([self].into_iter().collect(), decision.into(), if_ready)
    }
}

#[doc(hidden)]
impl<'a, B: Backend> From<PreparedCheck<'a, B>> for Limits<'a, B> {
    fn from(first: PreparedCheck<'a, B>) -> Self {
        Self { checks: vec![first] }
    }
}

#[doc(hidden)]
impl<'a, B: Backend> Limits<'a, B> {
    /// One more limit.
    pub fn and_prepared(self, check: PreparedCheck<'a, B>) -> Self {
        self.and_check(check)
    }
}
