//! A client that waits instead of being refused: it has a limit of its own, and obeys the server's
//! headers.
//!
//! `cargo run -p ratelimit-http --features axum,tokio --example outgoing`

use std::{error::Error, time::Instant};

use axum::{Router, routing::get};
use bytes::Bytes;
use http::Request;
use http_body_util::Empty;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use ratelimit_algorithms::{Limiter, TokenBucket};
use ratelimit_http::{OutgoingLayer, RateLimitLayer, TargetHost};
use ratelimit_memory::Memory;
use tokio::net::TcpListener;
use tower::{Layer, ServiceExt};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    // A server that admits two requests a second.
    let theirs = Limiter::new(Memory::new(), "theirs", TokenBucket::per_second(2))?;
    let server = Router::new().route("/", get(async || "hello"));
    let server = server.layer(RateLimitLayer::new(theirs, "everyone"));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/", listener.local_addr()?);
    tokio::spawn(async move { axum::serve(listener, server).await });

    // A client that would send a hundred.
    let ours = Limiter::new(Memory::new(), "ours", TokenBucket::per_second(100))?;
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    let client = OutgoingLayer::new(ours, TargetHost).layer(client);
    let start = Instant::now();
    for number in 1..=4 {
        let request = Request::get(&url).body(Empty::new())?;
        let response = client.clone().oneshot(request).await?;
        println!("request {number}: {} after {:.1?}", response.status(), start.elapsed());
    }
    Ok(())
}
