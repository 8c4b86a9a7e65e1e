//! Warnings about how a layer is set up, each given once.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU16, AtomicU32, Ordering},
    },
};

use http::{Extensions, request::Parts};
use ratelimit_algorithms::Names;

/// Something that looks wrong about how a layer is set up: see
/// [`on_warning`](crate::RateLimitLayer::on_warning). Its text is a sentence that says what to do.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Warning {
    /// Everybody is trusted to set the forwarding header, so any client can choose its address.
    #[error(
        "every client is believed what it says of its address, and so can choose its own key: name \
         the trusted proxies"
    )]
    TrustsEverybody,
    /// A request has a forwarding header that the layer does not read.
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
    /// The IPv6 prefix is so long that one customer can choose among many keys.
    #[error(
        "IPv6 addresses are told apart by {bits} bits: one customer has a /64 at least, and so a \
         new key for each request"
    )]
    WideIpv6Prefix {
        /// The bits that count.
        bits: u8,
    },
    /// Requests carry no peer address.
    #[error(
        "requests carry no peer address, and are answered with 500: with axum, serve \
         `into_make_service_with_connect_info::<SocketAddr>()`; elsewhere, insert a `Peer`"
    )]
    NoPeer,
    /// API keys have a random pepper, and other processes use the store as well.
    #[error(
        "API keys have a pepper that is random in each process, and the store is shared: a client \
         has a budget in every process, and a new one after a restart; set `ApiKey::pepper`"
    )]
    RandomPepper,
    /// The pepper of API keys is shorter than 16 bytes.
    #[error(
        "the pepper of API keys is shorter than 16 bytes, and could be guessed by somebody who reads \
         the store: set `ApiKey::pepper` to a longer random secret"
    )]
    ShortPepper,
    /// The lists before the store name texts only, and no key of a request is a text.
    #[error(
        "the keys that are listed for {limiter:?} are plain text, and no request has such a key: list \
         a `RequestKey`, as in `.deny(&RequestKey::text(\"mallory\"))`"
    )]
    TextListed {
        /// The limiter's name.
        limiter: String,
    },
}

impl Warning {
    const fn bit(&self) -> u16 {
        match self {
            Self::TrustsEverybody => 1,
            Self::UnreadHeader { .. } => 1 << 1,
            Self::AppliedTwice { .. } => 1 << 2,
            Self::UnreachableCost { .. } => 1 << 3,
            Self::WideIpv6Prefix { .. } => 1 << 4,
            Self::NoPeer => 1 << 5,
            Self::RandomPepper => 1 << 6,
            Self::TextListed { .. } => 1 << 7,
            Self::ShortPepper => 1 << 8,
        }
    }
}

/// Looks at a layer's first requests, and warns of each thing once.
pub(crate) struct Diagnostics {
    /// Requests yet to be looked at. Two at once may count as one.
    requests_left: AtomicU32,
    /// The bits of the warnings that were given.
    given: AtomicU16,
    listener: Option<Arc<Listener>>,
}

pub(crate) type Listener = dyn Fn(&Warning) + Send + Sync;

/// Enough to have seen one of each kind; after these, a request costs the look at a number.
const REQUESTS: u32 = 1_000;

/// One of the limits that a request is about to be checked against.
pub(crate) struct InspectedLimit<'a> {
    pub(crate) limiter: &'a str,
    pub(crate) key: &'a [u8],
    /// The cost of every request, and the most that is ever admitted; `None` if requests differ.
    pub(crate) cost: Option<(u64, u64)>,
}

/// In a request's extensions: the limiters that charge it, for layers further inside.
#[derive(Clone, Default)]
pub(crate) struct Charged(Vec<ChargedKey>);

#[derive(Clone)]
struct ChargedKey {
    store: Names,
    limiter: Box<str>,
    key: Box<[u8]>,
}

impl Diagnostics {
    pub(crate) fn new(listener: Option<Arc<Listener>>) -> Self {
        Self { requests_left: REQUESTS.into(), given: AtomicU16::new(0), listener }
    }

    /// Tells whether the next request is looked at.
    pub(crate) fn is_due(&self) -> bool {
        let left = self.requests_left.load(Ordering::Relaxed);
        if let Some(left) = left.checked_sub(1) {
            self.requests_left.store(left, Ordering::Relaxed);
        }
        left != 0
    }

    /// Warns of costs beyond their limit, and of limiters that `request` has passed already. The
    /// limits are all on the store with these names.
    pub(crate) fn inspect(
        &self,
        request: &Parts,
        store: &Names,
        limits: &[InspectedLimit<'_>],
    ) -> Charged {
        for limit in limits {
            if let Some((cost, most)) = limit.cost.filter(|(cost, most)| most < cost) {
                let limiter = limit.limiter.to_owned();
                self.warn(&Warning::UnreachableCost { limiter, cost, limit: most });
            }
        }
        let charged = limits.iter().map(|limit| ChargedKey {
            store: store.clone(),
            limiter: limit.limiter.into(),
            key: limit.key.into(),
        });
        let charged: Vec<_> = charged.collect();
        if let Some(earlier) = request.extensions.get::<Charged>() {
            for key in charged.iter().filter(|key| earlier.contains(key)) {
                self.warn(&Warning::AppliedTwice { limiter: key.limiter.to_string() });
            }
        }
        Charged(charged)
    }

    pub(crate) fn warn(&self, warning: &Warning) {
        let bit = warning.bit();
        if self.given.fetch_or(bit, Ordering::Relaxed) & bit == 0 {
            match &self.listener {
                Some(listener) => listener(warning),
                None => log(warning),
            }
        }
    }
}

/// Writes to the log if it has a subscriber, and else to standard error: a layer that is set up
/// wrongly is most likely part of an application without either.
fn log(warning: &Warning) {
    #[cfg(feature = "tracing")]
    if tracing::dispatcher::has_been_set() {
        return tracing::warn!(target: "ratelimit", "{warning}");
    }
    use std::io::Write as _;
    // `eprintln!` panics where standard error is closed.
    let _ = writeln!(std::io::stderr(), "ratelimit-http: {warning}");
}

impl Charged {
    /// Adds these limiters to those that the request tells of already.
    pub(crate) fn leave_in(self, extensions: &mut Extensions) {
        extensions.get_or_insert_default::<Self>().0.extend(self.0);
    }

    fn contains(&self, other: &ChargedKey) -> bool {
        let is_same = |known: &ChargedKey| {
            known.store.is(&other.store) && known.limiter == other.limiter && known.key == other.key
        };
        self.0.iter().any(is_same)
    }
}

impl fmt::Debug for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Diagnostics({} requests left)", self.requests_left.load(Ordering::Relaxed))
    }
}
