//! A service that greets each client three times a minute, on hyper alone.
//!
//! `cargo run -p ratelimit-http --example hyper [ADDRESS]`

use std::convert::Infallible;

use http_body_util::Full;
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    server::conn::http1,
};
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use ratelimit_algorithms::{Limiter, TokenBucket};
use ratelimit_http::{Peer, PeerAddr, RateLimitLayer};
use ratelimit_memory::Memory;
use tokio::net::TcpListener;
use tower::ServiceBuilder;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let limiter = Limiter::new(Memory::new(), "greetings", TokenBucket::per_minute(3))?;
    let layer = RateLimitLayer::new(limiter, PeerAddr);

    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let listener = TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    loop {
        let (stream, peer) = listener.accept().await?;
        let service = ServiceBuilder::new()
            // hyper does not know the peer; the code that accepts the connection does.
            .map_request(move |mut request: Request<Incoming>| {
                request.extensions_mut().insert(Peer(peer));
                request
            })
            .layer(layer.clone())
            .service_fn(hello);
        let service = TowerToHyperService::new(service);
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

async fn hello(_: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new(Full::from("hello\n")))
}
