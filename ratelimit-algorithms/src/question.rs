//! A question that is held before it is asked, so that it is known which policy will decide it.

use std::{borrow::Cow, fmt};

use ratelimit_backend::Backend;
use ratelimit_core::{Action, Check, Decision, Policy};

use crate::{
    AcquireError, AsyncLimiter, Error, Permit, Policies,
    async_limiter::{answer, answer_if_ready, question},
    permit::permit,
};

/// What a key is asked: a cost, under the policy that the key had when the question was made.
///
/// A check is a question that is asked at once. Who has to tell which policy has decided makes the
/// question first: whatever is updated meanwhile, it is asked under its own.
///
/// ```
/// use ratelimit_algorithms::{AsyncLimiter, Live, TokenBucket};
/// use ratelimit_memory::Memory;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let limit = Live::new("api", TokenBucket::per_second(10))?;
/// let limiter = AsyncLimiter::with_policies(Memory::new(), limit.clone())?;
/// let question = limiter.question("user:42", 1);
/// limit.update(TokenBucket::per_second(50))?;
/// assert_eq!(question.check().await?.limit, question.policy().limit());
/// assert_eq!(question.policy().limit(), 10);
/// # Ok(())
/// # }
/// ```
#[must_use = "a question does nothing unless it is asked"]
pub struct Question<'a, B> {
    pub(crate) backend: &'a B,
    /// What knows the policy that the key has by now.
    pub(crate) policies: &'a dyn Policies,
    pub(crate) policy: Cow<'a, Policy>,
    pub(crate) key: &'a [u8],
    pub(crate) cost: u64,
}

impl<B: Backend, P: Policies> AsyncLimiter<B, P> {
    /// A question about `cost` permits of `key`, under the policy that it has now.
    pub fn question<'a>(
        &'a self,
        key: &'a (impl AsRef<[u8]> + ?Sized),
        cost: u64,
    ) -> Question<'a, B> {
        let (policies, key) = (self.policies(), key.as_ref());
        Question { backend: self.backend(), policies, policy: policies.policy(key), key, cost }
    }

    /// The permits that `decision`, about `cost` permits of `key` under `policy`, has spent: for a
    /// charge that was made otherwise than by [`acquire_n`](Self::acquire_n), such as one of
    /// several.
    ///
    /// # Errors
    ///
    /// [`AcquireError::Denied`] if it has spent none.
    pub fn permit<'a>(
        &'a self,
        policy: &'a Policy,
        key: &'a (impl AsRef<[u8]> + ?Sized),
        cost: u64,
        decision: Decision,
    ) -> Result<Permit<'a, Self>, AcquireError> {
        permit(self, Cow::Borrowed(policy), key.as_ref(), cost, decision)
    }
}

impl<B: Backend> Question<'_, B> {
    /// The policy that decides it.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Spends the cost, if the key has as many permits left.
    ///
    /// # Errors
    ///
    /// When no decision was made; if the cost is zero or can never be admitted.
    pub async fn check(&self) -> Result<Decision, Error> {
        answer(self.backend, &self.as_check()?, Action::Spend).await
    }

    /// [`check`](Self::check) on a store that answers at once; `None`, and nothing charged, on one
    /// that has to be awaited.
    ///
    /// # Errors
    ///
    /// As [`check`](Self::check).
    #[must_use = "an answer that nobody looks at limits nothing"]
    pub fn check_now(&self) -> Option<Result<Decision, Error>> {
        answer_if_ready(self.backend, self.as_check(), Action::Spend)
    }
}

impl<B> Question<'_, B> {
    pub(crate) fn as_check(&self) -> Result<Check<'_>, Error> {
        question(&self.policy, self.key, self.cost)
    }
}

/// Shows no key.
impl<B> fmt::Debug for Question<'_, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { policy, cost, .. } = self;
        let mut shown = f.debug_struct("Question");
        shown.field("policy", policy).field("cost", cost).finish_non_exhaustive()
    }
}
