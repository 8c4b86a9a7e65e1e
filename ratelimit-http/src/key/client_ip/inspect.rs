//! What looks wrong about how a client's address is found.

use http::{HeaderMap, HeaderName, header::FORWARDED};

use super::{ClientIp, IPV6_PREFIX, Source, Trust};
use crate::Warning;

/// Tells `warn` of it, as far as a request with these headers shows it.
pub(super) fn inspect(client: &ClientIp, headers: &HeaderMap, warn: &mut dyn FnMut(Warning)) {
    if matches!(client.trust, Trust::Everybody) {
        warn(Warning::TrustsEverybody);
    }
    if IPV6_PREFIX < client.ipv6_prefix {
        warn(Warning::WideIpv6Prefix { bits: client.ipv6_prefix });
    }
    // A proxy that sets one header may well pass on another one that a client has made up.
    let is_read = client.header().is_some_and(|name| headers.contains_key(name));
    let unread =
        if is_read { None } else { KNOWN.iter().find(|name| headers.contains_key(**name)) };
    if let Some(name) = unread {
        warn(Warning::UnreadHeader { name });
    }
}

impl ClientIp {
    /// The header that is read.
    fn header(&self) -> Option<&HeaderName> {
        match &self.source {
            Source::Peer => None,
            Source::List(name) | Source::Single(name) => Some(name),
            Source::Forwarded => Some(&FORWARDED),
        }
    }
}

/// What proxies tell of addresses in.
const KNOWN: [&str; 8] = [
    "x-forwarded-for",
    "forwarded",
    "x-real-ip",
    "cf-connecting-ip",
    "true-client-ip",
    "fastly-client-ip",
    "fly-client-ip",
    "x-client-ip",
];
