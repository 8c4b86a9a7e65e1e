//! Access to the inner service, the same for every service around one.

macro_rules! accessors {
    () => {
        /// Borrows the inner service.
        #[must_use]
        pub const fn get_ref(&self) -> &S {
            &self.inner
        }

        /// Borrows the inner service mutably.
        #[must_use]
        pub const fn get_mut(&mut self) -> &mut S {
            &mut self.inner
        }

        /// Returns the inner service.
        #[must_use]
        pub fn into_inner(self) -> S {
            self.inner
        }
    };
}
