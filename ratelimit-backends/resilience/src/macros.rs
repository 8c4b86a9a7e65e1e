//! What all wrappers have in common: the store within, and what is its alone to say.

/// The three ways to the store within.
macro_rules! accessors {
    () => {
        /// The store within.
        #[must_use]
        pub const fn get_ref(&self) -> &B {
            &self.inner
        }

        /// The store within.
        #[must_use]
        pub const fn get_mut(&mut self) -> &mut B {
            &mut self.inner
        }

        /// Gives the store within back.
        #[must_use]
        pub fn into_inner(self) -> B {
            self.inner
        }
    };
}

/// The methods of a backend that the store within answers.
macro_rules! delegate {
    () => {
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
