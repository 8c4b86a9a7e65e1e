//! The address at the other end of the connection.

use std::net::{IpAddr, SocketAddr};

use http::Extensions;

/// The address that a request comes from; a server inserts it into the request's extensions.
///
/// It takes precedence over axum's `ConnectInfo`, so that a layer that knows better (the PROXY
/// protocol) can correct it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "it is an address, and nothing more")]
pub struct Peer(pub SocketAddr);

/// The mark of a request that came over a Unix socket; a server inserts it into the request's
/// extensions.
///
/// Such a peer has no address. A proxy on the same host may still name a client that has one: see
/// [`ClientIp`](crate::ClientIp). A [`Peer`] in the same request takes precedence.
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
