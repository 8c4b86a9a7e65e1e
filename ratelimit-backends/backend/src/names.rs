//! The register of names: within one process and store, a name means one set of numbers.
//!
//! Two limiters of one name and other numbers would fight over the same records. The register
//! finds that out when the second one is built. Numbers that change belong to an owner, who changes
//! them: there a name means one owner.

use std::{
    any::Any,
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ratelimit_core::{ConfigError, Policy};

/// The names that policies have taken in a store. Clones are the same register.
#[derive(Clone, Debug, Default)]
pub struct Names(Arc<Register>);

#[derive(Debug, Default)]
struct Register {
    is_shared: bool,
    taken: Mutex<HashMap<String, Taken>>,
}

#[derive(Debug)]
struct Taken {
    by: Owner,
    claims: usize,
}

/// The holder of a name.
#[derive(Clone)]
enum Owner {
    /// A policy: equal ones share the name.
    Policy(Policy),
    /// A handle: its clones share the name. It is kept so that no other handle takes its address.
    Handle(Arc<dyn Any + Send + Sync>),
}

/// A name that is taken for as long as this lives.
#[derive(Debug)]
pub struct Claim {
    names: Names,
    name: String,
}

impl Names {
    /// The names in a store that other processes use as well: a file, a server. (The default is for
    /// a store of this process alone.)
    #[must_use]
    pub fn with_shared_store() -> Self {
        Self(Arc::new(Register { is_shared: true, ..Register::default() }))
    }

    /// True if other processes use the store as well.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.0.is_shared
    }

    /// Takes the name of `policy`. Equal policies may share a name.
    ///
    /// # Errors
    ///
    /// [`ConfigError::DuplicateName`] if another policy or owner has it.
    pub fn claim(&self, policy: &Policy) -> Result<Claim, ConfigError> {
        self.take(policy.name(), &Owner::Policy(policy.clone()))
    }

    /// Takes `name` for policies that may change. Only clones of `owner` share it.
    ///
    /// # Errors
    ///
    /// As [`claim`](Self::claim).
    pub fn claim_for<T: Any + Send + Sync>(
        &self,
        name: &str,
        owner: &Arc<T>,
    ) -> Result<Claim, ConfigError> {
        self.take(name, &Owner::Handle(Arc::<T>::clone(owner)))
    }

    fn take(&self, name: &str, by: &Owner) -> Result<Claim, ConfigError> {
        let mut names = self.lock();
        let taken =
            names.entry(name.to_owned()).or_insert_with(|| Taken { by: by.clone(), claims: 0 });
        if !taken.by.is(by) {
            return Err(ConfigError::DuplicateName);
        }
        taken.claims = taken.claims.saturating_add(1);
        Ok(Claim { names: self.clone(), name: name.to_owned() })
    }

    /// Returns true if both are the same register, hence of the same store.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Locks even if poisoned: no entry is ever half written.
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Taken>> {
        self.0.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Owner {
    fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Policy(policy), Self::Policy(other)) => policy == other,
            (Self::Handle(handle), Self::Handle(other)) => Arc::ptr_eq(handle, other),
            _ => false,
        }
    }
}

impl fmt::Debug for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Policy(policy) => policy.fmt(f),
            Self::Handle(_) => f.write_str("Handle"),
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut names = self.names.lock();
        let Some(taken) = names.get_mut(&self.name) else { return };
        taken.claims = taken.claims.saturating_sub(1);
        let freed = if taken.claims == 0 { names.remove(&self.name) } else { None };
        // An owner's code may run when it is dropped: not under the lock.
        drop(names);
        drop(freed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ratelimit_core::fixed_window::{Align, Quota};

    use super::*;

    fn policy(limit: u64) -> Policy {
        let quota = Quota::new(limit, Duration::from_secs(1), Align::Epoch).unwrap();
        Policy::new("api", quota).unwrap()
    }

    // FAULTS 10.
    #[test]
    fn a_handle_shares_its_name_with_its_clones_and_with_nobody_else() {
        let names = Names::default();
        let (owner, other) = (Arc::new(10), Arc::new(10));
        let claims = [names.claim_for("api", &owner), names.claim_for("api", &owner.clone())];
        let claims = claims.map(Result::unwrap);
        let refused = Err(ConfigError::DuplicateName);
        assert_eq!(names.claim_for("api", &other).map(|_| ()), refused);
        assert_eq!(names.claim(&policy(10)).map(|_| ()), refused);
        assert!(names.claim_for("else", &other).is_ok());

        let [first, last] = claims;
        drop(first);
        assert_eq!(names.claim_for("api", &other).map(|_| ()), refused);
        drop(last);
        let _claim = names.claim(&policy(10)).unwrap();
        assert_eq!(names.claim_for("api", &owner).map(|_| ()), refused);
    }

    #[test]
    fn an_owner_that_asks_the_register_as_it_is_dropped_gets_an_answer() {
        struct Asks(Names);
        impl Drop for Asks {
            fn drop(&mut self) {
                assert!(self.0.claim(&policy(10)).is_ok());
            }
        }
        let names = Names::default();
        let claim = names.claim_for("api", &Arc::new(Asks(names.clone()))).unwrap();
        drop(claim);
    }
}
