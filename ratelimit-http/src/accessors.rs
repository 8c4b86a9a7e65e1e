//! The ways to the service within, which every service around one has.

macro_rules! accessors {
    () => {
        /// The service within.
        #[must_use]
        pub const fn get_ref(&self) -> &S {
            &self.inner
        }

        /// The service within.
        #[must_use]
        pub const fn get_mut(&mut self) -> &mut S {
            &mut self.inner
        }

        /// Gives the service within back.
        #[must_use]
        pub fn into_inner(self) -> S {
            self.inner
        }
    };
}
