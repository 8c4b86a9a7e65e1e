//! The address of a client: who can choose it, and which addresses are one client's.

mod configuration;
mod model;
mod networks;
mod random;
mod trusted_proxies;

use std::net::IpAddr;

use http::{Request, request::Parts};
use ratelimit_http::{ClientIp, ClientIpBuilder, KeyFn, Peer, RequestKey};

/// A proxy that [`proxied`] trusts.
const PROXY: &str = "10.0.0.1";

/// Believes 10.0.0.0/8.
fn proxied(header: fn(ClientIpBuilder) -> ClientIpBuilder) -> ClientIp {
    let builder = header(ClientIp::builder()).trusted_proxies(["10.0.0.0/8"]);
    builder.build().expect("description is complete")
}

fn listed() -> ClientIp {
    proxied(ClientIpBuilder::x_forwarded_for)
}

/// A request from `peer` with these lines of one header.
fn request(peer: &str, name: &str, lines: &[impl AsRef<[u8]>]) -> Parts {
    let peer: IpAddr = peer.parse().expect("peer is an address");
    let mut request = Request::get("/").extension(Peer((peer, 443).into()));
    for line in lines {
        request = request.header(name, line.as_ref());
    }
    request.body(()).expect("request is valid").into_parts().0
}

/// Whom a request is from that `PROXY` forwards with this `X-Forwarded-For`.
#[track_caller]
fn forwarded_for(value: impl AsRef<[u8]>) -> String {
    address(&listed(), &request(PROXY, "x-forwarded-for", &[value]))
}

#[track_caller]
fn address(client: &ClientIp, request: &Parts) -> String {
    client.address(request).expect("client has an address").to_string()
}

/// The key of a request straight from this address.
#[track_caller]
fn key_of(client: &ClientIp, peer: &str) -> RequestKey {
    client.key(&request(peer, "x-none", &[""; 0])).expect("peer is known")
}
