//! Streams, whose cost is told at their end.

mod bodies;
#[cfg(feature = "grpc")]
mod calls;
#[cfg(feature = "axum")]
mod sockets;

#[cfg(any(feature = "axum", feature = "grpc"))]
mod two_methods;

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame};
use ratelimit_algorithms::{Align, Backend, FixedWindow, Limiter};
use ratelimit_http::{RateLimitLayer, RequestKey, RequestLimit};
use tokio::sync::mpsc;

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// A body whose frames come from a test.
pub(super) struct Channel(pub(super) mpsc::Receiver<io::Result<Frame<Bytes>>>);

pub(super) type Sender = mpsc::Sender<io::Result<Frame<Bytes>>>;

impl Body for Channel {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.0.poll_recv(context)
    }
}

pub(super) fn data(text: &'static str) -> io::Result<Frame<Bytes>> {
    Ok(Frame::data(Bytes::from_static(text.as_bytes())))
}

/// Calls of a layer and the words they take, and streams that a test writes.
pub(super) struct Streams<B> {
    calls: Limiter<B>,
    words: Limiter<B>,
    pub(super) layer: RateLimitLayer<B, &'static str>,
}

impl<B: Backend + Clone + 'static> Streams<B> {
    /// Ten calls and a thousand words a day, of which each call reserves a hundred.
    pub(super) fn new(store: &B) -> Self {
        let limiter = |name, limit| {
            let window = FixedWindow::per_day(limit).align(Align::First);
            Limiter::new(store.clone(), name, window).expect("numbers are fine")
        };
        let (calls, words) = (limiter("calls", 10), limiter("words", 1_000));
        let layer = RateLimitLayer::new(calls.clone(), "all")
            .also(RequestLimit::new(words.clone(), "all").cost(100))
            .settle_at_end();
        Self { calls, words, layer }
    }

    pub(super) async fn left(&self) -> [u64; 2] {
        let key = RequestKey::from("all");
        let (calls, words) = (self.calls.peek(&key).await, self.words.peek(&key).await);
        [calls.expect("it answers").remaining, words.expect("it answers").remaining]
    }

    pub(super) async fn reset(&self) {
        let key = RequestKey::from("all");
        self.calls.reset(&key).await.expect("it answers");
        self.words.reset(&key).await.expect("it answers");
    }
}
