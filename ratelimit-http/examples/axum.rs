//! A service that greets each client three times a minute.
//!
//! `cargo run -p ratelimit-http --features axum --example axum [ADDRESS]`

use std::net::SocketAddr;

use axum::{Router, routing::get};
use ratelimit_algorithms::{Limiter, TokenBucket};
use ratelimit_http::{PeerAddr, RateLimitLayer};
use ratelimit_memory::Memory;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let limiter = Limiter::new(Memory::new(), "greetings", TokenBucket::per_minute(3))?;
    let app = Router::new()
        .route("/", get(async || "hello\n"))
        .layer(RateLimitLayer::new(limiter, PeerAddr))
        .into_make_service_with_connect_info::<SocketAddr>();

    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let listener = TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    Ok(axum::serve(listener, app).await?)
}
