//! The register of names: within one process and store, a name means one set of numbers.
//!
//! Two limiters of one name and other numbers would fight over the same records. The register
//! finds that out when the second one is built, not when the first odd decision is made.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ratelimit_core::{ConfigError, Policy};

/// The names that policies have taken in a store. Clones are the same register.
#[derive(Clone, Debug, Default)]
pub struct Names(Arc<Mutex<HashMap<String, Taken>>>);

#[derive(Debug)]
struct Taken {
    policy: Policy,
    claims: usize,
}

/// A name that is taken for as long as this lives.
#[derive(Debug)]
pub struct Claim {
    names: Names,
    name: String,
}

impl Names {
    /// Takes the name of `policy`. Equal policies may share a name.
    ///
    /// # Errors
    ///
    /// [`ConfigError::DuplicateName`] if a policy with other settings has it.
    pub fn claim(&self, policy: &Policy) -> Result<Claim, ConfigError> {
        let mut names = self.lock();
        let taken = names
            .entry(policy.name().to_owned())
            .or_insert_with(|| Taken { policy: policy.clone(), claims: 0 });
        if taken.policy != *policy {
            return Err(ConfigError::DuplicateName);
        }
        taken.claims = taken.claims.saturating_add(1);
        Ok(Claim { names: self.clone(), name: policy.name().to_owned() })
    }

    /// Whether both are the same register, hence of the same store.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// A poisoned lock is as good as any: no entry is ever half written.
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Taken>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut names = self.names.lock();
        if let Some(taken) = names.get_mut(&self.name) {
            taken.claims = taken.claims.saturating_sub(1);
            if taken.claims == 0 {
                names.remove(&self.name);
            }
        }
    }
}
