//! Requests whose cost is known from the response: a hundred rows are reserved, and settled for
//! those that were read.
//!
//! `cargo run -p ratelimit-http --features axum --example cost [ADDRESS]`, and then
//! `curl -i http://ADDRESS/?20`

use std::net::SocketAddr;

use axum::{Router, http::Uri, routing::get};
use ratelimit_algorithms::{Align, FixedWindow, Limiter};
use ratelimit_http::{PeerAddr, RateLimitLayer, cost_header};
use ratelimit_memory::Memory;
use tokio::net::TcpListener;

/// Reads the number of rows in the query, and reports it as the cost.
async fn rows(uri: Uri) -> ([(&'static str, String); 1], String) {
    let rows: u64 = uri.query().and_then(|rows| rows.parse().ok()).unwrap_or(1);
    ([("x-cost", rows.to_string())], format!("{rows} rows\n"))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let limit = FixedWindow::per_hour(1_000).align(Align::First);
    let limiter = Limiter::new(Memory::new(), "rows", limit)?;
    let layer = RateLimitLayer::new(limiter, PeerAddr).cost(100).settle_by(cost_header("x-cost"));
    let app = Router::new().route("/", get(rows)).layer(layer);

    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let listener = TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    Ok(axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).await?)
}
