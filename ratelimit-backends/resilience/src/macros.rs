//! Methods that all wrappers share: they lead to the inner store.

/// The three accessors of the inner store.
macro_rules! accessors {
    () => {
        /// The inner store.
        #[must_use]
        pub const fn get_ref(&self) -> &B {
            &self.inner
        }

        /// The inner store.
        #[must_use]
        pub const fn get_mut(&mut self) -> &mut B {
            &mut self.inner
        }

        /// Returns the inner store.
        #[must_use]
        pub fn into_inner(self) -> B {
            self.inner
        }
    };
}

/// The methods of a backend that the inner store implements.
macro_rules! delegate {
    () => {
        delegate!(except lists);
        delegate!(lists);
    };
    (except lists) => {
        /// Nobody learns of its result, and so neither does this.
        fn apply_unawaited(&self, batch: Batch<'_>, action: Action) -> bool {
            self.inner.apply_unawaited(batch, action)
        }

        delegate!(policies);
    };
    (except unawaited) => {
        delegate!(policies);
        delegate!(lists);
    };
    (lists) => {
        fn lists_only_text(&self, name: &str) -> bool {
            self.inner.lists_only_text(name)
        }
    };
    (policies) => {
        fn names(&self) -> &Names {
            self.inner.names()
        }

        fn accepts(&self, policy: &Policy) -> Result<(), ConfigError> {
            self.inner.accepts(policy)
        }

        fn recoveries(&self) -> u64 {
            self.inner.recoveries()
        }
    };
}
