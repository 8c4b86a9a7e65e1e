//! Which policy a key is checked against: one for all and for ever, or one that may change.

use std::{borrow::Cow, fmt, sync::Arc};

use ratelimit_backend::{Claim, Names};
use ratelimit_core::{ConfigError, Policy};

/// Says which policy a key is checked against.
///
/// A [`Policy`] is its own, for every key and for ever; that costs a limiter nothing.
pub trait Policies: fmt::Debug + Send + Sync {
    /// The name of all its policies.
    fn name(&self) -> &str;

    /// The policy of `key`, whole: a change is seen by the next call, never by half.
    fn policy(&self, key: &[u8]) -> Cow<'_, Policy>;

    /// Takes the name in a store's register, when a limiter is built.
    ///
    /// # Errors
    ///
    /// If another limiter on the store has the name and other policies.
    fn claim(&self, names: &Names) -> Result<Claim, ConfigError>;

    /// Shows each policy that there may be to `visit`, which may refuse it.
    ///
    /// # Errors
    ///
    /// What `visit` returns.
    fn try_each(&self, visit: &mut Visit<'_>) -> Result<(), ConfigError>;
}

/// What is shown each policy.
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
}
