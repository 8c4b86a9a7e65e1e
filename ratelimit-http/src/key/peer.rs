//! The address at the other end of the connection.

use std::net::{IpAddr, SocketAddr};

use http::{Extensions, request::Parts};

use crate::{ClientIp, KeyError, KeyFn, RequestKey, Warning};

/// Counts requests by the IP address at the other end of the connection: [`ClientIp::peer`].
///
/// The port does not count, IPv6 addresses count by their /64, and an IPv4 address in IPv6 is the
/// IPv4 address. No header is read, so no client can choose its key; behind a proxy all requests
/// come from the proxy.
///
/// The address is found in the request's extensions, as a [`Peer`]; with the feature `axum` also
/// where `Router::into_make_service_with_connect_info::<SocketAddr>` puts it. Where it is missing
/// the server is set up wrongly, and the answer is [`KeyError::NoPeer`].
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "it has no settings")]
pub struct PeerAddr;

impl KeyFn for PeerAddr {
    fn key(&self, request: &Parts) -> Result<RequestKey, KeyError> {
        ClientIp::peer().key(request)
    }

    fn inspect(&self, request: &Parts, warn: &mut dyn FnMut(Warning)) {
        ClientIp::peer().inspect(request, warn);
    }
}

/// Where a request comes from: a server puts it into the request's extensions.
///
/// It comes before what axum says, so that a layer that knows better (the PROXY protocol) can say
/// so.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "it is an address, and nothing more")]
pub struct Peer(pub SocketAddr);

/// Says that a request came over a Unix socket: a server puts it into the request's extensions.
///
/// Such a peer has no address. A proxy on the same host may still tell of a client that has one:
/// see [`ClientIp`](crate::ClientIp). A [`Peer`] in the same request comes before it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "it says nothing more")]
pub struct UnixSocket;

/// The other end of the connection.
#[derive(Clone, Copy)]
pub(crate) enum Origin {
    Address(IpAddr),
    UnixSocket,
}

pub(crate) fn origin(extensions: &Extensions) -> Option<Origin> {
    let address = peer(extensions).map(|peer| Origin::Address(peer.ip()));
    address.or_else(|| extensions.get().map(|UnixSocket| Origin::UnixSocket))
}

fn peer(extensions: &Extensions) -> Option<SocketAddr> {
    extensions.get().map(|Peer(peer)| *peer).or_else(|| connected(extensions))
}

#[cfg(feature = "axum")]
fn connected(extensions: &Extensions) -> Option<SocketAddr> {
    extensions.get().map(|axum::extract::ConnectInfo(peer)| *peer)
}

#[cfg(not(feature = "axum"))]
const fn connected(_: &Extensions) -> Option<SocketAddr> {
    None
}
