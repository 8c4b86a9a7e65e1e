//! Who is told of what looks wrong.

use std::sync::Arc;

use super::RateLimitLayer;
use crate::{Warning, diagnostics::SelfCheck};

impl<B: Clone, K: Clone, P: Clone> RateLimitLayer<B, K, P> {
    /// Tells `hear` of what looks wrong about how this layer is set up, in place of the log.
    ///
    /// A layer looks at its first 1 000 requests, and says each [`Warning`] once, however many
    /// clones it has; that requests have no peer address also later. Without this, and without a
    /// `tracing` subscriber (feature `tracing`), it says so on standard error: whoever has set up
    /// a layer wrongly has most likely not set up anything to be told so either.
    ///
    /// ```
    /// # use ratelimit_algorithms::{FixedWindow, Limiter};
    /// # use ratelimit_http::{PeerAddr, RateLimitLayer};
    /// # use ratelimit_memory::Memory;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let limiter = Limiter::new(Memory::new(), "api", FixedWindow::per_minute(100))?;
    /// let layer = RateLimitLayer::new(limiter, PeerAddr)
    ///     .on_warning(|warning| panic!("this should not go into production: {warning}"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn on_warning<F>(mut self, hear: F) -> Self
    where
        F: Fn(&Warning) + Send + Sync + 'static,
    {
        self.rule_mut().check = Arc::new(SelfCheck::new(Some(Arc::new(hear))));
        self
    }
}
