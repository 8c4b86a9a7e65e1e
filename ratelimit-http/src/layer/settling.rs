//! What a request has cost in the end.

use std::sync::Arc;

use http::response::Parts;

use super::RateLimitLayer;
use crate::{rule::Rule, settle::Settlement};

impl<B: Clone, K: Clone, P: Clone> RateLimitLayer<B, K, P> {
    /// Charges what the request has cost, as the head of its response tells, in place of what was
    /// charged before: gives the rest back, or charges what is missing as far as the key has it
    /// left. `None` is for a response that does not say: it has cost what was charged.
    ///
    /// What is charged before, [`cost`](Self::cost) or [`cost_by`](Self::cost_by), is a
    /// reservation: as long as the service works on the request, nobody else spends it. So it
    /// should be about as much as a request costs. Headers tell how the key stood with it, and the
    /// response waits for the store. Limits that were added with [`also`](Self::also) keep their
    /// own costs.
    ///
    /// By a header that the service sets:
    ///
    /// ```
    /// use ratelimit_http::cost_header;
    ///
    /// # use ratelimit_algorithms::{FixedWindow, Limiter};
    /// # use ratelimit_http::{PeerAddr, RateLimitLayer};
    /// # use ratelimit_memory::Memory;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let limiter = Limiter::new(Memory::new(), "tokens", FixedWindow::per_hour(100_000))?;
    /// let layer = RateLimitLayer::new(limiter, PeerAddr)
    ///     .cost(1_000)
    ///     .settle_by(cost_header("x-tokens-used"));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// By the status: attempts to log in that succeed are free.
    ///
    /// ```
    /// # use ratelimit_algorithms::{FixedWindow, Limiter};
    /// # use ratelimit_http::{PeerAddr, RateLimitLayer};
    /// # use ratelimit_memory::Memory;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let limiter = Limiter::new(Memory::new(), "logins", FixedWindow::per_hour(5))?;
    /// let layer = RateLimitLayer::new(limiter, PeerAddr)
    ///     .settle_by(|response| response.status.is_success().then_some(0));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Without a response
    ///
    /// A request whose handler panics or fails, or whose client goes away first, has cost what was
    /// charged before, on every store: it was worked on, and who hangs up early should not work
    /// for free. [`refund_unanswered`](Self::refund_unanswered) makes it cost nothing. So it is if
    /// the store fails when it is to settle: what was charged stays, until its window has gone.
    ///
    /// # With a layer that tries again
    ///
    /// Inside of this one, all tries are one request: charged once, and settled by the response
    /// that comes out in the end. Outside of it each try is a request of its own, charged and
    /// settled by itself.
    pub fn settle_by<F>(mut self, cost: F) -> Self
    where
        F: Fn(&Parts) -> Option<u64> + Send + Sync + 'static,
    {
        self.rule_mut().settlement().cost = Arc::new(cost);
        self
    }

    /// Gives back what was charged for a request that gets no response: whose handler panics or
    /// fails, or whose client goes away.
    ///
    /// That works on stores that answer at once, such as memory; on others it stays charged, since
    /// nothing can be awaited there. Who goes away often enough works the service for free, so
    /// this is for handlers that do nothing dear before they answer.
    pub fn refund_unanswered(mut self) -> Self {
        self.rule_mut().settlement().refunds_unanswered = true;
        self
    }
}

impl<B, K, P> Rule<B, K, P> {
    fn settlement(&mut self) -> &mut Settlement {
        let as_charged = || Settlement { cost: Arc::new(|_| None), refunds_unanswered: false };
        self.settlement.get_or_insert_with(as_charged)
    }
}
