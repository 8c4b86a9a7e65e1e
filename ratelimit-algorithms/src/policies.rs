//! The source of a key's policy: a fixed one for all keys, or one that may change.

use std::{borrow::Cow, fmt, sync::Arc};

use ratelimit_backend::{Claim, Names};
use ratelimit_core::{ConfigError, Policy};

use crate::wait::Waiters;

/// Finds the policy that a key is checked against.
///
/// A [`Policy`] is the fixed policy of all keys, at no cost. A [`Live`](crate::Live) is one that
/// changes, [`Tiers`](crate::Tiers) are several. Other sources of limits, such as a feature flag or
/// a table of customers, implement this trait:
///
/// ```
/// use std::{
///     borrow::Cow,
///     sync::{
///         Arc,
///         atomic::{AtomicBool, Ordering},
///     },
/// };
///
/// use ratelimit_algorithms::{
///     Claim, ConfigError, Limiter, Names, Policies, Policy, TokenBucket, Visit,
/// };
/// use ratelimit_memory::Memory;
///
/// /// The limit of the API, lower while the flag is on.
/// #[derive(Debug)]
/// struct Flagged {
///     is_busy: Arc<AtomicBool>,
///     normal: Policy,
///     busy: Policy,
/// }
///
/// impl Policies for Flagged {
///     fn name(&self) -> &str {
///         self.normal.name()
///     }
///
///     fn policy(&self, _key: &[u8]) -> Cow<'_, Policy> {
///         let is_busy = self.is_busy.load(Ordering::Relaxed);
///         Cow::Borrowed(if is_busy { &self.busy } else { &self.normal })
///     }
///
///     fn claim(&self, names: &Names) -> Result<Claim, ConfigError> {
///         names.claim_for(self.name(), &self.is_busy)
///     }
///
///     fn try_each(&self, visit: &mut Visit<'_>) -> Result<(), ConfigError> {
///         visit(&self.normal)?;
///         visit(&self.busy)
///     }
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let is_busy = Arc::new(AtomicBool::new(false));
/// let limits = Flagged {
///     is_busy: is_busy.clone(),
///     normal: Policy::new("api", TokenBucket::per_second(100))?,
///     busy: Policy::new("api", TokenBucket::per_second(20))?,
/// };
/// let limiter = Limiter::with_policies(Memory::new(), limits)?;
/// assert_eq!(limiter.check("user:42").now()?.limit, 100);
/// is_busy.store(true, Ordering::Relaxed);
/// assert_eq!(limiter.check("user:42").now()?.limit, 20);
/// # Ok(())
/// # }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say which policy a key has",
    note = "a limiter takes a `Policy`, `Live` or tiers; `Limiter::new` makes a policy of a name \
            and an algorithm"
)]
pub trait Policies: fmt::Debug + Send + Sync {
    /// The name of all its policies.
    fn name(&self) -> &str;

    /// The policy of `key`. A change is seen by the next call, and seen whole.
    fn policy(&self, key: &[u8]) -> Cow<'_, Policy>;

    /// Claims the name in a store when a limiter is built: by [`Names::claim_for`], with an `Arc`
    /// that all clones of these policies share.
    ///
    /// # Errors
    ///
    /// If another limiter on the store has the name and other policies.
    fn claim(&self, names: &Names) -> Result<Claim, ConfigError>;

    /// Shows each possible policy to `visit`, which may refuse it.
    ///
    /// # Errors
    ///
    /// The error of `visit`.
    fn try_each(&self, visit: &mut Visit<'_>) -> Result<(), ConfigError>;

    /// Receives the waiters of a limiter when it is built, to be woken after each change. By
    /// default they are not woken, and see a change when their present sleep ends.
    fn on_change(&self, waiters: Waiters) {
        let _ = waiters;
    }
}

/// Policies that a permit keeps when it outlives its limiter.
pub(crate) trait SharedPolicies: Policies {
    /// A clone, which knows the policy of a key as long as the permit lives.
    fn share(&self) -> Arc<dyn Policies>;
}

impl<P: Policies + Clone + 'static> SharedPolicies for P {
    fn share(&self) -> Arc<dyn Policies> {
        Arc::new(self.clone())
    }
}

/// A function that is shown each policy, and may refuse it.
pub type Visit<'a> = dyn FnMut(&Policy) -> Result<(), ConfigError> + 'a;

impl Policies for Policy {
    fn name(&self) -> &str {
        self.name()
    }

    fn policy(&self, _: &[u8]) -> Cow<'_, Policy> {
        Cow::Borrowed(self)
    }

    fn claim(&self, names: &Names) -> Result<Claim, ConfigError> {
        names.claim(self)
    }

    fn try_each(&self, visit: &mut Visit<'_>) -> Result<(), ConfigError> {
        visit(self)
    }
}

impl<P: Policies + ?Sized> Policies for Arc<P> {
    fn name(&self) -> &str {
        (**self).name()
    }

    fn policy(&self, key: &[u8]) -> Cow<'_, Policy> {
        (**self).policy(key)
    }

    fn claim(&self, names: &Names) -> Result<Claim, ConfigError> {
        (**self).claim(names)
    }

    fn try_each(&self, visit: &mut Visit<'_>) -> Result<(), ConfigError> {
        (**self).try_each(visit)
    }

    fn on_change(&self, waiters: Waiters) {
        (**self).on_change(waiters);
    }
}
