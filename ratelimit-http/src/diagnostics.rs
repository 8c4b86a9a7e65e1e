//! What looks wrong about how a layer is set up, said once.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU32, Ordering},
    },
};

/// Something that looks wrong about how a layer is set up: see
/// [`on_warning`](crate::RateLimitLayer::on_warning). Its text is a sentence that says what to do.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Warning {
    /// Clients are believed whatever they say of their address.
    #[error(
        "every client is believed what it says of its address, and so can choose its own key: name \
         the trusted proxies"
    )]
    TrustsEverybody,
    /// A request has a header that tells of addresses, and its client is looked for elsewhere.
    #[error(
        "a request has the header {name:?}, which is not read: behind a proxy that sets it, all \
         clients are one; name the header and the trusted proxies (or a client has made it up)"
    )]
    UnreadHeader {
        /// The header's name.
        name: &'static str,
    },
    /// One request was charged twice by one limiter, under the same key.
    #[error("limiter {limiter:?} is applied twice to one request, and charges it twice")]
    AppliedTwice {
        /// The limiter's name.
        limiter: String,
    },
    /// A cost is beyond what the limit can ever admit.
    #[error(
        "a cost of {cost} is beyond the limit of {limiter:?}, {limit}: every request is denied"
    )]
    UnreachableCost {
        /// The limiter's name.
        limiter: String,
        /// The cost of each request.
        cost: u64,
        /// The most that is ever admitted.
        limit: u64,
    },
    /// IPv6 addresses are told apart that one customer can choose from.
    #[error(
        "IPv6 addresses are told apart by {bits} bits: one customer has a /64 at least, and so a \
         new key for each request"
    )]
    WideIpv6Prefix {
        /// The bits that count.
        bits: u8,
    },
    /// The server does not say where requests come from.
    #[error(
        "requests carry no peer address, and are answered with 500: with axum, serve \
         `into_make_service_with_connect_info::<SocketAddr>()`; elsewhere, insert a `Peer`"
    )]
    NoPeer,
}

impl Warning {
    const fn bit(&self) -> u8 {
        match self {
            Self::TrustsEverybody => 1,
            Self::UnreadHeader { .. } => 1 << 1,
            Self::AppliedTwice { .. } => 1 << 2,
            Self::UnreachableCost { .. } => 1 << 3,
            Self::WideIpv6Prefix { .. } => 1 << 4,
            Self::NoPeer => 1 << 5,
        }
    }
}

/// Looks at a layer's first requests, and warns of each thing once.
pub(crate) struct SelfCheck {
    /// How many requests are yet to be looked at. Two at once may count as one.
    left: AtomicU32,
    /// What has been warned of.
    said: AtomicU8,
    hear: Option<Arc<Hear>>,
}

pub(crate) type Hear = dyn Fn(&Warning) + Send + Sync;

/// Enough to have seen one of each kind; after these, a request costs the look at a number.
const REQUESTS: u32 = 1_000;

impl SelfCheck {
    pub(crate) fn new(hear: Option<Arc<Hear>>) -> Self {
        Self { left: REQUESTS.into(), said: AtomicU8::new(0), hear }
    }

    /// Whether the next request is looked at.
    pub(crate) fn is_due(&self) -> bool {
        let left = self.left.load(Ordering::Relaxed);
        if let Some(left) = left.checked_sub(1) {
            self.left.store(left, Ordering::Relaxed);
        }
        left != 0
    }

    pub(crate) fn warn(&self, warning: &Warning) {
        let bit = warning.bit();
        if self.said.fetch_or(bit, Ordering::Relaxed) & bit == 0 {
            match &self.hear {
                Some(hear) => hear(warning),
                None => say(warning),
            }
        }
    }
}

/// To the log, if there is one that listens, and else to standard error: whoever has set up a
/// layer wrongly has most likely not set up anything to be told so either.
fn say(warning: &Warning) {
    #[cfg(feature = "tracing")]
    if tracing::dispatcher::has_been_set() {
        return tracing::warn!(target: "ratelimit", "{warning}");
    }
    use std::io::Write as _;
    // `eprintln!` panics where standard error is closed.
    let _ = writeln!(std::io::stderr(), "ratelimit-http: {warning}");
}

impl fmt::Debug for SelfCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SelfCheck({} requests left)", self.left.load(Ordering::Relaxed))
    }
}
