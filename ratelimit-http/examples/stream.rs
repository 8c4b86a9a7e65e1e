//! Streams whose cost is known at their end: requests and tokens as one, settled for the words
//! sent.
//!
//! `cargo run -p ratelimit-http --features axum --example stream [ADDRESS]`, and then
//! `curl -i http://ADDRESS/?seven%20words%20are%20more%20than%20one`

use std::{
    convert::Infallible,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
};

use axum::{Extension, Router, body::Body, http::Uri, routing::get};
use bytes::Bytes;
use http_body::Frame;
use ratelimit_algorithms::{Limiter, TokenBucket};
use ratelimit_http::{ActualCost, PeerAddr, RateLimitLayer, RequestLimit};
use ratelimit_memory::Memory;
use tokio::net::TcpListener;

/// A body that sends one word after the other, and reports the cost of each.
struct Words {
    words: std::vec::IntoIter<String>,
    cost: ActualCost,
}

impl http_body::Body for Words {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some(word) = self.words.next() else { return Poll::Ready(None) };
        // An error would say that no limit has this name.
        let _ = self.cost.add("tokens", 1);
        Poll::Ready(Some(Ok(Frame::data(Bytes::from(word + "\n")))))
    }
}

async fn stream(Extension(cost): Extension<ActualCost>, uri: Uri) -> Body {
    let words: Vec<_> = uri.query().unwrap_or("nothing").split("%20").map(str::to_owned).collect();
    Body::new(Words { words: words.into_iter(), cost })
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let store = Memory::new();
    let requests = Limiter::new(store.clone(), "requests", TokenBucket::per_minute(60))?;
    let tokens = Limiter::new(store, "tokens", TokenBucket::per_hour(1_000))?;

    // Each request reserves a hundred tokens, and costs one token per word.
    let layer = RateLimitLayer::new(requests, PeerAddr)
        .also(RequestLimit::new(tokens, PeerAddr).cost(100))
        .settle_at_end();
    let app = Router::new().route("/", get(stream)).layer(layer.clone());

    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let listener = TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    let service = app.into_make_service_with_connect_info::<SocketAddr>();
    let stop = async { _ = tokio::signal::ctrl_c().await };
    axum::serve(listener, service).with_graceful_shutdown(stop).await?;
    // So that no settlement is lost.
    layer.settled().await;
    Ok(())
}
