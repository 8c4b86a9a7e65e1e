//! A gRPC service that tells each client three times a minute how it is.
//!
//! `cargo run -p ratelimit-http --features grpc --example tonic [ADDRESS]`

use http::Request;
use ratelimit_algorithms::{Limiter, TokenBucket};
use ratelimit_http::{Peer, PeerAddr, RateLimitLayer};
use ratelimit_memory::Memory;
use tokio::net::TcpListener;
use tonic::{
    body::Body,
    transport::{
        Server,
        server::{TcpConnectInfo, TcpIncoming},
    },
};
use tower::util::MapRequestLayer;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let limiter = Limiter::new(Memory::new(), "checks", TokenBucket::per_minute(3))?;
    let (_, health) = tonic_health::server::health_reporter();
    let server = Server::builder()
        .layer(MapRequestLayer::new(tell_peer))
        .layer(RateLimitLayer::new(limiter, PeerAddr).grpc())
        .add_service(health);

    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let listener = TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    Ok(server.serve_with_incoming(TcpIncoming::from(listener)).await?)
}

/// Inserts the peer, which tonic has under another type.
fn tell_peer(mut request: Request<Body>) -> Request<Body> {
    let info = request.extensions().get::<TcpConnectInfo>();
    if let Some(peer) = info.and_then(TcpConnectInfo::remote_addr) {
        request.extensions_mut().insert(Peer(peer));
    }
    request
}
