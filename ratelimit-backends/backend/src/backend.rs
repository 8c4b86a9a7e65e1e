//! The traits that a store implements.

use std::sync::Arc;

use ratelimit_core::{Action, Batch, ConfigError, Policy, store::Decisions};

use crate::{BackendError, Names, Reply};

/// A store that applies actions to the records it keeps.
///
/// Two calls about one key behave as if one came after the other, and a batch as if it were
/// alone: either all of its checks are charged, or none. Dropping the reply before it is ready
/// leaves one whole charge, or none.
pub trait Backend: Send + Sync {
    /// Applies `action` to `batch`; returns a decision for each of its checks, in order.
    ///
    /// A reply that is not ready from the start does nothing before it is first polled.
    fn apply<'a>(&'a self, batch: Batch<'a>, action: Action) -> Reply<'a>;

    /// Applies `action` to `batch` if that needs no waiting; otherwise does nothing, and returns `None`.
    ///
    /// By default it returns what [`apply`](Self::apply) has ready from the start. Stores that know
    /// in advance whether they wait can save the reply, which costs as much as a decision in
    /// memory.
    fn apply_if_ready(
        &self,
        batch: Batch<'_>,
        action: Action,
    ) -> Option<Result<Decisions, BackendError>> {
        self.apply(batch, action).into_ready()
    }

    /// Applies `action` to `batch` where nobody can wait for the answer, as in a drop. Returns false, and
    /// has done nothing, if the store has to be awaited.
    ///
    /// By default it does what needs no waiting. A store with threads or tasks of its own may
    /// return true, and apply the action there once, unless it is closed or its runtime ends
    /// before. A wrapper passes this on to the store that it wraps.
    fn apply_unawaited(&self, batch: Batch<'_>, action: Action) -> bool {
        self.apply_if_ready(batch, action).is_some()
    }

    /// The names that policies have taken in this store. Clones of a store share them.
    fn names(&self) -> &Names;

    /// Accepts `policy`, if the store can keep its state; called when a limiter is built.
    ///
    /// By default every policy is accepted.
    ///
    /// # Errors
    ///
    /// [`ConfigError::NotAtomic`] if the state would be spread over servers;
    /// [`ConfigError::LimitTooLarge`] if it would take more room than the store can change as one.
    fn accepts(&self, policy: &Policy) -> Result<(), ConfigError> {
        let _ = policy;
        Ok(())
    }

    /// The number of times that the store was reachable again after an outage, as far as it can
    /// tell.
    ///
    /// A caller that has stopped calling a store that did not answer calls it again as soon as this
    /// number changes. By default it never does: most stores notice only when they are called.
    fn recoveries(&self) -> u64 {
        0
    }

    /// Returns true if a wrapper lists keys for the policies of this name, and all of them are
    /// plain text. That is most likely a mistake if the keys that are checked are no text.
    ///
    /// By default false: most stores have no lists.
    fn lists_only_text(&self, name: &str) -> bool {
        let _ = name;
        false
    }
}

/// A store that can also answer on the calling thread, without a runtime.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot answer on the calling thread",
    label = "this store has to be awaited",
    note = "await the request instead: `.await` in place of `.now()`"
)]
pub trait SyncBackend: Backend {
    /// Applies `action` to `batch` on the calling thread; returns the decisions in order.
    ///
    /// # Errors
    ///
    /// If no decision was made; [`BackendError::effect`] says whether a charge may have landed.
    fn apply_now(&self, batch: Batch<'_>, action: Action) -> Result<Decisions, BackendError>;
}

/// Both traits for pointers to a store.
macro_rules! pointers {
    ($($pointer:ident)*) => {$(
        impl<B: Backend + ?Sized> Backend for $pointer<B> {
            fn apply<'a>(&'a self, batch: Batch<'a>, action: Action) -> Reply<'a> {
                (**self).apply(batch, action)
            }

            fn apply_if_ready(
                &self,
                batch: Batch<'_>,
                action: Action,
            ) -> Option<Result<Decisions, BackendError>> {
                (**self).apply_if_ready(batch, action)
            }

            fn apply_unawaited(&self, batch: Batch<'_>, action: Action) -> bool {
                (**self).apply_unawaited(batch, action)
            }

            fn names(&self) -> &Names {
                (**self).names()
            }

            fn accepts(&self, policy: &Policy) -> Result<(), ConfigError> {
                (**self).accepts(policy)
            }

            fn recoveries(&self) -> u64 {
                (**self).recoveries()
            }

            fn lists_only_text(&self, name: &str) -> bool {
                (**self).lists_only_text(name)
            }
        }

        impl<B: SyncBackend + ?Sized> SyncBackend for $pointer<B> {
            fn apply_now(
                &self,
                batch: Batch<'_>,
                action: Action,
            ) -> Result<Decisions, BackendError> {
                (**self).apply_now(batch, action)
            }
        }
    )*};
}

pointers!(Arc Box);
