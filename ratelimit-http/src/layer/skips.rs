//! Which requests are not limited at all.

use std::sync::Arc;

use http::request::Parts;

use super::RateLimitLayer;
use crate::{ClientIp, ClientIpError, key::network};

impl<B: Clone, K: Clone, P: Clone> RateLimitLayer<B, K, P> {
    /// Passes on, uncounted, the requests that `skip` picks by their heads; also those that an
    /// earlier `skip` picks.
    ///
    /// Such a request carries no [`Decision`](ratelimit_algorithms::Decision), and its response
    /// no headers of ours.
    pub fn skip<F>(mut self, skip: F) -> Self
    where
        F: Fn(&Parts) -> bool + Send + Sync + 'static,
    {
        self.rule_mut().skips.push(Arc::new(skip));
        self
    }

    /// Passes on, uncounted, the requests of clients in these networks (`10.0.0.0/8`).
    ///
    /// # Errors
    ///
    /// If one of them is no network, or contains every address.
    pub fn skip_networks<'a>(
        self,
        client: ClientIp,
        networks: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, ClientIpError> {
        let networks = networks.into_iter().map(network).collect::<Result<Vec<_>, _>>()?;
        Ok(self.skip(move |request| {
            let address = client.address(request);
            address.is_ok_and(|address| networks.iter().any(|network| network.contains(&address)))
        }))
    }
}
